"""Environments, upgrades, bisection and the page of versions."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import versions_page

from keras_losses_ref import cli
from keras_losses_ref.conformance import cases, runners
from keras_losses_ref.conformance.parity import (
    ParityError,
    bisect,
    causes,
    diff,
    record_file,
    upgrade,
    venvs,
)

ROOT = Path(__file__).parents[2]
CASE = "huber/documented[float32,sum_over_batch_size,eager]"


# --- environments ---------------------------------------------------------------------


@pytest.fixture
def build_options(tmp_path):
    return venvs.BuildOptions(cache=str(tmp_path / "cache"), installer="pip")


@pytest.fixture
def resolved(monkeypatch):
    """Resolve without an index: every name with the versions asked for."""
    brings = {"tensorflow-cpu": ["keras==3.15.1", "numpy==2.0.0"]}

    def resolve(lines, build_options, *options):
        lock = {venvs.name_of(line): line for line in lines}
        if "--no-deps" not in options:
            for line in lines:
                for more in brings.get(venvs.name_of(line), ()):
                    lock.setdefault(venvs.name_of(more), more)
        return lock

    monkeypatch.setattr(venvs, "_resolve", resolve)


@pytest.fixture
def installs(monkeypatch):
    """The commands that would have installed something."""
    commands = []
    monkeypatch.setattr(venvs, "run_command", lambda c, **_: commands.append(c) or "")
    return commands


def test_what_the_words_bring(build_options, resolved, installs):
    built = venvs.build(["tensorflow-cpu==2.21.0"], build_options)
    assert built.version("keras") == "3.15.1" and not built.variables
    nightly = venvs.build(["tensorflow-cpu==2.21.0", "keras-nightly==9"], build_options)
    assert "keras" not in nightly.lock  # both own one folder
    assert nightly.version(*venvs.KERASES) == "9"
    words = ["tensorflow-cpu==2.21.0", "tf_keras==2.21.0", "SOME_NAME=value"]
    legacy = venvs.build(words, build_options)
    assert legacy.variables == {"TF_USE_LEGACY_KERAS": "1", "SOME_NAME": "value"}
    assert legacy.lock["tf-keras"] == "tf_keras==2.21.0"
    assert "tensorflow" not in legacy.lock  # a second one, which tf_keras asks for
    between = venvs.build(
        ["tensorflow-cpu==2.21.0"], build_options, keras_of={"keras": "keras==3.4.1"}
    )
    assert between.version("keras") == "3.4.1"
    assert between.version("tensorflow-cpu") == "2.21.0"
    with pytest.raises(ParityError, match="no requirements"):
        venvs.build(["TF_USE_LEGACY_KERAS=1"], build_options)


def test_a_keras_that_tensorflow_does_not_want(build_options, installs, monkeypatch):
    def resolve(lines, build_options, *options):
        if len(lines) == 2:
            raise ParityError("tensorflow-cpu==2.21.0 wants keras>=3.12.0")
        brings = {
            "keras==3.0.5": ["keras==3.0.5", "dm-tree==0.1.8", "numpy==2.9.9"],
            "tensorflow-cpu==2.21.0": [*lines, "keras==3.15.1", "numpy==2.0.0"],
        }
        return {venvs.name_of(line): line for line in brings[lines[0]]}

    monkeypatch.setattr(venvs, "_resolve", resolve)
    built = venvs.build(["tensorflow-cpu==2.21.0", "keras==3.0.5"], build_options)
    assert sorted(built.lock.values()) == [
        "dm-tree==0.1.8",
        "keras==3.0.5",
        "numpy==2.0.0",
        "tensorflow-cpu==2.21.0",
    ]


def test_a_lock_is_built_once(build_options, resolved, installs):
    first = venvs.build(["tensorflow-cpu==2.21.0"], build_options)
    number = len(installs)
    assert number > 0
    again = venvs.build(["tensorflow-cpu==2.21.0"], build_options)
    assert again == first and len(installs) == number
    venvs.build(["tensorflow-cpu==2.20.0"], build_options)
    assert len(installs) > number


def test_a_killed_build_is_built_again(build_options, resolved, installs, monkeypatch):
    def killed(command, **_):
        folder = command[-1] if "venv" in command else None
        if folder:
            with open(os.path.join(folder, "half"), "w"):
                pass
            return ""
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(venvs, "run_command", killed)
        with pytest.raises(KeyboardInterrupt):
            venvs.build(["tensorflow-cpu==2.21.0"], build_options)
    (folder,) = (f.path for f in os.scandir(build_options.folder) if f.is_dir())
    assert os.path.exists(os.path.join(folder, "half"))
    built = venvs.build(["tensorflow-cpu==2.21.0"], build_options)
    assert installs and not os.path.exists(os.path.join(folder, "half"))
    assert built.python.startswith(folder)


def test_a_failed_install_names_the_side_and_the_last_words(
    build_options, resolved, capsys
):
    words = ["no-such-package-of-klr @ file:///no/such/place.whl"] * 2
    options = ["--cache", build_options.cache, "--installer", "pip"]
    assert cli.main(["upgrade", *words, *options]) == cli.USAGE
    said = capsys.readouterr().err
    assert "keras-losses-ref: old" in said or "keras-losses-ref: new" in said
    assert "place.whl" in said
    for name in os.listdir(build_options.folder):
        assert not os.path.exists(
            os.path.join(build_options.folder, name, "whole.json")
        )


# --- upgrades -------------------------------------------------------------------------


@pytest.fixture
def here(monkeypatch):
    """Every environment is the one that the tests run in."""

    def build(words, build_options, on_progress=lambda what: None, keras_of=None):
        variables = {k: v for k, v in os.environ.items() if k == "TF_USE_LEGACY_KERAS"}
        lock = {venvs.name_of(word): word for word in words}
        return venvs.Environment(sys.executable, lock, variables)

    monkeypatch.setattr(venvs, "build", build)


def test_an_environment_against_itself(here, tmp_path, capsys):
    kept = str(tmp_path / "kept")
    arguments = ["upgrade", "tensorflow==1", "tensorflow==1", "--case", CASE]
    assert cli.main([*arguments, "--keep", kept]) == cli.OK
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("same: ")
    assert "old: done" in err and "new: done" in err
    old, new = (
        record_file.load(os.path.join(kept, f"{s}.json")) for s in ("old", "new")
    )
    assert old == new and f"keras:{CASE}" in old.answers


def test_a_child_that_fails_says_why(here, build_options):
    built = venvs.build(["x"], build_options)
    with (
        upgrade.RecordRunner() as children,
        pytest.raises(ParityError, match="boom"),
    ):
        children.run(built, ["-c", "import sys; sys.exit('boom')"])


# --- bisection ------------------------------------------------------------------------

RELEASES = [f"3.{minor}.0" for minor in range(12)]


@pytest.fixture
def history(monkeypatch, here):
    """Kerases 3.0 to 3.11; from `history["since"]` on the answer is another."""
    history = {"since": 7, "broken": (), "asked": []}
    answer = {"loss": "Huber", "value": 1.0, "dtype": "float32", "matches": {}}

    def record(self, environment, options=(), say=None):
        release = environment.lock["keras"].partition("==")[2]
        history["asked"].append(release)
        if release in history["broken"]:
            raise ParityError(f"{release} does not import")
        value = 1.0 if RELEASES.index(release) < history["since"] else 2.0
        answers = {f"keras:{CASE}": {**answer, "value": value}}
        answers.update(history.get("more", {}))
        versions_ = {"keras": release, "tensorflow": "2", "keras_package": "keras"}
        return record_file.Record(answers, versions_)

    monkeypatch.setattr(upgrade.RecordRunner, "record", record)
    monkeypatch.setattr(bisect, "_listed", lambda package, build_options: RELEASES)
    monkeypatch.setattr(bisect, "_shortest", lambda *_: ("code", ("1.0", "2.0")))
    return history


@pytest.mark.parametrize("since", range(1, 12))
def test_the_first_release_is_found(history, build_options, since):
    history["since"] = since
    words = ["tensorflow==2 keras==3.0.0", "tensorflow==2 keras==3.11.0"]
    found = bisect.bisect(CASE, *words, build_options)
    assert (found.before, found.release) == (RELEASES[since - 1], RELEASES[since])
    assert (found.change.old, found.change.new) == (1.0, 2.0)
    assert len(history["asked"]) <= 6
    assert f"changed in keras {RELEASES[since]}" in found.text()


def test_a_release_that_does_not_run_is_passed_over(history, build_options):
    history["broken"] = ("3.5.0", "3.6.0")
    words = ["tensorflow==2 keras==3.0.0", "tensorflow==2 keras==3.11.0"]
    found = bisect.bisect(CASE, *words, build_options)
    assert (found.before, found.release) == ("3.4.0", "3.7.0")
    assert dict(found.skipped).keys() == {"3.5.0", "3.6.0"}
    assert "3.6.0 was skipped" in found.text()


@pytest.mark.parametrize(
    "identifier, old, new, says",
    [
        (f"{CASE} vlaue", "keras==3.0.0", "keras==3.9.0", "value"),
        ("Huber[no way]", "keras==3.0.0", "keras==3.9.0", "no answer has this id"),
        (CASE, "keras==3.4.0", "keras==3.0.0", "older release comes first"),
        (CASE, "keras==3.0.0", "keras==9.9.9", "no such release"),
        (CASE, "keras==3.0.0 numpy==1", "keras==3.4.0 numpy==2", "one package"),
        (CASE, "keras==3.0.0", "tf_keras==3.4.0", "one package"),
        ("huber/none", "keras==3.0.0", "keras==3.4.0", "no case has this id"),
    ],
)
def test_what_cannot_be_searched(history, capsys, identifier, old, new, says):
    words = [f"tensorflow==2 {old}", f"tensorflow==2 {new}"]
    assert cli.main(["bisect", identifier, *words]) == cli.USAGE
    assert says in capsys.readouterr().err


def test_no_change_is_an_answer(history, capsys):
    words = ["tensorflow==2 keras==3.0.0", "tensorflow==2 keras==3.4.0"]
    assert cli.main(["bisect", CASE, *words]) == cli.OK
    assert "no change: keras 3.0.0 and 3.4.0 give the same answer" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("behind", ["value", " value at [0, 0, 0]", "  value  at [0]"])
def test_an_id_is_searched_as_it_is_printed(history, build_options, behind):
    words = ["tensorflow==2 keras==3.0.0", "tensorflow==2 keras==3.11.0"]
    found = bisect.bisect(f"keras:{CASE} {behind}", *words, build_options)
    assert found.release == "3.7.0"


@pytest.mark.parametrize("identifier", [CASE, "Huber"])
def test_an_unknown_aspect_lists_those_that_exist(history, capsys, identifier):
    words = ["tensorflow==2 keras==3.0.0", "tensorflow==2 keras==3.4.0"]
    history["more"] = {"keras:Huber": {"loss": "Huber", "arguments": [["delta", "1"]]}}
    assert cli.main(["bisect", f"{identifier} slope", *words]) == cli.USAGE
    said = capsys.readouterr().err
    assert "'slope'" in said
    for aspect in ("value", "gradient") if "/" in identifier else ("argument delta",):
        assert aspect in said


# --- the commands that are shown, held against kept records ---------------------------

RECORDS = Path(__file__).parent / "records"
#: Keras's releases between the two records, as pip lists them.
KERASES = ["3.4.1", "3.5.0", "3.6.0", "3.7.0", "3.8.0", "3.9.2", "3.10.0", "3.11.3",
           "3.12.0", "3.12.4", "3.13.0", "3.13.2", "3.14.1", "3.15.1"]  # fmt: skip


@pytest.fixture
def kept(monkeypatch, here):
    """Kerases 3.4 to 3.15, of which each answers as the record of its side does."""
    ends = [record_file.load(RECORDS / f"keras{v}.json") for v in ("3.4.1", "3.15.1")]

    def record(self, environment, options=(), say=None):
        release = environment.lock.get("keras", "").partition("==")[2]
        later = release in KERASES[KERASES.index("3.13.0") :]
        named_new = any(name.startswith("new") for name in environment.lock)
        found = ends[later or named_new]
        versions = {**found.environment, "keras": release or "3.4.1"}
        return dataclasses.replace(found, environment=versions)

    monkeypatch.setattr(upgrade.RecordRunner, "record", record)
    monkeypatch.setattr(bisect, "_listed", lambda package, build_options: KERASES)
    said = [("nan", "0.0")]
    monkeypatch.setattr(bisect, "_printed", lambda codes, *_: said * len(codes))


def shown_bisects():
    """The command of docs/upgrading.md with the output below it, and that of --help."""
    page = (ROOT / "docs" / "upgrading.md").read_text("utf-8")
    pattern = r"```sh\nkeras-losses-ref (bisect .*)\n```\n\n```text\n(.*?)```"
    found = re.findall(pattern, page, flags=re.S)
    assert len(found) == page.count("keras-losses-ref bisect ")
    return [*found, (cli._BISECT_EXAMPLE, "changed in keras 3.13.0\n")]


@pytest.mark.parametrize("command, output", shown_bisects())
def test_a_bisect_that_is_shown_finds_what_is_shown(kept, capsys, command, output):
    assert cli.main(shlex.split(command)) == cli.DIFFERENCE
    assert output in capsys.readouterr().out


def shown_comparisons():
    """Every `compare` and `upgrade` of the pages, as words."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        text = page.read_text("utf-8")
        blocks = re.findall(r"^```(?:sh|yaml)\n(.*?)^```", text, flags=re.M | re.S)
        for line in "\n".join(blocks).splitlines():
            found = re.search(r"keras-losses-ref ((?:compare|upgrade) [^#&]*)", line)
            if found:
                yield shlex.split(found[1])


@pytest.mark.parametrize("words", shown_comparisons(), ids=" ".join)
def test_a_comparison_that_is_shown_runs(kept, tmp_path, monkeypatch, capsys, words):
    """On the kept records, under the names that the page gives them."""
    monkeypatch.chdir(tmp_path)
    for name, version in (("old", "3.4.1"), ("losses", "3.4.1"), ("new", "3.15.1")):
        shutil.copy(RECORDS / f"keras{version}.json", f"{name}.json")
    Path("accepted.txt").write_text("keras:mean_squared_error/*\n", encoding="utf-8")
    if "--html" in words:
        pytest.importorskip("jinja2")
    code = cli.main(words)
    if "--accept" in words:  # of another loss than those that changed
        assert "ACCEPTED, BUT DID NOT CHANGE" in capsys.readouterr().out
        return
    if all("keras==3.15.1" in word for word in words[1:3]):  # two backends of one
        assert code == cli.OK
        assert capsys.readouterr().out.startswith("same: TensorFlow 2.21.0, Keras")
        return
    assert code == cli.DIFFERENCE, capsys.readouterr().err
    if "--output" in words:
        return
    shown = capsys.readouterr().out
    assert shown.startswith("CHANGED: TensorFlow 2.21.0, Keras 3.4.1")


def test_ids_that_compare_prints_are_found_by_bisect(kept, capsys):
    """Whatever stands behind "largest:" can be pasted."""
    both = [str(RECORDS / f"keras{version}.json") for version in ("3.4.1", "3.15.1")]
    assert cli.main(["compare", *both]) == cli.DIFFERENCE
    shown = capsys.readouterr().out
    printed_ = re.findall(r"largest: (.*)", shown)
    assert len(printed_) == 2
    for identifier in printed_:
        words = ["tensorflow==2 keras==3.4.1", "tensorflow==2 keras==3.15.1"]
        assert cli.main(["bisect", identifier, *words]) == cli.DIFFERENCE
        assert "changed in keras 3.13.0" in capsys.readouterr().out


def test_a_kept_pair_is_explained_whole():
    both = [record_file.load(RECORDS / f"keras{v}.json") for v in ("3.4.1", "3.15.1")]
    result = diff.compare(*both)
    found = {cause.id: cause for cause in causes.causes(result)}
    rule, entry = found["masked-mean-divisor"], found["all-masked-overflows-in-half"]
    assert rule.step[0] == "no" and 1e-8 < rule.worst < 1e-6
    assert entry.step[0] == "yes" and entry.became_finite
    assert "a mask that keeps nothing, float16" in entry.condition
    assert not any(cause.kind == "unexplained" for cause in found.values())


def printed(code):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    return out.getvalue().strip()


@pytest.mark.parametrize(
    "identifier",
    [
        CASE,
        "huber/documented[float64,sum_over_batch_size,eager]",
        "mean_squared_error/element_weight_some_masked[float32,sum,eager]",
        "categorical_crossentropy/documented[float32,none,eager]",
        "sparse_categorical_crossentropy/documented[float32,sum_over_batch_size,graph]",
    ],
)
def test_snippet_runs_and_prints_the_answer(identifier):
    (case,) = [case for case in cases.corpus(full=True) if case.id == identifier]
    ((_, outcome),) = runners.load().evaluate([case], "keras")
    for aspect in ("value", "gradient"):
        code = bisect._code(case, aspect)
        assert code.count("\n") < 10
        text = printed(code).split("(")[-1].replace("[", " ").replace("]", " ")
        numbers = [
            float(n)
            for n in text.split(", shape")[0].split()
            if n[-1].isdigit() or n[-1] == "."
        ]
        want = np.ravel(getattr(outcome, aspect))
        if case.path == "eager":
            np.testing.assert_allclose(numbers, want, rtol=1e-5, atol=1e-7)


def test_a_snippet_is_shrunk(here, build_options):
    """Between a Keras and one whose Huber doubles, one element shows it."""
    (case,) = [case for case in cases.corpus() if case.id == CASE]
    change = diff.Change(f"keras:{CASE}", "Huber", "value", "semantic", 1.0, 2.0)
    built = venvs.build(["x"], build_options)

    class RecordRunner:
        def run(self, environment, arguments):
            with open(arguments[-1]) as file:
                codes = json.load(file)
            said = [printed(code) for code in codes]
            if environment is not built:  # the other Keras
                said = [str(2 * float(text)) for text in said]
            return "\n" + json.dumps(said)

    other = dataclasses.replace(built, variables={"OTHER": "1"})
    code, prints = bisect._shortest(change, RecordRunner(), [built, other])
    assert float(prints[1]) == pytest.approx(2 * float(prints[0]))
    assert len(code) < len(bisect._code(case, "value"))
    assert code.count("[[") == 2 and "], [" not in code  # one row is left
    assert printed(code) == prints[0]


def test_bisect_alone_loads_no_tensorflow():
    tools = os.path.dirname(versions_page.__file__)
    code = (
        f"import sys; sys.path.append({tools!r})\n"
        "from keras_losses_ref.conformance.parity import bisect\n"
        "import versions_page\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the page of versions -------------------------------------------------------------


def checked(keras, **verdicts):
    """The JSON of a check with one result for each of `verdicts`."""
    results = []
    for loss, (verdict, ledger) in verdicts.items():
        gone = verdict == "absent"
        answer = {"absent": "no such loss"} if gone else 1.0
        results.append(
            {
                "id": f"{loss}/x",
                "loss": loss,
                "aspect": "value",
                "verdict": "agree" if gone else verdict,
                "ledger": ledger,
                "ours": 1.0,
                "keras": answer,
                "oracle": 1.0,
            }
        )
    environment = {"keras": keras, "keras_package": "keras", "tensorflow": "2.21.0"}
    return {
        "environment": environment,
        "verdict": "conforms",
        "counts": {},
        "coverage": {loss: {"cases": 1} for loss in verdicts},
        "results": results,
    }


def test_the_page_of_versions(tmp_path, monkeypatch):
    folder = tmp_path / "versions"
    runs = {
        "new": checked("3.15.1", Huber=("agree", None), Dice=("ledger", "dice-swaps")),
        "old": checked("3.4.1", Huber=("unexplained", None), Dice=("absent", None)),
    }
    monkeypatch.setitem(versions_page._SENTENCES, "dice-swaps", "Keras swaps")
    for name, document in runs.items():
        found = tmp_path / "check.json"
        found.write_text(json.dumps(document))
        versions_page.main(["add", str(folder), name, str(found)])
    versions_page.main(["page", str(folder)])
    text = (folder / "README.md").read_text(encoding="utf-8")
    rows = text.splitlines()
    start = next(i for i, row in enumerate(rows) if row.startswith("| Keras |"))
    assert rows[start : start + 5] == [
        '| Keras | [3.15](new.json "Keras 3.15.1: conforms") '
        '| [3.4](old.json "Keras 3.4.1: conforms") |',
        "|---|:-:|:-:|",
        "| on TensorFlow | 2.21 | 2.21 |",
        '| `Dice` | [🔶1](#dice "Keras swaps") | ⬜ |',
        '| `Huber` | 🟩 | [🟥](#huber "not in the ledger") |',
    ]
    entry = "[`dice-swaps`](../deviations.md#dice-swaps)"
    assert f"### Dice\n\n- {entry}, Keras 3.15.1: Keras swaps\n" in text
    assert "### Huber\n\n- 🟥 not in the ledger, Keras 3.4.1\n" in text
    failed = json.loads((folder / "old.json").read_text())["failed"]
    assert failed == [{"id": "Huber/x", "aspect": "value", "verdict": "unexplained"}]


def compared(old, new, *found):
    """The JSON of a comparison with one change for each of `found`."""
    changes_ = [
        {
            "id": identifier,
            "implementation": identifier.partition(":")[0],
            "aspect": aspect,
            "kind": kind,
            "explained_by": why,
            "of_interface": "[" not in identifier,
        }
        for identifier, aspect, kind, why in found
    ]
    sides = [
        {"keras": keras, "keras_package": "keras", "tensorflow": "2.21.0"}
        for keras in (old, new)
    ]
    return {
        "old": sides[0],
        "new": sides[1],
        "counts": {"same": 7},
        "changes": changes_,
    }


def test_the_page_says_what_changed(tmp_path):
    folder = tmp_path / "versions"
    found = (
        ("keras:huber/a[x] value", "value", "semantic", "huber-b, huber-a"),
        ("keras:huber/b[x] value", "value", "semantic", "masked-mean-divisor"),
        ("keras:huber/c[x] value", "value", "semantic", None),
        ("ours:huber/d[x] value", "value", "semantic", None),
        ("keras:huber/e[x] value", "value", "rounding", None),
        ("keras:Huber default of delta", "default of delta", "semantic", None),
        ("keras:Dice public name", "public name", "added", None),
    )
    steps = {"b": compared("3.4.1", "3.15.1", *found), "a": compared("3.0.5", "3.4.1")}
    for document in steps.values():
        path = tmp_path / "compare.json"
        path.write_text(json.dumps(document))
        versions_page.main(["change", str(folder), str(path)])
    name = "changes/tf2.21.0-keras3.4.1..tf2.21.0-keras3.15.1.json"
    kept = json.loads((folder / name).read_text())
    assert kept["unexplained"] == ["keras:huber/c[x] value", "ours:huber/d[x] value"]
    versions_page.main(["page", str(folder)])
    assert kept["rules"] == {"masked-mean-divisor": 1}
    rows = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    start = rows.index("| Keras | TensorFlow | what changed | names |")
    assert rows[start + 2].endswith(" | 2.21.0 | 🟩 |  |")
    assert rows[start + 2].startswith("| [3.0.5 → 3.4.1](changes/")
    assert rows[start + 3] == (
        f"| [3.4.1 → 3.15.1]({name}) | 2.21.0 | 🟥 1 answer<br>🔶 1 answer: "
        "`huber-a`, `huber-b`<br>🔷 1 answer: `masked-mean-divisor`<br>"
        "1 arguments, defaults or errors | + `Dice` |"
    )


def test_the_page_is_up_to_date():
    folder = Path(__file__).parents[2] / "docs" / "versions"
    if not (folder / "README.md").exists():
        pytest.skip("docs/versions has not been generated: nox -s versions")
    assert versions_page.page(folder) == (folder / "README.md").read_text(
        encoding="utf-8"
    )


def test_options_keep_their_older_spelling():
    parse = cli._parser().parse_args
    for option in ("--intermediate", "--between"):
        assert parse(["compare", "a", "b", option, "c"]).intermediate == "c"
    for option in ("--isolate-tensorflow", "--apart"):
        assert parse(["upgrade", "a", "b", option]).isolate_tensorflow
    assert not parse(["upgrade", "a", "b"]).isolate_tensorflow
