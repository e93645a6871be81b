"""Render a report as JSON, with floats that round-trip and sorted keys."""

import math
from typing import TYPE_CHECKING, Any

from keras_losses_ref.conformance.files import SCHEMA, dumps
from keras_losses_ref.conformance.report.summary import coverage, skips
from keras_losses_ref.conformance.verdict import COUNTS, UnseenDeviation, Verdict

if TYPE_CHECKING:
    from keras_losses_ref.conformance.report.report import Report

#: How the results without anything to say are called.
_QUIET = ("agree", "passed")


def render(report: "Report[Any]", everything: bool = False) -> str:
    shown = [r for r in report.all_results if everything or r.verdict not in _QUIET]
    document = {
        "schema": SCHEMA,
        "environment": report.environment,
        "verdict": "conforms" if report.ok else "deviates",
        "counts": report.counts(),
        "coverage": coverage(report),
        "skipped": [
            {"reason": reason, "loss": loss, "cases": number, "first": first}
            for reason, loss, number, first in skips(report)
        ],
        "left_out": report.left_out,
        "results": [_plain(result) for result in shown],
    }
    return dumps(document)


def _plain(result):
    """A result as JSON holds it: non-finite numbers as strings."""
    plain = {
        "id": result.id,
        "loss": result.loss,
        "aspect": result.aspect,
        "verdict": result.verdict,
        "reason": result.reason,
    }
    if isinstance(result, (Verdict, UnseenDeviation)):
        names = {verdict: name for name, verdict in COUNTS.items()}
        plain["verdict"] = names[result.verdict]
        plain.update(_numbers(result))
    else:
        for name in ("severity", "law", "remedy"):
            plain[name] = getattr(result, name)
    return plain


def _numbers(result):
    """The three answers; a deviation that no case shows has none."""
    if isinstance(result, UnseenDeviation):
        answers = dict.fromkeys(("ours", "keras", "oracle"))
        return {**answers, "ulp": "nan", "ledger": None}
    answers = {
        name: _answer(getattr(result, name), result.aspect)
        for name in ("ours", "keras", "oracle")
    }
    return {**answers, "ulp": _finite(result.ulp), "ledger": result.deviation}


def _answer(outcome, aspect):
    if outcome.unsupported:
        return {"absent": outcome.unsupported}
    if outcome.error:
        return {"error": outcome.error}
    return _finite(getattr(outcome, aspect, None))


def _finite(value):
    """`value` of numbers, lists and dicts that JSON can hold; shapes are lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
