"""Render a report as JUnit XML: one suite a loss, one test a case."""

import collections
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from keras_losses_ref.conformance.report.summary import coverage, explained

if TYPE_CHECKING:
    from keras_losses_ref.conformance.report.report import Report


def render(report: "Report[Any]", everything: bool = False) -> str:
    suites = ElementTree.Element("testsuites", name="keras-losses-ref")
    covered = coverage(report)
    for loss, results in report.by_loss().items():
        cases = collections.defaultdict(list)
        unseen = [u for u in report.unseen_deviations if u.loss == loss]
        for result in [*results, *unseen]:
            cases[result.id].append(result)
        suite = ElementTree.SubElement(suites, "testsuite", name=loss)
        properties = ElementTree.SubElement(suite, "properties")
        facts = {**report.environment, **covered[loss], **report.counts(loss)}
        for name, value in facts.items():
            value = ", ".join(value) if isinstance(value, list) else str(value)
            ElementTree.SubElement(properties, "property", name=name, value=value)
        failed = skipped = 0
        for identifier, aspects in cases.items():
            test = ElementTree.SubElement(
                suite, "testcase", classname=f"keras_losses_ref.{loss}", name=identifier
            )
            failures = [result for result in aspects if result.failed]
            quiet = [result for result in aspects if result.skipped]
            if failures:
                failed += 1
                failure = ElementTree.SubElement(
                    test, "failure", message=failures[0].verdict
                )
                failure.text = "\n\n".join(
                    _printable(explained(report, result)) for result in failures
                )
            elif len(quiet) == len(aspects):
                skipped += 1
                reason = _printable(quiet[0].reason)
                ElementTree.SubElement(test, "skipped", message=reason)
            if quiet and len(quiet) < len(aspects) or everything:
                # A test is skipped as a whole or not at all: the rest is its output.
                said = quiet if not everything else aspects
                lines = (f"{r.aspect}: {r.verdict}  {r.reason}" for r in said)
                out = ElementTree.SubElement(test, "system-out")
                out.text = _printable("\n".join(lines))
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(failed))
        suite.set("skipped", str(skipped))
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text):
    """Without the control characters that XML cannot hold."""
    return "".join(c for c in text if c == "\n" or c.isprintable())
