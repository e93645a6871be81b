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
    "keras.losses",
    "keras.losses.Loss",
    "keras.losses.Loss.__init__",
    "keras.losses.deserialize",
    "keras.backend.epsilon",
    "keras.backend.floatx",
    "keras.utils.register_keras_serializable",
    "keras.layers.Dense",  # for its weights and arguments: `call` is our own
}


def identity(path):
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def package_of(path):
    return ".".join([PACKAGE.name, *path.relative_to(PACKAGE).parent.parts])


def imports(tree, package):
    """Every module that a file imports, relative imports made absolute."""
    for node in ast.walk(tree):
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
            assert module.startswith("keras_losses_ref.losses"), module
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
    own = "keras_losses_ref.losses.kernels"
    may = ("keras_losses_ref.losses", "keras_losses_ref.losses.compat")
    for module in imports(tree_of(path), package_of(path)):
        if module.startswith("keras_losses_ref"):
            assert module in may or module.startswith(own), module


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
