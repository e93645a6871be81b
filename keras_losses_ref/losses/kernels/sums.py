"""Sums and means, in blocks where XLA would add one number after the other."""

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses.kernels import dispatch


def mean_along(values, axis=-1):
    """The mean along `axis`."""
    if not dispatch.in_kernel():
        return tf.reduce_mean(values, axis=axis)
    count = tf.cast(tf.shape(values)[axis], values.dtype)
    return sum_along(values, axis) / count


def sum_along(values, axis=-1, keepdims=False):
    """The sum along `axis`, or several, or all if None.

    In a kernel in float64, and so that XLA has less to add one number after the other:
    short rows are products with ones, and so are blocks of long ones, or where these
    are no whole blocks, first their halves, thirds or fifths are added to each other.
    What goes into a longer product would be written to memory.
    """
    rank, count = values.shape.rank, values.shape[-1] if values.shape.rank else None
    axes = range(rank or 0) if axis is None else np.atleast_1d(axis)
    axes = sorted(int(a) % rank for a in axes) if rank else []
    if not dispatch.in_kernel() or count is None or rank - 1 not in axes:
        return tf.reduce_sum(values, axis=axis, keepdims=keepdims)
    sums = tf.cast(values, tf.float64)
    blocks = (count,) if count <= 1024 else (128, 64, 32)
    block = next((n for n in blocks if count % n == 0), None)
    if block:
        shape = tf.concat([tf.shape(sums)[:-1], [count // block]], 0)
        blocks, ones = tf.reshape(sums, [-1, block]), tf.ones([block], sums.dtype)
        sums = tf.reshape(tf.linalg.matvec(blocks, ones), shape)
    else:
        parts = next(n for n in (5, 4, 3, 2, 1) if count % n == 0)
        sums = tf.add_n(tf.split(sums, parts, axis=-1))
    sums = tf.reduce_sum(sums, axis=axes, keepdims=keepdims)
    return tf.cast(sums, values.dtype)


def sum_float64(values, axis=None, keepdims=False):
    """The sum along `axis`, added up in float64 and given in the dtype of `values`."""
    exact = sum_along(tf.cast(values, tf.float64), axis, keepdims)
    return tf.cast(exact, values.dtype)
