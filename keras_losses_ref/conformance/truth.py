"""The right answer to a case: the oracle's, by the rules of the Keras in use.

The definition leaves reductions, masks, the default dtype and the recovery of logits to
Keras, so `HostRules` say what the Keras in use does there. Importing this module does
not import TensorFlow, and nothing here runs a loss of ours or of Keras's.
"""

import dataclasses
import math
import weakref
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref import oracle
from keras_losses_ref.conformance.cases.case import Case
from keras_losses_ref.conformance.inputs import DOMAINS, LOSSES
from keras_losses_ref.conformance.outcome import Outcome, refusal
from keras_losses_ref.conformance.tolerance import MIXED, round_to, spacing

#: The CTC loss when no alignment exists, ours and Keras's. By definition it is
#: infinite, which would end any training.
IMPOSSIBLE = -math.log(1e-307)

#: Losses whose y_true holds the indices of classes, which are never rounded.
TAKES_INDICES = frozenset(
    row.loss for row in LOSSES if DOMAINS[row.domain].labels == "indices"
)


@dataclasses.dataclass(frozen=True)
class HostRules:
    """What the definition leaves to the Keras in use."""

    version: str
    #: "tensorflow" or "jax".
    backend: str
    #: What reports call its losses.
    keras_name: str
    #: 2 or 3.
    generation: int
    #: The reductions that its losses accept.
    reductions: tuple
    #: The oracle's name for how it reduces.
    reduction_rules: str
    #: Whether logits are recovered from the graph behind a sigmoid or softmax.
    recovers_logits: bool
    #: Whether logits are recovered from a Softmax also where `ignore_class` is given.
    recovers_behind_ignore_class: bool
    #: The dtype of a loss that was given none.
    floatx: str


def host_rules() -> HostRules:
    """The rules of the Keras in use, read each time: a user may change them."""
    from keras_losses_ref import host

    if host.GENERATION == 2:
        rules = "keras2"
    elif not host.SAFE_MEAN:
        rules = "keras3.0"
    else:
        rules = "keras3" if host.MASK_DIVISION == "safe" else "keras3.7"
    return HostRules(
        host.VERSION,
        host.BACKEND,
        host.KERAS_NAME,
        host.GENERATION,
        host.REDUCTIONS,
        rules,
        host.RECOVERS_LOGITS,
        host.RECOVERS_BEHIND_IGNORE_CLASS,
        host.floatx(),
    )


_answers: "weakref.WeakKeyDictionary[Case, Outcome]" = weakref.WeakKeyDictionary()


def right_answer(case: Case) -> Outcome:
    """The right outcome of a case. The oracle runs once for each case."""
    if case not in _answers:
        try:
            _answers[case] = _by_the_oracle(case)
        except Exception as error:
            _answers[case] = refusal(error)
    return _answers[case]


def _by_the_oracle(case):
    found = _parts(case, *rounded(case))
    result = np.mean(found.result) if case.path == "fit" else found.result
    outcome = Outcome(result, found.gradient, case.dtype)
    if case.path == "reloaded":
        return dataclasses.replace(outcome, config=expected_config(case))
    if case.check_hessian:
        return with_second_derivative(outcome, case, _by_the_oracle)
    return outcome


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """The intermediate results of the oracle."""

    #: Before they are reduced, and d(sum of the result) / d(values).
    values: np.ndarray
    upstream: np.ndarray
    result: np.ndarray
    gradient: np.ndarray


def _parts(case, y_true, y_pred):
    """The oracle's answer for inputs as they are, not rounded."""
    function = oracle.BY_LOSS[case.loss]
    config = dict(case.config)
    if case.loss == "CTC":
        config["impossible"] = IMPOSSIBLE
    probabilities, chain = y_pred, None
    if case.activation is not None:
        if recovers_logits(case):
            config["from_logits"] = True
        else:
            probabilities, chain = activate(case.activation, y_pred)
    values, pullback = function(y_true, probabilities, **config, dtype=case.dtype)
    result, upstream = oracle.reduce(
        values,
        reduction=case.reduction,
        sample_weight=case.sample_weight,
        mask=merged_mask(case, values, y_true, y_pred),
        rules=host_rules().reduction_rules,
    )
    gradient = pullback(upstream)
    if chain is not None:
        gradient = chain(gradient)
    return _Parts(values, upstream, result, gradient)


def with_second_derivative(
    outcome: Outcome, case: Case, answer: Callable[[Case], Outcome]
) -> Outcome:
    """`outcome` with the second derivative, by differences of the gradient.

    `answer(case)` gives exact gradients. Richardson extrapolation over three step
    widths makes the error of order step^6.
    """
    v = direction(np.shape(case.y_pred))

    def gradient(t):
        y_pred = case.y_pred + t * v
        there = dataclasses.replace(case, y_pred=y_pred, check_hessian=False)
        return answer(there).gradient

    def difference(step):
        return (gradient(step) - gradient(-step)) / (2 * step)

    one, two, four = (difference(5e-5 * factor) for factor in (1, 2, 4))
    return dataclasses.replace(outcome, second=(64 * one - 20 * two + four) / 45)


def direction(shape: tuple[int, ...]) -> NDArray[Any]:
    """The direction of the second derivative: no two components are equal."""
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape)


def expected_config(case: Case) -> dict[str, Any]:
    """The arguments that a saved config must hold: those of the case.

    The dtype is not among them if it is the default, nor in Keras 2, whose losses have
    none.
    """
    rules = host_rules()
    arguments = dict(case.config, reduction=case.reduction)
    if rules.generation == 3 and case.dtype != rules.floatx:
        arguments["dtype"] = case.dtype
    return {name: plain(value) for name, value in arguments.items()}


def plain(value: Any) -> Any:
    """A config's value as JSON would hold it."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict) and "config" in value:  # a serialized dtype policy
        return plain(value["config"].get("name", value["config"]))
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value


def rounded(case: Case) -> tuple[NDArray[Any], NDArray[Any]]:
    """(y_true, y_pred) as float64 or int64, once rounded to the dtype of the case."""
    y_pred = flushed(round_to(case.y_pred, case.dtype), case.dtype)
    if case.y_true.dtype.kind == "f" and case.loss not in TAKES_INDICES:
        return flushed(round_to(case.y_true, case.dtype), case.dtype), y_pred
    return case.y_true, y_pred


def flushed(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Subnormal numbers as 0, which is how TensorFlow's kernels read them.

    Except in float16, whose arithmetic runs in float32.
    """
    smallest = {"float64": 2.0**-1022, "float16": 0.0}.get(dtype, 2.0**-126)
    return np.where(np.abs(array) < smallest, 0.0, array)


def recovers_logits(case: Case) -> bool:
    """Whether Keras, and so the definition, looks behind the activation here."""
    rules = host_rules()
    ignoring = case.config.get("ignore_class") is not None
    hidden = ignoring and not rules.recovers_behind_ignore_class
    traced = case.path not in ("eager", "reloaded")
    return rules.recovers_logits and traced and not hidden


def activate(
    name: str, x: NDArray[Any]
) -> tuple[NDArray[Any], Callable[[NDArray[Any]], NDArray[Any]]]:
    """The activation of logits x in NumPy, and the pullback of its gradient."""
    if name == "sigmoid":
        p = 1 / (1 + np.exp(-x))
        p = round_to(p, "float32")
        return p, lambda g: g * p * (1 - p)
    e = np.exp(x - x.max(-1, keepdims=True))
    p = round_to(e / e.sum(-1, keepdims=True), "float32")
    return p, lambda g: p * (g - (g * p).sum(-1, keepdims=True))


def merged_mask(
    case: Case, values: NDArray[Any], y_true: NDArray[Any], y_pred: NDArray[Any]
) -> Optional[NDArray[Any]]:
    """The mask on y_pred and the one that the loss itself makes, as one."""
    masks = [] if case.mask is None else [np.asarray(case.mask, bool)]
    ignore = case.config.get("ignore_class")
    if ignore is not None:
        axis = case.config.get("axis", -1)
        masks.append(oracle.valid_mask(y_true, ignore, y_pred, axis))
    if case.loss == "Circle":
        masks.append(oracle.circle_mask(values, case.dtype))
    return np.logical_and.reduce(masks) if masks else None


# --- conditioning ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Conditioning:
    """How far the right answer changes when each input changes by one unit.

    sum_i |d answer / d x_i| ulp(x_i), element by element of the answer. The units are
    those of the dtype that the loss computes in: of float32 in half precision.
    """

    value: np.ndarray
    gradient: np.ndarray


def mixed_limit(loss: str, config: dict[str, Any]) -> float:
    """The mixed error that an answer of ours may have: see `tolerance`."""
    if loss == "CTC":
        return MIXED["CTC"]
    logits = bool(config.get("from_logits"))
    rows = [row for row in LOSSES if row.loss == loss]
    asked = [row for row in rows if bool(row.config.get("from_logits")) == logits]
    return MIXED["deep" if any(row.deep for row in asked or rows) else "plain"]


#: Derivatives are taken by differences over these many units. Where two widths disagree
#: by more than a quarter, to both sides together and to each side alone, it is a jump,
#: or there is nothing but the oracle's own rounding: no derivative is counted there.
_STEPS = {"float64": (4.0, 1.0), "float32": (0.5, 0.125)}

#: Losses whose jumps count as well. The distances of Circle's embeddings are 1 - cos,
#: and 0 where that is less: of close neighbours no digit is left below an ulp of 1, and
#: whether they have a distance, with a gradient, is not in the inputs.
_JUMPS_COUNT = ("Circle",)

#: Of values that all inputs share, more inputs than this move together, in so many
#: directions of random signs: the farthest that they move an answer is no more than the
#: sum, so an error measured by it is no smaller than it is.
_MOST_ALONE, _DIRECTIONS = 64, 32


_moves: "weakref.WeakKeyDictionary[Case, Conditioning]" = weakref.WeakKeyDictionary()


def conditioning(case: Case) -> Conditioning:
    """The conditioning of a case's value and gradient, over y_pred and y_true.

    Labels that are whole numbers are exact and do not change. A refused answer does not
    change either.
    """
    if case not in _moves:
        refused = right_answer(case).error is not None
        nothing = Conditioning(np.zeros(()), np.zeros(()))
        _moves[case] = nothing if refused else _conditioning(case)
    return _moves[case]


def _conditioning(case):
    y_true, y_pred = rounded(case)
    dtype = "float64" if case.dtype == "float64" else "float32"
    inputs = {"y_true": y_true, "y_pred": y_pred}
    base = _parts(case, **inputs)
    moves = {"y_pred": np.isfinite(y_pred) & (y_pred != 0)}
    if y_true.dtype.kind == "f":
        moves["y_true"] = np.isfinite(y_true) & (y_true != np.round(y_true))
    totals = [np.zeros(np.shape(base.values)), np.zeros(np.shape(base.gradient))]
    with np.errstate(all="ignore"):
        for name, where in moves.items():
            unit = spacing(inputs[name], dtype)
            directions, joined = _directions(case, where, totals[0].shape)
            found = [np.zeros_like(total) for total in totals]
            for direction in directions:
                slopes = _slopes(case, base, inputs, name, direction * unit, dtype)
                found = [joined(f, slope) for f, slope in zip(found, slopes)]
            totals = [total + more for total, more in zip(totals, found)]
        value = np.abs(base.upstream) * totals[0]
        if np.shape(base.result) != value.shape:
            value = np.sum(value)
    return Conditioning(np.nan_to_num(value), np.nan_to_num(totals[1]))


def _slopes(case, base, inputs, name, unit, dtype):
    """How far values and gradient change when an input changes by `unit`."""
    sides = []
    for width in _STEPS[dtype]:
        up, down = (
            _parts(case, **{**inputs, name: inputs[name] + sign * width * unit})
            for sign in (1, -1)
        )
        sides.append((width, up, down))
    for part in ("values", "gradient"):
        here = getattr(base, part)
        up, down = (
            [(getattr(side[at], part) - here) / side[0] for side in sides]
            for at in (1, 2)
        )
        both = [(right - left) / 2 for right, left in zip(up, down)]
        if case.loss in _JUMPS_COUNT:
            yield np.nan_to_num(np.abs(both[0]))
            continue
        together, alone = _smooth(*both), np.fmax(_smooth(*up), _smooth(*down))
        yield np.where(np.isnan(together), np.nan_to_num(alone), together)


def _smooth(wide, narrow):
    """The size of a derivative, by differences of two widths; NaN if they disagree."""
    wide, narrow = np.abs(wide), np.abs(narrow)
    agree = np.abs(wide - narrow) <= 0.25 * np.maximum(wide, narrow)
    return np.where(agree, wide, np.nan)


def _directions(case, moves, shape):
    """(directions in which an input moves, how what they give is put together).

    `moves` is where the input moves at all, `shape` that of the values. Where a value
    is that of a row of its own, one element of every row moves at a time; where all
    belong together, one element of all, or many at once.
    """
    rows = len(shape)
    axis = case.config.get("axis", None if case.loss in ("Dice", "Tversky") else -1)
    by_row = case.loss != "Circle" and axis in (-1, case.y_pred.ndim - 1)
    if not (by_row and moves.shape[:rows] == shape):
        rows = 0
    if rows == 0 and moves.sum() > _MOST_ALONE:
        signs = np.random.RandomState(0).choice([-1, 1], (_DIRECTIONS, *moves.shape))
        return list(signs * moves), np.maximum
    ones = []
    for index in np.ndindex(*moves.shape[rows:]):
        one = np.zeros(moves.shape, bool)
        one[(..., *index)] = True
        if (one & moves).any():
            ones.append(one & moves)
    return ones, np.add
