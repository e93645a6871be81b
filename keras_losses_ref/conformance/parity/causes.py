"""Group the changes of a comparison by cause.

A cause is a ledger entry that only one side shows, a rule of the host, or, if nothing
explains a change, the changes of one loss. Each says how large its changes are, under
which condition they show, and whether a training step would notice.
"""

import collections
import dataclasses
import math
import re
import statistics

import numpy as np

from keras_losses_ref.conformance.parity import diff, host_rules
from keras_losses_ref.conformance.parity.diff import Change, Comparison

#: A training step notices a gradient that changed by more than this part of its
#: largest element. Another order of the samples changes it by more than that.
NOTICED = 1e-3

#: The order of causes in a report.
_ORDER = ("user", "unexplained", "ledger", "rule", "api", "name", "rounding")
_DTYPES = ("float32", "float64", "float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Cause:
    """Changes that one thing explains."""

    id: str
    #: One of `_ORDER`.
    kind: str
    #: What changed, in words.
    what: str
    changes: tuple[Change, ...]
    thread: str = ""
    #: Under which condition the changes show, in words.
    condition: str = ""

    @property
    def losses(self) -> list[str]:
        return sorted({change.loss for change in self.changes})

    @property
    def answers(self) -> int:
        """How many answers changed."""
        return len({change.id for change in self.changes})

    @property
    def components(self) -> list[str]:
        return sorted({change.component for change in self.changes} - {""})

    @property
    def _relative(self):
        found = [change.relative for change in self.changes]
        return [size for size in found if math.isfinite(size)]

    @property
    def worst(self) -> float:
        """The largest finite change, relative to the answer; NaN if there is none."""
        return max(self._relative, default=math.nan)

    @property
    def median(self) -> float:
        return statistics.median(self._relative) if self._relative else math.nan

    @property
    def not_finite(self) -> int:
        """How many answers were NaN or infinite on one side alone."""
        found = {c.id for c in self.changes if math.isinf(c.relative)}
        return len(found)

    @property
    def became_finite(self) -> bool:
        """Whether all of those were so on the old side."""
        found = [c for c in self.changes if math.isinf(c.relative)]
        return all(c.old in ("nan", "inf", "-inf") for c in found)

    @property
    def breaking(self) -> bool:
        """Whether a program that ran before may now do something else."""
        return any(change.is_breaking for change in self.changes)

    @property
    def measured(self) -> bool:
        """Whether its changes are of answers; a kept check holds none."""
        return not {change.aspect for change in self.changes} & {"deviation", "rule"}

    @property
    def shown(self) -> Change:
        """The change to look at first: the largest, of a value if there is one."""

        def rank(change):
            size = -1.0 if math.isnan(change.relative) else change.relative
            return (size, change.implementation == "keras", change.aspect == "value")

        return max(self.changes, key=rank)

    @property
    def step(self) -> tuple[str, str]:
        """("yes", "no" or "", why): whether a training step would notice."""
        if self.kind in ("api", "name"):
            return "", ""
        if self.kind == "rounding":
            return "no", "these are rounding errors of the dtype"
        if not self.measured:
            return "", ""
        aspects = {change.aspect for change in self.changes}
        if "error" in aspects:
            fails = any(change.old == "an answer" for change in self.changes)
            return "yes", "it fails now" if fails else "it failed before"
        gradients = [c for c in self.changes if c.aspect in ("gradient", "second")]
        sizes = [change.relative for change in gradients]
        if any(math.isinf(size) for size in sizes):
            return "yes", "gradients are NaN or infinite on one side"
        largest = max((size for size in sizes if math.isfinite(size)), default=0.0)
        if largest > NOTICED:
            return "yes", f"gradients change by up to {percent(largest)}"
        saved = {"config", "dtype"} & aspects
        if saved:
            return "yes", f"the {' and '.join(sorted(saved))} changed"
        if largest:
            return "no", f"gradients change by at most {percent(largest)}"
        trained = [c for c in self.changes if c.id.endswith("[epochs]")]
        largest = max((c.relative for c in trained), default=0.0)
        if largest > NOTICED:
            return "yes", f"the losses of a training change by {percent(largest)}"
        return "no", "gradients are the same"


def causes(comparison: Comparison) -> list[Cause]:
    """The causes of a comparison's changes, the most noticeable first."""
    found = collections.defaultdict(list)
    for change in comparison.changes:
        found[_key(change)].append(change)
    result = [_cause(key, tuple(changes), comparison) for key, changes in found.items()]
    return sorted(result, key=_rank)


def _rank(cause):
    size = cause.worst if math.isfinite(cause.worst) else 0.0
    felt = cause.step[0] == "yes"
    size = math.inf if cause.not_finite else size
    kind = _ORDER.index(cause.kind)
    return kind, not felt, not cause.breaking, -size, -cause.answers, cause.id


def _key(change):
    """(kind, id) of the cause that a change belongs to."""
    if change.implementation == "user":
        return "user", change.loss
    if change.kind == diff.ROUNDING:
        return "rounding", "rounding"
    if change.aspect == "public name":
        return "name", f"names-{change.kind}"
    if change.is_api_change:
        told = change.kind == diff.SEMANTIC and not change.aspect.startswith("order")
        said = f": {change.old} -> {change.new}" if told else ""
        return "api", f"{change.kind} {change.aspect}{said}"
    if change.explained_by in host_rules.BY_ID:
        return "rule", change.explained_by
    if change.explained_by:
        return "ledger", change.explained_by
    return "unexplained", f"unexplained-{change.loss}"


def _cause(key, changes, comparison):
    kind, identifier = key
    thread, condition = "", ""
    if kind in ("rule", "ledger"):
        entries = [
            comparison.deviations.get(name, {}) for name in identifier.split(", ")
        ]
        thread = ", ".join(entry["thread"] for entry in entries if entry)
        what = _of_ledger(changes, comparison)
        if kind == "rule":
            what = entries[0].get("sentence", identifier)
            condition = entries[0].get("when", "")
        condition = "; ".join(filter(None, (condition, _condition(changes))))
    elif kind == "rounding":
        what = "Both answers are within the tolerance of one truth."
    elif kind == "user":
        what = f"Your {identifier} gives different answers."
        if not any(change.is_breaking for change in changes):
            what = f"Your {identifier} changed by rounding only."
    elif kind == "unexplained":
        whose = {change.implementation for change in changes}
        whose = "Our" if whose == {"ours"} else "Keras's"
        aspects = " and ".join(sorted({change.aspect for change in changes}))
        what = f"{whose} {changes[0].loss} has a different {aspects}."
        condition = _condition(changes)
    elif kind == "name":
        what = f"Names {changes[0].kind}."
    else:
        what = _of_interface(changes[0])
    return Cause(identifier, kind, what, changes, thread, condition)


def _of_ledger(changes, comparison):
    """What a new or mended deviation means, in words."""
    before, after = changes[0].matched
    parts = []
    known = comparison.deviations
    for name in (changes[0].explained_by or "").split(", "):
        sentence = known.get(name, {}).get("sentence", name)
        if before == after:
            parts.append(f"Under other rules of the host, still: {sentence}")
        elif name == after:
            parts.append(f"Keras now deviates: {sentence}")
        elif name == before:
            parts.append(f"Keras no longer deviates. Before: {sentence}")
        else:
            parts.append(sentence)
    return " ".join(parts)


def _of_interface(change):
    aspect, kind = change.aspect, change.kind
    if aspect == "accepts" and kind != diff.SEMANTIC:
        return "Accepted now." if kind == diff.ADDED else "Refused now."
    if aspect.startswith("order"):
        return "Positional arguments have another order."
    said = {
        diff.ADDED: "is new",
        diff.REMOVED: "is gone",
        diff.SEMANTIC: f"was {change.old}, is {change.new}",
    }[kind]
    name = aspect.replace("_", " ")
    return f"{name[0].upper()}{name[1:]} {said}."


# --- under which condition ------------------------------------------------------------


def _is_masked(case):
    return case.mask is not None or case.config.get("ignore_class") is not None


def _keeps_nothing(case):
    ignored = case.config.get("ignore_class")
    nothing = case.mask is not None and not np.any(case.mask)
    return nothing or ignored is not None and bool(np.all(case.y_true == ignored))


#: (words, whether a case is so, wider words that it implies), the narrower first.
_FEATURES = (
    ("an empty batch", lambda case: np.size(case.y_pred) == 0, ()),
    ("a mask that keeps nothing", _keeps_nothing, ("a mask",)),
    ("a mask", _is_masked, ()),
    ("sample weights", lambda case: case.sample_weight is not None, ()),
    ("an activation before the loss", lambda case: case.activation is not None, ()),
    ("a loss that was saved and loaded", lambda case: case.path == "reloaded", ()),
    ("XLA", lambda case: case.path in ("xla", "nested"), ()),
    ("input that must be refused", lambda case: bool(case.expected_error), ()),
)


def _condition(changes):
    """What all the changed cases have in common, in words."""
    asked = {change.question for change in changes}
    found = [host_rules.case_of(question) for question in asked]
    found = [case for case in found if case is not None]
    if not found and changes[0].aspect in ("deviation", "rule"):
        return ""
    if not found:
        ways = {question.rpartition("[")[2].rstrip("]") for question in asked}
        return f"asked as: {', '.join(sorted(ways))}" if len(ways) <= 4 else ""
    words, implied = [], set()
    for name, holds, implies in _FEATURES:
        if name not in implied and all(map(holds, found)):
            words.append(name)
            implied.update(implies)
    arguments = set.intersection(*(set(case.config) for case in found))
    words += [f"the argument {name}" for name in sorted(arguments)]
    dtypes = {case.dtype for case in found}
    if len(dtypes) < len(_DTYPES):
        words.append(" or ".join(name for name in _DTYPES if name in dtypes))
    reductions = {str(case.reduction) for case in found}
    if len(reductions) <= 2:
        words.append(f"reduction {' or '.join(sorted(reductions))}")
    return ", ".join(words)


def percent(size: float) -> str:
    """A relative change in a few characters: 50 %, 0.2 %, 1.2e-07."""
    if size >= 10:
        return f"{size:.0f} times" if size < 1e4 else f"{size:.0e} times"
    if size >= 0.0005:
        return f"{100 * size:.2g} %" if size < 1 else f"{100 * size:.0f} %"
    return re.sub(r"e-0?(\d+)", r"e-\1", f"{size:.1e}")
