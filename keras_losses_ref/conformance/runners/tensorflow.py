"""Ours and Keras's losses on TensorFlow: a case gives an outcome, and never raises.

The implementations are "ours" and "keras", the host's `tf.keras.losses`. A case runs
where it says:

eager     as written
graph     value and gradient in one `tf.function`
xla       the same, compiled by XLA, ours with kernels of its own
nested    a compiled loss inside of a compiled step, which takes the gradient
fit       one batch through `model.fit`
reloaded  eagerly, after the loss went through its config and back

Products of matrices are exact to float32: no GPU may round them to TF32 meanwhile.
"""

import contextlib
import dataclasses
import functools
import inspect
import itertools
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from keras_losses_ref import losses
from keras_losses_ref.conformance.arrays.tensorflow import exact_matrices
from keras_losses_ref.conformance.cases import COMPILED_PATHS, DEVICES, Case
from keras_losses_ref.conformance.outcome import Outcome, refusal
from keras_losses_ref.conformance.runners import forms
from keras_losses_ref.conformance.truth import (
    TAKES_INDICES,
    direction,
    expected_config,
    plain,
    right_answer,
)
from keras_losses_ref.losses import compat


def evaluate(
    cases: Iterable[Case], implementation: str
) -> Iterator[tuple[Case, Outcome]]:
    """Yield (case, outcome) for each of `cases`, in their order.

    Neighbours that share loss, dtype, device and a compiled path are traced as one:
    compiling them one by one takes minutes where this takes seconds.
    """

    def group(case):
        alone = case.path not in COMPILED_PATHS or case.expected_error is not None
        alone = alone or case.form != "tensor" or case.expected_warning is not None
        alone = alone or case.reduction not in compat.REDUCTIONS
        # One input that is refused would fail the function that it shares.
        alone = alone or right_answer(case).error is not None
        shared = (case.loss, case.dtype, case.device, case.path)
        return (case.id if alone else None, *shared)

    for (alone, *_, path), members in itertools.groupby(cases, group):
        members = list(members)
        if alone is None and len(members) > 1:
            outcomes = _compiled_together(members, implementation, path)
        else:
            outcomes = [_alone(case, implementation) for case in members]
        yield from zip(members, outcomes)


class Unsupported(Exception):
    """This host has no such loss, argument or reduction."""


def unsupported(case: Case, implementation: str) -> Optional[str]:
    """Why the implementation has no such loss, or None where it has."""
    cls = _class_of(case, implementation)
    if cls is None:
        return f"Keras {compat.VERSION} has no {case.loss}"
    if case.reduction not in compat.REDUCTIONS:
        return f"Keras {compat.VERSION} has no reduction {case.reduction!r}"
    accepted = inspect.signature(cls).parameters
    for name in case.config:
        if name not in accepted:
            return f"{case.loss} of Keras {compat.VERSION} has no {name!r}"
    return forms.unsupported(case)


def _class_of(case, implementation):
    module = losses if implementation == "ours" else compat.keras.losses
    return getattr(module, case.loss, None)


def make(case: Case, implementation: str) -> Any:
    """The loss instance that a case asks, ours or the host's."""
    reason = unsupported(case, implementation)
    if reason is not None:
        raise Unsupported(reason)
    cls = _class_of(case, implementation)
    kwargs = dict(case.config, reduction=case.reduction)
    if implementation == "ours":
        kwargs["jit_compile"] = case.path == "xla"
    if compat.GENERATION == 2:
        return cls(**kwargs)
    if "dtype" in inspect.signature(cls).parameters:
        return cls(**kwargs, dtype=case.dtype)
    loss = cls(**kwargs)
    loss.dtype = case.dtype  # the classes of Keras 3.0 to 3.3 take none
    return loss


def tensors(case: Case) -> list[Any]:
    """[y_true, y_pred, sample_weight, mask] as a user would hold them; None if not."""
    y_true = tf.constant(case.y_true)
    if y_true.dtype.is_floating and case.loss not in TAKES_INDICES:
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
        np.asarray(_dense(value), np.float64),
        np.asarray(gradient.numpy(), np.float64),
        value.dtype.name,
        second=None if second is None else np.asarray(second.numpy(), np.float64),
    )


def _dense(value):
    """Values of ragged rows that are all of one length, as an array."""
    value = value.to_tensor() if isinstance(value, tf.RaggedTensor) else value
    return value.numpy()


def _alone(case, implementation):
    if case.expected_warning is not None:
        return _warned(case, implementation)
    return _quietly(case, implementation)


def _warned(case, implementation):
    """The outcome of a case with the warnings that it gave."""
    quiet = dataclasses.replace(case, expected_warning=None)
    with warnings.catch_warnings(record=True) as caught:
        outcome = _quietly(quiet, implementation, "always")
    found = [w for w in caught if case.expected_warning in str(w.message)]
    categories = tuple(sorted({w.category.__name__ for w in found}))
    return dataclasses.replace(outcome, warning=categories)


def _quietly(case, implementation, warn="ignore"):
    try:
        with contextlib.ExitStack() as stack:
            if warn == "ignore":
                stack.enter_context(warnings.catch_warnings())
            stack.enter_context(tf.device(case.device))
            stack.enter_context(exact_matrices())
            warnings.simplefilter(warn)
            loss = make(case, implementation)
            if case.path == "fit":
                return _fit(loss, case)
            if case.path == "reloaded":
                return _reloaded(loss, case)
            if case.form != "tensor":
                return _outcome(*forms.ask(loss, case, *tensors(case)[:2]))
            ask = _compiled(_ask, case.path) if case.path in COMPILED_PATHS else _ask
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
        on_device = tf.device(cases[0].device)
        with warnings.catch_warnings(), on_device, exact_matrices():
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
        name: plain(config[name]) for name in expected_config(case) if name in config
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
def xla_keeps_nan() -> bool:
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


def devices() -> list[str]:
    """The devices that TensorFlow finds: "CPU:0", then "GPU:0" and so on, if any."""
    found = tf.config.list_logical_devices()
    names = [device.name.replace("/device:", "") for device in found]
    return [name for name in names if name.startswith(DEVICES)]
