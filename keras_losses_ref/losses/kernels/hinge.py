"""The categorical hinge loss with its gradient in closed form."""

import tensorflow as tf

from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.kernels.autodiff import broadcast_both, with_gradient
from keras_losses_ref.losses.kernels.sums import sum_along


def categorical_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Categorical hinge loss: XLA's maximum drops a NaN, which its gradient keeps."""

    def terms(y, p):
        wrong = (1.0 - y) * p
        best = tf.reduce_max(wrong, axis=-1, keepdims=True)
        margin = best - sum_along(y * p, keepdims=True) + 1.0

        def gradient(upstream):
            missed = tf.where(margin < 0.0, tf.zeros_like(margin), upstream[..., None])
            missed = tf.where(tf.math.is_nan(margin), margin, missed)
            largest = tf.cast(tf.equal(wrong, best), p.dtype)
            share = missed * largest / sum_along(largest, keepdims=True)
            return -(share + missed) * p, share * (1.0 - y) - missed * y

        return tf.squeeze(tf.maximum(margin, 0.0), -1), gradient

    return with_gradient(terms, *broadcast_both(y_true, y_pred))
