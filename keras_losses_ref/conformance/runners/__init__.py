"""An implementation's answers: ours and Keras's, on the backend that Keras has.

A runner is a module for one backend. It has

    evaluate(cases, implementation)   yields (case, outcome), "ours" or "keras"
    unsupported(case, implementation) why it cannot run a case here, or None
    devices()                         the names of the devices that a case may name
    xla_keeps_nan()                   whether its compiler propagates NaN

`asking` holds what they share. `lifecycle` records a loss as a whole, on any backend.
Callers load a runner with `load` when they run, so importing the kit imports no
backend. Another backend takes one more module here, one in `arrays`, and its name in
`backend.KNOWN`.
"""

import importlib
from typing import Any, Optional

#: The implementations.
IMPLEMENTATIONS = ("ours", "keras")


def load(name: Optional[str] = None) -> Any:
    """The runner of Keras's backend, or the one of that name; imported on first use."""
    if name is None:
        from keras_losses_ref import backend

        name = backend.known()
    return importlib.import_module(f"{__name__}.{name}")
