"""The tables of the project's README, printed between their markers.

    python docs/tools/readme_tables.py README.md docs

A table stands between `<!-- name: where it comes from -->` and `<!-- end -->`, on lines
of their own. Nothing is measured here: the numbers are those that docs/versions,
docs/atlas and docs/speed keep, so that a test can tell whether the README still has
them.
"""

import json
import os
import re
import sys
import textwrap

import reference_pages
import speed_page

from keras_losses_ref import losses
from keras_losses_ref.conformance.files import write
from keras_losses_ref.conformance.report import accuracy as accuracy_report
from keras_losses_ref.conformance.report.markdown import table


def losses_table(docs):
    """Every loss, the Kerases that have it, and how often they deviate."""
    checked = _documents(os.path.join(docs, "versions"))
    checked.sort(key=lambda found: _numbers(found["environment"]["keras"]))
    changes = _documents(os.path.join(docs, "versions", "changes"))
    rows = []
    for name in reference_pages.LOSSES:
        function = getattr(losses, name).function
        names = [function.__name__, *reference_pages.aliases(function)]
        rows.append(
            (
                f"[`{name}`](docs/losses.md#{name.lower()})",
                " ".join(f"`{each}`" for each in names),
                *(_host(checked, changes, each, name) for each in ("2", "3")),
            )
        )
    return table(["loss", "functions", "Keras 2", "Keras 3"], rows)


def _documents(folder):
    found = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found.append(json.load(file))
    return found


def _numbers(version):
    return [int(number) for number in re.findall(r"\d+", version)]


def _host(checked, changes, generation, loss):
    """Since when a generation of Keras has a loss, and its newest release's entries."""
    having = [
        (found["environment"]["keras"], found["losses"][loss]["ledger"])
        for found in checked
        if found["environment"]["keras"].split(".")[0] == generation
        and not found["losses"].get(loss, {"absent": True})["absent"]
    ]
    if not having:
        return "–"
    since = ".".join(_since(changes, loss, having[0][0]).split(".")[:2])
    released = [each for each in having if "dev" not in each[0]]
    entries = len((released or having)[-1][1])
    words = [since] if released else [f"{since} (nightly)"]
    return " ".join([*words, f"△ {entries}"] if entries else words)


def _since(changes, loss, checked):
    """The first version known to have a loss; `checked` is the first one checked."""
    same = [
        step
        for step in changes
        if len({_numbers(step[end]["keras"])[0] for end in ("old", "new")}) == 1
        and _numbers(step["new"]["keras"])[0] == _numbers(checked)[0]
    ]
    brought = [step["new"] for step in same if loss in step["names"]["added"]]
    first = brought or [step["old"] for step in same]
    return min([checked, *(each["keras"] for each in first)], key=_numbers)


def accuracy_table(docs):
    """The worst error of each loss in each dtype, out of docs/atlas/atlas.json."""
    found = accuracy_report.load(os.path.join(docs, "atlas"))
    host = found["environment"]
    where = f"TensorFlow {host['tensorflow']}, Keras {host['keras']}, {host['device']}."
    return [*accuracy_report.by_loss(found["cells"]), "", where]


def speed_table(docs):
    """How many times as fast as Keras's each loss is, out of docs/speed."""
    runs, _ = speed_page.load(os.path.join(docs, "speed"))
    words = f"{speed_page.where(runs)} {speed_page.slower(runs)[0]}."
    return [*speed_page.by_loss(runs), "", *textwrap.wrap(words, 88)]


TABLES = {"losses": losses_table, "accuracy": accuracy_table, "speed": speed_table}


def printed(text, docs):
    """`text` with every table of `TABLES` as it is now."""
    for name, made in TABLES.items():
        marker = re.compile(
            rf"(^<!-- {name}: [^\n]*-->\n).*?(^<!-- end -->$)", re.M | re.S
        )
        if not marker.search(text):
            raise ValueError(
                f"no place for the table {name!r}. Received: a text without its "
                f"markers. Expected the lines '<!-- {name}: ... -->' and "
                "'<!-- end -->'. Put them where the table shall stand."
            )
        body = "\n".join(["", *made(docs), "", ""])
        text = marker.sub(lambda found, body=body: found[1] + body + found[2], text)
    return text


def main(readme, docs):
    with open(readme, encoding="utf-8") as file:
        text = printed(file.read(), docs)
    write(text, readme)


if __name__ == "__main__":
    main(*sys.argv[1:])
