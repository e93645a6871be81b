"""Oracle of the overlap losses: NumPy, straight from the definition.

Numerators are exact sums of exact products, so a nearly perfect mask keeps its digits.
"""

from collections.abc import Sequence
from typing import Union

import numpy as np
from numpy.typing import ArrayLike

from . import _numerics as nx


@nx.ignore_fp_warnings
def dice(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    axis: Union[int, Sequence[int], None] = None,
    *,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """One minus the Dice coefficient over `axis` (None: over everything).

    Formula:   1 - 2 sum(y p) / (sum(y) + sum(p) + epsilon)
    Gradient:  2 (sum(y p) - y D) / D^2, D the denominator
    Edges:     two empty masks give 1
    """
    epsilon, _ = nx.constants(dtype)
    y, p, x, axes, shape = _masks(y_true, y_pred, axis)
    both = nx.exact_dot(y, x, axes)
    size = _add(nx.exact_sum(y, axes), nx.exact_sum(x, axes), epsilon)
    off = _add(size, (-2 * both[0], -2 * both[1]))
    wide_both, wide_size = _kept(both, axes, x), _kept(size, axes, x)
    slope = 2 * nx.cross_difference(1, wide_both, y, wide_size) / wide_size[0] ** 2
    return _values(off[0], size[0], slope, axes, p, shape)


@nx.ignore_fp_warnings
def tversky(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: Union[int, Sequence[int], None] = None,
    *,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """One minus the Tversky index over `axis` (None: over everything).

    Formula:   FP = sum(p (1 - y)), FN = sum((1 - p) y)
               1 - sum(y p) / (sum(y p) + alpha FP + beta FN + epsilon)
    Gradient:  ((alpha (1 - y) - beta y) sum(y p) - N y) / D^2,
               D the denominator, N = D - sum(y p)
    Edges:     alpha weighs false positives and beta false negatives, as documented
               (Keras up to 3.15 has them swapped); two empty masks give 1
    """
    epsilon, _ = nx.constants(dtype)
    y, p, x, axes, shape = _masks(y_true, y_pred, axis)
    alpha, beta = nx.WIDE(alpha), nx.WIDE(beta)
    both = nx.exact_dot(y, x, axes)
    minus = -both[0], -both[1]
    false_positive = _add(nx.exact_sum(x, axes), minus)[0]
    false_negative = _add(nx.exact_sum(y, axes), minus)[0]
    off = alpha * false_positive + beta * false_negative + epsilon
    size = off + both[0]
    hit, wide_off, wide_size = (
        _kept((part, part), axes, x)[0] for part in (both[0], off, size)
    )
    slope = (alpha * (1 - y) - beta * y) * hit - wide_off * y
    return _values(off, size, slope / wide_size**2, axes, p, shape)


def _masks(y_true, y_pred, axis):
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    if y.shape != p.shape:
        # Keras sums each mask for itself, so a stretched mask would count once.
        raise ValueError(f"the masks differ in shape: {y.shape}, {p.shape}")
    axes = tuple(range(p.ndim)) if axis is None else axis
    axes = axes if isinstance(axes, (tuple, list)) else (axes,)
    axes = tuple(nx.normal_axis(a, p.ndim) for a in axes)
    return nx.wide(y), p, nx.wide(p), axes, shape


def _add(a, b, extra=0.0):
    """The sum of two (high, low) pairs and a number."""
    high, error = nx.two_sum(a[0], b[0])
    high, error2 = nx.two_sum(high, nx.WIDE(extra))
    low = (error + error2) + (a[1] + b[1])
    s, rest = nx.two_sum(high, low)
    fine = np.isfinite(s)
    return np.where(fine, s, high), np.where(fine, rest, 0)


def _kept(pair, axes, like):
    """The pair with the summed axes back as axes of 1."""
    shape = tuple(1 if i in axes else n for i, n in enumerate(like.shape))
    return tuple(np.reshape(part, shape) for part in pair)


def _values(top, bottom, slope, axes, p, shape):
    values = nx.float64(top / bottom)

    @nx.ignore_fp_warnings
    def pullback(upstream):
        upstream = nx.upstream_array(upstream, values.shape)
        (upstream,) = _kept((upstream,), axes, p)
        return nx.float64((upstream * slope).reshape(shape))

    return values, pullback
