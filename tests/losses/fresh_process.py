"""Load what another process saved, knowing only what a user's script knows.

    python fresh_process.py ORDER FOLDER

ORDER is the imports: "package-first", "tensorflow-first", or "none" (no package).
FOLDER holds `<loss>.npz` (x and y) and `<loss>-<what>.<format>`. Prints one JSON object:
file name -> what came of loading it.
"""

import json
import os
import pickle
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

order, folder = sys.argv[1:]
if order == "package-first" or order == "tensorflow-first":
    import tensorflow as tf

    import keras_losses_ref  # noqa: F401
else:
    import tensorflow as tf

import numpy as np

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
    name, _, kind = os.path.basename(path).partition("-")
    with np.load(os.path.join(folder, f"{name}.npz")) as data:
        x, y = data["x"], data["y"]
    if kind.startswith("module"):
        value = tf.saved_model.load(path).loss(y, np.load(f"{path}.npy"))
        return {"value": float(value)}
    if kind == "export":
        value = tf.saved_model.load(path).serve(x)
        return {"value": float(tf.reduce_sum(value))}
    if kind == "pickle":
        with open(path, "rb") as file:
            return describe(pickle.load(file))
    if kind == "config.json":
        with open(path) as file:
            return describe(keras.losses.deserialize(json.load(file)))
    model = keras.models.load_model(path)
    found = describe(model.loss)
    model.run_eagerly = True  # not kept by every format; for equality to the last bit
    found["value"] = float(model.evaluate(x, y, batch_size=32, verbose=0))
    return found


def main():
    results = {}
    for file in sorted(os.listdir(folder)):
        if file.endswith((".npz", ".npy")):
            continue
        try:
            results[file] = load(os.path.join(folder, file))
        except Exception as error:  # the caller says which are meant to fail
            results[file] = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
