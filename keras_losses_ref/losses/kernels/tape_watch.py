"""Who will ask for the gradient of a kernel, and what a tape is told of it.

`tf.custom_gradient` serves every case, takes as long as a small loss to call, and does
not tell whether anyone asks. Where one tape watches y_pred alone, as in every usual
step, more can be had from names of TensorFlow that are not public, though there from
2.12 to 2.21. If they are gone one day, `watching` answers that anything may be watched,
which is right and slower.
"""

from collections.abc import Sequence
from typing import Any, Callable

from keras_losses_ref.losses.compat import Tensor

try:
    from tensorflow.python.ops.gradients_util import PossibleTapeGradientTypes

    try:
        from tensorflow.python.eager import record as _record
    except ImportError:  # its name before TensorFlow 2.13
        from tensorflow.python.eager import tape as _record
except ImportError:
    PossibleTapeGradientTypes = _record = None
try:
    from tensorflow.python.eager.forwardprop_util import pack_tangents
except ImportError:
    pack_tangents = None

#: What may watch some tensors: nothing, one tape or forward accumulator, or more.
NOTHING, ONE, MORE = 0, 1, 2


def watching(tensors: Sequence[Any]) -> Any:
    """Whether something that runs now wants derivatives by one of `tensors`."""
    if PossibleTapeGradientTypes is None:
        return MORE
    return PossibleTapeGradientTypes(list(tensors))


def in_forward_mode(tensor: Tensor) -> bool:
    """Whether a forward accumulator that runs now may watch `tensor`."""
    return pack_tangents is None or bool(pack_tangents([tensor]).tangents)


def unrecorded(function: Callable[..., Any], *tensors: Tensor) -> Tensor:
    """`function(*tensors)`, of which no tape hears."""
    with _record.stop_recording():
        return function(*tensors)


def record(value: Any, source: Tensor, gradient: Callable[..., Any]) -> None:
    """Tell the tapes of `value`, made of `source`, how to get its gradient."""
    _record.record_operation(
        "LossesRefKernel", [value], [source], lambda upstream: [gradient(upstream)]
    )
