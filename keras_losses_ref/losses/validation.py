"""What an argument of a loss may be, and the error that says so.

Each check takes (the loss's name, the argument's name, its value) and where there are
inputs (the shape of y_pred, the other arguments); it returns the value as it is kept.
What is a tensor is known only when the graph runs, and passes.
"""

import numbers
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses.compat import Tensor


def check_axis(
    owner: str, argument: str, value: Any, shape: Any = None, *_: Any
) -> Any:
    """An integer that is an axis of y_pred."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(
            f"{owner}: `{argument}` must be an int. Received: {argument}={value!r} of "
            f"type {type(value).__name__}."
        )
    rank = None if shape is None else shape.rank
    if rank is not None and not -rank <= value < rank:
        raise ValueError(
            f"{owner}: `{argument}` is out of range. Received: {argument}={value} for "
            f"a y_pred of rank {rank}. Expected {-rank} <= {argument} < {rank}."
        )
    return value


def check_axes(
    owner: str, argument: str, value: Any, shape: Any = None, *_: Any
) -> Any:
    """An axis, several, or None for all; lists become tuples."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return tuple(check_axis(owner, argument, one, shape) for one in value)
    return check_axis(owner, argument, value, shape)


def check_label_smoothing(owner: str, argument: str, value: Any, *_: Any) -> Any:
    """A number between 0 and 1."""
    if tf.is_tensor(value):
        return value
    if isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(
            f"{owner}: `{argument}` must be a number in [0, 1]. Received: "
            f"{argument}={value!r}."
        )
    return value


def check_number(owner: str, argument: str, value: Any, *_: Any) -> Any:
    """A real number as a Python number, so that a config can hold it."""
    if tf.is_tensor(value):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(
            f"{owner}: `{argument}` must be a number. Received: {argument}={value!r} "
            f"of type {type(value).__name__}."
        )
    return value if isinstance(value, (int, float)) else float(value)


def check_positive(owner: str, argument: str, value: Any, *_: Any) -> Any:
    """A number above 0, as a float: Keras's Huber refuses an int."""
    value = check_number(owner, argument, value)
    if tf.is_tensor(value):
        return value
    if not value > 0:
        raise ValueError(
            f"{owner}: `{argument}` must be greater than 0. Received: "
            f"{argument}={value!r}."
        )
    return float(value)


def check_open_fraction(owner: str, argument: str, value: Any, *_: Any) -> Any:
    """A number strictly between 0 and 1."""
    value = check_number(owner, argument, value)
    if not tf.is_tensor(value) and not 0 < value < 1:
        raise ValueError(
            f"{owner}: `{argument}` must be in the interval (0, 1). Received: "
            f"{argument}={value!r}. For {argument} = 0 use the sparse categorical "
            "cross-entropy."
        )
    return value


def check_class_weights(
    owner: str, argument: str, value: Any, shape: Any = None, arguments: Any = None
) -> Any:
    """A number, or a list with one number for each class."""
    if tf.is_tensor(value):
        given = value.shape
    elif isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value):
        value = np.asarray(value).tolist()
        given = tf.TensorShape(np.shape(value))
    else:
        return check_number(owner, argument, value)
    known = shape is not None and shape.rank is not None
    classes = shape[arguments["axis"]] if known else None
    if given.rank not in (None, 0, 1) or (
        given.rank == 1 and not given.is_compatible_with([classes])
    ):
        raise ValueError(
            f"{owner}: `{argument}` must be a number, or one number for each class. "
            f"Received: {argument}={value!r}"
            + (f" for {classes} classes." if classes is not None else ".")
        )
    return value


def check_labels(
    name: str, labels: Tensor, classes: int, ignore_class: Optional[int]
) -> None:
    """Refuse `labels`, a NumPy array, that are no class and not to be ignored."""
    if labels.dtype.kind == "f":
        bad = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    elif labels.size and labels.min() >= 0 and labels.max() < classes:
        return
    else:
        bad = (labels < 0) | (labels >= classes)
    if ignore_class is not None:
        bad &= labels != ignore_class
    if not np.any(bad):
        return
    raise tf.errors.InvalidArgumentError(
        None,
        None,
        f"{name}: {np.count_nonzero(bad)} of {labels.size} labels are no class of "
        f"y_pred. Received: y_true with {', '.join(map(str, labels[bad][:5]))}. "
        f"Expected integers in [0, {classes}), the classes of y_pred"
        + (f", or ignore_class={ignore_class}" if ignore_class is not None else "")
        + ". Give y_pred a class for each label, or set ignore_class.",
    )
