"""Render a report as one HTML file that opens offline. Needs the extra `html`."""

import collections
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_losses_ref.conformance.report import extras
from keras_losses_ref.conformance.report.summary import (
    coverage,
    explained,
    known,
    noun,
    of_check,
    skips,
    summary,
)

if TYPE_CHECKING:
    from keras_losses_ref.conformance.report.report import Report

#: How many failures the page shows in full, and how many with a curve: the page must
#: stay readable and take seconds to make.
_FAILURES, _CURVES = 200, 20


def render(report: "Report[Any]", everything: bool = False) -> str:
    extras.require("html")
    from keras_losses_ref.conformance.report import plots
    from keras_losses_ref.conformance.report.text import worst

    verdicts = of_check(report)
    shown = report.all_results if everything else report.failures
    if not verdicts and not everything:
        shown = [result for result in shown if result.verdict != "passed"]
        shown += [r for r in report.results if r.verdict in ("advice", "expected")]
    numeric = [r for r in shown if r.failed and r.aspect in ("value", "gradient")]
    curved = spread(numeric, _CURVES)
    details = []
    for result in spread(shown, _FAILURES):
        picture = caption = None
        if verdicts and result in curved:
            picture, caption = plots.curve(result, report.outcomes)
        details.append((result, explained(report, result), picture, caption))
    return page(
        "check.html",
        title="keras-losses-ref check",
        report=report,
        summary=summary(report),
        noun=noun(report),
        losses=[
            (loss, results, report.counts(loss), worst(results) if verdicts else "")
            for loss, results in report.by_loss().items()
        ],
        coverage=coverage(report),
        known=known(report),
        skips=skips(report),
        details=details,
        more=len(shown) - len(details),
        errors=plots.errors(report) if verdicts else None,
    )


def spread(results: Iterable[Any], number: int) -> list[Any]:
    """Some of the results, from each loss in turn, in the order they came in."""
    turns = collections.Counter()
    ranked = []
    for index, result in enumerate(results):
        turns[result.loss] += 1
        ranked.append((turns[result.loss], index, result))
    chosen = sorted(ranked, key=lambda item: item[:2])[:number]
    return [result for _, _, result in sorted(chosen, key=lambda item: item[1])]


def page(template: str, **context: Any) -> str:
    """Render a template of this folder as a page; `base.html` has the style."""
    extras.require("html")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**context)
