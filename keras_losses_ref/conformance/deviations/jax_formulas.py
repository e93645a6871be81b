"""Losses as Keras 3 on JAX computes them, step by step.

`outcome(case)` is what such a Keras gives, out of `jax_autodiff.Number`: the deviating
definition of every entry that JAX's dtypes and derivatives have a say in.
"""

import dataclasses

import numpy as np

from keras_losses_ref.conformance.cases.case import Case
from keras_losses_ref.conformance.deviations.formulas import (
    epsilon,
    reduced,
    same_rank,
)
from keras_losses_ref.conformance.deviations.jax_autodiff import (
    Number,
    cuts_to_32_bits,
    logsumexp,
    release,
    where,
)
from keras_losses_ref.conformance.deviations.rounded_autodiff import gradient
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.truth import (
    activate,
    right_answer,
    rounded,
)

#: The bounds of a probability; as Python numbers they take its dtype.
LOW, HIGH = 1e-7, 1.0 - 1e-7

#: What stands for the logarithm of 0 in CTC.
NEVER = -1e5

#: The first Keras that hangs a mask on an array of JAX, and the first that takes what
#: is ignored out by a `where`, and not by a factor of 0.
MASKS_SINCE, IGNORES_BY_WHERE_SINCE = (3, 6), (3, 15)

#: Losses that end in a mean over an axis, which is taken in float32.
MEANS = (
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "Huber",
    "LogCosh",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "Poisson",
    "Hinge",
    "SquaredHinge",
)


def outcome(case: Case) -> Outcome:
    """What Keras on JAX gives for a case that it does not refuse."""
    with np.errstate(all="ignore"):
        y, raw = (np.asarray(a, np.float64) for a in rounded(case))
        chain = None
        if case.activation is not None:
            raw, chain = activate(case.activation, raw)
        # `Loss.__call__` casts both to the dtype of the loss.
        y, x = Number(y, case.dtype), Number(raw, case.dtype)
        values = FORMULAS[case.loss](case, y, x).cast(case.dtype)

        def pullback(upstream):
            g = gradient(values, upstream, x).reshape(case.y_pred.shape)
            return g if chain is None else chain(g)

        found = _reduced(case, values.value, pullback)
    if case.check_hessian:
        # Differences of rounded gradients are no second derivative.
        return dataclasses.replace(found, second=right_answer(case).second)
    return found


def _reduced(case, values, pullback):
    """As the definition does, but that the first Kerases on JAX hang no masks."""
    if release() < MASKS_SINCE:
        case = dataclasses.replace(case, mask=None, config={})
    return reduced(case, values, pullback)


def float32_rounding(case: Case, aspect: str) -> float:
    """What float32 leaves of a float64 loss whose mean is taken in it."""
    if case.dtype != "float64" or not cuts_to_32_bits():
        return 0.0
    if case.loss not in (*MEANS, "CTC") and not _smooths_indices(case):
        return 0.0
    if aspect not in ("value", "gradient", "second"):
        return 0.0
    # The slope of a gradient carries the gradient's rounding.
    found = outcome(case)
    found = np.asarray(found.value if aspect == "value" else found.gradient)
    largest = np.max(np.abs(found[np.isfinite(found)]), initial=0.0)
    steps = 16 if case.loss == "CTC" else 8
    return steps * 2.0**-23 * float(largest)


def _smooths_indices(case):
    """Whether sparse labels are smoothed, which takes a mean over the classes."""
    smoothing = case.config.get("label_smoothing")
    return case.loss == "SparseCategoricalCrossentropy" and bool(smoothing)


def _aligned(formula):
    """A formula of y and x of one rank."""

    def aligned(case, y, x):
        ranks = same_rank(y.value, x.value)
        return formula(case, *(v.reshape(a.shape) for v, a in zip((y, x), ranks)))

    return aligned


# --- regression -----------------------------------------------------------------------


def _mean_squared_error(case, y, x):
    return (y - x).square().mean(-1)


def _mean_absolute_error(case, y, x):
    return (y - x).abs().mean(-1)


def _mean_absolute_percentage_error(case, y, x):
    floor = y.abs().maximum(epsilon(case.dtype))
    return 100.0 * ((y - x) / floor).abs().mean(-1)


def _mean_squared_logarithmic_error(case, y, x):
    first, second = ((v.maximum(1e-7) + 1.0).log() for v in (x, y))
    return (first - second).square().mean(-1)


def _cosine_similarity(case, y, x):
    axis = case.config.get("axis", -1)

    def normal(v):
        inverse = v.square().sum(axis, keepdims=True).rsqrt()
        return v * inverse.minimum(1e7)

    return -(normal(y) * normal(x)).sum(axis)


def _huber(case, y, x):
    delta = Number(case.config.get("delta", 1.0), case.dtype)
    error = x - y
    size = error.abs()
    far = delta * size - 0.5 * delta.square()
    return where(size.value <= delta.value, 0.5 * error.square(), far).mean(-1)


def _log_cosh(case, y, x):
    error = x - y
    return (error + (error * -2.0).softplus() - np.log(2.0)).mean(-1)


# --- hinges ---------------------------------------------------------------------------


def _signs(y):
    return 2.0 * y - 1.0 if np.all((y.value == 0) | (y.value == 1)) else y


def _hinge(case, y, x):
    return (1.0 - _signs(y) * x).maximum(0.0).mean(-1)


def _squared_hinge(case, y, x):
    return (1.0 - _signs(y) * x).maximum(0.0).square().mean(-1)


def _categorical_hinge(case, y, x):
    right, wrong = (y * x).sum(-1), ((1.0 - y) * x).max(-1)
    return (wrong - right + 1.0).maximum(0.0)


# --- probabilities --------------------------------------------------------------------


def _smoothed(case, y, classes):
    smoothing = case.config.get("label_smoothing") or 0.0
    return y * (1.0 - smoothing) + smoothing / classes if smoothing else y


def _classes(case, y):
    """How many classes label smoothing counts: until 3.15 along the last axis."""
    mended = release() >= (3, 16)
    return y.value.shape[case.config.get("axis", -1) if mended else -1]


def _of_bits(y, p):
    p = p.clip(LOW, HIGH)
    return -(y * p.log() + (1.0 - y) * (1.0 - p).log())


def _binary_crossentropy(case, y, x):
    y = _smoothed(case, y, 2)
    if case.config.get("from_logits"):
        values = -1.0 * y * x.log_sigmoid() - (1.0 - y) * (-x).log_sigmoid()
    else:
        values = _of_bits(y, x)
    return values.mean(case.config.get("axis", -1))


def _binary_focal_crossentropy(case, y, x):
    config = case.config
    y = _smoothed(case, y, 2)
    p = x.sigmoid() if config.get("from_logits") else x
    right = y * p + (1.0 - y) * (1.0 - p)
    values = (1.0 - right) ** config.get("gamma", 2.0) * _of_bits(y, p)
    if config.get("apply_class_balancing"):
        alpha = config.get("alpha", 0.25)
        values = (y * alpha + (1.0 - y) * (1.0 - alpha)) * values
    return values.mean(config.get("axis", -1))


def _normalized(x, axis):
    return (x / x.sum(axis, keepdims=True)).clip(LOW, HIGH)


def _log_probabilities(case, x, axis):
    if case.config.get("from_logits"):
        return x.log_softmax(axis)
    return _normalized(x, axis).log()


def _categorical_crossentropy(case, y, x):
    axis = case.config.get("axis", -1)
    y = _smoothed(case, y, _classes(case, y))
    return -(y * _log_probabilities(case, x, axis)).sum(axis)


def _categorical_focal_crossentropy(case, y, x):
    config, axis = case.config, case.config.get("axis", -1)
    y = _smoothed(case, y, _classes(case, y))
    q = _normalized(x.softmax(axis) if config.get("from_logits") else x, axis)
    alpha = config.get("alpha", 0.25)
    if np.ndim(alpha):  # an array has a dtype, and the products take it
        alpha = Number(alpha, _wide(case))
    weight = (1.0 - q) ** config.get("gamma", 2.0) * alpha
    return (weight * (-y * q.log())).sum(axis)


def _wide(case):
    """JAX's default dtype: float64 where that is switched on."""
    return "float64" if case.dtype == "float64" else "float32"


def _one_hot(labels, classes):
    labels = np.where(np.isfinite(labels), labels, -1).astype(np.int64)
    return (labels[..., None] == np.arange(classes)).astype(np.float64)


def _sparse_categorical_crossentropy(case, y, x):
    axis = case.config.get("axis", -1) % x.value.ndim
    labels, ignored = y.value, case.config.get("ignore_class")
    if labels.ndim == x.value.ndim and labels.shape[axis] == 1:
        labels = np.squeeze(labels, axis)
    kept = np.ones(labels.shape, bool)
    if ignored is not None:
        kept = labels != Number(float(ignored), case.dtype).value
        labels, there = np.where(kept, labels, 0), np.expand_dims(kept, axis)
        if release() >= IGNORES_BY_WHERE_SINCE:
            x = where(there, x, np.zeros(x.value.shape))
        else:
            x = x * there.astype(np.float64)
    log_p = _log_probabilities(case, x, axis)
    hot = np.moveaxis(_one_hot(labels, x.value.shape[axis]), -1, axis)
    values = -(Number(hot, _wide(case)) * log_p).sum(axis)
    smoothing = case.config.get("label_smoothing") or 0.0
    if smoothing > 0:
        values = (1.0 - smoothing) * values + smoothing * _against_all(case, x, axis)
    return where(kept, values, np.zeros(kept.shape))


def _against_all(case, x, axis):
    """The cross-entropy against all classes alike."""
    if case.config.get("from_logits"):
        return logsumexp(x, axis) - x.mean(axis)
    return -_normalized(x, axis).log().mean(axis)


def _sparse_categorical_focal_crossentropy(case, y, x):
    """With the labels as they come, and NaN for one that is no class."""
    config, axis = case.config, case.config.get("axis", -1) % x.value.ndim
    labels, classes = np.asarray(case.y_true, np.int64), x.value.shape[axis]
    if labels.ndim == x.value.ndim and labels.shape[axis] == 1:
        labels = np.squeeze(labels, axis)
    ignored = labels == config.get("ignore_class")
    is_class = (labels >= 0) & (labels < classes)
    safe = np.where(is_class, labels, 0)
    hot = np.moveaxis(_one_hot(safe, classes), -1, axis) == 1
    q = _normalized(x.softmax(axis) if config.get("from_logits") else x, axis)
    q = where(hot, q, np.zeros(hot.shape)).sum(axis)
    alpha = np.asarray(config.get("alpha", 0.25))
    alpha = Number(alpha[safe] if alpha.ndim else alpha, case.dtype)
    values = -(alpha * ((1.0 - q) ** config.get("gamma", 2.0) * q.log()))
    values = where(is_class | ignored, values, np.full(ignored.shape, np.nan))
    return where(~ignored, values, np.zeros(ignored.shape))


def _categorical_generalized_cross_entropy(case, y, x):
    q = case.config.get("q", 0.5)
    p = (x * _one_hot(y.value, x.value.shape[-1])).sum(-1)
    return (1.0 - p**q) / q


def _kl_divergence(case, y, x):
    y, p = y.clip(LOW, 1.0), x.clip(LOW, 1.0)
    return (y * (y / p).log()).sum(-1)


def _poisson(case, y, x):
    return (x - y * (x + 1e-7).log()).mean(-1)


# --- masks, pairs ---------------------------------------------------------------------


def _axes(case):
    axis = case.config.get("axis")
    return tuple(axis) if isinstance(axis, list) else axis


def _dice(case, y, x):
    axis = _axes(case)
    both = (y * x).sum(axis)
    return 1.0 - 2.0 * both / (y.sum(axis) + x.sum(axis) + 1e-7)


def _tversky(case, y, x):
    axis = _axes(case)
    both = (y * x).sum(axis)
    first, second = ((1.0 - x) * y).sum(axis), (x * (1.0 - y)).sum(axis)
    alpha, beta = case.config.get("alpha", 0.5), case.config.get("beta", 0.5)
    if release() >= (3, 16):  # until then they were each other's
        alpha, beta = beta, alpha
    return 1.0 - both / (both + first * alpha + second * beta + 1e-7)


def _circle(case, y, x):
    """With 1 - cos as JAX's own matmul rounds it."""
    labels = np.where(np.isfinite(y.value), y.value, -1).reshape(-1, 1)
    gamma, margin = case.config.get("gamma", 80.0), case.config.get("margin", 0.4)
    same = labels == labels.T
    other = ~same
    if case.config.get("remove_diagonal", True):
        same = same & ~np.eye(len(labels), dtype=bool)

    def to_rows(g):
        return -(g @ x.value + g.T @ x.value)

    def masked(mask, exponents):
        return logsumexp(where(mask, exponents, np.full(mask.shape, -np.inf)), 1)

    distance = Number(_distances(case, x.value), case.dtype, ((x, to_rows),))
    distance = distance.maximum(0.0)
    attract = ((margin + distance) * same).maximum(0.0)
    repel = (((1 + margin) - distance) * other).maximum(0.0)
    near = (-gamma * attract) * (margin - distance)
    far = (gamma * repel) * ((1 - margin) - distance)
    return (masked(same, near) + masked(other, far)).softplus()


def _distances(case, x):
    """1 - x x', rounded where and as JAX rounds it for this case."""
    import jax  # the only definition that is JAX's own rounding
    import jax.numpy as jnp

    from keras_losses_ref.conformance.arrays.jax import precision

    def distances(x):
        return 1 - jnp.matmul(x, jnp.transpose(x))

    if case.path in ("xla", "nested"):
        distances = jax.jit(distances)
    with precision(case.dtype):
        x = jnp.asarray(x.astype(jnp.dtype(case.dtype)))
        return np.asarray(distances(x)).astype(np.float64)


# --- sequences ------------------------------------------------------------------------


def _ctc(case, y, x):
    """The forward recursion, from float32 on, with `NEVER` for what cannot be.

    A label that is no class costs nothing to emit.
    """
    labels = y.value.astype(np.int64)
    lengths = np.sum(labels != 0, 1)
    (batch, steps, classes), count = x.value.shape, labels.shape[1]
    wide = case.dtype == "float64" and not cuts_to_32_bits()
    dtype = "float64" if wide else "float32"
    log_p = x.cast(dtype).log_softmax(-1)
    again = np.zeros(labels.shape)
    again[:, :-1] = labels[:, :-1] == labels[:, 1:]
    hot = _one_hot(labels, classes)
    start = np.full((batch, count + 1), NEVER)
    start[:, 0] = 0.0
    blank, label = Number(start, dtype), Number(start[:, 1:], dtype)

    def reached(blank, added):
        rest = blank.part(np.s_[:, 1:]).logaddexp(added)
        return blank.part(np.s_[:, :1]).beside(rest)

    for t in range(steps):
        now = log_p.part(np.s_[:, t])
        emit = (now.reshape((batch, 1, classes)) * hot).sum(-1)
        rest = now.part(np.s_[:, :1])
        ready = reached(blank, label + NEVER * again)
        blank = reached(ready + rest, label + rest + NEVER * (1.0 - again))
        label = (ready.part(np.s_[:, :-1]) + emit).logaddexp(label + emit)
    last = lengths[:, None] == np.arange(count + 1)
    return -(reached(blank, label) * last).sum(-1)


#: {loss: its values out of a case, its y_true and its y_pred}.
FORMULAS = {
    "MeanSquaredError": _aligned(_mean_squared_error),
    "MeanAbsoluteError": _aligned(_mean_absolute_error),
    "MeanAbsolutePercentageError": _aligned(_mean_absolute_percentage_error),
    "MeanSquaredLogarithmicError": _aligned(_mean_squared_logarithmic_error),
    "CosineSimilarity": _aligned(_cosine_similarity),
    "Huber": _aligned(_huber),
    "LogCosh": _aligned(_log_cosh),
    "Hinge": _aligned(_hinge),
    "SquaredHinge": _aligned(_squared_hinge),
    "CategoricalHinge": _aligned(_categorical_hinge),
    "BinaryCrossentropy": _aligned(_binary_crossentropy),
    "BinaryFocalCrossentropy": _aligned(_binary_focal_crossentropy),
    "CategoricalCrossentropy": _aligned(_categorical_crossentropy),
    "CategoricalFocalCrossentropy": _aligned(_categorical_focal_crossentropy),
    "SparseCategoricalCrossentropy": _sparse_categorical_crossentropy,
    "SparseCategoricalFocalCrossentropy": _sparse_categorical_focal_crossentropy,
    "CategoricalGeneralizedCrossEntropy": _categorical_generalized_cross_entropy,
    "KLDivergence": _aligned(_kl_divergence),
    "Poisson": _aligned(_poisson),
    "Dice": _aligned(_dice),
    "Tversky": _aligned(_tversky),
    "Circle": _circle,
    "CTC": _ctc,
}
