"""Seeded draws over every magnitude that a dtype has, subnormal numbers included.

They cover what the hand-made cases do not. Rows are many and independent, so that one
bad magnitude shows as one bad row.
"""

import numpy as np

from keras_losses_ref.conformance import inputs
from keras_losses_ref.conformance.cases.case import bits, draws, one_hot, table

#: The exponents of ten that a dtype spans: from its smallest subnormal number to the
#: largest of which a row can be added up.
_SPAN = {"float32": (-45, 37.5), "float64": (-323, 307.5)}

_ROWS, _COLUMNS = 40, 4


def _positive(seed, dtype):
    return 10.0 ** draws(
        seed, _ROWS, _COLUMNS, low=_SPAN[dtype][0], high=_SPAN[dtype][1]
    )


def _real(seed, dtype):
    sign = 2 * bits(seed + 1, _ROWS, _COLUMNS) - 1
    return sign * _positive(seed, dtype)


def _root(seed, dtype):
    """Numbers whose squares can be added up."""
    low, high = _SPAN[dtype]
    sign = 2 * bits(seed + 1, _ROWS, _COLUMNS) - 1
    return sign * 10.0 ** draws(seed, _ROWS, _COLUMNS, low=low, high=high / 2)


def _probability(seed, dtype):
    """Near 0 in one half of the rows, near 1 in the other."""
    small = 10.0 ** draws(seed, _ROWS, _COLUMNS, low=_SPAN[dtype][0], high=0.0)
    return np.where(np.arange(_ROWS)[:, None] % 2, 1.0 - small, small)


def _bits(seed, dtype):
    return bits(seed, _ROWS, _COLUMNS)


def _signs(seed, dtype):
    return 2 * bits(seed, _ROWS, _COLUMNS) - 1


def _one_hot(seed, dtype):
    return one_hot(seed, _ROWS, _COLUMNS)


def _classes(seed, dtype):
    return np.random.RandomState(seed).randint(0, _COLUMNS, _ROWS)


def _counts(seed, dtype):
    return np.random.RandomState(seed).randint(0, 10, (_ROWS, _COLUMNS))


#: domain: (labels, predictions). Embeddings have a norm, and a sequence has a length:
#: they are not drawn here.
_DRAWS = {
    "real": (_real, _real),
    "positive": (_positive, _positive),
    "counts": (_counts, _positive),
    "vectors": (_real, _real),
    "signs": (_signs, _real),
    "binary": (_bits, _probability),
    "binary_logits": (_bits, _real),
    "one_hot": (_one_hot, _probability),
    "logits": (_one_hot, _real),
    "indices": (_classes, _probability),
    "index_logits": (_classes, _real),
    "probabilities": (_probability, _probability),
    "segmentation": (_bits, _probability),
}
#: The same for one loss.
_DRAWS_OF_LOSS = {"SquaredHinge": (_signs, _root)}


def _cases_of(row):
    labels, predictions = _DRAWS_OF_LOSS.get(row.loss, _DRAWS[row.domain])
    logits = "_logits" if row.config.get("from_logits") else ""
    for dtype in _SPAN:
        case = (
            f"every_magnitude_of_{dtype}{logits}",
            "from the smallest subnormal number to the largest that sums",
            labels(row.seed, dtype),
            predictions(row.seed + 50, dtype),
            {"dtypes": (dtype,), **row.config},
        )
        yield from table(row.loss, case)


MAGNITUDE_CASES = {}
for _row in inputs.LOSSES:
    if _row.domain in _DRAWS:
        MAGNITUDE_CASES.setdefault(_row.loss, []).extend(_cases_of(_row))
