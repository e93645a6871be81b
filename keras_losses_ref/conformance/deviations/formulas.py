"""Losses as a released Keras writes them, step by step: what its deviations come to.

Each function takes a case and gives the Outcome of such a Keras, out of
`rounded_autodiff.Number`.
"""

from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref import oracle
from keras_losses_ref.conformance.cases.case import Case
from keras_losses_ref.conformance.deviations.rounded_autodiff import (
    Number,
    binary_crossentropy_with_logits,
    gradient,
    logsumexp,
    where,
)
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.tolerance import round_to
from keras_losses_ref.conformance.truth import (
    IMPOSSIBLE,
    activate,
    host_rules,
    merged_mask,
    rounded,
)


def same_rank(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The rule of Keras 3: a vector grows, anything else drops its last axis of 1."""
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[..., None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[..., None], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b


def reduced(
    case: Case, values: NDArray[Any], pullback: Callable[[NDArray[Any]], NDArray[Any]]
) -> Outcome:
    """An outcome out of values per sample and the pullback of their gradient."""
    result, upstream = oracle.reduce(
        values,
        reduction=case.reduction,
        sample_weight=case.sample_weight,
        mask=merged_mask(case, values, case.y_true, case.y_pred),
        rules=host_rules().reduction_rules,
    )
    if case.path == "fit":
        result = np.mean(result)
    return Outcome(result, pullback(upstream), case.dtype)


def altered(case: Case, alter: Callable[[NDArray[Any]], NDArray[Any]]) -> Outcome:
    """The definition, with the value of each sample altered."""
    y_true, y_pred = rounded(case)
    function = oracle.BY_LOSS[case.loss]
    values, pullback = function(y_true, y_pred, **case.config, dtype=case.dtype)
    return reduced(case, alter(values), pullback)


def _inputs(case, dtype=None):
    """(y_true, y_pred) as Numbers, their ranks aligned."""
    dtype = dtype or case.dtype
    y, x = same_rank(*(np.asarray(a, np.float64) for a in rounded(case)))
    return Number(y, dtype), Number(x, dtype)


def _settle(case, values, x):
    def pullback(upstream):
        return gradient(values, upstream, x).reshape(case.y_pred.shape)

    with np.errstate(all="ignore"):
        return reduced(case, values.value, pullback)


def written(formula: Callable[..., Number]) -> Callable[[Case], Outcome]:
    """An outcome out of a formula of (case, y_true, y_pred)."""

    def outcome(case):
        y, x = _inputs(case)
        with np.errstate(all="ignore"):
            return _settle(case, formula(case, y, x), x)

    return outcome


def epsilon(dtype: str) -> NDArray[Any]:
    return round_to(1e-7, dtype)


def bounds(dtype: str) -> tuple[Any, Any]:
    """Keras's clip bounds as its dtype has them; in 16 bit the upper one is 1."""
    if dtype in ("float32", "float64"):
        low = epsilon(dtype)
        return low, round_to(1.0 - low, dtype)
    return {"float16": 2.0**-23, "bfloat16": 1.0011717677116394e-07}[dtype], 1.0


# --- regression -----------------------------------------------------------------------


@written
def percentage_error_with_float32_epsilon(case: Case, y: Any, x: Number) -> Number:
    floor = y.abs().maximum(epsilon("float32"))
    return 100.0 * ((y - x) / floor).abs().mean(-1)


@written
def huber(case: Case, y: Any, x: Number) -> Number:
    delta = Number(case.config.get("delta", 1.0), case.dtype)
    error = x - y
    size = error.abs()
    near = size.value <= delta.value
    return where(near, 0.5 * error.square(), delta * size - 0.5 * delta.square()).mean(
        -1
    )


@written
def cosine_similarity(case: Case, y: Any, x: Number) -> Number:
    axis = case.config.get("axis", -1)

    def normal(v):
        inverse = v.square().sum(axis, keepdims=True).rsqrt()
        return v * inverse.minimum(1e7)

    return -(normal(y) * normal(x)).sum(axis)


def cosine_similarity_keras_2(case: Case, floor: float = 1e-12) -> Outcome:
    """The floor lies under the sum of squares; a column is a vector."""
    y, x = (Number(a, case.dtype) for a in rounded(case))
    axis = case.config.get("axis", -1)

    def normal(v):
        return v * v.square().sum(axis, keepdims=True).maximum(floor).rsqrt()

    with np.errstate(all="ignore"):
        return _settle(case, -(normal(y) * normal(x)).sum(axis), x)


@written
def mean_squared_logarithmic_error(case: Case, y: Any, x: Number) -> Number:
    """With an epsilon of the loss's own dtype."""
    low = epsilon(case.dtype)
    first, second = (x.maximum(low) + 1.0).log(), (y.maximum(low) + 1.0).log()
    return (first - second).square().mean(-1)


# --- probabilities --------------------------------------------------------------------


@written
def kl_divergence(case: Case, y: Any, x: Number) -> Number:
    low, _ = bounds(case.dtype)
    y, p = y.clip(low, 1.0), x.clip(low, 1.0)
    return (y * (y / p).log()).sum(-1)


@written
def poisson(case: Case, y: Any, x: Number) -> Number:
    low, _ = bounds(case.dtype)
    return (x - y * (x + low).log()).mean(-1)


def binary_focal(case: Case, inside: float = 0.0, inside_other: float = 0.0) -> Outcome:
    """`inside` and `inside_other` are added to p and 1 - p within the logarithms."""
    y, x = _inputs(case)
    config = case.config
    raw, chain = x, None
    if case.activation is not None:
        p, chain = activate(case.activation, x.value)
        x = raw = Number(p, case.dtype)
    with np.errstate(all="ignore"):
        smoothing = config.get("label_smoothing", 0.0)
        if smoothing:
            y = y * (1.0 - smoothing) + 0.5 * smoothing
        if config.get("from_logits"):
            p = x.sigmoid()
            cost = binary_crossentropy_with_logits(x, y)
        else:
            p, q = x, x.clip(*bounds(case.dtype))
            cost = y * (q + inside).log()
            cost = -(cost + (1.0 - y) * (1.0 - q + inside_other).log())
        p_t = y * p + (1.0 - y) * (1.0 - p)
        values = (1.0 - p_t) ** config.get("gamma", 2.0) * cost
        if config.get("apply_class_balancing"):
            alpha = config.get("alpha", 0.25)
            values = (y * alpha + (1.0 - y) * (1.0 - alpha)) * values
        values = values.mean(config.get("axis", -1))

        def pullback(upstream):
            g = gradient(values, upstream, raw).reshape(case.y_pred.shape)
            return g if chain is None else chain(g)

        return reduced(case, values.value, pullback)


def categorical_focal(case: Case, classes_axis: Optional[int] = None) -> Outcome:
    """`classes_axis`: where label smoothing counts the classes, if not along `axis`."""
    y, x = _inputs(case)
    config = case.config
    axis = config.get("axis", -1)
    with np.errstate(all="ignore"):
        smoothing = config.get("label_smoothing", 0.0)
        if smoothing:
            classes = y.value.shape[axis if classes_axis is None else classes_axis]
            y = y * (1.0 - smoothing) + smoothing / classes
        p = x.softmax(axis) if config.get("from_logits") else x
        q = (p / p.sum(axis, keepdims=True)).clip(*bounds(case.dtype))
        weight = (1.0 - q) ** config.get("gamma", 2.0) * np.asarray(
            config.get("alpha", 0.25)
        )
        values = (weight * (-y * q.log())).sum(axis)
        return _settle(case, values, x)


def sparse_focal(case: Case) -> Outcome:
    """The sparse form: the same at the label alone."""
    _, x = rounded(case)
    classes = x.shape[case.config.get("axis", -1)]
    axis = case.config.get("axis", -1) % x.ndim
    labels = np.asarray(case.y_true, np.int64)
    if labels.ndim == x.ndim:
        labels = np.squeeze(labels, axis)
    ignored = labels == case.config.get("ignore_class")
    hot = labels[..., None] == np.arange(classes)
    hot = np.moveaxis(hot & ~ignored[..., None], -1, axis)
    x = Number(x, case.dtype)
    with np.errstate(all="ignore"):
        p = x.softmax(axis) if case.config.get("from_logits") else x
        q = (p / p.sum(axis, keepdims=True)).clip(*bounds(case.dtype))
        q = where(hot, q, Number(np.zeros(hot.shape), case.dtype)).sum(axis)
        gamma, alpha = case.config.get("gamma", 2.0), case.config.get("alpha", 0.25)
        if np.ndim(alpha):
            at = np.clip(labels, 0, classes - 1)
            alpha = np.where(ignored, 0, np.asarray(alpha)[at])
        values = -(alpha * ((1.0 - q) ** gamma * q.log()))
        values = where(ignored, Number(np.zeros(ignored.shape), case.dtype), values)
        return _settle(case, values, x)


def generalized(case: Case, labels: Optional[NDArray[Any]] = None) -> Outcome:
    """Labels made one-hot as they come, and multiplied with all of y_pred."""
    x = Number(rounded(case)[1], case.dtype)
    labels = np.asarray(case.y_true if labels is None else labels).astype(np.int64)
    hot = labels[..., None] == np.arange(x.value.shape[-1])
    q = case.config.get("q", 0.5)
    with np.errstate(all="ignore"):
        p = (x * hot.astype(np.float64)).sum(-1)
        return _settle(case, (1.0 - p**q) / q, x)


# --- masks ----------------------------------------------------------------------------


@written
def dice(case: Case, y: Any, x: Number) -> Number:
    axis = case.config.get("axis")
    both = (y * x).sum(axis)
    low, _ = bounds(case.dtype)
    return 1.0 - 2.0 * both / (y.sum(axis) + x.sum(axis) + low)


@written
def tversky(case: Case, y: Any, x: Number) -> Number:
    """With equal weights, so that it does not matter which is which."""
    config = case.config
    axis = config.get("axis")
    both = (y * x).sum(axis)
    low, _ = bounds(case.dtype)
    first, second = ((1.0 - x) * y).sum(axis), (x * (1.0 - y)).sum(axis)
    alpha, beta = config.get("alpha", 0.5), config.get("beta", 0.5)
    return 1.0 - both / (both + first * alpha + second * beta + low)


# --- pairs ----------------------------------------------------------------------------


def circle(case: Case) -> Outcome:
    """With 1 - cos as TensorFlow's own matmul rounds it."""
    x = Number(rounded(case)[1], case.dtype)
    labels = np.asarray(case.y_true).reshape(-1, 1)
    config = case.config
    gamma, margin = config.get("gamma", 80.0), config.get("margin", 0.4)
    same = labels == labels.T
    other = ~same
    if config.get("remove_diagonal", True):
        same = same & ~np.eye(len(labels), dtype=bool)

    def to_rows(g):
        return -(g @ x.value + g.T @ x.value)

    def masked(mask, exponents):
        nothing = Number(np.full(mask.shape, -np.inf), case.dtype)
        return logsumexp(where(mask, exponents, nothing), 1)

    with np.errstate(all="ignore"):
        distance = Number(_distances(case, x.value), case.dtype, ((x, to_rows),))
        distance = distance.maximum(0.0)
        attract = ((margin + distance) * same).maximum(0.0)
        repel = (((1 + margin) - distance) * other).maximum(0.0)
        near = (-gamma * attract) * (margin - distance)
        far = (gamma * repel) * ((1 - margin) - distance)
        values = (masked(same, near) + masked(other, far)).softplus()
        return _settle(case, values, x)


def _distances(case, x):
    """1 - x x', rounded where and as the host rounds it for this case."""
    import tensorflow as tf  # the only definition that is TensorFlow's own rounding

    def distances(x):
        return 1 - tf.matmul(x, tf.transpose(x))

    if case.path in ("xla", "nested"):
        distances = tf.function(distances, jit_compile=True, autograph=False)
    with tf.device(case.device):
        return distances(tf.constant(x, case.dtype)).numpy()


# --- sequences ------------------------------------------------------------------------


def ctc(
    case: Case,
    labels: Optional[NDArray[Any]] = None,
    lengths: Optional[NDArray[Any]] = None,
) -> Outcome:
    """TensorFlow's forward and backward pass, taking whatever labels it is given.

    A label that is no class costs nothing to emit. A path may stop in any state at the
    price of 1e-307, and, in the gradient alone, start in any.
    """
    y, x = rounded(case)
    labels = np.asarray(y if labels is None else labels).astype(np.int64)
    if lengths is None:
        lengths = np.sum(labels != 0, 1)
    with np.errstate(all="ignore"):
        rows = [_ctc_row(*row) for row in zip(labels, lengths, x)]
    values = np.array([value for value, _ in rows])
    slope = np.array([slope for _, slope in rows])
    return reduced(case, values, lambda up: up[:, None, None] * slope)


def _ctc_row(word, length, x):
    time, classes = x.shape
    count = len(word)
    log_p = x - np.max(x, 1, keepdims=True)
    log_p = log_p - np.log(np.sum(np.exp(log_p), 1, keepdims=True))
    known = (word >= 0) & (word < classes)
    # States: the start, a label each, then a blank after the start and after each.
    states = 2 * (count + 1)
    emit = np.full((time, states), -np.inf)
    emit[:, 1 : count + 1] = np.where(known, log_p[:, np.where(known, word, 0)], 0.0)
    emit[:, count + 1 :] = log_p[:, :1]
    steps = np.eye(states, dtype=bool)
    for i in range(count):
        steps[i + 1, count + 1 + i] = True
        if i == 0 or word[i] != word[i - 1]:
            steps[i + 1, i] = True
    for i in range(count + 1):
        steps[count + 1 + i, i] = True
    steps = np.where(steps, 0.0, -np.inf)
    start = np.full(states, -IMPOSSIBLE)
    start[0] = 0.0
    final = np.full(states, -IMPOSSIBLE)
    final[[length, count + 1 + length]] = 0.0
    forward = np.empty((time, states))
    at = start
    for t in range(time):
        at = np.logaddexp.reduce(at[None, :] + steps, axis=1) + emit[t]
        forward[t] = at
    backward = np.empty((time, states))
    at = final
    for t in range(time - 1, -1, -1):
        backward[t] = at
        at = np.logaddexp.reduce((at + emit[t])[:, None] + steps, axis=0)
    both = forward + backward
    share = np.exp(both - np.logaddexp.reduce(both, axis=1)[:, None])
    taken = np.zeros_like(x)
    taken[:, 0] = share[:, count + 1 :].sum(1)
    for i, label in enumerate(word):
        if 0 < label < classes:
            taken[:, label] += share[:, i + 1]
    return -at[0], np.exp(log_p) - taken
