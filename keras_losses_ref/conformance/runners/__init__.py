"""An implementation's answers: ours and Keras's, on the backend that Keras has.

A runner is a module for one backend. It has

    evaluate(cases, implementation)   yields (case, outcome), "ours" or "keras"
    unsupported(case, implementation) why it cannot be asked a case here, or None
    devices()                         the names of the devices that a case may name
    xla_keeps_nan()                   whether its compiler propagates NaN

and beside it one for what is asked of a loss as a whole: `lifecycle`, `lifecycle_jax`.
What asks a runner loads it with `load` when it runs, so that importing the kit imports
no backend. Another backend is two more modules, a line here, and its name in
`host.BACKENDS`.
"""

import importlib

#: Who is asked, besides the truth.
IMPLEMENTATIONS = ("ours", "keras")

#: {backend: (its runner, its runner for a loss as a whole)}.
RUNNERS = {
    "tensorflow": ("tensorflow", "lifecycle"),
    "jax": ("jax", "lifecycle_jax"),
}


def load(part="cases"):
    """The runner of Keras's backend, for "cases" or for the "lifecycle" of a loss."""
    from keras_losses_ref import host

    name = RUNNERS[host.BACKEND][part == "lifecycle"]
    return importlib.import_module(f"{__name__}.{name}")
