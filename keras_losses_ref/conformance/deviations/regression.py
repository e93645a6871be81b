"""Regression losses: epsilons of another dtype, squares beyond its range."""

import dataclasses

import numpy as np

from keras_losses_ref.conformance.deviations import formulas, jax_formulas
from keras_losses_ref.conformance.deviations._common import (
    KERAS,
    KERAS_2,
    LOSSES_3,
    accepted,
    half,
    machine_epsilon,
)
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.deviations.formulas import altered, same_rank
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.truth import host_rules, right_answer, rounded


def _squares_overflow(case):
    if case.expected_error is not None:
        return False
    y_true, y_pred = same_rank(*rounded(case))
    with np.errstate(all="ignore"):
        squares = (y_pred - y_true) ** 2
    return case.dtype == "float16" and np.any(np.isfinite(squares) & (squares > 65504))


def _infinite_value(case):
    truth = right_answer(case)
    return dataclasses.replace(truth, value=np.full_like(truth.value, np.inf))


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
    if not accepted(case) or _delta(case) <= 0:
        return False
    error, delta = _error(case), np.asarray(_delta(case))
    with np.errstate(over="ignore"):
        return _overflows(case, error**2, delta**2, delta * np.abs(error))


def _huber_infinite(case):
    with np.errstate(all="ignore"):
        infinite = np.isinf(_error(case)).any() if accepted(case) else False
    return accepted(case) and (infinite or np.isinf(_delta(case)))


def _in_float32(case):
    y_true, y_pred = rounded(case)
    narrow = dataclasses.replace(case, y_true=y_true, y_pred=y_pred, dtype="float32")
    if _huber_infinite(narrow):  # beyond float32, where another entry takes over
        return formulas.huber(narrow)
    # Differences of rounded gradients are no second derivative.
    second = right_answer(case).second if case.check_hessian else None
    return dataclasses.replace(right_answer(narrow), second=second)


def _float32_rounding(case, aspect):
    if case.dtype != "float64" or aspect not in ("value", "gradient", "second"):
        return 0.0
    # The slope of a gradient carries the gradient's rounding.
    found = getattr(_in_float32(case), "value" if aspect == "value" else "gradient")
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
    if not accepted(case):
        return False
    y_true, y_pred = (np.asarray(a, float) for a in rounded(case))
    with np.errstate(all="ignore"):
        squares = y_true**2, y_pred**2
    if case.dtype == "float16" and any(np.any(s < 2.0**-14) for s in squares):
        return True
    axis = case.config.get("axis", -1)
    with np.errstate(over="ignore"):
        squares = [np.sum(s, axis) for s in squares if s.ndim]
    if case.dtype == "float64":
        finite = np.isfinite(y_true).all() and np.isfinite(y_pred).all()
        return finite and any(np.isinf(s).any() for s in squares)
    return _overflows(case, *squares)


def _cosine_rounding(case, aspect):
    """The gradient is a difference of vectors of size 1 / |y_pred|, times upstream."""
    if aspect != "gradient":
        return 0.0
    norms = np.maximum(_axis_norms(case), 1e-7)
    weight = 1.0 if case.sample_weight is None else np.max(np.abs(case.sample_weight))
    return 8 * machine_epsilon(case.dtype) * weight * np.max(1 / norms, initial=0)


def _no_norm(case):
    """Which vectors of y_pred have a sum of squares that is 0 in the dtype."""
    smallest = {"float64": 2.0**-1022, "float16": 0.0}.get(case.dtype, 2.0**-126)
    squares = _axis_norms(case) ** 2
    return (squares == 0) | (squares < smallest)


def _compiled_without_norm(case):
    compiled = case.path in ("xla", "nested") or host_rules().backend == "jax"
    return compiled and accepted(case) and bool(np.any(_no_norm(case)))


def _nan_without_norm(case):
    truth = right_answer(case)
    nowhere = np.broadcast_to(_no_norm(case), case.y_pred.shape)
    gradient = np.where(nowhere, np.nan, truth.gradient)
    return dataclasses.replace(truth, gradient=gradient)


DEVIATIONS = (
    Deviation(
        "half-precision-overflow",
        ("MeanSquaredError", "SquaredHinge"),
        (KERAS_2, ("3.0.0", None)),
        "In float16 an error above 255 squares to infinity before the mean, though "
        "the mean is finite.",
        LOSSES_3,
        _squares_overflow,
        _infinite_value,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "msle-float64-epsilon",
        ("MeanSquaredLogarithmicError",),
        (KERAS_2,),
        "In float64 the bound is 1e-7 itself; in Keras 3 it is float32's 1e-7.",
        f"{KERAS}/v2.15.0/keras/losses.py",
        lambda case: case.dtype == "float64" and accepted(case),
        formulas.mean_squared_logarithmic_error,
    ),
    Deviation(
        "mape-half-refused",
        ("MeanAbsolutePercentageError",),
        (("3.0.0", "3.3.3"),),
        "Epsilon is float32 and cannot be combined with a 16-bit prediction: "
        "TypeError.",
        f"{KERAS}/v3.3.3/keras/src/losses/losses.py",
        lambda case: half(case) and accepted(case),
        lambda case: Outcome(error="TypeError"),
    ),
    Deviation(
        "mape-float32-epsilon",
        ("MeanAbsolutePercentageError",),
        (("3.0.0", "3.3.3"),),
        "In float64 too, epsilon is float32's 1e-7; it divides the error of a target "
        "of 0.",
        f"{KERAS}/v3.3.3/keras/src/losses/losses.py",
        lambda case: case.dtype == "float64" and accepted(case),
        formulas.percentage_error_with_float32_epsilon,
    ),
    Deviation(
        "float32-constant-refused",
        ("Huber", "Poisson"),
        (("3.0.0", "3.3.3"),),
        "delta and epsilon are float32 and cannot be combined with a prediction of "
        "another dtype: InvalidArgumentError.",
        f"{KERAS}/v3.3.3/keras/src/losses/losses.py",
        lambda case: case.dtype != "float32" and accepted(case),
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "huber-in-float32",
        ("Huber",),
        (KERAS_2,),
        "Inputs are cast to floatx, so the loss is float32 for any dtype of y_pred.",
        f"{KERAS}/v2.15.0/keras/losses.py",
        lambda case: case.dtype != "float32" and accepted(case),
        _in_float32,
        _float32_rounding,
    ),
    Deviation(
        "huber-delta-unchecked",
        ("Huber",),
        (KERAS_2, ("3.0.0", "3.15.1")),
        "A delta of 0 or below is accepted, and the result is not a loss.",
        "https://github.com/keras-team/keras/pull/23573",
        lambda case: case.expected_error is not None and _delta(case) <= 0,
        formulas.huber,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "huber-overflow",
        ("Huber",),
        (("3.4.0", None),),
        "The square of the error, or of delta, overflows float16 where the loss "
        "itself would not, and infinity minus infinity is NaN.",
        LOSSES_3,
        _huber_overflows,
        formulas.huber,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "huber-infinite-gradient",
        ("Huber",),
        (KERAS_2, ("3.0.0", None)),
        "An infinite error or delta makes the unused branch infinite and its gradient "
        "0 times infinity: NaN instead of delta, or of the error.",
        LOSSES_3,
        _huber_infinite,
        formulas.huber,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "log-cosh-float32-log2",
        ("LogCosh",),
        (KERAS_2, ("3.0.0", None)),
        "log(2) is computed in float32, so a float64 loss is 1.9e-9 too small; for an "
        "error of 0 it is negative.",
        LOSSES_3,
        lambda case: case.dtype == "float64" and accepted(case),
        _log_two_in_float32,
        backend="tensorflow",
    ),
    Deviation(
        "cosine-norm-floor",
        ("CosineSimilarity",),
        (KERAS_2,),
        "The norm's floor is 1e-6, under the sum of squares: a vector below it, and "
        "the gradient of a zero vector, are a tenth; squares that overflow give 0.",
        "https://github.com/tensorflow/tensorflow/issues/56796",
        lambda case: accepted(case) and case.y_true.ndim == case.y_pred.ndim,
        formulas.cosine_similarity_keras_2,
        _cosine_rounding,
    ),
    Deviation(
        "cosine-squares-floor",
        ("CosineSimilarity",),
        (("3.0.0", "3.0.4"),),
        "The floor of 1e-7 lies under the sum of squares: vectors shorter than 3e-4 "
        "have a cosine that is too small.",
        f"{KERAS}/v3.0.4/keras/utils/numerical_utils.py",
        lambda case: accepted(case) and case.y_true.ndim == case.y_pred.ndim,
        lambda case: formulas.cosine_similarity_keras_2(case, floor=1e-7),
        _cosine_rounding,
    ),
    Deviation(
        "cosine-integer-labels-refused",
        ("CosineSimilarity",),
        (KERAS_2,),
        "Integer labels are not cast but refused.",
        f"{KERAS}/v2.15.0/keras/losses.py",
        lambda case: accepted(case) and case.y_true.dtype.kind == "i",
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "cosine-overflow",
        ("CosineSimilarity",),
        (("3.0.5", None),),
        "Squares leave the range of the dtype: the cosine of vectors longer than "
        "1.8e19 (256 in float16) is 0, and that of zero vectors NaN.",
        f"{KERAS}/v3.12.0/keras/src/ops/nn.py",
        _cosine_leaves_range,
        formulas.cosine_similarity,
        _cosine_rounding,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "cosine-zero-vector-gradient",
        ("CosineSimilarity",),
        (("3.0.5", "3.15.1"),),
        "Under XLA, and on JAX, the gradient at a zero vector is NaN: the infinite "
        "derivative of the reciprocal square root times the 0 of the floor's gate.",
        "https://github.com/keras-team/keras/issues/23075",
        _compiled_without_norm,
        _nan_without_norm,
    ),
    Deviation(
        "cosine-zero-vector-half-gradient",
        ("CosineSimilarity",),
        (("3.16.0", None),),
        "The floor under the sum of squares, 1e-14, is 0 in float16: under XLA, and "
        "on JAX, the gradient at a zero vector is still NaN.",
        "https://github.com/keras-team/keras/pull/23093",
        lambda case: case.dtype == "float16" and _compiled_without_norm(case),
        _nan_without_norm,
    ),
    Deviation(
        "cosine-gradient-cancels",
        ("CosineSimilarity",),
        (("3.0.0", None),),
        "The gradient along y_pred should be 0, but is a rounding error of 1 / "
        "|y_pred|: what the normalisation removes is subtracted in the dtype.",
        f"{KERAS}/v3.12.0/keras/src/ops/nn.py",
        accepted,
        right_answer,
        _cosine_rounding,
    ),
)
