"""An implementation's answers: ours and Keras's, on a backend.

A runner is a module for one backend. It has

    evaluate(cases, implementation)   yields (case, outcome), "ours" or "keras"
    devices()                         the names of the devices that a case may name
    xla_keeps_nan()                   whether its compiler propagates NaN
    runtime_info(devices)             the versions behind the answers

There is one today, `tensorflow`. What asks a runner loads it with `load` when it runs,
so that importing the kit does not import TensorFlow.
"""

import importlib

#: Who is asked, besides the truth.
IMPLEMENTATIONS = ("ours", "keras")


def load(backend="tensorflow"):
    """The runner of a backend, imported when it is first asked for."""
    return importlib.import_module(f"{__name__}.{backend}")
