"""The right number: literal values and gradients, in every dtype and on every path."""

import inspect
import warnings

import numpy as np
import pytest
import tensorflow as tf
from loss_values import VALUES

import keras_losses_ref as klr
from keras_losses_ref.losses import compat

#: Machine epsilons of what a loss is returned in.
EPSILON = {
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "float32": 2.0**-23,
    "float64": 2.0**-52,
}

ids = [f"{row[0]}-{i}" for i, row in enumerate(VALUES)]
every_row = pytest.mark.parametrize("row", VALUES, ids=ids)


def value_and_gradient(function, y_true, y_pred):
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = function(y_true, y_pred)
    return value, tape.gradient(value, y_pred)


def tensors(name, y_true, y_pred, dtype):
    """y_true as integers where the loss counts with them, else in `dtype`."""
    y_true = np.array(y_true)
    if y_true.dtype.kind != "i":
        y_true = tf.constant(y_true, dtype)
    return tf.constant(y_true), tf.constant(y_pred, dtype)


def assert_close(actual, expected, epsilon, scale=None):
    """Within 16 epsilon of the expected, or of the largest of its row."""
    actual = np.asarray(tf.cast(actual, tf.float64))
    expected = np.array(expected)
    assert actual.shape == expected.shape
    size = np.abs(expected)
    if scale == "row":
        size = np.max(size, axis=-1, keepdims=True)
    allowed = 16 * epsilon * size + 2 * epsilon + 0 * expected
    np.testing.assert_array_less(np.abs(actual - expected), allowed)


@pytest.mark.parametrize(
    "dtype, path",
    [
        *((dtype, path) for dtype in EPSILON for path in ("eager", "graph")),
        ("float32", "xla"),
    ],
)
@every_row
def test_value_and_gradient(row, dtype, path):
    name, y_true, y_pred, arguments, expected, expected_gradient = row

    def run(y_true, y_pred):
        return value_and_gradient(
            lambda *y: getattr(klr, name)(*y, **arguments), y_true, y_pred
        )

    if path != "eager":
        run = tf.function(run, jit_compile=path == "xla")
    value, gradient = run(*tensors(name, y_true, y_pred, dtype))
    assert value.dtype.name == gradient.dtype.name == dtype
    # 16 bit: everything but the last rounding happens in float32.
    epsilon = EPSILON[dtype] if dtype.endswith(("32", "64")) else EPSILON[dtype] / 16
    assert_close(value, expected, epsilon)
    assert_close(gradient, expected_gradient, epsilon, scale="row")


@every_row
def test_unknown_shapes(row):
    name, y_true, y_pred, arguments, expected, _ = row
    y_true, y_pred = tensors(name, y_true, y_pred, "float32")

    def signature(tensor):
        return tf.TensorSpec([None] * tensor.shape.rank, tensor.dtype)

    function = tf.function(
        lambda *y: getattr(klr, name)(*y, **arguments),
        input_signature=[signature(y_true), signature(y_pred)],
    )
    assert_close(function(y_true, y_pred), expected, EPSILON["float32"])


@every_row
def test_second_derivative(row):
    """Against central differences of the gradient, along one direction."""
    name, y_true, y_pred, arguments, _, _ = row
    y_true, y_pred = tensors(name, y_true, y_pred, "float64")
    direction = tf.constant(np.random.default_rng(0).normal(size=y_pred.shape))

    def slope(y_pred):
        _, gradient = value_and_gradient(
            lambda *y: getattr(klr, name)(*y, **arguments), y_true, y_pred
        )
        return gradient

    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        along = tf.reduce_sum(slope(y_pred) * direction)
    second = tape.gradient(along, y_pred, unconnected_gradients="zero")
    step = 1e-5
    # The Hessian is symmetric: differences along `direction` are its product with it.
    expected = (slope(y_pred + step * direction) - slope(y_pred - step * direction)) / (
        2 * step
    )
    np.testing.assert_allclose(second, expected, rtol=1e-5, atol=1e-6)


@every_row
def test_gradient_to_y_true(row):
    name, y_true, y_pred, arguments, _, _ = row
    y_true, y_pred = tensors(name, y_true, y_pred, "float64")
    if not y_true.dtype.is_floating:
        pytest.skip("integer labels have no gradient")
    if name == "categorical_hinge" or name == "kl_divergence":
        pytest.skip("the tables stand on a corner of y_true")
    if name == "hinge" or name == "squared_hinge":
        y_true = y_true + 0.5  # no longer 0 and 1, which would be converted
    function = getattr(klr, name)
    _, gradient = value_and_gradient(
        lambda y_pred, y_true: function(y_true, y_pred, **arguments), y_pred, y_true
    )
    direction = tf.constant(np.random.default_rng(0).normal(size=y_true.shape))
    step = 1e-6 * direction
    expected = tf.reduce_sum(
        function(y_true + step, y_pred, **arguments)
        - function(y_true - step, y_pred, **arguments)
    )
    np.testing.assert_allclose(
        tf.reduce_sum(gradient * direction), expected / 2e-6, rtol=1e-6
    )


@every_row
def test_parity_with_the_host(row):
    name, y_true, y_pred, arguments, _, _ = row
    if name == "tversky" and compat.RELEASE < (3, 16):
        pytest.skip("alpha and beta are swapped in Keras up to 3.15")
    if name == "ctc" and compat.RELEASE < (3, 4):
        pytest.skip("the padding counts as labels in Keras up to 3.3")
    try:
        theirs = klr.to_keras(getattr(klr, name))
    except ValueError:
        pytest.skip(f"Keras {compat.VERSION} has no {name}")
    if not set(arguments) <= set(inspect.signature(theirs).parameters):
        pytest.skip(f"the {name} of Keras {compat.VERSION} lacks an argument")
    if name == "categorical_generalized_cross_entropy":
        arguments = {"q": 0.5, **arguments}  # Keras has no default
    y_true, y_pred = tensors(name, y_true, y_pred, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = value_and_gradient(
            lambda *y: theirs(*y, **arguments), y_true, y_pred
        )
    actual = value_and_gradient(
        lambda *y: getattr(klr, name)(*y, **arguments), y_true, y_pred
    )
    np.testing.assert_allclose(actual[0], expected[0], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-5, atol=2e-6)


@every_row
def test_a_class_is_its_function_reduced(row):
    name, y_true, y_pred, arguments, expected, _ = row
    (cls,) = {
        cls
        for cls in map(klr.losses.convert.LOSSES.get, klr.losses.__all__)
        if inspect.isclass(cls) and cls.function is getattr(klr, name)
    }
    y_true, y_pred = tensors(name, y_true, y_pred, "float32")
    loss = cls(**arguments, reduction="sum")
    assert_close(loss(y_true, y_pred), np.sum(expected), EPSILON["float32"])
    loss = cls(**arguments, reduction="none")
    assert_close(loss(y_true, y_pred), expected, EPSILON["float32"])


# --- traps -----------------------------------------------------------------------


def gradient_of(function, y_true, y_pred):
    y_pred = tf.constant(y_pred)
    value, gradient = value_and_gradient(function, tf.constant(y_true), y_pred)
    return value.numpy(), gradient.numpy()


def test_mape_counts_a_zero_as_epsilon():
    value, gradient = gradient_of(klr.mape, [[0.0, 2.0]], [[1.0, 2.0]])
    np.testing.assert_allclose(value, [100 * 1e7 / 2], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[100 * 1e7 / 2, 0.0]], rtol=1e-6)


def test_msle_takes_what_is_below_epsilon_as_epsilon():
    value, gradient = gradient_of(klr.msle, [[-5.0, 1.0]], [[-2.0, 0.0]])
    np.testing.assert_allclose(value, [np.log(2.0) ** 2 / 2], rtol=1e-6)
    np.testing.assert_array_equal(gradient, [[0.0, 0.0]])


def test_msle_keeps_the_digits_of_a_small_error():
    value, _ = gradient_of(klr.msle, [[1.0]], [[np.float32(1 + 2**-20)]])
    np.testing.assert_allclose(value, [np.log1p(2.0**-21) ** 2], rtol=1e-5)


@pytest.mark.parametrize("error, slope", [(2.0, 2.0), (-2.0, -2.0), (3.0, 2.0)])
def test_huber_at_and_beyond_delta(error, slope):
    value, gradient = gradient_of(lambda *y: klr.huber(*y, delta=2), [[0.0]], [[error]])
    assert gradient == slope
    assert value == (2.0 if abs(error) == 2 else 4.0)


def test_huber_does_not_overflow():
    value = klr.huber([[0.0]], tf.constant([[257.0]], tf.float16), delta=256.0)
    assert value.numpy() == 33024.0
    value, gradient = gradient_of(
        lambda *y: klr.huber(*y, delta=1.0), [[0.0]], [[3e38]]
    )
    np.testing.assert_allclose(value, [3e38], rtol=1e-6)
    assert gradient == 1.0


@pytest.mark.parametrize("delta", [0, -1.0, "1", True, None])
def test_huber_refuses_delta(delta):
    with pytest.raises(ValueError, match="delta"):
        klr.Huber(delta=delta)
    with pytest.raises(ValueError, match="delta"):
        klr.huber([0.0], [1.0], delta=delta)


@pytest.mark.parametrize(
    "error, value",
    [(1e-6, 5e-13), (1e-3, 4.9999991666668889e-07), (50.0, 49.306852819440055)],
)
def test_log_cosh_near_and_far(error, value):
    found, gradient = gradient_of(klr.log_cosh, [[0.0]], [[np.float32(error)]])
    np.testing.assert_allclose(found, [value], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[np.tanh(error)]], rtol=1e-6)


def test_log_cosh_in_float64_is_float64():
    value = klr.log_cosh([[0.0]], np.array([[2.0]]))
    np.testing.assert_allclose(value, [1.3250027473578644], rtol=1e-15)


def test_cosine_of_a_zero_vector():
    value, gradient = gradient_of(klr.cosine_similarity, [[3.0, 4.0]], [[0.0, 0.0]])
    assert value == 0.0
    np.testing.assert_allclose(gradient, [[-6e6, -8e6]], rtol=1e-6)
    value, gradient = gradient_of(klr.cosine_similarity, [[0.0, 0.0]], [[3.0, 4.0]])
    assert value == 0.0
    np.testing.assert_array_equal(gradient, [[0.0, 0.0]])


@pytest.mark.parametrize("size", [1e-6, 1e30])
def test_cosine_of_short_and_long_vectors(size):
    vector = np.array([[3.0, 4.0]], np.float32) * np.float32(size)
    value, gradient = gradient_of(klr.cosine_similarity, vector, vector)
    np.testing.assert_allclose(value, [-1.0], rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_cosine_along_another_axis():
    y = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    value = klr.CosineSimilarity(axis=1, reduction="none", dtype="float64")(*y)
    np.testing.assert_allclose(
        value, klr.cosine_similarity(*np.moveaxis(y, 2, 3)), rtol=1e-12
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("right", [True, False])
def test_binary_focal_at_certainty(gamma, right):
    y_pred = [[1.0, 0.0]] if right else [[0.0, 1.0]]
    value, gradient = gradient_of(
        lambda *y: klr.binary_focal_crossentropy(*y, gamma=gamma), [[1.0, 0.0]], y_pred
    )
    # The worst that the clip allows: 1e-7, and 1 - 1e-7 as float32 has it.
    worst = (-np.log(1e-7) - np.log(2.0**-23)) / 2
    assert np.isfinite(gradient).all()
    expected = (1e-7 if gamma == 0 else 0.0) if right else worst
    np.testing.assert_allclose(value, [expected], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_binary_focal_from_far_logits(gamma):
    value, gradient = gradient_of(
        lambda *y: klr.binary_focal_crossentropy(*y, gamma=gamma, from_logits=True),
        [[1.0, 1.0]],
        [[60.0, -60.0]],
    )
    np.testing.assert_allclose(value, [30.0], rtol=1e-6)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[0, 1], -0.5, rtol=1e-6)


def test_binary_focal_with_gamma_0_is_binary_crossentropy():
    y_true, y_pred = [[1.0, 0.0, 1.0]], [[0.75, 0.125, 1.0]]
    # The focal one is computed in float64: an ulp apart, at most.
    np.testing.assert_array_max_ulp(
        klr.binary_focal_crossentropy(y_true, y_pred, gamma=0.0).numpy(),
        klr.binary_crossentropy(y_true, y_pred).numpy(),
        maxulp=1,
    )


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_binary_focal_recovers_the_logits_of_a_sigmoid(activation):
    @tf.function
    def run(x):
        y_pred = getattr(tf, activation)(x)
        return klr.binary_focal_crossentropy(tf.zeros_like(x), y_pred, gamma=0.0)

    expected = 30.0 if activation == "sigmoid" else -np.log(2.0**-23)
    np.testing.assert_allclose(run(tf.constant([[30.0]])), [expected], rtol=1e-6)


def test_categorical_focal_does_not_recover_the_logits_of_a_softmax():
    @tf.function
    def run(x):
        return klr.categorical_focal_crossentropy(
            [[1.0, 0.0]], tf.nn.softmax(x), alpha=1.0, gamma=0.0
        )

    np.testing.assert_allclose(
        run(tf.constant([[0.0, 30.0]])), [-np.log(1e-7)], rtol=1e-6
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_categorical_focal_at_certainty(gamma, dtype):
    y_pred = tf.constant([[1.0, 0.0]], dtype)
    for function, y_true in (
        (klr.categorical_focal_crossentropy, [[1.0, 0.0]]),
        (klr.categorical_focal_crossentropy, [[0.0, 1.0]]),
        (klr.sparse_categorical_focal_crossentropy, [0]),
        (klr.sparse_categorical_focal_crossentropy, [1]),
    ):
        value, gradient = value_and_gradient(
            lambda *y, f=function: f(*y, gamma=gamma), tf.constant(y_true), y_pred
        )
        assert np.isfinite(value.numpy().astype(float)).all()
        assert np.isfinite(gradient.numpy().astype(float)).all()


def test_label_smoothing_and_alpha_count_the_classes_along_axis():
    rng = np.random.default_rng(0)
    y_true = np.eye(3)[rng.integers(0, 3, (2, 4))]
    y_pred = rng.random((2, 4, 3)) + 0.1
    arguments = {"label_smoothing": 0.3, "alpha": [0.2, 0.3, 0.5]}
    np.testing.assert_allclose(
        klr.categorical_focal_crossentropy(
            np.moveaxis(y_true, -1, 1), np.moveaxis(y_pred, -1, 1), axis=1, **arguments
        ),
        klr.categorical_focal_crossentropy(y_true, y_pred, **arguments),
        rtol=1e-12,
    )


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_sparse_losses_take_any_axis(axis):
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, (2, 4))
    y_pred = rng.random((2, 4, 3)) + 0.1
    for name, arguments in (
        ("sparse_categorical_crossentropy", {}),
        ("sparse_categorical_focal_crossentropy", {"alpha": [0.2, 0.3, 0.5]}),
    ):
        function = getattr(klr, name)
        expected = function(y_true, y_pred, **arguments)
        moved = np.moveaxis(y_pred, -1, axis)
        for labels in (y_true, np.expand_dims(y_true, axis)):
            np.testing.assert_allclose(
                function(labels, moved, axis=axis, **arguments), expected, rtol=1e-12
            )


@pytest.mark.parametrize("alpha", [[0.5], [0.1, 0.2], [[0.1, 0.2, 0.7]], "1", None])
def test_alpha_is_a_number_or_one_for_each_class(alpha):
    y_pred = [[0.2, 0.3, 0.5]]
    with pytest.raises(ValueError, match="alpha"):
        klr.categorical_focal_crossentropy([[0.0, 1.0, 0.0]], y_pred, alpha=alpha)
    with pytest.raises(ValueError, match="alpha"):
        klr.sparse_categorical_focal_crossentropy([1], y_pred, alpha=alpha)


def test_ignored_labels_cost_nothing_and_are_not_counted():
    y_true, y_pred = [0, -1, 1], [[0.5, 0.5], [0.0, 0.0], [0.5, 0.5]]
    loss = klr.SparseCategoricalFocalCrossentropy(alpha=1.0, gamma=1.0, ignore_class=-1)
    value, gradient = gradient_of(loss, y_true, y_pred)
    np.testing.assert_allclose(value, 0.5 * np.log(2.0), rtol=1e-6)
    np.testing.assert_array_equal(gradient[1], [0.0, 0.0])
    np.testing.assert_array_less(0.0, np.abs(gradient[[0, 2]]))


@pytest.mark.parametrize(
    "function",
    [
        klr.sparse_categorical_crossentropy,
        klr.sparse_categorical_focal_crossentropy,
        klr.categorical_generalized_cross_entropy,
    ],
    ids=lambda function: function.__name__,
)
class TestIndices:
    """What losses with class indices share."""

    @pytest.mark.parametrize("label", [-1, 2])
    def test_a_label_that_is_no_class_is_refused(self, function, label):
        with pytest.raises(tf.errors.InvalidArgumentError, match="no class of y_pred"):
            function([0, label], [[0.5, 0.5], [0.5, 0.5]])

    def test_a_fraction_is_refused(self, function):
        with pytest.raises(tf.errors.InvalidArgumentError, match="no class of y_pred"):
            function([0.5], [[0.5, 0.5]])

    def test_a_column_of_labels(self, function):
        y_pred = [[0.25, 0.75], [0.5, 0.5]]
        column = function([[1], [0]], y_pred)
        assert column.shape == (2,)
        np.testing.assert_array_equal(column, function([1, 0], y_pred))

    def test_one_hot_labels_are_refused(self, function):
        with pytest.raises(ValueError, match="one-hot"):
            function([[0.0, 1.0]], [[0.5, 0.5]])

    def test_large_labels_are_not_rounded(self, function):
        y_pred = np.full((1, 300), 2.0**-10, np.float32)
        y_pred[0, 257] = 0.5
        wide = function([257], tf.constant(y_pred, tf.bfloat16))
        narrow = function([257], tf.constant(y_pred))
        np.testing.assert_allclose(tf.cast(wide, tf.float32), narrow, rtol=2**-8)


@pytest.mark.parametrize(
    "function",
    [
        klr.sparse_categorical_focal_crossentropy,
        klr.categorical_generalized_cross_entropy,
    ],
    ids=lambda function: function.__name__,
)
def test_a_label_that_is_no_class_is_nan_in_a_graph(function):
    y_pred = tf.constant([[0.5, 0.5], [0.25, 0.75]])
    value = tf.function(function)(tf.constant([0, 2]), y_pred)
    np.testing.assert_array_equal(np.isnan(value), [False, True])


@pytest.mark.parametrize("q", [0, 1, 1.5, -0.5, "a"])
def test_gce_needs_q_between_0_and_1(q):
    with pytest.raises(ValueError, match="`q`"):
        klr.CategoricalGeneralizedCrossEntropy(q=q)
    with pytest.raises(ValueError, match="`q`"):
        klr.categorical_generalized_cross_entropy([0], [[0.5, 0.5]], q)


def test_gce_at_probability_zero():
    value, gradient = gradient_of(
        lambda *y: klr.categorical_generalized_cross_entropy(*y, q=0.5),
        [0],
        [[0.0, 1.0]],
    )
    assert value == 2.0
    np.testing.assert_array_equal(gradient, [[-np.inf, 0.0]])


def test_gce_with_a_small_q_is_nearly_crossentropy():
    value = klr.categorical_generalized_cross_entropy(
        [0], np.array([[0.25, 0.75]], np.float32), q=1e-6
    )
    np.testing.assert_allclose(value, [-np.log(0.25)], rtol=2e-6)


def test_kl_divergence_clips_zeros_and_negatives():
    value, gradient = gradient_of(klr.kl_divergence, [[0.0, 1.0]], [[-1.0, 0.0]])
    np.testing.assert_allclose(value, [np.log(1e7)], rtol=1e-6)
    np.testing.assert_array_equal(gradient, [[0.0, 0.0]])


def test_kl_divergence_keeps_the_digits_of_a_small_difference():
    p = np.array([[0.5 + 2**-20, 0.5]], np.float32)
    value = klr.kl_divergence(p, np.full_like(p, 0.5))
    np.testing.assert_allclose(
        value, (p[0].astype(float) * np.log(p.astype(float) / 0.5)).sum(-1), rtol=1e-6
    )


def test_poisson_at_zero_and_below():
    value, gradient = gradient_of(klr.poisson, [[0.0, 1.0]], [[0.0, 0.0]])
    np.testing.assert_allclose(value, [-np.log(1e-7) / 2], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[0.5, 0.5 - 0.5e7]], rtol=1e-6)
    assert np.isnan(klr.poisson([[0.0]], [[-1.0]]))


def test_poisson_gradient_cancels_no_more_than_y_pred_is_rounded():
    _, gradient = gradient_of(klr.poisson, [[1.0]], [[np.float32(1 + 2**-20)]])
    expected = (2.0**-20 + 1e-7) / (1 + 2.0**-20 + 1e-7)
    # Half a unit in the last place of y_pred moves it by 6e-8.
    np.testing.assert_allclose(gradient, [[expected]], rtol=1e-6, atol=2**-23)


def test_poisson_broadcasts():
    y_true = tf.constant([[1.0], [2.0]])
    y_pred = tf.constant([[0.5, 1.5], [2.5, 1.0]])
    value, gradient = value_and_gradient(klr.poisson, y_true, y_pred)
    wide = tf.broadcast_to(y_true, [2, 2])
    np.testing.assert_array_equal(value, klr.poisson(wide, y_pred))
    with tf.GradientTape() as tape:
        tape.watch(y_true)
        value = klr.poisson(y_true, y_pred)
    assert tape.gradient(value, y_true).shape == (2, 1)


@pytest.mark.parametrize("function", [klr.hinge, klr.squared_hinge])
def test_hinge_looks_at_the_whole_batch(function):
    y_pred = [[0.5, 0.5], [0.5, 0.5]]
    binary = function([[0.0, 1.0], [1.0, 1.0]], y_pred)
    signed = function([[-1.0, 1.0], [1.0, 1.0]], y_pred)
    np.testing.assert_array_equal(binary, signed)
    # One label that is neither 0 nor 1, in another row, and the zero stays a zero.
    mixed = function([[0.0, 1.0], [-1.0, 1.0]], y_pred)
    assert mixed[0] != binary[0]


def test_hinge_passes_its_gradient_at_the_margin():
    _, gradient = gradient_of(klr.hinge, [[1.0, -1.0]], [[1.0, -1.0]])
    np.testing.assert_array_equal(gradient, [[-0.5, 0.5]])


def test_categorical_hinge_ties_share():
    _, gradient = gradient_of(klr.categorical_hinge, [[1.0, 0, 0]], [[0.0, 2, 2]])
    np.testing.assert_array_equal(gradient, [[-1.0, 0.5, 0.5]])
    value, gradient = gradient_of(klr.categorical_hinge, [[1.0, 0]], [[3.0, 2.0]])
    assert value == 0.0
    np.testing.assert_array_equal(gradient, [[-1.0, 1.0]])


@pytest.mark.parametrize("function", [klr.dice, klr.tversky])
class TestOverlap:
    def test_axis_none_gives_a_scalar(self, function):
        assert function(np.ones((2, 3, 3)), np.ones((2, 3, 3))).shape == ()

    def test_axes(self, function):
        y_true, y_pred = np.random.default_rng(0).random((2, 2, 3, 4))
        value = function(y_true, y_pred, axis=(1, 2))
        assert value.shape == (2,)
        np.testing.assert_array_equal(value, function(y_true, y_pred, axis=[-1, 1]))
        np.testing.assert_allclose(value[0], function(y_true[0], y_pred[0]), rtol=1e-6)

    def test_two_empty_masks(self, function):
        value, gradient = gradient_of(function, np.zeros((2, 2)), np.zeros((2, 2)))
        assert value == 1.0
        assert np.isfinite(gradient).all()

    def test_a_nearly_perfect_mask_keeps_its_digits(self, function):
        y_pred = np.ones((100, 100), np.float32)
        y_pred[0, 0] = 1 - 2**-20
        value = function(np.ones_like(y_pred), y_pred)
        np.testing.assert_allclose(value, (2**-20 + 2e-7) / 2e4, rtol=0.2)

    def test_many_ones_in_half_precision(self, function):
        ones = tf.ones([400, 400], tf.float16)
        assert abs(float(function(ones, ones))) < 1e-6

    def test_another_shape_is_refused(self, function):
        with pytest.raises(ValueError, match="aligned"):
            function(np.ones((2, 1)), np.ones((2, 3)))
        with pytest.raises(ValueError, match="axis"):
            function(np.ones((2, 3)), np.ones((2, 3)), axis=2)
        with pytest.raises(ValueError, match="axis"):
            function(np.ones((2, 3)), np.ones((2, 3)), axis="1")


def test_tversky_alpha_weighs_false_positives():
    miss, alarm = [[1.0, 1.0]], [[1.0, 0.0]]
    kept = {"alpha": 0.0, "beta": 1.0}
    np.testing.assert_allclose(klr.tversky(alarm, miss, **kept), 0.0, atol=1e-6)
    np.testing.assert_allclose(klr.tversky(miss, alarm, **kept), 0.5, rtol=1e-6)


def test_circle_without_a_positive_or_a_negative():
    points = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    for labels in ([0, 1, 2], [5, 5, 5]):
        value, gradient = gradient_of(klr.circle, labels, points)
        np.testing.assert_array_equal(value, [0.0, 0.0, 0.0])
        np.testing.assert_array_equal(gradient, np.zeros((3, 2)))
    value, gradient = gradient_of(klr.circle, [0], [[1.0, 0.0]])
    np.testing.assert_array_equal(value, [0.0])
    np.testing.assert_array_equal(gradient, [[0.0, 0.0]])


def test_circle_leaves_zeros_out_of_the_mean():
    points = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    values = klr.circle([0, 0, 1], points)
    np.testing.assert_array_equal(compat.get_mask(values), [True, True, False])
    np.testing.assert_allclose(
        klr.Circle()([0, 0, 1], points), np.sum(values) / 2, rtol=1e-6
    )


def test_circle_with_references():
    points, labels = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]
    same = klr.circle(labels, points, ref_labels=labels, ref_embeddings=points)
    np.testing.assert_array_equal(same, klr.circle([[0], [0], [1]], points))
    one = klr.circle(labels[:1], points[:1], labels[1:], points[1:], False)
    np.testing.assert_allclose(one, klr.circle(labels, points)[:1], rtol=1e-6)


def test_circle_labels_are_not_rounded():
    labels = [2**24, 2**24 + 1, 2**24]
    points = tf.constant([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], tf.bfloat16)
    np.testing.assert_array_equal(
        klr.Circle(reduction="none")(labels, points).numpy() > 0, [True, False, True]
    )


def test_circle_refuses_other_shapes():
    with pytest.raises(ValueError, match="one label for each embedding"):
        klr.circle([0, 1], [[1.0, 0.0]])
    with pytest.raises(ValueError, match="one label for each embedding"):
        klr.circle([[0, 1]], [[1.0, 0.0]])
    with pytest.raises(ValueError, match="ref_labels"):
        klr.circle([0], [[1.0, 0.0]], ref_embeddings=[[1.0, 0.0], [0.0, 1.0]])


class TestCTC:
    logits = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)

    def test_float64_is_computed_in_float64(self):
        labels = [[1, 2, 0], [3, 3, 1], [0, 0, 0]]
        wide = klr.ctc(labels, self.logits.astype(np.float64))
        narrow = klr.ctc(labels, self.logits)
        assert wide.dtype == tf.float64
        np.testing.assert_allclose(narrow, wide, rtol=1e-6)
        assert not np.array_equal(tf.cast(narrow, tf.float64), wide)

    def test_no_labels(self):
        blank = -np.log(tf.nn.softmax(self.logits))[:, :, 0].sum(axis=1)
        for labels in (np.zeros((3, 2), int), np.zeros((3, 0), int)):
            np.testing.assert_allclose(klr.ctc(labels, self.logits), blank, rtol=1e-6)

    def test_padding_is_nothing(self):
        labels = np.array([[1, 2], [3, 0], [2, 2]])
        np.testing.assert_array_equal(
            klr.ctc(labels, self.logits),
            klr.ctc(np.pad(labels, [[0, 0], [0, 5]]), self.logits),
        )

    @pytest.mark.parametrize("labels", [[1, 2, 3], [1, 1, 0]])
    def test_too_little_time(self, labels):
        logits = tf.constant(self.logits[:1, :2])
        value, gradient = value_and_gradient(klr.ctc, tf.constant([labels]), logits)
        assert 700 < value < 720
        assert np.isfinite(gradient).all()
        expected = tf.nn.ctc_loss(
            tf.constant([labels]),
            logits,
            tf.constant([np.count_nonzero(labels)]),
            tf.constant([2]),
            logits_time_major=False,
            blank_index=0,
        )
        np.testing.assert_allclose(value, expected, rtol=1e-6)

    def test_a_very_unlikely_label_is_not_taken_for_an_impossible_one(self):
        logits = np.zeros((1, 20, 2), np.float32)
        logits[..., 0] = 100.0
        value, gradient = value_and_gradient(
            klr.ctc, tf.constant([[1] * 10]), tf.constant(logits)
        )
        np.testing.assert_allclose(value, [1000 - np.log(184756 / 1)], rtol=0.02)
        assert np.isfinite(gradient).all()

    @pytest.mark.parametrize("row", [[0, 1, 2], [1, 0, 2], [1, 4, 0], [-1, 2, 0]])
    def test_unusable_labels(self, row):
        labels = [[1, 2, 3], row, [0, 0, 0]]
        with pytest.raises(ValueError, match="ctc: labels must be classes"):
            klr.ctc(labels, self.logits)
        value = tf.function(klr.ctc)(tf.constant(labels), self.logits)
        np.testing.assert_array_equal(np.isnan(value), [False, True, False])

    def test_other_ranks(self):
        with pytest.raises(ValueError, match="one row of labels per sample"):
            klr.ctc([1, 2, 3], self.logits)
        with pytest.raises(ValueError, match="one row of labels per sample"):
            klr.ctc([[1, 2, 3]], self.logits[0])

    @pytest.mark.parametrize("path", ["eager", "graph", "xla"])
    def test_long_input(self, path):
        rng = np.random.default_rng(0)
        logits = tf.constant(rng.normal(size=(2, 50, 8)), tf.float32)
        labels = tf.constant(rng.integers(1, 8, (2, 12)), tf.int32)

        def run(labels, logits):
            return value_and_gradient(klr.ctc, labels, logits)

        if path != "eager":
            run = tf.function(run, jit_compile=path == "xla")
        with tf.GradientTape() as tape:
            tape.watch(logits)
            expected = tf.nn.ctc_loss(
                labels, logits, [12, 12], [50, 50], False, blank_index=0
            )
        value, gradient = run(labels, logits)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(gradient, tape.gradient(expected, logits), atol=1e-4)


# --- ragged inputs ---------------------------------------------------------------

RAGGED = {
    "mean_squared_error": {},
    "mean_absolute_error": {},
    "mean_absolute_percentage_error": {},
    "mean_squared_logarithmic_error": {},
    "binary_crossentropy": {},
    "binary_focal_crossentropy": {},
    "categorical_crossentropy": {},
    "categorical_focal_crossentropy": {},
    "sparse_categorical_crossentropy": {},
}


def ragged_rows():
    lengths = [2, 0, 3]
    y_true = tf.RaggedTensor.from_row_lengths(tf.eye(5, 3) + 0.0, lengths)
    y_pred = y_true.with_flat_values(
        tf.constant(np.random.default_rng(0).random((5, 3)) * 0.8 + 0.1, tf.float32)
    )
    return y_true, y_pred


@pytest.mark.parametrize("name", RAGGED)
def test_ragged_rows(name):
    y_true, y_pred = ragged_rows()
    if name.startswith("sparse"):
        y_true = y_true.with_flat_values(tf.constant([0, 1, 2, 0, 1]))
    function = getattr(klr, name)
    value = function(y_true, y_pred)
    np.testing.assert_array_equal(value.row_lengths(), [2, 0, 3])
    np.testing.assert_allclose(
        value.flat_values, function(y_true.flat_values, y_pred.flat_values), rtol=1e-6
    )
    in_graph = tf.function(function)(y_true, y_pred)
    np.testing.assert_allclose(in_graph.flat_values, value.flat_values, rtol=1e-6)
    # Keras 3 refuses the cross-entropies of ragged rows.
    if compat.GENERATION == 2 and hasattr(compat.keras.losses, name):
        theirs = klr.to_keras(function)
        np.testing.assert_allclose(
            theirs(y_true, y_pred).flat_values, value.flat_values, rtol=1e-5, atol=1e-6
        )


@pytest.mark.skipif(compat.GENERATION == 3, reason="Keras 3 reduces no ragged rows")
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0]])
def test_ragged_rows_reduced(weights):
    y_true, y_pred = ragged_rows()
    ours, theirs = klr.MeanSquaredError(), compat.keras.losses.MeanSquaredError()
    np.testing.assert_allclose(
        ours(y_true, y_pred, weights), theirs(y_true, y_pred, weights), rtol=1e-6
    )


def test_ragged_features():
    y_true = tf.ragged.constant([[1.0, 0.0], [1.0]])
    y_pred = tf.ragged.constant([[0.5, 0.5], [0.0]])
    np.testing.assert_allclose(klr.mse(y_true, y_pred), [0.25, 1.0])
    np.testing.assert_allclose(klr.mse(tf.zeros([2, 2]), y_pred), [0.25, 0.0])
    with pytest.raises(ValueError, match="y_pred is not"):
        klr.mse(y_true, tf.zeros([2, 2]))
    with pytest.raises(ValueError, match="axis"):
        klr.binary_crossentropy(y_true, y_pred, axis=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the same lengths"):
        klr.mse(y_true, tf.ragged.constant([[0.5], [0.0, 1.0]]))
