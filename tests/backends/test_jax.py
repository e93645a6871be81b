"""Keras on JAX: each test asks in a process of its own, where KERAS_BACKEND says so.

What they need is jax and keras 3, and no TensorFlow; `nox -s jax` makes such a place.
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

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)

#: A loss in keras.ops, and one whose config forgets an argument.
LOSSES = """
import keras
from keras import ops


@keras.saving.register_keras_serializable("mine")
class Portable(keras.losses.Loss):
    _klr_declares = {"domain": "real", "backends": ["jax"]}

    def __init__(self, gain=1.5, name="portable", **kwargs):
        super().__init__(name=name, **kwargs)
        self.gain = gain

    def call(self, y_true, y_pred):
        y_true = ops.reshape(ops.cast(y_true, y_pred.dtype), ops.shape(y_pred))
        return self.gain * ops.mean(ops.square(y_pred - y_true), axis=-1)

    def get_config(self):
        return {**super().get_config(), "gain": self.gain, "dtype": self.dtype}


class Forgets(Portable):
    def get_config(self):
        return keras.losses.Loss.get_config(self)
"""


def run(*arguments, folder=None, path=(), **environment):
    """A finished process of Python on JAX, which may import this package."""
    before = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_")}
    return subprocess.run(
        [sys.executable, *arguments],
        env={
            **before,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": os.pathsep.join(map(str, [*path, REPOSITORY])),
            **environment,
        },
        cwd=folder,
        capture_output=True,
        text=True,
    )


def command(*words, **how):
    return run("-W", "ignore", "-m", "keras_losses_ref", *words, **how)


@pytest.fixture
def own(tmp_path):
    """A folder with losses of one's own."""
    (tmp_path / "mine.py").write_text(LOSSES)
    return tmp_path


def test_check_compares_keras_with_the_definition_and_says_so():
    done = command("check", "Hinge", "Huber", "--path", "xla", "--path", "fit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"conforms: \d+ cases on JAX [\d.]+, Keras 3\.", done.stdout)
    assert "two-way: ours run on TensorFlow only" in done.stdout


def test_what_is_asked_eagerly_conforms():
    done = command("check", "MeanAbsoluteError", "--case", "*/t*", "--path", "eager")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "absolute-error-slope-at-zero" in done.stdout


def test_json_names_the_backend():
    done = command(
        "check",
        "--case",
        "huber/at_delta*",
        "--path",
        "xla",
        "--format",
        "json",
        "--all",
    )
    found = json.loads(done.stdout)["environment"]
    assert found["backend"] == "jax"
    assert found["jax"] and "tensorflow" not in found


def test_a_path_that_jax_does_not_have_is_skipped_with_its_reason():
    done = command("check", "--case", "huber/documented*", "--format", "json", "--all")
    skipped = json.loads(done.stdout)["skipped"]
    assert [row["reason"] for row in skipped] == [
        "JAX has no graph but a compiled one, which is path xla"
    ]


def test_a_planted_constant_is_found(tmp_path):
    """A copy of Keras whose Huber loss has 0.6 where 0.5 stood."""
    keras = Path(importlib.util.find_spec("keras").origin).parent
    shutil.copytree(keras, tmp_path / "keras", ignore=shutil.ignore_patterns("*.pyc"))
    source = tmp_path / "keras" / "src" / "losses" / "losses.py"
    right = "half = ops.convert_to_tensor(0.5, dtype=abs_error.dtype)"
    assert source.read_text().count(right) == 1
    source.write_text(source.read_text().replace(right, right.replace("0.5", "0.6")))
    done = command("check", "Huber", "--path", "xla", path=[tmp_path])
    assert done.returncode == 1
    assert "FAIL huber/" in done.stdout
    assert "verdict: keras deviates, not in the ledger" in done.stdout
    assert re.search(r"JAX [\d.]+, Keras 3\.", done.stdout)
    assert "rerun: keras-losses-ref check Huber --case" in done.stdout


def test_records_of_one_environment_are_the_same(tmp_path):
    for name in ("old", "new"):
        words = ("record", f"{name}.json", "--case", "huber/at_delta*")
        assert command(*words, folder=tmp_path).returncode == 0
    done = command("compare", "old.json", "new.json", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert re.search(r"JAX [\d.]+, Keras 3", done.stdout)


def test_a_loss_in_ops_is_checked(own):
    done = command("check", "mine:Portable", "--all", folder=own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok Portable/xla_equals_eager" in done.stdout
    assert "ok Portable/gradient_matches_differences" in done.stdout
    assert "ok Portable/backends_agree  the same on jax" in done.stdout
    assert "skip Portable/graph_equals_eager  JAX has no graph" in done.stdout


def test_a_broken_loss_is_caught(own):
    done = command("check", "mine:Forgets", folder=own)
    assert done.returncode == 1
    assert "FAIL Forgets/config_holds_every_argument" in done.stdout


def test_tensorflow_is_never_imported(own):
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from keras_losses_ref import cli\n"
        "ran = cli.main(['check', '--case', 'huber/at_delta*', '--path', 'xla'])\n"
        "ran += cli.main(['record', 'r.json', '--case', 'huber/at_delta*'])\n"
        "ran += cli.main(['compare', 'r.json', 'r.json'])\n"
        "ran += cli.main(['list', '--deviations'])\n"
        "sys.exit(ran)"
    )
    done = run("-c", code, folder=own)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("what", [["check"], ["record", "r.json"], ["check", "a:B"]])
def test_another_backend_is_refused_in_a_sentence(tmp_path, what):
    done = command(*what, folder=tmp_path, KERAS_BACKEND="torch")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "keras-losses-ref: keras_losses_ref cannot check Keras on this backend yet. "
        "Received: KERAS_BACKEND=torch. Expected one of: tensorflow, jax."
    ]


def test_importing_both_packages_leaves_keras_alone():
    code = (
        "import sys, keras_losses_ref, keras\n"
        "names = ('tensorflow', 'keras_losses_ref.losses')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = run("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_remedy_names_what_keras_has_here():
    code = (
        "import re, keras\n"
        "from keras_losses_ref.conformance.checks import CHECKS, backends\n"
        "said = [backends.in_words_of('jax', c.fix) for c in CHECKS.values()\n"
        "        if not backends.not_here(c.name)]\n"
        "text = ' '.join(said)\n"
        "assert 'keras.ops.' in text\n"
        "print([t for t in said if re.search(r'\\btf\\b|TensorFlow', t)])\n"
        "names = re.findall(r'keras\\.ops\\.(\\w+)', text)\n"
        "print([n for n in names if not hasattr(keras.ops, n)])"
    )
    done = run("-c", code)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stdout + done.stderr
