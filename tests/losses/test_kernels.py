"""Kernel = definition, and no loss computes wider than it has to."""

import numpy as np
import pytest
import tensorflow as tf

from keras_losses_ref.conformance import accuracy
from keras_losses_ref.losses import base, convert

#: Arguments besides the defaults: each branch of a kernel.
ARGUMENTS = {
    "binary_crossentropy": [
        {"axis": 0},
        {"from_logits": True, "label_smoothing": 0.1},
    ],
    "binary_focal_crossentropy": [
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 0.5},
        {"from_logits": True, "gamma": 3.5, "label_smoothing": 0.2},
        {"gamma": 0},
        {"gamma": 1, "axis": 0},
    ],
    "categorical_crossentropy": [
        {"label_smoothing": 0.1},
        {"from_logits": True, "axis": 0},
    ],
    "categorical_focal_crossentropy": [
        {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5], "gamma": 0.7},
        {"from_logits": True, "gamma": 0, "label_smoothing": 0.1},
        {"gamma": 1},
    ],
    "sparse_categorical_crossentropy": [
        {"ignore_class": 2, "label_smoothing": 0.1},
        {"from_logits": True, "ignore_class": -1, "label_smoothing": 0.2},
    ],
    "sparse_categorical_focal_crossentropy": [{"ignore_class": 1, "gamma": 1.5}],
    "tversky": [{"alpha": 0.2, "beta": 0.9, "axis": None}],
    "dice": [{"axis": None}],
    "cosine_similarity": [{"axis": 0}],
    "circle": [{"remove_diagonal": False, "gamma": 10, "margin": 0.25}],
}


def function_of(subject):
    return getattr(convert.LOSSES[subject.loss], "function")


KERNELS = [
    (subject, {**subject.config, **more})
    for subject in accuracy.SPECS
    if function_of(subject).kernel is not None
    for more in (
        [{}]
        + [
            more
            for more in ARGUMENTS.get(function_of(subject).__name__, [])
            if more.get("from_logits", False) == bool(subject.config.get("from_logits"))
        ]
    )
]


def value_and_gradients(form, y_true, y_pred, arguments):
    """The sum of the values times 1, 2, ..., and its gradients to both sides."""
    sources = [y_pred] + ([y_true] if y_true.dtype.is_floating else [])
    with tf.GradientTape() as tape:
        tape.watch(sources)
        values = form(y_true, y_pred, **arguments)
        weights = tf.range(1, tf.size(values, out_type=tf.int64) + 1)
        weights = tf.reshape(tf.cast(weights, values.dtype), tf.shape(values))
        total = tf.reduce_sum(weights * values)
    return [values, *tape.gradient(total, sources)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "subject, arguments",
    KERNELS,
    ids=[f"{s.name} {' '.join(map(str, a.items()))}" for s, a in KERNELS],
)
def test_kernel_equals_definition(subject, arguments, seed):
    """Value and both gradients in float64, within 1e-11 of the largest of each."""
    function = function_of(subject)
    bound = dict(base._bind(function.definition, (), {}), **arguments)
    case = next(accuracy.cases(subject, "float64", "eager", seed=seed))
    y_true, y_pred = tf.constant(case.y_true), tf.constant(case.y_pred)
    y_true, y_pred, bound = function.prepare(y_true, y_pred, bound)
    if y_true.dtype.is_floating:
        y_true = tf.cast(y_true, y_pred.dtype)
    kernel, definition = (
        value_and_gradients(form, y_true, y_pred, bound)
        for form in (function.kernel, function.definition)
    )
    for got, want in zip(kernel, definition):
        size = max(1.0, np.max(np.abs(want)))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * size)
