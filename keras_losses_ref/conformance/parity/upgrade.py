"""Check an upgrade: build two environments, record in each, and compare.

Both run a copy of this package, so only TensorFlow, Keras and their dependencies
differ.
"""

import concurrent.futures
import contextlib
import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, Callable, Optional

import keras_losses_ref
from keras_losses_ref.conformance.chatter import is_notice
from keras_losses_ref.conformance.parity import ParityError, diff, record_file, venvs
from keras_losses_ref.conformance.parity.venvs import KERASES, TENSORFLOWS

#: Variables that say which Keras an environment has, on which backend.
_CHOOSES_KERAS = ("TF_USE_LEGACY_KERAS", "KERAS_BACKEND")


@dataclasses.dataclass(frozen=True)
class Upgrade:
    """The comparison, its records, and notes on what could not be done."""

    comparison: diff.Comparison
    records: dict[str, Any]
    notes: tuple[str, ...] = ()


def upgrade(
    old: str,
    new: str,
    build_options: venvs.BuildOptions,
    record_options: Sequence[str] = (),
    accepted: Sequence[str] = (),
    isolate_tensorflow: bool = False,
    on_progress: Optional[Callable[[str, str, float], object]] = None,
) -> Upgrade:
    """Compare what the losses do in the environments of two sets of requirements.

    old, new            requirements, in one string each
    build_options       how to build the two environments
    record_options      more for `record`, such as ["--loss", "my.module:MyLoss"]
    isolate_tensorflow  also record the new TensorFlow under the old Keras, to tell what
                        each of them changed
    on_progress         called with (side, what is being done, part done of 0 to 1)
    """
    on_progress = on_progress or (lambda side, what, part: None)
    asked = {"old": shlex.split(old), "new": shlex.split(new)}
    notes = []
    with RecordRunner() as children:

        def on_side(side, keras_of=None):
            requirements = asked["new"] if side == "between" else asked[side]
            try:
                built = venvs.build(
                    requirements,
                    build_options,
                    lambda what: on_progress(side, what, 0.0),
                    keras_of,
                )
                found = children.record(
                    built,
                    record_options,
                    lambda what, part: on_progress(side, what, part),
                )
            except ParityError as error:
                raise ParityError(
                    f"{side} ({' '.join(requirements)}): {error}"
                ) from None
            on_progress(side, "done", 1.0)
            return built, found

        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = {side: pool.submit(on_side, side) for side in asked}
            try:
                for finished in concurrent.futures.as_completed(running.values()):
                    finished.result()  # whichever fails first is told first
            except BaseException:
                children.stop()
                raise
            done = {side: future.result() for side, future in running.items()}
        intermediate = None
        built = {side: environment for side, (environment, _) in done.items()}
        if isolate_tensorflow and _both_replaced(built["old"], built["new"]):
            try:
                _, intermediate = on_side("between", built["old"].lock)
            except ParityError as error:
                notes.append(
                    "the new TensorFlow does not run the old Keras, so that whose part "
                    f"a change is, is inferred; {str(error).splitlines()[-1].strip()}"
                )
    records = {side: found for side, (_, found) in done.items()}
    comparison = diff.compare(records["old"], records["new"], accepted, intermediate)
    if intermediate is not None:
        records["between"] = intermediate
    return Upgrade(comparison, records, tuple(notes))


def _both_replaced(old, new):
    return all(
        [old.lock.get(name) for name in names] != [new.lock.get(name) for name in names]
        for names in (KERASES, TENSORFLOWS)
    )


class RecordRunner:
    """The recording processes, and the copy of this package that they use."""

    def __init__(self) -> None:
        self._running = []

    def __enter__(self) -> "RecordRunner":
        self._folder = tempfile.mkdtemp(prefix="klr-upgrade-")
        package = os.path.dirname(keras_losses_ref.__file__)
        shutil.copytree(
            package,
            os.path.join(self._folder, "source", "keras_losses_ref"),
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """End every process that still runs."""
        for process in self._running:
            if process.poll() is None:
                process.terminate()

    def record(
        self,
        environment: venvs.Environment,
        options: Sequence[str] = (),
        on_progress: Callable[[str, float], object] = lambda what, part: None,
    ) -> record_file.Record:
        """The record that this package writes in an environment."""
        handle, path = tempfile.mkstemp(dir=self._folder, suffix=".json")
        os.close(handle)
        on_progress("starting", 0.0)
        self.run(
            environment,
            ["-m", "keras_losses_ref", "record", path, "--progress", *options],
            on_progress,
        )
        return record_file.load(path)

    def run(
        self,
        environment: venvs.Environment,
        arguments: Sequence[str],
        on_progress: Callable[[str, float], object] = lambda what, part: None,
    ) -> str:
        """The output of the environment's Python; `ParityError` with its last lines."""
        variables = {
            **{k: v for k, v in os.environ.items() if k not in _CHOOSES_KERAS},
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment.variables,
        }
        path = [os.path.join(self._folder, "source"), os.environ.get("PYTHONPATH")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        process = subprocess.Popen(
            [environment.python, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=variables,
        )
        self._running.append(process)
        last = []
        with process, concurrent.futures.ThreadPoolExecutor(1) as pool:
            output = pool.submit(process.stdout.read)
            for line in process.stderr:
                found = re.match(r"(\d+)/(\d+) (.*)", line)
                if found:
                    on_progress(found[3], int(found[1]) / max(1, int(found[2])))
                elif line.strip() and not is_notice(line):
                    last = [*last[-11:], line.rstrip()]
            output = output.result()
        if process.returncode:
            raise ParityError(
                f"its Python ended with {process.returncode}:\n  " + "\n  ".join(last)
            )
        return output


class ProgressDisplay:
    """What is being done on each side, on stderr: bars, or a line now and then."""

    def __init__(self) -> None:
        self._bars, self._tasks, self._said = None, {}, {}

    def __enter__(self) -> "ProgressDisplay":
        if sys.stderr.isatty():
            with contextlib.suppress(ModuleNotFoundError):
                from rich.console import Console
                from rich.progress import Progress

                self._bars = Progress(console=Console(stderr=True), transient=True)
                self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, side: str, what: str, part: float) -> None:
        if self._bars is not None:
            if side not in self._tasks:
                self._tasks[side] = self._bars.add_task(side, total=1.0)
            self._bars.update(
                self._tasks[side], completed=part, description=f"{side}: {what}"
            )
            return
        # A line for each step of the work, and for each quarter of the recording.
        running = part > 0 and what != "done"
        step = f"recording, {int(part * 4) * 25} %" if running else what
        if self._said.get(side) != step:
            self._said[side] = step
            print(f"{side}: {step}", file=sys.stderr, flush=True)
