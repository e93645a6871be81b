"""Records: written, read, refused and compared."""

import copy
import dataclasses
import html
import itertools
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorflow as tf

from keras_losses_ref import cli, oracle
from keras_losses_ref.conformance import cases, deviations, verdict
from keras_losses_ref.conformance.files import MOST_ELEMENTS, array, plain, shape
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.parity import (
    causes,
    diff,
    host_rules,
    kept_check,
    record,
    record_file,
)
from keras_losses_ref.conformance.report import diff as diff_report
from keras_losses_ref.losses import compat

PATTERNS = [
    "huber/documented*sum_over_batch_size,eager]",
    "huber/*some_masked*float32*",
    "mean_absolute_error/documented*eager]",
    "Huber",
]


@pytest.fixture(scope="module")
def recorded():
    """What Huber and a little of another loss do here."""
    return record.record(*record.select(PATTERNS))


def changed(original, identifier, **aspects):
    """A copy of a record in which one answer is another."""
    answers = copy.deepcopy(original.answers)
    for aspect, value in aspects.items():
        assert aspect in answers[identifier], "the plant must replace something"
        answers[identifier][aspect] = value
    return dataclasses.replace(original, answers=answers)


def with_keras(original, version):
    environment = {**original.environment, "keras": version}
    return dataclasses.replace(original, environment=environment)


HUBER = "keras:huber/documented[float32,sum_over_batch_size,eager]"


# --- the file -------------------------------------------------------------------------


def test_two_records_of_one_environment_are_the_same_bytes(recorded):
    again = record.record(*record.select(PATTERNS))
    assert record_file.dumps(again) == record_file.dumps(recorded)


def test_record_holds_every_kind_of_answer(recorded):
    ids = set(recorded.answers)
    assert {"keras:Huber", "ours:Huber", "keras:get('huber')", HUBER} <= ids
    ways = ("eager", "config", ".keras", "pickle", "epochs")
    assert {f"{who}:Huber[{way}]" for who in ("keras", "ours") for way in ways} <= ids
    public = recorded.answers["keras:Huber"]
    assert ["delta", "1.0"] in public["arguments"]
    assert public["default_name"].startswith("huber")
    answer = recorded.answers[HUBER]
    assert answer["value"] == pytest.approx(0.155, abs=1e-6)
    assert np.shape(answer["gradient"]) == (2, 2)
    assert answer["matches"] == {}
    assert any(identifier.startswith("ours:Huber(delta=") for identifier in ids)


def test_nothing_of_this_machine_is_compared(recorded):
    text = json.dumps(recorded.answers)
    for word in (os.getcwd(), os.path.expanduser("~"), "0x7", "/tmp"):
        assert word not in text


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_numbers_round_trip(dtype):
    kind = tf.as_dtype(dtype).as_numpy_dtype
    draws = np.random.RandomState(0).uniform(-1, 1, 200)
    draws *= 10.0 ** np.arange(-40, 40, 0.4)
    with np.errstate(over="ignore"):
        numbers = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, *draws]).astype(kind)
    wide = numbers.astype(np.float64)
    text = json.dumps(plain(wide, dtype), allow_nan=False)
    found = array(json.loads(text)).astype(kind).astype(np.float64)
    np.testing.assert_array_equal(found, wide)


def test_large_arrays_are_thinned_and_keep_their_shape():
    thin = plain(np.arange(90000.0).reshape(300, 300), "float32")
    assert shape(thin) == (300, 300)
    kept = array(thin)
    assert 500 < kept.size <= MOST_ELEMENTS
    assert kept[1] == thin["every"]


def test_record_round_trips_through_its_file(recorded, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(record_file.dumps(recorded))
    found = record_file.load(path)
    assert found == recorded
    assert found.environment["tensorflow"] == tf.__version__


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda text: text[: len(text) // 2], "is not a complete record"),
        (lambda text: "", "is not a complete record"),
        (lambda text: text.replace('"schema": 1', '"schema": 0'), "schema 0"),
        (lambda text: '["not", "a", "record"]', "schema None"),
        (lambda text: text.replace("0.155", "0.156", 1), "changed after"),
    ],
)
def test_what_is_no_whole_record_is_refused(recorded, tmp_path, capsys, spoil, says):
    path = tmp_path / "record.json"
    text = record_file.dumps(recorded)
    assert spoil(text) != text
    path.write_text(spoil(text))
    assert cli.main(["compare", str(path), str(path)]) == cli.USAGE
    assert says in capsys.readouterr().err


def test_comparing_needs_no_tensorflow(recorded, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(record_file.dumps(recorded))
    code = (
        "import sys; from keras_losses_ref import cli;"
        f"code = cli.main(['compare', {str(path)!r}, {str(path)!r}]);"
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == cli.OK, done.stderr
    assert done.stdout.splitlines()[0].startswith("same: ")


# --- what changed ---------------------------------------------------------------------


def test_a_record_against_itself_is_no_alarm(recorded):
    result = diff.compare(recorded, recorded)
    assert result.ok and not result.changes and result.same == len(recorded.answers)


def test_a_planted_change_is_found_and_nothing_else(recorded):
    new = with_keras(changed(recorded, HUBER, value=0.31), "99.0")
    (change,) = diff.compare(recorded, new).changes
    assert change.full_id == f"{HUBER} value"
    assert (change.kind, change.component) == (diff.SEMANTIC, "Keras")
    assert (change.old, change.new) == (recorded.answers[HUBER]["value"], 0.31)
    assert change.ulp > 1e6
    # Both are said to be the definition's, and no rule of the host tells them apart.
    assert change.explained_by is None


def test_rule_of_the_host_explains_the_change_under_its_condition(recorded):
    """Keras 3.13 divides a masked mean by what is valid, and by no epsilon more."""
    masked = "keras:huber/no_weight_some_masked[float32,sum_over_batch_size,eager]"
    old = with_keras(recorded, "3.12.0")
    new = with_keras(changed(recorded, masked, value=0.5), "3.13.2")
    new = changed(new, HUBER, value=0.31)
    found = {change.id: change for change in diff.compare(old, new).changes}
    assert found[masked].explained_by == "masked-mean-divisor"
    assert found[HUBER].explained_by is None
    entry = diff.compare(old, new).deviations["masked-mean-divisor"]
    assert entry["thread"].endswith("/pull/21908")
    assert "is 0 without any. Before, it divides" in entry["sentence"]
    # On the same side of the release the rule explains nothing.
    (change, *_) = diff.compare(with_keras(recorded, "3.13.0"), new).changes
    assert change.explained_by is None


def test_one_keras_has_one_set_of_deviations(recorded):
    (change,) = diff.compare(recorded, changed(recorded, HUBER, value=0.31)).changes
    assert change.explained_by is None and change.component == ""


def test_rounding_is_told_apart(recorded):
    value = recorded.answers[HUBER]["value"]
    moved = float(np.nextafter(np.float32(value), np.float32(1)))
    new = changed(recorded, HUBER, value=plain(moved, "float32"))
    result = diff.compare(recorded, new)
    (change,) = result.changes
    assert change.kind == diff.ROUNDING and 0 < change.ulp <= 1
    assert result.ok and result.counts["rounding"] == 1


def test_what_other_dtypes_show_is_no_rounding(recorded):
    half = HUBER.replace("float32", "bfloat16")
    value = recorded.answers[half]["value"]
    new = changed(recorded, half, value=value + 4 * 2.0**-9)
    assert diff.compare(recorded, new).changes[0].kind == diff.ROUNDING
    new = changed(new, HUBER, value=0.163)
    found = diff.compare(recorded, new).changes
    assert [change.kind for change in found] == [diff.SEMANTIC] * 2


def test_deviation_explains_the_change_it_covers(recorded):
    entry = {"sentence": "It doubles.", "thread": "https://example.org/1"}
    new = changed(recorded, HUBER, value=0.31, matches={"value": "doubles"})
    new = with_keras(dataclasses.replace(new, deviations={"doubles": entry}), "99.0")
    result = diff.compare(recorded, new)
    assert result.changes[0].explained_by == "doubles"
    assert result.deviations == {"doubles": entry}
    text = diff_report.render(result)
    assert "It doubles." in text and "https://example.org/1" in text
    assert "1 as the ledger says" in text
    nobodys = changed(new, HUBER, matches={"value": None})
    assert diff.compare(recorded, nobodys).changes[0].explained_by is None


def test_a_value_of_another_shape_is_whose_the_shape_is():
    """`judge` compares no values of two shapes: that the shape differs says it all."""
    squeezed = Outcome(np.float64(1), np.ones((5, 1)), "float32")
    right = Outcome(np.ones(5), np.ones((5, 1)), "float32")
    entry = deviations.Deviation(
        "squeezed",
        ("Hinge",),
        (("2.0", None),),
        "Made up.",
        "https://example.org",
        lambda case: True,
        lambda case: squeezed,
    )
    case = cases.Case("Hinge", "made_up", "a test", np.ones(5), np.ones((5, 1)))
    found = verdict.judge(case, right, squeezed, right, [entry])
    answers = record._of_cases(list(found))
    assert answers[f"keras:{case.id}"]["matches"]["value"] == "squeezed"
    assert answers[f"ours:{case.id}"]["matches"] == {}


def test_what_a_pickle_forgets_since_it_holds_the_config(recorded):
    """Keras 3.3: nothing of the corpus changed, for the config was as before."""
    entry, way = "huber-config-forgets-delta", "keras:Huber(delta=0.6)[{}]"
    forgets = {"value": [1.5], "dtype": "float32", "loss": "Huber"}
    keeps = {**forgets, "value": [0.9]}
    case = {"loss": "Huber", "config": {}, "matches": {"config": entry}}
    sides = []
    for version, pickled in (("3.1.1", keeps), ("3.3.3", forgets)):
        answers = {
            "keras:huber/made_up[float32,sum,reloaded]": case,
            way.format("config"): forgets,
            way.format("pickle"): pickled,
        }
        sides.append(
            with_keras(record_file.Record(answers, recorded.environment), version)
        )
    (change,) = diff.compare(*sides).changes
    assert (change.id, change.explained_by) == (way.format("pickle"), entry)
    # a config that gives another answer is no explanation
    sides[1].answers[way.format("config")] = {**forgets, "value": [7.0]}
    found = {change.id: change for change in diff.compare(*sides).changes}
    assert found[way.format("pickle")].explained_by is None


def test_component_of_a_change(recorded):
    ours = HUBER.replace("keras:", "ours:")
    nobodys = {"value": None}
    new = changed(recorded, HUBER, value=0.31, matches=nobodys)
    environment = {**new.environment, "keras": "99.0", "tensorflow": "9.9.0"}
    new = dataclasses.replace(new, environment=environment)
    assert diff.compare(recorded, new).changes[0].component == "Keras or TensorFlow"
    both = changed(new, ours, value=0.31, matches=nobodys)
    assert {c.component for c in diff.compare(recorded, both).changes} == {"TensorFlow"}
    # The old Keras on the new TensorFlow still said 0.155.
    intermediate = dataclasses.replace(
        recorded, environment={**environment, "keras": "1"}
    )
    (change,) = diff.compare(recorded, new, intermediate=intermediate).changes
    assert change.component == "Keras"


def test_names_arguments_and_defaults(recorded):
    answers = copy.deepcopy(recorded.answers)
    del answers["keras:LogCosh"]
    answers["keras:NewLoss"] = {"loss": "NewLoss", "is_class": True}
    public = answers["keras:Huber"]
    public["arguments"][0] = ["delta", "2.0"]
    public["arguments"].insert(1, ["slope", "1.0"])
    public["default_name"] = "uber"
    answers["keras:Hinge"]["arguments"].reverse()
    result = diff.compare(recorded, dataclasses.replace(recorded, answers=answers))
    found = {(c.id, c.aspect, c.kind) for c in result.changes}
    assert found == {
        ("keras:LogCosh", "public name", diff.REMOVED),
        ("keras:NewLoss", "public name", diff.ADDED),
        ("keras:Huber", "default of delta", diff.SEMANTIC),
        ("keras:Huber", "argument slope", diff.ADDED),
        ("keras:Huber", "default_name", diff.SEMANTIC),
        ("keras:Hinge", "order of arguments", diff.SEMANTIC),
    }
    (slope,) = [c for c in result.changes if c.aspect == "argument slope"]
    assert "before" in slope.new  # it moves positional arguments


def test_errors_and_their_types(recorded):
    answers = copy.deepcopy(recorded.answers)
    answers[HUBER] = {"loss": "Huber", "error": "ValueError", "matches": {}}
    refused = dataclasses.replace(recorded, answers=answers)
    (change,) = diff.compare(recorded, refused).changes
    assert (change.aspect, change.old) == ("error", "an answer")
    assert change.new == "ValueError"
    other = changed(refused, HUBER, error="TypeError")
    (change,) = diff.compare(refused, other).changes
    assert (change.aspect, change.new) == ("error type", "TypeError")


def test_a_broken_keras_is_found(recorded, monkeypatch):
    """One constant in a copy of a Keras loss."""
    original = compat.keras.losses.MeanAbsoluteError

    class MeanAbsoluteError(original):
        def call(self, y_true, y_pred):
            return 1.001 * super().call(y_true, y_pred)

    monkeypatch.setattr(compat.keras.losses, "MeanAbsoluteError", MeanAbsoluteError)
    result = diff.compare(recorded, record.record(*record.select(PATTERNS)))
    assert not result.ok
    assert {(c.implementation, c.loss) for c in result.pending} == {
        ("keras", "MeanAbsoluteError")
    }


# --- acceptance and formats -----------------------------------------------------------


@pytest.fixture
def files(recorded, tmp_path):
    """(old, new): records of which one answer differs."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(record_file.dumps(recorded))
    planted = with_keras(changed(recorded, HUBER, value=0.31), "99.0")
    new.write_text(record_file.dumps(planted))
    return [str(old), str(new)]


def test_exit_codes_and_acceptance(files, tmp_path, capsys):
    assert cli.main(["compare", *files]) == cli.DIFFERENCE
    assert cli.main(["compare", *files, "--accept", f"{HUBER} value"]) == cli.OK
    accepted = tmp_path / "accepted.txt"
    accepted.write_text("# looked at\nkeras:huber/documented[*] value  # fine\n")
    assert cli.main(["compare", *files, "--accepted", str(accepted)]) == cli.OK
    capsys.readouterr()
    accepted.write_text("keras:huber/*\nkeras:hinge/*\n")
    code = cli.main(["compare", *files, "--accepted", str(accepted)])
    assert code == cli.DIFFERENCE
    assert "DID NOT CHANGE  keras:hinge/*" in capsys.readouterr().out
    assert cli.main(["compare", files[0], str(tmp_path / "none")]) == cli.USAGE


def test_json_of_a_comparison_has_its_keys(files, capsys):
    cli.main(["compare", *files, "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["new"]["keras"] == "99.0"
    kinds = {"same", "rounding", "changed", "added", "removed"}
    assert set(document["counts"]) == kinds
    (change,) = document["changes"]
    assert {
        "id",
        "loss",
        "implementation",
        "aspect",
        "kind",
        "old",
        "new",
        "ulp",
        "explained_by",
    } <= set(change)
    assert (change["implementation"], change["kind"]) == ("keras", "semantic")


def test_junit_and_markdown(files, capsys):
    cli.main(["compare", *files, "--format", "junit"])
    suites = ElementTree.fromstring(capsys.readouterr().out)
    assert sum(int(suite.get("failures")) for suite in suites) == 1
    assert suites.find(".//failure/..").get("name") == f"{HUBER} value"
    cli.main(["compare", *files, "--format", "md"])
    text = capsys.readouterr().out
    assert text.startswith("### keras-losses-ref: **changed**")
    assert "Keras's Huber has a different value" in text and len(text) < 4000


def test_html_is_one_file(files, tmp_path):
    pytest.importorskip("jinja2")
    page = tmp_path / "report.html"
    options = ["--format", "html", "--output", str(page)]
    assert cli.main(["compare", *files, *options]) == cli.DIFFERENCE

    class Sources(HTMLParser):
        found = []

        def handle_starttag(self, tag, attributes):
            self.found += [v for name, v in attributes if name == "src"]

    parser = Sources()
    parser.feed(page.read_text())
    assert all(source.startswith("data:") for source in parser.found)
    assert "huber/documented" in page.read_text()


# --- losses and models of the user's --------------------------------------------------

OWN = """
import tensorflow as tf

class Squared(tf.keras.losses.Loss):
    def __init__(self, scale=1.0, reduction="sum_over_batch_size", name="squared"):
        super().__init__(reduction=reduction, name=name)
        self.scale = scale

    def call(self, y_true, y_pred):
        return self.scale * tf.reduce_mean((y_pred - y_true) ** 2, axis=-1)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
"""


def test_a_loss_of_ones_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "klr_own_loss.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    path = str(tmp_path / "own.json")
    case = ["--case", "huber/documented[float32,sum_over_batch_size,eager]"]
    own = ["--loss", "klr_own_loss:Squared"]
    assert cli.main(["record", path, *case, *own]) == cli.OK
    answers = record_file.load(path).answers
    ids = {name for name in answers if name.startswith("user:")}
    ways = ("eager", "graph", "xla", "epochs", "config", ".keras", "pickle", "float16")
    assert {f"user:Squared[{way}]" for way in ways} <= ids
    assert any("(scale=" in name and name.endswith("[.keras]") for name in ids)
    assert ["scale", "1.0"] in answers["user:Squared"]["arguments"]
    # Keras 3 pickles what it would save in a file, and this class takes no dtype.
    failed = {name for name in ids if "error" in answers[name]}
    assert all(name.endswith("[pickle]") for name in failed)

    assert cli.main(["record", path, *case, "--loss", "klr_own_loss:None_"]) == 2
    assert "None_" in capsys.readouterr().err


def test_a_model_of_ones_own(tmp_path, capsys):
    keras = compat.keras
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.compile(loss="mse")
    state = np.random.RandomState(0)
    x, y = state.normal(size=(40, 3)), state.normal(size=(40, 2))
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x.astype("float32"), y=y.astype("float32"))
    path = str(tmp_path / "own.json")
    arguments = ["record", path, "--model", str(tmp_path / "model.keras")]
    arguments += ["--case", "huber/documented[float32,sum_over_batch_size,eager]"]
    assert cli.main(arguments) == cli.USAGE  # a model without data
    data = str(tmp_path / "data.npz")
    assert cli.main([*arguments, "--data", data]) == cli.OK
    answers = record_file.load(path).answers
    first = answers["user:model.keras[batch 0]"]
    kernel, bias = model.get_weights()
    error = x[:32] @ kernel + bias - y[:32]
    assert first["value"] == pytest.approx(np.mean(error**2), rel=1e-5)
    gradient = answers["user:model.keras[batch 0, weights 0]"]["gradient"]
    want = x[:32].T @ (error / 32)
    np.testing.assert_allclose(array(gradient), want, rtol=1e-3, atol=1e-5)
    assert "user:model.keras[batch 1]" in answers

    np.savez(tmp_path / "data.npz", inputs=x)
    assert cli.main([*arguments, "--data", data]) == cli.USAGE
    assert "x and y" in capsys.readouterr().err


# --- causes ---------------------------------------------------------------------------

MASKED = "keras:huber/no_weight_some_masked[float32,sum_over_batch_size,eager]"


@pytest.fixture
def upgraded(recorded):
    """A comparison with a change of every kind of cause."""
    entry = {"sentence": "It doubles.", "thread": "https://example.org/1"}
    gradient = recorded.answers[HUBER]["gradient"]
    turned = [[-number for number in row] for row in gradient]
    new = changed(recorded, HUBER, value=0.31, gradient=turned)
    new.answers[HUBER]["matches"] = {"value": "doubles", "gradient": "doubles"}
    value = recorded.answers[MASKED]["value"]
    new = changed(new, MASKED, value=value * (1 + 1e-5))
    other = "keras:mean_absolute_error/documented[float32,sum_over_batch_size,eager]"
    new = changed(new, other, value="nan")
    new.answers["user:Mine[eager]"] = {"loss": "Mine", "value": 2.0, "dtype": "float32"}
    del new.answers["keras:LogCosh"]
    old = copy.deepcopy(recorded.answers)
    old["user:Mine[eager]"] = {"loss": "Mine", "value": 1.0, "dtype": "float32"}
    old["user:Steady[eager]"] = new.answers["user:Steady[eager]"] = {"loss": "Steady"}
    old = with_keras(dataclasses.replace(recorded, answers=old), "3.12.0")
    new = dataclasses.replace(new, deviations={"doubles": entry})
    return diff.compare(old, with_keras(new, "3.13.2"))


def test_what_a_user_feels_most_stands_first(upgraded):
    found = causes.causes(upgraded)
    assert [cause.kind for cause in found] == [
        *("user", "unexplained", "ledger", "rule", "name"),
    ]
    mine, unexplained, ledger, rule, names = found
    assert upgraded.own == ("Mine", "Steady")
    assert mine.losses == ["Mine"] and mine.worst == pytest.approx(0.5)
    assert unexplained.losses == ["MeanAbsoluteError"] and unexplained.not_finite == 1
    assert ledger.id == "doubles" and ledger.what == "Keras now deviates: It doubles."
    assert ledger.step == ("yes", "gradients change by up to 200 %")
    assert rule.id == "masked-mean-divisor" and rule.thread.endswith("/21908")
    assert rule.worst == pytest.approx(1e-5, rel=1e-2)
    assert rule.step == ("no", "gradients are the same")
    assert "a mask, float32" in rule.condition
    assert names.step == ("", "") and names.losses == ["LogCosh"]


@pytest.mark.parametrize("style", ["text", "md", "html", "json"])
def test_every_style_states_every_cause(upgraded, style):
    if style == "html":
        pytest.importorskip("jinja2")
    shown = html.unescape(diff_report.render(upgraded, style))
    words = " ".join(shown.split())
    for stated in (
        "Mine",
        "Steady",
        "It doubles.",
        "https://example.org/1",
        "divides by the number of valid elements + 1e-7",
        "https://github.com/keras-team/keras/pull/21908",
        "a mask or ignore_class, and a mean as the reduction",
        "gradients change by up to 200 %",
        "gradients are the same",
        "LogCosh",
        HUBER,
    ):
        assert stated in words or (style, stated) == ("json", "Steady"), stated
    if style == "json":
        document = json.loads(shown)
        assert {"changes", "ledger", "counts"} <= set(document)
        kept = {change for cause in document["causes"] for change in cause["changes"]}
        assert kept == {change["id"] for change in document["changes"]}
        assert [cause["kind"] for cause in document["causes"]][0] == "user"


def test_text_has_the_verdict_first_and_breaks_no_word(upgraded):
    lines = diff_report.render(upgraded).splitlines()
    assert lines[0].startswith("CHANGED: TensorFlow ")
    own = lines.index("Your losses and models: Mine CHANGED, Steady the same")
    assert own < lines.index("Your losses and models") < 12
    # An id is one word, and a number with its name another.
    long = [line for line in lines if len(line) > 80]
    assert all("largest: " in line or line.lstrip().startswith("old ") for line in long)


def test_a_rule_has_its_versions_and_its_thread():
    assert len(host_rules.BY_ID) == len(host_rules.RULES)
    for rule in host_rules.RULES:
        firsts = [first for first, _ in rule.ways]
        if not rule.by_backend:
            assert firsts == sorted(firsts, key=lambda v: [*map(int, v.split("."))])
        assert len(rule.ways) > 1 and rule.thread.startswith("https://github.com/")
        for (_, before), (_, after) in zip(rule.ways, rule.ways[1:]):
            assert before != after
        assert not rule.differs({"keras": "3.15.1"}, {"keras": "3.15.0"})


def test_rules_name_what_the_oracle_does_by_them():
    """Where two sets of the oracle's rules differ on a case, a rule says so."""
    versions = {"keras2": "2.15.0", "keras3.0": "3.0.5", "keras3.7": "3.7.0",
                "keras3": "3.13.0"}  # fmt: skip
    values = np.array([1.0, 2.0, 4.0])
    cases_ = {
        "masked": ({"mask": np.array([True, False, True])}, values),
        "all masked": ({"mask": np.zeros(3, bool)}, values),
        "empty": ({}, np.zeros((0, 3))),
        "plain": ({}, values),
    }
    shows = {"masked": "masked-mean-divisor", "all masked": "masked-mean-divisor",
             "empty": "empty-mean", "plain": None}  # fmt: skip
    for (old, a), (new, b) in itertools.permutations(versions.items(), 2):
        for name, (given, losses) in cases_.items():
            found = [
                oracle.reduce(losses, reduction="sum_over_batch_size", rules=r, **given)
                for r in (old, new)
            ]
            rule = host_rules.BY_ID.get(shows[name])
            if not np.array_equal(found[0][0], found[1][0], equal_nan=True):
                assert rule is not None, (name, old, new)
                assert rule.differs({"keras": a}, {"keras": b}), (name, old, new)


# --- what is printed can be pasted ----------------------------------------------------


@pytest.mark.parametrize(
    "printed, parsed",
    [
        (f"{HUBER} value", (HUBER, "value")),
        (f"{HUBER}  gradient at [0, 0, 0]", (HUBER, "gradient")),
        (f"  {HUBER}   gradient at [0]  ", (HUBER, "gradient")),
        (HUBER.partition(":")[2], (HUBER, None)),
        ("keras:Huber default of delta", ("keras:Huber", "default of delta")),
        (
            "user:m.keras[batch 0, weights 1]  gradient at [1, 2]",
            ("user:m.keras[batch 0, weights 1]", "gradient"),
        ),
        (
            "Huber(delta=0.6)[.keras] config",
            ("keras:Huber(delta=0.6)[.keras]", "config"),
        ),
        (
            "get('mean_squared_error') gives",
            ("keras:get('mean_squared_error')", "gives"),
        ),
    ],
)
def test_an_id_is_read_as_it_is_printed(printed, parsed):
    assert diff.parse_id(printed) == parsed


def test_a_printed_id_is_accepted(files, capsys):
    cli.main(["compare", *files])
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if "largest: " in line]
    printed = line.partition("largest: ")[2]
    assert diff.parse_id(printed) == (HUBER, "value")
    for pasted in (printed, printed.replace(" value", "  value at [0, 0, 0]")):
        assert cli.main(["compare", *files, "--accept", pasted]) == cli.OK


def test_every_change_has_an_aspect_that_its_answers_have(recorded):
    answers = copy.deepcopy(recorded.answers)
    answers["keras:Huber"]["arguments"].insert(1, ["slope", "1.0"])
    answers["keras:Huber"]["default_name"] = "uber"
    answers[HUBER]["value"] = 0.31
    new = dataclasses.replace(recorded, answers=answers)
    found = diff.compare(recorded, new).changes
    assert len(found) == 3
    for change in found:
        both = [record_.answers[change.id] for record_ in (recorded, new)]
        assert change.aspect in diff.aspects_of(*both)


# --- the checks that docs/versions keeps ----------------------------------------------

VERSIONS = Path(__file__).parents[2] / "docs" / "versions"
CHECKED = sorted(VERSIONS.glob("*.json"))


def test_every_pair_of_kept_checks_is_explained():
    kept = {path.name: kept_check.load(path) for path in CHECKED}
    assert len(kept) > 20 and all(kept.values())
    ids = {entry.id for entry in deviations.DEVIATIONS}
    for old, new in itertools.combinations(kept, 2):
        result = kept_check.compare(kept[old], kept[new])
        text = diff_report.render(result)
        for cause in causes.causes(result):
            assert cause.kind in ("ledger", "rule", "name"), (old, new, cause)
            assert cause.kind == "name" or cause.id in ids | set(host_rules.BY_ID)
            assert cause.kind == "name" or cause.id in text
            facts = dict(diff_report.facts(cause))
            assert cause.kind == "name" or facts["size"] == diff_report.NOT_KEPT
        # A rule is named exactly where its releases lie between the two.
        named = {c.id for c in causes.causes(result) if c.kind == "rule"}
        sides = [kept[name]["environment"] for name in (old, new)]
        assert named == {r.id for r in host_rules.RULES if r.differs(*sides)}


@pytest.mark.parametrize("style", sorted(diff_report.STYLES))
def test_two_kept_checks_are_compared(style, capsys):
    pytest.importorskip("jinja2")
    both = [str(VERSIONS / f"tf2.{minor}.json") for minor in ("18.1", "21.0")]
    assert cli.main(["compare", *both, "--format", style]) == cli.DIFFERENCE
    shown = html.unescape(capsys.readouterr().out)
    for stated in ("masked-mean-divisor", "all-masked-overflows-in-half", "3.8.0"):
        assert stated in shown
    assert cli.main(["compare", both[0], both[0], "--format", style]) == cli.OK


def test_a_record_and_a_kept_check_are_not_compared(files, capsys):
    assert cli.main(["compare", files[0], str(CHECKED[0])]) == cli.USAGE
    assert "of which one is a record" in capsys.readouterr().err
