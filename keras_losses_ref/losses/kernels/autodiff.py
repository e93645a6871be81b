"""Custom gradients, and what a kernel computes again rather than keeps."""

import functools

import tensorflow as tf

from keras_losses_ref.losses.kernels.dispatch import REMAT_MIN_ROW, in_kernel
from keras_losses_ref.losses.kernels.sums import mean_along, sum_along

# No public name, yet there from TensorFlow 2.12 to 2.21; without it only slower.
try:
    from tensorflow.compiler.tf2xla.python.xla import optimization_barrier as _barrier
except ImportError:
    _barrier = None


def in_float64(*tensors):
    """`tensors` for a body that works in float64 whatever the dtype.

    Constants such as Keras's epsilon are rounded to the dtype of the loss first: they
    are part of the definition.
    """
    return [tf.cast(tensor, tf.float64) for tensor in tensors]


def with_gradient(terms, *tensors, wide=False, shares=False):
    """`terms(*tensors)` with its gradient written out, not left to autodiff.

    `terms` returns (values, gradient), and `gradient(upstream)` returns the gradients
    to the tensors, of their shapes. It is made of differentiable operations, so that
    second derivatives and forward mode come out of it as well.

    wide    whether `terms` works in float64 whatever the dtype
    shares  whether in a kernel too the gradient takes parts from the values; else it
            starts from the tensors again, if their rows are long
    """
    inside = in_float64 if wide else lambda *tensors: tensors

    def both(*tensors):
        values, gradient = terms(*inside(*tensors))

        def narrow(upstream):
            slopes = gradient
            if should_rematerialize(tensors[-1]) and not shares:
                _, slopes = terms(*inside(*optimization_barrier(*tensors)))
            slopes = slopes(upstream)
            return [tf.cast(s, t.dtype) for s, t in zip(slopes, tensors)]

        return values, narrow

    return tf.custom_gradient(both)(*tensors)


def mean_of(terms, y_true, y_pred, axis=-1, wide=False):
    """The mean along `axis` of elementwise terms, the gradient written out.

    `terms(y_true, y_pred)` returns (values, slopes), and `slopes()` the derivatives of
    each value by its own y_true and y_pred.
    """
    return sum_of(terms, y_true, y_pred, axis, wide, tf.shape(y_pred)[axis])


def sum_of(terms, y_true, y_pred, axis=-1, wide=False, count=None):
    """The sum along `axis` of elementwise terms; their mean if there is a count."""

    def reduced(y_true, y_pred):
        values, slopes = terms(y_true, y_pred)

        def gradient(upstream):
            if count is not None:
                upstream /= tf.cast(count, upstream.dtype)
            upstream = tf.expand_dims(upstream, axis)
            by_true, by_pred = slopes()
            return upstream * by_true, upstream * by_pred

        along = sum_along if count is None else mean_along
        return along(values, axis), gradient

    return with_gradient(reduced, *broadcast_both(y_true, y_pred), wide=wide)


def broadcast_both(y_true, y_pred):
    """Both in the shape that they broadcast to."""
    same = y_true.shape.is_fully_defined() and y_true.shape == y_pred.shape
    if same:
        return y_true, y_pred
    shape = tf.broadcast_dynamic_shape(tf.shape(y_true), tf.shape(y_pred))
    return tf.broadcast_to(y_true, shape), tf.broadcast_to(y_pred, shape)


def two_diff(a, b):
    """(a - b, what it was rounded by), by Knuth's TwoSum; NaN by where infinite."""
    rounded = a - b
    back = rounded - a
    return rounded, (a - (rounded - back)) - (b + back)


def power_of_two(x):
    """The largest power of two up to a float64 x > 0, as a constant; 1 for x = 0."""
    exponent = tf.bitwise.right_shift(tf.bitcast(x, tf.int64), 52)
    power = tf.bitcast(tf.bitwise.left_shift(exponent, 52), tf.float64)
    return tf.stop_gradient(tf.where(power > 0, power, tf.ones_like(x)))


@tf.custom_gradient
def optimization_barrier(*tensors):
    """`tensors`, in a kernel with nothing known of what was computed from them.

    Where a whole step is compiled, XLA would keep what a loss and its gradient have in
    common: of one element to compute it again takes less time than to write and read.
    """
    same = _barrier(*tensors) if _barrier and in_kernel() else list(tensors)
    return same, lambda *upstream: upstream


def should_rematerialize(tensor):
    """Whether a kernel does better to compute again what it needs twice of `tensor`.

    Not where rows are short: what is kept of them is computed whole vectors at a time.
    """
    length = tensor.shape[-1] if tensor.shape.rank else None
    return in_kernel() and (length or 0) >= REMAT_MIN_ROW


def rematerialize(function, *tensors):
    """(turn) -> `function(*tensors)`: in a kernel computed anew for each turn, from 1.

    Elsewhere it is computed once.
    """

    def computed(turn):
        apart = tensors
        for _ in range(turn):  # XLA sees through two that are the same
            apart = optimization_barrier(*apart)
        return function(*apart)

    if should_rematerialize(tensors[-1]):
        return computed
    once = functools.lru_cache(maxsize=None)(lambda: function(*tensors))
    return lambda turn: once()
