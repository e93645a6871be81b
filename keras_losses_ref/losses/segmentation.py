"""Overlap losses for masks: how much of the one is not covered by the other."""

import functools

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.inputs import constant
from keras_losses_ref.losses.kernels.autodiff import in_float64, with_gradient
from keras_losses_ref.losses.kernels.sums import sum_float64
from keras_losses_ref.losses.validation import check_axes, check_number


@loss_function(flattenable="one")
def dice(y_true, y_pred, axis=None):
    """Dice loss: one minus twice the overlap over the size of both masks.

    Shapes:    y_true, y_pred (*any) -> what is left without `axis`; all axes, and so a
               scalar, if axis is None
    Domain:    y_true, y_pred in [0, 1]
    Formula:   D = sum(y_true) + sum(y_pred) + 1e-7
               1 - 2 sum(y_true y_pred) / D
               = (sum(y_true (1 - y_pred) + y_pred (1 - y_true)) + 1e-7) / D
    Gradient:  d/dy_pred = 2 (sum(y_true y_pred) - y_true D) / D^2
    Edges:     two empty masks give 1; without `axis` the batch is one large mask
    Raises:    ValueError if the shapes differ or have no such axis
    Deviates:  dice-mask-stretched, overlap-half-range, config-forgets-dtype
    Source:    Keras 3 `keras.losses.dice`
    Example:   >>> float(dice([0., 1.], [0.3, 0.6]))  # 0.36842
    """
    axis = check_axes("dice", axis, y_pred.shape.rank)
    (epsilon,) = in_float64(tf.constant(compat.epsilon(), y_pred.dtype))

    def terms(y, p):
        hit, false_positive, false_negative = overlap(y, p, axis)
        apart = false_positive + false_negative + epsilon
        size = apart + 2.0 * hit

        def gradient(upstream):
            factor = 2.0 * tf.reshape(in_float64(upstream)[0], tf.shape(size)) / size
            share = tf.cast(factor * hit / size, y.dtype)
            factor = tf.cast(factor, y.dtype)
            return share - factor * p, share - factor * y

        return _narrow(apart / size, axis, y.dtype), gradient

    return with_gradient(terms, y_true, y_pred)


def overlap(y, p, axis):
    """sum(y p), sum((1 - y) p), sum(y (1 - p)) over `axis`, in float64.

    A batch of masks is millions of elements, and of a mask all but met little is left.
    """
    sharp = y.dtype == tf.float64
    y, p = in_float64(y, p)
    over = functools.partial(sum_float64, axis=axis, keepdims=True)
    hit = over(y * p)
    if sharp:
        return hit, over((1.0 - y) * p), over(y * (1.0 - p))
    return hit, over(p) - hit, over(y) - hit  # nine digits are left of them


def _narrow(values, axis, dtype):
    return tf.cast(tf.squeeze(values, axis), dtype)


@compat.register
class Dice(Loss):
    __doc__ = dice.__doc__

    function = dice
    arguments = ("axis",)

    def __init__(
        self,
        reduction=compat.DEFAULT_REDUCTION,
        name="dice",
        axis=None,
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.axis = check_axes("Dice", axis, None)


@loss_function(flattenable="one")
def tversky(y_true, y_pred, alpha=0.5, beta=0.5, axis=None):
    """Tversky loss: Dice with a price of its own for each kind of error.

    Shapes:    as in dice
    Domain:    y_true, y_pred in [0, 1]; alpha, beta >= 0
    Formula:   TP = sum(y_true y_pred);  FP = sum((1 - y_true) y_pred);
               FN = sum(y_true (1 - y_pred));  E = alpha FP + beta FN + 1e-7
               1 - TP / (TP + E) = E / (TP + E)
    Gradient:  d/dy_pred = ((alpha (1 - y_true) - beta y_true) TP - y_true E)
               / (TP + E)^2
    Edges:     two empty masks give 1; alpha = beta = 0.5 is dice, but for 1e-7
    Raises:    ValueError if the shapes differ or have no such axis
    Deviates:  tversky-mask-stretched, overlap-half-range, tversky-alpha-beta-swapped,
               config-forgets-dtype
    Source:    Keras 3 `keras.losses.tversky`, as documented: alpha for false positives,
               beta for false negatives; Salehi et al. (2017)
    Example:   >>> float(tversky([0., 1.], [0.3, 0.6], alpha=0.2, beta=0.8))  # 0.38776
    """
    axis = check_axes("tversky", axis, y_pred.shape.rank)
    alpha = constant(check_number("tversky", "alpha", alpha), tf.float64)
    beta = constant(check_number("tversky", "beta", beta), tf.float64)
    (epsilon,) = in_float64(tf.constant(compat.epsilon(), y_pred.dtype))

    def terms(y, p):
        hit, false_positive, false_negative = overlap(y, p, axis)
        error = alpha * false_positive + beta * false_negative + epsilon
        size = hit + error

        def gradient(upstream):
            factor = tf.reshape(in_float64(upstream)[0], tf.shape(size)) / size

            def slope(other, alone, missed):
                more = tf.cast(factor * alone * (hit / size), y.dtype)
                less = tf.cast(factor * (missed * hit + error) / size, y.dtype)
                return more * (1.0 - other) - less * other

            return slope(p, beta, alpha), slope(y, alpha, beta)

        return _narrow(error / size, axis, y.dtype), gradient

    return with_gradient(terms, y_true, y_pred)


@compat.register
class Tversky(Loss):
    __doc__ = tversky.__doc__

    function = tversky
    arguments = ("alpha", "beta", "axis")

    def __init__(
        self,
        alpha=0.5,
        beta=0.5,
        reduction=compat.DEFAULT_REDUCTION,
        name="tversky",
        axis=None,
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.alpha = check_number("Tversky", "alpha", alpha)
        self.beta = check_number("Tversky", "beta", beta)
        self.axis = check_axes("Tversky", axis, None)
