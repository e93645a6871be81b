"""Gradients in closed form, and what a kernel computes again rather than keeps."""

from typing import Any, Callable

import tensorflow as tf

from keras_losses_ref.losses.compat import Axes, Tensor
from keras_losses_ref.losses.kernels.dispatch import REMAT_MIN_ROW, in_kernel
from keras_losses_ref.losses.kernels.sums import mean_along

# No public name, yet there from TensorFlow 2.12 to 2.21; without it only slower.
try:
    from tensorflow.compiler.tf2xla.python.xla import optimization_barrier as _barrier
except ImportError:
    _barrier = None


def with_gradient(
    terms: Callable[..., Any], *tensors: Tensor, recompute: bool = False
) -> Tensor:
    """`terms(*tensors)` with its gradient in closed form, not left to autodiff.

    `terms` returns (values, gradient), and `gradient(upstream)` returns the gradients
    to the tensors, of their shapes. It is made of differentiable operations, so that
    second derivatives and forward mode come out of it as well.

    With `recompute`, in a kernel whose rows are long, the gradient starts from the
    tensors again: `terms` runs twice. XLA would write out what both have in common and
    read it again: so binary cross-entropy from logits and the binary focal loss hold
    1.0 y_pred, not 2.0, and kernels take 5 % longer in the mean.
    """

    def both(*tensors):
        values, gradient = terms(*tensors)
        length = tensors[-1].shape[-1] if tensors[-1].shape.rank else None
        again = recompute and in_kernel() and (length or 0) >= REMAT_MIN_ROW

        def backward(upstream):
            if again:
                return terms(*optimization_barrier(*tensors))[1](upstream)
            return gradient(upstream)

        return values, backward

    return tf.custom_gradient(both)(*tensors)


def mean_of(
    terms: Callable[..., Any],
    y_true: Tensor,
    y_pred: Tensor,
    axis: Axes = -1,
    recompute: bool = False,
) -> Tensor:
    """The mean along `axis` of elementwise terms, with its gradient in closed form.

    `terms(y_true, y_pred)` returns (values, gradients), and `gradients()` the
    derivatives of each value by its own y_true and y_pred.
    """

    def reduced(y_true, y_pred):
        values, gradients = terms(y_true, y_pred)

        def gradient(upstream):
            upstream /= tf.cast(tf.shape(values)[axis], upstream.dtype)
            upstream = tf.expand_dims(upstream, axis)
            d_true, d_pred = gradients()
            return upstream * d_true, upstream * d_pred

        return mean_along(values, axis), gradient

    both = broadcast_both(y_true, y_pred)
    return with_gradient(reduced, *both, recompute=recompute)


def broadcast_both(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the shape that they broadcast to."""
    same = y_true.shape.is_fully_defined() and y_true.shape == y_pred.shape
    if same:
        return y_true, y_pred
    shape = tf.broadcast_dynamic_shape(tf.shape(y_true), tf.shape(y_pred))
    return tf.broadcast_to(y_true, shape), tf.broadcast_to(y_pred, shape)


@tf.custom_gradient
def optimization_barrier(*tensors: Tensor) -> tuple[Any, ...]:
    """`tensors`, in a kernel with nothing known of what was computed from them."""
    same = _barrier(*tensors) if _barrier and in_kernel() else list(tensors)
    return same, lambda *upstream: upstream
