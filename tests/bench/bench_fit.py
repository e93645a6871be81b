"""Whole training steps with our losses and with Keras's: the model counts too.

    python tests/bench/bench_fit.py [NAME ...]

For each model: Keras's time of a step over ours, the median and the quartiles of epochs
taken in turn, and how much longer than Keras's our first step takes, in which graphs
are traced and kernels compiled.
"""

import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import keras_losses_ref as klr

keras = tf.keras
layers = keras.layers
RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype("float32")


def head():
    """A softmax over 50,000 classes on top of what came before."""
    model = keras.Sequential([layers.Dense(50_000)])
    labels = RANDOM.integers(0, 50_000, 256)
    return model, "SparseCategoricalCrossentropy", normal(256, 64), labels


def recogniser():
    """Sequences of 200 steps, 40 letters in each."""
    model = keras.Sequential([layers.Dense(64, "relu"), layers.Dense(64)])
    return model, "CTC", normal(16, 200, 32), RANDOM.integers(1, 64, (16, 40))


def segmentation():
    """Each pixel of small images is of one of 21 classes."""
    model = keras.Sequential(
        [layers.Conv2D(16, 3, padding="same"), layers.Conv2D(21, 1)]
    )
    labels = np.eye(21, dtype="float32")[RANDOM.integers(0, 21, (16, 64, 64))]
    return model, "CategoricalFocalCrossentropy", normal(16, 64, 64, 3), labels


def multi_label():
    """A thousand questions, each answered by yes or no."""
    model = keras.Sequential([layers.Dense(1000)])
    labels = RANDOM.integers(0, 2, (1024, 1000)).astype("float32")
    return model, "BinaryCrossentropy", normal(1024, 64), labels


def mlp():
    model = keras.Sequential([layers.Dense(32, "relu"), layers.Dense(1)])
    return model, "MeanSquaredError", normal(32, 16), normal(32, 1)


def cnn():
    model = keras.Sequential(
        [layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(10)]
    )
    labels = RANDOM.integers(0, 10, 32)
    return model, "SparseCategoricalCrossentropy", normal(32, 16, 16, 1), labels


MODELS = (head, recogniser, segmentation, multi_label, mlp, cnn)


def trainer(make, module):
    """A function that trains a few steps, and how long its first step took."""
    model, name, x, y = make()
    logits = {} if name in ("CTC", "MeanSquaredError") else {"from_logits": True}
    model.compile("sgd", getattr(module, name)(**logits))
    model.build(x.shape)
    steps = 4 if x.shape[0] > 32 or x.ndim > 2 else 50
    x, y = (np.concatenate([part] * steps) for part in (x, y))
    batch = len(x) // steps

    def train(count=steps):
        size = count * batch
        start = time.perf_counter()
        model.fit(x[:size], y[:size], batch_size=batch, verbose=0, shuffle=False)
        return (time.perf_counter() - start) / count

    return train, train(1)


def measure(make, epochs=11):
    (ours, first), (theirs, their_first) = (
        trainer(make, module) for module in (klr, keras.losses)
    )
    for train in (ours, theirs):
        train()
    ratios = []
    for turn in range(epochs):
        one, other = (ours, theirs) if turn % 2 else (theirs, ours)
        times = {train: train() for train in (one, other)}
        ratios.append(times[theirs] / times[ours])
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"{make.__name__:14s} {middle:6.2f} [{low:.2f} {high:.2f}]"
        f"   first step {first - their_first:+.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    for make in MODELS:
        if make.__name__ in sys.argv[1:] or not sys.argv[1:]:
            measure(make)
