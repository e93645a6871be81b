"""The types of the public names stand in the code, and are enough for a user."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import keras_losses_ref as klr
from keras_losses_ref.losses import compat

PACKAGE = pathlib.Path(klr.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
PUBLIC = sorted({*klr.__all__} - {"__version__"})
CLASSES = [name for name in PUBLIC if inspect.isclass(getattr(klr, name))]
LOSSES = [name for name in CLASSES if issubclass(getattr(klr, name), klr.Loss)]


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


# --- what a type checker sees ---------------------------------------------------------


def test_a_type_checker_sees_every_public_name_and_no_other():
    (block,) = (
        node
        for node in tree_of(PACKAGE / "__init__.py").body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = [alias for node in block.body for alias in node.names]
    assert all(alias.name == alias.asname for alias in seen)  # or it is not exported
    assert sorted(alias.name for alias in seen) == PUBLIC


def test_every_public_name_has_a_type(tmp_path):
    """None is Any, which would hide a mistake in whatever is done with it."""
    lines = ["import keras_losses_ref as klr"]
    lines += [f"reveal_type(klr.{name})" for name in klr.__all__]
    done = mypy(tmp_path, "\n".join(lines) + "\n")
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(revealed) == len(klr.__all__), done.stdout + done.stderr
    types = dict(zip(klr.__all__, revealed))
    assert re.fullmatch(r"(builtins\.)?str", types.pop("__version__"))
    for name, found in types.items():
        assert found.startswith(("def (", "Overload(def (")), (name, found)
    assert re.search(r"delta: (builtins\.)?float =, \*, reduction: ", types["Huber"])
    assert re.search(r"axis: (builtins\.)?int =", types["binary_crossentropy"])


def test_what_a_user_writes_passes_mypy_in_strict_mode(tmp_path):
    done = mypy(
        tmp_path,
        "import keras_losses_ref as klr\n"
        'klr.Huber(delta="much")\n'
        "klr.huber([0.0], [0.6], detla=1.0)\n"
        "klr.check_loss(klr.Huber).okay\n"
        'klr.Huber(jit_compile="auto", dytpe="float64")\n'
        "klr.Huber().detla\n"
        "klr.Dice(None)\n"
        "klr.Hubert()\n",
        "tests/typing_example.py",
        str(PACKAGE / "__init__.py"),
    )
    found = [line for line in done.stdout.splitlines() if ": error:" in line]
    codes = [line.rpartition("[")[2].rstrip("]") for line in found]
    assert codes == [
        "arg-type",
        "call-arg",
        "attr-defined",
        "call-arg",
        "attr-defined",
        "call-arg",
        "attr-defined",
    ], done.stdout + done.stderr
    assert all("wrong.py" in line for line in found)


def mypy(folder, code, *more):
    pytest.importorskip("mypy", reason="mypy comes with the extra dev")
    file = folder / "wrong.py"
    file.write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(folder / "cache")]
    return subprocess.run(
        [*command, str(file), *more], cwd=ROOT, capture_output=True, text=True
    )


def test_what_a_user_writes_runs():
    import typing_example

    assert typing_example.value() == pytest.approx(0.18)
    assert typing_example.by_class() == pytest.approx(0.5 * 0.18)
    assert typing_example.by_name() == pytest.approx(0.36)
    assert typing_example.own_loss()


# --- the annotations are those of the code --------------------------------------------


@pytest.mark.parametrize("name", sorted({*LOSSES} - {"Loss"}))
def test_a_loss_annotates_what_it_takes(name):
    """An attribute for each argument, of the function's type and default."""
    cls = getattr(klr, name)
    function = inspect.unwrap(cls.function)
    types = {argument: function.__annotations__[argument] for argument in cls.arguments}
    assert vars(cls).get("__annotations__", {}) == types
    taken = inspect.signature(inspect.unwrap(cls.__init__)).parameters
    for argument in cls.arguments:
        default = inspect.signature(function).parameters[argument].default
        assert taken[argument].default == getattr(cls, argument, default) == default
    assert issubclass(cls, compat.Loss)


def test_a_report_has_what_its_types_say():
    report = klr.check_loss(klr.Huber, domain="real", checks=["runs"])
    (result,) = report.results
    for thing in (report, result):
        for name in type(thing).__annotations__:
            assert hasattr(thing, name)
    assert isinstance(report.ok, bool) and isinstance(report.text(), str)
    assert report.failures == report.skipped == []
    assert isinstance(result.text(), str)


def public_functions(body, owner=""):
    """(name, definition) of what other modules may call."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            called = node.name in ("__init__", "__call__", "__enter__", "__exit__")
            if called or not node.name.startswith("_"):
                yield owner + node.name, node


@pytest.mark.parametrize(
    "path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_function_between_modules_is_annotated(path):
    missing = []
    for name, node in public_functions(tree_of(path).body):
        spec = node.args
        arguments = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
        arguments += [extra for extra in (spec.vararg, spec.kwarg) if extra]
        decorators = [ast.unparse(each) for each in node.decorator_list]
        if "." in name and "staticmethod" not in decorators:
            arguments = arguments[1:]  # self
        missing += [f"{name}({a.arg})" for a in arguments if a.annotation is None]
        missing += [f"{name} ->"] if node.returns is None else []
    assert missing == []
