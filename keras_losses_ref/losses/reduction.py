"""From one loss per sample to what the optimizer sees: weights, masks, reduction.

The rules are the host's (`Loss.__call__`), so that a drop-in stays a drop-in; the
arithmetic is ours: in float32 at least, whatever the dtype of the loss, with sums in
blocks (`kernels/sums.py`).
"""

from typing import Optional

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.compat import DType, Tensor
from keras_losses_ref.losses.kernels.sums import sum_along

#: The reductions that, without weights and masks, are the mean of all values.
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def reduce(
    values: Tensor,
    sample_weight: Optional[Tensor] = None,
    mask: Optional[Tensor] = None,
    reduction: Optional[str] = "sum_over_batch_size",
) -> Tensor:
    """Weigh `values` by `sample_weight` and `mask`, then reduce them.

    Shapes:    values (*batch); sample_weight and mask broadcast to it, after a
               trailing axis of one is dropped or added
    Formula:   none: w l;  sum: sum(w l);  sum_over_batch_size, mean: sum(w l) / count;
               mean_with_sample_weight: sum(w l) / sum(w)
               under a mask the count is that of the samples it keeps
    Edges:     a weight or mask of 0 does not hide a NaN: 0 * NaN is NaN, as in Keras
    Source:    the host's `Loss.__call__`
    """
    weights = _merge(sample_weight, mask, values.dtype, reduction)
    if weights is not None:
        values, weights = _align(values, weights)
        values = values * weights
    if reduction in (None, "none"):
        return values
    rank = values.shape.rank
    if compat.GENERATION == 3 and (rank == 0 or (rank == 1 and values.shape[0] == 0)):
        return values  # Keras 3 leaves a scalar, and a batch known to be empty, alone
    total = sum_along(values, None)
    if reduction not in MEANS:
        return total
    if reduction == "mean_with_sample_weight" and weights is not None:
        count = sum_along(weights, None)
    else:
        count = _count(values, total.dtype)
    divide = tf.math.divide_no_nan if compat.SAFE_MEAN else tf.math.divide
    mean = divide(total, count)
    replicas = compat.replicas()
    return mean if replicas == 1 else mean * (1.0 / replicas)


def _merge(sample_weight, mask, dtype, reduction):
    """One weight per sample out of `sample_weight` and `mask`, or None."""
    if sample_weight is not None:
        sample_weight = tf.cast(sample_weight, dtype)
    if mask is None:
        return sample_weight
    mask = tf.cast(mask, dtype)
    if reduction in ("sum_over_batch_size", "mean"):
        # Scaled so that the later division by the total count is by the valid count.
        valid = sum_along(mask, None)
        total = _count(mask, valid.dtype)
        if compat.MASK_DIVISION == "safe":
            scale = tf.math.divide_no_nan(total, valid)
        elif compat.MASK_DIVISION == "epsilon":
            scale = total / (valid + compat.epsilon())
        else:
            scale = total / valid
        mask *= tf.cast(scale, dtype)
    if sample_weight is None:
        return mask
    mask, sample_weight = _align(mask, sample_weight)
    return mask * sample_weight


def _count(values, dtype):
    """How many they are."""
    if values.shape.is_fully_defined():
        return tf.constant(values.shape.num_elements(), dtype)
    return tf.cast(tf.size(values, out_type=tf.int64), dtype)


def _align(values, weights):
    """Let ranks that differ by one agree, by the host's rule."""
    rank, weights_rank = values.shape.rank, weights.shape.rank
    if isinstance(values, tf.RaggedTensor):  # one weight for a row, or one for each
        if rank == weights_rank + 1:
            weights = tf.expand_dims(weights, -1)
        return values, weights
    if rank == weights_rank and rank is not None:
        return values, weights
    if compat.GENERATION == 2:
        if 0 in (rank, weights_rank):
            return values, weights
        # Keras 2 changes the weights only, and gives them a new last axis.
        if None in (rank, weights_rank):
            return values, _in_rank_of(values, weights)
        if weights_rank == rank + 1:
            return values, tf.squeeze(weights, -1)
        if rank == weights_rank + 1:
            return values, tf.expand_dims(weights, -1)
        return values, weights
    return squeeze_or_expand_to_same_rank(values, weights)


def _in_rank_of(values, weights):
    """Weights with a last axis more or less, if they need it when the graph runs."""
    shape = tf.shape(weights)
    rank, other = tf.size(shape), tf.rank(values)
    # No `==`: in a graph of TensorFlow 1 it compares the objects.
    kept = rank - tf.cast(tf.equal(rank, other + 1) & (other > 0), tf.int32)
    added = tf.cast(tf.equal(other, rank + 1) & (rank > 0), tf.int32)
    shape = tf.concat([shape[:kept], tf.ones([added], tf.int32)], 0)
    return tf.reshape(weights, shape)


def squeeze_or_expand_to_same_rank(
    first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor]:
    """Drop or add a last axis of one where the ranks differ by exactly one.

    The rule of Keras 3: against a vector the vector grows, (N,) to (N, 1); against
    anything higher the tensor with the extra axis loses it. Where a graph does not
    know enough of the shapes, this is decided when it runs.
    """
    ranks = first.shape.rank, second.shape.rank
    if None in ranks:
        return _same_rank_at_run_time(first, second)
    if ranks[0] == ranks[1] + 1:
        second, first = squeeze_or_expand_to_same_rank(second, first)
        return first, second
    if ranks[1] != ranks[0] + 1:
        return first, second
    if second.shape[-1] is None:
        return _same_rank_at_run_time(first, second)
    if second.shape[-1] != 1:
        return first, second
    if ranks[0] == 1:
        return tf.expand_dims(first, -1), second
    return first, tf.squeeze(second, -1)


def _same_rank_at_run_time(first, second):
    """The same, from the shapes that the tensors have when the graph runs."""
    shapes = [tf.shape(tensor) for tensor in (first, second)]
    ranks = [tf.size(shape) for shape in shapes]
    results = []
    for i, tensor in enumerate((first, second)):
        rank, other = ranks[i], ranks[1 - i]
        ends_with_1 = [tf.equal(_last(shape), 1) for shape in shapes]
        grows = tf.equal(other, 2) & tf.equal(rank, 1) & ends_with_1[1 - i]
        shrinks = tf.equal(rank, other + 1) & tf.not_equal(other, 1) & ends_with_1[i]
        if _keeps_its_rank(tensor):  # and the op that made it stays in sight
            results.append(tensor)
            continue
        kept = rank - tf.cast(shrinks, tf.int32)
        added = tf.ones([tf.cast(grows, tf.int32)], tf.int32)
        results.append(tf.reshape(tensor, tf.concat([shapes[i][:kept], added], 0)))
    return results


def _last(shape):
    """The last number of a shape, or 0 if it is empty."""
    return tf.concat([[0], shape], 0)[-1]


def _keeps_its_rank(tensor):
    """Whether no other tensor makes `tensor` drop or add an axis."""
    rank = tensor.shape.rank
    if rank is None or rank == 1:
        return False
    return rank in (0, 2) or tensor.shape[-1] not in (1, None)


def reduce_weighted_values(
    values: Tensor,
    sample_weight: Optional[Tensor],
    mask: Optional[Tensor],
    reduction: Optional[str],
    dtype: DType,
) -> Tensor:
    """`values` weighed, masked and reduced, in the dtype of the loss."""
    values_mask = compat.get_mask(values)
    if mask is None:
        mask = values_mask
    elif values_mask is not None:
        mask = tf.logical_and(tf.cast(mask, tf.bool), values_mask)
    return tf.cast(reduce(values, sample_weight, mask, reduction), dtype)
