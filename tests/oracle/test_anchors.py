"""The oracle against exact values: every row of anchors.json, and mutants of it."""

import functools
import importlib.util
import json
import pathlib

import numpy as np
import pytest

import keras_losses_ref.oracle as oracle
from keras_losses_ref.oracle import _numerics

HERE = pathlib.Path(__file__).parent
WIDER = np.finfo(np.longdouble).nmant > 60

# In units of the last place of the exact value, and of the largest exact component of
# the gradient.
VALUE_ULP, GRADIENT_ULP = 2, 4

# Where NumPy has nothing longer than float64 the roundings of a few exp, log and
# divisions add up. The path of a CTC and the exponents of a circle are sums of tens to
# hundreds whose rounding the exponential turns into a relative error.
# The terms of a Poisson loss have both signs.
NARROW = {"circle": (128, 128), "ctc": (32, 512), "poisson": (128, 32)}
NARROW_OTHERS = (32, 32)

# These gradients are differences of two parts (softmax and label, share and target)
# that may cancel to nothing while each part has been rounded already; what is left is
# known to the rounding of the parts, which are at most about 1.
CANCELLING = {
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
}


def _plain(x):
    if isinstance(x, list):
        return [_plain(a) for a in x]
    return float.fromhex(x) if isinstance(x, str) else x


@functools.lru_cache
def anchors():
    with open(HERE / "anchors.json", encoding="ascii") as file:
        stored = json.load(file)
    assert stored["schema"] == 1
    made = {}
    for name, rows in stored["rows"].items():
        made[name] = [
            (
                row["args"],
                row["dtype"],
                *(_plain(row[k]) for k in ("y_true", "y_pred", "values", "gradient")),
            )
            for row in rows
        ]
    return made


def ulp(got, want, scale=None):
    """|got - want| in last places of `scale` (of want itself if None)."""
    scale = np.abs(want) if scale is None else scale
    with np.errstate(all="ignore"):
        return np.where(got == want, 0, np.abs(got - want) / np.spacing(scale))


def misses(name, function, bounds=(VALUE_ULP, GRADIENT_ULP), parts=2.0**-60):
    """A line for each row that `function` fails, `inputs => got != wanted`."""
    lines = []
    for args, dtype, y, p, values, gradient in anchors()[name]:
        y, p, gradient = np.array(y), np.array(p), np.array(gradient)
        if name == "ctc":
            y, p, gradient = y[None], p[None], gradient[None]
        got, pullback = function(y, p, dtype=dtype, **args)
        got_gradient = pullback(np.ones_like(got))
        values = np.reshape(values, got.shape)
        error = ulp(got, values)
        scale = np.max(np.abs(gradient))
        gradient_error = ulp(got_gradient, gradient, scale)
        if name in CANCELLING:
            small = np.abs(got_gradient - gradient) <= parts
            gradient_error = np.where(small, 0, gradient_error)
        for what, a, b, e, bound in (
            ("value", got, values, error, bounds[0]),
            ("gradient", got_gradient, gradient, gradient_error, bounds[1]),
        ):
            if not np.all(e <= bound):
                lines.append(
                    f"{name}({y.tolist()}, {p.tolist()}, {args}, {dtype}) {what} => "
                    f"{a.tolist()} != {b.tolist()} ({np.max(e):.3g} ulp)"
                )
    return lines


def test_there_are_rows_for_every_loss():
    functions = {f.__name__ for f in oracle.BY_LOSS.values()}
    assert set(anchors()) == functions
    assert all(len(rows) >= 200 for rows in anchors().values())


@pytest.mark.skipif(not WIDER, reason="long double is no longer than double here")
@pytest.mark.parametrize("name", sorted(anchors()))
def test_the_oracle_meets_the_exact_values(name):
    lines = misses(name, getattr(oracle, name))
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize("name", sorted(anchors()))
def test_it_stays_close_where_long_double_is_double(name, monkeypatch):
    monkeypatch.setattr(_numerics, "WIDE", np.float64)
    bounds = NARROW.get(name, NARROW_OTHERS)
    lines = misses(name, getattr(oracle, name), bounds, parts=2.0**-49)
    assert not lines, "\n".join(lines)


def test_the_file_is_what_the_recipe_makes():
    pytest.importorskip("mpmath")
    spec = importlib.util.spec_from_file_location("recipe", HERE / "recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    sample = range(0, recipe.ROWS, 13)  # all of it: python recipe.py --check
    for loss in recipe.LOSSES:
        made = recipe.rows(loss, only=sample)
        stored = [anchors()[loss.__name__][k] for k in sample]
        keys = ("args", "dtype", "y_true", "y_pred", "values", "gradient")
        assert [tuple(row[k] for k in keys) for row in made] == stored


# --- the anchors must notice a wrong oracle --------------------------------------


def _gradient_with_wrong_sign(function, y, p, **args):
    values, pullback = function(y, p, **args)
    return values, lambda upstream: -pullback(upstream)


def _value_with_wrong_sign(function, y, p, **args):
    values, pullback = function(y, p, **args)
    return -values, pullback


def _sum_for_mean(function, y, p, **args):
    values, pullback = function(y, p, **args)
    n = p.shape[args.get("axis", -1)]
    return values * n, lambda upstream: pullback(upstream) * n


def _last_axis_always(function, y, p, axis=-1, **args):
    if axis is None or axis == -1 or y.ndim == p.ndim and p.shape[0] != p.shape[-1]:
        return function(y, p, axis=axis, **args)
    return function(y, p, axis=-1, **args)


def _swapped(function, y, p, alpha=0.5, beta=0.5, **args):
    return function(y, p, alpha=beta, beta=alpha, **args)


def _no_smoothing(function, y, p, label_smoothing=0.0, **args):
    return function(y, p, **args)


def _gradient_of_the_exact_derivative(function, y, p, **args):
    """sum(y) softmax - y instead of the kernel's softmax - y."""
    values, pullback = function(y, p, **args)
    if not args.get("from_logits"):
        return values, pullback
    axis, s = args.get("axis", -1), args.get("label_smoothing", 0.0)
    e = np.exp(p - p.max(axis=axis, keepdims=True))
    q = e / e.sum(axis=axis, keepdims=True)
    more = (1 - s) * (y.sum(axis=axis, keepdims=True) - 1) * q
    return values, lambda upstream: pullback(upstream) + more


MUTANTS = [
    *((name, _gradient_with_wrong_sign) for name in sorted(anchors())),
    *((name, _value_with_wrong_sign) for name in sorted(anchors())),
    ("mean_squared_error", _sum_for_mean),
    ("binary_crossentropy", _sum_for_mean),
    ("poisson", _sum_for_mean),
    ("binary_crossentropy", _last_axis_always),
    ("categorical_crossentropy", _last_axis_always),
    ("dice", _last_axis_always),
    ("tversky", _swapped),
    ("binary_crossentropy", _no_smoothing),
    ("categorical_focal_crossentropy", _no_smoothing),
    ("sparse_categorical_crossentropy", _no_smoothing),
    ("categorical_crossentropy", _gradient_of_the_exact_derivative),
]


@pytest.mark.parametrize(("name", "mutant"), MUTANTS)
def test_a_mutant_is_caught(name, mutant):
    function = functools.partial(mutant, getattr(oracle, name))
    assert misses(name, function, NARROW.get(name, NARROW_OTHERS), parts=2.0**-49)


USE_EPSILON = [
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "dice",
    "kl_divergence",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy",
    "tversky",
]


@pytest.mark.parametrize("name", USE_EPSILON)
@pytest.mark.parametrize("wrong", [(1.1e-7, 1 - 1.1e-7), (1e-7, 1 - 1e-7)])
def test_another_epsilon_is_caught(name, wrong, monkeypatch):
    """Off by a tenth; and float64's epsilon for every dtype."""
    monkeypatch.setattr(_numerics, "constants", lambda dtype: wrong)
    bounds = NARROW.get(name, NARROW_OTHERS)
    assert misses(name, getattr(oracle, name), bounds, parts=2.0**-49)


@pytest.mark.parametrize(
    ("name", "part", "wrong"),
    [
        # a derivative of 1 at 0
        ("mean_absolute_error", "sign", lambda x: np.where(x >= 0, 1.0, -1.0)),
        # a smooth maximum
        ("hinge", "maximum", np.logaddexp),
    ],
)
def test_another_convention_is_caught(name, part, wrong, monkeypatch):
    monkeypatch.setattr(np, part, wrong)
    assert misses(name, getattr(oracle, name), NARROW_OTHERS)
