"""Checks that must hold for any loss, without an oracle: `check_loss`.

    >>> from keras_losses_ref import check_loss
    >>> report = check_loss(MyLoss, domain="binary")
    >>> print(report.text())

The inputs are those of a named domain, of a function `(rng, n) -> (y_true, y_pred)`, or
of a `Domain`, which may name its ends.

A check is a function with a docstring, a severity and a fix. It is applied to a
`LossUnderTest` and raises a `CheckFailed` that shows the two numbers that disagree. A
loss that deviates on purpose declares it:

    class MyLoss(keras.losses.Loss):
        _klr_declares = {
            "domain": "embeddings",
            "batch_wise": True,
            "expected_failures": {"rank_may_be_unknown": "needs the batch size"},
        }
"""

from keras_losses_ref.conformance.checks.check import CHECKS, CheckResult
from keras_losses_ref.conformance.checks.domains import DOMAINS, Domain
from keras_losses_ref.conformance.checks.loss_under_test import DECLARABLE, load_target
from keras_losses_ref.conformance.checks.runner import (
    FLOOR,
    BoundCheck,
    check_loss,
    parametrize_with_loss_checks,
)

__all__ = [
    "BoundCheck",
    "DECLARABLE",
    "DOMAINS",
    "Domain",
    "FLOOR",
    "CheckResult",
    "CHECKS",
    "check_loss",
    "load_target",
    "parametrize_with_loss_checks",
]
