"""Known notices of TensorFlow stay off stderr, errors do not; a broken host is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_losses_ref
from keras_losses_ref import cli
from keras_losses_ref.conformance import chatter

ROOT = Path(keras_losses_ref.__file__).parents[1]

NOTICES = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to "
    "STDERR",
    "I0000 00:00:1795857236.665976    7597 port.cc:153] oneDNN custom operations are "
    "on. You may see slightly different numerical results",
    "2026-11-28 09:12:00.123456: I tensorflow/core/util/port.cc:113] oneDNN custom "
    "operations are on.",
    "I0000 00:00:1795857239.308201    7597 cpu_feature_guard.cc:227] This TensorFlow "
    "binary is optimized to use available CPU instructions",
    "To enable the following instructions: AVX2 AVX512F FMA, in other operations, "
    "rebuild TensorFlow with the appropriate compiler flags.",
    "E0000 00:00:1732.1 1 cuda_dnn.cc:8310] Unable to register cuDNN factory: "
    "Attempting to register factory for plugin cuDNN when one has already been "
    "registered",
    "E0000 00:00:1795858811.436739   26880 util.cc:131] oneDNN supports DT_HALF only "
    "on platforms with AVX-512. Falling back to the default Eigen-based implementation",
    "2026-11-28 09:12:00.1: E external/local_xla/xla/stream_executor/cuda/"
    "cuda_driver.cc:152] failed call to cuInit: INTERNAL: CUDA error: Failed call to "
    "cuInit: UNKNOWN ERROR (303)",
]
#: As the optimizer of graphs reports an attempt on a loop.
ATTEMPT = [
    "loc(\"loss/while\"): error: 'tfg.While' op body function argument",
    "\twhen importing GraphDef to MLIR module in GrapplerHook",
    "",
    "E0000 00:00:1795859017.966751   30192 meta_optimizer.cc:967] tfg_optimizer{any("
    "tfg-consolidate-attrs,tfg-toposort,tfg-shape-inference{graph-version=0},"
    "tfg-prepare-attrs-export)} failed: INVALID_ARGUMENT: MLIR Graph Optimizer",
    "\twhen importing GraphDef to MLIR module in GrapplerHook",
]
ERRORS = [
    "2026-11-28 09:12:00.1: E tensorflow/core/common_runtime/x.cc:1] OOM when "
    "allocating tensor",
    "2026-11-28 09:12:00.1: F tensorflow/core/platform/x.cc:1] Check failed: a == b",
    "E0000 00:00:1732.1 1 cuda_driver.cc:152] failed call to cuInit: INTERNAL: CUDA "
    "error: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    "Fatal Python error: Segmentation fault",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "keras-losses-ref: a message of ours",
    "  an indented line",
    "",
]


@pytest.mark.parametrize("line", NOTICES)
def test_known_notice_is_dropped(line):
    assert list(chatter.kept([line])) == []


@pytest.mark.parametrize("line", ERRORS)
def test_error_is_kept(line):
    assert list(chatter.kept([*NOTICES, *ATTEMPT, "x", line])) == ["x", line]


def test_failed_attempt_of_the_graph_optimizer_is_dropped():
    assert list(chatter.kept([*ATTEMPT, "an error", "\twith more"])) == [
        "an error",
        "\twith more",
    ]


def run(code, *arguments, **environment):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


_WRITES = """
import os, subprocess, sys
from keras_losses_ref.conformance.chatter import filtered

def write(text):
    os.write(2, text.encode())

with filtered():
    write("I port.cc:1] oneDNN custom operations are on.\\n")
    write("an error of C++\\n")
    child = "import os; os.write(2, b'WARNING: All log messages before "
    child += "absl::InitializeLog() is called\\\\nan error of a child\\\\n')"
    subprocess.run([sys.executable, "-c", child])
    print("a message of ours", file=sys.stderr)
    if "crash" in sys.argv:
        write("last words")
        os.abort()
write("afterwards: oneDNN custom operations are on\\n")
"""


@pytest.mark.skipif(os.name == "nt", reason="not filtered there")
def test_notices_of_a_process_and_its_children_are_dropped():
    done = run(_WRITES)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stderr.splitlines()) == [
        "a message of ours",
        "afterwards: oneDNN custom operations are on",
        "an error of C++",
        "an error of a child",
    ]


@pytest.mark.skipif(os.name == "nt", reason="not filtered there")
def test_last_words_of_a_crash_arrive():
    done = run(_WRITES, "crash")
    assert done.returncode < 0
    assert done.stderr.endswith("last words")
    assert "an error of C++" in done.stderr and "oneDNN" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="not filtered there")
def test_the_command_is_filtered_and_keeps_a_real_error(tmp_path):
    """A TensorFlow that greets as the real one does, and then fails in C++."""
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os\n"
        "os.write(2, b'I0000 port.cc:153] oneDNN custom operations are on.\\n')\n"
        "os.write(2, b'F0000 x.cc:1] Check failed: status.ok()\\n')\n"
        "os.abort()\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "keras_losses_ref", "check", "Huber"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode not in (0, 1, 2, 3)
    assert "oneDNN" not in done.stderr
    assert "Check failed: status.ok()" in done.stderr


# --- a host that cannot be imported ---------------------------------------------------


def fake_host(folder, code, version="2.12.1", numpy="2.1.0"):
    """A TensorFlow of that version whose import runs `code`."""
    (folder / "tensorflow").mkdir()
    (folder / "tensorflow" / "__init__.py").write_text(code)
    for name, number in (("tensorflow", version), ("numpy", numpy)):
        info = folder / f"{name}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n"
        )


def command(folder, *arguments):
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "keras_losses_ref", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("error", ["AttributeError", "ImportError", "TypeError"])
def test_a_host_that_cannot_be_imported_is_the_environment(tmp_path, error):
    """NumPy 2 under TensorFlow 2.12: a traceback of NumPy's, then some exception."""
    fake_host(
        tmp_path,
        "import sys\n"
        "sys.stderr.write('A module that was compiled using NumPy 1.x cannot be run')\n"
        f"raise {error}('_ARRAY_API not found')\n",
    )
    done = command(tmp_path, "check", "Huber")
    assert done.returncode == cli.USAGE
    (sentence,) = done.stderr.splitlines()
    for word in ("tensorflow 2.12.1", "numpy 2.1.0", error, "_ARRAY_API not found"):
        assert word in sentence
    assert "pip install 'numpy<2'" in sentence
    assert "internal error" not in sentence


def test_a_missing_part_of_the_host_is_the_environment(tmp_path):
    fake_host(tmp_path, "import no_such_part_of_it\n", "2.21.0")
    done = command(tmp_path, "record", str(tmp_path / "record.json"))
    assert done.returncode == cli.USAGE
    (sentence,) = done.stderr.splitlines()
    assert "no_such_part_of_it" in sentence and "--force-reinstall" in sentence


def test_a_missing_host_is_told_as_before(tmp_path):
    fake_host(tmp_path, "raise ModuleNotFoundError('x', name='tensorflow')\n")
    done = command(tmp_path, "check")
    assert done.returncode == cli.USAGE
    assert "keras_losses_ref needs TensorFlow, and none is installed" in done.stderr


def test_an_error_of_ours_is_an_internal_error(tmp_path, monkeypatch):
    from keras_losses_ref.conformance import check

    def fail(*_):
        raise RuntimeError("ours")

    monkeypatch.setattr(check, "select", fail)
    assert cli.main(["check", "Huber"]) == cli.INTERNAL


def test_help_starts_no_filter(monkeypatch):
    """`--help` answers at once: neither a process nor TensorFlow is started."""
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen = None\n"
        "from keras_losses_ref import cli\n"
        "sys.argv[1:] = ['--help']\n"
        "try:\n"
        "    cli.run()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "assert not {'tensorflow', 'numpy'} & set(sys.modules)\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
