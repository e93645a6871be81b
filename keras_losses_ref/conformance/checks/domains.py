"""What y_true and y_pred look like: samples, extremes and perfect predictions."""

import dataclasses
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref.conformance import inputs
from keras_losses_ref.conformance.checks import structures

#: The number of samples in a batch, the length of a vector, the number of classes:
#: all different, so that a loss that confuses two axes cannot get away with it.
SAMPLES, LENGTH, CLASSES = 8, 3, 5


#: (rng, n) -> (y_true, y_pred), as arrays or structures of arrays.
Sample = Callable[[np.random.Generator, int], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Domain:
    """One kind of input.

    name        what reports call it
    sample      (rng, n) -> y_true, y_pred: n samples, as arrays, or dicts, lists or
                tuples of arrays
    perfect     y_true -> the y_pred that deserves a loss of zero, or None
    edges       (rng, n) -> [(what, y_true, y_pred)], the ends of the domain; without
                it they are derived from the samples, where their shapes allow
    predicts    "reals", "probabilities", "logits" or "distances"
    elementwise whether y_true and y_pred have one shape, so that (N, 1) makes sense
    labels      "values", or "indices" of classes
    low, high   what no element of y_pred is below or above; without them they are
                read off the samples
    ignored     y_true -> a boolean array in the shape of y_pred, True where the loss
                must not look: padding, masked steps, invalid pixels
    pairs       whether y_true is a second prediction, which needs a gradient too
    ranked      whether the loss compares the entries of a list, so that it may jump
                where two of them change places
    """

    name: str
    sample: Sample
    perfect: Optional[Callable[[Any], Any]] = None
    edges: Optional[Callable[..., list[tuple[str, Any, Any]]]] = None
    predicts: str = "reals"
    elementwise: bool = False
    labels: str = "values"
    low: Optional[float] = None
    high: Optional[float] = None
    ignored: Optional[Callable[..., Any]] = None
    pairs: bool = False
    ranked: bool = False


def sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x: NDArray[Any]) -> NDArray[Any]:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def one_hot(labels: NDArray[Any], classes: int = CLASSES) -> NDArray[Any]:
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


def _corners(rng, n, jitter):
    """Boxes as [x1, y1, x2, y2] in pixels, and predictions that overlap them."""
    corner = rng.uniform(0, 50, size=(n, 3, 2))
    extent = rng.uniform(8, 40, size=(n, 3, 2))
    boxes = np.concatenate([corner, corner + extent], axis=-1)
    return boxes, boxes + rng.uniform(-jitter, jitter, size=boxes.shape)


def _boxes(rng, n):
    return _corners(rng, n, 3.0)


def _center_size(boxes):
    """[x1, y1, x2, y2] as [x, y, width, height], x and y of the upper left corner."""
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def _boxes_xywh(rng, n):
    y_true, y_pred = _corners(rng, n, 3.0)
    return _center_size(y_true), _center_size(y_pred)


def _box_edges(sample, moved, point):
    """What detectors meet: perfect, disjoint, empty and padded boxes."""

    def edges(rng, n):
        y_true, y_pred = sample(rng, n)
        nothing = np.zeros_like(y_true)
        return [
            ("y_pred = y_true", y_true, y_true),
            ("boxes that do not touch", y_true, y_true + moved),
            ("predicted boxes without area", y_true, point(y_true)),
            ("padding: true boxes of zeros", nothing, y_pred),
            ("padding: both boxes of zeros", nothing, nothing),
        ]

    return edges


def _relevance(rng, n, length=6):
    """Graded labels; every list has a relevant entry and an irrelevant one."""
    labels = rng.integers(0, 4, size=(n, length)).astype(float)
    labels[:, 0], labels[:, 1] = 0.0, rng.integers(1, 4, size=n)
    return labels


def _ranking(rng, n):
    labels = _relevance(rng, n)
    return labels, rng.normal(size=labels.shape)


def _valid_entries(n, length=6):
    """The first entries of each list, two at least; the others are padding."""
    return np.arange(length) < 2 + np.arange(n)[:, np.newaxis] % (length - 1)


def _ranking_padded(rng, n):
    labels, scores = _ranking(rng, n)
    return np.where(_valid_entries(n), labels, -1.0), scores


def _ranking_masked(rng, n):
    labels, scores = _ranking(rng, n)
    return {"labels": labels, "mask": _valid_entries(n)}, scores


def _ranking_edges(sample, without_relevance):
    def edges(rng, n):
        y_true, y_pred = sample(rng, n)
        return [
            ("all scores equal", y_true, np.zeros_like(y_pred)),
            ("scores of 50 and -50", y_true, 50.0 * np.sign(y_pred)),
            ("lists without a relevant entry", without_relevance(y_true), y_pred),
        ]

    return edges


def _pairs(rng, n):
    first = rng.normal(size=(n, 6))
    second = first + 0.5 * rng.normal(size=first.shape)
    return tuple(x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (first, second))


def _pairs_edges(rng, n):
    y_true, y_pred = _pairs(rng, n)
    return [
        ("both views equal", y_true, y_true),
        (
            "all embeddings equal",
            np.ones_like(y_true) * y_true[:1],
            np.ones_like(y_pred) * y_true[:1],
        ),
        ("opposite views", y_true, -y_true),
    ]


def _packed_mask(rng, n):
    values = rng.normal(size=(n, 4, 3, 2))
    keep = _bits(rng, values.shape)
    return np.concatenate([values, keep], axis=-1), rng.normal(size=values.shape)


def _packed_edges(rng, n):
    y_true, y_pred = _packed_mask(rng, n)
    values, keep = np.split(y_true, 2, axis=-1)
    return [
        ("y_pred = y_true", y_true, values),
        ("an empty mask", np.concatenate([values, 0.0 * keep], axis=-1), y_pred),
    ]


def _depth(rng, n):
    """Depth in metres; 0 where the sensor has seen nothing."""
    depth = rng.uniform(0.5, 8.0, size=(n, 4, 3, 1))
    invalid = rng.random(depth.shape) < 0.3
    invalid[:, 0, 0], invalid[:, -1, -1] = False, True
    y_pred = depth * rng.uniform(0.7, 1.4, size=depth.shape)
    return np.where(invalid, 0.0, depth), y_pred


def _depth_edges(rng, n):
    y_true, y_pred = _depth(rng, n)
    return [
        ("y_pred = y_true where valid", y_true, np.where(y_true > 0, y_true, y_pred)),
        ("no valid pixel", 0.0 * y_true, y_pred),
    ]


def _domain(name, sample, perfect, edges, more=None):
    facts = inputs.DOMAINS[name]
    low, high = {"probabilities": (0.0, 1.0), "distances": (0.0, None)}.get(
        facts.predicts, (None, None)
    )
    how = {"low": low, "high": high, **(more or {})}
    return Domain(
        name,
        sample,
        perfect,
        edges,
        facts.predicts,
        facts.elementwise,
        facts.labels,
        **how,
    )


#: Every domain by name, in the order in which they are tried.
DOMAINS = {
    name: _domain(name, *draws)
    for name, *draws in (
        ("real", _real, np.array, _real_edges),
        ("positive", _positive, np.array, _positive_edges, {"low": 0.0}),
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
        # What no values can tell from the domains above: by name only.
        ("boxes", _boxes, np.array,
         _box_edges(_boxes, 1000.0, lambda y: np.tile(y[..., :2], 2))),
        ("boxes_xywh", _boxes_xywh, np.array,
         _box_edges(_boxes_xywh, np.array([1000.0, 1000.0, 0.0, 0.0]),
                    lambda y: y * [1.0, 1.0, 0.0, 0.0])),
        ("ranking", _ranking, None, _ranking_edges(_ranking, np.zeros_like),
         {"ranked": True}),
        ("ranking_padded", _ranking_padded, None,
         _ranking_edges(_ranking_padded, lambda y: np.minimum(y, 0.0)),
         {"ranked": True, "ignored": lambda y: y < 0}),
        ("ranking_masked", _ranking_masked, None,
         _ranking_edges(_ranking_masked,
                        lambda y: {**y, "labels": np.zeros_like(y["labels"])}),
         {"ranked": True, "ignored": lambda y: ~y["mask"]}),
        ("pairs", _pairs, np.array, _pairs_edges, {"pairs": True}),
        ("packed_mask", _packed_mask, lambda y: np.split(y, 2, axis=-1)[0],
         _packed_edges, {"ignored": lambda y: np.split(y, 2, axis=-1)[1] == 0}),
        ("depth", _depth, None, _depth_edges,
         {"low": 0.0, "ignored": lambda y: y == 0}),
    )
}  # fmt: skip

#: The domains that are tried out where no name helps, in this order.
TRIED = tuple(DOMAINS)[: tuple(DOMAINS).index("boxes")]


def hint(name: str, from_logits: bool) -> Optional[Domain]:
    """The domain that the name of a loss suggests, or None."""
    suggested = inputs.hint(name, from_logits)
    return None if suggested is None else DOMAINS[suggested]


def custom(sample: Sample) -> Domain:
    """A domain made of a user's `(rng, n) -> (y_true, y_pred)`."""
    return Domain(getattr(sample, "__name__", "custom"), sample)


def draw(domain: Domain, seed: int, n: int) -> tuple[Any, Any]:
    """n samples of `domain` as NumPy arrays, or an error that says what it gives."""
    drawn = domain.sample(np.random.default_rng(seed), n)
    if not isinstance(drawn, (tuple, list)) or len(drawn) != 2:
        raise ValueError(
            f"The domain {domain.name!r} must return the pair (y_true, y_pred). "
            f"Received: {type(drawn).__name__}."
        )
    drawn = tuple(structures.tree_map(np.asarray, part) for part in drawn)
    lengths = {leaf.shape[:1] for part in drawn for leaf in structures.leaves(part)}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            f"The domain {domain.name!r} must return arrays with one row for each of "
            f"its {n} samples. Received lengths: {sorted(lengths)}."
        )
    return drawn


def bounds(domain: Domain) -> tuple[float, float]:
    """(low, high) of y_pred: as declared, or [0, 1] or [0, inf) where samples agree."""
    if domain.low is not None or domain.high is not None:
        low = -np.inf if domain.low is None else domain.low
        return low, np.inf if domain.high is None else domain.high
    if DOMAINS.get(domain.name) is domain:
        return -np.inf, np.inf
    drawn = [structures.rows(draw(domain, seed, SAMPLES)[1]) for seed in range(4)]
    smallest, largest = min(x.min() for x in drawn), max(x.max() for x in drawn)
    if smallest < 0:
        return -np.inf, np.inf
    return 0.0, 1.0 if largest <= 1 else np.inf


def edges(
    domain: Domain, seed: int, n: int
) -> tuple[list[tuple[str, Any, Any]], list[str]]:
    """([(what, y_true, y_pred)], [what could not be derived]): the ends of a domain."""
    rng = np.random.default_rng(seed)
    if domain.edges is not None:
        return domain.edges(rng, n), []
    y_true, y_pred = draw(domain, seed, n)
    found, missing = [], []
    if structures.is_structure(y_true) or structures.is_structure(y_pred):
        same = False
    else:
        same = y_true.shape == y_pred.shape and y_true.dtype.kind in "iufb"
    if same:
        perfect = y_true.astype(y_pred.dtype)
        but_one = perfect.copy()
        but_one[(0,) * but_one.ndim] = y_pred[(0,) * but_one.ndim]
        found.append(("y_pred = y_true", y_true, perfect))
        found.append(("y_pred = y_true but for one element", y_true, but_one))
    else:
        missing.append("y_pred = y_true")
    numbers = structures.rows(y_pred)
    # Where all samples keep away from 0, it is no prediction of this domain.
    if numbers.min() <= 0.2 * np.abs(numbers).max():
        nothing = structures.tree_map(np.zeros_like, y_pred)
        found.append(("y_pred = 0", y_true, nothing))
    else:
        missing.append("y_pred = 0")
    return found, missing
