"""Render a report as Markdown: what failed, then the tables, folded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_losses_ref.conformance.report.summary import (
    coverage,
    explained,
    known,
    noun,
    skips,
    summary,
)

if TYPE_CHECKING:
    from keras_losses_ref.conformance.report.report import Report

#: How many failures a comment shows in full, and how many characters of them: GitHub
#: takes 65,536 in all.
_FAILURES, _CHARACTERS = 20, 30_000
#: How many rows a folded table has at most.
_ROWS = 60


def render(report: "Report[Any]", everything: bool = False) -> str:
    mark = "conforms" if report.ok else "**deviates**"
    lines = [f"### keras-losses-ref: {mark}", "", summary(report), ""]
    shown = report.all_results if everything else report.failures
    left = _CHARACTERS
    for number, result in enumerate(shown):
        text = explained(report, result)
        left -= len(text)
        if number == _FAILURES or left < 0:
            lines += [f"... and {len(shown) - number} more.", ""]
            break
        lines += ["```text", text, "```", ""]

    names = [name.replace("_", " ") for name in report.counts()]
    covered = coverage(report)
    lines += table(
        ["loss", noun(report), *names],
        [
            (loss, covered[loss]["cases"], *report.counts(loss).values())
            for loss in report.by_loss()
        ],
    )
    seen = known(report)
    if seen:
        lines += ["", "Known deviations of this Keras, seen and matched:", ""]
        lines += [
            f"- [`{entry.id}`]({entry.thread}) ({number})"
            for entry, number in seen.items()
        ]
    missing = skips(report)
    lines += folded(
        f"Skipped or not compared with Keras: {sum(row[2] for row in missing)}",
        ["cases", "loss", "why"],
        [(number, loss, reason) for reason, loss, number, _ in missing],
    )
    lines += folded(
        f"Left out on a GPU, where --full asks it: {sum(report.left_out.values())}",
        ["cases", "what"],
        [(number, what) for what, number in report.left_out.items()],
    )
    kinds = list(next(iter(covered.values()), {}))
    lines += folded(
        "What ran",
        ["loss", *kinds],
        [(loss, *(_words(found[k]) for k in kinds)) for loss, found in covered.items()],
    )
    return "\n".join(lines) + "\n"


def folded(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> list[str]:
    """A table that a click opens, or nothing if it is empty."""
    if not rows:
        return []
    if len(rows) > _ROWS:
        rows = [*rows[:_ROWS], (f"... and {len(rows) - _ROWS} more",)]
    lines = ["", f"<details><summary>{title}</summary>", ""]
    return [*lines, *table(columns, rows), "", "</details>"]


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A table's lines; columns of numbers are aligned right."""
    numeric = [
        all(isinstance(row[i], int) for row in rows if i < len(row))
        for i in range(len(columns))
    ]
    rule = ["---:" if number else "---" for number in numeric]
    cells = [columns, rule, *rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in cells]


def _words(found):
    return found if isinstance(found, int) else ", ".join(found)


def _cell(value):
    return str(value).replace("|", "\\|").replace("\n", " ")
