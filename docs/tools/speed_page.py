"""The measured speed and memory, in words and tables made of them.

docs/speed keeps what `bench --format json` printed: a run a file, run*.json, and the
memory of a step in memory.json. README.md beside them is printed from these, and so is
the table of speed in the README of the project.

    python docs/tools/speed_page.py docs/speed

A machine is never quite idle, so a ratio is the median of the runs, and the page also
shows the ratio of each run. The first run has every size, the others may be --fast.
"""

import glob
import json
import os
import statistics
import sys

from keras_losses_ref.conformance.bench import PATHS, geometric_mean
from keras_losses_ref.conformance.files import SCHEMA
from keras_losses_ref.conformance.report.markdown import table


def load(folder):
    """(the runs, the memory or None, the tricks or None) as the files hold them."""
    runs = [_read(path) for path in sorted(glob.glob(os.path.join(folder, "run*")))]
    if not runs:
        raise ValueError(
            f"no runs to print. Received: {folder!r} without a run*.json. Make some: "
            "keras-losses-ref bench --format json --output run1.json"
        )
    paths = (os.path.join(folder, f"{name}.json") for name in ("memory", "tricks"))
    return (runs, *(_read(path) if os.path.exists(path) else None for path in paths))


def _read(path):
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    if found.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} is of another schema. Received: {found.get('schema')!r}. "
            f"Expected: {SCHEMA}. Measure again with keras-losses-ref bench."
        )
    return found


def cells(runs):
    """{(loss, path, shape): the ratios of the runs}, in the order of the first."""
    found = {}
    for run in runs:
        for cell in run["cells"]:
            found.setdefault(_place(cell), []).append(cell["ratio"])
    return found


def _place(cell):
    return cell["loss"], cell["path"], tuple(cell["shape"])


def means(runs, path):
    """The geometric mean of a path in each run, over the cells that all runs have."""
    found = [
        ratios
        for place, ratios in cells(runs).items()
        if place[1] == path and len(ratios) == len(runs)
    ]
    return [geometric_mean(ratios) for ratios in zip(*found)]


def medians(runs):
    """{(loss, path, shape): the median of the runs}."""
    return {place: statistics.median(r) for place, r in cells(runs).items()}


def by_loss(runs):
    """A row a loss, a column a path: the ratio of the size where ours does worst."""
    found = medians(runs)
    paths = [path for path in PATHS if any(place[1] == path for place in found)]
    rows = []
    for name in dict.fromkeys(loss for loss, _, _ in found):
        row = [f"`{name.split(' ')[0]}`{name[len(name.split(' ')[0]) :]}"]
        for path in paths:
            ratios = [r for place, r in found.items() if place[:2] == (name, path)]
            row.append(f"{min(ratios):.2f}" if ratios else "–")
        rows.append(row)
    rows.append(["**geometric mean**", *(_range(means(runs, path)) for path in paths)])
    counts = [len(run["cells"]) for run in runs]
    if counts[0] == len(found) > min(counts):
        once = [_range(means(runs[:1], path)) for path in paths]
        rows.append(["of every size, first run", *once])
    return table(["loss", *paths], rows)


def _range(ratios):
    low, high = min(ratios), max(ratios)
    middle = f"**{statistics.median(ratios):.2f}**"
    return middle if len(ratios) == 1 else f"{middle} ({low:.2f} to {high:.2f})"


def slower(runs):
    """How often Keras's loss is the faster one, and a list of the cells."""
    found, names = medians(runs), {}
    for (loss, path, shape), ratio in found.items():
        if ratio < 1:
            names.setdefault(path, []).append(f"{loss} {_shape(shape)} {ratio:.2f}")
    count = sum(map(len, names.values()))
    lines = [f"- `{path}`: {', '.join(cells)}" for path, cells in names.items()]
    return f"Keras's loss is faster in {count} of {len(found)} cells", lines


def by_trick(tricks):
    """A row a trick and path: what it buys in the mean, at least and at most."""
    rows = [
        (f"`{name}`: {found['what']}", path, *(f"{gain[k]:.2f}" for k in _GAINS))
        for name, found in tricks["tricks"].items()
        for path, gain in found["paths"].items()
    ]
    return table(["trick", "path", *_GAINS], rows)


_GAINS = ("mean", "least", "most")


def _shape(shape):
    return "×".join(str(n or "n") for n in shape)


def where(runs):
    host = runs[0]["environment"]
    count = {1: "one run", 2: "two runs", 3: "three runs"}.get(
        len(runs), f"{len(runs)} runs"
    )
    return (
        f"TensorFlow {host['tensorflow']}, Keras {host['keras']}, {host['device']}; "
        f"{count}."
    )


_INTRODUCTION = """\
# Speed and memory

How much faster our losses are than Keras's: Keras's time divided by ours, for the loss
and its gradient to `y_pred` in float32, measured in turn in one process. Above 1 ours
is faster. {where}

    keras-losses-ref bench                 # every size; --fast: one of each loss
    keras-losses-ref bench --memory        # memory instead of time (Linux)

- `eager`, `graph`, `xla`: a step in eager mode, in a `tf.function`, in a compiled one.
- `small`: an eager step with a batch of 32.
- `lengths`: 20 batches of sequences of different lengths.
- `lengths-none`: the same with `reduction="none"`.

Each cell is the worst of several sizes; all sizes are below. The mean is over the cells
that all runs have.
"""


def page(runs, memory, tricks=None):
    """docs/speed/README.md."""
    lines = [_INTRODUCTION.format(where=where(runs)), *by_loss(runs), ""]
    count, names = slower(runs)
    lines += [f"{count}{':' if names else '.'}", "", *names, *[""] * bool(names)]
    if memory is not None:
        lines += ["## Memory", "", _MEMORY, ""]
        rows = [
            (row["loss"], row["path"], f"{row['ours']:.1f}", f"{row['keras']:.1f}")
            for row in memory["memory"]
        ]
        lines += [*table(["loss", "path", "ours", "Keras's"], rows), ""]
    if tricks is not None:
        lines += ["## What each trick buys", "", _TRICKS, "", *by_trick(tricks), ""]
    lines += ["## Every cell", "", _EVERY, ""]
    ratios, middle, rows = cells(runs), medians(runs), []
    for cell in runs[0]["cells"]:
        place, times = _place(cell), (cell["ours_seconds"], cell["keras_seconds"])
        loss, path, shape = place
        rows.append(
            (
                *(loss, path, _shape(shape), f"{middle[place]:.2f}"),
                " ".join(f"{ratio:.2f}" for ratio in ratios[place]),
                *(f"{1e3 * seconds:.3g}" for seconds in times),
                "" if cell["floors"] is None else f"{cell['floors']:.1f}",
            )
        )
    columns = ["loss", "path", "size", "ratio", "runs", "ours, ms", "Keras's, ms"]
    lines += table([*columns, "floors"], rows)
    return "\n".join(lines) + "\n"


_MEMORY = """\
The peak memory of a step beside its inputs, in units of one `y_pred`, each measured in
a process of its own. The rows of MeanSquaredError, MeanAbsoluteError,
MeanAbsolutePercentageError, Huber, Hinge, SquaredHinge, Circle, CTC,
CategoricalGeneralizedCrossEntropy and the binary cross-entropies are those of version
0.1.0."""

_TRICKS = """\
A step's time without the trick over its time with it, made by `docs/tools/tricks.py`:
the geometric mean over the losses that have it, and the least and the most of one cell.
1.10 is a gain of 10 %.

What did not pay was deleted after this table was made: the recomputation of rows but
for two losses, whose memory it halves, and the gradients in closed form of
KLDivergence, Poisson, Dice and Tversky (0.69 to 0.77 in a graph, 0.80 to 1.03 under
XLA, 1.07 to 1.26 in eager mode). The ratios on this page are from before that."""

_EVERY = """\
The times are those of the first run. `floors` is our time in units of the memory floor:
the time to read both inputs once and to write the gradient, at the bandwidth with which
this machine copies."""


def main(folder):
    text = page(*load(folder))
    with open(os.path.join(folder, "README.md"), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
