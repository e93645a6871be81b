"""What the oracle's modules share: constants, wide arithmetic, shapes.

All work is done in `WIDE`, NumPy's longest float. Where that is wider than float64
(x87 and IEEE quad) results come out within a rounding of the exact value; where it is
float64 itself, the formulas are stable enough to stay within some tens of ulp. Sums
and dot products never rely on the width: they carry their rounding errors along
(TwoSum, TwoProduct), so a difference of nearly equal sums keeps its digits.
"""

import functools
from typing import Any, Callable, TypeVar, Union, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDE = np.longdouble

Array = NDArray[Any]
Pair = tuple[Array, Array]
Axes = Union[int, tuple[int, ...], None]
#: d(total)/d(values) -> d(total)/d(y_pred).
Pullback = Callable[[ArrayLike], Array]
LossAndPullback = tuple[Array, Pullback]
F = TypeVar("F", bound=Callable[..., Any])

_EPSILON32 = float(np.float32(1e-7))
_ONE_MINUS_EPSILON32 = float(np.float32(1) - np.float32(1e-7))


def ignore_fp_warnings(function: F) -> F:
    """Let NaN and infinity pass as values: they are answers here, not accidents."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return cast(F, wrapper)


def constants(dtype: Any) -> tuple[float, float]:
    """(epsilon, upper clip) of an implementation that works in `dtype`.

    16-bit losses use the float32 constants: 1e-7 and 1 - 1e-7 do not exist in float16.
    """
    name = getattr(dtype, "name", None) or str(getattr(dtype, "__name__", dtype))
    if name == "float64":
        return 1e-7, 1 - 1e-7
    if name in ("float32", "float16", "bfloat16"):
        return _EPSILON32, _ONE_MINUS_EPSILON32
    raise ValueError(f"dtype must be a float dtype, not {dtype!r}")


# --- numbers ---------------------------------------------------------------------


def wide(x: ArrayLike) -> Array:
    return np.asarray(x, dtype=WIDE)


def float64(x: ArrayLike) -> Array:
    """`x` as a float64 array; any NumPy dtype goes in, ml_dtypes included."""
    return np.asarray(x).astype(np.float64)


def two_sum(a: Array, b: Array) -> Pair:
    """(s, e) with s + e == a + b exactly, s the rounded sum (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _split(a):
    bits = np.finfo(a.dtype).nmant + 1
    c = a * (2.0 ** ((bits + 1) // 2) + 1)
    high = c - (c - a)
    return high, a - high


def two_product(a: ArrayLike, b: ArrayLike) -> Pair:
    """(p, e) with p + e == a * b exactly, p the rounded product (Dekker)."""
    a, b = wide(a), wide(b)
    p = a * b
    ah, al = _split(a)
    bh, bl = _split(b)
    e = ((ah * bh - p) + ah * bl + al * bh) + al * bl
    return p, np.where(np.isfinite(e), e, 0)  # no correction beyond the range


def exact_sum(x: ArrayLike, axis: Axes) -> Pair:
    """(high, low): the sum along `axis` in twice the width of `WIDE`.

    `axis` is an int, a tuple, or None for all. Pairs are added in a tree, so the cost
    is a few passes over the array whatever the axis.
    """
    x = wide(x)
    axes = tuple(range(x.ndim)) if axis is None else axis
    axes = axes if isinstance(axes, tuple) else (axes,)
    x = np.moveaxis(x, axes, range(len(axes)))
    kept = x.shape[len(axes) :]
    x = x.reshape((int(np.prod(x.shape[: len(axes)])),) + kept)
    if not len(x):
        return np.zeros(kept, WIDE), np.zeros(kept, WIDE)
    plain = x.sum(axis=0)
    high, low = x, np.zeros_like(x)
    while len(high) > 1:
        half = len(high) // 2
        s, e = two_sum(high[:half], high[half : 2 * half])
        e = e + low[:half] + low[half : 2 * half]
        high = np.concatenate([s, high[2 * half :]])
        low = np.concatenate([e, low[2 * half :]])
    high, low = two_sum(high[0], low[0])
    fine = np.isfinite(plain)  # inf and NaN carry no rounding error
    return np.where(fine, high, plain), np.where(fine, low, 0)


def total(x: ArrayLike, axis: Axes) -> Array:
    """The sum along `axis`, rounded once."""
    return exact_sum(x, axis)[0]


def exact_dot(a: ArrayLike, b: ArrayLike, axis: Axes) -> Pair:
    """(high, low): the sum of a * b along `axis`, products exact."""
    p, e = two_product(a, b)
    return exact_sum(np.stack([p, e]), _shifted(axis, p.ndim))


def _shifted(axis, ndim):
    """`axis` of an array, as axes of two such arrays stacked at the front."""
    if axis is None:
        return None
    axes = axis if isinstance(axis, tuple) else (axis,)
    return (0,) + tuple(a % ndim + 1 for a in axes)


def cross_difference(a: ArrayLike, b: Pair, c: ArrayLike, d: Pair) -> Array:
    """a * b - c * d where b and d are (high, low) pairs; cancellation is harmless."""
    p, pe = two_product(a, b[0])
    q, qe = two_product(c, d[0])
    s, e = two_sum(p, -q)
    e = e + (pe - qe) + (a * b[1] - c * d[1])
    return np.where(np.isfinite(s), s + e, s)


def leave_one_out(x: Array) -> Pair:
    """(the sum of the others for each element, the sum of all), along the last axis."""
    high, low = exact_sum(x, -1)
    high, low = high[..., None], low[..., None]
    return (high - x) + low, high


def mul_zero_inf_is_zero(w: Array, v: Array) -> Array:
    """w * v, where a weight of 0 silences an infinity (but never a NaN)."""
    return np.where((w == 0) & np.isinf(v), 0, w * v)


def shifted_with_error(x: Array, top: Array) -> Pair:
    """(x - top, its rounding error), 0 where x is top even if that is infinite.

    exp(x - top) magnifies the error by nothing but itself: e + e * error is exact.
    """
    d, error = two_sum(x, -top)
    d = np.where(x == top, 0, d)
    return d, np.where(np.isfinite(error), error, 0)


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


# --- shapes ----------------------------------------------------------------------


def align(a: Array, b: Array) -> Pair:
    """Keras 3's rank alignment: drop or add a last axis of 1 if ranks differ by 1."""
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[..., None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[..., None], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b


def aligned(y_true: ArrayLike, y_pred: ArrayLike, same: bool = False) -> Pair:
    """Both as float64, ranks aligned; `same` refuses broadcasting as well."""
    y_true, y_pred = align(float64(y_true), float64(y_pred))
    if same and y_true.shape != y_pred.shape:
        raise ValueError(
            "y_true and y_pred must have the same shape, "
            f"not {y_true.shape} and {y_pred.shape}"
        )
    np.broadcast_shapes(y_true.shape, y_pred.shape)  # ValueError if they do not fit
    return y_true, y_pred


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient back over the axes that broadcasting added or stretched."""
    added = g.ndim - len(shape)
    axes = tuple(range(added)) + tuple(
        i + added for i, n in enumerate(shape) if n == 1 and g.shape[i + added] != 1
    )
    if axes:
        g = np.asarray(total(g, axes))
    return g.reshape(shape)


def upstream_array(upstream: ArrayLike, shape: tuple[int, ...]) -> Array:
    upstream = wide(float64(upstream))
    if upstream.shape != shape:
        raise ValueError(
            f"upstream must have the shape of values, {shape}, not {upstream.shape}"
        )
    return upstream


def mean_of(
    elements: Array, slopes: Array, axis: int, y_pred: Array, shape: tuple[int, ...]
) -> LossAndPullback:
    """(values, pullback) of a loss that is the mean of `elements` along `axis`.

    slopes: d(element)/d(y_pred); y_pred: as aligned; shape: as the caller passed it.
    """
    elements, slopes = np.broadcast_arrays(elements, slopes)
    if not elements.ndim:
        raise ValueError("y_pred needs at least one axis to take the mean over")
    axis = normal_axis(axis, elements.ndim)
    n = elements.shape[axis]
    values = float64(np.asarray(total(elements, axis)) / WIDE(n))

    @ignore_fp_warnings
    def pullback(upstream):
        upstream = upstream_array(upstream, values.shape)
        g = np.expand_dims(upstream, axis) * slopes / WIDE(n)
        return float64(unbroadcast(g, y_pred.shape).reshape(shape))

    return values, pullback


def normal_axis(axis: Any, ndim: int) -> int:
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise ValueError(f"axis must be an int, not {axis!r}")
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} does not exist in {ndim} axes")
    return int(axis) % ndim
