"""Render a report as text: the verdict, then all but plain agreement, in 80 columns.

With `verbose`, also what ran: the counts of each loss, and its coverage.
"""

import collections
import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Optional

from keras_losses_ref.conformance.report.summary import (
    counted,
    coverage,
    explained,
    guessed,
    known,
    of_check,
    skips,
    verdict,
)

if TYPE_CHECKING:
    from keras_losses_ref.conformance.report.report import Report

#: The default width of a terminal.
WIDTH = 80
#: How many losses a line names before it counts them.
_NAMED = 2


def render(
    report: "Report[Any]", everything: bool = False, verbose: bool = False
) -> str:
    if of_check(report):
        return _of_check(report, everything, verbose)
    return _of_check_loss(report, everything)


def _of_check_loss(report, everything):
    """The verdict, the guess if there is one, and the results with something to say."""
    shown = [r for r in report.results if everything or _says_something(r)]
    lines = [verdict(report), *wrapped(counted(report), "  ")]
    lines += wrapped(guessed(report), "  ") if guessed(report) else []
    lines += ["", *(result.text() for result in shown)]
    return "\n".join(lines).rstrip() + "\n"


def _says_something(result):
    """Whether a result did not pass and is not listed under the check it rests on."""
    return result.verdict != "passed" and not (result.skipped and result.root)


def _of_check(report, everything, verbose):
    lines = [verdict(report), *wrapped(counted(report), "  "), ""]
    for result in report.all_results if everything else report.failures:
        lines += [explained(report, result), ""]
    lines += _known(report, verbose)
    lines += _skipped(report, verbose)
    lines += _left_out(report)
    if verbose:
        lines += _by_loss(report)
        lines += _coverage(report)
    elif known(report) or skips(report):
        lines.append("--verbose adds what each entry says, and what ran, loss by loss.")
    return "\n".join(lines).rstrip() + "\n"


def _known(report, verbose):
    """The ledger entries that showed, one line each."""
    seen = known(report)
    if not seen:
        return
    losses, cases = collections.defaultdict(set), collections.defaultdict(set)
    for result in report.results:
        losses[result.deviation].add(result.loss)
        cases[result.deviation].add(result.id)
    yield "Keras deviates here, as the ledger says (number of cases):"
    for entry in seen:
        number = len(cases[entry.id])
        yield f"{number:6}  {entry.id:<38}  {named(losses[entry.id])}"
        if verbose:
            yield from wrapped(entry.sentence, " " * 10)
            yield f"{' ' * 10}{entry.thread}"
    yield ""


def _skipped(report, verbose):
    """What was not asked or not compared, a reason each."""
    rows = skips(report)
    if not rows:
        return
    numbers, losses = collections.Counter(), collections.defaultdict(set)
    for reason, loss, number, _ in rows:
        numbers[reason] += number
        losses[reason].add(loss)
    yield "Skipped, or not compared with Keras (number of cases):"
    for reason, number in numbers.most_common():
        words = f"{reason}: {', '.join(sorted(losses[reason]))}"
        words = words if verbose else f"{reason} ({named(losses[reason])})"
        first, *more = wrapped(words, " " * 8)
        yield f"{number:6}  {first.strip()}"
        yield from more
    yield ""


def _left_out(report):
    """What a GPU was not asked, to end in minutes."""
    if not report.left_out:
        return
    yield "Left out on a GPU, where --full asks it (number of cases):"
    for what, number in report.left_out.items():
        first, *more = wrapped(what, " " * 8)
        yield f"{number:6}  {first.strip()}"
        yield from more
    yield ""


def _by_loss(report):
    yield "Results, loss by loss (worst: ours against the oracle, float32 values):"
    covered = coverage(report)
    for loss, results in report.by_loss().items():
        words = f"{loss}: {covered[loss]['cases']} cases, {counted(report, loss)}"
        far = worst(results)
        yield from wrapped(f"{words}; worst {far} ulp" if far else words, "  ", "    ")
    yield ""


def _coverage(report):
    common, own = factored(coverage(report))
    if common:
        yield "Covered, for every loss:"
        for kind, entries in common.items():
            yield from wrapped(f"{kind}: {', '.join(entries)}", "  ", "    ")
        yield ""
    kinds = list(next(iter(own.values()), {}))
    if kinds:
        yield "Covered, loss by loss:"
        for loss, found in own.items():
            words = "; ".join(f"{k}: {', '.join(found[k]) or 'none'}" for k in kinds)
            yield from wrapped(f"{loss}: {words}", "  ", "    ")
        yield ""


def wrapped(words: str, indent: str, more: Optional[str] = None) -> list[str]:
    """Lines of at most 80 columns; no word is broken."""
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if more is None else more,
        break_long_words=False,
        break_on_hyphens=False,
    )


def named(losses: Iterable[str]) -> str:
    """Losses in a few words: "Huber", "22 losses"."""
    names = sorted(losses)
    short = len(names) <= _NAMED and len(", ".join(names)) <= 32
    return ", ".join(names) if short else _number(len(names))


def _number(losses):
    return f"{losses} loss{'es' * (losses > 1)}"


def factored(
    covered: dict[str, dict[str, Any]],
) -> tuple[dict[str, Any], dict[str, Any]]:
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


def worst(results: Iterable[Any]) -> str:
    """The largest error of our float32 values, where the definition is finite."""
    found = [
        result.ulp
        for result in results
        if result.aspect == "value"
        and result.case.dtype == "float32"
        and math.isfinite(result.ulp)
    ]
    return f"{max(found):.3g}" if found else ""
