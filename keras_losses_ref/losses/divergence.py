"""Losses between distributions: Kullback-Leibler divergence and Poisson."""

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.kernels.sums import mean_along, sum_along


@loss_function(broadcast=True, flattenable="sum")
def kl_divergence(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the prediction from the truth.

    Shapes:    y_true, y_pred (*batch, classes) -> (*batch,)
    Domain:    y_true, y_pred in [0, 1]
    Formula:   Y = clip(y_true, 1e-7, 1);  P = clip(y_pred, 1e-7, 1)
               sum(Y log(Y / P))
    Gradient:  d/dy_pred = -Y / P where 1e-7 <= y_pred <= 1, else 0
    Edges:     zeros count as 1e-7; neither side is normalised, so a row that does not
               sum to 1 can give a negative value
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.kl_divergence`
    Example:   >>> float(kl_divergence([0.3, 0.7], [0.5, 0.5]))  # 0.082283
    """
    epsilon = tf.constant(compat.epsilon(), y_pred.dtype)
    y, p = (tf.clip_by_value(x, epsilon, 1.0) for x in (y_true, y_pred))
    return sum_along(y * tf.math.log(y / p))


@compat.register
class KLDivergence(Loss):
    function = kl_divergence


@loss_function(broadcast=True, flattenable="mean")
def poisson(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Poisson loss: minus the log-likelihood of counts, but for a constant.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    y_true >= 0; y_pred > -1e-7
    Formula:   sum(y_pred - y_true log(y_pred + 1e-7)) / n
    Gradient:  d/dy_pred = (y_pred + 1e-7 - y_true) / (y_pred + 1e-7) / n
    Edges:     a y_pred below -1e-7 is NaN, also where y_true is 0
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.poisson`
    Example:   >>> float(poisson([1., 2.], [1.5, 1.5]))  # 0.89180
    """
    epsilon = tf.constant(compat.epsilon(), y_pred.dtype)
    return mean_along(y_pred - y_true * tf.math.log(y_pred + epsilon))


@compat.register
class Poisson(Loss):
    function = poisson


kld = KLD = kullback_leibler_divergence = kl_divergence
