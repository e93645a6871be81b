"""Ours and Keras's losses on TensorFlow: a case gives an outcome, and never raises.

The implementations are "ours" and "keras", the host's `tf.keras.losses`. A case runs
where it says:

eager     as written
graph     value and gradient in one `tf.function`
xla       the same, compiled by XLA, ours with kernels of its own
nested    a compiled loss inside of a compiled step, which takes the gradient
fit       one batch through `model.fit`
reloaded  eagerly, after the loss went through its config and back

Matrices are multiplied in float32: meanwhile no GPU may round them to TF32.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Optional

import numpy as np
import tensorflow as tf

from keras_losses_ref import losses
from keras_losses_ref.conformance.arrays.tensorflow import exact_matrices
from keras_losses_ref.conformance.cases import DEVICES, Case
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.runners import forms
from keras_losses_ref.conformance.runners.asking import Asker, outcome_of, tensors


class _OnTensorFlow(Asker):
    def class_of(self, case, implementation):
        if implementation == "ours":
            return getattr(losses, case.loss, None)
        return super().class_of(case, implementation)

    def arguments(self, case, implementation):
        return {"jit_compile": case.path == "xla"} if implementation == "ours" else {}

    def impossible(self, case, implementation):
        return forms.unsupported(case)

    @contextlib.contextmanager
    def on(self, device):
        with tf.device(device), exact_matrices():
            yield

    def in_its_form(self, loss, case):
        y_true, y_pred, *_ = tensors(case)
        return outcome_of(*forms.ask(loss, case, y_true, y_pred))


_asker = _OnTensorFlow()


def evaluate(
    cases: Iterable[Case], implementation: str
) -> Iterator[tuple[Case, Outcome]]:
    """Yield (case, outcome) for each of `cases`, in their order."""
    return _asker.evaluate(cases, implementation)


def unsupported(case: Case, implementation: str) -> Optional[str]:
    """Why the implementation cannot be asked this here, or None where it can."""
    return _asker.unsupported(case, implementation)


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
