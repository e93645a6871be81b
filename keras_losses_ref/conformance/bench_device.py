"""How fast ours and Keras's losses are on one device, within minutes: for a GPU.

The same steps and ratios as in `bench`, of tensors that lie on the device, and with its
memory. A device computes on its own time, so a step has ended when an element of its
gradient has come back. To fit in `SECONDS` one large shape of each loss is measured, in
`PATHS`, path by path; what was left out is part of the report.
"""

import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Any, Callable, Optional

from keras_losses_ref.conformance import bench
from keras_losses_ref.conformance.files import dumps
from keras_losses_ref.conformance.report.text import wrapped
from keras_losses_ref.conformance.runtime import runtime_info

PATHS = ("eager", "graph", "xla")
#: After this long no further cell is begun.
SECONDS = 90
#: How many times the rows that are drawn stand in a batch: to draw takes longer than
#: to measure.
_REPEATS = 8

_LEFT_OUT = (
    "`small`, `lengths` and every other size of a loss: `keras-losses-ref bench` "
    "measures them on a CPU",
    "other dtypes than float32",
    "losses that no release of Keras has",
)


class NoSuchDevice(ValueError):
    """TensorFlow does not find the device; the message names those it finds."""


@dataclasses.dataclass(frozen=True)
class DeviceCell(bench.Cell):
    """A Cell, and what a step holds beside its inputs in y_preds: (ours, Keras's)."""

    memory: Optional[tuple[float, float]] = None


def require(device: str) -> None:
    """Refuse a device that is not there."""
    from keras_losses_ref.conformance import runners

    found = runners.load("tensorflow").devices()
    if device not in found:
        raise NoSuchDevice(
            f"TensorFlow finds no such device. Received: {device!r}. Expected one of: "
            f"{', '.join(found)}."
        )


def cells_to_measure(
    specs: Iterable[bench.BenchSpec],
    paths: Iterable[str] = PATHS,
    fast: bool = False,
) -> list[tuple[bench.BenchSpec, str, tuple[int, ...]]]:
    """(spec, path, shape) of each cell: the largest shape, or the first if `fast`."""
    specs = list(specs)
    return [
        (spec, path, spec.large[0] if fast else max(spec.large, key=math.prod))
        for path in paths
        for spec in specs
    ]


def measure(
    found: Sequence[Any],
    device: str,
    progress: Optional[Callable[[int, str], object]] = None,
    seconds: float = SECONDS,
) -> tuple[list[DeviceCell], list[str]]:
    """(a cell for each of the places `found`, what was left out and why)."""
    import tensorflow as tf

    from keras_losses_ref.losses import compat

    end, cells, left_out = time.perf_counter() + seconds, [], list(_LEFT_OUT)
    draw, late = functools.cache(_tensors), []
    for done, (spec, path, shape) in enumerate(found, 1):
        if progress is not None:
            progress(done, f"{spec.name} {path}")
        if compat.builtin(spec.loss) is None:
            continue
        if time.perf_counter() > end:
            late.append(f"{spec.name} {path}")
            continue
        try:
            with tf.device(device):
                cells.append(_one(spec, path, draw(spec.draw, shape), device))
        except tf.errors.OpError as error:
            said = str(error).strip().split("\n")[0][:200]
            left_out.append(f"{spec.name} {path}, which failed: {said}")
    if late:
        left_out.append(f"when {seconds:g} s were over: {', '.join(late)}")
    return cells, left_out


def _tensors(draw, shape):
    """A batch on the device in use, of rows that stand in it several times."""
    import tensorflow as tf

    repeats = _REPEATS if shape[0] % _REPEATS == 0 else 1
    both = bench.tensors(draw, (shape[0] // repeats, *shape[1:]))
    return [tf.tile(t, [repeats] + [1] * (t.shape.rank - 1)) for t in both]


def _one(spec, path, inputs, device):
    from keras_losses_ref import losses
    from keras_losses_ref.losses import compat

    steps = [
        functools.partial(
            bench.step(getattr(module, spec.loss)(**dict(spec.arguments)), path),
            *inputs,
        )
        for module in (losses, compat.keras.losses)
    ]
    times = bench.measure(*steps, seconds=0.25, pairs=(5, 40), wait=wait)
    y_true, y_pred = inputs
    indexed = y_true.shape.rank < y_pred.shape.rank
    held = [_memory(step, device, y_pred) for step in steps]
    held = None if None in held else tuple(held)
    return DeviceCell(spec.name, path, tuple(y_pred.shape), *times, indexed, held)


def wait(value: Any, gradient: Any) -> None:
    """Return when value and gradient are computed: an element of each comes back."""
    import tensorflow as tf

    for result in (value, gradient):
        tf.reshape(result, [-1])[0].numpy()


def _memory(step, device, y_pred):
    """The most that a step holds beside its inputs, in y_preds; None off a GPU."""
    import tensorflow as tf

    if not device.startswith("GPU"):
        return None  # TensorFlow counts for those alone
    memory = tf.config.experimental
    memory.reset_memory_stats(device)
    before = memory.get_memory_info(device)["current"]
    wait(*step())
    peak = memory.get_memory_info(device)["peak"]
    return (peak - before) / (y_pred.dtype.size * math.prod(y_pred.shape))


def bandwidth(device: str, size: int = 2**26, times: int = 9) -> float:
    """Bytes a second that the device reads and writes, adding to a large tensor."""
    import tensorflow as tf

    seconds = []
    with tf.device(device):
        numbers = tf.zeros([size // 4])
        for _ in range(times + 1):
            wait(numbers[:1], numbers)
            start = time.perf_counter()
            wait(numbers[:1], numbers + 1)
            seconds.append(time.perf_counter() - start)
    return 2 * size / statistics.median(seconds[1:])


def render(
    cells: Sequence[DeviceCell],
    left_out: Sequence[str],
    speed: float,
    device: str,
    format: str,
) -> str:
    environment = runtime_info([device])
    if format == "json":
        document = bench.document(cells, speed)
        for cell, row in zip(cells, document["cells"]):
            row["memory"] = cell.memory and [round(x, 2) for x in cell.memory]
        return dumps({**document, "environment": environment, "left_out": left_out})
    where = ", ".join(f"{name} {value}" for name, value in environment.items())
    if format == "md":
        lines = [where, "", *bench.render(cells, speed, "md").splitlines(), ""]
        lines += ["Left out:", "", *(f"- {words}" for words in left_out)]
        return "\n".join(lines) + "\n"
    lines = [*wrapped(where, ""), bench.render(cells, speed, "text").rstrip()]
    held = [cell for cell in cells if cell.memory]
    if held:
        lines += ["", "memory of a step beside its inputs, in y_preds: ours, Keras's"]
    for cell in held:
        ours, keras = cell.memory
        lines.append(f"{cell.name} {cell.path}: {ours:.1f} {keras:.1f}")
    for words in ("", "left out:", *left_out):
        lines += wrapped(words, "", "  ") or [""]
    return "\n".join(lines) + "\n"
