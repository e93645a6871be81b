"""Losses for sequences whose alignment with the input is unknown."""

import math

import tensorflow as tf

from keras_losses_ref.losses import host
from keras_losses_ref.losses.base import Loss, loss_function

#: log 0 for sums of logarithms: -inf would turn their gradients into NaN.
_LOG_ZERO = -1e30
#: The price of stopping short, where no path can spell the labels; TensorFlow's log 0.
_LOG_ALMOST_ZERO = math.log(1e-307)


@loss_function(labels="indices")
def ctc(y_true, y_pred):
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
    Deviates:  ctc-counts-padding, ctc-labels-unchecked, ctc-labels-rounded,
               ctc-impossible-gradient, ctc-float64-in-float32, config-forgets-dtype,
               ctc-unloadable, ctc-second-derivative-nan
    Source:    Keras 3 `keras.losses.ctc`; Graves et al. (2006)
    Example:   >>> ctc([[1]], [[[0., 0.], [0., 0.]]])  # [0.28768]
    """
    if y_true.shape.rank not in (None, 2) or y_pred.shape.rank not in (None, 3):
        raise ValueError(
            "ctc: y_true must hold one row of labels per sample. Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}. "
            "Expected y_true.shape=(n, labels) and y_pred.shape=(n, time, classes)."
        )
    labels = tf.cast(y_true, tf.int32)
    length = tf.math.count_nonzero(labels, axis=1, dtype=tf.int32)
    usable = usable_labels(labels, length, tf.shape(y_pred)[2])
    known = tf.reduce_all(usable, axis=1)
    labels = tf.where(usable, labels, tf.zeros_like(labels))
    # In float64 throughout: thousands of steps add up.
    log_p = tf.nn.log_softmax(tf.cast(y_pred, tf.float64))
    values = -log_likelihood(labels, length, tf.maximum(log_p, _LOG_ZERO))
    values = tf.where(known, values, tf.constant(float("nan"), values.dtype))
    return tf.cast(values, y_pred.dtype)


def usable_labels(labels, length, classes):
    """Which labels are classes, in front of the padding; eagerly, all of them."""
    inside = tf.sequence_mask(length, tf.shape(labels)[1])
    usable = tf.equal(labels != 0, inside) & (labels >= 0) & (labels < classes)
    if tf.executing_eagerly() and not tf.reduce_all(usable):
        row = labels[int(tf.argmin(tf.reduce_all(usable, axis=1)))].numpy().tolist()
        raise ValueError(
            f"ctc: labels must be classes of y_pred, with 0 only as padding at the end "
            f"of a row. Received: a row of y_true with {row}. Expected integers in "
            f"[1, {int(classes)}), then zeros: class 0 is the blank, which stands for "
            "no label. Give the classes numbers from 1 on."
        )
    return usable


def log_likelihood(labels, length, log_p):
    """log of the summed probability of the paths, by Graves's forward recursion.

    The states of a path are blank, label 1, blank, label 2, ..., blank. In a step it
    stays, moves on by one, or by two to a label that differs from the one before.
    """
    rows, columns = tf.unstack(tf.shape(labels))
    states = tf.stack([tf.zeros_like(labels), labels], axis=2)
    states = tf.reshape(states, [rows, 2 * columns])
    states = tf.pad(states, [[0, 0], [0, 1]])
    leap = (states != 0) & (states != shift(states, 2, 0))
    emission = tf.gather(log_p, states, axis=2, batch_dims=1)
    emission = tf.transpose(emission, [1, 0, 2])
    at = tf.range(tf.shape(states)[1])
    start = tf.where(at == 0, tf.constant(0.0, log_p.dtype), _LOG_ZERO)

    def step(reached, emission):
        leapt = tf.where(leap, shift(reached, 2, _LOG_ZERO), _LOG_ZERO)
        ways = tf.stack([reached, shift(reached, 1, _LOG_ZERO), leapt])
        return emission + tf.reduce_logsumexp(ways, axis=0)

    # No tf.foldl: inside vectorized_map the gradient of its TensorArray fails.
    time = tf.shape(emission)[0]
    _, reached = tf.while_loop(
        lambda t, reached: t < time,
        lambda t, reached: (t + 1, step(reached, emission[t])),
        (0, tf.broadcast_to(start, tf.shape(states))),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
        maximum_iterations=time,
    )

    repeats = tf.equal(labels[:, 1:], labels[:, :-1]) & (labels[:, 1:] != 0)
    needed = length + tf.math.count_nonzero(repeats, axis=1, dtype=tf.int32)
    possible = needed <= tf.shape(log_p)[1]
    last = 2 * length[:, tf.newaxis]
    final = (at == last) | (at == last - 1) | ~possible[:, tf.newaxis]
    price = tf.where(possible, tf.constant(0.0, log_p.dtype), _LOG_ALMOST_ZERO)
    return price + tf.reduce_logsumexp(tf.where(final, reached, _LOG_ZERO), axis=1)


def shift(states, by, fill):
    """Rows moved to the right by `by`, with `fill` on the left."""
    shifted = tf.pad(states, [[0, 0], [by, 0]])[:, :-by]
    # Inside vectorized_map tf.pad fills with 0, whatever it is told.
    new = tf.range(tf.shape(states)[1]) < by
    return tf.where(new, tf.cast(fill, states.dtype), shifted)


@host.register
class CTC(Loss):
    __doc__ = ctc.__doc__

    function = ctc

    def __init__(self, reduction=host.DEFAULT_REDUCTION, name="ctc", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
