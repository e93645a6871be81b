"""Every form in which a program may hand over labels and predictions."""

import contextlib
import json
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import keras_losses_ref as klr
from keras_losses_ref.backend import BackendError
from keras_losses_ref.losses import compat
from keras_losses_ref.losses.convert import LOSSES
from keras_losses_ref.losses.kernels import dispatch
from keras_losses_ref.losses.kernels.cache import Cache

keras = compat.keras
CLASSES = sorted(name for name, loss in LOSSES.items() if isinstance(loss, type))
RNG = np.random.default_rng(0)
SOFT = RNG.dirichlet([1.0, 1.0, 1.0], 6).astype("float32")
INDEX = np.array([0, 2, 1, 1, 0, 2])
HOT = np.eye(3, dtype="float32")[INDEX]
LOGITS = RNG.normal(size=(6, 5, 3)).astype("float32")
LABELS = np.array([[1, 2], [2, 0], [1, 0], [2, 1], [2, 0], [0, 0]])


def takes_indices(name):
    return name.startswith("Sparse") or "Generalized" in name or name == "Circle"


def sample(name, column=True):
    """y_true and y_pred for a loss; class indices in a column or in a vector."""
    if name == "CTC":
        return LABELS, LOGITS
    if takes_indices(name):
        return (INDEX[:, np.newaxis] if column else INDEX), SOFT
    return HOT, SOFT


def forms(name, **arguments):
    """The class and the function of a loss."""
    cls = LOSSES[name]
    return cls(**arguments), cls.function


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


# --- shapes that a graph does not know -------------------------------------------

#: y_true and y_pred whose ranks differ; the vector grows to a column.
VECTOR, COLUMN = np.array([0.0, 1.0, 1.0], "float32"), [[0.2], [0.7], [0.6]]
COLUMN = np.array(COLUMN, "float32")
UNKNOWN = {
    "both": lambda y, p: (None, None),
    "y_true": lambda y, p: (None, p.shape),
    "y_pred": lambda y, p: (y.shape, None),
    "sizes": lambda y, p: ([None] * y.ndim, [None] * p.ndim),
}


def in_graph(loss, y_true, y_pred, unknown, jit_compile=False, weight=None):
    """`loss` in a graph that does not know what `unknown` says of the shapes."""
    true, pred = UNKNOWN[unknown](y_true, y_pred)
    y_true, y_pred = tf.constant(y_true), tf.constant(y_pred)
    specs = [tf.TensorSpec(true, y_true.dtype), tf.TensorSpec(pred, y_pred.dtype)]
    if weight is None:
        run = tf.function(
            lambda *tensors: loss(*tensors), specs, jit_compile=jit_compile
        )
        return run(y_true, y_pred).numpy()
    specs += [tf.TensorSpec(None, tf.float32)]
    return tf.function(lambda *tensors: loss(*tensors), specs)(
        y_true, y_pred, weight
    ).numpy()


@pytest.mark.parametrize("unknown", UNKNOWN)
@pytest.mark.parametrize("name", CLASSES)
def test_unknown_shapes_give_the_eager_value(name, unknown):
    for column in (False, True) if takes_indices(name) else (True,):
        y_true, y_pred = sample(name, column)
        for loss in forms(name, reduction="none"):
            expected = loss(y_true, y_pred).numpy()
            found = in_graph(loss, y_true, y_pred, unknown)
            assert found.shape == expected.shape
            assert_same(found, expected)


ALIGNED = [name for name in CLASSES if not takes_indices(name) and name not in ("CTC",)]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", ALIGNED)
def test_a_vector_against_a_column_of_unknown_rank(name, jit_compile):
    loss = LOSSES[name](reduction="none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for y_true, y_pred in ((VECTOR, COLUMN), (COLUMN, VECTOR * 0.5 + 0.2)):
            expected = loss(y_true, y_pred).numpy()
            found = in_graph(loss, y_true, y_pred, "both", jit_compile)
            assert found.shape == expected.shape
            assert_same(found, expected)


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (), (3,)])
def test_weights_of_unknown_rank(shape):
    if compat.GENERATION == 2 and shape == (1, 3):
        pytest.skip("Keras 2 refuses these weights, of whatever rank")
    loss = klr.MeanSquaredError()
    y_true, y_pred = np.zeros((3, 2), "float32"), np.ones((3, 2), "float32")
    weight = np.linspace(0.5, 2.0, int(np.prod(shape))).reshape(shape).astype("float32")
    expected = loss(y_true, y_pred, weight)
    assert_same(in_graph(loss, y_true, y_pred, "both", weight=weight), expected)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", ["MeanSquaredError", "BinaryCrossentropy", "Dice"])
def test_what_cannot_be_aligned_is_refused_when_the_graph_runs(name, jit_compile):
    loss = LOSSES[name]()
    errors = tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, ValueError
    with pytest.raises(errors):  # as a vector against a table, (3,) against (3, 3)
        in_graph(loss, VECTOR, np.full((3, 3), 0.5, "float32"), "both", jit_compile)


def test_the_refusal_names_the_loss_and_the_shapes():
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be aligned"):
        in_graph(klr.MeanSquaredError(), VECTOR, np.eye(3, dtype="float32"), "both")
    with pytest.raises(tf.errors.InvalidArgumentError, match="one class index per row"):
        in_graph(klr.SparseCategoricalCrossentropy(), INDEX[:4], SOFT, "both")


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_an_axis_of_tensors_of_unknown_rank(axis):
    for loss in (
        klr.CategoricalCrossentropy(axis=axis, reduction="none"),
        klr.BinaryCrossentropy(axis=axis, reduction="none"),
    ):
        expected = loss(HOT, SOFT)
        assert_same(in_graph(loss, HOT, SOFT, "both"), expected)
    labels = np.zeros(SOFT.shape[1] if axis in (0, -2) else len(SOFT), int)
    loss = klr.SparseCategoricalCrossentropy(axis=axis, reduction="none")
    assert_same(in_graph(loss, labels, SOFT, "both"), loss(labels, SOFT))


def test_a_dataset_of_unknown_ranks_trains_on_rows_not_on_a_table():
    """Labels (N,) against a Dense(1): a table of (N, N) would have another loss."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4)), rng.normal(size=8)

    def batches():
        yield x, y

    data = tf.data.Dataset.from_generator(batches, (tf.float32, tf.float32))
    # Keras 3 cannot build a model from inputs whose rank it does not know.
    data = data.map(lambda x, y: (tf.ensure_shape(x, [None, 4]), y))
    layer = keras.layers.Dense(1, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile("sgd", klr.MeanSquaredError())
    found = model.evaluate(data.repeat(), steps=1, verbose=0)
    expected = np.mean((x.sum(axis=1) - y) ** 2)
    table = np.mean((x.sum(axis=1)[:, np.newaxis] - y) ** 2)
    assert found == pytest.approx(expected, rel=1e-5)
    assert abs(table - expected) > 0.1


# --- symbolic inputs -------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES)
def test_symbolic_inputs(name):
    y_true, y_pred = sample(name)
    true = keras.Input(y_true.shape[1:], dtype=y_true.dtype.name)
    pred = keras.Input(y_pred.shape[1:])
    for loss in forms(name):
        expected = loss(y_true, y_pred)
        model = keras.Model([true, pred], loss(true, pred))
        inputs = [tf.constant(y_true), tf.constant(y_pred)]
        assert_same(model(inputs), expected)
        again = keras.Model.from_config(model.get_config())
        assert_same(again(inputs), expected)


def test_symbolic_arguments_and_weights_are_kept():
    true, pred, weight = keras.Input((3,)), keras.Input((3,)), keras.Input(())
    inputs = [tf.constant(HOT), tf.constant(SOFT), tf.linspace(0.5, 2.0, 6)]
    smooth = klr.binary_crossentropy(true, pred, label_smoothing=0.2)
    weighed = klr.Huber(delta=0.3)(true, pred, sample_weight=weight)
    model = keras.Model([true, pred, weight], [smooth, weighed])
    for each in (model, keras.Model.from_config(model.get_config())):
        found = each(inputs)
        assert_same(found[0], klr.binary_crossentropy(HOT, SOFT, label_smoothing=0.2))
        assert_same(found[1], klr.Huber(delta=0.3)(*inputs))


@pytest.mark.skipif(compat.GENERATION == 3, reason="Keras 3 takes no symbolic add_loss")
@pytest.mark.parametrize("loss", [klr.binary_crossentropy, klr.BinaryCrossentropy()])
def test_add_loss_of_symbolic_inputs(loss):
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(3, activation="sigmoid")(inputs)
    model = keras.Model(inputs, outputs)
    model.add_loss(tf.reduce_mean(loss(inputs, outputs)))
    model.compile("sgd")
    expected = np.mean(loss(SOFT, model(SOFT)))
    found = model.fit(SOFT, batch_size=6, verbose=0).history["loss"][0]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.skipif(compat.GENERATION == 3, reason="Keras 3 has no placeholders")
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", ALIGNED)
def test_placeholders_of_unknown_rank(name, graph):
    backend = keras.backend
    for loss in forms(name):
        expected = loss(HOT, SOFT)
        with tf.Graph().as_default() if graph else contextlib.nullcontext():
            true, pred = backend.placeholder(), backend.placeholder()
            found = backend.function([true, pred], loss(true, pred))([HOT, SOFT])
        assert_same(found, expected)


# --- variables -------------------------------------------------------------------

VARIABLES = {"tensorflow": tf.Variable}
if compat.GENERATION == 3:
    VARIABLES["keras"] = lambda value: keras.Variable(value, dtype=value.dtype.name)


@pytest.mark.parametrize("kind", VARIABLES)
@pytest.mark.parametrize("name", CLASSES)
def test_variables(name, kind):
    y_true, y_pred = sample(name)
    variable = VARIABLES[kind](y_pred)
    for loss in forms(name):
        expected = loss(y_true, y_pred)
        for call in (loss, tf.function(loss)):
            assert_same(call(y_true, variable), expected)
            assert_same(call(VARIABLES[kind](y_true), y_pred), expected)
        with tf.GradientTape() as tape:
            value = loss(y_true, variable)
        source = variable if kind == "tensorflow" else variable.value
        assert tape.gradient(value, source).shape == y_pred.shape


@pytest.mark.skipif(compat.GENERATION == 3, reason="Keras 3 has no graphs of its own")
@pytest.mark.parametrize("resource", [True, False])
@pytest.mark.parametrize("name", CLASSES)
def test_variables_in_a_graph_of_tensorflow_1(name, resource):
    y_true, y_pred = sample(name, column=False)
    loss = LOSSES[name](reduction="none")
    expected = loss(y_true, y_pred)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable(
            "v", initializer=y_pred, use_resource=resource
        )
        value = loss(y_true, variable)
        gradient = tf.gradients(value, variable)[0]
        session.run(tf.compat.v1.global_variables_initializer())
        found, _ = session.run([value, gradient])
    assert_same(found, expected)


# --- arrays of anything ----------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES)
def test_lists_objects_and_booleans(name):
    y_true, y_pred = sample(name)
    for loss in forms(name):
        expected = loss(y_true, y_pred)
        assert_same(loss(y_true.tolist(), y_pred.tolist()), expected)
        assert_same(loss(y_true.astype(object), y_pred), expected)
        assert_same(loss(y_true, y_pred.astype(object)), expected)
        if y_true is HOT:
            assert_same(loss(y_true.astype(bool), y_pred), expected)
            assert_same(loss(y_true.astype("int8"), y_pred), expected)


def test_columns_of_pandas():
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series([0, 1, 1])
    expected = klr.binary_crossentropy([0.0, 1.0, 1.0], [0.2, 0.7, 0.6])
    predictions = pandas.Series([0.2, 0.7, 0.6], dtype="float32")
    for column in (labels, labels.astype("Int64"), labels.astype(object)):
        assert_same(klr.binary_crossentropy(column, predictions), expected)


# --- ragged rows -----------------------------------------------------------------

RAGGED_TRUE = tf.ragged.constant([[1.0], [2.0, 3.0]])
RAGGED_PRED = tf.ragged.constant([[2.0], [4.0, 5.0]])


def test_ragged_features_of_both_generations():
    assert float(klr.MeanSquaredError()(RAGGED_TRUE, RAGGED_PRED)) == 2.5


@pytest.mark.parametrize(
    "name", [n for n in CLASSES if n not in ("CTC", "Circle", "Dice", "Tversky")]
)
def test_ragged_rows_are_computed_each_by_itself(name):
    lengths = [2, 0, 4]
    y_true, y_pred = sample(name, column=False)
    true, pred = (
        tf.RaggedTensor.from_row_lengths(t, lengths) for t in (y_true, y_pred)
    )
    function = LOSSES[name].function
    found = function(true, pred)
    np.testing.assert_array_equal(found.row_lengths(), lengths)
    assert_same(found.flat_values, function(y_true, y_pred))
    found = tf.function(LOSSES[name]())(true, pred)
    assert_same(found, np.mean(function(y_true, y_pred)))


@pytest.mark.parametrize("name", ["Circle", "CTC"])
def test_ragged_rows_are_refused_where_a_row_is_no_sample(name):
    with pytest.raises(ValueError, match="depends on more than"):
        LOSSES[name]()(RAGGED_TRUE, RAGGED_PRED)


# --- warnings --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["CategoricalCrossentropy", "CategoricalFocalCrossentropy"]
)
def test_one_class_is_warned_of(name):
    for loss in forms(name):
        with pytest.warns(SyntaxWarning, match="with num_classes > 1"):
            loss([[1.0], [0.0]], [[0.5], [0.5]])
        with pytest.warns(SyntaxWarning, match="with num_classes > 1"):
            tf.function(loss)(tf.ones([2, 1]), tf.ones([2, 1]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loss(HOT, SOFT)


# --- another backend -------------------------------------------------------------


def test_another_backend_is_refused_when_a_loss_is_made(monkeypatch):
    monkeypatch.setattr(compat, "BACKEND", "jax")
    for use in (klr.Huber, lambda: klr.huber([0.0], [1.0]), lambda: klr.get("Huber")):
        with pytest.raises(
            BackendError, match="'jax'.*KERAS_BACKEND=tensorflow.*to_keras"
        ):
            use()
    assert klr.get("mse") is klr.mse
    theirs = keras.losses
    assert type(klr.to_keras("Huber")) is theirs.Huber
    assert type(klr.to_keras(klr.Huber)) is theirs.Huber
    made = klr.to_keras({"class_name": "Huber", "config": {"delta": 2.0}})
    assert type(made) is theirs.Huber


# --- memory and threads ----------------------------------------------------------

NEW_SHAPES = Path(__file__).parent / "new_shapes.py"
GROWING = [("BinaryCrossentropy", "none")]
GROWING += [
    pytest.param(name, reduction, marks=pytest.mark.slow)
    for name in ("BinaryCrossentropy", "SparseCategoricalCrossentropy", "Huber", "CTC")
    for reduction in compat.REDUCTIONS
    if reduction and (name, reduction) != GROWING[0] and reduction != "auto"
]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("name", "reduction"), GROWING)
def test_new_shapes_leave_nothing_behind(name, reduction):
    command = [sys.executable, str(NEW_SHAPES), name, reduction, "2000", "alone"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ours"]["grown"] < 25, found


def test_the_upstream_gradient_of_a_new_shape_makes_no_trace(monkeypatch):
    for cache in ("_seen", "_kernels", "_traces"):
        monkeypatch.setattr(dispatch, cache, Cache(100))
    loss, traces = klr.BinaryCrossentropy(reduction="none"), []
    wrapped = tf.function

    def counted(function, **options):
        def body(*tensors):
            traces.append(function)
            return function(*tensors)

        return wrapped(body, **options)

    monkeypatch.setattr(dispatch.tf, "function", counted)
    for length in range(2, 60):
        y_pred = tf.fill([2, length, 3], 0.4)
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = tf.reduce_sum(loss(tf.ones_like(y_pred), y_pred))
        tape.gradient(value, y_pred)
    assert 0 < len(traces) <= 4


def test_a_full_cache_keeps_what_was_used_last():
    cache = Cache(2)
    cache.put("a", 1), cache.put("b", 2)
    assert cache.get("a") == 1
    assert cache.put("c", 3) == 3
    assert list(cache) == ["a", "c"]
    assert cache.put("a", 4) == 1  # the first is kept
    assert [cache.count("d"), cache.count("d")] == [1, 2]
    assert len(cache) == 2


def test_threads_share_a_cache_that_is_too_small(monkeypatch):
    monkeypatch.setattr(dispatch, "_kernels", Cache(2))
    monkeypatch.setattr(dispatch, "_traces", Cache(1))
    monkeypatch.setattr(dispatch, "_seen", Cache(3))
    losses = [klr.Huber(delta=1.0 + i) for i in range(4)]

    def use(number):
        loss = losses[number % len(losses)]
        length = 2 + number % 3
        return [
            float(loss(tf.zeros([2, length]), tf.ones([2, length]))) for _ in "1234"
        ]

    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(use, range(64)))
    assert {value for row in values for value in row} == {0.5}
