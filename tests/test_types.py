"""The types of the public names are those of the code, and are enough for a user."""

import ast
import inspect
import pathlib
import subprocess
import sys

import pytest

import keras_losses_ref as klr
from keras_losses_ref.losses import compat

ROOT = pathlib.Path(klr.__file__).parent.parent
STUB = ast.parse(pathlib.Path(klr.__file__ + "i").read_text(encoding="utf-8"))
#: Not to be imported: types that the stub needs for itself.
PRIVATE = ("_Finding", "_Report", "_Tensor", "_DType", "_Axes", "_Test")


def stub_names():
    for node in STUB.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            yield node.targets[0].id, node
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id, node


NAMES = dict(stub_names())
LAYERS = ("LinearHead",)
CLASSES = [n for n, node in NAMES.items() if isinstance(node, ast.ClassDef)]
FUNCTIONS = [n for n, node in NAMES.items() if isinstance(node, ast.FunctionDef)]


def parameters_of_stub(function):
    """{name: default} in order; ... where the stub leaves the default open."""
    arguments = function.args
    positional = [a.arg for a in arguments.args]
    given = [inspect.Parameter.empty] * (len(positional) - len(arguments.defaults))
    given += [ast.literal_eval(default) for default in arguments.defaults]
    named = [a.arg for a in arguments.kwonlyargs]
    given += [ast.literal_eval(default) for default in arguments.kw_defaults]
    return dict(zip(positional + named, given))


def assert_signature_matches(stub, runtime):
    """Same names in the same order, same defaults."""
    written = parameters_of_stub(stub)
    found = inspect.signature(inspect.unwrap(runtime)).parameters
    found = {n: p for n, p in found.items() if p.kind is not p.VAR_KEYWORD}
    assert list(written) == list(found)
    for name, default in written.items():
        if default is not ...:  # the reduction's is that of the host
            assert found[name].default == default, name
    keyword_only = [
        name for name, p in found.items() if p.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    assert [a.arg for a in stub.args.kwonlyargs] == keyword_only


def methods(name):
    return [n for n in NAMES[name].body if isinstance(n, ast.FunctionDef)]


def test_the_stub_has_every_public_name_and_no_other():
    public = {name for name in NAMES if name not in PRIVATE} - {"__all__"}
    assert public == set(klr.__all__)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - set(PRIVATE)))
def test_a_class_takes_what_the_stub_says(name):
    cls = getattr(klr, name)
    for method in methods(name):
        runtime = getattr(cls, method.name)
        if name not in LAYERS or method.name != "__call__":  # that one is Keras's
            assert_signature_matches(method, getattr(runtime, "__func__", runtime))
    if name in LAYERS:
        assert issubclass(cls, compat.keras.layers.Layer)
    elif name not in ("Loss", "Domain"):
        assert NAMES[name].bases[0].id == "Loss" and issubclass(cls, klr.Loss)
        kept = [n.target.id for n in NAMES[name].body if isinstance(n, ast.AnnAssign)]
        assert tuple(kept) == cls.arguments


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_what_the_stub_says(name):
    assert_signature_matches(NAMES[name], getattr(klr, name))


@pytest.mark.parametrize(
    "name",
    [n for n, node in NAMES.items() if isinstance(node, ast.Assign) and n[0] != "_"],
)
def test_an_alias_is_the_function_that_the_stub_says(name):
    assert getattr(klr, name) is getattr(klr, NAMES[name].value.id)


def test_a_report_has_what_the_stub_says():
    report = klr.check_loss(klr.Huber, domain="real", checks=["runs"])
    (finding,) = report.results
    for name, thing in (("_Report", report), ("_Finding", finding)):
        for node in NAMES[name].body[1:]:  # after the docstring
            if isinstance(node, ast.AnnAssign):
                assert hasattr(thing, node.target.id)
            elif node.decorator_list:  # a property
                assert not callable(getattr(thing, node.name))
            else:
                assert_signature_matches(node, getattr(type(thing), node.name))


def test_what_a_user_writes_passes_mypy_in_strict_mode(tmp_path):
    pytest.importorskip("mypy", reason="mypy comes with the extra dev")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import keras_losses_ref as klr\n"
        'klr.Huber(delta="much")\n'
        "klr.huber([0.0], [0.6], detla=1.0)\n"
        "klr.check_loss(klr.Huber).okay\n",
        encoding="utf-8",
    )
    mypy = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache")]
    checked = [*mypy, str(wrong), "tests/typing_example.py", klr.__file__ + "i"]
    done = subprocess.run(checked, cwd=ROOT, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if ": error:" in line]
    codes = [line.rpartition("[")[2].rstrip("]") for line in found]
    assert codes == ["arg-type", "call-arg", "attr-defined"], done.stdout + done.stderr
    assert all("wrong.py" in line for line in found)


def test_what_a_user_writes_runs():
    import typing_example

    assert typing_example.value() == pytest.approx(0.18)
    assert typing_example.by_class() == pytest.approx(0.5 * 0.18)
    assert typing_example.by_name() == pytest.approx(0.36)
    assert typing_example.own_loss()
