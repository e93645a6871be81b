"""Labels as a released Keras takes them: cast, smoothed, along the wrong axis."""

import dataclasses

import numpy as np

from keras_losses_ref.conformance.deviations import jax_formulas
from keras_losses_ref.conformance.deviations._common import (
    KERAS_2,
    class_axis_is_not_last,
    labels_change,
    oracle_with,
    smoothed,
    smoothing_of,
    with_rounded_labels,
)
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.outcome import Outcome


def _smoothing_out_of_range(case):
    return not 0 <= smoothing_of(case) <= 1


def _unchecked_smoothing(case):
    if case.loss.startswith("Binary"):
        return smoothed(case, 2)
    return smoothed(case, case.y_pred.shape[case.config.get("axis", -1)])


def _unchecked_sparse_smoothing(case):
    """(1 - s) times the plain loss, plus s times the loss against all classes alike."""
    smoothing, classes = smoothing_of(case), case.y_pred.shape[-1]
    plain = {k: v for k, v in case.config.items() if k != "label_smoothing"}
    hit = oracle_with(case, config=plain, expected_error=None)
    uniform = oracle_with(
        case,
        loss="CategoricalCrossentropy",
        y_true=np.full(case.y_pred.shape, 1.0 / classes),
        config=plain,
        expected_error=None,
    )
    return dataclasses.replace(
        hit,
        value=(1 - smoothing) * hit.value + smoothing * uniform.value,
        gradient=(1 - smoothing) * hit.gradient + smoothing * uniform.gradient,
    )


DEVIATIONS = (
    Deviation(
        "values-rounded-to-dtype",
        (
            "MeanSquaredError",
            "MeanAbsoluteError",
            "LogCosh",
        ),
        (KERAS_2, ("3.0.0", None)),
        "Integer targets are cast to the dtype of the prediction before the "
        "difference is taken; float16 cannot hold 2049, nor bfloat16 257.",
        "https://github.com/keras-team/keras/issues/15014",
        labels_change,
        with_rounded_labels,
    ),
    Deviation(
        "huber-values-rounded",
        ("Huber",),
        (("3.4.0", None),),
        "Integer targets are cast to the dtype of the prediction before the "
        "difference is taken; float16 cannot hold 2049, nor bfloat16 257.",
        "https://github.com/keras-team/keras/issues/15014",
        labels_change,
        with_rounded_labels,
    ),
    Deviation(
        "mape-values-rounded",
        ("MeanAbsolutePercentageError",),
        (KERAS_2, ("3.4.0", None)),
        "Integer targets are cast to the dtype of the prediction before the "
        "difference is taken; float16 cannot hold 2049, nor bfloat16 257.",
        "https://github.com/keras-team/keras/issues/15014",
        labels_change,
        with_rounded_labels,
    ),
    Deviation(
        "labels-rounded-to-dtype",
        ("SparseCategoricalCrossentropy", "Circle"),
        (("3.0.0", None),),
        "`Loss.__call__` casts y_true to the loss's dtype, so class indices above 256 "
        "(bfloat16), 2048 (float16) or 2^24 (float32) become other classes.",
        "https://github.com/keras-team/keras/issues/15014",
        labels_change,
        with_rounded_labels,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "label-smoothing-counts-last-axis",
        ("CategoricalCrossentropy",),
        (("2.12.0", "2.13.1"), ("3.0.0", "3.15.1")),
        "Label smoothing divides by the size of the last axis of y_true, not by that "
        "of `axis`.",
        "https://github.com/keras-team/keras/issues/23451",
        lambda case: 0 < smoothing_of(case) <= 1 and class_axis_is_not_last(case),
        lambda case: smoothed(case, case.y_true.shape[-1]),
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "label-smoothing-unchecked",
        ("BinaryCrossentropy", "CategoricalCrossentropy"),
        (KERAS_2, ("3.0.0", "3.15.1")),
        "A label_smoothing outside [0, 1] is accepted and gives labels outside [0, 1].",
        "https://github.com/keras-team/keras/pull/23504",
        _smoothing_out_of_range,
        _unchecked_smoothing,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "focal-label-smoothing-unchecked",
        ("BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"),
        (KERAS_2, ("3.0.0", None)),
        "A label_smoothing outside [0, 1] is accepted and gives labels outside [0, 1].",
        "https://github.com/keras-team/keras/pull/23504",
        _smoothing_out_of_range,
        _unchecked_smoothing,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "focal-label-smoothing-counts-last-axis",
        ("CategoricalFocalCrossentropy",),
        (KERAS_2, ("3.0.0", "3.15.1")),
        "Label smoothing divides by the size of the last axis of y_true, not by that "
        "of `axis`.",
        "https://github.com/keras-team/keras/issues/23451",
        lambda case: 0 < smoothing_of(case) <= 1 and class_axis_is_not_last(case),
        lambda case: smoothed(case, case.y_true.shape[-1]),
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "sparse-label-smoothing-unchecked",
        ("SparseCategoricalCrossentropy",),
        (("3.16.0", None),),
        "The new label_smoothing of the sparse cross-entropy is not checked: 2.0 is "
        "accepted.",
        "https://github.com/keras-team/keras/pull/23488",
        _smoothing_out_of_range,
        _unchecked_sparse_smoothing,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "sparse-axis-refused",
        ("SparseCategoricalCrossentropy",),
        (("3.0.0", None),),
        "`axis` is an argument of the sparse cross-entropy, but any other than the "
        "last is refused.",
        "https://github.com/keras-team/keras/pull/22140",
        lambda case: not case.expected_error and class_axis_is_not_last(case),
        lambda case: Outcome(error="ValueError"),
    ),
    Deviation(
        "sparse-labels-unchecked-on-gpu",
        ("SparseCategoricalCrossentropy",),
        (KERAS_2, ("3.0.0", None)),
        "On a GPU an invalid class index is accepted and makes the loss NaN.",
        "https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/python/ops/"
        "nn_ops.py",
        lambda case: (
            case.expected_error == "no class" and case.device.startswith("GPU")
        ),
        lambda case: oracle_with(case, expected_error=None),
    ),
)
