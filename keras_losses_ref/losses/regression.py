"""Losses for real-valued targets. The output layer needs no activation."""

import math

import tensorflow as tf

from keras_losses_ref.losses import host
from keras_losses_ref.losses.base import (
    Loss,
    check_axes,
    check_positive,
    constant,
    log_ratio,
    loss_function,
)


@loss_function(broadcast=True, ragged=True)
def mean_squared_error(y_true, y_pred):
    """Mean squared error: the mean of the squared differences.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(e^2) / n
    Gradient:  d/dy_pred = 2 e / n
    Edges:     NaN propagates; an error of 1.9e19 overflows float32
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  column-squeezed-to-scalar, values-rounded-to-dtype,
               all-masked-overflows-in-half, half-precision-overflow
    Source:    Keras 3 `keras.losses.mean_squared_error`
    Example:   >>> float(mean_squared_error([0., 1.], [0.6, 0.4]))  # 0.36
    """
    return tf.reduce_mean(tf.square(y_pred - y_true), axis=-1)


@host.register
class MeanSquaredError(Loss):
    __doc__ = mean_squared_error.__doc__

    function = mean_squared_error

    def __init__(
        self,
        reduction=host.DEFAULT_REDUCTION,
        name="mean_squared_error",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)


@loss_function(broadcast=True, ragged=True)
def mean_absolute_error(y_true, y_pred):
    """Mean absolute error: the mean of the absolute differences.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(|e|) / n
    Gradient:  d/dy_pred = sign(e) / n
    Edges:     the gradient at e = 0 is 0; NaN propagates
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  column-squeezed-to-scalar, values-rounded-to-dtype,
               all-masked-overflows-in-half
    Source:    Keras 3 `keras.losses.mean_absolute_error`
    Example:   >>> float(mean_absolute_error([0., 1.], [0.6, 0.4]))  # 0.6
    """
    return tf.reduce_mean(tf.abs(y_pred - y_true), axis=-1)


@host.register
class MeanAbsoluteError(Loss):
    __doc__ = mean_absolute_error.__doc__

    function = mean_absolute_error

    def __init__(
        self,
        reduction=host.DEFAULT_REDUCTION,
        name="mean_absolute_error",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)


@loss_function(broadcast=True, ragged=True)
def mean_absolute_percentage_error(y_true, y_pred):
    """Mean absolute percentage error: absolute differences in per cent of the truth.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  100 sum(|e| / max(|y_true|, 1e-7)) / n
    Gradient:  d/dy_pred = 100 sign(e) / max(|y_true|, 1e-7) / n
    Edges:     y_true = 0 counts as 1e-7, so that one miss outweighs a batch; the
               gradient at e = 0 is 0
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  column-squeezed-to-scalar, mape-values-rounded, mape-half-refused,
               mape-float32-epsilon
    Source:    Keras 3 `keras.losses.mean_absolute_percentage_error`
    Example:   >>> float(mean_absolute_percentage_error([1., 2.], [1.5, 1.5]))  # 37.5
    """
    epsilon = tf.constant(host.epsilon(), y_pred.dtype)
    size = tf.maximum(tf.abs(y_true), epsilon)
    return 100.0 * tf.reduce_mean(tf.abs(y_pred - y_true) / size, axis=-1)


@host.register
class MeanAbsolutePercentageError(Loss):
    __doc__ = mean_absolute_percentage_error.__doc__

    function = mean_absolute_percentage_error

    def __init__(
        self,
        reduction=host.DEFAULT_REDUCTION,
        name="mean_absolute_percentage_error",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)


@loss_function(broadcast=True, ragged=True)
def mean_squared_logarithmic_error(y_true, y_pred):
    """Mean squared logarithmic error: the error of log(1 + .), squared.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    y_true, y_pred > 0; anything below 1e-7 counts as 1e-7
    Formula:   P = max(y_pred, 1e-7);  Y = max(y_true, 1e-7)
               e = log((1 + P) / (1 + Y));  sum(e^2) / n
    Gradient:  d/dy_pred = 2 e / (1 + P) / n where y_pred >= 1e-7, else 0
    Edges:     negative values give no gradient; 1e-7 is that of float32 in every dtype
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  column-squeezed-to-scalar, msle-float64-epsilon
    Source:    Keras 3 `keras.losses.mean_squared_logarithmic_error`
    Example:   >>> float(mean_squared_logarithmic_error([0., 3.], [1., 1.]))  # 0.48045
    """
    epsilon = tf.cast(tf.constant(host.epsilon(), tf.float32), y_pred.dtype)
    p = tf.maximum(y_pred, epsilon)
    y = tf.maximum(y_true, epsilon)
    error = log_ratio(1.0 + p, 1.0 + y, p - y)
    return tf.reduce_mean(tf.square(error), axis=-1)


@host.register
class MeanSquaredLogarithmicError(Loss):
    __doc__ = mean_squared_logarithmic_error.__doc__

    function = mean_squared_logarithmic_error

    def __init__(
        self,
        reduction=host.DEFAULT_REDUCTION,
        name="mean_squared_logarithmic_error",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)


@loss_function(broadcast=True)
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
    Deviates:  column-squeezed-to-scalar, huber-in-float32, huber-values-rounded,
               float32-constant-refused, huber-delta-unchecked, huber-overflow,
               huber-infinite-gradient
    Source:    Keras 3 `keras.losses.huber`; Huber (1964)
    Example:   >>> float(huber([0., 1.], [0.6, 0.4]))  # 0.18
    """
    delta = constant(check_positive("huber", "delta", delta), y_pred.dtype)
    error = y_pred - y_true
    clipped = tf.clip_by_value(error, -delta, delta)
    return tf.reduce_mean(clipped * (error - 0.5 * clipped), axis=-1)


@host.register
class Huber(Loss):
    __doc__ = huber.__doc__

    function = huber
    arguments = ("delta",)

    def __init__(
        self,
        delta=1.0,
        reduction=host.DEFAULT_REDUCTION,
        name="huber_loss",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.delta = check_positive("Huber", "delta", delta)


@loss_function(broadcast=True)
def log_cosh(y_true, y_pred):
    """Logarithm of the hyperbolic cosine: a Huber loss without the corner.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(log(cosh(e))) / n
               = |e| + log(1 + exp(-2 |e|)) - log 2 = log(1 + 2 sinh(e / 2)^2)
    Gradient:  d/dy_pred = tanh(e) / n
    Edges:     e^2 / 2 near 0, |e| - log 2 far from it; NaN propagates
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  column-squeezed-to-scalar, values-rounded-to-dtype, log-cosh-float32-log2
    Source:    Keras 3 `keras.losses.log_cosh`
    Example:   >>> float(log_cosh([0., 0.], [0.6, 2.]))  # 0.74760
    """
    error = y_pred - y_true
    size = tf.abs(error)
    # Each form gets an argument that it can bear where the other one is taken.
    near = size < 1.0
    small = tf.where(near, error, tf.zeros_like(error))
    large = tf.where(near, tf.ones_like(size), size)
    log2 = tf.constant(math.log(2.0), error.dtype)
    values = tf.where(
        near,
        tf.math.log1p(2.0 * tf.square(tf.sinh(0.5 * small))),
        large - log2 + tf.math.log1p(tf.exp(-2.0 * large)),
    )
    return tf.reduce_mean(values, axis=-1)


@host.register
class LogCosh(Loss):
    __doc__ = log_cosh.__doc__

    function = log_cosh

    def __init__(self, reduction=host.DEFAULT_REDUCTION, name="log_cosh", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)


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
    Deviates:  column-squeezed-to-scalar, cosine-norm-floor,
               cosine-integer-labels-refused, cosine-overflow,
               cosine-zero-vector-gradient, cosine-gradient-cancels
    Source:    Keras 3 `keras.losses.cosine_similarity`
    Example:   >>> float(cosine_similarity([1., 1.], [0.6, 0.8]))  # -0.98995
    """
    axis = check_axes("cosine_similarity", axis, y_pred.shape.rank)
    return -tf.reduce_sum(unit(y_true, axis) * unit(y_pred, axis), axis=axis)


def unit(x, axis):
    """x / max(|x|, epsilon) along `axis`, where x^2 need not be in range."""
    epsilon = tf.constant(host.epsilon(), x.dtype)
    scale = tf.stop_gradient(tf.reduce_max(tf.abs(x), axis=axis, keepdims=True))
    scale = tf.where(scale > 0, scale, tf.ones_like(scale))
    scaled = x / scale
    square = tf.reduce_sum(tf.square(scaled), axis=axis, keepdims=True)
    short = scale * tf.sqrt(square) < epsilon
    square = tf.where(short, tf.ones_like(square), square)
    return tf.where(short, x / epsilon, scaled * tf.math.rsqrt(square))


@host.register
class CosineSimilarity(Loss):
    __doc__ = cosine_similarity.__doc__

    function = cosine_similarity
    arguments = ("axis",)

    def __init__(
        self,
        axis=-1,
        reduction=host.DEFAULT_REDUCTION,
        name="cosine_similarity",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.axis = check_axes("CosineSimilarity", axis, None)


mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
logcosh = log_cosh
huber_loss = huber
