"""`check` end to end: this host conforms, and every planted bug is caught by name."""

import json
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import tensorflow as tf

from keras_losses_ref import cli, losses
from keras_losses_ref.conformance import cases, check, deviations, report
from keras_losses_ref.losses import host


@pytest.mark.parametrize("loss", cases.HAND)
def test_this_host_conforms(loss):
    result = check.check(check.select([loss]))
    assert result.ok, report.render(result)
    assert len(result.results) > 500


def test_ids_are_unique():
    ids = [case.id for case in cases.corpus(full=True)]
    assert len(ids) == len(set(ids))


def test_every_case_says_why():
    assert all(case.why for case in cases.corpus(full=True))


# --- planted bugs ---------------------------------------------------------------------


def plant(monkeypatch, loss, call=None, invoke=None, bound=None):
    """Put a broken subclass of a loss in its place; `bound` alters its arguments."""
    base = getattr(losses, loss)
    methods = {}
    if call is not None:
        methods["call"] = lambda self, y_true, y_pred: call(
            lambda *inputs: base.call(self, *inputs), y_true, y_pred
        )
    if invoke is not None:
        methods["__call__"] = lambda self, y_true, y_pred, sample_weight=None: invoke(
            lambda *inputs: base.__call__(self, *inputs), y_true, y_pred, sample_weight
        )
    if bound is not None:
        methods["_bound"] = lambda self: bound(base._bound(self))
    monkeypatch.setattr(losses, loss, type(loss, (base,), methods))


def swapped(call, y_true, y_pred):
    return call(y_pred, tf.cast(y_true, y_pred.dtype))


def wrong_axis(call, y_true, y_pred):
    values = call(y_true, y_pred)
    return tf.reduce_mean(values, axis=0) if values.shape.rank else values


def no_weight(invoke, y_true, y_pred, sample_weight):
    return invoke(y_true, y_pred)


def no_clip_binary(call, y_true, y_pred):
    y_true = tf.cast(y_true, y_pred.dtype)
    values = y_true * tf.math.log(y_pred) + (1 - y_true) * tf.math.log(1 - y_pred)
    return -tf.reduce_mean(values, axis=-1)


def no_clip_categorical(call, y_true, y_pred):
    p = y_pred / tf.reduce_sum(y_pred, -1, keepdims=True)
    return -tf.reduce_sum(tf.cast(y_true, p.dtype) * tf.math.log(p), axis=-1)


def no_clip_sparse(call, y_true, y_pred):
    p = tf.gather(y_pred, tf.cast(y_true, tf.int32), batch_dims=1)
    return tf.math.log(tf.reduce_sum(y_pred, -1)) - tf.math.log(p)


def half_the_error(call, y_true, y_pred):
    return 0.5 * call(y_true, y_pred)


def wrong_sign(call, y_true, y_pred):
    return -call(y_true, y_pred)


def quadrupled(call, y_true, y_pred):
    return 4.0 * call(y_true, y_pred)


def mean_for_sum(call, y_true, y_pred):
    return call(y_true, y_pred) / tf.cast(tf.shape(y_pred)[-1], y_pred.dtype)


def one_number(call, y_true, y_pred):
    return tf.reduce_mean(call(y_true, y_pred))


def cast(y_true, y_pred):
    return tf.cast(y_true, y_pred.dtype)


def no_floor_log(call, y_true, y_pred):
    y_true = cast(y_true, y_pred)
    error = tf.math.log(1.0 + y_pred) - tf.math.log(1.0 + y_true)
    return tf.reduce_mean(tf.square(error), axis=-1)


def no_linear_branch(call, y_true, y_pred):
    error = y_pred - cast(y_true, y_pred)
    return tf.reduce_mean(0.5 * tf.square(error), axis=-1)


def naive_cosh(call, y_true, y_pred):
    error = y_pred - cast(y_true, y_pred)
    return tf.reduce_mean(tf.math.log(tf.math.cosh(error)), axis=-1)


def no_log_two(call, y_true, y_pred):
    return call(y_true, y_pred) + 0.6931472


def no_floor_norm(call, y_true, y_pred):
    y_true = cast(y_true, y_pred)
    a, b = (x / tf.norm(x, axis=-1, keepdims=True) for x in (y_true, y_pred))
    return -tf.reduce_sum(a * b, axis=-1)


def hinged(y_true, y_pred, power):
    margin = tf.maximum(1.0 - y_true * y_pred, 0.0)
    return tf.reduce_mean(margin**power, axis=-1)


def not_converted(call, y_true, y_pred):
    return hinged(cast(y_true, y_pred), y_pred, 1)


def not_converted_squared(call, y_true, y_pred):
    return hinged(cast(y_true, y_pred), y_pred, 2)


def by_row(y_true, y_pred):
    y_true = cast(y_true, y_pred)
    binary = tf.reduce_all((y_true == 0) | (y_true == 1), axis=-1, keepdims=True)
    return tf.where(binary, 2.0 * y_true - 1.0, y_true)


def converted_by_row(call, y_true, y_pred):
    return hinged(by_row(y_true, y_pred), y_pred, 1)


def converted_by_row_squared(call, y_true, y_pred):
    return hinged(by_row(y_true, y_pred), y_pred, 2)


def margin_of_zero(call, y_true, y_pred):
    return tf.maximum(call(y_true, y_pred) - 1.0, 0.0)


def true_class_left_out(call, y_true, y_pred):
    y_true = cast(y_true, y_pred)
    wrong = tf.reduce_max(tf.where(y_true > 0, y_pred.dtype.min, y_pred), axis=-1)
    return tf.maximum(wrong - tf.reduce_sum(y_true * y_pred, axis=-1) + 1.0, 0.0)


def no_epsilon(call, y_true, y_pred):
    values = y_pred - cast(y_true, y_pred) * tf.math.log(y_pred)
    return tf.reduce_mean(values, axis=-1)


def overlap_counted_once(call, y_true, y_pred):
    return 1.0 - 0.5 * (1.0 - call(y_true, y_pred))


def last_label_dropped(call, y_true, y_pred):
    return call(y_true[:, :-1], y_pred)


def blank_is_last(call, y_true, y_pred):
    return call(y_true, tf.roll(y_pred, 1, axis=-1))


def first_step_dropped(call, y_true, y_pred):
    return call(y_true, y_pred[:, 1:])


def delta_of_one(bound):
    return {**bound, "delta": 1.0}


def last_axis(bound):
    return {**bound, "axis": -1}


def all_axes(bound):
    return {**bound, "axis": None}


def no_gamma(bound):
    return {**bound, "gamma": 0.0}


def gamma_of_two(bound):
    return {**bound, "gamma": 2.0}


def alpha_of_a_quarter(bound):
    return {**bound, "alpha": 0.25}


def opposite_alpha(bound):
    return {**bound, "alpha": 1.0 - bound["alpha"]}


def nothing_ignored(bound):
    return {**bound, "ignore_class": None}


def q_of_a_half(bound):
    return {**bound, "q": 0.5}


def swapped_weights(bound):
    return {**bound, "alpha": bound["beta"], "beta": bound["alpha"]}


def beta_as_alpha(bound):
    return {**bound, "beta": bound["alpha"]}


def no_margin(bound):
    return {**bound, "margin": 0.0}


def diagonal_kept(bound):
    return {**bound, "remove_diagonal": False}


#: (loss, the bug, a case that must be named)
PLANTED = [
    ("MeanSquaredError", {"call": half_the_error}, "documented"),
    ("MeanSquaredError", {"call": wrong_axis}, "per_row"),
    ("MeanSquaredError", {"invoke": no_weight}, "element_weight_no_mask"),
    ("MeanAbsoluteError", {"call": half_the_error}, "documented"),
    ("MeanAbsoluteError", {"call": wrong_axis}, "per_row"),
    ("MeanAbsoluteError", {"invoke": no_weight}, "element_weight_no_mask"),
    ("BinaryCrossentropy", {"call": no_clip_binary}, "certain_and_wrong"),
    ("BinaryCrossentropy", {"call": swapped}, "swapped_matters"),
    ("BinaryCrossentropy", {"call": wrong_axis}, "per_row"),
    ("BinaryCrossentropy", {"invoke": no_weight}, "element_weight_no_mask"),
    ("CategoricalCrossentropy", {"call": no_clip_categorical}, "certain_and_wrong"),
    ("CategoricalCrossentropy", {"call": swapped}, "swapped_matters"),
    ("CategoricalCrossentropy", {"call": wrong_axis}, "per_row"),
    ("CategoricalCrossentropy", {"invoke": no_weight}, "element_weight_no_mask"),
    ("SparseCategoricalCrossentropy", {"call": no_clip_sparse}, "certain_and_wrong"),
    ("SparseCategoricalCrossentropy", {"call": wrong_axis}, "per_row"),
    ("SparseCategoricalCrossentropy", {"invoke": no_weight}, "element_weight_no_mask"),
    ("MeanAbsolutePercentageError", {"call": swapped}, "divided_by_truth"),
    ("MeanAbsolutePercentageError", {"call": half_the_error}, "per_cent"),
    ("MeanAbsolutePercentageError", {"invoke": no_weight}, "element_weight_no_mask"),
    ("MeanSquaredLogarithmicError", {"call": no_floor_log}, "below_minus_one"),
    ("MeanSquaredLogarithmicError", {"call": half_the_error}, "doubled"),
    ("Huber", {"call": no_linear_branch}, "outside"),
    ("Huber", {"bound": delta_of_one}, "delta_large"),
    ("LogCosh", {"call": naive_cosh}, "beyond_exp"),
    ("LogCosh", {"call": no_log_two}, "perfect"),
    ("CosineSimilarity", {"call": wrong_sign}, "documented"),
    ("CosineSimilarity", {"call": no_floor_norm}, "y_pred_zero"),
    ("CosineSimilarity", {"bound": last_axis}, "axis_0"),
    ("Hinge", {"call": not_converted}, "documented"),
    ("Hinge", {"call": converted_by_row}, "whole_batch_decides"),
    ("SquaredHinge", {"call": not_converted_squared}, "documented"),
    ("SquaredHinge", {"call": converted_by_row_squared}, "whole_batch_decides"),
    ("CategoricalHinge", {"call": margin_of_zero}, "all_zero"),
    ("CategoricalHinge", {"call": true_class_left_out}, "others_negative"),
    ("KLDivergence", {"call": swapped}, "swapped_matters"),
    ("KLDivergence", {"call": mean_for_sum}, "sum_not_mean"),
    ("Poisson", {"call": swapped}, "swapped_matters"),
    ("Poisson", {"call": no_epsilon}, "rate_zero"),
    ("BinaryFocalCrossentropy", {"call": swapped}, "swapped_matters"),
    ("BinaryFocalCrossentropy", {"bound": gamma_of_two}, "gamma_five"),
    ("BinaryFocalCrossentropy", {"bound": opposite_alpha}, "balanced"),
    ("CategoricalFocalCrossentropy", {"bound": no_gamma}, "documented"),
    ("CategoricalFocalCrossentropy", {"bound": alpha_of_a_quarter}, "alpha_list"),
    ("CategoricalFocalCrossentropy", {"bound": last_axis}, "smoothing_axis_1"),
    ("SparseCategoricalFocalCrossentropy", {"call": quadrupled}, "documented"),
    ("SparseCategoricalFocalCrossentropy", {"bound": nothing_ignored}, "ignore_zero"),
    ("CategoricalGeneralizedCrossEntropy", {"bound": q_of_a_half}, "q_near_one"),
    ("CategoricalGeneralizedCrossEntropy", {"call": wrong_axis}, "per_row"),
    ("Dice", {"call": overlap_counted_once}, "perfect"),
    ("Dice", {"bound": all_axes}, "per_sample"),
    ("Dice", {"call": one_number}, "weighted_samples"),
    ("Tversky", {"bound": swapped_weights}, "alpha_weighs_false_positives"),
    ("Tversky", {"bound": beta_as_alpha}, "beta_weighs_false_negatives"),
    ("Circle", {"bound": no_margin}, "margin_quarter"),
    ("Circle", {"bound": diagonal_kept}, "pairs"),
    ("CTC", {"call": last_label_dropped}, "two_labels"),
    ("CTC", {"call": blank_is_last}, "last_class_is_no_blank"),
    ("CTC", {"call": first_step_dropped}, "one_label"),
]


@pytest.mark.parametrize(
    "loss, bug, named",
    PLANTED,
    ids=[f"{loss}-{next(iter(bug.values())).__name__}" for loss, bug, _ in PLANTED],
)
def test_a_planted_bug_is_caught_and_named(monkeypatch, capsys, loss, bug, named):
    plant(monkeypatch, loss, **bug)
    argv = ["check", loss, "--path", "eager", "--dtype", "float32"]
    assert cli.main(argv) == cli.DIFFERENCE
    shown = capsys.readouterr().out
    assert f"FAIL {cases.snake(loss)}/{named}[float32," in shown
    assert "verdict: ours is wrong" in shown
    assert f"rerun: keras-losses-ref check {loss} --case" in shown


def test_a_gradient_of_the_wrong_sign_is_caught_where_the_value_is_right(monkeypatch):
    @tf.custom_gradient
    def turned(x):
        return tf.identity(x), lambda upstream: -upstream

    def uphill(call, y_true, y_pred):
        return call(y_true, turned(y_pred))

    plant(monkeypatch, "MeanSquaredError", call=uphill)
    result = check.check(check.select(patterns=["mean_squared_error/documented*"]))
    aspects = {failure.aspect for failure in result.failures}
    assert aspects == {"gradient"}


# --- the ledger is strict -------------------------------------------------------------


@pytest.mark.skipif(host.GENERATION == 2, reason="Keras 2 takes any axis")
def test_a_difference_without_an_entry_fails(monkeypatch):
    monkeypatch.setattr(deviations, "DEVIATIONS", ())
    chosen = check.select(patterns=["sparse_categorical_crossentropy/axis_1*"])
    result = check.check(chosen)
    assert not result.ok
    assert "keras deviates, not in the ledger" in report.render(result)


def test_an_entry_that_does_not_show_fails(monkeypatch):
    from keras_losses_ref.conformance.evaluate import Outcome

    stale = deviations.Deviation(
        "made-up",
        ("MeanSquaredError",),
        (("2.12", None),),
        "Every loss is refused.",
        "https://example.org",
        lambda case: case.refused is None,
        lambda case: Outcome(error="ValueError"),
    )
    monkeypatch.setattr(deviations, "DEVIATIONS", (stale,))
    result = check.check(check.select(patterns=["mean_squared_error/documented*"]))
    shown = report.render(result)
    assert not result.ok
    assert "ledger/made-up" in shown
    assert f"end the entry's versions before {host.VERSION}" in shown


def test_every_entry_is_complete():
    ids = [entry.id for entry in deviations.DEVIATIONS]
    assert len(ids) == len(set(ids))
    for entry in deviations.DEVIATIONS:
        assert entry.sentence.endswith(".") and entry.thread.startswith("https://")
        assert entry.losses and set(entry.losses) <= set(cases.HAND)


def named_deviations(loss):
    """The ids that the docstring of a loss names under "Deviates:"."""
    text = getattr(losses, loss).__doc__
    found = re.search(r"Deviates: +(.*?)\n +[A-Z][a-z]+:", text, re.DOTALL)
    return set(re.findall(r"[a-z0-9-]+-[a-z0-9-]+", found[1])) if found else set()


@pytest.mark.parametrize("loss", cases.HAND)
def test_the_docstring_names_what_the_ledger_has(loss):
    known = {entry.id for entry in deviations.DEVIATIONS if loss in entry.losses}
    assert named_deviations(loss) == known


@pytest.mark.parametrize("loss", cases.HAND)
def test_every_loss_has_its_cases_and_its_planted_bugs(loss):
    assert len(cases.HAND[loss]) >= 39
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
    assert document["environment"]["keras"] == host.VERSION
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
