"""Focal losses with their gradients in closed form."""

from collections.abc import Sequence
from typing import Any, Optional, Union

import tensorflow as tf

from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.kernels.autodiff import (
    mean_of,
    with_gradient,
)
from keras_losses_ref.losses.kernels.classes import (
    clip_bounds,
    move_axis_last,
    over_valid_labels,
    smooth_binary_labels,
    smooth_labels,
)
from keras_losses_ref.losses.kernels.crossentropy import (
    binary_terms,
    clipped_cost,
    shifted,
)
from keras_losses_ref.losses.kernels.sums import sum_along


def binary_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Binary focal cross-entropy, by the product rule."""

    def terms(y, x):
        loss, loss_gradients, p, not_p = binary_terms(y, x, from_logits)
        miss = y * not_p + (1.0 - y) * p
        power, d_power = pow_and_derivative(miss, gamma)
        values = power * loss
        weight = y * alpha + (1.0 - y) * (1.0 - alpha) if apply_class_balancing else 1.0

        def product_rule(d_miss, d_loss):
            if gamma == 0:
                return weight * d_loss
            # power = d_power miss / gamma: the factor stays out of what may cancel.
            return weight * (d_power * (d_miss * loss + (miss / gamma) * d_loss))

        def gradients():
            loss_by_true, loss_by_pred = loss_gradients()
            d_true = product_rule(not_p - p, loss_by_true)
            if apply_class_balancing:
                d_true += (2.0 * alpha - 1.0) * values
            d_miss = (1.0 - 2.0 * y) * (p * not_p if from_logits else 1.0)
            return d_true, product_rule(d_miss, loss_by_pred)

        return weight * values, gradients

    y_true = smooth_binary_labels(y_true, label_smoothing)
    return mean_of(terms, y_true, y_pred, axis, recompute=True)


def pow_and_derivative(base: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    """base ** exponent and its derivative, which is 0 where it would be infinite."""
    if exponent == 0:
        return tf.ones_like(base), tf.zeros_like(base)
    if exponent == 1:
        return base, tf.ones_like(base)
    if exponent == 2:
        return tf.square(base), 2.0 * base
    endless = tf.equal(base, 0.0) & (exponent < 1.0)
    safe = tf.where(endless, tf.ones_like(base), base)
    lower = tf.pow(safe, tf.constant(exponent - 1.0, base.dtype))
    lower = tf.where(endless, tf.zeros_like(base), lower)
    return base * lower, exponent * lower


def categorical_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: Union[float, Sequence[float]] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Categorical focal cross-entropy."""
    y_true = smooth_labels(y_true, label_smoothing, axis)
    y_true, y_pred = move_axis_last(y_true, axis), move_axis_last(y_pred, axis)
    return focal_cross_entropy(y_true, y_pred, alpha, gamma, from_logits)


def sparse_categorical_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: Union[float, Sequence[float]] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    ignore_class: Optional[int] = None,
    axis: int = -1,
) -> Tensor:
    """The same of integer labels."""

    def loss(labels, x):
        hot = tf.one_hot(labels, tf.shape(x)[-1], dtype=x.dtype)
        return focal_cross_entropy(hot, x, alpha, gamma, from_logits)

    return over_valid_labels(loss, y_true, move_axis_last(y_pred, axis), ignore_class)


def focal_cross_entropy(
    y: Tensor, x: Tensor, alpha: Any, gamma: float, from_logits: bool
) -> Tensor:
    """sum(alpha (1 - q)^gamma y (-log q)), q the clipped share, along the last axis."""
    low, high = clip_bounds(x.dtype)
    alpha = tf.constant(alpha, x.dtype)

    def terms(y, x):
        e, log_e, top, rest, log_sum = shifted(y, x, from_logits)
        size = 1.0 + rest
        share, not_share = e / size, ((1.0 - e) + rest) / size
        cost, kept = clipped_cost(e, log_e, rest, log_sum)
        not_q = tf.clip_by_value(not_share, 1.0 - high, 1.0 - low)
        power, d_power = pow_and_derivative(not_q, gamma)
        values = alpha * power * cost

        def gradient(upstream):
            upstream = upstream[..., tf.newaxis]
            q = tf.maximum(share, low)
            # By the share; power = d_power not_q / gamma stays out of a sum.
            d = d_power * (cost + not_q / (gamma * q)) if gamma else 1.0 / q
            d = tf.where(kept, -alpha * y * d, tf.zeros_like(d))
            along = d * share
            mean = sum_along(along, keepdims=True)
            most = tf.equal(e, 1.0) & (share > 0.5)
            others = tf.where(most, tf.zeros_like(along), along)
            others = sum_along(others, keepdims=True)
            # Of a share near 1, d - d * share would have no digits.
            d = tf.where(most, d * not_share - others, d - mean)
            d *= upstream
            return upstream * values, d * share if from_logits else d / (size * top)

        return sum_along(y * values), gradient

    return with_gradient(terms, y, x)
