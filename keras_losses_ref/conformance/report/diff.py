"""A comparison of two records, as a person, a program or a pull request reads it."""

import collections
import json
import math
import textwrap
from xml.etree import ElementTree

from keras_losses_ref.conformance import runtime
from keras_losses_ref.conformance.files import SCHEMA, dumps
from keras_losses_ref.conformance.parity import diff

#: How many groups a comment on a pull request shows in full.
_MARKDOWN_LIMIT = 20
#: How many changes of a group a page shows.
_PAGE_LIMIT = 50

_WHOSE = {"keras": "Keras's", "ours": "our", "user": "your"}


def render(comparison, style="text"):
    """The comparison as one string, in one of `STYLES`."""
    return STYLES[style](comparison)


def groups(comparison):
    """The changes by loss and cause, worst first: [[change, ...], ...].

    The cause is the ledger entry; without one, all answers of a loss that moved are
    likely to have moved for one reason. What befell the arguments of many losses alike
    is one thing, and so is rounding.
    """
    found = collections.defaultdict(list)
    for change in comparison.changes:  # these stand worst first
        loss, cause = change.loss, change.explained_by
        if change.kind == diff.ROUNDING:
            loss = cause = None
        elif change.is_api_change and change.aspect != "public name":
            said = told(change) if change.kind == diff.SEMANTIC else ""
            loss, cause = None, (change.aspect, said)
        elif change.is_api_change:
            loss = cause = None
        found[change.implementation, loss, change.kind, cause].append(change)
    return list(found.values())


def title(comparison):
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


def summary(comparison):
    """One line: how much changed, and how much of it is known."""
    counts = comparison.counts
    semantic = [c for c in comparison.changes if c.kind == diff.SEMANTIC]
    answers = [change for change in semantic if not change.is_api_change]
    rules = sum(change.explained_by == diff.HOST_RULES for change in answers)
    known = sum(change.explained_by is not None for change in answers) - rules
    verdict = "same" if comparison.ok else "CHANGED"
    words = [
        f"{len(answers)} answers changed ({known} as the ledger says, "
        f"{rules} with the host's rules, {len(answers) - known - rules} unexplained)",
        f"{len(semantic) - len(answers)} arguments, defaults or errors changed",
        f"{counts['removed']} names removed",
        f"{counts['added']} added",
        f"{counts['rounding']} answers moved by rounding",
        f"{counts['same']} the same",
        f"{comparison.alone} that only one side could be asked",
    ]
    if comparison.accepted:
        taken = sum(
            change.is_breaking and diff.is_accepted(change, comparison.accepted)
            for change in comparison.changes
        )
        words.append(f"{taken} accepted")
    return f"{verdict}: {title(comparison)}: {', '.join(words)}"


# --- text -----------------------------------------------------------------------------


def _text(comparison):
    lines = [title(comparison), ""]
    for group in groups(comparison):
        lines += [*_group(group, comparison), ""]
    for pattern in comparison.stale:
        lines += [_stale(pattern), ""]
    return "\n".join([*lines, summary(comparison)]) + "\n"


def _stale(pattern):
    return (
        f"ACCEPTED, BUT DID NOT CHANGE  {pattern}\n"
        "  Take it off the list: what is accepted without need hides the next change."
    )


def _group(group, comparison):
    """What changed for one reason, as lines."""
    worst = group[0]
    yield f"{worst.kind.upper()}  {heading(group)}"
    for name in (worst.explained_by or "").split(", "):
        entry = comparison.deviations.get(name)
        if entry:
            yield f"  {name}: {entry['sentence']}"
            yield f"    {entry['thread']}"
    if worst.is_api_change:
        for line in textwrap.wrap(", ".join(members(group)), 84):
            yield f"  {line}"
        return
    yield f"  {spread(group)}"
    yield f"  worst: {worst.id}  {worst.aspect}{_at(worst)}"
    ulp = "" if math.isnan(worst.ulp) else f"   {worst.ulp:.3g} ulp"
    yield f"    old {_short(worst.old)}   new {_short(worst.new)}{ulp}"


def heading(group):
    """Whose loss it is, how many answers, and why."""
    worst = group[0]
    whose = _WHOSE[worst.implementation]
    parts = sorted({change.component for change in group} - {""})
    by = f" [{', '.join(parts)}]" if parts else ""
    if worst.kind == diff.ROUNDING:
        ulp = max(change.ulp for change in group)
        return f"{whose} losses: {_number(group, 'answer')}, at most {ulp:.3g} ulp{by}"
    if worst.is_api_change:
        what = _number(group, "name")
        if worst.aspect != "public name":
            what = worst.aspect
            what += f": {told(worst)}" if worst.kind == diff.SEMANTIC else ""
        return f"{whose} {what}{by}"
    cause = "not in the ledger"
    if worst.explained_by == diff.HOST_RULES:
        cause = "with the host's rules"
    elif worst.explained_by:
        cause = f"as the ledger says: {worst.explained_by}"
    return f"{whose} {worst.loss}: {_number(group, 'answer')}, {cause}{by}"


def subject(group):
    """The losses of a group, in a few words."""
    names = sorted({change.loss for change in group})
    return names[0] if len(names) == 1 else f"{len(names)} losses"


def _number(group, word):
    return f"{len(group)} {word}{'s' * (len(group) > 1)}"


def members(group):
    """What a change of the interface befell: names of losses, or how they are asked."""
    if group[0].aspect == "public name":
        return [f"{change.question} ({told(change)})" for change in group]
    if group[0].kind == diff.SEMANTIC:
        return [change.question for change in group]
    return [f"{change.question} ({told(change)})" for change in group]


def spread(group):
    """How often each aspect changed: "value 12, gradient 8"."""
    found = collections.Counter(change.aspect for change in group)
    return ", ".join(f"{aspect} {n}" for aspect, n in found.most_common())


def told(change):
    """The old answer and the new one, in a few words."""
    if change.kind == diff.ADDED:
        return _short(change.new)
    if change.kind == diff.REMOVED:
        return f"was {_short(change.old)}"
    return f"{_short(change.old)} -> {_short(change.new)}"


def _short(value):
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 120 else text[:117] + "..."


def _at(change):
    return f" at {change.at}" if change.at else ""


# --- for programs ---------------------------------------------------------------------


def document(comparison):
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
    """Short enough for a comment: what matters as a table, the rest as a line."""
    mark = "nothing changed" if comparison.ok else "**changed**"
    lines = [f"### keras-losses-ref: {mark}", "", summary(comparison), ""]
    found = [g for g in groups(comparison) if g[0].kind != diff.ROUNDING]
    if found:
        lines.append("| | loss | what | worst, old -> new | ulp | why | part |")
        lines.append("|---|---|---|---|---:|---|---|")
    for group in found[:_MARKDOWN_LIMIT]:
        worst = group[0]
        cells = [
            worst.kind,
            f"{worst.implementation} {subject(group)}",
            spread(group),
            f"`{worst.question}`: {told(worst)}",
            "" if math.isnan(worst.ulp) else f"{worst.ulp:.3g}",
            worst.explained_by or "",
            worst.component,
        ]
        escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        lines.append(f"| {' | '.join(escaped)} |")
    if len(found) > _MARKDOWN_LIMIT:
        lines += ["", f"and {len(found) - _MARKDOWN_LIMIT} groups more."]
    if comparison.deviations:
        lines.append("")
    for name, entry in comparison.deviations.items():
        lines.append(f"- `{name}`: {entry['sentence']} ({entry['thread']})")
    for pattern in comparison.stale:
        lines += ["", f"Accepted, but did not change: `{pattern}`"]
    return "\n".join(lines) + "\n"


# --- for a browser --------------------------------------------------------------------


def _html(comparison):
    """A page that opens offline; needs the extra `html`."""
    from keras_losses_ref.conformance.report import html_page

    by_kind = collections.defaultdict(list)
    for group in groups(comparison):
        by_kind[group[0].kind].append(group)
    return html_page.page(
        "diff.html",
        title=f"keras-losses-ref: {title(comparison)}",
        comparison=comparison,
        summary=summary(comparison),
        kinds=[
            (diff.SEMANTIC, "Other answers"),
            (diff.REMOVED, "Removed"),
            (diff.ADDED, "Added"),
            (diff.ROUNDING, "Moved by rounding"),
        ],
        by_kind=by_kind,
        limit=_PAGE_LIMIT,
        spread=spread,
        subject=subject,
        told=told,
        at=_at,
        ulp=lambda change: "" if math.isnan(change.ulp) else f"{change.ulp:.3g}",
    )


STYLES = {
    "text": _text,
    "json": _json,
    "md": _markdown,
    "junit": _junit,
    "html": _html,
}
