"""Regression losses with their gradients in closed form."""

import math

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.compat import Axes, Tensor
from keras_losses_ref.losses.kernels.autodiff import (
    broadcast_both,
    mean_of,
    with_gradient,
)
from keras_losses_ref.losses.kernels.crossentropy import log1p
from keras_losses_ref.losses.kernels.sums import sum_along


def mean_squared_logarithmic_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Mean squared logarithmic error: d/dp = 2 e / (1 + p)."""
    epsilon = tf.cast(tf.constant(compat.epsilon(), tf.float32), y_pred.dtype)

    def terms(y_true, y_pred):
        p, y = tf.maximum(y_pred, epsilon), tf.maximum(y_true, epsilon)
        above = p >= y
        apart = tf.where(above, p - y, y - p) / (1.0 + tf.where(above, y, p))
        size = tf.math.log1p(apart)

        def gradients():
            zero, twice = tf.zeros_like(p), tf.where(above, 2.0 * size, -2.0 * size)
            d_true = tf.where(y_true >= epsilon, -twice / (1.0 + y), zero)
            return d_true, tf.where(y_pred >= epsilon, twice / (1.0 + p), zero)

        return tf.square(size), gradients

    return mean_of(terms, y_true, y_pred)


def log_cosh(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The logarithm of the hyperbolic cosine: d/dp = tanh(e)."""

    def terms(y_true, y_pred):
        error = y_pred - y_true
        size, tanh = tf.abs(error), tf.tanh(error)
        near = size < 1.0
        # log(cosh) is -log(1 - tanh^2) / 2, and |e| - log(2) + log(1 + exp(-2 |e|)).
        log = log1p(tf.where(near, -tf.square(tanh), tf.exp(-2.0 * size)))
        values = tf.where(near, -0.5 * log, (size - math.log(2.0)) + log)
        return values, lambda: (-tanh, tanh)

    return mean_of(terms, y_true, y_pred)


def cosine_similarity(y_true: Tensor, y_pred: Tensor, axis: Axes = -1) -> Tensor:
    """Cosine similarity: the gradient is the part at right angles, over the norm."""
    if not same_length(y_true, y_pred, axis):  # each has a norm of its own
        return NotImplemented

    def terms(y_true, y_pred):
        y, y_square, y_factor, y_scale, y_short = scaled(y_true, axis)
        p, p_square, p_factor, p_scale, p_short = scaled(y_pred, axis)
        dot = sum_along(y * p, axis, keepdims=True)
        factor = y_factor * p_factor

        def gradient(upstream):
            upstream = -tf.reshape(upstream, tf.shape(dot)) * factor
            by_true = tf.where(y_short, p, p - dot / y_square * y)
            by_pred = tf.where(p_short, y, y - dot / p_square * p)
            return by_true * (upstream / y_scale), by_pred * (upstream / p_scale)

        return -tf.squeeze(dot * factor, axis), gradient

    return with_gradient(terms, *broadcast_both(y_true, y_pred))


def same_length(y_true: Tensor, y_pred: Tensor, axis: Axes) -> Tensor:
    """Whether no vector is stretched to the length of the other, as far as known."""
    true, pred = y_true.shape, y_pred.shape
    axes = range(true.rank) if axis is None else np.atleast_1d(axis)
    return all(true[a] is not None and true[a] == pred[a] for a in axes)


def scaled(x: Tensor, axis: Axes) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x by its largest element, so that x^2 is in range, and what makes it of norm 1.

    Returns (x scaled, its squared norm, 1 / max(|x|, epsilon) for x scaled, the scale,
    whether |x| < epsilon).
    """
    epsilon = tf.constant(compat.epsilon(), x.dtype)
    scale = tf.stop_gradient(tf.reduce_max(tf.abs(x), axis=axis, keepdims=True))
    scale = tf.where(tf.equal(scale, 0.0), tf.ones_like(scale), scale)
    x = x / scale
    square = sum_along(tf.square(x), axis, keepdims=True)
    short = scale * tf.sqrt(square) < epsilon
    square = tf.where(short, tf.ones_like(square), square)
    factor = tf.where(short, scale / epsilon, 1.0 / tf.sqrt(square))
    return x, square, factor, scale, short
