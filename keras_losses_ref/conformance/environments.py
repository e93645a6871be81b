"""Isolated Python environments for a set of requirements, built once and kept.

Requirements are words, as pip takes them; besides, a file of requirements, and
NAME=VALUE, a variable of the environment:

    tensorflow-cpu==2.21.0 keras==3.15.1
    tensorflow-cpu==2.21.0 tf_keras==2.21.0     Keras 2 on it; sets TF_USE_LEGACY_KERAS
    tensorflow-cpu==2.21.0 keras-nightly        in the place of the keras it comes with
    requirements.lock                           a project's own

They are resolved to a lock, every package with its version, by uv where it is
installed and by pip otherwise; the lock and the Python are the name of the environment
in the cache. A virtual environment cannot be moved, so it is built where it stays, and
a file that is written last says that it is whole: what a killed run has left has no
such file, and is built again.
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

#: Installed on top and without what they require: each would bring a second Keras or
#: TensorFlow.
_LAID_OVER = ("keras-nightly", "tf-keras")

#: What a package replaces because it owns the same folder.
_REPLACES = {"keras-nightly": "keras"}

#: The packages that a Keras can come in.
KERASES = ("keras", "keras-nightly", "tf-keras")

_WHOLE = "whole.json"


class Failed(Exception):
    """An environment could not be resolved or built; the message says why."""


@dataclasses.dataclass(frozen=True)
class Tools:
    """Which installer and which Python, and where environments are kept."""

    python: str = ""
    #: More requirement files and folders of packages, for every environment.
    requirements: tuple = ()
    find_links: tuple = ()
    cache: str = ""
    installer: str = ""

    @property
    def uv(self):
        """The command of uv, or None."""
        if self.installer == "pip":
            return None
        return shutil.which("uv")

    @property
    def folder(self):
        """Where the environments are."""
        if self.cache:
            return os.path.abspath(self.cache)
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return os.path.join(base, "keras-losses-ref", "environments")

    @property
    def interpreter(self):
        """The Python to build with: a path, or for uv a version too."""
        if not self.python:
            return sys.executable
        found = shutil.which(self.python) or shutil.which(f"python{self.python}")
        if found is None and self.uv is None:
            raise Failed(
                f"no such Python. Received: {self.python!r}. Expected a path, or a "
                "version such as 3.11 of which there is a python3.11; uv, if "
                "installed, finds and fetches others."
            )
        return found or self.python

    @property
    def links(self):
        """The options that name folders of packages."""
        return [word for link in self.find_links for word in ("--find-links", link)]


@dataclasses.dataclass(frozen=True)
class Environment:
    """One that is built: its Python, what is in it, and what its processes need."""

    python: str
    #: {"keras": "keras==3.15.1"}: every package by its normalised name.
    lock: dict
    variables: dict

    def version(self, *names):
        """The version of the first of `names` that is installed, or None."""
        for name in names:
            if name in self.lock:
                return self.lock[name].partition("==")[2] or self.lock[name]
        return None


def name_of(requirement):
    """The normalised name of the package that a requirement names."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    return re.sub(r"[-_.]+", "-", found.group()).lower() if found else ""


def build(words, tools, say=lambda what: None, keras_of=None):
    """The environment of these words, from the cache or built now.

    say        called with what is being done
    keras_of   another lock, whose Keras replaces the one that the words give
    """
    words, variables = _variables(words)
    say("resolving")
    lock = _lock(words, tools)
    if keras_of is not None:
        lock = {name: line for name, line in lock.items() if name not in KERASES}
        lock.update({n: line for n, line in keras_of.items() if n in KERASES})
    if "tf-keras" in map(name_of, words) or (keras_of and "tf-keras" in lock):
        variables.setdefault("TF_USE_LEGACY_KERAS", "1")
    interpreter = tools.interpreter
    key = json.dumps([sorted(lock.values()), interpreter, tools.links])
    folder = os.path.join(tools.folder, hashlib.sha256(key.encode()).hexdigest()[:16])
    environment = Environment(_python_in(folder), lock, variables)
    with _alone(folder):
        if not os.path.exists(os.path.join(folder, _WHOLE)):
            say("installing")
            _build(folder, lock, tools)
    return environment


def _variables(words):
    """The words that are requirements, and the variables among them."""
    variables, rest = {}, []
    for word in words:
        found = re.match(r"([A-Z][A-Z0-9_]*)=(?!=)(.*)$", word)
        if found:
            variables[found[1]] = found[2]
        else:
            rest.append(word)
    if not rest:
        raise Failed(
            f"no requirements. Received: {' '.join(words)!r}. Expected words such as "
            "'tensorflow-cpu==2.21.0 keras==3.15.1', or a file of requirements."
        )
    return rest, variables


def _lock(words, tools):
    """Every package that the words bring, by name."""
    over = [word for word in words if name_of(word) in _LAID_OVER]
    base = [word for word in words if word not in over]
    lock = _base(base, tools) if base else {}
    for word in over:
        found = _resolve([word], tools, "--no-deps")
        for name in found:
            lock.pop(_REPLACES.get(name), None)
        lock.update(found)
    return lock


def _base(words, tools):
    """The lock of words that are not laid over.

    A TensorFlow wants a Keras not much older than itself, and runs others all the same:
    one that it does not want is put in the place of the one it brings.
    """
    try:
        return _resolve(_as_lines(words, tools), tools)
    except Failed:
        keras = [word for word in words if name_of(word) == "keras"]
        if not keras or len(keras) == len(words):
            raise
        rest = [word for word in words if word not in keras]
        lock = _resolve(_as_lines(rest, tools), tools)
        found = _resolve(keras, tools)
        return {**found, **lock, "keras": found["keras"]}


def _as_lines(words, tools):
    lines = []
    for word in (*words, *tools.requirements):
        is_file = os.path.isfile(word) and not word.endswith((".whl", ".tar.gz"))
        lines.append(f"-r {os.path.abspath(word)}" if is_file else word)
    return lines


def _resolve(lines, tools, *options):
    if tools.uv:
        text = _run(
            [tools.uv, "pip", "compile", "-", "--quiet", "--no-header",
             "--no-annotate", "--python", tools.interpreter, *tools.links, *options],
            input="\n".join(lines),
        )  # fmt: skip
        found = [line.strip() for line in text.splitlines()]
        return {name_of(line): line for line in found if name_of(line)}
    words = [word for line in lines for word in line.split(" ", 1)]
    text = _run(
        [tools.interpreter, "-m", "pip", "install", "--quiet", "--dry-run",
         "--ignore-installed", "--report", "-", *tools.links, *options, *words]
    )  # fmt: skip
    lock = {}
    for item in json.loads(text)["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        line = f"{name}=={version}"
        if item.get("is_direct"):
            line = f"{name} @ {item['download_info']['url']}"
        lock[name_of(name)] = line
    return lock


def _build(folder, lock, tools):
    """Build in place; the file that says it is whole comes last."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    listed = os.path.join(folder, "lock.txt")
    with open(listed, "w", encoding="utf-8") as file:
        file.write("\n".join(sorted(lock.values())) + "\n")
    python = _python_in(folder)
    if tools.uv:
        _run([tools.uv, "venv", "--quiet", "--allow-existing", "--python",
              tools.interpreter, folder])  # fmt: skip
        install = [tools.uv, "pip", "install", "--quiet", "--python", python]
    else:
        _run([tools.interpreter, "-m", "venv", folder])
        install = [python, "-m", "pip", "install", "--quiet"]
    _run([*install, "--no-deps", *tools.links, "-r", listed])
    temporary = os.path.join(folder, _WHOLE + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(sorted(lock.values()), file, indent=1)
    os.replace(temporary, os.path.join(folder, _WHOLE))


def _python_in(folder):
    if os.name == "nt":
        return os.path.join(folder, "Scripts", "python.exe")
    return os.path.join(folder, "bin", "python")


def _run(command, **how):
    """The output of a command; of one that fails, its last lines."""
    result = subprocess.run(command, capture_output=True, text=True, **how)
    if result.returncode:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()[-12:]
        raise Failed(f"`{' '.join(command[:4])} ...` failed:\n  " + "\n  ".join(said))
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
