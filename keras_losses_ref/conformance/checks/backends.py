"""Which checks do not apply to a backend, and why."""

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
