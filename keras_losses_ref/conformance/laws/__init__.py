"""What must hold for any loss, with no oracle: `check_loss`.

    >>> from keras_losses_ref import check_loss
    >>> report = check_loss(MyLoss, domain="binary")
    >>> print(report.text())

A law is a function with a docstring, a severity and a remedy; it is applied to a
`Subject`, the loss under check, and raises a `Violation` that shows the two numbers
that disagree. A loss that differs on purpose says so itself:

    class MyLoss(keras.losses.Loss):
        _klr_declares = {
            "domain": "embeddings",
            "batch_wise": True,
            "expected_failures": {"rank_may_be_unknown": "needs the batch size"},
        }
"""

from keras_losses_ref.conformance.laws.domains import DOMAINS, Domain
from keras_losses_ref.conformance.laws.law import LAWS, Finding
from keras_losses_ref.conformance.laws.runner import (
    FLOOR,
    Check,
    check_loss,
    parametrize_with_loss_checks,
)
from keras_losses_ref.conformance.laws.subject import DECLARABLE, load_target

__all__ = [
    "Check",
    "DECLARABLE",
    "DOMAINS",
    "Domain",
    "FLOOR",
    "Finding",
    "LAWS",
    "check_loss",
    "load_target",
    "parametrize_with_loss_checks",
]
