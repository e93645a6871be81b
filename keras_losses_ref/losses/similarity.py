"""Losses over all pairs of a batch, for learning an embedding."""

from collections.abc import Mapping
from typing import Any, Optional

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.compat import DType, Tensor
from keras_losses_ref.losses.inputs import constant, of_rank, one_per_row, to_tensor
from keras_losses_ref.losses.kernels import similarity as kernels
from keras_losses_ref.losses.kernels.similarity import masked, pair_masks
from keras_losses_ref.losses.validation import check_number


def one_label_per_row(
    name: str, y_true: Tensor, y_pred: Tensor, arguments: Mapping[str, Any]
) -> Tensor:
    """y_true as a vector of integers."""
    return labels_of_rows(name, "y_true", "y_pred", y_true, y_pred)


def as_tensor(
    owner: str,
    argument: str,
    value: Any,
    shape: Any = None,
    arguments: Optional[Mapping[str, Any]] = None,
) -> Optional[Tensor]:
    """A tensor, if there is one."""
    return None if value is None else to_tensor(value)


def labels_of_rows(
    name: str, labels_name: str, rows_name: str, labels: Tensor, rows: Tensor
) -> Tensor:
    """Labels as a vector of integers, one for each of `rows`."""
    labels, rows = to_tensor(labels), to_tensor(rows)
    vector = labels
    if labels.shape.rank is None or labels.shape.as_list()[1:] == [None]:
        vector = one_per_row(name, labels, of_rank(rows, 2))
    if labels.shape.rank == 2 and labels.shape[1] == 1:
        vector = tf.squeeze(labels, 1)
    if not (
        vector.shape.rank in (None, 1)
        and rows.shape.rank in (None, 2)
        and (
            vector.shape.rank is None
            or rows.shape.rank is None
            or vector.shape[:1].is_compatible_with(rows.shape[:1])
        )
    ):
        raise ValueError(
            f"{name}: there must be one label for each embedding. Received: "
            f"{labels_name}.shape={tuple(labels.shape)}, "
            f"{rows_name}.shape={tuple(rows.shape)}. Expected integers of shape (n,) "
            "or (n, 1), and embeddings of shape (n, features)."
        )
    return tf.cast(vector, tf.int64)


@loss_function(
    kernels.circle,
    labels="indices",
    checks={
        "ref_labels": as_tensor,
        "ref_embeddings": as_tensor,
        "gamma": check_number,
        "margin": check_number,
    },
    check=one_label_per_row,
    ragged=False,
)
def circle(
    y_true: Tensor,
    y_pred: Tensor,
    ref_labels: Optional[Tensor] = None,
    ref_embeddings: Optional[Tensor] = None,
    remove_diagonal: bool = True,
    gamma: float = 80.0,
    margin: float = 0.4,
) -> Tensor:
    """Circle loss: same labels near each other, others apart, the worst pairs first.

    Shapes:    y_true (n,) or (n, 1), y_pred (n, features) -> (n,); references, if
               given, (m,) or (m, 1) and (m, features)
    Domain:    y_true integers; rows of y_pred of norm 1; gamma > 0; 0 < margin < 1
    Formula:   d_ij = max(1 - y_pred_i . reference_j, 0)
               P_i = log sum over j of the same label of exp(gamma (d_ij^2 - margin^2))
               N_i = log sum over j of another label of
                     exp(gamma max(1 + margin - d_ij, 0) (1 - margin - d_ij))
               log(1 + exp(P_i + N_i))
    Gradient:  through d, in both rows of a pair, where d > 0 or at its tie
    Edges:     a row without a positive or without a negative gives 0 and no gradient,
               and the class leaves values of 0 out of the mean, as Keras does;
               remove_diagonal drops the pair (i, i), also of given references
    Raises:    ValueError unless y_pred has rank 2 with one label for each row
    Source:    Keras 3 `keras.losses.circle`; Sun et al. (2020)
    Example:   >>> circle([0, 0, 1], [[1., 0.], [0.6, 0.8], [0., 1.]])
               # [2.7608e-06, 38.4, 0.0]
    """
    gamma, margin = constant(gamma, y_pred.dtype), constant(margin, y_pred.dtype)
    if ref_embeddings is None:
        ref_embeddings = y_pred
    if ref_labels is None:
        ref_labels = y_true
    names = "ref_labels", "ref_embeddings"
    ref_labels = labels_of_rows("circle", *names, ref_labels, ref_embeddings)
    ref_embeddings = tf.cast(ref_embeddings, y_pred.dtype)
    positive, negative, paired = pair_masks(y_true, ref_labels, remove_diagonal)
    cosine = tf.matmul(y_pred, ref_embeddings, transpose_b=True)
    distance = tf.maximum(1.0 - cosine, 0.0)
    pull = gamma * (distance - margin) * (distance + margin)
    reach = tf.maximum(1.0 + margin - distance, 0.0)
    push = gamma * reach * (1.0 - margin - distance)
    exponent = masked_logsumexp(pull, positive) + masked_logsumexp(push, negative)
    exponent = tf.where(paired, exponent, tf.zeros_like(exponent))
    values = tf.where(paired, tf.nn.softplus(exponent), tf.zeros_like(exponent))
    values = tf.squeeze(values, 1)
    compat.set_mask(values, values > 0.0)
    return values


def masked_logsumexp(values: Tensor, mask: Optional[Tensor]) -> Tensor:
    """log(sum(exp(values))) of each row over what `mask` keeps."""
    return tf.reduce_logsumexp(masked(values, mask), axis=1, keepdims=True)


@compat.register
class Circle(Loss):
    function = circle
    arguments = ("gamma", "margin", "remove_diagonal")

    gamma: float = 80.0
    margin: float = 0.4
    remove_diagonal: bool = True

    @staticmethod
    def with_mask(values: Tensor, dtype: DType) -> Tensor:
        """A value that is 0 in the loss's dtype does not count in the mean."""
        compat.set_mask(values, tf.cast(values, dtype) > 0)
        return values
