"""What the README says is what happens."""

import ast
import doctest
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
import readme_picture
import speed_page

from keras_losses_ref import cli
from keras_losses_ref.conformance import cases, checks, deviations
from keras_losses_ref.conformance.report import accuracy as accuracy_report
from keras_losses_ref.losses import compat

README = pathlib.Path(__file__).parent.parent / "README.md"
ROOT = README.parent
DOCS = ROOT / "docs"
#: What the README says about reports is told there at length.
READING = DOCS / "reading.md"


def blocks(kind, text=None):
    """The code blocks of a kind, in order."""
    text = text or README.read_text("utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.M | re.S)


def test_every_block_is_run_by_a_test_here():
    kinds = re.findall(r"^```(\w+)$", README.read_text("utf-8"), flags=re.M)
    # python: doctests, then the loss of one's own and its decorator. sh: parsed.
    assert set(kinds) == {"python", "sh", "console"}
    assert [">>>" in block for block in blocks("python")] == [True] * 2 + [False] * 2
    assert kinds.count("console") == 2


def prose():
    """The text without its line breaks."""
    return " ".join(README.read_text("utf-8").split())


def claims():
    """What stands above the picture."""
    return prose().split("![")[0]


def test_accuracy_claimed_is_that_of_the_atlas():
    rows = readme_picture.largest_errors(DOCS)
    far = sum(keras > 1e6 for _, _, keras in rows)
    largest = accuracy_report.number(max(ours for _, ours, _ in rows))
    assert f"is above 10⁶ units in the last place for {far} of {len(rows)}" in claims()
    assert f"ours is at most {largest} for every loss" in claims()


def test_speed_claimed_is_that_of_the_runs():
    runs, *_ = speed_page.load(DOCS / "speed")
    eager, graph, xla = (
        f"{speed_page.means(runs[:1], path)[0]:.1f} times"
        for path in ("eager", "graph", "xla")
    )
    assert f"is {eager} as fast as Keras's in eager mode" in claims()
    assert f"{graph} in a graph and {xla} under XLA" in claims()


def test_memory_claimed_is_that_of_the_measurement():
    _, memory, _ = speed_page.load(DOCS / "speed")
    # The y_pred of these two is small beside what any implementation of them needs.
    cells = [c for c in memory["memory"] if c["loss"] not in ("Circle", "CTC")]
    ours, keras = (max(cell[side] for cell in cells) for side in ("ours", "keras"))
    assert f"holds at most {ours:.1f} times `y_pred`, mostly 1.0, where" in claims()
    assert f"where Keras's holds up to {keras:.0f}" in claims()
    assert sum(cell["ours"] < 1.05 for cell in cells) > 0.7 * len(cells)


def test_number_of_deviations_is_that_of_the_list():
    assert f"{len(deviations.DEVIATIONS)} known deviations" in claims()


def test_picture_is_drawn_from_the_atlas(tmp_path):
    """The same numbers: the drawing itself depends on the version of matplotlib."""
    rows = readme_picture.largest_errors(DOCS)
    assert {row[0] for row in rows} < set(cases.HANDWRITTEN)
    (tmp_path / "atlas").symlink_to(DOCS / "atlas")
    readme_picture.save(tmp_path)
    drawn = (tmp_path / "accuracy.svg").read_text("utf-8")
    kept = (DOCS / "accuracy.svg").read_text("utf-8")
    dots = [
        re.findall(r'<use xlink:href="#\w+" x="([\d.]+)"', svg) for svg in (drawn, kept)
    ]
    assert len(dots[0]) >= 2 * len(rows) and len(dots[0]) == len(dots[1])


def test_python_blocks_print_what_they_show():
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted >= 15
    assert result.failed == 0


def test_readme_is_short():
    assert len(README.read_text("utf-8").splitlines()) <= 200


def test_readme_opens_with_the_two_commands():
    head = README.read_text(encoding="utf-8").split("\n")[:35]
    blocks = [line for line in head if line.startswith("pip install")]
    assert len(blocks) == 2
    assert blocks[0].endswith("keras-losses-ref check")
    assert blocks[1].endswith("python -m pytest")


def test_extras_named_exist():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = set(re.findall(r"^([a-z-]+) = \[", project, re.MULTILINE))
    named = re.findall(r'pip install "\.\[([a-z,-]+)\]"', README.read_text("utf-8"))
    assert named
    for extra in ",".join(named).split(","):
        assert extra in extras


def test_failure_shown_is_the_one_printed(monkeypatch, capsys):
    """Half the mean squared error, planted, must print the block of docs/reading.md."""
    from keras_losses_ref import losses

    base = losses.MeanSquaredError

    def half(self, y_true, y_pred):
        return 0.5 * base.call(self, y_true, y_pred)

    broken = type("MeanSquaredError", (base,), {"call": half})
    monkeypatch.setattr(losses, "MeanSquaredError", broken)
    text = READING.read_text(encoding="utf-8")
    block = text[text.index("FAIL mean_squared_error") :].split("\n```")[0]
    rerun = shlex.split(block.split("rerun: keras-losses-ref ")[1])
    assert cli.main(rerun) == cli.DIFFERENCE
    printed = capsys.readouterr().out
    for line in block.split("\n"):
        if not line.startswith("  TensorFlow"):  # the host's own
            assert line in printed


@pytest.fixture
def my_losses(tmp_path, monkeypatch):
    """A folder with the README's `my_losses.py`, from which modules are imported."""
    (code,) = (block for block in blocks("python") if "class RarePositives" in block)
    (tmp_path / "my_losses.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_losses", None)


@pytest.mark.parametrize("session", blocks("console"), ids=["keras", "own"])
def test_console_session_goes_as_shown(session, my_losses, capsys):
    commands = re.split(r"^\$ ", session, flags=re.M)[1:]
    line, *report = commands[0].splitlines()
    code = cli.main(shlex.split(line)[1:])
    if len(commands) == 2:
        assert commands[1].splitlines() == ["echo $?", str(code)]
    printed = capsys.readouterr().out.splitlines()
    if compat.GENERATION == 3:
        at = -1
        for line in report:  # in this order; "..." is what was left out
            at = at if line == "..." else printed.index(line, at + 1)


def run_pytest(folder, *arguments):
    """pytest in a process of its own, with this package's plugin alone."""
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    path = [str(ROOT), str(folder), os.environ.get("PYTHONPATH")]
    plugins = ["no:cacheprovider", "keras_losses_ref.pytest_plugin"]
    options = ["-c", "pytest.ini", *(word for p in plugins for word in ("-p", p))]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
    )


def test_decorator_makes_the_tests_shown(my_losses):
    (code,) = (block for block in blocks("python") if "@klr." in block)
    (my_losses / "test_own.py").write_text(code, encoding="utf-8")
    shown = re.findall(r"^FAIL RarePositives/(\w+)", blocks("console")[1], re.M)
    assert shown
    done = run_pytest(my_losses, "-rf", "-k", " or ".join([*shown, "gradient_exists"]))
    assert done.returncode == 1, done.stdout + done.stderr
    tests = int(re.search(r"collected (\d+) items", done.stdout)[1])
    assert tests == len(checks.CHECKS)
    assert f"one test for each of {tests} checks" in prose()
    for check in shown:
        assert (
            f"FAILED test_own.py::test_my_losses[RarePositives-{check}]" in done.stdout
        )
    assert f"{len(shown)} failed, 1 passed, {tests - len(shown) - 1} des" in done.stdout


def test_pytest_option_shown_selects_cases(tmp_path):
    # The other one, --pyargs, has its test in test_plugin.py.
    shown = "".join(blocks("sh", READING.read_text("utf-8")))
    (line,) = re.findall(r"^pytest (--losses-ref[^#\n]*)", shown, re.M)
    done = run_pytest(tmp_path, *shlex.split(line), "--collect-only", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"::(\w+)::\w+/\w+\[float16,.*eager\]$", done.stdout, re.M)
    assert set(found) == {"Huber", "CTC"}


def shown_commands():
    """Every `keras-losses-ref ...` line of the README's shell blocks."""
    text = "".join(blocks("sh"))
    for found in re.findall(r"keras-losses-ref [a-z][^#&\n]*", text):
        yield found.strip()


@pytest.mark.parametrize("line", sorted(set(shown_commands())))
def test_commands_shown_are_understood(line):
    assert cli._parser().parse_args(shlex.split(line)[1:]).command


def test_nox_sessions_shown_exist():
    noxfile = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    there = {n.name for n in noxfile.body if isinstance(n, ast.FunctionDef)}
    text = "".join(blocks("sh"))
    shown = re.findall(r"nox -s((?: \w[\w-]*)+)", text)
    named = {name.replace("-", "_") for names in shown for name in names.split()}
    assert {"tests", "lint", "docs_pages"} <= named <= there
