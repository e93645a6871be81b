"""Losses for sequences whose alignment with the input is unknown.

CTC is here twice. `log_likelihood` is the definition: Graves's forward recursion in log
space, its derivatives left to autodiff. `forward_backward_scaled` is what runs: the
same recursion from both ends at once, in one scan, from which the loss and its gradient
follow in closed form. The tests hold the two equal. Second derivatives still come from
autodiff of the definition.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.inputs import of_rank
from keras_losses_ref.losses.kernels import dispatch, tape_watch

#: log 0 for sums of logarithms: -inf would turn their gradients into NaN.
_LOG_ZERO = -1e30
#: The loss of stopping short, where no path can spell the labels; TensorFlow's log 0.
_LOG_ALMOST_ZERO = math.log(1e-307)
#: What shares are increased by where they must not become 0: more than what is lost
#: below the smallest float64, 2^-1022, times the highest weight of a path, 2^120.
_ALMOST_ZERO = 2.0**-850


def check_label_rows(
    name: str, y_true: Tensor, y_pred: Tensor, arguments: Mapping[str, Any]
) -> Tensor:
    """Refuse other ranks; eagerly, labels that are no classes or follow the padding."""
    if y_true.shape.rank not in (None, 2) or y_pred.shape.rank not in (None, 3):
        raise ValueError(
            f"{name}: y_true must hold one row of labels per sample. Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}. "
            "Expected y_true.shape=(n, labels) and y_pred.shape=(n, time, classes)."
        )
    if not tf.executing_eagerly():
        return of_rank(y_true, 2)
    labels, classes = tf.cast(y_true, tf.int32).numpy(), y_pred.shape[2]
    inside = np.arange(labels.shape[1]) < np.count_nonzero(labels, 1)[:, np.newaxis]
    usable = ((labels != 0) == inside) & (labels >= 0) & (labels < classes)
    if not usable.all():
        row = labels[int(np.argmin(usable.all(axis=1)))].tolist()
        raise ValueError(
            f"{name}: labels must be classes of y_pred, with 0 only as padding at the "
            f"end of a row. Received: a row of y_true with {row}. Expected integers in "
            f"[1, {classes}), then zeros: class 0 is the blank, which stands for "
            "no label. Give the classes numbers from 1 on."
        )
    return y_true


@loss_function(labels="indices", check=check_label_rows, ragged=False)
def ctc(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Connectionist temporal classification: labels in order, at unknown times.

    Shapes:    y_true (n, labels), y_pred (n, time, classes) -> (n,)
    Domain:    y_true integers in [1, classes), each row padded with 0 at its end;
               y_pred logits, all reals; class 0 is the blank
    Formula:   p = softmax(y_pred)
               -log of the sum of prod_t p[t, path_t] over all paths that spell y_true
               when repeats are merged, then blanks dropped
    Gradient:  d/dy_pred = p - the share of the paths that are in the class at the time
    Edges:     labels that need more time than there is (one step each, and one more
               between equal neighbours) have probability 0 and by definition a loss of
               +inf. As in Keras they cost 706.9 = -log 1e-307 plus the loss of the
               paths that stop anywhere, so that training survives them
    Raises:    ValueError unless the ranks are 2 and 3; ValueError, eagerly, for a 0
               before a label and for a label outside [0, classes), which in a graph
               give NaN
    Source:    Keras 3 `keras.losses.ctc`; Graves et al. (2006)
    Example:   >>> ctc([[1]], [[[0., 0.], [0., 0.]]])  # [0.28768]
    """
    y_pred = of_rank(y_pred, 3)
    return with_closed_form_gradient(tf.cast(y_true, tf.int32), y_pred)


def usable_labels(labels: Tensor, classes: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(labels, or 0 for those that cannot be used; how many; whether all can)."""
    length = tf.math.count_nonzero(labels, axis=1, dtype=tf.int32)
    inside = tf.sequence_mask(length, tf.shape(labels)[1])
    usable = (
        tf.equal(tf.not_equal(labels, 0), inside) & (labels >= 0) & (labels < classes)
    )
    labels = tf.where(usable, labels, tf.zeros_like(labels))
    return labels, length, tf.reduce_all(usable, axis=1)


# --- the definition ------------------------------------------------------------------


def loss_by_definition(labels: Tensor, y_pred: Tensor) -> Tensor:
    """-log_likelihood; NaN for rows with labels that are no classes."""
    labels, length, known = usable_labels(labels, tf.shape(y_pred)[2])
    values = -log_likelihood(labels, length, y_pred)
    return tf.where(known, values, tf.constant(float("nan"), values.dtype))


def log_likelihood(labels: Tensor, length: Tensor, y_pred: Tensor) -> Tensor:
    """log of the summed probability of the paths, by Graves's forward recursion.

    The states of a path are blank, label 1, blank, label 2, ..., blank. In a step it
    stays, moves on by one, or by two to a label that differs from the one before.
    """
    states, can_skip, last, possible = extended_labels(
        labels, length, tf.shape(y_pred)[1]
    )
    emission = emissions(log_softmax(y_pred), states)
    at = tf.range(tf.shape(states)[1])
    start = tf.where(at == 0, tf.constant(0.0, emission.dtype), _LOG_ZERO)

    # No tf.foldl: inside vectorized_map the gradient of its TensorArray fails.
    time = tf.shape(emission)[0]
    _, reached = tf.while_loop(
        lambda t, reached: t < time,
        lambda t, reached: (t + 1, log_arriving(reached, can_skip) + emission[t]),
        (0, tf.broadcast_to(start, tf.shape(states))),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
        maximum_iterations=time,
    )
    final = tf.equal(at, last) | tf.equal(at, last - 1) | ~possible
    found = tf.reduce_logsumexp(tf.where(final, reached, _LOG_ZERO), axis=1)
    return tf.cast(found + infeasible_penalty(possible), y_pred.dtype)


def extended_labels(
    labels: Tensor, length: Tensor, time: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(the states, where a path may skip to, the last state, whether one gets there).

    The first two (rows, states), the others (rows, 1).
    """
    rows, columns = tf.unstack(tf.shape(labels))
    states = tf.stack([tf.zeros_like(labels), labels], axis=2)
    states = tf.reshape(states, [rows, 2 * columns])
    states = tf.pad(states, [[0, 0], [0, 1]])
    can_skip = tf.not_equal(states, 0) & tf.not_equal(states, shift(states, 2, 0))
    repeats = tf.equal(labels[:, 1:], labels[:, :-1]) & tf.not_equal(labels[:, 1:], 0)
    needed = length + tf.math.count_nonzero(repeats, axis=1, dtype=tf.int32)
    possible = needed <= time
    return states, can_skip, 2 * length[:, tf.newaxis], possible[:, tf.newaxis]


def log_softmax(y_pred: Tensor) -> Tensor:
    """In float64: hundreds of steps add up, and the fast form scales probabilities.

    Those of a step are divided by the largest, and one that is 1e-308 of it may yet be
    on the only path that spells the labels. float32 ends at 1e-38.
    """
    return tf.maximum(tf.nn.log_softmax(tf.cast(y_pred, tf.float64)), _LOG_ZERO)


def emissions(p: Tensor, states: Tensor) -> Tensor:
    """p (rows, time, classes) of the classes of the states: (time, rows, states)."""
    return tf.transpose(tf.gather(p, states, axis=2, batch_dims=1), [1, 0, 2])


def log_arriving(reached: Tensor, can_skip: Tensor) -> Tensor:
    """log of what comes to each state in a step: from it, from one or two before it."""
    skipped = tf.where(can_skip, shift(reached, 2, _LOG_ZERO), _LOG_ZERO)
    ways = tf.stack([reached, shift(reached, 1, _LOG_ZERO), skipped])
    return tf.reduce_logsumexp(ways, axis=0)


def infeasible_penalty(possible: Tensor) -> Tensor:
    free = tf.constant(0.0, tf.float64)
    return tf.where(possible[:, 0], free, _LOG_ALMOST_ZERO)


def shift(states: Tensor, by: int, fill: float = 0) -> Tensor:
    """Rows moved to the right by `by`, with `fill` on the left."""
    shifted = tf.pad(states, [[0, 0], [by, 0]])[:, :-by]
    if fill == 0:
        return shifted
    # Inside vectorized_map tf.pad fills with 0, whatever it is told.
    new = tf.range(tf.shape(states)[1]) < by
    return tf.where(new, tf.cast(fill, states.dtype), shifted)


# --- the fast form -------------------------------------------------------------------


def with_closed_form_gradient(labels: Tensor, y_pred: Tensor) -> Tensor:
    """`loss_by_definition`, its gradient in closed form; second ones by autodiff."""
    # In a graph forward mode looks past the written-out gradient, at the operations
    # that made the value, and for the gradient of a gradient it cannot do without.
    if tape_watch.in_forward_mode(y_pred):
        return loss_by_definition(labels, y_pred)

    @tf.custom_gradient
    def loss(y_pred):
        value, found = value_and_grad(labels, y_pred)

        @tf.custom_gradient
        def grad(y_pred):
            def gradient(upstream):
                with tf.GradientTape() as tape:
                    tape.watch(y_pred)
                    with tf.GradientTape() as inner:
                        inner.watch(y_pred)
                        value = loss_by_definition(labels, y_pred)
                    defined = inner.gradient(value, y_pred)
                return tape.gradient(defined, y_pred, upstream)

            return found, gradient

        def gradient(upstream):
            return upstream[:, tf.newaxis, tf.newaxis] * grad(y_pred)

        return value, gradient

    return loss(y_pred)


def value_and_grad(labels: Tensor, y_pred: Tensor) -> tuple[Any, ...]:
    """`loss_by_definition` and its gradient to y_pred.

    A step of the scan is a dozen small operations. Eagerly hundreds of steps take
    hundreds of milliseconds, so they run as a function; there is one for all lengths.
    """
    tensors = labels, y_pred
    exact = functools.partial(
        dispatch.run_no_grad, forward_backward_log, tensors, compiles=False
    )
    scaled, sound = dispatch.run_no_grad(forward_backward_scaled, tensors)
    if tf.executing_eagerly():
        found = scaled if sound else exact()
    else:
        found = tf.cond(sound, lambda: scaled, exact)
    value, grad = found
    value.set_shape(y_pred.shape[:1])
    grad.set_shape(y_pred.shape)
    return value, grad


def forward_backward_scaled(labels: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """((the value, its gradient), whether both are right), with shares instead of logs.

    In a step the shares of a row are divided by the largest. So one of them vanishes
    if it is 1e-308 of the largest, though it may be on the only path that counts in
    the end. To see that, the scan from the end rounds up all that is almost 0: it
    gives an upper bound of the likelihood, the scan from the start a lower one. Where
    they agree, nothing that counts was lost on either way, and no occupancy is off by
    more than they differ.
    """
    time = tf.shape(y_pred)[1]
    labels, length, known = usable_labels(labels, tf.shape(y_pred)[2])
    states, can_skip, last, possible = extended_labels(labels, length, time)
    p = tf.nn.softmax(tf.cast(y_pred, tf.float64))
    reweight, total_reweight = path_reweighting(p, states, last, possible)
    emission = emissions(p, states) * tf.cast(up_to(last, states), p.dtype)
    move = both_ways(reweight, 1)
    can_skip = both_ways(tf.where(can_skip, reweight * shift(reweight, 1), 0.0), 2)
    ends = both_ends(states, last, possible)
    least = tf.repeat(tf.constant([0.0, _ALMOST_ZERO], p.dtype), tf.shape(states)[0])

    def arriving(shares):
        return shares + move * shift(shares, 1) + can_skip * shift(shares, 2)

    def emit(shares, emission):
        shares = shares * emission + least[:, tf.newaxis]
        largest = tf.reduce_max(shares, axis=1, keepdims=True)
        return shares / largest, tf.math.log(largest[:, 0])

    came, arrived, scale = scan(arriving, emit, tf.cast(ends[0], p.dtype), emission)
    arrived = tf.reduce_sum(tf.where(ends[1], arrived, 0.0), axis=1)
    lower, upper = tf.split(tf.math.log(arrived) + scale, 2)
    there, back = apart(came)
    posterior = there * back * emission
    posterior /= tf.reduce_sum(posterior, axis=2, keepdims=True)
    rounding = 1e-13 * (tf.cast(time, p.dtype) + tf.abs(upper))
    sound = upper - lower <= rounding
    likelihood = lower - total_reweight + infeasible_penalty(possible)
    # Logs of scales and weights cancel where a loss is almost 0.
    digits = 1e-8 if y_pred.dtype == tf.float32 else 1e-14
    cancelled = 2.0**-52 * tf.cast(time, p.dtype)
    sound &= cancelled <= digits * tf.abs(likelihood)
    sound = tf.reduce_all(sound | ~known)
    return result(-likelihood, posterior, labels, known, p, y_pred), sound


def forward_backward_log(labels: Tensor, y_pred: Tensor) -> Tensor:
    """(the value, its gradient), as `forward_backward_scaled`, but in log space."""
    labels, length, known = usable_labels(labels, tf.shape(y_pred)[2])
    states, can_skip, last, possible = extended_labels(
        labels, length, tf.shape(y_pred)[1]
    )
    log_p = log_softmax(y_pred)
    inside = up_to(last, states)
    emission = tf.where(inside, emissions(log_p, states), _LOG_ZERO)
    can_skip = both_ways(can_skip, 2)
    start, stop = both_ends(states, last, possible)

    def emit(logs, emission):
        return logs + emission, tf.zeros_like(logs[:, 0])

    start = tf.where(start, tf.constant(0.0, log_p.dtype), _LOG_ZERO)
    came, arrived, _ = scan(
        lambda logs: log_arriving(logs, can_skip), emit, start, emission
    )
    arrived = tf.reduce_logsumexp(tf.where(stop, arrived, _LOG_ZERO), axis=1)
    there, back = apart(came)
    posterior = tf.nn.softmax(there + back + emission)
    likelihood = tf.split(arrived, 2)[0] + infeasible_penalty(possible)
    return result(-likelihood, posterior, labels, known, tf.exp(log_p), y_pred)


def scan(
    arriving: Callable[..., Tensor], emit: Tensor, start: Tensor, emission: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(what came to the states in each step, in the step after the last, its scale).

    The rows are there twice: from the start on, and from the end back, where the
    states are in reverse. So one scan goes through both.
    """
    emission = tf.concat([emission, tf.reverse(emission, [0, 2])], axis=1)
    time = tf.shape(emission)[0]
    history = tf.TensorArray(start.dtype, size=time, element_shape=start.shape)

    def body(t, state, scale, history):
        came = arriving(state)
        state, grown = emit(came, tf.gather(emission, t))
        return t + 1, state, scale + grown, history.write(t, came)

    _, state, scale, history = tf.while_loop(
        lambda t, *_: t < time,
        body,
        (0, start, tf.zeros_like(start[:, 0]), history),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None, None]),
            tf.TensorShape([None]),
            tf.TensorShape(None),
        ),
        maximum_iterations=time,
    )
    return history.stack(), arriving(state), scale


def apart(came: Tensor) -> tuple[Tensor, Tensor]:
    """The two ways of a scan, by time and state from the start on."""
    there, back = tf.split(came, 2, axis=1)
    return there, tf.reverse(back, [0, 2])


def both_ways(weights: Tensor, by: int) -> Tensor:
    """Weights of moves by `by` states onto a state; on the way back, out of it."""
    return tf.concat([weights, shift(tf.reverse(weights, [1]), by)], axis=0)


def both_ends(states: Tensor, last: Tensor, possible: Tensor) -> list[Any]:
    """Where the scans are before the first step, and where after the last one."""
    at = tf.range(tf.shape(states)[1])
    first = tf.equal(at, 0) & (last >= 0)
    # A path may stop in each state if all blanks can follow.
    stop = tf.equal(at % 2, 0) & (at <= last)
    stop = tf.where(possible, tf.equal(at, last), stop)
    return [
        tf.concat([a, tf.reverse(b, [1])], axis=0)
        for a, b in ((first, stop), (stop, first))
    ]


def up_to(last: Tensor, states: Tensor) -> Tensor:
    return tf.range(tf.shape(states)[1]) <= last


def path_reweighting(
    p: Tensor, states: Tensor, last: Tensor, possible: Tensor
) -> tuple[Tensor, Tensor]:
    """What moving on to a state is multiplied by, and the log of that for whole paths.

    All paths that count pass the same states, by moves or skips, and pay the same. So
    they keep their proportions, but others lose their advantage over them: those that
    move too fast or too slowly, and those that stay on a blank where labels are rare.
    """
    time = tf.cast(tf.shape(p)[1], p.dtype)
    speed = tf.cast(last, p.dtype) / time
    odds = tf.clip_by_value(speed / (2.0 - speed), 2.0**-10, 2.0**10)
    often = tf.reduce_mean(p, axis=1)
    ratio = tf.gather(often, states, axis=1, batch_dims=1) / often[:, :1]
    reweight = odds / tf.clip_by_value(ratio, 2.0**-100, 2.0**100)
    paid = (tf.range(tf.shape(states)[1]) > 0) & up_to(last, states) & possible
    reweight = tf.where(paid, reweight, 1.0)
    return reweight, tf.reduce_sum(tf.math.log(reweight), axis=1)


def result(
    values: Tensor,
    posterior: Tensor,
    labels: Tensor,
    known: Tensor,
    p: Tensor,
    y_pred: Tensor,
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient: p minus the share of the paths in a class."""
    classes = tf.shape(p)[2]
    blank = tf.transpose(tf.reduce_sum(posterior[:, :, ::2], axis=2))[:, :, tf.newaxis]
    label_share = tf.transpose(posterior[:, :, 1::2], [1, 0, 2])
    share = tf.matmul(label_share, tf.one_hot(labels, classes, dtype=p.dtype))
    share += tf.pad(blank, [[0, 0], [0, 0], [0, classes - 1]])
    grad = tf.where(known[:, tf.newaxis, tf.newaxis], p - share, 0.0)
    values = tf.where(known, values, tf.constant(float("nan"), values.dtype))
    return tf.cast(values, y_pred.dtype), tf.cast(grad, y_pred.dtype)


@compat.register
class CTC(Loss):
    function = ctc
    #: Not the loss as a whole becomes a kernel, but the scan inside.
    fusible = False
