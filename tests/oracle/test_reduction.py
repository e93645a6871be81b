"""Literal reductions under the rules of each generation of Keras."""

import numpy as np
import pytest

import keras_losses_ref.oracle as oracle

NAN = float("nan")
KERAS3 = ("keras3.0", "keras3.7", "keras3")
ALL = ("keras2", *KERAS3)
V = [1.0, 2.0, 4.0, 8.0]
COLUMN = [[1.0], [2.0], [4.0], [8.0]]

# (rules, values, arguments, result, upstream)
TABLE = [
    # no weights
    (ALL, V, {"reduction": "sum_over_batch_size"}, 3.75, [0.25] * 4),
    (ALL, V, {"reduction": "sum"}, 15.0, [1.0] * 4),
    (ALL, V, {"reduction": "none"}, V, [1.0] * 4),
    (KERAS3, V, {"reduction": None}, V, [1.0] * 4),
    (KERAS3, V, {"reduction": "mean"}, 3.75, [0.25] * 4),
    (KERAS3, V, {"reduction": "mean_with_sample_weight"}, 3.75, [0.25] * 4),
    (("keras2",), V, {"reduction": "auto"}, 3.75, [0.25] * 4),
    # weights: a mean still divides by the number of values
    (
        ALL,
        V,
        {"reduction": "sum_over_batch_size", "sample_weight": [1, 0, 0.5, 2]},
        19 / 4,
        [0.25, 0, 0.125, 0.5],
    ),
    (
        ALL,
        V,
        {"reduction": "sum", "sample_weight": [1, 0, 0.5, 2]},
        19.0,
        [1, 0, 0.5, 2],
    ),
    (ALL, V, {"reduction": "none", "sample_weight": 3.0}, [3, 6, 12, 24], [3.0] * 4),
    (
        KERAS3,
        V,
        {"reduction": "mean_with_sample_weight", "sample_weight": [1, 0, 0.5, 2]},
        19 / 3.5,
        [1 / 3.5, 0, 0.5 / 3.5, 2 / 3.5],
    ),
    (
        KERAS3,
        V,
        {"reduction": "mean_with_sample_weight", "sample_weight": 2.0},
        15.0,  # divided by the one weight, not by its sum over the values
        [1.0] * 4,
    ),
    (
        ("keras3.7", "keras3"),
        V,
        {"reduction": "mean_with_sample_weight", "sample_weight": [0, 0, 0, 0]},
        0.0,
        [0.0] * 4,
    ),
    # ranks
    (
        ALL,
        V,
        {"reduction": "sum", "sample_weight": [[1], [0], [0.5], [2]]},
        19.0,
        [1, 0, 0.5, 2],
    ),
    (
        KERAS3,
        V,
        {"reduction": "none", "sample_weight": [[1], [0], [0.5], [2]]},
        [[1], [0], [2], [16]],  # the values are what gets an axis
        [1, 0, 0.5, 2],
    ),
    (
        ("keras2",),
        V,
        {"reduction": "none", "sample_weight": [[1], [0], [0.5], [2]]},
        [1, 0, 2, 16],  # the weights are what loses one
        [1, 0, 0.5, 2],
    ),
    (
        ALL,
        COLUMN,
        {"reduction": "none", "sample_weight": [1, 0, 0.5, 2]},
        [[1], [0], [2], [16]],
        [[1], [0], [0.5], [2]],
    ),
    (
        ("keras2",),
        [[1.0, 2.0], [4.0, 8.0]],
        {"reduction": "none", "sample_weight": [1, 2]},
        [[1, 2], [8, 16]],  # by row
        [[1, 1], [2, 2]],
    ),
    (
        KERAS3,
        [[1.0, 2.0], [4.0, 8.0]],
        {"reduction": "none", "sample_weight": [1, 2]},
        [[1, 4], [4, 16]],  # plain broadcasting: by column
        [[1, 2], [1, 2]],
    ),
    # masks
    (
        ("keras2", "keras3"),
        V,
        {"reduction": "sum_over_batch_size", "mask": [True, True, False, False]},
        1.5,
        [0.5, 0.5, 0, 0],
    ),
    (
        ("keras3.0", "keras3.7"),
        V,
        {"reduction": "sum_over_batch_size", "mask": [True, True, False, False]},
        3 / (2 + 1e-7),
        [1 / (2 + 1e-7), 1 / (2 + 1e-7), 0, 0],
    ),
    (ALL, V, {"reduction": "sum", "mask": [True, False, True, True]}, 13, [1, 0, 1, 1]),
    (
        KERAS3,
        V,
        {"reduction": "mean_with_sample_weight", "mask": [True, False, False, True]},
        4.5,
        [0.5, 0, 0, 0.5],
    ),
    (
        ("keras2", "keras3"),
        V,
        {
            "reduction": "sum_over_batch_size",
            "mask": [True, True, False, False],
            "sample_weight": [3, 1, 7, 7],
        },
        2.5,  # the weights are not in the denominator
        [1.5, 0.5, 0, 0],
    ),
    (
        ("keras2",),
        V,
        {"reduction": "sum_over_batch_size", "mask": [False] * 4},
        NAN,
        [NAN] * 4,
    ),
    (KERAS3, V, {"reduction": "sum_over_batch_size", "mask": [False] * 4}, 0, [0] * 4),
    # NaN is not silenced by a weight of 0
    (ALL, [1.0, NAN], {"reduction": "sum", "sample_weight": [1, 0]}, NAN, [1, 0]),
    (ALL, [1.0, NAN], {"reduction": "sum", "mask": [True, False]}, NAN, [1, 0]),
    # empty batches and scalars
    (("keras2",), [], {"reduction": "sum_over_batch_size"}, 0.0, []),
    (KERAS3, [], {"reduction": "sum_over_batch_size"}, [], []),
    (KERAS3, [], {"reduction": "sum"}, [], []),
    (ALL, 5.0, {"reduction": "sum_over_batch_size"}, 5.0, 1.0),
    (ALL, 5.0, {"reduction": "sum", "sample_weight": 2.0}, 10.0, 2.0),
    # replicas
    (
        ("keras3.7", "keras3"),
        V,
        {"reduction": "sum_over_batch_size", "replicas": 2},
        1.875,
        [0.125] * 4,
    ),
    (ALL, V, {"reduction": "sum", "replicas": 2}, 15.0, [1.0] * 4),
]


@pytest.mark.parametrize(
    ("rules", "values", "arguments", "result", "upstream"),
    [(rules, *row[1:]) for row in TABLE for rules in row[0]],
)
def test_reduce(rules, values, arguments, result, upstream):
    got, got_upstream = oracle.reduce(np.array(values), rules=rules, **arguments)
    assert got.dtype == got_upstream.dtype == np.float64
    assert got.shape == np.shape(result)
    assert got_upstream.shape == np.shape(values)
    np.testing.assert_allclose(got, result, rtol=1e-15, atol=0)
    np.testing.assert_allclose(got_upstream, upstream, rtol=1e-15, atol=0)


def test_an_empty_batch_of_rank_two():
    empty = np.zeros((0, 3))
    mean = {"reduction": "sum_over_batch_size"}
    assert np.isnan(oracle.reduce(empty, rules="keras3.0", **mean)[0])
    for rules in ("keras2", "keras3.7", "keras3"):
        result, upstream = oracle.reduce(empty, rules=rules, **mean)
        assert result == 0 and upstream.shape == (0, 3)


def test_weights_that_widen_the_values():
    """(1,) losses against (4, 1) weights broadcast; the gradient is summed back."""
    weights = np.array([[1.0], [2.0], [3.0], [4.0]])
    result, upstream = oracle.reduce([2.0], reduction="sum", sample_weight=weights)
    assert result == 20 and upstream.tolist() == [10]


@pytest.mark.parametrize(
    ("rules", "reduction"),
    [("keras2", "mean"), ("keras2", None), ("keras3", "auto"), ("keras3", "average")],
)
def test_an_unknown_reduction(rules, reduction):
    with pytest.raises(ValueError, match="unknown"):
        oracle.reduce(V, reduction=reduction, rules=rules)


def test_unknown_rules():
    with pytest.raises(ValueError, match="rules"):
        oracle.reduce(V, reduction="sum", rules="keras4")


@pytest.mark.parametrize("rules", ALL)
def test_weights_that_do_not_fit(rules):
    with pytest.raises(ValueError):
        oracle.reduce(V, reduction="sum", sample_weight=np.ones(3), rules=rules)


def test_a_long_sum_is_rounded_once():
    values = np.full(100_003, 0.1)
    assert oracle.reduce(values, reduction="sum")[0] == np.float64(0.1) * 100_003
