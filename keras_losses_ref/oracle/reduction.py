"""Oracle of the reduction: sample weights, mask, and the sum or mean they end in.

Three generations of Keras have three sets of rules; `RULES` names them.
"""

from typing import Optional

import numpy as np
from numpy.typing import ArrayLike

from . import _numerics as nx

RULES = ("keras2", "keras3.0", "keras3.7", "keras3")

_MEANS = ("sum_over_batch_size", "mean")
_REDUCTIONS = _MEANS + ("sum", "mean_with_sample_weight", "none", None)
_EPSILON = 1e-7  # in the weight total / (valid + epsilon) of Keras 3.0 to 3.12


@nx.ignore_fp_warnings
def reduce(
    values: ArrayLike,
    *,
    reduction: Optional[str],
    sample_weight: Optional[ArrayLike] = None,
    mask: Optional[ArrayLike] = None,
    rules: str = "keras3",
    replicas: int = 1,
) -> tuple[nx.Array, nx.Array]:
    """Weigh, mask and reduce per-sample losses.

    Returns (result, upstream): the loss, and d(sum(result))/d(values), which is what a
    loss's pullback takes.

    rules:
      keras2    tf.keras 2.12 to 2.15. A mask's weight is total / valid; a rank that
                differs by 1 is mended on the weights only. "auto" is the mean.
      keras3.0  Keras 3.0 to 3.6. A mask's weight is total / (valid + 1e-7); ranks are
                mended on either side; an empty batch of rank 2 or more is 0 / 0.
      keras3.7  Keras 3.7 to 3.12. As 3.0; an empty mean is 0; replicas share a mean
                (in Keras since 3.8).
      keras3    Keras 3.13 and later. As 3.7; a mask's weight is total / valid, and 0
                if none is valid.

    Every Keras 3 rule takes "mean" and "mean_with_sample_weight", which came with 3.7.
    For the mean, total and valid count the mask's elements, so that the sum over all
    divided by total becomes a mean over the valid. NaN times 0 stays NaN. In Keras 3 a
    scalar loss and an empty batch of shape (0,) are returned as they are.
    """
    if rules not in RULES:
        raise ValueError(f"rules must be one of {RULES}, not {rules!r}")
    values = nx.float64(values)
    weight = None if sample_weight is None else nx.wide(nx.float64(sample_weight))
    mask = None if mask is None else nx.wide(nx.float64(mask))
    one = _keras2 if rules == "keras2" else _keras3
    result, upstream = one(nx.wide(values), weight, mask, reduction, rules, replicas)
    return nx.float64(result), nx.float64(upstream.reshape(values.shape))


def _mask_weight(mask, reduction, rules):
    if reduction not in _MEANS:
        return mask
    count, valid = nx.WIDE(mask.size), nx.total(mask, None)
    if rules == "keras2":
        return mask * (count / valid)
    if rules in ("keras3.0", "keras3.7"):
        return mask * (count / (valid + nx.WIDE(_EPSILON)))
    return np.where(mask != 0, _divide_no_nan(count, valid), 0)


def _divide_no_nan(a, b):
    return np.where(b == 0, 0, a / np.where(b == 0, 1, b))


def _keras3(values, weight, mask, reduction, rules, replicas):
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction {reduction!r} is unknown in Keras 3")
    if mask is not None:
        mask = _mask_weight(mask, reduction, rules)
        if weight is None:
            weight = mask
        else:
            mask, weight = nx.align(mask, weight)
            weight = weight * mask
    slope = np.ones_like(values)
    if weight is not None:
        values, weight = nx.align(values, weight)
        values, slope = _weigh(values, weight)
    if reduction in (None, "none") or values.shape in ((), (0,)):
        return values, slope
    result, scale = nx.total(values, None), nx.WIDE(1)
    if reduction != "sum":
        count = nx.WIDE(values.size)
        if reduction == "mean_with_sample_weight" and weight is not None:
            count = nx.total(weight, None)
        if rules == "keras3.0":
            result, scale = result / count, _divide_no_nan(1, count)
        else:
            count = count * replicas
            result, scale = _divide_no_nan(result, count), _divide_no_nan(1, count)
    return result, slope * scale


def _keras2(values, weight, mask, reduction, rules, replicas):
    if reduction == "auto":
        reduction = "sum_over_batch_size"
    if reduction not in ("sum_over_batch_size", "sum", "none"):
        raise ValueError(f"reduction {reduction!r} is unknown in Keras 2")
    if mask is not None:
        mask = _mask_weight(mask, reduction, rules)
        weight = mask if weight is None else _keras2_align(mask, weight) * mask
    if weight is None:
        weight = nx.wide(1)
    weight = _keras2_align(values, weight)
    values, slope = _weigh(values, weight)
    if reduction == "none":
        return values, slope
    result, scale = nx.total(values, None), nx.WIDE(1)
    if reduction == "sum_over_batch_size":
        count = nx.WIDE(values.size)
        result, scale = _divide_no_nan(result, count), _divide_no_nan(1, count)
    return result, slope * scale


def _weigh(values, weight):
    """(values * weight, d(their sum)/d(values))"""
    product = values * weight
    slope = nx.unbroadcast(np.broadcast_to(weight, product.shape), values.shape)
    return product, slope


def _keras2_align(values, weight):
    """`weight` with its last axis dropped or added where the ranks differ by 1."""
    if not weight.ndim or not values.ndim:
        return weight
    if weight.ndim == values.ndim + 1:
        return np.squeeze(weight, -1)
    if weight.ndim == values.ndim - 1:
        return weight[..., None]
    return weight
