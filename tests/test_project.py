"""The files that other tools read about this project are valid and agree."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import keras_losses_ref as klr

ROOT = pathlib.Path(__file__).parent.parent
WORKFLOW = ROOT / ".github/workflows/tests.yml"
CITATION = ROOT / "CITATION.cff"


def assert_valid(*arguments):
    """Validate a file against its public schema, which check-jsonschema carries."""
    pytest.importorskip("check_jsonschema", reason="comes with the extra dev")
    command = [sys.executable, "-m", "check_jsonschema", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflow_is_valid():
    assert_valid("--builtin-schema", "vendor.github-workflows", WORKFLOW)


def test_citation_is_valid():
    assert_valid("--builtin-schema", "vendor.citation-file-format", CITATION)


def test_workflow_with_an_unknown_key_is_refused(tmp_path):
    broken = tmp_path / "tests.yml"
    text = WORKFLOW.read_text("utf-8").replace("runs-on:", "runs_on:")
    broken.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match="runs-on"):
        assert_valid("--builtin-schema", "vendor.github-workflows", broken)


def test_sessions_of_the_workflow_exist():
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    for session, host in re.findall(
        r'nox --session "?(\w+)(?:\((.*?)\))?', WORKFLOW.read_text("utf-8")
    ):
        assert f"def {session}(" in noxfile
        assert not host or f'"{host}":' in noxfile


def test_citation_and_changelog_name_a_release():
    version = re.search(r"^version: (.+)$", CITATION.read_text("utf-8"), re.M)[1]
    date = re.search(r'^date-released: "(.+)"$', CITATION.read_text("utf-8"), re.M)[1]
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{version}] - {date}" in changelog
    base = re.match(r"\d+\.\d+\.\d+", klr.__version__)[0]
    assert klr.__version__ == version or tuple(map(int, base.split("."))) > tuple(
        map(int, version.split("."))
    )


def python_files():
    for folder in ("keras_losses_ref", "tests", "docs"):
        yield from sorted((ROOT / folder).rglob("*.py"))
    yield ROOT / "noxfile.py"


def test_only_tables_are_kept_from_the_formatter():
    """A `fmt: skip` ends the assignment of a display, or a table of cases."""
    mark = "# fmt: " + "skip"
    for path in python_files():
        text = path.read_text("utf-8")
        lines = [n for n, row in enumerate(text.splitlines(), 1) if row.endswith(mark)]
        statements = [
            node
            for node in (ast.walk(ast.parse(text)) if lines else ())
            if isinstance(node, ast.stmt) and not hasattr(node, "body")
        ]
        for line in lines:
            around = [s for s in statements if s.lineno <= line <= s.end_lineno]
            (statement,) = around
            value = getattr(statement, "value", None)
            if isinstance(value, ast.Call):
                assert "cases" in path.parts, f"{path}:{line}"
            else:
                tables = (ast.Dict, ast.List, ast.Tuple, ast.ListComp, ast.DictComp)
                assert isinstance(value, tables), f"{path}:{line}"
                assert isinstance(statement, ast.Assign), f"{path}:{line}"
