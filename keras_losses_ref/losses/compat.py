"""What a loss must do to be a drop-in for the Keras that hosts it, on TensorFlow.

The host's version and rules are facts of `keras_losses_ref.host`; how a loss follows
them (its base class, its reductions, the order of its positional arguments) is answered
here and nowhere else.
"""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, TypeVar, Union

import tensorflow as tf

from keras_losses_ref.backend import BackendError
from keras_losses_ref.host import (  # noqa: F401 (the losses find the host's rules here)
    BACKEND,
    DEFAULT_REDUCTION,
    GENERATION,
    MASK_DIVISION,
    PACKAGE,
    RECOVERS_BEHIND_IGNORE_CLASS,
    REDUCTIONS,
    RELEASE,
    SAFE_MEAN,
    SCALES_BY_REPLICAS,
    VERSION,
    Loss,
    builtin,
    epsilon,
    floatx,
    get_mask,
    keras,
    set_mask,
)

#: TensorFlow and Keras have no types. `Tensor` is whatever TensorFlow takes as one:
#: tensors, arrays, numbers, nested lists; `DType` a name such as "float16", or a
#: `tf.DType`, and None where that is left to Keras.
Tensor = Any
DType = Any
Axes = Union[int, Sequence[int], None]
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

Dense = keras.layers.Dense

#: What stands for a step of a functional model: an Operation, a Layer in Keras 2.
Operation = keras.Operation if GENERATION == 3 else keras.layers.Layer

#: The arguments with which it takes tensors in the dtype that they have.
AS_IT_COMES = {} if GENERATION == 3 else {"autocast": False}

#: The argument of `add_weight` that keeps a weight in float32 under mixed precision.
AUTOCAST = "autocast" if GENERATION == 3 else "experimental_autocast"


def default_dtype() -> Optional[str]:
    """The dtype of a loss that was given none: floatx, or y_pred's (Keras 2)."""
    return floatx() if GENERATION == 3 else None


def check_backend(name: str) -> None:
    """Refuse a backend that cannot run our losses."""
    if BACKEND != "tensorflow":
        raise BackendError(
            f"{name}: the losses of keras_losses_ref run on TensorFlow. Received: "
            f"Keras with the backend {BACKEND!r}. Set KERAS_BACKEND=tensorflow, or use "
            f"the loss of Keras itself: klr.to_keras({name!r})."
        )


def is_symbolic(value: Any) -> bool:
    """Whether `value` stands for a tensor of a functional model, and holds no data."""
    if isinstance(value, tf.Tensor):
        return False
    if GENERATION == 3:
        return keras.backend.is_keras_tensor(value)
    return hasattr(value, "_keras_history")


def register(cls_or_function: T) -> T:
    """Register for saving and loading, as `keras_losses_ref>Name`."""
    decorator = keras.utils.register_keras_serializable(package="keras_losses_ref")
    return decorator(cls_or_function)


def check_reduction(loss: Any, reduction: Optional[str]) -> None:
    """Refuse a reduction that this host has not."""
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"{type(loss).__name__}: Invalid value for argument `reduction`. Received: "
            f"reduction={reduction!r}. Expected one of "
            f"{', '.join(map(repr, REDUCTIONS))}, which Keras {VERSION} accepts."
        )


def init_base(
    loss: Any, name: Optional[str], reduction: Optional[str], dtype: DType
) -> None:
    """Call the host's `Loss.__init__`, whose arguments differ by generation."""
    check_reduction(loss, reduction)
    if GENERATION == 3:
        Loss.__init__(loss, name=name, reduction=reduction, dtype=dtype)
        return
    Loss.__init__(loss, name=name, reduction=reduction)
    # Keras 2's losses have no dtype: they compute in that of y_pred, as None says.
    loss.dtype = None if dtype is None else tf.as_dtype(dtype).name


def dtype_of(dtype: DType, y_pred: Tensor) -> DType:
    """The dtype in which a loss of this `dtype` takes `y_pred`, as a `tf.DType`."""
    if dtype is not None:
        return tf.as_dtype(dtype)
    dtype = getattr(y_pred, "dtype", None)
    if dtype is not None and tf.as_dtype(dtype).is_floating:
        return tf.as_dtype(dtype)
    return tf.as_dtype(floatx())


def effective_reduction(loss: Any) -> Optional[str]:
    """The reduction to apply now; Keras 2 resolves "auto" and refuses some uses."""
    check_reduction(loss, loss.reduction)  # it may have been set since
    return loss._get_reduction() if GENERATION == 2 else loss.reduction


def replicas() -> Any:
    """How many replicas share the batch, where the host's losses divide by them."""
    if not SCALES_BY_REPLICAS:
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


#: What a reduction that only the other generation has is called in this one.
_SAME_REDUCTION = {
    "auto": "sum_over_batch_size",
    "mean": "sum_over_batch_size",
    None: "none",
}


def portable_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config as this host can take it: "auto" and "mean" are the usual mean."""
    reduction = config.get("reduction", DEFAULT_REDUCTION)
    if reduction not in REDUCTIONS and reduction in _SAME_REDUCTION:
        config = dict(config, reduction=_SAME_REDUCTION[reduction])
    return config


def state() -> tuple[Any, ...]:
    """What a loss reads from Keras's settings whenever it is called."""
    return epsilon(), replicas()


def in_fit() -> bool:
    """Whether Keras 3's `fit`, `evaluate` or `train_on_batch` is building its graph."""
    return "compile_loss" in tf.get_current_name_scope()


def is_builtin(loss_type: type) -> bool:
    """Whether a class or function is one of Keras's own losses, of either generation.

    By its module (`keras.src.losses.losses`, `keras.losses`), so that a user's class
    of the same name is not taken for it.
    """
    path = getattr(loss_type, "__module__", None) or ""
    return path.split(".")[0] in ("keras", "tf_keras") and path.endswith(".losses")


def to_save(loss: Any) -> Any:
    """What `from_saved` reads: a config of an instance, a function's registered name.

    Keras up to 3.6 saves a function by its bare name, and finds its own one by that.
    """
    if isinstance(loss, Loss):
        return keras.losses.serialize(loss)
    return keras.utils.get_registered_name(loss)


def from_saved(loss: Any) -> Any:
    """The loss that `to_save` was given."""
    if isinstance(loss, str):
        return keras.utils.get_registered_object(loss)
    return deserialize(loss)


def deserialize(config: Mapping[str, Any]) -> Any:
    """A loss that is none of ours, out of its config: the host's loader knows it."""
    return keras.losses.deserialize(config)


def in_host_order(function: F, host_name: str) -> F:
    """Let positional arguments of `function` mean what they mean in this host.

    Keras moved arguments between releases (`axis` of the sparse cross-entropy).
    Ours stand in the newest order; where the host has the same name in another
    order, positional arguments are taken in the host's, then ours for the rest.
    """
    original = builtin(host_name)
    if original is None:
        return function
    try:
        theirs = list(inspect.signature(original).parameters)
    except (TypeError, ValueError):
        return function
    signature = inspect.signature(function)
    ours = list(signature.parameters)
    order = [name for name in theirs if name in ours]
    order += [name for name in ours if name not in order]
    if inspect.isclass(original):  # the class's signature has no `self`
        order = ["self"] + [name for name in order if name != "self"]
    if order == ours:
        return function

    @functools.wraps(function)
    def reordered(*args, **kwargs):
        return function(**bind(args, kwargs))

    def bind(args, kwargs):
        if len(args) > len(order):
            raise TypeError(
                f"{host_name} takes at most {len(order)} positional arguments. "
                f"Received: {len(args)}."
            )
        for name, value in zip(order, args):
            if name in kwargs:
                raise TypeError(f"{host_name} got two values for argument `{name}`.")
            kwargs[name] = value
        return kwargs

    reordered.__signature__ = signature.replace(
        parameters=[
            signature.parameters[name].replace(
                kind=inspect.Parameter.POSITIONAL_OR_KEYWORD
            )
            for name in order
        ]
    )
    return reordered
