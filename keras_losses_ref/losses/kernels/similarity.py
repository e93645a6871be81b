"""The circle loss with its gradient in closed form."""

from typing import Optional

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.kernels.autodiff import with_gradient
from keras_losses_ref.losses.kernels.sums import sum_along


def circle(
    y_true: Tensor,
    y_pred: Tensor,
    ref_labels: Optional[Tensor] = None,
    ref_embeddings: Optional[Tensor] = None,
    remove_diagonal: bool = True,
    gamma: float = 80.0,
    margin: float = 0.4,
) -> Tensor:
    """Circle loss of a batch with itself: the references are tensors, if given."""
    positive, negative, paired = pair_masks(y_true, y_true, remove_diagonal)
    counts = positive | negative

    def terms(x):
        cosine = tf.matmul(x, x, transpose_b=True)
        zero = tf.zeros_like(cosine)
        distance = tf.maximum(1.0 - cosine, 0.0)
        reach = tf.maximum(1.0 + margin - distance, 0.0)
        pull = gamma * (distance - margin) * (distance + margin)
        push = gamma * reach * (1.0 - margin - distance)
        nearest, farthest = row_max_over(push, negative), row_max_over(pull, positive)
        below = tf.where(negative, push - nearest, pull - farthest)
        e = tf.exp(tf.where(counts, below, zero))
        sum_pull, sum_push = sum_over(e, positive), sum_over(e, negative)
        exponent = farthest + tf.math.log(sum_pull) + nearest + tf.math.log(sum_push)
        exponent = tf.where(paired, exponent, tf.zeros_like(exponent))

        def gradient(upstream):
            rate = upstream[:, tf.newaxis] * tf.sigmoid(exponent) * (2.0 * gamma)
            rate = tf.where(paired, rate, tf.zeros_like(rate))
            d_push = (rate / sum_push) * (distance - 1.0)
            d_push = tf.where(distance > 1.0 + margin, zero, d_push)
            d_distance = e * tf.where(negative, d_push, (rate / sum_pull) * distance)
            d_cosine = tf.where(counts & (cosine <= 1.0), -d_distance, zero)
            return tf.matmul(d_cosine + tf.transpose(d_cosine), x)

        values = tf.where(paired, tf.nn.softplus(exponent), tf.zeros_like(exponent))
        return tf.squeeze(values, 1), gradient

    values = with_gradient(terms, y_pred)
    compat.set_mask(values, values > 0.0)
    return values


def pair_masks(
    labels: Tensor, ref_labels: Tensor, remove_diagonal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(pairs of one label, pairs of two, rows that have both): rows by references."""
    same = tf.equal(labels[:, tf.newaxis], ref_labels[tf.newaxis, :])
    positive, negative = same, ~same
    if remove_diagonal:
        rows, columns = tf.shape(same)[0], tf.shape(same)[1]
        # No `!=`: in a graph of TensorFlow 1 it compares the objects.
        positive &= tf.not_equal(tf.range(rows)[:, tf.newaxis], tf.range(columns))
    paired = tf.reduce_any(positive, axis=1) & tf.reduce_any(negative, axis=1)
    return positive, negative, paired[:, tf.newaxis]


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """`values` where `mask` keeps them, else as good as -inf, which has no gradient."""
    return tf.where(mask, values, tf.constant(values.dtype.min / 2, values.dtype))


def row_max_over(values: Tensor, mask: Tensor) -> Tensor:
    """The largest of each row that `mask` keeps."""
    top = tf.reduce_max(masked(values, mask), axis=1, keepdims=True)
    return tf.stop_gradient(top)


def sum_over(values: Tensor, mask: Tensor) -> Tensor:
    """The sum of each row over what `mask` keeps; 1 if it keeps nothing."""
    values = tf.where(mask, values, tf.zeros_like(values))
    sums = sum_along(values, axis=1, keepdims=True)
    return tf.where(tf.equal(sums, 0.0), tf.ones_like(sums), sums)
