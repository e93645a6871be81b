"""Every notebook runs from top to bottom, and is committed as a reader should find it.

The claims are the notebooks' own: each ends in an assert.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_losses_ref

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
TIMEOUT = 300  # seconds; each needs less than 60 on an idle CPU
MAX_BYTES = 600_000
NEEDED = ("tensorflow", "nbmake", "ipykernel", "matplotlib", "sklearn")

#: What the outputs of a committed notebook must not hold.
UNWANTED = {
    "a path of the machine": r"/(?:home|tmp|root|work|Users|usr|opt|mnt)/|[A-Z]:\\",
    "an address in memory": r"0x[0-9a-f]{6,}",
    # Python's and TensorFlow's; "warning" is also a severity of a check's finding.
    "a warning": r"Warning|WARNING",
    "a time of day": r"\d\d:\d\d:\d\d",
}


def test_there_are_notebooks():
    assert NOTEBOOKS


def outputs(notebook):
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield from cell["outputs"]


def text_of(output):
    """All text of an output, pictures left out."""
    data = {k: v for k, v in output.get("data", {}).items() if "image/" not in k}
    parts = [output.get("text", ""), *data.values()]
    return "\n".join("".join(part) for part in parts)


def run(path, tmp_path):
    """nbmake on one notebook, in a process, a folder and a kernel of its own."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(
            f"needs {', '.join(missing)}: pip install 'keras-losses-ref[notebooks]'"
        )
    # A kernel of this Python: "python3" may be another one, of the user's.
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    package = str(Path(keras_losses_ref.__file__).parents[1])
    paths = [package, os.environ.get("PYTHONPATH")]
    # nbmake runs a notebook where it lies; some write files beside themselves.
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(path, work)
    (work / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    plugins = ["-p", "nbmake.pytest_plugin", "-p", "no:cacheprovider"]
    how = ["--nbmake", "--nbmake-kernel=python3", f"--nbmake-timeout={TIMEOUT}"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "pytest.ini", *plugins, *how, path.name],
        cwd=work,
        env={
            **os.environ,
            "JUPYTER_PATH": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT + 60,
    )


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.slow if number else ())
        for number, path in enumerate(NOTEBOOKS)
    ],
)
def test_a_notebook_runs(path, tmp_path):
    done = run(path, tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "1 passed" in done.stdout


def test_a_false_claim_fails(tmp_path):
    notebook = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    claim = {"cell_type": "code", "id": "claim", "metadata": {}, "outputs": []}
    claim.update(execution_count=None, source="assert 0.1 + 0.2 == 0.3")
    path = tmp_path / "false.ipynb"
    path.write_text(json.dumps({**notebook, "cells": [claim]}), encoding="utf-8")
    done = run(path, tmp_path)
    assert done.returncode == 1
    assert "assert 0.1 + 0.2 == 0.3" in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_as_it_ran(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert path.stat().st_size < MAX_BYTES
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    counts = [cell["execution_count"] for cell in code]
    assert counts == list(range(1, len(code) + 1)), "run it top to bottom, then save"
    for output in outputs(notebook):
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"
        for what, pattern in UNWANTED.items():
            found = re.search(pattern, text_of(output))
            assert not found, f"{what} in an output: {found[0]!r}"
