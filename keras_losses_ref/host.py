"""The Keras in use, its backend, and its rules.

`tf.keras` is Keras 2 up to TensorFlow 2.15, and from 2.16 on Keras 3, or Keras 2
again (`tf_keras`) with `TF_USE_LEGACY_KERAS=1`. Keras 3 also runs on other backends,
where TensorFlow is neither needed nor imported. Everything here holds on all of them;
what a loss of ours must do to be a drop-in on TensorFlow is in `losses.compat`.
"""

import contextlib
import importlib
import re
from typing import Any, Callable

from keras_losses_ref import backend

#: Whether all of this is known; Keras is imported on the way.
READY = False
#: What is to be called then: the import hook waits here with the losses, which ask.
WAITING: list[Callable[[], object]] = []

#: The backend of Keras, whether there is a runner for it or not.
BACKEND = backend.asked()

if BACKEND == "tensorflow":
    import tensorflow as tf

    keras = tf.keras
else:
    import keras  # type: ignore[no-redef]

    tf = None

Loss = keras.losses.Loss

#: "keras" or "tf_keras": the package that Keras resolved to.
PACKAGE = Loss.__module__.split(".")[0]
#: The host's version, "3.15.1".
VERSION = importlib.import_module(PACKAGE).__version__
#: (major, minor): (3, 15).
RELEASE = tuple(int(n) for n in re.findall(r"\d+", VERSION)[:2])
#: 2 or 3.
GENERATION = 3 if RELEASE >= (3, 0) else 2

#: The reduction a loss gets when none is named.
DEFAULT_REDUCTION = "sum_over_batch_size" if GENERATION == 3 else "auto"

#: The reductions that this host accepts, in the order in which errors list them.
if GENERATION == 2:
    REDUCTIONS = ("auto", "sum_over_batch_size", "sum", "none")
elif RELEASE < (3, 7):
    REDUCTIONS = ("sum_over_batch_size", "sum", "none", None)
else:
    REDUCTIONS = (
        "sum_over_batch_size",
        "sum",
        "mean",
        "mean_with_sample_weight",
        "none",
        None,
    )

#: Keras 3.7 and later divide by the number of samples without making 0/0 of an empty
#: batch; from 3.8 on also by the number of replicas, as Keras 2's `fit` does itself.
SAFE_MEAN = GENERATION == 2 or RELEASE >= (3, 7)
SCALES_BY_REPLICAS = GENERATION == 3 and RELEASE >= (3, 8)

#: How a mask weighs what it keeps under a mean: total / valid, where `valid` is
#: guarded by epsilon (early Keras 3), by a safe division (later), or not (Keras 2).
if GENERATION == 2:
    MASK_DIVISION = "plain"
elif RELEASE < (3, 13):
    MASK_DIVISION = "epsilon"
else:
    MASK_DIVISION = "safe"

#: What reports call Keras's own losses.
KERAS_NAME = "tf.keras" if BACKEND == "tensorflow" else "keras"

#: Whether the logits behind a sigmoid or softmax are recovered from the graph: a graph
#: of TensorFlow's can be read backwards, and no other backend has one.
RECOVERS_LOGITS = BACKEND == "tensorflow"

#: What hangs a mask on an array that takes no attributes, as those of JAX; or None.
_masking = None
if BACKEND != "tensorflow":
    with contextlib.suppress(ModuleNotFoundError):
        _masking = importlib.import_module("keras.src.backend.common.masking")

#: Whether a tensor can carry a mask at all: not on JAX in the first Keras 3.
HAS_MASKS = BACKEND == "tensorflow" or _masking is not None

#: Whether logits are recovered from a Softmax also where `ignore_class` is given:
#: Keras 3 has masked the probabilities by then, and no longer sees the op.
RECOVERS_BEHIND_IGNORE_CLASS = GENERATION == 2


def epsilon() -> float:
    """Keras's fuzz factor, 1e-7 unless the user set another."""
    return keras.backend.epsilon()


def floatx() -> str:
    """Keras's default float type, "float32" unless the user set another."""
    return keras.backend.floatx()


def get_mask(tensor: Any) -> Any:
    """The mask that Keras hung on `tensor`, or None."""
    if _masking is not None:
        return _masking.get_keras_mask(tensor)
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Hang `mask` on `tensor` where Keras's own `Loss.__call__` looks for it."""
    if _masking is not None:
        _masking.set_keras_mask(tensor, mask)
    else:
        tensor._keras_mask = mask


def builtin(name: str) -> Any:
    """The host's own loss class or function of that name, or None."""
    return getattr(keras.losses, name, None)


READY = True
while WAITING:
    WAITING.pop()()
