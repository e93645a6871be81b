"""Divergences with their gradients in closed form."""

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.kernels.autodiff import mean_of, sum_of


def kl_divergence(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Kullback-Leibler divergence: d/dp = -y / p."""
    epsilon = tf.constant(compat.epsilon(), y_pred.dtype)

    def terms(y_true, y_pred):
        y = tf.clip_by_value(y_true, epsilon, 1.0)
        p = tf.clip_by_value(y_pred, epsilon, 1.0)
        log = tf.math.log(y / p)

        def gradients():
            zero = tf.zeros_like(p)
            true_kept = (y_true >= epsilon) & (y_true <= 1.0)
            pred_kept = (y_pred >= epsilon) & (y_pred <= 1.0)
            d_true = tf.where(true_kept, log + 1.0, zero)
            return d_true, tf.where(pred_kept, -y / p, zero)

        return y * log, gradients

    return sum_of(terms, y_true, y_pred)


def poisson(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Poisson loss: d/dp = (p + epsilon - y) / (p + epsilon)."""
    epsilon = tf.constant(compat.epsilon(), y_pred.dtype)

    def terms(y_true, y_pred):
        rate = y_pred + epsilon
        log = tf.math.log(rate)
        return y_pred - y_true * log, lambda: (-log, (rate - y_true) / rate)

    return mean_of(terms, y_true, y_pred)
