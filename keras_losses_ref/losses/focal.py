"""Focal cross-entropies: what is already well predicted counts for little."""

import math

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.crossentropy import (
    binary_surprise,
    clip_bounds,
    clip_share,
    exponentials,
    largest_of,
    shares,
    sizes,
    smooth_labels,
)
from keras_losses_ref.losses.inputs import (
    constant,
    move_axis_last,
    nan_where_label_invalid,
    several_classes,
    validate_class_indices,
)
from keras_losses_ref.losses.kernels import twofold
from keras_losses_ref.losses.kernels.autodiff import (
    in_float64,
    mean_of,
    rematerialize,
    two_diff,
    with_gradient,
)
from keras_losses_ref.losses.kernels.sums import mean_along, sum_along
from keras_losses_ref.losses.kernels.twofold import Twofold
from keras_losses_ref.losses.validation import (
    check_alpha,
    check_axis,
    check_label_smoothing,
    check_number,
)


@loss_function(logits_of="Sigmoid", trust_from_logits=True, flattenable="mean")
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


@compat.register
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
        reduction=compat.DEFAULT_REDUCTION,
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


@loss_function(check=several_classes)
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
    y_true = smooth_labels(y_true, label_smoothing, axis, name)
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
        parts = rematerialize(lambda y, x: elements(y, x, *rows), y, x)
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
    return with_gradient(terms, y, x, shares=True)


def exact_pulls(y, x, alpha, gamma, bounds, from_logits):
    """The slopes by the shares without their mean, in twofold numbers.

    A label that is no class alone has them cross zero, where both sides cancel.
    """
    below = Twofold(*two_diff(x, largest_of(x)))
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


@compat.register
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
        reduction=compat.DEFAULT_REDUCTION,
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


@loss_function(labels="indices", check=validate_class_indices)
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
    values = nan_where_label_invalid(values, y_true, y_pred)
    if ignore_class is not None:
        values = tf.where(valid, values, tf.zeros_like(values))
        compat.set_mask(values, valid)
    return values


@compat.register
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
        reduction=compat.DEFAULT_REDUCTION,
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
