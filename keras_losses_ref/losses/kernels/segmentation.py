"""Overlap losses with their gradients in closed form."""

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.compat import Axes, Tensor
from keras_losses_ref.losses.kernels.autodiff import with_gradient
from keras_losses_ref.losses.kernels.sums import sum_along


def dice(y_true: Tensor, y_pred: Tensor, axis: Axes = None) -> Tensor:
    """Dice loss: Tversky's with alpha = beta = 0.5, but for half of epsilon."""
    return overlap_loss(y_true, y_pred, 0.5, 0.5, 0.5 * compat.epsilon(), axis)


def tversky(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: Axes = None,
) -> Tensor:
    """Tversky loss."""
    return overlap_loss(y_true, y_pred, alpha, beta, compat.epsilon(), axis)


def overlap_loss(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float,
    beta: float,
    epsilon: float,
    axis: Axes,
) -> Tensor:
    """E / (TP + E), E = alpha FP + beta FN + epsilon.

    d/dp = (alpha (1 - y) TP - y (beta TP + E)) / (TP + E)^2
    """

    def terms(y, p):
        def over(values):
            return sum_along(values, axis, keepdims=True)

        hit, error = over(y * p), alpha * over((1.0 - y) * p)
        error += beta * over(y * (1.0 - p)) + tf.constant(epsilon, p.dtype)
        size = hit + error

        def gradient(upstream):
            factor = tf.reshape(upstream, tf.shape(size)) / size

            def by(other, alone, missed):
                more = factor * alone * (hit / size)
                less = factor * (missed * hit + error) / size
                return more * (1.0 - other) - less * other

            return by(p, beta, alpha), by(y, alpha, beta)

        return tf.squeeze(error / size, axis), gradient

    return with_gradient(terms, y_true, y_pred)
