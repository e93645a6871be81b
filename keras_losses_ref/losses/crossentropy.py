"""Losses for probabilities: how surprised the prediction is by the label.

One sigmoid node goes with the binary form, a softmax over classes with the
categorical one (one-hot labels) and the sparse one (integer labels). With
`from_logits=True` the activation is part of the loss, and the layer has none.
"""

import math

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses import elementary, fused, host, twofold
from keras_losses_ref.losses.base import (
    Loss,
    check_axis,
    check_label_smoothing,
    check_number,
    constant,
    difference,
    in_float64,
    loss_function,
    mean_along,
    mean_of,
    move_axis_last,
    power_of_two,
    sum_along,
    sum_of,
    written_out,
)
from keras_losses_ref.losses.twofold import Twofold


def clip_bounds(dtype):
    """Keras's bounds of a probability: epsilon and 1 - epsilon, rounded to `dtype`.

    Beyond them its logarithm has no gradient. As numbers, which no graph rewrites.
    """
    one, epsilon = np.array([1.0, host.epsilon()], dtype.as_numpy_dtype)
    return float(epsilon), float(one - epsilon)


@loss_function(logits_of="Sigmoid", ragged=True, alike="mean")
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
    if fused.in_kernel() and p.dtype == tf.float64 and not sharp:
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
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.from_logits = from_logits
        self.label_smoothing = check_label_smoothing(
            "BinaryCrossentropy", label_smoothing
        )
        self.axis = check_axis("BinaryCrossentropy", axis, None)


@loss_function(logits_of="Sigmoid", believe_from_logits=True, ragged=True, alike="mean")
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
    Deviates:  focal-label-smoothing-unchecked, column-squeezed-to-scalar,
               binary-focal-epsilon-in-log, binary-focal-epsilon-folded,
               focal-gamma-below-one-nan, binary-focal-half-precision-clip,
               config-forgets-dtype, focal-unloadable
    Source:    Keras 3 `keras.losses.binary_focal_crossentropy`; Lin et al. (2018)
    Example:   >>> float(binary_focal_crossentropy([0., 1.], [0.3, 0.61]))  # 0.053642
    """
    name = "binary_focal_crossentropy"
    check_axis(name, axis, y_pred.shape.rank)
    smoothing = check_label_smoothing(name, label_smoothing)
    if tf.is_tensor(smoothing) or smoothing:
        y_true = y_true * (1.0 - smoothing) + 0.5 * smoothing
    gamma = check_number(name, "gamma", gamma)
    bounds = None if from_logits else clip_bounds(y_pred.dtype)
    alpha = check_number(name, "alpha", alpha)
    sharp = y_pred.dtype == tf.float64
    alpha = tf.cast(alpha, tf.float64) if tf.is_tensor(alpha) else alpha

    def terms(y, x):
        cost, cost_slopes, chances = binary_surprise(y, x, bounds, sharp)
        p, not_p, chain = chances
        miss = y * not_p + (1.0 - y) * p
        power, power_slope = powers(miss, gamma)
        values = power * cost
        weight = y * alpha + (1.0 - y) * (1.0 - alpha) if apply_class_balancing else 1.0

        def product_rule(miss_slope, cost_slope, exact=None):
            if gamma == 0:
                return cost_slope
            # power = power_slope miss / gamma: the factor stays out of what may cancel.
            rest = miss_slope * cost + (miss / gamma) * cost_slope
            if exact is not None:
                rest = twofold.corrected(rest, exact)
            return power_slope * rest

        def slopes():
            cost_by_true, cost_by_pred = cost_slopes()
            by_true = weight * product_rule(not_p - p, cost_by_true)
            if apply_class_balancing:
                by_true += (2.0 * alpha - 1.0) * values
            exact = exact_rest(y, x, gamma, bounds) if sharp and gamma else None
            pulls = chain * (1.0 - 2.0 * y), cost_by_pred
            return by_true, weight * product_rule(*pulls, exact)

        return weight * values, slopes

    if tf.is_tensor(gamma) or tf.is_tensor(alpha):  # they may want a gradient as well
        return mean_along(terms(*in_float64(y_true, y_pred))[0], axis)
    return mean_of(terms, y_true, y_pred, axis, wide=True)


def exact_rest(y, x, gamma, bounds):
    """What `product_rule` puts together for the gradient to x, in twofold numbers.

    For labels between 0 and 1 it crosses zero, and there the two sides cancel.
    """
    y = Twofold(y)
    if bounds is None:
        e = twofold.exp(Twofold(-tf.abs(x)))
        large, small = 1.0 / (1.0 + e), e / (1.0 + e)
        p = twofold.where(x >= 0, large, small)
        not_p = twofold.where(x >= 0, small, large)
        cost = twofold.log(1.0 + e) + y * tf.nn.relu(-x) + (1.0 - y) * tf.nn.relu(x)
        miss_slope, cost_slope = p * not_p, (1.0 - y) * p - y * not_p
    else:
        p, not_p, (low, high) = Twofold(x), 1.0 - Twofold(x), bounds
        q = Twofold(tf.clip_by_value(x, low, high))
        cost = -(y * twofold.log(q) + (1.0 - y) * twofold.log(1.0 - q))
        kept = (x >= low) & (x <= high)
        miss_slope = 1.0
        cost_slope = twofold.where(kept, (q - y) / (q * (1.0 - q)), tf.zeros_like(x))
    miss = y * not_p + (1.0 - y) * p
    return (1.0 - 2.0 * y) * miss_slope * cost + miss / gamma * cost_slope


def powers(base, exponent):
    """base ** exponent and its derivative, which is 0 where it would be infinite."""
    if not tf.is_tensor(exponent):
        if exponent == 0:
            return tf.ones_like(base), tf.zeros_like(base)
        if exponent == 1:
            return base, tf.ones_like(base)
        if exponent == 2:
            return tf.square(base), 2.0 * base
    exponent = constant(exponent, base.dtype)
    endless = tf.equal(base, 0.0) & (exponent < 1.0)
    safe = tf.where(endless, tf.ones_like(base), base)
    slope = tf.where(
        endless, tf.zeros_like(base), exponent * tf.pow(safe, exponent - 1.0)
    )
    return tf.pow(base, exponent), slope


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
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
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
               all-masked-overflows-in-half, half-precision-clip, config-forgets-dtype,
               tiny-row-nan-under-xla
    Source:    Keras 3 `keras.losses.categorical_crossentropy`
    Example:   >>> float(categorical_crossentropy([0., 1.], [0.39, 0.61]))  # 0.49430
    """
    check_axis("categorical_crossentropy", axis, y_pred.shape.rank)
    y_true = smooth(y_true, label_smoothing, axis, "categorical_crossentropy")
    surprise = surprise_of_logits if from_logits else surprise_of_shares
    return surprise(move_axis_last(y_true, axis), move_axis_last(y_pred, axis))


def surprise_of_logits(y, x):
    """-sum(y log softmax(x)) along the last axis."""

    def terms(y, x):
        top = largest_of(x)
        parts = fused.parts(lambda y, x: (y, *exponentials(x, top)), y, x)
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

    return written_out(terms, y, x, shares=True)


def largest_of(x):
    """The largest of each row; an infinite one is the largest number there is."""
    top = tf.reduce_max(x, axis=-1, keepdims=True)
    return tf.stop_gradient(tf.minimum(top, x.dtype.max))


def exponentials(x, top, narrow=None):
    """x - top, and its exp to the last digit; `narrow` is the dtype x was of before."""
    narrow = narrow or x.dtype
    below, error = difference(tf.minimum(x, narrow.max), top)
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
        parts = fused.parts(lambda y, x: elements(y, x, *size), y, x)
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

    return written_out(terms, y, x, shares=True)


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
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
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
               focal-alpha-list-float32, config-forgets-dtype, focal-unloadable,
               tiny-row-nan-under-xla
    Source:    Keras 3 `keras.losses.categorical_focal_crossentropy`; Lin et al. (2018)
    Example:   >>> float(categorical_focal_crossentropy([0., 1.], [0.39, 0.61]))
               # 0.018796
    """
    name = "categorical_focal_crossentropy"
    check_axis(name, axis, y_pred.shape.rank)
    y_true = smooth(y_true, label_smoothing, axis, name)
    alpha = check_alpha(name, alpha, y_pred.shape[axis])
    y_true, y_pred = move_axis_last(y_true, axis), move_axis_last(y_pred, axis)
    return focal_surprise(y_true, y_pred, alpha, gamma, from_logits, name)


def focal_surprise(y, x, alpha, gamma, from_logits, name):
    """sum(alpha (1 - q)^gamma y (-log q)), q the clipped share, along the last axis."""
    dtype, bounds = x.dtype, clip_bounds(x.dtype)
    sharp = dtype == tf.float64
    gamma = check_number(name, "gamma", gamma)
    trained = tf.is_tensor(gamma) or tf.is_tensor(alpha)
    alpha = constant(alpha, tf.float64)

    def elements(y, x, *rows):
        """Each class's label, share, 1 - share, value, pull, and what turns a slope by
        the share into one by x; `rows` has a number for each row."""
        y, x = in_float64(y, x)
        if from_logits:
            top, log_size, rest = rows
            below, e = exponentials(x, top, dtype)
            share, not_share = e / (1.0 + rest), ((1.0 - e) + rest) / (1.0 + rest)
            q, not_q, kept = clip_share(share, not_share, bounds)
            low, high = (constant(-math.log(bound), x.dtype) for bound in bounds)
            cost = tf.where(kept, log_size - below, tf.where(q < 0.5, low, high))
        else:
            exact, (q, not_q, cost, kept) = shares(x, bounds, sharp, *rows)
            share, not_share, size = exact
        power, slope = powers(not_q, gamma)
        by_x = share if from_logits else 1.0 / size

        def pull():
            """The derivative by the share."""
            # power = slope not_q / gamma: the factor stays out of what may cancel.
            pull = slope * (cost + not_q / (gamma * q)) if gamma else 1.0 / q
            return tf.where(kept, -alpha * y * pull, tf.zeros_like(pull))

        return y, share, not_share, alpha * power * cost, pull, by_x

    def terms(y, x):
        (wide_x,) = in_float64(x)
        if from_logits:
            (top,) = in_float64(largest_of(x))
            _, e = exponentials(wide_x, top, dtype)
            rows = (top, *sizes(wide_x, top, e, dtype))
        else:
            rows = () if sharp else (sum_along(wide_x, keepdims=True),)
        parts = fused.parts(lambda y, x: elements(y, x, *rows), y, x)
        wide_y, _, _, values, _, _ = parts(1)

        def gradient(upstream):
            upstream = upstream[..., tf.newaxis]
            _, share, _, _, pull, _ = first = parts(2)
            pulls = pull()
            mean = sum_along(pulls * share, keepdims=True)
            _, share, not_share, values, pull, by_x = again = parts(3)
            pulls = pulls if again is first else pull()
            by_share = pulls - mean
            if sharp:  # of a share near 1 hardly anything would be left
                most = share > 0.5
                others = tf.where(most, tf.zeros_like(share), pulls * share)
                others = sum_along(others, keepdims=True)
                by_share = tf.where(most, pulls * not_share - others, by_share)
                exact = exact_pulls(y, x, alpha, gamma, bounds, from_logits)
                by_share = twofold.corrected(by_share, exact)
            return upstream * values, upstream * by_x * by_share

        return sum_along(wide_y * values), gradient

    if trained:  # gamma or alpha may want a gradient as well
        return terms(y, x)[0]
    return written_out(terms, y, x, shares=True)


def exact_pulls(y, x, alpha, gamma, bounds, from_logits):
    """The slopes by the shares without their mean, in twofold numbers.

    A label that is no class alone has them cross zero, where both sides cancel.
    """
    below = Twofold(*difference(x, largest_of(x)))
    e = twofold.exp(below) if from_logits else Twofold(x)
    size = twofold.total(e)
    share, not_share = e / size, (size - e) / size
    cost = twofold.log(size) - below if from_logits else -twofold.log(share)
    power = 1.0
    if gamma == 2:
        power = 2.0 * not_share
    elif gamma not in (0, 1):
        power = gamma * twofold.exp((gamma - 1.0) * twofold.log(not_share))
    pull = power * (cost + not_share / (gamma * share)) if gamma else 1.0 / share
    _, _, kept = clip_share(share.high, not_share.high, bounds)
    pulls = twofold.where(kept, -(alpha * Twofold(y)) * pull, tf.zeros_like(x))
    return pulls - twofold.total(pulls * share)


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
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        owner = "CategoricalFocalCrossentropy"
        self.alpha = check_alpha(owner, alpha, None)
        self.gamma = check_number(owner, "gamma", gamma)
        self.from_logits = from_logits
        self.label_smoothing = check_label_smoothing(owner, label_smoothing)
        self.axis = check_axis(owner, axis, None)


def class_indices(name, y_true, y_pred, arguments):
    """y_true as one class for each row of y_pred; eagerly, what is none is refused."""
    axis = check_axis(name, arguments.get("axis", -1), y_pred.shape.rank)
    y_true = drop_class_axis(name, y_true, y_pred, axis)
    if tf.executing_eagerly():
        ignored = arguments.get("ignore_class")
        check_labels(name, y_true.numpy(), y_pred.shape[axis], ignored)
    return tf.cast(y_true, tf.int64)


def class_indices_of_known_rank(name, y_true, y_pred, arguments):
    """The same for tensors whose axes would be broadcast unseen."""
    if y_true.shape.rank is None or y_pred.shape.rank is None:
        raise ValueError(
            f"{name}: the ranks must be known. Received: y_true.shape={y_true.shape}, "
            f"y_pred.shape={y_pred.shape}. Give them one, for example by "
            "y_pred = tf.ensure_shape(y_pred, (None, classes))."
        )
    return class_indices(name, y_true, y_pred, arguments)


def class_indices_looked_up(name, y_true, y_pred, arguments):
    """The same; in a graph on a CPU, what is no class is refused when it runs.

    A lookup does it, as it does in TensorFlow's own kernel.
    """
    y_true = class_indices(name, y_true, y_pred, arguments)
    if tf.executing_eagerly():
        return y_true
    index, ignored = y_true, arguments["ignore_class"]
    if ignored is not None:
        index = tf.where(tf.equal(index, ignored), tf.zeros_like(index), index)
    return y_true + looked_up(index, tf.shape(y_pred)[arguments["axis"]])


def looked_up(labels, classes):
    """0 for each label; on a CPU an error for what is no class."""
    return tf.gather(tf.zeros([classes], tf.int64), labels)


@loss_function(
    labels="indices", logits_of="Softmax", ragged=True, check=class_indices_looked_up
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
    values = known_only(values, y_true, y_pred)
    if ignore_class is not None:
        values = tf.where(valid, values, tf.zeros_like(values))
        host.set_mask(values, valid)
    return values


def surprise_of_label_logit(labels, x):
    """-log softmax(x)_y along the last axis."""

    def terms(x):
        top = largest_of(x)
        parts = fused.parts(lambda x: exponentials(x, top), x)
        below, e = parts(1)
        log_size, rest = sizes(x, top, e)
        values = tf.squeeze(log_size, -1) - pick(below, labels)

        def gradient(upstream):
            _, e = parts(2)
            # e is 1 at the largest logit, so that nothing cancels for its label.
            slope = tf.where(is_label(labels, x), (e - 1.0) - rest, e)
            return slope * (upstream[..., tf.newaxis] / (1.0 + rest))

        return values, gradient

    return tf.custom_gradient(terms)(x)


def surprise_of_label(labels, x):
    """-log(c_y / sum(c)), c = clip(x), along the last axis."""
    dtype = x.dtype
    low, high = clip_bounds(dtype)

    def terms(x):
        clipped = tf.clip_by_value(x, low, high)
        (label,) = in_float64(pick(clipped, labels)[..., tf.newaxis])
        if dtype == tf.float64:
            others = tf.where(is_label(labels, x), tf.zeros_like(x), clipped)
            rest = sum_along(others, keepdims=True)
        else:  # nine digits are left of the difference
            rest = sum_along(in_float64(clipped)[0], keepdims=True) - label
        size = rest + label

        def gradient(upstream):
            (upstream,) = in_float64(upstream[..., tf.newaxis])
            by_label = tf.cast(upstream * -rest / (label * size), dtype)
            by_other = tf.cast(upstream / size, dtype)
            slope = tf.where(is_label(labels, x), by_label, by_other)
            kept = (x >= low) & (x <= high)
            return tf.where(kept, slope, tf.zeros_like(slope))

        return tf.cast(tf.squeeze(tf.math.log1p(rest / label), -1), dtype), gradient

    return tf.custom_gradient(terms)(x)


def is_label(labels, x):
    """True at the label of each row of x."""
    # Twice as many int32 as int64 are compared at once; what is no class is seen to
    # elsewhere.
    labels = tf.cast(labels, tf.int32)
    return tf.one_hot(labels, tf.shape(x)[-1], on_value=True, off_value=False)


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


def check_labels(name, labels, classes, ignore_class):
    """Refuse `labels`, a NumPy array, that are no class and not to be ignored."""
    if labels.dtype.kind == "f":
        bad = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    elif labels.size and labels.min() >= 0 and labels.max() < classes:
        return
    else:
        bad = (labels < 0) | (labels >= classes)
    if ignore_class is not None:
        bad &= labels != ignore_class
    if not np.any(bad):
        return
    raise tf.errors.InvalidArgumentError(
        None,
        None,
        f"{name}: {np.count_nonzero(bad)} of {labels.size} labels are no class of "
        f"y_pred. Received: y_true with {', '.join(map(str, labels[bad][:5]))}. "
        f"Expected integers in [0, {classes}), the classes of y_pred"
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
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = check_axis("SparseCategoricalCrossentropy", axis, None)
        self.label_smoothing = check_label_smoothing(
            "SparseCategoricalCrossentropy", label_smoothing
        )


@loss_function(labels="indices", check=class_indices_of_known_rank)
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
    Deviates:  sparse-focal-labels-unchecked, sparse-focal-half-precision-clip,
               config-forgets-dtype, tiny-row-nan-under-xla
    Source:    keras-nightly `keras.losses.sparse_categorical_focal_crossentropy`
    Example:   >>> float(sparse_categorical_focal_crossentropy(1, [0.39, 0.61]))
               # 0.018796
    """
    name = "sparse_categorical_focal_crossentropy"
    y_pred = move_axis_last(y_pred, axis)
    alpha = check_alpha(name, alpha, y_pred.shape[-1])
    if ignore_class is not None:
        valid = tf.not_equal(y_true, tf.cast(ignore_class, tf.int64))
        y_pred = tf.where(valid[..., tf.newaxis], y_pred, tf.ones_like(y_pred))
    hot = tf.one_hot(y_true, tf.shape(y_pred)[-1], dtype=y_pred.dtype)
    values = focal_surprise(hot, y_pred, alpha, gamma, from_logits, name)
    values = known_only(values, y_true, y_pred)
    if ignore_class is not None:
        values = tf.where(valid, values, tf.zeros_like(values))
        host.set_mask(values, valid)
    return values


def known_only(values, labels, y_pred):
    """`values` with NaN where the label is no class of y_pred, the gradient's too."""
    classes = tf.cast(tf.shape(y_pred)[-1], labels.dtype)
    known = (labels >= 0) & (labels < classes)
    one, nan = (tf.constant(x, values.dtype) for x in (1.0, float("nan")))
    return values * tf.where(known, one, nan)


def pick(values, labels):
    """The value of each row at its label, along the last axis; any if it has none."""
    rank = values.shape.rank

    @tf.custom_gradient
    def looked_up(values):
        def gradient(upstream):
            # Not that of tf.gather: up to 2.15 an empty batch loses its classes there.
            zeros = tf.zeros_like(values)
            return tf.where(is_label(labels, values), upstream[..., tf.newaxis], zeros)

        if rank is None:
            kept = tf.where(is_label(labels, values), values, tf.zeros_like(values))
            return tf.reduce_sum(kept, axis=-1), gradient
        last = tf.cast(tf.shape(values)[-1] - 1, labels.dtype)
        inside = tf.clip_by_value(labels, 0, last)
        return tf.gather(values, inside, batch_dims=rank - 1), gradient

    return looked_up(values)


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
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        owner = "SparseCategoricalFocalCrossentropy"
        self.alpha = check_alpha(owner, alpha, None)
        self.gamma = check_number(owner, "gamma", gamma)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = check_axis(owner, axis, None)


@loss_function(labels="indices", check=class_indices_of_known_rank)
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
    p = known_only(pick(y_pred, y_true), y_true, y_pred)

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
    return written_out(terms, p, wide=True)


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
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.q = check_q("CategoricalGeneralizedCrossEntropy", q)


@loss_function(broadcast=True, alike="sum")
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
    Deviates:  column-squeezed-to-scalar, kl-divergence-half-range, config-forgets-dtype
    Source:    Keras 3 `keras.losses.kl_divergence`
    Example:   >>> float(kl_divergence([0.3, 0.7], [0.5, 0.5]))  # 0.082283
    """
    epsilon = tf.constant(host.epsilon(), y_pred.dtype)
    sharp = y_pred.dtype == tf.float64
    (epsilon,) = in_float64(epsilon)

    def terms(y_true, y_pred):
        y = tf.clip_by_value(y_true, epsilon, 1.0)
        p = tf.clip_by_value(y_pred, epsilon, 1.0)
        log = elementary.log_ratio(y, p, y - p, sharp)

        def slopes():
            zero = tf.zeros_like(p)
            true_kept = (y_true >= epsilon) & (y_true <= 1.0)
            pred_kept = (y_pred >= epsilon) & (y_pred <= 1.0)
            by_true = tf.where(true_kept, log + 1.0, zero)
            return by_true, tf.where(pred_kept, -y / p, zero)

        return y * log, slopes

    return sum_of(terms, y_true, y_pred, wide=True)


@host.register
class KLDivergence(Loss):
    __doc__ = kl_divergence.__doc__

    function = kl_divergence

    def __init__(
        self,
        reduction=host.DEFAULT_REDUCTION,
        name="kl_divergence",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)


@loss_function(broadcast=True, alike="mean")
def poisson(y_true, y_pred):
    """Poisson loss: minus the log-likelihood of counts, but for a constant.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    y_true >= 0; y_pred > -1e-7
    Formula:   sum(y_pred - y_true log(y_pred + 1e-7)) / n
    Gradient:  d/dy_pred = (y_pred + 1e-7 - y_true) / (y_pred + 1e-7) / n
    Edges:     a y_pred below -1e-7 is NaN, also where y_true is 0
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  column-squeezed-to-scalar, poisson-half-range, float32-constant-refused,
               config-forgets-dtype
    Source:    Keras 3 `keras.losses.poisson`
    Example:   >>> float(poisson([1., 2.], [1.5, 1.5]))  # 0.89180
    """
    epsilon = tf.constant(host.epsilon(), y_pred.dtype)
    sharp = y_pred.dtype == tf.float64
    (epsilon,) = in_float64(epsilon)

    def terms(y_true, y_pred):
        log = elementary.log(y_pred + epsilon, sharp)

        def slopes():
            rate = y_pred + epsilon
            if not sharp:  # nine digits are left of the difference
                return -log, (rate - y_true) / rate
            # Two quotients: of (p - y) + epsilon, graphs make (p + epsilon) - y.
            slope = (y_pred - y_true) / rate + epsilon / rate
            # At a rate of 0 they would be infinities that cancel.
            return -log, tf.where(tf.equal(rate, 0.0), 1.0 - y_true / rate, slope)

        return y_pred - y_true * log, slopes

    return mean_of(terms, y_true, y_pred, wide=True)


@host.register
class Poisson(Loss):
    __doc__ = poisson.__doc__

    function = poisson

    def __init__(
        self,
        reduction=host.DEFAULT_REDUCTION,
        name="poisson",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)


bce = BCE = binary_crossentropy
kld = KLD = kullback_leibler_divergence = kl_divergence
