"""What a few losses give, twice, with deterministic operations on or off.

    python deterministic.py DEVICE on|off

Prints one JSON object: loss -> [[value, gradient as hexadecimal digits], the same
again]. A process of its own: what is switched on cannot be switched off.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

import keras_losses_ref as klr
from keras_losses_ref.conformance import bench

#: Those that gather, scatter, multiply matrices, loop, or sum over a large batch.
LOSSES = ("MeanSquaredError", "SparseCategoricalCrossentropy", "CTC", "Circle")
SHAPES = {"CTC": (4, 40, 16), "Circle": (256, 64)}


def main(device, determinism):
    if determinism == "on":
        tf.config.experimental.enable_op_determinism()
    specs = {spec.loss: spec for spec in bench.SPECS if spec.loss in LOSSES}
    found = {}
    with tf.device(device):
        for name in LOSSES:
            spec = specs[name]
            y_true, y_pred = bench.tensors(spec.draw, SHAPES.get(name, (512, 300)))
            loss = getattr(klr, name)(**dict(spec.arguments))
            found[name] = []
            for path in ("eager", "graph"):
                run = bench.step(loss, path)
                for _ in range(2):
                    value, gradient = run(y_true, y_pred)
                    bits = gradient.numpy().tobytes().hex()[:4096]
                    found[name].append([value.numpy().item(), bits])
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
