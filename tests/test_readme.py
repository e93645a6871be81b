"""What the README says is what happens."""

import doctest
import pathlib
import re
import shlex

import pytest

from keras_losses_ref import cli
from keras_losses_ref.losses import host

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_the_python_blocks_print_what_they_say():
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted >= 15
    assert result.failed == 0


def test_the_two_commands_stand_on_the_first_screen():
    head = README.read_text(encoding="utf-8").split("\n")[:15]
    blocks = [line for line in head if line.startswith("pip install")]
    assert len(blocks) == 2
    assert blocks[0].endswith("keras-losses-ref check")
    assert blocks[1].endswith("python -m pytest")


def test_the_extras_it_names_exist():
    project = (README.parent / "pyproject.toml").read_text(encoding="utf-8")
    extras = set(re.findall(r"^([a-z-]+) = \[", project, re.MULTILINE))
    named = re.findall(r'pip install "\.\[([a-z,-]+)\]"', README.read_text("utf-8"))
    assert named
    for extra in ",".join(named).split(","):
        assert extra in extras


def test_the_failure_it_shows_is_the_one_that_is_printed(monkeypatch, capsys):
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


def test_the_report_on_a_custom_loss_is_the_one_that_is_printed(
    tmp_path, monkeypatch, capsys
):
    text = README.read_text(encoding="utf-8")
    section = text[text.index("## Checking your own loss") :]
    code, report = (
        re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1]
        for kind in ("python", "text")
    )
    (tmp_path / "my_losses.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    argv = shlex.split(re.search(r"keras-losses-ref (check my_losses.*)", section)[1])
    assert cli.main(argv) == cli.DIFFERENCE
    printed = capsys.readouterr().out
    if host.GENERATION == 3:
        for line in report.splitlines():
            assert line in printed


def shown_commands():
    """Every `keras-losses-ref ...` line of the README's shell and YAML blocks."""
    text = README.read_text("utf-8")
    blocks = re.findall(r"```(?:sh|yaml)\n(.*?)```", text, re.DOTALL)
    for line in "\n".join(blocks).splitlines():
        for found in re.findall(r"keras-losses-ref [a-z][^#&]*", line):
            yield found.strip()


@pytest.mark.parametrize("line", sorted(set(shown_commands())))
def test_the_commands_it_shows_are_understood(line):
    words = shlex.split(line)[1:]
    assert cli._parser().parse_args(words).command
