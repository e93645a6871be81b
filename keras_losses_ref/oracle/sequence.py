"""Oracle of connectionist temporal classification: NumPy, from the definition."""

import numpy as np
from numpy.typing import ArrayLike

from . import _numerics as nx


@nx.ignore_fp_warnings
def ctc(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    impossible: float = np.inf,
    dtype: str = "float32",
) -> nx.LossAndPullback:
    """-log of the probability of all alignments of a label sequence.

    Shapes:    y_true (batch, length) integers, padded with 0 at the end;
               y_pred (batch, time, classes) logits, class 0 is the blank
    Formula:   -log(sum over the paths that collapse to the label of
               prod_t softmax(y_pred[t])[path[t]])
    Gradient:  softmax(y_pred) - the paths' share of each class at each time
    Edges:     a label longer than any path can spell has probability 0: inf, gradient
               0. With a finite `impossible` such a row costs that much more than the
               paths which spell a beginning of it, stopping anywhere: Keras has
               -log(1e-307), which is about 706.9
    Raises:    ValueError for a 0 before the end of a label and for labels that are no
               class
    """
    nx.constants(dtype)
    shape = np.shape(y_pred)
    labels, x = nx.align(np.trunc(nx.float64(y_true)), nx.float64(y_pred))
    if labels.ndim != 2 or x.ndim != 3 or len(labels) != len(x):
        raise ValueError(
            "expected (batch, length) labels and (batch, time, classes) logits, "
            f"not {labels.shape} and {x.shape}"
        )
    classes = x.shape[2]
    lengths = np.sum(labels != 0, axis=1)
    within = np.arange(labels.shape[1]) < lengths[:, None]
    if np.any((labels != 0) != within):
        raise ValueError("0 is the blank and may stand only after the last label")
    if not classes or np.any((labels < 0) | (labels >= classes)):
        raise ValueError(f"labels must lie between 1 and {classes - 1}")
    x = nx.wide(x)
    values = np.empty(len(x))
    slope = np.zeros_like(x)
    for i in range(len(x)):
        word = labels[i, : lengths[i]].astype(int)
        values[i], slope[i] = _one(word, x[i], impossible)

    @nx.ignore_fp_warnings
    def pullback(upstream):
        g = nx.upstream_array(upstream, values.shape)[:, None, None] * slope
        return nx.float64(g.reshape(shape))

    return values, pullback


def _one(word, x, impossible):
    """(-log probability, its gradient) for one sequence; x is (time, classes)."""
    if np.isnan(x).any():
        return np.nan, np.full_like(x, np.nan)
    time, states = len(x), 2 * len(word) + 1
    extended = np.zeros(states, int)
    extended[1::2] = word
    # From two states back only onto a label that differs from the one before.
    skip = np.zeros(states, bool)
    skip[3::2] = word[1:] != word[:-1]
    if not time:
        return (np.inf if len(word) else 0.0), np.zeros_like(x)
    top = np.max(x, axis=1, keepdims=True)
    d, error = nx.shifted_with_error(x, top)
    e = np.exp(d)
    e = e + e * error
    rest, whole = nx.leave_one_out(e)
    p, not_p = e / whole, rest / whole
    log_p = d + (error - np.log(whole))
    emit = log_p[:, extended]

    forward = np.full((time, states), -np.inf, dtype=x.dtype)
    forward[0, :2] = emit[0, :2]
    for t in range(1, time):
        forward[t] = _step(forward[t - 1], skip) + emit[t]
    # Where no path can end in the last two states, any state may be the last.
    stops = np.isneginf(forward[-1, -2:]).all() and np.isfinite(impossible)
    last = slice(None) if stops else slice(-2, None)
    # Backward is forward in a mirror, without the emission at t itself.
    mirror = np.zeros(states, bool)
    mirror[2:] = skip[::-1][:-2]
    backward = np.full((time, states), -np.inf, dtype=x.dtype)
    backward[-1, last] = 0
    for t in range(time - 2, -1, -1):
        after = backward[t + 1] + emit[t + 1]
        backward[t] = _step(after[::-1], mirror)[::-1]
    log_total = np.logaddexp.reduce(forward[-1, last])
    if log_total == -np.inf:
        return np.inf, np.zeros_like(x)
    # Likelier than not: what is left to 1 is known better.
    if log_total > -0.7 and not stops:
        return _from_failure(extended, skip, p, not_p)
    share = np.exp(forward + backward - log_total)
    taken = np.zeros_like(x)
    for s, k in enumerate(extended):
        taken[:, k] += share[:, s]
    price = nx.WIDE(impossible) if stops else 0
    return float(price - log_total), p * (1 - taken) - taken * not_p


def _from_failure(extended, skip, p, not_p):
    """As `_one`, from the probability Q that a path spells something else.

    A path is read by an automaton: state 0 is the start, 1 to n are the states of the
    extended label, n + 1 is failure. All sums are of positive terms, so a Q of 1e-100
    is as good as any, and -log(1 - Q) with it.
    """
    n, (time, classes) = len(extended), p.shape
    after = np.full((n + 2, classes), n + 1)
    after[0, extended[:2]] = np.arange(1, n + 1)[:2]
    for s, k in enumerate(extended):
        after[s + 1, k] = s + 1
        if s + 1 < n:
            after[s + 1, extended[s + 1]] = s + 2
        if s + 2 < n and skip[s + 2]:
            after[s + 1, extended[s + 2]] = s + 3
    # fails[t]: the chance of failure from each state, before the symbol at t is read.
    fails = np.ones((time + 1, n + 2), dtype=p.dtype)
    fails[time, max(n - 1, 1) : n + 1] = 0
    for t in range(time - 1, -1, -1):
        fails[t] = nx.total(p[t] * fails[t + 1][after], -1)
    q = fails[0, 0]
    reached = np.zeros(n + 2, dtype=p.dtype)
    reached[0] = 1
    slope = np.empty_like(p)
    for t in range(time):
        # the chance to read each symbol here and to fail in the end
        lost = p[t] * nx.total(reached[:, None] * fails[t + 1][after], 0)
        others, _ = nx.leave_one_out(lost)
        slope[t] = (lost * not_p[t] - p[t] * others) / (1 - q)
        step = np.zeros_like(reached)
        np.add.at(step, after, reached[:, None] * p[t])
        reached = step
    return float(-np.log1p(-q)), slope


def _step(before, skip):
    """log of the sum over the states that may come before each state."""
    one = np.concatenate([[-np.inf], before[:-1]]).astype(before.dtype)
    two = np.concatenate([[-np.inf, -np.inf], before[:-2]]).astype(before.dtype)
    two = two[: len(before)]
    return np.logaddexp(np.logaddexp(before, one), np.where(skip, two, -np.inf))
