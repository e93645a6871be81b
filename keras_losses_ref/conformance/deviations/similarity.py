"""Similarity of embeddings: Circle."""

import numpy as np

from keras_losses_ref.conformance.deviations import formulas, jax_formulas
from keras_losses_ref.conformance.deviations._common import LOSSES_3, accepted
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.truth import rounded


def _has_close_neighbours(case):
    """Whether 1 - cos of two rows loses digits; 16 bits have none to lose."""
    if not accepted(case) or case.dtype not in ("float32", "float64"):
        return False
    x = rounded(case)[1]
    return np.any((1 - x @ x.T)[~np.eye(len(x), dtype=bool)] < 0.01)


DEVIATIONS = (
    Deviation(
        "circle-cancels",
        ("Circle",),
        (("3.7.0", None),),
        "1 - cos of close neighbours is rounded in the dtype and magnified by gamma; "
        "rounding decides whether a distance is above 0 and has a gradient.",
        LOSSES_3,
        _has_close_neighbours,
        formulas.circle,
        on_jax=jax_formulas.outcome,
    ),
)
