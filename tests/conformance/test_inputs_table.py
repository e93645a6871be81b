"""The one table of inputs: it has every loss, and every reader has every domain."""

import filecmp
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import keras_losses_ref
from keras_losses_ref import oracle
from keras_losses_ref.conformance import accuracy, bench, cases, checks, inputs

PACKAGE = pathlib.Path(keras_losses_ref.__file__).parent
ORACLE_TESTS = pathlib.Path(__file__).parent.parent / "oracle"
NAMES = {row.loss for row in inputs.LOSSES}
USED = {row.domain for row in inputs.LOSSES} | {r.usual for r in inputs.LOSSES} - {None}


def test_the_table_has_every_loss():
    assert NAMES == set(cases.HANDWRITTEN) == set(oracle.BY_LOSS)
    assert set(inputs.DOMAINS) >= USED


def test_no_two_rows_draw_the_same_numbers():
    assert len({row.seed for row in inputs.LOSSES}) == len(inputs.LOSSES)


def test_a_loss_is_drawn_from_its_own_numbers_for_ever():
    """A row that is put between others leaves theirs as they are."""
    seeds = {(row.loss, row.domain): row.seed for row in inputs.LOSSES}
    assert seeds["MeanSquaredError", "real"] == 1000
    assert seeds["SparseCategoricalFocalCrossentropy", "index_logits"] == 2800
    assert seeds["Tversky", "segmentation"] == 3600


def test_every_reader_draws_every_domain():
    assert set(accuracy.DRAWN) >= USED and set(bench.DRAWS) >= USED
    assert set(checks.DOMAINS) == set(inputs.DOMAINS) - {"vectors", "counts"}
    for name, domain in checks.DOMAINS.items():
        facts = inputs.DOMAINS[name]
        assert (domain.predicts, domain.labels) == (facts.predicts, facts.labels)
        assert domain.elementwise == facts.elementwise


@pytest.mark.parametrize("row", inputs.LOSSES, ids=lambda row: f"{row.loss} {row.seed}")
def test_a_hint_is_the_domain_of_the_table(row):
    suggested = inputs.hint(row.loss, row.config.get("from_logits", False))
    assert suggested in (row.domain, row.usual, None)


# --- a new loss ----------------------------------------------------------------------

NAME, FUNCTION = "EpsilonInsensitive", "epsilon_insensitive"
LOSS = f'''

@loss_function(broadcast=True)
def {FUNCTION}(y_true, y_pred):
    """Mean absolute error beyond 1/2, as in support vector regression."""
    return tf.reduce_mean(tf.nn.relu(tf.abs(y_pred - y_true) - 0.5), axis=-1)


@compat.register
class {NAME}(Loss):
    function = {FUNCTION}
'''
ORACLE = f'''

@nx.ignore_fp_warnings
def {FUNCTION}(y_true, y_pred, *, dtype="float32"):
    """Mean of max(|y_pred - y_true| - 1/2, 0)."""
    nx.constants(dtype)
    y, p = nx.aligned(y_true, y_pred)
    e = nx.wide(p) - nx.wide(y)
    beyond = np.maximum(np.abs(e) - 0.5, 0)
    return nx.mean_of(
        beyond, np.where(beyond > 0, np.sign(e), 0 * e), -1, p, np.shape(y_pred)
    )
'''
RECIPE = f"""def {FUNCTION}(y, p, c):
    return mean([maximum(mpf(0), absolute(b - a) - mpf(0.5)) for a, b in zip(y, p)])


"""
#: The four edits of the README: (file, a line, what goes in front of it) each; without
#: a line it goes to the end of the file.
EDITS = {
    "the loss": [
        ("keras_losses_ref/losses/regression.py", None, LOSS),
        (
            "keras_losses_ref/losses/__init__.py",
            "__all__ = [",
            f"from keras_losses_ref.losses.regression import {NAME}, {FUNCTION}\n",
        ),
        (
            "keras_losses_ref/losses/__init__.py",
            '    "Hinge",\n',
            f'    "{NAME}",\n    "{FUNCTION}",\n',
        ),
        (
            "keras_losses_ref/__init__.py",
            "        Hinge as Hinge,\n",
            f"        {NAME} as {NAME},\n        {FUNCTION} as {FUNCTION},\n",
        ),
    ],
    "its oracle": [
        ("keras_losses_ref/oracle/regression.py", None, ORACLE),
        (
            "keras_losses_ref/oracle/__init__.py",
            "BY_LOSS = {",
            f"from .regression import {FUNCTION}\n",
        ),
        (
            "keras_losses_ref/oracle/__init__.py",
            '    "Hinge": hinge,\n',
            f'    "{NAME}": {FUNCTION},\n',
        ),
    ],
    "its anchors": [
        ("tests/oracle/recipe.py", "def huber(", RECIPE),
        (
            "tests/oracle/recipe.py",
            "    huber: regression_cases,",
            f"    {FUNCTION}: regression_cases,\n",
        ),
    ],
    "its cases and inputs": [
        (
            "keras_losses_ref/conformance/cases/regression.py",
            '    "Huber": _HUBER,',
            f'    "{NAME}": _regression("{NAME}"),\n',
        ),
        (
            "keras_losses_ref/conformance/inputs.py",
            '    LossInputs("Huber"',
            f'    LossInputs("{NAME}", "real", 3900),\n',
        ),
    ],
}
#: What is asked of the copy: the anchors of the new loss are written and met, and each
#: reader of the table takes it.
SCRIPT = f"""
import sys

sys.path.insert(0, "tests/oracle")
import numpy, recipe

(new,) = [loss for loss in recipe.LOSSES if loss.__name__ == "{FUNCTION}"]
recipe.LOSSES, recipe.ROWS = {{new: recipe.LOSSES[new]}}, 26
recipe.main(["--write"])

import keras_losses_ref as klr
from keras_losses_ref import cli, oracle
from keras_losses_ref.conformance import accuracy, bench, plot
from test_anchors import misses

assert not misses("{FUNCTION}", oracle.{FUNCTION})
assert cli.main(["check", "{NAME}", "--fast"]) == cli.OK
(spec,) = [spec for spec in accuracy.SPECS if spec.loss == "{NAME}"]
cells = accuracy.measure([spec], ["float32"], ["eager"])
assert len(cells) == 2 * len(accuracy.FAMILIES)
(spec,) = [spec for spec in bench.SPECS if spec.loss == "{NAME}"]
assert numpy.isfinite(klr.{NAME}()(*bench.tensors(spec.draw, spec.small)))
x = numpy.linspace(-3, 3, 7)
((_, config, draw),) = plot.CURVES["{NAME}"].curves
values, gradient = plot.curve("{NAME}", config, draw, x)
assert values.tolist() == [2.5, 1.5, 0.5, 0.0, 0.5, 1.5, 2.5]
"""


def changed_files(before, after, within=""):
    """Paths of the files that differ between two trees."""
    found = filecmp.dircmp(before, after, ignore=["__pycache__"])
    names = found.diff_files + found.left_only + found.right_only
    for name in found.common_dirs:
        names += changed_files(before / name, after / name, name + "/")
    return [within + name for name in names]


def test_a_new_loss_is_four_edits(tmp_path):
    pytest.importorskip("mpmath", reason="the anchors are computed with mpmath")
    copy = {PACKAGE: tmp_path / PACKAGE.name, ORACLE_TESTS: tmp_path / "tests/oracle"}
    for source, target in copy.items():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignore)
    edited = {path for edits in EDITS.values() for path, _, _ in edits}
    for path, before, text in (edit for edits in EDITS.values() for edit in edits):
        file = tmp_path / path
        old = file.read_text(encoding="utf-8")
        if before is None:
            new = old + text
        else:
            assert old.count(before) == 1, (path, before)
            new = old.replace(before, text + before)
        file.write_text(new, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # The anchors are written by the recipe; nothing else has changed.
    changed = {
        f"{target.relative_to(tmp_path).as_posix()}/{path}"
        for source, target in copy.items()
        for path in changed_files(source, target)
    }
    assert changed == edited | {"tests/oracle/anchors.json"}
