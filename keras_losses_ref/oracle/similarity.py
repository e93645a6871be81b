"""Oracle of the metric-learning losses: NumPy, straight from the definition."""

from typing import Optional

import numpy as np
from numpy.typing import ArrayLike

from . import _numerics as nx


@nx.ignore_fp_warnings
def circle(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    ref_labels: Optional[ArrayLike] = None,
    ref_embeddings: Optional[ArrayLike] = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
    *,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """Circle loss of L2-normalised embeddings, one value for each query.

    Formula:   d = max(1 - y_pred . ref, 0) for every query and reference
               P = logsumexp over the same label of
                   -gamma max(margin + d, 0) (margin - d)
               N = logsumexp over other labels of
                   gamma max(1 + margin - d, 0) (1 - margin - d)
               log(1 + exp(P + N))
    Gradient:  sigmoid(P + N) (softmax(P)' P' + softmax(N)' N') through d, to the query
               and, where no references are given, to y_pred as the reference; the
               weights max(.) are differentiated too
    Edges:     a query without a positive or without a negative gives 0, gradient 0.
               Embeddings are taken as they come, normalised or not
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    labels, p = nx.align(np.trunc(nx.float64(y_true)), nx.float64(y_pred))
    if p.ndim != 2:
        raise ValueError(f"y_pred must be (batch, embedding), not {p.shape}")
    ref = p if ref_embeddings is None else nx.float64(ref_embeddings)
    labels = labels.reshape(-1, 1)
    if ref_labels is None:
        ref_labels = labels
    ref_labels = np.trunc(nx.float64(ref_labels)).reshape(1, -1)
    if len(labels) != len(p) or ref_labels.shape[1] != len(ref):
        raise ValueError("there must be one label for each embedding")
    if ref.ndim != 2 or ref.shape[1] != p.shape[1]:
        raise ValueError("queries and references differ in their embedding's size")
    gamma, margin = nx.WIDE(gamma), nx.WIDE(margin)

    queries, keys = nx.wide(p), nx.wide(ref)
    distance = np.empty((len(p), len(ref)), queries.dtype)
    for i, query in enumerate(queries):
        high, low = nx.exact_dot(query, keys, -1)
        distance[i] = (1 - high) - low
    passes = distance >= 0  # NaN has no gradient
    d = np.maximum(distance, 0)
    same = labels == ref_labels
    other = ~same
    if remove_diagonal:
        same = same & ~np.eye(*same.shape, dtype=bool)

    attract, repel = margin + d, 1 + margin - d
    near = -gamma * np.maximum(attract, 0) * (margin - d)
    far = gamma * np.maximum(repel, 0) * (1 - margin - d)
    near_slope = np.where(attract < 0, 0, gamma * 2 * d)
    far_slope = np.where(repel < 0, 0, 2 * gamma * (d - 1))
    positive, near_share = _log_sum_exp(near, same)
    negative, far_share = _log_sum_exp(far, other)
    z = positive + negative
    alone = ~(same.any(axis=1) & other.any(axis=1)) & ~np.isnan(z)
    values = nx.float64(np.where(alone, 0, nx.softplus(z)))
    slope = near_share * near_slope + far_share * far_slope
    slope = np.where(passes, slope * nx.sigmoid(z)[:, None], 0)
    slope = np.where(alone[:, None], 0, slope)

    @nx.ignore_fp_warnings
    def pullback(upstream):
        weight = nx.upstream_array(upstream, values.shape)[:, None] * slope
        g = np.empty_like(queries)
        for i in range(len(p)):
            row = [weight[i][:, None]], [keys]
            if ref_embeddings is None:  # the same embedding as a reference
                row[0].append(weight[:, i][:, None])
                row[1].append(queries)
            g[i] = -nx.exact_dot(np.concatenate(row[0]), np.concatenate(row[1]), 0)[0]
        return nx.float64(g.reshape(shape))

    return values, pullback


def circle_mask(values: ArrayLike, dtype: str = "float64") -> nx.Array:
    """Which values of the circle loss count in a mean: those above 0, as in Keras.

    A value that is 0 only in the judged `dtype` does not count there: below 2^-126 in
    float32 and bfloat16, whose subnormals are flushed, up to 2^-25 in float16.
    """
    nx.constants(dtype)
    name = getattr(dtype, "name", None) or str(getattr(dtype, "__name__", dtype))
    values = np.asarray(values)
    if name == "float16":
        return values > 2.0**-25
    return values > 0 if name == "float64" else values >= 2.0**-126


def _log_sum_exp(x, keep):
    """(log(sum(exp(x))), softmax(x)) of the kept elements of each row."""
    x = np.where(keep, x, -np.inf)
    top = np.max(x, axis=1, keepdims=True, initial=-np.inf)
    e = np.where(keep, np.exp(x - np.where(np.isfinite(top), top, 0)), 0)
    size = nx.total(e, 1)[:, None]
    share = np.where(size == 0, 0, e / size)
    return (np.log(size) + np.where(np.isfinite(top), top, 0))[:, 0], share
