"""How far two arrays may differ, and how far they do. NumPy only.

Tolerances, |a - b| <= rtol |b| + atol, in units of the dtype's machine epsilon:

    kind        rtol   atol   b is
    value         8      2    the oracle's element
    gradient      8      2    the oracle's largest element (a gradient is one vector)
    second      1e6    1e6    the same; 2e-10 of it in float64, since the oracle's
                              second derivative is by differences of its gradient

How much of that was used, ours / Keras's, at the worst case of the corpus that agrees,
with TensorFlow 2.21.0 and Keras 3.15.1 on a CPU (Circle's gradient apart):

    kind         float64        float32        float16        bfloat16
    value      0.52 / 0.52    0.73 / 0.71    0.05 / 0.40    0.06 / 0.82
    gradient   0.21 / 0.69    0.20 / 0.57    0.06 / 0.50    0.06 / 0.82
    second     0.01 / 0.01

Ours computes in the dtype of the loss, or in float32 for half precision. Where
differences cancel, no formula in that dtype keeps the tolerances above, because the
inputs are rounded themselves. So an answer of ours also passes if it is right for
inputs within a unit of the given ones, that is by its *mixed error*

    |got - exact| / (ulp(exact) + sum_i |d exact / d x_i| ulp(x_i))

over y_pred and y_true, unless y_true holds whole numbers. The units of the inputs are
those of the dtype that the loss computes in. `MIXED` holds the limits. Keras's answers
are judged without it, and so are the answers that a ledger entry predicts.

NaN equals NaN and an infinity equals itself. A gradient is not compared where y_pred is
NaN: there is no derivative there, and Keras's clip passes none on. Keras 2 divides by
the number of samples that a mask keeps, so there 0 equals NaN in the gradient of a NaN.
"""

import dataclasses
import json
import pathlib
import runpy
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Machine epsilon, the smallest normal number and the largest finite one.
FLOAT_INFO = {
    "float64": (2.0**-52, 2.0**-1022, np.finfo(np.float64).max),
    "float32": (2.0**-23, 2.0**-126, float(np.finfo(np.float32).max)),
    "float16": (2.0**-10, 2.0**-14, 65504.0),
    "bfloat16": (2.0**-7, 2.0**-126, 3.3895313892515355e38),
}

#: (rtol, atol) in machine epsilons.
CPU = {"value": (8.0, 2.0), "gradient": (8.0, 2.0), "second": (1e6, 1e6)}

#: The row of a GPU, as `--measure GPU:0` has written it; not there until it was run.
MEASURED = pathlib.Path(__file__).with_name("tolerance_gpu.json")


def measured(path: pathlib.Path = MEASURED) -> dict[str, tuple[float, float]]:
    """The row that was measured on a GPU, or the CPU's where none was."""
    if not path.exists():
        return dict(CPU)
    found = json.loads(path.read_text(encoding="utf-8"))["row"]
    return {kind: (float(rtol), float(atol)) for kind, (rtol, atol) in found.items()}


TOLERANCE = {"CPU": CPU, "GPU": measured()}

#: Where that is not enough, with the largest error seen and its cause.
TOLERANCE_OVERRIDES = {
    # 25 epsilons with TensorFlow 2.21.0: the rounding of 1 - cos, magnified by gamma.
    ("Circle", "gradient"): (64.0, 2.0),
}


#: The mixed error that an answer of ours may have. The library's own log and sigmoid
#: cost 3 to 5; a log-softmax or a focal power ("deep") some more roundings; CTC those
#: of a product over all steps.
MIXED = {"plain": 8.0, "deep": 12.0, "CTC": 64.0}


@dataclasses.dataclass(frozen=True, eq=False)
class Difference:
    """How two arrays differ."""

    summary: str
    index: Any = None
    size: float = float("nan")
    allowed: float = float("nan")
    ulp: float = float("nan")
    #: The mixed error, where it was asked for.
    mixed: float = float("nan")


def round_to(array: ArrayLike, dtype: str) -> NDArray[Any]:
    """float64 that holds what `array` is in `dtype`."""
    array = np.asarray(array, np.float64)
    if dtype == "float64":
        return array
    with np.errstate(all="ignore"):
        if dtype != "bfloat16":
            return array.astype(dtype).astype(np.float64)
        # NumPy has no bfloat16: the upper half of a float32, ties to even.
        single = array.astype(np.float32)
        bits = np.asarray(single).view(np.uint32)
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
        nearest = np.asarray(bits, np.uint32).view(np.float32)
        return np.where(np.isnan(single), np.nan, nearest).astype(np.float64)


def spacing(array: ArrayLike, dtype: str) -> NDArray[Any]:
    """A unit in the last place (ulp) of each number in `dtype`."""
    epsilon, smallest, _ = FLOAT_INFO[dtype]
    with np.errstate(all="ignore"):
        magnitude = np.maximum(np.abs(array), smallest)
        return epsilon * 2.0 ** np.floor(np.log2(magnitude))


def ulps(got: ArrayLike, wanted: ArrayLike, dtype: str) -> NDArray[Any]:
    """|got - wanted| in units in the last place of `wanted` in `dtype`."""
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    with np.errstate(all="ignore"):
        distance = np.abs(got - wanted) / spacing(wanted, dtype)
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    return np.where(same, 0.0, distance)


def ulp_errors(
    got: ArrayLike,
    wanted: ArrayLike,
    dtype: str,
    scale: Optional[ArrayLike] = None,
    conditioning: ArrayLike = 0.0,
) -> NDArray[Any]:
    """|got - wanted| in ulp of `wanted` in `dtype`; inf where one is not finite.

    scale         what the ulp is taken of where that is larger, such as the largest
                  element of a gradient's row
    conditioning  what an error of the inputs by a unit makes of `wanted`: with it, the
                  mixed error
    """
    epsilon, smallest, largest = FLOAT_INFO[dtype]
    scale = np.abs(wanted) if scale is None else np.maximum(scale, np.abs(wanted))
    with np.errstate(all="ignore"):
        limit = largest * (1 + epsilon / 4)  # rounds to infinity in this dtype
        wanted = np.where(np.abs(wanted) >= limit, np.sign(wanted) * np.inf, wanted)
        unit = spacing(np.minimum(scale, largest), dtype)
        errors = np.abs(got - wanted) / (unit + conditioning)
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    if dtype != "float16":  # TensorFlow flushes the subnormals of the others
        same |= (np.abs(wanted) < smallest) & (np.abs(got) <= smallest)
    return np.where(same, 0.0, np.where(np.isfinite(errors), errors, np.inf))


def share(
    got: ArrayLike, wanted: ArrayLike, dtype: str, kind: str, device: str = "CPU:0"
) -> float:
    """How much of the tolerance the worst element uses, where the truth is finite."""
    factors = TOLERANCE[device.split(":")[0]][kind]
    got, wanted, distance, allowed = _allowed(got, wanted, dtype, kind, factors)
    counts = np.isfinite(wanted) & np.isfinite(got)
    return float(np.max(distance[counts] / allowed[counts], initial=0.0))


def _allowed(got, wanted, dtype, kind, factors):
    """(got, wanted, both in the range of `dtype`, their distance, what is allowed)."""
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    epsilon, _, largest = FLOAT_INFO[dtype]
    with np.errstate(all="ignore"):
        # What rounds to more than the largest number is infinite in this dtype.
        limit = largest * (1 + epsilon / 4)
        got, wanted = (
            np.where(np.abs(x) >= limit, np.sign(x) * np.inf, x) for x in (got, wanted)
        )
        rtol, atol = (epsilon * factor for factor in factors)
        scale = np.abs(wanted)
        if kind in ("gradient", "second"):
            finite = scale[np.isfinite(scale)]
            scale = np.full_like(scale, finite.max() if finite.size else 0.0)
        return got, wanted, np.abs(got - wanted), rtol * scale + atol


def difference(
    got: ArrayLike,
    wanted: ArrayLike,
    dtype: str,
    kind: str,
    ignore: Optional[NDArray[Any]] = None,
    extra: Any = 0.0,
    loss: Optional[str] = None,
    device: str = "CPU:0",
    slack: float = 1.0,
    conditioning: Optional[Callable[[], ArrayLike]] = None,
    mixed_limit: float = 0.0,
) -> Optional[Difference]:
    """A Difference beyond the tolerance, or None.

    `wanted` is exact; both are first rounded to the range of `dtype`. `extra` is an
    additional absolute error. `slack` widens the tolerance where `wanted` is not exact
    either. With `conditioning()`, which is called only if the tolerance is exceeded, a
    mixed error up to `mixed_limit` passes too.
    """
    factors = TOLERANCE_OVERRIDES.get(
        (loss, kind), TOLERANCE[device.split(":")[0]][kind]
    )
    factors = [slack * factor for factor in factors]
    got, wanted, distance, allowed = _allowed(got, wanted, dtype, kind, factors)
    with np.errstate(all="ignore"):
        allowed = allowed + extra
        fine = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
        # An infinite truth allows nothing: inf <= 8 eps inf would allow anything.
        fine |= np.isfinite(wanted) & (distance <= allowed)
        if ignore is not None:
            fine |= ignore
    mixed = np.full(fine.shape, np.nan)
    if not np.all(fine) and conditioning is not None:
        mixed = ulp_errors(got, wanted, dtype, conditioning=conditioning())
        fine |= mixed <= mixed_limit
    if np.all(fine):
        return None
    badness = np.where(fine, -1.0, np.where(np.isnan(distance), np.inf, distance))
    index = tuple(int(i) for i in np.unravel_index(np.argmax(badness), fine.shape))
    count = int(np.sum(~fine))
    where = f"; worst at {list(index)}" if index else ""
    return Difference(
        f"{count} of {fine.size} elements differ{where}",
        index,
        float(distance[index]),
        float(np.broadcast_to(allowed, fine.shape)[index]),
        float(ulps(got, wanted, dtype)[index]),
        float(mixed[index]),
    )


if __name__ == "__main__":  # a door: what measures imports this module
    runpy.run_module("keras_losses_ref.conformance.calibrate", run_name="__main__")
