"""The versions behind a set of answers, which a report must name."""

import importlib
import platform
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

import keras_losses_ref

#: What people call a backend.
BACKEND_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX"}


def runtime_info(devices: Iterable[str] = ("CPU:0",)) -> dict[str, str]:
    """The versions that a report names, so that its numbers can be reproduced.

    Of the backends, only the one that Keras runs on.
    """
    from keras_losses_ref import host

    return {
        "keras_losses_ref": keras_losses_ref.__version__,
        "backend": host.BACKEND,
        host.BACKEND: importlib.import_module(host.BACKEND).__version__,
        "keras": host.VERSION,
        "keras_package": host.PACKAGE,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": ", ".join(devices),
    }


def backend_of(environment: Mapping[str, Any]) -> str:
    """The backend of an environment; older records, of TensorFlow, do not name it."""
    return environment.get("backend", "tensorflow")


def named(environment: Mapping[str, Any]) -> str:
    """The backend of an environment and its version, such as TensorFlow 2.21.0."""
    backend = backend_of(environment)
    return f"{BACKEND_NAMES.get(backend, backend)} {environment.get(backend)}"
