"""Cross-entropies with their gradients in closed form."""

import math
from typing import Optional

import tensorflow as tf

from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.kernels import dispatch
from keras_losses_ref.losses.kernels.autodiff import mean_of, with_gradient
from keras_losses_ref.losses.kernels.classes import (
    clip_bounds,
    gather_labels,
    label_mask,
    move_axis_last,
    over_valid_labels,
    smooth_binary_labels,
    smooth_labels,
)
from keras_losses_ref.losses.kernels.sums import sum_along


def binary_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Binary cross-entropy: d/dp = (p - y) / (p (1 - p)), d/dx = sigmoid(x) - y."""

    def terms(y, x):
        return binary_terms(y, x, from_logits)[:2]

    y_true = smooth_binary_labels(y_true, label_smoothing)
    return mean_of(terms, y_true, y_pred, axis, recompute=True)


def binary_terms(
    y: Tensor, x: Tensor, from_logits: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The binary cross-entropy of each element, x a probability or a logit.

    Returns (loss, () -> its derivatives by y and x, p, 1 - p).
    """
    if not from_logits:
        low, high = clip_bounds(x.dtype)
        p = tf.clip_by_value(x, low, high)
        log_p, log_not_p = tf.math.log(p), log1p(-p)

        def by_probability():
            inside = (x >= low) & (x <= high)
            d_pred = (p - y) / (p * (1.0 - p))
            return log_not_p - log_p, tf.where(inside, d_pred, tf.zeros_like(x))

        return -(y * log_p + (1.0 - y) * log_not_p), by_probability, x, 1.0 - x
    e, positive = tf.exp(-tf.abs(x)), x >= 0
    larger = 1.0 / (1.0 + e)
    smaller = e * larger  # of sigmoid(x) and sigmoid(-x)

    def by_logit():
        return -x, tf.where(positive, (1.0 - y) - smaller, smaller - y)

    # A label of 0 silences an infinite logit.
    loss = tf.math.multiply_no_nan(tf.nn.relu(-x), y) + log1p(e)
    loss += tf.math.multiply_no_nan(tf.nn.relu(x), 1.0 - y)
    p, not_p = tf.where(positive, larger, smaller), tf.where(positive, smaller, larger)
    return loss, by_logit, p, not_p


def log1p(x: Tensor) -> Tensor:
    """log(1 + x) for -1 < x <= 1.

    XLA's own computes both of its branches for every element. Here the logarithm of the
    rounded sum is corrected by what the sum was rounded by.
    """
    if not dispatch.in_xla_on_cpu():
        return tf.math.log1p(x)
    whole = 1.0 + x
    return tf.math.log(whole) + (x - (whole - 1.0))


def categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Categorical cross-entropy: d/dx = softmax(x) - y."""
    y_true = smooth_labels(y_true, label_smoothing, axis)
    loss = cross_entropy_from_logits if from_logits else cross_entropy_from_probs
    return loss(move_axis_last(y_true, axis), move_axis_last(y_pred, axis))


def cross_entropy_from_logits(y: Tensor, x: Tensor) -> Tensor:
    """-sum(y log softmax(x)) along the last axis."""

    def terms(y, x):
        e, below, _, rest, log_sum = shifted(y, x, from_logits=True)
        # A label of 0 silences a logit of -inf.
        values = sum_along(tf.math.multiply_no_nan(log_sum - below, y))

        def gradient(upstream):
            upstream = upstream[..., tf.newaxis]
            d_pred = ((e - y) - y * rest) * (upstream / (1.0 + rest))
            return upstream * (log_sum - below), d_pred

        return values, gradient

    return with_gradient(terms, y, x)


def row_max(x: Tensor) -> Tensor:
    """The largest of each row; an infinite one is the largest number there is."""
    top = tf.reduce_max(x, axis=-1, keepdims=True)
    return tf.stop_gradient(tf.minimum(top, x.dtype.max))


def shifted_exp(x: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """x - top, which is at most 0, and its exponential."""
    below = tf.minimum(x, x.dtype.max) - top
    return below, tf.exp(below)


def nan_where_infinities_tie(rest: Tensor, top: Tensor) -> Tensor:
    """`rest`, the sum of the exponentials less 1; two infinite logits have no order."""
    endless = (tf.abs(top) >= top.dtype.max) & (rest > 0.5)
    return tf.where(endless, tf.constant(math.nan, rest.dtype), rest)


def shifted(y: Tensor, x: Tensor, from_logits: bool) -> tuple[Tensor, ...]:
    """What the shares of the classes are made of, as exponentials whose largest is 1.

    Returns (e, log e, largest, sum(e) - 1, log(sum(e))), e the exponentials of logits
    or the probabilities over the largest of their row.
    """
    top = row_max(x)
    if from_logits:
        log_e, e = shifted_exp(x, top)
    else:
        e = x / top
        log_e = tf.math.log(tf.abs(e))
    # Without the label's: where that is the largest, a 1, the rest may be almost 0.
    label = tf.cast(y > 0.5, e.dtype)
    rest = sum_along(e - label, keepdims=True) + (sum_along(label, keepdims=True) - 1.0)
    if from_logits:  # two infinite logits have no order
        rest = nan_where_infinities_tie(rest, top)
    # What is no probability may have a sum below 0, and is clipped nevertheless.
    log_sum = tf.math.log1p(tf.where(rest < -1.0, -2.0 - rest, rest))
    return e, log_e, top, rest, log_sum


def clipped_cost(
    e: Tensor, log_e: Tensor, rest: Tensor, log_sum: Tensor
) -> tuple[Tensor, Tensor]:
    """-log(q) for q = clip(e / sum(e)), and where the clip leaves q alone."""
    low, high = clip_bounds(e.dtype)
    least, most = -math.log(high), -math.log(low)
    cost = tf.where(
        e * (1.0 + rest) < 0.0, tf.constant(math.inf, e.dtype), log_sum - log_e
    )
    kept = (cost >= least) & (cost <= most)
    return tf.clip_by_value(cost, least, most), kept


def cross_entropy_from_probs(y: Tensor, x: Tensor) -> Tensor:
    """-sum(y log q), q = clip(x / sum(x)), along the last axis."""

    def terms(y, x):
        e, log_e, top, rest, log_sum = shifted(y, x, from_logits=False)
        cost, kept = clipped_cost(e, log_e, rest, log_sum)
        values = sum_along(y * cost)

        def gradient(upstream):
            upstream = upstream[..., tf.newaxis]
            kept_y = tf.where(kept, y, tf.zeros_like(y))
            labels = sum_along(kept_y, keepdims=True)
            # labels - y / q as one fraction: it may all but vanish.
            apart = (labels * e - kept_y) - kept_y * rest
            apart /= tf.where(kept, e, tf.ones_like(e))
            d_pred = upstream * tf.where(kept, apart, labels) / ((1.0 + rest) * top)
            return upstream * cost, d_pred

        return values, gradient

    return with_gradient(terms, y, x)


def sparse_categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    ignore_class: Optional[int] = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Sparse categorical cross-entropy: the label's row is looked up."""

    def loss(labels, x):
        sparse = cross_entropy_of_logits if from_logits else cross_entropy_of_probs
        if label_smoothing == 0:
            return sparse(labels, x)
        dense = cross_entropy_from_logits if from_logits else cross_entropy_from_probs
        uniform = dense(tf.ones_like(x) / tf.cast(tf.shape(x)[-1], x.dtype), x)
        return (1.0 - label_smoothing) * sparse(labels, x) + label_smoothing * uniform

    return over_valid_labels(loss, y_true, move_axis_last(y_pred, axis), ignore_class)


def cross_entropy_of_logits(labels: Tensor, x: Tensor) -> Tensor:
    """-log softmax(x)_y along the last axis."""

    def terms(x):
        top = row_max(x)
        _, e = shifted_exp(x, top)
        others = sum_along(tf.where(label_mask(labels, x), tf.zeros_like(e), e))
        others = others[..., tf.newaxis]
        label = shifted_exp(gather_labels(x, labels)[..., tf.newaxis], top)[0]
        rest = nan_where_infinities_tie(others + tf.math.expm1(label), top)

        def gradient(upstream):
            d_pred = tf.where(label_mask(labels, x), -others, e)
            return d_pred * (upstream[..., tf.newaxis] / (1.0 + rest))

        return tf.squeeze(tf.math.log1p(rest) - label, -1), gradient

    return with_gradient(terms, x)


def cross_entropy_of_probs(labels: Tensor, x: Tensor) -> Tensor:
    """-log(p_y / sum(p)), p = clip(x), along the last axis."""
    low, high = clip_bounds(x.dtype)

    def terms(x):
        p = tf.clip_by_value(x, low, high)
        others = tf.where(label_mask(labels, x), tf.zeros_like(p), p)
        rest = sum_along(others, keepdims=True)
        label = tf.clip_by_value(gather_labels(x, labels)[..., tf.newaxis], low, high)

        def gradient(upstream):
            factor = upstream[..., tf.newaxis] / (label + rest)
            grad = tf.where(label_mask(labels, x), -factor * (rest / label), factor)
            return tf.where((x >= low) & (x <= high), grad, tf.zeros_like(grad))

        return tf.squeeze(tf.math.log1p(rest / label), -1), gradient

    return with_gradient(terms, x)
