"""Compare the outcomes of a case: who agrees with whom, and who is right."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Callable, Optional

import numpy as np

from keras_losses_ref.conformance.cases.case import UNWATCHED_FORMS, Case, snake
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.tolerance import Difference, difference, ulps
from keras_losses_ref.conformance.truth import (
    conditioning,
    host_rules,
    mixed_limit,
    rounded,
)

AGREE = "agree"
KNOWN_DEVIATION = "keras deviates, as the ledger says"
UNEXPLAINED = "keras deviates, not in the ledger"
OURS_WRONG = "ours is wrong"
ORACLE_SUSPECT = "oracle is suspect"
SKIPPED = "skipped"
#: The verdicts by the names that reports count them under, in the order of a table.
COUNTS = {
    "agree": AGREE,
    "ledger": KNOWN_DEVIATION,
    "unexplained": UNEXPLAINED,
    "ours_wrong": OURS_WRONG,
    "oracle_suspect": ORACLE_SUSPECT,
    "skipped": SKIPPED,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
    """Who agrees with whom on one aspect of one case."""

    COUNTS = COUNTS

    case: Case
    aspect: str
    verdict: str
    ours: Outcome
    keras: Outcome
    oracle: Outcome
    #: Ours against the oracle, in ulp of the dtype.
    ulp: float = float("nan")
    difference: Optional[Difference] = None
    deviation: Optional[str] = None
    reason: str = ""

    @property
    def id(self) -> str:
        return self.case.id

    @property
    def loss(self) -> str:
        return self.case.loss

    @property
    def failed(self) -> bool:
        return self.verdict in (UNEXPLAINED, OURS_WRONG, ORACLE_SUSPECT)

    @property
    def skipped(self) -> bool:
        return self.verdict == SKIPPED

    def at(self, outcome: Outcome) -> str:
        """What `outcome` says on this aspect, at the worst index, in a few words."""
        if outcome.unsupported:
            return "not asked" if outcome is self.ours else "absent"
        if outcome.error:
            return outcome.error
        if self.aspect == "error":
            return "a value"
        if self.aspect in ("shape", "dtype", "config", "warning"):
            return str(getattr(outcome, self.aspect))
        array = np.asarray(getattr(outcome, self.aspect))
        index = self.difference.index if self.difference else None
        if index is not None and array.shape and len(index) == array.ndim:
            return f"{array[index]:.9g}"
        return np.array2string(array, precision=9, threshold=6, separator=", ")

    def text(self) -> str:
        """The lines of a failure, without those that all failures share."""
        case, lines = self.case, []
        head = "FAIL" if self.failed else "    "
        lines.append(f"{head} {case.id}  {self.aspect}")
        lines.append(f"  {case.why}")
        if self.difference is not None:
            lines.append(f"  {self.difference.summary}")
        lines.append(f"    {self._inputs()}")
        lines.append(
            f"    ours {self.at(self.ours)}   {_keras()} {self.at(self.keras)}   "
            f"oracle {self.at(self.oracle)}"
        )
        for name, outcome in (("ours", self.ours), (_keras(), self.keras)):
            if outcome.message and self.aspect == "error":
                lines.append(f"    {name}: {_first_line(outcome.message)}")
        if self.difference is not None and np.isfinite(self.difference.size):
            lines.append(
                f"    |diff| {self.difference.size:.3g} > {self.difference.allowed:.3g}"
                f" allowed; {self.difference.ulp:.7g} ulp{self._mixed()}"
            )
        lines.append(f"  verdict: {self.verdict}{self.reason and '; ' + self.reason}")
        return "\n".join(lines)

    def _mixed(self):
        if np.isnan(self.difference.mixed):
            return ""
        limit = mixed_limit(self.case.loss, self.case.config)
        return f"; mixed error {self.difference.mixed:.3g}, at most {limit:g} allowed"

    def _inputs(self):
        case = self.case
        y_true, y_pred = rounded(case)
        index = self.difference.index if self.difference else None

        def show(array):
            array = np.asarray(array)
            named = index is not None and array.ndim and len(index) == array.ndim
            if named and all(i < n for i, n in zip(index, array.shape)):
                return f"{array[index]:.9g}"
            return np.array2string(
                array, precision=6, threshold=8, edgeitems=2, separator=", "
            ).replace("\n", "")

        weight = "none" if case.sample_weight is None else show(case.sample_weight)
        words = [f"y_true={show(y_true)}", f"y_pred={show(y_pred)}", f"weight={weight}"]
        if case.mask is not None:
            words.append(f"mask={show(case.mask)}")
        if case.activation:
            words.append(f"activation={case.activation}")
        if case.config:
            items = (f"{key}={value!r}" for key, value in case.config.items())
            words.append("config " + ", ".join(items))
        return "  ".join(words)


@dataclasses.dataclass(frozen=True)
class UnseenDeviation:
    """A deviation that the Keras in use should show in some case, but shows in none."""

    deviation: str
    loss: str
    sentence: str
    #: How many cases meet its condition, and the id of the first of them.
    cases: int
    first: str
    version: str
    backend: str = "tensorflow"

    aspect = "ledger"
    verdict = UNEXPLAINED
    failed, skipped = True, False

    @property
    def id(self) -> str:
        return f"{snake(self.loss)}/ledger/{self.deviation}"

    @property
    def reason(self) -> str:
        return (
            f"the ledger says that Keras {self.version} on {self.backend} deviates "
            f"here, but it does not: end the entry's versions before {self.version}, "
            "or name the backend that it holds on"
        )

    def text(self) -> str:
        """The failure, without the lines that all share."""
        return "\n".join(
            [
                f"FAIL {self.id}  {self.aspect}",
                f"  {self.sentence}",
                f"  {self.cases} cases meet its condition, first {self.first}",
                f"  verdict: {self.verdict}; {self.reason}",
            ]
        )


def _keras():
    """What reports call Keras's own losses, by the backend."""
    return host_rules().keras_name


def _first_line(message):
    return message.strip().split("\n")[0][:200]


def disagreement(
    case: Case,
    got: Outcome,
    wanted: Outcome,
    aspect: str,
    extra: Any = 0.0,
    mixed: bool = False,
) -> Optional[Difference]:
    """A Difference between two outcomes on one aspect, or None where they agree.

    With `mixed`, a value or gradient may also be right for inputs within a unit of the
    given ones.
    """
    if aspect == "error":
        if bool(got.error) == bool(wanted.error):
            return None
        refuses = "refuses" if got.error else "accepts"
        return Difference(f"{refuses} what the definition does not")
    if aspect == "dtype":
        if case.path == "fit" or got.dtype == wanted.dtype:
            return None
        return Difference(f"{got.dtype}, not {wanted.dtype}")
    if aspect == "shape":
        if got.shape == wanted.shape:
            return None
        return Difference(f"{got.shape}, not {wanted.shape}")
    if aspect == "warning":
        if got.warning == wanted.warning:
            return None
        words = [
            " and ".join(each or ()) or "nothing"
            for each in (got.warning, wanted.warning)
        ]
        return Difference(f"warns of {words[0]}, not of {words[1]}")
    if aspect == "config":
        if got.config == wanted.config:
            return None
        return Difference(_differing_arguments(got.config, wanted.config))
    a, b = getattr(got, aspect), getattr(wanted, aspect)
    if np.shape(a) != np.shape(b):
        if aspect == "value":
            return None  # the aspect "shape" has said so
        return Difference(f"shape {np.shape(a)}, not {np.shape(b)}")
    ignore = None
    if aspect != "value":
        ignore = np.isnan(case.y_pred)
        if host_rules().generation == 2 and np.shape(wanted.value) == ():
            # Keras 2 divides by the 0 samples that a mask keeps. A gate that is shut
            # stops the NaN that comes down to it, as a factor of 0 would not.
            dead = np.isnan(a) & (b == 0) | (a == 0) & np.isnan(b)
            ignore = ignore | (dead & bool(np.isnan(wanted.value)))
    more = {}
    if mixed and aspect in ("value", "gradient"):
        more["conditioning"] = lambda: getattr(conditioning(case), aspect)
        more["mixed_limit"] = mixed_limit(case.loss, case.config)
    return difference(
        a, b, case.dtype, aspect, ignore, extra, case.loss, case.device, **more
    )


def _differing_arguments(got, wanted):
    """Which arguments of `wanted` a config forgets or changes."""
    words = []
    got, wanted = got or {}, wanted or {}
    for name, value in wanted.items():
        if name not in got:
            words.append(f"forgets {name}={value!r}")
        elif got[name] != value:
            words.append(f"has {name}={got[name]!r}, not {value!r}")
    return "the config " + ", ".join(words)


def aspects(case: Case) -> list[str]:
    """What is compared of a case that no implementation refuses."""
    names = ["shape", "dtype", "value", "gradient"]
    names += ["config"] if case.path == "reloaded" else []
    names += ["second"] if case.check_hessian else []
    names += ["warning"] if case.expected_warning is not None else []
    if case.form in UNWATCHED_FORMS:
        names.remove("gradient")
    return names


def judge(
    case: Case,
    ours: Outcome,
    keras: Outcome,
    oracle: Outcome,
    deviations: Iterable[Any] = (),
    keeps_nan: Callable[[], bool] = lambda: True,
) -> Iterator[Verdict]:
    """Yield a Verdict for each aspect of a case.

    If ours cannot run but Keras can, as on a backend other than TensorFlow, the verdict
    compares Keras with the oracle only.

    `deviations` are the entries that hold for this host. A difference of Keras must be
    exactly what one of them says. `keeps_nan()` is whether the compiler behind the
    outcomes propagates NaN; it is called only where that matters.
    """
    if ours.unsupported and keras.unsupported:
        yield Verdict(
            case, "value", SKIPPED, ours, keras, oracle, reason=keras.unsupported
        )
        return
    refused = Outcome(error="ValueError", message=case.expected_error or "")
    if case.expected_error is not None:
        oracle = refused
        if ours.error and case.expected_error not in ours.message:
            ours = Outcome(error=ours.error, message=ours.message)
            gap = Difference(f"the message lacks {case.expected_error!r}")
            yield Verdict(
                case, "error", OURS_WRONG, ours, keras, oracle, difference=gap
            )
            return
    if case.form != "tensor" and keras.error and not (ours.error or oracle.error):
        # Keras refuses this form; other cases test that the loss takes the input.
        keras = Outcome(unsupported=f"refused: {_first_line(keras.message)}")
    if case.expected_warning is not None:
        # What warns follows the host, as reductions and masks do.
        oracle = dataclasses.replace(
            oracle, warning=ours.warning if keras.unsupported else keras.warning
        )
    if ours.error or keras.error or oracle.error:
        yield _verdict(case, "error", ours, keras, oracle, deviations)
        if ours.error or oracle.error:
            return
        keras = Outcome(unsupported=f"refused: {_first_line(keras.message)}")
    for aspect in aspects(case):
        verdict = _verdict(case, aspect, ours, keras, oracle, deviations)
        if verdict.failed and _may_lose_nan(case, aspect, oracle, keeps_nan):
            both = (_with_lost_nan(x, oracle, aspect) for x in (ours, keras))
            if not _verdict(case, aspect, *both, oracle, deviations).failed:
                reason = "the truth is NaN there, which XLA may simplify away"
                verdict = dataclasses.replace(verdict, verdict=SKIPPED, reason=reason)
        yield verdict


def _may_lose_nan(case, aspect, oracle, keeps_nan):
    """Whether XLA may simplify away a NaN that the truth has on this aspect.

    It may if arithmetic makes the NaN, such as inf * 0, and in the gradient of a NaN.
    A NaN in the inputs must come out in the value, if this XLA propagates NaN.
    """
    if case.path not in ("xla", "nested") or aspect not in ("value", "gradient"):
        return False
    if not np.any(np.isnan(oracle.value)):
        return False
    given = np.isnan(case.y_pred).any() or np.isnan(case.y_true).any()
    return bool(aspect == "gradient" or not given or not keeps_nan())


def _with_lost_nan(outcome, oracle, aspect):
    """The outcome with NaN on this aspect wherever the truth is NaN."""
    got, truth = getattr(outcome, aspect), getattr(oracle, aspect)
    if got is None or np.shape(got) != np.shape(truth):
        return outcome
    lost = np.where(np.isnan(truth), np.nan, got)
    return dataclasses.replace(outcome, **{aspect: lost})


def _verdict(case, aspect, ours, keras, oracle, deviations):
    ours_differs = keras_differs = None
    if not ours.unsupported:
        ours_differs = disagreement(case, ours, oracle, aspect, mixed=True)
    if not keras.unsupported:
        keras_differs = disagreement(case, keras, oracle, aspect)
    ulp = float("nan")
    if aspect in ("value", "gradient", "second") and not ours.unsupported:
        a, b = getattr(ours, aspect), getattr(oracle, aspect)
        if np.shape(a) == np.shape(b) and np.size(a):
            ulp = float(np.max(ulps(a, b, case.dtype)))

    def verdict(kind, difference=None, **more):
        return Verdict(case, aspect, kind, ours, keras, oracle, ulp, difference, **more)

    if not ours_differs and not keras_differs:
        return verdict(AGREE, reason=keras.unsupported or "")
    if ours_differs and not keras_differs:
        reason = "" if keras.unsupported else f"{_keras()} agrees with the oracle"
        return verdict(OURS_WRONG, ours_differs, reason=reason)
    tried = []
    for entry in deviations:
        if not entry.applies(case):
            continue
        answer, extra = entry.answer(case), entry.margin(case, aspect)
        # A refused input has no value; do not mistake it for NaN.
        says = aspect == "error" or not answer.error
        if says and disagreement(case, keras, answer, aspect, extra) is None:
            if ours_differs:
                reason = f"{_keras()} differs as {entry.id} says"
                return verdict(OURS_WRONG, ours_differs, reason=reason)
            return verdict(
                KNOWN_DEVIATION, keras_differs, deviation=entry.id, reason=entry.id
            )
        tried.append(entry.id)
    if ours_differs:
        if disagreement(case, ours, keras, aspect) is None:
            reason = f"ours and {_keras()} agree with each other"
            return verdict(ORACLE_SUSPECT, ours_differs, reason=reason)
        reason = f"{_keras()} differs from the oracle too, in another way"
        return verdict(OURS_WRONG, ours_differs, reason=reason)
    reason = "ours agrees with the oracle"
    if ours.unsupported:
        reason = f"on {host_rules().backend}, where ours do not run"
    if tried:
        reason += f"; the ledger's {', '.join(tried)} says something else"
    return verdict(UNEXPLAINED, keras_differs, reason=reason)
