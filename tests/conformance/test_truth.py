"""The right answer, and how far it moves where the inputs do."""

import dataclasses

import numpy as np
import pytest

from keras_losses_ref.conformance import accuracy, check, truth
from keras_losses_ref.conformance.cases import Case
from keras_losses_ref.conformance.tolerance import spacing


def asked(loss, y_true, y_pred, dtype="float32", **config):
    y_true, y_pred = np.array(y_true), np.array(y_pred, float)
    return Case(
        loss, "made_up", "", y_true, y_pred, config, dtype=dtype, reduction="none"
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conditioning_is_that_of_the_derivatives(dtype):
    """Of a mean squared error: (p - y)^2 / 2 moves by p - y, its gradient by 1."""
    case = asked("MeanSquaredError", [[0.3, 2.7]], [[1.1, 2.4]], dtype)
    y, p = truth.rounded(case)
    unit = spacing(p, dtype), spacing(y, dtype)
    found = truth.conditioning(case)
    want = np.sum(np.abs(p - y) * (unit[0] + unit[1]), axis=-1)
    np.testing.assert_allclose(found.value, want, rtol=0.05)
    np.testing.assert_allclose(found.gradient, unit[0] + unit[1], rtol=0.05)


def test_labels_that_are_whole_numbers_do_not_move():
    case = asked("MeanSquaredError", [[1.0, 3.0]], [[1.1, 2.4]])
    found = truth.conditioning(case)
    np.testing.assert_allclose(
        found.gradient, spacing(truth.rounded(case)[1], "float32"), rtol=0.01
    )


def test_half_precision_computes_in_float32():
    case = asked("MeanSquaredError", [[1.0]], [[1.5]], "float16")
    np.testing.assert_allclose(truth.conditioning(case).value, [2.0**-23], rtol=0.01)


@pytest.mark.parametrize(
    "loss, y_true, y_pred",
    [
        ("MeanAbsoluteError", [[1.0]], [[1.0]]),
        ("Hinge", [[1.0]], [[1.0]]),
        ("SquaredHinge", [[1.0]], [[1.0]]),
        ("MeanAbsolutePercentageError", [[2.0]], [[2.0]]),
    ],
)
def test_a_jump_of_the_gradient_allows_nothing(loss, y_true, y_pred):
    """Which side a kink belongs to is a part of the definition."""
    found = truth.conditioning(asked(loss, y_true, y_pred))
    slope = 2 * spacing(1.0, "float32")  # of SquaredHinge, to one side
    assert np.all(found.gradient <= slope)


def test_whether_close_embeddings_are_apart_is_not_in_the_inputs():
    """1 - cos is 1e-8, less than an ulp of 1."""
    (case,) = check.select(patterns=["circle/tight_cluster[float32,none,eager]"])
    gradient = truth.right_answer(case).gradient
    assert np.max(truth.conditioning(case).gradient) > np.max(np.abs(gradient))
    (case,) = check.select(patterns=["circle/typical[float32,none,eager]"])
    gradient = truth.right_answer(case).gradient
    assert np.max(truth.conditioning(case).gradient) < 1e-3 * np.max(np.abs(gradient))


def test_beside_a_kink_the_slope_is_that_of_its_side():
    """The last number before 1, in float64: above it, Keras's clip begins."""
    case = asked("KLDivergence", [[1.0, 0.0]], [[1 - 2.0**-53, 1e-16]], "float64")
    np.testing.assert_allclose(truth.conditioning(case).value, [2.0**-53], rtol=0.01)


def test_rows_that_stand_alone_may_move_at_once():
    whole = asked(
        "CategoricalCrossentropy", np.eye(3), np.full((3, 3), 0.3) + np.eye(3)
    )
    together = truth.conditioning(whole)
    for row in range(3):
        one = dataclasses.replace(
            whole,
            y_true=whole.y_true[row : row + 1],
            y_pred=whole.y_pred[row : row + 1],
        )
        alone = truth.conditioning(one)
        np.testing.assert_allclose(together.value[row], alone.value[0])
        np.testing.assert_allclose(together.gradient[row], alone.gradient[0])


def test_a_reduced_value_moves_with_all_of_its_samples():
    apart = asked("MeanSquaredError", [[0.3], [0.6]], [[1.1], [0.5]])
    mean = dataclasses.replace(apart, reduction="sum_over_batch_size")
    value = truth.conditioning(mean).value
    np.testing.assert_allclose(value, truth.conditioning(apart).value.sum() / 2)


def test_many_inputs_move_together_and_no_farther_than_one_by_one(monkeypatch):
    """An error measured by it is no smaller than it is."""
    spec = next(spec for spec in accuracy.SPECS if spec.loss == "Circle")
    case = next(accuracy.cases(spec, "float32", "eager"))
    few = dataclasses.replace(case, y_true=case.y_true[:12], y_pred=case.y_pred[:12])
    together = truth.conditioning(few)
    monkeypatch.setattr(truth, "_MOST_ALONE", few.y_pred.size)
    one_by_one = truth.conditioning(few)
    for name in ("value", "gradient"):
        least, most = getattr(together, name), getattr(one_by_one, name)
        assert np.all(least <= 1.01 * most)
        assert np.median(least[most > 0] / most[most > 0]) > 0.2


@pytest.mark.parametrize(
    "loss, config, limit",
    [
        ("MeanSquaredError", {}, 8),
        ("BinaryCrossentropy", {"from_logits": True}, 8),
        ("CategoricalCrossentropy", {}, 8),
        ("CategoricalCrossentropy", {"from_logits": True}, 12),
        ("BinaryFocalCrossentropy", {}, 12),
        ("CTC", {}, 64),
    ],
)
def test_the_mixed_error_that_a_loss_may_have(loss, config, limit):
    assert truth.mixed_limit(loss, config) == limit
