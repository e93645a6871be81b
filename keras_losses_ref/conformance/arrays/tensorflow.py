"""TensorFlow's part of `arrays`."""

import contextlib
from collections.abc import Sequence
from typing import Any, Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


def tensor(x: Any, dtype: str = "float32") -> Any:
    if tf.is_tensor(x):
        return x
    x = np.asarray(x)
    if x.dtype.kind in "iubSUO":
        return tf.constant(x)
    return tf.cast(tf.constant(x), dtype)


is_tensor = tf.is_tensor
identity = tf.identity
nn = tf.nn


def dtype_of(x: Any) -> str:
    return tf.as_dtype(x.dtype).name


def to_numpy(x: Any) -> NDArray[Any]:
    x = tf.convert_to_tensor(x)
    if x.dtype == tf.bfloat16:
        x = tf.cast(x, tf.float32)
    return x.numpy()


def value_and_gradients(
    function: Callable[..., Any], watched: Sequence[Any]
) -> tuple[Any, list[Any]]:
    with tf.GradientTape() as tape:
        tape.watch(watched)
        value = tf.convert_to_tensor(function(watched))
    return value, tape.gradient(value, watched)


def compiled(function: Callable[..., Any], xla: bool = True) -> Callable[..., Any]:
    return tf.function(function, jit_compile=xla, autograph=False)


def precision(dtype: str) -> Any:
    return contextlib.nullcontext()


@contextlib.contextmanager
def exact_matrices() -> Any:
    exact = tf.config.experimental
    rounds = exact.tensor_float_32_execution_enabled()
    try:
        exact.enable_tensor_float_32_execution(False)
        yield
    finally:
        exact.enable_tensor_float_32_execution(rounds)


def model_gradients(
    model: Any, x: Any, y: Any, sample_weight: Any = None
) -> tuple[Any, Any]:
    x, y = tf.constant(x), tf.constant(y)
    weight = None if sample_weight is None else tf.constant(sample_weight)
    with tf.GradientTape() as tape:
        y_pred = model(x, training=False)
        loss = model.compute_loss(x=None, y=y, y_pred=y_pred, sample_weight=weight)
    variables = [
        v if isinstance(v, tf.Variable) else v.value for v in model.trainable_variables
    ]
    return tf.convert_to_tensor(loss), tape.gradient(loss, variables)
