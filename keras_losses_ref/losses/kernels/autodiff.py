"""Gradients in closed form, and what a kernel computes again rather than keeps."""

import functools
from typing import Any, Callable, Optional

import tensorflow as tf

from keras_losses_ref.losses.compat import Axes, Tensor
from keras_losses_ref.losses.kernels.dispatch import REMAT_MIN_ROW, in_kernel
from keras_losses_ref.losses.kernels.sums import mean_along, sum_along

# No public name, yet there from TensorFlow 2.12 to 2.21; without it only slower.
try:
    from tensorflow.compiler.tf2xla.python.xla import optimization_barrier as _barrier
except ImportError:
    _barrier = None


def with_gradient(
    terms: Callable[..., Any], *tensors: Tensor, recompute: bool = True
) -> Tensor:
    """`terms(*tensors)` with its gradient in closed form, not left to autodiff.

    `terms` returns (values, gradient), and `gradient(upstream)` returns the gradients
    to the tensors, of their shapes. It is made of differentiable operations, so that
    second derivatives and forward mode come out of it as well.

    With `recompute`, in a kernel whose rows are long, the gradient starts from the
    tensors again: `terms` runs twice. Else it takes parts from the values.
    """

    def both(*tensors):
        values, gradient = terms(*tensors)
        again = recompute and should_rematerialize(tensors[-1])

        def backward(upstream):
            if again:
                return terms(*optimization_barrier(*tensors))[1](upstream)
            return gradient(upstream)

        return values, backward

    return tf.custom_gradient(both)(*tensors)


def mean_of(
    terms: Callable[..., Any], y_true: Tensor, y_pred: Tensor, axis: Axes = -1
) -> Tensor:
    """The mean along `axis` of elementwise terms, with its gradient in closed form.

    `terms(y_true, y_pred)` returns (values, gradients), and `gradients()` the
    derivatives of each value by its own y_true and y_pred.
    """
    return sum_of(terms, y_true, y_pred, axis, tf.shape(y_pred)[axis])


def sum_of(
    terms: Callable[..., Any],
    y_true: Tensor,
    y_pred: Tensor,
    axis: Axes = -1,
    count: Optional[Tensor] = None,
) -> Tensor:
    """The sum along `axis` of elementwise terms; their mean if there is a count."""

    def reduced(y_true, y_pred):
        values, gradients = terms(y_true, y_pred)

        def gradient(upstream):
            if count is not None:
                upstream /= tf.cast(count, upstream.dtype)
            upstream = tf.expand_dims(upstream, axis)
            d_true, d_pred = gradients()
            return upstream * d_true, upstream * d_pred

        along = sum_along if count is None else mean_along
        return along(values, axis), gradient

    return with_gradient(reduced, *broadcast_both(y_true, y_pred))


def broadcast_both(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the shape that they broadcast to."""
    same = y_true.shape.is_fully_defined() and y_true.shape == y_pred.shape
    if same:
        return y_true, y_pred
    shape = tf.broadcast_dynamic_shape(tf.shape(y_true), tf.shape(y_pred))
    return tf.broadcast_to(y_true, shape), tf.broadcast_to(y_pred, shape)


@tf.custom_gradient
def optimization_barrier(*tensors: Tensor) -> tuple[Any, ...]:
    """`tensors`, in a kernel with nothing known of what was computed from them.

    XLA would write out what a loss and its gradient have in common, and read it again:
    to compute it once more takes no longer, and no memory.
    """
    same = _barrier(*tensors) if _barrier and in_kernel() else list(tensors)
    return same, lambda *upstream: upstream


def should_rematerialize(tensor: Tensor) -> bool:
    """Whether a kernel does better to compute again what it needs twice of `tensor`.

    Not where rows are short: what is kept of them is computed whole vectors at a time.
    """
    length = tensor.shape[-1] if tensor.shape.rank else None
    return in_kernel() and (length or 0) >= REMAT_MIN_ROW


def rematerialize(function: Callable[..., Any], *tensors: Tensor) -> Callable[..., Any]:
    """(turn) -> `function(*tensors)`: in a kernel computed again for each turn, from 1.

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
