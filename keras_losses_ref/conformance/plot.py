"""Loss and gradient as curves: one picture a loss, for notebooks, README and eyes.

Each loss has a spec: one number x that is moved, what y_true and y_pred are made of
it, and the settings worth comparing. The gradient is the tape's, to x itself.
"""

import dataclasses
import os
from typing import Callable

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_losses_ref import losses

_BLUE, _ORANGE, _GREEN, _RED = "#1f6fb4", "#d9730d", "#2a8c4a", "#c0392b"


@dataclasses.dataclass(frozen=True)
class CurveSpec:
    """What is moved, and what a loss is asked at each place."""

    moves: str
    low: float
    high: float
    #: (label of the curve, config of the loss, x -> (y_true, y_pred)); x of shape (n,).
    curves: tuple[tuple[str, dict, Callable], ...]
    #: Whether each x is a batch of its own, since its samples are compared.
    batchwise: bool = False


def _against(truth):
    """One output, compared with a constant truth."""
    return lambda x: (truth * tf.ones_like(x)[:, None], x[:, None])


def _class_of_three(one_hot):
    """Three classes, x the probability of the true one, the others share the rest."""

    def inputs(x):
        rest = (1 - x) / 2
        y_pred = tf.stack([x, rest, rest], axis=-1)
        index = tf.zeros(tf.shape(x), tf.int64)
        return (tf.one_hot(index, 3) if one_hot else index), y_pred

    return inputs


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


def _errors(*configs):
    return CurveSpec(
        _ERROR,
        -3.0,
        3.0,
        tuple((label, config, _against(0.0)) for label, config in configs),
    )


def _binary(*configs):
    curves = []
    for label, config in configs:
        for truth in (0.0, 1.0):
            name = ", ".join(filter(None, (f"y_true = {truth:.0f}", label)))
            curves.append((name, config, _against(truth)))
    return CurveSpec("y_pred", *_SURE, tuple(curves))


def _classes(one_hot, *configs):
    curves = tuple(
        (label, config, _class_of_three(one_hot)) for label, config in configs
    )
    return CurveSpec(_PROBABILITY, *_SURE, curves)


_GAMMAS = tuple(
    (f"gamma = {gamma:g}", {"gamma": gamma, "alpha": 1.0}) for gamma in (0.0, 0.5, 2.0)
)

CURVES = {
    "MeanSquaredError": _errors(("", {})),
    "MeanAbsoluteError": _errors(("", {})),
    "MeanAbsolutePercentageError": CurveSpec(
        "y_pred",
        0.0,
        4.0,
        (
            ("y_true = 1", {}, _against(1.0)),
            ("y_true = 2", {}, _against(2.0)),
        ),
    ),
    "MeanSquaredLogarithmicError": CurveSpec(
        "y_pred",
        0.0,
        8.0,
        (
            ("y_true = 1", {}, _against(1.0)),
            ("y_true = 4", {}, _against(4.0)),
        ),
    ),
    "Huber": _errors(*((f"delta = {d:g}", {"delta": d}) for d in (0.5, 1.0, 2.0))),
    "LogCosh": _errors(("", {})),
    "CosineSimilarity": CurveSpec(
        "angle to the truth, degrees", -180.0, 180.0, (("", {}, _direction),)
    ),
    "BinaryCrossentropy": _binary(("", {}), ("smoothed 0.2", {"label_smoothing": 0.2})),
    "BinaryFocalCrossentropy": _binary(
        ("gamma = 0", {"gamma": 0.0}), ("gamma = 2", {"gamma": 2.0})
    ),
    "CategoricalCrossentropy": _classes(
        True, ("", {}), ("smoothed 0.2", {"label_smoothing": 0.2})
    ),
    "CategoricalFocalCrossentropy": _classes(True, *_GAMMAS),
    "SparseCategoricalCrossentropy": _classes(False, ("", {})),
    "SparseCategoricalFocalCrossentropy": _classes(False, *_GAMMAS),
    "CategoricalGeneralizedCrossEntropy": _classes(
        False, *((f"q = {q:g}", {"q": q}) for q in (0.1, 0.5, 0.9))
    ),
    "KLDivergence": _classes(True, ("", {})),
    "Poisson": CurveSpec(
        "y_pred",
        0.05,
        8.0,
        tuple((f"y_true = {n:.0f}", {}, _against(n)) for n in (0.0, 1.0, 4.0)),
    ),
    "Hinge": _errors(),
    "SquaredHinge": _errors(),
    "CategoricalHinge": CurveSpec(
        "score of the true class", -3.0, 3.0, (("others 0 and 0.5", {}, _scores),)
    ),
    "Dice": CurveSpec("y_pred where y_true is 1", *_SURE, (("", {"axis": -1}, _mask),)),
    "Tversky": CurveSpec(
        "y_pred where y_true is 1",
        *_SURE,
        tuple(
            (
                f"alpha = {a:g}, beta = {1 - a:g}",
                {"alpha": a, "beta": 1 - a, "axis": -1},
                _mask,
            )
            for a in (0.2, 0.5, 0.8)
        ),
    ),
    "Circle": CurveSpec(
        "angle between two of one class, degrees",
        -180.0,
        180.0,
        tuple(
            (f"gamma = {g:g}", {"gamma": g}, _embeddings) for g in (10.0, 40.0, 80.0)
        ),
        batchwise=True,
    ),
    "CTC": CurveSpec(
        "logit of the label in the second of three steps",
        -6.0,
        6.0,
        (("", {}, _steps),),
    ),
}
for _name in ("Hinge", "SquaredHinge"):
    CURVES[_name] = CurveSpec(
        "y_pred",
        -3.0,
        3.0,
        (("y_true = -1", {}, _against(-1.0)), ("y_true = 1", {}, _against(1.0))),
    )


def curve(loss, config, inputs, x):
    """(loss, d loss / dx) at each x, as NumPy arrays."""
    batchwise = CURVES[loss].batchwise
    function = getattr(losses, loss)(**config, reduction="sum" if batchwise else "none")
    x = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y_true, y_pred = inputs(x)
        if batchwise:
            batches = zip(tf.unstack(y_true), tf.unstack(y_pred))
            values = tf.stack([function(*batch) for batch in batches])
        else:
            values = function(y_true, y_pred)
    return values.numpy(), tape.gradient(values, x).numpy()


def figure(loss, points=301):
    """A matplotlib figure of one loss: the curve, and its slope beside it."""
    spec = CURVES[loss]
    x = np.linspace(spec.low, spec.high, points)
    picture = Figure(figsize=(8.4, 3.1), layout="constrained")
    left, right = picture.subplots(1, 2)
    colours = (_BLUE, _ORANGE, _GREEN, _RED)
    for colour, (label, config, inputs) in zip(colours, spec.curves):
        values, slope = curve(loss, config, inputs, x)
        style = {"color": colour, "linewidth": 1.8, "label": label or None}
        left.plot(x, values, **style)
        right.plot(x, slope, **style)
    for axes, title in ((left, loss), (right, "its gradient")):
        axes.set_title(title, fontsize=10.5, loc="left")
        axes.set_xlabel(spec.moves, fontsize=9)
        axes.tick_params(labelsize=8.5)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    # A logarithm's slope at the end of its domain would flatten all the rest.
    heights = np.concatenate([line.get_ydata() for line in right.get_lines()])
    low, high = np.quantile(heights, (0.02, 0.98))
    margin = 0.1 * max(high - low, 0.5 * abs(high), 1e-3)
    right.set_ylim(low - margin, high + margin)
    if any(label for label, *_ in spec.curves):
        left.legend(fontsize=8.5, frameon=False)
    return picture


def write(names, folder, style):
    """One file for each loss into `folder`; yields the paths."""
    os.makedirs(folder, exist_ok=True)
    for name in names:
        path = os.path.join(folder, f"{name}.{style}")
        # Without the date, so that the same curve is the same file.
        options = {"metadata": {"Date": None}} if style == "svg" else {"dpi": 110}
        with matplotlib.rc_context({"svg.hashsalt": name}):
            figure(name).savefig(path, **options)
        yield path
