"""Losses for real-valued targets. The output layer needs no activation."""

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.compat import Axes, Tensor
from keras_losses_ref.losses.inputs import constant
from keras_losses_ref.losses.kernels import regression as kernels
from keras_losses_ref.losses.kernels.sums import mean_along, sum_along
from keras_losses_ref.losses.validation import check_axes, check_positive


@loss_function(broadcast=True, flattenable="mean")
def mean_squared_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Mean squared error: the mean of the squared differences.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(e^2) / n
    Gradient:  d/dy_pred = 2 e / n
    Edges:     NaN propagates; an error of 1.9e19 overflows float32
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.mean_squared_error`
    Example:   >>> float(mean_squared_error([0., 1.], [0.6, 0.4]))  # 0.36
    """
    return mean_along(tf.square(y_pred - y_true))


@compat.register
class MeanSquaredError(Loss):
    function = mean_squared_error


@loss_function(broadcast=True, flattenable="mean")
def mean_absolute_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Mean absolute error: the mean of the absolute differences.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(|e|) / n
    Gradient:  d/dy_pred = sign(e) / n
    Edges:     the gradient at e = 0 is 0; NaN propagates
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.mean_absolute_error`
    Example:   >>> float(mean_absolute_error([0., 1.], [0.6, 0.4]))  # 0.6
    """
    return mean_along(tf.abs(y_pred - y_true))


@compat.register
class MeanAbsoluteError(Loss):
    function = mean_absolute_error


@loss_function(broadcast=True, flattenable="mean")
def mean_absolute_percentage_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Mean absolute percentage error: absolute differences in per cent of the truth.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  100 sum(|e| / max(|y_true|, 1e-7)) / n
    Gradient:  d/dy_pred = 100 sign(e) / max(|y_true|, 1e-7) / n
    Edges:     y_true = 0 counts as 1e-7, so that one miss outweighs a batch; the
               gradient at e = 0 is 0
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.mean_absolute_percentage_error`
    Example:   >>> float(mean_absolute_percentage_error([1., 2.], [1.5, 1.5]))  # 37.5
    """
    size = tf.maximum(tf.abs(y_true), tf.constant(compat.epsilon(), y_pred.dtype))
    return 100.0 * mean_along(tf.abs(y_pred - y_true) / size)


@compat.register
class MeanAbsolutePercentageError(Loss):
    function = mean_absolute_percentage_error


@loss_function(
    kernels.mean_squared_logarithmic_error,
    broadcast=True,
    flattenable="mean",
)
def mean_squared_logarithmic_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Mean squared logarithmic error: the error of log(1 + .), squared.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    y_true, y_pred > 0; anything below 1e-7 counts as 1e-7
    Formula:   P = max(y_pred, 1e-7);  Y = max(y_true, 1e-7)
               e = log((1 + P) / (1 + Y));  sum(e^2) / n
    Gradient:  d/dy_pred = 2 e / (1 + P) / n where y_pred >= 1e-7, else 0
    Edges:     negative values give no gradient; 1e-7 is that of float32 in every dtype
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.mean_squared_logarithmic_error`
    Example:   >>> float(mean_squared_logarithmic_error([0., 3.], [1., 1.]))  # 0.48045
    """
    epsilon = tf.cast(tf.constant(compat.epsilon(), tf.float32), y_pred.dtype)
    p, y = tf.maximum(y_pred, epsilon), tf.maximum(y_true, epsilon)
    # log((1 + p) / (1 + y)) but for its sign, from the difference of p and y.
    apart, smaller = tf.where(p >= y, p - y, y - p), tf.where(p >= y, y, p)
    error = tf.math.log1p(apart / (1.0 + smaller))
    return mean_along(tf.square(error))


@compat.register
class MeanSquaredLogarithmicError(Loss):
    function = mean_squared_logarithmic_error


@loss_function(broadcast=True, checks={"delta": check_positive}, flattenable="mean")
def huber(y_true: Tensor, y_pred: Tensor, delta: float = 1.0) -> Tensor:
    """Huber loss: quadratic near zero, linear beyond `delta`.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals; delta > 0
    Formula:   e = y_pred - y_true;  c = clip(e, -delta, delta)
               sum(c (e - c / 2)) / n: e^2 / 2 where |e| <= delta, else
               delta (|e| - delta / 2)
    Gradient:  d/dy_pred = clip(e, -delta, delta) / n
    Edges:     |e| = delta takes the quadratic branch; NaN propagates
    Raises:    ValueError if delta <= 0 or the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.huber`; Huber (1964)
    Example:   >>> float(huber([0., 1.], [0.6, 0.4]))  # 0.18
    """
    delta = constant(delta, y_pred.dtype)
    error = y_pred - y_true
    clipped = tf.clip_by_value(error, -delta, delta)
    return mean_along(clipped * (error - 0.5 * clipped))


@compat.register
class Huber(Loss):
    function = huber
    default_name = "huber_loss"

    delta: float = 1.0


@loss_function(kernels.log_cosh, broadcast=True, flattenable="mean")
def log_cosh(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Logarithm of the hyperbolic cosine: a Huber loss without the corner.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(log(cosh(e))) / n
               = |e| + log(1 + exp(-2 |e|)) - log 2 = log(1 + sinh(e)^2) / 2
    Gradient:  d/dy_pred = tanh(e) / n
    Edges:     e^2 / 2 near 0, |e| - log 2 far from it; NaN propagates
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.log_cosh`
    Example:   >>> float(log_cosh([0., 0.], [0.6, 2.]))  # 0.74760
    """
    error = y_pred - y_true
    # cosh(e) - 1, which does not cancel; beyond 20 the loss is |e| - log(2).
    near = tf.clip_by_value(error, -20.0, 20.0)
    above_1 = -0.5 * tf.math.expm1(near) * tf.math.expm1(-near)
    return mean_along(tf.math.log1p(above_1) + tf.abs(error - near))


@compat.register
class LogCosh(Loss):
    function = log_cosh


@loss_function(kernels.cosine_similarity, checks={"axis": check_axes}, broadcast=True)
def cosine_similarity(y_true: Tensor, y_pred: Tensor, axis: Axes = -1) -> Tensor:
    """Cosine of the angle between two vectors, negated: -1 for the same direction.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,), the vectors along `axis`
    Domain:    all reals
    Formula:   u(x) = x / max(|x|, 1e-7);  -sum(u(y_true) u(y_pred))
    Gradient:  d/dy_pred = -(u(y_true) - (u(y_true) . u(y_pred)) u(y_pred)) / |y_pred|,
               or -1e7 u(y_true) where |y_pred| < 1e-7
    Edges:     0 if either vector is zero; norms beyond the range of the dtype are
               scaled first
    Raises:    ValueError if the shapes cannot be aligned or have no such axis
    Source:    Keras 3 `keras.losses.cosine_similarity`
    Example:   >>> float(cosine_similarity([1., 1.], [0.6, 0.8]))  # -0.98995
    """
    return -sum_along(unit_vector(y_true, axis) * unit_vector(y_pred, axis), axis)


def unit_vector(x: Tensor, axis: Axes) -> Tensor:
    """x / max(|x|, epsilon), by the largest element first: x^2 may be out of range."""
    epsilon = tf.constant(compat.epsilon(), x.dtype)
    largest = tf.stop_gradient(tf.reduce_max(tf.abs(x), axis, keepdims=True))
    largest = tf.where(tf.equal(largest, 0.0), tf.ones_like(largest), largest)
    x = x / largest
    square = sum_along(tf.square(x), axis, keepdims=True)
    short = largest * tf.sqrt(square) < epsilon
    norm = tf.sqrt(tf.where(short, tf.ones_like(square), square))
    return x / tf.where(short, epsilon / largest, norm)


@compat.register
class CosineSimilarity(Loss):
    function = cosine_similarity

    axis: Axes = -1


mse = MSE = mean_squared_error

mae = MAE = mean_absolute_error

mape = MAPE = mean_absolute_percentage_error

msle = MSLE = mean_squared_logarithmic_error

logcosh = log_cosh

huber_loss = huber
