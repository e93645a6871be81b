"""The atlas as a file of numbers, and in words and pictures made of them.

atlas.json holds the errors of every cell: {"schema", "environment", "seed", "size" of a
cell, "broken": the rules that cells break, in words, "columns": the names of what a row
has, "cells": the rows}, an infinite error as the string "inf". README.md beside it is
printed from it, and so is the table of accuracy in the README of the project.
"""

import collections
import itertools
import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_losses_ref.conformance.accuracy import (
    ASPECTS,
    DTYPES,
    FAMILIES,
    SIZE,
    SPECS,
    Cell,
)
from keras_losses_ref.conformance.files import SCHEMA
from keras_losses_ref.conformance.report.markdown import table
from keras_losses_ref.conformance.runtime import runtime_info
from keras_losses_ref.conformance.tolerance import FLOAT_INFO

#: One cell in the file. The errors are (largest, 99.9th percentile, median); of Keras's
#: None where this Keras lacks the loss.
Row = collections.namedtuple(
    "Row", "subject dtype path family aspect ours keras ours_ulp keras_ulp"
)
_ERRORS = Row._fields[5:]

_SPECS = {spec.name: spec for spec in SPECS}


def document(cells: Sequence[Cell], seed: int = 0) -> dict[str, Any]:
    """What the file holds, the rows as `Row`s."""
    return {
        "schema": SCHEMA,
        "environment": runtime_info(),
        "seed": seed,
        "size": SIZE,
        "broken": violations(cells),
        "cells": [_row(cell) for cell in cells],
    }


def _row(cell):
    found = (cell.statistics(name) for name in _ERRORS)
    # Four digits: more is noise that would drown a change of the file.
    found = (three and tuple(float(f"{x:.4g}") for x in three) for three in found)
    place = (cell.dtype, cell.path, cell.family, cell.aspect)
    return Row(cell.spec.name, *place, *found)


def dumps(found: dict[str, Any]) -> str:
    """The text of the file, a row a line."""

    def plain(ulp):
        return ulp if math.isfinite(ulp) else str(ulp)

    lines = [
        json.dumps([*row[:5], *(three and [*map(plain, three)] for three in row[5:])])
        for row in found["cells"]
    ]
    head = {**found, "columns": Row._fields, "cells": []}
    text = json.dumps(head, indent=1, sort_keys=True, allow_nan=False)
    rows = ",\n".join(lines)
    return text.replace('"cells": []', f'"cells": [\n{rows}\n ]', 1) + "\n"


def load(folder: Any) -> dict[str, Any]:
    """What `dumps` wrote into `folder`."""
    with open(os.path.join(folder, "atlas.json"), encoding="utf-8") as file:
        found = json.load(file)
    if found["columns"] != [*Row._fields]:
        raise ValueError(
            f"{folder}/atlas.json was made by another version. Received the columns "
            f"{', '.join(found['columns'])}. Expected: {', '.join(Row._fields)}. Make "
            "it again: nox -s atlas"
        )
    found["cells"] = [
        Row(*row[:5], *(three and tuple(map(float, three)) for three in row[5:]))
        for row in found["cells"]
    ]
    return found


def number(ulp: float) -> str:
    """An error in few characters: 0.5, 42, 3e7; inf for what is not finite."""
    if not math.isfinite(ulp):
        return "inf"
    if ulp >= 1000:
        return f"{ulp:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"{ulp:.1f}" if ulp < 10 else f"{ulp:.0f}"


def summary(rows: Iterable[Any]) -> str:
    """The accuracy table as Markdown: the worst over all paths and families."""
    return _by_aspect(rows, _worst)


def typical(rows: Iterable[Any]) -> list[str]:
    """The same for typical inputs, in plain ulp."""
    chosen = [row for row in rows if row.family == "typical"]
    plain = [row._replace(ours=row.ours_ulp, keras=row.keras_ulp) for row in chosen]
    return _by_aspect(plain, _worst)


def _by_aspect(rows, cells):
    dtypes = _dtypes(rows)
    lines = []
    for name, aspect in itertools.product(_in_order(r.subject for r in rows), ASPECTS):
        chosen = [r for r in rows if (r.subject, r.aspect) == (name, aspect)]
        lines.append((name, aspect, *cells(chosen, dtypes)))
    return "\n".join(table(["loss", "", *dtypes], lines)) + "\n"


def by_loss(rows: Iterable[Any]) -> list[str]:
    """One line for each loss: the worst of its values and gradients, however asked."""
    dtypes = _dtypes(rows)
    lines = []
    for loss in _in_order(_SPECS[row.subject].loss for row in rows):
        chosen = [row for row in rows if _SPECS[row.subject].loss == loss]
        lines.append((f"`{loss}`", *_worst(chosen, dtypes)))
    return table(["loss", *dtypes], lines)


def _worst(rows, dtypes):
    """The 99.9th percentile and the largest error, ours / Keras's, in each dtype."""
    for dtype in dtypes:
        chosen = [row for row in rows if row.dtype == dtype]
        both = ([row.ours for row in chosen], [row.keras for row in chosen])
        yield " / ".join(_usual_and_largest(filter(None, three)) for three in both)


def _usual_and_largest(statistics):
    """ "1.8" or, where single inputs are worse, "1.8 (4.2)"; a dash for none."""
    columns = [*zip(*statistics)]
    if not columns:
        return "–"
    largest, usual = (number(max(column)) for column in columns[:2])
    return usual if usual == largest else f"{usual} ({largest})"


def _dtypes(rows):
    return [dtype for dtype in DTYPES if any(row.dtype == dtype for row in rows)]


def _in_order(things):
    return list(dict.fromkeys(things))


def violations(cells: Iterable[Cell]) -> list[str]:
    """One line for each cell that breaks a rule."""
    lines = []
    for cell in cells:
        if cell.violations:
            both = (cell.statistics(who) for who in ("ours", "keras"))
            ours, keras = (number(three[0]) if three else "–" for three in both)
            lines.append(
                f"{cell.spec.name} {cell.dtype} {cell.path}, {cell.family}, "
                f"{cell.aspect}: {' and '.join(cell.violations)}; largest of ours "
                f"{ours}, of Keras {keras}"
            )
    return lines


_INTRODUCTION = """
# Atlas of errors

How far our losses and Keras's are from the exact value, by the mixed error

    |got - exact| / (ulp(exact) + sum_i |d exact / d x_i| ulp(x_i))

- **1**: the answer is exact for inputs within one unit in the last place (ulp) of the
  given ones. Where differences cancel, no formula in that dtype does better.
- **1e7** in float32: no digit of the answer is right.
- **inf**: NaN or infinity instead of a number.

In float16 and bfloat16 a loss computes in float32 and rounds once. The ulp of the
answer is that of the dtype, and the ulp of the inputs that of float32.

Measured with {versions}, {device}; seed {seed}; {size} elements of y_pred in a cell,
fewer for Circle and CTC. `keras-losses-ref atlas --output docs/atlas` makes this page
again, with the same numbers on the same versions and kind of processor.
[atlas.json](atlas.json) has the numbers for programs. The docstring of
`keras_losses_ref/conformance/accuracy.py` says how the errors are measured.

The families of inputs: *typical*; *near 0* and *near 1*, of the prediction or of the
size of the logits; a *tiny difference* between prediction and label, which is soft
there; a *saturated* prediction, 0 or 1 or far beyond; *huge* inputs, up to the largest
number of the dtype.
"""
_ABOUT_THE_WORST = """
Ours / Keras's. Each cell is the worst of all families and paths (eager, graph, XLA):
the 99.9th percentile, and in brackets the largest error if it differs. `–`: this Keras
has no such loss.
"""
_ABOUT_TYPICAL = """
The same for the family *typical* only, where little cancels, in plain ulp.
"""
_ABOUT_THE_RULES = """
The 99.9th percentile of our errors is at most 1 in float16 and bfloat16, and 8 in
float32 and float64. It is at most 12 with a log-softmax or a focal power, and 64 for
CTC, which has no limit in float64. If our largest error is above that limit, it is not
above Keras's largest.
"""


def page(found: dict[str, Any]) -> str:
    """The atlas as a page of Markdown, which shows the pictures beside it."""
    host, rows, broken = found["environment"], found["cells"], found["broken"]
    versions = ", ".join(f"{name} {host[name]}" for name in ("tensorflow", "keras"))
    parts = [
        _INTRODUCTION.format(versions=versions, **{**host, **found}).strip(),
        "## The worst",
        _ABOUT_THE_WORST.strip(),
        summary(rows).rstrip(),
        "## Typical inputs",
        _ABOUT_TYPICAL.strip(),
        typical(rows).rstrip(),
        "## Where a rule is broken",
        _ABOUT_THE_RULES.strip(),
        "\n".join(f"- {line}" for line in broken) if broken else "Nowhere.",
    ]
    for name in _in_order(row.subject for row in rows):
        parts += [
            f"## {name}",
            f"![errors of {name} over the input]({_SPECS[name].slug}.svg)",
            "Largest, 99.9th percentile and median; ours above, Keras's below.",
            _table([row for row in rows if row.subject == name]),
        ]
    return "\n\n".join(parts) + "\n"


def _table(rows):
    families = [f for f in FAMILIES if any(row.family == f for row in rows)]
    groups = _in_order((row.aspect, row.dtype, row.path) for row in rows)
    lines = []
    for group in sorted(groups, key=lambda g: ASPECTS.index(g[0])):
        texts = {
            row.family: f"{_three(row.ours)}<br>{_three(row.keras)}"
            for row in rows
            if (row.aspect, row.dtype, row.path) == group
        }
        lines.append((" ".join(group), *(texts.get(f, "–") for f in families)))
    return "\n".join(table(["", *families], lines))


def _three(statistics):
    return " ".join(map(number, statistics)) if statistics else "–"


def write(cells: Sequence[Cell], folder: Any, seed: int = 0) -> None:
    """atlas.json, README.md and a picture for each spec, into a folder."""
    os.makedirs(folder, exist_ok=True)
    for spec in _in_order(cell.spec for cell in cells):
        chosen = [cell for cell in cells if cell.spec == spec]
        draw(chosen, os.path.join(folder, f"{spec.slug}.svg"))
    found = document(cells, seed)
    for name, text in (("atlas.json", dumps(found)), ("README.md", page(found))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


#: Errors below this are drawn at it.
_FLOOR = 0.03
_BINS = 60


def draw(cells: Sequence[Cell], path: Any) -> None:
    """One picture: the largest error over the input axis, a panel for each dtype."""
    import matplotlib

    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "atlas", "font.size": 8}
    ):
        figure(cells).savefig(path, metadata={"Date": None})


def figure(cells: Sequence[Cell]) -> Any:
    """The picture of one spec's cells, for a page or a notebook."""
    from matplotlib.figure import Figure

    spec = cells[0].spec
    dtypes = [d for d in DTYPES if any(cell.dtype == d for cell in cells)]
    figure = Figure(figsize=(2.7 * len(dtypes) + 0.6, 5.2), layout="constrained")
    panels = figure.subplots(len(ASPECTS), len(dtypes), squeeze=False)
    path = cells[0].path
    for (row, aspect), (column, dtype) in itertools.product(
        enumerate(ASPECTS), enumerate(dtypes)
    ):
        panel = panels[row][column]
        chosen = [
            cell
            for cell in cells
            if (cell.aspect, cell.dtype, cell.path) == (aspect, dtype, path)
        ]
        top = 4 / FLOAT_INFO[dtype][0]
        for who, color, width in (("keras", "#d1605e", 2.2), ("ours", "#2a5ca8", 1.2)):
            centres, worst = _profile(chosen, who, spec.drawn.scale)
            if not len(centres):
                continue
            heights = np.clip(worst, _FLOOR, top)
            label = "Keras" if who == "keras" else "ours"
            panel.plot(centres, heights, color=color, linewidth=width, label=label)
            gaps = np.isnan(np.concatenate([[np.nan], worst, [np.nan]]))
            alone = ~gaps[1:-1] & gaps[:-2] & gaps[2:]
            dots = {"color": color, "markersize": 2 * width}
            panel.plot(centres[alone], heights[alone], ".", **dots)
            lost = worst > top
            panel.plot(centres[lost], heights[lost], "^", color=color, markersize=4)
        allowed = spec.limit(dtype)
        panel.axhline(allowed, color="#777777", linewidth=0.7, dashes=(4, 3))
        panel.set_yscale("log")
        panel.set_ylim(_FLOOR / 1.5, top * 3)
        scale = spec.drawn.scale
        panel.set_xscale(scale, **({"linthresh": 1.0} if scale == "symlog" else {}))
        if scale in _TICKS:
            panel.set_xticks(*_TICKS[scale])
        panel.grid(color="#dddddd", linewidth=0.4)
        panel.set_axisbelow(True)
        panel.minorticks_off()
        if row == 0:
            panel.set_title(dtype)
        else:
            panel.set_xlabel(spec.drawn.label)
        if column == 0:
            panel.set_ylabel(f"error of the {aspect}")
    handles, labels = panels[0][0].get_legend_handles_labels()
    handles.append(panels[0][0].lines[-1])
    labels.append("the limit of ours")
    title = f"{spec.name}: largest mixed error ({path}); ▲ beyond the axis, or NaN"
    figure.suptitle(title)
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _profile(cells, who, scale):
    """(positions, the largest error about each) along the axis of the picture."""
    found = [cell for cell in cells if getattr(cell, who) is not None]
    if not found:
        return np.zeros(0), np.zeros(0)
    axis = np.concatenate([cell.axis.ravel() for cell in found])
    errors = np.concatenate([getattr(cell, who).ravel() for cell in found])
    there, back = _SCALES[scale]
    with np.errstate(all="ignore"):
        at = there(axis)
    keep = np.isfinite(at)
    at, errors = at[keep], errors[keep]
    edges = np.linspace(at.min(), at.max(), _BINS + 1)
    index = np.clip(np.digitize(at, edges) - 1, 0, _BINS - 1)
    # A gap where there are no inputs.
    worst = [errors[index == i].max(initial=-np.inf) for i in range(_BINS)]
    worst = np.where(np.isneginf(worst), np.nan, worst)
    return back((edges[:-1] + edges[1:]) / 2), worst


_TICKS = {
    "logit": (
        [1e-8, 1e-4, 0.5, 1 - 1e-6],
        ["$10^{-8}$", "$10^{-4}$", "½", "$1-10^{-6}$"],
    ),
    "symlog": (
        [-1e4, -10, 0, 10, 1e4],
        ["$-10^4$", "$-10$", "0", "$10$", "$10^4$"],
    ),
}
#: Between the numbers on an axis and even steps along it; what is further out is drawn
#: at its end.
_SCALES = {
    "log": (
        lambda x: np.log10(np.clip(np.abs(x), 1e-16, 1e16)),
        lambda t: 10.0**t,
    ),
    "logit": (
        lambda p: np.clip(np.log10(p / (1 - p)), -12, 12),
        lambda t: 1 / (1 + 10.0**-t),
    ),
    "symlog": (
        lambda x: np.sign(x) * np.log10(1 + np.minimum(np.abs(x), 1e6)),
        lambda t: np.sign(t) * (10.0 ** np.abs(t) - 1),
    ),
}
