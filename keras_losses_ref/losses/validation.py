"""What an argument of a loss may be, and the error that says so."""

import numbers

import numpy as np
import tensorflow as tf


def check_axis(name, axis, rank):
    """An `axis` that is an integer and exists."""
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ValueError(
            f"{name}: `axis` must be an int. Received: axis={axis!r} of type "
            f"{type(axis).__name__}."
        )
    if rank is not None and not -rank <= axis < rank:
        raise ValueError(
            f"{name}: `axis` is out of range. Received: axis={axis} for a y_pred of "
            f"rank {rank}. Expected {-rank} <= axis < {rank}."
        )
    return axis


def check_label_smoothing(name, label_smoothing):
    """A `label_smoothing` between 0 and 1."""
    if tf.is_tensor(label_smoothing):
        return label_smoothing  # known only when the graph runs
    if isinstance(label_smoothing, bool) or not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"{name}: `label_smoothing` must be a number in [0, 1]. Received: "
            f"label_smoothing={label_smoothing!r}."
        )
    return label_smoothing


def check_axes(name, axis, rank):
    """An `axis` that is an integer, several, or None for all; lists become tuples."""
    if axis is None:
        return None
    if isinstance(axis, (list, tuple)):
        return tuple(check_axis(name, one, rank) for one in axis)
    return check_axis(name, axis, rank)


def check_number(name, argument, value):
    """A real number as a Python number, so that a config can hold it; tensors pass."""
    if tf.is_tensor(value):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(
            f"{name}: `{argument}` must be a number. Received: {argument}={value!r} of "
            f"type {type(value).__name__}."
        )
    return value if isinstance(value, (int, float)) else float(value)


def check_positive(name, argument, value):
    """A number above 0, as a float: Keras's Huber refuses an int."""
    value = check_number(name, argument, value)
    if tf.is_tensor(value):
        return value
    if not value > 0:
        raise ValueError(
            f"{name}: `{argument}` must be greater than 0. Received: "
            f"{argument}={value!r}."
        )
    return float(value)


def check_alpha(name, alpha, classes):
    """An `alpha` that is a number, or a list with one number for each class."""
    if tf.is_tensor(alpha):
        shape = alpha.shape
    elif isinstance(alpha, (list, tuple, np.ndarray)) and np.ndim(alpha):
        alpha = np.asarray(alpha).tolist()
        shape = tf.TensorShape(np.shape(alpha))
    else:
        return check_number(name, "alpha", alpha)
    if shape.rank not in (None, 0, 1) or (
        shape.rank == 1 and not shape.is_compatible_with([classes])
    ):
        raise ValueError(
            f"{name}: `alpha` must be a number, or one number for each class. "
            f"Received: alpha={alpha!r}"
            + (f" for {classes} classes." if classes is not None else ".")
        )
    return alpha


def check_labels(name, labels, classes, ignore_class):
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


def check_q(name, q):
    """A `q` strictly between 0 and 1."""
    q = check_number(name, "q", q)
    if not tf.is_tensor(q) and not 0 < q < 1:
        raise ValueError(
            f"{name}: `q` must be in the interval (0, 1). Received: q={q!r}. For q = 0 "
            "use the sparse categorical cross-entropy."
        )
    return q
