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

from keras_losses_ref.conformance.deviations import formulas
from keras_losses_ref.conformance.deviations.formulas import (
    altered,
    reduced,
    same_rank,
)
from keras_losses_ref.conformance.evaluate import (
    IMPOSSIBLE,
    Outcome,
    activate,
    consult,
    merged_mask,
    recovers,
    rounded,
)
from keras_losses_ref.losses import host

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
    #: How much of an absolute error (case, aspect) explains on top of the tolerance:
    #: for formulas that cancel, whose rounding errors no other formula repeats.
    allowed: Callable = lambda case, aspect: 0.0

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
    with np.errstate(invalid="ignore"):  # 2^24 is infinite in float16, one for all
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


def _binary_with(case, low, high, inside=0.0, inside_other=0.0):
    """Binary cross-entropy with other clip bounds, and something added in the logs.

    `inside` is added to p, `inside_other` to 1 - p.
    """
    y, x = rounded(case)
    chain = None
    if case.activation is not None:
        x, chain = activate(case.activation, x)
    y, x = np.broadcast_arrays(*same_rank(np.asarray(y, float), x))
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

    return reduced(case, values, pullback)


def _epsilons_in_log(case, folded):
    """(low, high, added to p, added to 1 - p) of Keras 2's binary cross-entropy.

    `folded`: (1 - p) + eps computed as (1 + eps) - p, where 1 + eps is rounded.
    """
    low, high = formulas.bounds(case.dtype)
    inside_other = low
    if folded:
        epsilon = {"float64": 2.0**-52, "float32": 2.0**-23}.get(case.dtype, 1.0)
        inside_other = round(low / epsilon) * epsilon
    return low, high, low, inside_other


def _binary_with_epsilon_in_log(case, folded=False):
    return _binary_with(case, *_epsilons_in_log(case, folded))


def _focal_with_epsilon_in_log(case, folded=False):
    _, _, inside, inside_other = _epsilons_in_log(case, folded)
    return formulas.binary_focal(case, inside, inside_other)


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
    return reduced(case, values, lambda up: np.expand_dims(up, axis) * slope)


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
    return reduced(case, values, lambda up: up[..., None] * slope)


def _column_against_vector(case):
    """(N,) against (N, 1), either way round."""
    ranks = sorted((case.y_true.ndim, case.y_pred.ndim))
    last = max((case.y_true, case.y_pred), key=np.ndim).shape[-1]
    return not case.refused and ranks == [1, 2] and last == 1


def _squeezed_to_scalar(case):
    changes = {"y_true": case.y_true.ravel(), "y_pred": case.y_pred.ravel()}
    flat_case = dataclasses.replace(case, **changes)
    one = consult
    if case.loss == "CosineSimilarity":
        one = formulas.cosine_similarity_keras_2
    elif case.loss.startswith("Binary") and _from_probabilities(case):
        one = _binary_with_epsilon_in_log
        if case.loss == "BinaryFocalCrossentropy":
            one = _focal_with_epsilon_in_log
    flat = one(flat_case)
    if flat.error:
        return flat
    gradient = flat.gradient.reshape(case.y_pred.shape)
    return dataclasses.replace(flat, gradient=gradient)


def _squares_overflow(case):
    if case.refused is not None:
        return False
    y_true, y_pred = same_rank(*rounded(case))
    with np.errstate(all="ignore"):
        squares = (y_pred - y_true) ** 2
    return case.dtype == "float16" and np.any(np.isfinite(squares) & (squares > 65504))


def _infinite_value(case):
    truth = consult(case)
    return dataclasses.replace(truth, value=np.full_like(truth.value, np.inf))


# --- regression -----------------------------------------------------------------------


def _accepted(case):
    return case.refused is None


def _error(case):
    y_true, y_pred = same_rank(*(np.asarray(a, float) for a in rounded(case)))
    return y_pred - y_true


def _overflows(case, *steps):
    """Whether a finite one of `steps` is beyond the range of the case's dtype."""
    limit = {"float16": 65504, "float32": np.finfo(np.float32).max}.get(case.dtype)
    with np.errstate(all="ignore"):
        return limit is not None and any(
            np.any(np.isfinite(step) & (np.abs(step) > limit)) for step in steps
        )


def _delta(case):
    return case.config.get("delta", 1.0)


def _huber_overflows(case):
    if not _accepted(case) or _delta(case) <= 0:
        return False
    error, delta = _error(case), np.asarray(_delta(case))
    return _overflows(case, error**2, delta**2, delta * np.abs(error))


def _huber_infinite(case):
    with np.errstate(all="ignore"):
        infinite = np.isinf(_error(case)).any() if _accepted(case) else False
    return _accepted(case) and (infinite or np.isinf(_delta(case)))


def _in_float32(case):
    y_true, y_pred = rounded(case)
    wide = dataclasses.replace(case, y_true=y_true, y_pred=y_pred, dtype="float32")
    return consult(wide)


def _float32_rounding(case, aspect):
    if case.dtype != "float64" or aspect not in ("value", "gradient"):
        return 0.0
    found = getattr(_in_float32(case), aspect)
    largest = np.max(np.abs(found[np.isfinite(found)]), initial=1.0)
    return 8 * 2.0**-23 * float(largest)


def _log_two_in_float32(case):
    return altered(case, lambda v: v + (np.log(2.0) - float(np.float32(np.log(2.0)))))


def _axis_norms(case):
    """|y_pred| of each vector that the cosine is taken of."""
    axis = case.config.get("axis", -1)
    with np.errstate(all="ignore"):
        y_pred = same_rank(*(np.asarray(a, float) for a in rounded(case)))[1]
        return np.sqrt(np.sum(y_pred**2, axis, keepdims=True))


def _cosine_leaves_range(case):
    if not _accepted(case):
        return False
    y_true, y_pred = (np.asarray(a, float) for a in rounded(case))
    with np.errstate(all="ignore"):
        squares = y_true**2, y_pred**2
    if case.dtype == "float16" and any(np.any(s < 2.0**-14) for s in squares):
        return True
    axis = case.config.get("axis", -1)
    return _overflows(case, *(np.sum(s, axis) for s in squares if s.ndim))


def _cosine_rounding(case, aspect):
    """The gradient is a difference of vectors of size 1 / |y_pred|, times upstream."""
    if aspect != "gradient":
        return 0.0
    norms = np.maximum(_axis_norms(case), 1e-7)
    weight = 1.0 if case.sample_weight is None else np.max(np.abs(case.sample_weight))
    return 8 * _machine_epsilon(case.dtype) * weight * np.max(1 / norms, initial=0)


def _machine_epsilon(dtype):
    return {
        "float64": 2.0**-52,
        "float32": 2.0**-23,
        "float16": 2.0**-10,
        "bfloat16": 2.0**-7,
    }[dtype]


def _cosine_zero_row(case):
    return _accepted(case) and bool(np.any(_axis_norms(case) == 0))


def _nan_where_zero(case):
    truth = consult(case)
    zero = np.broadcast_to(_axis_norms(case) == 0, case.y_pred.shape)
    return dataclasses.replace(truth, gradient=np.where(zero, np.nan, truth.gradient))


# --- focal and generalized ------------------------------------------------------------


def _gamma(case):
    return case.config.get("gamma", 2.0)


def _alpha_list_misplaced(case):
    alpha = case.config.get("alpha", 0.25)
    last = case.y_pred.shape[-1]
    return (
        _accepted(case)
        and np.ndim(alpha) == 1
        and _class_axis_is_not_last(case)
        and last not in (1, len(alpha))
    )


def _alpha_list_in_float64(case):
    alpha = case.config.get("alpha", 0.25)
    return _accepted(case) and np.ndim(alpha) == 1 and case.dtype == "float64"


def _alpha_in_float32(case):
    alpha = np.float32(case.config["alpha"]).astype(float).tolist()
    return _given(case, config={**case.config, "alpha": alpha})


def _generalized_labels(case):
    """The labels as they reach one_hot: cast to the dtype of the loss and back."""
    if case.y_true.dtype.kind == "i":
        return _rounded_labels(case)
    return rounded(case)[0]


def _generalized(case):
    return formulas.generalized(case, _generalized_labels(case))


def _column_labels(case):
    y_true, y_pred = case.y_true, case.y_pred
    return _accepted(case) and y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1


def _no_power(case):
    """Whether a label's probability is 0, or one that no power is known of."""
    if not _accepted(case) or _column_labels(case):
        return False
    y_pred = rounded(case)[1]
    labels = np.asarray(case.y_true, np.int64)[..., None]
    p = np.take_along_axis(y_pred, labels, -1)
    return not np.all(p > 0) or np.isnan(y_pred).any()


def _power_rounding(case, aspect):
    """1 - p^q to within a rounding of 1, divided by q."""
    weight = 1.0 if case.sample_weight is None else np.max(np.abs(case.sample_weight))
    rows = case.y_pred[..., 0].size if case.reduction == "sum" else 1
    return 2 * _machine_epsilon(case.dtype) / case.config.get("q", 0.5) * weight * rows


# --- masks, pairs, sequences ----------------------------------------------------------


def _stretched_mask(case):
    return case.refused is not None and case.name == "broadcast_refused"


def _stretched(case):
    one = {"Dice": formulas.dice, "Tversky": formulas.tversky}[case.loss]
    return one(dataclasses.replace(case, refused=None))


def _equal_weights(case):
    return case.config.get("alpha", 0.5) == case.config.get("beta", 0.5)


def _mask_leaves_range(case):
    """In float16 1 / D overflows for masks of a few pixels' worth, D for large ones."""
    if case.dtype != "float16" or not _accepted(case) or not _equal_weights(case):
        return False
    y_true, y_pred = same_rank(*(np.asarray(a, float) for a in rounded(case)))
    axis = case.config.get("axis")
    axis = tuple(axis) if isinstance(axis, list) else axis
    size = y_true.sum(axis) + y_pred.sum(axis)
    return bool(np.any(size < 1e-4) | np.any(size > 65504))


def _swapped(case):
    config = dict(case.config)
    alpha, beta = config.get("alpha", 0.5), config.get("beta", 0.5)
    return _given(case, config={**config, "alpha": beta, "beta": alpha})


def _circle_rounding(case, aspect):
    """In the gradient: gamma times the rounding of 1 - cos, and whether d > 0."""
    if aspect != "gradient":
        return 0.0
    x = rounded(case)[1]
    distance = (1 - x @ x.T)[~np.eye(len(x), dtype=bool)]
    eps, gamma = _machine_epsilon(case.dtype), case.config.get("gamma", 80.0)
    undecided = float(np.any(np.abs(distance) < 8 * eps))
    rows = 1 if case.reduction in ("sum_over_batch_size", "mean") else len(x)
    return 2 * gamma * (8 * gamma * eps + undecided) * rows


def _circle_cancels(case):
    if not _accepted(case) or case.dtype not in ("float32", "float64"):
        return False
    x = rounded(case)[1]
    return np.any((1 - x @ x.T)[~np.eye(len(x), dtype=bool)] < 0.01)


def _ctc_in_float32(case, aspect):
    """What float32 leaves of a sum over the steps, in a float64 loss."""
    if case.dtype != "float64" or aspect not in ("value", "gradient"):
        return 0.0
    if aspect == "gradient":
        return 16 * 2.0**-23
    truth = consult(dataclasses.replace(case, refused=None))
    if truth.error:
        return 8 * 2.0**-23
    return 8 * 2.0**-23 * max(1.0, float(np.max(np.abs(truth.value), initial=0)))


def _ctc_impossible_rounding(case, aspect):
    """Shares are exponentials of sums around -707, which float32 knows to 6e-5."""
    if aspect == "gradient":
        return 4 * IMPOSSIBLE * 2.0**-23
    if aspect == "value" and case.dtype == "float64":
        return 8 * IMPOSSIBLE * 2.0**-23
    return 0.0


def _ctc_labels(case):
    labels = _rounded_labels(case) if case.y_true.dtype.kind == "i" else case.y_true
    return np.asarray(labels, np.int64)


def _ctc_impossible(case):
    if not _accepted(case):
        return False
    labels = np.asarray(case.y_true, np.int64)
    lengths = np.sum(labels != 0, 1)
    repeats = np.sum((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0), 1)
    return bool(np.any(lengths + repeats > case.y_pred.shape[1]))


def _ctc_unusable(case):
    return case.refused is not None and case.y_true.ndim == 2 and case.y_pred.ndim == 3


def _ctc_padded(case):
    if case.y_true.ndim != 2 or case.y_pred.ndim != 3:
        return False
    return bool(np.any(case.y_true == 0))


def _ctc_counting_padding(case):
    labels = _ctc_labels(case)
    return formulas.ctc(case, labels, np.full(len(labels), labels.shape[1]))


_KERAS = "https://github.com/keras-team/keras/blob"
_LOSSES_3 = f"{_KERAS}/v3.12.0/keras/src/losses/losses.py"

_KERAS_2_UTILS = "https://github.com/keras-team/keras/blob/v2.15.0/keras/utils"

DEVIATIONS = (
    Deviation(
        "column-squeezed-to-scalar",
        (
            "MeanSquaredError",
            "MeanAbsoluteError",
            "MeanAbsolutePercentageError",
            "MeanSquaredLogarithmicError",
            "Huber",
            "LogCosh",
            "CosineSimilarity",
            "BinaryCrossentropy",
            "BinaryFocalCrossentropy",
            "KLDivergence",
            "Poisson",
            "Hinge",
            "SquaredHinge",
        ),
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
        (("2.12", "2.15.99"),),
        "ignore_class picks the rows that count by a mask, a shape that XLA cannot "
        "know: jit_compile=True raises.",
        "https://github.com/keras-team/keras/blob/v2.15.0/keras/backend.py",
        lambda case: case.path == "xla" and "ignore_class" in case.config,
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "values-rounded-to-dtype",
        (
            "MeanSquaredError",
            "MeanAbsoluteError",
            "LogCosh",
        ),
        (KERAS_2, ("3.0", None)),
        "Integer targets are cast to the dtype of the prediction, where 2049 is no "
        "float16 and 257 no bfloat16, before the difference is taken.",
        _LOSSES_3,
        _labels_change,
        _with_rounded_labels,
    ),
    Deviation(
        "labels-rounded-to-dtype",
        ("SparseCategoricalCrossentropy", "Circle"),
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
        "focal-label-smoothing-unchecked",
        ("BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"),
        (KERAS_2, ("3.0", None)),
        "A label_smoothing outside [0, 1] is taken, and gives labels outside [0, 1].",
        _LOSSES_3,
        _smoothing_out_of_range,
        _unchecked_smoothing,
    ),
    Deviation(
        "focal-label-smoothing-counts-last-axis",
        ("CategoricalFocalCrossentropy",),
        (KERAS_2, ("3.0", "3.15.99")),
        "Label smoothing divides by the size of the last axis of y_true, whatever "
        "`axis` says the classes are on.",
        _LOSSES_3,
        lambda case: 0 < _smoothing(case) <= 1 and _class_axis_is_not_last(case),
        lambda case: _smoothed(case, case.y_true.shape[-1]),
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
        ("MeanSquaredError", "SquaredHinge"),
        (KERAS_2, ("3.0", None)),
        "In float16 an error above 255 squares to infinity before the mean, though "
        "the mean is finite.",
        _LOSSES_3,
        _squares_overflow,
        _infinite_value,
    ),
    Deviation(
        "huber-in-float32",
        ("Huber",),
        (KERAS_2,),
        "Inputs are cast to floatx, so that the loss is a float32 whatever the dtype "
        "of y_pred, and float64 is lost.",
        f"{_KERAS}/v2.15.0/keras/losses.py",
        lambda case: case.dtype != "float32" and _accepted(case),
        _in_float32,
        _float32_rounding,
    ),
    Deviation(
        "msle-float64-epsilon",
        ("MeanSquaredLogarithmicError",),
        (KERAS_2,),
        "In float64 the bound is 1e-7 itself, and not, as in Keras 3, float32's.",
        f"{_KERAS}/v2.15.0/keras/losses.py",
        lambda case: case.dtype == "float64" and _accepted(case),
        formulas.mean_squared_logarithmic_error,
    ),
    Deviation(
        "cosine-norm-floor",
        ("CosineSimilarity",),
        (KERAS_2,),
        "The norm's floor is 1e-6, under the sum of squares: a vector below it, and "
        "the gradient of a zero vector, are a tenth; squares that overflow give 0.",
        f"{_KERAS}/v2.15.0/keras/losses.py",
        lambda case: _accepted(case) and case.y_true.ndim == case.y_pred.ndim,
        formulas.cosine_similarity_keras_2,
        _cosine_rounding,
    ),
    Deviation(
        "cosine-integer-labels-refused",
        ("CosineSimilarity",),
        (KERAS_2,),
        "Integer labels are not cast, and refused.",
        f"{_KERAS}/v2.15.0/keras/losses.py",
        lambda case: _accepted(case) and case.y_true.dtype.kind == "i",
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "binary-focal-epsilon-in-log",
        ("BinaryFocalCrossentropy",),
        (KERAS_2,),
        "Keras 2 adds epsilon once more inside each logarithm, after the clip.",
        "https://github.com/keras-team/keras/blob/v2.15.0/keras/backend.py",
        lambda case: (
            case.path in ("eager", "xla")
            and _accepted(case)
            and _from_probabilities(case)
        ),
        _focal_with_epsilon_in_log,
    ),
    Deviation(
        "binary-focal-epsilon-folded",
        ("BinaryFocalCrossentropy",),
        (KERAS_2,),
        "The same once compiled: (1 - p) + eps becomes (1 + eps) - p, where 1 + eps is "
        "rounded. XLA does so too, but not in TensorFlow 2.12.",
        "https://github.com/keras-team/keras/blob/v2.15.0/keras/backend.py",
        lambda case: (
            case.path != "eager" and _accepted(case) and _from_probabilities(case)
        ),
        lambda case: _focal_with_epsilon_in_log(case, folded=True),
    ),
    Deviation(
        "sparse-focal-labels-unchecked",
        ("SparseCategoricalFocalCrossentropy",),
        (("3.16", None),),
        "A label that is no class is taken, and makes the loss NaN.",
        f"{_KERAS}/master/keras/src/losses/losses.py",
        lambda case: case.refused == "no class",
        lambda case: _given(case, refused=None),
    ),
    Deviation(
        "sparse-focal-half-precision-clip",
        ("SparseCategoricalFocalCrossentropy",),
        (("3.16", None),),
        "In 16 bit the lower clip is 1.2e-7 (float16) and the upper one 1: another "
        "loss for p = 0, and NaN gradients for p = 1 with gamma below 1.",
        f"{_KERAS}/master/keras/src/losses/losses.py",
        lambda case: _half(case) and _accepted(case),
        formulas.sparse_focal,
    ),
    Deviation(
        "huber-values-rounded",
        ("Huber",),
        (("3.4", None),),
        "Integer targets are cast to the dtype of the prediction, where 2049 is no "
        "float16 and 257 no bfloat16, before the difference is taken.",
        _LOSSES_3,
        _labels_change,
        _with_rounded_labels,
    ),
    Deviation(
        "mape-values-rounded",
        ("MeanAbsolutePercentageError",),
        (KERAS_2, ("3.4", None)),
        "Integer targets are cast to the dtype of the prediction, where 2049 is no "
        "float16 and 257 no bfloat16, before the difference is taken.",
        _LOSSES_3,
        _labels_change,
        _with_rounded_labels,
    ),
    Deviation(
        "mape-half-refused",
        ("MeanAbsolutePercentageError",),
        (("3.0", "3.3.99"),),
        "Epsilon is a float32, which does not meet a 16-bit prediction: TypeError.",
        f"{_KERAS}/v3.3.3/keras/src/losses/losses.py",
        lambda case: _half(case) and _accepted(case),
        lambda case: Outcome(error="TypeError"),
    ),
    Deviation(
        "mape-float32-epsilon",
        ("MeanAbsolutePercentageError",),
        (("3.0", "3.3.99"),),
        "Epsilon is float32's 1e-7 in float64 as well, by which a truth of 0 is "
        "divided.",
        f"{_KERAS}/v3.3.3/keras/src/losses/losses.py",
        lambda case: case.dtype == "float64" and _accepted(case),
        formulas.percentage_error_with_float32_epsilon,
    ),
    Deviation(
        "float32-constant-refused",
        ("Huber", "Poisson"),
        (("3.0", "3.3.99"),),
        "delta and epsilon are float32, which meets no prediction of another dtype: "
        "InvalidArgumentError.",
        f"{_KERAS}/v3.3.3/keras/src/losses/losses.py",
        lambda case: case.dtype != "float32" and _accepted(case),
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "huber-delta-unchecked",
        ("Huber",),
        (KERAS_2, ("3.0", "3.15.99")),
        "A delta of 0 or below is taken, and the loss is no loss.",
        _LOSSES_3,
        lambda case: case.refused is not None and _delta(case) <= 0,
        formulas.huber,
    ),
    Deviation(
        "huber-overflow",
        ("Huber",),
        (("3.4", None),),
        "The square of the error, or of delta, overflows float16 where the loss "
        "itself would not, and infinity minus infinity is NaN.",
        _LOSSES_3,
        _huber_overflows,
        formulas.huber,
    ),
    Deviation(
        "huber-infinite-gradient",
        ("Huber",),
        (KERAS_2, ("3.0", None)),
        "An infinite error or delta makes the branch not taken infinite, and its "
        "gradient 0 times infinity: NaN where the slope is delta, or the error.",
        _LOSSES_3,
        _huber_infinite,
        formulas.huber,
    ),
    Deviation(
        "log-cosh-float32-log2",
        ("LogCosh",),
        (KERAS_2, ("3.0", None)),
        "log(2) is computed in float32, so a float64 loss is 1.9e-9 too small; at no "
        "error it is negative.",
        _LOSSES_3,
        lambda case: case.dtype == "float64" and _accepted(case),
        _log_two_in_float32,
    ),
    Deviation(
        "cosine-overflow",
        ("CosineSimilarity",),
        (("3.0", None),),
        "Squares outside the range of the dtype: the cosine of vectors longer than "
        "1.8e19 is 0, in float16 of those longer than 256, and NaN of zero vectors.",
        f"{_KERAS}/v3.12.0/keras/src/ops/nn.py",
        _cosine_leaves_range,
        formulas.cosine_similarity,
        _cosine_rounding,
    ),
    Deviation(
        "cosine-zero-vector-gradient",
        ("CosineSimilarity",),
        (("3.0", None),),
        "Under XLA the gradient at a zero vector is NaN: the infinite slope of the "
        "reciprocal square root times the 0 of the floor's gate.",
        f"{_KERAS}/v3.12.0/keras/src/ops/nn.py",
        lambda case: case.path == "xla" and _cosine_zero_row(case),
        _nan_where_zero,
    ),
    Deviation(
        "cosine-gradient-cancels",
        ("CosineSimilarity",),
        (("3.0", None),),
        "The gradient along y_pred, which is 0, is left as a rounding error of "
        "1 / |y_pred|: what normalising takes away is subtracted in the dtype.",
        f"{_KERAS}/v3.12.0/keras/src/ops/nn.py",
        _accepted,
        consult,
        _cosine_rounding,
    ),
    Deviation(
        "categorical-hinge-empty-batch",
        ("CategoricalHinge",),
        (("3.0", None),),
        "Eagerly, an empty batch raises: there is no largest score of no class.",
        _LOSSES_3,
        lambda case: (
            case.path == "eager" and _accepted(case) and case.y_pred.size == 0
        ),
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "kl-divergence-half-range",
        ("KLDivergence",),
        (KERAS_2, ("3.0", None)),
        "In float16 a ratio with 1e-7 in it, or its reciprocal, overflows: an infinite "
        "loss for p = 0, an infinite gradient for y = 0.",
        _LOSSES_3,
        lambda case: case.dtype == "float16" and _accepted(case),
        formulas.kl_divergence,
    ),
    Deviation(
        "poisson-half-range",
        ("Poisson",),
        (KERAS_2, ("3.4", None)),
        "In float16 epsilon is 1.2e-7, and its reciprocal overflows: a NaN gradient "
        "for a rate and a count of 0.",
        _LOSSES_3,
        lambda case: case.dtype == "float16" and _accepted(case),
        formulas.poisson,
    ),
    Deviation(
        "focal-gamma-below-one-nan",
        ("BinaryFocalCrossentropy",),
        (KERAS_2, ("3.0", None)),
        "Where a certain prediction is right, the power 0^gamma has an infinite slope "
        "for gamma below 1, also times gamma = 0: a NaN gradient.",
        _LOSSES_3,
        # Keras 2's epsilon in the logarithm has an entry of its own.
        lambda case: (
            _accepted(case)
            and _gamma(case) < 1
            and (host.GENERATION == 3 or not _from_probabilities(case))
        ),
        formulas.binary_focal,
    ),
    Deviation(
        "binary-focal-half-precision-clip",
        ("BinaryFocalCrossentropy",),
        (("3.0", None),),
        "In float16 and bfloat16 the upper clip 1 - 1e-7 rounds to 1 and clips "
        "nothing: a certain prediction gives NaN or infinity.",
        f"{_KERAS}/v3.12.0/keras/src/backend/tensorflow/nn.py",
        lambda case: _half(case) and _accepted(case),
        formulas.binary_focal,
    ),
    Deviation(
        "focal-half-precision-clip",
        ("CategoricalFocalCrossentropy",),
        (KERAS_2, ("3.0", None)),
        "In 16 bit the lower clip is 1.2e-7 (float16) and the upper one 1: another "
        "loss for p = 0, and NaN gradients for p = 1 with gamma below 1.",
        _LOSSES_3,
        lambda case: (
            _half(case) and _accepted(case) and not _alpha_list_misplaced(case)
        ),
        formulas.categorical_focal,
    ),
    Deviation(
        "focal-alpha-list-ignores-axis",
        ("CategoricalFocalCrossentropy",),
        (KERAS_2, ("3.0", None)),
        "A list of alphas is multiplied along the last axis, whatever `axis` says the "
        "classes are on: refused where the sizes differ.",
        _LOSSES_3,
        _alpha_list_misplaced,
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "focal-alpha-list-float32",
        ("CategoricalFocalCrossentropy",),
        (("3.0", None),),
        "A list of alphas is converted to float32, also for a float64 loss.",
        _LOSSES_3,
        _alpha_list_in_float64,
        _alpha_in_float32,
    ),
    Deviation(
        "gce-column-labels",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.0", None),),
        "Labels of shape (N, 1) are broadcast against all rows: (N, N) values, each "
        "row's label looked up in every other row as well.",
        _LOSSES_3,
        _column_labels,
        _generalized,
        _power_rounding,
    ),
    Deviation(
        "gce-labels-rounded",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.0", None),),
        "Loss.__call__ casts the labels to the loss's dtype, where 257 (bfloat16) and "
        "2049 (float16) are other classes; one that is no class costs 1 / q.",
        f"{_KERAS}/v3.12.0/keras/src/losses/loss.py",
        _labels_change,
        _generalized,
        _power_rounding,
    ),
    Deviation(
        "gce-zero-probability-nan",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.0", None),),
        "The probability of the label is a sum over all classes times one-hot: its "
        "infinite slope at 0 makes the gradients of the other classes NaN, and a NaN "
        "in any class the value.",
        _LOSSES_3,
        _no_power,
        _generalized,
    ),
    Deviation(
        "gce-labels-unchecked",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.0", None),),
        "A label that is no class is taken: it costs 1 / q, whatever the prediction.",
        _LOSSES_3,
        lambda case: case.refused == "no class",
        _generalized,
    ),
    Deviation(
        "gce-small-q-cancels",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.0", None),),
        "1 - p^q loses its digits where q is small: with q = 1e-3 three of them.",
        _LOSSES_3,
        lambda case: _accepted(case) and case.config.get("q", 0.5) < 0.1,
        consult,
        _power_rounding,
    ),
    Deviation(
        "dice-mask-stretched",
        ("Dice",),
        (("3.4", None),),
        "A mask with an axis of 1 is stretched in the overlap, and counted once in the "
        "size.",
        _LOSSES_3,
        _stretched_mask,
        _stretched,
    ),
    Deviation(
        "tversky-mask-stretched",
        ("Tversky",),
        (("3.8", None),),
        "A mask with an axis of 1 is stretched to the other's shape, not refused.",
        _LOSSES_3,
        _stretched_mask,
        _stretched,
    ),
    Deviation(
        "overlap-half-range",
        ("Dice", "Tversky"),
        (("3.0", None),),
        "In float16 the size of a large mask overflows, and so does the reciprocal of "
        "epsilon for two empty ones: NaN.",
        _LOSSES_3,
        _mask_leaves_range,
        lambda case: {"Dice": formulas.dice, "Tversky": formulas.tversky}[case.loss](
            case
        ),
    ),
    Deviation(
        "tversky-alpha-beta-swapped",
        ("Tversky",),
        (("3.0", "3.15.99"),),
        "alpha weighs false negatives and beta false positives, against the "
        "documentation and the paper.",
        _LOSSES_3,
        lambda case: _accepted(case) and not _equal_weights(case),
        _swapped,
    ),
    Deviation(
        "circle-cancels",
        ("Circle",),
        (("3.0", None),),
        "1 - cos of close neighbours is rounded in the dtype and magnified by gamma; "
        "whether a distance is above 0, and has a gradient, is left to chance.",
        _LOSSES_3,
        _circle_cancels,
        consult,
        _circle_rounding,
    ),
    Deviation(
        "ctc-counts-padding",
        ("CTC",),
        (("3.0", "3.3.99"),),
        "The zeros that pad a label are counted as labels of the blank's class.",
        f"{_KERAS}/v3.3.3/keras/src/losses/losses.py",
        _ctc_padded,
        _ctc_counting_padding,
        _ctc_impossible_rounding,
    ),
    Deviation(
        "ctc-labels-unchecked",
        ("CTC",),
        (("3.0", None),),
        "A label that is no class is taken, and costs nothing to emit; a 0 before the "
        "end counts as a label of the blank's class.",
        _LOSSES_3,
        _ctc_unusable,
        lambda case: formulas.ctc(case, _ctc_labels(case)),
        _ctc_in_float32,
    ),
    Deviation(
        "ctc-labels-rounded",
        ("CTC",),
        (("3.0", None),),
        "Loss.__call__ casts the labels to the loss's dtype, where 257 (bfloat16) and "
        "2049 (float16) are other classes.",
        f"{_KERAS}/v3.12.0/keras/src/losses/loss.py",
        _labels_change,
        lambda case: formulas.ctc(case, _ctc_labels(case)),
    ),
    Deviation(
        "ctc-impossible-gradient",
        ("CTC",),
        (("3.0", None),),
        "Where no path can spell the labels, the gradient lets paths start as well as "
        "stop anywhere, and is not that of the value.",
        "https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/python/ops/"
        "ctc_ops.py",
        _ctc_impossible,
        lambda case: formulas.ctc(case, _ctc_labels(case)),
        _ctc_impossible_rounding,
    ),
    Deviation(
        "ctc-float64-in-float32",
        ("CTC",),
        (("3.0", None),),
        "A float64 loss is computed in float32: TensorFlow's op knows nothing wider.",
        f"{_KERAS}/v3.12.0/keras/src/backend/tensorflow/nn.py",
        lambda case: case.dtype == "float64" and _accepted(case),
        consult,
        _ctc_in_float32,
    ),
)
