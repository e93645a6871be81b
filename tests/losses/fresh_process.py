"""Load what another process saved, knowing only what a user's script knows.

    python fresh_process.py ORDER FILE...

ORDER is the imports: "package-first", "tensorflow-first", or "none" (no package).
FILE is `<loss>-<what>.<format>`, beside `<loss>.npz` with x and y. Prints one JSON
object: file name -> what came of loading it.
"""

import json
import os
import pickle
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

order, *paths = sys.argv[1:]
if order == "package-first" or order == "tensorflow-first":
    import tensorflow as tf

    import keras_losses_ref  # noqa: F401
else:
    import tensorflow as tf

import numpy as np  # noqa: E402

keras = tf.keras


def describe(loss):
    """Which class or function it is, and what it was made with."""
    if not hasattr(loss, "get_config"):
        return {"class": loss.__name__, "module": loss.__module__}
    return {
        "class": type(loss).__name__,
        "module": type(loss).__module__,
        "config": loss.get_config(),
    }


def load(path):
    folder, file = os.path.split(path)
    if file == "all-module":
        module = tf.saved_model.load(path)
        with np.load(f"{path}.npz") as data:
            names = {key.partition("-")[0] for key in data}
            pairs = {n: (data[f"{n}-y"], data[f"{n}-y_pred"]) for n in names}
        return {name: float(getattr(module, name)(*pairs[name])) for name in names}
    name, _, kind = file.partition("-")
    if kind == "pickle":
        with open(path, "rb") as file:
            return describe(pickle.load(file))
    if kind == "config.json":
        with open(path) as file:
            return describe(keras.losses.deserialize(json.load(file)))
    with np.load(os.path.join(folder, f"{name}.npz")) as data:
        x, y = data["x"], data["y"]
    if kind == "export":
        exported = tf.saved_model.load(path)
        return {"value": float(np.sum(exported.serve(x)))}
    model = keras.models.load_model(path)
    found = describe(model.loss)
    model.run_eagerly = True  # not kept by every format; for equality to the last bit
    found["value"] = float(model.evaluate(x, y, batch_size=32, verbose=0))
    return found


def main():
    results = {}
    for path in paths:
        try:
            results[os.path.basename(path)] = load(path)
        except Exception as error:  # the caller knows which are meant to fail
            message = f"{type(error).__name__}: {error}"
            results[os.path.basename(path)] = {"error": message}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
