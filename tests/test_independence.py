"""The two wings share nothing with Keras's maths, with each other, or with the kit.

A bug that `losses/` took over from Keras would hide from a comparison with Keras; so
would one that the oracle took over from `losses/`.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_losses_ref

PACKAGE = Path(keras_losses_ref.__file__).parent
LOSSES = sorted((PACKAGE / "losses").rglob("*.py"))
KERNELS = sorted((PACKAGE / "losses" / "kernels").glob("*.py"))
ORACLE = sorted((PACKAGE / "oracle").glob("*.py"))

#: What compat.py may reach for in Keras: no arithmetic among it.
COMPAT_MAY_USE = {
    "keras.losses.deserialize",
    "keras.losses.serialize",
    "keras.Operation",
    "keras.backend.is_keras_tensor",
    "keras.layers.Layer",
    "keras.utils.get_registered_name",
    "keras.utils.get_registered_object",
    "keras.utils.register_keras_serializable",
    "keras.layers.Dense",  # for its weights and arguments: `call` is our own
}


def identity(path):
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def package_of(path):
    return ".".join([PACKAGE.name, *path.relative_to(PACKAGE).parent.parts])


def walk_at_run_time(node):
    """Every node below this one, but for those that stand under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            child = ast.Module(child.orelse, [])
        yield child
        yield from walk_at_run_time(child)


def imports(tree, package):
    """Every module that a file imports, relative imports made absolute."""
    for node in walk_at_run_time(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def attribute_chains(tree):
    """Every dotted name in a file, such as "tf.keras.losses", the longest each."""
    inner = set()
    for node in ast.walk(tree):  # outermost attributes come first
        if isinstance(node, ast.Attribute) and node not in inner:
            names, value = [node.attr], node.value
            while isinstance(value, ast.Attribute):
                inner.add(value)
                names.append(value.attr)
                value = value.value
            if isinstance(value, ast.Name):
                yield ".".join([value.id, *reversed(names)])


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", LOSSES, ids=identity)
def test_losses_import_tensorflow_and_themselves_only(path):
    allowed = {*sys.stdlib_module_names} if sys.version_info >= (3, 10) else None
    for module in imports(tree_of(path), package_of(path)):
        root = module.split(".")[0]
        assert root not in ("keras", "tf_keras"), module
        assert not module.startswith("tensorflow.keras"), module
        if root == "keras_losses_ref":
            own = module.startswith("keras_losses_ref.losses")
            # The host's version and rules, asked by compat alone.
            assert own or path.name == "compat.py", module
        elif allowed is not None:
            assert root in allowed | {"tensorflow", "numpy"}, module


@pytest.mark.parametrize("path", LOSSES, ids=identity)
def test_only_compat_touches_keras(path):
    for chain in attribute_chains(tree_of(path)):
        parts = chain.split(".")
        if path.name != "compat.py":
            assert "keras" not in parts, f"{path.name} uses {chain}"
        elif parts[0] == "keras":
            assert chain in COMPAT_MAY_USE, f"compat.py uses {chain}"
        elif "keras" in parts:
            assert chain == "tf.keras", f"compat.py uses {chain}"


@pytest.mark.parametrize("path", KERNELS, ids=identity)
def test_kernels_know_of_the_losses_only_the_host(path):
    losses = "keras_losses_ref.losses"
    may = (f"{losses}.kernels", f"{losses}.compat")
    for module in imports(tree_of(path), package_of(path)):
        if module.startswith("keras_losses_ref"):
            assert module == losses or module.startswith(may), module


#: Files that may hold names of TensorFlow that are not public.
PRIVATE_NAMES = {"dispatch", "tape_watch", "autodiff"}


PUBLIC_ONLY = [
    path for path in LOSSES if path not in KERNELS or path.stem not in PRIVATE_NAMES
]


@pytest.mark.parametrize("path", PUBLIC_ONLY, ids=identity)
def test_private_tensorflow_names_stand_in_kernels(path):
    private = ("tensorflow.python", "tensorflow.compiler", "tensorflow.core")
    for module in imports(tree_of(path), package_of(path)):
        assert not module.startswith(private), module


@pytest.mark.parametrize("path", ORACLE, ids=identity)
def test_the_oracle_imports_numpy_and_itself_only(path):
    for module in imports(tree_of(path), "keras_losses_ref.oracle"):
        root = module.split(".")[0]
        if root == "keras_losses_ref":
            assert module.startswith("keras_losses_ref.oracle"), module
        elif sys.version_info >= (3, 10):
            assert root in {*sys.stdlib_module_names, "numpy"}, module
        else:
            assert root not in ("tensorflow", "keras", "tf_keras", "scipy"), module


@pytest.mark.parametrize("path", LOSSES + ORACLE, ids=identity)
def test_no_wing_knows_the_kit(path):
    for module in imports(tree_of(path), package_of(path)):
        assert "conformance" not in module.split("."), module


@pytest.mark.parametrize(
    "code",
    [
        "import keras_losses_ref",
        "import keras_losses_ref; keras_losses_ref.__version__",
        "import keras_losses_ref.oracle.regression",
    ],
)
def test_importing_the_package_does_not_import_tensorflow(code):
    code += (
        "; import sys; print([m for m in ('tensorflow', 'keras', 'tf_keras') "
        "if m in sys.modules])"
    )
    path = os.pathsep.join(
        filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")])
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


# --- the kit: who may import whom -----------------------------------------------------

CONFORMANCE = sorted((PACKAGE / "conformance").rglob("*.py"))
EVERY = sorted(PACKAGE.rglob("*.py"))

#: {a part of the kit: the parts it may import, also inside of a function}. Cases,
#: outcomes, verdicts, report: an arrow points to what comes before.
KIT_MAY_IMPORT = {
    "files": set(),
    "inputs": set(),
    "runtime": set(),
    "chatter": set(),
    "unusable": {"chatter", "parity"},
    "arrays": set(),
    "cases": {"inputs"},
    "tolerance": set(),
    "outcome": set(),
    "truth": {"cases", "inputs", "outcome", "tolerance"},
    "deviations": {"arrays", "cases", "outcome", "tolerance", "truth"},
    "runners": {"arrays", "cases", "checks", "files", "outcome", "truth"},
    "verdict": {"cases", "outcome", "tolerance", "truth"},
    "report": {
        *("accuracy", "cases", "deviations", "files", "parity", "runtime"),
        *("tolerance", "truth", "verdict"),
    },
    "checks": {"arrays", "inputs", "report", "runtime", "tolerance"},
    "check": {
        *("cases", "deviations", "outcome", "report", "runners", "runtime"),
        *("truth", "verdict"),
    },
    "parity": {
        "cases",
        "chatter",
        "check",
        "deviations",
        "files",
        "runners",
        "runtime",
        "tolerance",
        "verdict",
    },  # fmt: skip
    "accuracy": {"cases", "inputs", "runners", "tolerance", "truth"},
    "bench": {"files", "inputs", "report", "runtime"},
    "calibrate": {"check", "files", "runtime", "tolerance", "verdict"},
    "bench_device": {"bench", "files", "report", "runners", "runtime"},
    "plot": {"inputs"},
    "pytest_items": {"cases", "check", "report", "verdict"},
}

#: What may be imported where there is no TensorFlow.
WITHOUT_TENSORFLOW = (
    "truth", "cases", "deviations", "verdict", "parity.record", "parity.diff",
    "parity.upgrade", "parity.bisect", "tolerance", "check", "runners", "report.diff",
)  # fmt: skip


def module_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in EVERY}


def imported_modules(path):
    """The modules of this package that a file imports, anywhere in it.

    `from package import module` imports the module; `from package import name` the
    package. What a type checker alone imports is no arrow.
    """
    package = package_of(path)
    for node in walk_at_run_time(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                found = f"{module}.{alias.name}"
                if found in MODULES:
                    yield found
                elif module in MODULES:
                    yield module


def part_of_the_kit(module):
    """ "report" for keras_losses_ref.conformance.report.text, None outside the kit."""
    _, kit, rest = module.partition("keras_losses_ref.conformance.")
    return rest.split(".")[0] if kit else None


@pytest.mark.parametrize("path", CONFORMANCE, ids=identity)
def test_the_kit_imports_what_comes_before(path):
    part = part_of_the_kit(module_of(path))
    if part is None:  # the package itself
        assert not list(imported_modules(path))
        return
    parts = {part_of_the_kit(module) for module in imported_modules(path)}
    assert parts - {None, part} <= KIT_MAY_IMPORT[part]


def circles(graph):
    """Every circle of a graph, as the modules on the way."""
    found, done = [], set()

    def visit(module, way):
        if module in way:
            found.append([*way[way.index(module) :], module])
        elif module not in done:
            for other in graph.get(module, ()):
                visit(other, [*way, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def test_a_circle_is_found():
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"]}) == [["b", "c", "b"]]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_no_module_is_in_a_circle():
    graph = {
        module: {m for m in imported_modules(path) if m != module}
        for module, path in MODULES.items()
    }
    assert graph["keras_losses_ref.conformance.check"]
    assert circles(graph) == []


@pytest.mark.parametrize("module", WITHOUT_TENSORFLOW)
def test_what_judges_and_compares_needs_no_tensorflow(module):
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        f"import keras_losses_ref.conformance.{module}"
    )
    path = os.pathsep.join(
        filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")])
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
