"""LinearHead and its loss against Dense and Keras's own: memory and time of a step.

    python tests/bench/bench_linear.py           the figures of the documentation
    python tests/bench/bench_linear.py memory PATH MODE TOKENS FEATURES CLASSES
                                                 one figure, for this process alone

PATH is "linear" or "dense", MODE "graph", "xla" or "eager". A step is the loss and its
gradients by hidden states, weight and bias, in float32. Memory is what the first step
adds to a fresh process that holds the model, at its highest (Linux only). Times are
taken in turn, so that other load on the machine affects both.
"""

import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZE = (4096, 512, 50_000)


def make_step(path, mode, tokens, features, classes):
    """A function that runs one step, of inputs of its own."""
    import tensorflow as tf

    import keras_losses_ref as klr

    keras = tf.keras
    hidden = tf.random.stateless_normal([tokens, features], [0, 1])
    labels = tf.random.stateless_uniform([tokens], [0, 2], 0, classes, tf.int64)
    if path == "linear":
        head, loss = klr.LinearHead(classes), klr.LinearSparseCategoricalCrossentropy()
    else:
        head = keras.layers.Dense(classes)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    head.build([None, features])

    def step():
        with tf.GradientTape() as tape:
            tape.watch(hidden)
            if path == "linear" and mode == "eager":
                y_pred = (hidden, head.kernel, head.bias)
            else:
                y_pred = head(hidden)
            value = loss(labels, y_pred)
        return value, tape.gradient(value, [hidden, *head.trainable_variables])

    if mode != "eager":
        step = tf.function(step, jit_compile=mode == "xla", autograph=False)

    def run():
        value, _ = step()
        return float(value)

    return run


def status(field):
    """A field of /proc/self/status in MB."""
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines[field].split()[0]) / 1024


def memory(path, mode, size=SIZE):
    """MB that the first step adds to this process, at its highest.

    The first, as TensorFlow keeps what it has once allocated.
    """
    step = make_step(path, mode, *size)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the highest so far
    before = status("VmRSS")
    step()
    return status("VmHWM") - before


def fresh_memory(path, mode, size=SIZE):
    """`memory` in a fresh process: what one step leaves behind is none of another's."""
    command = [sys.executable, __file__, "memory", path, mode, *map(str, size)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return float(done.stdout.split()[-1])


def times(mode, size=SIZE, rounds=7):
    """Seconds of a step, {path: one for each round}."""
    steps = {path: make_step(path, mode, *size) for path in ("dense", "linear")}
    seconds = {path: [] for path in steps}
    for round_ in range(rounds + 1):
        for path, step in steps.items():
            start = time.perf_counter()
            step()
            if round_:  # the first one compiles
                seconds[path].append(time.perf_counter() - start)
    return seconds


def main():
    if sys.argv[1:2] == ["memory"]:
        path, mode, *size = sys.argv[2:]
        print(memory(path, mode, tuple(map(int, size))))
        return
    print("mode    memory of a step: dense, linear   time of a step: dense, linear")
    for mode in ("graph", "xla", "eager"):
        dense, linear = (fresh_memory(path, mode) for path in ("dense", "linear"))
        found = times(mode)
        slow, fast = (statistics.median(found[path]) for path in ("dense", "linear"))
        ratio = statistics.median(
            b / a for a, b in zip(found["dense"], found["linear"])
        )
        print(
            f"{mode:6} {dense:7.0f} MB {linear:6.0f} MB  x {linear / dense:.2f}"
            f"     {slow:6.2f} s {fast:6.2f} s  x {ratio:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
