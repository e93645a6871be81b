"""A saved loss comes back as the same loss, to the last bit of its value.

Models with every loss, with arguments other than the default, are saved here and
loaded in fresh processes that do `import keras_losses_ref` and nothing else. One
process loads all of them: starting TensorFlow takes longer than loading.
"""

import copy
import functools
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import make_fixtures
import numpy as np
import pytest
import tensorflow as tf
from loss_rows import (
    ROWS,
    compile_arguments,
    keras,
    one_per_kind,
    rows,
    sequential,
    sgd,
)

import keras_losses_ref as klr
from keras_losses_ref.losses import compat

HERE = Path(__file__).parent
FORMATS = ["keras", "h5"] + (["tf"] if compat.GENERATION == 2 else [])
EXPORTS = hasattr(keras.Model, "export")

#: Keras's word for a function is its bare name in these, so that it comes back as the
#: function of that name in `keras.losses`, or not at all. Save the class.
FORGETS_WHOSE_FUNCTION = {
    "h5": compat.GENERATION == 3,
    "keras": (2, 13) <= compat.RELEASE < (2, 16) or (3, 0) <= compat.RELEASE < (3, 7),
    "tf": False,
}

# Keras itself, for each `.h5` file and each SavedModel that it writes, and each loss
# that is a function.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The `keras.losses.serialize..` API should only"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:.*consider using the `tf.keras` format"),
]


def arguments(row):
    """Every argument of the loss, none of them at its default."""
    return {
        **row.config,
        **row.saved,
        "name": f"my_{row.function}",
        "reduction": "sum",
        "dtype": "float64",
        "jit_compile": False,
    }


def small_model(row, loss):
    """Only the output layer, compiled."""
    x, _ = row.data()
    model = sequential(x.shape[1:], row.head(row.config))
    model.compile(optimizer=sgd(), loss=loss, **compile_arguments("eager"))
    return model


def save(model, path, kind):
    if kind == "tf":
        model.save(path, save_format="tf")
    else:
        model.save(path)


def evaluate(model, row):
    x, y = row.data()
    return float(model.evaluate(x, y, batch_size=32, verbose=0))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder with everything saved, and the value that each file must give."""
    folder = tmp_path_factory.mktemp("saved")
    values, module, pairs = {}, tf.Module(), {}
    for row in rows():
        x, y = row.data()
        np.savez(folder / f"{row.loss}.npz", x=x, y=y)
        loss = row.ours(**arguments(row))
        (folder / f"{row.loss}-pickle").write_bytes(pickle.dumps(loss))
        config = json.dumps(keras.losses.serialize(loss))
        (folder / f"{row.loss}-config.json").write_text(config)
        models = {"class": small_model(row, loss)}
        if row in one_per_kind():
            models["function"] = small_model(row, getattr(klr, row.function))
        for what, model in models.items():
            value = evaluate(model, row)
            for kind in FORMATS:
                path = folder / f"{row.loss}-{what}.{kind}"
                save(model, path, kind)
                values[path.name] = value
        y_pred = np.asarray(models["class"](x))
        pairs.update({f"{row.loss}-y": y, f"{row.loss}-y_pred": y_pred})
        shapes = [tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in (y, y_pred)]
        setattr(module, row.loss, tf.function(loss, input_signature=shapes))
        values[row.loss] = float(getattr(module, row.loss)(y, y_pred))
    tf.saved_model.save(module, str(folder / "all-module"))
    np.savez(folder / "all-module.npz", **pairs)
    if EXPORTS:  # the forward pass of a model with a loss of ours
        row = ROWS["BinaryCrossentropy"]
        model, (x, _) = small_model(row, row.ours()), row.data()
        path = folder / f"{row.loss}-export"
        model.export(str(path))
        values[path.name] = float(np.sum(np.asarray(model(x))))
    return folder, values


@functools.cache
def fresh_process(order, folder):
    """What `fresh_process.py` reports, in the environment of this process."""
    chosen = one_per_kind() if order == "tensorflow-first" else rows()
    whats = ["class", "function", "pickle", "config"]
    files = [f"{row.loss}-{what}*" for row in chosen for what in whats]
    if order == "none":  # unpickling, and some of Keras's formats, import the package
        files = [f"*-class.{kind}" for kind in ("h5", "tf", "keras")] + ["*-export"]
    paths = [path for file in [*files, "all-module"] for path in folder.glob(file)]
    root = Path(klr.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, HERE / "fresh_process.py", order, *paths],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def plain(config):
    """A config as JSON has it, with lists for tuples."""
    return json.loads(json.dumps(config))


def check_class(found, row):
    assert "error" not in found, found["error"]
    assert found["class"] == row.loss
    assert found["module"].startswith("keras_losses_ref.")
    assert found["config"] == plain(arguments(row))


ORDERS = ["package-first", "tensorflow-first"]
by_loss = pytest.mark.parametrize("row", rows(), ids=[row.loss for row in rows()])
by_kind = pytest.mark.parametrize(
    "row", one_per_kind(), ids=[row.loss for row in one_per_kind()]
)


@pytest.mark.parametrize("kind", FORMATS)
@by_loss
def test_model_in_a_fresh_process(saved, row, kind):
    folder, values = saved
    file = f"{row.loss}-class.{kind}"
    for order in ORDERS if row in one_per_kind() else ORDERS[:1]:
        found = fresh_process(order, folder)[file]
        check_class(found, row)
        assert found["value"] == values[file]


@pytest.mark.parametrize("what", ["pickle", "config.json"])
@by_loss
def test_loss_in_a_fresh_process(saved, row, what):
    check_class(fresh_process("package-first", saved[0])[f"{row.loss}-{what}"], row)


@pytest.mark.parametrize("kind", FORMATS)
@by_kind
def test_function_in_a_fresh_process(saved, row, kind):
    folder, values = saved
    file = f"{row.loss}-function.{kind}"
    found = fresh_process("package-first", folder)[file]
    is_ours = found.get("module", "").startswith("keras_losses_ref.")
    if FORGETS_WHOSE_FUNCTION[kind] and not is_ours:
        pytest.skip(f"Keras {compat.VERSION} keeps no more than the function's name")
    assert "error" not in found, found["error"]
    assert found["class"] == row.function
    assert is_ours
    assert found["value"] == values[file]


@by_loss
def test_saved_module_in_a_fresh_process(saved, row):
    """A SavedModel holds the graph of the loss, and needs no import."""
    folder, values = saved
    for order in (*ORDERS, "none"):
        found = fresh_process(order, folder)["all-module"]
        assert found[row.loss] == values[row.loss]


@pytest.mark.skipif(not EXPORTS, reason=f"Keras {compat.VERSION} has no Model.export")
def test_exported_model_in_a_fresh_process(saved):
    folder, values = saved
    file = "BinaryCrossentropy-export"
    found = fresh_process("none", folder)[file]
    assert "error" not in found, found["error"]
    assert found["value"] == pytest.approx(values[file], rel=1e-6)


@pytest.mark.parametrize("kind", FORMATS)
@by_loss
def test_without_the_import(saved, row, kind):
    """Keras says which loss it does not know."""
    folder, values = saved
    file = f"{row.loss}-class.{kind}"
    found = fresh_process("none", folder)[file]
    if compat.RELEASE >= (2, 13) and "error" not in found:
        # Some Kerases import the module that a file names: nothing is missing then.
        check_class(found, row)
        assert found["value"] == values[file]
    elif compat.GENERATION == 3 and kind == "h5":
        assert f"my_{row.function}" in found["error"]  # the file has no other name
    else:
        assert row.loss in found["error"]


@by_loss
def test_config(row):
    loss = row.ours(**arguments(row))
    config = loss.get_config()
    assert config == {**config, **arguments(row)}
    for other in (config, plain(config)):
        again = row.ours.from_config(other)
        assert type(again) is row.ours
        assert again.get_config() == config
    assert repr(again) == repr(loss)


@by_loss
def test_serialize(row):
    loss = row.ours(**arguments(row))
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is row.ours
    assert again.get_config() == loss.get_config()
    assert keras.losses.get(keras.losses.serialize(loss)).get_config() == (
        loss.get_config()
    )
    if not FORGETS_WHOSE_FUNCTION["keras"]:
        function = getattr(klr, row.function)
        assert keras.losses.deserialize(keras.losses.serialize(function)) is function


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))]
)
@by_loss
def test_copies(row, again):
    loss = row.ours(**arguments(row))
    other = again(loss)
    assert type(other) is row.ours
    assert other is not loss
    assert other.get_config() == loss.get_config()
    x, y = row.data()
    y_pred = sequential(x.shape[1:], row.head(row.config))(x)
    assert float(other(y, y_pred)) == float(loss(y, y_pred))


@by_loss
def test_clone_model(row):
    model = small_model(row, row.ours(**arguments(row)))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    loss = row.ours.from_config(model.loss.get_config())
    clone.compile(optimizer=sgd(), loss=loss, **compile_arguments("eager"))
    assert evaluate(clone, row) == evaluate(model, row)


def test_training_goes_on_after_loading(tmp_path):
    """Two epochs, or one, a save, a load, and one: the same weights."""
    row = ROWS["Huber"]
    x, y = row.data()
    fit = {"batch_size": 32, "verbose": 0, "shuffle": False}
    straight = small_model(row, row.ours(delta=0.4))
    straight.fit(x, y, epochs=2, **fit)
    halved = small_model(row, row.ours(delta=0.4))
    halved.fit(x, y, epochs=1, **fit)
    halved.save(tmp_path / "halved.keras")
    halved = keras.models.load_model(tmp_path / "halved.keras")
    halved.run_eagerly = True
    halved.fit(x, y, epochs=1, **fit)
    for ours, expected in zip(halved.get_weights(), straight.get_weights()):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)  # measured: 0


FIXTURES = sorted(
    path for path in make_fixtures.FOLDER.iterdir() if path.suffix != ".json"
)
by_file = pytest.mark.parametrize("file", FIXTURES, ids=lambda path: path.name)


def release(path):
    """The Keras that wrote a fixture: (3, 15)."""
    version = path.stem.rpartition("-")[2]
    return tuple(map(int, version.split(".")[:2]))


def check_fixture(file, found):
    """`found`, loss objects, are what was saved in `file`."""
    saved = json.loads(file.with_suffix(".json").read_text())
    configs = {type(loss).__name__: plain(loss.get_config()) for loss in found}
    assert configs.keys() == saved["configs"].keys()
    for name, config in saved["configs"].items():
        if config["dtype"] is None:  # Keras 2 asks y_pred, Keras 3 its floatx
            config["dtype"] = configs[name]["dtype"]
        config.setdefault("jit_compile", "auto")  # what is older does not know it
        assert configs[name] == config
    return saved["values"]


@by_file
def test_file_of_another_version(file):
    """What old and new Kerases saved loads, if Keras can read the format at all."""
    saved_by = release(file)
    if file.suffix == ".keras":
        if saved_by[0] != compat.GENERATION:
            pytest.skip(
                f"Keras {compat.VERSION} reads no model in the .keras format of "
                f"Keras {saved_by[0]}"
            )
        if saved_by > compat.RELEASE and not same_model_config(file):
            pytest.skip(
                f"Keras {compat.VERSION} reads no such model of Keras "
                f"{'.'.join(map(str, saved_by))}"
            )
    model = keras.models.load_model(file)
    values = check_fixture(file, model.loss)
    y_pred = model([make_fixtures.inputs()])[0]
    found = make_fixtures.values(model.loss, y_pred)
    for name, value in values.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name  # measured: 0


def same_model_config(file):
    """Whether this host can make the model in `file`, its losses aside."""
    try:
        keras.models.load_model(file, compile=False)
    except (TypeError, ValueError):
        return False
    return True


@by_file
def test_losses_of_another_version(file):
    """Also where the model around them cannot be read: each config makes its loss."""
    if file.suffix == ".h5":
        pytest.skip("an .h5 file loads everywhere, see the test above")
    if compat.RELEASE < (2, 13):
        pytest.skip(f"Keras {compat.VERSION} reads the class's name, not its package")
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))["compile_config"]["loss"]
    found = [keras.losses.deserialize(each) for each in config]
    check_fixture(file, found)


# --- pickles ---------------------------------------------------------------------


class Steep(klr.Huber):
    """A loss of a user's own, with a state of its own."""

    def __init__(self, slope=1.0, **arguments):
        super().__init__(**arguments)
        self.slope = slope

    def call(self, y_true, y_pred):
        return self.slope * super().call(y_true, y_pred)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_pickle_names_our_class_whatever_the_host_pickles(monkeypatch, replaced):
    """As with scikeras, which replaces `__reduce__` of Keras's `Loss`."""
    if replaced:

        def packed(loss):
            return compat.keras.losses.get, (type(loss).__name__,)

        monkeypatch.setattr(compat.Loss, "__reduce__", packed, raising=False)
    for loss in (klr.Huber(delta=2.0, jit_compile=False), Steep(slope=3.0, delta=2.0)):
        for again in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
            assert type(again) is type(loss)
            assert again.get_config() == loss.get_config()
            y_true, y_pred = [[0.0, 1.0]], [[3.0, 1.5]]
            assert float(again(y_true, y_pred)) == float(loss(y_true, y_pred))


def test_a_pickle_is_read_where_only_keras_is_imported():
    code = (
        "import sys, pickle, tensorflow as tf; tf.keras.losses.Huber\n"
        "loss = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "print(type(loss).__module__, loss.delta)"
    )
    data = pickle.dumps(klr.Huber(delta=2.0)).hex()
    done = subprocess.run(
        [sys.executable, "-c", code, data], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["keras_losses_ref.losses.regression", "2.0"]


def test_a_reduction_that_was_set_later_is_checked():
    loss = klr.MeanSquaredError()
    loss.reduction = "medium"
    with pytest.raises(ValueError, match="`reduction`.*'medium'"):
        loss([1.0], [1.0])
