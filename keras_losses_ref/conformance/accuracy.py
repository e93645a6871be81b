"""How far our losses and Keras's are from the exact value, over the range of inputs.

Every loss runs in every dtype and on every path, on six families of inputs drawn from a
seed. The answers of ours and of the installed Keras are measured against the oracle,
which works in NumPy's longest float and is pinned by mpmath. A cell of the atlas is one
(loss, dtype, path, family, aspect).

An error is measured in units in the last place (ulp) of

    values      the value itself; for a cosine, the size of the terms of its sum, since
                the cosine of nearly orthogonal vectors has no digits of its own
    gradients   the element itself for an elementwise loss; for a loss of whole rows the
                largest element of its row, since a gradient is one vector. The same
                holds for what is added to an ulp.

The mixed error is judged, see `tolerance`: the ulp plus the change of the exact answer
when each input changes by one ulp. It is 1 for an answer that is exact for inputs that
close, also where differences cancel and the plain error is large. Where nothing cancels
the two are nearly equal. The plain error is kept beside it. A loss in half precision
computes in float32 and rounds once: 1 ulp, plus the effect of one float32 ulp of the
inputs.

If the exact value is below the smallest normal number, every answer below it is right,
except in float16: TensorFlow flushes the subnormals of the other dtypes. A float64
truth is itself rounded to float64, so half an ulp is the smallest error that can be
seen there.

There are two rules. The 99.9th percentile of our errors is at most
`AccuracySpec.limit`, whatever Keras does. Our largest error is not above both that
limit and Keras's largest, if this Keras has the loss.
"""

import dataclasses
import functools
import itertools
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref.conformance import inputs, runners
from keras_losses_ref.conformance.cases.case import Case
from keras_losses_ref.conformance.tolerance import FLOAT_INFO, round_to, ulp_errors
from keras_losses_ref.conformance.truth import (
    Conditioning,
    conditioning,
    mixed_limit,
    right_answer,
    rounded,
)

FAMILIES = ("typical", "near 0", "near 1", "tiny difference", "saturated", "huge")
DTYPES = ("float16", "bfloat16", "float32", "float64")
HALF = DTYPES[:2]
PATHS = ("eager", "graph", "xla")
ASPECTS = ("value", "gradient")
#: Elements of y_pred in a cell.
SIZE = 2000


# --- inputs: (random numbers, family, dtype) -> (y_true, y_pred), or None ------------


class Draw:
    """Random numbers for one family of inputs, within the range of one dtype."""

    def __init__(self, seed: int, family: str, dtype: str) -> None:
        self.epsilon, self.smallest, self.largest = FLOAT_INFO[dtype]
        self.family, self.dtype = family, dtype
        self.random = np.random.RandomState(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> NDArray[Any]:
        return self.random.normal(0.0, scale, shape)

    def uniform(self, low: float, high: float, *shape: int) -> NDArray[Any]:
        return self.random.uniform(low, high, shape)

    def sign(self, *shape: int) -> NDArray[Any]:
        return self.random.choice([-1.0, 1.0], shape)

    def spread(self, low: float, high: float, *shape: int) -> NDArray[Any]:
        """Positive numbers whose exponents are spread evenly."""
        return np.exp(self.random.uniform(np.log(low), np.log(high), shape))

    def tiny(self, *shape: int) -> NDArray[Any]:
        """From one unit in the last place of 1 to a hundredth."""
        return self.spread(self.epsilon, 1e-2, *shape)

    def small(self, *shape: int) -> NDArray[Any]:
        """From the smallest whose differences are normal numbers to a hundredth."""
        return self.spread(self.smallest / self.epsilon, 1e-2, *shape)

    def large(self, *shape: int) -> NDArray[Any]:
        """From a thousand to a quarter of the largest number."""
        return self.spread(1e3, self.largest / 4, *shape)

    def classes(self, rows: int, count: int) -> NDArray[Any]:
        return self.random.randint(0, count, rows)


#: (y_true, y_pred), or None where a domain lacks the family.
Drawn = Optional[tuple[NDArray[Any], NDArray[Any]]]


def real(draw: Draw, n: int = SIZE) -> Drawn:
    shape, family = (n, 1), draw.family
    y = draw.normal(*shape)
    if family == "typical":
        return y, draw.normal(*shape)
    if family == "near 0":
        return draw.sign(*shape) * draw.small(*shape), (
            draw.sign(*shape) * draw.small(*shape)
        )
    if family == "near 1":
        return np.ones(shape), 1 + draw.sign(*shape) * draw.tiny(*shape)
    if family == "tiny difference":
        return y, round_to(y, draw.dtype) * (1 + draw.sign(*shape) * draw.tiny(*shape))
    if family == "saturated":
        return y, draw.sign(*shape) * draw.uniform(15, 75, *shape)
    return y, draw.sign(*shape) * draw.large(*shape)


def positive(draw: Draw) -> Drawn:
    return tuple(np.abs(array) for array in real(draw))


def signs(draw: Draw) -> Drawn:
    """Labels -1 and 1, and a margin."""
    y, p = draw.sign(SIZE, 1), real(draw)[1]
    if draw.family in ("near 1", "tiny difference"):
        p = y * (1 + draw.sign(SIZE, 1) * draw.tiny(SIZE, 1))
    return y, p


def binary(draw: Draw) -> Drawn:
    shape, family = (SIZE, 1), draw.family
    y = (draw.uniform(0, 1, *shape) < 0.5).astype(float)
    y[::3] = draw.uniform(0.05, 0.95, *y[::3].shape)  # a third of them soft
    if family == "typical":
        return y, draw.uniform(0.01, 0.99, *shape)
    if family == "near 0":
        return y, draw.small(*shape)
    if family == "near 1":
        return y, 1 - draw.tiny(*shape)
    if family == "tiny difference":
        y = draw.uniform(0.05, 0.95, *shape)
        p = round_to(y, draw.dtype) * (1 + draw.sign(*shape) * draw.tiny(*shape))
        return y, p
    if family == "saturated":
        return y, (draw.uniform(0, 1, *shape) < 0.5).astype(float)
    return None


def binary_logits(draw: Draw) -> Drawn:
    shape, family = (SIZE, 1), draw.family
    y, _ = binary(Draw(draw.random.randint(2**31), "typical", draw.dtype))
    if family == "typical":
        return y, draw.normal(*shape, scale=2)
    if family == "near 0":
        return y, draw.sign(*shape) * draw.small(*shape)
    if family == "tiny difference":
        y = round_to(draw.uniform(0.05, 0.95, *shape), draw.dtype)
        return y, np.log(y / (1 - y)) * (1 + draw.sign(*shape) * draw.tiny(*shape))
    if family == "saturated":
        return y, draw.sign(*shape) * draw.uniform(15, 75, *shape)
    if family == "huge":
        return y, draw.sign(*shape) * draw.large(*shape)
    return None


CLASSES = 5
ROWS = SIZE // CLASSES


def _hot(index, count=CLASSES):
    return np.eye(count)[index]


def one_hot(draw: Draw) -> Drawn:
    """One-hot labels and probabilities; for "tiny difference" the labels are soft."""
    family, shape = draw.family, (ROWS, CLASSES)
    index = draw.classes(ROWS, CLASSES)
    y = _hot(index)
    p = np.exp(draw.normal(*shape, scale=2))
    p /= p.sum(-1, keepdims=True)
    if family == "typical":
        return y, p
    if family == "near 0":
        p = np.where(y == 1, draw.small(ROWS, 1), p)
        return y, p
    if family == "near 1":
        rest = draw.tiny(ROWS, 1) * p
        return y, np.where(y == 1, 1 - (rest * (1 - y)).sum(-1, keepdims=True), rest)
    if family == "tiny difference":
        q = round_to(p, draw.dtype)
        return p, q * (1 + draw.sign(*shape) * draw.tiny(ROWS, 1))
    if family == "saturated":
        other = draw.classes(ROWS, CLASSES)
        return y, _hot(np.where(np.arange(ROWS) % 2, index, other))
    return y, p * draw.spread(1e3, draw.largest / CLASSES / 2, ROWS, 1)


def one_hot_logits(draw: Draw) -> Drawn:
    family, shape = draw.family, (ROWS, CLASSES)
    y = _hot(draw.classes(ROWS, CLASSES))
    x = draw.normal(*shape, scale=2)
    if family == "typical":
        return y, x
    if family == "near 0":
        return y, draw.sign(*shape) * draw.small(*shape)
    if family == "near 1":
        return y, x + y * draw.uniform(5, 20, ROWS, 1)
    if family == "tiny difference":
        return y, draw.normal(ROWS, 1) * (1 + draw.sign(*shape) * draw.tiny(*shape))
    if family == "saturated":
        return y, x + y * draw.sign(ROWS, 1) * draw.uniform(15, 75, ROWS, 1)
    return y, draw.sign(*shape) * draw.large(*shape)


def _indexed(sample):
    def indices(draw):
        # Soft labels have no index: hard ones, next to the same predictions.
        y, p = sample(draw)
        return np.argmax(y, axis=-1), p

    return indices


def distribution(draw: Draw) -> Drawn:
    if draw.family == "huge":
        return None
    y, p = one_hot(draw)
    if draw.family in ("typical", "near 0"):
        y = np.exp(draw.normal(*p.shape))
        y /= y.sum(-1, keepdims=True)
    return y, p


def vectors(draw: Draw, n: int = 8) -> Drawn:
    family, shape = draw.family, (SIZE // n, n)
    y, p = draw.normal(*shape), draw.normal(*shape)
    scale = 1.0
    if family == "near 0":
        p, scale = p * draw.spread(draw.smallest, 1e-2, len(p), 1), 1.0
    if family == "near 1":
        p = 3 * y + 0.03 * p
    if family == "tiny difference":
        p = round_to(y, draw.dtype) * (1 + draw.sign(*shape) * draw.tiny(len(p), 1))
    if family == "saturated":
        p = round_to(y, draw.dtype) * draw.sign(len(p), 1) * 2
    if family == "huge":
        scale = draw.spread(1e3, draw.largest / 16, len(p), 1)
        p = p * scale
    return y, p


def masks(draw: Draw, n: int = 8) -> Drawn:
    if draw.family == "huge":
        return None
    if draw.family == "near 0":
        y = (draw.uniform(0, 1, SIZE // n, n) < 0.2).astype(float)
        return y, draw.small(SIZE // n, n)
    if draw.family == "near 1":
        y = (draw.uniform(0, 1, SIZE // n, n) < 0.5).astype(float)
        return y, np.abs(y - draw.tiny(SIZE // n, 1) * draw.uniform(0, 1, *y.shape))
    y, p = binary(draw)
    if draw.family != "tiny difference":
        y = np.round(y)
    return y.reshape(-1, n), p.reshape(-1, n)


def embeddings(draw: Draw, n: int = 60, size: int = 8) -> Drawn:
    """Rows of norm 1 in ten classes."""
    family = draw.family
    if family in ("near 0", "huge"):
        return None
    labels = np.arange(n) % 10
    x = draw.normal(n, size)
    centres = draw.normal(10, size)[labels]
    if family == "near 1":  # every class around one direction
        x = 0.3 * x + 3 * np.ones(size)
    if family == "tiny difference":
        x = centres * (1 + draw.sign(n, size) * draw.tiny(n, 1))
    if family == "saturated":
        x = centres
    return labels, x / np.linalg.norm(x, axis=-1, keepdims=True)


def sequences(
    draw: Draw, n: int = 10, time: int = 10, classes: int = 4, length: int = 3
) -> Drawn:
    """Labels shorter than the time, and logits."""
    family, shape = draw.family, (n, time, classes)
    labels = draw.random.randint(1, classes, (n, length))
    x = draw.normal(*shape, scale=2)
    if family == "near 0":
        x = draw.sign(*shape) * draw.small(*shape)
    if family == "near 1":  # sure of a path that spells the labels
        path = np.zeros((n, time), int)
        path[:, 1 : 2 * length : 2] = labels
        x = x + _hot(path, classes) * draw.uniform(5, 20, n, 1, 1)
    if family == "tiny difference":
        x = draw.normal(n, 1, 1) * (1 + draw.sign(*shape) * draw.tiny(*shape))
    if family == "saturated":
        x = draw.sign(*shape) * draw.uniform(15, 75, *shape)
    if family == "huge":
        x = draw.sign(*shape) * draw.spread(1e3, 1e4, *shape)
    return labels, x


# --- what the pictures have on their axis ----------------------------------------


def _share(y, p):
    """The share of the label, as it is among all of the row."""
    total = p.sum(-1)
    hot = _hot(y, p.shape[-1]) if y.ndim < p.ndim else y
    return (hot * p).sum(-1) / np.where(total == 0, 1, total)


def _lead(y, x):
    """The lead of the label over the best other class."""
    hot = _hot(y, x.shape[-1]) if y.ndim < x.ndim else y
    with np.errstate(all="ignore"):
        others = np.where(hot == hot.max(-1, keepdims=True), -np.inf, x)
        return (hot * x).sum(-1) - others.max(-1)


def _angle(y, p):
    y, p = _unit(y), _unit(p)
    apart, along = (np.linalg.norm(a, axis=-1) for a in (y - p, y + p))
    return 2 * np.arctan2(apart, along)


def _unit(x):
    x = x / np.max(np.abs(x), -1, keepdims=True)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class InputFamilies:
    """How the families of a domain are drawn, and how their results are plotted."""

    #: (Draw) -> (y_true, y_pred), or None where the domain lacks the family.
    sample: Callable[[Draw], Drawn]
    #: (y_true, y_pred, the exact value) -> what is drawn on the axis, and its name.
    axis: Callable[..., NDArray[Any]]
    label: str
    #: Of matplotlib: "log", "logit" or "symlog".
    scale: str = "log"


def _distance(y, p, value):
    return np.abs(p - y)


def _prediction(y, p, value):
    return p


def _value(y, p, value):
    return value


_error = "|y_pred − y_true|"
_label_share = (lambda y, p, v: _share(y, p)), "probability of the label", "logit"
_label_lead = (lambda y, x, v: _lead(y, x)), "lead of the label's logit", "symlog"
#: By the name of the domain.
DRAWN = {
    "real": InputFamilies(real, _distance, _error),
    "positive": InputFamilies(positive, _distance, _error),
    "counts": InputFamilies(positive, _distance, _error),
    "signs": InputFamilies(
        signs, lambda y, p, v: np.abs(1 - y * p), "|1 − y_true y_pred|"
    ),
    "binary": InputFamilies(binary, _prediction, "y_pred", "logit"),
    "binary_logits": InputFamilies(
        binary_logits, _prediction, "y_pred (logit)", "symlog"
    ),
    "one_hot": InputFamilies(one_hot, *_label_share),
    "indices": InputFamilies(_indexed(one_hot), *_label_share),
    "logits": InputFamilies(one_hot_logits, *_label_lead),
    "index_logits": InputFamilies(_indexed(one_hot_logits), *_label_lead),
    "probabilities": InputFamilies(
        distribution, lambda y, p, v: np.abs(p - y).max(-1), "largest " + _error
    ),
    "vectors": InputFamilies(
        vectors, lambda y, p, v: _angle(y, p), "angle between the vectors"
    ),
    "segmentation": InputFamilies(
        masks, lambda y, p, v: np.abs(p - y).mean(-1), "mean " + _error
    ),
    "embeddings": InputFamilies(embeddings, _value, "loss"),
    "sequence": InputFamilies(sequences, _value, "loss"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class AccuracySpec:
    """One loss in one configuration."""

    loss: str
    domain: inputs.InputDomain
    config: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def drawn(self) -> InputFamilies:
        return DRAWN[self.domain.name]

    @property
    def rowwise(self) -> bool:
        """Whether a gradient is one vector for a row."""
        return not self.domain.elementwise

    @property
    def name(self) -> str:
        words = [self.loss]
        for key, value in self.config.items():
            words += ["from logits" if key == "from_logits" else f"{key}={value}"]
        return ", ".join(word for word in words if not word.startswith("axis"))

    @property
    def slug(self) -> str:
        return "".join(c if c.isalnum() else "_" for c in self.name).lower()

    def limit(self, dtype: str) -> float:
        """The largest mixed error that ours may have, whatever Keras does.

        None in float64 for CTC, whose recursion works in float64 in any dtype.
        """
        if dtype in HALF:
            return 1.0
        if dtype == "float64" and self.loss == "CTC":
            return math.inf
        return mixed_limit(self.loss, self.config)


SPECS = tuple(
    AccuracySpec(row.loss, inputs.DOMAINS[row.domain], row.config)
    for row in inputs.LOSSES
)


# --- measuring -------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """The errors of ours and Keras's on one family of inputs."""

    spec: AccuracySpec
    dtype: str
    path: str
    family: str
    aspect: str
    #: What is judged: the mixed error.
    ours: Any
    #: None where this Keras lacks the loss, or refuses the inputs.
    keras: Optional[Any]
    #: What the picture has on its axis, for each error.
    axis: Any
    #: The plain errors, in ulp.
    ours_ulp: Any = None
    keras_ulp: Optional[Any] = None

    @property
    def violations(self) -> list[str]:
        """The rules that this cell breaks, in words."""
        rules, limit = [], self.spec.limit(self.dtype)
        largest, usual, _ = self.statistics("ours") or (0.0, 0.0, 0.0)
        if self.keras is not None and largest > max(limit, np.max(self.keras)):
            rules.append("worse than Keras")
        if usual > limit:
            rules.append(f"above {limit:g} in more than 0.1 %")
        return rules

    def statistics(self, name: str) -> Optional[tuple[float, ...]]:
        """(largest, 99.9th percentile, median) of a field of errors; None if absent."""
        errors = getattr(self, name)
        if errors is None or not errors.size:
            return None
        ordered = np.sort(errors, axis=None)
        last = len(ordered) - 1
        at = (last, math.ceil(0.999 * last), len(ordered) // 2)
        return tuple(float(ordered[i]) for i in at)


def cases(spec: AccuracySpec, dtype: str, path: str, seed: int = 0) -> Iterator[Case]:
    """One Case for each family that the spec has inputs for, in order."""
    for family in FAMILIES:
        key = f"{spec.name} {dtype} {family} {seed}"
        drawn = spec.drawn.sample(Draw(zlib.crc32(key.encode()), family, dtype))
        if drawn is None:
            continue
        y_true, y_pred = drawn
        yield Case(
            spec.loss,
            family,
            f"atlas of {spec.name}",
            round_to(y_true, dtype) if y_true.dtype.kind == "f" else y_true,
            round_to(y_pred, dtype),
            dict(spec.config),
            dtype=dtype,
            reduction="none",
            path=path,
        )


def measure(
    specs: Iterable[AccuracySpec] = SPECS,
    dtypes: Iterable[str] = DTYPES,
    paths: Sequence[str] = PATHS,
    seed: int = 0,
    progress: Optional[Callable[[int, str], object]] = None,
) -> list[Cell]:
    """Every Cell, in the order of the arguments. `progress(done, what)` is called."""
    evaluate, cells = runners.load().evaluate, []
    for done, (spec, dtype) in enumerate(itertools.product(specs, dtypes), 1):
        truths = {}
        for path in paths:
            asked = list(cases(spec, dtype, path, seed))
            answers = (evaluate(asked, who) for who in runners.IMPLEMENTATIONS)
            for (case, ours), (_, keras) in zip(*answers):
                if case.name not in truths:
                    truths[case.name] = right_answer(case), _conditioning(spec, case)
                for aspect in ASPECTS:
                    cells.append(
                        _cell(spec, case, aspect, ours, keras, *truths[case.name])
                    )
        if progress is not None:
            progress(done, f"{spec.name} {dtype}")
    return cells


def _conditioning(spec, case):
    """The effect of an error of the inputs on the answer, which is added to an ulp."""
    found = conditioning(case)
    if case.dtype not in HALF:
        return found
    # Of the answer in float32, which is rounded once.
    allowed = spec.limit("float32")
    return Conditioning(allowed * found.value, allowed * found.gradient)


def _cell(spec, case, aspect, ours, keras, truth, moves):
    if truth.error or ours.error:
        raise RuntimeError(f"{case.id}: {truth.message or ours.message}")
    y_true, y_pred = rounded(case)
    want = getattr(truth, aspect)
    scale = _scale(spec, case, aspect, want)
    scale = np.broadcast_to(scale, want.shape)
    plain = functools.partial(ulp_errors, wanted=want, dtype=case.dtype, scale=scale)
    moves = getattr(moves, aspect)
    if aspect == "gradient" and spec.rowwise:
        moves = _largest_of_rows(moves)
    mixed = functools.partial(plain, conditioning=moves)
    axis = spec.drawn.axis(y_true, y_pred, truth.value)
    if axis.ndim < want.ndim:
        axis = axis.reshape(axis.shape + (1,) * (want.ndim - axis.ndim))
    elif axis.ndim > want.ndim:
        axis = axis[..., 0]  # rows of one element
    got, theirs = getattr(ours, aspect), None
    if not (keras.error or keras.unsupported):
        theirs = getattr(keras, aspect)
    return Cell(
        spec,
        case.dtype,
        case.path,
        case.name,
        aspect,
        mixed(got),
        None if theirs is None else mixed(theirs),
        np.broadcast_to(axis, want.shape),
        plain(got),
        None if theirs is None else plain(theirs),
    )


def _scale(spec, case, aspect, want):
    """The numbers whose ulp is the unit of an error."""
    if aspect == "gradient" and spec.rowwise:
        return _largest_of_rows(np.where(np.isfinite(want), np.abs(want), 0))
    if aspect == "value" and spec.loss == "CosineSimilarity":
        y, p = (_unit(a) for a in rounded(case))
        return np.abs(y * p).sum(-1)
    return np.abs(want)


def _largest_of_rows(array):
    axes = tuple(range(1, array.ndim))
    return np.max(array, axis=axes, keepdims=True) if axes else array
