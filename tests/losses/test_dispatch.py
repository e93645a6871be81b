"""The three ways to run a loss give the same, and are chosen where they pay."""

import copy
import functools
import pickle

import numpy as np
import pytest
import tensorflow as tf
from loss_rows import one_per_kind

import keras_losses_ref as klr
from keras_losses_ref.conformance import bench
from keras_losses_ref.losses import compat
from keras_losses_ref.losses.kernels import dispatch, tape_watch
from keras_losses_ref.losses.kernels.cache import Cache

NEWEST_XLA = tuple(map(int, tf.__version__.split(".")[:2])) >= (2, 21)
#: Of an unusual length, so that no other test has made kernels for it.
SHAPE = (13, 7)


@pytest.fixture(autouse=True)
def fresh_caches(monkeypatch):
    """What a test makes and counts is its own."""
    for name in ("_seen", "_compiled_shapes", "_kernels", "_traces"):
        size = getattr(dispatch, name).size
        monkeypatch.setattr(dispatch, name, Cache(size))


def inputs(subject, shape=SHAPE):
    if subject.loss == "CTC":
        shape = (3, 11, 5)
    return bench.tensors(subject.draw, shape, seed=1)


def make(subject, **arguments):
    return getattr(klr, subject.loss)(**dict(subject.arguments), **arguments)


def value_and_grads(loss, y_true, y_pred, weight=None, alone=False):
    """The loss and its gradients to everything that has one, or to y_pred alone."""
    floats = [t for t in (y_true, y_pred, weight) if t is not None]
    floats = [y_pred] if alone else floats
    floats = [t for t in floats if t.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(floats)
        value = loss(y_true, y_pred, sample_weight=weight)
    zero = tf.UnconnectedGradients.ZERO
    return [value, *tape.gradient(value, floats, unconnected_gradients=zero)]


def assert_same(found, expected, rtol=3e-6):
    for one, other in zip(found, expected):
        one, other = one.numpy(), other.numpy()
        assert one.shape == other.shape
        size = np.max(np.abs(other), initial=1e-30)
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * size)


FIRST_OF_THEIR_KIND = {row.loss for row in one_per_kind()}


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(
            spec,
            id=spec.name,
            marks=() if spec.loss in FIRST_OF_THEIR_KIND else pytest.mark.slow,
        )
        for spec in bench.SPECS
    ],
)
@pytest.mark.parametrize(
    "reduction", ["sum", pytest.param("none", marks=pytest.mark.slow)]
)
def test_compiled_is_plain(subject, reduction):
    y_true, y_pred = inputs(subject)
    plain, compiled = (
        make(subject, reduction=reduction, jit_compile=jit) for jit in (False, True)
    )
    rows = plain(y_true, y_pred).shape[:1] if reduction == "none" else SHAPE[:1]
    weight = None
    if subject.loss not in ("Dice", "Tversky", "CTC"):
        weight = tf.constant(np.linspace(0.5, 2.0, rows[0]), tf.float32)
    for alone in (False, True):
        ways = (
            value_and_grads(way, y_true, y_pred, weight, alone)
            for way in (compiled, plain)
        )
        assert_same(*ways)


@pytest.mark.parametrize("subject", bench.SPECS, ids=lambda subject: subject.name)
def test_traced_is_plain(subject):
    y_true, y_pred = inputs(subject)
    plain, traced = make(subject, jit_compile=False), make(subject)
    for alone in (False, True):
        expected = value_and_grads(plain, y_true, y_pred, alone=alone)
        for _ in range(dispatch.WARMUP_CALLS + 1):
            found = value_and_grads(traced, y_true, y_pred, alone=alone)
        assert dispatch._kernels or dispatch._traces  # CTC is traced in parts
        assert_same(found, expected)


#: Rows that are no block, one, many, halves, fifths, and that nothing divides.
LENGTHS = (97, 1024, 1152, 1026, 1205, 1031)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "loss",
    [
        klr.LogCosh(),
        klr.CategoricalFocalCrossentropy(),
        pytest.param(klr.Huber(), marks=pytest.mark.slow),
        pytest.param(
            klr.CategoricalCrossentropy(from_logits=True), marks=pytest.mark.slow
        ),
    ],
    ids=lambda loss: loss.name,
)
def test_rows_of_every_length(loss, length):
    logits = getattr(loss, "from_logits", True)
    draw = bench.one_hot_logits if logits else bench.one_hot
    y_true, y_pred = bench.tensors(draw, (3, length), seed=2)
    config = {**loss.get_config(), "reduction": "none"}
    ways = [type(loss)(**dict(config, jit_compile=jit)) for jit in (True, False)]
    assert_same(*(value_and_grads(way, y_true, y_pred) for way in ways))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_compiled_in_other_dtypes(dtype):
    y_true, y_pred = inputs(bench.SPECS[0])
    y_true, y_pred = tf.cast(y_true, dtype), tf.cast(y_pred, dtype)
    arguments = {} if compat.GENERATION == 2 else {"dtype": dtype}
    plain, compiled = (
        klr.MeanSquaredError(jit_compile=jit, **arguments) for jit in (False, True)
    )
    found, expected = (
        value_and_grads(compiled, y_true, y_pred),
        value_and_grads(plain, y_true, y_pred),
    )
    assert found[0].dtype == expected[0].dtype == dtype
    found, expected = ([tf.cast(t, "float64") for t in x] for x in (found, expected))
    assert_same(found, expected, 2.0**-7)


def mse(**arguments):
    return klr.MeanSquaredError(**arguments)


def large(rows=300):
    rng = np.random.default_rng(0)
    shape = (rows, dispatch.MIN_ELEMENTS // 256)
    return [tf.constant(rng.normal(size=shape), tf.float32) for _ in range(2)]


def compiled_shapes():
    return sum(map(len, dispatch._compiled_shapes.values()))


def test_a_large_shape_is_compiled_when_it_comes_again():
    loss, batch = mse(), large()
    for _ in range(dispatch.WARMUP_CALLS):
        loss(*batch)
    assert compiled_shapes() == 0
    loss(*batch)
    loss(*batch)
    assert compiled_shapes() == 1


def test_a_small_shape_is_not_compiled():
    loss = mse()
    for _ in range(dispatch.WARMUP_CALLS + 2):
        loss(tf.zeros([4, 3]), tf.ones([4, 3]))
    assert compiled_shapes() == 0
    assert dispatch._kernels


@pytest.mark.parametrize("features", [dispatch.MIN_ELEMENTS // 256, 32])
def test_lengths_that_change_compile_nothing(features):
    for loss in (mse(), klr.Huber()):
        for rows in range(300, 306):
            loss(*(tf.reshape(tensor, [rows, -1, features]) for tensor in large(rows)))
    ranks = {len(key[1][1][1]) for key in dispatch._seen if len(key) == 3}
    assert ranks == {3}  # not in even rows, which pay for kernels alone
    assert not dispatch._kernels
    assert compiled_shapes() == 0


def test_lengths_that_change_for_long_are_traced_once(monkeypatch):
    monkeypatch.setattr(dispatch, "WARMUP_SHAPES", 3)
    loss = mse()
    for length in range(2, 9):
        value = loss(tf.zeros([2, length]), tf.ones([2, length]))
    assert value.numpy() == 1.0
    functions = {id(kernel) for kernel in dispatch._kernels.values()}
    assert len(functions) == 1


def test_only_so_many_shapes_are_compiled():
    loss = mse()
    for rows in range(300, 300 + dispatch.MAX_COMPILED_SHAPES + 2):
        for _ in range(dispatch.WARMUP_CALLS + 1):
            loss(*large(rows))
    assert compiled_shapes() == dispatch.MAX_COMPILED_SHAPES


def test_a_shape_is_one_eagerly_and_in_graphs():
    loss = mse()
    for rows in range(300, 300 + dispatch.MAX_COMPILED_SHAPES):
        for _ in range(dispatch.WARMUP_CALLS + 1):
            loss(*large(rows))
        tf.function(loss.__call__).get_concrete_function(*large(rows))
    assert compiled_shapes() == dispatch.MAX_COMPILED_SHAPES
    assert len(dispatch._kernels) == 2 * dispatch.MAX_COMPILED_SHAPES


def test_caches_of_seen_shapes_are_bounded(monkeypatch):
    monkeypatch.setattr(dispatch, "_kernels", Cache(3))
    for number in range(8):
        loss = klr.Huber(delta=1.0 + number, jit_compile=True)
        loss(tf.zeros([4, 3]), tf.ones([4, 3]))
        assert 1 <= len(dispatch._kernels) <= 3


def test_jit_compile_false_disables_kernels():
    loss, batch = mse(jit_compile=False), large()
    for _ in range(dispatch.WARMUP_CALLS + 2):
        loss(*batch)
    tf.function(loss.__call__)(*batch)
    assert not dispatch._kernels


def test_functions_that_run_eagerly_are_not_compiled():
    tf.config.run_functions_eagerly(True)
    try:
        assert mse(jit_compile=True)(tf.zeros([2, 3]), tf.ones([2, 3])) == 1.0
        assert not dispatch._kernels
    finally:
        tf.config.run_functions_eagerly(False)


def test_a_known_shape_is_compiled_in_a_graph():
    loss, batch = mse(), large()

    @tf.function
    def value(y_true, y_pred):
        return loss(y_true, y_pred)

    assert_same([value(*batch)], [mse(jit_compile=False)(*batch)])
    assert compiled_shapes() == 1


def test_an_open_batch_is_not_compiled():
    loss = mse()
    batch = large()
    spec = tf.TensorSpec([None, batch[0].shape[1] * 4], tf.float32)
    tf.function(loss.__call__).get_concrete_function(spec, spec)
    assert compiled_shapes() == 0


@pytest.mark.skipif(
    compat.GENERATION == 2, reason="nothing tells the `fit` of Keras 2 from a graph"
)
def test_an_open_batch_is_compiled_in_fit():
    loss = mse()
    keras = compat.keras
    model = keras.Sequential([keras.layers.Dense(dispatch.MIN_ELEMENTS_PER_SAMPLE)])
    model.compile(optimizer="sgd", loss=loss)
    model.fit(
        np.zeros([6, 2]),
        np.ones([6, dispatch.MIN_ELEMENTS_PER_SAMPLE]),
        batch_size=4,
        verbose=0,
    )
    assert compiled_shapes() == 1


@pytest.mark.parametrize("jit", [False, True, "auto"])
def test_config_keeps_jit_compile(jit):
    loss = mse(jit_compile=jit)
    again = klr.MeanSquaredError.from_config(loss.get_config())
    assert again.jit_compile is loss.jit_compile
    assert pickle.loads(pickle.dumps(loss)).jit_compile == jit
    assert copy.deepcopy(loss).jit_compile == jit


def test_other_values_of_jit_compile_are_refused():
    with pytest.raises(ValueError, match="jit_compile=1.5"):
        mse(jit_compile=1.5)


def test_a_loss_that_changes_is_not_mistaken_for_what_it_was():
    y_true, y_pred = tf.zeros([4, 3]), tf.fill([4, 3], 3.0)
    loss = klr.Huber(delta=1.0)
    for _ in range(dispatch.WARMUP_CALLS + 2):
        assert loss(y_true, y_pred).numpy() == 2.5
    loss.delta = 2.0
    for _ in range(dispatch.WARMUP_CALLS + 2):
        assert loss(y_true, y_pred).numpy() == 4.0


@pytest.mark.parametrize(
    "loss",
    [
        klr.BinaryCrossentropy(from_logits=True, jit_compile=True),
        klr.CosineSimilarity(jit_compile=True),
        klr.Poisson(jit_compile=True),
    ],
    ids=lambda loss: loss.name,
)
def test_second_derivatives(loss):
    rng = np.random.default_rng(3)
    y_true, y_pred = (tf.constant(rng.uniform(0.1, 0.9, SHAPE)) for _ in range(2))
    plain = type(loss).from_config({**loss.get_config(), "jit_compile": False})
    assert_same(*(second(one, y_true, y_pred) for one in (loss, plain)), rtol=1e-6)


def second(loss, y_true, y_pred):
    """The derivative of the gradient's cosine to y_pred and y_true."""
    y_true, y_pred = tf.cast(y_true, tf.float32), tf.cast(y_pred, tf.float32)
    with tf.GradientTape() as outer:
        outer.watch([y_true, y_pred])
        with tf.GradientTape() as inner:
            inner.watch(y_pred)
            value = loss(y_true, y_pred)
        gradient = inner.gradient(value, y_pred)
        along = tf.reduce_sum(gradient * tf.cos(tf.range(7, dtype=tf.float32)))
    return outer.gradient(along, [y_pred, y_true])


def gradient_of_thrice(loss, y_true, y_pred, persistent=False):
    with tf.GradientTape(persistent) as tape:
        tape.watch(y_pred)
        value = 3.0 * loss(y_true, y_pred)
    return [value, tape.gradient(value, y_pred)]


def gradient_of_gradient(loss, y_true, y_pred):
    with tf.GradientTape() as outer:
        outer.watch(y_pred)
        value, gradient = gradient_of_thrice(loss, y_true, y_pred)
    return [value, gradient, outer.gradient(gradient, y_pred)]


def gradient_for_a_caller(loss, y_true, y_pred):
    """The tape is outside of the function in which the loss is traced."""
    weights = tf.Variable(y_pred)
    inner = tf.function(lambda: loss(y_true, 2.0 * weights))
    with tf.GradientTape() as tape:
        value = inner()
    return [value, tape.gradient(value, weights)]


WATCHERS = {
    "caller": gradient_for_a_caller,
    "nobody": lambda *batch: [batch[0](*batch[1:])],
    "one": gradient_of_thrice,
    "twice": functools.partial(gradient_of_thrice, persistent=True),
    "two": gradient_of_gradient,
    "graph": tf.function(gradient_of_thrice),
    "two in a graph": tf.function(gradient_of_gradient),
}


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("watch", WATCHERS.values(), ids=WATCHERS)
@pytest.mark.parametrize("jit", [True, "auto"])
def test_kernels_give_every_watcher_the_same_gradient(jit, watch, private, monkeypatch):
    if not private:
        monkeypatch.setattr(tape_watch, "PossibleTapeGradientTypes", None)
    y_true, y_pred = inputs(bench.SPECS[0])
    # Anew for each: a `tf.function` takes two equal losses for one.
    ways = [klr.LogCosh(jit_compile=j, name=f"{j}_{private}") for j in (jit, False)]
    for _ in range(dispatch.WARMUP_CALLS + 1):
        found = watch(ways[0], y_true, y_pred)
    assert_same(found, watch(ways[1], y_true, y_pred), rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_a_hinge_that_is_nan_has_no_gradient(jit):
    """The maximum of XLA drops a NaN."""
    y_true, y_pred = tf.constant([[0.0, 1], [0, 1]]), tf.constant([[np.nan, 2], [1, 2]])
    loss = klr.CategoricalHinge(reduction="none", jit_compile=jit)
    value, *slopes = value_and_grads(loss, y_true, y_pred)
    assert np.isnan(value[0]) and value[1] == 0.0
    for slope in slopes:
        assert np.isnan(slope[0]).all() and np.isfinite(slope[1]).all()


def test_watched_tensors_are_found():
    x, watching = tf.ones([2]), tape_watch.watching
    assert watching([x]) == tape_watch.NOTHING
    with tf.GradientTape() as one:
        assert watching([x]) == tape_watch.NOTHING
        one.watch(x)
        assert watching([x]) == tape_watch.ONE
        assert watching([2.0 * x]) == tape_watch.ONE
        with tf.GradientTape() as other:
            assert watching([x]) == tape_watch.ONE
            other.watch(x)
            assert watching([x]) == tape_watch.MORE
    with tf.GradientTape(persistent=True) as one:
        one.watch(x)
        assert watching([x]) == tape_watch.MORE


def test_in_half_precision_a_gradient_is_scaled_before_it_is_rounded():
    y_true, y_pred = tf.zeros([40, 50]), tf.fill([40, 50], 1e-3)
    arguments = {} if compat.GENERATION == 2 else {"dtype": "float16"}
    y_true, y_pred = (tf.cast(tensor, "float16") for tensor in (y_true, y_pred))
    loss, scale = mse(jit_compile=True, **arguments), 2.0**12
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred) * scale
    gradient = tape.gradient(value, y_pred).numpy().astype(float)
    np.testing.assert_allclose(gradient, scale * 2e-3 / 2000, rtol=1e-3)


#: Of these a batch is the mean over all elements, which may stand in other rows.
ALIKE = [
    klr.MeanSquaredError(),
    klr.MeanSquaredLogarithmicError(),
    klr.BinaryCrossentropy(axis=1, label_smoothing=0.1),
    klr.BinaryFocalCrossentropy(),
    klr.KLDivergence(),
    klr.Tversky(alpha=0.3),
]


@pytest.mark.parametrize("loss", ALIKE, ids=lambda loss: loss.name)
def test_short_rows_of_a_large_batch_are_run_over_in_longer_ones(loss):
    rng = np.random.default_rng(5)
    for shape in ((64, 64, 21), (64, 32, 42)):  # both are 84 rows of 1024
        y_true, y_pred = (
            tf.constant(rng.uniform(0.05, 0.95, shape), tf.float32) for _ in range(2)
        )
        plain = type(loss).from_config({**loss.get_config(), "jit_compile": False})
        for _ in range(dispatch.WARMUP_CALLS + 2):
            found = value_and_grads(loss, y_true, y_pred, alone=True)
        signatures = set().union(*dispatch._compiled_shapes.values())
        assert [signature[1][1] for signature in signatures] == [(84, 1024)]
        assert_same(found, value_and_grads(plain, y_true, y_pred, alone=True))


def test_what_a_row_belongs_to_is_left_alone():
    shape = (64, 64, 21)
    y_true, y_pred = tf.zeros(shape), tf.ones(shape)
    weight = tf.concat([tf.zeros([32, 64]), tf.ones([32, 64])], 0)
    for _ in range(dispatch.WARMUP_CALLS + 2):
        assert mse()(y_true, y_pred, weight).numpy() == 0.5
        assert mse(reduction="none")(y_true, y_pred).shape == shape[:2]
        assert mse(reduction="sum")(y_true, y_pred).numpy() == 64 * 64
        hot = klr.CategoricalHinge()(y_true, y_pred)
        assert hot.numpy() == 2.0
    with pytest.raises(ValueError, match="axis=3"):
        klr.BinaryCrossentropy(axis=3)(y_true, y_pred)


def test_forward_mode():
    y_true, y_pred = tf.zeros([3, 2]), tf.constant([[1.0, 2], [3, 4], [5, 6]])
    loss = mse(jit_compile=True)
    with tf.autodiff.ForwardAccumulator(y_pred, tf.ones_like(y_pred)) as forward:
        value = loss(y_true, y_pred)
    np.testing.assert_allclose(forward.jvp(value), 2 * 21 / 6, rtol=1e-6)


def test_jacobian():
    y_true, y_pred = tf.zeros([3, 2]), tf.constant([[1.0, 2], [3, 4], [5, 6]])
    loss = mse(jit_compile=True, reduction="none")
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    jacobian = tape.jacobian(value, y_pred).numpy()
    np.testing.assert_allclose(jacobian[1], [[0, 0], [3, 4], [0, 0]])


def test_vectorized_map():
    loss = mse(jit_compile=True)
    y = tf.constant(np.arange(12.0).reshape(4, 3, 1), tf.float32)
    found = tf.vectorized_map(lambda row: loss(tf.zeros_like(row), row), y)
    np.testing.assert_allclose(found, np.mean(np.square(y), axis=(1, 2)), rtol=1e-6)


def test_saved_model(tmp_path):
    class Module(tf.Module):
        loss = mse(jit_compile=True)

        @tf.function(input_signature=[tf.TensorSpec([None, 3])] * 2)
        def __call__(self, y_true, y_pred):
            return self.loss(y_true, y_pred)

    tf.saved_model.save(Module(), str(tmp_path))
    again = tf.saved_model.load(str(tmp_path))
    assert again(tf.zeros([5, 3]), tf.fill([5, 3], 2.0)).numpy() == 4.0


def test_a_wrong_label_is_refused():
    loss = klr.SparseCategoricalCrossentropy(jit_compile=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="1 of 2 labels"):
        loss(tf.constant([0, 3]), tf.fill([2, 3], 0.3))


def test_a_mask_and_a_class_to_ignore():
    y_true, y_pred = tf.constant([0, 2, 1, 1]), tf.nn.softmax(tf.eye(4, 3))
    found = []
    for jit in (False, True):
        loss = klr.SparseCategoricalCrossentropy(ignore_class=2, jit_compile=jit)
        masked = tf.identity(y_pred)
        compat.set_mask(masked, tf.constant([True, True, True, False]))
        found.append(loss(y_true, masked))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


# --- a GPU, simulated: what is there beside the CPU, and what XLA finds ---------------


@pytest.fixture
def gpu_machine(monkeypatch):
    """Simulate a machine with a GPU, on which XLA lacks the tools that are named."""

    def simulate(*missing):
        monkeypatch.setattr(dispatch, "_only_cpus", lambda: False)
        monkeypatch.setattr(dispatch.xla_tools, "missing", lambda: missing)

    return simulate


def value_in_graph(loss, batch):
    """The loss of tensors whose device is not known yet, as in a training step."""
    return tf.function(lambda t, p: loss(t, p), autograph=False)(*batch)


@pytest.mark.parametrize("missing", [(), ("ptxas", "libdevice")])
def test_on_a_gpu_auto_compiles_nothing_and_says_nothing(gpu_machine, missing):
    gpu_machine(*missing)
    loss, batch = mse(), large()
    for _ in range(dispatch.WARMUP_CALLS + 2):
        found = loss(*batch)
    expected = mse(jit_compile=False)(*batch)
    assert_same([found, value_in_graph(loss, batch)], [expected, expected])
    assert compiled_shapes() == 0


def test_on_a_gpu_with_its_tools_true_compiles(gpu_machine):
    gpu_machine()
    batch = large()
    expected = mse(jit_compile=False)(*batch)
    assert_same([value_in_graph(mse(jit_compile=True), batch)], [expected])
    assert compiled_shapes() == 1


@pytest.mark.parametrize("subject", [bench.SPECS[0], bench.SPECS[-1]])
def test_without_the_tools_true_runs_uncompiled_and_says_so(gpu_machine, subject):
    gpu_machine("libdevice")
    batch = inputs(subject)
    with pytest.warns(RuntimeWarning, match="Missing: libdevice.*XLA_FLAGS"):
        found = value_in_graph(make(subject, jit_compile=True), batch)
    assert_same([found], [make(subject, jit_compile=False)(*batch)])
    assert compiled_shapes() == 0


def test_what_is_on_a_cpu_needs_no_tools_of_a_gpu(gpu_machine):
    gpu_machine("ptxas", "libdevice")
    assert mse(jit_compile=True)(*large()).device.endswith("CPU:0")
    assert compiled_shapes() == 1


def test_tools_are_found_where_xla_looks(monkeypatch, tmp_path):
    tools = dispatch.xla_tools
    monkeypatch.setattr(tools.shutil, "which", lambda tool: None)
    monkeypatch.setattr(tools, "roots", lambda: [str(tmp_path)])
    find = tools.missing.__wrapped__  # what it finds is remembered
    assert find() == ("ptxas", "libdevice")
    (tmp_path / "nvvm" / "libdevice").mkdir(parents=True)
    (tmp_path / "nvvm" / "libdevice" / "libdevice.10.bc").touch()
    assert find() == ("ptxas",)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ptxas").touch()
    assert find() == ()


def test_a_toolkit_may_be_named_in_xla_flags_or_come_as_a_wheel(monkeypatch):
    flags = "--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir=/some/cuda"
    monkeypatch.setenv("XLA_FLAGS", flags)
    roots = dispatch.xla_tools.roots()
    assert roots[0] == "/some/cuda" and "/usr/local/cuda" in roots
    assert any(root.endswith("nvidia/cuda_nvcc") for root in roots)
    monkeypatch.delenv("XLA_FLAGS")
    assert "/some/cuda" not in dispatch.xla_tools.roots()
