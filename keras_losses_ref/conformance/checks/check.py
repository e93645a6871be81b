"""The check, its result, and the comparison of two numbers that should agree."""

import dataclasses
import traceback
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

import numpy as np

from keras_losses_ref import host
from keras_losses_ref.conformance.checks import backends

if TYPE_CHECKING:
    from keras_losses_ref.conformance.checks.loss_under_test import LossUnderTest

#: How bad a violated check is. Errors and warnings fail the report. Advice does not: it
#: names what is worth a change, or what the Keras in use does wrong itself.
SEVERITIES = ("error", "warning", "advice")


@dataclasses.dataclass
class CheckResult:
    """The result of one check on one loss.

    `status` is "passed", "failed", "advice", "expected" (failed, as declared) or
    "skipped" (`message` says why). `root` names the check that a skipped one rests on,
    and `hides` the checks that were skipped because this one failed. `broken` is true
    where the loss does not hold the check, expected or not.
    """

    check: str
    status: str
    message: str = ""
    severity: str = "error"
    remedy: str = ""
    subject: str = ""
    law: str = ""
    seconds: float = 0.0
    root: str = ""
    hides: list[str] = dataclasses.field(default_factory=list)
    broken: bool = False

    COUNTS = {
        name: name for name in ("passed", "failed", "advice", "expected", "skipped")
    }

    # What a report asks of any result; see `conformance.report`.

    @property
    def id(self) -> str:
        return f"{self.subject}/{self.check}"

    @property
    def loss(self) -> str:
        return self.subject

    @property
    def aspect(self) -> str:
        return self.check

    @property
    def verdict(self) -> str:
        return self.status

    @property
    def reason(self) -> str:
        return self.message

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    @property
    def skipped(self) -> bool:
        return self.status == "skipped"

    def text(self) -> str:
        """The result as a person reads it; a passed check is one line."""
        head = {"failed": "FAIL", "passed": "ok", "skipped": "skip"}
        lines = [f"{head.get(self.status, self.status)} {self.subject}/{self.check}"]
        if self.status in ("failed", "advice", "expected"):
            lines[0] += f"  {self.severity}"
            lines += [f"  {line}" for line in self.message.splitlines()]
            if self.law:
                lines.append(f"  check: {self.law}")
            if self.remedy:
                lines.append(f"  change: {self.remedy}")
            if self.hides:
                named = ", ".join(self.hides[:8])
                more = len(self.hides) - 8
                named += f" and {more} more" if more > 0 else ""
                lines.append(f"  skipped because of it: {named}")
        elif self.message:
            lines[0] += f"  {self.message}"
        return "\n".join(lines)


class CheckFailed(Exception):
    """A check does not hold; `severity` and `fix` replace those of the check."""

    def __init__(
        self, message: str, severity: Optional[str] = None, fix: Optional[str] = None
    ) -> None:
        super().__init__(message)
        self.severity = severity
        self.fix = fix


class CheckSkipped(Exception):
    """A check does not apply to this loss; the message says why.

    `root` is the check that says what is wrong, where that is the reason.
    """

    def __init__(self, message: str, root: str = "") -> None:
        super().__init__(f"{message}; see `{root}`" if root else message)
        self.root = root


@dataclasses.dataclass(frozen=True)
class Check:
    """A function of a `LossUnderTest` that raises `CheckFailed`, and its metadata."""

    name: str
    severity: str
    fix: str
    needs: tuple[str, ...]
    rests_on: tuple[str, ...]
    function: Callable[..., Any]

    @property
    def summary(self) -> str:
        """The check in one line: the first of the docstring."""
        return self.function.__doc__.strip().splitlines()[0]

    def run(self, subject: "LossUnderTest") -> CheckResult:
        """Apply the check to `subject`, once; never raises."""
        if self.name not in subject.results:
            subject.results[self.name] = self._run(subject)
        return subject.results[self.name]

    def _run(self, subject):
        result = CheckResult(
            self.name, "passed", "", self.severity, subject=subject.name
        )
        try:
            if reason := backends.not_here(self.name):
                raise CheckSkipped(reason)
            for need in self.needs:
                subject.require(need)
            for root in self.rests_on:
                subject.rest_on(root)
            result.message = self.function(subject) or ""
        except CheckSkipped as skip:
            result.status, result.message = "skipped", str(skip)
            result.root = skip.root
        except CheckFailed as failure:
            self._fail(result, str(failure), failure.severity, failure.fix)
        except Exception as error:  # whatever a stranger's loss raises is a result
            self._fail(result, describe(error))
        return result

    def _fail(self, result, message, severity=None, fix=None):
        result.severity = severity or self.severity
        result.status = "advice" if result.severity == "advice" else "failed"
        result.broken = result.status == "failed"
        result.message = message
        result.remedy = backends.in_words_of(host.BACKEND, fix or self.fix)
        result.law = self.summary


#: Every check by name, in the order in which they are applied.
CHECKS = {}


F = TypeVar("F", bound=Callable[..., Any])


def check(
    severity: str,
    fix: str,
    needs: tuple[str, ...] = ("runs",),
    rests_on: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Make a function a check under its own name.

    severity    of a failure: one of `SEVERITIES`
    fix         what to change in the loss, in words
    needs       what the subject must be for the check to apply: see
                `LossUnderTest.require`
    rests_on    the checks whose failure makes this one fail too: it is skipped then,
                and named under the one that failed
    """
    if severity not in SEVERITIES:
        raise ValueError(f"Unknown severity: {severity!r}.")

    def add(function):
        if function.__name__ in CHECKS:
            raise ValueError(f"Two checks are named {function.__name__}.")
        CHECKS[function.__name__] = Check(
            function.__name__,
            severity,
            fix,
            tuple(needs),
            tuple(rests_on),
            function,
        )
        return function

    return add


def describe(error: BaseException) -> str:
    """An exception in one line, with the last line of the loss's own code."""
    text = str(error).strip()
    # TensorFlow wraps the message of an error inside a graph in its own traceback.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if "Error:" in line and not line.startswith(("File", "Arguments")):
            text = line
            break
    else:
        text = lines[0] if lines else ""
    text = text.replace(f"{type(error).__name__}: ", "", 1)
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = frame.filename.replace("\\", "/")
        foreign = (
            "/lib/python",
            "/tensorflow/",
            "/keras/",
            "/tf_keras/",
            "/conformance/",
            "/tmp/",
        )
        if "site-packages" not in path and not any(f in path for f in foreign):
            where = f" (line {frame.lineno} of {path.rsplit('/', 1)[-1]})"
    return f"raises {type(error).__name__}: {text[:300]}{where}"


def number(value: Any) -> str:
    """A number for a message: short, and different where the values differ."""
    return f"{float(value):.7g}"


def expect_close(
    got: Any,
    want: Any,
    got_is: str,
    want_is: str,
    rtol: float = 1e-5,
    atol: Optional[float] = None,
    why: str = "",
    **how: Any,
) -> None:
    """Raise a `CheckFailed` that shows the two numbers that disagree most."""
    got, want = np.asarray(got), np.asarray(want)
    why = f"; {why}" if why else ""
    if got.shape != want.shape:
        raise CheckFailed(
            f"{got_is} has shape {got.shape}, {want_is} has shape {want.shape}{why}",
            **how,
        )
    if got.size == 0:
        return
    got, want = got.astype("float64"), want.astype("float64")
    if atol is None:
        finite = np.abs(want[np.isfinite(want)])
        atol = 0.1 * rtol * max(1.0, finite.max() if finite.size else 1.0)
    bad = ~np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    if not bad.any():
        return
    with np.errstate(invalid="ignore"):
        off = np.where(bad, np.abs(got - want), -1.0)
    off = np.where(bad & ~np.isfinite(off), np.inf, off)
    worst = np.unravel_index(int(np.argmax(off)), off.shape)
    at = f" at {list(map(int, worst))}" if worst else ""
    count = f", {int(bad.sum())} of {bad.size} differ" if bad.size > 1 else ""
    raise CheckFailed(
        f"{got_is} is {number(got[worst])}, {want_is} is {number(want[worst])}"
        f"{at}{count}{why}",
        **how,
    )
