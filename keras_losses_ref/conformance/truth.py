"""The right answer to a case: the oracle's, by the rules of the Keras in use.

The definition leaves reductions, masks, the default dtype and the recovery of logits to
Keras, so `HostRules` say what the Keras in use does there. Nothing here imports
TensorFlow when it is imported, and nothing runs a loss of ours or of Keras's.
"""

import dataclasses
import math
import weakref

import numpy as np

from keras_losses_ref import oracle
from keras_losses_ref.conformance.cases.case import Case
from keras_losses_ref.conformance.outcome import Outcome, refusal
from keras_losses_ref.conformance.tolerance import round_to

#: What our CTC, like Keras's, charges where no path can spell the labels; by definition
#: it would be infinite, which no training survives.
IMPOSSIBLE = -math.log(1e-307)

#: Losses whose y_true holds the indices of classes, which are never rounded.
TAKES_INDICES = frozenset(
    {
        "CTC",
        "CategoricalGeneralizedCrossEntropy",
        "Circle",
        "SparseCategoricalCrossentropy",
        "SparseCategoricalFocalCrossentropy",
    }
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
    """The rules of the Keras in use, asked each time: a user may change them."""
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
    y_true, y_pred = rounded(case)
    rules = host_rules()
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
        rules=rules.reduction_rules,
    )
    gradient = pullback(upstream)
    if chain is not None:
        gradient = chain(gradient)
    if case.path == "fit":
        result = np.mean(result)
    if case.path == "reloaded":
        return Outcome(result, gradient, case.dtype, config=expected_config(case))
    outcome = Outcome(result, gradient, case.dtype)
    if case.check_hessian:
        return with_second_derivative(outcome, case, _by_the_oracle)
    return outcome


def with_second_derivative(outcome, case, answer):
    """`outcome` with the second derivative, by differences of the gradient.

    `answer(case)` gives exact gradients. Three step widths, as Richardson combines
    them: the error is of order step^6.
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


def direction(shape):
    """Along which the second derivative is taken: no two components alike."""
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape)


def expected_config(case):
    """The arguments that a saved config must hold: those of the case.

    The dtype is none of them where it is the default, or in Keras 2, whose losses
    have none.
    """
    rules = host_rules()
    arguments = dict(case.config, reduction=case.reduction)
    if rules.generation == 3 and case.dtype != rules.floatx:
        arguments["dtype"] = case.dtype
    return {name: plain(value) for name, value in arguments.items()}


def plain(value):
    """A config's value as JSON would hold it."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict) and "config" in value:  # a serialized dtype policy
        return plain(value["config"].get("name", value["config"]))
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value


def rounded(case):
    """(y_true, y_pred) as float64 or int64, once rounded to the dtype of the case."""
    y_pred = flushed(round_to(case.y_pred, case.dtype), case.dtype)
    if case.y_true.dtype.kind == "f" and case.loss not in TAKES_INDICES:
        return flushed(round_to(case.y_true, case.dtype), case.dtype), y_pred
    return case.y_true, y_pred


def flushed(array, dtype):
    """Subnormal numbers as 0, which is how TensorFlow's kernels read them.

    But for float16, whose arithmetic runs in float32.
    """
    smallest = {"float64": 2.0**-1022, "float16": 0.0}.get(dtype, 2.0**-126)
    return np.where(np.abs(array) < smallest, 0.0, array)


def recovers_logits(case):
    """Whether Keras, and so the definition, looks behind the activation here."""
    rules = host_rules()
    ignoring = case.config.get("ignore_class") is not None
    hidden = ignoring and not rules.recovers_behind_ignore_class
    traced = case.path not in ("eager", "reloaded")
    return rules.recovers_logits and traced and not hidden


def activate(name, x):
    """The activation of logits x in NumPy, and the pullback of its gradient."""
    if name == "sigmoid":
        p = 1 / (1 + np.exp(-x))
        p = round_to(p, "float32")
        return p, lambda g: g * p * (1 - p)
    e = np.exp(x - x.max(-1, keepdims=True))
    p = round_to(e / e.sum(-1, keepdims=True), "float32")
    return p, lambda g: p * (g - (g * p).sum(-1, keepdims=True))


def merged_mask(case, values, y_true, y_pred):
    """The mask on y_pred and the one that the loss itself makes, as one."""
    masks = [] if case.mask is None else [np.asarray(case.mask, bool)]
    ignore = case.config.get("ignore_class")
    if ignore is not None:
        axis = case.config.get("axis", -1)
        masks.append(oracle.valid_mask(y_true, ignore, y_pred, axis))
    if case.loss == "Circle":
        masks.append(oracle.circle_mask(values, case.dtype))
    return np.logical_and.reduce(masks) if masks else None
