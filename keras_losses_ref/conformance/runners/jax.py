"""Keras's losses on JAX: a case gives an outcome, and never raises.

Ours run on TensorFlow, so "keras" is the only implementation here. A case runs where it
says:

eager     as written, the gradient by `jax.vjp`
xla       value and gradient in one `jax.jit`
nested    a compiled loss inside of a compiled step, which takes the gradient
fit       one batch through `model.fit`
reloaded  eagerly, after the loss went through its config and back

There is no path "graph": on JAX what is traced is compiled by XLA, which is "xla".

float64 needs JAX's `jax_enable_x64`, which is off unless the user says otherwise and
changes other dtypes with it. So it is switched on around the float64 cases alone, and
every other case runs as the process has it.
"""

import dataclasses
import inspect
import itertools
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Optional

import jax
import jax.numpy as jnp
import numpy as np

from keras_losses_ref import host
from keras_losses_ref.conformance.arrays.jax import identity, precision, tensor
from keras_losses_ref.conformance.cases import COMPILED_PATHS, DEVICES, Case
from keras_losses_ref.conformance.outcome import Outcome, refusal
from keras_losses_ref.conformance.truth import (
    TAKES_INDICES,
    direction,
    expected_config,
    plain,
    right_answer,
)

#: So many cases are traced as one: a compilation costs more than what it compiles.
_TOGETHER = 16

#: After so many cases JAX forgets what it has compiled, which fills gigabytes.
_FORGET_AFTER = 500


def evaluate(
    cases: Iterable[Case], implementation: str
) -> Iterator[tuple[Case, Outcome]]:
    """Yield (case, outcome) for each of `cases`, in their order.

    Neighbours that share loss, dtype, device and a compiled path are traced as one.
    """
    done = 0

    def group(case):
        alone = case.path not in COMPILED_PATHS or unsupported(case, implementation)
        alone = alone or case.expected_error is not None
        alone = alone or right_answer(case).error is not None
        shared = (case.loss, case.dtype, case.device, case.path)
        return (case.id if alone else None, *shared)

    for (alone, *_), members in itertools.groupby(cases, group):
        members = list(members)
        for start in range(0, len(members), _TOGETHER):
            some = members[start : start + _TOGETHER]
            if alone is None and len(some) > 1:
                outcomes = _compiled_together(some, implementation)
            else:
                outcomes = [_alone(case, implementation) for case in some]
            yield from zip(some, outcomes)
        done += len(members)
        if done >= _FORGET_AFTER and implementation == "keras":
            jax.clear_caches()
            done = 0


class Unsupported(Exception):
    """This host has no such loss, argument, reduction or path."""


def unsupported(case: Case, implementation: str) -> Optional[str]:
    """Why the implementation cannot be asked this here, or None where it can."""
    if implementation == "ours":
        return f"ours run on TensorFlow, and Keras runs on {host.BACKEND} here"
    if case.form != "tensor":
        return "the forms of input are TensorFlow's"
    if case.path == "graph":
        return "JAX has no graph but a compiled one, which is path xla"
    cls = getattr(host.keras.losses, case.loss, None)
    if cls is None:
        return f"Keras {host.VERSION} has no {case.loss}"
    if case.reduction not in host.REDUCTIONS:
        return f"Keras {host.VERSION} has no reduction {case.reduction!r}"
    accepted = inspect.signature(cls).parameters
    for name in case.config:
        if name not in accepted:
            return f"{case.loss} of Keras {host.VERSION} has no {name!r}"
    if case.mask is not None and not host.HAS_MASKS:
        return f"Keras {host.VERSION} hangs no mask on an array of JAX"
    if case.y_true.dtype.kind == "i" and np.any(np.abs(case.y_true) >= 2**31):
        return "JAX has no integers of 64 bits unless it is told so"
    return None


def make(case: Case, implementation: str = "keras") -> Any:
    """The loss instance that a case asks."""
    reason = unsupported(case, implementation)
    if reason is not None:
        raise Unsupported(reason)
    cls = getattr(host.keras.losses, case.loss)
    kwargs = dict(case.config, reduction=case.reduction)
    if "dtype" in inspect.signature(cls).parameters:
        return cls(**kwargs, dtype=case.dtype)
    loss = cls(**kwargs)
    loss.dtype = case.dtype  # the classes of Keras 3.0 to 3.3 take none
    return loss


def arrays(case: Case) -> list[Any]:
    """[y_true, y_pred, sample_weight, mask] as a user would hold them; None if not."""
    y_true = case.y_true
    if y_true.dtype.kind == "f" and case.loss not in TAKES_INDICES:
        y_true = tensor(y_true, case.dtype)
    weight = case.sample_weight
    weight = None if weight is None else jnp.asarray(np.asarray(weight, np.float32))
    mask = None if case.mask is None else jnp.asarray(np.asarray(case.mask, bool))
    return [jnp.asarray(y_true), tensor(case.y_pred, case.dtype), weight, mask]


def _ask(loss, case, y_true, y_pred, weight, mask):
    """[value, gradient] of one loss, eagerly or while it is traced.

    And the second derivative, where the case asks for it.
    """

    def value_of(y_pred):
        output = y_pred
        if case.activation is not None:
            output = getattr(jax.nn, case.activation)(y_pred)
        elif mask is not None:
            output = identity(y_pred)  # a mask hangs on its own array
        if mask is not None:
            host.set_mask(output, mask)
        return loss(y_true, output, sample_weight=weight)

    if case.path == "nested":
        value_of = jax.jit(value_of)

    def gradient_of(y_pred):
        value, pullback = jax.vjp(value_of, y_pred)
        return value, pullback(jnp.ones_like(value))[0]

    value, gradient = gradient_of(y_pred)
    if not case.check_hessian:
        return [value, gradient]
    along = jnp.asarray(direction(np.shape(case.y_pred)), gradient.dtype)
    _, pullback = jax.vjp(lambda y_pred: gradient_of(y_pred)[1], y_pred)
    return [value, gradient, pullback(along)[0]]


def _outcome(value, gradient, second=None):
    return Outcome(
        np.asarray(value).astype(np.float64),
        np.asarray(gradient).astype(np.float64),
        np.dtype(value.dtype).name,
        second=None if second is None else np.asarray(second).astype(np.float64),
    )


def _alone(case, implementation):
    try:
        with warnings.catch_warnings(), precision(case.dtype), _on(case.device):
            warnings.simplefilter("ignore")
            loss = make(case, implementation)
            if case.path == "fit":
                return _fit(loss, case)
            if case.path == "reloaded":
                return _reloaded(loss, case)

            def ask(*data):
                return _ask(loss, case, *data)

            ask = jax.jit(ask) if case.path in COMPILED_PATHS else ask
            return _outcome(*ask(*arrays(case)))
    except Unsupported as reason:
        return Outcome(unsupported=str(reason))
    except Exception as error:
        return refusal(error)


def _on(device):
    return jax.default_device(_by_name()[device])


def _compiled_together(cases, implementation):
    """The outcomes of cases traced as one function; one by one if any of them fails."""
    first = cases[0]
    try:
        instances = [make(case, implementation) for case in cases]

        @jax.jit
        def ask_all(arguments):
            return [
                _ask(loss, case, *data)
                for loss, case, data in zip(instances, cases, arguments)
            ]

        with warnings.catch_warnings(), precision(first.dtype), _on(first.device):
            warnings.simplefilter("ignore")
            answers = ask_all([arrays(case) for case in cases])
            return [_outcome(*answer) for answer in answers]
    except Exception:
        return [_alone(case, implementation) for case in cases]


def _reloaded(loss, case):
    """The case, asked of what its loss's config makes when it is loaded."""
    losses = host.keras.losses
    config = loss.get_config()
    loss = losses.deserialize(losses.serialize(loss))
    kept = {
        name: plain(config[name]) for name in expected_config(case) if name in config
    }
    outcome = _outcome(*_ask(loss, case, *arrays(case)))
    return dataclasses.replace(outcome, config=kept)


def _fit(loss, case):
    """One batch through `fit`, with SGD at rate 1: the step is the gradient."""
    keras = host.keras
    y_true, y_pred, weight, mask = arrays(case)

    class Prediction(keras.layers.Layer):
        """Predicts y_pred whatever it sees; what it learns is the gradient."""

        def build(self, _):
            self.step = self.add_weight(
                name="step", shape=y_pred.shape, initializer="zeros", dtype="float32"
            )

        def call(self, inputs):
            output = y_pred + self.step.value
            if case.activation is not None:
                return getattr(jax.nn, case.activation)(output)
            return output

        def compute_mask(self, inputs, mask_=None):
            return mask

    layer = Prediction(dtype="float32")
    model = keras.Sequential([layer])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss)
    samples = y_pred.shape[0]
    history = model.fit(
        np.zeros((samples, 1), np.float32),
        np.asarray(y_true),
        sample_weight=None if weight is None else np.asarray(weight),
        batch_size=samples,
        epochs=1,
        shuffle=False,
        verbose=0,
    )
    return Outcome(
        np.float64(history.history["loss"][0]),
        -np.asarray(layer.step.value, np.float64),
        case.dtype,
    )


def xla_keeps_nan() -> bool:
    """Whether the compiler propagates NaN: JAX tells it to."""
    return True


def _by_name():
    """{"CPU:0": the device, ...}: the CPU first, then the GPUs, if there are any."""
    found = {}
    for kind in DEVICES:
        try:
            devices = jax.devices(kind.lower())
        except RuntimeError:  # no such backend
            continue
        found.update({f"{kind}:{i}": device for i, device in enumerate(devices)})
    return found


def devices() -> list[str]:
    """The devices that JAX finds: "CPU:0", then "GPU:0" and so on, if any."""
    return [*_by_name()]
