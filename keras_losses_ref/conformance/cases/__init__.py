"""The corpus: the cases of every loss. Data, no code paths.

A hand-made case is one line of a table: a name, why it is there, y_true, y_pred and
what else it needs. The tables lie in one module for each module of `losses/`; `corpus`
crosses them with dtype, reduction, weights, masks and execution path. Ids are stable,
unique and never reused.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Optional

import numpy as np

from keras_losses_ref.conformance.cases import (
    crossentropy,
    hinge,
    regression,
    segmentation,
    sequence,
    similarity,
)
from keras_losses_ref.conformance.cases.case import (
    COMPILED_PATHS,
    DEFAULT,
    DEVICES,
    DTYPES,
    FORMS,
    PATHS,
    Case,
    data,
    snake,
    table,
)
from keras_losses_ref.conformance.cases.magnitudes import MAGNITUDE_CASES

__all__ = [
    "COMPILED_PATHS",
    "REDUCTION_BATCHES",
    "Case",
    "DEFAULT",
    "DEVICES",
    "DTYPES",
    "FORMS",
    "HANDWRITTEN",
    "MASKS",
    "PATHS",
    "REDUCTIONS",
    "MAGNITUDE_CASES",
    "WEIGHTS",
    "corpus",
    "snake",
    "table",
]

_FAMILIES = (regression, crossentropy, hinge, segmentation, similarity, sequence)

#: The hand-made cases of each loss.
HANDWRITTEN = {
    loss: cases for family in _FAMILIES for loss, cases in family.HANDWRITTEN.items()
}

#: The batch that the crossing of reductions, weights and masks is asked of, and its
#: config: three samples of two steps, so that every shape of weight differs from every
#: other; of three samples where a loss has one value a row.
REDUCTION_BATCHES = {
    loss: batch
    for family in _FAMILIES
    for loss, batch in family.REDUCTION_BATCHES.items()
}

WEIGHTS = {
    "no_weight": None,
    "scalar_weight": 2.5,
    "sample_weight": [0.5, 0.0, 2.0],
    "column_weight": [[0.5], [0.0], [2.0]],
    "element_weight": [[0.5, 1.0], [0.0, 3.0], [2.0, 0.25]],
    "zero_weight": [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
}
MASKS = {
    "no_mask": None,
    "some_masked": [[True, False], [True, True], [False, True]],
    "all_masked": [[False, False], [False, False], [False, False]],
}
_ROW_WEIGHTS = {
    "no_weight": None,
    "scalar_weight": 2.5,
    "sample_weight": [0.5, 0.0, 2.0],
    "column_weight": [[0.5], [0.0], [2.0]],
    "zero_weight": [0.0, 0.0, 0.0],
}
_ROW_MASKS = {
    "no_mask": None,
    "some_masked": [True, False, True],
    "all_masked": [False, False, False],
}
REDUCTIONS = (DEFAULT, "sum", "none", "mean", "mean_with_sample_weight", None)

#: Weights, masks and reductions are code that all losses share. So these two losses get
#: every combination, and the others each pair of weight and mask twice.
_REPRESENTATIVES = ("MeanSquaredError", "SparseCategoricalCrossentropy")

_COMPILED = (DEFAULT, "none")

#: How many kinds of cases a loss has, at most: what XLA compiles when the corpus is
#: full; of how many of them when it is not, and of how many inside a compiled step.
_KINDS, _COMPILED_KINDS, _NESTED_KINDS = 8, 5, 1


def corpus(
    losses: Optional[Iterable[str]] = None, full: bool = False
) -> Iterator[Case]:
    """All cases of `losses` (all losses if None), crossed; `full` crosses further.

    Every case runs eagerly in every dtype. In a graph: a part of them in float32, or
    all in every dtype. Under XLA: one of each kind in float32, or each kind in every
    dtype and all in float32. Nested and inside `fit`: a few, or one of each kind.
    """
    for loss in losses if losses is not None else HANDWRITTEN:
        kinds = [case.name for case in _kinds(HANDWRITTEN[loss])]
        for case in HANDWRITTEN[loss]:
            kind, one = case.name in kinds, case.dtypes[:1]
            few = case.name in kinds[:_COMPILED_KINDS]
            if full:
                compiled = {
                    "graph": case.dtypes,
                    "xla": case.dtypes if kind else one,
                    "nested": one if kind else (),
                }
            elif case.expected_error or "float32" not in case.dtypes:
                compiled = {}
            else:
                compiled = {
                    "graph": one if few or case.activation else (),
                    "xla": one if few else (),
                    "nested": one if case.name in kinds[:_NESTED_KINDS] else (),
                }
            if "eager" not in case.paths:
                compiled = dict.fromkeys(case.paths, one)  # asked nowhere else
            yield from _cross_dtype_and_path(case, compiled)
            if _fits(case) and (_always_fits(case) or (full and kind)):
                yield dataclasses.replace(case, path="fit")
        for case in MAGNITUDE_CASES.get(loss, ()):
            compiled = {"graph": case.dtypes, "xla": case.dtypes} if full else {}
            yield from _cross_dtype_and_path(case, compiled)
        yield from _reloaded(HANDWRITTEN[loss])
        yield from _in_every_form(HANDWRITTEN[loss])
        if loss in REDUCTION_BATCHES:
            yield from _cross_reduction(loss, full)
            yield from _second_order(loss)


def _kinds(cases):
    """The first case of each kind: rank, arguments, activation, weights."""
    kinds = {}
    for case in cases:
        if case.expected_error is None and {"xla", "graph", "nested"} <= set(
            case.paths
        ):
            weighted = case.sample_weight is not None
            arguments = tuple(sorted(case.config))
            kind = case.y_pred.ndim, arguments, case.activation, weighted
            kinds.setdefault(kind, case)
    return itertools.islice(kinds.values(), _KINDS)


def _cross_dtype_and_path(case, compiled):
    """Every dtype eagerly, and those that `compiled` names on other paths."""
    if "eager" in case.paths:
        if case.expected_error is None:
            # The value of each sample, which a mean could hide.
            yield dataclasses.replace(case, dtype=case.dtypes[0], reduction="none")
        for dtype in case.dtypes:
            yield dataclasses.replace(case, dtype=dtype)
    for path, dtypes in compiled.items():
        if path in case.paths:
            for dtype in dtypes:
                yield dataclasses.replace(case, dtype=dtype, path=path)


def _reloaded(cases):
    """Each loss that the cases configure, once; the unconfigured in every dtype."""
    seen = set()
    for case in cases:
        configured = repr(sorted(case.config.items()))
        plain = case.expected_error is None and case.activation is None
        if plain and "float32" in case.dtypes and configured not in seen:
            seen.add(configured)
            for dtype in ("float32",) if case.config else case.dtypes:
                yield dataclasses.replace(case, path="reloaded", dtype=dtype)


def _in_every_form(cases):
    """One batch of each loss, handed over in every form that can hold it."""
    plain = [
        case
        for case in cases
        if case.expected_error is None
        and not (case.activation or case.mask or case.config or case.expected_warning)
        and case.sample_weight is None
        and case.y_pred.ndim >= 2
        and case.y_true.size
        and "float32" in case.dtypes
    ]
    for form in FORMS[1:]:
        fitting = [case for case in plain if _holds(form, case)]
        if fitting:
            path = "graph" if form.startswith("unknown") else "eager"
            yield dataclasses.replace(fitting[0], form=form, path=path)


def _holds(form, case):
    """Whether the inputs of a case can be handed over in a form."""
    y_true, y_pred = case.y_true, case.y_pred
    if form == "boolean_labels":
        return bool(np.isin(y_true, (0, 1)).all()) and y_true.dtype.kind == "f"
    if form == "integer_labels":
        return bool((y_true == np.round(y_true)).all())
    if form == "pandas":
        return y_true.ndim <= 2 and y_pred.ndim == 2
    if form == "ragged":
        return y_true.shape == y_pred.shape
    return True


def _second_order(loss):
    """The derivative of the gradient, in float64: differences need its digits."""
    if any(case.check_hessian for case in HANDWRITTEN[loss]):
        return
    y_true, y_pred, *config = REDUCTION_BATCHES[loss]
    case = Case(
        loss,
        "second_order",
        "the second derivative, along one direction",
        data(y_true),
        data(y_pred, float),
        dict(*config),
        check_hessian=True,
        dtype="float64",
        reduction="sum",
    )
    yield case
    if any(hand.config.get("from_logits") for hand in HANDWRITTEN[loss]):
        config = dict(case.config, from_logits=True)
        yield dataclasses.replace(case, name="second_order_from_logits", config=config)


def _fits(case):
    """Whether a case can be trained on: one batch, float32, accepted input."""
    if "fit" not in case.paths or "float32" not in case.dtypes or case.expected_error:
        return False
    if case.y_pred.ndim < 2 or case.y_pred.shape[0] == 0 or case.y_true.ndim == 0:
        return False
    return case.y_pred.shape[0] == case.y_true.shape[0]


def _always_fits(case):
    """Logits behind an activation are only seen in a graph, which `fit` is."""
    return case.activation is not None or case.name == "documented"


def _cross_reduction(loss, full):
    """Reductions under weights and masks; the paths on a part of them."""
    y_true, y_pred, *config = REDUCTION_BATCHES[loss]
    one_a_row = loss in similarity.HANDWRITTEN or loss in sequence.HANDWRITTEN
    masks = _ROW_MASKS if one_a_row else MASKS
    weights = _ROW_WEIGHTS if one_a_row else WEIGHTS
    pairs = itertools.product(masks.items(), weights.items())
    for index, ((mask_name, mask), (weight_name, weight)) in enumerate(pairs):
        case = Case(
            loss,
            f"{weight_name}_{mask_name}",
            "weights, masks and reductions, by the host's rules",
            data(y_true),
            data(y_pred, float),
            dict(*config),
            sample_weight=weight,
            mask=mask,
        )
        if not full and loss not in _REPRESENTATIVES:
            reduction = REDUCTIONS[1 + index % (len(REDUCTIONS) - 1)]
            yield case
            yield dataclasses.replace(
                case, dtype=DTYPES[1 + index % (len(DTYPES) - 1)], reduction=reduction
            )
            if (weight_name, mask_name) == ("sample_weight", "some_masked"):
                for path in ("graph", "xla"):
                    yield dataclasses.replace(case, path=path)
            continue
        for reduction in REDUCTIONS:
            for dtype in DTYPES:
                yield dataclasses.replace(case, dtype=dtype, reduction=reduction)
            if reduction in _COMPILED and (full or weight_name == "element_weight"):
                for path in ("graph", "xla"):
                    yield dataclasses.replace(case, path=path, reduction=reduction)
