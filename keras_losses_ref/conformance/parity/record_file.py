"""A record: what every loss did in one environment, as a file.

    {"schema": 1,
     "digest": SHA-256 over the compared part,
     "environment": versions, never compared,
     "ledger": what the entries say that the answers match, never compared,
     "answers": {id: answer}}                       <- the compared part

An id is `implementation:question`: "keras:huber/at_delta[float32,sum,eager]" for a case
of the corpus, "keras:Huber" for a public name, "user:Focal(gamma=3.0)[.keras]" for a
loss that went through a file. An answer holds the name of the loss and what is known
about it, by aspect:

    value, gradient, ...  nested lists; numbers in the shortest form that round-trips in
                          their dtype, those that are not finite as strings
    dtype, error, absent  a dtype, the type of an exception, why there is no answer
    arguments, config ... plain JSON
    matches               of a case of the corpus, by aspect, whose answer this is: a
                          ledger entry's, or null for nobody's; else the definition's
    kind                  "training" where rounding errors add up over many steps

One answer a line, keys sorted: two records of one environment differ only in
`environment`, and a record in git has a readable diff. Nothing here imports TensorFlow:
records can be compared where neither of their environments exists.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from keras_losses_ref.conformance.files import SCHEMA, Unreadable


@dataclasses.dataclass(frozen=True)
class Record:
    """One environment's answers."""

    answers: dict[str, Any]
    environment: dict[str, Any]
    deviations: dict[str, Any] = dataclasses.field(default_factory=dict)


def dumps(record: Record) -> str:
    """The record as the text of a file."""
    lines = [
        f"{_compact(key)}: {_compact(record.answers[key])}"
        for key in sorted(record.answers)
    ]
    head = {
        "schema": SCHEMA,
        "digest": digest(record.answers),
        "environment": record.environment,
        "ledger": record.deviations,
    }
    parts = [f"{_compact(key)}: {_compact(head[key])}" for key in sorted(head)]
    # "answers" sorts before all of them.
    body = ",\n".join(lines)
    return '{"answers": {\n' + body + "\n},\n" + ",\n".join(parts) + "}\n"


def _compact(value):
    return json.dumps(value, sort_keys=True, allow_nan=False)


def digest(answers: Mapping[str, Any]) -> str:
    """SHA-256 over the compared part, however it was laid out."""
    text = json.dumps(answers, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: str) -> Record:
    """The record in a file; `Unreadable` says why there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (ValueError, RecursionError) as error:
        raise Unreadable(
            f"{path} is not a complete record: {error}. Expected the JSON that "
            "`keras-losses-ref record` writes. Record it again."
        ) from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise Unreadable(
            f"{path} is not a record that this version reads. Received: schema "
            f"{schema!r}. Expected: schema {SCHEMA}. Record it again with this version "
            "of keras_losses_ref."
        )
    answers = document.get("answers")
    if not isinstance(answers, dict) or document.get("digest") != digest(answers):
        raise Unreadable(
            f"{path} was changed after it was recorded: its answers do not give the "
            "digest it names. Record it again."
        )
    return Record(answers, document["environment"], document.get("ledger", {}))
