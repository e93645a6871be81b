"""Compare two kept checks of docs/versions: causes without their sizes.

A kept check holds versions, counts and which ledger entries showed for which loss, but
no answers. Two of them tell what changed between their versions and why, but not by how
much; two records tell that too.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from keras_losses_ref.conformance.deviations import DEVIATIONS
from keras_losses_ref.conformance.files import SCHEMA
from keras_losses_ref.conformance.parity import diff, host_rules
from keras_losses_ref.conformance.parity.record_file import Unreadable


def load(path: str) -> Optional[dict[str, Any]]:
    """The kept check in a file, or None if the file holds something else."""
    with open(path, encoding="utf-8") as file:
        try:
            document = json.load(file)
        except (ValueError, RecursionError):
            return None
    kept = isinstance(document, dict) and {"losses", "counts", "environment"} <= set(
        document
    )
    return document if kept and document.get("schema") == SCHEMA else None


def load_both(paths: Sequence[str]) -> Optional[list[Any]]:
    """The kept checks in two files, or None if neither holds one."""
    found = [load(path) for path in paths]
    if None in found and found != [None, None]:
        raise Unreadable(
            "compare takes two records, or two checks of docs/versions. Received: "
            f"{paths[0]} and {paths[1]}, of which one is a record. Give two of one "
            "kind."
        )
    return None if None in found else found


def compare(
    old: Mapping[str, Any], new: Mapping[str, Any], accepted: Sequence[str] = ()
) -> diff.Comparison:
    """The `diff.Comparison` of two kept checks."""
    sides = [document["environment"] for document in (old, new)]
    changes = [*_changes(old["losses"], new["losses"]), *_rules(*sides)]
    known = {
        entry.id: {"sentence": entry.sentence, "thread": entry.thread}
        for entry in DEVIATIONS
    }
    known.update((rule.id, rule.entry(*sides)) for rule in host_rules.RULES)
    used = {change.explained_by for change in changes}
    stale = [
        pattern
        for pattern in accepted
        if not any(diff.is_accepted(change, [pattern]) for change in changes)
    ]
    changed = {change.loss for change in changes}
    return diff.Comparison(
        *sides,
        sorted(changes, key=lambda change: (diff.KINDS.index(change.kind), change.id)),
        len({*old["losses"], *new["losses"]} - changed),
        0,
        {name: entry for name, entry in known.items() if name in used},
        tuple(accepted),
        tuple(stale),
        measured=False,
    )


def _changes(old, new):
    """A change for each entry that is on one side only, and for each new loss."""
    empty = {"absent": True, "ledger": {}, "counts": {}}
    for loss in sorted({*old, *new}):
        a, b = old.get(loss, empty), new.get(loss, empty)
        if a["absent"] or b["absent"]:
            if a["absent"] != b["absent"]:
                kind = diff.ADDED if a["absent"] else diff.REMOVED
                said = (None, "class") if a["absent"] else ("class", None)
                yield diff.Change(f"keras:{loss}", loss, "public name", kind, *said)
            continue
        for entry in sorted({*a["ledger"]} ^ {*b["ledger"]}):
            came = entry in b["ledger"]
            yield diff.Change(
                f"keras:{loss}[{entry}]",
                loss,
                "deviation",
                diff.SEMANTIC,
                _cases(a["ledger"].get(entry, 0)),
                _cases(b["ledger"].get(entry, 0)),
                explained_by=entry,
                component="Keras",
                matched=("definition", entry) if came else (entry, "definition"),
            )
        unexplained = [x["counts"].get("unexplained", 0) for x in (a, b)]
        if bool(unexplained[0]) != bool(unexplained[1]):
            said = map(_cases, unexplained)
            yield diff.Change(
                f"keras:{loss}[unexplained]", loss, "deviation", diff.SEMANTIC, *said
            )


def _cases(number):
    return f"{number} results deviate" if number else "none deviates"


def _rules(old, new):
    """A change for each rule of the host that the two environments differ in."""
    for rule in host_rules.RULES:
        if rule.differs(old, new):
            yield diff.Change(
                f"keras:every loss[{rule.id}]",
                "every loss",
                "rule",
                diff.SEMANTIC,
                rule.way(old),
                rule.way(new),
                explained_by=rule.id,
                component="backend" if rule.by_backend else "Keras",
            )
