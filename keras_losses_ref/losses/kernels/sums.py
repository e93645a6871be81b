"""Sums and means, in blocks where XLA would add one number after the other."""

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses.compat import Axes, Tensor
from keras_losses_ref.losses.kernels import dispatch

#: How many numbers are added up at a time, stage by stage: the first one reads all of
#: them, the later ones decide how many digits are left.
BLOCKS = (1024, 32, 32, 32)


def mean_along(values: Tensor, axis: Axes = -1) -> Tensor:
    """The mean along `axis`."""
    if not dispatch.in_xla_on_cpu():
        return tf.reduce_mean(values, axis=axis)
    return sum_along(values, axis) / tf.cast(tf.shape(values)[axis], values.dtype)


def sum_along(values: Tensor, axis: Axes = -1, keepdims: bool = False) -> Tensor:
    """The sum along `axis`, or several, or all if None.

    TensorFlow's own kernels add in a tree. XLA's for CPUs adds one number after the
    other, which is slow, and loses digits of long sums. There a block of a row is a
    product with ones, which runs over whole vectors.
    """
    rank = values.shape.rank
    if rank is None or not dispatch.in_xla_on_cpu():
        return tf.reduce_sum(values, axis, keepdims)
    axes = range(rank) if axis is None else np.atleast_1d(axis)
    axes = sorted(int(a) % rank for a in axes)
    if not axes or axes != list(range(rank - len(axes), rank)):  # no whole rows
        return tf.reduce_sum(values, axis, keepdims)
    shape = tf.shape(values)[: rank - len(axes)]
    static = values.shape[: rank - len(axes)]
    length = values.shape[rank - len(axes) :].num_elements()
    if length == 0:
        return tf.reduce_sum(values, axis, keepdims)
    if length is None:
        length = tf.reduce_prod(tf.shape(values)[rank - len(axes) :])
    sums = tf.reshape(_row_sums(tf.reshape(values, [-1, length]), length), shape)
    sums = tf.ensure_shape(sums, static)
    for _ in axes if keepdims else ():
        sums = sums[..., tf.newaxis]
    return sums


def _row_sums(rows, length):
    """The sum of each row."""
    for block in BLOCKS:
        if isinstance(length, int) and length <= block:
            break
        count = -(-length // block)
        rows = tf.pad(rows, [[0, 0], [0, count * block - length]])
        blocks, ones = tf.reshape(rows, [-1, block]), tf.ones([block], rows.dtype)
        rows, length = tf.reshape(tf.linalg.matvec(blocks, ones), [-1, count]), count
    return tf.linalg.matvec(rows, tf.ones([length], rows.dtype))
