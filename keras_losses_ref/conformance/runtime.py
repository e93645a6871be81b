"""The versions behind a set of answers: what a report must name."""

import importlib
import platform

import numpy as np

import keras_losses_ref

#: What people call a backend.
BACKEND_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX"}


def runtime_info(devices=("CPU:0",)):
    """What a report must name for its numbers to mean anything.

    Of the backends, the version of the one that Keras runs on.
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


def named(environment):
    """ "TensorFlow 2.21.0": the backend of an environment and its version.

    Records that were written before there was another backend do not name it.
    """
    backend = environment.get("backend", "tensorflow")
    return f"{BACKEND_NAMES.get(backend, backend)} {environment[backend]}"
