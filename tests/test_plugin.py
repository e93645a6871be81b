"""pytest's door, through pytest itself: options, items, failures, workers, summary."""

import contextlib
import dataclasses
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import keras_losses_ref
from keras_losses_ref import losses
from keras_losses_ref.conformance import check
from keras_losses_ref.conformance.cases import HANDWRITTEN

ROOT = Path(keras_losses_ref.__file__).parents[1]


class HalfTheError(losses.MeanSquaredError):
    """A loss that is wrong."""

    def call(self, y_true, y_pred):
        return 0.5 * super().call(y_true, y_pred)


@dataclasses.dataclass
class Done:
    returncode: int
    stdout: str


def _arguments(arguments, plugins):
    """No other plugin than this one, and the options of no other project."""
    argv = ["-c", "pytest.ini", "-p", "no:cacheprovider"]
    for plugin in ("keras_losses_ref.pytest_plugin", *plugins):
        argv += ["-p", plugin]
    return [*argv, *arguments]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    path = [str(ROOT), str(tmp_path), os.environ.get("PYTHONPATH")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    return tmp_path


@pytest.fixture
def run(folder):
    """Runs pytest in a folder of its own, in this process: TensorFlow is there."""

    def run(*arguments, plugins=()):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            code = pytest.main(["-s", *_arguments(arguments, plugins)])
        return Done(int(code), shown.getvalue())

    return run


@pytest.fixture
def run_apart(folder):
    """The same in a process of its own."""

    def run_apart(*arguments, plugins=()):
        command = [sys.executable, "-m", "pytest", *_arguments(arguments, plugins)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    return run_apart


def test_loading_the_plugin_loads_no_tensorflow(run_apart, tmp_path):
    (tmp_path / "test_light.py").write_text(
        "import sys\n"
        "def test_light():\n"
        "    heavy = {'tensorflow', 'keras', 'numpy', 'keras_losses_ref.conformance'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    done = run_apart()
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert re.search(r"^keras_losses_ref: .*keras \d", done.stdout, re.MULTILINE)
    assert "conforms" not in done.stdout


def test_the_corpus_runs_beside_ones_own_tests(run, tmp_path):
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    pass\n")
    done = run("--losses-ref=LogCosh", "-k", "mine or documented", "-v")
    assert done.returncode == 0, done.stdout
    assert "test_mine.py::test_mine PASSED" in done.stdout
    case = "log_cosh/documented[float32,sum_over_batch_size,eager]"
    assert f"::LogCosh::{case} PASSED" in done.stdout
    summary = re.search(r"keras_losses_ref conforms: (\d+) cases: (.*)", done.stdout)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert int(summary[1]) == int(passed[1]) - 1 > 5  # all but test_mine
    assert "agree" in summary[2]


def test_pyargs_finds_the_corpus_of_an_installed_copy(run):
    done = run("--pyargs", "keras_losses_ref.conformance", "--collect-only", "-q")
    assert done.returncode == 0, done.stdout
    collected = [line for line in done.stdout.splitlines() if "::" in line]
    losses = {line.split("::")[1] for line in collected}
    assert losses == set(HANDWRITTEN)
    assert len(collected) == len(check.select()) + len(HANDWRITTEN)
    assert sum(line.endswith("::ledger") for line in collected) == len(HANDWRITTEN)


def test_full_is_more(run):
    def collected(*more):
        done = run("--losses-ref=Poisson", "--collect-only", "-q", *more)
        return {line for line in done.stdout.splitlines() if "::" in line}

    assert collected() < collected("--losses-ref-full")


def test_a_failure_is_the_reports(run, tmp_path, monkeypatch):
    broken = type("MeanSquaredError", (HalfTheError,), {})
    monkeypatch.setattr(losses, "MeanSquaredError", broken)
    done = run(
        "--losses-ref=MeanSquaredError",
        "-k",
        "documented and float32 and eager or ledger",
        "--junitxml=out.xml",
    )
    assert done.returncode == 1, done.stdout
    case = "mean_squared_error/documented[float32,sum_over_batch_size,eager]"
    shown = done.stdout
    assert f"FAIL {case}  value" in shown and f"FAIL {case}  gradient" in shown
    assert "verdict: ours is wrong; tf.keras agrees with the oracle" in shown
    assert f"rerun: keras-losses-ref check MeanSquaredError --case '{case}'" in shown
    assert "Traceback" not in shown and "pytest_items.py:" not in shown
    assert re.search(r"keras_losses_ref DEVIATES: \d+ cases: .*ours_wrong", shown)
    suite = ElementTree.parse(tmp_path / "out.xml").getroot().find("testsuite")
    assert int(suite.get("failures")) == 2
    assert case in {test.get("name") for test in suite.findall("testcase")}


def test_one_case_is_run_by_its_id(run):
    corpus = ROOT / "keras_losses_ref" / "conformance" / "pytest_items.py"
    case = "poisson/documented[float32,sum_over_batch_size,eager]"
    done = run(f"{corpus}::Poisson::{case}")
    assert done.returncode == 0, done.stdout
    assert "conforms: 1 cases" in done.stdout


def test_workers_share_the_losses_and_the_summary_adds_up(run_apart):
    pytest.importorskip("xdist")
    done = run_apart(
        "--losses-ref=LogCosh,Poisson",
        "-k",
        "documented and float32",
        "-v",
        "-n2",
        "--dist=loadscope",
        plugins=["xdist"],
    )
    assert done.returncode == 0, done.stdout
    placed = re.findall(r"\[(gw\d)\].* PASSED \S*::(\w+)::\S+", done.stdout)
    workers = {loss: {w for w, name in placed if name == loss} for _, loss in placed}
    assert all(len(used) == 1 for used in workers.values())
    assert set(workers) == {"LogCosh", "Poisson"}
    summary = re.search(r"keras_losses_ref conforms: (\d+) cases", done.stdout)
    assert int(summary[1]) == int(re.search(r"(\d+) passed", done.stdout)[1])


@pytest.mark.parametrize(
    "option, said",
    [
        ("--losses-ref=LogCos", "unknown loss. Received: 'LogCos'"),
        ("--losses-ref-device=GPU:7", "no such device. Received: 'GPU:7'"),
    ],
)
def test_what_is_not_there_is_said(run, option, said):
    options = [option] if "device" not in option else ["--losses-ref=Poisson", option]
    done = run(*options)
    assert done.returncode == 2, done.stdout
    assert said in done.stdout and "Expected" in done.stdout
