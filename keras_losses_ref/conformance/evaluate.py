"""One case on one implementation gives one outcome. Nothing here ever raises.

Three implementations answer: "ours", "keras" (the host's `tf.keras.losses`) and
"oracle" (NumPy, the definition). The first two run where the case says:

eager     as written
graph     value and gradient in one `tf.function`
xla       the same, compiled by XLA, ours with kernels of its own
nested    a compiled loss inside of a compiled step, which takes the gradient
fit       one batch through `model.fit`
reloaded  eagerly, after the loss went through its config and back
"""

import dataclasses
import functools
import inspect
import itertools
import math
import platform
import warnings
from typing import Any, Optional

import numpy as np
import tensorflow as tf

import keras_losses_ref
from keras_losses_ref import losses, oracle
from keras_losses_ref.conformance.cases import DEVICES
from keras_losses_ref.losses import compat

IMPLEMENTATIONS = ("ours", "keras", "oracle")
COMPILED = ("graph", "xla", "nested")

#: What our CTC, like Keras's, charges where no path can spell the labels; by definition
#: it would be infinite, which no training survives.
IMPOSSIBLE = -math.log(1e-307)


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What one implementation did with one case."""

    value: Any = None
    gradient: Any = None
    dtype: Optional[str] = None
    #: The exception, where the input was refused.
    error: Optional[str] = None
    message: str = ""
    #: Why there is nothing to compare: this host has no such loss or argument.
    unsupported: Optional[str] = None
    #: The derivative of the gradient along `direction`, where the case asks for it.
    second: Any = None
    #: Path "reloaded": the arguments of the case, as the saved config holds them.
    config: Optional[dict] = None

    @property
    def shape(self) -> Optional[tuple[int, ...]]:
        return None if self.value is None else np.shape(self.value)


def evaluate(cases, implementation):
    """Yield (case, outcome) for each of `cases`, in their order.

    Neighbours that share loss, dtype, device and a compiled path are traced as one:
    compiling them one by one takes minutes where this takes seconds.
    """
    if implementation == "oracle":
        for case in cases:
            yield case, evaluate_oracle(case)
        return

    def group(case):
        alone = case.path not in COMPILED or case.expected_error is not None
        alone = alone or case.reduction not in compat.REDUCTIONS
        # One input that is refused would fail the function that it shares.
        alone = alone or evaluate_oracle(case).error is not None
        shared = (case.loss, case.dtype, case.device, case.path)
        return (case.id if alone else None, *shared)

    for (alone, *_, path), members in itertools.groupby(cases, group):
        members = list(members)
        if alone is None and len(members) > 1:
            outcomes = _compiled_together(members, implementation, path)
        else:
            outcomes = [_alone(case, implementation) for case in members]
        yield from zip(members, outcomes)


def evaluate_oracle(case):
    """The oracle's answer, which depends on the host only where the definition does."""
    try:
        return _evaluate_oracle(case)
    except Exception as error:
        return refusal(error)


def refusal(error):
    return Outcome(error=type(error).__name__, message=str(error))


def _evaluate_oracle(case):
    y_true, y_pred = rounded(case)
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
        rules=reduction_rules(),
    )
    gradient = pullback(upstream)
    if chain is not None:
        gradient = chain(gradient)
    if case.path == "fit":
        result = np.mean(result)
    if case.path == "reloaded":
        return Outcome(result, gradient, case.dtype, config=expected_config(case))
    outcome = Outcome(result, gradient, case.dtype)
    return (
        with_second(outcome, case, _evaluate_oracle) if case.check_hessian else outcome
    )


def with_second(outcome, case, answer):
    """`outcome` with the second derivative, by differences of the gradient.

    `answer(case)` gives exact gradients. Three step widths, as Richardson combines
    them: the error is of order step^6.
    """
    v = direction(np.shape(case.y_pred))

    def gradient(t):
        there = dataclasses.replace(
            case, y_pred=case.y_pred + t * v, check_hessian=False
        )
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
    arguments = dict(case.config, reduction=case.reduction)
    if compat.GENERATION == 3 and case.dtype != compat.floatx():
        arguments["dtype"] = case.dtype
    return {name: _plain(value) for name, value in arguments.items()}


def _plain(value):
    """A config's value as JSON would hold it."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and "config" in value:  # a serialized dtype policy
        return _plain(value["config"].get("name", value["config"]))
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value


def rounded(case):
    """(y_true, y_pred) as float64 or int64, once rounded to the dtype of the case."""
    y_pred = flushed(round_to(case.y_pred, case.dtype), case.dtype)
    if case.y_true.dtype.kind == "f" and takes_values(case.loss):
        return flushed(round_to(case.y_true, case.dtype), case.dtype), y_pred
    return case.y_true, y_pred


def takes_values(loss):
    """Whether y_true holds values, and not the indices of classes."""
    return getattr(losses, loss).function.labels == "values"


def round_to(array, dtype):
    """float64 that holds what `array` is in `dtype`."""
    if dtype == "float64":
        return np.asarray(array, np.float64)
    kind = tf.as_dtype(dtype).as_numpy_dtype
    with np.errstate(all="ignore"):
        return np.asarray(array, np.float64).astype(kind).astype(np.float64)


def flushed(array, dtype):
    """Subnormal numbers as 0, which is how TensorFlow's kernels read them.

    But for float16, whose arithmetic runs in float32.
    """
    smallest = {"float64": 2.0**-1022, "float16": 0.0}.get(dtype, 2.0**-126)
    return np.where(np.abs(array) < smallest, 0.0, array)


def recovers_logits(case):
    """Whether Keras, and so the definition, looks behind the activation here."""
    ignoring = case.config.get("ignore_class") is not None
    hidden = ignoring and not compat.RECOVERS_BEHIND_IGNORE_CLASS
    return case.path not in ("eager", "reloaded") and not hidden


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


def reduction_rules():
    """The name the oracle gives to the host's rules of reduction."""
    if compat.GENERATION == 2:
        return "keras2"
    if not compat.SAFE_MEAN:
        return "keras3.0"
    return "keras3" if compat.MASK_DIVISION == "safe" else "keras3.7"


class Unsupported(Exception):
    """This host has no such loss, argument or reduction."""


def make(case, implementation):
    """The loss instance that a case asks, ours or the host's."""
    module = losses if implementation == "ours" else compat.keras.losses
    cls = getattr(module, case.loss, None)
    if cls is None:
        raise Unsupported(f"Keras {compat.VERSION} has no {case.loss}")
    if case.reduction not in compat.REDUCTIONS:
        raise Unsupported(f"Keras {compat.VERSION} has no reduction {case.reduction!r}")
    accepted = inspect.signature(cls).parameters
    missing = [name for name in case.config if name not in accepted]
    if missing:
        raise Unsupported(
            f"{case.loss} of Keras {compat.VERSION} has no {missing[0]!r}"
        )
    kwargs = dict(case.config, reduction=case.reduction)
    if implementation == "ours":
        kwargs["jit_compile"] = case.path == "xla"
    if compat.GENERATION == 2:
        return cls(**kwargs)
    if "dtype" in accepted:
        return cls(**kwargs, dtype=case.dtype)
    loss = cls(**kwargs)
    loss.dtype = case.dtype  # the classes of Keras 3.0 to 3.3 take none
    return loss


def tensors(case):
    """[y_true, y_pred, sample_weight, mask] as a user would hold them; None if not."""
    y_true = tf.constant(case.y_true)
    if y_true.dtype.is_floating and takes_values(case.loss):
        y_true = tf.cast(y_true, case.dtype)
    y_pred = tf.cast(tf.constant(case.y_pred), case.dtype)
    weight = case.sample_weight
    weight = None if weight is None else tf.constant(weight, tf.float32)
    mask = None if case.mask is None else tf.constant(case.mask, tf.bool)
    return [y_true, y_pred, weight, mask]


def _ask(loss, case, y_true, y_pred, weight, mask):
    """[value, gradient] of one loss, in whatever context this is called.

    And the second derivative, where the case asks for it.
    """

    def value_of(y_true, y_pred, weight, mask):
        output = y_pred
        if case.activation is not None:
            output = getattr(tf.nn, case.activation)(y_pred)
        elif mask is not None:
            output = tf.identity(y_pred)  # a mask hangs on its own tensor
        if mask is not None:
            compat.set_mask(output, mask)
        return loss(y_true, output, sample_weight=weight)

    if case.path == "nested":
        value_of = tf.function(value_of, jit_compile=True, autograph=False)

    def gradient_of(y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = value_of(y_true, y_pred, weight, mask)
        return [value, tape.gradient(value, y_pred, **_ZERO)]

    if not case.check_hessian:
        return gradient_of(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value, gradient = gradient_of(y_pred)
    along = tf.constant(direction(np.shape(case.y_pred)), gradient.dtype)
    return [value, gradient, tape.gradient(gradient, y_pred, along, **_ZERO)]


_ZERO = {"unconnected_gradients": tf.UnconnectedGradients.ZERO}


def _outcome(value, gradient, second=None):
    return Outcome(
        np.asarray(value.numpy(), np.float64),
        np.asarray(gradient.numpy(), np.float64),
        value.dtype.name,
        second=None if second is None else np.asarray(second.numpy(), np.float64),
    )


def _alone(case, implementation):
    try:
        with warnings.catch_warnings(), tf.device(case.device):
            warnings.simplefilter("ignore")
            loss = make(case, implementation)
            if case.path == "fit":
                return _fit(loss, case)
            if case.path == "reloaded":
                return _reloaded(loss, case)
            ask = _compiled(_ask, case.path) if case.path in COMPILED else _ask
            return _outcome(*ask(loss, case, *tensors(case)))
    except Unsupported as reason:
        return Outcome(unsupported=str(reason))
    except Exception as error:
        return refusal(error)


def _compiled(function, path):
    return tf.function(function, jit_compile=path != "graph", autograph=False)


def _compiled_together(cases, implementation, path):
    """The outcomes of cases traced as one function; one by one if any of them fails."""
    try:
        instances = [make(case, implementation) for case in cases]

        def ask_all(arguments):
            return [
                _ask(loss, case, *data)
                for loss, case, data in zip(instances, cases, arguments)
            ]

        ask_all = _compiled(ask_all, path)
        with warnings.catch_warnings(), tf.device(cases[0].device):
            warnings.simplefilter("ignore")
            answers = ask_all([tensors(case) for case in cases])
            return [_outcome(*answer) for answer in answers]
    except Exception:
        if len(cases) == 1:
            return [_alone(cases[0], implementation)]
        # Halve, so that one bad case does not cost a compilation for each good one.
        middle = len(cases) // 2
        return [
            outcome
            for half in (cases[:middle], cases[middle:])
            for outcome in _compiled_together(half, implementation, path)
        ]


def _reloaded(loss, case):
    """The case, asked of what its loss's config makes when it is loaded."""
    losses_module = compat.keras.losses
    config = loss.get_config()
    loss = losses_module.deserialize(losses_module.serialize(loss))
    kept = {
        name: _plain(config[name]) for name in expected_config(case) if name in config
    }
    outcome = _outcome(*_ask(loss, case, *tensors(case)))
    return dataclasses.replace(outcome, config=kept)


def _fit(loss, case):
    """One batch through `fit`, with SGD at rate 1: the step is the gradient."""
    keras = compat.keras
    y_true, y_pred, weight, mask = tensors(case)

    class Prediction(keras.layers.Layer):
        """Predicts y_pred whatever it sees; what it learns is the gradient."""

        def build(self, _):
            self.step = self.add_weight(
                name="step", shape=y_pred.shape, initializer="zeros", dtype="float32"
            )

        def call(self, inputs):
            output = y_pred + self.step
            if case.activation is not None:
                return getattr(tf.nn, case.activation)(output)
            return output

        def compute_mask(self, inputs, mask_=None):
            return mask

    layer = Prediction(dtype="float32")
    model = keras.Sequential([layer])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss)
    samples = y_pred.shape[0]
    history = model.fit(
        np.zeros((samples, 1), np.float32),
        y_true.numpy(),
        sample_weight=None if weight is None else weight.numpy(),
        batch_size=samples,
        epochs=1,
        shuffle=False,
        verbose=0,
    )
    return Outcome(
        np.float64(history.history["loss"][0]),
        -np.asarray(layer.step.numpy(), np.float64),
        case.dtype,
    )


@functools.cache
def xla_keeps_nan():
    """Whether XLA here propagates NaN; until TensorFlow 2.17 or so it assumes none.

    Where it does not, a case whose truth is NaN has no answer to compare on that path.
    """

    @tf.function(jit_compile=True, autograph=False)
    def probe(zero):
        ratio = zero / tf.reduce_sum(zero, axis=-1, keepdims=True)
        masked = zero * (2.0 / tf.reduce_sum(zero))
        return tf.clip_by_value(ratio, 1e-7, 1.0), tf.reduce_sum(masked)

    clipped, masked = probe(tf.zeros((1, 2)))
    return bool(np.all(np.isnan(clipped)) and np.isnan(masked))


def devices():
    """The devices that TensorFlow finds: "CPU:0", then "GPU:0" and so on, if any."""
    found = tf.config.list_logical_devices()
    names = [device.name.replace("/device:", "") for device in found]
    return [name for name in names if name.startswith(DEVICES)]


def runtime_info(used=("CPU:0",)):
    """What a report must name for its numbers to mean anything."""
    return {
        "keras_losses_ref": keras_losses_ref.__version__,
        "tensorflow": tf.__version__,
        "keras": compat.VERSION,
        "keras_package": compat.PACKAGE,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": ", ".join(used),
    }
