"""The ledger of deviations as a table, for a terminal, a page or a program."""

from collections.abc import Iterable

from keras_losses_ref.conformance.deviations import Deviation
from keras_losses_ref.conformance.files import SCHEMA, dumps
from keras_losses_ref.conformance.report.markdown import table
from keras_losses_ref.conformance.runtime import BACKEND_NAMES

_PAGE = """\
# Where Keras deviates

The ledger: where released versions of Keras differ from their own documentation.
`keras-losses-ref check` is strict about it. The installed Keras must do exactly what
the entries for its version say, and an entry must show in every version that it names.
An entry without a backend holds on all of them.

This page is the output of `keras-losses-ref list --deviations --format md`.
"""


def render(entries: Iterable[Deviation], style: str = "text") -> str:
    return STYLES[style](entries)


def _text(entries):
    lines = []
    for entry in entries:
        lines.append(f"{entry.id}  [{', '.join(entry.losses)}]  Keras {_spans(entry)}")
        lines.append(f"    {entry.sentence}\n    {entry.thread}")
    return "\n".join(lines) + "\n"


def _json(entries):
    plain = [
        {
            "id": entry.id,
            "losses": list(entry.losses),
            "versions": [list(span) for span in entry.versions],
            "backend": entry.backend,
            "sentence": entry.sentence,
            "thread": entry.thread,
        }
        for entry in entries
    ]
    return dumps({"schema": SCHEMA, "deviations": plain})


def _markdown(entries):
    lines = [_PAGE]
    for title, some in _sections(entries).items():
        rows = [
            (
                f'`{entry.id}`<a id="{entry.id}"></a>',  # docs/losses.md links to it
                ", ".join(entry.losses),
                _spans(entry),
                entry.sentence,
                f"[{_place(entry.thread)}]({entry.thread})",
            )
            for entry in some
        ]
        lines += [f"## {title}", ""]
        lines += table(["id", "losses", "Keras", "what it does", "thread"], rows)
        lines.append("")
    return "\n".join(lines)


def _sections(entries):
    """{title: entries}, in the order of a reader's interest."""
    newest, mended, old = [], [], []
    for entry in entries:
        ends = [last for first, last in entry.versions if not first.startswith("2.")]
        (old if not ends else newest if None in ends else mended).append(entry)
    return {
        "In the newest Keras": newest,
        "In earlier releases of Keras 3": mended,
        "In Keras 2 and tf_keras only": old,
    }


def _spans(entry):
    """The versions in words. A range without an end lasts as long as its generation."""
    words = []
    for first, last in entry.versions:
        if last is None:
            words.append(f"{first} and later {first.split('.')[0]}.x")
        else:
            words.append(first if first == last else f"{first} to {last}")
    where = "" if entry.backend is None else f" on {BACKEND_NAMES[entry.backend]}"
    return ", ".join(words) + where


def _place(link):
    """What a link leads to, in a word: a pull request, an issue, a file."""
    parts = link.split("#")[0].rstrip("/").split("/")
    return f"#{parts[-1]}" if parts[-2] in ("pull", "issues") else parts[-1]


STYLES = {"text": _text, "md": _markdown, "json": _json}
