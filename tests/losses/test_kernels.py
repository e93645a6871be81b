"""Kernel = definition, and no loss computes wider than it has to."""

import numpy as np
import pytest
import tensorflow as tf

from keras_losses_ref.conformance import accuracy
from keras_losses_ref.losses import base, compat, convert

#: Arguments besides the defaults: each branch of a kernel.
ARGUMENTS = {
    "binary_crossentropy": [
        {"axis": 0},
        {"from_logits": True, "label_smoothing": 0.1},
    ],
    "binary_focal_crossentropy": [
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 0.5},
        {"from_logits": True, "gamma": 3.5, "label_smoothing": 0.2},
        {"gamma": 0},
        {"gamma": 1, "axis": 0},
    ],
    "categorical_crossentropy": [
        {"label_smoothing": 0.1},
        {"from_logits": True, "axis": 0},
    ],
    "categorical_focal_crossentropy": [
        {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5], "gamma": 0.7},
        {"from_logits": True, "gamma": 0, "label_smoothing": 0.1},
        {"gamma": 1},
    ],
    "sparse_categorical_crossentropy": [
        {"ignore_class": 2, "label_smoothing": 0.1},
        {"from_logits": True, "ignore_class": -1, "label_smoothing": 0.2},
    ],
    "sparse_categorical_focal_crossentropy": [{"ignore_class": 1, "gamma": 1.5}],
    "tversky": [{"alpha": 0.2, "beta": 0.9, "axis": None}],
    "dice": [{"axis": None}],
    "cosine_similarity": [{"axis": 0}],
    "circle": [{"remove_diagonal": False, "gamma": 10, "margin": 0.25}],
}


def function_of(subject):
    return convert.LOSSES[subject.loss].function


KERNELS = [
    (subject, {**subject.config, **more})
    for subject in accuracy.SPECS
    if function_of(subject).kernel is not None
    for more in (
        [{}]
        + [
            more
            for more in ARGUMENTS.get(function_of(subject).__name__, [])
            if more.get("from_logits", False) == bool(subject.config.get("from_logits"))
        ]
    )
]


def value_and_gradients(form, y_true, y_pred, arguments):
    """The sum of the values times 1, 2, ..., and its gradients to both sides."""
    sources = [y_pred] + ([y_true] if y_true.dtype.is_floating else [])
    with tf.GradientTape() as tape:
        tape.watch(sources)
        values = form(y_true, y_pred, **arguments)
        weights = tf.range(1, tf.size(values, out_type=tf.int64) + 1)
        weights = tf.reshape(tf.cast(weights, values.dtype), tf.shape(values))
        total = tf.reduce_sum(weights * values)
    return [values, *tape.gradient(total, sources)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "subject, arguments",
    KERNELS,
    ids=[f"{s.name} {' '.join(map(str, a.items()))}" for s, a in KERNELS],
)
def test_kernel_equals_definition(subject, arguments, seed):
    """Value and both gradients in float64, within 1e-11 of the largest of each."""
    function = function_of(subject)
    bound = dict(base._bind(function.definition, (), {}), **arguments)
    case = next(accuracy.cases(subject, "float64", "eager", seed=seed))
    y_true, y_pred = tf.constant(case.y_true), tf.constant(case.y_pred)
    y_true, y_pred, bound = function.prepare(y_true, y_pred, bound)
    if y_true.dtype.is_floating:
        y_true = tf.cast(y_true, y_pred.dtype)
    kernel, definition = (
        value_and_gradients(form, y_true, y_pred, bound)
        for form in (function.kernel, function.definition)
    )
    for got, want in zip(kernel, definition):
        size = max(1.0, np.max(np.abs(want)))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * size)


# --- no wider than the dtype asks for ---------------------------------------------


def functions_in(graph):
    """`graph` and the graphs of all functions that it calls."""
    yield graph.as_graph_def().node
    for function in graph.as_graph_def().library.function:
        yield function.node_def


def float64_nodes(step, *tensors):
    """The names of the nodes that take or make a float64."""
    graph = tf.function(step, autograph=False).get_concrete_function(*tensors).graph
    return [
        f"{node.op} {node.name}"
        for nodes in functions_in(graph)
        for node in nodes
        for attribute in node.attr.values()
        if tf.float64.as_datatype_enum in (attribute.type, *attribute.list.type)
    ]


def steps_of(spec, dtype, **options):
    """(what computes value and gradient, its tensors), of the function and the class.

    The class with a weight for each sample and a mask.
    """
    function, cls = function_of(spec), convert.LOSSES[spec.loss]
    case = next(accuracy.cases(spec, "float32", "eager"))
    integers = case.y_true.dtype.kind != "f"
    y_true = tf.constant(case.y_true, tf.int32 if integers else dtype)
    y_pred = tf.constant(case.y_pred, dtype)
    loss = cls(**spec.config, dtype=dtype, **options)
    values = function(y_true, y_pred, **spec.config)
    weight, mask = tf.fill(tf.shape(values), 0.5), tf.fill(tf.shape(values), True)

    def gradient(call, y_true, y_pred):
        sources = [y_pred] if integers else [y_true, y_pred]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            value = call(y_true, y_pred)
        return value, tape.gradient(value, sources)

    def of_function(y_true, y_pred):
        return gradient(lambda y, p: function(y, p, **spec.config), y_true, y_pred)

    def of_class(y_true, y_pred):
        return gradient(loss, y_true, y_pred)

    def weighted(y_true, y_pred, weight, mask):
        def call(y_true, y_pred):
            compat.set_mask(y_pred, mask)
            return loss(y_true, y_pred, sample_weight=weight)

        return gradient(call, y_true, y_pred)

    yield of_function, (y_true, y_pred)
    yield of_class, (y_true, y_pred)
    yield weighted, (y_true, y_pred, weight, mask)


#: The recursion of CTC needs the range of float64: sequence.py says why.
NARROW = [spec for spec in accuracy.SPECS if spec.loss != "CTC"]
each_narrow = pytest.mark.parametrize("spec", NARROW, ids=[s.name for s in NARROW])


@each_narrow
@pytest.mark.parametrize("dtype, jit_compile", [("float32", True), ("float16", False)])
def test_a_graph_has_no_float64(spec, dtype, jit_compile):
    for step, tensors in steps_of(spec, dtype, jit_compile=jit_compile):
        assert float64_nodes(step, *tensors) == []


@each_narrow
def test_what_xla_makes_of_it_has_no_float64(spec):
    *_, (step, tensors) = steps_of(spec, "float32")
    compiled = tf.function(step, jit_compile=True, autograph=False)
    text = compiled.experimental_get_compiler_ir(*tensors)(stage="optimized_hlo")
    assert "f32[" in text and "f64[" not in text


def test_a_float64_is_found():
    x = tf.constant([1.0])
    assert float64_nodes(lambda x: tf.cast(tf.cast(x, tf.float64) + 1.0, tf.float32), x)


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
def test_other_reductions_have_no_float64(reduction):
    if reduction not in compat.REDUCTIONS:
        pytest.skip("this Keras lacks it")
    for step, tensors in steps_of(NARROW[0], "float32", reduction=reduction):
        assert float64_nodes(step, *tensors) == []


# --- sums ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["eager", "graph", "xla", "open batch"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(10**7, 1), (10_007, 1000), (1, 10**7)])
def test_a_mean_of_ten_million_elements(shape, weighted, path):
    """Within 4 ulp of the mean of the sizes."""
    rng = np.random.default_rng(0)
    y_pred = rng.uniform(0.5, 1.5, shape).astype(np.float32)
    weight = rng.uniform(0, 1, shape[0]).astype(np.float32) if weighted else None
    loss = convert.LOSSES["MeanAbsoluteError"](dtype="float32", jit_compile=False)
    tensors = [tf.zeros(shape), tf.constant(y_pred)]
    if weighted:
        tensors.append(tf.constant(weight))
    ask = loss.__call__
    if path != "eager":
        opened = [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in tensors]
        signature = opened if path == "open batch" else None
        ask = tf.function(ask, signature, jit_compile=path != "graph")
    value = ask(*tensors)
    rows = y_pred.astype(float).mean(axis=1)
    want = np.mean(rows if weight is None else rows * weight)
    assert abs(float(value) - want) <= 4 * np.spacing(np.float32(want))
