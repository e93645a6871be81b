"""Every notebook runs from top to bottom, and is committed as a reader should find it.

The claims are the notebooks' own: each ends in an assert.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_losses_ref

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
TIMEOUT = 300  # seconds; each needs less than 60 on an idle CPU
MAX_BYTES = 600_000
NEEDED = ("tensorflow", "nbclient", "ipykernel", "matplotlib", "sklearn")

#: Runs the notebook argv[1] in the folder argv[2], with a kernel of its own.
EXECUTE = """
import sys
import nbclient, nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(
    notebook,
    timeout=int(sys.argv[3]),
    kernel_name="python3",
    resources={"metadata": {"path": sys.argv[2]}},
).execute()
"""

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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
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
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(path), str(work), str(TIMEOUT)],
        env={
            **os.environ,
            "JUPYTER_PATH": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT + 60,
    )
    assert done.returncode == 0, done.stderr[-6000:]


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
