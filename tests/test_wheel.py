"""The wheel, built, installed where nothing of the checkout is, and used."""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

import keras_losses_ref as klr

ROOT = pathlib.Path(klr.__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The file, built with the backend that is installed: nothing is downloaded."""
    pytest.importorskip("hatchling", reason="builds the wheel; in the extra dev")
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("there is no checkout to build from")
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)])
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel):
    """The folder it is installed to, alone; TensorFlow stays where it was."""
    folder = wheel.parent / "site"
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    elif shutil.which("uv"):  # environments of uv's have no pip
        pip = ["uv", "pip"]
    else:
        pytest.skip("neither pip nor uv is here to install the wheel")
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    run([*pip, "install", *options, str(wheel)])
    return folder


def run(command, **how):
    done = subprocess.run(
        command, cwd=how.pop("cwd", ROOT), capture_output=True, text=True, **how
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(installed, *arguments):
    """A Python that sees the installed package before any other copy of it."""
    paths = [str(installed), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return run([sys.executable, *arguments], cwd=installed, env=environment)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        (metadata,) = [n for n in names if n.endswith("METADATA")]
        text = file.read(metadata).decode()
    kept = {n for n in names if ".dist-info/" not in n}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "keras_losses_ref").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert kept == here
    assert "keras_losses_ref/py.typed" in kept
    needs = re.findall(r"^Requires-Dist: (.*)$", text, flags=re.M)
    assert [n for n in needs if "extra ==" not in n] == ["numpy>=1.22"]


def test_the_installed_package_is_the_one_that_is_imported(installed):
    code = (
        "import json, keras_losses_ref as klr; from importlib import metadata\n"
        "from keras_losses_ref import oracle\n"
        "values, _ = oracle.huber([0., 1.], [.6, .4])\n"
        "version = metadata.version('keras-losses-ref')\n"
        "print(json.dumps([klr.__file__, float(values), version]))"
    )
    file, value, version = json.loads(python(installed, "-c", code))
    assert pathlib.Path(file).parent == installed / "keras_losses_ref"
    assert value == pytest.approx(0.18)
    assert version == klr.__version__


def test_the_installed_command_checks_a_loss(installed):
    words = ["check", "MeanAbsoluteError", "--path", "eager", "--dtype", "float32"]
    report = json.loads(
        python(installed, "-m", "keras_losses_ref", *words, "--format", "json")
    )
    assert report["verdict"] == "conforms"
    assert report["counts"]["agree"] > 20


def test_the_entry_points_are_there(installed):
    (found,) = importlib.metadata.distributions(
        name="keras-losses-ref", path=[str(installed)]
    )
    points = {(p.group, p.name, p.value) for p in found.entry_points}
    assert points == {
        ("console_scripts", "keras-losses-ref", "keras_losses_ref.cli:run"),
        ("pytest11", "keras_losses_ref", "keras_losses_ref.pytest_plugin"),
    }


def test_importing_loads_the_standard_library_only(installed):
    """What would take long to import is not imported: neither TensorFlow nor NumPy."""
    code = (
        "import sys; before = {*sys.modules}; import keras_losses_ref; "
        "print(*{*sys.modules} - before)"
    )
    loaded = {name.split(".")[0] for name in python(installed, "-c", code).split()}
    assert "keras_losses_ref" in loaded
    assert not loaded & {"tensorflow", "keras", "tf_keras", "numpy"}
    if sys.version_info >= (3, 10):  # which has the list
        assert loaded <= {*sys.stdlib_module_names, "keras_losses_ref"}
