"""Losses for probabilities: how surprised the prediction is by the label.

One sigmoid node goes with the binary form, a softmax over classes with the
categorical one (one-hot labels) and the sparse one (integer labels). With
`from_logits=True` the activation is part of the loss, and the layer has none.
"""

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses import host
from keras_losses_ref.losses.base import (
    Loss,
    check_axis,
    check_label_smoothing,
    check_number,
    constant,
    log_ratio,
    loss_function,
    move_axis_last,
)


def clip(probabilities):
    """Keep a probability away from 0 and 1, where its logarithm has no gradient.

    The bounds are Keras's: epsilon and 1 - epsilon, each rounded to the dtype.
    """
    low, high = clip_bounds(probabilities.dtype)
    return tf.clip_by_value(probabilities, low, high)


def clip_share(p, not_p):
    """Clip p as `clip` does, and 1 - p with it; each bound acts where it is sharp."""
    low, high = clip_bounds(p.dtype)
    one = low.dtype.type(1)
    not_low, not_high = one - low, one - high
    below, above = p < low, not_p < not_high
    p = tf.where(below, low, tf.where(above, high, p))
    return p, tf.where(below, not_low, tf.where(above, not_high, not_p))


def clip_bounds(dtype):
    """Epsilon and 1 - epsilon as NumPy scalars, which no graph rewrite touches."""
    one, epsilon = np.array([1.0, host.epsilon()], dtype.as_numpy_dtype)
    return epsilon, one - epsilon


@loss_function(logits_of="Sigmoid", ragged=True)
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
    Deviates:  column-squeezed-to-scalar, label-smoothing-unchecked,
               binary-half-precision-clip, binary-crossentropy-epsilon-in-log,
               binary-crossentropy-epsilon-folded, all-masked-overflows-in-half
    Source:    Keras 3 `keras.losses.binary_crossentropy`
    Example:   >>> float(binary_crossentropy([0., 1.], [0.3, 0.61]))  # 0.42549
    """
    check_axis("binary_crossentropy", axis, y_pred.shape.rank)
    smoothing = check_label_smoothing("binary_crossentropy", label_smoothing)
    y_true = y_true * (1.0 - smoothing) + 0.5 * smoothing
    return tf.reduce_mean(binary_surprise(y_true, y_pred, from_logits), axis=axis)


def binary_surprise(y_true, y_pred, from_logits):
    """Minus the log of the probability given to the label, for each element."""
    if from_logits:
        # Each branch by its own `where`, so that at x = 0 the gradient is 1/2 - y.
        positive = y_pred >= 0
        zero = tf.zeros_like(y_pred)
        above = tf.where(positive, y_pred, zero)
        below = tf.where(positive, zero, -y_pred)
        distance = tf.where(positive, -y_pred, y_pred)
        values = y_true * below + (1.0 - y_true) * above
        return values + tf.math.log1p(tf.exp(distance))
    p = clip(y_pred)
    return -(y_true * tf.math.log(p) + (1.0 - y_true) * tf.math.log1p(-p))


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


@loss_function(logits_of="Sigmoid", believe_from_logits=True, ragged=True)
def binary_focal_crossentropy(
    y_true,
    y_pred,
    apply_class_balancing=False,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
):
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
    Deviates:  column-squeezed-to-scalar, focal-label-smoothing-unchecked,
               binary-focal-epsilon-in-log, binary-focal-epsilon-folded,
               focal-gamma-below-one-nan, binary-focal-half-precision-clip
    Source:    Keras 3 `keras.losses.binary_focal_crossentropy`; Lin et al. (2018)
    Example:   >>> float(binary_focal_crossentropy([0., 1.], [0.3, 0.61]))  # 0.053642
    """
    name = "binary_focal_crossentropy"
    check_axis(name, axis, y_pred.shape.rank)
    smoothing = check_label_smoothing(name, label_smoothing)
    y_true = y_true * (1.0 - smoothing) + 0.5 * smoothing
    if from_logits:
        p, not_p = tf.sigmoid(y_pred), tf.sigmoid(-y_pred)
    else:
        p, not_p = y_pred, 1.0 - y_pred
    miss = y_true * not_p + (1.0 - y_true) * p
    values = power(miss, check_number(name, "gamma", gamma))
    values *= binary_surprise(y_true, y_pred, from_logits)
    if apply_class_balancing:
        alpha = constant(check_number(name, "alpha", alpha), y_pred.dtype)
        values *= y_true * alpha + (1.0 - y_true) * (1.0 - alpha)
    return tf.reduce_mean(values, axis=axis)


def power(base, exponent):
    """base ** exponent, with finite derivatives at base = 0 for exponents >= 0."""
    if tf.is_tensor(exponent):
        return tf.pow(base, tf.cast(exponent, base.dtype))
    if exponent == 0:
        return tf.ones_like(base)
    if exponent == 1:
        return base
    if 0 < exponent < 1:
        zero = tf.equal(base, 0.0)
        root = tf.pow(tf.where(zero, tf.ones_like(base), base), exponent)
        return tf.where(zero, tf.zeros_like(base), root)
    return tf.pow(base, exponent)


@host.register
class BinaryFocalCrossentropy(Loss):
    __doc__ = binary_focal_crossentropy.__doc__

    function = binary_focal_crossentropy
    arguments = (
        "apply_class_balancing",
        "alpha",
        "gamma",
        "from_logits",
        "label_smoothing",
        "axis",
    )

    def __init__(
        self,
        apply_class_balancing=False,
        alpha=0.25,
        gamma=2.0,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction=host.DEFAULT_REDUCTION,
        name="binary_focal_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        owner = "BinaryFocalCrossentropy"
        self.apply_class_balancing = apply_class_balancing
        self.alpha = check_number(owner, "alpha", alpha)
        self.gamma = check_number(owner, "gamma", gamma)
        self.from_logits = from_logits
        self.label_smoothing = check_label_smoothing(owner, label_smoothing)
        self.axis = check_axis(owner, axis, None)


@loss_function(logits_of="Softmax", ragged=True)
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
    Deviates:  label-smoothing-counts-last-axis, label-smoothing-unchecked,
               half-precision-clip, all-masked-overflows-in-half
    Source:    Keras 3 `keras.losses.categorical_crossentropy`
    Example:   >>> float(categorical_crossentropy([0., 1.], [0.39, 0.61]))  # 0.49430
    """
    check_axis("categorical_crossentropy", axis, y_pred.shape.rank)
    y_true = smooth(y_true, label_smoothing, axis, "categorical_crossentropy")
    if from_logits:
        return tf.nn.softmax_cross_entropy_with_logits(y_true, y_pred, axis=axis)
    p, not_p = clip_share(*shares(y_pred, axis))
    return tf.reduce_sum(y_true * minus_log(p, not_p), axis=axis)


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


@loss_function(ragged=True)
def categorical_focal_crossentropy(
    y_true,
    y_pred,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
):
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
    Deviates:  focal-label-smoothing-unchecked, focal-label-smoothing-counts-last-axis,
               focal-half-precision-clip, focal-alpha-list-ignores-axis,
               focal-alpha-list-float32
    Source:    Keras 3 `keras.losses.categorical_focal_crossentropy`; Lin et al. (2018)
    Example:   >>> float(categorical_focal_crossentropy([0., 1.], [0.39, 0.61]))
               # 0.018796
    """
    name = "categorical_focal_crossentropy"
    check_axis(name, axis, y_pred.shape.rank)
    y_true = smooth(y_true, label_smoothing, axis, name)
    alpha = check_alpha(name, alpha, y_pred.shape[axis])
    return tf.reduce_sum(
        y_true * focal_surprise(y_pred, alpha, gamma, from_logits, axis, name),
        axis=axis,
    )


def focal_surprise(y_pred, alpha, gamma, from_logits, axis, name):
    """alpha (1 - p)^gamma (-log p) for each class along `axis`."""
    if from_logits:
        y_pred = tf.nn.softmax(y_pred, axis=axis)
    p, not_p = clip_share(*shares(y_pred, axis))
    alpha = constant(alpha, y_pred.dtype)
    if alpha.shape.rank == 1:
        shape = [1] * y_pred.shape.rank
        shape[axis] = -1
        alpha = tf.reshape(alpha, shape)
    gamma = check_number(name, "gamma", gamma)
    return alpha * power(not_p, gamma) * minus_log(p, not_p)


def shares(values, axis):
    """Each class's share of the total along `axis`, and the share of all others.

    One minus the share of the largest class would cancel; its others are summed.
    """
    total = tf.reduce_sum(values, axis=axis, keepdims=True)
    largest = tf.one_hot(
        tf.argmax(values, axis=axis),
        tf.shape(values)[axis],
        on_value=True,
        off_value=False,
        axis=axis,
    )
    rest = tf.reduce_sum(
        tf.where(largest, tf.zeros_like(values), values), axis=axis, keepdims=True
    )
    return values / total, tf.where(largest, rest, total - values) / total


def minus_log(p, not_p):
    """-log(p), by way of 1 - p where p is nearly 1."""
    high = p > 0.75
    low_p = tf.where(high, tf.ones_like(p), p)
    low_not_p = tf.where(high, not_p, tf.zeros_like(p))
    return tf.where(high, -tf.math.log1p(-low_not_p), -tf.math.log(low_p))


def check_alpha(name, alpha, classes):
    """An `alpha` that is a number, or a list with one number for each class."""
    if tf.is_tensor(alpha):
        shape = alpha.shape
    elif isinstance(alpha, (list, tuple, np.ndarray)) and np.ndim(alpha):
        alpha = np.asarray(alpha).tolist()
        shape = tf.TensorShape(np.shape(alpha))
    else:
        return check_number(name, "alpha", alpha)
    if shape.rank not in (None, 0, 1) or (
        shape.rank == 1 and not shape.is_compatible_with([classes])
    ):
        raise ValueError(
            f"{name}: `alpha` must be a number, or one number for each class. "
            f"Received: alpha={alpha!r}"
            + (f" for {classes} classes." if classes is not None else ".")
        )
    return alpha


@host.register
class CategoricalFocalCrossentropy(Loss):
    __doc__ = categorical_focal_crossentropy.__doc__

    function = categorical_focal_crossentropy
    arguments = ("alpha", "gamma", "from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        alpha=0.25,
        gamma=2.0,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction=host.DEFAULT_REDUCTION,
        name="categorical_focal_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        owner = "CategoricalFocalCrossentropy"
        self.alpha = check_alpha(owner, alpha, None)
        self.gamma = check_number(owner, "gamma", gamma)
        self.from_logits = from_logits
        self.label_smoothing = check_label_smoothing(owner, label_smoothing)
        self.axis = check_axis(owner, axis, None)


@loss_function(labels="indices", logits_of="Softmax", ragged=True)
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
    Deviates:  sparse-ignore-class-fails-under-xla, labels-rounded-to-dtype,
               sparse-label-smoothing-unchecked, sparse-axis-refused,
               half-precision-clip, all-masked-overflows-in-half
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


def check_rank(name, y_true, y_pred):
    """Refuse tensors of unknown rank, whose axes would be broadcast unseen."""
    if y_true.shape.rank is None or y_pred.shape.rank is None:
        raise ValueError(
            f"{name}: the ranks must be known. Received: y_true.shape={y_true.shape}, "
            f"y_pred.shape={y_pred.shape}. Give them one, for example by "
            "y_pred = tf.ensure_shape(y_pred, (None, classes))."
        )


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


@loss_function(labels="indices")
def sparse_categorical_focal_crossentropy(
    y_true,
    y_pred,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    ignore_class=None,
    axis=-1,
):
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
    Deviates:  sparse-focal-labels-unchecked, sparse-focal-half-precision-clip
    Source:    keras-nightly `keras.losses.sparse_categorical_focal_crossentropy`
    Example:   >>> float(sparse_categorical_focal_crossentropy(1, [0.39, 0.61]))
               # 0.018796
    """
    name = "sparse_categorical_focal_crossentropy"
    check_axis(name, axis, y_pred.shape.rank)
    check_rank(name, y_true, y_pred)
    y_true = drop_class_axis(name, y_true, y_pred, axis)
    y_pred = move_axis_last(y_pred, axis)
    alpha = check_alpha(name, alpha, y_pred.shape[-1])
    check_labels(name, y_true, y_pred, ignore_class)
    y_true = tf.cast(y_true, tf.int64)
    if ignore_class is not None:
        valid = tf.not_equal(y_true, tf.cast(ignore_class, tf.int64))
        y_pred = tf.where(valid[..., tf.newaxis], y_pred, tf.ones_like(y_pred))
    values = pick(focal_surprise(y_pred, alpha, gamma, from_logits, -1, name), y_true)
    if ignore_class is not None:
        values = tf.where(valid, values, tf.zeros_like(values))
        host.set_mask(values, valid)
    return values


def pick(values, labels):
    """The value of each row at its label, along the last axis; NaN if it has none."""
    # No tf.gather: of an empty batch its gradient has lost the classes up to 2.15.
    hot = tf.one_hot(labels, tf.shape(values)[-1], on_value=True, off_value=False)
    known = tf.reduce_any(hot, axis=-1)
    picked = tf.reduce_sum(tf.where(hot, values, tf.zeros_like(values)), axis=-1)
    return tf.where(known, picked, tf.constant(float("nan"), values.dtype))


@host.register
class SparseCategoricalFocalCrossentropy(Loss):
    __doc__ = sparse_categorical_focal_crossentropy.__doc__

    function = sparse_categorical_focal_crossentropy
    arguments = ("alpha", "gamma", "from_logits", "ignore_class", "axis")

    def __init__(
        self,
        alpha=0.25,
        gamma=2.0,
        from_logits=False,
        ignore_class=None,
        axis=-1,
        reduction=host.DEFAULT_REDUCTION,
        name="sparse_categorical_focal_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        owner = "SparseCategoricalFocalCrossentropy"
        self.alpha = check_alpha(owner, alpha, None)
        self.gamma = check_number(owner, "gamma", gamma)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = check_axis(owner, axis, None)


@loss_function(labels="indices")
def categorical_generalized_cross_entropy(y_true, y_pred, q=0.5):
    """Generalized cross-entropy: between cross-entropy (q -> 0) and MAE (q -> 1).

    Shapes:    y_true (*batch,) or (*batch, 1); y_pred (*batch, classes) -> (*batch,)
    Domain:    y_true integers in [0, classes); y_pred >= 0; 0 < q < 1
    Formula:   (1 - p_y^q) / q, p = y_pred, neither normalised nor clipped
    Gradient:  d/dy_pred_y = -p_y^(q - 1), 0 for the other classes
    Edges:     p_y = 0 gives 1 / q and an infinite gradient, at the label only
    Raises:    ValueError unless 0 < q < 1, or if the shapes cannot be aligned;
               InvalidArgumentError, eagerly, for a label outside [0, classes), which
               in a graph is NaN
    Deviates:  gce-column-labels, gce-labels-rounded, gce-zero-probability-nan,
               gce-labels-unchecked, gce-small-q-cancels
    Source:    Keras 3 `keras.losses.categorical_generalized_cross_entropy`; Zhang and
               Sabuncu (2018)
    Example:   >>> float(categorical_generalized_cross_entropy(1, [0.39, 0.61], 0.5))
               # 0.43795
    """
    name = "categorical_generalized_cross_entropy"
    q = check_q(name, q)
    check_rank(name, y_true, y_pred)
    y_true = drop_class_axis(name, y_true, y_pred, -1)
    check_labels(name, y_true, y_pred, None)
    p = pick(y_pred, tf.cast(y_true, tf.int64))
    # 1 - p^q cancels where p^q is near 1; expm1 does not, but has no gradient at 0.
    near = q * tf.math.log(p) > -0.5
    one = tf.ones_like(p)
    near_one = -tf.math.expm1(q * tf.math.log(tf.where(near, p, one)))
    far_from_it = 1.0 - tf.pow(tf.where(near, one, p), q)
    return tf.where(near, near_one, far_from_it) / q


def check_q(name, q):
    """A `q` strictly between 0 and 1."""
    q = check_number(name, "q", q)
    if not tf.is_tensor(q) and not 0 < q < 1:
        raise ValueError(
            f"{name}: `q` must be in the interval (0, 1). Received: q={q!r}. For q = 0 "
            "use the sparse categorical cross-entropy."
        )
    return q


@host.register
class CategoricalGeneralizedCrossEntropy(Loss):
    __doc__ = categorical_generalized_cross_entropy.__doc__

    function = categorical_generalized_cross_entropy
    arguments = ("q",)

    def __init__(
        self,
        q=0.5,
        reduction=host.DEFAULT_REDUCTION,
        name="categorical_generalized_cross_entropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.q = check_q("CategoricalGeneralizedCrossEntropy", q)


@loss_function(broadcast=True)
def kl_divergence(y_true, y_pred):
    """Kullback-Leibler divergence of the prediction from the truth.

    Shapes:    y_true, y_pred (*batch, classes) -> (*batch,)
    Domain:    y_true, y_pred in [0, 1]
    Formula:   Y = clip(y_true, 1e-7, 1);  P = clip(y_pred, 1e-7, 1)
               sum(Y log(Y / P))
    Gradient:  d/dy_pred = -Y / P where 1e-7 <= y_pred <= 1, else 0
    Edges:     zeros count as 1e-7; neither side is normalised, so a row that does not
               sum to 1 can give a negative value
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  column-squeezed-to-scalar, kl-divergence-half-range
    Source:    Keras 3 `keras.losses.kl_divergence`
    Example:   >>> float(kl_divergence([0.3, 0.7], [0.5, 0.5]))  # 0.082283
    """
    epsilon = tf.constant(host.epsilon(), y_pred.dtype)
    y = tf.clip_by_value(y_true, epsilon, 1.0)
    p = tf.clip_by_value(y_pred, epsilon, 1.0)
    return tf.reduce_sum(y * log_ratio(y, p, y - p), axis=-1)


@host.register
class KLDivergence(Loss):
    __doc__ = kl_divergence.__doc__

    function = kl_divergence

    def __init__(
        self, reduction=host.DEFAULT_REDUCTION, name="kl_divergence", dtype=None
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)


@loss_function(broadcast=True)
def poisson(y_true, y_pred):
    """Poisson loss: minus the log-likelihood of counts, but for a constant.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    y_true >= 0; y_pred > -1e-7
    Formula:   sum(y_pred - y_true log(y_pred + 1e-7)) / n
    Gradient:  d/dy_pred = (y_pred + 1e-7 - y_true) / (y_pred + 1e-7) / n
    Edges:     a y_pred below -1e-7 is NaN, also where y_true is 0
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  column-squeezed-to-scalar, float32-constant-refused, poisson-half-range
    Source:    Keras 3 `keras.losses.poisson`
    Example:   >>> float(poisson([1., 2.], [1.5, 1.5]))  # 0.89180
    """
    shape = tf.broadcast_dynamic_shape(tf.shape(y_true), tf.shape(y_pred))
    y_true, y_pred = tf.broadcast_to(y_true, shape), tf.broadcast_to(y_pred, shape)
    return tf.reduce_mean(_poisson(y_true, y_pred), axis=-1)


@tf.custom_gradient
def _poisson(y_true, y_pred):
    """The terms of `poisson`, with a gradient that does not cancel near the optimum."""
    epsilon = tf.constant(host.epsilon(), y_pred.dtype)
    log = tf.math.log(y_pred + epsilon)

    def gradient(upstream):
        distance = (y_pred - y_true) + epsilon
        return -upstream * log, upstream * distance / (y_pred + epsilon)

    return y_pred - y_true * log, gradient


@host.register
class Poisson(Loss):
    __doc__ = poisson.__doc__

    function = poisson

    def __init__(self, reduction=host.DEFAULT_REDUCTION, name="poisson", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)


bce = BCE = binary_crossentropy
kld = KLD = kullback_leibler_divergence = kl_divergence
