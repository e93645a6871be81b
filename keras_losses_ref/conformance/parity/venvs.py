"""Isolated Python environments for a set of requirements, built once and kept.

Requirements are written as pip accepts them. Files of requirements are accepted too,
and NAME=VALUE sets an environment variable:

    tensorflow-cpu==2.21.0 keras==3.15.1
    tensorflow-cpu==2.21.0 tf_keras==2.21.0     Keras 2 on it; sets TF_USE_LEGACY_KERAS
    tensorflow-cpu==2.21.0 keras-nightly        replaces the keras that it comes with
    jax keras==3.15.1 KERAS_BACKEND=jax         Keras on JAX
    requirements.lock                           the requirements in a file

uv, or pip if uv is not installed, resolves them to a lock: every package with its
version. The lock and the Python are the name of the environment in the cache. A virtual
environment cannot be moved, so it is built in its final place. A file that is written
last marks it as complete; without that file it is built again.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Callable, Optional

from keras_losses_ref.conformance.parity import ParityError

#: Installed last, without dependencies: each would bring a second Keras or TensorFlow.
_OVERLAYS = ("keras-nightly", "tf-keras")

#: What a package replaces because it owns the same folder.
REPLACES = {"keras-nightly": "keras"}

#: The packages that bring `import tensorflow`.
TENSORFLOWS = (
    "tensorflow",
    "tensorflow-cpu",
    "tf-nightly",
    "tf-nightly-cpu",
    "tensorflow-macos",
    "tensorflow-intel",
)

#: The packages that a Keras can come in.
KERASES = ("keras", "keras-nightly", "tf-keras")

_READY_MARKER = "whole.json"


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """Which installer and which Python, and where environments are kept."""

    python: str = ""
    #: Further requirement files and folders of packages, for every environment.
    requirements: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    cache: str = ""
    installer: str = ""

    @property
    def uv(self) -> Optional[str]:
        """The command of uv, or None."""
        if self.installer == "pip":
            return None
        return shutil.which("uv")

    @property
    def folder(self) -> str:
        """Where the environments are."""
        if self.cache:
            return os.path.abspath(self.cache)
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return os.path.join(base, "keras-losses-ref", "environments")

    @property
    def interpreter(self) -> str:
        """The Python to build with: a path, or for uv a version too."""
        if not self.python:
            return sys.executable
        found = shutil.which(self.python) or shutil.which(f"python{self.python}")
        if found is None and self.uv is None:
            raise ParityError(
                f"no such Python. Received: {self.python!r}. Expected a path, or a "
                "version such as 3.11 of which there is a python3.11; uv, if "
                "installed, finds and fetches others."
            )
        return found or self.python

    @property
    def links(self) -> list[str]:
        """The options that name folders of packages."""
        return [word for link in self.find_links for word in ("--find-links", link)]


@dataclasses.dataclass(frozen=True)
class Environment:
    """One that is built: its Python, what is in it, and what its processes need."""

    python: str
    #: {"keras": "keras==3.15.1"}: every package by its normalised name.
    lock: dict[str, str]
    variables: dict[str, str]

    def version(self, *names: str) -> Optional[str]:
        """The version of the first of `names` that is installed, or None."""
        for name in names:
            if name in self.lock:
                return self.lock[name].partition("==")[2] or self.lock[name]
        return None


def name_of(requirement: str) -> str:
    """The normalised name of the package that a requirement names."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    return re.sub(r"[-_.]+", "-", found.group()).lower() if found else ""


def build(
    requirements: Sequence[str],
    build_options: BuildOptions,
    on_progress: Callable[[str], object] = lambda what: None,
    keras_of: Optional[Environment] = None,
) -> Environment:
    """The environment of these requirements, from the cache or built now.

    on_progress  called with what is being done
    keras_of     another lock, whose Keras replaces the one that the requirements give
    """
    requirements, variables = _variables(requirements)
    on_progress("resolving")
    lock = _lock(requirements, build_options)
    if keras_of is not None:
        lock = {name: line for name, line in lock.items() if name not in KERASES}
        lock.update({n: line for n, line in keras_of.items() if n in KERASES})
    if "tf-keras" in map(name_of, requirements) or (keras_of and "tf-keras" in lock):
        variables.setdefault("TF_USE_LEGACY_KERAS", "1")
    elif "jax" in lock and not any(name in lock for name in TENSORFLOWS):
        variables.setdefault("KERAS_BACKEND", "jax")
    interpreter = build_options.interpreter
    key = json.dumps([sorted(lock.values()), interpreter, build_options.links])
    folder = os.path.join(
        build_options.folder, hashlib.sha256(key.encode()).hexdigest()[:16]
    )
    environment = Environment(_python_in(folder), lock, variables)
    with _alone(folder):
        if not os.path.exists(os.path.join(folder, _READY_MARKER)):
            on_progress("installing")
            _build(folder, lock, build_options)
    return environment


def _variables(requirements):
    """(the requirements, the environment variables) that a command line gives."""
    variables, rest = {}, []
    for word in requirements:
        found = re.match(r"([A-Z][A-Z0-9_]*)=(?!=)(.*)$", word)
        if found:
            variables[found[1]] = found[2]
        else:
            rest.append(word)
    if not rest:
        received = " ".join(requirements)
        raise ParityError(
            f"no requirements. Received: {received!r}. Expected words such as "
            "'tensorflow-cpu==2.21.0 keras==3.15.1', or a file of requirements."
        )
    return rest, variables


def _lock(requirements, build_options):
    """Every package that the requirements bring, by name."""
    over = [word for word in requirements if name_of(word) in _OVERLAYS]
    base = [word for word in requirements if word not in over]
    named = {name_of(word) for word in requirements}
    if "keras-nightly" in named and not named & {"keras", *TENSORFLOWS}:
        base.append("keras")  # for what it requires, which TensorFlow would bring
    lock = _base(base, build_options) if base else {}
    for word in over:
        found = _resolve([word], build_options, "--no-deps")
        for name in found:
            lock.pop(REPLACES.get(name), None)
        lock.update(found)
    return lock


def _base(requirements, build_options):
    """The lock of requirements that are not laid over.

    A TensorFlow requires a Keras not much older than itself, but also runs with others.
    If the requested Keras does not meet that, it replaces the one that is installed.
    """
    try:
        return _resolve(_as_lines(requirements, build_options), build_options)
    except ParityError:
        keras = [word for word in requirements if name_of(word) == "keras"]
        if not keras or len(keras) == len(requirements):
            raise
        rest = [word for word in requirements if word not in keras]
        lock = _resolve(_as_lines(rest, build_options), build_options)
        found = _resolve(keras, build_options)
        return {**found, **lock, "keras": found["keras"]}


def _as_lines(requirements, build_options):
    lines = []
    for word in (*requirements, *build_options.requirements):
        is_file = os.path.isfile(word) and not word.endswith((".whl", ".tar.gz"))
        lines.append(f"-r {os.path.abspath(word)}" if is_file else word)
    return lines


def _resolve(lines, build_options, *options):
    if build_options.uv:
        text = run_command(
            [
                build_options.uv,
                "pip",
                "compile",
                "-",
                "--quiet",
                "--no-header",
                "--no-annotate",
                "--python",
                build_options.interpreter,
                *build_options.links,
                *options,
            ],
            input="\n".join(lines),
        )
        found = [line.strip() for line in text.splitlines()]
        return {name_of(line): line for line in found if name_of(line)}
    requirements = [word for line in lines for word in line.split(" ", 1)]
    text = run_command(
        [
            build_options.interpreter,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--report",
            "-",
            *build_options.links,
            *options,
            *requirements,
        ]
    )
    lock = {}
    for item in json.loads(text)["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        line = f"{name}=={version}"
        if item.get("is_direct"):
            line = f"{name} @ {item['download_info']['url']}"
        lock[name_of(name)] = line
    return lock


def _build(folder, lock, build_options):
    """Build in place; the file that marks it as complete comes last."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    listed = os.path.join(folder, "lock.txt")
    with open(listed, "w", encoding="utf-8") as file:
        file.write("\n".join(sorted(lock.values())) + "\n")
    python = _python_in(folder)
    if build_options.uv:
        run_command(
            [
                build_options.uv,
                "venv",
                "--quiet",
                "--allow-existing",
                "--python",
                build_options.interpreter,
                folder,
            ]
        )
        install = [build_options.uv, "pip", "install", "--quiet", "--python", python]
    else:
        run_command([build_options.interpreter, "-m", "venv", folder])
        install = [python, "-m", "pip", "install", "--quiet"]
    run_command([*install, "--no-deps", *build_options.links, "-r", listed])
    temporary = os.path.join(folder, _READY_MARKER + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(sorted(lock.values()), file, indent=1)
    os.replace(temporary, os.path.join(folder, _READY_MARKER))


def _python_in(folder):
    if os.name == "nt":
        return os.path.join(folder, "Scripts", "python.exe")
    return os.path.join(folder, "bin", "python")


def run_command(command: Sequence[str], **how: Any) -> str:
    """The output of a command; of one that fails, its last lines in the error."""
    result = subprocess.run(command, capture_output=True, text=True, **how)
    if result.returncode:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()[-12:]
        raise ParityError(
            f"`{' '.join(command[:4])} ...` failed:\n  " + "\n  ".join(said)
        )
    return result.stdout


@contextlib.contextmanager
def _alone(folder):
    """Keep other processes from building the same environment; a kill releases it."""
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(f"{folder}.lock", "w") as file:
        try:
            import fcntl
        except ImportError:  # Windows: two at once is the user's affair
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
