"""Focal cross-entropies: what is already well predicted counts for little."""

from collections.abc import Sequence
from typing import Any, Optional, Union

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.crossentropy import (
    below_largest,
    clip_probability,
    cost_of_classes,
)
from keras_losses_ref.losses.inputs import (
    constant,
    several_classes,
    validate_class_indices,
)
from keras_losses_ref.losses.kernels import focal as kernels
from keras_losses_ref.losses.kernels.classes import (
    move_axis_last,
    over_valid_labels,
    smooth_binary_labels,
    smooth_labels,
)
from keras_losses_ref.losses.kernels.sums import mean_along, sum_along
from keras_losses_ref.losses.validation import (
    check_axis,
    check_class_weights,
    check_label_smoothing,
    check_number,
)


@loss_function(
    kernels.binary_focal_crossentropy,
    logits_of="Sigmoid",
    trust_from_logits=True,
    checks={
        "axis": check_axis,
        "label_smoothing": check_label_smoothing,
        "alpha": check_number,
        "gamma": check_number,
    },
    flattenable="mean",
)
def binary_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Binary focal cross-entropy: what is already well predicted counts for little.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,), the mean over `axis`
    Domain:    as in binary_crossentropy; gamma >= 0; alpha in [0, 1]
    Formula:   y' and the cross-entropy of each element as in binary_crossentropy
               1 - p_t = y' (1 - p) + (1 - y') p, p = y_pred or sigmoid(y_pred)
               w = alpha y' + (1 - alpha) (1 - y') if apply_class_balancing, else 1
               w (1 - p_t)^gamma crossentropy;  mean over `axis`
    Gradient:  by the product rule; d(1 - p_t)/dp = 1 - 2 y'
    Edges:     gamma = 0 is binary_crossentropy; at 1 - p_t = 0 a gamma below 1 has
               the gradient 0, its limit but for the clip
    Raises:    ValueError if the shapes differ, or label_smoothing is outside [0, 1]
    Source:    Keras 3 `keras.losses.binary_focal_crossentropy`; Lin et al. (2018)
    Example:   >>> float(binary_focal_crossentropy([0., 1.], [0.3, 0.61]))  # 0.053642
    """
    y_true = smooth_binary_labels(y_true, label_smoothing)
    alpha = constant(alpha, y_pred.dtype)
    if from_logits:
        miss = y_true * tf.sigmoid(-y_pred) + (1.0 - y_true) * tf.sigmoid(y_pred)
        loss = tf.math.multiply_no_nan(tf.nn.softplus(-y_pred), y_true)
        loss += tf.math.multiply_no_nan(tf.nn.softplus(y_pred), 1.0 - y_true)
    else:
        miss = y_true * (1.0 - y_pred) + (1.0 - y_true) * y_pred
        p = clip_probability(y_pred)
        loss = -(y_true * tf.math.log(p) + (1.0 - y_true) * tf.math.log1p(-p))
    if apply_class_balancing:
        loss *= y_true * alpha + (1.0 - y_true) * (1.0 - alpha)
    return mean_along(power(miss, gamma) * loss, axis)


def power(base: Tensor, exponent: float) -> Tensor:
    """base^exponent, whose derivative is 0 where it would be infinite."""
    if not tf.is_tensor(exponent) and exponent in (0, 1, 2):
        return (tf.ones_like(base), base, tf.square(base))[int(exponent)]
    exponent = constant(exponent, base.dtype)
    endless = tf.equal(base, 0.0) & (exponent > 0.0) & (exponent < 1.0)
    raised = tf.pow(tf.where(endless, tf.ones_like(base), base), exponent)
    return tf.where(endless, tf.zeros_like(base), raised)


@compat.register
class BinaryFocalCrossentropy(Loss):
    function = binary_focal_crossentropy

    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1


@loss_function(
    kernels.categorical_focal_crossentropy,
    checks={
        "axis": check_axis,
        "label_smoothing": check_label_smoothing,
        "alpha": check_class_weights,
        "gamma": check_number,
    },
    check=several_classes,
)
def categorical_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: Union[float, Sequence[float]] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Categorical focal cross-entropy: well predicted samples count for little.

    Shapes:    y_true, y_pred (*batch, classes) -> (*batch,), classes along `axis`
    Domain:    as in categorical_crossentropy; gamma >= 0; alpha a number, or one for
               each class
    Formula:   y' and p as in categorical_crossentropy, p clipped from logits as well
               -sum(alpha (1 - p)^gamma y' log p)
    Gradient:  with A = d/dp of the above where the clip leaves p alone, else 0:
               d/dy_pred = (A - sum(A q)) / sum(y_pred), q = p before the clip
               d/dx = q (A - sum(A q))
    Edges:     a list of alphas runs along `axis`; a softmax behind y_pred is not
               looked through; a row of zeros is NaN
    Raises:    ValueError if the shapes differ, there is not one alpha for each class,
               or label_smoothing is outside [0, 1]
    Source:    Keras 3 `keras.losses.categorical_focal_crossentropy`; Lin et al. (2018)
    Example:   >>> float(categorical_focal_crossentropy([0., 1.], [0.39, 0.61]))
               # 0.018796
    """
    y_true = smooth_labels(y_true, label_smoothing, axis)
    y_true, y_pred = move_axis_last(y_true, axis), move_axis_last(y_pred, axis)
    return focal_cross_entropy(y_true, y_pred, alpha, gamma, from_logits)


def focal_cross_entropy(
    y: Tensor, x: Tensor, alpha: Any, gamma: float, from_logits: bool
) -> Tensor:
    """sum(alpha (1 - q)^gamma y (-log q)) along the last axis, q the clipped share."""
    if from_logits:
        x = tf.exp(below_largest(x)[0])
    cost, not_q = cost_of_classes(x)
    return sum_along(constant(alpha, x.dtype) * power(not_q, gamma) * y * cost)


@compat.register
class CategoricalFocalCrossentropy(Loss):
    function = categorical_focal_crossentropy

    alpha: Union[float, Sequence[float]] = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1


@loss_function(
    kernels.sparse_categorical_focal_crossentropy,
    labels="indices",
    checks={"alpha": check_class_weights, "gamma": check_number},
    check=validate_class_indices,
)
def sparse_categorical_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: Union[float, Sequence[float]] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    ignore_class: Optional[int] = None,
    axis: int = -1,
) -> Tensor:
    """Categorical focal cross-entropy with the classes given as integers.

    Shapes:    y_true (*batch,) or with an axis of 1 in the place of `axis`;
               y_pred (*batch, classes), classes along `axis` -> (*batch,)
    Domain:    y_true integers in [0, classes), or ignore_class; the rest as in
               categorical_focal_crossentropy
    Formula:   p = clip(y_pred / sum(y_pred), 1e-7, 1 - 1e-7), y_pred or its softmax
               -alpha_y (1 - p_y)^gamma log p_y
    Gradient:  as in categorical_focal_crossentropy with one-hot labels
    Edges:     a label equal to ignore_class gives 0, no gradient, and is left out of
               the mean
    Raises:    ValueError if the shapes cannot be aligned or there is not one alpha for
               each class; InvalidArgumentError, eagerly, for a label outside
               [0, classes), which in a graph is NaN
    Source:    keras-nightly `keras.losses.sparse_categorical_focal_crossentropy`
    Example:   >>> float(sparse_categorical_focal_crossentropy(1, [0.39, 0.61]))
               # 0.018796
    """

    def loss(labels, x):
        hot = tf.one_hot(labels, tf.shape(x)[-1], dtype=x.dtype)
        return focal_cross_entropy(hot, x, alpha, gamma, from_logits)

    return over_valid_labels(loss, y_true, move_axis_last(y_pred, axis), ignore_class)


@compat.register
class SparseCategoricalFocalCrossentropy(Loss):
    function = sparse_categorical_focal_crossentropy

    alpha: Union[float, Sequence[float]] = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    ignore_class: Optional[int] = None
    axis: int = -1
