"""Write the fixtures: tiny models saved by the Keras that runs this script.

    python tests/losses/make_fixtures.py

One model, and in its compile arguments every loss, with arguments other than the
default. Writes `fixtures/<package>-<version>.keras`, a `.h5` too under Keras 2, and
`fixtures/<package>-<version>.json` with the config and the value of each loss. Run it
once per generation and commit the files; a file once committed stays as it is, since
it stands for what users have on disk.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

FOLDER = Path(__file__).parent / "fixtures"

#: Targets for a softmax over 4 classes; any other loss takes one-hot ones.
INDICES = [0, 1, 2, 3, 1, 0]
TARGETS = {
    "CategoricalGeneralizedCrossEntropy": INDICES,
    "SparseCategoricalCrossentropy": INDICES,
    "SparseCategoricalFocalCrossentropy": INDICES,
    "Circle": INDICES,
}
#: Arguments in which a row of `loss_rows` is meant for images.
INSTEAD = {"axis": 1, "from_logits": False}


def targets(name):
    """What the loss called `name` compares the prediction with."""
    return np.asarray(TARGETS[name], "int32") if name in TARGETS else np.eye(4)[INDICES]


def inputs():
    return np.random.default_rng(0).normal(0, 1, (6, 3)).astype("float32")


def values(losses, y_pred):
    """The value of each loss, by the class's name."""
    return {
        type(loss).__name__: float(loss(targets(type(loss).__name__), y_pred))
        for loss in losses
    }


def main():
    from loss_rows import keras, rows, sequential, sgd

    from keras_losses_ref.losses import compat

    losses = []
    for row in rows():
        if row.kind == "sequences":  # the one loss of a third shape
            continue
        config = {**row.config, **row.saved}
        config.update({k: v for k, v in INSTEAD.items() if k in config})
        losses.append(row.ours(**config, name=f"my_{row.function}", reduction="sum"))
    FOLDER.mkdir(exist_ok=True)
    name = f"{compat.PACKAGE}-{compat.VERSION}"
    inner = sequential((3,), [keras.layers.Dense(4, activation="softmax")])
    # The same output many times, once for each loss.
    model = keras.Model(inner.inputs, [inner.outputs[0]] * len(losses))
    model.compile(optimizer=sgd(), loss=losses, run_eagerly=True)
    y_pred = inner(inputs())
    model.save(FOLDER / f"{name}.keras")
    if compat.GENERATION == 2:
        model.save(FOLDER / f"{name}.h5")
    text = {
        "configs": {type(loss).__name__: loss.get_config() for loss in losses},
        "values": values(losses, y_pred),
    }
    with open(FOLDER / f"{name}.json", "w") as file:
        json.dump(text, file, indent=1, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main()
