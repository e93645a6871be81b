"""Losses for real-valued targets. The output layer needs no activation."""

import math

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.inputs import constant
from keras_losses_ref.losses.kernels import elementary
from keras_losses_ref.losses.kernels.autodiff import (
    broadcast_both,
    in_float64,
    mean_of,
    power_of_two,
    with_gradient,
)
from keras_losses_ref.losses.kernels.sums import mean_along, sum_along
from keras_losses_ref.losses.validation import check_axes, check_positive


@loss_function(broadcast=True, flattenable="mean")
def mean_squared_error(y_true, y_pred):
    """Mean squared error: the mean of the squared differences.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(e^2) / n
    Gradient:  d/dy_pred = 2 e / n
    Edges:     NaN propagates; an error of 1.9e19 overflows float32
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  values-rounded-to-dtype, column-squeezed-to-scalar,
               all-masked-overflows-in-half, half-precision-overflow,
               config-forgets-dtype
    Source:    Keras 3 `keras.losses.mean_squared_error`
    Example:   >>> float(mean_squared_error([0., 1.], [0.6, 0.4]))  # 0.36
    """
    return mean_along(tf.square(y_pred - y_true))


@compat.register
class MeanSquaredError(Loss):
    __doc__ = mean_squared_error.__doc__

    function = mean_squared_error

    def __init__(
        self,
        reduction=compat.DEFAULT_REDUCTION,
        name="mean_squared_error",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)


@loss_function(broadcast=True, flattenable="mean")
def mean_absolute_error(y_true, y_pred):
    """Mean absolute error: the mean of the absolute differences.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(|e|) / n
    Gradient:  d/dy_pred = sign(e) / n
    Edges:     the gradient at e = 0 is 0; NaN propagates
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  values-rounded-to-dtype, column-squeezed-to-scalar,
               all-masked-overflows-in-half, config-forgets-dtype
    Source:    Keras 3 `keras.losses.mean_absolute_error`
    Example:   >>> float(mean_absolute_error([0., 1.], [0.6, 0.4]))  # 0.6
    """
    return mean_along(tf.abs(y_pred - y_true))


@compat.register
class MeanAbsoluteError(Loss):
    __doc__ = mean_absolute_error.__doc__

    function = mean_absolute_error

    def __init__(
        self,
        reduction=compat.DEFAULT_REDUCTION,
        name="mean_absolute_error",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)


@loss_function(broadcast=True, flattenable="mean")
def mean_absolute_percentage_error(y_true, y_pred):
    """Mean absolute percentage error: absolute differences in per cent of the truth.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  100 sum(|e| / max(|y_true|, 1e-7)) / n
    Gradient:  d/dy_pred = 100 sign(e) / max(|y_true|, 1e-7) / n
    Edges:     y_true = 0 counts as 1e-7, so that one miss outweighs a batch; the
               gradient at e = 0 is 0
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  mape-values-rounded, column-squeezed-to-scalar, mape-half-refused,
               mape-float32-epsilon, config-forgets-dtype
    Source:    Keras 3 `keras.losses.mean_absolute_percentage_error`
    Example:   >>> float(mean_absolute_percentage_error([1., 2.], [1.5, 1.5]))  # 37.5
    """
    epsilon = tf.constant(compat.epsilon(), y_pred.dtype)
    size = tf.maximum(tf.abs(y_true), epsilon)
    return 100.0 * mean_along(tf.abs(y_pred - y_true) / size)


@compat.register
class MeanAbsolutePercentageError(Loss):
    __doc__ = mean_absolute_percentage_error.__doc__

    function = mean_absolute_percentage_error

    def __init__(
        self,
        reduction=compat.DEFAULT_REDUCTION,
        name="mean_absolute_percentage_error",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)


@loss_function(broadcast=True, flattenable="mean")
def mean_squared_logarithmic_error(y_true, y_pred):
    """Mean squared logarithmic error: the error of log(1 + .), squared.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    y_true, y_pred > 0; anything below 1e-7 counts as 1e-7
    Formula:   P = max(y_pred, 1e-7);  Y = max(y_true, 1e-7)
               e = log((1 + P) / (1 + Y));  sum(e^2) / n
    Gradient:  d/dy_pred = 2 e / (1 + P) / n where y_pred >= 1e-7, else 0
    Edges:     negative values give no gradient; 1e-7 is that of float32 in every dtype
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  column-squeezed-to-scalar, msle-float64-epsilon, config-forgets-dtype
    Source:    Keras 3 `keras.losses.mean_squared_logarithmic_error`
    Example:   >>> float(mean_squared_logarithmic_error([0., 3.], [1., 1.]))  # 0.48045
    """
    epsilon = tf.constant(compat.epsilon(), tf.float32)
    sharp = y_pred.dtype == tf.float64
    (epsilon,) = in_float64(epsilon)

    def terms(y_true, y_pred):
        p, y = tf.maximum(y_pred, epsilon), tf.maximum(y_true, epsilon)
        a, b = 1.0 + p, 1.0 + y
        error = elementary.log_ratio(a, b, p - y, sharp)

        def slopes():
            zero = tf.zeros_like(error)
            by_true = tf.where(y_true >= epsilon, -2.0 * error / b, zero)
            return by_true, tf.where(y_pred >= epsilon, 2.0 * error / a, zero)

        return tf.square(error), slopes

    return mean_of(terms, y_true, y_pred, wide=True)


@compat.register
class MeanSquaredLogarithmicError(Loss):
    __doc__ = mean_squared_logarithmic_error.__doc__

    function = mean_squared_logarithmic_error

    def __init__(
        self,
        reduction=compat.DEFAULT_REDUCTION,
        name="mean_squared_logarithmic_error",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)


@loss_function(broadcast=True, flattenable="mean")
def huber(y_true, y_pred, delta=1.0):
    """Huber loss: quadratic near zero, linear beyond `delta`.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals; delta > 0
    Formula:   e = y_pred - y_true;  c = clip(e, -delta, delta)
               sum(c (e - c / 2)) / n: e^2 / 2 where |e| <= delta, else
               delta (|e| - delta / 2)
    Gradient:  d/dy_pred = clip(e, -delta, delta) / n
    Edges:     |e| = delta takes the quadratic branch; NaN propagates
    Raises:    ValueError if delta <= 0 or the shapes cannot be aligned
    Deviates:  huber-values-rounded, column-squeezed-to-scalar,
               float32-constant-refused, huber-in-float32, huber-delta-unchecked,
               huber-overflow, huber-infinite-gradient, config-forgets-dtype,
               huber-config-forgets-delta
    Source:    Keras 3 `keras.losses.huber`; Huber (1964)
    Example:   >>> float(huber([0., 1.], [0.6, 0.4]))  # 0.18
    """
    delta = constant(check_positive("huber", "delta", delta), y_pred.dtype)
    error = y_pred - y_true
    clipped = tf.clip_by_value(error, -delta, delta)
    return mean_along(clipped * (error - 0.5 * clipped))


@compat.register
class Huber(Loss):
    __doc__ = huber.__doc__

    function = huber
    arguments = ("delta",)

    def __init__(
        self,
        delta=1.0,
        reduction=compat.DEFAULT_REDUCTION,
        name="huber_loss",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.delta = check_positive("Huber", "delta", delta)


@loss_function(broadcast=True, flattenable="mean")
def log_cosh(y_true, y_pred):
    """Logarithm of the hyperbolic cosine: a Huber loss without the corner.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(log(cosh(e))) / n
               = |e| + log(1 + exp(-2 |e|)) - log 2 = log(1 + sinh(e)^2) / 2
    Gradient:  d/dy_pred = tanh(e) / n
    Edges:     e^2 / 2 near 0, |e| - log 2 far from it; NaN propagates
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  values-rounded-to-dtype, column-squeezed-to-scalar,
               log-cosh-float32-log2, config-forgets-dtype
    Source:    Keras 3 `keras.losses.log_cosh`
    Example:   >>> float(log_cosh([0., 0.], [0.6, 2.]))  # 0.74760
    """
    sharp = y_pred.dtype == tf.float64
    log2 = tf.constant(math.log(2.0), tf.float64)

    def terms(y_true, y_pred):
        error = y_pred - y_true
        size = tf.abs(error)
        rest = tf.exp(-2.0 * size)
        if sharp:
            near = size < 1.0
            tanh = tf.tanh(error)
            # tanh^2 / (1 - tanh^2) = sinh^2, and log(1 + sinh^2) / 2 = log(cosh)
            square = tf.square(tanh)
            log = tf.math.log1p(tf.where(near, square / (1.0 - square), rest))
            values = tf.where(near, 0.5 * log, size - log2 + log)
        else:
            near = size < 2.0**-6
            square = tf.square(tf.where(near, error, tf.zeros_like(error)))
            series = square * (1 / 2 - square * (1 / 12 - square * (1 / 45)))
            values = tf.where(near, series, size - log2 + elementary.log1p(rest))
            tanh = error * (1.0 - square * (1 / 3 - square * (2 / 15)))
        # TensorFlow's tanh is good near 0 only.
        slope = tf.where(near, tanh, tf.sign(error) * (1.0 - rest) / (1.0 + rest))

        return values, lambda: (-slope, slope)

    return mean_of(terms, y_true, y_pred, wide=True)


@compat.register
class LogCosh(Loss):
    __doc__ = log_cosh.__doc__

    function = log_cosh

    def __init__(
        self,
        reduction=compat.DEFAULT_REDUCTION,
        name="log_cosh",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)


@loss_function(broadcast=True)
def cosine_similarity(y_true, y_pred, axis=-1):
    """Cosine of the angle between two vectors, negated: -1 for the same direction.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,), the vectors along `axis`
    Domain:    all reals
    Formula:   u(x) = x / max(|x|, 1e-7);  -sum(u(y_true) u(y_pred))
    Gradient:  d/dy_pred = -(u(y_true) - (u(y_true) . u(y_pred)) u(y_pred)) / |y_pred|,
               or -1e7 u(y_true) where |y_pred| < 1e-7
    Edges:     0 if either vector is zero; norms beyond the range of the dtype are
               scaled first
    Raises:    ValueError if the shapes cannot be aligned or have no such axis
    Deviates:  column-squeezed-to-scalar, cosine-norm-floor, cosine-squares-floor,
               cosine-integer-labels-refused, cosine-overflow,
               cosine-zero-vector-gradient, cosine-zero-vector-half-gradient,
               cosine-gradient-cancels, config-forgets-dtype,
               cosine-similarity-config-forgets-axis
    Source:    Keras 3 `keras.losses.cosine_similarity`
    Example:   >>> float(cosine_similarity([1., 1.], [0.6, 0.8]))  # -0.98995
    """
    axis = check_axes("cosine_similarity", axis, y_pred.shape.rank)
    sharp = y_pred.dtype == tf.float64

    def terms(y_true, y_pred):
        y, y_square, y_factor, y_scale, y_short = _scaled(y_true, axis, sharp)
        p, p_square, p_factor, p_scale, p_short = _scaled(y_pred, axis, sharp)
        dot = sum_along(y * p, axis, keepdims=True)
        factor = y_factor * p_factor

        def gradient(upstream):
            scale = -tf.reshape(upstream, tf.shape(dot)) * factor
            by_true = tf.where(y_short, p, _across(p, y, y_square, axis, sharp))
            by_pred = tf.where(p_short, y, _across(y, p, p_square, axis, sharp))
            return by_true * (scale / y_scale), by_pred * (scale / p_scale)

        return -tf.squeeze(dot * factor, axis), gradient

    if not _same_length(y_true, y_pred, axis):
        # Each has its own norm: left to autodiff.
        return terms(*in_float64(y_true, y_pred))[0]
    return with_gradient(terms, *broadcast_both(y_true, y_pred), wide=True)


def _same_length(y_true, y_pred, axis):
    """Whether no vector is stretched to the length of the other, as far as known."""
    true, pred = y_true.shape, y_pred.shape
    if None in (true.rank, pred.rank):
        return False
    axes = range(true.rank) if axis is None else np.atleast_1d(axis)
    return all(true[a] is not None and true[a] == pred[a] for a in axes)


def _scaled(x, axis, sharp):
    """x by a power of two so that x^2 is in range, and what makes a unit vector of it.

    Returns (x scaled, its squared norm, 1 / max(|x|, epsilon) for x scaled, the scale,
    whether |x| < epsilon). The squares of what was a float32 are always in range.
    """
    epsilon = tf.constant(compat.epsilon(), x.dtype)
    scale = tf.ones([], x.dtype)
    if sharp:
        scale = power_of_two(tf.reduce_max(tf.abs(x), axis=axis, keepdims=True))
        x = x / scale
    square = sum_along(tf.square(x), axis, keepdims=True)
    short = scale * tf.sqrt(square) < epsilon
    square = tf.where(short, tf.ones_like(square), square)
    factor = tf.where(short, scale / epsilon, 1.0 / tf.sqrt(square))
    return x, square, factor, scale, short


def _across(y, p, p_square, axis, sharp):
    """The part of y at right angles to p; a second turn takes what the first left."""
    for _ in range(2 if sharp else 1):
        along = sum_along(y * p, axis, keepdims=True) / p_square
        y = y - along * p
    return y


@compat.register
class CosineSimilarity(Loss):
    __doc__ = cosine_similarity.__doc__

    function = cosine_similarity
    arguments = ("axis",)

    def __init__(
        self,
        axis=-1,
        reduction=compat.DEFAULT_REDUCTION,
        name="cosine_similarity",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.axis = check_axes("CosineSimilarity", axis, None)


mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
logcosh = log_cosh
huber_loss = huber
