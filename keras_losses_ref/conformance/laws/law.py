"""What a law is, what it finds, and how two numbers that should agree are compared."""

import dataclasses
import traceback
from typing import Callable

import numpy as np

#: What a violated law means. Errors and warnings fail the report; advice does not:
#: it names what is worth a change, or what the hosting Keras does wrong itself.
SEVERITIES = ("error", "warning", "advice")


@dataclasses.dataclass
class Finding:
    """What one check said about one loss.

    `status` is "passed", "failed", "advice", "expected" (failed, as declared) or
    "skipped" (`message` says why).
    """

    check: str
    status: str
    message: str = ""
    severity: str = "error"
    remedy: str = ""
    subject: str = ""
    law: str = ""
    seconds: float = 0.0

    COUNTS = {
        name: name for name in ("passed", "failed", "advice", "expected", "skipped")
    }

    # What a report asks of any result; see `conformance.report`.

    @property
    def id(self):
        return f"{self.subject}/{self.check}"

    @property
    def loss(self):
        return self.subject

    @property
    def aspect(self):
        return self.check

    @property
    def verdict(self):
        return self.status

    @property
    def reason(self):
        return self.message

    @property
    def failed(self):
        return self.status == "failed"

    @property
    def skipped(self):
        return self.status == "skipped"

    def text(self):
        """The finding as a person reads it; a passed check is one line."""
        head = {"failed": "FAIL", "passed": "ok", "skipped": "skip"}
        lines = [f"{head.get(self.status, self.status)} {self.subject}/{self.check}"]
        if self.status in ("failed", "advice", "expected"):
            lines[0] += f"  {self.severity}"
            lines += [f"  {line}" for line in self.message.splitlines()]
            if self.law:
                lines.append(f"  law: {self.law}")
            if self.remedy:
                lines.append(f"  change: {self.remedy}")
        elif self.message:
            lines[0] += f"  {self.message}"
        return "\n".join(lines)


class Violation(Exception):
    """A law does not hold; `severity` and `remedy` replace those of the law."""

    def __init__(self, message, severity=None, remedy=None):
        super().__init__(message)
        self.severity = severity
        self.remedy = remedy


class Skip(Exception):
    """A law says nothing about this loss; the message says why."""


@dataclasses.dataclass(frozen=True)
class Law:
    """A function of a `Subject` that raises `Violation`, with what goes with it."""

    name: str
    severity: str
    remedy: str
    needs: tuple
    function: Callable

    @property
    def says(self):
        """The law in one line: the first of the docstring."""
        return self.function.__doc__.strip().splitlines()[0]

    def find(self, subject):
        """Apply the law to `subject`; never raises."""
        finding = Finding(self.name, "passed", "", self.severity, subject=subject.name)
        try:
            for need in self.needs:
                subject.require(need)
            finding.message = self.function(subject) or ""
        except Skip as skip:
            finding.status, finding.message = "skipped", str(skip)
        except Violation as violation:
            self._fail(finding, str(violation), violation.severity, violation.remedy)
        except Exception as error:  # whatever a stranger's loss raises is a finding
            self._fail(finding, describe(error))
        return finding

    def _fail(self, finding, message, severity=None, remedy=None):
        finding.severity = severity or self.severity
        finding.status = "advice" if finding.severity == "advice" else "failed"
        finding.message = message
        finding.remedy = remedy or self.remedy
        finding.law = self.says


#: Every law by name, in the order in which they are applied.
LAWS = {}


def law(severity, remedy, needs=("runs",)):
    """Make a function a law under its own name.

    severity    of a violation: one of `SEVERITIES`
    remedy      what to change in the loss, in words
    needs       what the subject must be for the law to say anything: see
                `Subject.require`
    """
    if severity not in SEVERITIES:
        raise ValueError(f"Unknown severity: {severity!r}.")

    def add(function):
        if function.__name__ in LAWS:
            raise ValueError(f"Two laws are named {function.__name__}.")
        LAWS[function.__name__] = Law(
            function.__name__, severity, remedy, tuple(needs), function
        )
        return function

    return add


def describe(error):
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
        foreign = ("/tensorflow/", "/keras/", "/tf_keras/", "/conformance/", "/tmp/")
        if "site-packages" not in path and not any(f in path for f in foreign):
            where = f" (line {frame.lineno} of {path.rsplit('/', 1)[-1]})"
    return f"raises {type(error).__name__}: {text[:300]}{where}"


def number(value):
    """A number for a message: short, and different where the values differ."""
    return f"{float(value):.7g}"


def expect_close(got, want, got_is, want_is, rtol=1e-5, atol=None, why="", **how):
    """Raise a `Violation` that shows the two numbers that disagree most."""
    got, want = np.asarray(got), np.asarray(want)
    why = f"; {why}" if why else ""
    if got.shape != want.shape:
        raise Violation(
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
    raise Violation(
        f"{got_is} is {number(got[worst])}, {want_is} is {number(want[worst])}"
        f"{at}{count}{why}",
        **how,
    )
