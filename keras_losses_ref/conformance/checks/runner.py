"""Run the checks: `check_loss` gives a report, the parametrizer pytest cases."""

import contextlib
import dataclasses
import functools
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, TypeVar, Union

from keras_losses_ref.conformance import arrays
from keras_losses_ref.conformance.checks import (
    construction,
    execution,
    fresh_process,
    gradients,
    portability,
    reductions,
)
from keras_losses_ref.conformance.checks.check import CHECKS, Check, CheckResult
from keras_losses_ref.conformance.checks.loss_under_test import LossUnderTest
from keras_losses_ref.conformance.report import Report
from keras_losses_ref.conformance.runtime import runtime_info

# Cheap checks first; last those that a fresh process answers in the meantime.
for _module in (
    *(construction, reductions, gradients, execution, portability),
    fresh_process,
):
    for _check in [*CHECKS.values()]:
        if _check.function.__module__ == _module.__name__:
            CHECKS[_check.name] = CHECKS.pop(_check.name)

#: A report with fewer executed checks than this proves nothing and fails.
FLOOR = 30


F = TypeVar("F", bound=Callable[..., object])


def check_loss(
    loss: Any,
    *,
    domain: Any = None,
    oracle: Optional[Callable[..., Any]] = None,
    expected_failures: Optional[Mapping[str, str]] = None,
    declares: Optional[Mapping[str, Any]] = None,
    checks: Optional[Sequence[str]] = None,
    progress: Optional[Callable[[int, int, str], object]] = None,
) -> Report[CheckResult]:
    """Check what must hold for any loss; the result has `.ok`, `.failures`, `.skipped`.

    loss                a `Loss` class or instance, a factory without arguments, or a
                        function of y_true and y_pred
    domain              what the inputs look like: "real", "positive", "signs",
                        "binary", "binary_logits", "one_hot", "logits", "indices",
                        "index_logits", "probabilities", "segmentation", "embeddings",
                        "distances", "sequence", "boxes", "boxes_xywh", "ranking",
                        "ranking_padded", "ranking_masked", "pairs", "packed_mask",
                        "depth", or a function `(rng, n) -> (y_true, y_pred)`, or a
                        `Domain`; without it one is guessed, and named in the report;
                        y_true and y_pred may be dicts, lists or tuples of arrays
    oracle              a function of NumPy arrays y_true and y_pred that returns the
                        values per sample
    expected_failures   {check: reason}; one of them that passes is a failure
    declares            the same as `_klr_declares` on the loss: see `DECLARABLE`
    checks              the names of the checks to apply; all without it
    progress            called with (done, total, name) before each check

    Results of severity "error" and "warning" make the report fail; "advice" does not.

    >>> report = check_loss(MyLoss, domain="binary")
    >>> assert report.ok, report.text()
    """
    subject = LossUnderTest(loss, domain, oracle, declares)
    expected = _expected(subject, expected_failures)
    chosen = _chosen(checks)
    subject.asked = {check.name for check in chosen}
    results = []
    try:
        _start_child(subject, chosen)
        for done, check in enumerate(chosen):
            if progress is not None:
                progress(done, len(chosen), check.name)
            start = time.perf_counter()
            result = _judge(_run(check, subject), expected)
            result.seconds = time.perf_counter() - start
            results.append(result)
    finally:
        fresh_process.close(subject)
    if progress is not None:
        progress(len(chosen), len(chosen), "")
    if checks is None:
        results.append(_enough(subject, results))
    _name_under_roots(results)
    return Report(results, _environment(subject))


def _run(check, subject):
    with _undisturbed():
        return check.run(subject)


@contextlib.contextmanager
def _undisturbed():
    """Silence Keras, keep warnings from becoming errors, and turn off TF32.

    The checks build dozens of models, about which TensorFlow and Keras warn. With TF32
    a GPU would round what the identity model only passes on.
    """
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with arrays.exact_matrices(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _chosen(checks):
    if checks is None:
        return list(CHECKS.values())
    _known(checks)
    return [check for name, check in CHECKS.items() if name in checks]


def _known(names):
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise ValueError(
            f"No such check: {', '.join(unknown)}. The checks are {', '.join(CHECKS)}."
        )


def _expected(subject, given):
    expected = {**subject.declares.get("expected_failures", {}), **(given or {})}
    _known(expected)
    for name, reason in expected.items():
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"expected_failures[{name!r}] gives no reason.")
    return expected


def _judge(result, expected):
    """Apply expected failures strictly: an unexpected pass fails."""
    if result.check not in expected or result.skipped:
        return result
    reason = expected[result.check]
    result = dataclasses.replace(result)
    if result.status == "passed":
        result.status, result.severity = "failed", "error"
        result.message = f"expected to fail ({reason}), and passes"
        result.remedy = "Remove it from expected_failures."
    else:
        result.status = "expected"
        result.message = f"{result.message}\nexpected: {reason}"
    return result


def _name_under_roots(results):
    """List skipped checks under the check whose failure they would repeat."""
    by_name = {result.check: result for result in results}
    for result in results:
        root, seen = result.root, set()
        while root and root not in seen:  # to the first cause
            seen.add(root)
            found = by_name.get(root)
            if found is None or not found.skipped:
                break
            root = found.root
        found = by_name.get(root)
        if result.skipped and found is not None and found.broken:
            found.hides.append(result.check)


def _start_child(subject, chosen):
    """Start the fresh process early: it runs beside the other checks."""
    if not any(check.name in _OF_THE_CHILD for check in chosen):
        return
    with _undisturbed():
        if subject.problem is None and subject.importable():
            # Where it fails, the checks will meet it again, and report it.
            with contextlib.suppress(Exception):
                fresh_process.child_of(subject)


_OF_THE_CHILD = frozenset(
    check.name
    for check in CHECKS.values()
    if check.function.__module__ == fresh_process.__name__
)


def _enough(subject, results):
    ran = sum(not result.skipped for result in results)
    skipped = len(results) - ran
    result = CheckResult("enough_checks_ran", "passed", subject=subject.name)
    result.message = f"{ran} ran, {skipped} were skipped"
    if ran < FLOOR and subject.fails("runs"):
        result.status, result.root = "skipped", "runs"
    elif ran < FLOOR:
        result.status = "failed"
        result.message += f"; fewer than {FLOOR} are no evidence"
        result.remedy = "Look at the reasons of the skipped checks: --all shows them."
    return result


def _environment(subject):
    return {
        **runtime_info(),
        "subject": subject.name,
        "domain": None if subject.problem else subject.domain.name,
        "domain_chosen": None if subject.problem else subject.domain_reason,
        "not_checked": "" if subject.problem else ", ".join(subject.not_checked),
    }


class BoundCheck:
    """One check of one loss, as a test calls it: `check(loss)`.

    It raises `AssertionError` with the result's text, or skips, or xfails.
    """

    def __init__(
        self, check: Check, subject: Any, expected: Mapping[str, str], asked: Any
    ) -> None:
        self.check, self.subject, self.expected = check, subject, expected
        self.asked = asked

    @property
    def name(self) -> str:
        return self.check.name

    def __repr__(self):
        return self.name

    def __call__(self, loss: Any = None) -> CheckResult:
        import pytest

        __tracebackhide__ = True
        subject = self.subject()
        subject.asked = self.asked
        result = _judge(_run(self.check, subject), self.expected)
        if result.skipped:
            pytest.skip(result.message)
        if result.status == "expected":
            pytest.xfail(result.message)
        if result.failed:
            raise AssertionError(result.text())
        return result


def parametrize_with_loss_checks(
    losses: Sequence[Any],
    *,
    domain: Any = None,
    oracle: Optional[Callable[..., Any]] = None,
    expected_failures: Union[
        Mapping[str, str], Callable[[Any], Optional[Mapping[str, str]]], None
    ] = None,
    declares: Optional[Mapping[str, Any]] = None,
    checks: Optional[Sequence[str]] = None,
) -> Callable[[F], F]:
    """A pytest decorator: one test for each loss and check.

    expected_failures may be a dict for all losses, or a function of the loss that
    returns one; the other arguments are those of `check_loss`.

    >>> @parametrize_with_loss_checks([MyLoss, MyLoss(alpha=0.5)])
    ... def test_my_losses(loss, check):
    ...     check(loss)
    """
    import pytest

    parameters = []
    for loss in losses:
        expects = expected_failures
        if callable(expects):
            expects = expects(loss)
        # One subject for all checks of a loss: it caches expensive results.
        # Made by the first test, not at collection.
        subject = functools.lru_cache(maxsize=1)(
            functools.partial(_shared, loss, domain, oracle, declares)
        )
        probe = LossUnderTest(loss, domain, oracle, declares)
        expected = _expected(probe, expects)
        chosen = _chosen(checks)
        asked = {check.name for check in chosen}
        for check in chosen:
            parameters.append(
                pytest.param(
                    loss,
                    BoundCheck(check, subject, expected, asked),
                    id=f"{probe.name}-{check.name}",
                )
            )
    return pytest.mark.parametrize(("loss", "check"), parameters)


def _shared(loss, domain, oracle, declares):
    import atexit

    subject = LossUnderTest(loss, domain, oracle, declares)
    atexit.register(fresh_process.close, subject)
    return subject
