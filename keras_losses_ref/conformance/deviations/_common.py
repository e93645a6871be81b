"""What the families of the ledger share: conditions on a case, and its labels."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref.conformance.cases.case import Case
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.truth import recovers_logits, right_answer, rounded

#: Every release of the second generation, tf.keras and tf_keras.
KERAS_2 = ("2.12.0", None)

KERAS = "https://github.com/keras-team/keras/blob"
LOSSES_3 = f"{KERAS}/v3.12.0/keras/src/losses/losses.py"


def half(case: Case) -> bool:
    return case.dtype in ("float16", "bfloat16")


def oracle_with(case: Case, **changes: Any) -> Outcome:
    """The definition's answer to a changed question."""
    return right_answer(dataclasses.replace(case, **changes))


def accepted(case: Case) -> bool:
    return case.expected_error is None


def rounded_labels(case: Case) -> NDArray[Any]:
    wide = dataclasses.replace(case, y_true=case.y_true.astype(np.float64))
    pred_as_labels = dataclasses.replace(wide, y_pred=wide.y_true)
    return rounded(pred_as_labels)[1]


def labels_change(case: Case) -> bool:
    if case.y_true.dtype.kind != "i" or case.expected_error:
        return False
    return not np.array_equal(rounded_labels(case), case.y_true)


def with_rounded_labels(case: Case) -> Outcome:
    with np.errstate(invalid="ignore"):  # 2^24 is infinite in float16, one for all
        labels = rounded_labels(case).astype(np.int64)
    classes = case.y_pred.shape[case.config.get("axis", -1)]
    beyond = labels >= classes  # 2999 became 3000, of 3000
    if case.loss != "SparseCategoricalCrossentropy" or not beyond.any():
        return oracle_with(case, y_true=labels)
    if case.path not in ("xla", "nested"):
        return Outcome(error="InvalidArgumentError")
    found = oracle_with(case, y_true=np.where(beyond, 0, labels))  # XLA cannot refuse
    rows = beyond.reshape(case.y_pred.shape[:-1])
    return dataclasses.replace(
        found,
        value=np.where(rows if np.ndim(found.value) else True, np.nan, found.value),
        gradient=np.where(rows[..., None], np.nan, found.gradient),
    )


def smoothing_of(case: Case) -> float:
    return case.config.get("label_smoothing") or 0.0


def smoothed(case: Case, classes: int) -> Outcome:
    """The case with its labels smoothed over `classes` beforehand."""
    smoothing = smoothing_of(case)
    y_true = case.y_true * (1.0 - smoothing) + smoothing / classes
    config = {k: v for k, v in case.config.items() if k != "label_smoothing"}
    return oracle_with(case, y_true=y_true, config=config, expected_error=None)


def class_axis_is_not_last(case: Case) -> bool:
    return case.config.get("axis", -1) not in (-1, case.y_pred.ndim - 1)


def from_probabilities(case: Case) -> bool:
    if case.config.get("from_logits"):
        return False
    return case.activation is None or not recovers_logits(case)


def half_bounds(dtype: str) -> tuple[float, float]:
    """Keras's clip bounds in 16 bit: 1 - 1e-7 rounds to 1."""
    return {"float16": 2.0**-23, "bfloat16": 1.0011717677116394e-07}[dtype], 1.0


def machine_epsilon(dtype: str) -> float:
    return {
        "float64": 2.0**-52,
        "float32": 2.0**-23,
        "float16": 2.0**-10,
        "bfloat16": 2.0**-7,
    }[dtype]
