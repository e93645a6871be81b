"""Numbers of twice the digits of float64, for differences of which little is left.

A float64 has nothing wider to compute in. Where a gradient is a difference that all but
cancels, as that of a focal loss with soft labels is beside its zero, only more digits
of both sides help: here a number is the unevaluated sum of two float64, of which the
second holds what the first has no room for.

Good to about 60 bits, and for numbers far from the ends of float64. Not to be
differentiated: `corrected` leaves that to the plain formula.
"""

import math

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses.kernels.autodiff import power_of_two, two_diff


class Twofold:
    """`high + low`; `low` is at most half a unit in the last place of `high`."""

    def __init__(self, high, low=0.0):
        self.high = tf.stop_gradient(tf.convert_to_tensor(high, tf.float64))
        low = tf.convert_to_tensor(low, tf.float64)
        self.low = tf.stop_gradient(tf.broadcast_to(low, tf.shape(self.high)))

    def __add__(self, other):
        other = _twofold(other)
        high, low = two_diff(self.high, -other.high)
        return _normal(high, low + (self.low + other.low))

    __radd__ = __add__

    def __neg__(self):
        return Twofold(-self.high, -self.low)

    def __sub__(self, other):
        return self + -_twofold(other)

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        other = _twofold(other)
        (a, b), (c, d) = _halves(self.high), _halves(other.high)
        # a c is exact, and so nothing is lost if a kernel fuses it with a sum.
        low = (a * d + b * c + b * d) + (self.high * other.low + self.low * other.high)
        return _normal(a * c, low)

    __rmul__ = __mul__

    def __truediv__(self, other):
        other = _twofold(other)
        quotient = self.high / other.high
        rest = self - other * quotient
        return _normal(quotient, (rest.high + rest.low) / other.high)

    def __rtruediv__(self, other):
        return _twofold(other) / self

    def scaled(self, power):
        """This times a power of two."""
        return Twofold(self.high * power, self.low * power)


def where(condition, a, b):
    """Element by element, a or b."""
    a, b = _twofold(a), _twofold(b)
    high = tf.where(condition, a.high, b.high)
    return Twofold(high, tf.where(condition, a.low, b.low))


def total(x):
    """The sum along the last axis, which is kept."""
    # Rounded to a multiple of one power of two, numbers are added without an error.
    size = tf.reduce_max(tf.abs(x.high), axis=-1, keepdims=True)
    unit = power_of_two(size) * 2.0**-30
    coarse = tf.round(x.high / unit) * unit
    fine = (x.high - coarse) + x.low
    sums = (tf.reduce_sum(part, axis=-1, keepdims=True) for part in (coarse, fine))
    return _normal(*sums)


def exp(x):
    """e ** x, for x between -700 and 700; NaN beyond."""
    count = tf.round(x.high / math.log(2.0))
    inside = tf.abs(x.high) < 700.0
    count = tf.where(inside, count, tf.constant(math.nan, count.dtype))
    r = x - Twofold(count * _LN2[0]) - Twofold(count * _LN2[1])
    # To the third power in twofold numbers; the rest is less than a thousandth.
    tail = tf.zeros_like(r.high)
    for n in range(17, 3, -1):
        tail = (tail + 1.0 / math.factorial(n)) * r.high
    cube = r * r * r
    series = 1.0 + (r + r * r * 0.5 + (cube * _twofold(_SIXTH) + tail * cube.high))
    return series.scaled(_two_to_the(tf.cast(count, tf.int64)))


def log(x):
    """The natural logarithm, of x > 0."""
    # x = 2^k m with m between 3/4 and 3/2.
    k = _exponent(x.high * (4.0 / 3.0))
    m = x.scaled(_two_to_the(-k))
    s = (m - 1.0) / (m + 1.0)
    square, cube = s.high * s.high, s * s * s
    tail = tf.zeros_like(square)
    for odd in range(31, 3, -2):
        tail = (tail + 2.0 / odd) * square
    series = s.scaled(2.0) + (cube * _twofold(_TWO_THIRDS) + tail * cube.high)
    k = tf.cast(k, tf.float64)
    return Twofold(k * _LN2[0]) + (Twofold(k * _LN2[1]) + series)


def corrected(plain, exact):
    """`plain` with the digits of `exact`, a Twofold of the same; differentiable.

    Where there are no such digits, as of an infinite number, it stays as it is.
    """
    missing = (exact.high - tf.stop_gradient(plain)) + exact.low
    known = tf.math.is_finite(missing)
    return plain + tf.where(known, missing, tf.zeros_like(missing))


#: log(2), 2/3 and 1/6 as two float64; a multiple of the first of log(2) is exact.
_LN2 = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
_TWO_THIRDS = 2.0 / 3.0, float.fromhex("0x1.5555555555555p-55")
_SIXTH = 1.0 / 6.0, float.fromhex("0x1.5555555555555p-57")
#: The bits of a float64 that are its sign, its exponent and half of its digits.
_FIRST_HALF = np.int64(-(1 << 27))


def _twofold(x):
    if isinstance(x, Twofold):
        return x
    return Twofold(*x) if isinstance(x, tuple) else Twofold(x)


def _normal(high, low):
    """high + low, of which low is the lesser."""
    return Twofold(*two_diff(high, -low))


def _halves(x):
    """x as the sum of two numbers of half its digits."""
    bits = tf.bitwise.bitwise_and(tf.bitcast(x, tf.int64), _FIRST_HALF)
    first = tf.bitcast(bits, tf.float64)
    return first, x - first


def _exponent(x):
    """k with 2^k <= x < 2^(k + 1), for x > 0."""
    return tf.bitwise.right_shift(tf.bitcast(x, tf.int64), np.int64(52)) - 1023


def _two_to_the(k):
    """2^k, which must be a normal number."""
    k = tf.clip_by_value(k, np.int64(-1022), np.int64(1023)) + 1023
    return tf.bitcast(tf.bitwise.left_shift(k, np.int64(52)), tf.float64)
