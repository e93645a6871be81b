"""Overlaps of masks: Dice and Tversky."""

import dataclasses

import numpy as np

from keras_losses_ref.conformance.deviations import formulas, jax_formulas
from keras_losses_ref.conformance.deviations._common import (
    LOSSES_3,
    accepted,
    oracle_with,
)
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.deviations.formulas import same_rank
from keras_losses_ref.conformance.truth import rounded


def _stretches(case):
    """Whether the shapes differ, and only where one of them is 1."""
    y_true, y_pred = same_rank(case.y_true, case.y_pred)
    if y_true.ndim != y_pred.ndim or y_true.shape == y_pred.shape:
        return False
    return all(a == b or 1 in (a, b) for a, b in zip(y_true.shape, y_pred.shape))


def _as_written(case):
    one = {"Dice": formulas.dice, "Tversky": formulas.tversky}[case.loss]
    return one(dataclasses.replace(case, expected_error=None))


def _equal_weights(case):
    return case.config.get("alpha", 0.5) == case.config.get("beta", 0.5)


def _mask_leaves_range(case):
    """In float16 1 / D overflows for masks of a few pixels' worth, D for large ones."""
    if case.dtype != "float16" or not accepted(case) or not _equal_weights(case):
        return False
    y_true, y_pred = same_rank(*(np.asarray(a, float) for a in rounded(case)))
    axis = case.config.get("axis")
    axis = tuple(axis) if isinstance(axis, list) else axis
    size = y_true.sum(axis) + y_pred.sum(axis)
    return bool(np.any(size < 1e-4) | np.any(size > 65504))


def _swapped(case):
    config = dict(case.config)
    alpha, beta = config.get("alpha", 0.5), config.get("beta", 0.5)
    return oracle_with(case, config={**config, "alpha": beta, "beta": alpha})


DEVIATIONS = (
    Deviation(
        "dice-mask-stretched",
        ("Dice",),
        (("3.4.0", None),),
        "A mask with an axis of 1 is broadcast in the overlap, but counted once in "
        "the size.",
        LOSSES_3,
        _stretches,
        _as_written,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "tversky-mask-stretched",
        ("Tversky",),
        (("3.8.0", None),),
        "A mask with an axis of 1 is broadcast to the other's shape instead of "
        "refused.",
        LOSSES_3,
        _stretches,
        _as_written,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "overlap-half-range",
        ("Dice", "Tversky"),
        (("3.2.0", None),),
        "In float16 the size of a large mask overflows, and so does the reciprocal of "
        "epsilon for two empty ones: NaN.",
        LOSSES_3,
        _mask_leaves_range,
        _as_written,
        on_jax=jax_formulas.outcome,
    ),
    Deviation(
        "tversky-alpha-beta-swapped",
        ("Tversky",),
        (("3.3.0", "3.15.1"),),
        "alpha weights false negatives and beta false positives, against the "
        "documentation and the paper.",
        "https://github.com/keras-team/keras/pull/23333",
        lambda case: accepted(case) and not _equal_weights(case),
        _swapped,
    ),
)
