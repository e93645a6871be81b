"""Oracle of the hinge losses: NumPy, straight from the definition."""

import numpy as np
from numpy.typing import ArrayLike

from . import _numerics as nx


@nx.ignore_fp_warnings
def hinge(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Hinge loss, mean over the last axis.

    Formula:   mean(max(1 - y y_pred, 0))
    Gradient:  -y / n where 1 - y y_pred >= 0, else 0
    Edges:     labels that are all 0 or 1 in the whole batch become -1 and 1
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p, margin = _margin(y_true, y_pred)
    slope = np.where(np.isnan(margin), np.nan, np.where(margin < 0, 0, -y))
    return nx.mean_of(np.maximum(margin, 0), slope, -1, p, shape)


@nx.ignore_fp_warnings
def squared_hinge(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Squared hinge loss, mean over the last axis.

    Formula:   mean(max(1 - y y_pred, 0)^2)
    Gradient:  -2 y max(1 - y y_pred, 0) / n
    Edges:     labels that are all 0 or 1 in the whole batch become -1 and 1
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p, margin = _margin(y_true, y_pred)
    margin = np.maximum(margin, 0)
    return nx.mean_of(margin * margin, -2 * y * margin, -1, p, shape)


@nx.ignore_fp_warnings
def categorical_hinge(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Margin between the true class and the best other one, along the last axis.

    Formula:   max(max((1 - y) y_pred) - sum(y y_pred) + 1, 0)
    Gradient:  (1 - y) at the maximum, shared equally by ties, minus y; 0 where the
               margin is negative, and passing at 0
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    y, x = (nx.wide(a) for a in np.broadcast_arrays(y, p))
    if not x.ndim or not x.shape[-1]:
        raise ValueError(f"no classes in shape {x.shape}")
    others = (1 - y) * x
    tie = others == np.max(others, axis=-1, keepdims=True)
    at = np.argmax(others, axis=-1)[..., None]
    best = np.take_along_axis(x, at, -1), np.take_along_axis(1 - y, at, -1)
    # One exact sum of all products: the margin may cancel to nearly nothing.
    one = np.ones_like(best[0])
    left = np.concatenate([one, best[1], -y], -1)
    right = np.concatenate([one, best[0], x], -1)
    margin = nx.exact_dot(left, right, -1)[0]
    values = nx.float64(np.maximum(margin, 0))
    share = tie / np.sum(tie, axis=-1, keepdims=True)
    slope = np.where((margin < 0)[..., None], 0, share * (1 - y) - y)
    slope = np.where(np.isnan(margin)[..., None], np.nan, slope)

    @nx.ignore_fp_warnings
    def pullback(upstream):
        g = nx.upstream_array(upstream, values.shape)[..., None] * slope
        return nx.float64(nx.unbroadcast(g, p.shape).reshape(shape))

    return values, pullback


def _margin(y_true, y_pred):
    """(labels as -1 and 1, predictions, 1 - y y_pred)"""
    y, p = nx.aligned(y_true, y_pred)
    if np.all((y == 0) | (y == 1)):
        y = 2 * y - 1
    y = nx.wide(y)
    product, rest = nx.two_product(y, p)
    return y, p, (1 - product) - rest
