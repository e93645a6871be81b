"""Logarithms and quotients as a compiled kernel has them fast.

XLA's own log and log1p of float64 are called for one element at a time, which takes
longer than the rest of a loss together. Where the result goes into a float32, ten
digits are enough, and a short series that runs on whole vectors gives eleven.

`sharp` says that every digit of float64 counts, as the loss itself is in float64.
"""

import math

import tensorflow as tf

from keras_losses_ref.losses.kernels import dispatch


def log(x, sharp=False):
    """log(x)."""
    if _exactly(x, sharp):
        return tf.math.log(x)
    return _series(x, tf.ones_like(x), x - 1.0)


def log1p(x, sharp=False):
    """log(1 + x)."""
    if sharp or not dispatch.in_kernel():
        return tf.math.log1p(x)
    whole = 1.0 + x
    if x.dtype == tf.float64:
        return _series(whole, tf.ones_like(x), x)
    # XLA's own has two ways, and goes both.
    return tf.math.log(whole) + (x - (whole - 1.0)) / whole


def log_ratio(a, b, difference, sharp=False):
    """log(a / b) for a, b > 0 from `difference` = a - b, right to the last digits."""
    if not _exactly(a, sharp):
        return _series(a, b, difference)
    # Only log1p of what is at least 0: XLA's is poor below. TensorFlow's loses a digit
    # above 1, which matters if sharp.
    above = difference >= 0
    low = tf.where(above, b, -a)
    excess = difference / low
    size = tf.math.log1p(excess)
    if sharp:
        far = tf.math.log(tf.where(above, a, -b) / low)
        size = tf.where(excess > 1.0, far, size)
    return tf.where(above, size, -size)


def quotient(a, b, sharp=False):
    """a / b, of which a kernel keeps nothing in memory, but for a digit if not `sharp`.

    A quotient of two tensors that is used twice would be written out by XLA, and read
    again; a product is not.
    """
    return a / b if sharp or not dispatch.in_kernel() else a * (1.0 / b)


def _exactly(x, sharp):
    return sharp or x.dtype != tf.float64 or not dispatch.in_kernel()


@tf.custom_gradient
def _series(a, b, difference):
    """log(a / b), where a - b is known better than from a and b; eleven digits."""
    # a = 2^k m b with m between 2/3 and 3/2. The numbers are shifted to be positive,
    # and become floats by their bits: vectors have no other shifts and conversions.
    bits = tf.bitcast(a, tf.int64)
    distance = bits - tf.bitcast(b, tf.int64) + (1 << 51) + (1 << 62)
    k = tf.bitwise.right_shift(distance, 52)
    near = tf.bitcast(bits - tf.bitwise.left_shift(k, 52) + (1 << 62), tf.float64)
    power = tf.bitcast(k + (1075 << 52), tf.float64) - (2.0**52 + 1024.0)
    s = quotient(tf.where(tf.equal(power, 0.0), difference, near - b), near + b)
    square = s * s
    series = tf.zeros_like(s)
    for odd in (13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0):
        series = series * square + 2.0 / odd
    regular = (a > 0.0) & (a < math.inf) & (b > 0.0) & (b < math.inf)
    value = tf.where(regular, power * math.log(2.0) + s * series, _edge(a) - _edge(b))

    def gradient(upstream):
        return upstream / a, -upstream / b, tf.zeros_like(difference)

    return value, gradient


def _edge(x):
    """What stands for log(x) where that is not finite: the sign is all that counts."""
    infinity, nothing = tf.constant(math.inf, x.dtype), tf.constant(math.nan, x.dtype)
    return tf.where(tf.equal(x, 0.0), -infinity, tf.where(x > 0.0, x, nothing))
