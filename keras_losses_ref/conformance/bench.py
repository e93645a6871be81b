"""The speed and memory of our losses and Keras's, measured in turn on the same step.

A step is a loss and its gradient to `y_pred`, in float32. One process alternates
between a few steps of ours and a few of Keras's, so other load on the machine affects
both. The ratio of two neighbours (Keras's time over ours; above 1 ours is faster) is
more reliable than either time. A cell is one (loss, path, size). Its ratio is the
median of all pairs, its spread their quartiles.

    eager, graph, xla   a step in eager mode, in a `tf.function`, in a compiled one
    small               eager, with a batch of 32: the overhead of a call
    lengths             20 batches of sequences of different lengths, a step each
    lengths-none        the same with reduction="none", as in a masked mean
"""

import collections
import dataclasses
import functools
import gc
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref.conformance import inputs
from keras_losses_ref.conformance.files import SCHEMA, dumps
from keras_losses_ref.conformance.report import markdown
from keras_losses_ref.conformance.report.text import wrapped

PATHS = ("eager", "graph", "xla", "small", "lengths", "lengths-none")
_OF_LENGTHS = ("lengths", "lengths-none")
#: Elements that a step reads and writes come from here, not from a cache.
LARGE = ((1024, 1000), (64, 64, 64, 21), (4096, 4096))


# --- inputs: (random numbers, shape of y_pred) -> (y_true, y_pred) --------------------


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def reals(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    return random.standard_normal(shape), random.standard_normal(shape)


def positive(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    return random.uniform(0.1, 3.0, shape), random.uniform(0.1, 3.0, shape)


def signs(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    return random.choice([-1.0, 1.0], shape), random.standard_normal(shape)


def binary(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    return random.integers(0, 2, shape), random.uniform(0.01, 0.99, shape)


def binary_logits(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    return random.integers(0, 2, shape), 3 * random.standard_normal(shape)


def indices(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    return (
        random.integers(0, shape[-1], shape[:-1]).astype("int32"),
        _softmax(random.standard_normal(shape)),
    )


def index_logits(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    return indices(random, shape)[0], 3 * random.standard_normal(shape)


def _hot(draw):
    def one_hot(random, shape):
        y_true, y_pred = draw(random, shape)
        y_true = y_true[..., np.newaxis] == np.arange(shape[-1], dtype="int32")
        return y_true, y_pred

    return one_hot


one_hot, one_hot_logits = _hot(indices), _hot(index_logits)


def shares(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    return tuple(_softmax(random.standard_normal(shape)) for _ in range(2))


def embeddings(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    rows = random.standard_normal(shape)
    labels = random.integers(0, max(2, shape[0] // 8), shape[:1]).astype("int32")
    return labels, rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def sequences(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    count = max(1, shape[1] // 5)
    labels = random.integers(1, shape[2], (shape[0], count)).astype("int32")
    return labels, 3 * random.standard_normal(shape)


# --- what is measured ----------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class BenchSpec:
    """A loss with the arguments and the inputs with which it is measured."""

    loss: str
    draw: Callable[..., Any]
    arguments: tuple[tuple[str, Any], ...] = ()
    large: tuple[tuple[int, ...], ...] = LARGE
    small: tuple[int, ...] = (32, 10)
    #: The shape with None for the length; None if the loss takes no sequences.
    lengths: Any = (32, None, 32)

    @property
    def name(self) -> str:
        return self.loss + (" from logits" if self.arguments else "")


#: domain: how a usual batch is drawn.
DRAWS = {
    "real": reals,
    "positive": positive,
    "counts": positive,
    "vectors": reals,
    "signs": signs,
    "binary": binary,
    "binary_logits": binary_logits,
    "one_hot": one_hot,
    "logits": one_hot_logits,
    "indices": indices,
    "index_logits": index_logits,
    "probabilities": shares,
    "segmentation": binary,
    "embeddings": embeddings,
    "sequence": sequences,
}
#: The sizes of a domain, or of a loss, that are not those of all.
_SIZES_OF_DOMAIN = {
    "embeddings": {"large": ((512, 128),), "lengths": None},
    "sequence": {"large": ((16, 200, 64),), "small": (32, 10, 6)},
}
_SIZES_OF_LOSS = {
    "SparseCategoricalCrossentropy": {"large": (*LARGE, (256, 50000))},
    "CategoricalGeneralizedCrossEntropy": {"lengths": None},
}
#: No release of Keras has these: there is nothing to compare with.
_NOT_MEASURED = ("SparseCategoricalFocalCrossentropy",)


def _spec(row):
    """The default axis is measured, whichever one the row has."""
    arguments = tuple(item for item in row.config.items() if item[0] != "axis")
    sizes = {
        **_SIZES_OF_DOMAIN.get(row.domain, {}),
        **_SIZES_OF_LOSS.get(row.loss, {}),
    }
    return BenchSpec(row.loss, DRAWS[row.usual or row.domain], arguments, **sizes)


SPECS = tuple(_spec(row) for row in inputs.LOSSES if row.loss not in _NOT_MEASURED)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One measurement: seconds a step, and the ratios of neighbours."""

    name: str
    path: str
    shape: tuple[Any, ...]
    ours: float
    keras: float
    ratios: tuple[float, ...]
    #: Whether y_true holds one class for a row of y_pred.
    indexed: bool = False

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles of the ratios."""
        low, _, high = statistics.quantiles(self.ratios, n=4)
        return low, high

    @property
    def bytes(self) -> int:
        """What a step must move: both inputs read, the gradient written."""
        labels = 4 * math.prod(self.shape[:-1] if self.indexed else self.shape)
        return labels + 8 * math.prod(self.shape)


def geometric_mean(ratios: Iterable[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))


def tensors(
    draw: Callable[..., Any], shape: tuple[int, ...], seed: int = 0
) -> tuple[Any, Any]:
    import tensorflow as tf

    y_true, y_pred = draw(np.random.default_rng(seed), shape)
    labels = y_true if y_true.dtype.kind == "i" and y_true.ndim < y_pred.ndim else None
    y_true = labels if labels is not None else y_true.astype("float32")
    return tf.constant(y_true), tf.constant(y_pred.astype("float32"))


def step(loss: Any, path: str) -> Callable[[Any, Any], Any]:
    """(y_true, y_pred) -> (loss, gradient to y_pred)."""
    import tensorflow as tf

    def run(y_true, y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        return value, tape.gradient(value, y_pred)

    if path in ("eager", "small"):
        return run
    return tf.function(run, jit_compile=path == "xla")


def ended(value: Any, gradient: Any) -> None:
    """Return when a step has ended on a CPU, where eager results are there at once."""
    value.numpy(), gradient.shape


def timed(
    run: Callable[[], Any], times: int, wait: Callable[..., object] = ended
) -> float:
    start = time.perf_counter()
    for _ in range(times):
        value, gradient = run()
    wait(value, gradient)
    return (time.perf_counter() - start) / times


def measure(
    ours: Callable[[], Any],
    keras: Callable[[], Any],
    seconds: float = 0.5,
    pairs: tuple[int, int] = (7, 60),
    warm_up: int = 4,
    wait: Callable[..., object] = ended,
) -> tuple[float, float, tuple[float, ...]]:
    """Times of both, taken in turn: (ours, keras, the ratios of neighbours)."""
    once = functools.partial(timed, wait=wait)
    for run in (ours, keras):
        for _ in range(warm_up):
            run()
    slow = max(once(ours, 1), once(keras, 1))
    times = max(1, min(20, int(0.004 / slow)))
    count = int(min(pairs[1], max(pairs[0], seconds / (2 * slow * times))))
    gc.collect()
    gc.disable()
    try:
        both = []
        for turn in range(count):
            if turn % 2:
                mine, theirs = once(ours, times), once(keras, times)
            else:
                theirs, mine = once(keras, times), once(ours, times)
            both.append((mine, theirs))
    finally:
        gc.enable()
    ratios = tuple(theirs / mine for mine, theirs in both)
    return (*(statistics.median(column) for column in zip(*both)), ratios)


def _one(spec, path, shape, losses):
    y_true, y_pred = tensors(spec.draw, shape)
    ours, keras = (step(loss, path) for loss in losses)
    times = measure(lambda: ours(y_true, y_pred), lambda: keras(y_true, y_pred))
    return Cell(spec.name, path, shape, *times, y_true.shape.rank < len(shape))


def _lengths(spec, path, losses, turns=4):
    """20 batches, no two of one length, a step each; new lengths in every turn."""
    both = []
    for turn in range(turns):
        batches = [
            tensors(spec.draw, tuple(n or 16 + 20 * turn + i for n in spec.lengths))
            for i in range(20)
        ]
        times = {}
        for who in (0, 1) if turn % 2 else (1, 0):
            run, start = step(losses[who], "eager"), time.perf_counter()
            for batch in batches:
                value, gradient = run(*batch)
                value.numpy(), gradient.numpy()
            times[who] = (time.perf_counter() - start) / len(batches)
        both.append((times[0], times[1]))
    ratios = tuple(theirs / mine for mine, theirs in both)
    ours, keras = (statistics.median(column) for column in zip(*both))
    return Cell(spec.name, path, spec.lengths, ours, keras, ratios)


def cells_to_measure(
    specs: Iterable[BenchSpec] = SPECS, paths: Iterable[str] = PATHS, fast: bool = False
) -> list[tuple[BenchSpec, str, tuple[Any, ...]]]:
    """(spec, path, shape) of every cell; of the large shapes the first if `fast`."""
    found = []
    for spec in specs:
        large = spec.large[:1] if fast else spec.large
        shapes = {"small": [spec.small]}
        shapes.update(dict.fromkeys(_OF_LENGTHS, [spec.lengths]))
        for path in paths:
            found += [
                (spec, path, shape)
                for shape in shapes.get(path, large)
                if shape is not None
            ]
    return found


def bench(
    found: Sequence[Any], progress: Optional[Callable[[int, str], object]] = None
) -> list[Cell]:
    """A Cell for each of the places `found`, but where this Keras lacks the loss."""
    from keras_losses_ref import losses
    from keras_losses_ref.losses import compat

    cells = []
    for done, (spec, path, shape) in enumerate(found, 1):
        if progress is not None:
            progress(done, f"{spec.name} {path}")
        if compat.builtin(spec.loss) is None:
            continue
        arguments = dict(spec.arguments)
        if path == "lengths-none":
            arguments["reduction"] = "none"
        both = [
            getattr(module, spec.loss)(**arguments)
            for module in (losses, compat.keras.losses)
        ]
        if path in _OF_LENGTHS:
            cells.append(_lengths(spec, path, both))
        else:
            cells.append(_one(spec, path, shape, both))
    return cells


def bandwidth(size: int = 2**26, times: int = 9) -> float:
    """Bytes a second that this machine copies, reads and writes together."""
    source = np.zeros(size, np.uint8)
    target = np.ones_like(source)
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - start)
    return 2 * size / statistics.median(seconds)


# --- memory ---------------------------------------------------------------------------

MEMORY = (4096, 4096)


def memory(
    spec: BenchSpec, path: str, shape: tuple[int, ...] = MEMORY
) -> tuple[float, ...]:
    """(ours, Keras's): the peak memory of a step beside its inputs, in y_preds.

    Each in a process of its own, whose high-water mark the system keeps (Linux).
    """
    # Freed memory must go back to the system at once, or the mark would not move: with
    # oneDNN TensorFlow keeps it, and for smaller arrays the C library does.
    settings = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    settings["MALLOC_MMAP_THRESHOLD_"] = settings["MALLOC_TRIM_THRESHOLD_"] = "65536"
    children = []
    for who in ("ours", "keras"):
        code = f"from {__name__} import _peak; _peak({SPECS.index(spec)}, "
        code += f"{path!r}, {shape!r}, {who!r})"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", code]
        children.append(subprocess.Popen(command, env=settings, **pipes))
    answers = [child.communicate() for child in children]
    for child, (_, said) in zip(children, answers):
        if child.returncode:
            raise RuntimeError(said[-2000:])
    return tuple(float(printed.split()[-1]) for printed, _ in answers)


def memories(
    found: Sequence[Any], progress: Optional[Callable[[int, str], object]] = None
) -> list[tuple[Any, ...]]:
    """(name, path, ours, Keras's) for each (spec, path) of `found`, in y_preds."""
    rows = []
    for done, (spec, path) in enumerate(found, 1):
        if progress is not None:
            progress(done, f"{spec.name} {path}")
        shape = MEMORY if MEMORY in spec.large else spec.large[0]
        rows.append((spec.name, path, *memory(spec, path, shape)))
    return rows


def _peak(index, path, shape, who):
    """Print the memory of one step, after a few others have built what lasts."""
    from keras_losses_ref import losses
    from keras_losses_ref.losses import compat

    spec = SPECS[index]
    module = losses if who == "ours" else compat.keras.losses
    loss = getattr(module, spec.loss)(**dict(spec.arguments))
    y_true, y_pred = tensors(spec.draw, shape)
    run = step(loss, path)
    for _ in range(4):
        run(y_true, y_pred)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the mark starts again from what is in use
    before = _status("VmRSS")
    run(y_true, y_pred)
    print((_status("VmHWM") - before) / (4 * math.prod(shape)))


def _status(name):
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(name))
    return 1024 * int(line.split()[1])


# --- report ---------------------------------------------------------------------------

_GOAL = (
    "Keras's time over ours, forward and gradient in float32; above 1 ours is faster"
)


def document(cells: Sequence[Cell], speed: float) -> dict[str, Any]:
    """What --format json prints."""
    from keras_losses_ref.conformance.runtime import runtime_info

    return {
        "schema": SCHEMA,
        "environment": runtime_info(),
        "bytes_per_second": round(speed),
        "cells": [
            {
                "loss": cell.name,
                "path": cell.path,
                "shape": list(cell.shape),
                "ratio": round(cell.ratio, 3),
                "spread": [round(x, 3) for x in cell.spread],
                "ours_seconds": float(f"{cell.ours:.4g}"),
                "keras_seconds": float(f"{cell.keras:.4g}"),
                "floors": None
                if None in cell.shape
                else round(cell.ours * speed / cell.bytes, 2),
            }
            for cell in cells
        ],
    }


def table(cells: Sequence[Cell]) -> list[list[str]]:
    """Rows of strings: a loss in each, a path in each column, the lowest ratio there.

    The last rows hold the geometric mean and the lowest of each path.
    """
    paths = [path for path in PATHS if any(cell.path == path for cell in cells)]
    rows = [["loss", *paths]]
    for name in dict.fromkeys(cell.name for cell in cells):
        row = [name]
        for path in paths:
            found = [c.ratio for c in cells if (c.name, c.path) == (name, path)]
            low, high = min(found, default=None), max(found, default=None)
            row.append(
                "" if low is None else f"{low:.2f}" + f" to {high:.2f}" * (low < high)
            )
        rows.append(row)
    of_path = [[cell.ratio for cell in cells if cell.path == path] for path in paths]
    rows.append(["geometric mean", *(f"{geometric_mean(r):.2f}" for r in of_path)])
    rows.append(["lowest", *(f"{min(ratios):.2f}" for ratios in of_path)])
    return rows


def render(cells: Sequence[Cell], speed: float, format: str) -> str:
    if format == "json":
        return dumps(document(cells, speed))
    rows = table(cells)
    if format == "md":
        return "\n".join(markdown.table(rows[0], rows[1:])) + "\n"
    lines = [_means(cells), _GOAL, ""]
    (_, *paths), *losses = rows
    for loss, *ratios in losses:
        found = [f"{p} {ratio}" for p, ratio in zip(paths, ratios) if ratio]
        lines += wrapped(f"{loss}: {', '.join(found)}", "", "  ")
    lines += ["", "cell, ratio [quartiles], ours, Keras's, times the memory floor"]
    for cell in cells:
        low, high = cell.spread
        shape = "x".join(str(n or "*") for n in cell.shape)
        floor = "" if None in cell.shape else f"{cell.ours * speed / cell.bytes:8.1f}"
        lines += wrapped(
            f"{cell.name} {cell.path} {shape}: {cell.ratio:.2f} [{low:.2f} {high:.2f}] "
            f"{cell.ours * 1e3:.3f} ms {cell.keras * 1e3:.3f} ms{floor}",
            "",
            "  ",
        )
    return "\n".join(lines) + "\n"


def _means(cells):
    """The speed of ours on each path, in one line."""
    ratios = collections.defaultdict(list)
    for cell in cells:
        ratios[cell.path].append(cell.ratio)
    words = (
        f"{path} {statistics.geometric_mean(found):.2f}"
        for path, found in ratios.items()
    )
    return f"ours is so many times as fast as Keras's: {', '.join(words)}"


def render_memory(rows: Sequence[Any], format: str) -> str:
    if format == "json":
        keys = ("loss", "path", "ours", "keras")
        found = [dict(zip(keys, row)) for row in rows]
        return dumps({"schema": SCHEMA, "memory": found})
    head = ["loss", "path", "ours", "Keras"]
    rows = [[name, path, f"{o:.2f}", f"{k:.2f}"] for name, path, o, k in rows]
    if format == "md":
        return "\n".join(markdown.table(head, rows)) + "\n"
    lines = ["Memory of a step beside its inputs, in units of one y_pred", ""]
    lines += [
        f"{row[0]:<42} {row[1]:6s} {row[2]:>7s} {row[3]:>7s}" for row in (head, *rows)
    ]
    return "\n".join(lines) + "\n"
