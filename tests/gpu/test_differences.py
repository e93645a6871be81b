"""What a GPU may do differently, asked of the device itself.

Each test runs on the CPU too, where it shows that it asks what it means to.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from on_device import NO_GPU, each_device

import keras_losses_ref as klr
from keras_losses_ref import losses
from keras_losses_ref.conformance import bench
from keras_losses_ref.losses import compat

SPECS = {spec.name: spec for spec in bench.SPECS}
keras = compat.keras


def value_and_gradient(spec, device, path="eager", shape=None):
    loss = getattr(losses, spec.loss)(**dict(spec.arguments))
    with tf.device(device):
        inputs = bench.tensors(spec.draw, shape or spec.small)
        return [tensor.numpy() for tensor in bench.step(loss, path)(*inputs)]


def assert_close(found, expected, rtol=1e-5):
    for one, other in zip(found, expected):
        size = np.max(np.abs(other), initial=1e-30)
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * size)


# --- labels that are no class ---------------------------------------------------------

LABELS = np.array([0, 3])
ROWS = np.array([[0.6, 0.2, 0.2], [0.1, 0.5, 0.4]], np.float32)


@each_device
@pytest.mark.parametrize(
    "loss",
    [
        klr.SparseCategoricalCrossentropy,
        klr.SparseCategoricalFocalCrossentropy,
        klr.CategoricalGeneralizedCrossEntropy,
    ],
)
def test_a_label_that_is_no_class_never_becomes_one(loss, device):
    """Eagerly it is refused; in a graph a CPU refuses it, or its row is NaN."""
    loss = loss(reduction="none")
    graph = tf.function(lambda t, p: loss(t, p), autograph=False)
    with tf.device(device):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            loss(LABELS, ROWS)
        try:
            values = graph(tf.constant(LABELS), tf.constant(ROWS)).numpy()
        except tf.errors.InvalidArgumentError:
            assert device == "CPU:0"
            return
    assert np.isfinite(values[0]) and np.isnan(values[1])


@each_device
def test_a_label_of_ctc_that_is_no_class_is_nan_in_a_graph(device):
    loss = klr.CTC(reduction="none")
    graph = tf.function(lambda t, p: loss(t, p), autograph=False)
    labels, steps = np.array([[1, 2], [1, 3]]), np.zeros((2, 4, 3), np.float32)
    with tf.device(device):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            loss(labels, steps)
        values = graph(tf.constant(labels), tf.constant(steps)).numpy()
    assert np.isfinite(values[0]) and np.isnan(values[1])


# --- CTC: a loop over all steps -------------------------------------------------------


@each_device
@pytest.mark.parametrize("path", ["eager", "graph"])
def test_ctc_over_many_steps_is_that_of_the_cpu(device, path):
    shape = (4, 120, 32)
    found, expected = (
        value_and_gradient(SPECS["CTC"], name, way, shape)
        for name, way in ((device, path), ("CPU:0", "eager"))
    )
    assert_close(found, expected)


# --- deterministic operations ---------------------------------------------------------


def process(device, determinism):
    script = pathlib.Path(__file__).with_name("deterministic.py")
    root = pathlib.Path(klr.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(script), device, determinism],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@each_device
def test_deterministic_operations_give_the_same_bits_and_refuse_nothing(device):
    on, off = process(device, "on"), process(device, "off")
    for loss, (eager, eager_again, graph, graph_again) in on.items():
        assert eager == eager_again and graph == graph_again, loss
        for (value, _), (free, _) in zip(on[loss], off[loss]):
            assert value == pytest.approx(free, rel=1e-5), loss


# --- TF32: products of matrices with 10 bits ------------------------------------------


@pytest.fixture(params=[False, True], ids=["float32", "tf32"])
def tf32(request):
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(request.param)
    yield request.param
    tf.config.experimental.enable_tensor_float_32_execution(before)


#: What a product of unit vectors may be off by, of which each factor is rounded.
TF32 = 2.0**-10


@each_device
def test_circle_is_as_exact_as_the_products_allow(device, tf32):
    """A cosine counts at most 2 gamma (1 + margin + 1) times in the loss."""
    gamma, margin = 8.0, 0.25
    y_true, y_pred = bench.embeddings(np.random.default_rng(0), (64, 64))
    y_pred = y_pred.astype(np.float32)
    loss = klr.Circle(gamma=gamma, margin=margin)
    with tf.device("CPU:0"):
        exact = klr.Circle(gamma=gamma, margin=margin)(y_true, y_pred).numpy()
    with tf.device(device):
        found = loss(y_true, tf.constant(y_pred)).numpy()
    allowed = 2 * gamma * (2 + margin) * TF32 if tf32 else 1e-5 * abs(exact)
    assert abs(found - exact) <= allowed
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    assert enabled is tf32  # a loss changes no setting of its user


@each_device
def test_the_linear_head_is_as_exact_as_the_products_allow(device, tf32):
    random = np.random.default_rng(1)
    hidden = random.standard_normal((64, 32)).astype(np.float32)
    weight = random.standard_normal((32, 100)).astype(np.float32)
    labels = random.integers(0, 100, 64)
    loss = klr.LinearSparseCategoricalCrossentropy()
    logits = hidden.astype(float) @ weight.astype(float)
    top = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(-1)) + top[:, 0]
    exact = np.mean(total - logits[np.arange(64), labels])
    with tf.device(device):
        inputs = tf.constant(hidden), tf.constant(weight), tf.zeros([100])
        found = loss(labels, inputs).numpy()
    largest = np.max(np.abs(hidden) @ np.abs(weight))
    allowed = 2 * largest * TF32 if tf32 else 1e-5 * exact
    assert abs(found - exact) <= allowed


# --- mixed precision ------------------------------------------------------------------


@each_device
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "name", ["BinaryCrossentropy from logits", "CategoricalCrossentropy from logits"]
)
def test_a_mixed_precision_model_trains_as_with_kerass_loss(device, policy, name):
    spec, random = SPECS[name], np.random.default_rng(2)
    y, _ = spec.draw(random, (32, 8))
    x = random.standard_normal((32, 16)).astype(np.float32)
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        histories = []
        for module in (losses, keras.losses):
            keras.utils.set_random_seed(3)
            with tf.device(device):
                model = keras.Sequential([keras.layers.Dense(8)])
                loss = getattr(module, spec.loss)(**dict(spec.arguments))
                model.compile("sgd", loss)
                made = model.fit(x, y.astype(np.float32), epochs=2, verbose=0)
            histories.append(made.history["loss"])
    finally:
        keras.mixed_precision.set_global_policy(before)
    # Keras 2 computes its loss in half precision; ours does not.
    rtol = 2e-2 if policy.endswith("bfloat16") else 2e-3
    np.testing.assert_allclose(*histories, rtol=rtol)


# --- kernels that a GPU lacks ---------------------------------------------------------


ON_A_GPU = [pytest.mark.gpu, NO_GPU]


@pytest.mark.parametrize(
    "device, name",
    [
        ("CPU:0", "Huber"),  # shows that the test holds
        *(pytest.param("GPU:0", name, marks=ON_A_GPU) for name in SPECS),
    ],
)
@pytest.mark.parametrize("path", ["eager", "graph"])
def test_nothing_is_moved_to_the_cpu_unasked(device, name, path):
    """Where TensorFlow may not move an operation elsewhere, it names what it lacks."""
    before = tf.config.get_soft_device_placement()
    tf.config.set_soft_device_placement(False)
    try:
        value, gradient = value_and_gradient(SPECS[name], device, path)
    finally:
        tf.config.set_soft_device_placement(before)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


@functools.cache
def gpu_kernels(operation):
    """What is registered for the operation, in this build, whether a GPU is there."""
    from tensorflow.python.framework import kernels  # no public name

    found = kernels.get_registered_kernels_for_op(operation).kernel
    return [kernel for kernel in found if kernel.device_type in ("GPU", "DEFAULT")]


def takes(kernel, node):
    """Whether a kernel is for the dtypes of a node."""
    for constraint in kernel.constraint:
        allowed = set(constraint.allowed_values.list.type)
        attribute = node.attr[constraint.name]
        types = set(attribute.list.type) or {attribute.type}
        if allowed and not types <= allowed:
            return False
    return True


#: Parts of a graph that the runtime itself carries out.
PLUMBING = {"Placeholder", "NoOp", "PartitionedCall", "StatefulPartitionedCall"}


def without_gpu_kernel(definition):
    """{(operation, dtype)} of a graph and its functions that a GPU cannot run."""
    own = {function.signature.name for function in definition.library.function}
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes += function.node_def
    return {
        (node.op, tf.as_dtype(node.attr["T"].type).name if "T" in node.attr else "")
        for node in nodes
        if node.op not in PLUMBING | own
        and not any(takes(kernel, node) for kernel in gpu_kernels(node.op))
    }


cuda_build = pytest.mark.skipif(
    not tf.test.is_built_with_cuda(),
    reason="this TensorFlow is built without CUDA: it has no kernels of a GPU to list",
)


@pytest.mark.gpu
@cuda_build
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("spec", bench.SPECS, ids=lambda spec: spec.name)
def test_every_operation_has_a_kernel_for_a_gpu(spec, dtype):
    """Read off the build: no GPU is needed for this one, only a TensorFlow for CUDA."""
    arguments = dict(spec.arguments)
    if compat.GENERATION == 3:
        arguments["dtype"] = dtype
    loss = getattr(losses, spec.loss)(**arguments)
    y_true, y_pred = bench.tensors(spec.draw, spec.small)
    y_pred = tf.cast(y_pred, dtype)
    step = bench.step(loss, "graph").get_concrete_function(y_true, y_pred)
    assert without_gpu_kernel(step.graph.as_graph_def()) == set()


@pytest.mark.gpu
@cuda_build
def test_every_operation_of_the_linear_head_has_a_kernel_for_a_gpu():
    loss = klr.LinearSparseCategoricalCrossentropy()

    @tf.function(autograph=False)
    def step(labels, *parts):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            value = loss(labels, parts)
        return value, tape.gradient(value, parts)

    parts = tf.zeros([8, 4]), tf.zeros([4, 10]), tf.zeros([10])
    made = step.get_concrete_function(tf.zeros([8], tf.int64), *parts)
    assert without_gpu_kernel(made.graph.as_graph_def()) == set()


@pytest.mark.gpu
@cuda_build
def test_an_operation_without_a_kernel_is_found():
    """A GPU sorts no strings: that must not pass as a kernel."""
    with tf.Graph().as_default() as graph:
        tf.strings.lower(tf.constant(["A"]))
    assert ("StringLower", "") in without_gpu_kernel(graph.as_graph_def())
