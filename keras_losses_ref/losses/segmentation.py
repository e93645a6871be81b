"""Overlap losses for masks: one minus the overlap of two masks."""

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, field, loss_function
from keras_losses_ref.losses.compat import Axes, Tensor
from keras_losses_ref.losses.inputs import constant
from keras_losses_ref.losses.kernels.sums import sum_along
from keras_losses_ref.losses.validation import check_axes, check_number


@loss_function(checks={"axis": check_axes}, flattenable="one")
def dice(y_true: Tensor, y_pred: Tensor, axis: Axes = None) -> Tensor:
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
    Source:    Keras 3 `keras.losses.dice`
    Example:   >>> float(dice([0., 1.], [0.3, 0.6]))  # 0.36842
    """
    hit = sum_along(y_true * y_pred, axis)
    error = sum_along(y_true * (1.0 - y_pred) + y_pred * (1.0 - y_true), axis)
    return share_of_errors(error, 2.0 * hit)


def share_of_errors(error: Tensor, hit: Tensor) -> Tensor:
    """E / (E + hit) with epsilon in E, as a quotient that no gradient cancels in."""
    error += tf.constant(compat.epsilon(), error.dtype)
    return 1.0 / (1.0 + hit / error)


@compat.register
class Dice(Loss):
    function = dice
    order = ("reduction", "name", "axis")

    axis: Axes = field(default=None, kw_only=True)


@loss_function(
    checks={"axis": check_axes, "alpha": check_number, "beta": check_number},
    flattenable="one",
)
def tversky(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: Axes = None,
) -> Tensor:
    """Tversky loss: Dice with a weight each for false positives and negatives.

    Shapes:    as in dice
    Domain:    y_true, y_pred in [0, 1]; alpha, beta >= 0
    Formula:   TP = sum(y_true y_pred);  FP = sum((1 - y_true) y_pred);
               FN = sum(y_true (1 - y_pred));  E = alpha FP + beta FN + 1e-7
               1 - TP / (TP + E) = E / (TP + E)
    Gradient:  d/dy_pred = ((alpha (1 - y_true) - beta y_true) TP - y_true E)
               / (TP + E)^2
    Edges:     two empty masks give 1; alpha = beta = 0.5 is dice, but for 1e-7
    Raises:    ValueError if the shapes differ or have no such axis
    Source:    Keras 3 `keras.losses.tversky`, as documented: alpha for false positives,
               beta for false negatives; Salehi et al. (2017)
    Example:   >>> float(tversky([0., 1.], [0.3, 0.6], alpha=0.2, beta=0.8))  # 0.38776
    """
    alpha, beta = constant(alpha, y_pred.dtype), constant(beta, y_pred.dtype)
    hit = sum_along(y_true * y_pred, axis)
    false_positive = sum_along((1.0 - y_true) * y_pred, axis)
    false_negative = sum_along(y_true * (1.0 - y_pred), axis)
    return share_of_errors(alpha * false_positive + beta * false_negative, hit)


@compat.register
class Tversky(Loss):
    function = tversky
    order = ("alpha", "beta", "reduction", "name", "axis")

    alpha: float = 0.5
    beta: float = 0.5
    axis: Axes = field(default=None, kw_only=True)
