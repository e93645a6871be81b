"""Cross-entropies and divergences: clips, epsilons, focal and generalized forms."""

import dataclasses

import numpy as np

from keras_losses_ref.conformance.cases.case import Case
from keras_losses_ref.conformance.deviations import formulas, jax_formulas
from keras_losses_ref.conformance.deviations._common import (
    KERAS,
    KERAS_2,
    LOSSES_3,
    accepted,
    class_axis_is_not_last,
    from_probabilities,
    half,
    half_bounds,
    labels_change,
    machine_epsilon,
    oracle_with,
    rounded_labels,
    smoothing_of,
)
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.deviations.formulas import reduced, same_rank
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.truth import (
    activate,
    host_rules,
    right_answer,
    rounded,
)


def _binary_with(case, low, high, inside=0.0, inside_other=0.0):
    """Binary cross-entropy with other clip bounds, and something added in the logs.

    `inside` is added to p, `inside_other` to 1 - p.
    """
    y, x = rounded(case)
    chain = None
    if case.activation is not None:
        x, chain = activate(case.activation, x)
    y, x = np.broadcast_arrays(*same_rank(np.asarray(y, float), x))
    y = y * (1.0 - smoothing_of(case)) + 0.5 * smoothing_of(case)
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


def binary_with_epsilon_in_log(case: Case, folded: bool = False) -> Outcome:
    return _binary_with(case, *_epsilons_in_log(case, folded))


def focal_with_epsilon_in_log(case: Case, folded: bool = False) -> Outcome:
    _, _, inside, inside_other = _epsilons_in_log(case, folded)
    return formulas.binary_focal(case, inside, inside_other)


def _categorical_half_clip(case):
    """Normalise, clip to [low, 1], sum y log p: in float64 but with those bounds."""
    low, high = half_bounds(case.dtype)
    axis = case.config.get("axis", -1)
    y, x = rounded(case)
    y = np.asarray(y, float)
    y = y * (1.0 - smoothing_of(case)) + smoothing_of(case) / x.shape[axis]
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
    low, high = half_bounds(case.dtype)
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


def _sum_squared_is_zero(case):
    """Where the square of a row's sum underflows, as an array like y_pred."""
    x = rounded(case)[1]
    total = np.abs(x.sum(case.config.get("axis", -1), keepdims=True))
    smallest = {"float32": 2.0**-63, "float64": 2.0**-511}.get(case.dtype, 0.0)
    return np.broadcast_to((total > 0) & (total < smallest), x.shape)


def _tiny_row_under_xla(case):
    # JAX squares the divisor of a quotient's derivative on every path.
    squares = case.path in ("xla", "nested") or host_rules().backend == "jax"
    if not squares or not accepted(case):
        return False
    return from_probabilities(case) and bool(_sum_squared_is_zero(case).any())


def _nan_for_tiny_rows(case):
    truth = right_answer(case)
    gradient = np.where(_sum_squared_is_zero(case), np.nan, truth.gradient)
    return dataclasses.replace(truth, gradient=gradient)


def _gamma(case):
    return case.config.get("gamma", 2.0)


def _alpha_list_misplaced(case):
    alpha = case.config.get("alpha", 0.25)
    last = case.y_pred.shape[-1]
    return (
        accepted(case)
        and np.ndim(alpha) == 1
        and class_axis_is_not_last(case)
        and last not in (1, len(alpha))
    )


def _alpha_list_in_float64(case):
    alpha = case.config.get("alpha", 0.25)
    return accepted(case) and np.ndim(alpha) == 1 and case.dtype == "float64"


def _alpha_in_float32(case):
    alpha = np.float32(case.config["alpha"]).astype(float).tolist()
    return oracle_with(case, config={**case.config, "alpha": alpha})


def _generalized_labels(case):
    """The labels as they reach one_hot: cast to the dtype of the loss and back."""
    if case.y_true.dtype.kind == "i":
        return rounded_labels(case)
    return rounded(case)[0]


def _generalized(case):
    return formulas.generalized(case, _generalized_labels(case))


def _column_labels(case):
    y_true, y_pred = case.y_true, case.y_pred
    return accepted(case) and y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1


def _no_power(case):
    """Whether a label's probability is 0, or one that no power is known of."""
    if not accepted(case) or _column_labels(case):
        return False
    y_pred = rounded(case)[1]
    labels = np.asarray(case.y_true, np.int64)[..., None]
    p = np.take_along_axis(y_pred, labels, -1)
    return not np.all(p > 0) or np.isnan(y_pred).any()


def _power_rounding(case, aspect):
    """1 - p^q to within a rounding of 1, divided by q."""
    weight = 1.0 if case.sample_weight is None else np.max(np.abs(case.sample_weight))
    rows = case.y_pred[..., 0].size if case.reduction == "sum" else 1
    return 2 * machine_epsilon(case.dtype) / case.config.get("q", 0.5) * weight * rows


def _ignores_in_column(case):
    y_true, y_pred = case.y_true, case.y_pred
    column = y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1
    return accepted(case) and column and case.config.get("ignore_class") is not None


DEVIATIONS = (
    Deviation(
        "sparse-ignore-class-column-refused",
        ("SparseCategoricalCrossentropy",),
        (("3.0.0", "3.3.3"),),
        "With ignore_class, labels of shape (N, 1) are refused, because the mask gets "
        "one axis too many; without it they are accepted.",
        "https://github.com/keras-team/keras/issues/19825",
        _ignores_in_column,
        lambda case: Outcome(error="ValueError"),
    ),
    Deviation(
        "sparse-ignore-class-fails-under-xla",
        ("SparseCategoricalCrossentropy",),
        (("2.12.0", "2.15.1"),),
        "ignore_class selects rows by a mask, whose result has a shape that XLA "
        "cannot know: jit_compile=True raises an error.",
        "https://github.com/keras-team/keras/pull/16712",
        lambda case: case.path in ("xla", "nested") and "ignore_class" in case.config,
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "half-precision-clip",
        ("CategoricalCrossentropy", "SparseCategoricalCrossentropy"),
        (KERAS_2, ("3.0.0", None)),
        "In float16 and bfloat16 the upper clip 1 - 1e-7 rounds to 1 and clips "
        "nothing: a certain prediction gives NaN or infinity, or a gradient where "
        "the clip should have stopped it.",
        f"{KERAS}/v3.12.0/keras/src/backend/tensorflow/nn.py",
        lambda case: (
            half(case) and not case.expected_error and from_probabilities(case)
        ),
        lambda case: {
            "CategoricalCrossentropy": _categorical_half_clip,
            "SparseCategoricalCrossentropy": _sparse_half_clip,
        }[case.loss](case),
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "binary-half-precision-clip",
        ("BinaryCrossentropy",),
        (("3.0.0", None),),
        "The same in the binary form: y = p = 1 gives NaN; y = 0 and p = 1 give "
        "infinity.",
        f"{KERAS}/v3.12.0/keras/src/backend/tensorflow/nn.py",
        lambda case: (
            half(case) and not case.expected_error and from_probabilities(case)
        ),
        lambda case: _binary_with(case, *half_bounds(case.dtype)),
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "binary-crossentropy-epsilon-in-log",
        ("BinaryCrossentropy",),
        (KERAS_2,),
        "Keras 2 adds epsilon once more inside each logarithm, after the clip: a loss "
        "is up to log 2 too small, and gradients near 0 and 1 are up to halved.",
        "https://github.com/keras-team/keras/issues/15249",
        lambda case: (
            case.path in ("eager", "xla")
            and not case.expected_error
            and from_probabilities(case)
        ),
        binary_with_epsilon_in_log,
    ),
    Deviation(
        "binary-crossentropy-epsilon-folded",
        ("BinaryCrossentropy",),
        (KERAS_2,),
        "The same once compiled: (1 - p) + eps becomes (1 + eps) - p, where 1 + eps "
        "rounds to 1.00000012 in float32, so a graph and an eager loss differ.",
        "https://github.com/keras-team/keras/issues/15249",
        lambda case: (
            case.path != "eager"
            and not case.expected_error
            and from_probabilities(case)
        ),
        lambda case: binary_with_epsilon_in_log(case, folded=True),
    ),
    Deviation(
        "binary-focal-epsilon-in-log",
        ("BinaryFocalCrossentropy",),
        (KERAS_2,),
        "Keras 2 adds epsilon once more inside each logarithm, after the clip.",
        "https://github.com/keras-team/keras/issues/15249",
        lambda case: (
            case.path in ("eager", "xla")
            and accepted(case)
            and from_probabilities(case)
        ),
        focal_with_epsilon_in_log,
    ),
    Deviation(
        "binary-focal-epsilon-folded",
        ("BinaryFocalCrossentropy",),
        (KERAS_2,),
        "The same once compiled: (1 - p) + eps becomes (1 + eps) - p, where 1 + eps is "
        "rounded. XLA does so too, but not in TensorFlow 2.12.",
        "https://github.com/keras-team/keras/issues/15249",
        lambda case: (
            case.path != "eager" and accepted(case) and from_probabilities(case)
        ),
        lambda case: focal_with_epsilon_in_log(case, folded=True),
    ),
    Deviation(
        "sparse-focal-labels-unchecked",
        ("SparseCategoricalFocalCrossentropy",),
        (("3.16.0", None),),
        "An invalid class index is accepted and makes the loss NaN.",
        f"{KERAS}/master/keras/src/losses/losses.py",
        lambda case: case.expected_error == "no class",
        lambda case: oracle_with(case, expected_error=None),
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "sparse-focal-half-precision-clip",
        ("SparseCategoricalFocalCrossentropy",),
        (("3.16.0", None),),
        "In 16 bits the lower clip is 1.2e-7 (float16) and the upper one 1: a "
        "different loss for p = 0, and NaN gradients for p = 1 with gamma below 1.",
        f"{KERAS}/master/keras/src/losses/losses.py",
        lambda case: half(case) and accepted(case),
        formulas.sparse_focal,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "tiny-row-nan-under-xla",
        (
            "CategoricalCrossentropy",
            "CategoricalFocalCrossentropy",
            "SparseCategoricalFocalCrossentropy",
        ),
        (KERAS_2, ("3.0.0", None)),
        "XLA turns (p / s) / s of the gradient of p / s into p / (s * s), as JAX does "
        "itself: where a row sums to less than 1e-19 (1e-154 in float64), s * s is 0 "
        "and the gradient NaN.",
        "https://github.com/tensorflow/tensorflow/blob/v2.12.0/tensorflow/compiler/xla/"
        "service/algebraic_simplifier.cc",
        _tiny_row_under_xla,
        _nan_for_tiny_rows,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "focal-gamma-below-one-nan",
        ("BinaryFocalCrossentropy",),
        (KERAS_2, ("3.0.0", None)),
        "For a certain and right prediction, the power 0^gamma has an infinite "
        "derivative for gamma below 1, also times gamma = 0: a NaN gradient.",
        LOSSES_3,
        # Keras 2's epsilon in the logarithm has an entry of its own.
        lambda case: (
            accepted(case)
            and _gamma(case) < 1
            and (host_rules().generation == 3 or not from_probabilities(case))
        ),
        formulas.binary_focal,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "binary-focal-half-precision-clip",
        ("BinaryFocalCrossentropy",),
        (("3.0.0", None),),
        "In float16 and bfloat16 the upper clip 1 - 1e-7 rounds to 1 and clips "
        "nothing: a certain prediction gives NaN or infinity.",
        f"{KERAS}/v3.12.0/keras/src/backend/tensorflow/nn.py",
        lambda case: half(case) and accepted(case),
        formulas.binary_focal,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "focal-half-precision-clip",
        ("CategoricalFocalCrossentropy",),
        (KERAS_2, ("3.0.0", None)),
        "In 16 bits the lower clip is 1.2e-7 (float16) and the upper one 1: a "
        "different loss for p = 0, and NaN gradients for p = 1 with gamma below 1.",
        LOSSES_3,
        lambda case: half(case) and accepted(case) and not _alpha_list_misplaced(case),
        formulas.categorical_focal,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "focal-alpha-list-ignores-axis",
        ("CategoricalFocalCrossentropy",),
        (KERAS_2, ("3.0.0", None)),
        "A list of alphas is multiplied along the last axis, not along `axis`, and "
        "refused if the sizes differ.",
        LOSSES_3,
        _alpha_list_misplaced,
        lambda case: Outcome(error="InvalidArgumentError"),
    ),
    Deviation(
        "focal-alpha-list-float32",
        ("CategoricalFocalCrossentropy",),
        (("3.0.0", None),),
        "A list of alphas is converted to float32, for a float64 loss too.",
        LOSSES_3,
        _alpha_list_in_float64,
        _alpha_in_float32,
        backend="tensorflow",
    ),
    Deviation(
        "gce-column-labels",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.10.0", None),),
        "Labels of shape (N, 1) are broadcast against all rows: (N, N) values, with "
        "each label looked up in every row.",
        LOSSES_3,
        _column_labels,
        _generalized,
        _power_rounding,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "gce-labels-rounded",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.10.0", None),),
        "`Loss.__call__` casts the labels to the loss's dtype, so 257 (bfloat16) and "
        "2049 (float16) become other classes; the loss of an invalid one is 1 / q.",
        f"{KERAS}/v3.12.0/keras/src/losses/loss.py",
        labels_change,
        _generalized,
        _power_rounding,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "gce-zero-probability-nan",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.10.0", None),),
        "The probability of the label is a sum over all classes times one-hot: its "
        "infinite derivative at 0 makes the gradients of the other classes NaN, and a "
        "NaN in any class makes the value NaN.",
        LOSSES_3,
        _no_power,
        _generalized,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "gce-labels-unchecked",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.10.0", None),),
        "An invalid class index is accepted: its loss is 1 / q, whatever the "
        "prediction.",
        LOSSES_3,
        lambda case: case.expected_error == "no class",
        _generalized,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "gce-small-q-cancels",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.10.0", None),),
        "1 - p^q loses digits if q is small: three of them with q = 1e-3.",
        LOSSES_3,
        lambda case: accepted(case) and case.config.get("q", 0.5) < 0.1,
        right_answer,
        _power_rounding,
    ),
    Deviation(
        "kl-divergence-half-range",
        ("KLDivergence",),
        (KERAS_2, ("3.0.0", None)),
        "In float16 a ratio with 1e-7 in it, or its reciprocal, overflows: an infinite "
        "loss for p = 0, an infinite gradient for y = 0.",
        LOSSES_3,
        lambda case: case.dtype == "float16" and accepted(case),
        formulas.kl_divergence,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "poisson-half-range",
        ("Poisson",),
        (KERAS_2, ("3.4.0", None)),
        "In float16 epsilon is 1.2e-7, and its reciprocal overflows: a NaN gradient "
        "for a rate and a count of 0.",
        LOSSES_3,
        lambda case: case.dtype == "float16" and accepted(case),
        formulas.poisson,
        on_jax=jax_formulas.outcome,
    ),
)
