"""Gradients that are right, and that have no derivative of their own."""

import dataclasses

import numpy as np

from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.truth import right_answer

_KERAS = "https://github.com/keras-team/keras/blob/v3.15.1/keras/src"


def _asked_twice(case):
    return case.check_hessian


def _nan(case):
    truth = right_answer(case)
    return dataclasses.replace(truth, second=np.full_like(truth.gradient, np.nan))


DEVIATIONS = (
    Deviation(
        "circle-second-derivative-nan",
        ("Circle",),
        (("3.7.0", None),),
        "Pairs that do not count are masked by infinities, which the second "
        "derivative multiplies by 0: it is NaN everywhere.",
        f"{_KERAS}/losses/losses.py",
        _asked_twice,
        _nan,
    ),
    Deviation(
        "ctc-second-derivative-nan",
        ("CTC",),
        (("3.0.2", None),),
        "Impossible paths are masked by infinities, which the second derivative "
        "multiplies by 0: it is NaN.",
        f"{_KERAS}/backend/tensorflow/nn.py",
        _asked_twice,
        _nan,
    ),
)
