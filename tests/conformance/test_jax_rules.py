"""JAX's rules in the ledger: derivatives and dtypes in NumPy, without JAX."""

import numpy as np
import pytest

from keras_losses_ref.conformance import cases, deviations, truth
from keras_losses_ref.conformance.deviations import jax_formulas
from keras_losses_ref.conformance.deviations.jax_autodiff import Number
from keras_losses_ref.conformance.deviations.rounded_autodiff import gradient


def slope(function, x, dtype="float32"):
    x = Number(np.asarray(x, float), dtype)
    return gradient(function(x), np.ones_like(x.value), x)


def test_a_tie_gives_half_to_each():
    assert slope(lambda x: x.maximum(0.0), [-1, 0, 1]).tolist() == [0, 0.5, 1]
    assert slope(lambda x: x.minimum(1.0), [0, 1, 2]).tolist() == [1, 0.5, 0]
    assert slope(lambda x: x.clip(0.0, 1.0), [0, 0.5, 1]).tolist() == [0.5, 1, 0.5]


def test_the_slope_of_a_size_is_one_at_zero():
    assert slope(lambda x: x.abs(), [-2, 0, 2]).tolist() == [-1, 1, 1]


def test_a_mean_of_float64_is_taken_in_float32():
    x = Number(np.array([1.0, 1e-9]), "float64")
    assert x.mean(-1).dtype == "float64"
    assert x.mean(-1).value == 0.5


def test_half_and_single_meet_in_single():
    half, single = Number(1.0, "float16"), Number(1.0, "float32")
    assert (half * single).dtype == "float32"
    assert (half * 2.0).dtype == "float16"
    assert (half + Number(1.0, "bfloat16")).dtype == "float32"


def test_a_quotient_squares_its_divisor():
    found = slope(lambda x: (0.0 * x) / x, [1e-30])
    assert np.isnan(found).all()


@pytest.mark.parametrize("loss", jax_formulas.FORMULAS)
def test_where_jax_and_tensorflow_agree_the_formula_is_the_definition(loss):
    """Away from ties and ends, in float32; CTC is tested where an alignment exists."""
    if loss == "Circle":
        pytest.importorskip("jax", reason="its matmul is JAX's own")
    case = next(
        case
        for case in cases.corpus([loss])
        if case.name in ("rank_2", "typical", "documented", "second_order")
        and (case.dtype, case.path) == ("float32", "eager")
        and case.expected_error is None
    )
    got, want = jax_formulas.outcome(case), truth.right_answer(case)
    np.testing.assert_allclose(got.value, want.value, rtol=2e-6)


def test_an_entry_holds_on_its_backend_alone():
    of_tensorflow = deviations.for_version("3.15.1", backend="tensorflow")
    of_jax = deviations.for_version("3.15.1", backend="jax")
    names = {entry.id for entry in of_jax} - {entry.id for entry in of_tensorflow}
    assert {"mean-in-float32", "sparse-labels-unchecked"} <= names
    assert all(entry.backend == "jax" for entry in of_jax if entry.id in names)
    assert "log-cosh-float32-log2" not in {entry.id for entry in of_jax}
