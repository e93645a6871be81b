"""Run the checks: `check_loss` gives a report, the parametrizer pytest cases."""

import contextlib
import functools
import logging
import time
import warnings

import tensorflow as tf

from keras_losses_ref.conformance.evaluate import runtime_info
from keras_losses_ref.conformance.laws import (
    construction,
    execution,
    fresh_process,
    gradients,
    reductions,
)
from keras_losses_ref.conformance.laws.law import LAWS, Finding
from keras_losses_ref.conformance.laws.subject import Subject
from keras_losses_ref.conformance.report import Report

# The plain before the dear, and last what a fresh process answers in the meantime.
for _module in (construction, reductions, gradients, execution, fresh_process):
    for _law in [*LAWS.values()]:
        if _law.function.__module__ == _module.__name__:
            LAWS[_law.name] = LAWS.pop(_law.name)

#: With fewer checks than this executed, a report is no evidence and fails.
FLOOR = 30


def check_loss(
    loss,
    *,
    domain=None,
    oracle=None,
    expected_failures=None,
    declares=None,
    checks=None,
    progress=None,
):
    """Check what must hold for any loss; the result has `.ok`, `.failures`, `.skipped`.

    loss                a `Loss` class or instance, a factory without arguments, or a
                        function of y_true and y_pred
    domain              what the inputs look like: "real", "positive", "signs",
                        "binary", "binary_logits", "one_hot", "logits", "indices",
                        "index_logits", "probabilities", "segmentation", "embeddings",
                        "distances", "sequence", or a function `(rng, n) -> (y_true,
                        y_pred)`, or a `Domain`; without it one is tried out, and
                        named in the report
    oracle              a function of NumPy arrays y_true and y_pred that returns the
                        values per sample
    expected_failures   {check: reason}; one of them that passes is a failure
    declares            what the loss could say itself in `_klr_declares`: see
                        `DECLARABLE`
    checks              the names of the checks to apply; all without it
    progress            called with (done, total, name) before each check

    Findings of severity "error" and "warning" make the report fail; "advice" does not.

    >>> report = check_loss(MyLoss, domain="binary")
    >>> assert report.ok, report.text()
    """
    subject = Subject(loss, domain, oracle, declares)
    expected = _expected(subject, expected_failures)
    chosen = _chosen(checks)
    findings = []
    try:
        _start_child(subject, chosen)
        for done, law in enumerate(chosen):
            if progress is not None:
                progress(done, len(chosen), law.name)
            start = time.perf_counter()
            finding = _judge(_find(law, subject), expected)
            finding.seconds = time.perf_counter() - start
            findings.append(finding)
    finally:
        fresh_process.close(subject)
    if progress is not None:
        progress(len(chosen), len(chosen), "")
    if checks is None:
        findings.append(_enough(subject, findings))
    return Report(findings, _environment(subject))


def _find(law, subject):
    with _undisturbed():
        return law.find(subject)


@contextlib.contextmanager
def _undisturbed():
    """No noise of Keras's, no warnings turned into errors, no matrices in TF32.

    The laws build models by the dozen, which TensorFlow and Keras have remarks on; a
    GPU would round what the identity model only passes on.
    """
    loggers = [tf.get_logger(), logging.getLogger("absl")]
    levels = [logger.level for logger in loggers]
    exact = tf.config.experimental
    rounds = exact.tensor_float_32_execution_enabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        exact.enable_tensor_float_32_execution(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exact.enable_tensor_float_32_execution(rounds)
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _chosen(checks):
    if checks is None:
        return list(LAWS.values())
    _known(checks)
    return [law for name, law in LAWS.items() if name in checks]


def _known(names):
    unknown = [name for name in names if name not in LAWS]
    if unknown:
        raise ValueError(
            f"No such check: {', '.join(unknown)}. The checks are {', '.join(LAWS)}."
        )


def _expected(subject, given):
    expected = {**subject.declares.get("expected_failures", {}), **(given or {})}
    _known(expected)
    for name, reason in expected.items():
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"expected_failures[{name!r}] gives no reason.")
    return expected


def _judge(finding, expected):
    """Take into account that a failure was expected: strictly, both ways."""
    if finding.check not in expected or finding.skipped:
        return finding
    reason = expected[finding.check]
    if finding.status == "passed":
        finding.status, finding.severity = "failed", "error"
        finding.message = f"expected to fail ({reason}), and passes"
        finding.remedy = "Remove it from expected_failures."
    else:
        finding.status = "expected"
        finding.message = f"{finding.message}\nexpected: {reason}"
    return finding


def _start_child(subject, chosen):
    """Start the fresh process early: it runs beside the other checks."""
    if not any(law.name in _OF_THE_CHILD for law in chosen):
        return
    with _undisturbed():
        if subject.problem is None and subject.importable():
            # Where it fails, the laws will meet it again, and report it.
            with contextlib.suppress(Exception):
                fresh_process.child_of(subject)


_OF_THE_CHILD = frozenset(
    law.name
    for law in LAWS.values()
    if law.function.__module__ == fresh_process.__name__
)


def _enough(subject, findings):
    ran = sum(not finding.skipped for finding in findings)
    skipped = len(findings) - ran
    finding = Finding("enough_checks_ran", "passed", subject=subject.name)
    finding.message = f"{ran} ran, {skipped} were skipped"
    if ran < FLOOR:
        finding.status = "failed"
        finding.message += f"; fewer than {FLOOR} are no evidence"
        finding.remedy = "Mend what `runs` and the reasons of the skips say first."
    return finding


def _environment(subject):
    return {
        **runtime_info(),
        "subject": subject.name,
        "domain": None if subject.problem else subject.domain.name,
        "domain_chosen": None if subject.problem else subject.domain_reason,
    }


class Check:
    """One check of one loss, as a test calls it: `check(loss)`.

    It raises `AssertionError` with the finding's text, or skips, or xfails.
    """

    def __init__(self, law, subject, expected):
        self.law, self.subject, self.expected = law, subject, expected

    @property
    def name(self):
        return self.law.name

    def __repr__(self):
        return self.name

    def __call__(self, loss=None):
        import pytest

        __tracebackhide__ = True
        subject = self.subject()
        finding = _judge(_find(self.law, subject), self.expected)
        if finding.skipped:
            pytest.skip(finding.message)
        if finding.status == "expected":
            pytest.xfail(finding.message)
        if finding.failed:
            raise AssertionError(finding.text())
        return finding


def parametrize_with_loss_checks(
    losses,
    *,
    domain=None,
    oracle=None,
    expected_failures=None,
    declares=None,
    checks=None,
):
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
        # One subject for all checks of a loss: it remembers what is dear to compute.
        # Made by the first test, not at collection.
        subject = functools.lru_cache(maxsize=1)(
            functools.partial(_shared, loss, domain, oracle, declares)
        )
        probe = Subject(loss, domain, oracle, declares)
        expected = _expected(probe, expects)
        for law in _chosen(checks):
            parameters.append(
                pytest.param(
                    loss,
                    Check(law, subject, expected),
                    id=f"{probe.name}-{law.name}",
                )
            )
    return pytest.mark.parametrize(("loss", "check"), parameters)


def _shared(loss, domain, oracle, declares):
    import atexit

    subject = Subject(loss, domain, oracle, declares)
    atexit.register(fresh_process.close, subject)
    return subject
