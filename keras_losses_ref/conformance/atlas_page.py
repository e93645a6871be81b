"""The atlas in words and pictures: Markdown tables, and an SVG for each loss."""

import itertools
import math
import os

import numpy as np

from keras_losses_ref.conformance.atlas import ASPECTS, DTYPES, FAMILIES, SIZE
from keras_losses_ref.conformance.compare import FORMATS
from keras_losses_ref.conformance.evaluate import environment


def number(ulp):
    """An error in few characters: 0.5, 42, 3e7; inf for what is not finite."""
    if not math.isfinite(ulp):
        return "inf"
    if ulp >= 1000:
        return f"{ulp:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"{ulp:.1f}" if ulp < 10 else f"{ulp:.0f}"


def summary(cells):
    """The accuracy table as Markdown: the worst over all paths and families."""
    lines = [
        "| loss | | " + " | ".join(DTYPES) + " |",
        "|---|---|" + "---|" * len(DTYPES),
    ]
    for subject in _in_order(cell.subject for cell in cells):
        for aspect in ASPECTS:
            texts = []
            for dtype in DTYPES:
                chosen = [
                    cell
                    for cell in cells
                    if (cell.subject, cell.aspect, cell.dtype)
                    == (subject, aspect, dtype)
                ]
                ours, keras = (_worst(chosen, who) for who in ("ours", "keras"))
                texts.append(f"{ours} / {keras}")
            lines.append(f"| {subject.name} | {aspect} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def _worst(cells, who):
    found = [cell.statistics(who) for cell in cells]
    found = [statistics[0] for statistics in found if statistics]
    return number(max(found)) if found else "–"


def _in_order(things):
    return list(dict.fromkeys(things))


def breaches(cells):
    """One line for each cell that breaks a rule."""
    return [
        f"{cell.subject.name} {cell.dtype} {cell.path}, {cell.family}, {cell.aspect}: "
        f"{' and '.join(cell.broken)}; ours {number(cell.statistics('ours')[0])}, "
        f"Keras {_worst([cell], 'keras')} ulp"
        for cell in cells
        if cell.broken
    ]


_INTRODUCTION = """
# Atlas of errors

How far ours and Keras's losses are from the exact value, in units in the last place
(ulp) of the dtype: 0.5 is the best that rounding allows, 1e7 in float32 is an answer
without a right digit, inf a NaN or an infinity in the place of a number.

{versions}, {device}; seed {seed}; {size} elements of y_pred in a cell, fewer for Circle
and CTC. Made by `keras-losses-ref atlas --output docs/atlas`; made again on the same
versions and the same kind of processor, it gives the same numbers. What is measured,
and against what, is said at the head of `keras_losses_ref/conformance/atlas.py`.

Inputs: *typical*; *near 0* and *near 1*, of the prediction or of the size of the
logits; a *tiny difference* between prediction and label, which is soft there; a
*saturated* prediction, 0 or 1 or far beyond; *huge* ones, up to the largest number of
the dtype.
"""
_ABOUT_THE_WORST = """
Over all inputs, eagerly, in a graph and under XLA. Ours / Keras's; – where this Keras
lacks the loss.
"""
_ABOUT_THE_RULES = """
Ours may be worse than Keras's up to 1 ulp in 16 bits, and up to 4 ulp otherwise (8
where a log-softmax or a focal power is inside). Whatever Keras does, ours keeps 1 ulp
in 16 bits (2 for losses of whole rows) and 4 or 8 in float32.
"""


def page(cells, seed=0):
    """The atlas as a page of Markdown, which shows the pictures beside it."""
    host = environment()
    versions = ", ".join(f"{name} {host[name]}" for name in ("tensorflow", "keras"))
    broken = breaches(cells)
    parts = [
        _INTRODUCTION.format(
            versions=versions, device=host["device"], seed=seed, size=SIZE
        ).strip(),
        "## The worst",
        _ABOUT_THE_WORST.strip(),
        summary(cells).rstrip(),
        "## Where a rule is broken",
        _ABOUT_THE_RULES.strip(),
        "\n".join(f"- {line}" for line in broken) if broken else "Nowhere.",
    ]
    for subject in _in_order(cell.subject for cell in cells):
        parts += [
            f"## {subject.name}",
            f"![errors of {subject.name} over the input]({subject.slug}.svg)",
            "Worst, 99th percentile and median; ours above, Keras's below.",
            _table([cell for cell in cells if cell.subject == subject]),
        ]
    return "\n\n".join(parts) + "\n"


def _table(cells):
    families = [f for f in FAMILIES if any(cell.family == f for cell in cells)]
    lines = [
        "| | " + " | ".join(families) + " |",
        "|---|" + "---|" * len(families),
    ]
    groups = _in_order((cell.aspect, cell.dtype, cell.path) for cell in cells)
    for group in sorted(groups, key=lambda g: ASPECTS.index(g[0])):
        texts = []
        for family in families:
            found = [
                cell
                for cell in cells
                if (cell.aspect, cell.dtype, cell.path, cell.family) == (*group, family)
            ]
            texts.append("<br>".join(_three(cell) for cell in found) or "–")
        lines.append(f"| {' '.join(group)} | {' | '.join(texts)} |")
    return "\n".join(lines)


def _three(cell):
    both = (cell.statistics(who) for who in ("ours", "keras"))
    return "<br>".join(" ".join(map(number, three)) if three else "–" for three in both)


def write(cells, folder, seed=0):
    """README.md and a picture for each subject, into a folder."""
    os.makedirs(folder, exist_ok=True)
    for subject in _in_order(cell.subject for cell in cells):
        chosen = [cell for cell in cells if cell.subject == subject]
        draw(chosen, os.path.join(folder, f"{subject.slug}.svg"))
    with open(os.path.join(folder, "README.md"), "w", encoding="utf-8") as file:
        file.write(page(cells, seed))


#: Errors below this are drawn at it.
_FLOOR = 0.03
_BINS = 60


def draw(cells, path):
    """One picture: the largest error over the input axis, a panel for each dtype."""
    import matplotlib

    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "atlas", "font.size": 8}
    ):
        figure = _figure(cells)
        figure.savefig(path, metadata={"Date": None})


def _figure(cells):
    from matplotlib.figure import Figure

    subject = cells[0].subject
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
        top = 4 / FORMATS[dtype][0]
        for who, color, width in (("keras", "#d1605e", 2.2), ("ours", "#2a5ca8", 1.2)):
            centres, worst = _profile(chosen, who, subject.domain.scale)
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
        allowed = subject.bound(dtype)
        panel.axhline(allowed, color="#777777", linewidth=0.7, dashes=(4, 3))
        panel.set_yscale("log")
        panel.set_ylim(_FLOOR / 1.5, top * 3)
        scale = subject.domain.scale
        panel.set_xscale(scale, **({"linthresh": 1.0} if scale == "symlog" else {}))
        if scale in _TICKS:
            panel.set_xticks(*_TICKS[scale])
        panel.grid(color="#dddddd", linewidth=0.4)
        panel.set_axisbelow(True)
        panel.minorticks_off()
        if row == 0:
            panel.set_title(dtype)
        else:
            panel.set_xlabel(subject.domain.label)
        if column == 0:
            panel.set_ylabel(f"error of the {aspect} [ulp]")
    handles, labels = panels[0][0].get_legend_handles_labels()
    handles.append(panels[0][0].lines[-1])
    labels.append("up to here ours may be worse")
    title = f"{subject.name}: largest error ({path}); ▲ beyond the axis, or NaN"
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
    # A gap where nothing was asked.
    worst = [errors[index == i].max(initial=-np.inf) for i in range(_BINS)]
    worst = np.where(np.isneginf(worst), np.nan, worst)
    return back((edges[:-1] + edges[1:]) / 2), worst


_TICKS = {
    "logit": (
        [1e-8, 1e-4, 0.5, 1 - 1e-4, 1 - 1e-8],
        ["$10^{-8}$", "$10^{-4}$", "½", "$1-10^{-4}$", "$1-10^{-8}$"],
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
