"""Find which backend Keras runs on, without importing Keras or any backend."""

import os
import sys

#: The backends that there is a runner for: see `conformance.runners`.
KNOWN = ("tensorflow", "jax")


class BackendError(ImportError):
    """This cannot run on the backend of Keras; the message says why."""


def known() -> str:
    """The backend of Keras; `BackendError` for one that is not supported."""
    backend = asked()
    if backend not in KNOWN:
        raise BackendError(
            "keras_losses_ref cannot check Keras on this backend yet. Received: "
            f"KERAS_BACKEND={backend}. Expected one of: {', '.join(KNOWN)}."
        )
    return backend


def asked() -> str:
    """The backend that Keras has, or will have when it is imported; imports nothing.

    As Keras 3 finds it: the environment, then its own file, then TensorFlow.
    """
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        return "tensorflow"
    loaded = sys.modules.get("keras")
    if loaded is not None and hasattr(loaded, "config"):  # Keras 3, and imported
        return loaded.config.backend()
    if _installed_generation() == 2:
        return "tensorflow"
    asked = os.environ.get("KERAS_BACKEND")
    if asked:
        return asked
    import json

    folder = os.environ.get("KERAS_HOME") or os.path.join(
        os.path.expanduser("~"), ".keras"
    )
    try:
        with open(os.path.join(folder, "keras.json"), encoding="utf-8") as file:
            return json.load(file).get("backend", "tensorflow")
    except (OSError, ValueError):
        return "tensorflow"


def _installed_generation():
    """2 where the `keras` that is installed is Keras 2, which has no backends."""
    from importlib import metadata  # slow, and `--help` needs none

    try:
        return 2 if metadata.version("keras").startswith("2.") else 3
    except metadata.PackageNotFoundError:
        return 3
