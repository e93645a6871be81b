"""Cross-entropies: minus the logarithm of the probability given to the label.

One sigmoid node goes with the binary form, a softmax over classes with the
categorical one (one-hot labels) and the sparse one (integer labels). With
`from_logits=True` the activation is part of the loss, and the layer has none.
"""

from typing import Optional

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, field, loss_function
from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.inputs import (
    constant,
    several_classes,
    validate_class_indices,
    validate_class_indices_in_graph,
)
from keras_losses_ref.losses.kernels import crossentropy as kernels
from keras_losses_ref.losses.kernels.classes import (
    clip_bounds,
    gather_labels,
    label_mask,
    move_axis_last,
    nan_where_label_invalid,
    over_valid_labels,
    smooth_binary_labels,
    smooth_labels,
)
from keras_losses_ref.losses.kernels.sums import mean_along, sum_along
from keras_losses_ref.losses.validation import (
    check_axis,
    check_label_smoothing,
    check_open_fraction,
)


@loss_function(
    kernels.binary_crossentropy,
    logits_of="Sigmoid",
    checks={"axis": check_axis, "label_smoothing": check_label_smoothing},
    flattenable="mean",
)
def binary_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Binary cross-entropy: minus the log of the probability given to the label.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,), the mean over `axis`
    Domain:    y_true in [0, 1]; y_pred in [0, 1], or all reals with from_logits
    Formula:   y' = y (1 - s) + s / 2 for label_smoothing s
               p = clip(y_pred, 1e-7, 1 - 1e-7)
               -(y' log p + (1 - y') log(1 - p));  mean over `axis`
               from logits x: y' relu(-x) + (1 - y') relu(x) + log(1 + exp(-|x|))
    Gradient:  d/dy_pred = (p - y') / (p (1 - p) n), 0 where the clip bites
               d/dx = (sigmoid(x) - y') / n
    Edges:     BCE(0, 1) is 15.9424 in float32, where 1 - 1e-7 is 0.99999988, and
               16.1181 in float64; the clip makes the gradient at 0 and 1 beyond its
               bounds zero, so train from logits
    Raises:    ValueError if the shapes differ, or label_smoothing is outside [0, 1]
    Source:    Keras 3 `keras.losses.binary_crossentropy`
    Example:   >>> float(binary_crossentropy([0., 1.], [0.3, 0.61]))  # 0.42549
    """
    y_true = smooth_binary_labels(y_true, label_smoothing)
    if from_logits:  # a label of 0 silences an infinite logit
        loss = tf.math.multiply_no_nan(tf.nn.softplus(-y_pred), y_true)
        loss += tf.math.multiply_no_nan(tf.nn.softplus(y_pred), 1.0 - y_true)
    else:
        p = clip_probability(y_pred)
        loss = -(y_true * tf.math.log(p) + (1.0 - y_true) * tf.math.log1p(-p))
    return mean_along(loss, axis)


def clip_probability(p: Tensor) -> Tensor:
    """`p` between Keras's bounds, beyond which there is no gradient."""
    return tf.clip_by_value(p, *clip_bounds(p.dtype))


@compat.register
class BinaryCrossentropy(Loss):
    function = binary_crossentropy

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1


@loss_function(
    kernels.categorical_crossentropy,
    logits_of="Softmax",
    checks={"axis": check_axis, "label_smoothing": check_label_smoothing},
    check=several_classes,
)
def categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Categorical cross-entropy between one-hot labels and class probabilities.

    Shapes:    y_true, y_pred (*batch, classes) -> (*batch,), classes along `axis`
    Domain:    y_true in [0, 1], summing to 1; y_pred >= 0 along `axis` with a sum
               above 0, or all reals with from_logits
    Formula:   y' = y (1 - s) + s / classes for label_smoothing s
               p = clip(y_pred / sum(y_pred), 1e-7, 1 - 1e-7)
               -sum(y' log p)
               from logits x: -sum(y' log softmax(x))
    Gradient:  d/dy_pred_j = (sum_i y'_i - y'_j / p_j) / sum(y_pred) where no clip bites
               d/dx = softmax(x) - y', also where y' does not sum to 1
    Edges:     a row of zeros is NaN; the clip stops the gradient beyond its bounds
    Raises:    ValueError if the shapes differ, or label_smoothing is outside [0, 1]
    Source:    Keras 3 `keras.losses.categorical_crossentropy`
    Example:   >>> float(categorical_crossentropy([0., 1.], [0.39, 0.61]))  # 0.49430
    """
    y_true = smooth_labels(y_true, label_smoothing, axis)
    y_true, y_pred = move_axis_last(y_true, axis), move_axis_last(y_pred, axis)
    if from_logits:
        return cross_entropy_from_logits(y_true, y_pred)
    return sum_along(y_true * cost_of_classes(y_pred)[0])


def cross_entropy_from_logits(y: Tensor, x: Tensor) -> Tensor:
    """-sum(y log softmax(x)) = sum(y (log(sum(exp(x - top))) - (x - top)))."""
    below, top, largest = below_largest(x)
    # Without the largest, whose exponential is 1: 1 + 1e-9 would be 1.
    others = tf.where(largest, tf.zeros_like(x), tf.exp(below))
    log_sum = tf.math.log1p(sum_along(others, keepdims=True))
    # A label of 0 silences a logit of -inf.
    loss = tf.math.multiply_no_nan(tf.stop_gradient(log_sum) - below, y)
    # The gradient is softmax(x) - y also where y does not add up to 1.
    missing = 1.0 - sum_along(y, keepdims=True)
    slack = tf.math.multiply_no_nan(gradient_of(top), missing)
    return sum_along(loss) + tf.squeeze(gradient_of(log_sum) + slack, -1)


def gradient_of(x: Tensor) -> Tensor:
    """0 with the gradient of x."""
    return x - tf.stop_gradient(x)


def below_largest(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x less the largest of its row, that, and where it is: the first of several."""
    largest = label_mask(tf.argmax(x, axis=-1), x)
    top = sum_along(tf.where(largest, x, tf.zeros_like(x)), keepdims=True)
    return tf.where(largest, tf.zeros_like(x), x - top), top, largest


def cost_of_classes(x: Tensor) -> tuple[Tensor, Tensor]:
    """-log(q) and 1 - q for the share q = clip(x / sum(x)) of each class.

    The largest share may be almost 1: its 1 - q is that of the others.
    """
    low, high = clip_bounds(x.dtype)
    zero = tf.zeros_like(x)
    # The scale of a row has no gradient, and may be out of range.
    x = x / tf.stop_gradient(tf.reduce_max(x, axis=-1, keepdims=True))
    largest = label_mask(tf.argmax(x, axis=-1), x)
    top = sum_along(tf.where(largest, x, zero), keepdims=True)
    others = sum_along(tf.where(largest, zero, x), keepdims=True)
    q = tf.clip_by_value(x / (top + others), low, high)
    most = largest & (others >= 0.0) & (others < top)
    odds = tf.maximum(others / top, (1.0 - high) / high)
    odds = tf.where(most, odds, tf.ones_like(x))
    cost = tf.where(most, tf.math.log1p(odds), -tf.math.log(q))
    return cost, tf.where(most, odds / (1.0 + odds), 1.0 - q)


@compat.register
class CategoricalCrossentropy(Loss):
    function = categorical_crossentropy

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1


@loss_function(
    kernels.sparse_categorical_crossentropy,
    labels="indices",
    logits_of="Softmax",
    checks={"label_smoothing": check_label_smoothing},
    check=validate_class_indices_in_graph,
)
def sparse_categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    ignore_class: Optional[int] = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Categorical cross-entropy with the classes given as integers.

    Shapes:    y_true (*batch,) or with an axis of 1 in the place of `axis`;
               y_pred (*batch, classes), classes along `axis` -> (*batch,)
    Domain:    y_true integers in [0, classes), or ignore_class; y_pred as in
               categorical_crossentropy
    Formula:   p = clip(y_pred, 1e-7, 1 - 1e-7);  -log(p_y / sum(p))
               from logits x: -log softmax(x)_y
               label_smoothing s: (1 - s) times that, plus s times the mean over the
               classes of -log softmax(x), or of -log clip(y_pred / sum(y_pred))
    Gradient:  d/dy_pred_j = 1 / sum(p) - [j = y] / p_y where no clip bites
               d/dx = softmax(x) - onehot(y)
    Edges:     a label equal to ignore_class gives 0, no gradient, and is left out of
               the mean; labels are compared as integers, whatever the dtype of y_pred
    Raises:    ValueError if the shapes cannot be aligned or y_true looks one-hot;
               InvalidArgumentError for a label outside [0, classes), eagerly and in
               graphs on a CPU; NaN for that sample under XLA and on a GPU
    Source:    Keras 3 `keras.losses.sparse_categorical_crossentropy`
    Example:   >>> float(sparse_categorical_crossentropy(1, [0.39, 0.61]))  # 0.49430
    """

    def loss(labels, x):
        hot = label_mask(labels, x)
        if from_logits:
            y = smooth_labels(tf.cast(hot, x.dtype), label_smoothing, -1)
            return cross_entropy_from_logits(y, x)
        p, zero = clip_probability(x), tf.zeros_like(x)
        label, others = sum_along(tf.where(hot, p, zero)), tf.where(hot, zero, p)
        value = tf.math.log1p(sum_along(others) / label)
        if not tf.is_tensor(label_smoothing) and label_smoothing == 0:
            return value
        uniform = tf.reduce_mean(cost_of_classes(x)[0], axis=-1)
        return (1.0 - label_smoothing) * value + label_smoothing * uniform

    return over_valid_labels(loss, y_true, move_axis_last(y_pred, axis), ignore_class)


@compat.register
class SparseCategoricalCrossentropy(Loss):
    function = sparse_categorical_crossentropy
    order = (
        "from_logits",
        "ignore_class",
        "reduction",
        "axis",
        "label_smoothing",
        "name",
    )

    from_logits: bool = False
    ignore_class: Optional[int] = None
    axis: int = field(default=-1, kw_only=True)
    label_smoothing: float = field(default=0.0, kw_only=True)


@loss_function(
    labels="indices",
    checks={"q": check_open_fraction},
    check=validate_class_indices,
)
def categorical_generalized_cross_entropy(
    y_true: Tensor, y_pred: Tensor, q: float = 0.5
) -> Tensor:
    """Generalized cross-entropy: between cross-entropy (q -> 0) and MAE (q -> 1).

    Shapes:    y_true (*batch,) or (*batch, 1); y_pred (*batch, classes) -> (*batch,)
    Domain:    y_true integers in [0, classes); y_pred >= 0; 0 < q < 1
    Formula:   (1 - p_y^q) / q, p = y_pred, neither normalised nor clipped
    Gradient:  d/dy_pred_y = -p_y^(q - 1), 0 for the other classes
    Edges:     p_y = 0 gives 1 / q and an infinite gradient, at the label only
    Raises:    ValueError unless 0 < q < 1, or if the shapes cannot be aligned;
               InvalidArgumentError, eagerly, for a label outside [0, classes), which
               in a graph is NaN
    Source:    Keras 3 `keras.losses.categorical_generalized_cross_entropy`; Zhang and
               Sabuncu (2018)
    Example:   >>> float(categorical_generalized_cross_entropy(1, [0.39, 0.61], 0.5))
               # 0.43795
    """
    q = constant(q, y_pred.dtype)
    p = nan_where_label_invalid(gather_labels(y_pred, y_true), y_true, y_pred)
    raised = tf.pow(p, q)
    # 1 - p^q cancels where p^q is near 1; expm1 does not.
    near = tf.abs(raised - 1.0) < 0.5
    below_1 = -tf.math.expm1(q * tf.math.log(tf.where(near, p, tf.ones_like(p))))
    return tf.where(near, below_1, 1.0 - raised) / q


@compat.register
class CategoricalGeneralizedCrossEntropy(Loss):
    function = categorical_generalized_cross_entropy

    q: float = 0.5


bce = BCE = binary_crossentropy
