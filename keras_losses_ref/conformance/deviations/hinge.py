"""Hinge losses."""

from keras_losses_ref.conformance.deviations._common import LOSSES_3, accepted
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.outcome import Outcome

DEVIATIONS = (
    Deviation(
        "categorical-hinge-empty-batch",
        ("CategoricalHinge",),
        (("3.0.0", None),),
        "In eager mode an empty batch raises an error: it has no largest score.",
        LOSSES_3,
        lambda case: case.path == "eager" and accepted(case) and case.y_pred.size == 0,
        lambda case: Outcome(error="InvalidArgumentError"),
        backend="tensorflow",
    ),
)
