"""Losses for real-valued targets. The output layer needs no activation."""

import tensorflow as tf

from keras_losses_ref.losses import host
from keras_losses_ref.losses.base import Loss, loss_function


@loss_function(broadcast=True)
def mean_squared_error(y_true, y_pred):
    """Mean squared error: the mean of the squared differences.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(e^2) / n
    Gradient:  d/dy_pred = 2 e / n
    Edges:     NaN propagates; an error of 1.9e19 overflows float32
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  labels-rounded-to-dtype
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


@loss_function(broadcast=True)
def mean_absolute_error(y_true, y_pred):
    """Mean absolute error: the mean of the absolute differences.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    all reals
    Formula:   e = y_pred - y_true;  sum(|e|) / n
    Gradient:  d/dy_pred = sign(e) / n
    Edges:     the gradient at e = 0 is 0; NaN propagates
    Raises:    ValueError if the shapes cannot be aligned
    Deviates:  labels-rounded-to-dtype
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


mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
