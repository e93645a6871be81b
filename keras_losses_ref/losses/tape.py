"""What is recorded of a kernel for the gradient, when TensorFlow runs eagerly.

`tf.custom_gradient` serves every case, and for one call takes as long as a small loss.
Where one tape watches y_pred alone, which is every usual step, the same can be had for
less with names of TensorFlow that are not public, though there from 2.12 to 2.21. If
they are gone one day, `watching` says that anything may be watched, which is slower.
"""

try:
    from tensorflow.python.ops.gradients_util import PossibleTapeGradientTypes

    try:
        from tensorflow.python.eager import record as _record
    except ImportError:  # its name before TensorFlow 2.13
        from tensorflow.python.eager import tape as _record
except ImportError:
    PossibleTapeGradientTypes = _record = None

#: What may watch some tensors: nothing, one tape or forward accumulator, or more.
NOTHING, ONE, MORE = 0, 1, 2


def watching(tensors):
    """Whether something that runs now wants derivatives by one of `tensors`."""
    if PossibleTapeGradientTypes is None:
        return MORE
    return PossibleTapeGradientTypes(list(tensors))


def unrecorded(function, *tensors):
    """`function(*tensors)`, of which no tape hears."""
    with _record.stop_recording():
        return function(*tensors)


def record(value, source, gradient):
    """Tell the tapes that `value` came of `source`; `gradient(upstream)` is for them."""
    _record.record_operation(
        "LossesRefKernel", [value], [source], lambda upstream: [gradient(upstream)]
    )
