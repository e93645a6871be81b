"""The fast forms of CTC against its definition, which `loss_values.py` pins."""

import numpy as np
import pytest
import tensorflow as tf

import keras_losses_ref as klr
from keras_losses_ref.losses import sequence
from keras_losses_ref.losses.kernels import dispatch, tape_watch


def inputs(rows, time, classes, columns, sigma=3.0, dtype="float32"):
    """Rows of labels of every length, and logits."""
    rng = np.random.default_rng(time)
    labels = rng.integers(1, classes, (rows, columns))
    for row, length in enumerate(np.linspace(columns, 0, rows).astype(int)):
        labels[row, length:] = 0
    logits = sigma * rng.normal(size=(rows, time, classes))
    return tf.constant(labels, tf.int32), tf.constant(logits.astype(dtype))


def mostly_blank(rows, time, classes, columns, lead):
    """What an untrained network says: the blank, by `lead`."""
    labels, logits = inputs(rows, time, classes, columns, 1.0)
    return labels, logits + lead * tf.one_hot([0], classes)


CASES = {
    "ordinary": inputs(5, 60, 12, 15),
    "crowded": inputs(6, 12, 4, 12),
    "float64": inputs(5, 60, 12, 15, dtype="float64"),
    "long": inputs(3, 1200, 20, 150),
    "blank": mostly_blank(3, 600, 20, 100, 20.0),
    "one step": inputs(2, 1, 3, 1),
    "no time": inputs(3, 0, 4, 2),
    "no labels": (tf.zeros([2, 0], tf.int32), inputs(2, 5, 4, 1)[1]),
}
#: Seen in 2.12, 2.15 and 2.16, and in 2.21 no more.
OLD_XLA = tuple(map(int, tf.__version__.split(".")[:2])) <= (2, 16)
#: Where the only path is so improbable that its share is lost.
EXTREME = {
    "random certainty": inputs(3, 200, 20, 40, 30.0),
    "all but impossible": inputs(2, 20, 6, 4, 1000.0),
}


@tf.function
def reference(labels, logits):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = sequence.loss_by_definition(labels, logits)
    return values, tape.gradient(values, logits, unconnected_gradients="zero")


def assert_close(got, want):
    """The same but for the last digits, as a whole."""
    for a, b in zip(got, want):
        bound = 1e-12 if b.dtype == tf.float64 else 2e-7
        size = np.abs(b).max(initial=0.0)
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * size)


@pytest.mark.parametrize(
    "jit_compile", [None, pytest.param(True, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("case", CASES)
def test_scaled_scan_is_the_definition(case, jit_compile):
    if case == "no time" and jit_compile and OLD_XLA:
        pytest.skip("XLA up to TensorFlow 2.16 refuses a gather where there is nothing")
    labels, logits = CASES[case]
    run = tf.function(
        sequence.forward_backward_scaled, jit_compile=jit_compile, autograph=False
    )
    found, sound = run(labels, logits)
    assert sound
    assert_close(found, reference(labels, logits))


@pytest.mark.parametrize("case", [*CASES, *EXTREME])
def test_log_scan_is_the_definition(case):
    labels, logits = {**CASES, **EXTREME}[case]
    run = tf.function(sequence.forward_backward_log, autograph=False)
    assert_close(run(labels, logits), reference(labels, logits))


@pytest.mark.parametrize("path", ["eager", "graph", "xla"])
@pytest.mark.parametrize("case", EXTREME)
def test_shares_that_are_lost_are_noticed(case, path):
    """The scan with shares says that it is wrong, and the loss is right anyway."""
    labels, logits = EXTREME[case]
    _, sound = dispatch.run_no_grad(
        sequence.forward_backward_scaled, (labels, logits), False
    )
    assert not sound

    def run(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            values = klr.ctc(labels, logits)
        return values, tape.gradient(values, logits)

    if path != "eager":
        run = tf.function(run, jit_compile=path == "xla")
    assert_close(run(labels, logits), reference(labels, logits))


def test_a_label_of_probability_0():
    labels = tf.constant([[1, 2]])
    logits = tf.constant([[[0.0, -np.inf, 0.0]] * 4])
    _, sound = dispatch.run_no_grad(
        sequence.forward_backward_scaled, (labels, logits), False
    )
    assert not sound
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = klr.ctc(labels, logits)
    want = sequence.loss_by_definition(labels, logits)
    np.testing.assert_array_equal(value, want)
    assert np.isfinite(tape.gradient(value, logits)).all()


def test_a_path_lost_by_both_scans_is_noticed(monkeypatch):
    """The scans find a path of e^-1600 and agree; there is one of e^-1200."""
    labels = tf.constant([[1, 2]])
    logits = [[-300, -900, -300], [-900, -900, 0], [-500, 0, -900], [-500, 0, -300]]
    logits = tf.constant([logits], tf.float64)
    want = reference(labels, logits)
    np.testing.assert_allclose(want[0], 1200.0)

    def forward_backward_scaled(*tensors):
        return tf.function(lambda *t: sequence.forward_backward_scaled(*t))(*tensors)

    assert not forward_backward_scaled(labels, logits)[1]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = klr.ctc(labels, logits)
    assert_close((value, tape.gradient(value, logits)), want)

    monkeypatch.setattr(sequence, "_ALMOST_ZERO", 0.0)
    (found, _), sound = forward_backward_scaled(labels, logits)
    assert sound
    np.testing.assert_allclose(found, 1600.0, rtol=1e-2)


def test_a_loss_of_almost_0_keeps_its_digits():
    """A network that is sure, and right: -log(1 - 1e-9) and less."""
    labels, _ = inputs(4, 30, 5, 6)
    for lead in (22.0, 30.0, 60.0):
        logits = lead * tf.one_hot(tf.repeat(labels, 5, axis=1), 5)
        want = reference(labels, logits)
        value = klr.ctc(labels, logits)
        assert (value >= 0).numpy().all()
        np.testing.assert_allclose(value, want[0], rtol=1e-6)


@pytest.mark.parametrize("jit_compile", ["auto", True, False])
def test_many_lengths_and_the_same_again(jit_compile):
    """Compiled or not, in eager mode and in graphs; a shape that comes again, too."""
    loss = klr.CTC(reduction="sum", jit_compile=jit_compile)

    def run(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, logits)
        return value, tape.gradient(value, logits)

    for time in (20, 31, 20, 20, 20):
        labels, logits = inputs(4, time, 7, 6)
        values, slope = reference(labels, logits)
        for form in (run, tf.function(run)):
            assert_close(form(labels, logits), (tf.reduce_sum(values), slope))


def test_large_shapes_are_compiled():
    labels, logits = inputs(8, 130, 64, 20)
    want = reference(labels, logits)
    loss = klr.CTC(reduction="none")
    for _ in range(dispatch.WARMUP_CALLS + 2):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            values = loss(labels, logits)
        assert_close((values, tape.gradient(values, logits)), want)


def test_jacobian_and_vectorized_map():
    labels, logits = inputs(3, 6, 4, 2)
    _, slope = reference(labels, logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = klr.ctc(labels, logits)
    jacobian = tape.jacobian(values, logits)
    for row in range(3):
        assert_close([jacobian[row, row]], [slope[row]])

    def one(pair):
        labels, logits = (part[tf.newaxis] for part in pair)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = klr.ctc(labels, logits)
        return tape.gradient(value, logits)[0]

    assert_close([tf.vectorized_map(one, (labels, logits))], [slope])


@pytest.mark.parametrize("known", [True, False])
def test_forward_mode_with_and_without_private_names(monkeypatch, known):
    """Where TensorFlow no longer tells who watches, the definition runs."""
    if not known:
        monkeypatch.setattr(tape_watch, "pack_tangents", None)
    labels, logits = inputs(3, 6, 4, 2)
    want = reference(labels, logits)
    direction = tf.cos(tf.cast(tf.range(tf.size(logits)), logits.dtype))
    direction = tf.reshape(direction, tf.shape(logits))

    @tf.function
    def forward(logits):
        with tf.autodiff.ForwardAccumulator(logits, direction) as accumulator:
            values = klr.ctc(labels, logits)
        return values, accumulator.jvp(values)

    along = tf.reduce_sum(want[1] * direction, axis=[1, 2])
    assert_close(forward(logits), (want[0], along))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = klr.ctc(labels, logits)
    assert_close((values, tape.gradient(values, logits)), want)
