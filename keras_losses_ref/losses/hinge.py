"""Maximum-margin losses: no loss once the prediction is on the right side by 1."""

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.kernels import hinge as kernels
from keras_losses_ref.losses.kernels.sums import mean_along, sum_along


def signed(y_true: Tensor) -> Tensor:
    """Labels of 0 and 1 as -1 and 1, if the whole batch holds nothing else."""
    binary = tf.reduce_all(tf.equal(y_true, 0.0) | tf.equal(y_true, 1.0))
    return tf.where(binary, 2.0 * y_true - 1.0, y_true)


@loss_function(broadcast=True, flattenable="mean")
def hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Hinge loss: linear until the margin of 1 is reached, then zero.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    y_true -1 or 1, or 0 and 1 throughout the batch; y_pred all reals
    Formula:   sum(max(1 - y_true y_pred, 0)) / n
    Gradient:  d/dy_pred = -y_true / n where y_true y_pred <= 1, else 0
    Edges:     labels become -1 and 1 only if every label of the batch is 0 or 1: a 0
               among -1s stays 0, and a batch of only 1s is taken as it is
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.hinge`
    Example:   >>> float(hinge([-1., 1.], [0.6, 0.4]))  # 1.1
    """
    return mean_along(tf.maximum(1.0 - signed(y_true) * y_pred, 0.0))


@compat.register
class Hinge(Loss):
    function = hinge


@loss_function(broadcast=True, flattenable="mean")
def squared_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Squared hinge loss: the hinge loss of each element, squared.

    Shapes:    y_true, y_pred (*batch, n) -> (*batch,)
    Domain:    as in hinge
    Formula:   sum(max(1 - y_true y_pred, 0)^2) / n
    Gradient:  d/dy_pred = -2 y_true max(1 - y_true y_pred, 0) / n
    Edges:     labels of 0 and 1 as in hinge
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.squared_hinge`
    Example:   >>> float(squared_hinge([-1., 1.], [0.6, 0.4]))  # 1.46
    """
    return mean_along(tf.square(tf.maximum(1.0 - signed(y_true) * y_pred, 0.0)))


@compat.register
class SquaredHinge(Loss):
    function = squared_hinge


@loss_function(kernels.categorical_hinge, broadcast=True)
def categorical_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Categorical hinge: the true class must lead the best other one by 1.

    Shapes:    y_true, y_pred (*batch, classes) -> (*batch,)
    Domain:    y_true one-hot; y_pred all reals
    Formula:   max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0)
    Gradient:  d/dy_pred = (1 - y_true) at the largest, shared evenly by ties, minus
               y_true; 0 where the margin is negative
    Edges:     the true class takes part in the inner maximum as 0, so that negative
               scores of the others do not count
    Raises:    ValueError if the shapes cannot be aligned
    Source:    Keras 3 `keras.losses.categorical_hinge`
    Example:   >>> float(categorical_hinge([0., 1.], [0.6, 0.4]))  # 1.2
    """
    wrong = tf.reduce_max((1.0 - y_true) * y_pred, axis=-1)
    return tf.maximum(wrong - sum_along(y_true * y_pred) + 1.0, 0.0)


@compat.register
class CategoricalHinge(Loss):
    function = categorical_hinge
