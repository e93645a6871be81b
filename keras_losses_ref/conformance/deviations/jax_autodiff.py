"""Keras's formulas on JAX: each step rounded, gradients by JAX's rules.

`Number` of `rounded_autodiff` with JAX's derivatives: of two that tie, the larger or
smaller gives half of the gradient to each; |x| has slope 1 at 0; a quotient squares its
divisor. Numbers of two dtypes meet in the wider one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref.conformance.deviations import rounded_autodiff
from keras_losses_ref.conformance.truth import host_rules

_WIDTH = {"float16": 0, "bfloat16": 0, "float32": 1, "float64": 2}


class Number(rounded_autodiff.Number):
    """An array that remembers how JAX made it."""

    def _new(self, value, *parents):
        return Number(value, self.dtype, parents)

    def _wrap(self, other):
        # A Python number has no dtype of its own on JAX.
        if isinstance(other, Number):
            return other
        return Number(other, self.dtype)

    def cast(self, dtype: str) -> "Number":
        if dtype == self.dtype:
            return self
        return Number(self.value, dtype, ((self, lambda g: g),))

    def _met(self, other):
        """Both in the dtype in which they meet."""
        other = self._wrap(other)
        if self.dtype == other.dtype:
            return self, other
        wide = max(self.dtype, other.dtype, key=_WIDTH.get)
        if _WIDTH[self.dtype] == _WIDTH[other.dtype]:
            wide = "float32"
        return self.cast(wide), other.cast(wide)

    def __add__(self, other):
        a, b = self._met(other)
        return rounded_autodiff.Number.__add__(a, b)

    def __mul__(self, other):
        a, b = self._met(other)
        return rounded_autodiff.Number.__mul__(a, b)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other):
        x, y = self._met(other)
        a, b, step = x.value, y.value, x._step
        return x._new(
            a / b,
            (x, lambda g: g / b),
            (y, lambda g: -step(step(g * step(1.0 / step(b * b))) * a)),
        )

    def __pow__(self, exponent):
        x, step = self.value, self._step
        n = step(exponent)
        slope = step(n * step(np.power(x, step(n - 1.0))))
        return self._new(np.power(x, n), (self, lambda g: g * slope))

    def square(self) -> "Number":
        x, step = self.value, self._step
        return self._new(x * x, (self, lambda g: g * step(2.0 * x)))

    def abs(self) -> "Number":
        x = self.value
        return self._new(np.abs(x), (self, lambda g: np.where(x >= 0, g, -g)))

    def log(self) -> "Number":
        x = self.value
        return self._new(np.log(x), (self, lambda g: g / x))

    def rsqrt(self) -> "Number":
        x, step = self.value, self._step
        y = step(1.0 / np.sqrt(x))
        return self._new(y, (self, lambda g: g * step(-0.5 * step(y / x))))

    def sigmoid(self) -> "Number":
        x, step = self.value, self._step
        e = np.exp(-np.abs(x))
        y = step(np.where(x >= 0, 1, e) / (1 + e))
        return self._new(y, (self, lambda g: g * step(y * step(1 - y))))

    def softmax(self, axis: Any) -> "Number":
        e = np.exp(self.value - np.max(self.value, axis, keepdims=True))
        y = self._step(e / np.sum(e, axis, keepdims=True))
        return self._new(
            y, (self, lambda g: y * g - y * np.sum(y * g, axis, keepdims=True))
        )

    def log_softmax(self, axis: Any) -> "Number":
        """The largest is subtracted first, and is a constant to the gradient."""
        shifted = self - np.max(self.value, axis, keepdims=True)
        return shifted - shifted.exp().sum(axis, keepdims=True).log()

    def logaddexp(self, other: Any) -> "Number":
        a, b = self._met(other)
        x, y, step = a.value, b.value, a._step
        top = step(np.logaddexp(x, y))

        def share(z):
            finite, finite_top = (np.where(v == np.inf, 0.0, v) for v in (z, top))
            return step(np.exp(step(finite - finite_top)))

        return a._new(top, (a, lambda g: g * share(x)), (b, lambda g: g * share(y)))

    def softplus(self) -> "Number":
        return self.logaddexp(np.zeros_like(self.value))

    def log_sigmoid(self) -> "Number":
        return -(-self).softplus()

    def minimum(self, bound: Any) -> "Number":
        return self._chosen(np.minimum, bound)

    def maximum(self, bound: Any) -> "Number":
        return self._chosen(np.maximum, bound)

    def _chosen(self, choose, bound):
        a, b = self._met(bound)
        x, y = np.broadcast_arrays(a.value, b.value)
        found = choose(x, y)

        def share(mine, other):
            halved = np.where(other == found, 0.5, 1.0)
            return np.where(mine == found, halved, 0.0)

        return a._new(
            found, (a, lambda g: g * share(x, y)), (b, lambda g: g * share(y, x))
        )

    def clip(self, low: Any, high: Any) -> "Number":
        return self.maximum(low).minimum(high)

    def max(self, axis: Any) -> "Number":
        """The gradient goes to all that are largest, in equal parts."""
        x = self.value
        top = np.max(x, axis, keepdims=True)
        share = (x == top) / (x == top).sum(axis, keepdims=True)
        return self._new(
            np.squeeze(top, axis), (self, lambda g: np.expand_dims(g, axis) * share)
        )

    def mean(self, axis: Any) -> "Number":
        """In float32, if not in float64 where Keras's `mean` knows that on JAX."""
        wide = self.dtype == "float64" and not cuts_to_32_bits()
        met = self if wide else self.cast("float32")
        return rounded_autodiff.Number.mean(met, axis).cast(self.dtype)

    def reshape(self, shape: Any) -> "Number":
        was = self.value.shape
        return self._new(self.value.reshape(shape), (self, lambda g: g.reshape(was)))

    def part(self, index: Any) -> "Number":
        """self[index]."""
        shape = self.value.shape

        def back(g):
            whole = np.zeros(shape)
            whole[index] = g
            return whole

        return self._new(self.value[index], (self, back))

    def beside(self, other: Any) -> "Number":
        """The two, one after the other along the last axis."""
        count = self.value.shape[-1]
        return self._new(
            np.concatenate([self.value, other.value], -1),
            (self, lambda g: g[..., :count]),
            (other, lambda g: g[..., count:]),
        )


def cuts_to_32_bits() -> bool:
    """Whether the Keras in use cuts a dtype that it promotes to 32 bits on JAX."""
    return release() >= (3, 12)


def release() -> tuple[int, int]:
    """(3, 15) of Keras 3.15.1."""
    major, minor = host_rules().version.split(".")[:2]
    return int(major), int(minor)


def where(condition: NDArray[Any], a: Number, b: Any) -> Number:
    a, b = (a, a._wrap(b)) if isinstance(a, Number) else (b._wrap(a), b)
    return a._new(
        np.where(condition, a.value, b.value),
        (a, lambda g: np.where(condition, g, 0)),
        (b, lambda g: np.where(condition, 0, g)),
    )


def logsumexp(x: Number, axis: Any) -> Number:
    """The largest is subtracted first, and is a constant to the gradient."""
    top = np.max(x.value, axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    return (x - top).exp().sum(axis).abs().log() + np.squeeze(top, axis)
