"""`check` end to end: this host conforms, and every planted bug is caught by name."""

import collections
import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorflow as tf
from planted import PLANTED, half_the_error, plant, uphill

from keras_losses_ref import cli, losses
from keras_losses_ref.conformance import (
    cases,
    check,
    deviations,
    report,
    tolerance,
    truth,
)
from keras_losses_ref.losses import compat


@pytest.mark.parametrize("loss", cases.HANDWRITTEN)
@pytest.mark.parametrize(
    "dtypes",
    [
        ("float32", "float64"),
        pytest.param(("float16", "bfloat16"), marks=pytest.mark.slow),
    ],
    ids=" and ".join,
)
def test_this_host_conforms(loss, dtypes):
    result = check.check(check.select([loss], dtypes=dtypes))
    assert result.ok, report.render(result)
    assert len(result.results) > 200


def test_ids_are_unique():
    ids = [case.id for case in cases.corpus(full=True)]
    assert len(ids) == len(set(ids))


def test_what_runs_by_default_is_a_part_of_what_full_runs():
    full = {case.id for case in cases.corpus(full=True)}
    assert {case.id for case in cases.corpus()} < full


def test_every_case_says_why():
    assert all(case.why for case in cases.corpus(full=True))


# --- planted bugs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss, bug, named",
    PLANTED,
    ids=[f"{loss}-{next(iter(bug.values())).__name__}" for loss, bug, _ in PLANTED],
)
def test_a_planted_bug_is_caught_and_named(monkeypatch, capsys, loss, bug, named):
    plant(monkeypatch, loss, **bug)
    path = "reloaded" if "config" in bug else "eager"
    name, _, dtype = named.partition("[")
    dtype = dtype or "float32"
    argv = ["check", loss, "--path", path, "--case"]
    assert cli.main([*argv, f"{cases.snake(loss)}/{name}[{dtype},*"]) == cli.DIFFERENCE
    shown = capsys.readouterr().out
    assert f"FAIL {cases.snake(loss)}/{name}[{dtype}," in shown
    assert "verdict: ours is wrong" in shown
    assert f"rerun: keras-losses-ref check {loss} --case" in shown


def test_a_gradient_of_the_wrong_sign_is_caught_where_the_value_is_right(monkeypatch):
    plant(monkeypatch, "MeanSquaredError", call=uphill)
    result = check.check(check.select(patterns=["mean_squared_error/documented*"]))
    aspects = {failure.aspect for failure in result.failures}
    assert aspects == {"gradient"}


# --- the ledger is strict -------------------------------------------------------------


@pytest.mark.skipif(compat.GENERATION == 2, reason="Keras 2 takes any axis")
def test_a_difference_without_an_entry_fails(monkeypatch):
    monkeypatch.setattr(deviations, "DEVIATIONS", ())
    chosen = check.select(patterns=["sparse_categorical_crossentropy/axis_1*"])
    result = check.check(chosen)
    assert not result.ok
    assert "keras deviates, not in the ledger" in report.render(result)


def test_an_entry_that_does_not_show_fails(monkeypatch):
    from keras_losses_ref.conformance.outcome import Outcome

    stale = deviations.Deviation(
        "made-up",
        ("MeanSquaredError",),
        (("2.12.0", None), ("3.0.0", None)),
        "Every loss is refused.",
        "https://example.org",
        lambda case: case.expected_error is None,
        lambda case: Outcome(error="ValueError"),
    )
    monkeypatch.setattr(deviations, "DEVIATIONS", (stale,))
    result = check.check(check.select(patterns=["mean_squared_error/documented*"]))
    shown = report.render(result)
    assert not result.ok
    assert "ledger/made-up" in shown
    assert f"end the entry's versions before {compat.VERSION}" in shown


def test_every_entry_is_complete():
    ids = [entry.id for entry in deviations.DEVIATIONS]
    assert len(ids) == len(set(ids))
    for entry in deviations.DEVIATIONS:
        assert entry.sentence.endswith(".") and entry.thread.startswith("https://")
        assert entry.losses and set(entry.losses) <= set(cases.HANDWRITTEN)


@pytest.mark.parametrize("loss", cases.HANDWRITTEN)
def test_every_loss_has_its_cases_and_its_planted_bugs(loss):
    assert len(cases.HANDWRITTEN[loss]) >= 40
    assert sum(planted == loss for planted, *_ in PLANTED) >= 2


# --- the door -------------------------------------------------------------------------


def test_an_unknown_loss_is_a_usage_error(capsys):
    assert cli.main(["check", "MeanSquareError"]) == cli.USAGE
    assert "MeanSquaredError" in capsys.readouterr().err


def test_an_empty_selection_is_a_usage_error(capsys):
    assert cli.main(["check", "--case", "no_such_case*"]) == cli.USAGE
    assert "no case matches" in capsys.readouterr().err


def test_the_printed_rerun_line_runs():
    identifier = "binary_crossentropy/dog_and_cat[float32,sum_over_batch_size,xla]"
    assert cli.main(["check", "BinaryCrossentropy", "--case", identifier]) == cli.OK


def test_json_holds_what_a_program_needs(capsys):
    argv = ["check", "--case", "categorical_crossentropy/*axis_1*", "--format", "json"]
    assert cli.main(argv) == cli.OK
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["verdict"] == "conforms"
    assert document["environment"]["tensorflow"] == tf.__version__
    assert document["environment"]["keras"] == compat.VERSION
    assert document["counts"]["agree"] > 0
    assert document["counts"]["unexplained"] == 0
    covered = document["coverage"]["CategoricalCrossentropy"]
    assert {"eager", "graph", "xla"} <= set(covered["paths"])
    assert set(covered["dtypes"]) == {"float32", "float64", "float16", "bfloat16"}


def test_markdown_names_the_failure_and_counts_the_rest(monkeypatch, capsys):
    plant(monkeypatch, "MeanSquaredError", call=half_the_error)
    argv = ["check", "--case", "mean_squared_error/documented*", "--format", "md"]
    assert cli.main(argv) == cli.DIFFERENCE
    shown = capsys.readouterr().out
    assert shown.startswith("### keras-losses-ref: **deviates**")
    assert "FAIL mean_squared_error/documented[" in shown
    assert "| MeanSquaredError | " in shown


def test_junit_has_one_test_per_case(monkeypatch, capsys):
    plant(monkeypatch, "MeanSquaredError", call=half_the_error)
    argv = ["check", "--case", "mean_squared_error/d*", "--format", "junit"]
    assert cli.main(argv) == cli.DIFFERENCE
    suite = ElementTree.fromstring(capsys.readouterr().out).find("testsuite")
    assert suite.get("name") == "MeanSquaredError"
    tests = suite.findall("testcase")
    assert len(tests) == int(suite.get("tests")) > 5
    failed = [test for test in tests if test.find("failure") is not None]
    assert len(failed) == int(suite.get("failures")) > 0
    assert "verdict: ours is wrong" in failed[0].find("failure").text


def test_the_cli_offers_every_style():
    assert set(cli._FORMATS) == set(report.STYLES)


def test_an_output_file_is_whole_or_untouched(tmp_path, monkeypatch):
    target = tmp_path / "report.json"
    target.write_text("before")
    argv = ["check", "--case", "mean_squared_error/documented*", "--format", "json"]
    argv += ["--output", str(target)]

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        assert cli.main(argv) == cli.USAGE
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert cli.main(argv) == cli.OK
    assert json.loads(target.read_text())["verdict"] == "conforms"


def test_ctrl_c_leaves_no_half_written_file(tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "check", interrupt)
    target = tmp_path / "report.json"
    argv = ["check", "--case", "mean_squared_error/documented*"]
    assert cli.main([*argv, "--output", str(target)]) == cli.USAGE
    assert not target.exists()
    assert "interrupted" in capsys.readouterr().err


def test_an_error_of_our_own_says_so(monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(check, "check", fail)
    argv = ["check", "--case", "mean_squared_error/documented*"]
    assert cli.main(argv) == cli.INTERNAL
    assert "unforeseen" in capsys.readouterr().err


def _python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )


def test_help_does_not_load_tensorflow():
    done = _python(
        "import sys, keras_losses_ref.pytest_plugin\n"
        "from keras_losses_ref.cli import main\n"
        "assert main(['--help']) == 0 and main(['check', '--help']) == 0\n"
        "assert 'tensorflow' not in sys.modules and 'numpy' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
    assert "exit codes" in done.stdout


def test_without_tensorflow_there_is_one_clear_line():
    done = _python(
        "import sys; sys.modules['tensorflow'] = None\n"
        "from keras_losses_ref.cli import main\n"
        "sys.exit(main(['check']))"
    )
    assert done.returncode == cli.USAGE
    assert len(done.stderr.strip().splitlines()) == 1
    assert "keras-losses-ref[tensorflow" in done.stderr


def test_no_colour_is_honoured(monkeypatch, capsys):
    monkeypatch.setenv("NO_COLOR", "1")
    cli.main(["check", "--case", "mean_squared_error/documented*"])
    assert "\x1b[" not in capsys.readouterr().out


# --- the data's way -------------------------------------------------------------------


@pytest.mark.parametrize("path", ["eager", "graph", "reloaded"])
def test_the_oracle_runs_once_for_a_case(monkeypatch, path):
    """Runner, verdict and deviations share one right answer."""
    ran = []
    truthful = truth._by_the_oracle
    monkeypatch.setattr(
        truth, "_by_the_oracle", lambda case: ran.append(case) or truthful(case)
    )
    chosen = check.select(["Huber"], paths=[path], dtypes=["float32"])
    assert check.check(chosen).ok
    times = collections.Counter(map(id, ran))
    assert {times[id(case)] for case in chosen} == {1}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_numpy_rounds_as_tensorflow_does(dtype):
    state = np.random.RandomState(0)
    numbers = state.choice([-1, 1], 4000) * 10.0 ** state.uniform(-46, 39, 4000)
    ties = 1 + np.arange(4096) * 2.0**-12
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 65519.9, 65520.0, 3.4e38, 1e-45]
    numbers = np.concatenate([numbers, ties, special])
    with np.errstate(all="ignore"):
        wanted = numbers.astype(tf.as_dtype(dtype).as_numpy_dtype).astype(np.float64)
    np.testing.assert_array_equal(tolerance.round_to(numbers, dtype), wanted)
    assert tolerance.round_to(1 / 3, dtype).shape == ()


def test_the_losses_of_indices_are_known():
    indices = {
        n for n in cases.HANDWRITTEN if getattr(losses, n).function.labels == "indices"
    }
    assert indices == truth.TAKES_INDICES
