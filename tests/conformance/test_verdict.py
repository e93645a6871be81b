"""Who agrees with whom: tolerances, ulp, and each of the verdicts."""

import dataclasses

import numpy as np
import pytest

from keras_losses_ref.conformance import tolerance, verdict
from keras_losses_ref.conformance.cases import Case
from keras_losses_ref.conformance.deviations import Deviation
from keras_losses_ref.conformance.outcome import Outcome

CASE = Case("MeanSquaredError", "made_up", "a test", np.zeros((2, 2)), np.ones((2, 2)))


def outcome(value, gradient=0.0, dtype="float32"):
    return Outcome(np.float64(value), np.full((2, 2), gradient), dtype)


def verdicts(ours, keras, oracle, deviations=(), case=CASE, **more):
    judged = verdict.judge(case, ours, keras, oracle, deviations, **more)
    return {result.aspect: result for result in judged}


def test_ulps_are_those_of_the_dtype():
    assert tolerance.ulps(1.0, 1.0, "float32") == 0
    assert tolerance.ulps(1.0 + 2.0**-23, 1.0, "float32") == 1
    assert tolerance.ulps(1.0 + 2.0**-10, 1.0, "float16") == 1
    assert tolerance.ulps(4.0 + 2.0**-50, 4.0, "float64") == 1
    assert tolerance.ulps(np.nan, np.nan, "float32") == 0
    assert tolerance.ulps(np.inf, np.inf, "float32") == 0


@pytest.mark.parametrize("dtype", tolerance.FLOAT_INFO)
def test_the_tolerance_is_eight_epsilons_and_two(dtype):
    epsilon = tolerance.FLOAT_INFO[dtype][0]
    inside, outside = 1 + 9 * epsilon, 1 + 11 * epsilon
    assert tolerance.difference(inside, 1.0, dtype, "value") is None
    found = tolerance.difference(outside, 1.0, dtype, "value")
    assert found.size > found.allowed
    assert tolerance.difference(1.9 * epsilon, 0.0, dtype, "value") is None
    assert tolerance.difference(2.1 * epsilon, 0.0, dtype, "value") is not None


def test_a_difference_names_the_worst_element():
    wanted = np.array([[1.0, 2.0], [3.0, 4.0]])
    got = wanted + [[0.1, 0.0], [0.5, 0.0]]
    found = tolerance.difference(got, wanted, "float32", "value")
    assert found.index == (1, 0)
    assert found.summary == "2 of 4 elements differ; worst at [1, 0]"
    assert found.size == pytest.approx(0.5)


@pytest.mark.parametrize(
    "got, wanted, same",
    [
        (np.nan, np.nan, True),
        (np.nan, 1.0, False),
        (1.0, np.nan, False),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.inf, 1.0, False),
        (np.inf, 1e6, "float16 has no 1e6"),
    ],
)
def test_what_is_not_finite_must_be_the_same(got, wanted, same):
    dtype = "float16" if isinstance(same, str) else "float32"
    assert (tolerance.difference(got, wanted, dtype, "value") is None) == bool(same)


def test_a_gradient_is_judged_as_one_vector():
    wanted = np.array([1000.0, 1e-6])
    assert tolerance.difference(wanted + [0, 1e-6], wanted, "float32", "value")
    assert (
        tolerance.difference(wanted + [0, 1e-6], wanted, "float32", "gradient") is None
    )


def test_all_agree():
    found = verdicts(outcome(1.0), outcome(1.0), outcome(1.0))
    assert set(found) == {"shape", "dtype", "value", "gradient"}
    assert {result.verdict for result in found.values()} == {verdict.AGREE}


def test_ours_is_wrong():
    found = verdicts(outcome(1.5), outcome(1.0), outcome(1.0))["value"]
    assert found.verdict == verdict.OURS_WRONG
    assert "tf.keras agrees with the oracle" in found.text()


def test_both_are_wrong_in_different_ways():
    found = verdicts(outcome(1.5), outcome(2.0), outcome(1.0))["value"]
    assert found.verdict == verdict.OURS_WRONG


def test_the_oracle_is_suspect():
    found = verdicts(outcome(1.5), outcome(1.5), outcome(1.0))["value"]
    assert found.verdict == verdict.ORACLE_SUSPECT


def test_keras_deviates_without_an_entry():
    found = verdicts(outcome(1.0), outcome(2.0), outcome(1.0))["value"]
    assert found.verdict == verdict.UNEXPLAINED
    assert found.failed


def entry(value):
    return Deviation(
        "made-up",
        ("MeanSquaredError",),
        (("3.0", None),),
        "A made-up deviation.",
        "https://example.org",
        lambda case: True,
        lambda case: outcome(value),
    )


def test_keras_deviates_as_an_entry_says():
    found = verdicts(outcome(1.0), outcome(2.0), outcome(1.0), [entry(2.0)])["value"]
    assert found.verdict == verdict.KNOWN_DEVIATION
    assert found.deviation == "made-up"
    assert not found.failed


def test_keras_deviates_otherwise_than_the_entry_says():
    found = verdicts(outcome(1.0), outcome(2.0), outcome(1.0), [entry(3.0)])["value"]
    assert found.verdict == verdict.UNEXPLAINED
    assert "made-up says something else" in found.reason


def test_an_entry_that_refuses_is_not_matched_by_nan():
    refusing = dataclasses.replace(
        entry(2.0), outcome=lambda case: Outcome(error="ValueError")
    )
    lost = verdicts(outcome(1.0), outcome(np.nan), outcome(1.0), [refusing])["value"]
    assert lost.verdict == verdict.UNEXPLAINED


def under_xla(y_pred):
    return dataclasses.replace(CASE, path="xla", y_pred=np.array(y_pred, float))


NAN = float("nan")


@pytest.mark.parametrize(
    "y_pred, gradient, aspect, expected",
    [
        # inf * 0 in the value, and the gradient of what is NaN
        ([[1, 2], [3, 4]], [[0, 0], [0, 0]], "value", verdict.SKIPPED),
        ([[1, NAN], [3, 4]], [[0, 0], [2, 2]], "gradient", verdict.SKIPPED),
        # beside the NaN everything must be as ever
        ([[1, NAN], [3, 4]], [[0, 0], [2, 9]], "gradient", verdict.ORACLE_SUSPECT),
    ],
)
def test_xla_may_simplify_a_nan_away(y_pred, gradient, aspect, expected):
    truth = Outcome(np.float64(NAN), np.array([[NAN, NAN], [2.0, 2.0]]), "float32")
    got = Outcome(np.float64(0.0), np.array(gradient, float), "float32")
    if aspect == "gradient":
        got = dataclasses.replace(got, value=truth.value)
    assert verdicts(got, got, truth, case=under_xla(y_pred))[aspect].verdict == expected
    assert verdicts(got, got, truth)[aspect].verdict == verdict.ORACLE_SUSPECT


@pytest.mark.parametrize("keeps", [True, False])
def test_a_nan_that_is_given_comes_out_where_xla_keeps_any(keeps):
    truth, lost = outcome(NAN, NAN), outcome(0.0, NAN)
    case = under_xla([[1.0, NAN], [3.0, 4.0]])
    found = verdicts(lost, truth, truth, case=case, keeps_nan=lambda: keeps)["value"]
    assert found.verdict == (verdict.OURS_WRONG if keeps else verdict.SKIPPED)


def test_shape_and_dtype_are_aspects_of_their_own():
    twice = Outcome(np.ones(2), np.zeros((2, 2)), "float64")
    once = Outcome(np.ones(1), np.zeros((2, 2)), "float32")
    found = verdicts(twice, once, once)
    assert found["shape"].verdict == verdict.OURS_WRONG
    assert found["dtype"].verdict == verdict.OURS_WRONG


def test_refusing_what_must_be_refused_agrees_by_fragment():
    case = dataclasses.replace(CASE, expected_error="label_smoothing")
    good = Outcome(error="ValueError", message="`label_smoothing` must be ...")
    bad = Outcome(error="ValueError", message="something else")
    value = outcome(1.0)
    assert verdicts(good, good, None, case=case)["error"].verdict == verdict.AGREE
    assert verdicts(bad, good, None, case=case)["error"].verdict == verdict.OURS_WRONG
    assert verdicts(value, good, None, case=case)["error"].verdict == verdict.OURS_WRONG
    found = verdicts(good, value, None, case=case)["error"]
    assert found.verdict == verdict.UNEXPLAINED


def test_ours_must_not_refuse_what_is_defined():
    error = Outcome(error="ValueError", message="no")
    found = verdicts(error, outcome(1.0), outcome(1.0))["error"]
    assert found.verdict == verdict.OURS_WRONG


def test_a_host_without_the_loss_is_no_disagreement():
    found = verdicts(outcome(1.0), Outcome(unsupported="no such loss"), outcome(1.0))
    assert found["value"].verdict == verdict.AGREE
    assert found["value"].reason == "no such loss"
    found = verdicts(outcome(2.0), Outcome(unsupported="no such loss"), outcome(1.0))
    assert found["value"].verdict == verdict.OURS_WRONG


def test_a_failure_reads_as_the_house_has_it():
    case = dataclasses.replace(CASE, config={"delta": 1.0}, reduction="sum")
    ours = Outcome(np.float64(1), np.full((2, 2), 0.25), "float32")
    right = Outcome(np.float64(1), np.full((2, 2), 0.5), "float32")
    lines = verdicts(ours, right, right, case=case)["gradient"].text().split("\n")
    assert lines[0] == "FAIL mean_squared_error/made_up[float32,sum,eager]  gradient"
    assert "4 of 4 elements differ; worst at [0, 0]" in lines[2]
    assert "y_true=0  y_pred=1  weight=none  config delta=1.0" in lines[3]
    assert "ours 0.25   tf.keras 0.5   oracle 0.5" in lines[4]
    assert "|diff| 0.25 > " in lines[5]
    assert lines[6] == "  verdict: ours is wrong; tf.keras agrees with the oracle"


# --- the mixed error ------------------------------------------------------------------

#: (p - y)^2 where nearly all digits of p cancel: its gradient is 2^-22, and moves by
#: 2^-22 where p moves by an ulp.
CANCELS = dataclasses.replace(
    CASE, y_true=np.ones((1, 1)), y_pred=np.full((1, 1), 1 + 2.0**-23)
)


def gradient_of(times):
    """The exact gradient of `CANCELS`, so many times."""
    return Outcome(np.float64(2.0**-46), np.full((1, 1), times * 2.0**-22), "float32")


def test_ours_may_be_right_for_inputs_within_a_unit(monkeypatch):
    narrow = (0.0, 0.0)
    monkeypatch.setitem(tolerance.TOLERANCE["CPU"], "gradient", narrow)
    exact, near, far = gradient_of(1), gradient_of(5), gradient_of(20)
    assert verdicts(near, exact, exact, case=CANCELS)["gradient"].verdict == (
        verdict.AGREE
    )
    wrong = verdicts(far, exact, exact, case=CANCELS)["gradient"]
    assert wrong.verdict == verdict.OURS_WRONG
    assert wrong.difference.mixed == pytest.approx(19, rel=0.01)
    assert "; mixed error 19, at most 8 allowed" in wrong.text()
    lost = Outcome(exact.value, np.full((1, 1), np.nan), "float32")
    assert verdicts(lost, exact, exact, case=CANCELS)["gradient"].failed


def test_keras_and_what_deviates_are_judged_strictly(monkeypatch):
    monkeypatch.setitem(tolerance.TOLERANCE["CPU"], "gradient", (0.0, 0.0))
    exact, near = gradient_of(1), gradient_of(5)
    found = verdicts(exact, near, exact, case=CANCELS)["gradient"]
    assert found.verdict == verdict.UNEXPLAINED
    says = dataclasses.replace(entry(1.0), outcome=lambda case: exact)
    found = verdicts(exact, near, exact, [says], case=CANCELS)["gradient"]
    assert found.verdict == verdict.UNEXPLAINED


def test_the_mixed_error_is_asked_only_where_the_tolerance_does_not_do(monkeypatch):
    monkeypatch.setattr(verdict, "conditioning", None)
    exact = gradient_of(1)
    assert verdicts(exact, exact, exact, case=CANCELS)["gradient"].verdict == (
        verdict.AGREE
    )
