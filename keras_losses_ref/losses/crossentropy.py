"""Losses for probabilities: how surprised the prediction is by the label.

One sigmoid node goes with the binary form, a softmax over classes with the
categorical one (one-hot labels) and the sparse one (integer labels). With
`from_logits=True` the activation is part of the loss, and the layer has none.
"""

import tensorflow as tf

from keras_losses_ref.losses import host
from keras_losses_ref.losses.base import (
    Loss,
    check_axis,
    check_label_smoothing,
    loss_function,
    move_axis_last,
)


def clip(probabilities):
    """Keep a probability away from 0 and 1, where its logarithm has no gradient.

    The bounds are Keras's: epsilon and 1 - epsilon, each rounded to the dtype.
    """
    epsilon = tf.constant(host.epsilon(), probabilities.dtype)
    return tf.clip_by_value(probabilities, epsilon, 1.0 - epsilon)


@loss_function(logits_of="Sigmoid")
def binary_crossentropy(
    y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1
):
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
    Deviates:  binary-crossentropy-epsilon-in-log, half-precision-clip
    Source:    Keras 3 `keras.losses.binary_crossentropy`
    Example:   >>> float(binary_crossentropy([0., 1.], [0.3, 0.61]))  # 0.42549
    """
    check_axis("binary_crossentropy", axis, y_pred.shape.rank)
    smoothing = check_label_smoothing("binary_crossentropy", label_smoothing)
    y_true = y_true * (1.0 - smoothing) + 0.5 * smoothing
    if from_logits:
        # Each branch by its own `where`, so that at x = 0 the gradient is 1/2 - y.
        positive = y_pred >= 0
        zero = tf.zeros_like(y_pred)
        above = tf.where(positive, y_pred, zero)
        below = tf.where(positive, zero, -y_pred)
        distance = tf.where(positive, -y_pred, y_pred)
        values = y_true * below + (1.0 - y_true) * above
        values += tf.math.log1p(tf.exp(distance))
    else:
        p = clip(y_pred)
        values = -(y_true * tf.math.log(p) + (1.0 - y_true) * tf.math.log1p(-p))
    return tf.reduce_mean(values, axis=axis)


@host.register
class BinaryCrossentropy(Loss):
    __doc__ = binary_crossentropy.__doc__

    function = binary_crossentropy
    arguments = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction=host.DEFAULT_REDUCTION,
        name="binary_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = from_logits
        self.label_smoothing = check_label_smoothing(
            "BinaryCrossentropy", label_smoothing
        )
        self.axis = check_axis("BinaryCrossentropy", axis, None)


@loss_function(logits_of="Softmax")
def categorical_crossentropy(
    y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1
):
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
    Deviates:  label-smoothing-counts-last-axis, half-precision-clip
    Source:    Keras 3 `keras.losses.categorical_crossentropy`
    Example:   >>> float(categorical_crossentropy([0., 1.], [0.39, 0.61]))  # 0.49430
    """
    check_axis("categorical_crossentropy", axis, y_pred.shape.rank)
    y_true = smooth(y_true, label_smoothing, axis, "categorical_crossentropy")
    if from_logits:
        return tf.nn.softmax_cross_entropy_with_logits(y_true, y_pred, axis=axis)
    p = clip(y_pred / tf.reduce_sum(y_pred, axis=axis, keepdims=True))
    return -tf.reduce_sum(y_true * tf.math.log(p), axis=axis)


def smooth(y_true, label_smoothing, axis, name):
    """One-hot labels with a share of the 1 spread over the classes along `axis`."""
    smoothing = check_label_smoothing(name, label_smoothing)
    if not tf.is_tensor(smoothing) and smoothing == 0:
        return y_true
    classes = tf.cast(tf.shape(y_true)[axis], y_true.dtype)
    return y_true * (1.0 - smoothing) + smoothing / classes


@host.register
class CategoricalCrossentropy(Loss):
    __doc__ = categorical_crossentropy.__doc__

    function = categorical_crossentropy
    arguments = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction=host.DEFAULT_REDUCTION,
        name="categorical_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = from_logits
        self.label_smoothing = check_label_smoothing(
            "CategoricalCrossentropy", label_smoothing
        )
        self.axis = check_axis("CategoricalCrossentropy", axis, None)


@loss_function(labels="indices", logits_of="Softmax")
def sparse_categorical_crossentropy(
    y_true,
    y_pred,
    from_logits=False,
    ignore_class=None,
    axis=-1,
    label_smoothing=0.0,
):
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
    Deviates:  labels-rounded-to-dtype, sparse-axis-refused, half-precision-clip
    Source:    Keras 3 `keras.losses.sparse_categorical_crossentropy`
    Example:   >>> float(sparse_categorical_crossentropy(1, [0.39, 0.61]))  # 0.49430
    """
    name = "sparse_categorical_crossentropy"
    check_axis(name, axis, y_pred.shape.rank)
    smoothing = check_label_smoothing(name, label_smoothing)
    y_true = drop_class_axis(name, y_true, y_pred, axis)
    y_pred = move_axis_last(y_pred, axis)
    check_labels(name, y_true, y_pred, ignore_class)
    y_true = tf.cast(y_true, tf.int64)
    if ignore_class is not None:
        valid = tf.not_equal(y_true, tf.cast(ignore_class, tf.int64))
        y_true = tf.where(valid, y_true, tf.zeros_like(y_true))
        y_pred = tf.where(valid[..., tf.newaxis], y_pred, tf.zeros_like(y_pred))
    logits = y_pred if from_logits else tf.math.log(clip(y_pred))
    values = tf.nn.sparse_softmax_cross_entropy_with_logits(y_true, logits)
    if tf.is_tensor(smoothing) or smoothing > 0:
        if from_logits:
            surprise = -tf.nn.log_softmax(y_pred)
        else:
            total = tf.reduce_sum(y_pred, axis=-1, keepdims=True)
            surprise = -tf.math.log(clip(y_pred / total))
        uniform = tf.reduce_mean(surprise, axis=-1)
        values = (1.0 - smoothing) * values + smoothing * uniform
    if ignore_class is not None:
        values = tf.where(valid, values, tf.zeros_like(values))
        host.set_mask(values, valid)
    return values


def drop_class_axis(name, y_true, y_pred, axis):
    """Class indices in the shape of y_pred without its class axis."""
    true, pred = y_true.shape, y_pred.shape
    if true.rank is None or pred.rank is None:
        return y_true
    if true.rank == pred.rank and true[axis] == 1:
        y_true = tf.squeeze(y_true, axis)
    expected = [n for i, n in enumerate(pred.as_list()) if i != axis % pred.rank]
    found = y_true.shape.as_list()
    if len(found) != len(expected) or any(
        a is not None and b is not None and a != b for a, b in zip(found, expected)
    ):
        hint = ""
        if true.rank == pred.rank:
            hint = (
                " y_true looks one-hot: use categorical_crossentropy, or give the "
                "indices, tf.argmax(y_true, axis)."
            )
        raise ValueError(
            f"{name}: y_true must hold one class index per row of y_pred. Received: "
            f"y_true.shape={tuple(true)}, y_pred.shape={tuple(pred)}, axis={axis}. "
            f"Expected y_true.shape={tuple(expected)}, or with an axis of 1 at `axis`."
            + hint
        )
    return y_true


def check_labels(name, y_true, y_pred, ignore_class):
    """Eagerly, refuse labels that no class of y_pred answers to.

    In a graph the values are not known; the kernel raises on a CPU, and gives NaN
    under XLA and on a GPU.
    """
    if not tf.executing_eagerly() or y_pred.shape[-1] is None:
        return
    classes = y_pred.shape[-1]
    bad = (y_true < 0) | (y_true >= tf.cast(classes, y_true.dtype))
    if y_true.dtype.is_floating:
        bad |= y_true != tf.round(y_true)
    if ignore_class is not None:
        bad &= tf.not_equal(y_true, tf.cast(ignore_class, y_true.dtype))
    if not tf.reduce_any(bad):
        return
    labels = tf.boolean_mask(y_true, bad).numpy()
    raise tf.errors.InvalidArgumentError(
        None,
        None,
        f"{name}: {labels.size} of {tf.size(y_true)} labels are no class of y_pred. "
        f"Received: y_true with {', '.join(map(str, labels[:5]))}. Expected integers "
        f"in [0, {classes}), the classes of y_pred"
        + (f", or ignore_class={ignore_class}" if ignore_class is not None else "")
        + ". Give y_pred a class for each label, or set ignore_class.",
    )


@host.register
class SparseCategoricalCrossentropy(Loss):
    __doc__ = sparse_categorical_crossentropy.__doc__

    function = sparse_categorical_crossentropy
    arguments = ("from_logits", "ignore_class", "axis", "label_smoothing")

    def __init__(
        self,
        from_logits=False,
        ignore_class=None,
        reduction=host.DEFAULT_REDUCTION,
        axis=-1,
        label_smoothing=0.0,
        name="sparse_categorical_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = check_axis("SparseCategoricalCrossentropy", axis, None)
        self.label_smoothing = check_label_smoothing(
            "SparseCategoricalCrossentropy", label_smoothing
        )


bce = BCE = binary_crossentropy
