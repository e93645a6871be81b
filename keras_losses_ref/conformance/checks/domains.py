"""What y_true and y_pred look like: samples, extremes and perfect predictions."""

import dataclasses
from typing import Callable, Optional

import numpy as np

from keras_losses_ref.conformance import inputs

#: The number of samples in a batch, the length of a vector, the number of classes:
#: all different, so that a loss that confuses two axes cannot get away with it.
SAMPLES, LENGTH, CLASSES = 8, 3, 5


@dataclasses.dataclass(frozen=True)
class Domain:
    """One kind of input.

    sample      (rng, n) -> y_true, y_pred
    perfect     y_true -> the y_pred that deserves a loss of zero, or None
    edges       (rng, n) -> [(what, y_true, y_pred)], the ends of the domain
    predicts    "reals", "probabilities", "logits" or "distances"
    elementwise whether y_true and y_pred have one shape, so that (N, 1) makes sense
    """

    name: str
    sample: Callable
    perfect: Optional[Callable] = None
    edges: Optional[Callable] = None
    predicts: str = "reals"
    elementwise: bool = False
    labels: str = "values"


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def one_hot(labels, classes=CLASSES):
    return np.eye(classes)[labels]


def _classes(rng, n):
    return rng.permutation(np.arange(n) % CLASSES)


def _bits(rng, shape):
    """Zeros and ones, both present in every row that is long enough."""
    bits = (rng.random(shape) < 0.5).astype(float)
    rows = bits.reshape(shape[0], -1)
    if rows.shape[1] > 1:
        rows[:, 0], rows[:, -1] = np.arange(shape[0]) % 2, 1 - np.arange(shape[0]) % 2
    else:
        rows[:, 0] = np.arange(shape[0]) % 2
    return bits


def _real(rng, n):
    return rng.normal(size=(n, LENGTH)), rng.normal(size=(n, LENGTH))


def _real_edges(rng, n):
    y_true, y_pred = _real(rng, n)
    return [
        ("y_pred = y_true", y_true, y_true),
        ("y_pred = 0", y_true, np.zeros_like(y_pred)),
        ("|y_pred| = 1e4", y_true, 1e4 * np.sign(y_pred)),
    ]


def _positive(rng, n):
    y_true = rng.uniform(0.2, 3.0, size=(n, LENGTH))
    return y_true, rng.uniform(0.2, 3.0, size=(n, LENGTH))


def _positive_edges(rng, n):
    y_true, y_pred = _positive(rng, n)
    return [
        ("y_pred = y_true", y_true, y_true),
        ("y_true = 0", np.zeros_like(y_true), y_pred),
        ("y_pred = 0", y_true, np.zeros_like(y_pred)),
        ("y_pred = 1e4", y_true, np.full_like(y_pred, 1e4)),
    ]


def _signs(rng, n):
    # Small predictions: within the margin, where a hinge has a gradient.
    return 2 * _bits(rng, (n, LENGTH)) - 1, 0.3 * rng.normal(size=(n, LENGTH))


def _signs_edges(rng, n):
    y_true, y_pred = _signs(rng, n)
    return [
        ("y_pred = 0", y_true, np.zeros_like(y_pred)),
        ("y_pred = 100, right", y_true, 100.0 * y_true),
        ("y_pred = 100, wrong", y_true, -100.0 * y_true),
    ]


def _binary(rng, n):
    return _bits(rng, (n, LENGTH)), sigmoid(rng.normal(size=(n, LENGTH)))


def _probability_edges(sample):
    def edges(rng, n):
        y_true, _ = sample(rng, n)
        wrong = np.roll(y_true, 1, axis=-1)
        return [
            ("the labels as y_pred", y_true, y_true),
            ("wrong labels as y_pred", y_true, wrong),
        ]

    return edges


def _logit_edges(sample, of_truth):
    def edges(rng, n):
        y_true, _ = sample(rng, n)
        right = 100.0 * of_truth(y_true)
        return [
            ("logits of 100, right", y_true, right),
            ("logits of 100, wrong", y_true, -right),
            ("logits of 0", y_true, 0.0 * right),
        ]

    return edges


def _signs_of(bits):
    return 2.0 * bits - 1.0


def _signs_of_index(index):
    return _signs_of(one_hot(index))


def _binary_logits(rng, n):
    return _bits(rng, (n, LENGTH)), 1.5 * rng.normal(size=(n, LENGTH))


def _one_hot(rng, n):
    return one_hot(_classes(rng, n)), softmax(rng.normal(size=(n, CLASSES)))


def _logits(rng, n):
    return one_hot(_classes(rng, n)), 1.5 * rng.normal(size=(n, CLASSES))


def _probabilities(rng, n):
    y_true = softmax(rng.normal(size=(n, CLASSES)))
    return y_true, softmax(rng.normal(size=(n, CLASSES)))


def _indices(rng, n):
    return _classes(rng, n).astype("int32"), softmax(rng.normal(size=(n, CLASSES)))


def _index_edges(rng, n):
    y_true, _ = _indices(rng, n)
    return [
        ("all probability on the label", y_true, one_hot(y_true)),
        ("no probability on the label", y_true, one_hot((y_true + 1) % CLASSES)),
    ]


def _index_logits(rng, n):
    return _classes(rng, n).astype("int32"), 1.5 * rng.normal(size=(n, CLASSES))


def _segmentation(rng, n):
    shape = (n, 4, 3, 2)
    return _bits(rng, shape), sigmoid(rng.normal(size=shape))


def _segmentation_edges(rng, n):
    y_true, _ = _segmentation(rng, n)
    return [
        ("the masks as y_pred", y_true, y_true),
        ("inverted masks as y_pred", y_true, 1.0 - y_true),
        ("nothing there, nothing found", 0.0 * y_true, 0.0 * y_true),
    ]


def _embeddings(rng, n):
    y_pred = rng.normal(size=(n, 6))
    y_pred /= np.linalg.norm(y_pred, axis=-1, keepdims=True)
    return (np.arange(n) % 3).astype("int32"), y_pred


def _embeddings_edges(rng, n):
    y_true, y_pred = _embeddings(rng, n)
    return [
        ("all embeddings equal", y_true, np.ones_like(y_pred) * y_pred[:1]),
        ("one class only", np.zeros_like(y_true), y_pred),
    ]


def _distances(rng, n):
    return _bits(rng, (n, 1)), rng.uniform(0.1, 0.9, size=(n, 1))


def _distances_edges(rng, n):
    y_true, y_pred = _distances(rng, n)
    return [
        ("a distance of 0", y_true, np.zeros_like(y_pred)),
        ("a distance of 100", y_true, np.full_like(y_pred, 100.0)),
    ]


def _sequence(rng, n):
    return rng.integers(1, CLASSES, size=(n, 3)).astype("int32"), rng.normal(
        size=(n, 9, CLASSES)
    )


def _sequence_edges(rng, n):
    y_true, y_pred = _sequence(rng, n)
    return [("logits of 30", y_true, 30.0 * np.sign(y_pred))]


def _domain(name, sample, perfect, edges):
    facts = inputs.DOMAINS[name]
    return Domain(
        name,
        sample,
        perfect,
        edges,
        facts.predicts,
        facts.elementwise,
        facts.labels,
    )


#: Every domain by name, in the order in which they are tried.
DOMAINS = {
    name: _domain(name, *draws)
    for name, *draws in (
        ("real", _real, np.array, _real_edges),
        ("positive", _positive, np.array, _positive_edges),
        ("indices", _indices, one_hot, _index_edges),
        ("binary", _binary, np.array, _probability_edges(_binary)),
        ("one_hot", _one_hot, np.array, _probability_edges(_one_hot)),
        ("signs", _signs, np.array, _signs_edges),
        ("embeddings", _embeddings, None, _embeddings_edges),
        ("sequence", _sequence, None, _sequence_edges),
        ("segmentation", _segmentation, np.array, _segmentation_edges),
        ("binary_logits", _binary_logits, lambda y: 100.0 * _signs_of(y),
         _logit_edges(_binary_logits, _signs_of)),
        ("logits", _logits, lambda y: 100.0 * _signs_of(y),
         _logit_edges(_logits, _signs_of)),
        ("index_logits", _index_logits, lambda y: 100.0 * _signs_of_index(y),
         _logit_edges(_index_logits, _signs_of_index)),
        ("probabilities", _probabilities, np.array, _probability_edges(_probabilities)),
        ("distances", _distances, None, _distances_edges),
    )
}  # fmt: skip


def hint(name, from_logits):
    """The domain that the name of a loss suggests, or None."""
    suggested = inputs.hint(name, from_logits)
    return None if suggested is None else DOMAINS[suggested]


def custom(sample):
    """A domain made of a user's `(rng, n) -> (y_true, y_pred)`."""
    return Domain(getattr(sample, "__name__", "custom"), sample)
