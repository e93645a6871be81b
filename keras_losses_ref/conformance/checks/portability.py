"""The check that a loss is the same on several backends of Keras."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from typing import Optional

import numpy as np

from keras_losses_ref import backend, host
from keras_losses_ref.conformance.checks import structures
from keras_losses_ref.conformance.checks.check import (
    CheckFailed,
    CheckSkipped,
    check,
)
from keras_losses_ref.conformance.checks.loss_under_test import LossUnderTest
from keras_losses_ref.conformance.tolerance import difference

#: Seconds after which a child counts as hung.
TIMEOUT = 300

#: The parent's import path first, or the child finds another package, or none.
_START = (
    "import json, sys;"
    "sys.path[:] = json.load(open(sys.argv[1] + '/job.json'))['path'];"
    "from keras_losses_ref.conformance.checks import portability;"
    "portability.main(sys.argv[1])"
)


@check(
    "error",
    "Write the loss in keras.ops and Python numbers alone, and look at what the ops do "
    "at ties and bounds, which backends differentiate in ways of their own; or "
    "withdraw the claim.",
)
def backends_agree(subject: LossUnderTest) -> Optional[str]:
    """On each backend that the loss claims, value and gradient are the same."""
    claimed = subject.declares.get("backends")
    if not claimed:
        raise CheckSkipped(
            "not claimed; claim it by _klr_declares = {'backends': ['tensorflow', "
            "'jax']}"
        )
    unknown = [name for name in claimed if name not in backend.KNOWN]
    if unknown:
        raise CheckFailed(
            f"no loss can be asked on {', '.join(unknown)} yet",
            fix=f"Claim some of: {', '.join(backend.KNOWN)}.",
        )
    missing = [name for name in claimed if importlib.util.find_spec(name) is None]
    if missing:
        raise CheckSkipped(f"{', '.join(missing)} is not installed here")
    if not subject.importable():
        raise CheckSkipped("another process cannot import it: define it in a module")
    want = dict(zip(("value", "gradient"), subject.gradient(*subject.sample)))
    for name in claimed:
        got = _on(name, subject)
        for aspect, wanted in want.items():
            _expect_same(aspect, got.get(aspect), wanted, name)
    return f"the same on {' and '.join(claimed)}"


def _expect_same(aspect, got, want, name):
    here = f"on {host.BACKEND}"
    if got is None or want is None:
        if (got is None) != (want is None):
            raise CheckFailed(f"{here} or on {name} there is no {aspect}, not on both")
        return
    if got.shape != want.shape:
        raise CheckFailed(
            f"on {name} the {aspect} has the shape {got.shape}, {here} {want.shape}"
        )
    gap = difference(got, want, "float32", aspect)
    if gap is not None:
        raise CheckFailed(
            f"on {name} the {aspect} is {got[gap.index]:.7g}, {here} it is "
            f"{want[gap.index]:.7g}, at {list(gap.index)}: {gap.ulp:.3g} ulp apart"
        )


def _on(name, subject):
    """{"value": ..., "gradient": ...} of the sample, in a process on that backend."""
    found = subject.implementation
    shape, data = structures.packed(tuple(subject.sample))
    job = {
        "shape": shape,
        "random": subject.random,
        "path": [os.path.abspath(p) for p in sys.path],
        "module": found.__module__,
        "qualname": found.__qualname__,
        "config": None if subject.is_function else _config(subject),
    }
    with tempfile.TemporaryDirectory(prefix="klr-backend-") as folder:
        np.savez(os.path.join(folder, "data.npz"), *data)
        with open(os.path.join(folder, "job.json"), "w") as file:
            json.dump(job, file)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _START, folder],
                env={**os.environ, "KERAS_BACKEND": name},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise CheckFailed(
                f"on {name} the loss did not return within {TIMEOUT} s"
            ) from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no word"]
            raise CheckFailed(f"on {name} it fails: {lines[-1][:300]}")
        with np.load(os.path.join(folder, "answer.npz")) as answer:
            return dict(answer)


def _config(subject):
    """The arguments of a loss as JSON; `CheckSkipped` where they are none."""
    try:
        return json.loads(json.dumps(subject.loss.get_config()))
    except Exception as error:
        raise CheckSkipped(
            f"its config cannot go to another process: {type(error).__name__}; see "
            "`config_is_json`"
        ) from None


def main(folder: str) -> None:
    """Ask the loss in `folder` on the backend of this process; the child's part."""
    from keras_losses_ref.conformance.checks.loss_under_test import LossUnderTest

    with open(os.path.join(folder, "job.json")) as file:
        job = json.load(file)
    found = importlib.import_module(job["module"])
    for name in job["qualname"].split("."):
        found = getattr(found, name)
    given = found if job["config"] is None else found.from_config(job["config"])
    with np.load(os.path.join(folder, "data.npz")) as data:
        leaves = [data[f"arr_{number}"] for number in range(len(data.files))]
    y_true, y_pred = structures.unpacked(job["shape"], leaves)
    subject = LossUnderTest(
        given,
        domain=lambda rng, n: (y_true, y_pred),
        declares={"random": job["random"]},
    )
    value, gradient = subject.gradient(y_true, y_pred)
    answer = {"value": value, "gradient": gradient}
    answer = {name: found for name, found in answer.items() if found is not None}
    np.savez(os.path.join(folder, "answer.npz"), **answer)
