"""Seeded draws over every magnitude that a dtype has, subnormal numbers included.

The hand-made cases ask what somebody thought of; these ask the rest. Rows are many and
independent, so that one bad magnitude shows as one bad row.
"""

import numpy as np

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


_LOGITS = {"from_logits": True}

#: (loss, labels, predictions, config): each loss over its own domain.
_INPUTS = (
    ("MeanSquaredError", _real, _real, {}),
    ("MeanAbsoluteError", _real, _real, {}),
    ("MeanAbsolutePercentageError", _real, _real, {}),
    ("MeanSquaredLogarithmicError", _positive, _positive, {}),
    ("Huber", _real, _real, {}),
    ("LogCosh", _real, _real, {}),
    ("CosineSimilarity", _real, _real, {}),
    ("BinaryCrossentropy", _bits, _probability, {}),
    ("BinaryCrossentropy", _bits, _real, _LOGITS),
    ("CategoricalCrossentropy", _one_hot, _probability, {}),
    ("CategoricalCrossentropy", _one_hot, _real, _LOGITS),
    ("SparseCategoricalCrossentropy", _classes, _probability, {}),
    ("SparseCategoricalCrossentropy", _classes, _real, _LOGITS),
    ("BinaryFocalCrossentropy", _bits, _probability, {}),
    ("BinaryFocalCrossentropy", _bits, _real, _LOGITS),
    ("CategoricalFocalCrossentropy", _one_hot, _probability, {}),
    ("CategoricalFocalCrossentropy", _one_hot, _real, _LOGITS),
    ("SparseCategoricalFocalCrossentropy", _classes, _probability, {}),
    ("SparseCategoricalFocalCrossentropy", _classes, _real, _LOGITS),
    ("CategoricalGeneralizedCrossEntropy", _classes, _probability, {}),
    ("KLDivergence", _probability, _probability, {}),
    ("Poisson", _counts, _positive, {}),
    ("Hinge", _signs, _real, {}),
    ("SquaredHinge", _signs, _root, {}),
    ("CategoricalHinge", _one_hot, _real, {}),
    ("Dice", _bits, _probability, {"axis": -1}),
    ("Tversky", _bits, _probability, {"axis": -1}),
)


def _cases_of(seed, loss, labels, predictions, config):
    logits = "_logits" if config.get("from_logits") else ""
    for dtype in _SPAN:
        row = (
            f"every_magnitude_of_{dtype}{logits}",
            "from the smallest subnormal number to the largest that sums",
            labels(seed, dtype),
            predictions(seed + 50, dtype),
            {"dtypes": (dtype,), **config},
        )
        yield from table(loss, row)


MAGNITUDE_CASES = {}
for _index, (_loss, *_inputs) in enumerate(_INPUTS):
    MAGNITUDE_CASES.setdefault(_loss, []).extend(
        _cases_of(1000 + 100 * _index, _loss, *_inputs)
    )
