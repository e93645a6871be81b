"""Checks that need a process of their own: loading a file, two devices.

One child serves all of them. It starts before the other checks and runs beside them.
The parent passes it a folder and reads its answers from there.
"""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any, Optional

import numpy as np

from keras_losses_ref.conformance import arrays
from keras_losses_ref.conformance.checks import construction, reductions, structures
from keras_losses_ref.conformance.checks.check import (
    CheckFailed,
    CheckSkipped,
    check,
    describe,
    expect_close,
)
from keras_losses_ref.conformance.checks.loss_under_test import LossUnderTest

#: Seconds after which a child counts as hung.
TIMEOUT = 300

#: The parent's import path first, or the child finds another package, or none.
START = (
    "import json, sys;"
    "sys.path[:] = json.load(open(sys.argv[1] + '/job.json'))['path'];"
    "from keras_losses_ref.conformance.checks import fresh_process;"
    "fresh_process.main(sys.argv[1])"
)


#: The last line of a traceback.
_RAISED = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit|Iteration)\b(: |$)")


class Child:
    """The child process of one subject."""

    def __init__(self, subject: LossUnderTest) -> None:
        self.subject = subject
        self.folder = tempfile.mkdtemp(prefix="klr-checks-")
        self.process = None
        self.answers = None
        self.notes = {}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        subject = self.subject
        found = subject.implementation
        shape, data = structures.packed(tuple(subject.sample))
        job = {
            "shape": shape,
            "random": subject.random,
            "path": [os.path.abspath(p) for p in sys.path],
            "module": found.__module__,
            "qualname": found.__qualname__,
            "kind": subject.kind,
            "files": self._write_files(),
            "not_in_parts": self._not_in_parts(),
        }
        np.savez(self._at("data.npz"), *data)
        with open(self._at("job.json"), "w") as file:
            json.dump(job, file)
        with open(self._at("log.txt"), "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, self.folder],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _not_in_parts(self):
        """Why two halves of a batch need not add up to the whole, or None."""
        subject = self.subject
        try:
            subject.require("fits")
            subject.require("repeatable")
        except CheckSkipped as skip:
            return str(skip)
        batch_wise = subject.declares.get("batch_wise", False)
        if batch_wise or (subject.per_sample and not subject.independent):
            return "a sample changes the loss of the others"
        if reductions.own_mask(subject) is not None:
            return "each replica divides by the samples that its own mask keeps"
        return None

    def _at(self, name):
        return os.path.join(self.folder, name)

    def _write_files(self):
        """Save the loss in every way that works here; `notes` names the others."""
        subject = self.subject
        settings = construction._settings_kept_by_config(subject)
        files = []
        keras = construction.keras
        with keras.utils.custom_object_scope(subject.custom_objects()):
            for number, (what, loss) in enumerate(settings):
                for suffix in (".keras", ".h5", ".pickle"):
                    name = f"{number}{suffix}"
                    try:
                        if suffix != ".pickle":
                            construction.save_model(subject, loss, self._at(name))
                        else:
                            with open(self._at(name), "wb") as file:
                                pickle.dump(_picklable(subject, loss), file)
                    except Exception as error:
                        self.notes[suffix] = f"it {describe(error)}"
                        continue
                    files.append({"file": name, "what": what, "suffix": suffix})
                    want = subject.values(*subject.sample, loss=loss)
                    np.save(self._at(f"{number}.npy"), want)
        return files

    def answer(self, key: str) -> Any:
        """What the child found under `key`."""
        if self.answers is None:
            try:
                self.process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self.close(keep=True)
                self.answers = {}
                raise CheckFailed(
                    f"the loss did not return within {TIMEOUT} s in a fresh process"
                ) from None
            try:
                with open(self._at("answers.json")) as file:
                    self.answers = json.load(file)
            except OSError:
                self.answers = {}
        if self.answers.get("import", {}).get("error"):
            raise CheckFailed(f"a fresh process {self.answers['import']['error']}")
        if key not in self.answers:  # it died on the way to it
            raise CheckFailed(f"a fresh process {self._last_words()}")
        return self.answers[key]

    def _last_words(self):
        """Why it ended early: its exception, not what TensorFlow logged after that."""
        with open(self._at("log.txt"), errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
        raised = [line for line in lines if _RAISED.match(line)]
        code = self.process.returncode
        if raised:
            return f"raises {raised[-1][:300]}"
        if code and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        said = f", and said last: {lines[-1][:200]}" if lines else ""
        return f"ended early with exit code {code}{said}"

    def close(self, keep: bool = False) -> None:
        """End the process, if it still runs, and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def _picklable(subject, loss):
    return subject.given if subject.kind == "function" else loss


def child_of(subject: LossUnderTest) -> Child:
    """The subject's child, started on first use."""
    if "child" not in vars(subject):
        if not subject.importable():
            found = subject.implementation
            where = getattr(found, "__qualname__", repr(found))
            raise CheckSkipped(
                f"{where} cannot be imported by a fresh process: it is no module's "
                "attribute"
            )
        subject.child = Child(subject)
    return subject.child


def close(subject: LossUnderTest) -> None:
    """End what `child_of` started."""
    child = vars(subject).pop("child", None)
    if child is not None:
        child.close()


#: The checks that say why a file cannot be written.
_WRITTEN = {
    ".keras": "keras_file_keeps_values",
    ".h5": "h5_file_keeps_values",
    ".pickle": "pickle_keeps_values",
}


def _loads(subject, suffix):
    if suffix != ".pickle":
        subject.require("fits")
    if suffix != ".pickle" or construction.KERAS_3:
        construction._rest_on_config(subject)
    child = child_of(subject)
    answers = child.answer("files")
    seen = 0
    for entry in answers:
        if entry["suffix"] != suffix:
            continue
        seen += 1
        if entry["error"]:
            raise CheckFailed(f"{entry['what']}: {entry['error']}")
        expect_close(
            np.array(entry["values"]),
            np.array(entry["want"]),
            f"{entry['what']}: the loss in a fresh process",
            "here",
            1e-6,
        )
    if not seen:
        raise CheckSkipped(
            f"it could not be written here: {child.notes.get(suffix)}", _WRITTEN[suffix]
        )
    return f"{seen} settings"


@check(
    "error",
    "Do not depend on hash(), the order of a set, random numbers at import time, or "
    "what other modules have set.",
)
def fresh_process_gives_same_values(subject: LossUnderTest) -> None:
    """The loss built in a fresh process gives the same values."""
    if subject.kind not in ("class", "function"):
        raise CheckSkipped(
            f"an {subject.kind} is built here; see fresh_process_loads_pickle"
        )
    answer = child_of(subject).answer("built")
    if answer.get("error"):
        raise CheckFailed(f"in a fresh process it {answer['error']}")
    expect_close(
        np.array(answer["values"]),
        subject.values(*subject.sample),
        "the loss built in a fresh process",
        "here",
        1e-6,
    )


@check(
    "error",
    "Register the class, and build everything the loss needs in __init__ from its "
    "arguments: nothing else reaches another process.",
    rests_on=("fresh_process_gives_same_values",),
)
def fresh_process_loads_keras_file(subject: LossUnderTest) -> Optional[str]:
    """A fresh process that imports the module loads the .keras file, same values."""
    return _loads(subject, ".keras")


@check(
    "error",
    "Register the class, and build everything the loss needs in __init__ from its "
    "arguments: nothing else reaches another process.",
    rests_on=("fresh_process_gives_same_values",),
)
def fresh_process_loads_h5_file(subject: LossUnderTest) -> Optional[str]:
    """A fresh process that imports the module loads the .h5 file, same values."""
    return _loads(subject, ".h5")


@check(
    "error",
    "Keep no state outside of the instance; make from_config take what get_config "
    "gives.",
    rests_on=("fresh_process_gives_same_values",),
)
def fresh_process_loads_pickle(subject: LossUnderTest) -> Optional[str]:
    """A fresh process that imports the module loads the pickle, same values."""
    return _loads(subject, ".pickle")


@check(
    "error",
    "Return one value per sample and leave the division to Keras, which divides by "
    "the global batch; a scalar from call is added up once per replica.",
    rests_on=(
        "fresh_process_gives_same_values",
        "one_value_per_sample",
        "fit_reports_the_same_loss",
    ),
)
def replicas_update_as_one_device(subject: LossUnderTest) -> None:
    """Under MirroredStrategy, two replicas update the weights as one device does."""
    answer = child_of(subject).answer("replicas")
    if answer.get("skip"):
        raise CheckSkipped(answer["skip"])
    if answer.get("error"):
        raise CheckFailed(f"under MirroredStrategy it {answer['error']}")
    blame = {}
    if not answer["host_holds"]:
        blame = {"severity": "advice", "why": "as for the host's MeanSquaredError"}
    expect_close(
        np.array(answer["two"]),
        np.array(answer["one"]),
        "the update by two replicas",
        "by one device",
        1e-4,
        1e-6,
        **blame,
    )


# The child


def main(folder: str) -> None:
    """Answer the questions of the parent in `folder`; all failures are exceptions."""
    from keras_losses_ref.host import tf

    if tf is not None:
        # Only possible before TensorFlow starts, which is why this is a process.
        cpus = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
        tf.config.set_visible_devices([], "GPU")
    with open(os.path.join(folder, "job.json")) as file:
        job = json.load(file)
    answers = {}
    try:
        found = _import(job)
        answers["import"] = {}
    except BaseException as error:  # SystemExit as well
        answers["import"] = {"error": describe(error)}
    else:
        data = np.load(os.path.join(folder, "data.npz"))
        leaves = [data[f"arr_{number}"] for number in range(len(data.files))]
        y_true, y_pred = structures.unpacked(job["shape"], leaves)
        for _ in _answer(folder, job, found, y_true, y_pred, answers):
            _write(folder, answers)  # what is known, in case the rest is a crash
    _write(folder, answers)


def _write(folder, answers):
    path = os.path.join(folder, "answers.json")
    with open(path + ".part", "w") as file:
        json.dump(answers, file)
    os.replace(path + ".part", path)


def _import(job):
    import importlib

    found = importlib.import_module(job["module"])
    for name in job["qualname"].split("."):
        found = getattr(found, name)
    return found


def _answer(folder, job, found, y_true, y_pred, answers):
    from keras_losses_ref.conformance.checks.construction import load_loss
    from keras_losses_ref.conformance.checks.loss_under_test import LossUnderTest, keras

    subject = LossUnderTest(
        found,
        domain=lambda rng, n: (y_true, y_pred),
        declares={"random": job["random"]},
    )
    registered = keras.utils.get_registered_name(found)
    named = {}
    if registered == getattr(found, "__name__", None):
        # Not registered: a check of its own; here the user helps.
        named = subject.custom_objects()

    def values(loss):
        return subject.values(y_true, y_pred, loss=loss).tolist()

    answers["files"] = []
    loaded = None
    for entry in job["files"]:
        path = os.path.join(folder, entry["file"])
        entry = dict(entry, error=None, values=None)
        number = entry["file"].split(".")[0]
        entry["want"] = np.load(os.path.join(folder, number + ".npy")).tolist()
        try:
            if entry["suffix"] == ".pickle":
                with keras.utils.custom_object_scope(named), open(path, "rb") as file:
                    loss = pickle.load(file)
            else:
                loss = load_loss(path, named)
            entry["values"] = values(loss)
            loaded = loss if loaded is None else loaded
        except Exception as error:
            entry["error"] = describe(error)
        answers["files"].append(entry)
    yield
    try:
        built = subject.loss if job["kind"] in ("class", "function") else loaded
        answers["built"] = {"values": values(built)}
    except Exception as error:
        answers["built"] = {"error": describe(error)}
        return
    yield
    if job["kind"] == "function":
        built = found
    answers["replicas"] = _replicas(subject, built, job)


def _replicas(subject, loss, job):
    from keras_losses_ref.conformance.checks.loss_under_test import LossUnderTest, keras
    from keras_losses_ref.host import tf

    if job["not_in_parts"]:
        return {"skip": job["not_in_parts"]}
    if tf is None:
        return {"skip": "MirroredStrategy is TensorFlow's"}
    if loss is None:
        return {"skip": "the loss could not be loaded"}
    # One strategy for all: a second one takes up the collective keys of the first.
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    try:
        one, two = _update(subject, loss), _update(subject, loss, strategy)
    except Exception as error:
        return {"error": describe(error)}
    holds = True
    if not np.allclose(one, two, 1e-4, 1e-6):
        # The host's own loss on the same predictions: the same weights to update.
        _, y_pred = subject.sample
        control = LossUnderTest(
            keras.losses.MeanSquaredError,
            domain=lambda rng, n: (y_pred[::-1].copy(), y_pred),
        )
        try:
            holds = np.allclose(
                _update(control, control.loss),
                _update(control, control.loss, strategy),
                1e-4,
                1e-6,
            )
        except Exception:
            holds = True
    return {"one": one.tolist(), "two": two.tolist(), "host_holds": bool(holds)}


def _update(subject, loss, strategy=None):
    """How one step of gradient descent on the whole batch changes the weights."""
    import contextlib

    from keras_losses_ref.conformance.checks.construction import identity_model
    from keras_losses_ref.conformance.checks.loss_under_test import tensors

    scope = contextlib.nullcontext() if strategy is None else strategy.scope()
    y_true, y_pred = map(arrays.to_numpy, tensors(*subject.sample))
    with scope:
        model = identity_model(subject, loss)
    before = model.get_weights()[0]
    model.fit(y_pred, y_true, batch_size=len(y_true), shuffle=False, verbose=0)
    return model.get_weights()[0] - before
