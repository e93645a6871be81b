"""Plot each loss and its gradient over one number, for the docs and notebooks.

A spec names the number x, how y_true and y_pred depend on it, and the settings worth
comparing. The gradient is TensorFlow's, with respect to x.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from typing import Any, Callable

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from keras_losses_ref import losses
from keras_losses_ref.conformance import inputs

_BLUE, _ORANGE, _GREEN, _RED = "#1f6fb4", "#d9730d", "#2a8c4a", "#c0392b"


@dataclasses.dataclass(frozen=True)
class CurveSpec:
    """The number that is varied, and the inputs of a loss at each of its values."""

    moves: str
    low: float
    high: float
    #: (label of the curve, config of the loss, x -> (y_true, y_pred)); x of shape (n,).
    curves: tuple[tuple[str, dict[str, Any], Callable[[Any], tuple[Any, Any]]], ...]
    #: Whether each x is a batch of its own, since its samples are compared.
    batchwise: bool = False


def _against(truth):
    """One output, compared with a constant truth."""
    return lambda x: (truth * tf.ones_like(x)[:, None], x[:, None])


def _class_of_three(one_hot):
    """Three classes, x the probability of the true one, the others share the rest."""

    def draw(x):
        rest = (1 - x) / 2
        y_pred = tf.stack([x, rest, rest], axis=-1)
        index = tf.zeros(tf.shape(x), tf.int64)
        return (tf.one_hot(index, 3) if one_hot else index), y_pred

    return draw


def _direction(x):
    """A vector at an angle of x degrees to the truth."""
    angle = x * (np.pi / 180)
    truth = tf.stack([tf.ones_like(x), tf.zeros_like(x)], axis=-1)
    return truth, tf.stack([tf.cos(angle), tf.sin(angle)], axis=-1)


def _mask(x):
    """Four pixels: two are set and predicted with x, two are not and get 0.3."""
    truth = tf.constant([1.0, 1.0, 0.0, 0.0]) * tf.ones_like(x)[:, None]
    wrong = 0.3 * tf.ones_like(x)
    return truth, tf.stack([x, x, wrong, wrong], axis=-1)


def _embeddings(x):
    """Two of one class at an angle of x degrees, one of another at 60; for each x."""
    angle = x * (np.pi / 180)
    other = tf.fill(tf.shape(x), np.float32(np.pi / 3))
    angles = tf.stack([tf.zeros_like(x), angle, other], axis=-1)
    vectors = tf.stack([tf.cos(angles), tf.sin(angles)], axis=-1)
    return tf.constant([0, 0, 1]) * tf.ones((tf.shape(x)[0], 1), tf.int32), vectors


def _scores(x):
    """Three classes with scores; x is that of the true one."""
    zero = tf.zeros_like(x)
    index = tf.zeros(tf.shape(x), tf.int64)
    return tf.one_hot(index, 3), tf.stack([x, zero, 0.5 + zero], axis=-1)


def _steps(x):
    """Three steps of a sequence of one label; x is the label's logit in the second."""
    zero = tf.zeros_like(x)
    flat = tf.stack([zero, zero], axis=-1)
    middle = tf.stack([zero, x], axis=-1)
    labels = tf.ones((tf.shape(x)[0], 1), tf.int64)
    return labels, tf.stack([flat, middle, flat], axis=1)


_ERROR = "y_pred, where y_true is 0"
_PROBABILITY = "probability of the true class"
_SURE = (0.001, 0.999)


def _truths(*truths):
    return tuple((f"y_true = {truth:.0f}", _against(truth)) for truth in truths)


def _classes(one_hot):
    return _PROBABILITY, *_SURE, (("", _class_of_three(one_hot)),)


#: domain: (what is moved, from, to, (label, x -> (y_true, y_pred)) of each curve).
_MOVED = {
    "real": (_ERROR, -3.0, 3.0, (("", _against(0.0)),)),
    "positive": ("y_pred", 0.0, 8.0, _truths(1.0, 4.0)),
    "counts": ("y_pred", 0.05, 8.0, _truths(0.0, 1.0, 4.0)),
    "vectors": ("angle to the truth, degrees", -180.0, 180.0, (("", _direction),)),
    "signs": ("y_pred", -3.0, 3.0, _truths(-1.0, 1.0)),
    "binary": ("y_pred", *_SURE, _truths(0.0, 1.0)),
    "one_hot": _classes(True),
    "logits": ("score of the true class", -3.0, 3.0, (("others 0 and 0.5", _scores),)),
    "indices": _classes(False),
    "probabilities": _classes(True),
    "segmentation": ("y_pred where y_true is 1", *_SURE, (("", _mask),)),
    "embeddings": ("angle between two of one class, degrees", -180.0, 180.0,
                   (("", _embeddings),)),
    "sequence": ("logit of the label in the second of three steps", -6.0, 6.0,
                 (("", _steps),)),
}  # fmt: skip
#: The same for one loss.
_MOVED_OF_LOSS = {
    "MeanAbsolutePercentageError": ("y_pred", 0.0, 4.0, _truths(1.0, 2.0)),
}


def _spec(row):
    default = _MOVED.get(row.domain)
    moves, low, high, places = _MOVED_OF_LOSS.get(row.loss, default)
    curves = tuple(
        (", ".join(filter(None, (place, label))), {**config, **row.config}, draw)
        for label, config in row.curves
        for place, draw in places
    )
    return CurveSpec(moves, low, high, curves, batchwise=row.domain == "embeddings")


#: For a loss that also takes logits: its probabilities.
CURVES = {
    row.loss: _spec(row) for row in inputs.LOSSES if not row.config.get("from_logits")
}


def curve(
    loss: str,
    config: dict[str, Any],
    draw: Callable[[Any], tuple[Any, Any]],
    x: ArrayLike,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(loss, d loss / dx) at each x, as NumPy arrays."""
    batchwise = CURVES[loss].batchwise
    function = getattr(losses, loss)(**config, reduction="sum" if batchwise else "none")
    x = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y_true, y_pred = draw(x)
        if batchwise:
            batches = zip(tf.unstack(y_true), tf.unstack(y_pred))
            values = tf.stack([function(*batch) for batch in batches])
        else:
            values = function(y_true, y_pred)
    return values.numpy(), tape.gradient(values, x).numpy()


def figure(loss: str, points: int = 301) -> Figure:
    """A matplotlib figure of one loss: the curve, and its gradient beside it."""
    spec = CURVES[loss]
    x = np.linspace(spec.low, spec.high, points)
    picture = Figure(figsize=(8.4, 3.1), layout="constrained")
    left, right = picture.subplots(1, 2)
    colours = (_BLUE, _ORANGE, _GREEN, _RED)
    for colour, (label, config, draw) in zip(colours, spec.curves):
        values, slope = curve(loss, config, draw, x)
        style = {"color": colour, "linewidth": 1.8, "label": label or None}
        left.plot(x, values, **style)
        right.plot(x, slope, **style)
    for axes, title in ((left, loss), (right, "its gradient")):
        axes.set_title(title, fontsize=10.5, loc="left")
        axes.set_xlabel(spec.moves, fontsize=9)
        axes.tick_params(labelsize=8.5)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    # A logarithm's gradient at the end of its domain would flatten all the rest.
    heights = np.concatenate([line.get_ydata() for line in right.get_lines()])
    low, high = np.quantile(heights, (0.02, 0.98))
    margin = 0.1 * max(high - low, 0.5 * abs(high), 1e-3)
    right.set_ylim(low - margin, high + margin)
    if any(label for label, *_ in spec.curves):
        left.legend(fontsize=8.5, frameon=False)
    return picture


def write(names: Iterable[str], folder: str, style: str) -> Iterator[str]:
    """One file for each loss into `folder`; yields the paths."""
    os.makedirs(folder, exist_ok=True)
    for name in names:
        path = os.path.join(folder, f"{name}.{style}")
        # Without the date, so that the same curve is the same file.
        options = {"metadata": {"Date": None}} if style == "svg" else {"dpi": 110}
        with matplotlib.rc_context({"svg.hashsalt": name}):
            figure(name).savefig(path, **options)
        yield path
