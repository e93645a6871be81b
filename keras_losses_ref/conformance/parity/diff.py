"""What changed between two records, and what explains it. No TensorFlow.

A change is `semantic` if a program sees another answer, `rounding` if both answers are
within the tolerance of one truth, `added` or `removed` if a public name, an argument or
a way to call it exists in one environment only. A question that only one environment
can answer is not a change; the missing name or argument is.

Which component changed it, Keras or TensorFlow? If only one of them was replaced, that
one. If both were, a change that a deviation explains is Keras's, and one that our
losses show too is TensorFlow's, since ours run on TensorFlow's kernels and on none of
Keras's code. A third record, of the new TensorFlow with the old Keras, tells without
inference.
"""

import collections
import dataclasses
import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

import numpy as np

from keras_losses_ref.conformance import files, tolerance
from keras_losses_ref.conformance.parity import host_rules
from keras_losses_ref.conformance.parity.record_file import Record
from keras_losses_ref.conformance.runtime import BACKEND_NAMES, backend_of

SEMANTIC, REMOVED, ADDED, ROUNDING = "semantic", "removed", "added", "rounding"
#: Worst first.
KINDS = (SEMANTIC, REMOVED, ADDED, ROUNDING)

#: Both sides may be off by the tolerance; in a training the errors of all steps add up.
_SLACK = {None: 2.0, "training": 128.0}

_ARRAYS = ("value", "gradient", "second")

#: Stands for the rule of the host until it is known which.
_SOME_RULE = "some rule of the host"

#: What an answer says about itself, and not about the loss.
_ABOUT = ("loss", "matches", "kind", "is_class", "absent", "dtype", "message")


@dataclasses.dataclass(frozen=True)
class Change:
    """One aspect of one answer that changed."""

    id: str
    loss: str
    aspect: str
    kind: str
    old: Any
    new: Any
    ulp: float = float("nan")
    #: Where in the array `old` and `new` stand: its worst element.
    at: Optional[list[int]] = None
    #: The ledger entries that one side matches and the other does not, or the rule of
    #: the host that differs.
    explained_by: Optional[str] = None
    #: "Keras", "TensorFlow" or, where nothing tells, "Keras or TensorFlow".
    component: str = ""
    #: How far the worst element moved, relative to the answer (a gradient's is its
    #: largest element): infinite where one side is finite and the other is not.
    relative: float = float("nan")
    #: What each side matches: "definition", a ledger entry, or None for neither.
    matched: tuple[Optional[str], Optional[str]] = (None, None)

    @property
    def implementation(self) -> str:
        return self.id.partition(":")[0]

    @property
    def question(self) -> str:
        return self.id.partition(":")[2]

    @property
    def full_id(self) -> str:
        """What `--accept` takes: the answer and the aspect."""
        return f"{self.id} {self.aspect}"

    @property
    def is_api_change(self) -> bool:
        """Whether it is about names, arguments, defaults or types of exceptions.

        The ledger has no entry for these: no definition says what a default must be.
        """
        return "[" not in self.id or self.aspect == "error type"

    @property
    def is_breaking(self) -> bool:
        """Whether a program that ran before may now do something else."""
        return self.kind in (SEMANTIC, REMOVED)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two records, side by side."""

    old: dict[str, Any]
    new: dict[str, Any]
    changes: list[Change]
    same: int
    #: Questions that only one of the environments could answer.
    alone: int
    #: What the ledger says about the entries that explain something.
    deviations: dict[str, Any]
    accepted: tuple[str, ...] = ()
    #: Patterns that were accepted and match no change.
    stale: tuple[str, ...] = ()
    #: The losses and models of the user's that were run.
    own: tuple[str, ...] = ()
    #: Whether the two sides hold answers, so that a change has a size.
    measured: bool = True

    @property
    def counts(self) -> dict[str, int]:
        found = collections.Counter(change.kind for change in self.changes)
        return {
            "same": self.same,
            "rounding": found[ROUNDING],
            "changed": found[SEMANTIC],
            "added": found[ADDED],
            "removed": found[REMOVED],
        }

    @property
    def pending(self) -> list[Change]:
        """The breaking changes that are not accepted."""
        return [
            change
            for change in self.changes
            if change.is_breaking and not is_accepted(change, self.accepted)
        ]

    @property
    def ok(self) -> bool:
        return not self.pending and not self.stale


def compare(
    old: Record,
    new: Record,
    accepted: Sequence[str] = (),
    intermediate: Optional[Record] = None,
) -> Comparison:
    """The `Comparison` of two records.

    accepted      patterns over `Change.full_id`: changes that a person has looked at
    intermediate  a record of the new TensorFlow under the old Keras, if there is one
    """
    changes, same, alone = _changes(old, new)
    # One Keras on one backend has one ledger and one definition.
    if not (_replaced(old, new, "Keras") or _of_two_backends(old, new)):
        changes = [dataclasses.replace(c, explained_by=None) for c in changes]
    changes = [_explained_by_a_rule(change, old, new) for change in changes]
    changes = list(_explained_by_the_corpus(_seen_in_other_dtypes(changes)))
    changes = [_explained_by_the_config(change, old, new) for change in changes]
    changes = [
        dataclasses.replace(change, component=component)
        for change, component in zip(
            changes, _components(changes, old, new, intermediate)
        )
    ]
    changes.sort(key=_rank)
    used = {
        name
        for change in changes
        if change.explained_by
        for name in change.explained_by.split(", ")
    }
    sides = [record.environment for record in (old, new)]
    rules = {rule.id: rule.entry(*sides) for rule in host_rules.RULES}
    known = {**old.deviations, **new.deviations, **rules}
    stale = [
        pattern
        for pattern in accepted
        if not any(
            change.is_breaking and is_accepted(change, [pattern]) for change in changes
        )
    ]
    return Comparison(
        old.environment,
        new.environment,
        changes,
        same,
        alone,
        {name: known[name] for name in sorted(used) if name in known},
        tuple(accepted),
        tuple(stale),
        tuple(sorted(_own(old) | _own(new))),
    )


def _own(record):
    return {a["loss"] for i, a in record.answers.items() if i.startswith("user:")}


def parse_id(text: str) -> tuple[str, Optional[str]]:
    """(id, aspect or None) of what a report prints: "keras:Huber[...]  value at [0]".

    An id without an implementation is one of Keras's.
    """
    text = _without_place(text).removeprefix("worst: ")
    if not re.match(r"(keras|ours|user):", text):
        text = f"keras:{text}"
    # An aspect follows the last bracket; arguments may hold spaces of their own.
    found = re.match(r"(.*[\])]|[^ ]+)(?:\s+(.+))?$", text)
    return found[1], found[2]


def _without_place(text):
    """A printed id without the position of the worst element after it."""
    return re.sub(r"\s+at \[[\d, ]*\]$", "", text.strip())


def aspects_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The aspects in which two answers to one question may differ."""
    found = {"error", "error type", "dtype", "public name", "accepts"}
    for answer in (old, new):
        found |= {*answer} - {*_ABOUT, "alias_of", "arguments", "config"}
        config = answer.get("config")
        names = [name for name, _ in answer.get("arguments", ())]
        if names:
            found |= {
                f"{what} {name}"
                for name in names
                for what in ("argument", "default of")
            }
            found |= {"order of arguments", *(f"config {key}" for key in config or ())}
        elif config is not None:
            found.add("config")
    return sorted(found)


def is_accepted(change: Change, patterns: Iterable[str]) -> bool:
    """Whether any of the patterns names the change; brackets belong to ids."""
    return any(
        fnmatch.fnmatchcase(change.full_id, _pattern(pattern)) for pattern in patterns
    )


def _pattern(printed):
    """A glob over `Change.full_id` of a line as the report prints it."""
    text = re.sub(r"([\])]) {2,}", r"\1 ", _without_place(printed))
    return text.replace("[", "[[]")


def read_accepted(path: str) -> list[str]:
    """The patterns in a file: one a line, `#` begins a comment."""
    with open(path, encoding="utf-8") as file:
        lines = [line.partition("#")[0].strip() for line in file]
    return [line for line in lines if line]


def _rank(change):
    """Worst first: answers, unexplained ones, then by how far they moved."""
    ulp = np.inf if np.isnan(change.ulp) else change.ulp
    return (
        KINDS.index(change.kind),
        change.is_api_change,
        change.explained_by is not None,
        -ulp,
        change.full_id,
    )


def _changes(old, new):
    changes, same, alone = [], 0, 0
    for identifier in sorted({*old.answers, *new.answers}):
        a, b = old.answers.get(identifier), new.answers.get(identifier)
        if a is None or b is None:
            only = a or b
            if identifier.startswith("ours:") and _of_two_backends(old, new):
                alone += 1  # ours run on one of them alone
                continue
            if "is_class" not in only and "alias_of" not in only:
                alone += 1
                continue
            kind = ADDED if a is None else REMOVED
            said = "class" if only.get("is_class") else "function"
            said = f"alias of {only['alias_of']}" if "alias_of" in only else said
            before, after = (None, said) if a is None else (said, None)
            changes.append(
                Change(identifier, only["loss"], "public name", kind, before, after)
            )
            continue
        if "absent" in a or "absent" in b:
            same += "absent" in a and "absent" in b
            alone += ("absent" in a) != ("absent" in b)
            continue
        found = list(_of_answer(identifier, a, b))
        changes += found
        same += not found
    names = {change.question for change in changes if change.aspect == "public name"}
    return [c for c in changes if _is_news(c, names)], same, alone


def _is_news(change, names):
    """Whether a change is more than a new name that `get` finds too."""
    asked = change.question.startswith("get(")
    return not (asked and change.question[len("get('") : -len("')")] in names)


def _of_answer(identifier, a, b):
    """The changes between two answers to one question."""
    loss = b["loss"]

    def change(aspect, kind, old, new, **more):
        return Change(identifier, loss, aspect, kind, old, new, **more)

    if a.get("error") != b.get("error"):
        # The text of an error is shown, not compared: it changes with every release.
        old, new = (x.get("message", x.get("error", "an answer")) for x in (a, b))
        explained = _why(a, b, "error")
        if "/" not in identifier and "[" not in identifier:  # a name or an argument
            kind = ADDED if "error" in a else REMOVED
            kind = SEMANTIC if "error" in a and "error" in b else kind
            yield change("accepts", kind, old, new)
        elif "error" in a and "error" in b:  # no definition says which
            yield change("error type", SEMANTIC, old, new)
        else:
            yield change("error", SEMANTIC, old, new, **explained)
        return
    for aspect in sorted({*a, *b} - {*_ABOUT}):
        old, new = a.get(aspect), b.get(aspect)
        if old == new:
            continue
        if aspect == "arguments":
            yield from _of_arguments(change, old or [], new or [])
        elif aspect == "config" and "arguments" in a and "arguments" in b:
            named = {name for name, _ in _news(a.get("arguments"), b.get("arguments"))}
            yield from _of_config(change, old or {}, new or {}, named)
        elif aspect not in _ARRAYS or old is None or new is None:
            yield change(aspect, SEMANTIC, old, new, **_why(a, b, aspect))
        else:
            yield _of_array(change, aspect, a, b)
    if a.get("dtype") != b.get("dtype"):
        yield change(
            "dtype", SEMANTIC, a.get("dtype"), b.get("dtype"), **_why(a, b, "dtype")
        )


def _of_arguments(change, old, new):
    before, after = dict(old), dict(new)
    names = list(after)
    for name in sorted({*before, *after}):
        if name not in before:
            said = f"{name}={after[name]}"
            behind = [n for n in names[names.index(name) + 1 :] if n in before]
            if behind:  # this moves positional arguments
                said += f", before {', '.join(behind)}"
            yield change(f"argument {name}", ADDED, None, said)
        elif name not in after:
            yield change(f"argument {name}", REMOVED, before[name], None)
        elif before[name] != after[name]:
            yield change(f"default of {name}", SEMANTIC, before[name], after[name])
    orders = [[n for n, _ in x if n in before and n in after] for x in (old, new)]
    if orders[0] != orders[1]:
        old, new = map(", ".join, orders)
        yield change("order of arguments", SEMANTIC, old, new)


def _news(old, new):
    """The arguments that came, went or got another default."""
    return {tuple(x) for x in old or []} ^ {tuple(x) for x in new or []}


def _of_config(change, old, new, named):
    """Changes of the config, key by key, except those of the arguments in `named`."""
    for key in sorted({*old, *new} - named):
        if key not in old:
            yield change(f"config {key}", ADDED, None, new[key])
        elif key not in new:
            yield change(f"config {key}", REMOVED, old[key], None)
        elif old[key] != new[key]:
            yield change(f"config {key}", SEMANTIC, old[key], new[key])


def _of_array(change, aspect, a, b):
    old, new = files.array(a[aspect]), files.array(b[aspect])
    shapes = files.shape(a[aspect]), files.shape(b[aspect])
    why = _why(a, b, aspect)
    if shapes[0] != shapes[1]:
        return change(
            aspect,
            SEMANTIC,
            f"shape {list(shapes[0])}",
            f"shape {list(shapes[1])}",
            relative=math.inf,
            **why,
        )
    # The coarser of the two, where even the dtype is another.
    dtypes = {x.get("dtype", "float32") for x in (a, b)} & set(tolerance.FLOAT_INFO)
    dtype = max(dtypes or {"float32"}, key=lambda name: tolerance.FLOAT_INFO[name][0])
    far = tolerance.difference(
        new, old, dtype, aspect, loss=b["loss"], slack=_SLACK[b.get("kind")]
    )
    distance = _ulps(new, old, dtype, one_vector=aspect != "value")
    at = np.unravel_index(np.argmax(distance), distance.shape)
    return change(
        aspect,
        ROUNDING if far is None else SEMANTIC,
        files.plain(old[at], dtype),
        files.plain(new[at], dtype),
        ulp=float(distance[at]),
        at=[int(i) for i in at],
        relative=_relative(new, old, one_vector=aspect != "value"),
        matched=why["matched"],
        explained_by=None if far is None else why["explained_by"],
    )


def _relative(new, old, one_vector):
    """The largest change relative to the answer; a gradient is one vector."""
    finite = np.isfinite(old) & np.isfinite(new)
    same = (new == old) | (np.isnan(new) & np.isnan(old))
    if np.any(~finite & ~same):
        return math.inf
    if not np.any(finite):
        return 0.0
    moved = np.abs(new[finite] - old[finite])
    size = np.maximum(np.abs(old), np.abs(new))[finite]
    if one_vector:
        size = np.full_like(size, size.max())
    return float(np.max(moved / np.where(size > 0, size, 1.0)))


def _ulps(new, old, dtype, one_vector):
    """How far the elements moved, in units in the last place of `old`.

    An element below 1/4 counts as 1/4, where the absolute part of the tolerance takes
    over: the ulp of what should be 0 means nothing. A gradient is one vector.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum(np.abs(old), 0.25)
        if one_vector:
            finite = size[np.isfinite(size)]
            size = np.full_like(old, finite.max() if finite.size else 0.25)
        moved = tolerance.ulps(size + np.abs(new - old), size, dtype)
    same = (new == old) | (np.isnan(new) & np.isnan(old))
    return np.where(same, 0.0, np.where(np.isnan(moved), np.inf, moved))


def _why(a, b, aspect):
    """What explains that two answers differ, as fields of a `Change`.

    The ledger entries that only one side matches. If both sides match the same and
    still differ, it is a rule of the host.
    """
    if "matches" not in a or "matches" not in b:
        return {"explained_by": None, "matched": (None, None)}
    before, after = (x["matches"].get(aspect, "definition") for x in (a, b))
    if None in (before, after):
        explained = None
    elif before == after:
        explained = _SOME_RULE
    else:
        named = [name for name in (before, after) if name != "definition"]
        explained = ", ".join(named)
    return {"explained_by": explained, "matched": (before, after)}


def _explained_by_a_rule(change, old, new):
    """The change, explained by the rule of the host that its case meets.

    If there is none, an entry that both sides match explains it, or nothing does.
    """
    if change.explained_by != _SOME_RULE:
        return change
    sides = [record.environment for record in (old, new)]
    rule = host_rules.responsible(change.question, change.aspect, *sides)
    entry = change.matched[0] if change.matched[0] != "definition" else None
    return dataclasses.replace(change, explained_by=rule.id if rule else entry)


def _seen_in_other_dtypes(changes):
    """Count a rounding change as semantic if another dtype shows the same change.

    The tolerance of 16 bits can hide a change of a few percent. A change of more than
    an ulp that other dtypes show too is not rounding.
    """

    def question(change):
        name, _, rest = change.id.partition("[")
        return name, rest.partition(",")[2], change.aspect

    seen = {
        question(change): change.explained_by
        for change in changes
        if change.kind == SEMANTIC and change.aspect in _ARRAYS and "/" in change.id
    }
    for change in changes:
        if change.kind == ROUNDING and change.ulp > 1 and question(change) in seen:
            explained = seen[question(change)]
            change = dataclasses.replace(change, kind=SEMANTIC, explained_by=explained)
        yield change


def _explained_by_the_corpus(changes):
    """Explain answers beside the corpus by the entries that explain its cases.

    The ledger judges cases of the corpus. Another answer of a loss, saved or in
    training, is explained by the entry that most of the explained cases of that loss
    name; saved losses and others are counted separately.
    """
    changes, known = list(changes), collections.defaultdict(list)

    def kind(change):
        saved = ",reloaded]" in change.id
        saved |= change.id.endswith(("[config]", "[.keras]", "[pickle]"))
        return change.implementation, change.loss, saved

    for change in changes:
        of_a_rule = change.explained_by in host_rules.BY_ID
        if change.explained_by and "/" in change.id and not of_a_rule:
            known[kind(change)].append(set(change.explained_by.split(", ")))
    for change in changes:
        beside = "[" in change.id and "/" not in change.id
        entries = known[kind(change)]
        if beside and change.kind == SEMANTIC and entries:
            counted = collections.Counter(name for names in entries for name in names)
            name, times = counted.most_common(1)[0]
            if times > len(entries) / 2:
                change = dataclasses.replace(change, explained_by=name)
        yield change


def _explained_by_the_config(change, old, new):
    """Explain a change of a pickled or saved loss by the entry about its config.

    This holds if the answer is that of the config on one side only, as for a pickle
    since Keras 3.3: the file holds the config, and forgets what the config forgets.
    """
    question, _, way = change.id.rpartition("[")
    if change.kind != SEMANTIC or change.explained_by:
        return change
    if way not in ("pickle]", ".keras]"):
        return change
    by_config = []
    for found in (old, new):
        answers = [found.answers.get(f"{question}[{w}", {}) for w in (way, "config]")]
        asked, config = (answer.get(change.aspect) for answer in answers)
        by_config.append(asked is not None and asked == config)
    if by_config[0] == by_config[1]:
        return change
    found = old if by_config[0] else new
    entries = collections.Counter(
        answer["matches"]["config"]
        for identifier, answer in found.answers.items()
        if identifier.startswith(f"{change.implementation}:")
        and "/" in identifier
        and "[float32," in identifier  # as what is pickled is
        and answer["loss"] == change.loss
        and answer.get("matches", {}).get("config")
    )
    why = entries.most_common(1)[0][0] if entries else None
    return dataclasses.replace(change, explained_by=why)


def _of_two_backends(old, new):
    """Whether Keras ran on one backend and on another."""
    return len({backend_of(x.environment) for x in (old, new)}) == 2


def _backend_name(old, new):
    """The name of the backend as a component; "backend" if there are two."""
    if _of_two_backends(old, new):
        return "backend"
    backend = backend_of(new.environment)
    return BACKEND_NAMES.get(backend, backend)


def _replaced(old, new, component):
    """Whether a component of the environment was replaced."""
    keys = ("keras_package", "keras")
    if component != "Keras":
        keys = ("backend", *(backend_of(x.environment) for x in (old, new)))
    both = ({"backend": "tensorflow", **x.environment} for x in (old, new))
    old, new = both
    return any(old.get(key) != new.get(key) for key in keys)


def _components(changes, old, new, intermediate):
    """For each change, the component of the environment that made it."""
    backend = _backend_name(old, new)
    replaced = [name for name in ("Keras", backend) if _replaced(old, new, name)]
    if len(replaced) < 2:
        return ["".join(replaced)] * len(changes)
    if intermediate is not None:
        with_backend = {c.full_id for c in _changes(old, intermediate)[0]}
        with_keras = {c.full_id for c in _changes(intermediate, new)[0]}
        return [
            " and ".join(
                name
                for name, found in (
                    ("Keras", with_keras),
                    (backend, with_backend),
                )
                if change.full_id in found
            )
            or f"Keras with {backend}"  # neither of them alone
            for change in changes
        ]
    ours = {
        (c.question, c.aspect, c.kind) for c in changes if c.implementation == "ours"
    }
    if _of_two_backends(old, new):  # ours run on one of them alone
        return ["Keras or backend"] * len(changes)
    return [_inferred(change, ours) for change in changes]


def _inferred(change, ours):
    if change.explained_by or change.kind in (ADDED, REMOVED):
        return "Keras"
    if change.aspect not in (*_ARRAYS, "error", "dtype"):
        return "Keras"  # TensorFlow has no say in names, defaults and configs
    if (change.question, change.aspect, change.kind) in ours:
        return "TensorFlow"
    return "Keras or TensorFlow"
