"""Oracle of the cross entropies and their kin: NumPy, straight from the definition.

Every loss returns (values, pullback); see `regression`. Clipping to [epsilon, 1 -
epsilon] is part of the definition: beyond a bound the clipped argument's gradient is
0, at the bound it passes. A zero label silences an infinite term, so the limit of the
definition is what comes out.
"""

from typing import Optional

import numpy as np
from numpy.typing import ArrayLike

from . import _numerics as nx


@nx.ignore_fp_warnings
def binary_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    *,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """Binary cross entropy, mean along `axis`.

    Formula:   y = y_true (1 - label_smoothing) + label_smoothing / 2
               p = clip(y_pred, epsilon, 1 - epsilon), or sigmoid(y_pred) from logits
               mean(-y log(p) - (1 - y) log(1 - p))
    Gradient:  (p - y) / (p (1 - p)) / n inside the clip; from logits (p - y) / n
    """
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred, same=True)
    y, not_y = _smooth_binary(y, label_smoothing)
    x = nx.wide(p)
    if from_logits:
        values = nx.mul_zero_inf_is_zero(y, nx.softplus(-x)) + nx.mul_zero_inf_is_zero(
            not_y, nx.softplus(x)
        )
        slope = _sigmoid_minus(x, y, not_y)
    else:
        low, high = nx.constants(dtype)
        q = np.clip(x, low, high)
        values = -y * np.log(q) - not_y * np.log1p(-q)
        slope = np.where((x < low) | (x > high), 0, (q - y) / (q * (1 - q)))
    return nx.mean_of(values, slope, axis, p, shape)


@nx.ignore_fp_warnings
def binary_focal_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    *,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """Binary cross entropy times (1 - p_t)^gamma, mean along `axis`.

    Formula:   p = y_pred, or sigmoid(y_pred); y smoothed as in binary_crossentropy
               1 - p_t = y (1 - p) + (1 - y) p       (p not clipped here)
               mean(w (1 - p_t)^gamma bce(y, clip(p))), from logits bce(y, p)
               w = alpha y + (1 - alpha) (1 - y) if apply_class_balancing, else 1
    Gradient:  w (gamma (1 - p_t)^(gamma - 1) (1 - 2 y) bce + (1 - p_t)^gamma bce') / n
    Edges:     at 1 - p_t = 0 with 0 < gamma < 1 the gradient is 0: it would be infinite
               there only because the clip keeps bce above 0, and without the clip its
               limit is 0
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred, same=True)
    y, not_y = _smooth_binary(y, label_smoothing)
    x, gamma = nx.wide(p), nx.WIDE(gamma)
    if from_logits:
        cost, cost_not = nx.softplus(-x), nx.softplus(x)
        inner = _sigmoid_minus(x, y, not_y)  # d(bce)/d(logit)
        x, not_x = nx.sigmoid(x), nx.sigmoid(-x)
        chain = x * not_x
    else:
        low, high = nx.constants(dtype)
        not_x = 1 - x
        q = np.clip(x, low, high)
        cost, cost_not = -np.log(q), -np.log1p(-q)
        chain = nx.wide(1)
        inner = np.where((x < low) | (x > high), 0, (q - y) / (q * (1 - q)))
    cost = nx.mul_zero_inf_is_zero(y, cost) + nx.mul_zero_inf_is_zero(not_y, cost_not)
    u = y * not_x + not_y * x
    power, slope_power = _power(u, gamma)
    weight = y * alpha + not_y * (1 - nx.WIDE(alpha)) if apply_class_balancing else 1
    # A saturated sigmoid multiplies an infinite power by 0; the limit is 0.
    outer = np.where(chain == 0, 0, slope_power * chain) * (not_y - y) * cost
    slope = weight * (outer + power * inner)
    return nx.mean_of(weight * power * cost, slope, axis, p, shape)


@nx.ignore_fp_warnings
def categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    *,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """Cross entropy of class probabilities along `axis`.

    Formula:   y = y_true (1 - label_smoothing) + label_smoothing / classes
               q = clip(y_pred / sum(y_pred), epsilon, 1 - epsilon), or softmax(y_pred)
               -sum(y log(q))
    Gradient:  sum of y over the unclipped / S - y / y_pred where unclipped;
               from logits softmax - y, also where y does not sum to 1, as TensorFlow's
               kernel has it (the exact one would be sum(y) softmax - y)
    Edges:     classes are counted along `axis`; a row of zeros gives NaN
    """
    low, high = nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred, same=True)
    axis = nx.normal_axis(axis, p.ndim)
    y = _smooth_classes(nx.wide(np.moveaxis(y, axis, -1)), label_smoothing)
    x = nx.wide(np.moveaxis(p, axis, -1))
    if from_logits:
        q, not_q, cost = _softmax(x)
        values = nx.total(nx.mul_zero_inf_is_zero(y, cost), -1)
        slope = (1 - y) * q - y * not_q
    else:
        values, slope = _from_probabilities(y, x, low, high)
    return _per_row(values, slope, axis, shape)


@nx.ignore_fp_warnings
def categorical_focal_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    alpha: ArrayLike = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    *,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """Cross entropy along `axis`, each class times alpha (1 - q)^gamma.

    Formula:   y, q as in categorical_crossentropy, q clipped from logits as well
               sum(alpha (1 - q)^gamma y (-log(q)))
    Gradient:  (A - sum(A q)) / S, from logits q (A - sum(A q)), with
               A = -alpha y (gamma (1 - q)^(gamma - 1) (-log(q)) + (1 - q)^gamma / q)
               where q is not clipped, else 0; the q outside A is not clipped
    Edges:     a list of alphas runs along `axis`, as documented
    """
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred, same=True)
    axis = nx.normal_axis(axis, p.ndim)
    y = _smooth_classes(nx.wide(np.moveaxis(y, axis, -1)), label_smoothing)
    x = nx.wide(np.moveaxis(p, axis, -1))
    alpha = nx.wide(alpha)
    if alpha.ndim > 1 or (alpha.ndim and alpha.shape[0] not in (1, x.shape[-1])):
        raise ValueError("alpha must be a number or one number for each class")
    values, slope = _focal(x, alpha * y, gamma, from_logits, dtype)
    return _per_row(nx.total(values, -1), slope, axis, shape)


@nx.ignore_fp_warnings
def sparse_categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    ignore_class: Optional[int] = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
    *,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """Cross entropy with integer labels along `axis`.

    Formula:   c = clip(y_pred, epsilon, 1 - epsilon); -log(c_t / sum(c)); from logits
               -log(softmax(y_pred)_t). With label_smoothing s:
               (1 - s) that + s mean(-log(q)), q = clip(y_pred / sum(y_pred)) or softmax
    Gradient:  1 / sum(c) - (1 / c_t at t), inside the clip; from logits softmax - hot
    Edges:     0 where y_true is ignore_class (see `valid_mask`); NaN where the label is
               not one of the classes; any axis
    """
    low, high = nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.align(float64_labels(y_true), nx.float64(y_pred))
    labels, x, axis, valid, known, hot = _sparse(y, p, ignore_class, axis)
    s = nx.WIDE(label_smoothing)
    n = nx.WIDE(x.shape[-1])
    if from_logits:
        q, not_q, cost = _softmax(x)
        values, slope = _pick(cost, labels), np.where(hot, -not_q, q)
        if label_smoothing:
            values = (1 - s) * values + s * nx.total(cost, -1) / n
            y = (1 - s) * hot + s / n
            slope = (1 - y) * q - y * not_q
    else:
        k = np.clip(x, low, high)
        q, not_q, cost, rest, size = _normalise(k)
        values = _pick(cost, labels)
        # d/dk of -log(k_t / sum(k)): 1 / S, and at t 1 / S - 1 / k_t
        slope = np.where(hot, -rest / k, 1) / _column(size)[0]
        slope = np.where((x < low) | (x > high), 0, slope)
        if label_smoothing:
            # The uniform part normalises first and clips then, as categorical does.
            uniform = _from_probabilities(np.full_like(x, 1 / n), x, low, high)
            values = (1 - s) * values + s * uniform[0]
            slope = (1 - s) * slope + s * uniform[1]
    values = np.where(known, values, np.nan)
    slope = np.where(known[..., None], slope, np.nan)
    return _per_row(values, slope, axis, shape, valid)


@nx.ignore_fp_warnings
def sparse_categorical_focal_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    alpha: ArrayLike = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    ignore_class: Optional[int] = None,
    axis: int = -1,
    *,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """Focal cross entropy with integer labels along `axis`.

    Formula:   q = clip(y_pred / sum(y_pred)) or clip(softmax(y_pred)) at the label
               -alpha (1 - q)^gamma log(q), alpha a number or one for each class
    Gradient:  as categorical_focal_crossentropy with one-hot labels
    Edges:     0 where y_true is ignore_class (see `valid_mask`); NaN where the label is
               not one of the classes; no rank alignment but a class axis of 1
    """
    y, p = float64_labels(y_true), nx.float64(y_pred)
    shape = p.shape
    _, x, axis, valid, known, hot = _sparse(y, p, ignore_class, axis)
    alpha = nx.wide(alpha)
    if alpha.ndim > 1 or (alpha.ndim and alpha.shape[0] != x.shape[-1]):
        raise ValueError("alpha must be a number or one number for each class")
    values, slope = _focal(x, np.where(hot, alpha, 0), gamma, from_logits, dtype)
    values = np.where(known, nx.total(values, -1), np.nan)
    slope = np.where(known[..., None], slope, np.nan)
    return _per_row(values, slope, axis, shape, valid)


@nx.ignore_fp_warnings
def valid_mask(
    y_true: ArrayLike, ignore_class: Optional[int], y_pred: ArrayLike, axis: int = -1
) -> nx.Array:
    """Which values of a sparse loss count: y_true != ignore_class, in their shape."""
    y, p = nx.align(float64_labels(y_true), nx.float64(y_pred))
    return _sparse(y, p, ignore_class, axis)[3]


@nx.ignore_fp_warnings
def categorical_generalized_cross_entropy(
    y_true: ArrayLike, y_pred: ArrayLike, q: float = 0.5, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Generalized cross entropy with integer labels.

    Formula:   (1 - p_t^q) / q
    Gradient:  -p_t^(q - 1) at t, 0 elsewhere
    Edges:     y_true (N,) or (N, 1); p_t = 0 gives 1 / q and an infinite gradient at t
               only; a label that is no class selects nothing: 1 / q, gradient 0
    Raises:    ValueError unless 0 < q < 1
    """
    nx.constants(dtype)
    if not 0 < q < 1:
        raise ValueError(f"q must be in the interval (0, 1), not {q!r}")
    shape = np.shape(y_pred)
    y, p = nx.align(float64_labels(y_true), nx.float64(y_pred))
    labels, x, axis, _, known, hot = _sparse(y, p, None, -1)
    q = nx.WIDE(q)
    p_t = np.where(known, _pick(x, labels), 0)
    half = q * np.log(p_t) / 2
    # 1 - e^(2h) = -2 e^h sinh(h)
    values = np.where(p_t == 0, 1, -2 * np.exp(half) * np.sinh(half)) / q
    slope = np.where(hot, -np.power(p_t, q - 1)[..., None], 0)
    return _per_row(values, slope, axis, shape)


@nx.ignore_fp_warnings
def kl_divergence(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Kullback-Leibler divergence along the last axis.

    Formula:   Y = clip(y_true, epsilon, 1), P = clip(y_pred, epsilon, 1)
               sum(Y log(Y / P))
    Gradient:  -Y / P where epsilon <= y_pred <= 1, else 0
    """
    low, _ = nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    if not max(y.ndim, p.ndim):
        raise ValueError("y_pred needs at least one axis to sum over")
    y, x = np.broadcast_arrays(y, p)
    y, x = nx.wide(y), nx.wide(x)
    big_y, big_p = np.clip(y, low, 1), np.clip(x, low, 1)
    # For P near Y the terms add up to far less than each of them. There they are taken
    # apart: Y log(Y / P) - Y + P, which is of second order and never negative, and
    # Y - P, whose sum is exact.
    s = (big_y - big_p) / (big_y + big_p)  # Y / P = (1 + s) / (1 - s)
    close = np.abs(s) < 0.25
    second = (big_y + big_p) * (s * s + (1 + s) * _atanh_rest(s))
    terms = np.where(close, second, big_y * np.log(big_y / big_p))
    first = np.where(close, big_y, 0), np.where(close, -big_p, 0)
    values = nx.float64(nx.total(np.concatenate([terms, *first], -1), -1))
    slope = np.where((x < low) | (x > 1), 0, -big_y / big_p)

    @nx.ignore_fp_warnings
    def pullback(upstream):
        g = nx.upstream_array(upstream, values.shape)[..., None] * slope
        return nx.float64(nx.unbroadcast(g, p.shape).reshape(shape))

    return values, pullback


@nx.ignore_fp_warnings
def poisson(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Poisson loss, mean over the last axis.

    Formula:   mean(y_pred - y_true log(y_pred + epsilon))
    Gradient:  (1 - y_true / (y_pred + epsilon)) / n
    Edges:     y_pred + epsilon = 0 gives inf for y_true > 0, below it NaN, and y_true 0
               does not silence either
    """
    epsilon, _ = nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    y, x = (nx.wide(a) for a in np.broadcast_arrays(y, p))
    near = np.log1p((x - 1) + epsilon)  # a sum near 1 would lose epsilon's digits
    log = np.where((x > 0.5) & (x < 2), near, np.log(x + epsilon))
    top = nx.total(np.stack([x, -y, np.full_like(x, epsilon)]), 0)
    if not x.ndim:
        raise ValueError("y_pred needs at least one axis to take the mean over")
    # Both parts of every element go into one sum: they may cancel.
    a, b = nx.two_product(-y, log)
    n = nx.WIDE(x.shape[-1])
    values = nx.float64(nx.total(np.concatenate([x, a, b], -1), -1) / n)
    _, pullback = nx.mean_of(x, top / (x + epsilon), -1, p, shape)
    return values, pullback


# --- parts -----------------------------------------------------------------------


def _smooth_binary(y, s):
    """(y, 1 - y) smoothed; each for itself, as 1 - y would cancel."""
    y, s = nx.wide(y), nx.WIDE(s)
    return y * (1 - s) + s / 2, (1 - y) * (1 - s) + s / 2


def _sigmoid_minus(x, y, not_y):
    """sigmoid(x) - y; for a small x beside y = 1/2 by what e^x lacks of 1."""
    near = (not_y * np.expm1(np.clip(x, -1, 1)) + (not_y - y)) * nx.sigmoid(-x)
    far = not_y * nx.sigmoid(x) - y * nx.sigmoid(-x)
    return np.where(np.abs(x) < 1, near, far)


def _smooth_classes(y, s):
    return y * (1 - nx.WIDE(s)) + nx.WIDE(s) / y.shape[-1] if s else y


def _power(u, gamma):
    """(u^gamma, its derivative), with 0 for a derivative that is infinite at 0."""
    slope = gamma * np.power(u, gamma - 1)
    return np.power(u, gamma), np.where((u == 0) & (gamma < 1), 0, slope)


def _column(pair):
    return pair[0][..., None], pair[1][..., None]


def _minus_log_share(part, rest, whole):
    """-log(part / whole), whole = part + rest, right also where part is nearly all."""
    near = 2 * np.arctanh(rest / (part + whole))
    return np.where(np.abs(rest) <= part, near, np.log(whole / part))


def _normalise(x):
    """(q, 1 - q, -log(q), sum of the others, sum as a pair) along the last axis."""
    size = nx.exact_sum(x, -1)
    rest, whole = nx.leave_one_out(x)
    return x / whole, rest / whole, _minus_log_share(x, rest, whole), rest, size


def _softmax(x):
    """(q, 1 - q, -log(q)) of softmax along the last axis, from sums without the max."""
    if not x.shape[-1]:
        raise ValueError("no classes")
    top = np.max(x, axis=-1, keepdims=True)
    d, error = nx.shifted_with_error(x, top)
    e = np.exp(d)
    e = e + e * error
    rest, whole = nx.leave_one_out(e)
    at = np.argmax(x, axis=-1)[..., None]
    log_whole = np.log1p(np.take_along_axis(rest, at, -1))
    # Two infinities of the maximum's sign have no limit.
    tie = np.isinf(top) & (np.sum(x == top, axis=-1, keepdims=True) > 1)
    whole = np.where(tie | np.isnan(top), np.nan, whole)
    return e / whole, rest / whole, (log_whole - d) - error + 0 * whole


def _from_probabilities(y, x, low, high):
    """Values and gradient of -sum(y log(clip(x / sum(x)))) along the last axis."""
    q, not_q, cost, _, size = _normalise(x)
    bounds = _beyond(x, size, low, high)
    q, _, cost, open_ = _clip(q, not_q, cost, low, high, bounds)
    z = np.where(open_, y, 0)
    size, top = _column(size), _column(nx.exact_sum(z, -1))
    # sum(z) / S - z / x as one fraction, so that z = x / S leaves nothing
    slope = np.where(
        open_, nx.cross_difference(x, top, z, size) / (x * size[0]), top[0] / size[0]
    )
    values = nx.total(nx.mul_zero_inf_is_zero(y, cost), -1)
    return values, np.where(np.isnan(q), np.nan, slope)


def _beyond(x, size, low, high):
    """(x / sum(x) < low, x / sum(x) > high), decided without rounding the quotient."""
    one, size = (nx.WIDE(1), nx.WIDE(0)), _column(size)
    sign = np.sign(size[0])
    under = sign * nx.cross_difference(x, one, nx.WIDE(low), size) < 0
    return under, sign * nx.cross_difference(x, one, nx.WIDE(high), size) > 0


def _clip(q, not_q, cost, low, high, bounds):
    """(q, 1 - q, -log(q)) clipped, and where they were not."""
    low, high = nx.WIDE(low), nx.WIDE(high)
    under, over = bounds
    not_q = np.where(under, 1 - low, np.where(over, 1 - high, not_q))
    cost = np.where(under, -np.log(low), np.where(over, -np.log1p(high - 1), cost))
    q = np.where(under, low, np.where(over, high, q))
    return q, not_q, cost, ~(under | over)


def _focal(x, weights, gamma, from_logits, dtype):
    """Elements weights (1 - q)^gamma (-log(q)) and the gradient of their row sum."""
    low, high = nx.constants(dtype)
    gamma = nx.WIDE(gamma)
    if from_logits:
        raw, not_raw, cost = _softmax(x)
        bounds = raw < low, raw > high
        factor = raw
    else:
        raw, not_raw, cost, _, size = _normalise(x)
        bounds = _beyond(x, size, low, high)
        factor = 1 / _column(size)[0]
    q, not_q, cost, open_ = _clip(raw, not_raw, cost, low, high, bounds)
    power, slope_power = _power(not_q, gamma)
    a = np.where(open_, -weights * (slope_power * cost + power / q), 0)
    others, _ = nx.leave_one_out(a * raw)
    return weights * power * cost, factor * (a * not_raw - others)


def float64_labels(y: ArrayLike) -> nx.Array:
    """Labels as float64, cut to whole numbers as Keras's cast to an integer does."""
    return np.trunc(nx.float64(y))


def _sparse(y, p, ignore_class, axis):
    """Labels and classes of a sparse loss, laid out with the classes last.

    Returns (labels that can be looked up, predictions, axis, not ignored,
    label is a class or ignored, one-hot of the label).
    """
    axis = nx.normal_axis(axis, p.ndim)
    if y.ndim == p.ndim and y.shape[axis] == 1:
        y = np.squeeze(y, axis)
    if y.shape != p.shape[:axis] + p.shape[axis + 1 :]:
        raise ValueError(
            f"y_true must have the shape of y_pred without axis {axis}, "
            f"not {y.shape} and {p.shape}"
        )
    x = nx.wide(np.moveaxis(p, axis, -1))
    n = x.shape[-1]
    valid = np.ones(y.shape, bool) if ignore_class is None else y != ignore_class
    known = (y >= 0) & (y < n)
    labels = np.where(known, y, 0).astype(np.int64)
    hot = (labels[..., None] == np.arange(n)) & known[..., None]
    return labels, x, axis, valid, known, hot


def _pick(x, labels):
    return np.take_along_axis(x, labels[..., None], -1)[..., 0]


def _per_row(values, slope, axis, shape, valid=True):
    """(values, pullback) of a loss that has one value for each row of classes.

    A row that is not valid costs 0 and has no gradient, whatever the upstream one is:
    where all are ignored, Keras 2 divides by none of them, which is NaN.
    """
    values = nx.float64(np.where(valid, values, 0))

    @nx.ignore_fp_warnings
    def pullback(upstream):
        upstream = nx.upstream_array(upstream, values.shape)
        g = np.where(np.expand_dims(valid, -1), upstream[..., None] * slope, 0)
        return nx.float64(np.moveaxis(g, -1, axis).reshape(shape))

    return values, pullback


def _atanh_rest(s):
    """atanh(s) - s = s^3/3 + s^5/5 + ...: enough terms for |s| < 1/4 in quad."""
    square = np.minimum(s * s, 0.0625)
    series = nx.wide(0)
    for k in range(57, 1, -2):
        series = series * square + nx.WIDE(1) / k
    return series * square * s
