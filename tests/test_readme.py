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
import readme_tables

from keras_losses_ref import cli
from keras_losses_ref.conformance import cases, checks
from keras_losses_ref.conformance.report import accuracy as accuracy_report
from keras_losses_ref.losses import compat

README = pathlib.Path(__file__).parent.parent / "README.md"
ROOT = README.parent


def blocks(kind, text=None):
    """The code blocks of a kind, in order."""
    text = text or README.read_text("utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.M | re.S)


def test_every_block_is_run_by_a_test_here():
    kinds = re.findall(r"^```(\w+)$", README.read_text("utf-8"), flags=re.M)
    # python: doctests, then the loss of one's own and its decorator. sh: parsed.
    assert set(kinds) == {"python", "sh", "console", "text", "yaml"}
    assert [">>>" in block for block in blocks("python")] == [True] * 2 + [False] * 2
    for kind, number in (("console", 1), ("text", 1), ("yaml", 1)):
        assert kinds.count(kind) == number


@pytest.mark.skipif(compat.GENERATION == 2, reason="the ledger's names are of Keras 3")
def test_the_tables_are_those_that_are_printed():
    text = README.read_text("utf-8")
    print_again = "python docs/tools/readme_tables.py README.md docs"
    assert readme_tables.printed(text, ROOT / "docs") == text, print_again
    for loss in cases.HANDWRITTEN:
        assert text.count(f"| [`{loss}`](docs/losses.md#{loss.lower()}) |") == 1
        assert text.count(f"| `{loss}` | ") >= 1  # in the table of accuracy


def test_a_table_that_is_not_current_is_printed_again():
    text = README.read_text("utf-8")
    old = text.replace("| [`CTC`](docs/losses.md#ctc) |", "| [`CDC`](nowhere.md) |")
    old = old.replace("| `Huber` | 0.5 / ", "| `Huber` | 0.4 / ")
    assert old != text and readme_tables.printed(old, ROOT / "docs") != old
    with pytest.raises(ValueError, match="no place for the table 'accuracy'.*markers"):
        readme_tables.printed(text.replace("<!-- accuracy: ", "<!-- "), ROOT / "docs")


def test_accuracy_claimed_is_that_of_the_atlas():
    rows = accuracy_report.load(ROOT / "docs" / "atlas")["cells"]

    def worst(*dtypes):
        found = max(row.ours[0] for row in rows if row.dtype in dtypes)
        return accuracy_report.number(found)

    half, single = worst("float16", "bfloat16"), worst("float32")
    claim = f"{half} ulp in float16 and bfloat16, at most {single} ulp in float32"
    assert claim in README.read_text("utf-8")


def test_python_blocks_print_what_they_show():
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted >= 15
    assert result.failed == 0


def test_readme_is_short():
    assert len(README.read_text("utf-8").splitlines()) <= 450


def test_readme_opens_with_the_two_commands():
    head = README.read_text(encoding="utf-8").split("\n")[:15]
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
    """Half the mean squared error, planted, must print the README's block."""
    from keras_losses_ref import losses

    base = losses.MeanSquaredError

    def half(self, y_true, y_pred):
        return 0.5 * base.call(self, y_true, y_pred)

    broken = type("MeanSquaredError", (base,), {"call": half})
    monkeypatch.setattr(losses, "MeanSquaredError", broken)
    text = README.read_text(encoding="utf-8")
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


def test_console_session_goes_as_shown(my_losses, capsys):
    (session,) = blocks("console")
    commands = re.split(r"^\$ ", session, flags=re.M)[1:]
    assert [command.split()[0] for command in commands] == ["keras-losses-ref", "echo"]
    (line, *report), (_, code) = (command.splitlines() for command in commands)
    assert cli.main(shlex.split(line)[1:]) == int(code)
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
    shown = re.findall(r"^FAIL RarePositives/(\w+)", blocks("console")[0], re.M)
    assert shown
    done = run_pytest(my_losses, "-rf", "-k", " or ".join([*shown, "gradient_exists"]))
    assert done.returncode == 1, done.stdout + done.stderr
    tests = int(re.search(r"collected (\d+) items", done.stdout)[1])
    assert tests == len(checks.CHECKS)
    assert f"one test of each of {tests} checks" in README.read_text("utf-8")
    for check in shown:
        assert (
            f"FAILED test_own.py::test_my_losses[RarePositives-{check}]" in done.stdout
        )
    assert f"{len(shown)} failed, 1 passed, {tests - len(shown) - 1} des" in done.stdout


def test_pytest_option_shown_selects_cases(tmp_path):
    # The other one, --pyargs, has its test in test_plugin.py.
    (line,) = re.findall(r"^pytest (--losses-ref[^#\n]*)", "".join(blocks("sh")), re.M)
    done = run_pytest(tmp_path, *shlex.split(line), "--collect-only", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"::(\w+)::\w+/\w+\[float16,.*eager\]$", done.stdout, re.M)
    assert set(found) == {"Huber", "CTC"}


def test_ci_steps_shown_work(tmp_path, monkeypatch):
    """The YAML's lines, on few cases: a record, a comparison, a summary."""
    steps = re.findall(r"run: (.*)", blocks("yaml")[0])
    assert [shlex.split(step)[0] for step in steps] == [
        *("pip", "keras-losses-ref", "keras-losses-ref", "cat"),
    ]
    (extra,) = re.findall(r"keras-losses-ref\[([a-z]+)\]", steps[0])
    assert f"{extra} = [" in (ROOT / "pyproject.toml").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    few = ["--case", "huber/documented*", "--path", "eager"]
    assert cli.main(["record", "losses.json", *few]) == cli.OK
    pathlib.Path("accepted.txt").write_text("# nothing yet\n")
    record, compare = (shlex.split(step)[1:] for step in steps[1:3])
    assert cli.main([*record, *few]) == cli.OK
    assert cli.main(compare) == cli.OK
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    subprocess.run(["sh", "-c", steps[3]], check=True)
    assert "keras-losses-ref" in pathlib.Path("summary").read_text("utf-8")


def shown_commands():
    """Every `keras-losses-ref ...` line of the README's shell and YAML blocks."""
    text = "".join(blocks("sh") + blocks("yaml"))
    for found in re.findall(r"keras-losses-ref [a-z][^#&\n]*", text):
        yield found.strip()


@pytest.mark.parametrize("line", sorted(set(shown_commands())))
def test_commands_shown_are_understood(line):
    arguments = cli._parser().parse_args(shlex.split(line)[1:])
    assert arguments.command
    if "bisect" in line:
        assert arguments.id in {case.id for case in cases.corpus(full=False)}


def test_nox_sessions_shown_exist():
    noxfile = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    there = {n.name for n in noxfile.body if isinstance(n, ast.FunctionDef)}
    text = "".join(blocks("sh"))
    shown = re.findall(r"nox -s((?: \w[\w-]*)+)", text)
    named = {name.replace("-", "_") for names in shown for name in names.split()}
    assert {"tests", "lint", "docs", "docs_pages", "atlas"} <= named <= there
