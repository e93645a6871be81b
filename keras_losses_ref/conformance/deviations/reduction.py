"""Where a released Keras averages over something else than the definition."""

import dataclasses

import numpy as np

from keras_losses_ref.conformance.deviations import formulas
from keras_losses_ref.conformance.deviations._common import (
    KERAS,
    KERAS_2,
    from_probabilities,
    rounded_labels,
)
from keras_losses_ref.conformance.deviations.crossentropy import (
    binary_with_epsilon_in_log,
    focal_with_epsilon_in_log,
)
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.truth import (
    host_rules,
    merged_mask,
    right_answer,
    rounded,
)


def _column_against_vector(case):
    """(N,) against (N, 1), either way round."""
    ranks = sorted((case.y_true.ndim, case.y_pred.ndim))
    last = max((case.y_true, case.y_pred), key=np.ndim).shape[-1]
    return not case.expected_error and ranks == [1, 2] and last == 1


def _squeezed_to_scalar(case):
    changes = {"y_true": case.y_true.ravel(), "y_pred": case.y_pred.ravel()}
    flat = _of_vectors(dataclasses.replace(case, **changes))
    if flat.error:
        return flat
    gradient = flat.gradient.reshape(case.y_pred.shape)
    return dataclasses.replace(flat, gradient=gradient)


def _of_vectors(case):
    """A loss of two vectors, as Keras 2 or the first Keras 3 has it."""
    if host_rules().generation == 2 and case.loss == "CosineSimilarity":
        return formulas.cosine_similarity_keras_2(case)
    if host_rules().generation == 2 and from_probabilities(case):
        if case.loss == "BinaryCrossentropy":
            return binary_with_epsilon_in_log(case)
        if case.loss == "BinaryFocalCrossentropy":
            return focal_with_epsilon_in_log(case)
    return right_answer(case)


def _nothing_valid(case):
    if case.expected_error or case.reduction not in ("sum_over_batch_size", "mean"):
        return False
    case = _as_cast(case)
    y_true, y_pred = rounded(case)
    truth = right_answer(dataclasses.replace(case, reduction="none"))
    mask = merged_mask(case, truth.value, y_true, y_pred)
    return mask is not None and mask.size and not mask.any()


def _total_over_epsilon_overflows(case):
    return case.dtype == "float16" and _nothing_valid(case)


def _as_cast(case):
    """Labels that a cast makes alike leave Circle no pair, and so nothing valid."""
    if case.y_true.dtype.kind != "i":
        return case
    with np.errstate(invalid="ignore"):  # 2^24 is infinite in float16, one for all
        return dataclasses.replace(case, y_true=rounded_labels(case).astype(np.int64))


def _nan(case):
    truth = right_answer(_as_cast(case))
    if truth.error:
        return truth
    gradient = np.full_like(truth.gradient, np.nan)
    if case.config.get("ignore_class") is not None and case.mask is None:
        gradient[...] = 0.0  # a `where` keeps it from rows that are ignored
    return dataclasses.replace(
        truth, value=np.full_like(truth.value, np.nan), gradient=gradient
    )


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
        (KERAS_2, ("3.0.0", "3.0.4")),
        "(N,) against (N, 1) is squeezed to (N,), so the mean over the last axis is "
        "the mean over the batch: one number, which sample weights then multiply.",
        f"{KERAS}/v2.15.0/keras/utils/losses_utils.py",
        _column_against_vector,
        _squeezed_to_scalar,
    ),
    Deviation(
        "all-masked-overflows-in-half",
        (
            "MeanSquaredError",
            "MeanAbsoluteError",
            "BinaryCrossentropy",
            "CategoricalCrossentropy",
            "SparseCategoricalCrossentropy",
            "Circle",
        ),
        (("3.0.0", "3.12.4"),),
        "Where a mask keeps nothing, its weight is total / 1e-7: infinite in float16, "
        "and NaN times the masked zeros.",
        "https://github.com/keras-team/keras/pull/21908",
        _total_over_epsilon_overflows,
        _nan,
    ),
)
