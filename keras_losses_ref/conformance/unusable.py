"""Import Keras and its backend, or say in one sentence why that fails.

A TensorFlow built for another NumPy, or a Keras that fits another TensorFlow, fails on
import with whatever exception comes first. The environment is at fault then, not this
package.
"""

import contextlib
import importlib
import io
import os
import sys
import traceback
from importlib import metadata

from keras_losses_ref.backend import BackendError, asked
from keras_losses_ref.conformance import chatter
from keras_losses_ref.conformance.parity.venvs import KERASES, TENSORFLOWS

#: The first TensorFlow that runs under NumPy 2.
_RUNS_NUMPY_2 = (2, 18)


class Unusable(Exception):
    """The installed Keras or its backend cannot be imported; the message says why."""


def import_host() -> None:
    """Import Keras and its backend, or raise `Unusable`.

    A missing TensorFlow stays a `ModuleNotFoundError`, and a backend that is not
    supported a `BackendError`.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            importlib.import_module("keras_losses_ref.host")
    except BackendError:
        raise
    except Exception as error:
        if getattr(error, "name", None) == "tensorflow" or _is_ours(error):
            raise
        raise Unusable(_sentence(error)) from None
    sys.stderr.writelines(chatter.kept(io.StringIO(said.getvalue())))


def _is_ours(error):
    """Whether it comes from our losses, which are imported right after Keras."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = os.path.join("keras_losses_ref", "losses")
    return any(ours in frame.filename for frame in frames)


def _sentence(error):
    versions = installed()
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = type(error).__name__ + (f": {lines[0]}" if lines else "")
    said = said if len(said) <= 160 else said[:157] + "..."
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"the installed Keras and its backend cannot be imported ({named}): {said}. "
        f"{_remedy(versions)}"
    )


def installed() -> dict[str, str]:
    """{name: version} of the packages that must fit together."""
    found = {}
    for name in (*TENSORFLOWS, "jax", *KERASES, "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _remedy(versions):
    tensorflow = next((n for n in TENSORFLOWS if n in versions), "tensorflow")
    release = _release(versions.get(tensorflow))
    if release and release < _RUNS_NUMPY_2 and _release(versions.get("numpy")) >= (2,):
        return (
            f"TensorFlow {versions[tensorflow]} needs NumPy 1: pip install 'numpy<2', "
            f"or install TensorFlow {'.'.join(map(str, _RUNS_NUMPY_2))} or later."
        )
    legacy = os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true")
    if legacy and "tf-keras" not in versions:
        return (
            "TF_USE_LEGACY_KERAS is set, and tf_keras is not installed: pip install "
            "tf_keras, or unset TF_USE_LEGACY_KERAS."
        )
    if asked() == "jax" and "jax" not in versions:
        return "Keras runs on JAX here, and JAX is not installed: pip install jax."
    return (
        "Install versions that fit together: pip install --force-reinstall "
        f"{tensorflow}."
    )


def _release(version):
    """(2, 12) of "2.12.1"; () of nothing."""
    parts = (version or "").split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())
