"""Render the results of a run as text, Markdown, HTML, JUnit or JSON.

`report` has the `Report`, and `summary` what every style of it states. Each style is a
module with one function, `render(report, everything)`, which returns a string.
"""

from typing import Any

from keras_losses_ref.conformance.report import (
    html_page,
    json_document,
    junit,
    markdown,
    text,
)
from keras_losses_ref.conformance.report.extras import require
from keras_losses_ref.conformance.report.report import Report, merged
from keras_losses_ref.conformance.report.summary import (
    coverage,
    explained,
    skips,
    summary,
)

__all__ = [
    "Report",
    "STYLES",
    "coverage",
    "explained",
    "merged",
    "render",
    "require",
    "skips",
    "summary",
]

STYLES = {
    "text": text.render,
    "json": json_document.render,
    "md": markdown.render,
    "html": html_page.render,
    "junit": junit.render,
}


def render(
    report: Report[Any],
    style: str = "text",
    everything: bool = False,
    verbose: bool = False,
) -> str:
    """The report as one string, in one of `STYLES`; `verbose` is for the text's."""
    if style == "text":
        return text.render(report, everything, verbose)
    return STYLES[style](report, everything)
