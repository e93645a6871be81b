"""Oracle of the regression losses: NumPy, straight from the definition.

Every loss returns (values, pullback): float64 losses before reduction, and the map
from d(total)/d(values) to d(total)/d(y_pred). `dtype` names the judged
implementation's dtype and selects constants only. Shapes follow Keras 3: ranks that
differ by a last axis of 1 are aligned, then NumPy's broadcasting applies.
"""

import numpy as np
from numpy.typing import ArrayLike

from . import _numerics as nx


@nx.ignore_fp_warnings
def mean_squared_error(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Mean of squared differences over the last axis.

    Formula:   mean((y_pred - y_true)^2)
    Gradient:  2 (y_pred - y_true) / n
    Edges:     NaN propagates; equal infinities give NaN
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    e = nx.wide(p) - nx.wide(y)
    return nx.mean_of(e * e, 2 * e, -1, p, shape)


@nx.ignore_fp_warnings
def mean_absolute_error(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Mean of absolute differences over the last axis.

    Formula:   mean(|y_pred - y_true|)
    Gradient:  sign(y_pred - y_true) / n
    Edges:     the gradient at equality is 0
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    e = nx.wide(p) - nx.wide(y)
    return nx.mean_of(np.abs(e), np.sign(e), -1, p, shape)


@nx.ignore_fp_warnings
def mean_absolute_percentage_error(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Mean of absolute differences in per cent of the truth.

    Formula:   100 mean(|y_true - y_pred| / max(|y_true|, epsilon))
    Gradient:  100 sign(y_pred - y_true) / max(|y_true|, epsilon) / n
    Edges:     the gradient at equality is 0
    """
    epsilon, _ = nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    y, p = nx.wide(y), nx.wide(p)
    e = p - y
    base = np.maximum(np.abs(y), epsilon)
    return nx.mean_of(100 * np.abs(e) / base, 100 * np.sign(e) / base, -1, p, shape)


@nx.ignore_fp_warnings
def mean_squared_logarithmic_error(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Mean of squared differences of log(1 + .).

    Formula:   P = max(y_pred, epsilon), Y = max(y_true, epsilon)
               mean((log(1 + P) - log(1 + Y))^2)
    Gradient:  2 (log(1 + P) - log(1 + Y)) / (1 + P) / n where y_pred >= epsilon
    Edges:     epsilon is float32's 1e-7 in every dtype, as in Keras
    """
    nx.constants(dtype)
    epsilon, _ = nx.constants("float32")
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    top, base = np.maximum(nx.wide(p), epsilon), np.maximum(nx.wide(y), epsilon)
    ratio = (1 + top) / (1 + base)
    # log(a / b) = 2 atanh((a - b) / (a + b)) keeps a tiny difference's digits.
    near = 2 * np.arctanh((top - base) / (2 + top + base))
    d = np.where((ratio > 0.5) & (ratio < 2), near, np.log(ratio))
    slope = np.where(p < epsilon, 0, 2 * d / (1 + top))
    return nx.mean_of(d * d, slope, -1, p, shape)


@nx.ignore_fp_warnings
def huber(
    y_true: ArrayLike, y_pred: ArrayLike, delta: float = 1.0, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Quadratic near zero, linear beyond `delta`.

    Formula:   e = y_pred - y_true
               mean(0.5 e^2 if |e| <= delta else delta (|e| - delta / 2))
    Gradient:  clip(e, -delta, delta) / n
    Edges:     |e| = delta takes the quadratic branch
    Raises:    ValueError if delta <= 0
    """
    nx.constants(dtype)
    if not delta > 0:
        raise ValueError(f"delta must be greater than 0, not {delta!r}")
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    delta = nx.WIDE(delta)
    e = nx.wide(p) - nx.wide(y)
    size = np.abs(e)
    linear = size > delta
    values = np.where(linear, delta * (size - delta / 2), e * e / 2)
    slope = np.where(linear, delta * np.sign(e), e)
    return nx.mean_of(values, slope, -1, p, shape)


@nx.ignore_fp_warnings
def log_cosh(
    y_true: ArrayLike, y_pred: ArrayLike, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """Mean of the logarithm of the hyperbolic cosine of the difference.

    Formula:   mean(log(cosh(y_pred - y_true)))
    Gradient:  tanh(y_pred - y_true) / n
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    e = nx.wide(p) - nx.wide(y)
    size = np.abs(e)
    # cosh^2 = 1 + sinh^2: exact in form near 0, where log(cosh) is e^2 / 2.
    near = np.log1p(np.sinh(np.minimum(size, 2)) ** 2) / 2
    far = size - np.log(nx.WIDE(2)) + np.log1p(np.exp(-2 * size))
    return nx.mean_of(np.where(size > 2, far, near), np.tanh(e), -1, p, shape)


@nx.ignore_fp_warnings
def cosine_similarity(
    y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1, *, dtype: str = "float32"
) -> nx.LossAndPullback:
    """The negated cosine of the angle between y_true and y_pred along `axis`.

    Formula:   -sum(u(y_true) u(y_pred)), u(x) = x min(1 / |x|, 1e7)
    Gradient:  -(u(y_true) - (u(y_true) . u(y_pred)) u(y_pred)) / |y_pred|;
               below the floor, -1e7 u(y_true)
    Edges:     a zero vector gives 0. The floor is Keras's 1 / epsilon, which is 1e7 in
               every dtype; |x| = 1e-7 counts as above it
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    y, p = nx.aligned(y_true, y_pred)
    ndim = max(y.ndim, p.ndim)
    back = (
        nx.normal_axis(axis, ndim) - ndim
    )  # counted from the end, as ranks may differ
    y, _, y_scale, _, _ = _unit(y, back)
    p, p_square, p_scale, p_factor, floored = _unit(p, back)
    dot = nx.exact_dot(y, p, back)
    factor = y_scale * p_scale
    values = nx.float64(-dot[0] * np.squeeze(factor, back))

    @nx.ignore_fp_warnings
    def pullback(upstream):
        upstream = np.expand_dims(nx.upstream_array(upstream, values.shape), back)
        if y.shape == p.shape:  # keep y exact: parallel vectors cancel to nothing
            v, after = y, upstream * y_scale
        else:
            both = np.broadcast_shapes(y.shape, p.shape)
            v = np.broadcast_to(upstream * y_scale * y, both)
            v, after = nx.unbroadcast(v, p.shape), nx.WIDE(1)
        across = nx.exact_dot(v, p, back)
        across = tuple(np.expand_dims(part, back) for part in across)
        across = nx.cross_difference(v, p_square, p, across) / p_square[0]
        g = -np.where(floored, v, across) * after * p_factor
        return nx.float64(g.reshape(shape))

    return values, pullback


def _unit(x, axis):
    """x scaled by a power of two so that nothing overflows, and what undoes it.

    Returns (scaled x, its squared norm as a pair, u(x) / scaled x,
    u(x) / x, whether the floor of the norm is active).
    """
    x = nx.wide(x)
    if -axis > x.ndim or not x.shape[axis]:
        raise ValueError(f"no elements along the axis in shape {x.shape}")
    _, exponent = np.frexp(np.max(np.abs(x), axis=axis, keepdims=True))
    x = np.ldexp(x, -exponent)
    square = tuple(np.expand_dims(s, axis) for s in nx.exact_dot(x, x, axis))
    one = nx.wide(1)
    inverse = 1 / np.sqrt(square[0])
    limit = np.ldexp(1e7 * one, exponent)
    floored = inverse > limit
    scale = np.where(floored, limit, inverse)
    return x, square, scale, np.ldexp(scale, -exponent), floored
