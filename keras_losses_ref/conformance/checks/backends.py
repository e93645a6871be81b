"""Which checks do not apply to a backend and why; remedies in its terms."""

import re
from typing import Optional

from keras_losses_ref import host

_GRAPH = "JAX has no graph but a compiled one; see `xla_equals_eager`"
_SHAPES = "JAX compiles for each shape; see `xla_equals_eager`"

#: {backend: {check: why it is skipped there}}.
SKIPPED = {
    "jax": {
        "graph_equals_eager": _GRAPH,
        "no_new_graph_per_call": _GRAPH,
        "batch_size_may_be_unknown": _SHAPES,
        "shape_may_be_unknown": _SHAPES,
        "rank_may_be_unknown": _SHAPES,
        "inputs_are_not_changed": "nothing can change an array of JAX",
        "replicas_update_as_one_device": "MirroredStrategy is TensorFlow's",
        "float64_is_computed_in_float64": "Keras on JAX takes means in float32; see "
        "mean-in-float32 in docs/deviations.md",
    }
}


def not_here(check: str) -> Optional[str]:
    """Why a check does not apply to the backend in use, or None."""
    return SKIPPED.get(host.BACKEND, {}).get(check)


#: What a remedy says of TensorFlow, and what that is elsewhere; the longer ones first.
#: Any other `tf.name` is `keras.ops.name`.
_ELSEWHERE = {
    "with tf.shape(y_pred)[0]: in fit y_pred.shape[0] is None, and `for i in range(n)` "
    "cannot count to it": "from y_pred.shape[0], and expect another one to come",
    "tf.debugging.assert_less_equal(y_pred, 1.0)": "keras.ops.all(y_pred <= 1.0) in a "
    "step that is not compiled",
    "tf.boolean_mask, tf.where(x)": "x[mask], keras.ops.nonzero(x)",
    "tf.random or keras.random": "keras.random",
    "tf.math.is_finite": "keras.ops.isfinite",
    "print and tf.print": "print and jax.debug.print",
    "tf.clip_by_value": "keras.ops.clip",
    "tf.reduce_mean": "keras.ops.mean",
    "tf.py_function": "jax.pure_callback",
    "TensorFlow ops": "keras.ops",
    "tf.functions": "compiled functions",
    "tf.function": "compiled function",
    "tf.Variable": "keras.Variable",
    "tf.unique": "jax.numpy.unique",
    "tf.gather": "keras.ops.take",
    "tf.rank": "keras.ops.ndim",
    "tf ops": "keras.ops",
}


def in_words_of(backend: str, remedy: str) -> str:
    """A remedy that names what TensorFlow has, in the words of the backend."""
    if backend == "tensorflow":
        return remedy
    for there, here in _ELSEWHERE.items():
        remedy = remedy.replace(there, here)
    return re.sub(r"\btf\.(\w+)", r"keras.ops.\1", remedy)
