"""The oracle's shapes, errors and edges; its accuracy is in test_anchors."""

import math
import subprocess
import sys

import numpy as np
import pytest

import keras_losses_ref.oracle as oracle

NAN, INF = float("nan"), float("inf")
ELEMENTWISE = [
    oracle.mean_squared_error,
    oracle.mean_absolute_error,
    oracle.mean_absolute_percentage_error,
    oracle.mean_squared_logarithmic_error,
    oracle.huber,
    oracle.log_cosh,
    oracle.cosine_similarity,
    oracle.hinge,
    oracle.squared_hinge,
    oracle.categorical_hinge,
    oracle.kl_divergence,
    oracle.poisson,
    oracle.binary_crossentropy,
    oracle.binary_focal_crossentropy,
    oracle.categorical_crossentropy,
    oracle.categorical_focal_crossentropy,
]


def by_name(f):
    return f.__name__


def gradient(function, y, p, **args):
    values, pullback = function(np.array(y), np.array(p), **args)
    return pullback(np.ones_like(values)).tolist()


def values(function, y, p, **args):
    return function(np.array(y), np.array(p), **args)[0].tolist()


def sample(name, batch=3):
    """(truth, prediction, arguments) of any loss, on `batch` rows."""
    p = np.full((batch, 4), 0.25)
    p[:, 1] = 0.5
    y = np.tile(np.eye(4)[1], (batch, 1))
    if name.startswith("Sparse") or "Generalized" in name:
        return np.ones(batch, int), p, {}
    if name == "Circle":
        return np.arange(batch) // 2, p, {}
    if name == "CTC":
        return np.ones((batch, 2), int), np.zeros((batch, 5, 4)), {}
    return y, p, {"axis": 1} if name in ("Dice", "Tversky") else {}


def test_it_imports_numpy_only():
    code = (
        "import sys, keras_losses_ref.oracle;"
        "print([m for m in ('tensorflow', 'keras', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# --- shapes ----------------------------------------------------------------------


@pytest.mark.parametrize("function", ELEMENTWISE, ids=by_name)
def test_a_missing_last_axis_is_added_on_either_side(function):
    y, p = np.array([0.0, 1.0, 1.0]), np.array([0.3, 0.6, 0.9])
    want, pullback = function(y[:, None], p[:, None])
    slope = pullback(np.arange(3.0))
    assert want.shape == (3,)  # and never (3, 3)
    for a, b in ((y, p[:, None]), (y[:, None], p)):
        got, pullback = function(a, b)
        assert got.tolist() == want.tolist()
        assert pullback(np.arange(3.0)).tolist() == slope.reshape(b.shape).tolist()


@pytest.mark.parametrize("function", ELEMENTWISE, ids=by_name)
def test_a_last_axis_of_one_is_dropped_at_rank_three(function):
    rng = np.random.default_rng(0)
    y, p = rng.random((2, 3)), rng.random((2, 3))
    want, pullback = function(y, p)
    for a, b in ((y[..., None], p), (y, p[..., None])):
        got, other = function(a, b)
        assert got.tolist() == want.tolist()
        up = np.ones(2)
        assert other(up).shape == b.shape
        assert other(up).ravel().tolist() == pullback(up).ravel().tolist()


@pytest.mark.parametrize("name", sorted(oracle.BY_LOSS))
def test_an_empty_batch(name):
    y, p, args = sample(name, batch=0)
    got, pullback = oracle.BY_LOSS[name](y, p, **args)
    assert got.shape == (0,) and pullback(got).shape == p.shape


@pytest.mark.parametrize("name", sorted(oracle.BY_LOSS))
def test_what_comes_back_is_float64_and_linear_in_upstream(name):
    y, p, args = sample(name)
    got, pullback = oracle.BY_LOSS[name](y, p.astype(np.float32), **args)
    one, two = pullback(np.ones_like(got)), pullback(np.full_like(got, 2))
    assert got.dtype == one.dtype == np.float64
    assert one.shape == p.shape
    assert (2 * one).tolist() == two.tolist()
    with pytest.raises(ValueError, match="upstream"):
        pullback(np.ones(got.shape + (1,)))


@pytest.mark.parametrize("name", sorted(oracle.BY_LOSS))
def test_nan_in_nan_out_and_nowhere_else(name):
    y, p, args = sample(name)
    p[1] = NAN
    got, pullback = oracle.BY_LOSS[name](y, p, **args)
    slope = pullback(np.ones_like(got))
    assert np.isnan(got[1]) and np.isnan(slope[1]).any()
    if name != "Circle":  # whose rows see each other
        assert np.isfinite(got[[0, 2]]).all() and np.isfinite(slope[[0, 2]]).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_any_float_dtype_comes_in(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    p = np.array([[0.25, 0.5]], dtype)
    want = oracle.mean_squared_error([[0.0, 1.0]], [[0.25, 0.5]])[0]
    assert oracle.mean_squared_error([[0, 1]], p, dtype=p.dtype)[0] == want


@pytest.mark.parametrize(
    "function",
    [f for f in ELEMENTWISE if not f.__name__.startswith(("binary", "categorical_"))]
    + [oracle.categorical_hinge],
    ids=by_name,
)
def test_a_stretched_prediction_gets_its_gradients_summed(function):
    rng = np.random.default_rng(1)
    y, p, up = rng.random((3, 4)), rng.random((1, 4)), rng.random(3)
    got, pullback = function(y, p)
    want, full = function(y, np.repeat(p, 3, axis=0))
    np.testing.assert_allclose(got, want, rtol=1e-15)
    summed = full(up).sum(axis=0, keepdims=True)
    np.testing.assert_allclose(pullback(up), summed, rtol=1e-13, atol=1e-15)


def test_a_stretched_prediction_is_refused_by_the_focal_loss():
    with pytest.raises(ValueError, match="same shape"):
        oracle.categorical_focal_crossentropy(np.ones((3, 4)), np.ones((1, 4)))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        oracle.binary_crossentropy,
        oracle.binary_focal_crossentropy,
        oracle.categorical_crossentropy,
        oracle.categorical_focal_crossentropy,
        oracle.sparse_categorical_crossentropy,
        oracle.sparse_categorical_focal_crossentropy,
    ],
    ids=by_name,
)
def test_any_axis(function, from_logits):
    rng = np.random.default_rng(2)
    y, p = rng.random((2, 3, 4)), rng.random((2, 3, 4))
    args = {"from_logits": from_logits}
    sparse = function.__name__.startswith("sparse")
    if not sparse or function is oracle.sparse_categorical_crossentropy:
        args["label_smoothing"] = 0.2
    up = rng.random((2, 3))
    truth = np.argmax(y, axis=-1) if sparse else y
    want, pullback = function(truth, p, **args)
    slope = pullback(up)
    for axis in (0, 1):
        a = truth if sparse else np.moveaxis(y, -1, axis)
        b = np.moveaxis(p, -1, axis)
        got, other = function(a, b, axis=axis, **args)
        assert got.tolist() == want.tolist()
        assert np.moveaxis(other(up), axis, -1).tolist() == slope.tolist()
        if sparse:  # the axis of classes may be there, as 1
            assert function(np.expand_dims(a, axis), b, axis=axis)[0].shape == (2, 3)


def test_a_mask_over_everything_is_a_scalar():
    got, pullback = oracle.dice(np.ones((2, 3)), np.full((2, 3), 0.5))
    assert got.shape == () and pullback(1.0).shape == (2, 3)
    assert oracle.tversky(np.ones((2, 3)), np.ones((2, 3)), axis=(0, 1))[0].shape == ()


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "y", "p", "args", "fragment"),
    [
        (oracle.mean_squared_error, np.ones(3), np.ones(4), {}, "shape"),
        (oracle.mean_squared_error, np.ones((2, 3)), np.ones((3, 2)), {}, "shape"),
        (oracle.mean_squared_error, np.ones(()), np.ones(()), {}, "axis"),
        (oracle.binary_crossentropy, np.ones((2, 1)), np.ones((2, 3)), {}, "same"),
        (oracle.categorical_crossentropy, np.ones(3), np.ones((3, 3)), {}, "same"),
        (oracle.huber, np.ones(3), np.ones(3), {"delta": 0.0}, "delta"),
        (oracle.huber, np.ones(3), np.ones(3), {"delta": NAN}, "delta"),
        (oracle.dice, np.ones((2, 1)), np.ones((2, 3)), {}, "shape"),
        (oracle.mean_squared_error, np.ones(3), np.ones(3), {"dtype": "int8"}, "dtype"),
        (oracle.cosine_similarity, np.ones(3), np.ones(3), {"axis": 1}, "axis"),
        (oracle.cosine_similarity, np.ones(3), np.ones(3), {"axis": True}, "axis"),
        (
            oracle.sparse_categorical_crossentropy,
            np.ones((2, 3)),
            np.ones((2, 3)),
            {},
            "shape",
        ),
        (
            oracle.sparse_categorical_focal_crossentropy,
            np.ones(2),
            np.ones((2, 3)),
            {"alpha": [1.0, 2.0]},
            "alpha",
        ),
        (
            oracle.categorical_generalized_cross_entropy,
            np.ones(2),
            np.ones((2, 3)),
            {"q": 1.0},
            "interval",
        ),
        (oracle.ctc, np.ones((2, 2, 2)), np.ones((2, 2, 2)), {}, "expected"),
        (oracle.ctc, [[1, 0, 2]], np.ones((1, 5, 3)), {}, "blank"),
        (oracle.ctc, [[3, 0]], np.ones((1, 5, 3)), {}, "between"),
        (oracle.ctc, [[1, -1]], np.ones((1, 5, 3)), {}, "between"),
        (oracle.circle, [0, 1, 2], np.ones((2, 3)), {}, "label"),
    ],
)
def test_what_is_refused(function, y, p, args, fragment):
    with pytest.raises(ValueError, match=fragment):
        function(y, p, **args)


# --- constants and edges ---------------------------------------------------------


def test_the_constants_of_each_dtype():
    y, p = [[0.0]], [[1.0]]
    for dtype in ("float32", "float16", "bfloat16"):
        got = values(oracle.binary_crossentropy, y, p, dtype=dtype)
        assert got == [-math.log(2.0**-23)]  # 1 - float32(1e-7) is 1 - 2^-23
    got = values(oracle.binary_crossentropy, y, p, dtype="float64")
    np.testing.assert_allclose(got, -math.log(1e-7), rtol=1e-9)


def test_clip_gates_are_inclusive():
    for dtype in ("float32", "float64"):
        low = 1e-7 if dtype == "float64" else float(np.float32(1e-7))
        inside, outside = low, low / 2
        slope = gradient(
            oracle.binary_crossentropy, [[1.0, 1.0]], [[inside, outside]], dtype=dtype
        )
        assert slope[0][0] < -1e6 and slope[0][1] == 0


def test_kinks():
    assert gradient(oracle.mean_absolute_error, [[1.0]], [[1.0]]) == [[0]]
    assert gradient(oracle.hinge, [[1.0]], [[1.0]]) == [[-1]]
    assert gradient(oracle.hinge, [[1.0]], [[1.5]]) == [[0]]
    assert gradient(oracle.huber, [[0.0]], [[1.0]]) == [[1]]
    tied = gradient(oracle.categorical_hinge, [[0, 1, 0]], [[0.5, 0.25, 0.5]])
    assert tied == [[0.5, -1, 0.5]]
    assert gradient(oracle.categorical_hinge, [[0, 1]], [[0.5, 1.5]]) == [[1, -1]]


def test_binary_labels_of_the_whole_batch_make_a_hinge():
    p = [[0.5, 0.5], [0.5, 0.5]]
    assert values(oracle.hinge, [[0, 1], [1, 1]], p) == [1.0, 0.5]
    assert values(oracle.hinge, [[0, 1], [1, -1]], p) == [0.75, 1.0]


def test_infinite_logits_follow_the_limit():
    bce, cce = oracle.binary_crossentropy, oracle.categorical_crossentropy
    args = {"from_logits": True}
    assert values(bce, [[1.0, 0.0]], [[INF, -INF]], **args) == [0]
    assert gradient(bce, [[1.0, 0.0]], [[INF, -INF]], **args) == [[0, 0]]
    assert values(bce, [[0.0]], [[INF]], **args) == [INF]
    assert values(cce, [[1, 0, 0]], [[INF, 0, -INF]], **args) == [0]
    assert gradient(cce, [[1, 0, 0]], [[INF, 0, -INF]], **args) == [[0, 0, 0]]
    assert values(cce, [[0, 1]], [[INF, 0.0]], **args) == [INF]
    assert values(cce, [[0, 1]], [[0.0, -INF]], **args) == [INF]
    assert np.isnan(values(cce, [[0, 1]], [[INF, INF]], **args))
    assert np.isnan(values(cce, [[0, 1]], [[-INF, -INF]], **args))
    sparse = oracle.sparse_categorical_crossentropy
    assert values(sparse, [0], [[INF, 0.0]], **args) == [0]


def test_the_kernels_gradient_where_labels_do_not_sum_to_one():
    slope = gradient(
        oracle.categorical_crossentropy, [[2.0, 0.0]], [[0.0, 0.0]], from_logits=True
    )
    assert slope == [[-1.5, 0.5]]  # softmax - y, not sum(y) softmax - y


def test_a_row_of_zero_probabilities_has_no_shares():
    got = values(oracle.categorical_crossentropy, [[1.0, 0.0]], [[0.0, 0.0]])
    assert np.isnan(got)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("from_logits", [False, True])
def test_focal_gradients_are_finite_at_the_ends(gamma, from_logits):
    args = {"gamma": gamma, "from_logits": from_logits}
    p = [[-2e4, 2e4]] if from_logits else [[0.0, 1.0]]
    for y in ([[0.0, 1.0]], [[1.0, 0.0]]):
        for f in (
            oracle.binary_focal_crossentropy,
            oracle.categorical_focal_crossentropy,
        ):
            assert np.isfinite(gradient(f, y, p, **args)).all()
            assert np.isfinite(values(f, y, p, **args)).all()


def test_focal_of_a_hit_is_zero_for_fractional_gamma():
    f = oracle.binary_focal_crossentropy
    assert values(f, [[1.0]], [[1.0]], gamma=0.5) == [0]
    assert gradient(f, [[1.0]], [[1.0]], gamma=0.5) == [[0]]
    c = -math.log1p(-(2.0**-23))  # what the clip leaves of the cross entropy
    assert gradient(f, [[1.0]], [[1.0]], gamma=1.0) == [[-c]]


def test_alphas_run_along_the_axis():
    y, p = np.eye(3), np.full((3, 3), 1 / 3)
    alpha = [1.0, 2.0, 3.0]
    f = oracle.categorical_focal_crossentropy
    got = values(f, y, p, alpha=alpha, axis=0)
    np.testing.assert_allclose(np.array(got) / got[0], alpha)


def test_smoothing_counts_the_classes_of_the_axis():
    y, p = np.array([[1.0, 0, 0, 1], [0, 1, 1, 0]]), np.full((2, 4), 0.5)
    slope = gradient(
        oracle.categorical_crossentropy,
        y,
        p,
        axis=0,
        label_smoothing=0.5,
        dtype="float64",
    )
    np.testing.assert_allclose(slope, np.where(y == 1, -0.5, 0.5))


def test_ignored_labels():
    y = np.array([0, 7, -1])
    p = np.array([[0.5, 0.5], [NAN, NAN], [0.5, 0.5]])
    for f in (
        oracle.sparse_categorical_crossentropy,
        oracle.sparse_categorical_focal_crossentropy,
    ):
        got, pullback = f(y, p, ignore_class=7)
        assert got[0] > 0 and got[1] == 0 and np.isnan(got[2])  # -1 is no class
        slope = pullback(np.ones(3))
        assert np.isfinite(slope[0]).all() and slope[1].tolist() == [0, 0]
        assert np.isnan(slope[2]).all()
    mask = oracle.valid_mask(y[:, None], 7, p)
    assert mask.tolist() == [True, False, True]
    assert oracle.valid_mask(y, None, p).tolist() == [True] * 3


def test_generalized_cross_entropy_at_its_ends():
    f = oracle.categorical_generalized_cross_entropy
    assert values(f, [[0], [1]], [[0.0, 1.0], [0.0, 1.0]], q=0.5) == [2, 0]
    slope = gradient(f, [0, 1], [[0.0, 1.0], [0.0, 1.0]], q=0.5)
    assert slope == [[-INF, 0], [0, -1]]
    assert values(f, [5], [[0.5, 0.5]], q=0.5) == [2]
    assert gradient(f, [5], [[0.5, 0.5]], q=0.5) == [[0, 0]]


def test_poisson_beyond_its_domain():
    f = oracle.poisson
    assert np.isnan(values(f, [[1.0]], [[-1.0]]))
    assert values(f, [[1.0]], [[-1e-7]], dtype="float64") == [INF]


def test_cosines():
    f = oracle.cosine_similarity
    assert values(f, [[0.0, 0.0]], [[1.0, 2.0]]) == [0]
    assert values(f, [[1.0, 2.0]], [[0.0, 0.0]]) == [0]
    assert values(f, [[3e200, 4e200]], [[3e-5, 4e-5]], dtype="float64") == [-1]
    tiny = values(f, [[1.0, 0.0]], [[1e-9, 0.0]], dtype="float64")
    np.testing.assert_allclose(tiny, [-0.01])  # 1e7 * 1e-9: below the floor


def test_masks():
    assert values(oracle.dice, [[0.0, 0.0]], [[0.0, 0.0]]) == 1
    perfect = values(oracle.dice, np.ones(40_000), np.ones(40_000), dtype="float64")
    np.testing.assert_allclose(perfect, 1e-7 / 80_000, rtol=1e-9)
    # One false positive, no false negative: only alpha matters.
    y, p = np.array([1.0, 0.0]), np.array([1.0, 1.0])
    got = [values(oracle.tversky, y, p, alpha=a, beta=9.0) for a in (0.0, 1.0)]
    np.testing.assert_allclose(got, [0, 0.5], atol=1e-6)


def test_circle():
    p = np.eye(3)
    got, pullback = oracle.circle([0, 0, 1], p)
    assert got[2] == 0  # no positive
    assert oracle.circle_mask(got).tolist() == [True, True, False]
    faint = np.array([0.0, 1e-300, 1e-40, 1e-8])
    for dtype, counts in (("float64", 3), ("float32", 1), ("float16", 0)):
        assert oracle.circle_mask(faint, dtype).sum() == counts
    alone, pullback = oracle.circle([0, 0, 0], p)
    assert alone.tolist() == [0, 0, 0]
    assert pullback(np.ones(3)).tolist() == np.zeros((3, 3)).tolist()
    given, pullback = oracle.circle(
        [0, 0, 1], p, ref_labels=[0, 0, 1], ref_embeddings=p
    )
    assert given.tolist() == got.tolist()  # but the references are constants now
    step, up = np.zeros((3, 3)), np.ones(3)
    step[0, 1] = 1e-6
    args = {"ref_labels": [0, 0, 1], "ref_embeddings": p}
    ahead = oracle.circle([0, 0, 1], p + step, **args)[0].sum()
    behind = oracle.circle([0, 0, 1], p - step, **args)[0].sum()
    np.testing.assert_allclose(pullback(up)[0, 1], (ahead - behind) / 2e-6, rtol=1e-6)


def test_ctc_of_impossible_and_empty_labels():
    x = np.zeros((2, 2, 3))
    got, pullback = oracle.ctc([[1, 1, 1], [0, 0, 0]], x)
    assert got[0] == INF
    np.testing.assert_allclose(got[1], 2 * math.log(3))  # two blanks
    slope = pullback(np.ones(2))
    assert slope[0].tolist() == np.zeros((2, 3)).tolist()
    np.testing.assert_allclose(slope[1], np.array([[-2, 1, 1], [-2, 1, 1]]) / 3)
    # 1, 1 needs a blank between: three steps, one path.
    only = oracle.ctc([[1, 1]], np.zeros((1, 3, 2)))[0]
    np.testing.assert_allclose(only, 3 * math.log(2))


def test_ctc_is_smooth_where_its_two_ways_meet():
    """A label of probability about 1/2 is computed from either side of it."""
    word = [[1, 2, 2, 1]]
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, 12, 4))
    path = [0, 1, 1, 2, 2, 0, 0, 2, 2, 1, 0, 0]
    x[0, np.arange(12), path] += 3
    low, high, seen = 0.0, 8.0, []
    for _ in range(50):  # bisect the sharpness to a loss of 0.7
        middle = (low + high) / 2
        loss = oracle.ctc(word, x * middle)[0][0]
        low, high = (middle, high) if loss > 0.7 else (low, middle)
        seen.append(loss)
    (a, pull_a), (b, pull_b) = (oracle.ctc(word, x * s) for s in (low, high))
    assert a > 0.7 >= b
    np.testing.assert_allclose(a, b, rtol=1e-13)
    up = np.ones(1)
    np.testing.assert_allclose(pull_a(up), pull_b(up), rtol=1e-11, atol=1e-15)
    assert abs(pull_a(up).sum(axis=-1)).max() < 1e-14
