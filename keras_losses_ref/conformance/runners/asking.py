"""What the runners share: run a case on its loss, alone or with its neighbours."""

import contextlib
import dataclasses
import inspect
import itertools
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Optional

import numpy as np

from keras_losses_ref import host
from keras_losses_ref.conformance import arrays
from keras_losses_ref.conformance.cases import COMPILED_PATHS, Case
from keras_losses_ref.conformance.outcome import Outcome, refusal
from keras_losses_ref.conformance.truth import (
    TAKES_INDICES,
    direction,
    expected_config,
    plain,
    right_answer,
)


class Unsupported(Exception):
    """This host has no such loss, argument, reduction or path."""


class Asker:
    """Runs cases on the backend of `arrays`; a runner adds what is its own."""

    #: So many cases are traced as one at most; None where all neighbours are.
    together: Optional[int] = None

    def class_of(self, case: Case, implementation: str) -> Any:
        """The class of the case's loss, or None."""
        return getattr(host.keras.losses, case.loss, None)

    def arguments(self, case: Case, implementation: str) -> dict[str, Any]:
        """What the implementation's loss is given beyond what the case says."""
        return {}

    def impossible(self, case: Case, implementation: str) -> Optional[str]:
        """Why the backend cannot run such a case with any loss, or None."""
        return None

    def on(self, device: str) -> Any:
        """A context in which the backend runs on that device."""
        raise NotImplementedError

    def in_its_form(self, loss: Any, case: Case) -> Outcome:
        """The outcome of a case whose inputs are no plain tensors."""
        raise NotImplementedError

    def evaluate(
        self, cases: Iterable[Case], implementation: str
    ) -> Iterator[tuple[Case, Outcome]]:
        """Yield (case, outcome) for each of `cases`, in their order.

        Neighbours that share loss, dtype, device and a compiled path are traced as one:
        compiling them one by one takes minutes where this takes seconds.
        """

        def group(case):
            alone = case.path not in COMPILED_PATHS or case.expected_error is not None
            alone = alone or case.form != "tensor" or case.expected_warning is not None
            alone = alone or self.unsupported(case, implementation) is not None
            # One input that is refused would fail the function that it shares.
            alone = alone or right_answer(case).error is not None
            shared = (case.loss, case.dtype, case.device, case.path)
            return (case.id if alone else None, *shared)

        for (alone, *_), members in itertools.groupby(cases, group):
            members = list(members)
            size = self.together or len(members)
            for start in range(0, len(members), size):
                some = members[start : start + size]
                if alone is None and len(some) > 1:
                    outcomes = self._compiled_together(some, implementation)
                else:
                    outcomes = [self._alone(case, implementation) for case in some]
                yield from zip(some, outcomes)

    def unsupported(self, case: Case, implementation: str) -> Optional[str]:
        """Why the implementation cannot run this here, or None."""
        reason = self.impossible(case, implementation)
        if reason is not None:
            return reason
        cls = self.class_of(case, implementation)
        if cls is None:
            return f"Keras {host.VERSION} has no {case.loss}"
        if case.reduction not in host.REDUCTIONS:
            return f"Keras {host.VERSION} has no reduction {case.reduction!r}"
        accepted = inspect.signature(cls).parameters
        for name in case.config:
            if name not in accepted:
                return f"{case.loss} of Keras {host.VERSION} has no {name!r}"
        return None

    def make(self, case: Case, implementation: str) -> Any:
        """The loss instance of a case, ours or the host's."""
        reason = self.unsupported(case, implementation)
        if reason is not None:
            raise Unsupported(reason)
        cls = self.class_of(case, implementation)
        kwargs = dict(case.config, reduction=case.reduction)
        kwargs.update(self.arguments(case, implementation))
        if host.GENERATION == 2:
            return cls(**kwargs)
        if "dtype" in inspect.signature(cls).parameters:
            return cls(**kwargs, dtype=case.dtype)
        loss = cls(**kwargs)
        loss.dtype = case.dtype  # the classes of Keras 3.0 to 3.3 take none
        return loss

    def _alone(self, case, implementation):
        if case.expected_warning is not None:
            return self._warned(case, implementation)
        return self._quietly(case, implementation)

    def _warned(self, case, implementation):
        """The outcome of a case with the warnings that it gave."""
        quiet = dataclasses.replace(case, expected_warning=None)
        with warnings.catch_warnings(record=True) as caught:
            outcome = self._quietly(quiet, implementation, "always")
        found = [w for w in caught if case.expected_warning in str(w.message)]
        categories = tuple(sorted({w.category.__name__ for w in found}))
        return dataclasses.replace(outcome, warning=categories)

    def _quietly(self, case, implementation, warn="ignore"):
        try:
            # Where they are recorded, a context of our own would keep them.
            keep = warnings.catch_warnings() if warn == "ignore" else _NOTHING
            with keep, arrays.precision(case.dtype), self.on(case.device):
                warnings.simplefilter(warn)
                return self._asked(self.make(case, implementation), case)
        except Unsupported as reason:
            return Outcome(unsupported=str(reason))
        except Exception as error:
            return refusal(error)

    def _asked(self, loss, case):
        if case.path == "fit":
            return _fit(loss, case)
        if case.path == "reloaded":
            return _reloaded(loss, case)
        if case.form != "tensor":
            return self.in_its_form(loss, case)

        def ask(*data):
            return _ask(loss, case, *data)

        if case.path in COMPILED_PATHS:
            ask = arrays.compiled(ask, xla=case.path != "graph")
        return outcome_of(*ask(*tensors(case)))

    def _compiled_together(self, cases, implementation):
        """The outcomes of cases traced as one function; in halves if any fails."""
        first = cases[0]
        try:
            instances = [self.make(case, implementation) for case in cases]

            def ask_all(arguments):
                return [
                    _ask(loss, case, *data)
                    for loss, case, data in zip(instances, cases, arguments)
                ]

            ask_all = arrays.compiled(ask_all, xla=first.path != "graph")
            quiet, precision = warnings.catch_warnings(), arrays.precision(first.dtype)
            with quiet, precision, self.on(first.device):
                warnings.simplefilter("ignore")
                answers = ask_all([tensors(case) for case in cases])
                return [outcome_of(*answer) for answer in answers]
        except Exception:
            if len(cases) == 1:
                return [self._alone(first, implementation)]
            # Halve, so that one bad case does not cost a compilation for each good one.
            middle = len(cases) // 2
            return [
                outcome
                for half in (cases[:middle], cases[middle:])
                for outcome in self._compiled_together(half, implementation)
            ]


_NOTHING = contextlib.nullcontext()


def tensors(case: Case) -> list[Any]:
    """[y_true, y_pred, sample_weight, mask] as a user would hold them; None if not."""
    kept = case.y_true.dtype.kind != "f" or case.loss in TAKES_INDICES
    y_true = arrays.tensor(case.y_true, case.y_true.dtype.name if kept else case.dtype)
    y_pred = arrays.tensor(case.y_pred, case.dtype)
    weight, mask = case.sample_weight, case.mask
    weight = None if weight is None else arrays.tensor(np.asarray(weight, np.float32))
    mask = None if mask is None else arrays.tensor(np.asarray(mask, bool))
    return [y_true, y_pred, weight, mask]


def _ask(loss, case, y_true, y_pred, weight, mask):
    """[value, gradient] of one loss, in the context of the caller.

    And the second derivative, where the case asks for it.
    """

    def value_of(y_pred):
        output = y_pred
        if case.activation is not None:
            output = getattr(arrays.nn, case.activation)(y_pred)
        elif mask is not None:
            output = arrays.identity(y_pred)  # a mask hangs on its own tensor
        if mask is not None:
            host.set_mask(output, mask)
        return loss(y_true, output, sample_weight=weight)

    if case.path == "nested":
        value_of = arrays.compiled(value_of)

    def gradient_of(y_pred):
        return _value_and_gradient(value_of, y_pred)

    value, gradient = gradient_of(y_pred)
    if not case.check_hessian:
        return [value, gradient]
    along = direction(np.shape(case.y_pred))
    along = arrays.tensor(along, arrays.dtype_of(gradient))
    _, second = _value_and_gradient(lambda x: gradient_of(x)[1] * along, y_pred)
    return [value, gradient, second]


def _value_and_gradient(function, x):
    """A function's value and the gradient of its sum, 0 where there is none."""
    value, (gradient,) = arrays.value_and_gradients(lambda xs: function(xs[0]), [x])
    if gradient is None:
        gradient = arrays.tensor(np.zeros(np.shape(x)), arrays.dtype_of(x))
    return value, gradient


def outcome_of(value: Any, gradient: Any, second: Any = None) -> Outcome:
    """The outcome that tensors of the backend hold."""
    value_there, gradient, second = (
        None if x is None else arrays.to_numpy(x).astype(np.float64)
        for x in (value, gradient, second)
    )
    return Outcome(value_there, gradient, arrays.dtype_of(value), second=second)


def _reloaded(loss, case):
    """The case, on the loss that is loaded from its config."""
    losses = host.keras.losses
    config = loss.get_config()
    loss = losses.deserialize(losses.serialize(loss))
    kept = {
        name: plain(config[name]) for name in expected_config(case) if name in config
    }
    outcome = outcome_of(*_ask(loss, case, *tensors(case)))
    return dataclasses.replace(outcome, config=kept)


def _fit(loss, case):
    """One batch through `fit`, with SGD at rate 1: the step is the gradient."""
    keras = host.keras
    y_true, y_pred, weight, mask = tensors(case)

    class Prediction(keras.layers.Layer):
        """Predicts y_pred for any input; its update is the gradient."""

        def build(self, _):
            self.step = self.add_weight(
                name="step", shape=y_pred.shape, initializer="zeros", dtype="float32"
            )

        def call(self, inputs):
            output = self.step + y_pred
            if case.activation is not None:
                return getattr(arrays.nn, case.activation)(output)
            return output

        def compute_mask(self, inputs, mask_=None):
            return mask

    layer = Prediction(dtype="float32")
    model = keras.Sequential([layer])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss)
    samples = y_pred.shape[0]
    history = model.fit(
        np.zeros((samples, 1), np.float32),
        arrays.to_numpy(y_true),
        sample_weight=None if weight is None else arrays.to_numpy(weight),
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
