"""Sequences: CTC, as TensorFlow's kernel and Keras's padding make it."""

import dataclasses

import numpy as np

from keras_losses_ref.conformance.deviations import formulas, jax_formulas
from keras_losses_ref.conformance.deviations._common import (
    KERAS,
    LOSSES_3,
    accepted,
    labels_change,
    rounded_labels,
)
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.truth import IMPOSSIBLE, right_answer


def _ctc_in_float32(case, aspect):
    """What float32 leaves of a sum over the steps, in a float64 loss."""
    if case.dtype != "float64" or aspect not in ("value", "gradient"):
        return 0.0
    if aspect == "gradient":
        return 16 * 2.0**-23
    truth = right_answer(dataclasses.replace(case, expected_error=None))
    if truth.error:
        return 8 * 2.0**-23
    return 8 * 2.0**-23 * max(1.0, float(np.max(np.abs(truth.value), initial=0)))


def _ctc_impossible_rounding(case, aspect):
    """Shares are exponentials of sums around -707, which float32 knows to 6e-5."""
    if aspect == "gradient":
        return 4 * IMPOSSIBLE * 2.0**-23
    if aspect == "value" and case.dtype == "float64":
        return 8 * IMPOSSIBLE * 2.0**-23
    return 0.0


def _ctc_labels(case):
    labels = rounded_labels(case) if case.y_true.dtype.kind == "i" else case.y_true
    return np.asarray(labels, np.int64)


def _ctc_impossible(case):
    if not accepted(case):
        return False
    labels = np.asarray(case.y_true, np.int64)
    lengths = np.sum(labels != 0, 1)
    repeats = np.sum((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0), 1)
    return bool(np.any(lengths + repeats > case.y_pred.shape[1]))


def _ctc_unusable(case):
    return (
        case.expected_error is not None
        and case.y_true.ndim == 2
        and case.y_pred.ndim == 3
    )


def _ctc_padded(case):
    if case.y_true.ndim != 2 or case.y_pred.ndim != 3:
        return False
    return bool(np.any(case.y_true == 0))


def _ctc_counting_padding(case):
    labels = _ctc_labels(case)
    return formulas.ctc(case, labels, np.full(len(labels), labels.shape[1]))


DEVIATIONS = (
    Deviation(
        "ctc-counts-padding",
        ("CTC",),
        (("3.0.2", "3.3.3"),),
        "The zeros that pad a label are counted as labels of the blank's class.",
        f"{KERAS}/v3.3.3/keras/src/losses/losses.py",
        _ctc_padded,
        _ctc_counting_padding,
        _ctc_impossible_rounding,
    ),
    Deviation(
        "ctc-labels-unchecked",
        ("CTC",),
        (("3.0.2", None),),
        "An invalid class index is accepted and costs nothing to emit; a 0 before the "
        "end counts as a label of the blank's class.",
        LOSSES_3,
        _ctc_unusable,
        lambda case: formulas.ctc(case, _ctc_labels(case)),
        _ctc_in_float32,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "ctc-labels-rounded",
        ("CTC",),
        (("3.0.2", None),),
        "`Loss.__call__` casts the labels to the loss's dtype, so 257 (bfloat16) and "
        "2049 (float16) become other classes.",
        f"{KERAS}/v3.12.0/keras/src/losses/loss.py",
        labels_change,
        lambda case: formulas.ctc(case, _ctc_labels(case)),
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "ctc-impossible-gradient",
        ("CTC",),
        (("3.0.2", None),),
        "If no alignment exists, the gradient lets paths start as well as stop "
        "anywhere, and is not that of the value.",
        "https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/python/ops/"
        "ctc_ops.py",
        _ctc_impossible,
        lambda case: formulas.ctc(case, _ctc_labels(case)),
        _ctc_impossible_rounding,
        backend="tensorflow",
    ),
    Deviation(
        "ctc-float64-in-float32",
        ("CTC",),
        (("3.0.2", None),),
        "A float64 loss is computed in float32: TensorFlow's op has no wider kernel.",
        f"{KERAS}/v3.12.0/keras/src/backend/tensorflow/nn.py",
        lambda case: case.dtype == "float64" and accepted(case),
        right_answer,
        _ctc_in_float32,
    ),
)
