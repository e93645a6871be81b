"""Overlap losses for masks: how much of the one is not covered by the other."""

import tensorflow as tf

from keras_losses_ref.losses import host
from keras_losses_ref.losses.base import (
    Loss,
    check_axes,
    check_number,
    constant,
    loss_function,
)


@loss_function()
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
    Deviates:  dice-mask-stretched, overlap-half-range
    Source:    Keras 3 `keras.losses.dice`
    Example:   >>> float(dice([0., 1.], [0.3, 0.6]))  # 0.36842
    """
    axis = check_axes("dice", axis, y_pred.shape.rank)
    epsilon = tf.constant(host.epsilon(), y_pred.dtype)
    apart = y_true * (1.0 - y_pred) + y_pred * (1.0 - y_true)
    size = tf.reduce_sum(y_true + y_pred, axis=axis) + epsilon
    return (tf.reduce_sum(apart, axis=axis) + epsilon) / size


@host.register
class Dice(Loss):
    __doc__ = dice.__doc__

    function = dice
    arguments = ("axis",)

    def __init__(
        self, reduction=host.DEFAULT_REDUCTION, name="dice", axis=None, dtype=None
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.axis = check_axes("Dice", axis, None)


@loss_function()
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
    Deviates:  tversky-mask-stretched, overlap-half-range, tversky-alpha-beta-swapped
    Source:    Keras 3 `keras.losses.tversky`, as documented: alpha for false positives,
               beta for false negatives; Salehi et al. (2017)
    Example:   >>> float(tversky([0., 1.], [0.3, 0.6], alpha=0.2, beta=0.8))  # 0.38776
    """
    axis = check_axes("tversky", axis, y_pred.shape.rank)
    alpha = constant(check_number("tversky", "alpha", alpha), y_pred.dtype)
    beta = constant(check_number("tversky", "beta", beta), y_pred.dtype)
    epsilon = tf.constant(host.epsilon(), y_pred.dtype)
    hit = tf.reduce_sum(y_true * y_pred, axis=axis)
    false_positive = tf.reduce_sum((1.0 - y_true) * y_pred, axis=axis)
    false_negative = tf.reduce_sum(y_true * (1.0 - y_pred), axis=axis)
    error = alpha * false_positive + beta * false_negative + epsilon
    return error / (hit + error)


@host.register
class Tversky(Loss):
    __doc__ = tversky.__doc__

    function = tversky
    arguments = ("alpha", "beta", "axis")

    def __init__(
        self,
        alpha=0.5,
        beta=0.5,
        reduction=host.DEFAULT_REDUCTION,
        name="tversky",
        axis=None,
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = check_number("Tversky", "alpha", alpha)
        self.beta = check_number("Tversky", "beta", beta)
        self.axis = check_axes("Tversky", axis, None)
