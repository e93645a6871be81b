"""The ledger: where a released Keras differs from the definition.

An entry says which losses, since which version and until which, in one sentence, with
the upstream thread, and carries the deviating definition itself: `outcome(case)` is
what such a Keras gives, and the host must give exactly that. An entry that no longer
shows in a version it claims fails the run, as does a difference without an entry.
"""

import dataclasses
import re
from typing import Callable, Optional

import numpy as np

from keras_losses_ref import oracle
from keras_losses_ref.conformance.evaluate import (
    Outcome,
    activate,
    consult,
    merged_mask,
    recovers,
    reduction_rules,
    rounded,
)

KERAS_2 = ("2.12", "2.99")


@dataclasses.dataclass(frozen=True)
class Deviation:
    """One way in which released Kerases differ from the definition."""

    id: str
    losses: tuple[str, ...]
    #: Ranges of Keras versions, both ends included; None where there is no end yet.
    versions: tuple[tuple[str, Optional[str]], ...]
    sentence: str
    #: The upstream thread or source that shows it.
    thread: str
    #: Whether a case of one of the losses meets the condition.
    condition: Callable
    #: What a deviating Keras gives for such a case.
    outcome: Callable

    def applies(self, case):
        return case.loss in self.losses and bool(self.condition(case))

    def covers(self, version):
        """Whether a Keras of this version deviates so."""
        number = _number(version)
        return any(
            _number(first) <= number and (last is None or number <= _number(last))
            for first, last in self.versions
        )


def _number(version):
    """(3, 15, 1) of "3.15.1"; a development version counts as its release."""
    return tuple(int(n) for n in re.findall(r"\d+", version)[:3])


def ledger(version, losses=None):
    """The entries that hold for Keras `version`, and for any of `losses`."""
    return [
        entry
        for entry in DEVIATIONS
        if entry.covers(version)
        and (losses is None or set(entry.losses) & set(losses))
    ]


def _half(case):
    return case.dtype in ("float16", "bfloat16")


def _given(case, **changes):
    """The definition's answer to a changed question."""
    return consult(dataclasses.replace(case, **changes))


# --- labels ---------------------------------------------------------------------------


def _rounded_labels(case):
    wide = dataclasses.replace(case, y_true=case.y_true.astype(np.float64))
    pred_as_labels = dataclasses.replace(wide, y_pred=wide.y_true)
    return rounded(pred_as_labels)[1]


def _labels_change(case):
    if case.y_true.dtype.kind != "i" or case.refused:
        return False
    return not np.array_equal(_rounded_labels(case), case.y_true)


def _with_rounded_labels(case):
    labels = _rounded_labels(case).astype(np.int64)
    classes = case.y_pred.shape[case.config.get("axis", -1)]
    if case.loss == "SparseCategoricalCrossentropy" and labels.max() >= classes:
        return Outcome(error="InvalidArgumentError")  # 2999 became 3000, of 3000
    return _given(case, y_true=labels)


def _smoothing(case):
    return case.config.get("label_smoothing") or 0.0


def _smoothed(case, classes):
    """The case with its labels smoothed over `classes` beforehand."""
    smoothing = _smoothing(case)
    y_true = case.y_true * (1.0 - smoothing) + smoothing / classes
    config = {k: v for k, v in case.config.items() if k != "label_smoothing"}
    return _given(case, y_true=y_true, config=config, refused=None)


def _class_axis_is_not_last(case):
    return case.config.get("axis", -1) not in (-1, case.y_pred.ndim - 1)


def _smoothing_out_of_range(case):
    return not 0 <= _smoothing(case) <= 1


def _unchecked_smoothing(case):
    if case.loss.startswith("Binary"):
        return _smoothed(case, 2)
    return _smoothed(case, case.y_pred.shape[case.config.get("axis", -1)])


def _unchecked_sparse_smoothing(case):
    """(1 - s) times the plain loss, plus s times the loss against all classes alike."""
    smoothing, classes = _smoothing(case), case.y_pred.shape[-1]
    plain = {k: v for k, v in case.config.items() if k != "label_smoothing"}
    hit = _given(case, config=plain, refused=None)
    uniform = _given(
        case,
        loss="CategoricalCrossentropy",
        y_true=np.full(case.y_pred.shape, 1.0 / classes),
        config=plain,
        refused=None,
    )
    return dataclasses.replace(
        hit,
        value=(1 - smoothing) * hit.value + smoothing * uniform.value,
        gradient=(1 - smoothing) * hit.gradient + smoothing * uniform.gradient,
    )


# --- masks ----------------------------------------------------------------------------


def _nothing_valid(case):
    if case.refused or case.reduction not in ("sum_over_batch_size", "mean"):
        return False
    y_true, y_pred = rounded(case)
    truth = consult(dataclasses.replace(case, reduction="none"))
    mask = merged_mask(case, truth.value, y_true, y_pred)
    return mask is not None and mask.size and not mask.any()


def _total_over_epsilon_overflows(case):
    return case.dtype == "float16" and _nothing_valid(case)


def _nan(case):
    truth = consult(case)
    if truth.error:
        return truth
    gradient = np.full_like(truth.gradient, np.nan)
    if case.config.get("ignore_class") is not None and case.mask is None:
        gradient[...] = 0.0  # a `where` keeps it from rows that are ignored
    return dataclasses.replace(
        truth, value=np.full_like(truth.value, np.nan), gradient=gradient
    )


# --- half precision -------------------------------------------------------------------


def _half_bounds(dtype):
    """Keras's clip bounds in 16 bit: 1 - 1e-7 rounds to 1."""
    return {"float16": 2.0**-23, "bfloat16": 1.0011717677116394e-07}[dtype], 1.0


def _from_probabilities(case):
    if case.config.get("from_logits"):
        return False
    return case.activation is None or not recovers(case)


def _reduced(case, values, pullback):
    """An outcome out of values per sample and the pullback of their gradient."""
    result, upstream = oracle.reduce(
        values,
        reduction=case.reduction,
        sample_weight=case.sample_weight,
        mask=merged_mask(case, values, case.y_true, case.y_pred),
        rules=reduction_rules(),
    )
    return Outcome(result, pullback(upstream), case.dtype)


def _binary_with(case, low, high, inside=0.0, inside_other=0.0):
    """Binary cross-entropy with other clip bounds, and something added in the logs.

    `inside` is added to p, `inside_other` to 1 - p.
    """
    y, x = rounded(case)
    chain = None
    if case.activation is not None:
        x, chain = activate(case.activation, x)
    y, x = np.broadcast_arrays(*_same_rank(np.asarray(y, float), x))
    y = y * (1.0 - _smoothing(case)) + 0.5 * _smoothing(case)
    axis = case.config.get("axis", -1)
    with np.errstate(all="ignore"):
        p = np.clip(x, low, high)
        values = -np.mean(
            y * np.log(p + inside) + (1.0 - y) * np.log(1.0 - p + inside_other),
            axis=axis,
        )
        open_gate = (x >= low) & (x <= high)
        # A reciprocal of 1e-7 is infinite in float16, and 0 times it NaN.
        above, below = 1.0 / (p + inside), 1.0 / (1.0 - p + inside_other)
        if case.dtype == "float16":
            above, below = (np.where(r > 65504, np.inf, r) for r in (above, below))
        slope = -(y * above - (1.0 - y) * below)
        slope = np.where(open_gate, slope, 0.0) / x.shape[axis]

    def pullback(upstream):
        with np.errstate(all="ignore"):
            gradient = np.expand_dims(upstream, axis) * slope
        gradient = gradient.reshape(case.y_pred.shape)
        return gradient if chain is None else chain(gradient)

    return _reduced(case, values, pullback)


def _same_rank(a, b):
    """The rule of Keras 3: a vector grows, anything else drops its last axis of 1."""
    if a.ndim == b.ndim + 1:
        return (a, b[..., None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1:
        return (a[..., None], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b


def _binary_with_epsilon_in_log(case, folded=False):
    """`folded`: (1 - p) + eps computed as (1 + eps) - p, where 1 + eps is rounded."""
    if _half(case):
        low, high = _half_bounds(case.dtype)
    else:
        one = np.dtype(case.dtype).type(1)
        low = float(one * np.dtype(case.dtype).type(1e-7))
        high = float(one - one * np.dtype(case.dtype).type(1e-7))
    inside_other = low
    if folded:
        epsilon = {"float64": 2.0**-52, "float32": 2.0**-23}.get(case.dtype, 1.0)
        inside_other = round(low / epsilon) * epsilon
    return _binary_with(case, low, high, low, inside_other)


def _categorical_half_clip(case):
    """Normalise, clip to [low, 1], sum y log p: in float64 but with those bounds."""
    low, high = _half_bounds(case.dtype)
    axis = case.config.get("axis", -1)
    y, x = rounded(case)
    y = np.asarray(y, float)
    y = y * (1.0 - _smoothing(case)) + _smoothing(case) / x.shape[axis]
    with np.errstate(all="ignore"):
        total = x.sum(axis, keepdims=True)
        q = x / total
        p = np.clip(q, low, high)
        values = -np.sum(y * np.log(p), axis)
        slope = np.where((q >= low) & (q <= high), -y / p, 0.0)
        slope = (slope - np.sum(slope * q, axis, keepdims=True)) / total
    return _reduced(case, values, lambda up: np.expand_dims(up, axis) * slope)


def _sparse_half_clip(case):
    """Clip to [low, 1], then log-softmax of the log."""
    low, high = _half_bounds(case.dtype)
    y, x = rounded(case)
    y = np.asarray(y, np.int64).reshape(x.shape[:-1])
    ignore = case.config.get("ignore_class")
    kept = np.ones(y.shape, bool) if ignore is None else y != ignore
    hit = np.eye(x.shape[-1], dtype=bool)[np.where(kept, y, 0)]
    p = np.clip(np.where(kept[..., None], x, 0.0), low, high)
    total = p.sum(-1, keepdims=True)
    values = np.where(kept, np.log(total[..., 0]) - np.log(p[hit].reshape(y.shape)), 0)
    gate = (x >= low) & (x <= high) & kept[..., None]
    slope = np.where(gate, 1.0 / total - np.where(hit, 1.0 / p, 0.0), 0.0)
    return _reduced(case, values, lambda up: up[..., None] * slope)


def _column_against_vector(case):
    """(N,) against (N, 1), either way round."""
    ranks = sorted((case.y_true.ndim, case.y_pred.ndim))
    last = max((case.y_true, case.y_pred), key=np.ndim).shape[-1]
    return not case.refused and ranks == [1, 2] and last == 1


def _squeezed_to_scalar(case):
    changes = {"y_true": case.y_true.ravel(), "y_pred": case.y_pred.ravel()}
    if case.loss == "BinaryCrossentropy" and _from_probabilities(case):
        flat = _binary_with_epsilon_in_log(dataclasses.replace(case, **changes))
    else:
        flat = _given(case, **changes)
    if flat.error:
        return flat
    gradient = flat.gradient.reshape(case.y_pred.shape)
    return dataclasses.replace(flat, gradient=gradient)


def _squares_overflow(case):
    if case.refused is not None:
        return False
    y_true, y_pred = _same_rank(*rounded(case))
    with np.errstate(all="ignore"):
        squares = (y_pred - y_true) ** 2
    return case.dtype == "float16" and np.any(np.isfinite(squares) & (squares > 65504))


def _infinite_value(case):
    truth = consult(case)
    return dataclasses.replace(truth, value=np.full_like(truth.value, np.inf))


_KERAS = "https://github.com/keras-team/keras/blob"
_LOSSES_3 = f"{_KERAS}/v3.12.0/keras/src/losses/losses.py"

_KERAS_2_UTILS = "https://github.com/keras-team/keras/blob/v2.15.0/keras/utils"

DEVIATIONS = (
    Deviation(
        "column-squeezed-to-scalar",
        ("MeanSquaredError", "MeanAbsoluteError", "BinaryCrossentropy"),
        (KERAS_2,),
        "(N,) against (N, 1) is squeezed to (N,), so the mean over the last axis is "
        "the mean over the batch: one number, which sample weights then multiply.",
        f"{_KERAS_2_UTILS}/losses_utils.py",
        _column_against_vector,
        _squeezed_to_scalar,
    ),
    Deviation(
        "sparse-ignore-class-fails-under-xla",
        ("SparseCategoricalCrossentropy",),
        (KERAS_2,),
        "ignore_class picks the rows that count by a mask, a shape that XLA cannot "
        "know: jit_compile=True raises.",
        "https://github.com/keras-team/keras/blob/v2.15.0/keras/backend.py",
        lambda case: case.path == "xla" and "ignore_class" in case.config,
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "values-rounded-to-dtype",
        ("MeanSquaredError", "MeanAbsoluteError"),
        (KERAS_2, ("3.0", None)),
        "Integer targets are cast to the dtype of the prediction, where 2049 is no "
        "float16 and 257 no bfloat16, before the difference is taken.",
        _LOSSES_3,
        _labels_change,
        _with_rounded_labels,
    ),
    Deviation(
        "labels-rounded-to-dtype",
        ("SparseCategoricalCrossentropy",),
        (("3.0", None),),
        "Loss.__call__ casts y_true to the loss's dtype, so class indices above 256 "
        "(bfloat16), 2048 (float16) or 2^24 (float32) become other classes.",
        f"{_KERAS}/v3.12.0/keras/src/losses/loss.py",
        _labels_change,
        _with_rounded_labels,
    ),
    Deviation(
        "label-smoothing-counts-last-axis",
        ("CategoricalCrossentropy",),
        (("2.12", "2.13.99"), ("3.0", "3.15.99")),
        "Label smoothing divides by the size of the last axis of y_true, whatever "
        "`axis` says the classes are on.",
        _LOSSES_3,
        lambda case: 0 < _smoothing(case) <= 1 and _class_axis_is_not_last(case),
        lambda case: _smoothed(case, case.y_true.shape[-1]),
    ),
    Deviation(
        "label-smoothing-unchecked",
        ("BinaryCrossentropy", "CategoricalCrossentropy"),
        (KERAS_2, ("3.0", "3.15.99")),
        "A label_smoothing outside [0, 1] is taken, and gives labels outside [0, 1].",
        _LOSSES_3,
        _smoothing_out_of_range,
        _unchecked_smoothing,
    ),
    Deviation(
        "sparse-label-smoothing-unchecked",
        ("SparseCategoricalCrossentropy",),
        (("3.16", None),),
        "The sparse cross-entropy's new label_smoothing is not checked, though that "
        "of its siblings is by now: 2.0 is taken.",
        f"{_KERAS}/master/keras/src/losses/losses.py",
        _smoothing_out_of_range,
        _unchecked_sparse_smoothing,
    ),
    Deviation(
        "sparse-axis-refused",
        ("SparseCategoricalCrossentropy",),
        (("3.0", None),),
        "`axis` is an argument of the sparse cross-entropy, but on TensorFlow any "
        "other than the last is refused.",
        f"{_KERAS}/v3.12.0/keras/src/backend/tensorflow/nn.py",
        lambda case: not case.refused and _class_axis_is_not_last(case),
        lambda case: Outcome(error="ValueError"),
    ),
    Deviation(
        "half-precision-clip",
        ("CategoricalCrossentropy", "SparseCategoricalCrossentropy"),
        (KERAS_2, ("3.0", None)),
        "In float16 and bfloat16 the upper clip 1 - 1e-7 rounds to 1 and clips "
        "nothing: a certain prediction gives NaN or infinity, or a gradient where "
        "the clip should have stopped it.",
        f"{_KERAS}/v3.12.0/keras/src/backend/tensorflow/nn.py",
        lambda case: _half(case) and not case.refused and _from_probabilities(case),
        lambda case: {
            "CategoricalCrossentropy": _categorical_half_clip,
            "SparseCategoricalCrossentropy": _sparse_half_clip,
        }[case.loss](case),
    ),
    Deviation(
        "binary-half-precision-clip",
        ("BinaryCrossentropy",),
        (("3.0", None),),
        "The same in the binary form: y = p = 1 gives NaN, y = 0 and p = 1 infinity.",
        f"{_KERAS}/v3.12.0/keras/src/backend/tensorflow/nn.py",
        lambda case: _half(case) and not case.refused and _from_probabilities(case),
        lambda case: _binary_with(case, *_half_bounds(case.dtype)),
    ),
    Deviation(
        "binary-crossentropy-epsilon-in-log",
        ("BinaryCrossentropy",),
        (KERAS_2,),
        "Keras 2 adds epsilon once more inside each logarithm, after the clip: a loss "
        "is up to log 2 too small, and gradients near 0 and 1 are up to halved.",
        "https://github.com/keras-team/keras/blob/v2.15.0/keras/backend.py",
        lambda case: (
            case.path in ("eager", "xla")
            and not case.refused
            and _from_probabilities(case)
        ),
        _binary_with_epsilon_in_log,
    ),
    Deviation(
        "binary-crossentropy-epsilon-folded",
        ("BinaryCrossentropy",),
        (KERAS_2,),
        "The same once compiled: (1 - p) + eps becomes (1 + eps) - p, where 1 + eps "
        "rounds to 1.00000012 in float32, so a graph and an eager loss differ.",
        "https://github.com/keras-team/keras/blob/v2.15.0/keras/backend.py",
        lambda case: (
            case.path != "eager" and not case.refused and _from_probabilities(case)
        ),
        lambda case: _binary_with_epsilon_in_log(case, folded=True),
    ),
    Deviation(
        "all-masked-overflows-in-half",
        (
            "MeanSquaredError",
            "MeanAbsoluteError",
            "BinaryCrossentropy",
            "CategoricalCrossentropy",
            "SparseCategoricalCrossentropy",
        ),
        (("3.0", "3.12.99"),),
        "Where a mask keeps nothing, its weight is total / 1e-7: infinite in float16, "
        "and NaN times the masked zeros.",
        f"{_KERAS}/v3.12.0/keras/src/losses/loss.py",
        _total_over_epsilon_overflows,
        _nan,
    ),
    Deviation(
        "half-precision-overflow",
        ("MeanSquaredError",),
        (KERAS_2, ("3.0", None)),
        "In float16 an error above 255 squares to infinity before the mean, though "
        "the mean is finite.",
        _LOSSES_3,
        _squares_overflow,
        _infinite_value,
    ),
)
