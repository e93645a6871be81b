"""The versions behind a set of answers, which a report must name."""

import importlib
import platform
import re
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

    cards = [card(name) for name in devices if name.startswith("GPU")]
    return {
        "keras_losses_ref": keras_losses_ref.__version__,
        "backend": host.BACKEND,
        host.BACKEND: importlib.import_module(host.BACKEND).__version__,
        "keras": host.VERSION,
        "keras_package": host.PACKAGE,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": ", ".join(devices),
        **{name: value for found in cards for name, value in found.items()},
    }


def card(device: str) -> dict[str, str]:
    """What a GPU's numbers depend on beside the versions: card, driver, CUDA."""
    from keras_losses_ref import host

    cards = host.tf.config.list_physical_devices("GPU") if host.tf else []
    index = int(device.split(":")[1])
    if index >= len(cards):
        return {}
    details = host.tf.config.experimental.get_device_details(cards[index])
    build = host.tf.sysconfig.get_build_info()
    capability = details.get("compute_capability") or ("unknown",)
    return {
        "card": details.get("device_name", "unknown"),
        "compute_capability": ".".join(map(str, capability)),
        "cuda": build.get("cuda_version", "unknown"),
        "cudnn": build.get("cudnn_version", "unknown"),
        "driver": _driver(),
    }


def _driver(path="/proc/driver/nvidia/version"):
    try:
        with open(path, encoding="utf-8") as file:
            found = re.search(r"\b\d+\.\d+(\.\d+)?\b", file.read())
    except OSError:
        found = None
    return found.group() if found else "unknown"


def backend_of(environment: Mapping[str, Any]) -> str:
    """The backend of an environment; older records, of TensorFlow, do not name it."""
    return environment.get("backend", "tensorflow")


def named(environment: Mapping[str, Any]) -> str:
    """The backend of an environment and its version, such as TensorFlow 2.21.0."""
    backend = backend_of(environment)
    return f"{BACKEND_NAMES.get(backend, backend)} {environment.get(backend)}"
