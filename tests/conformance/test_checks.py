"""The checks catch what is broken, and do not cry wolf."""

import dataclasses
import inspect

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

import loss_zoo  # noqa: E402
from loss_zoo import LITERATURE, SOUND, ZOO, Pinball, Squares  # noqa: E402

import keras_losses_ref as klr  # noqa: E402
import keras_losses_ref.losses as ours  # noqa: E402
from keras_losses_ref.conformance import checks  # noqa: E402
from keras_losses_ref.conformance.checks import check as check_module  # noqa: E402
from keras_losses_ref.losses import compat  # noqa: E402

keras = tf.keras

#: The checks that a fresh process applies; slow, so most tests leave them out.
FRESH = {
    check.name
    for check in checks.CHECKS.values()
    if check.function.__module__.endswith("fresh_process")
}
QUICK = [name for name in checks.CHECKS if name not in FRESH]


@pytest.fixture(autouse=True)
def keep_settings():
    yield
    tf.config.run_functions_eagerly(False)
    keras.backend.set_epsilon(1e-7)
    loss_zoo._CALIBRATION["scale"] = 1.0


def statuses(report):
    return {result.check: result.status for result in report.results}


def failing(report):
    return {result.check for result in report.failures}


# What is broken is caught


@pytest.mark.parametrize("entry", ZOO, ids=repr)
def test_broken_loss_is_caught_by_the_check_named_for_it(entry):
    if entry.only_keras_3 and compat.GENERATION == 2:
        pytest.skip("a mistake that Keras 2 does not allow")
    loss_zoo._CALIBRATION["scale"] = 3.0  # what only this process knows
    report = checks.check_loss(
        entry.loss,
        domain=entry.domain,
        oracle=entry.oracle,
        declares=entry.declares,
        checks=entry.checks,
    )
    assert {f.check for f in report.results} == set(entry.checks)
    for result in report.results:
        assert result.status in ("failed", "advice"), result.text()
        assert result.message and result.remedy and result.severity
        assert result.message in result.text().replace("\n  ", "\n")


def test_every_law_has_a_loss_that_breaks_it():
    caught = {check for entry in ZOO for check in entry.checks}
    assert caught == set(checks.CHECKS)
    assert len(ZOO) >= 40


def test_healthy_base_of_the_zoo():
    results = checks.check_loss(Squares, domain="real", checks=QUICK).failures
    # It broadcasts labels (N,) against predictions (N, 1), and is not registered.
    assert {f.check for f in results} <= {
        "column_against_vector",
        "registered_for_loading",
    }


def test_laws_say_what_they_mean():
    assert len(checks.CHECKS) >= 30
    for check in checks.CHECKS.values():
        assert check.severity in check_module.SEVERITIES
        assert check.summary.endswith(".") and len(check.fix) > 20
        assert inspect.getdoc(check.function)


# What is healthy is left alone


@pytest.mark.parametrize("loss, how", SOUND, ids=lambda x: getattr(x, "__name__", ""))
def test_sound_losses_pass(loss, how):
    how = dict(how)
    if how.pop("only_keras_2", False) and compat.GENERATION == 3:
        pytest.skip("what only Keras 2 can do")
    report = checks.check_loss(loss, checks=QUICK, **how)
    assert report.ok, "\n".join(f.text() for f in report.failures)


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(loss, id=loss.__name__, marks=pytest.mark.slow if number else ())
        for number, loss in enumerate(LITERATURE)
    ],
)
def test_losses_from_the_literature_pass(loss):
    report = checks.check_loss(loss, checks=QUICK)
    assert report.ok, "\n".join(f.text() for f in report.failures)


def test_whole_check_of_one_loss():
    seen = []
    report = checks.check_loss(
        ours.MeanSquaredError,
        declares={"non_negative": True, "zero_at_perfect": True},
        progress=lambda *step: seen.append(step),
    )
    assert report.ok, "\n".join(f.text() for f in report.failures)
    assert statuses(report)["enough_checks_ran"] == "passed"
    assert statuses(report)["non_negative_as_claimed"] == "passed"
    # Keras 3 up to 3.7 adds up the means of the replicas, whatever the loss.
    adds_up = compat.GENERATION == 3 and not compat.SCALES_BY_REPLICAS
    replicas = statuses(report)["replicas_update_as_one_device"]
    assert replicas == ("advice" if adds_up else "passed")
    assert statuses(report)["fresh_process_loads_keras_file"] == "passed"
    assert all(f.message for f in report.skipped)
    assert report.environment["domain"] == "real"
    total = len(checks.CHECKS)
    assert [done for done, _, _ in seen] == list(range(total + 1))
    assert seen[0][1] == total and seen[0][2] == "runs"


#: What released Keras does not hold, found by the checks. The ledger of deviations
#: knows since when and until when.
DEVIATIONS_OF_KERAS_3 = {
    "Huber": {
        "config_holds_every_argument": "delta is lost",
    },
    "CosineSimilarity": {
        "config_holds_every_argument": "axis is lost",
    },
    "SparseCategoricalCrossentropy": {
        # No other axis can be called with, so that no values can differ.
        "config_holds_every_argument": "axis is lost",
    },
    "CategoricalGeneralizedCrossEntropy": {
        "gradient_finite_at_the_ends": "p^q is infinitely steep at p = 0",
        "name_finds_the_loss": "missing in the table of losses",
    },
}
DEVIATIONS_OF_KERAS_2 = {
    "Huber": {
        "dtype_is_honoured": "computes in floatx",
        "float64_is_computed_in_float64": "computes in floatx",
    },
}
DEVIATIONS = DEVIATIONS_OF_KERAS_3 if compat.GENERATION == 3 else DEVIATIONS_OF_KERAS_2
#: What is so by definition, in the host and here.
BY_DEFINITION = {
    "CategoricalGeneralizedCrossEntropy": {
        "gradient_finite_at_the_ends": "p^q is infinitely steep at p = 0",
    },
}
BATCH_WISE = {"Circle", "Dice", "Tversky"}


def loss_classes(module):
    """The loss classes of a module, once each, without the bases."""
    found = {}
    for name in dir(module):
        cls = getattr(module, name)
        if inspect.isclass(cls) and issubclass(cls, compat.Loss):
            found.setdefault(cls, name)
    bases = (compat.Loss, ours.Loss)
    return {
        name: cls
        for cls, name in found.items()
        if cls not in bases and name != "LossFunctionWrapper"
    }


def declared(name):
    return {"batch_wise": True} if name in BATCH_WISE else {}


@pytest.mark.skipif(
    compat.RELEASE != (3, 15), reason=f"known of Keras 3.15, this is {compat.VERSION}"
)
def test_huber_of_the_host_loses_its_argument():
    names = ["config_holds_every_argument", "config_round_trip_keeps_values"]
    report = checks.check_loss(keras.losses.Huber, checks=names)
    # One cause, one failure: the values are lost because the argument is.
    assert failing(report) == {"config_holds_every_argument"}
    assert report.failures[0].hides == ["config_round_trip_keeps_values"]
    assert "delta" in report.failures[0].message
    assert "'delta': self.delta" in report.failures[0].remedy


@pytest.mark.sweep
@pytest.mark.parametrize("name", loss_classes(keras.losses))
def test_host_losses_deviate_only_as_known(name, sweep):
    cls = getattr(keras.losses, name)
    report = checks.check_loss(cls, declares=declared(name))
    found, known = failing(report), set(DEVIATIONS.get(name, ()))
    assert found <= known, "\n".join(f.text() for f in report.failures)
    if compat.RELEASE == (3, 15):
        assert found == known  # the checks have not gone blind either


@pytest.mark.sweep
@pytest.mark.parametrize("name", loss_classes(ours))
def test_our_losses_pass(name, sweep):
    cls = getattr(ours, name)
    report = checks.check_loss(
        cls, declares=declared(name), expected_failures=BY_DEFINITION.get(name)
    )
    assert report.ok, "\n".join(f.text() for f in report.failures)


@pytest.mark.sweep
@pytest.mark.parametrize("loss", LITERATURE, ids=lambda loss: loss.__name__)
def test_losses_from_the_literature_pass_in_full(loss, sweep):
    report = checks.check_loss(loss)
    assert report.ok, "\n".join(f.text() for f in report.failures)


# What may be given


def pinball(y_true, y_pred):
    return Pinball().call(y_true, y_pred)


@pytest.mark.parametrize(
    "given", [Pinball, Pinball(0.3), lambda: Pinball(0.3), pinball, lambda: pinball]
)
def test_class_instance_factory_or_function(given):
    names = ["runs", "one_value_per_sample", "config_round_trip_keeps_values"]
    report = checks.check_loss(given, domain="real", checks=names)
    assert report.ok, "\n".join(f.text() for f in report.failures)


@pytest.mark.parametrize("given", [3, "mse", int])
def test_anything_else_is_refused(given):
    with pytest.raises(TypeError, match="(?i)expected a loss|is no loss"):
        checks.check_loss(given)


@pytest.mark.parametrize(
    ("loss", "domain"),
    [
        ("MeanSquaredError", "real"),
        ("BinaryCrossentropy", "binary"),
        ("CategoricalCrossentropy", "one_hot"),
        ("SparseCategoricalCrossentropy", "indices"),
        ("Hinge", "signs"),
        ("Poisson", "positive"),
    ],
)
def test_domain_is_found(loss, domain):
    function = getattr(keras.losses, loss)()
    named = checks.check_loss(function, checks=["runs"])
    assert named.environment["domain"] == domain

    # Without a name to go by, the values and gradients must do.
    def anonymous(y_true, y_pred):
        return function.call(y_true, y_pred)

    found = checks.check_loss(anonymous, checks=["runs"])
    same = {domain, "real"} if domain == "signs" else {domain}
    assert found.environment["domain"] in same
    assert found.results[0].message.startswith("domain ")


def test_domain_of_logits():
    for name, domain in [("Binary", "binary_logits"), ("Categorical", "logits")]:
        loss = getattr(keras.losses, f"{name}Crossentropy")(from_logits=True)
        report = checks.check_loss(loss, checks=["runs", "logits_are_taken_as_logits"])
        assert report.environment["domain"] == domain
        assert statuses(report)["logits_are_taken_as_logits"] == "passed"


def test_domain_may_be_a_function():
    def pairs(rng, n):
        return rng.normal(size=(n, 2)), rng.normal(size=(n, 2))

    report = checks.check_loss(Pinball, domain=pairs, checks=["runs"])
    assert report.environment["domain"] == "pairs"


def test_domain_may_be_a_domain():
    domain = dataclasses.replace(checks.DOMAINS["one_hot"], name="mine")
    report = checks.check_loss(Pinball, domain=domain, checks=["runs"])
    assert report.environment["domain"] == "mine"


def test_what_no_other_process_can_import_is_skipped_with_the_reason():
    class Local(Squares):
        pass

    report = checks.check_loss(Local, domain="real", checks=FRESH)
    assert len(report.skipped) == len(FRESH) and not report.ok
    assert all("cannot be imported" in f.message for f in report.skipped)


def test_a_fresh_process_that_fails_says_why(tmp_path, monkeypatch):
    (tmp_path / "only_once.py").write_text(
        "import os, sys\n"
        "import tensorflow as tf\n"
        "if 'KLR_ONLY_ONCE' in os.environ:\n"
        "    print('a line that TensorFlow logs', file=sys.stderr)\n"
        "    raise OSError('no licence server')\n"
        "def loss(y_true, y_pred):\n"
        "    return tf.reduce_mean(tf.abs(y_pred - y_true), axis=-1)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    loss = checks.load_target("only_once:loss")
    monkeypatch.setenv("KLR_ONLY_ONCE", "1")
    report = checks.check_loss(loss, domain="real", checks=FRESH)
    (failure,) = report.failures
    assert failure.check == "fresh_process_gives_same_values"
    assert "raises OSError: no licence server" in failure.message
    assert "fresh_process_loads_pickle" in failure.hides


def test_no_domain_fits():
    def hopeless(y_true, y_pred):
        raise RuntimeError("no such luck")

    report = checks.check_loss(hopeless)
    assert failing(report) == {"runs"}
    assert "enough_checks_ran" in report.failures[0].hides
    assert "no such luck" in report.results[0].message
    assert len(report.skipped) > 40


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"domain": "reals"}, "Unknown domain"),
        ({"declares": {"kinky": True}}, "Unknown declaration"),
        ({"checks": ["no_such_check"]}, "No such check"),
        ({"expected_failures": {"no_such_check": "because"}}, "No such check"),
        ({"expected_failures": {"runs": ""}}, "gives no reason"),
    ],
)
def test_misspelt_arguments_are_refused(how, says):
    with pytest.raises(ValueError, match=says):
        checks.check_loss(Pinball, **how)


def test_load_target():
    assert checks.load_target("loss_zoo:Pinball") is Pinball
    assert checks.load_target("loss_zoo:Pinball.call") is Pinball.call
    for target in ("loss_zoo", "loss_zoo:Nothing", "no_such_module:Loss"):
        with pytest.raises(ImportError):
            checks.load_target(target)


# One cause, one failure


class NeedsAnArgument(Squares):
    def __init__(self, alpha, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha


@loss_zoo.register
class ForgetsWhatItNeeds(NeedsAnArgument):
    """Its config lacks what its constructor needs: nothing can load it."""

    def call(self, y_true, y_pred):
        return self.alpha * super().call(loss_zoo.aligned(y_true, y_pred), y_pred)


@loss_zoo.register
class TakesNoName(loss_zoo.Aligned):
    def __init__(self, scale=1.0):
        super().__init__(scale)


@loss_zoo.register
class TakesSomethingElse(loss_zoo.Aligned):
    """Its config holds a key that its constructor refuses."""

    def get_config(self):
        return {**super().get_config(), "fn": "squares"}


@loss_zoo.register
class PythonInCall(loss_zoo.Aligned):
    def call(self, y_true, y_pred):
        largest = float(tf.reduce_max(y_true).numpy())
        return super().call(y_true, y_pred) + 0.0 * largest


@pytest.mark.parametrize(
    ("loss", "root", "hidden"),
    [
        (NeedsAnArgument, "runs", "repr_is_sane"),
        (
            ForgetsWhatItNeeds(2.0),
            "config_holds_every_argument",
            "h5_file_keeps_values",
        ),
        (TakesNoName, "constructor_takes_name_and_reduction", "h5_file_keeps_values"),
        (TakesSomethingElse, "config_round_trip_keeps_values", "h5_file_keeps_values"),
        (PythonInCall, "graph_equals_eager", "fit_reports_the_same_loss"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_one_cause_is_one_failure(loss, root, hidden):
    report = checks.check_loss(loss, domain="real", checks=QUICK)
    assert failing(report) == {root}, report.text()
    (failure,) = report.failures
    assert hidden in failure.hides
    assert f"skipped because of it: {failure.hides[0]}" in failure.text()
    skipped = {result.check: result.message for result in report.skipped}
    assert f"see `{root}`" in skipped[hidden]


def test_a_missing_argument_is_named():
    (failure,) = checks.check_loss(NeedsAnArgument, domain="real").failures
    assert "alpha" in failure.message and "NeedsAnArgument(alpha=...)" in failure.remedy
    assert "--with alpha=..." in failure.remedy


def test_what_rests_on_an_expected_failure_is_not_asked_either():
    report = checks.check_loss(
        ForgetsWhatItNeeds(2.0),
        domain="real",
        checks=QUICK,
        expected_failures={"config_holds_every_argument": "for old files"},
    )
    assert report.ok, report.text()
    assert statuses(report)["keras_file_keeps_values"] == "skipped"


def test_without_its_root_a_check_is_asked():
    names = ["config_round_trip_keeps_values"]
    report = checks.check_loss(loss_zoo.ForgetsArgument, domain="real", checks=names)
    assert failing(report) == set(names)


def test_many_checks_of_a_batch_wise_loss():
    report = checks.check_loss(
        loss_zoo.BatchDice,
        domain="segmentation",
        declares={"batch_wise": True},
        checks=QUICK,
    )
    scalar = [r for r in report.skipped if "one_value_per_sample" in r.message]
    assert len(scalar) < 15, "\n".join(r.text() for r in scalar)


# Structures, and domains of ones own


def test_what_a_structure_cannot_be_asked_is_said():
    report = checks.check_loss(
        loss_zoo.detection, domain=loss_zoo.boxes_of_ones_own, checks=QUICK
    )
    found = {result.check: result for result in report.results}
    assert found["gradient_matches_differences"].status == "passed"
    assert found["samples_are_independent"].status == "passed"
    reason = found["fit_reports_the_same_loss"].message
    assert reason == "y_pred is a dict of boxes; `fit` gives a loss one tensor"


def test_gradient_of_a_structure_is_checked_in_every_part():
    def two_parts(rng, n):
        draw = rng.normal
        return draw(size=(n, 2)), {"a": draw(size=(n, 2)), "b": [draw(size=(n, 3))]}

    @tf.custom_gradient
    def doubled(x):
        return tf.identity(x), lambda upstream: 2 * upstream

    def loss(y_true, y_pred):
        rest = tf.reduce_mean(tf.square(doubled(y_pred["b"][0])), -1)
        return loss_zoo.squares(y_true, y_pred["a"]) + rest

    names = ["gradient_exists", "gradient_matches_differences"]
    report = checks.check_loss(loss, domain=two_parts, checks=names)
    assert failing(report) == {"gradient_matches_differences"}


def test_what_a_domain_cannot_show_is_in_the_verdict():
    def labels_and_scores(rng, n):
        return rng.integers(0, 3, size=n), rng.uniform(1.0, 2.0, size=(n, 3))

    def loss(y_true, y_pred):
        return tf.reduce_sum(tf.square(y_pred), axis=-1)

    report = checks.check_loss(loss, domain=labels_and_scores, checks=["runs"])
    assert report.environment["not_checked"] == "y_pred = y_true, y_pred = 0"
    head = " ".join(report.text().partition("\n\n")[0].split())
    assert "ends not checked: y_pred = y_true" in head


def test_domain_with_ends():
    sample = loss_zoo.of_ones_own

    def edges(rng, n):
        y_true, y_pred = sample(rng, n)
        return [("all ones", y_true, np.ones_like(y_pred))]

    def loss(y_true, y_pred):
        return loss_zoo.squares(y_true, y_pred) / tf.reduce_mean(
            tf.square(y_pred - 1.0), axis=-1
        )

    domain = klr.Domain("mine", sample, edges=edges)
    report = checks.check_loss(loss, domain=domain, checks=["value_finite_at_the_ends"])
    assert "all ones" in report.failures[0].message


def test_a_domain_that_returns_nonsense_is_refused():
    report = checks.check_loss(Pinball, domain=lambda rng, n: 3, checks=["runs"])
    assert "must return the pair (y_true, y_pred)" in report.failures[0].message


@pytest.mark.parametrize("name", ["PairwiseHinge", "ListMLE", "GIoULoss", "SimCLR"])
def test_a_name_says_what_it_is_about(name):
    domain = checks.domains.hint(name, False)
    assert domain.name in ("ranking", "boxes", "pairs")


# Expected failures are strict


def test_expected_failure_is_no_failure():
    report = checks.check_loss(
        loss_zoo.ForgetsArgument,
        domain="real",
        checks=["config_holds_every_argument"],
        expected_failures={"config_holds_every_argument": "kept for old files"},
    )
    (result,) = report.results
    assert report.ok and result.status == "expected"
    assert "kept for old files" in result.text()


def test_expected_failure_that_passes_is_a_failure():
    report = checks.check_loss(
        Pinball, checks=["runs"], expected_failures={"runs": "never does"}
    )
    (result,) = report.failures
    assert "and passes" in result.message and "never does" in result.message


def test_declared_in_the_class():
    class Declares(Squares):
        _klr_declares = {
            "domain": "real",
            "expected_failures": {"column_against_vector": "vectors only"},
        }

    for given in (Declares, Declares()):
        report = checks.check_loss(given, checks=["column_against_vector"])
        assert [f.status for f in report.results] == ["expected"]


def test_advice_is_no_failure():
    report = checks.check_loss(loss_zoo.Prints, domain="real", checks=["is_quiet"])
    assert report.ok and report.results[0].status == "advice"


def test_gradient_at_a_kink_may_be_any_slope_between():
    def kinked(rng, n):
        y_true = rng.normal(size=(n, 3))
        return y_true, y_true.copy()

    report = checks.check_loss(
        Pinball, domain=kinked, checks=["gradient_matches_differences"]
    )
    assert report.ok, report.results[0].text()


# In pytest


@checks.parametrize_with_loss_checks(
    [Pinball, Pinball(0.3)],
    checks=["runs", "sum_is_sum_of_none", "value_matches_oracle"],
)
def test_parametrized(loss, check):
    check(loss)


def test_parametrize_raises_skips_and_xfails():
    def parameters(**how):
        decorator = checks.parametrize_with_loss_checks(
            [loss_zoo.ForgetsArgument], domain="real", **how
        )
        return decorator.mark.args[1]

    names = ["config_holds_every_argument"]
    (parameter,) = parameters(checks=names)
    assert parameter.id == "ForgetsArgument-config_holds_every_argument"
    _, check = parameter.values
    with pytest.raises(AssertionError, match="scale") as caught:
        check(loss_zoo.ForgetsArgument)
    assert "change:" in str(caught.value)

    for expects in (
        {names[0]: "kept for old files"},
        lambda loss: {names[0]: "kept for old files"},
    ):
        (parameter,) = parameters(checks=names, expected_failures=expects)
        with pytest.raises(pytest.xfail.Exception, match="kept for old files"):
            parameter.values[1](None)

    (parameter,) = parameters(checks=["value_matches_oracle"])
    with pytest.raises(pytest.skip.Exception, match="no oracle"):
        parameter.values[1](None)


# How numbers are compared


def test_expect_close_shows_the_worst():
    with pytest.raises(check_module.CheckFailed) as caught:
        check_module.expect_close([1.0, 2.0, 9.0], [1.0, 3.0, 4.0], "this", "that")
    text = "this is 9, that is 4 at [2], 2 of 3 differ"
    assert str(caught.value) == text
    with pytest.raises(check_module.CheckFailed, match="shape"):
        check_module.expect_close(np.zeros(2), np.zeros(3), "this", "that")
    with pytest.raises(check_module.CheckFailed, match="nan"):
        check_module.expect_close([np.nan, 1.0], [1.0, 1.0], "this", "that")
    check_module.expect_close([np.nan, np.inf], [np.nan, np.inf], "this", "that")
