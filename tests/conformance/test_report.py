"""Every style of report states the whole result; the page is looked at in a browser."""

import dataclasses
import html.parser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorflow as tf

import keras_losses_ref
from keras_losses_ref import cli, losses
from keras_losses_ref.conformance import (
    cases,
    check,
    checks,
    deviations,
    report,
    runners,
)
from keras_losses_ref.conformance.parity import upgrade
from keras_losses_ref.conformance.report import (
    deviations as deviations_report,
    html_page,
    plots,
)
from keras_losses_ref.conformance.report.summary import known
from keras_losses_ref.losses import compat

ROOT = Path(keras_losses_ref.__file__).parents[1]

#: A part of the corpus with all there is to report: a few paths, dtypes, arguments and
#: reductions, and under Keras 3 an entry of the ledger.
PATTERNS = ["huber/delta_small*", "huber/delta_*zero*", "huber/scalar_weight_no_mask*"]
PATTERNS += ["mean_squared_error/documented*"]


class _Halved(losses.Huber):
    """Half of what it should be."""

    def call(self, y_true, y_pred):
        return 0.5 * super().call(y_true, y_pred)


@pytest.fixture(scope="module")
def result():
    """A run in which ours is wrong, the ledger shows, and a reduction is missing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "Huber", type("Huber", (_Halved,), {}))
        patch.setattr(
            compat, "REDUCTIONS", ("sum_over_batch_size", "sum", "none", None)
        )
        chosen = check.select(patterns=PATTERNS, dtypes=["float32"], paths=["eager"])
        return check.check(chosen)


@pytest.fixture(scope="module")
def pages(result):
    return report.render(result, "html")


def test_the_run_has_all_there_is_to_report(result):
    number = result.counts()
    assert not result.ok
    assert number["agree"] > 0 and number["ours_wrong"] > 5 and number["skipped"] > 0
    assert number["ledger"] > 0 or compat.GENERATION == 2
    assert sum(number.values()) == len(result.results)


@pytest.mark.parametrize("style", report.STYLES)
def test_every_style_states_verdict_coverage_and_skips(result, pages, style):
    shown = pages if style == "html" else report.render(result, style, verbose=True)
    words = re.sub(r"\W+", " ", shown)
    assert "deviates" in words.lower() or style == "junit"
    for stated in (
        tf.__version__,
        compat.VERSION,
        "huber/delta_small[float32,sum_over_batch_size,eager]",
        "has no reduction",
        "delta",
        "CPU:0",
        "sum_over_batch_size",
        "eager",
    ):
        assert stated in shown.replace("&#39;", "'").replace("\\'", "'"), stated


def test_text_has_the_verdict_first_and_no_plain_agreement(result):
    lines = report.render(result, "text").splitlines()
    assert lines[0] == report.summary(result).partition(", CPU: ")[0] + ", CPU"
    assert f"{result.counts()['agree']} agree" in lines[1]
    for absent in ("Covered", "Results, loss by loss"):
        assert not any(line.startswith(absent) for line in lines)
    assert sum(line.startswith("FAIL ") for line in lines) == len(result.failures)
    # One line an entry of the ledger, with the number of its cases.
    for entry, _ in known(result).items():
        cases = {r.id for r in result.results if r.deviation == entry.id}
        (line,) = [line for line in lines if f" {entry.id} " in line]
        assert int(line.split()[0]) == len(cases) and len(line) <= 80
    reason = next(line for line in lines if "has no reduction" in line)
    assert int(reason.split()[0]) > 0


@pytest.mark.parametrize("verbose", [False, True])
def test_text_breaks_no_word_at_80_columns(result, verbose):
    shown = report.render(result, "text", verbose=verbose)
    inside = False
    for line in shown.splitlines():
        inside = line.startswith("FAIL ") or inside and bool(line)
        if not inside:  # a failure has lines of its own, with ids to paste
            assert len(line) <= 80 or " " not in line.strip(), line
    words = set(shown.split())
    for loss in result.by_loss():
        assert {loss, f"{loss}:"} & words or not verbose


def test_coverage_leaves_out_what_was_skipped(result):
    covered = report.coverage(result)["Huber"]
    assert "mean" not in covered["reductions"]
    assert covered["arguments"] == ["delta"]
    assert covered["paths"] == ["eager"] and covered["dtypes"] == ["float32"]
    assert covered["devices"] == ["CPU:0"]
    ran = {r.id for r in result.results if r.loss == "Huber" and not r.skipped}
    assert covered["cases"] == len(ran)


def test_every_skip_has_a_reason_and_is_counted(result):
    rows = report.skips(result)
    assert sum(number for *_, number, _ in rows) >= result.counts()["skipped"] > 0
    assert all(reason for reason, *_ in rows)
    reductions = {r.case.reduction for r in result.skipped}
    assert reductions <= {"mean", "mean_with_sample_weight"}


def test_json_is_what_a_program_needs(result):
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    document = json.loads(report.render(result, "json"), parse_constant=refuse)
    assert set(document) == {
        "schema",
        "environment",
        "verdict",
        "counts",
        "coverage",
        "skipped",
        "left_out",
        "results",
    }
    assert document["schema"] == 1 and document["verdict"] == "deviates"
    assert document["counts"] == result.counts()
    kinds = {"id", "loss", "aspect", "verdict", "ours", "keras", "oracle", "ulp"}
    assert all(kinds | {"ledger", "reason"} == set(r) for r in document["results"])
    verdicts = {r["verdict"] for r in document["results"]}
    assert "agree" not in verdicts and "ours_wrong" in verdicts
    everything = json.loads(report.render(result, "json", everything=True))
    assert len(everything["results"]) == len(result.results)


def test_json_floats_round_trip(result):
    document = json.loads(report.render(result, "json", everything=True))
    for plain, verdict in zip(document["results"], result.results):
        if verdict.aspect == "value" and not verdict.skipped:
            assert np.array_equal(
                np.asarray(plain["oracle"], float), verdict.oracle.value, equal_nan=True
            )


def test_markdown_fits_a_comment(result):
    many = report.Report(result.results * 40, result.environment)
    shown = report.render(many, "md")
    assert len(many.failures) > 200
    assert len(shown) < 65_536
    assert re.search(r"\.\.\. and \d+ more\.", shown)
    tables = [line for line in shown.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    assert shown.count("<details>") == shown.count("</details>") == 2


def test_junit_says_why_a_test_was_skipped(result):
    suites = ElementTree.fromstring(report.render(result, "junit"))
    suite = suites.find("testsuite[@name='Huber']")
    skipped = suite.findall("testcase/skipped")
    assert len(skipped) == int(suite.get("skipped")) > 0
    assert all("has no reduction" in test.get("message") for test in skipped)
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["arguments"] == "delta"
    assert int(properties["ours_wrong"]) > 0


# --- the page -------------------------------------------------------------------------


class _Reader(html.parser.HTMLParser):
    """Reads a page as a browser would, and refuses what is not closed."""

    VOID = {"meta", "link", "br", "hr", "img"}

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], {}

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        for name in ("src", "href", "xlink:href", "data", "srcset", "poster"):
            if name in attributes:
                self.links.append((tag, attributes[name]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> in {self.open}"
        self.open.pop()

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_data(self, data):
        for tag in self.open:
            self.text[tag] = self.text.get(tag, "") + data


@pytest.fixture(scope="module")
def read(pages):
    reader = _Reader()
    reader.feed(pages)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_whole(result, pages, read):
    sections = [a["id"] for tag, a in read.tags if tag == "section"]
    assert {"losses", "failures", "errors", "skipped", "coverage"} <= set(sections)
    for failure in result.failures:
        assert failure.id in read.text["pre"]
    assert read.text["pre"].count("verdict: ours is wrong") == len(result.failures)
    numeric = [f for f in result.failures if f.aspect in ("value", "gradient")]
    pictures = [a["aria-label"] for tag, a in read.tags if tag == "svg"]
    assert len(pictures) == 1 + min(len(numeric), 20)
    assert pages.isascii() or 'charset="utf-8"' in pages


def test_the_page_needs_nothing_from_elsewhere(pages, read):
    assert not [tag for tag, _ in read.tags if tag in ("script", "iframe", "img")]
    for tag, link in read.links:
        assert tag == "a" or link.startswith(("#", "data:")), (tag, link)
    assert not re.search(r"@import|url\((?!#)", pages)


def test_the_page_of_the_whole_corpus_stays_small(result):
    """Hundreds of failures are cut, and say so."""
    copies = [dataclasses.replace(r) for _ in range(100) for r in result.results]
    many = report.Report(copies, result.environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "curve", lambda *_: ("<svg></svg>", "A CURVE"))
        shown = report.render(many, "html")
    assert len(shown) < 1_000_000
    assert re.search(r"And \d+ more", shown)
    assert shown.count("A CURVE") == 20


def test_failures_are_shown_from_each_loss_in_turn():
    class Result:
        def __init__(self, loss, number):
            self.loss, self.number = loss, number

    results = [Result("A", i) for i in range(9)] + [Result("B", i) for i in range(2)]
    chosen = [(r.loss, r.number) for r in html_page.spread(results, 5)]
    assert chosen == [("A", 0), ("A", 1), ("A", 2), ("B", 0), ("B", 1)]


def test_a_curve_shows_the_three_around_the_failing_point(result):
    failure = next(f for f in result.failures if f.aspect == "gradient")
    picture, caption = plots.curve(failure, result.outcomes)
    ElementTree.fromstring(picture)
    for line in ("ours", "keras", "oracle", "bad"):
        assert f"var(--{line})" in picture
    assert f"y_pred{list(failure.difference.index)}" in picture
    assert "float32" in caption
    # Drawn over 61 points on both sides of the point that failed.
    at = float(failure.case.y_pred[failure.difference.index])
    assert plots.around(at)[0] < at < plots.around(at)[-1]
    assert len(plots.around(at)) == len(plots.around(0.0)) == 61


def test_a_value_is_varied_where_its_gradient_is_largest(result):
    failure = next(f for f in result.failures if f.aspect == "value")
    index = plots._element(failure)
    gradient = np.abs(failure.oracle.gradient)
    assert gradient[index] == gradient.max()


def test_a_failing_point_at_infinity_has_no_curve(result):
    failure = next(f for f in result.failures if f.aspect == "value")
    nowhere = np.full_like(failure.case.y_pred, np.inf)
    case = dataclasses.replace(failure.case, y_pred=nowhere)
    picture, caption = plots.curve(
        dataclasses.replace(failure, case=case), result.outcomes
    )
    assert picture is None and "finite" in caption


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_extra_there_is_one_clear_line(
    missing, monkeypatch, capsys, tmp_path
):
    monkeypatch.setitem(sys.modules, missing, None)
    # Said before the work, not after it.
    monkeypatch.setattr(check, "check", None)
    target = tmp_path / "report.html"
    argv = ["check", "--case", "mean_squared_error/documented*", "--path", "eager"]
    argv += ["--format", "html"]
    assert cli.main([*argv, "--output", str(target)]) == cli.USAGE
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert missing in said and "keras-losses-ref[html]" in said
    assert not target.exists()


def test_an_upgrade_says_at_once_that_the_extra_is_missing(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setattr(upgrade, "upgrade", None)
    for asked in (["--html", str(tmp_path / "report.html")], ["--format", "html"]):
        argv = ["upgrade", "tensorflow==1", "tensorflow==2", *asked]
        assert cli.main(argv) == cli.USAGE
        assert "keras-losses-ref[html]" in capsys.readouterr().err


# --- in a browser ---------------------------------------------------------------------


def _browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = [shutil.which(name) for name in (os.environ.get("CHROME", ""), *names)]
    return next(filter(None, found), None)


#: Measures a page in frames of two widths, and puts what it finds into the title.
_MEASURE = """<!doctype html><body><script>
const widths = [1200, 400], found = [];
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  frame.srcdoc = PAGE;
  frame.onload = () => {
    const page = frame.contentDocument, view = frame.contentWindow;
    const size = node => parseFloat(view.getComputedStyle(node).fontSize);
    const box = node => node.getBoundingClientRect();
    const words = [...page.querySelectorAll("h1,h2,h3,p,td,th,pre,dd,dt")];
    const labels = [...page.querySelectorAll("svg text")];
    const hidden = words.filter(n => n.innerText.trim() && !box(n).height).length;
    const blocks = [...page.querySelectorAll("body > *,section,h1,h2,h3,p,pre,dl")];
    const outside = blocks.filter(
      node => box(node).right > width + 1 || node.scrollWidth > node.clientWidth + 1
    ).length;
    found.push({
      width, hidden, outside,
      overflow: page.documentElement.scrollWidth - width,
      smallest: Math.min(...words.map(size)),
      label: Math.min(...labels.map(node => box(node).height)),
      pictures: page.querySelectorAll("svg").length,
      rows: page.querySelectorAll("#losses tbody tr").length,
      ink: view.getComputedStyle(page.body).color,
      paper: view.getComputedStyle(page.body).backgroundColor,
    });
    if (found.length == widths.length) document.title = JSON.stringify(found);
  };
  document.body.append(frame);
}
</script>"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """A function that opens a file in a headless browser: (its DOM, what it said)."""
    browser = _browser()
    if browser is None:
        pytest.skip("no browser: install chromium, or set CHROME to one")

    def browse(path):
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
            path.as_uri(),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, errors="replace"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return browse


def test_a_browser_renders_the_page_without_complaint(tmp_path, pages, browse):
    target = tmp_path / "report.html"
    target.write_text(pages, encoding="utf-8")
    shown, said = browse(target)
    assert "CONSOLE" not in said, said
    assert shown.count("<svg") == pages.count("<svg")
    assert shown.count("<tr") == pages.count("<tr")
    assert shown.count("<section") == pages.count("<section")


def test_a_browser_would_say_what_the_page_loads(tmp_path, pages, browse):
    """The page forbids itself to load anything: else its complaint would be seen."""
    body = '<body><img src="https://example.org/x.png">'
    target = tmp_path / "report.html"
    target.write_text(pages.replace("<body>", body), encoding="utf-8")
    assert "CONSOLE" in browse(target)[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page_legibly_wide_and_narrow(
    tmp_path, result, pages, browse, scheme
):
    # What a frame of its own size sees; "</" would end the script.
    quoted = json.dumps(pages).replace("</", "<\\/")
    if scheme == "dark":
        quoted = quoted.replace("(prefers-color-scheme: dark)", "all")
    target = tmp_path / "measure.html"
    target.write_text(_MEASURE.replace("PAGE", quoted), encoding="utf-8")
    shown, said = browse(target)
    title = re.search(r"<title>(.*?)</title>", shown, re.DOTALL)
    assert title, said
    found = json.loads(html.unescape(title[1]))
    assert sorted(seen["width"] for seen in found) == [400, 1200]
    for seen in found:
        assert seen["overflow"] <= 0 and seen["outside"] == 0, seen
        assert seen["hidden"] == 0, seen
        assert seen["smallest"] >= 12 and seen["label"] >= 9, seen
        assert seen["pictures"] == pages.count("<svg")
        assert seen["rows"] == len(result.by_loss())
        ink, paper = (
            sum(map(int, re.findall(r"\d+", seen[name])[:3]))
            for name in ("ink", "paper")
        )
        assert (ink < paper) == (scheme == "light")
        assert abs(ink - paper) > 400


# --- a loss of the user's own ---------------------------------------------------------


class MyLoss(compat.keras.losses.Loss):
    """As Keras's page on custom losses has it, with an argument it forgets to save."""

    def __init__(self, power=2.0, name="my_loss"):
        super().__init__(name=name)
        self.power = power

    def call(self, y_true, y_pred):
        error = tf.abs(tf.cast(y_true, y_pred.dtype) - y_pred)
        return tf.reduce_mean(error**self.power, axis=-1)


@pytest.fixture
def quick(monkeypatch):
    real = checks.check_loss
    names = [name for name in checks.CHECKS if "config" in name or name == "runs"]
    assert len(names) > 1

    def check_loss(loss, **kwargs):
        return real(loss, checks=names, **kwargs)

    monkeypatch.setattr(checks, "check_loss", check_loss)
    monkeypatch.setattr(checks, "load_target", lambda target: MyLoss)
    return names


@pytest.mark.parametrize("style", report.STYLES)
def test_a_loss_of_ones_own_is_reported_in_every_style(quick, capsys, style):
    argv = ["check", "mine:MyLoss", "--domain", "real", "--format", style]
    assert cli.main(argv) == cli.DIFFERENCE
    shown = capsys.readouterr().out
    for stated in ("MyLoss", "power", tf.__version__, "real"):
        assert stated in shown
    if style == "json":
        document = json.loads(shown)
        assert document["verdict"] == "deviates" and document["counts"]["failed"] > 0
        failed = [r for r in document["results"] if r["verdict"] == "failed"]
        assert all(r["law"] and r["remedy"] and r["reason"] for r in failed)
        assert set(document["coverage"]["MyLoss"]["checks"]) <= set(quick)
    if style == "html":
        reader = _Reader()
        reader.feed(shown)
        assert reader.open == []
    if style == "junit":
        suite = ElementTree.fromstring(shown).find("testsuite")
        assert int(suite.get("tests")) == len(quick)
        assert int(suite.get("failures")) > 0


@pytest.mark.parametrize(
    "options", [["--path", "xla"], ["--full"], ["--device", "GPU:0"], ["--jobs", "2"]]
)
def test_what_does_not_go_with_a_loss_of_ones_own_is_refused(options, capsys):
    assert cli.main(["check", "mine:MyLoss", *options]) == cli.USAGE
    assert options[0] in capsys.readouterr().err


def test_a_domain_does_not_go_with_a_loss_of_keras(capsys):
    assert cli.main(["check", "Huber", "--domain", "real"]) == cli.USAGE
    assert "--domain real" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--with", "--declare", "--expect", "--checks"])
def test_what_goes_with_ones_own_loss_does_not_go_with_one_of_keras(option, capsys):
    assert cli.main(["check", "Huber", option, "power=2"]) == cli.USAGE
    assert f"{option} power=2" in capsys.readouterr().err


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "powers.py").write_text(
        "import numpy as np\n"
        "import tensorflow as tf\n"
        "class Power(tf.keras.losses.Loss):\n"
        "    def __init__(self, power, name='power', **kwargs):\n"
        "        super().__init__(name=name, **kwargs)\n"
        "        self.power = power\n"
        "    def call(self, y_true, y_pred):\n"
        "        return tf.reduce_mean((y_true - y_pred) ** self.power, axis=-1)\n"
        "def draw(rng, n):\n"
        "    return rng.normal(size=(n, 2)), rng.normal(size=(n, 2))\n"
        "number = 3\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "powers:Power"


def test_what_the_command_gives_a_loss_of_ones_own(own_module, capsys):
    argv = ["check", own_module, "--domain", "powers:draw", "--format", "json"]
    argv += ["--with", "power=3", "--declare", "non_negative"]
    argv += ["--checks", "runs,non_negative_as_claimed"]
    argv += ["--checks", "config_holds_every_argument"]
    argv += ["--expect", "config_holds_every_argument=kept for old files"]
    assert cli.main(argv) == cli.DIFFERENCE
    document = json.loads(capsys.readouterr().out)
    assert document["environment"]["domain"] == "draw"
    found = {r["aspect"]: r["verdict"] for r in document["results"]}
    assert found == {
        "non_negative_as_claimed": "failed",  # a cube may be negative
        "config_holds_every_argument": "expected",
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--with power=..."),
        (["--with", "powr=2"], "cannot be built with powr=2"),
        (["--with", "power"], "takes NAME=VALUE"),
        (["--with", "power=2", "--expect", "runs"], "takes CHECK=REASON"),
        (["--with", "power=2", "--declare", "kinky"], "Unknown declaration: kinky"),
        (["--with", "power=2", "--domain", "powers:number"], "is a int"),
        (["--with", "power=2", "--domain", "reals"], "my_module:draw"),
    ],
)
def test_what_the_command_refuses_for_a_loss_of_ones_own(
    own_module, options, says, capsys
):
    code = cli.main(["check", own_module, *options])
    shown = capsys.readouterr()
    assert says in shown.out + shown.err
    assert code == (cli.USAGE if options else cli.DIFFERENCE)


def test_a_guess_is_said_first(own_module, capsys):
    argv = ["check", own_module, "--with", "power=2", "--checks", "runs"]
    assert cli.main(argv) == cli.OK
    head = " ".join(capsys.readouterr().out.partition("\n\n")[0].split())
    assert head.startswith("conforms: ")
    assert " guess: domain real, the first that gives values" in head


def test_two_losses_of_ones_own_are_one_report(quick, capsys):
    argv = ["check", "mine:MyLoss", "mine:MyLoss", "--domain", "real"]
    assert cli.main([*argv, "--format", "json"]) == cli.DIFFERENCE
    document = json.loads(capsys.readouterr().out)
    assert sum(document["counts"].values()) == 2 * len(quick)


# --- the ledger -----------------------------------------------------------------------


def test_the_page_of_deviations_is_up_to_date():
    written = ROOT / "docs" / "deviations.md"
    assert written.read_text(encoding="utf-8") == deviations_report.render(
        deviations.DEVIATIONS, "md"
    ), "print it again: nox -s docs-pages"


@pytest.mark.parametrize("style", deviations_report.STYLES)
def test_the_ledger_is_listed_whole(style, capsys):
    argv = ["list", "--deviations", "--format", style]
    assert cli.main(argv) == cli.OK
    shown = capsys.readouterr().out
    unescaped = shown.replace("\\|", "|").replace('\\"', '"')
    for entry in deviations.DEVIATIONS:
        assert entry.id in shown and entry.thread in shown
        assert entry.sentence in unescaped
    if style == "json":
        document = json.loads(shown)
        assert document["schema"] == 1
        assert len(document["deviations"]) == len(deviations.DEVIATIONS)
    if style == "md":
        rows = [line for line in shown.splitlines() if line.startswith("| `")]
        assert len(rows) == len(deviations.DEVIATIONS)


def test_a_format_without_a_ledger_is_a_usage_error(capsys):
    assert cli.main(["list", "--format", "md"]) == cli.USAGE
    assert "--deviations" in capsys.readouterr().err


# --- interrupted ----------------------------------------------------------------------

_SLOW_WRITE = """
import signal, sys, time
from keras_losses_ref import cli
from keras_losses_ref.conformance import files

# A shell has its background jobs ignore it, and what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Slow:
    def __init__(self, *args, **kwargs):
        self.file = open(*args, **kwargs)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.file.close()
    def write(self, text):
        self.file.write(text[: len(text) // 2])
        self.file.flush()
        print("half is written", flush=True)
        time.sleep(120)

files.open = Slow
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_a_real_ctrl_c_while_writing_leaves_the_file_as_it_was(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("before")
    argv = ["check", "--case", "mean_squared_error/documented*", "--path", "eager"]
    argv += ["--format", "json"]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW_WRITE, *argv, "--output", str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as child:
        try:
            assert child.stdout.readline() == "half is written\n"
            assert len(list(tmp_path.iterdir())) == 2  # the half, under its own name
            child.send_signal(signal.SIGINT)
            said = child.communicate(timeout=60)[1]
        finally:
            child.kill()
    assert child.returncode == cli.USAGE
    assert said.strip().endswith("interrupted; nothing was written")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert target.read_text() == "before"


# --- devices --------------------------------------------------------------------------


def test_an_unknown_device_is_a_usage_error_that_names_those_there_are(capsys):
    assert cli.main(["check", "Huber", "--device", "GPU:7"]) == cli.USAGE
    said = capsys.readouterr().err
    assert "'GPU:7'" in said and "CPU:0" in said and "all" in said


def test_a_gpu_is_asked_beside_the_cpu_and_named(monkeypatch, capsys):
    """Where TensorFlow finds none, it places on the CPU what is meant for the GPU."""
    monkeypatch.setattr(runners.load(), "devices", lambda: ["CPU:0", "GPU:0"])
    argv = ["check", "--device", "all", "--case", "huber/documented[float32*eager*]"]
    assert cli.main([*argv, "--format", "json", "--all"]) == cli.OK
    document = json.loads(capsys.readouterr().out)
    assert document["coverage"]["Huber"]["devices"] == ["CPU:0", "GPU:0"]
    assert document["environment"]["device"] == "CPU:0, GPU:0"
    ids = {result["id"] for result in document["results"]}
    assert "huber/documented[float32,none,eager]" in ids
    assert "huber/documented[float32,none,eager,GPU:0]" in ids


def test_by_default_a_gpu_is_asked_what_takes_minutes_and_the_rest_is_counted(
    monkeypatch, capsys
):
    monkeypatch.setattr(runners.load(), "devices", lambda: ["CPU:0", "GPU:0"])
    chosen = check.select(device="GPU:0")
    kept, left_out = check.for_gpu(chosen)
    assert len(kept) + sum(left_out.values()) == len(chosen)
    assert {case.loss for case in kept} == set(cases.HANDWRITTEN)
    assert {case.dtype for case in kept} == set(cases.DTYPES)
    assert {case.path for case in kept} == {"eager", "graph", "xla"}
    compiled = [case for case in kept if case.path == "xla" and "eager" in case.paths]
    assert len(compiled) == len(cases.HANDWRITTEN)  # one of each loss
    on_cpu = check.select(["Huber"])
    assert check.for_gpu(on_cpu) == (on_cpu, {})

    monkeypatch.setattr(check, "for_gpu", lambda cases: (cases[:1], {"the rest": 7}))
    for format in ("text", "json", "md", "html"):
        assert (
            cli.main(["check", "Huber", "--device", "GPU:0", "--format", format])
            == cli.OK
        )
        said = " ".join(capsys.readouterr().out.split())
        assert "the rest" in said and "7" in said
    argv = ["check", "Huber", "--device", "GPU:0", "--path", "reloaded"]
    assert cli.main(argv) == cli.OK
    assert "left out" not in capsys.readouterr().out.lower()


def test_a_gpu_has_one_process_beside_those_of_the_cpu(monkeypatch):
    monkeypatch.setattr(runners.load(), "devices", lambda: ["CPU:0", "GPU:0"])
    both = check.select(["Huber"], ["huber/documented[float32*eager*]"], device="all")
    shared = []
    monkeypatch.setattr(
        check,
        "_shared_out",
        lambda cases, jobs: shared.extend(cases) or check._verdicts(cases),
    )
    result = check.check(both, jobs=2)
    assert {case.device for case in shared} == {"CPU:0"}
    assert {verdict.case.device for verdict in result.results} == {"CPU:0", "GPU:0"}


def test_the_rerun_line_names_the_device(monkeypatch):
    monkeypatch.setattr(runners.load(), "devices", lambda: ["CPU:0", "GPU:0"])
    chosen = check.select(["Huber"], device="GPU:0", paths=["eager"])
    assert all(case.device == "GPU:0" for case in chosen)
    line = report.explained(
        check.check(chosen[:1]), check.check(chosen[:1]).results[0]
    ).splitlines()[-1]
    assert line.endswith(f"--case '{chosen[0].id}' --device GPU:0")
    assert check.select(["Huber"], [chosen[0].id], device="GPU:0") != []


def test_what_a_device_does_otherwise_is_a_case_of_its_own(monkeypatch):
    monkeypatch.setattr(runners.load(), "devices", lambda: ["CPU:0", "GPU:0"])
    loss = "SparseCategoricalCrossentropy"
    pattern = "sparse_categorical_crossentropy/label_too_high_*"
    asked = {
        (case.name, case.device.split(":")[0])
        for case in check.select([loss], [pattern], device="all")
    }
    assert asked == {
        ("label_too_high_in_graph", "CPU"),
        ("label_too_high_under_xla", "CPU"),
        ("label_too_high_under_xla", "GPU"),
        ("label_too_high_on_gpu", "GPU"),
    }


def test_another_device_than_the_first_is_really_used():
    code = (
        "import sys, tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "from keras_losses_ref.conformance import check\n"
        "from keras_losses_ref.conformance.runners import tensorflow as runner\n"
        "assert runner.devices() == ['CPU:0', 'CPU:1'], runner.devices()\n"
        "seen = set()\n"
        "real = runner._outcome\n"
        "def spy(value, *rest, **more):\n"
        "    seen.add(value.device.split('device:')[1])\n"
        "    return real(value, *rest, **more)\n"
        "runner._outcome = spy\n"
        "chosen = check.select(patterns=['huber/documented[float32,none,*'], "
        "paths=['eager'], device='CPU:1')\n"
        "assert check.check(chosen).ok and seen == {'CPU:1'}, seen\n"
    )
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


# --- what must fail does --------------------------------------------------------------


@pytest.mark.parametrize("corrupted", [(0.0, 0.0), (float("nan"), float("nan"))])
def test_a_corrupted_tolerance_fails_the_run(monkeypatch, capsys, corrupted):
    from keras_losses_ref.conformance import tolerance

    monkeypatch.setitem(tolerance.TOLERANCE["CPU"], "value", corrupted)
    argv = ["check", "LogCosh", "--path", "eager", "--dtype", "float32"]
    assert cli.main(argv) == cli.DIFFERENCE
    shown = capsys.readouterr().out
    assert "FAIL log_cosh/" in shown and " allowed; " in shown


def test_an_unmatched_entry_fails_the_command(monkeypatch, capsys):
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
    argv = ["check", "--case", "mean_squared_error/documented*", "--path", "eager"]
    assert cli.main(argv) == cli.DIFFERENCE
    shown = capsys.readouterr().out
    assert "ledger/made-up" in shown and "end the entry's versions before" in shown


def test_every_loss_is_among_the_names(capsys):
    assert cli.main(["list"]) == cli.OK
    assert capsys.readouterr().out.split() == list(cases.HANDWRITTEN)
