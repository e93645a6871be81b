"""The picture of the README: Keras's largest error and ours, loss by loss.

    python docs/tools/readme_picture.py docs

Nothing is measured here: the errors are those of docs/atlas/atlas.json.
"""

import os
import sys

import matplotlib
from matplotlib.figure import Figure

from keras_losses_ref.conformance.report import accuracy as accuracy_report

DTYPE = "float32"
#: Errors are drawn up to here: beyond it no digit is right, however far.
FARTHEST = 1e8
NEAREST = 0.4

OURS, KERAS, INK = "#1f6feb", "#d1570a", "#24292f"
_STYLE = {
    "svg.hashsalt": "keras-losses-ref",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def largest_errors(docs):
    """(loss, ours, Keras's): largest mixed errors in float32, Keras's best first."""
    found = accuracy_report.load(os.path.join(docs, "atlas"))
    worst = {}
    for row in found["cells"]:
        if row.dtype != DTYPE or row.keras is None:
            continue
        loss = row.subject.split(",")[0]
        ours, keras = worst.get(loss, (0.0, 0.0))
        worst[loss] = max(ours, row.ours[0]), max(keras, row.keras[0])
    rows = [(loss, *both) for loss, both in worst.items()]
    return sorted(rows, key=lambda row: (row[2], row[1]))


def draw(rows):
    """A dumbbell a loss: where Keras stands, and where ours does."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 0.21 * len(rows) + 0.9))
        axes = figure.add_subplot()
        at = range(len(rows))
        ours = [min(max(row[1], NEAREST), FARTHEST) for row in rows]
        keras = [min(max(row[2], NEAREST), FARTHEST) for row in rows]
        axes.hlines(at, ours, keras, color="#d0d7de", linewidth=2, zorder=1)
        axes.scatter(keras, at, color=KERAS, s=30, label="Keras", zorder=2)
        axes.scatter(ours, at, color=OURS, s=30, label="keras_losses_ref", zorder=3)
        axes.set_xscale("log")
        axes.set_xlim(NEAREST * 0.8, FARTHEST * 1.6)
        axes.set_yticks(list(at), [row[0] for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#d0d7de", alpha=0.6, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(
            "largest mixed error in float32, value and gradient\n"
            "(1: exact for inputs within one ulp; 10$^7$: no digit is right)"
        )
        axes.legend(loc="lower right", frameon=False)
        figure.tight_layout()
        return figure


def save(docs):
    """Write docs/accuracy.svg, the same bytes for the same numbers."""
    path = os.path.join(docs, "accuracy.svg")
    figure = draw(largest_errors(docs))
    with matplotlib.rc_context(_STYLE):
        figure.savefig(
            f"{path}.tmp", format="svg", facecolor="white", metadata={"Date": None}
        )
    os.replace(f"{path}.tmp", path)


if __name__ == "__main__":
    save(*sys.argv[1:])
