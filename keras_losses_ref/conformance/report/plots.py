"""The pictures of the HTML report, as SVG in the colours of the page.

matplotlib draws them in placeholder colours, which are replaced by CSS variables, so
they follow dark mode. Text stays text, in the font of the page.
"""

import dataclasses
import io
import math
import re
from typing import TYPE_CHECKING, Any, Callable, Optional

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from keras_losses_ref.conformance.cases import DTYPES
from keras_losses_ref.conformance.tolerance import ulps
from keras_losses_ref.conformance.truth import host_rules
from keras_losses_ref.conformance.verdict import Verdict

if TYPE_CHECKING:
    from keras_losses_ref.conformance.report.report import Report

#: Placeholder colours, and the variables of `base.html` that replace them.
_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--faint)",
    "#030303": "var(--ours)",
    "#040404": "var(--keras)",
    "#050505": "var(--oracle)",
    "#060606": "var(--bad)",
}
INK, FAINT, OURS, KERAS, ORACLE, BAD = _COLOURS
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "keras-losses-ref",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
}

#: Larger errors are drawn here.
_FARTHEST = 1e8

#: The points of a curve.
_POINTS = 61


def svg(figure: Any, label: str) -> str:
    """A figure as inline SVG, described by `label` for those who cannot see it."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    for stand_in, variable in _COLOURS.items():
        text = text.replace(stand_in, variable)
    # The fonts that matplotlib would look for are not the reader's.
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Ids of groups are alike in every figure of a page, and nothing refers to them.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def errors(report: "Report[Any]") -> Optional[str]:
    """The largest error in ulp of each loss and dtype, ours and Keras's, as SVG."""
    worst = {}
    for result in report.results:
        if result.aspect != "value" or result.skipped:
            continue
        for name, outcome in (("ours", result.ours), ("keras", result.keras)):
            if (got := _ulp(outcome, result)) is not None:
                key = result.case.dtype, result.loss, name
                worst[key] = max(worst.get(key, 0.0), got)
    losses = sorted({loss for _, loss, _ in worst}, reverse=True)
    dtypes = [d for d in DTYPES if any(d == key[0] for key in worst)]
    if not losses:
        return None
    farthest = min(max(10.0, *worst.values()), _FARTHEST)
    decades = math.ceil(math.log10(farthest))
    step = 1 if decades <= 3 else 2
    powers = range(step, decades + 1, step)
    ticks = {0: "0", 1: "1", **{10.0**n: f"$10^{n}$" for n in powers}}
    row = {loss: i for i, loss in enumerate(losses)}
    with matplotlib.rc_context(_STYLE):
        figure = Figure((11, 1.3 + 0.24 * len(losses)), layout="constrained")
        axes = figure.subplots(
            1, len(dtypes), sharex=True, sharey=True, squeeze=False
        ).flat
        for axis, dtype in zip(axes, dtypes):
            for name, marker, colour, fill in (
                ("keras", "o", KERAS, "none"),
                ("ours", "o", OURS, OURS),
            ):
                found = [
                    (min(ulp, _FARTHEST), row[loss])
                    for (kind, loss, who), ulp in worst.items()
                    if (kind, who) == (dtype, name)
                ]
                x, y = zip(*found) if found else ((), ())
                axis.scatter(
                    x,
                    y,
                    s=46 if fill == "none" else 18,
                    marker=marker,
                    facecolors=fill,
                    edgecolors=colour,
                    label={"ours": "ours", "keras": host_rules().keras_name}[name],
                )
            axis.set_xscale("symlog", linthresh=1)
            axis.set_xlim(-0.3, 3 * farthest)
            axis.set_xticks(list(ticks), list(ticks.values()))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_title(dtype)
            axis.set_xlabel("ulp")
            axis.grid(True)
            axis.set_axisbelow(True)
        axes[0].set_yticks(range(len(losses)), losses)
        axes[0].set_ylim(-0.7, len(losses) - 0.3)
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper right", ncols=2, frameon=False)
        return svg(figure, "largest error in ulp per loss and dtype")


def _ulp(outcome, result):
    """The largest finite error of one implementation against the oracle, or None."""
    if outcome.value is None or result.oracle.value is None:
        return None
    if np.shape(outcome.value) != np.shape(result.oracle.value):
        return None
    found = ulps(outcome.value, result.oracle.value, result.case.dtype)
    found = found[np.isfinite(found)]
    return float(found.max()) if found.size else None


def curve(
    result: Verdict, outcomes: Optional[Callable[..., Any]]
) -> tuple[Optional[str], Optional[str]]:
    """(SVG, caption) of the three answers around a failing value or gradient.

    `outcomes(cases)` asks all three. The SVG is None where there is nothing to draw,
    and the caption says why.
    """
    case, aspect = result.case, result.aspect
    index = _element(result)
    if index is None:
        return None, "No curve: no element of y_pred is finite there."
    x = float(case.y_pred[index])
    at = around(x)
    cases = []
    for value in at:
        y_pred = case.y_pred.copy()
        y_pred[index] = value
        # Off the path "fit", whose second run would differ in more than this.
        cases.append(dataclasses.replace(case, y_pred=y_pred, path="eager"))
    found = [by_name for _, by_name in outcomes(cases)]
    lines = {
        name: [_pick(by_name[name], result, index) for by_name in found]
        for name in ("ours", "keras", "oracle")
    }
    if not np.isfinite(list(lines.values())).any():
        return None, "No curve: nothing around the failing point is finite."
    with matplotlib.rc_context(_STYLE):
        figure = Figure((6.4, 3.2), layout="constrained")
        axis = figure.subplots()
        styles = {
            "oracle": (ORACLE, "-", 5, 0.35, "oracle"),
            "keras": (KERAS, "--", 1.8, 1, host_rules().keras_name),
            "ours": (OURS, "-", 1.4, 1, "ours"),
        }
        for name, (colour, dash, width, alpha, label) in styles.items():
            values = np.array(lines[name])
            values = np.where(np.isfinite(values), values, np.nan)
            if np.isfinite(values).any():
                axis.plot(
                    at, values, dash, color=colour, lw=width, alpha=alpha, label=label
                )
        axis.axvline(x, color=BAD, lw=1, ls=":", label="the failing point")
        name = "y_pred" + (str(list(index)) if index else "")
        axis.set_xlabel(name)
        axis.set_ylabel(aspect)
        axis.grid(True)
        axis.legend(frameon=False, fontsize=9)
        picture = svg(figure, f"{aspect} of {case.id} over {name}")
    caption = f"{aspect} over {name}, evaluated eagerly in {case.dtype}"
    if aspect == "value" and np.size(result.oracle.value) == 1:
        caption += "; the element is the one whose gradient is the largest"
    return picture, caption + "."


def around(x: float) -> NDArray[Any]:
    """The points of a curve: half of x to either side, or half of 1 about 0."""
    reach = 0.5 * abs(x) if x else 0.5
    return np.linspace(x - reach, x + reach, _POINTS)


def _element(result):
    """The index of the element of y_pred to vary for a failing result, or None.

    That of the failing gradient; for a value, of those it is made of the one with the
    largest gradient.
    """
    y_pred = np.asarray(result.case.y_pred)
    index = result.difference.index if result.difference is not None else None
    if result.aspect == "gradient" and index is not None:
        usable = len(index) == y_pred.ndim and np.isfinite(y_pred[index])
        return index if usable else None
    weight = np.isfinite(y_pred).astype(float)
    gradient = result.oracle.gradient
    if gradient is not None and np.shape(gradient) == y_pred.shape:
        weight *= 1e-300 + np.nan_to_num(np.abs(gradient), posinf=1e300)
    if index and y_pred.shape[: len(index)] == np.shape(result.oracle.value):
        mine = np.zeros_like(weight)
        mine[index] = 1.0
        weight *= mine
    if not weight.size or weight.max() == 0:
        return None
    return tuple(int(i) for i in np.unravel_index(np.argmax(weight), weight.shape))


def _pick(outcome, result, index):
    """One number of an outcome: the element that failed."""
    found = getattr(outcome, result.aspect)
    if found is None:
        return math.nan
    found = np.asarray(found, float)
    if result.aspect == "gradient":
        return float(found[index]) if found.ndim == len(index) else math.nan
    worst = result.difference.index if result.difference is not None else ()
    return float(found[worst or ()]) if found.ndim == len(worst or ()) else math.nan
