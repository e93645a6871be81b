"""Since when a Keras has a loss, out of what docs/versions keeps."""

import json
import os
import re


class Availability:
    """The Kerases that have each loss, and how often the newest of them deviates."""

    def __init__(self, docs):
        versions = os.path.join(docs, "versions")
        self.checked = _documents(versions)
        self.checked.sort(key=lambda found: _numbers(found["environment"]["keras"]))
        self.changes = _documents(os.path.join(versions, "changes"))

    def __call__(self, generation, loss):
        """A cell of the table, such as "3.7 △ 4"; a dash for never."""
        having = [
            (found["environment"]["keras"], found["losses"][loss]["ledger"])
            for found in self.checked
            if found["environment"]["keras"].split(".")[0] == generation
            and not found["losses"].get(loss, {"absent": True})["absent"]
        ]
        if not having:
            return "–"
        since = ".".join(_since(self.changes, loss, having[0][0]).split(".")[:2])
        released = [each for each in having if "dev" not in each[0]]
        entries = len((released or having)[-1][1])
        words = [since] if released else [f"{since} (nightly)"]
        return " ".join([*words, f"△ {entries}"] if entries else words)


def _documents(folder):
    found = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found.append(json.load(file))
    return found


def _numbers(version):
    return [int(number) for number in re.findall(r"\d+", version)]


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
