"""Steps whose shapes never repeat: how far memory grows, and how long they take.

    python tests/losses/new_shapes.py BinaryCrossentropy none 2000

Prints JSON, for ours and for Keras's own loss. Run in a process of its own, as memory
that one loss has left free hides what the next one takes.
"""

import json
import sys
import time

import numpy as np
import tensorflow as tf

import keras_losses_ref as klr
from keras_losses_ref.losses import compat

FEATURES = 8


def megabytes():
    """The memory that this process holds now."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def batch(loss, rng, number):
    """y_true and y_pred of a shape that no other number has."""
    shape = (2, 3 + number, FEATURES)
    if loss == "CTC":  # which takes as long as it has steps of time
        shape = (2 + number // 50, 3 + number % 50, FEATURES)
    y_pred = rng.uniform(0.05, 0.95, shape).astype("float32")
    if loss == "CTC":
        y_true = rng.integers(1, FEATURES, (shape[0], max(1, shape[1] // 8)))
    elif loss.startswith("Sparse"):
        y_true = rng.integers(0, FEATURES, shape[:-1])
    else:
        y_true = rng.integers(0, 2, shape).astype("float32")
    return tf.constant(y_true), tf.constant(y_pred)


def step(loss, y_true, y_pred, mask):
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
        if value.shape.rank:  # the masked mean of a translation model
            value = tf.reduce_sum(value * tf.cast(mask, value.dtype))
    return tape.gradient(value, y_pred)


def run(name, module, reduction, steps):
    loss = getattr(module, name)(reduction=reduction)
    rng = np.random.default_rng(0)
    for number in range(steps + 100):
        y_true, y_pred = batch(name, rng, number)
        if number == 100:  # by then all that is traced once is traced
            start, before = time.perf_counter(), megabytes()
        mask = tf.ones(y_pred.shape[:-1] if name != "CTC" else y_pred.shape[:1])
        step(loss, y_true, y_pred, mask)
    return {"grown": megabytes() - before, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    name, reduction, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    found = {"ours": run(name, klr, reduction, steps)}
    if "alone" not in sys.argv:
        found["keras"] = run(name, compat.keras.losses, reduction, steps)
    print(json.dumps(found))
