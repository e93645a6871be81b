"""For a terminal: the losses, what this Keras is known for, and every failure."""

import io
import math

from keras_losses_ref.conformance.report import extras
from keras_losses_ref.conformance.report.summary import (
    OURS_NOT_ASKED,
    coverage,
    explained,
    guessed,
    is_two_way,
    known,
    of_check,
    skips,
    summary,
)

#: Wide enough for the longest name of a loss and every count beside it.
_WIDTH = 114


def render(report, everything=False):
    if of_check(report):
        return _of_check(report, everything)
    return _of_check_loss(report, everything)


def _of_check_loss(report, everything):
    """The guess, if one was made, what is not simply passed, and a line that counts."""
    shown = [r for r in report.results if everything or _says_something(r)]
    lines = [guess] if (guess := guessed(report)) else []
    lines += [result.text() for result in shown]
    return "\n".join([*lines, summary(report)]) + "\n"


def _says_something(result):
    """Not what passed, nor what is named under the check that it rests on."""
    return result.verdict != "passed" and not (result.skipped and result.root)


def _of_check(report, everything):
    extras.require("text")
    from rich.console import Console
    from rich.table import Table

    stream = io.StringIO()
    console = Console(file=stream, width=_WIDTH, highlight=False)

    def show(title, columns, rows, right=()):
        table = Table(title=title, title_justify="left")
        for column in columns:
            justify = "right" if column in right else "left"
            name = column == columns[0]
            table.add_column(column, justify=justify, no_wrap=name, overflow="fold")
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)
        console.print()

    names = list(report.counts())
    heads = [name.replace("_", "\n") for name in names]
    covered = coverage(report)
    show(
        f"Keras and the definition; {OURS_NOT_ASKED}"
        if is_two_way(report)
        else "Ours, tf.keras and the definition",
        ["loss", "cases", *heads, "worst\nulp"],
        [
            (
                loss,
                covered[loss]["cases"],
                *(n or "." for n in report.counts(loss).values()),
                worst(results),
            )
            for loss, results in report.by_loss().items()
        ],
        right=["cases", *heads, "worst\nulp"],
    )
    console.print(
        "Each case counts once per aspect: value, gradient, shape, dtype and so on. "
        "Worst ulp: ours against the oracle, float32 values.\n",
        style="dim",
    )
    seen = known(report)
    if seen:
        show(
            "Where this Keras is known to deviate, and does",
            ["ledger", "seen", "what it does"],
            [(entry.id, number, entry.sentence) for entry, number in seen.items()],
            right=["seen"],
        )
    common, own = factored(covered)
    if common:
        console.print("Covered, for every loss")
        for kind, entries in common.items():
            console.print(f"  {kind}: {', '.join(entries)}")
        console.print()
    kinds = list(next(iter(own.values()), {}))
    if kinds:
        show(
            "Covered, loss by loss",
            ["loss", *kinds],
            [
                (loss, *(", ".join(found[kind]) for kind in kinds))
                for loss, found in own.items()
            ],
        )
    missing = skips(report)
    if missing:
        show(
            "Skipped, and not compared with Keras",
            ["loss", "cases", "why"],
            [(loss, number, reason) for reason, loss, number, _ in missing],
            right=["cases"],
        )

    lines = [stream.getvalue()]
    for result in report.all_results if everything else report.failures:
        lines += [explained(report, result), ""]
    lines.append(summary(report))
    return "\n".join(lines) + "\n"


def factored(covered):
    """Coverage as ({kind: what is the same for every loss}, {loss: the rest})."""
    kinds = [kind for kind in next(iter(covered.values()), {}) if kind != "cases"]
    common = {}
    for kind in kinds:
        found = {tuple(loss[kind]) for loss in covered.values()}
        if len(found) == 1 and len(covered) > 1:
            common[kind] = list(found.pop())
    own = {
        loss: {kind: found[kind] for kind in kinds if kind not in common}
        for loss, found in covered.items()
    }
    return common, own


def worst(results):
    """The largest error of our float32 values, where the definition is finite."""
    found = [
        result.ulp
        for result in results
        if result.aspect == "value"
        and result.case.dtype == "float32"
        and math.isfinite(result.ulp)
    ]
    return f"{max(found):.3g}" if found else ""
