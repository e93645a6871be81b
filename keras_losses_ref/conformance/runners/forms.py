"""The forms in which a program may pass its inputs to a loss on TensorFlow."""

import importlib.util
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from keras_losses_ref.conformance.cases.case import UNWATCHED_FORMS, Case
from keras_losses_ref.losses import compat

_ZERO = {"unconnected_gradients": tf.UnconnectedGradients.ZERO}


def unsupported(case: Case) -> Optional[str]:
    """Why a form cannot be tested here, or None."""
    if case.form == "keras_variable" and compat.GENERATION == 2:
        return "Keras 2 has no variables of its own"
    if case.form == "pandas" and importlib.util.find_spec("pandas") is None:
        return "pandas is not installed"
    return None


def ask(loss: Any, case: Case, y_true: Any, y_pred: Any) -> list[Any]:
    """[value, gradient] of a loss whose inputs are in the form of the case.

    The gradient is 0 where nothing watches y_pred in that form.
    """
    if case.form.startswith("unknown"):
        return _in_graph(loss, case, y_true, y_pred)
    if case.form == "symbolic":
        value = _functional(loss, y_true, y_pred)
        return [value, tf.zeros_like(y_pred)]
    y_true, given = _formed(case.form, y_true, y_pred)
    if case.form in UNWATCHED_FORMS:
        return [_dense(loss(y_true, given)), tf.zeros_like(y_pred)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = loss(y_true, given)
    return [_dense(value), _dense(tape.gradient(value, given, **_ZERO))]


def _dense(values):
    """Values of ragged rows that are all of one length, as a tensor."""
    return values.to_tensor() if isinstance(values, tf.RaggedTensor) else values


def _formed(form, y_true, y_pred):
    """The inputs in one of the forms that are handed over eagerly."""
    if form == "list":
        return y_true.numpy().tolist(), y_pred.numpy().tolist()
    if form == "numpy":
        return y_true.numpy(), y_pred.numpy()
    if form == "object_labels":
        return y_true.numpy().astype(object), y_pred
    if form == "boolean_labels":
        return tf.cast(y_true, tf.bool), y_pred
    if form == "integer_labels":
        return tf.cast(y_true, tf.int32), y_pred
    if form == "variable":
        return tf.Variable(y_true, trainable=False), tf.Variable(y_pred)
    if form == "keras_variable":
        variable = compat.keras.Variable
        dtype = y_true.dtype.name
        true = variable(y_true, dtype=dtype, trainable=False)
        return true, variable(y_pred, dtype=y_pred.dtype.name)
    if form == "ragged":
        return [tf.RaggedTensor.from_tensor(t, ragged_rank=1) for t in (y_true, y_pred)]
    import pandas

    kind = pandas.Series if y_true.shape.rank == 1 else pandas.DataFrame
    return kind(y_true.numpy()), pandas.DataFrame(y_pred.numpy())


def _in_graph(loss, case, y_true, y_pred):
    """In a graph that knows nothing of the shapes, or no more than the ranks."""

    def spec(tensor):
        known = case.form == "unknown_shape"
        return tf.TensorSpec(
            [None] * tensor.shape.rank if known else None, tensor.dtype
        )

    def value_and_gradient(y_true, y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        return value, tape.gradient(value, y_pred, **_ZERO)

    specs = [spec(y_true), spec(y_pred)]
    run = tf.function(value_and_gradient, input_signature=specs, autograph=False)
    return list(run(y_true, y_pred))


def _functional(loss, y_true, y_pred):
    """The loss as the output of a functional model."""
    keras = compat.keras
    inputs = [
        keras.Input(batch_shape=t.shape, dtype=t.dtype.name) for t in (y_true, y_pred)
    ]
    value = keras.Model(inputs, loss(*inputs))([y_true, y_pred])
    return tf.convert_to_tensor(np.asarray(value))
