"""Rows of classes: their labels, and the axis that they stand along."""

from typing import Callable, Optional

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.compat import DType, Tensor


def clip_bounds(dtype: DType) -> tuple[float, float]:
    """Keras's bounds of a probability: epsilon and 1 - epsilon, rounded to `dtype`.

    Beyond them its logarithm has no gradient. As numbers, which no graph rewrites.
    """
    one, epsilon = np.array([1.0, compat.epsilon()], dtype.as_numpy_dtype)
    return float(epsilon), float(one - epsilon)


def smooth_binary_labels(y_true: Tensor, smoothing: float) -> Tensor:
    """Labels of 0 and 1, by `smoothing` nearer to 1/2."""
    if not tf.is_tensor(smoothing) and smoothing == 0:
        return y_true
    return y_true * (1.0 - smoothing) + 0.5 * smoothing


def smooth_labels(y_true: Tensor, smoothing: float, axis: int) -> Tensor:
    """One-hot labels with a share of the 1 spread over the classes along `axis`."""
    if not tf.is_tensor(smoothing) and smoothing == 0:
        return y_true
    classes = tf.cast(tf.shape(y_true)[axis], y_true.dtype)
    return y_true * (1.0 - smoothing) + smoothing / classes


def move_axis_last(tensor: Tensor, axis: int) -> Tensor:
    """`tensor` with `axis` as its last one."""
    rank = tensor.shape.rank
    if axis in (-1, rank - 1 if rank is not None else None):
        return tensor
    if rank is None:
        axes, at = tf.range(tf.rank(tensor)), axis % tf.rank(tensor)
        return tf.transpose(tensor, tf.concat([axes[:at], axes[at + 1 :], [at]], 0))
    order = [i for i in range(rank) if i != axis % rank] + [axis % rank]
    return tf.transpose(tensor, order)


def label_mask(labels: Tensor, x: Tensor) -> Tensor:
    """True at the label of each row of x, False elsewhere."""
    # Twice as many int32 as int64 are compared at once; `nan_where_label_invalid` sees
    # to what is no class.
    labels = tf.cast(labels, tf.int32)
    return tf.one_hot(labels, tf.shape(x)[-1], on_value=True, off_value=False)


def gather_labels(x: Tensor, labels: Tensor) -> Tensor:
    """The element of each row of x at its label; any if the label is no class."""
    rank = x.shape.rank

    @tf.custom_gradient
    def gathered(x):
        def gradient(upstream):
            # Not that of tf.gather: up to 2.15 an empty batch loses its classes there.
            zero = tf.zeros_like(x)
            return tf.where(label_mask(labels, x), upstream[..., tf.newaxis], zero)

        if rank is None:
            kept = tf.where(label_mask(labels, x), x, tf.zeros_like(x))
            return tf.reduce_sum(kept, axis=-1), gradient
        last = tf.cast(tf.shape(x)[-1] - 1, labels.dtype)
        inside = tf.clip_by_value(labels, 0, last)
        return tf.gather(x, inside, batch_dims=rank - 1), gradient

    return gathered(x)


def nan_where_label_invalid(values: Tensor, labels: Tensor, y_pred: Tensor) -> Tensor:
    """`values` with NaN where the label is no class of y_pred, the gradient's too."""
    classes = tf.cast(tf.shape(y_pred)[-1], labels.dtype)
    known = (labels >= 0) & (labels < classes)
    one, nan = (tf.constant(x, values.dtype) for x in (1.0, float("nan")))
    return values * tf.where(known, one, nan)


def over_valid_labels(
    loss: Callable[[Tensor, Tensor], Tensor],
    labels: Tensor,
    x: Tensor,
    ignore_class: Optional[int],
) -> Tensor:
    """`loss(labels, x)` of each row, with what a label can be besides a class.

    `ignore_class` gives 0 and no gradient, and a mask that leaves the row out of the
    mean; anything else that is no class gives NaN.
    """
    if ignore_class is None:
        return nan_where_label_invalid(loss(labels, x), labels, x)
    valid = tf.not_equal(labels, tf.cast(ignore_class, labels.dtype))
    labels = tf.where(valid, labels, tf.zeros_like(labels))
    x = tf.where(valid[..., tf.newaxis], x, tf.ones_like(x))
    values = nan_where_label_invalid(loss(labels, x), labels, x)
    values = tf.where(valid, values, tf.zeros_like(values))
    compat.set_mask(values, valid)
    return values
