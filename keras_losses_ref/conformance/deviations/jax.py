"""What Keras does on JAX alone: its dtypes, its derivatives at ties, its CTC."""

import functools

import numpy as np

from keras_losses_ref.conformance.deviations import jax_formulas
from keras_losses_ref.conformance.deviations._common import (
    KERAS,
    LOSSES_3,
    accepted,
    from_probabilities,
    half,
)
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.deviations.formulas import same_rank
from keras_losses_ref.conformance.truth import rounded

_NN = f"{KERAS}/v3.15.1/keras/src/backend/jax/nn.py"
_TIES = "https://github.com/jax-ml/jax/issues/37821"


def _inputs(case):
    return same_rank(*(np.asarray(a, np.float64) for a in rounded(case)))


def _no_error(case):
    """Whether an error is exactly 0, where |error| has a kink."""
    if not accepted(case):
        return False
    y, x = _inputs(case)
    return bool(np.any(y == x))


def _margin_met(case):
    """Whether a margin is met exactly, where a hinge has its kink."""
    if not accepted(case):
        return False
    y, x = _inputs(case)
    with np.errstate(all="ignore"):
        if case.loss == "CategoricalHinge":
            if not x.size:
                return False
            gap = np.max((1 - y) * x, -1) - np.sum(y * x, -1) + 1
        else:
            y = 2 * y - 1 if np.all((y == 0) | (y == 1)) else y
            gap = 1 - y * x
        # A product that is rounded may meet the margin where the exact one does not.
        return bool(np.any(np.abs(gap) < 2.0**-7))


def _no_distance(case):
    """Whether embeddings are in one point, in 16 bits: others have `circle-cancels`."""
    if not accepted(case) or not half(case):
        return False
    x = rounded(case)[1]
    return bool(np.any((1 - x @ x.T)[~np.eye(len(x), dtype=bool)] <= 0))


def _at_a_bound(case):
    """Whether a probability is exactly a bound of the clip."""
    if not accepted(case):
        return False
    x = rounded(case)[1]
    return bool(np.any((x == 1) | (np.abs(x - 1e-7) < 1e-9)))


def _logits_clipped(case):
    """Whether a sigmoid of logits may be beyond the bounds of the clip."""
    return accepted(case) and bool(case.config.get("from_logits"))


def _ignores_a_label(case):
    ignored = case.config.get("ignore_class")
    return (
        accepted(case) and ignored is not None and bool(np.any(case.y_true == ignored))
    )


def _ignored_row_is_nan(case):
    """Whether a row that is ignored was no probability any more, or not finite."""
    if not _ignores_a_label(case):
        return False
    return from_probabilities(case) or not np.all(np.isfinite(rounded(case)[1]))


def _smooths_in_float64(case):
    smooths = bool(case.config.get("label_smoothing"))
    return accepted(case) and case.dtype == "float64" and smooths


def _labels_do_not_sum_to_one(case):
    if not accepted(case) or not case.config.get("from_logits"):
        return False
    total = rounded(case)[0].sum(case.config.get("axis", -1))
    return bool(np.any(np.abs(total - 1) > 1e-6))


#: An entry on JAX alone, whose formula is the one that JAX's answers are computed by.
_on_jax = functools.partial(
    Deviation,
    outcome=jax_formulas.outcome,
    backend="jax",
    on_jax=jax_formulas.outcome,
)

DEVIATIONS = (
    _on_jax(
        "categorical-logits-gradient-sums-labels",
        ("CategoricalCrossentropy",),
        (("3.0.0", None),),
        "From logits the gradient is sum(y) softmax(x) - y; on TensorFlow it is "
        "softmax(x) - y. They differ if the labels of a row do not sum to 1.",
        _NN,
        _labels_do_not_sum_to_one,
    ),
    _on_jax(
        "binary-focal-logits-clipped",
        ("BinaryFocalCrossentropy",),
        (("3.0.0", None),),
        "From logits the sigmoid is clipped to [1e-7, 1 - 1e-7]; on TensorFlow Keras "
        "uses the logits behind it. Beyond 16 the loss is constant and its gradient "
        "0.",
        _NN,
        _logits_clipped,
    ),
    _on_jax(
        "sparse-ignored-rows-nan-gradient",
        ("SparseCategoricalCrossentropy",),
        (("3.0.0", "3.14.1"),),
        "A row that is ignored is multiplied by 0 and then divided by its sum: 0 / 0 "
        "makes its gradient NaN, though the loss is none.",
        f"{KERAS}/v3.12.0/keras/src/losses/losses.py",
        _ignored_row_is_nan,
    ),
    _on_jax(
        "sparse-ignored-labels-count",
        ("SparseCategoricalCrossentropy",),
        (("3.0.0", "3.5.0"),),
        "The mask of `ignore_class` does not stay on an array of JAX: labels that are "
        "ignored cost nothing, and count in the mean.",
        f"{KERAS}/v3.4.1/keras/src/losses/losses.py",
        _ignores_a_label,
    ),
    _on_jax(
        "sparse-normalized-before-clip",
        ("SparseCategoricalCrossentropy",),
        (("3.0.0", None),),
        "Probabilities are normalised and then clipped; on TensorFlow clipped and "
        "then normalised. The gradient differs for the classes that are clipped.",
        _NN,
        lambda case: accepted(case) and from_probabilities(case),
    ),
    _on_jax(
        "sparse-labels-unchecked",
        ("SparseCategoricalCrossentropy",),
        (("3.0.0", None),),
        "An invalid class index is accepted: its one-hot row is 0, and so is its loss.",
        _NN,
        lambda case: case.expected_error == "no class",
    ),
    _on_jax(
        "absolute-error-slope-at-zero",
        ("MeanAbsoluteError", "MeanAbsolutePercentageError"),
        (("3.0.0", None),),
        "The derivative of |x| at 0 is 1: where a target is met exactly, the gradient "
        "is -1 / n instead of 0.",
        "https://github.com/jax-ml/jax/issues/37820",
        _no_error,
    ),
    _on_jax(
        "hinge-tie-halves-gradient",
        ("Hinge", "CategoricalHinge"),
        (("3.0.0", None),),
        "The maximum of two equal numbers gives each half of the gradient: a margin "
        "that is met exactly has half of it.",
        _TIES,
        _margin_met,
    ),
    _on_jax(
        "clip-tie-halves-gradient",
        (
            "BinaryCrossentropy",
            "BinaryFocalCrossentropy",
            "CategoricalCrossentropy",
            "KLDivergence",
            "MeanSquaredLogarithmicError",
        ),
        (("3.0.0", None),),
        "A probability exactly at a bound of the clip, such as 1 in KLDivergence, has "
        "half of the gradient.",
        _TIES,
        _at_a_bound,
    ),
    _on_jax(
        "circle-tie-halves-gradient",
        ("Circle",),
        (("3.7.0", None),),
        "A distance of 0 is a tie of 1 - cos with the bound 0: two embeddings in one "
        "point have half of the gradient.",
        _TIES,
        _no_distance,
    ),
    _on_jax(
        "circle-nan-in-every-gradient",
        ("Circle",),
        (("3.7.0", None),),
        "A NaN in one feature of an embedding makes the gradient of every feature of "
        "it NaN: 0 times the NaN that comes down to a bound is NaN.",
        LOSSES_3,
        lambda case: accepted(case) and bool(np.isnan(case.y_pred).any()),
    ),
    _on_jax(
        "mean-in-float32",
        jax_formulas.MEANS,
        (("3.12.0", None),),
        "A float64 loss takes its mean in float32, also with `jax_enable_x64`: Keras's "
        "type promotion on JAX ends at 32 bits.",
        f"{KERAS}/v3.12.0/keras/src/backend/common/dtypes.py",
        lambda case: case.dtype == "float64" and accepted(case),
    ),
    _on_jax(
        "sparse-smoothing-in-float32",
        ("SparseCategoricalCrossentropy",),
        (("3.16.0", None),),
        "With label_smoothing a float64 loss takes the mean over the classes in "
        "float32, for the same reason.",
        f"{KERAS}/v3.12.0/keras/src/backend/common/dtypes.py",
        _smooths_in_float64,
    ),
    _on_jax(
        "ctc-never-is-finite",
        ("CTC",),
        (("3.0.2", None),),
        "The logarithm of 0 is -100000: if no alignment exists, the loss is a "
        "multiple of it, and its gradient leads nowhere.",
        _NN,
        accepted,
    ),
)
