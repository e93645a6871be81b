"""Formulas as Keras writes them: each step rounded, gradients by TensorFlow's rules.

A deviating definition is often the right formula, computed in a way that overflows,
cancels or multiplies infinity by zero somewhere on the way. `Number` follows such a
way in NumPy: every step is rounded to the dtype at hand, and `gradient` goes back
through the steps with the rules of TensorFlow's kernels, whose NaN and infinities it
reproduces.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref.conformance.tolerance import round_to


class Number:
    """An array that remembers how it was made."""

    def __init__(self, value: Any, dtype: str, parents: tuple[Any, ...] = ()) -> None:
        self.dtype = dtype
        self.value = _rounded(value, dtype)
        #: (Number, map from the gradient of this to that of the parent), or none.
        self.parents = parents

    def _new(self, value, *parents):
        return Number(value, self.dtype, parents)

    def _wrap(self, other):
        return other if isinstance(other, Number) else Number(other, self.dtype)

    def __add__(self, other):
        other = self._wrap(other)
        return self._new(
            self.value + other.value, (self, lambda g: g), (other, lambda g: g)
        )

    def __neg__(self):
        return self._new(-self.value, (self, lambda g: -g))

    def __sub__(self, other):
        return self + -self._wrap(other)

    def __rsub__(self, other):
        return self._wrap(other) - self

    def __mul__(self, other):
        other = self._wrap(other)
        a, b = self.value, other.value
        return self._new(a * b, (self, lambda g: g * b), (other, lambda g: g * a))

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other):
        other = self._wrap(other)
        a, b, step = self.value, other.value, self._step
        return self._new(
            a / b,
            (self, lambda g: g / b),
            (other, lambda g: g * step(step(-a / b) / b)),
        )

    def __pow__(self, exponent):
        x, step = self.value, self._step
        n = step(exponent)
        return self._new(
            np.power(x, n),
            (self, lambda g: step(g * n) * step(np.power(x, step(n - 1.0)))),
        )

    def _step(self, value):
        return _rounded(value, self.dtype)

    def square(self) -> "Number":
        x, step = self.value, self._step
        return self._new(x * x, (self, lambda g: step(g * step(2.0 * x))))

    def abs(self) -> "Number":
        x = self.value
        return self._new(np.abs(x), (self, lambda g: g * np.sign(x)))

    def log(self) -> "Number":
        x, step = self.value, self._step
        return self._new(np.log(x), (self, lambda g: g * step(1.0 / x)))

    def rsqrt(self) -> "Number":
        y, step = self._step(1.0 / np.sqrt(self.value)), self._step
        return self._new(
            y, (self, lambda g: np.where(g == 0, 0, g * -0.5 * step(y * y * y)))
        )

    def sigmoid(self) -> "Number":
        x = self.value
        e = np.exp(-np.abs(x))
        y = self._step(np.where(x >= 0, 1, e) / (1 + e))
        return self._new(y, (self, lambda g: g * y * (1 - y)))

    def softmax(self, axis: Any) -> "Number":
        e = np.exp(self.value - np.max(self.value, axis, keepdims=True))
        y = self._step(e / np.sum(e, axis, keepdims=True))
        return self._new(
            y, (self, lambda g: (g - np.sum(g * y, axis, keepdims=True)) * y)
        )

    def softplus(self) -> "Number":
        x, step = self.value, self._step
        return self._new(
            np.logaddexp(0.0, x), (self, lambda g: g / step(step(np.exp(-x)) + 1.0))
        )

    def exp(self) -> "Number":
        y = self._step(np.exp(self.value))
        return self._new(y, (self, lambda g: g * y))

    def clip(self, low: Any, high: Any) -> "Number":
        x = self.value
        inside = (x >= self._step(low)) & (x <= self._step(high))
        return self._new(
            np.clip(x, self._step(low), self._step(high)),
            (self, lambda g: np.where(inside, g, 0)),
        )

    def minimum(self, bound: Any) -> "Number":
        bound = self._step(bound)
        gate = self.value <= bound
        return self._new(
            np.minimum(self.value, bound), (self, lambda g: np.where(gate, g, 0))
        )

    def maximum(self, bound: Any) -> "Number":
        bound = self._step(bound)
        gate = self.value >= bound
        return self._new(
            np.maximum(self.value, bound), (self, lambda g: np.where(gate, g, 0))
        )

    def sum(self, axis: Any = None, keepdims: bool = False) -> "Number":
        x = self.value
        axes = tuple(range(x.ndim)) if axis is None else axis
        axes = tuple(axes) if isinstance(axes, (list, tuple)) else (axes,)

        def spread(g):
            g = g if keepdims else np.expand_dims(g, tuple(a % x.ndim for a in axes))
            return np.broadcast_to(g, x.shape)

        return self._new(np.sum(x, axes, keepdims=keepdims), (self, spread))

    def mean(self, axis: Any) -> "Number":
        shape, n = self.value.shape, self.value.shape[axis]
        # TensorFlow adds 16-bit floats in float32, so the sum does not overflow.
        return self._new(
            np.mean(self.value, axis),
            (self, lambda g: np.expand_dims(g / n, axis) + np.zeros(shape)),
        )


def where(condition: NDArray[Any], a: Number, b: Any) -> Number:
    return a._new(
        np.where(condition, a.value, b.value),
        (a, lambda g: np.where(condition, g, 0)),
        (b, lambda g: np.where(condition, 0, g)),
    )


def logsumexp(x: Number, axis: Any) -> Number:
    """The largest is subtracted first, and is a constant to the gradient."""
    top = np.max(x.value, axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    return (x - top).exp().sum(axis).log() + np.squeeze(top, axis)


def binary_crossentropy_with_logits(x: Number, y: Any) -> Number:
    """TensorFlow's stable form, whose parts no step of autodiff sees."""
    z, t = x.value, y.value
    e = np.exp(-np.abs(z))
    value = np.maximum(z, 0) - z * t + np.log1p(e)
    slope = np.where(z >= 0, 1, e) / (1 + e) - t
    return x._new(value, (x, lambda g: g * slope))


def gradient(result: Number, upstream: NDArray[Any], of: Number) -> NDArray[Any]:
    """d(result * upstream) / d(of), backwards through every step."""
    order, seen = [], set()

    def visit(number):
        if id(number) not in seen:
            seen.add(id(number))
            for parent, _ in number.parents:
                visit(parent)
            order.append(number)

    visit(result)
    with np.errstate(all="ignore"):
        found = {id(result): _rounded(upstream, result.dtype)}
        for number in reversed(order):
            g = found.get(id(number))
            if g is None:
                continue
            for parent, pull in number.parents:
                back = _unbroadcast(_rounded(pull(g), number.dtype), parent.value.shape)
                if id(parent) in found:
                    back = found[id(parent)] + back
                found[id(parent)] = _rounded(back, parent.dtype)
    return found.get(id(of), np.zeros_like(of.value))


def _rounded(value, dtype):
    return round_to(np.asarray(value, np.float64), dtype)


def _unbroadcast(g, shape):
    added = g.ndim - len(shape)
    g = g.sum(tuple(range(added))) if added else g
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axes, keepdims=True) if axes else g
