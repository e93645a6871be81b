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

from collections.abc import Iterable, Iterator
from typing import Any, Optional

import jax
import numpy as np

from keras_losses_ref import host
from keras_losses_ref.conformance.cases import DEVICES, Case
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.runners.asking import Asker

#: After so many cases JAX forgets what it has compiled, which fills gigabytes.
_FORGET_AFTER = 500


class _OnJax(Asker):
    #: A compilation costs more than what it compiles, until that gets long.
    together = 16

    def impossible(self, case, implementation):
        if implementation == "ours":
            return f"ours run on TensorFlow, and Keras runs on {host.BACKEND} here"
        if case.form != "tensor":
            return "the forms of input are TensorFlow's"
        if case.path == "graph":
            return "JAX has no graph but a compiled one, which is path xla"
        if case.mask is not None and not host.HAS_MASKS:
            return f"Keras {host.VERSION} hangs no mask on an array of JAX"
        if case.y_true.dtype.kind == "i" and np.any(np.abs(case.y_true) >= 2**31):
            return "JAX has no integers of 64 bits unless it is told so"
        return None

    def on(self, device):
        return jax.default_device(_by_name()[device])


_asker = _OnJax()


def evaluate(
    cases: Iterable[Case], implementation: str
) -> Iterator[tuple[Case, Outcome]]:
    """Yield (case, outcome) for each of `cases`, in their order."""
    for done, answered in enumerate(_asker.evaluate(cases, implementation), 1):
        yield answered
        if done % _FORGET_AFTER == 0 and implementation == "keras":
            jax.clear_caches()


def unsupported(case: Case, implementation: str) -> Optional[str]:
    """Why the implementation cannot run this here, or None."""
    return _asker.unsupported(case, implementation)


def xla_keeps_nan() -> bool:
    """Whether the compiler propagates NaN: JAX tells it to."""
    return True


def _by_name():
    """{"CPU:0": the device, ...}: the CPU first, then the GPUs, if there are any."""
    found: dict[str, Any] = {}
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
