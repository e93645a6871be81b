"""Losses for probabilities: how surprised the prediction is by the label.

One sigmoid node goes with the binary form, a softmax over classes with the
categorical one (one-hot labels) and the sparse one (integer labels). With
`from_logits=True` the activation is part of the loss, and the layer has none.
"""

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.inputs import (
    constant,
    move_axis_last,
    nan_where_label_invalid,
    several_classes,
    validate_class_indices,
    validate_class_indices_in_graph,
)
from keras_losses_ref.losses.kernels import dispatch, elementary
from keras_losses_ref.losses.kernels.autodiff import (
    in_float64,
    mean_of,
    power_of_two,
    rematerialize,
    two_diff,
    with_gradient,
)
from keras_losses_ref.losses.kernels.sums import sum_along
from keras_losses_ref.losses.validation import (
    check_axis,
    check_label_smoothing,
    check_q,
)


def clip_bounds(dtype):
    """Keras's bounds of a probability: epsilon and 1 - epsilon, rounded to `dtype`.

    Beyond them its logarithm has no gradient. As numbers, which no graph rewrites.
    """
    one, epsilon = np.array([1.0, compat.epsilon()], dtype.as_numpy_dtype)
    return float(epsilon), float(one - epsilon)


@loss_function(logits_of="Sigmoid", flattenable="mean")
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
    Deviates:  label-smoothing-unchecked, column-squeezed-to-scalar,
               all-masked-overflows-in-half, binary-half-precision-clip,
               binary-crossentropy-epsilon-in-log, binary-crossentropy-epsilon-folded,
               config-forgets-dtype
    Source:    Keras 3 `keras.losses.binary_crossentropy`
    Example:   >>> float(binary_crossentropy([0., 1.], [0.3, 0.61]))  # 0.42549
    """
    check_axis("binary_crossentropy", axis, y_pred.shape.rank)
    smoothing = check_label_smoothing("binary_crossentropy", label_smoothing)
    if tf.is_tensor(smoothing) or smoothing:
        y_true = y_true * (1.0 - smoothing) + 0.5 * smoothing
    bounds = None if from_logits else clip_bounds(y_pred.dtype)
    sharp = y_pred.dtype == tf.float64

    def terms(y_true, y_pred):
        values, slopes, _ = binary_surprise(y_true, y_pred, bounds, sharp)
        return values, slopes

    return mean_of(terms, y_true, y_pred, axis)


def binary_surprise(y, x, bounds, sharp):
    """Minus the log of the probability given to the label, for each element.

    x is a probability, clipped to `bounds`; a logit if there are none. Returns (values,
    their slopes by y and by x, (p, 1 - p, dp/dx)).
    """
    one = tf.ones_like(x)
    if bounds is None:
        e = tf.exp(-tf.abs(x))
        # A label of 0 silences an infinite logit.
        below = tf.math.multiply_no_nan(tf.nn.relu(-x), y)
        above = tf.math.multiply_no_nan(tf.nn.relu(x), one - y)
        large, small = 1.0 / (1.0 + e), elementary.quotient(e, 1.0 + e, sharp)
        positive = x >= 0
        p = tf.where(positive, large, small), tf.where(positive, small, large)

        def slopes():
            return -x, sigmoid_minus(x, y, sharp)

        return below + above + elementary.log1p(e, sharp), slopes, (*p, large * small)
    low, high = bounds
    p = tf.clip_by_value(x, low, high)
    log_p, log_not_p = elementary.log(p, sharp), log_of_rest(p, sharp)

    def slopes():
        by_pred = (p - y) / (p * (1.0 - p))
        kept = (x >= low) & (x <= high)
        return log_not_p - log_p, tf.where(kept, by_pred, tf.zeros_like(x))

    return -(y * log_p + (1.0 - y) * log_not_p), slopes, (x, one - x, one)


def log_of_rest(p, sharp):
    """log(1 - p), right for small p too.

    XLA's log1p in float64 is poor between -0.42 and -0.3; this matters if `sharp`: the
    loss itself is in float64.
    """
    if dispatch.in_kernel() and p.dtype == tf.float64 and not sharp:
        return elementary.log(1.0 - p)
    if not sharp:
        return elementary.log1p(-p)
    small = p < 0.25
    zero = tf.zeros_like(p)
    near = tf.math.log1p(tf.where(small, -p, zero))
    return near + tf.math.log(1.0 - tf.where(small, zero, p))


def sigmoid_minus(x, y, sharp):
    """sigmoid(x) - y; in float64, as a soft label may be all but met.

    Counted from 1/2 where x is small, as tanh(x / 2) / 2 + (1/2 - y), else from 1 or 0.
    """
    wide_x, wide_y = in_float64(x, y)
    size = tf.abs(wide_x)
    e = tf.exp(-size)
    small = elementary.quotient(e, 1.0 + e, sharp)
    far = tf.where(wide_x >= 0, (1.0 - wide_y) - small, small - wide_y)
    half = 0.5 * wide_x
    if sharp:
        near, tanh = size < 1.0, tf.tanh(half)
    else:
        near, square = size < 2.0**-4, tf.square(half)
        series = 1 / 3 - square * (2 / 15 - square * (17 / 315))
        tanh = half * (1.0 - square * series)
    slope = tf.where(near, 0.5 * tanh + (0.5 - wide_y), far)
    return tf.cast(slope, x.dtype)


@compat.register
class BinaryCrossentropy(Loss):
    __doc__ = binary_crossentropy.__doc__

    function = binary_crossentropy
    arguments = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction=compat.DEFAULT_REDUCTION,
        name="binary_crossentropy",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.from_logits = from_logits
        self.label_smoothing = check_label_smoothing(
            "BinaryCrossentropy", label_smoothing
        )
        self.axis = check_axis("BinaryCrossentropy", axis, None)


@loss_function(logits_of="Softmax", check=several_classes)
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
               all-masked-overflows-in-half, half-precision-clip, config-forgets-dtype,
               tiny-row-nan-under-xla
    Source:    Keras 3 `keras.losses.categorical_crossentropy`
    Example:   >>> float(categorical_crossentropy([0., 1.], [0.39, 0.61]))  # 0.49430
    """
    check_axis("categorical_crossentropy", axis, y_pred.shape.rank)
    y_true = smooth_labels(y_true, label_smoothing, axis, "categorical_crossentropy")
    surprise = surprise_of_logits if from_logits else surprise_of_shares
    return surprise(move_axis_last(y_true, axis), move_axis_last(y_pred, axis))


def surprise_of_logits(y, x):
    """-sum(y log softmax(x)) along the last axis."""

    def terms(y, x):
        top = largest_of(x)
        parts = rematerialize(lambda y, x: (y, *exponentials(x, top)), y, x)
        log_size, rest = sizes(x, top, parts(1)[-1])
        y, below, _ = parts(2)
        # A label of 0 silences a logit of -inf.
        values = sum_along(tf.math.multiply_no_nan(log_size - below, y))

        def gradient(upstream):
            upstream = upstream[..., tf.newaxis]
            y, below, e = parts(3)
            # e is 1 at the largest logit, so that nothing cancels for its label.
            slope = (e - y) - y * rest
            return upstream * (log_size - below), slope * (upstream / (1.0 + rest))

        return values, gradient

    return with_gradient(terms, y, x, shares=True)


def largest_of(x):
    """The largest of each row; an infinite one is the largest number there is."""
    top = tf.reduce_max(x, axis=-1, keepdims=True)
    return tf.stop_gradient(tf.minimum(top, x.dtype.max))


def exponentials(x, top, narrow=None):
    """x - top, and its exp to the last digit; `narrow` is the dtype x was of before."""
    narrow = narrow or x.dtype
    below, error = two_diff(tf.minimum(x, narrow.max), top)
    e = tf.exp(below)
    if narrow == x.dtype:  # exp has magnified the error
        # Scaled, as a correction that is no normal number would be flushed to 0.
        e *= 2.0**64
        e = (e + tf.math.multiply_no_nan(tf.stop_gradient(error), e)) * 2.0**-64
    return below, e


def sizes(x, top, e, narrow=None):
    """The log of the sum of e along the last axis, and that sum without the largest."""
    largest = tf.equal(tf.minimum(x, (narrow or x.dtype).max), top)
    ties = sum_along(tf.cast(largest, x.dtype), keepdims=True) - 1.0
    rest = sum_along(tf.where(largest, e - 1.0, e), keepdims=True) + ties
    # Two infinities have no order.
    endless = (ties > 0.0) & (tf.abs(top) >= (narrow or x.dtype).max)
    rest = tf.where(endless, tf.constant(float("nan"), x.dtype), rest)
    return tf.math.log1p(rest), rest


def surprise_of_shares(y, x):
    """-sum(y log q), q = clip(x / sum(x)), along the last axis."""
    dtype, bounds = x.dtype, clip_bounds(x.dtype)
    sharp = dtype == tf.float64

    def elements(y, x, *size):
        y, x = in_float64(y, x)
        (_, _, size), (_, _, cost, kept) = shares(x, bounds, sharp, *size)
        return y, x, size, cost, kept

    def terms(y, x):
        size = [] if sharp else [sum_along(*in_float64(x), keepdims=True)]
        parts = rematerialize(lambda y, x: elements(y, x, *size), y, x)
        wide_y, _, _, cost, _ = parts(1)

        def gradient(upstream):
            (upstream,) = in_float64(upstream[..., tf.newaxis])
            y, _, _, _, kept = parts(2)
            labels = sum_along(tf.where(kept, y, tf.zeros_like(y)), keepdims=True)
            y, x, size, cost, kept = parts(3)
            # sum(z) - z / q as one fraction: it may all but vanish.
            z = tf.where(kept, y, tf.zeros_like(y))
            # Scaled, as XLA makes one product of two divisors.
            scale = power_of_two(size) if sharp else tf.ones([], tf.float64)
            whole = size / scale
            apart = labels * (x / scale) - z * whole
            apart /= whole * tf.where(kept, x / scale, tf.ones_like(x))
            slope = tf.where(kept, apart, labels / whole) / scale
            return upstream * cost, upstream * slope

        return tf.cast(sum_along(wide_y * cost), dtype), gradient

    return with_gradient(terms, y, x, shares=True)


def shares(x, bounds, sharp, size=None):
    """Each class's share q of the total along the last axis, as it is and clipped.

    size  the total, which is added up here if `sharp`
    Returns (q, 1 - q, the total) and (q, 1 - q, -log q, where the clip left q alone).
    """
    low, high = bounds
    if not sharp:  # of what was a float32, float64 keeps nine digits of 1 - q as well
        q = x / size
        clipped = tf.clip_by_value(q, low, high)
        kept = tf.equal(clipped, q)
        return (q, 1.0 - q, size), (
            clipped,
            1.0 - clipped,
            -elementary.log(clipped),
            kept,
        )
    # Only the largest share can be nearly 1: its 1 - q is the sum of the others.
    top = tf.reduce_max(x, axis=-1, keepdims=True)
    largest = tf.equal(x, top)
    rest = sum_along(tf.where(largest, tf.zeros_like(x), x), keepdims=True)
    ties = sum_along(tf.cast(largest, x.dtype), keepdims=True) - 1.0
    rest += ties * top
    size = rest + top
    most = largest & (rest < top)
    q, not_q = x / size, tf.where(most, rest, size - x) / size
    clipped, not_clipped, kept = clip_share(q, not_q, bounds)
    odds = tf.clip_by_value(rest / top, (1.0 - high) / high, 1.0)
    cost = tf.where(most, tf.math.log1p(odds), -tf.math.log(clipped))
    return (q, not_q, size), (clipped, not_clipped, cost, kept)


def clip_share(q, not_q, bounds):
    """q clipped, 1 - q with it, and where both were left alone.

    Each bound acts where it is sharp: the lower on q, the upper on 1 - q.
    """
    low, high = bounds
    below, above = q < low, not_q < 1.0 - high

    def clip(share, at_low, at_high):
        at_low, at_high = constant(at_low, q.dtype), constant(at_high, q.dtype)
        return tf.where(below, at_low, tf.where(above, at_high, share))

    return clip(q, low, high), clip(not_q, 1.0 - low, 1.0 - high), ~(below | above)


def smooth_labels(y_true, label_smoothing, axis, name):
    """One-hot labels with a share of the 1 spread over the classes along `axis`."""
    smoothing = check_label_smoothing(name, label_smoothing)
    if not tf.is_tensor(smoothing) and smoothing == 0:
        return y_true
    classes = tf.cast(tf.shape(y_true)[axis], y_true.dtype)
    return y_true * (1.0 - smoothing) + smoothing / classes


@compat.register
class CategoricalCrossentropy(Loss):
    __doc__ = categorical_crossentropy.__doc__

    function = categorical_crossentropy
    arguments = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction=compat.DEFAULT_REDUCTION,
        name="categorical_crossentropy",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.from_logits = from_logits
        self.label_smoothing = check_label_smoothing(
            "CategoricalCrossentropy", label_smoothing
        )
        self.axis = check_axis("CategoricalCrossentropy", axis, None)


@loss_function(
    labels="indices",
    logits_of="Softmax",
    check=validate_class_indices_in_graph,
)
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
    Deviates:  labels-rounded-to-dtype, sparse-label-smoothing-unchecked,
               sparse-axis-refused, sparse-labels-unchecked-on-gpu,
               all-masked-overflows-in-half, sparse-ignore-class-column-refused,
               sparse-ignore-class-fails-under-xla, half-precision-clip,
               config-forgets-dtype, sparse-config-forgets-axis
    Source:    Keras 3 `keras.losses.sparse_categorical_crossentropy`
    Example:   >>> float(sparse_categorical_crossentropy(1, [0.39, 0.61]))  # 0.49430
    """
    name = "sparse_categorical_crossentropy"
    smoothing = check_label_smoothing(name, label_smoothing)
    y_pred = move_axis_last(y_pred, axis)
    if ignore_class is not None:
        valid = tf.not_equal(y_true, tf.cast(ignore_class, tf.int64))
        y_true = tf.where(valid, y_true, tf.zeros_like(y_true))
        y_pred = tf.where(valid[..., tf.newaxis], y_pred, tf.zeros_like(y_pred))
    surprise = surprise_of_label_logit if from_logits else surprise_of_label
    values = surprise(y_true, y_pred)
    if tf.is_tensor(smoothing) or smoothing > 0:
        surprise = surprise_of_logits if from_logits else surprise_of_shares
        classes = tf.cast(tf.shape(y_pred)[-1], y_pred.dtype)
        uniform = surprise(tf.ones_like(y_pred) / classes, y_pred)
        values = (1.0 - smoothing) * values + smoothing * uniform
    values = nan_where_label_invalid(values, y_true, y_pred)
    if ignore_class is not None:
        values = tf.where(valid, values, tf.zeros_like(values))
        compat.set_mask(values, valid)
    return values


def surprise_of_label_logit(labels, x):
    """-log softmax(x)_y along the last axis."""

    def terms(x):
        top = largest_of(x)
        parts = rematerialize(lambda x: exponentials(x, top), x)
        below, e = parts(1)
        log_size, rest = sizes(x, top, e)
        values = tf.squeeze(log_size, -1) - gather_labels(below, labels)

        def gradient(upstream):
            _, e = parts(2)
            # e is 1 at the largest logit, so that nothing cancels for its label.
            slope = tf.where(one_hot_mask(labels, x), (e - 1.0) - rest, e)
            return slope * (upstream[..., tf.newaxis] / (1.0 + rest))

        return values, gradient

    return tf.custom_gradient(terms)(x)


def surprise_of_label(labels, x):
    """-log(c_y / sum(c)), c = clip(x), along the last axis."""
    dtype = x.dtype
    low, high = clip_bounds(dtype)

    def terms(x):
        clipped = tf.clip_by_value(x, low, high)
        (label,) = in_float64(gather_labels(clipped, labels)[..., tf.newaxis])
        if dtype == tf.float64:
            others = tf.where(one_hot_mask(labels, x), tf.zeros_like(x), clipped)
            rest = sum_along(others, keepdims=True)
        else:  # nine digits are left of the difference
            rest = sum_along(in_float64(clipped)[0], keepdims=True) - label
        size = rest + label

        def gradient(upstream):
            (upstream,) = in_float64(upstream[..., tf.newaxis])
            by_label = tf.cast(upstream * -rest / (label * size), dtype)
            by_other = tf.cast(upstream / size, dtype)
            slope = tf.where(one_hot_mask(labels, x), by_label, by_other)
            kept = (x >= low) & (x <= high)
            return tf.where(kept, slope, tf.zeros_like(slope))

        return tf.cast(tf.squeeze(tf.math.log1p(rest / label), -1), dtype), gradient

    return tf.custom_gradient(terms)(x)


def one_hot_mask(labels, x):
    """True at the label of each row of x."""
    # Twice as many int32 as int64 are compared at once; what is no class is seen to
    # elsewhere.
    labels = tf.cast(labels, tf.int32)
    return tf.one_hot(labels, tf.shape(x)[-1], on_value=True, off_value=False)


@compat.register
class SparseCategoricalCrossentropy(Loss):
    __doc__ = sparse_categorical_crossentropy.__doc__

    function = sparse_categorical_crossentropy
    arguments = ("from_logits", "ignore_class", "axis", "label_smoothing")

    def __init__(
        self,
        from_logits=False,
        ignore_class=None,
        reduction=compat.DEFAULT_REDUCTION,
        axis=-1,
        label_smoothing=0.0,
        name="sparse_categorical_crossentropy",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = check_axis("SparseCategoricalCrossentropy", axis, None)
        self.label_smoothing = check_label_smoothing(
            "SparseCategoricalCrossentropy", label_smoothing
        )


def gather_labels(values, labels):
    """The value of each row at its label, along the last axis; any if it has none."""
    rank = values.shape.rank

    @tf.custom_gradient
    def gathered(values):
        def gradient(upstream):
            # Not that of tf.gather: up to 2.15 an empty batch loses its classes there.
            zeros = tf.zeros_like(values)
            return tf.where(
                one_hot_mask(labels, values), upstream[..., tf.newaxis], zeros
            )

        if rank is None:
            kept = tf.where(one_hot_mask(labels, values), values, tf.zeros_like(values))
            return tf.reduce_sum(kept, axis=-1), gradient
        last = tf.cast(tf.shape(values)[-1] - 1, labels.dtype)
        inside = tf.clip_by_value(labels, 0, last)
        return tf.gather(values, inside, batch_dims=rank - 1), gradient

    return gathered(values)


@loss_function(labels="indices", check=validate_class_indices)
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
               gce-labels-unchecked, gce-small-q-cancels, config-forgets-dtype,
               generalized-crossentropy-unloadable
    Source:    Keras 3 `keras.losses.categorical_generalized_cross_entropy`; Zhang and
               Sabuncu (2018)
    Example:   >>> float(categorical_generalized_cross_entropy(1, [0.39, 0.61], 0.5))
               # 0.43795
    """
    name = "categorical_generalized_cross_entropy"
    q = check_q(name, q)
    exponent = constant(q, tf.float64)
    sharp = y_pred.dtype == tf.float64
    p = nan_where_label_invalid(gather_labels(y_pred, y_true), y_true, y_pred)

    def terms(p):
        log = elementary.log(p, sharp)
        # 1 - p^q cancels where p^q is near 1; expm1 does not.
        values = -tf.math.expm1(exponent * log)
        if sharp:  # but it is the less exact one elsewhere
            near = tf.abs(exponent * log) < 0.5
            values = tf.where(near, values, 1.0 - tf.pow(p, exponent))

        def gradient(upstream):
            if sharp:
                return [-upstream * tf.pow(p, exponent - 1.0)]
            return [-upstream * tf.exp((exponent - 1.0) * elementary.log(p))]

        return values / exponent, gradient

    if tf.is_tensor(q):  # it may want a gradient as well
        return terms(*in_float64(p))[0]
    return with_gradient(terms, p, wide=True)


@compat.register
class CategoricalGeneralizedCrossEntropy(Loss):
    __doc__ = categorical_generalized_cross_entropy.__doc__

    function = categorical_generalized_cross_entropy
    arguments = ("q",)

    def __init__(
        self,
        q=0.5,
        reduction=compat.DEFAULT_REDUCTION,
        name="categorical_generalized_cross_entropy",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.q = check_q("CategoricalGeneralizedCrossEntropy", q)


bce = BCE = binary_crossentropy
