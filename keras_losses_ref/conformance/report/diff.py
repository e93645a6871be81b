"""Render a comparison of two records as text, Markdown, HTML, JUnit or JSON."""

import collections
import json
import math
from typing import Any
from xml.etree import ElementTree

from keras_losses_ref.conformance import runtime
from keras_losses_ref.conformance.files import SCHEMA, dumps
from keras_losses_ref.conformance.parity import causes, diff, host_rules
from keras_losses_ref.conformance.report.text import wrapped

#: How many causes a comment on a pull request shows.
_MARKDOWN_LIMIT = 20
#: How many changes of a cause a page, and a comment, lists.
_PAGE_LIMIT, _COMMENT_LIMIT = 50, 5
#: Instead of the size of a change, where there are no answers to compare.
NOT_KEPT = "not kept in these records; run `record` in both environments to see it"
#: How many losses and names a terminal lists.
_NAMES = 6

#: The sections of a report, in their order: (kinds of causes, heading).
SECTIONS = (
    (("user",), "Your losses and models"),
    (("unexplained",), "Not in the ledger: look here first"),
    (("ledger",), "New deviations of Keras, and mended ones"),
    (("rule",), "What the definition leaves to Keras"),
    (("api", "name"), "Names, arguments, defaults and errors"),
    (("rounding",), "Rounding"),
)


def render(comparison: diff.Comparison, style: str = "text") -> str:
    """The comparison as one string, in one of `STYLES`."""
    return STYLES[style](comparison)


def sections(comparison: diff.Comparison) -> list[tuple[str, list[causes.Cause]]]:
    """[(heading, causes)] of the sections that are not empty."""
    found = causes.causes(comparison)
    chosen = (
        (heading, [cause for cause in found if cause.kind in kinds])
        for kinds, heading in SECTIONS
    )
    return [(heading, some) for heading, some in chosen if some]


def title(comparison: diff.Comparison) -> str:
    """Which environments these are, in one line."""
    old, new = comparison.old, comparison.new
    parts = []
    for name, both in (
        ("", [runtime.named(x) for x in (old, new)]),
        ("Keras ", [f"{_package(x)}{x.get('keras')}" for x in (old, new)]),
    ):
        a, b = both
        kind = a.rpartition(" ")[0]
        if kind and b.startswith(f"{kind} "):  # TensorFlow 2.20.0 -> 2.21.0
            b = b.rpartition(" ")[2]
        parts.append(f"{name}{a}" if both[0] == both[1] else f"{name}{a} -> {b}")
    return ", ".join(parts)


def _package(environment):
    package = environment.get("keras_package", "keras")
    return "" if package == "keras" else f"{package} "


def verdict(comparison: diff.Comparison) -> str:
    """Whether anything changed, and between which environments, in a line."""
    return f"{'same' if comparison.ok else 'CHANGED'}: {title(comparison)}"


def counted(comparison: diff.Comparison) -> list[str]:
    """How much changed, and how much of it is known, in a few lines."""
    counts = comparison.counts
    semantic = [c for c in comparison.changes if c.kind == diff.SEMANTIC]
    answers = [change for change in semantic if not change.is_api_change]
    rules = sum(change.explained_by in host_rules.BY_ID for change in answers)
    known = sum(change.explained_by is not None for change in answers) - rules
    lines = [
        f"{_many(len(answers), 'answer')} changed: {known} as the ledger says, "
        f"{rules} by host rules, {len(answers) - known - rules} unexplained",
        f"{len(semantic) - len(answers)} arguments, defaults or errors changed, "
        f"{counts['removed']} names removed, {counts['added']} added",
        f"{_many(counts['rounding'], 'answer')} moved by rounding, "
        f"{counts['same']} the same, {comparison.alone} on one side only",
    ]
    if not comparison.measured:
        lines = [
            f"{_many(known, 'deviation')} came or went, {_many(rules, 'rule')} of the "
            f"host changed, {len(answers) - known - rules} unexplained",
            f"{counts['removed']} losses removed, {counts['added']} added; how much "
            "answers changed is not kept",
        ]
    if comparison.accepted:
        taken = sum(
            change.is_breaking and diff.is_accepted(change, comparison.accepted)
            for change in comparison.changes
        )
        lines.append(f"{taken} accepted")
    return lines


def summary(comparison: diff.Comparison) -> str:
    """The verdict and the counts, in one line."""
    return f"{verdict(comparison)}: {'; '.join(counted(comparison))}"


def own(comparison: diff.Comparison) -> str:
    """The user's own losses and models, and whether they changed, in a line."""
    if not comparison.own:
        return ""
    touched = {
        change.loss
        for change in comparison.changes
        if change.implementation == "user" and change.is_breaking
    }
    words = [
        f"{name} {'CHANGED' if name in touched else 'the same'}"
        for name in comparison.own
    ]
    return f"Your losses and models: {', '.join(words)}"


# --- what a cause says, in words ------------------------------------------------------


def heading(cause: causes.Cause) -> str:
    """What changed, and which part of the environment changed it."""
    parts = ", ".join(cause.components)
    return f"{cause.what} [{parts}]" if parts else cause.what


def losses(cause: causes.Cause, most: int = _NAMES) -> str:
    """Which losses, and how many answers."""
    names = cause.losses
    more = f" and {len(names) - most} more" if len(names) > most else ""
    number = f" ({_many(cause.answers, 'answer')})" if cause.measured else ""
    return f"{', '.join(names[:most])}{more}{number}"


def _many(number, word):
    return f"{number} {word}{'s' * (number != 1)}"


def size(cause: causes.Cause) -> str:
    """How large the changes are, relative to the answers."""
    if not cause.measured:
        return NOT_KEPT
    words = []
    if not math.isnan(cause.worst):
        worst, median = causes.percent(cause.worst), causes.percent(cause.median)
        words.append(f"relative change {worst} at worst, {median} at the median")
    if cause.not_finite:
        was = _many(cause.not_finite, "answer")
        said = "NaN, infinite or of a different shape on one side"
        words.append(f"{was} {'NaN or infinite before' * cause.became_finite or said}")
    return "; ".join(words)


def step(cause: causes.Cause) -> str:
    """Whether a training step notices."""
    found, why = cause.step
    return f"{found}: {why}" if found else ""


def facts(cause: causes.Cause) -> list[tuple[str, str]]:
    """[(name, words)]: what is known about a cause."""
    if cause.kind in ("api", "name"):
        return [("where", ", ".join(members(cause)))]
    found = [
        ("losses", losses(cause)),
        ("when", cause.condition),
        ("size", size(cause)),
        ("a training step notices", step(cause)),
        ("thread", cause.thread),
    ]
    return [(name, words) for name, words in found if words]


def members(cause: causes.Cause) -> list[str]:
    """The names that a change of the interface concerns."""
    plain = cause.kind == "api" and cause.changes[0].kind == diff.SEMANTIC
    names = {}
    for change in cause.changes:
        whose = "" if change.implementation == "keras" else "our "
        named = f"{whose}{change.question}"
        names[named if plain else f"{named} ({told(change)})"] = None
    return list(names)


def told(change: diff.Change) -> str:
    """The old answer and the new one, in a few words."""
    if change.kind == diff.ADDED:
        return _short(change.new)
    if change.kind == diff.REMOVED:
        return f"was {_short(change.old)}"
    return f"{_short(change.old)} -> {_short(change.new)}"


def _short(value):
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 120 else text[:117] + "..."


def at(change: diff.Change) -> str:
    """The position of the worst element in its array, for a line."""
    return f" at {change.at}" if change.at else ""


# --- text -----------------------------------------------------------------------------


def _text(comparison):
    lines = [verdict(comparison), *(f"  {line}" for line in counted(comparison)), ""]
    if own(comparison):
        lines += [*wrapped(own(comparison), "", "  "), ""]
    for pattern in comparison.stale:
        lines += [_stale(pattern), ""]
    for title_, found in sections(comparison):
        lines += [title_, ""]
        for cause in found:
            lines += [*_lines(cause), ""]
    return "\n".join(lines).rstrip() + "\n"


def _stale(pattern):
    return (
        f"ACCEPTED, BUT DID NOT CHANGE  {pattern}\n"
        "  Remove it from the list: it would hide the next change."
    )


def _lines(cause):
    """What one cause changed, as lines."""
    yield from wrapped(f"- {heading(cause)}", "", "  ")
    if cause.kind in ("rule", "ledger"):
        yield f"  {cause.id}"
    for name, words in facts(cause):
        yield from wrapped(f"{name}: {words}", "    ", "      ")
    if cause.kind not in ("api", "name") and cause.measured:
        change = cause.shown
        yield f"    largest: {change.full_id}{at(change)}"
        yield f"      old {_short(change.old)}   new {_short(change.new)}"


# --- for programs ---------------------------------------------------------------------


def document(comparison: diff.Comparison) -> dict[str, Any]:
    """The comparison as JSON holds it."""
    return {
        "schema": SCHEMA,
        "old": comparison.old,
        "new": comparison.new,
        "verdict": "same" if comparison.ok else "changed",
        "counts": comparison.counts,
        "only_one_side": comparison.alone,
        "accepted": list(comparison.accepted),
        "accepted_but_unchanged": list(comparison.stale),
        "ledger": comparison.deviations,
        "changes": [
            {
                "id": change.full_id,
                "loss": change.loss,
                "implementation": change.implementation,
                "aspect": change.aspect,
                "kind": change.kind,
                "of_interface": change.is_api_change,
                "old": change.old,
                "new": change.new,
                "at": change.at,
                "ulp": change.ulp if math.isfinite(change.ulp) else str(change.ulp),
                "explained_by": change.explained_by,
                "part": change.component,
            }
            for change in comparison.changes
        ],
        "causes": [_plain(cause) for cause in causes.causes(comparison)],
    }


def _plain(cause):
    """A cause as JSON holds it."""
    felt, why = cause.step
    return {
        "id": cause.id,
        "kind": cause.kind,
        "what": cause.what,
        "losses": cause.losses,
        "condition": cause.condition,
        "answers": cause.answers,
        "relative": {
            name: number if math.isfinite(number) else None
            for name, number in (("worst", cause.worst), ("median", cause.median))
        },
        "not_finite": cause.not_finite,
        "training_step": {"notices": felt, "why": why},
        "thread": cause.thread,
        "parts": cause.components,
        "changes": [change.full_id for change in cause.changes],
    }


def _json(comparison):
    return dumps(document(comparison))


def _junit(comparison):
    """One suite per loss, one test per change that matters, and one for the rest."""
    suites = ElementTree.Element("testsuites", name="keras-losses-ref compare")
    by_loss = collections.defaultdict(list)
    for change in comparison.changes:
        if change.is_breaking:
            by_loss[change.loss].append(change)
    pending = set(map(id, comparison.pending))
    for loss, found in sorted(by_loss.items()):
        suite = ElementTree.SubElement(suites, "testsuite", name=loss)
        for change in found:
            test = ElementTree.SubElement(
                suite,
                "testcase",
                classname=f"keras_losses_ref.{loss}",
                name=change.full_id,
            )
            if id(change) in pending:
                message = change.explained_by or "not in the ledger"
                failure = ElementTree.SubElement(test, "failure", message=message)
                failure.text = told(change)
        suite.set("tests", str(len(found)))
        suite.set("failures", str(sum(id(change) in pending for change in found)))
    suite = ElementTree.SubElement(suites, "testsuite", name="comparison")
    test = ElementTree.SubElement(
        suite, "testcase", classname="keras_losses_ref", name=title(comparison)
    )
    for pattern in comparison.stale:
        failure = ElementTree.SubElement(test, "failure", message="did not change")
        failure.text = _stale(pattern)
    suite.set("tests", "1")
    suite.set("failures", str(int(bool(comparison.stale))))
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


# --- for a pull request ---------------------------------------------------------------


def _markdown(comparison):
    """Short enough for a comment: an entry a cause, its changes folded under it."""
    mark = "nothing changed" if comparison.ok else "**changed**"
    lines = [f"### keras-losses-ref: {mark}", "", summary(comparison), ""]
    if own(comparison):
        lines += [own(comparison), ""]
    for pattern in comparison.stale:
        lines += [f"Accepted, but did not change: `{pattern}`", ""]
    left = _MARKDOWN_LIMIT
    for title_, found in sections(comparison):
        if left <= 0:
            break
        lines += [f"#### {title_}", ""]
        for cause in found[:left]:
            lines += [*_entry(cause), ""]
        left -= len(found)
    if left < 0:
        lines.append(f"... and {-left} causes more: `--format json` has all of them.")
    return "\n".join(lines).rstrip() + "\n"


def _entry(cause):
    """A cause as an item of a Markdown list."""
    name = f"**`{cause.id}`** " if cause.kind in ("rule", "ledger") else ""
    yield f"- {name}{heading(cause)}"
    for fact, words in facts(cause):
        yield f"  - {fact}: {words}"
    if cause.kind in ("api", "name"):
        return
    number = len(cause.changes)
    yield f"  <details><summary>{_many(number, 'change')}</summary>"
    yield ""
    for change in _largest(cause, _COMMENT_LIMIT):
        yield f"  - `{change.full_id}`{at(change)}: {told(change)}"
    if number > _COMMENT_LIMIT:
        yield f"  - and {number - _COMMENT_LIMIT} more"
    yield ""
    yield "  </details>"


def _largest(cause, most):
    """The change to look at first, then the others in their order."""
    others = [change for change in cause.changes if change is not cause.shown]
    return [cause.shown, *others][:most]


# --- for a browser --------------------------------------------------------------------


def _html(comparison):
    """A page that opens offline; needs the extra `html`."""
    from keras_losses_ref.conformance.report import html_page

    return html_page.page(
        "diff.html",
        title=f"keras-losses-ref: {title(comparison)}",
        comparison=comparison,
        summary=summary(comparison),
        own=own(comparison),
        sections=sections(comparison),
        limit=_PAGE_LIMIT,
        heading=heading,
        facts=facts,
        largest=_largest,
        told=told,
        at=at,
    )


STYLES = {
    "text": _text,
    "json": _json,
    "md": _markdown,
    "junit": _junit,
    "html": _html,
}
