"""The page of versions: every loss under every TensorFlow and Keras that was checked.

    python docs/tools/versions_page.py add docs/versions NAME check.json
    python docs/tools/versions_page.py change docs/versions compare.json
    python docs/tools/versions_page.py page docs/versions

`add` keeps the part of `check --format json --all` that the page needs: the versions,
the counts by loss, which ledger entries showed, and every result that neither agrees
nor is in the ledger. `change` keeps the part of `compare --format json`, or of
`upgrade`, about how much Keras's losses changed between two releases, and why. `page`
writes README.md from what was kept. Needs no TensorFlow.
"""

import collections
import json
import os
import sys

from keras_losses_ref.conformance.deviations import DEVIATIONS
from keras_losses_ref.conformance.files import SCHEMA, dumps, write
from keras_losses_ref.conformance.parity import host_rules
from keras_losses_ref.conformance.parity.diff import (
    ADDED,
    REMOVED,
    ROUNDING,
)
from keras_losses_ref.conformance.runtime import backend_of, named

#: The folder of what changed, in that of the versions.
_CHANGES = "changes"


def kept(document):
    """What stays of a check's JSON."""
    losses = collections.defaultdict(lambda: collections.Counter())
    entries = collections.defaultdict(collections.Counter)
    failed = []
    for result in document["results"]:
        losses[result["loss"]][result["verdict"]] += 1
        if result["ledger"]:
            entries[result["loss"]][result["ledger"]] += 1
        elif result["verdict"] not in ("agree", "skipped"):
            failed.append({key: result[key] for key in ("id", "aspect", "verdict")})
    present = {
        result["loss"]
        for result in document["results"]
        if not (isinstance(result["keras"], dict) and "absent" in result["keras"])
    }
    return {
        "schema": SCHEMA,
        "environment": document["environment"],
        "verdict": document["verdict"],
        "counts": document["counts"],
        "losses": {
            loss: {
                "cases": covered["cases"],
                "absent": loss not in present,
                "counts": dict(losses[loss]),
                "ledger": dict(entries[loss]),
            }
            for loss, covered in document["coverage"].items()
        },
        "failed": failed,
    }


def kept_change(document):
    """What stays of a comparison's JSON."""
    found = [c for c in document["changes"] if c["implementation"] == "keras"]
    names = {ADDED: [], REMOVED: []}
    answers, interface = collections.Counter(), 0
    entries, rules = collections.Counter(), collections.Counter()
    for change in found:
        if change["kind"] == ROUNDING:
            answers["rounding"] += 1
        elif change["aspect"] == "public name":
            name = change["id"].partition(":")[2].partition(" ")[0]
            names[change["kind"]].append(name)
        elif change["of_interface"]:
            interface += 1
        elif change["explained_by"] in host_rules.BY_ID:
            answers["host rules"] += 1
            rules[change["explained_by"]] += 1
        elif change["explained_by"]:
            answers["ledger"] += 1
            entries.update(change["explained_by"].split(", "))
        else:
            answers["unexplained"] += 1
    return {
        "schema": SCHEMA,
        "old": document["old"],
        "new": document["new"],
        "same": document["counts"]["same"],
        "answers": dict(answers),
        "ledger": dict(entries),
        "rules": dict(rules),
        "interface": interface,
        "names": names,
        "unexplained": [
            change["id"]
            for change in document["changes"]
            if change["kind"] not in (ROUNDING, ADDED, REMOVED)
            and not (change["of_interface"] or change["explained_by"])
        ],
    }


#: What a cell of the table shows.
_AGREES, _KNOWN, _UNKNOWN, _ABSENT = "🟩", "🔶", "🟥", "⬜"
#: How much of a sentence of the ledger is shown where a cell is pointed at.
_WORDS = 72

_HEAD = f"""\
# Losses by version

Each column is one run of `keras-losses-ref check`: a Keras on TensorFlow or JAX, the
newest first.

- {_AGREES} agrees with the definition
- {_KNOWN} deviates as the [ledger](../deviations.md) says, in so many entries. Hover
  over it to see what Keras does, or click it.
- {_UNKNOWN} deviates, and the ledger does not say so
- {_ABSENT} this Keras has no such loss
"""
_STEPS = f"""\
## What changed, release by release

Each row is `keras-losses-ref compare` on the records of two environments, for Keras's
losses without rounding.

- {_AGREES} no answer changed
- {_KNOWN} an entry of the ledger shows on one side only
- 🔷 a rule that the definition leaves to Keras changed
- {_UNKNOWN} not in the ledger

`compare` also takes any two of the runs above: `keras-losses-ref compare
docs/versions/tf2.15.1.json docs/versions/tf2.21.0.json`.
"""


def page(folder):
    """The Markdown of the page, out of the files in `folder`."""
    documents = _read(folder)
    documents.sort(key=lambda item: _order(item[1]["environment"]))
    steps = _read(os.path.join(folder, _CHANGES))
    steps.sort(key=lambda item: _order_of_steps(item[1]))
    losses = sorted({loss for _, found in documents for loss in found["losses"]})
    newest_first = documents[::-1]
    lines = [
        _HEAD,
        _row("Keras", [_column(name, found) for name, found in newest_first]),
        "|---" + "|:-:" * len(documents) + "|",
        _row(_hosts(documents), [_runs_on(found) for _, found in newest_first]),
    ]
    for loss in losses:
        cells = [_cell(loss, found) for _, found in newest_first]
        lines.append(_row(f"`{loss}`", cells))
    lines += ["", "`nox -s versions` makes this page. The runs are kept in its folder."]
    if steps:
        lines += ["", _STEPS, *_of_steps(steps)]
    lines += ["", "## What each loss does", ""]
    for loss in losses:
        lines += [f"### {loss}", "", *_of_loss(loss, documents), ""]
    return "\n".join(lines).rstrip() + "\n"


def _read(folder):
    """[(name of the file, what is in it)] of the JSON files of a folder."""
    documents = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                documents.append((name, json.load(file)))
    return documents


def _keras(environment):
    package = environment["keras_package"]
    return ("" if package == "keras" else f"{package} ") + environment["keras"]


def _column(name, found):
    """The head of a column: its Keras in few characters, and the run behind it."""
    environment = found["environment"]
    major, minor, *rest = environment["keras"].split(".")
    short = f"{major}.{minor}" + " dev" * any("dev" in part for part in rest)
    package = environment["keras_package"]
    short = short if package == "keras" else f"{package}<br>{short}"
    return f'[{short}]({name} "Keras {_keras(environment)}: {found["verdict"]}")'


def _hosts(documents):
    """The backends that the columns run on, as the head of their row."""
    elsewhere = any(backend_of(x["environment"]) == "jax" for _, x in documents)
    return "on TensorFlow" + " or JAX" * elsewhere


def _runs_on(found):
    """The backend of a column in few characters."""
    return ".".join(_backend(found["environment"]).split(".")[:2])


def _cell(loss, found):
    known = found["losses"].get(loss)
    if known is None or known["absent"]:
        return _ABSENT
    if not known["ledger"] and not _is_unexplained(known):
        return _AGREES
    mark = _UNKNOWN if _is_unexplained(known) else _KNOWN
    words = [_title(_SENTENCES.get(entry, entry)) for entry in sorted(known["ledger"])]
    words = ["not in the ledger"] * _is_unexplained(known) + words
    number = len(known["ledger"]) or ""
    return f'[{mark}{number}](#{loss.lower()} "{" • ".join(words)}")'


def _is_unexplained(known):
    bad = ("unexplained", "ours_wrong", "oracle_suspect")
    return any(known["counts"].get(verdict) for verdict in bad)


_SENTENCES = {entry.id: entry.sentence for entry in DEVIATIONS}


def _title(sentence):
    """A sentence as the title of a link in a table may hold it, not too long."""
    text = sentence.replace('"', "'").replace("|", "\\|").replace("`", "")
    if len(text) <= _WORDS:
        return text
    return text[:_WORDS].rpartition(" ")[0].rstrip(" ,;:") + " …"


def _of_loss(loss, documents):
    """An item for each entry that shows for a loss, with the Kerases it shows in."""
    entries = collections.defaultdict(list)
    for index, (_, found) in enumerate(documents):
        for entry in found["losses"].get(loss, {}).get("ledger", ()):
            entries[entry].append(index)
    unknown = [
        index
        for index, (_, found) in enumerate(documents)
        if _is_unexplained(found["losses"].get(loss, {"counts": {}}))
    ]
    if unknown:
        yield f"- {_UNKNOWN} not in the ledger, Keras {_spans(unknown, documents)}"
    elif not entries:
        yield "Agrees wherever it exists."
    for entry, columns in sorted(entries.items()):
        spans = _spans(columns, documents)
        yield f"- {_link(entry)}, Keras {spans}: {_SENTENCES.get(entry, '')}"


def _link(entry):
    """An entry of the ledger as a link to it, if it is there still."""
    known = entry in _SENTENCES
    return f"[`{entry}`](../deviations.md#{entry})" if known else f"`{entry}`"


def _spans(columns, documents):
    """The Kerases of columns in words: neighbours as a range."""
    ranges = []
    for index in columns:
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    names = [_keras(found["environment"]) for _, found in documents]
    return ", ".join(
        names[first] if first == last else f"{names[first]} to {names[last]}"
        for first, last in ranges
    )


def _of_steps(steps):
    """The table of what changed, line by line."""
    yield from ("| Keras | TensorFlow | what changed | names |", "|---|---|---|---|")
    for name, found in steps:
        old, new = found["old"], found["new"]
        both = [(_backend(x), _keras(x)) for x in (old, new)]
        tensorflow, keras = (a if a == b else f"{a} → {b}" for a, b in zip(*both))
        names = [f"+ `{name}`" for name in found["names"][ADDED]]
        names += [f"- `{name}`" for name in found["names"][REMOVED]]
        link = f"[{keras}]({_CHANGES}/{name})"
        yield _row(link, [tensorflow, _of_step(found), _some(names)])


def _of_step(found):
    """What changed between two releases, and by which causes."""
    answers = found["answers"]
    rules = [r.id for r in host_rules.RULES if r.differs(found["old"], found["new"])]
    ids = map(_link, sorted(found["ledger"]))
    words = []
    if answers.get("unexplained"):
        words.append(f"{_UNKNOWN} {_many(answers['unexplained'])}")
    if answers.get("ledger"):
        words.append(f"{_KNOWN} {_many(answers['ledger'])}: {', '.join(ids)}")
    if answers.get("host rules"):
        named = ", ".join(f"`{rule}`" for rule in found.get("rules") or rules)
        words.append(f"🔷 {_many(answers['host rules'])}: {named}")
    if found["interface"]:
        words.append(f"{found['interface']} arguments, defaults or errors")
    return "<br>".join(words) or _AGREES


def _many(answers):
    return f"{answers} answer{'s' * (answers > 1)}"


def _some(names, most=4):
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _short(environment):
    backend = backend_of(environment)
    return f"{'tf' if backend == 'tensorflow' else backend}{environment[backend]}"


def _name_of_step(found):
    """ "tf2.15.1-keras2.15.0..tf2.16.2-keras3.4.1"."""
    return "..".join(
        f"{_short(x)}-{x['keras_package']}{x['keras']}"
        for x in (found["old"], found["new"])
    )


def _order_of_steps(found):
    """Steps of TensorFlow alone last; else in the order of their older side."""
    old, new = found["old"], found["new"]
    return (old["keras"] == new["keras"], _order(old), _order(new))


def _row(head, cells):
    return f"| {' | '.join([head, *cells])} |"


def _backend(environment):
    """A TensorFlow's version, or another backend's with its name."""
    if backend_of(environment) == "tensorflow":
        return environment["tensorflow"]
    return named(environment)


def _order(environment):
    """By Keras's version, which tells its generation as well, then by TensorFlow's."""

    def numbers(version):
        return [int(part) for part in version.split(".")[:3] if part.isdigit()]

    backend = backend_of(environment)
    return (
        backend != "tensorflow",
        numbers(environment["keras"]),
        numbers(environment[backend]),
    )


def main(argv):
    """`add FOLDER NAME CHECK.json`, `change FOLDER COMPARE.json` or `page FOLDER`."""
    command, folder, *names = argv
    if command == "page":
        text, path = page(folder), os.path.join(folder, "README.md")
    else:
        with open(names[-1], encoding="utf-8") as file:
            document = json.load(file)
        if command == "add":
            found, path = kept(document), os.path.join(folder, f"{names[0]}.json")
        else:
            found = kept_change(document)
            path = os.path.join(folder, _CHANGES, f"{_name_of_step(found)}.json")
        text = dumps(found)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write(text, path)


if __name__ == "__main__":
    main(sys.argv[1:])
