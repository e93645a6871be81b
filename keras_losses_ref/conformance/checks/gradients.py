"""Checks of the gradient, of the dtype, and of the ends of the domain."""

import contextlib
from typing import Optional

import numpy as np

from keras_losses_ref import host
from keras_losses_ref.conformance import arrays
from keras_losses_ref.conformance.checks import domains, structures
from keras_losses_ref.conformance.checks.check import (
    CheckFailed,
    CheckSkipped,
    check,
    describe,
    expect_close,
    number,
)
from keras_losses_ref.conformance.checks.construction import (
    UNCOMPILED,
    identity_layer,
)
from keras_losses_ref.conformance.checks.loss_under_test import (
    LossUnderTest,
    gradient_to_numpy,
    host_loss,
    keras,
    tensors,
    values_and_gradient,
)

KERAS_3 = host.GENERATION == 3


@check(
    "error",
    "Stay in TensorFlow ops from y_pred to the result: no .numpy(), no np.*, no cast "
    "to integers, no tf.argmax.",
)
def gradient_exists(subject: LossUnderTest) -> None:
    """The loss has a gradient in y_pred."""
    _, gradient = subject.gradient(*subject.sample)
    if gradient is None:
        raise CheckFailed("the gradient in y_pred is None: the model would not train")


@check(
    "error",
    "Let both embeddings reach the result; tf.stop_gradient on one of them is for "
    "losses that declare it, in expected_failures.",
    rests_on=("gradient_exists",),
)
def gradient_reaches_both(subject: LossUnderTest) -> None:
    """Where y_true is a second prediction, the loss has a gradient in it too."""
    if not subject.domain.pairs:
        raise CheckSkipped(
            f"in the domain {subject.domain.name!r} y_true is no prediction"
        )
    swapped = subject.variant()
    y_true, y_pred = tensors(*subject.sample)
    with subject.seeded():
        _, gradient = values_and_gradient(
            lambda first, second: swapped(second, first), y_pred, y_true
        )
    gradient = gradient_to_numpy(gradient)
    if gradient is None or not np.any(gradient):
        word = "None" if gradient is None else "0 everywhere"
        raise CheckFailed(
            f"the gradient in y_true is {word}: one branch does not learn"
        )
    if not np.isfinite(gradient).all():
        raise CheckFailed("the gradient in y_true is not finite")


def _gradient(subject, y_true, y_pred, **how):
    values, gradient = subject.gradient(y_true, y_pred, **how)
    if gradient is None:
        raise CheckSkipped("there is no gradient", root="gradient_exists")
    return values, gradient


@check(
    "error",
    "Remove tf.round, comparisons, tf.stop_gradient and clips from the path of y_pred, "
    "or take logits.",
    rests_on=("values_are_finite",),
)
def gradient_is_not_zero(subject: LossUnderTest) -> None:
    """The gradient is not zero for all ordinary samples."""
    _, gradient = _gradient(subject, *subject.sample)
    if not np.any(gradient):
        raise CheckFailed(
            f"the gradient of all {len(gradient)} ordinary samples is 0 everywhere"
        )


@check(
    "error",
    "Look for a 0 * inf: put tf.where around the input, not the result.",
    rests_on=("values_are_finite",),
)
def gradient_is_finite(subject: LossUnderTest) -> None:
    """The gradient at ordinary samples is finite."""
    _, gradient = _gradient(subject, *subject.sample)
    if not np.isfinite(gradient).all():
        at = list(map(int, np.argwhere(~np.isfinite(gradient))[0]))
        raise CheckFailed(f"the gradient is {gradient[tuple(at)]} at {at}")


#: Bound on the error of a derivative by differences, relative to its size.
DIFFERENCES = {"float64": 1e-5, "float32": 2e-2}


@check(
    "error",
    "Check tf.custom_gradient, tf.stop_gradient and the sign. A gradient that differs "
    "on purpose belongs into expected_failures.",
    rests_on=("gradient_is_finite",),
)
def gradient_matches_differences(subject: LossUnderTest) -> Optional[str]:
    """The gradient is the derivative of the loss, by differences in float64.

    Differences stay inside the domain, and their step is that of the dtype. If the
    derivatives to the left and to the right differ, at a kink, every value between the
    two is right.
    """
    dtype = _widest(subject)
    allowed = DIFFERENCES[dtype]
    y_true, y_pred = subject.more(n=4, seed=2)
    _, gradient = _gradient(subject, y_true, y_pred, dtype=dtype)
    rows = structures.rows(y_pred).astype(dtype)
    gradient = gradient.reshape(rows.shape)
    size = float(np.abs(gradient).max())
    steps = _steps(rows.astype("float64"), domains.bounds(subject.domain), dtype)
    total = _total(subject, y_true, y_pred, dtype)
    here = total(rows)
    chosen = np.random.default_rng(0).permutation(rows.size)[:20]
    for flat in chosen:
        at = np.unravel_index(flat, rows.shape)

        def along(step, at=at):
            """The derivatives to the left and to the right."""
            low, high = rows.copy(), rows.copy()
            low[at] = rows[at] - step
            high[at] = rows[at] + step
            down, up = total(low), total(high)
            made = float(rows[at]) - float(low[at]), float(high[at]) - float(rows[at])
            return (here - down) / made[0], (up - here) / made[1]

        step = steps[at]
        left, right = along(step)
        near_left, near_right = along(0.5 * step)
        wide, near = 0.5 * (left + right), 0.5 * (near_left + near_right)
        # Half the step has a quarter of the error of a smooth loss: take it off.
        slope, found = (4 * near - wide) / 3, float(gradient[at])
        noise = 20 * np.finfo(dtype).eps * abs(here) / step
        bound = allowed * (size + abs(slope)) + noise
        low, high = (
            min(left, right, near_left, near_right, slope),
            max(left, right, near_left, near_right, slope),
        )
        if low - bound <= found <= high + bound:
            continue
        place = list(map(int, at))
        if not structures.is_structure(y_pred):
            place = list(map(int, np.unravel_index(flat, y_pred.shape)))
        raise CheckFailed(
            f"the gradient is {number(found)}, by differences it is "
            f"{number(slope)} at {place}, in {dtype}"
        )
    return f"{len(chosen)} directions in {dtype}"


def _steps(rows, bounds, dtype):
    """A step for each element: of the dtype, and well inside the domain."""
    step = np.finfo(dtype).eps ** (1 / 3) * np.maximum(1.0, np.abs(rows))
    room = np.minimum(rows - bounds[0], bounds[1] - rows)
    # A step that the dtype cannot make is none.
    least = 8 * np.finfo(dtype).eps * np.maximum(1e-3, np.abs(rows))
    return np.maximum(np.minimum(step, 0.1 * np.maximum(room, 0.0)), least)


def _total(subject, y_true, y_pred, dtype):
    """The sum of the loss, as a function of one row of predictions per sample."""
    loss = subject.variant(reduction="sum", dtype=dtype)
    parts = structures.leaves(y_pred)
    widths = np.cumsum([int(np.prod(part.shape[1:])) for part in parts])[:-1]

    def total(rows):
        split = np.split(rows, widths, axis=1)
        moved = [x.reshape(part.shape) for x, part in zip(split, parts)]
        with arrays.precision(dtype), subject.seeded():
            inputs = tensors(y_true, structures.unflatten(y_pred, moved), dtype)
            values = arrays.to_numpy(loss(*inputs))
        return float(np.sum(values, dtype="float64"))

    return total


def _float64(subject):
    """What is wrong with the loss in float64, or None."""
    if "float64_problem" not in vars(subject):
        problem = None
        try:
            result = _call_in(subject, "float64")
            if arrays.dtype_of(result) != "float64":
                problem = f"the result is {arrays.dtype_of(result)}"
            elif not _is_double(result):
                problem = "the result has the precision of float32"
        except Exception as error:
            problem = describe(error)
        subject.float64_problem = problem
    return subject.float64_problem


def _widest(subject):
    """The widest dtype in which the loss as it is computes."""
    if "widest" not in vars(subject):
        subject.widest = "float32"
        with contextlib.suppress(Exception):
            result = subject.call(*subject.sample, dtype="float64")
            wide = arrays.dtype_of(result) == "float64" and _is_double(result)
            if wide and (host.BACKEND == "tensorflow" or _hears_doubles(subject)):
                subject.widest = "float64"
    return subject.widest


def _hears_doubles(subject):
    """Whether what float32 cannot tell apart makes a difference to the loss.

    Keras takes means in float32 on JAX: a factor behind one makes a result of doubles.
    """
    y_true, y_pred = subject.sample
    less = structures.tree_map(
        lambda x: np.asarray(x, "float64") * (1 - 2.0**-40), y_pred
    )
    here, there = (
        arrays.to_numpy(subject.call(y_true, x, dtype="float64"))
        for x in (y_pred, less)
    )
    return not np.array_equal(here, there)


def _call_in(subject, dtype):
    """The loss in a dtype; built with it where it does not heed the attribute."""
    result = subject.call(*subject.sample, dtype=dtype)
    heeded = arrays.dtype_of(result) == dtype
    if dtype == "float64":
        heeded = heeded and _is_double(result)
    if not heeded and "dtype" in subject.parameters:
        with contextlib.suppress(Exception):
            built = subject.cls(**subject.arguments(), dtype=dtype)
            return subject.call(*subject.sample, loss=built, dtype=dtype)
    return result


def _is_double(result):
    wide = arrays.to_numpy(result)
    return not np.array_equal(wide, wide.astype("float32").astype("float64"))


@check(
    "warning",
    "Do not name a float type in call: cast to y_pred.dtype, and write constants as "
    "Python numbers.",
)
def float64_is_computed_in_float64(subject: LossUnderTest) -> None:
    """float64 inputs are neither refused nor computed in float32."""
    problem = _float64(subject)
    if problem and subject.is_function:
        raise CheckFailed(
            f"in float64 {problem}. A function has no dtype argument: Keras gives it "
            f"{_dtype_of_functions()}",
            severity="advice",
        )
    if problem and subject.domain.name == "sequence" and _float64(host_loss("CTC")):
        raise CheckFailed(
            f"with dtype float64 {problem}; so it is for the host's CTC",
            severity="advice",
        )
    if problem:
        raise CheckFailed(f"with dtype float64 {problem}")


def _dtype_of_functions():
    return "floatx, float32 unless set" if KERAS_3 else "that of y_pred"


def _takes_dtype(subject):
    """Whether a user can choose the dtype of the loss: of any class in Keras 3."""
    return not subject.is_function and (KERAS_3 or "dtype" in subject.parameters)


def _no_half(subject):
    """Skip where no user can get half precision into the loss."""
    if subject.is_function and KERAS_3:
        raise CheckSkipped(
            f"a function has no dtype argument: Keras gives it {_dtype_of_functions()}"
        )


@check(
    "warning",
    "Do not name a float type in call: cast to y_pred.dtype, and write constants as "
    "Python numbers.",
)
def dtype_is_honoured(subject: LossUnderTest) -> None:
    """The result has the dtype asked for, and ordinary samples are finite in it."""
    _no_half(subject)
    for dtype in ("float16", "bfloat16", "float32"):
        try:
            result = _call_in(subject, dtype)
        except Exception as error:
            raise CheckFailed(f"with dtype {dtype} it {describe(error)}") from None
        if result.dtype.name != dtype:
            raise CheckFailed(
                f"asked for {dtype}, the result is {result.dtype.name}",
                # Without a dtype argument no dtype was requested.
                severity=None if _takes_dtype(subject) else "advice",
            )
        if not np.isfinite(arrays.to_numpy(result)).all():
            raise CheckFailed(f"with dtype {dtype} the loss is not finite")


@check(
    "warning",
    "Compute in float32: y_pred = tf.cast(y_pred, 'float32'), and cast the result "
    "back.",
    rests_on=("values_are_finite", "dtype_is_honoured"),
    needs=("runs", "repeatable"),
)
def half_precision_is_close(subject: LossUnderTest) -> None:
    """float16 and bfloat16 give what float32 gives, to their precision."""
    _no_half(subject)
    want = subject.values(*subject.sample)
    scale = max(1.0, float(np.abs(want).max()))
    for dtype, rtol in (("float16", 0.02), ("bfloat16", 0.1)):
        try:
            got = subject.values(*subject.sample, dtype=dtype)
        except Exception as error:
            raise CheckSkipped(
                f"{dtype} {describe(error)}", root="dtype_is_honoured"
            ) from None
        expect_close(
            got, want, f"the loss in {dtype}", "in float32", rtol, rtol * scale
        )


@check(
    "warning",
    "Compute sums in float32: y_pred = tf.cast(y_pred, 'float32'), and cast the result "
    "back. A float16 ends at 65504, and counts no further than 2048.",
    rests_on=("values_are_finite", "half_precision_is_close"),
    needs=("runs", "repeatable"),
)
def half_precision_at_training_size(subject: LossUnderTest) -> Optional[str]:
    """float16 gives what float32 gives for as many elements as people train on."""
    _no_half(subject)
    y_true, y_pred = subject.training_size()
    try:
        want = subject.values(y_true, y_pred)
    except Exception as error:  # out of memory, say
        raise CheckSkipped(f"for as many elements it {describe(error)}") from None
    if not np.isfinite(want).all() or np.abs(want).max() > 3e4:
        raise CheckSkipped("no float16 can hold the loss of as many elements")
    shape = tuple(structures.leaves(y_pred)[0].shape)
    try:
        got, gradient = subject.gradient(y_true, y_pred, dtype="float16")
    except Exception as error:
        raise CheckSkipped(f"float16 {describe(error)}") from None
    bound = 0.05 * max(1.0, float(np.abs(want).max()))
    where = f"y_pred of shape {shape}"
    expect_close(
        got, want, f"the loss in float16 for {where}", "in float32", 0.05, bound
    )
    if gradient is not None and not np.isfinite(gradient).all():
        _, in_float32 = subject.gradient(y_true, y_pred)
        if np.isfinite(in_float32).all():
            raise CheckFailed(f"the gradient in float16 is not finite for {where}")
    return where


@check(
    "error",
    "Clip before log, division and sqrt: tf.clip_by_value(p, 1e-7, 1 - 1e-7); take "
    "log-softmax of logits instead of log(softmax).",
    rests_on=("values_are_finite",),
)
def value_finite_at_the_ends(subject: LossUnderTest) -> None:
    """The loss is finite at the ends of its domain."""
    for what, y_true, y_pred in subject.edges:
        values = subject.values(y_true, y_pred)
        if not np.isfinite(values).all():
            worst = values[~np.isfinite(values)].flat[0]
            raise CheckFailed(f"the loss is {worst} for {what}")


@check(
    "error",
    "A sqrt or norm at 0, or a tf.where around the result instead of the input: "
    "tf.sqrt(x + 1e-12), tf.where(ok, x, 1.0) before the division.",
    rests_on=("gradient_is_finite",),
)
def gradient_finite_at_the_ends(subject: LossUnderTest) -> None:
    """The gradient is finite at the ends of the domain."""
    for what, y_true, y_pred in subject.edges:
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
    rests_on=("dtype_is_honoured", "value_finite_at_the_ends"),
)
def half_precision_finite_at_the_ends(subject: LossUnderTest) -> None:
    """The loss is finite in float16 at the ends of its domain."""
    _no_half(subject)
    for what, y_true, y_pred in subject.edges:
        if np.abs(structures.rows(y_pred)).max() > 200:
            continue  # the square of 1e4 is no float16, however it is computed
        try:
            values = subject.values(y_true, y_pred, dtype="float16")
        except Exception as error:
            raise CheckSkipped(f"float16 {describe(error)}") from None
        if not np.isfinite(values).all():
            worst = values[~np.isfinite(values)].flat[0]
            raise CheckFailed(f"in float16 the loss is {worst} for {what}")


def _stays_finite(subject, y_true, y_pred, weight=None, mask=None):
    """(value, gradient) of the sum, where labels, weights or a mask hide something."""
    y_true, y_pred = tensors(y_true, y_pred)
    none = subject.values(*subject.sample)
    loss = subject.variant(reduction="sum")
    how = {}
    if weight is not None:
        how["sample_weight"] = arrays.tensor(
            subject.sample_weight(weight, none), "float32"
        )
    if mask is not None:
        mask = arrays.tensor(subject.weights(mask, none).astype(bool))

    def total_of(watched):
        (seen,) = watched
        if mask is not None:
            seen = arrays.identity(seen)
            host.set_mask(seen, mask)
        return loss(y_true, seen, **how)

    with subject.seeded():
        total, (gradient,) = arrays.value_and_gradients(total_of, [y_pred])
    return arrays.to_numpy(total), gradient_to_numpy(gradient)


def _hidden(subject):
    """(what, how) for each way in which a value may be finite and its gradient not."""
    y_true, y_pred = subject.sample
    if subject.float_labels:
        element = (0,) * y_true.ndim
        for index, what in (
            (element, "a label of NaN"),
            (0, "a sample without labels"),
        ):
            spoilt = np.array(y_true)
            spoilt[index] = np.nan
            yield what, (spoilt, y_pred), {}
    if not subject.per_sample:
        return
    others = np.ones(subject.n, "float32")
    others[0] = 0.0
    spoilt = np.array(y_pred)
    spoilt[0] = np.nan
    yield "NaN in a sample of weight 0", (y_true, spoilt), {"weight": others}
    if subject.independent:
        yield "NaN in a masked sample", (y_true, spoilt), {"mask": others}
    weight = np.ones(subject.n, "float32")
    weight[0] = np.nan
    yield "a weight of NaN", (y_true, y_pred), {"weight": weight}


def _finite_gradient(subject):
    tried = 0
    for what, inputs, how in _hidden(subject):
        try:
            total, gradient = _stays_finite(subject, *inputs, **how)
        except Exception:  # refusing is as good
            continue
        if gradient is None or not np.isfinite(total):
            continue
        tried += 1
        bad = ~np.isfinite(gradient)
        if bad.any():
            at = list(map(int, np.argwhere(bad)[0]))
            raise CheckFailed(
                f"with {what} the loss is {number(total)} and its gradient is "
                f"{gradient[tuple(at)]} at {at}: one step of training spoils the "
                "weights"
            )
    return f"{tried} ways to hide a NaN"


@check(
    "error",
    "Replace what is not finite before the formula, not after it: ok = "
    "tf.math.is_finite(y_true); y_true = tf.where(ok, y_true, y_pred). tf.where around "
    "the result multiplies NaN by 0 in the gradient.",
    needs=("runs", "one_tensor"),
    rests_on=("gradient_is_finite",),
)
def finite_loss_has_finite_gradient(subject: LossUnderTest) -> Optional[str]:
    """A finite value has a finite gradient, where labels or weights are NaN too."""
    try:
        return _finite_gradient(subject)
    except CheckFailed as failure:
        try:
            _finite_gradient(host_loss("MeanSquaredError"))
        except CheckFailed as as_well:
            if (
                str(as_well).partition(" the loss")[0]
                == str(failure).partition(" the loss")[0]
            ):
                raise CheckFailed(
                    f"{failure}; so it is for the host's MeanSquaredError",
                    severity="advice",
                ) from None
        raise failure from None


@check(
    "error",
    "The loss treats its input as probabilities. Pass from_logits=True, or put a "
    "softmax or sigmoid on the last layer and check with that domain.",
)
def logits_are_taken_as_logits(subject: LossUnderTest) -> None:
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
    "error",
    "The loss treats its input as logits. Pass from_logits=False, or leave the softmax "
    "or sigmoid out of the last layer and check with a domain of logits.",
    rests_on=("values_are_finite",),
)
def probabilities_are_taken_as_probabilities(subject: LossUnderTest) -> Optional[str]:
    """A loss of probabilities is best at the labels, not at logits far beyond them."""
    if subject.domain.predicts != "probabilities":
        raise CheckSkipped(f"the domain {subject.domain.name!r} has no probabilities")
    y_true, y_pred = subject.sample

    def mean(y_pred):
        return float(np.mean(subject.values(y_true, y_pred)))

    if subject.domain.name == "probabilities":
        # Softmax: the same after a shift, and lower for the logits of the labels.
        perfect, better = mean(y_true), mean(np.log(y_true))
        shifts = mean(np.log(y_true) + 3.0)
        if better < perfect - 1e-3 and np.isclose(shifts, better, 1e-4):
            raise CheckFailed(
                f"y_pred = y_true costs {number(perfect)}, its logarithm, which a "
                f"softmax turns into y_true, {number(better)}"
            )
        return ""
    if subject.domain.perfect is None:
        raise CheckSkipped(f"the domain {subject.domain.name!r} knows no perfect one")
    perfect = subject.domain.perfect(y_true)
    costs = [mean(perfect)]
    costs += [mean(size * (2.0 * perfect - 1.0)) for size in (2.0, 4.0, 8.0, 16.0)]
    falls = all(later < earlier for earlier, later in zip(costs, costs[1:]))
    if (
        falls
        and costs[0] > 0.1 * abs(mean(y_pred))
        and costs[-1] > -1e-6
        and costs[-1] < 0.05 * costs[0]
    ):
        raise CheckFailed(
            f"a perfect prediction, 0 or 1, costs {number(costs[0])}; logits of -8 and "
            f"8 cost {number(costs[3])}: training pushes the probabilities apart, and "
            "never gets there"
        )
    return ""


@check(
    "advice",
    "Assert it while debugging, tf.debugging.assert_less_equal(y_pred, 1.0), or offer "
    "from_logits.",
    rests_on=("probabilities_are_taken_as_probabilities",),
)
def probabilities_refuse_logits(subject: LossUnderTest) -> Optional[str]:
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
        "model without its softmax or sigmoid does not train, without any error"
    )


@check(
    "error",
    "Compute the loss in float32: log, exp and sums of many terms overflow in float16.",
    needs=("runs", "fits"),
    rests_on=("graph_equals_eager", "gradient_is_finite"),
)
def mixed_precision_trains(subject: LossUnderTest) -> Optional[str]:
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
        jit_compile=UNCOMPILED,
    )
    steps = 12  # each step that overflows halves the scale
    before = dense.get_weights()[0]
    how = {"batch_size": len(y_true), "shuffle": False, "verbose": 0}
    try:
        history = model.fit(y_pred, y_true, epochs=steps, **how).history["loss"]
    except Exception as error:
        if subject.fails("dtype_is_honoured"):
            raise CheckSkipped(describe(error), root="dtype_is_honoured") from None
        raise
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
    if subject.random:
        return ""
    rounded = arrays.to_numpy(y_pred).astype("float16").astype("float32")
    want = subject.values(y_true, rounded, reduction=...)
    expect_close(
        history[0],
        want.mean(),
        "the loss of a float16 model",
        "of the same predictions in float32",
        rtol=0.02,
        atol=0.02,
    )


@check(
    "warning",
    "Make the pieces of the formula meet: Huber's is c |e| - c^2 / 2 beyond c, and not "
    "c |e|.",
    needs=("runs", "repeatable", "one_tensor"),
    rests_on=("values_are_finite",),
)
def value_does_not_jump(subject: LossUnderTest) -> Optional[str]:
    """A tiny change of a prediction changes the loss a little only."""
    severity = None
    if subject.domain.ranked or not subject.independent_values:
        severity = "advice"  # what sorts or chooses among entries may jump
    for what, path in _paths(subject):
        points = 4097 if subject.independent_values else 65
        found = _jump(_along(subject, path), points)
        if found is not None:
            here, low, high = found
            y_pred = path(np.array([here]))[0]
            changed = np.argmax(
                np.abs(path(np.array([1.0]))[0] - path(np.array([0.0]))[0])
            )
            raise CheckFailed(
                f"the loss jumps from {number(low)} to {number(high)} where an element "
                f"of y_pred passes {number(y_pred.flat[changed])}, {what}",
                severity=severity,
            )
    return ""


def _paths(subject):
    """(what, t in [0, 1] -> y_pred) of the first sample; one element moves, or all."""
    y_true, y_pred = subject.sample
    low, high = domains.bounds(subject.domain)
    first, other = y_pred[0], y_pred[1]
    place = (0,) * first.ndim

    def all_of_them(t):
        t = t.reshape(-1, *(1,) * first.ndim)
        return (1 - t) * first + t * other

    def one_of_them(start, end):
        def path(t):
            moved = np.repeat(first[np.newaxis], len(t), axis=0)
            moved[(slice(None), *place)] = start + t * (end - start)
            return moved

        return path

    yield "on the way from one sample to another", all_of_them
    if np.isfinite(low) and np.isfinite(high):
        inside = low + 1e-3 * (high - low), high - 1e-3 * (high - low)
        yield "across the domain", one_of_them(*inside)
        return
    center = 0.0
    if not structures.is_structure(y_true) and y_true.shape == y_pred.shape:
        center = float(y_true[(0, *place)])
    for reach in (5.0, 50.0):
        ends = center - reach, center + reach
        if np.isfinite(low):
            ends = low + 1e-3, center + reach
        yield f"within {reach:g} of the label", one_of_them(*ends)


def _along(subject, path):
    """t -> the loss of the first sample on the path, for an array of t."""
    y_true, y_pred = subject.sample
    dtype = _widest(subject)
    how = {} if dtype == "float32" else {"dtype": dtype}

    def values(t):
        moved = path(t)
        if subject.independent_values:
            true = structures.take(y_true, np.zeros(len(t), int))
            found = subject.values(true, moved, **how)
            return found.reshape(len(t), -1).sum(axis=1, dtype="float64")
        found = []
        for row in moved:
            now = np.array(y_pred)
            now[0] = row
            found.append(np.sum(subject.values(y_true, now, **how), dtype="float64"))
        return np.array(found)

    return values


def _jump(values, points):
    """(t, before, after) of a jump of a function on [0, 1], or None.

    The steepest interval is divided again and again: a steep function becomes smooth, a
    jump stays.
    """
    t = np.linspace(0.0, 1.0, points)
    found = values(t)
    if not np.isfinite(found).all():
        return None
    differences = np.abs(np.diff(found))
    spread = np.ptp(found)
    typical = np.median(differences)
    at = int(np.argmax(differences))
    neighbours = differences[max(at - 1, 0) : at + 2]
    rest = np.sort(neighbours)[:-1].max()
    if not differences[at] > max(3 * rest, 4 * typical, 1e-3 * spread, 1e-7):
        return None
    first = differences[at]
    for _ in range(4):
        t = np.linspace(t[at], t[at + 1], 17)
        found = values(t)
        differences = np.abs(np.diff(found))
        at = int(np.argmax(differences))
    if not differences[at] > 0.3 * first:
        return None
    return t[at], found[at], found[at + 1]
