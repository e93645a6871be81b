"""Checks of the gradient, of the dtype, and of the ends of the domain."""

import numpy as np
import tensorflow as tf

from keras_losses_ref.conformance.checks import domains
from keras_losses_ref.conformance.checks.check import (
    CheckFailed,
    CheckSkipped,
    check,
    describe,
    expect_close,
    number,
)
from keras_losses_ref.conformance.checks.construction import identity_layer
from keras_losses_ref.conformance.checks.loss_under_test import (
    host_loss,
    keras,
    tensors,
    to_numpy,
)


@check(
    "error",
    "Stay in TensorFlow ops from y_pred to the result: no .numpy(), no np.*, no cast "
    "to integers, no tf.argmax.",
)
def gradient_exists(subject):
    """The loss has a gradient in y_pred."""
    _, gradient = subject.gradient(*subject.sample)
    if gradient is None:
        raise CheckFailed("the gradient in y_pred is None: the model would not train")


def _gradient(subject, y_true, y_pred, **how):
    values, gradient = subject.gradient(y_true, y_pred, **how)
    if gradient is None:
        raise CheckSkipped("there is no gradient; see `gradient_exists`")
    return values, gradient


@check(
    "error",
    "Remove tf.round, comparisons, tf.stop_gradient and clips from the path of y_pred, "
    "or take logits.",
)
def gradient_is_not_zero(subject):
    """The gradient is not zero for all ordinary samples."""
    _, gradient = _gradient(subject, *subject.sample)
    if not np.any(gradient):
        raise CheckFailed(
            f"the gradient of all {len(gradient)} ordinary samples is 0 everywhere"
        )


@check("error", "Look for a 0 * inf: put tf.where around the input, not the result.")
def gradient_is_finite(subject):
    """The gradient at ordinary samples is finite."""
    _, gradient = _gradient(subject, *subject.sample)
    if not np.isfinite(gradient).all():
        at = list(map(int, np.argwhere(~np.isfinite(gradient))[0]))
        raise CheckFailed(f"the gradient is {gradient[tuple(at)]} at {at}")


#: Step, bound on the error, and the size of a bend, for central differences.
DIFFERENCES = {"float64": (1e-6, 1e-5, 1e-4), "float32": (1e-2, 3e-2, 0.1)}


@check(
    "error",
    "Check tf.custom_gradient, tf.stop_gradient and the sign. A gradient that differs "
    "on purpose belongs into expected_failures.",
)
def gradient_matches_differences(subject):
    """The gradient is the slope of the loss, by differences in float64.

    At a kink, where the slopes to the left and to the right differ, anything between
    the two is right.
    """
    dtype = "float64" if _float64(subject) is None else "float32"
    step, allowed, bend = DIFFERENCES[dtype]
    y_true, y_pred = subject.more(n=4, seed=2)
    _, gradient = _gradient(subject, y_true, y_pred, dtype=dtype)
    true, pred = tensors(y_true, y_pred, dtype)
    pred = pred.numpy()
    loss = subject.variant(reduction="sum", dtype=dtype)

    def total(y_pred):
        return float(tf.reduce_sum(loss(true, tf.constant(y_pred, dtype))))

    here = total(pred)
    chosen = np.random.default_rng(0).permutation(pred.size)[:20]
    for flat in chosen:
        at = np.unravel_index(flat, pred.shape)
        moved = pred.copy()
        moved[at] = pred[at] + step
        up = total(moved)
        moved[at] = pred[at] - step
        down = total(moved)
        left, right = (here - down) / step, (up - here) / step
        slope, found = 0.5 * (left + right), float(gradient[at])
        noise = 10 * np.finfo(dtype).eps * abs(here) / step
        bound = allowed * (1.0 + abs(slope)) + noise
        low, high = min(left, right) - bound, max(left, right) + bound
        kink = high - low > 2 * bound + bend * (1.0 + abs(slope))
        if abs(found - slope) <= bound or (kink and low <= found <= high):
            continue
        raise CheckFailed(
            f"the gradient is {number(found)}, the slope by differences is "
            f"{number(slope)} at {list(map(int, at))}, in {dtype}"
        )
    return f"{len(chosen)} directions in {dtype}"


def _float64(subject):
    """What is wrong with the loss in float64, or None."""
    if "float64_problem" not in vars(subject):
        problem = None
        try:
            result = subject.call(*subject.sample, dtype="float64")
            if result.dtype != tf.float64:
                problem = f"the result is {result.dtype.name}"
            elif not _is_double(subject):
                problem = "the result has the precision of float32"
        except Exception as error:
            problem = describe(error)
        subject.float64_problem = problem
    return subject.float64_problem


def _is_double(subject):
    wide = subject.values(*subject.sample, dtype="float64")
    return not np.array_equal(wide, wide.astype("float32").astype("float64"))


@check(
    "warning",
    "Do not name a float type in call: cast to y_pred.dtype, and write constants as "
    "Python numbers.",
)
def float64_is_computed_in_float64(subject):
    """float64 inputs are neither refused nor computed in float32."""
    problem = _float64(subject)
    if problem and subject.domain.name == "sequence" and _float64(host_loss("CTC")):
        raise CheckFailed(
            f"with dtype float64 {problem}; so it is for the host's CTC",
            severity="advice",
        )
    if problem:
        raise CheckFailed(f"with dtype float64 {problem}")


@check(
    "warning",
    "Do not name a float type in call: cast to y_pred.dtype, and write constants as "
    "Python numbers.",
)
def dtype_is_honoured(subject):
    """The result has the dtype asked for, and ordinary samples are finite in it."""
    for dtype in ("float16", "bfloat16", "float32"):
        try:
            result = subject.call(*subject.sample, dtype=dtype)
        except Exception as error:
            raise CheckFailed(f"with dtype {dtype} it {describe(error)}") from None
        if result.dtype.name != dtype:
            raise CheckFailed(f"asked for {dtype}, the result is {result.dtype.name}")
        if not np.isfinite(to_numpy(result)).all():
            raise CheckFailed(f"with dtype {dtype} the loss is not finite")


@check(
    "warning",
    "Compute in float32: y_pred = tf.cast(y_pred, 'float32'), and cast the result "
    "back.",
)
def half_precision_is_close(subject):
    """float16 and bfloat16 give what float32 gives, to their precision."""
    want = subject.values(*subject.sample)
    scale = max(1.0, float(np.abs(want).max()))
    for dtype, rtol in (("float16", 0.02), ("bfloat16", 0.1)):
        try:
            got = subject.values(*subject.sample, dtype=dtype)
        except Exception as error:
            raise CheckSkipped(
                f"{dtype} {describe(error)}; see `dtype_is_honoured`"
            ) from None
        expect_close(
            got, want, f"the loss in {dtype}", "in float32", rtol, rtol * scale
        )


def _edges(subject):
    if subject.domain.edges is None:
        raise CheckSkipped(f"the domain {subject.domain.name!r} has no named ends")
    return subject.domain.edges(np.random.default_rng(0), domains.SAMPLES)


@check(
    "error",
    "Clip before log, division and sqrt: tf.clip_by_value(p, 1e-7, 1 - 1e-7); take "
    "log-softmax of logits instead of log(softmax).",
)
def value_finite_at_the_ends(subject):
    """The loss is finite at the ends of its domain."""
    for what, y_true, y_pred in _edges(subject):
        values = subject.values(y_true, y_pred)
        if not np.isfinite(values).all():
            worst = values[~np.isfinite(values)].flat[0]
            raise CheckFailed(f"the loss is {worst} for {what}")


@check(
    "error",
    "A sqrt or norm at 0, or a tf.where around the result instead of the input: "
    "tf.sqrt(x + 1e-12), tf.where(ok, x, 1.0) before the division.",
)
def gradient_finite_at_the_ends(subject):
    """The gradient is finite at the ends of the domain."""
    for what, y_true, y_pred in _edges(subject):
        values, gradient = _gradient(subject, y_true, y_pred)
        if np.isfinite(values).all() and not np.isfinite(gradient).all():
            at = list(map(int, np.argwhere(~np.isfinite(gradient))[0]))
            raise CheckFailed(
                f"the gradient is {gradient[tuple(at)]} at {at} for {what}"
            )


@check(
    "advice",
    "Compute in float32 (1e-7 is no float16, 1 - 1e-7 is 1 in it), and cast the result "
    "back.",
)
def half_precision_finite_at_the_ends(subject):
    """The loss is finite in float16 at the ends of its domain."""
    for what, y_true, y_pred in _edges(subject):
        if np.abs(y_pred).max() > 200:
            continue  # the square of 1e4 is no float16, however it is computed
        try:
            values = subject.values(y_true, y_pred, dtype="float16")
        except Exception as error:
            raise CheckSkipped(f"float16 {describe(error)}") from None
        if not np.isfinite(values).all():
            worst = values[~np.isfinite(values)].flat[0]
            raise CheckFailed(f"in float16 the loss is {worst} for {what}")


@check(
    "error",
    "The loss treats its input as probabilities. Pass from_logits=True, or put a "
    "softmax or sigmoid on the last layer and check with that domain.",
)
def logits_are_taken_as_logits(subject):
    """A loss of logits has values and gradients for logits outside [0, 1]."""
    if subject.domain.predicts != "logits":
        raise CheckSkipped(f"the domain {subject.domain.name!r} has no logits")
    values, gradient = _gradient(subject, *subject.sample)
    y_pred = subject.sample[1]
    outside = (y_pred < 0) | (y_pred > 1)
    dead = ~(np.abs(np.nan_to_num(gradient)) > 0)
    if not np.isfinite(values).all():
        raise CheckFailed(
            "logits give a loss that is not finite: it looks like a log of "
            "probabilities"
        )
    if dead[outside].mean() > 0.9 and not dead[~outside].all():
        raise CheckFailed(
            f"{int(dead[outside].sum())} of {int(outside.sum())} logits outside [0, 1] "
            f"have a gradient of 0, {int(dead[~outside].sum())} of "
            f"{int((~outside).sum())} inside: they are clipped like probabilities"
        )


@check(
    "advice",
    "Assert it while debugging, tf.debugging.assert_less_equal(y_pred, 1.0), or offer "
    "from_logits.",
)
def probabilities_refuse_logits(subject):
    """A loss of probabilities says so when it is given logits."""
    if subject.domain.predicts != "probabilities":
        raise CheckSkipped(f"the domain {subject.domain.name!r} has no probabilities")
    y_true, y_pred = subject.sample
    logits = np.random.default_rng(5).normal(size=y_pred.shape) * 2.0
    try:
        values, gradient = subject.gradient(y_true, logits)
    except Exception:
        return "it raises"
    if not np.isfinite(values).all():
        return "it is not finite"
    outside = (logits < 0) | (logits > 1)
    dead = 0 if gradient is None else int((gradient[outside] == 0).sum())
    raise CheckFailed(
        f"logits give a loss of {number(values.mean())} without a word, and a "
        f"gradient of 0 for {dead} of the {int(outside.sum())} outside [0, 1]: a "
        "model without its softmax or sigmoid does not train, and nobody says why"
    )


@check(
    "error",
    "Compute the loss in float32: log, exp and sums of many terms overflow in float16.",
)
def mixed_precision_trains(subject):
    """With float16 outputs and loss scaling a step changes the weights, finitely."""
    y_true, y_pred = tensors(*subject.sample)
    scaled = getattr(keras.mixed_precision, "LossScaleOptimizer", None)
    scaled = scaled or keras.optimizers.LossScaleOptimizer
    dense = identity_layer(y_pred.shape[-1], dtype="mixed_float16")
    model = keras.Sequential([keras.layers.Input(y_pred.shape[1:]), dense])
    model.set_weights([np.eye(y_pred.shape[-1])])
    model.compile(
        optimizer=scaled(keras.optimizers.SGD(0.01)),
        loss=subject.given if subject.kind == "function" else subject.loss,
        jit_compile=False,
    )
    steps = 12  # each step that overflows halves the scale
    before = dense.get_weights()[0]
    history = model.fit(
        y_pred, y_true, batch_size=len(y_true), epochs=steps, shuffle=False, verbose=0
    ).history["loss"]
    after = dense.get_weights()[0]
    if not np.isfinite(after).all() or not np.isfinite(history[0]):
        raise CheckFailed(
            f"after {steps} steps the loss was {history[:3]}, the weights are "
            f"{'finite' if np.isfinite(after).all() else 'not finite'}"
        )
    if np.array_equal(before, after) and np.any(_gradient(subject, y_true, y_pred)[1]):
        raise CheckFailed(
            f"no step of {steps} changed the weights: every scaled gradient "
            "overflowed and was dropped"
        )
    rounded = y_pred.numpy().astype("float16").astype("float32")
    want = subject.values(y_true, rounded, reduction=...)
    expect_close(
        history[0], want.mean(), "the loss of a float16 model", "of the same "
        "predictions in float32", rtol=0.02, atol=0.02,
    )  # fmt: skip
