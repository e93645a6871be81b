"""What came out of a run, as a person, a program or a pull request reads it.

`result` holds the `Report` and what every style of it states; each style is a module
with one function, `render(report, everything)`, which returns a string.
"""

from keras_losses_ref.conformance.report import (
    html_page,
    json_document,
    junit,
    markdown,
    text,
)
from keras_losses_ref.conformance.report.extras import require
from keras_losses_ref.conformance.report.result import (
    Report,
    coverage,
    explained,
    merged,
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


def render(report, style="text", everything=False):
    """The report as one string, in one of `STYLES`."""
    return STYLES[style](report, everything)
