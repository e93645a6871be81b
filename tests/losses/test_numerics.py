"""Accuracy: the atlas's rules, finite answers, exact labels, and all derivatives."""

import numpy as np
import pytest
import tensorflow as tf

import keras_losses_ref as klr
from keras_losses_ref.conformance import accuracy
from keras_losses_ref.losses import compat

NAMES = [subject.name for subject in accuracy.SPECS]
each_subject = pytest.mark.parametrize("subject", accuracy.SPECS, ids=NAMES)
EXTREME = ("float16", "bfloat16", "float32", "float64")


# --- the atlas -------------------------------------------------------------------


@each_subject
def test_no_cell_breaks_a_rule(subject):
    dtypes = ("float16", "bfloat16", "float32")
    cells = accuracy.measure([subject], dtypes=dtypes, paths=["eager"], seed=1)
    assert [cell for cell in cells if cell.violations] == []


@pytest.mark.sweep
@pytest.mark.parametrize("path", ["graph", "xla"])
@each_subject
def test_no_compiled_cell_breaks_a_rule(subject, path, sweep):
    cells = accuracy.measure([subject], dtypes=["bfloat16", "float32"], paths=[path])
    assert [cell for cell in cells if cell.violations] == []


def test_the_same_seed_gives_the_same_errors():
    subject = accuracy.SPECS[NAMES.index("LogCosh")]
    first, second, other = (
        accuracy.measure([subject], ["float32"], ["eager"], seed) for seed in (3, 3, 4)
    )
    assert all(np.array_equal(a.ours, b.ours) for a, b in zip(first, second))
    assert not all(np.array_equal(a.ours, b.ours) for a, b in zip(first, other))


def test_a_worse_loss_breaks_the_rules():
    errors = np.array([0.25, 12.0])
    subject = accuracy.SPECS[0]
    cell = accuracy.Cell(
        subject, "float32", "eager", "", "value", errors, errors / 2, 0
    )
    assert cell.violations == ["worse than Keras", "above 8 in more than 0.1 %"]
    seldom = np.append(np.zeros(2000), 12.0)
    cell = accuracy.Cell(subject, "float32", "eager", "", "value", seldom, seldom, 0)
    assert cell.violations == []


@pytest.mark.parametrize(
    "got, want, dtype, errors",
    [
        (1.0 + 2**-23, 1.0, "float32", 1.0),
        (np.nan, 1.0, "float32", np.inf),
        (np.inf, 1e39, "float32", 0.0),
        (0.0, 1e-40, "float32", 0.0),
        (0.0, 2**-24, "float16", 1.0),
        (0.0, 1e-30, "float32", 1e-30 / 2 ** (-100 - 23)),
    ],
)
def test_ulp_errors(got, want, dtype, errors):
    found = accuracy.ulp_errors(np.array([got]), np.array([want]), dtype)
    np.testing.assert_allclose(found, [errors])


# --- finite wherever the definition is -------------------------------------------


def value_and_gradient(loss, y_true, y_pred, weight=None):
    y_pred = tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred, sample_weight=weight)
    return value, tape.gradient(value, y_pred)


def assert_finite(*tensors):
    assert all(bool(tf.reduce_all(tf.math.is_finite(t))) for t in tensors)


@pytest.mark.parametrize("gamma", [0, 0.1, 0.5, 1, 1.5, 2, 5.0])
@pytest.mark.parametrize("dtype", EXTREME)
def test_focal_gradients_are_finite_for_every_gamma(dtype, gamma):
    # Up to where e^-x leaves float64's range, and beyond.
    x = tf.constant([[0.0, 1.0, 17.0, 40.0, 800.0, 3e4]], dtype)
    y = tf.constant([[0.0, 1.0, 1.0, 0.0, 1.0, 0.5]], dtype)
    p = tf.constant([[0.0, 1.0, 1.0, 0.0, 0.5, 1.0]], dtype)
    hot = tf.constant([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]], dtype)
    one = tf.constant([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]], dtype)
    for sign in (1.0, -1.0):
        loss = klr.BinaryFocalCrossentropy(gamma=gamma, from_logits=True, dtype=dtype)
        assert_finite(*value_and_gradient(loss, y, sign * x))
        loss = klr.CategoricalFocalCrossentropy(
            gamma=gamma, from_logits=True, dtype=dtype
        )
        assert_finite(*value_and_gradient(loss, hot, sign * x))
    loss = klr.BinaryFocalCrossentropy(gamma=gamma, dtype=dtype)
    assert_finite(*value_and_gradient(loss, y, p))
    for label in ([1], [2]):
        loss = klr.SparseCategoricalFocalCrossentropy(gamma=gamma, dtype=dtype)
        assert_finite(*value_and_gradient(loss, label, one))


@pytest.mark.parametrize("dtype", EXTREME)
@pytest.mark.parametrize("compiled", [False, True])
def test_infinite_logits_cost_what_their_limit_costs(dtype, compiled):
    inf = np.inf
    binary = klr.BinaryCrossentropy(from_logits=True, reduction="none", dtype=dtype)
    hot = klr.CategoricalCrossentropy(from_logits=True, reduction="none", dtype=dtype)

    def ask(y, x, rows, logits):
        return value_and_gradient(binary, y, x), value_and_gradient(hot, rows, logits)

    if compiled:
        ask = tf.function(ask)
    (value, gradient), (cost, slope) = ask(
        tf.constant([[1.0], [0.0], [1.0], [0.0]], dtype),
        tf.constant([[inf], [-inf], [-inf], [inf]], dtype),
        tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype),
        tf.constant([[inf, 0.0], [0.0, inf], [0.0, -inf]], dtype),
    )
    np.testing.assert_array_equal(value, [0, 0, inf, inf])
    np.testing.assert_array_equal(gradient, [[0], [0], [-1], [1]])
    np.testing.assert_array_equal(cost, [0, 0, 0])
    np.testing.assert_array_equal(slope, np.zeros((3, 2)))


@pytest.mark.parametrize("dtype", EXTREME)
def test_two_infinite_logits_have_no_limit(dtype):
    x = tf.constant([[np.inf, np.inf, 0.0], [-np.inf, -np.inf, -np.inf]], dtype)
    loss = klr.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    assert np.all(np.isnan(loss([0, 1], x)))


@pytest.mark.parametrize("dtype", EXTREME)
def test_nothing_left_is_zero_or_what_the_host_says(dtype):
    """All ignored, all of weight 0, all masked."""
    loss = klr.SparseCategoricalCrossentropy(ignore_class=-1, dtype=dtype)
    p = tf.constant([[0.25, 0.75], [0.5, 0.5]], dtype)
    value, gradient = value_and_gradient(loss, tf.constant([-1, -1]), p)
    if compat.GENERATION == 3:
        assert value == 0
        assert not tf.reduce_any(gradient != 0)
    else:  # Keras 2 divides by the none that are left
        assert tf.math.is_nan(value)
    for name in ("MeanSquaredError", "BinaryCrossentropy", "Dice", "Poisson"):
        axis = {"axis": -1} if name == "Dice" else {}
        loss = getattr(klr, name)(dtype=dtype, **axis)
        y = tf.zeros((2, 2), dtype)
        value, gradient = value_and_gradient(loss, y, p, tf.zeros(2))
        assert value == 0
        assert not tf.reduce_any(gradient != 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_ten_million_samples_in_16_bits(dtype, compiled):
    """A mean whose sum is no float16, of more samples than float32 counts ones of."""
    loss = klr.MeanAbsoluteError(dtype=dtype)
    ask = tf.function(loss, jit_compile=True) if compiled else loss
    y_pred = tf.fill((20_000_000, 1), tf.cast(1.5, dtype))
    assert float(ask(tf.zeros_like(y_pred), y_pred)) == 1.5


def test_a_nan_under_a_zero_weight_stays():
    """0 * NaN is NaN in the host's reduction, and so in ours."""
    y_true, y_pred = np.array([[0.0], [0.0]]), np.array([[np.nan], [1.0]])
    weight = np.array([0.0, 1.0])
    for module in (klr, compat.keras.losses):
        value = module.MeanSquaredError()(y_true, y_pred, sample_weight=weight)
        assert np.isnan(value)


# --- exact labels ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", EXTREME)
def test_integer_labels_up_to_2_53_are_not_rounded(dtype):
    """Circle compares its labels, so they need no class each."""
    big = 2**53
    labels = tf.constant([big, big - 1, big, big - 1], tf.int64)
    small = tf.constant([0, 1, 0, 1], tf.int64)
    x = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])
    x = tf.constant(x, dtype)
    loss = klr.Circle(reduction="none", dtype=dtype)
    np.testing.assert_array_equal(loss(labels, x), loss(small, x))
    ignoring = klr.SparseCategoricalCrossentropy(
        ignore_class=big, from_logits=True, reduction="none", dtype=dtype
    )
    value = ignoring(tf.constant([big, 1], tf.int64), x[:2])
    assert value[0] == 0 and value[1] > 0


def test_300000_classes_in_bfloat16():
    """The label's logit alone is high, so that a wrong class would cost 20 more."""
    classes, rows = 300_000, 64
    labels = np.linspace(0, classes - 1, rows).astype(np.int64) | 1
    x = np.zeros((rows, classes), np.float32)
    x[np.arange(rows), labels] = 20.0
    loss = klr.SparseCategoricalCrossentropy(
        from_logits=True, reduction="none", dtype="bfloat16"
    )
    value, gradient = value_and_gradient(loss, labels, tf.cast(x, tf.bfloat16))
    assert np.max(value) < 0.01
    np.testing.assert_array_equal(np.argmin(gradient, axis=-1), labels)


# --- derivatives -----------------------------------------------------------------


def smooth_point(subject):
    """(loss per sample, y_true, y_pred): a few typical rows in float64."""
    case = next(accuracy.cases(subject, "float64", "eager", seed=5))
    rows = 20 if subject.loss == "Circle" else 5
    loss = getattr(klr, subject.loss)(
        **subject.config, reduction="none", dtype="float64"
    )
    y_true, y_pred = case.y_true[:rows], case.y_pred[:rows]
    return loss, tf.constant(y_true), tf.constant(y_pred)


#: Of each operation by itself, TensorFlow first makes a function to go forward.
in_a_graph_or_slowly = pytest.mark.parametrize(
    "compiled", [True, pytest.param(False, marks=pytest.mark.slow)]
)


def slope_of(loss, y_true, y_pred):
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    return tape.gradient(value, y_pred, unconnected_gradients="zero")


def direction(x):
    return tf.constant(np.random.RandomState(7).normal(size=x.shape), x.dtype)


def assert_close(got, want, tolerance=1e-7):
    """Within 1e-7 of the largest: a gradient is one vector."""
    size = max(1.0, float(np.max(np.abs(want))))
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * size)


def along(function, x, v, step=1e-5):
    """The derivative of `function` at x along v by differences, to the fourth order."""

    def difference(h):
        return np.asarray(function(x + h * v)) - np.asarray(function(x - h * v))

    return (8 * difference(step) - difference(2 * step)) / (12 * step)


@each_subject
def test_gradient_to_y_pred(subject):
    loss, y_true, y_pred = smooth_point(subject)
    v = direction(y_pred)
    gradient = slope_of(loss, y_true, y_pred)
    value = along(lambda p: tf.reduce_sum(loss(y_true, p)), y_pred, v)
    assert_close(np.sum(gradient * v), value)


@each_subject
def test_gradient_to_y_true(subject):
    loss, y_true, y_pred = smooth_point(subject)
    if not y_true.dtype.is_floating:
        pytest.skip("integer labels have no gradient")
    with tf.GradientTape() as tape:
        tape.watch(y_true)
        value = loss(y_true, y_pred)
    gradient, w = tape.gradient(value, y_true), direction(y_true)
    value = along(lambda y: tf.reduce_sum(loss(y, y_pred)), y_true, w)
    assert_close(np.sum(gradient * w), value)


@each_subject
@in_a_graph_or_slowly
def test_second_derivatives(subject, compiled):
    """Tape over tape, and forward over tape: both the Hessian times a vector."""
    loss, y_true, y_pred = smooth_point(subject)
    v = direction(y_pred)

    def tape_over_tape(y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            product = tf.reduce_sum(slope_of(loss, y_true, y_pred) * v)
        return tape.gradient(product, y_pred, unconnected_gradients="zero")

    def forward_over_tape(y_pred):
        with tf.autodiff.ForwardAccumulator(y_pred, v) as accumulator:
            gradient = slope_of(loss, y_true, y_pred)
        return accumulator.jvp(gradient, unconnected_gradients="zero")

    want = along(lambda p: slope_of(loss, y_true, p), y_pred, v)
    products = [tape_over_tape, forward_over_tape]
    if compiled and subject.loss == "CTC":
        del products[1]  # TensorFlow has none of the gradient of a loop in a graph
    for product in products:
        product = tf.function(product) if compiled else product
        got = product(y_pred)
        assert_close(got, want)
        assert_close(got, product(y_pred), 1e-14)


@each_subject
def test_mixed_second_derivatives(subject):
    """How the gradient to y_pred changes with y_true."""
    loss, y_true, y_pred = smooth_point(subject)
    if not y_true.dtype.is_floating:
        pytest.skip("integer labels have no derivative")
    v, w = direction(y_pred), direction(y_true)
    with tf.GradientTape() as tape:
        tape.watch(y_true)
        product = tf.reduce_sum(slope_of(loss, y_true, y_pred) * v)
    got = tape.gradient(product, y_true, unconnected_gradients="zero")
    want = along(lambda y: slope_of(loss, y, y_pred), y_true, w)
    assert_close(np.sum(got * w), np.sum(want * v))


@each_subject
@in_a_graph_or_slowly
def test_forward_mode(subject, compiled):
    loss, y_true, y_pred = smooth_point(subject)
    v = direction(y_pred)

    def forward(y_pred):
        with tf.autodiff.ForwardAccumulator(y_pred, v) as accumulator:
            value = loss(y_true, y_pred)
        return accumulator.jvp(value)

    forward = tf.function(forward) if compiled else forward
    assert_close(forward(y_pred), along(lambda p: loss(y_true, p), y_pred, v))


@each_subject
def test_jacobian(subject):
    """Every sample's gradient at once: a vectorized pull of each row of ones."""
    loss, y_true, y_pred = smooth_point(subject)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    jacobian = tape.jacobian(value, y_pred)
    assert_close(tf.reduce_sum(jacobian, axis=0), slope_of(loss, y_true, y_pred), 1e-13)
    v = direction(y_pred)
    axes = list(range(1, len(jacobian.shape)))
    want = along(lambda p: loss(y_true, p), y_pred, v)
    assert_close(tf.reduce_sum(jacobian * v, axis=axes), want)


@each_subject
def test_vectorized_map(subject):
    """A batch of batches, each by itself."""
    loss, y_true, y_pred = smooth_point(subject)
    many = tf.stack([y_pred, 0.75 * y_pred, 0.5 * y_pred])
    mapped = tf.vectorized_map(lambda p: loss(y_true, p), many)
    gradients = tf.vectorized_map(lambda p: slope_of(loss, y_true, p), many)
    for p, value, gradient in zip(many, mapped, gradients):
        assert_close(value, loss(y_true, p), 1e-13)
        assert_close(gradient, slope_of(loss, y_true, p), 1e-13)


@each_subject
def test_the_same_twice(subject):
    loss, y_true, y_pred = smooth_point(subject)
    np.testing.assert_array_equal(loss(y_true, y_pred), loss(y_true, y_pred))
    first, second = (slope_of(loss, y_true, y_pred) for _ in range(2))
    np.testing.assert_array_equal(first, second)
