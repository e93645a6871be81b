"""What each trick of the kernels buys, measured by doing without it.

    python docs/tools/tricks.py docs/speed              # on an idle machine
    python docs/tools/tricks.py docs/speed even-rows    # one of them

Each trick is switched off in a process of its own, which measures the cells that it is
meant for as `keras-losses-ref bench` does: Keras's time over ours, in turn. What a
trick buys is that ratio with it, in run1.json of the folder, over that without it: run
`bench` first, on the same machine. tricks.json keeps the numbers, and the README beside
it has their table.
"""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Optional

import speed_page
import tensorflow as tf

from keras_losses_ref import losses
from keras_losses_ref.conformance import bench
from keras_losses_ref.conformance.files import SCHEMA, dumps, write
from keras_losses_ref.losses.kernels import (
    autodiff,
    crossentropy,
    dispatch,
    sums,
    tape_watch,
)

WIDE, NARROW = (1024, 1000), (64, 64, 64, 21)


@dataclasses.dataclass(frozen=True)
class Trick:
    """What is done without, and where that may show."""

    name: str
    what: str
    paths: tuple
    shapes: tuple = (WIDE, NARROW)
    #: The losses that have it; None for all.
    losses: Optional[tuple] = None


#: The losses that have a kernel.
WITH_KERNEL = tuple(
    name
    for name in losses.__all__
    if getattr(getattr(getattr(losses, name), "function", None), "kernel", None)
)
LOG1P = ("BinaryCrossentropy", "BinaryFocalCrossentropy", "LogCosh")
TRICKS = (
    Trick("even-rows", "short rows are cut anew into rows of 64 to 1024",
          ("eager", "graph"), (NARROW,)),
    Trick("one-kernel", "value and gradient in one, by names private to TensorFlow",
          ("eager", "graph", "small"), (WIDE,)),
    Trick("recompute", "a kernel computes again what value and gradient share",
          ("eager", "graph", "xla"), (WIDE,)),
    Trick("matvec-sums", "under XLA sums are products with ones, in blocks",
          ("eager", "graph", "xla")),
    Trick("own-log1p", "under XLA log1p is a logarithm, corrected",
          ("eager", "graph", "xla"), losses=LOG1P),
    Trick("tracing", "eagerly one trace serves all shapes",
          ("small", "lengths", "lengths-none")),
    Trick("patience", "shapes that change are traced for later than one that repeats",
          ("lengths", "lengths-none")),
    Trick("compiling", "what is large and comes again becomes an XLA kernel",
          ("eager", "graph")),
    Trick("closed-form", "gradients in closed form, where there is a kernel",
          ("eager", "graph", "xla", "small"), (WIDE,), WITH_KERNEL),
)  # fmt: skip


def switch_off(name):
    """Do without a trick in this process."""
    if name == "even-rows":
        replace(dispatch.block_length, lambda loss, y_true, y_pred: None)
    elif name == "one-kernel":
        tape_watch.PossibleTapeGradientTypes = None
    elif name == "recompute":
        autodiff.REMAT_MIN_ROW = float("inf")
    elif name == "matvec-sums":
        replace(sums.sum_along, _plain_sum)
        replace(sums.mean_along, lambda values, axis=-1: tf.reduce_mean(values, axis))
    elif name == "own-log1p":
        replace(crossentropy.log1p, lambda x: tf.math.log1p(x))
    elif name == "tracing":
        replace(dispatch._kernel, lambda core, key, jit_compile: None)
    elif name == "patience":
        dispatch.WARMUP_SHAPES = dispatch.WARMUP_CALLS
    elif name == "compiling":
        dispatch.MIN_ELEMENTS = dispatch.MIN_ELEMENTS_PER_SAMPLE = 2**60
    elif name == "closed-form":
        for public in losses.__all__:
            function = getattr(losses, public)
            if hasattr(function, "definition") and function.kernel is not None:
                function.body.__defaults__ = (None,)


def replace(function, by):
    """What `function` does, wherever it has been imported to."""
    function.__code__ = by.__code__


def _plain_sum(values, axis=-1, keepdims=False):
    return tf.reduce_sum(values, axis, keepdims)


def measure(name, paths, shapes, of=None):
    """[(loss, path, shape, Keras's time over ours)] in this process."""
    switch_off(name)
    found = []
    for spec in bench.SPECS:
        if of is not None and spec.loss not in of:
            continue
        large = [s for s in spec.large if s in shapes] or spec.large[:1]
        spec = dataclasses.replace(spec, large=tuple(large))
        for cell in bench.bench(bench.cells_to_measure([spec], paths)):
            found.append((cell.name, cell.path, cell.shape, cell.ratio))
    return found


def in_a_process(name, paths, shapes, of=None):
    given = f"{name!r}, {paths!r}, {shapes!r}, {of!r}"
    code = f"import json, tricks; print(json.dumps(tricks.measure({given})))"
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def gains(with_it, without):
    """{path: what the trick buys: in the geometric mean, at least and at most}."""
    by_path = {}
    for loss, path, shape, ratio in without:
        gain = with_it[loss, path, tuple(shape)] / ratio
        print(f"{gain:.2f} {loss} {path}", file=sys.stderr)
        by_path.setdefault(path, []).append(gain)
    return {
        path: {
            "mean": round(bench.geometric_mean(found), 3),
            "least": round(min(found), 3),
            "most": round(max(found), 3),
        }
        for path, found in by_path.items()
    }


def main(folder, *names):
    runs, _, kept = speed_page.load(folder)
    with_all = {
        (cell["loss"], cell["path"], tuple(cell["shape"])): cell["ratio"]
        for cell in runs[0]["cells"]
    }
    if not names or kept is None:
        kept = {"schema": SCHEMA, "tricks": {}}
    for trick in TRICKS:
        if names and trick.name not in names:
            continue
        without = in_a_process(trick.name, trick.paths, trick.shapes, trick.losses)
        found = {"what": trick.what, "paths": gains(with_all, without)}
        kept["tricks"][trick.name] = found
        print(trick.name, found["paths"], flush=True)
        write(dumps(kept), os.path.join(folder, "tricks.json"))


if __name__ == "__main__":
    main(*sys.argv[1:])
