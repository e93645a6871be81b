"""Checks of execution: graphs, XLA, `fit`, state, threads."""

import concurrent.futures
import contextlib
import io
import random
import threading
import warnings
from typing import Any, Callable, Optional

import numpy as np

from keras_losses_ref import host
from keras_losses_ref.conformance import arrays
from keras_losses_ref.conformance.checks import structures
from keras_losses_ref.conformance.checks.check import (
    CheckFailed,
    CheckSkipped,
    check,
    describe,
    expect_close,
    number,
)
from keras_losses_ref.conformance.checks.construction import (
    identity_layer,
    identity_model,
)
from keras_losses_ref.conformance.checks.loss_under_test import (
    LossUnderTest,
    gradient_to_numpy,
    host_loss,
    keras,
    tensors,
    values_and_gradient,
)
from keras_losses_ref.host import tf


def trace(function: Callable[..., Any], **how: Any) -> Any:
    """A function as the host's `fit` traces it: Keras 2 with autograph, 3 without."""
    if tf is None:
        return arrays.compiled(function)
    return tf.function(function, autograph=host.GENERATION == 2, **how)


def _compare(subject, got, where, rtol):
    values, gradient = got
    want_values, want_gradient = subject.gradient(*subject.sample)
    if subject.random:
        _compare_random(subject, values, gradient, where)
        return
    expect_close(
        arrays.to_numpy(values), want_values, f"the loss {where}", "eagerly", rtol
    )
    if gradient is None or want_gradient is None:
        if (gradient is None) != (want_gradient is None):
            raise CheckFailed(f"the gradient {where} is {gradient}, and not so eagerly")
        return
    expect_close(
        gradient_to_numpy(gradient),
        want_gradient,
        f"the gradient {where}",
        "eagerly",
        rtol,
    )


#: Draws of a random loss, and the standard errors that two means may differ by.
_DRAWS, _ERRORS = 24, 8.0


def _compare_random(subject, values, gradient, where):
    """A graph draws other numbers under the same seed: their means must agree."""
    if not np.isfinite(arrays.to_numpy(values)).all():
        raise CheckFailed(f"the loss {where} is not finite")
    if gradient is not None and not np.isfinite(gradient_to_numpy(gradient)).all():
        raise CheckFailed(f"the gradient {where} is not finite")
    y_true, y_pred = tensors(*subject.sample)
    loss = subject.variant()
    graph = trace(lambda t, p: loss(t, p))

    def mean(draw):
        found = [arrays.to_numpy(draw(y_true, y_pred)) for _ in range(_DRAWS)]
        drawn = [float(np.mean(values, dtype="float32")) for values in found]
        return np.mean(drawn), np.std(drawn) / np.sqrt(_DRAWS)

    (eager, error), (traced, other) = mean(loss), mean(graph)
    if abs(traced - eager) > _ERRORS * np.hypot(error, other) + 1e-5 * abs(eager):
        raise CheckFailed(
            f"the mean of {_DRAWS} draws {where} is {number(traced)}, eagerly it is "
            f"{number(eager)}, with standard errors of {number(other)} and "
            f"{number(error)}"
        )


def _compiled(subject, jit):
    loss = subject.variant()

    def both(y_true, y_pred):
        values, gradient = values_and_gradient(loss, y_true, y_pred)
        return (values,) if gradient is None else (values, gradient)

    found = trace(both, jit_compile=jit)(*tensors(*subject.sample))
    return found if len(found) == 2 else (found[0], None)


@check(
    "error",
    "Use tf ops instead of .numpy(), `if tensor:`, Python loops over tensors and "
    "NumPy: fit runs the loss in a graph.",
)
def graph_equals_eager(subject: LossUnderTest) -> None:
    """In a `tf.function` the values and gradients are the eager ones."""
    _compare(subject, _compiled(subject, False), "in a graph", 1e-5)


@check(
    "error",
    "Avoid ops with shapes that depend on data (tf.boolean_mask, tf.where(x), "
    "tf.unique) and tf.py_function; multiply by a mask instead.",
    rests_on=("graph_equals_eager",),
)
def xla_equals_eager(subject: LossUnderTest) -> None:
    """Compiled by XLA, the values and gradients are the eager ones."""
    try:
        got = _compiled(subject, True)
    except Exception as error:
        if subject.domain.name == "sequence":
            try:
                _compiled(host_loss("CTC"), True)
            except Exception:
                raise CheckFailed(
                    f"under XLA it {describe(error)}; so does the host's CTC",
                    severity="advice",
                ) from None
        raise
    _compare(subject, got, "under XLA", 1e-4)


def _with_signature(subject, unknown):
    loss = subject.variant()
    y_true, y_pred = tensors(*subject.sample)

    def spec(tensor):
        shape = unknown(tensor)
        return tf.TensorSpec(None if shape is None else shape, tensor.dtype)

    function = trace(
        lambda y_true, y_pred: loss(y_true, y_pred),
        input_signature=[structures.tree_map(spec, x) for x in (y_true, y_pred)],
    )
    for n in (8, 5, 1) if subject.has_parts else (subject.n,):
        inputs = [structures.take(x, slice(0, n)) for x in (y_true, y_pred)]
        if not subject.independent_values:
            try:
                subject.values(*inputs)
            except Exception:  # it needs more samples, eagerly too
                continue
        got = arrays.to_numpy(function(*inputs))
        if subject.random:
            continue
        want = subject.values(*inputs)
        expect_close(got, want, f"the loss of {n} samples in one graph", "eagerly")


@check(
    "error",
    "Read sizes with tf.shape(x)[0], not x.shape[0], which is None in fit.",
    rests_on=("graph_equals_eager",),
)
def batch_size_may_be_unknown(subject: LossUnderTest) -> None:
    """One graph serves batches of any size."""
    _with_signature(subject, lambda x: [None, *x.shape[1:]])


@check(
    "warning",
    "Read sizes with tf.shape(x), not x.shape.",
    rests_on=("batch_size_may_be_unknown",),
)
def shape_may_be_unknown(subject: LossUnderTest) -> None:
    """The graph needs to know the ranks only, not the sizes."""
    _or_as_the_host(subject, lambda s: _with_signature(s, lambda x: [None] * x.ndim))


@check(
    "advice",
    "Read sizes and ranks with tf.shape and tf.rank.",
    rests_on=("shape_may_be_unknown",),
)
def rank_may_be_unknown(subject: LossUnderTest) -> None:
    """The graph needs no shapes at all."""
    _or_as_the_host(subject, lambda s: _with_signature(s, lambda x: None))


def _or_as_the_host(subject, holds):
    try:
        holds(subject)
    except CheckFailed:
        raise
    except Exception as error:
        try:
            holds(host_loss("MeanSquaredError"))
        except Exception:
            raise CheckFailed(
                f"{describe(error)}; so does the host's MeanSquaredError",
                severity="advice",
            ) from None
        raise


@check(
    "advice",
    "Return finite numbers for zero samples, or nothing at all: shape (0,).",
    needs=("runs", "parts"),
)
def empty_batch_is_no_error(subject: LossUnderTest) -> None:
    """A batch of no samples, as a replica may get, gives no values and a sum of 0."""
    y_true, y_pred = (structures.take(x, slice(0, 0)) for x in subject.sample)
    try:
        none = subject.values(y_true, y_pred)
    except Exception as error:
        raise CheckFailed(f"for no samples it {describe(error)}") from None
    if not subject.per_sample:
        if not np.isfinite(none).all():
            raise CheckFailed(f"no samples give a loss of {none}")
        return
    if none.size:
        raise CheckFailed(f"no samples give values of shape {none.shape}")


@check(
    "error",
    "Leave shapes and dtypes to Keras, use tf ops only, keep no state. If your loss "
    "expects labels of shape (N,), reshape them: fit may give (N, 1).",
    needs=("runs", "fits", "repeatable"),
    rests_on=("graph_equals_eager",),
)
def fit_reports_the_same_loss(subject: LossUnderTest) -> None:
    """`fit` and `evaluate` report the loss that a direct call gives."""
    y_true, y_pred = tensors(*subject.sample)
    given = _as_given(subject)
    how = {"jit_compile": "auto"} if host.GENERATION == 3 else {}
    model = identity_model(subject, given, **how)
    want = subject.values(y_true, y_pred, reduction=...)
    if want.ndim:
        raise CheckSkipped("the loss is not reduced")
    n = subject.n
    got = model.evaluate(y_pred, y_true, batch_size=n, verbose=0)
    _expect_fit(np.ravel(got)[0], want, "evaluate")
    history = model.fit(y_pred, y_true, batch_size=n, shuffle=False, verbose=0)
    _expect_fit(history.history["loss"][0], want, "fit")
    if not all(np.isfinite(w).all() for w in model.get_weights()):
        raise CheckFailed("after one step of fit the weights are not finite")


def _expect_fit(got, want, where):
    expect_close(got, want, f"the loss in {where}", "in a direct call", 2e-5)


def _as_given(subject):
    """What a user would pass to `compile`."""
    return subject.given if subject.kind == "function" else subject.loss


@check(
    "error",
    "Read the batch size with tf.shape(y_pred)[0]: in fit y_pred.shape[0] is None, and "
    "`for i in range(n)` cannot count to it. Reduce with tf ops instead of a loop.",
    needs=("runs", "fits", "parts"),
    rests_on=("graph_equals_eager", "batch_size_may_be_unknown"),
)
def fit_takes_a_smaller_last_batch(subject: LossUnderTest) -> None:
    """`fit` and `evaluate` take batches of an unknown size, and a smaller last one."""
    y_true, y_pred = tensors(*subject.sample)
    n, size = subject.n, 5
    how = {"batch_size": size, "verbose": 0}
    model = identity_model(
        subject, _as_given(subject), optimizer=keras.optimizers.SGD(0.0)
    )
    try:
        got = float(np.ravel(model.evaluate(y_pred, y_true, **how))[0])
        model.fit(y_pred, y_true, shuffle=False, **how)
    except Exception as error:
        raise CheckFailed(
            f"with batches of {size} and {n - size} samples fit {describe(error)}"
        ) from None
    if subject.random:
        return
    parts = [slice(0, size), slice(size, n)]
    losses = [
        subject.values(
            *(structures.take(x, part) for x in subject.sample), reduction=...
        )
        for part in parts
    ]
    if any(loss.ndim for loss in losses):
        raise CheckSkipped("the loss is not reduced")
    # The mean over batches: by their samples, or plain as in early Keras 3.
    by_samples = (size * losses[0] + (n - size) * losses[1]) / n
    plain = (losses[0] + losses[1]) / 2
    if not np.isclose(got, plain, 2e-5, 1e-6):
        expect_close(
            got,
            by_samples,
            f"the loss in evaluate with batches of {size} and {n - size}",
            "the mean of both in direct calls",
            2e-5,
        )


@check(
    "error",
    "Let super().__call__ apply sample_weight to one value per sample.",
    needs=("runs", "fits", "repeatable", "per_sample"),
    rests_on=("fit_reports_the_same_loss",),
)
def fit_applies_sample_weight(subject: LossUnderTest) -> None:
    """`fit` with sample_weight reports the mean of the weighted values."""
    y_true, y_pred = tensors(*subject.sample)
    n = subject.n
    none = subject.values(y_true, y_pred)
    if none.ndim > (2 if host.GENERATION == 2 else 1):
        raise CheckSkipped(
            f"the values have shape {none.shape}, for which Keras takes no weights (N,)"
        )
    weight = np.linspace(0.2, 2.6, n).astype("float32")
    wanted = list(_weighted(subject, none, weight))
    if not wanted:
        raise CheckSkipped("the loss is not reduced")
    history = identity_model(subject, _as_given(subject)).fit(
        y_pred, y_true, sample_weight=weight, batch_size=n, shuffle=False, verbose=0
    )
    got = history.history["loss"][0]
    if not any(np.isclose(got, want, 2e-5, 2e-6) for want in wanted):
        expect_close(
            got,
            wanted[0],
            "the loss in fit with sample_weight",
            "the weighted mean",
            2e-5,
        )


def _weighted(subject, none, weight):
    """What `fit` may report: by the values, and by a direct call that takes weights."""
    reduction = getattr(subject.loss, "reduction", None)
    total = float((subject.weights(weight, none) * none).sum())
    if reduction == "sum":
        yield total
    elif reduction == "mean_with_sample_weight":
        yield total / float(subject.weights(weight, none).sum())
    elif reduction in ("sum_over_batch_size", "auto", "mean"):
        yield total / none.size
    with contextlib.suppress(Exception):  # it may want weights of another shape
        direct = subject.values(*subject.sample, weight, reduction=...)
        if not direct.ndim:
            yield float(direct)


@check(
    "error",
    "Keep nothing about one call for the next: the same loss may serve two outputs.",
    needs=("runs", "fits", "repeatable"),
    rests_on=("graph_equals_eager", "fit_reports_the_same_loss"),
)
def serves_several_outputs(subject: LossUnderTest) -> None:
    """One loss for two outputs of a model gives the sum of both."""
    y_true, y_pred = tensors(*subject.sample)
    want = subject.values(y_true, y_pred, reduction=...)
    if want.ndim:
        raise CheckSkipped("the loss is not reduced")
    given = _as_given(subject)
    inputs = keras.layers.Input(y_pred.shape[1:])
    outputs = [
        identity_layer(y_pred.shape[-1], name=name)(inputs)
        for name in ("first", "second")
    ]
    model = keras.Model(inputs, outputs)
    model.set_weights([np.eye(y_pred.shape[-1])] * 2)
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=[given, given],
        loss_weights=[1.0, 2.0],
        jit_compile=False,
    )
    n = subject.n
    got = model.evaluate(y_pred, [y_true, y_true], batch_size=n, verbose=0)
    expect_close(
        np.ravel(got)[0],
        3.0 * want,
        "the loss of two outputs with weights 1 and 2",
        "three times the loss of one",
        2e-5,
    )


@check(
    "error",
    "Use no random numbers, clocks or counters in call. A loss that draws on purpose "
    "declares it, _klr_declares = {'random': True}, and is compared under one seed.",
    rests_on=("graph_equals_eager",),
)
def same_inputs_same_values(subject: LossUnderTest) -> Optional[str]:
    """Two calls with the same inputs give the same values, to the last bit."""
    first = subject.values(*subject.sample)
    for _ in range(3):
        again = subject.values(*subject.sample)
        expect_close(
            again,
            first,
            "the loss of a second call",
            "of the first",
            0,
            0,
            why="under the same seed" if subject.random else "",
        )
    if subject.random:
        return _draws_new_numbers(subject)
    twice = [_compiled(subject, False)[0] for _ in range(2)]
    first, second = map(arrays.to_numpy, twice)
    expect_close(second, first, "the loss of a second graph", "of the first", 0, 0)
    return ""


def _draws_new_numbers(subject):
    """What is declared random must be so, in the graph that `fit` builds too."""
    y_true, y_pred = tensors(*subject.sample)
    loss = subject.variant()
    graph = trace(lambda t, p: loss(t, p))
    for where, call in (("", loss), (" of one graph", graph)):
        values = [arrays.to_numpy(call(y_true, y_pred)) for _ in range(4)]
        if all(np.array_equal(value, values[0]) for value in values):
            fix = "Remove 'random' from what the loss declares."
            if where:
                fix = (
                    "Draw with tf.random or keras.random: NumPy's and Python's numbers "
                    "are drawn once, when fit builds the graph."
                )
            raise CheckFailed(
                f"declared random, but 4 calls{where} give the same values", fix=fix
            )
    return "the same under one seed, and new numbers without"


def _state(loss):
    """{attribute: (the object, its value at this time)}."""
    return {key: (value, _value(value)) for key, value in vars(loss).items()}


@check(
    "error",
    "Assign to self in __init__ only: a graph runs call once and remembers the value "
    "of that day. For a running value use a metric or a callback.",
)
def no_state_between_calls(subject: LossUnderTest) -> None:
    """A call leaves the attributes of the loss as they were."""
    loss = subject.variant()
    if subject.is_function:
        loss = subject.loss.fn
    if not hasattr(loss, "__dict__"):
        return
    call = subject.variant().fn if subject.is_function else loss
    call(*tensors(*subject.sample))
    before = _state(loss)
    # Other inputs: what is kept of them differs.
    call(*tensors(*subject.more(seed=1)))
    after = _state(loss)
    for key in {**before, **after}:
        if key not in before or key not in after:
            word = "adds" if key in after else "removes"
            raise CheckFailed(f"a call {word} .{key}")
        (old, was), (new, is_now) = before[key], after[key]
        if old is new and subject.random and hasattr(old, "state"):
            continue  # a generator counts, which is what it is for
        if not _equal(was, is_now) or (was is _OPAQUE and old is not new):
            raise CheckFailed(
                f"a call changes .{key} from {_short(was, old)} to "
                f"{_short(is_now, new)}"
            )


#: The value of an object that has none to compare: it is the object itself.
_OPAQUE = object()


def _value(value):
    """A copy of what an attribute holds, to be compared by value."""
    if tf is not None and isinstance(value, tf.Variable) or arrays.is_tensor(value):
        concrete = hasattr(value, "numpy") or tf is None
        return np.array(value) if concrete else _OPAQUE
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (bool, int, float, str, bytes, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [_value(part) for part in value]
    if isinstance(value, dict):
        return {key: _value(part) for key, part in value.items()}
    if isinstance(value, (set, frozenset)):
        return set(value)
    return _OPAQUE


def _equal(old, new):
    if isinstance(old, np.ndarray) or isinstance(new, np.ndarray):
        return (
            isinstance(old, np.ndarray)
            and isinstance(new, np.ndarray)
            and old.dtype == new.dtype
            and old.shape == new.shape
            and np.array_equal(old, new, equal_nan=old.dtype.kind == "f")
        )
    if type(old) is not type(new):
        return False
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_equal, old, new))
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_equal(old[k], new[k]) for k in old)
    return old is new or old == new or old != old


def _short(value, whole):
    return repr(whole if value is _OPAQUE else value)[:60]


@check(
    "error",
    "Work on new tensors or copies: y_pred = y_pred * 1.0, np.array(y_true).",
)
def inputs_are_not_changed(subject: LossUnderTest) -> None:
    """Arrays and variables given to the loss are the same afterwards."""
    before = tensors(*subject.sample)
    arrays = [structures.tree_map(lambda x: x.numpy().copy(), x) for x in before]
    variable = structures.tree_map(tf.Variable, before[1])
    loss = subject.variant()
    runs = False
    for inputs in (arrays, (before[0], variable)):
        try:
            loss(*inputs)
            runs = True
        except Exception:  # `arrays_equal_tensors` says so
            continue
    if not runs:
        raise CheckSkipped("it takes neither arrays nor variables")
    for what, now, was in (
        ("y_true", arrays[0], before[0]),
        ("y_pred", arrays[1], before[1]),
        ("the variable y_pred", variable, before[1]),
    ):
        for leaf, original in zip(structures.leaves(now), structures.leaves(was)):
            expect_close(
                np.asarray(leaf),
                original.numpy(),
                f"{what} after the call",
                "before",
                0,
                0,
            )


_GRAPHS = threading.Lock()


@check(
    "warning",
    "Make tf.functions once, at module level, and pass them tensors, not Python "
    "numbers that change; avoid tf.vectorized_map outside of a tf.function.",
)
def no_new_graph_per_call(subject: LossUnderTest) -> None:
    """Calls after the first build no new graph, in a custom training loop either."""
    y_true, y_pred = tensors(*subject.sample)
    loss = subject.variant()
    loss(y_true, y_pred), loss(y_true, y_pred)
    built = []
    init = tf.Graph.__init__

    def counting(graph, *args, **kwargs):
        built.append(graph)
        return init(graph, *args, **kwargs)

    with _GRAPHS:  # a private window: nothing else of this process should build
        tf.Graph.__init__ = counting
        try:
            for _ in range(4):
                loss(y_true, y_pred)
        finally:
            tf.Graph.__init__ = init
    if len(built) >= 4:
        raise CheckFailed(
            f"4 more calls with the same shapes built {len(built)} graphs"
        )


@check(
    "error",
    "Decide by the inputs of the call only: no counters, `if self.step`, or running "
    "means in call.",
    needs=("runs", "fits"),
    rests_on=("graph_equals_eager",),
)
def fit_traces_once(subject: LossUnderTest) -> None:
    """Inside `fit`, the Python code of the loss runs for the first step only."""
    y_true, y_pred = tensors(*subject.sample)
    calls = []
    loss = subject.variant(reduction=...)

    class Counting(type(loss)):
        def __call__(self, *args, **kwargs):
            calls.append(1)
            return super().__call__(*args, **kwargs)

    loss.__class__ = Counting
    model = identity_model(subject, loss)
    how = {"batch_size": subject.n, "shuffle": False, "verbose": 0}
    model.fit(y_pred, y_true, epochs=2, **how)
    first = len(calls)
    model.fit(y_pred, y_true, epochs=4, **how)
    if len(calls) > first:
        raise CheckFailed(
            f"the loss ran {len(calls) - first} more times in 4 more steps: every "
            "step builds the graph again"
        )


@check(
    "error",
    "Keep intermediate results in local variables, not on self or in globals.",
    needs=("runs", "repeatable"),
    rests_on=("same_inputs_same_values",),
)
def threads_do_not_disturb_each_other(subject: LossUnderTest) -> None:
    """Four threads at once get the values that they get alone."""
    loss = subject.variant()
    batches = [tensors(*subject.more(seed=seed)) for seed in range(4)]
    alone = [arrays.to_numpy(loss(*batch)) for batch in batches]
    start = threading.Barrier(4)

    def work(index):
        start.wait()
        return [arrays.to_numpy(loss(*batches[index])) for _ in range(10)]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for index, values in enumerate(pool.map(work, range(4))):
            for got in values:
                expect_close(got, alone[index], "the loss in a thread", "alone", 1e-6)


@check(
    "warning",
    "Leave Keras's settings and the random generators alone.",
)
def global_settings_stay(subject: LossUnderTest) -> None:
    """A call changes neither Keras's settings nor the random state of the process."""

    def settings():
        policy = keras.mixed_precision.global_policy
        policy = policy() if callable(policy) else policy
        return {
            "floatx": keras.backend.floatx(),
            "epsilon": keras.backend.epsilon(),
            "image_data_format": keras.backend.image_data_format(),
            "mixed precision policy": policy.name,
            "NumPy's random state": np.random.get_state()[1].tolist(),
            "Python's random state": random.getstate(),
            "run_functions_eagerly": tf and tf.config.functions_run_eagerly(),
        }

    if subject.random:
        raise CheckSkipped("a loss that draws random numbers changes their state")
    y_true, y_pred = tensors(*subject.sample)
    loss = subject.variant()
    kept = np.random.get_state(), random.getstate(), keras.backend.epsilon()
    floatx = keras.backend.floatx()
    try:
        # Earlier calls have left their traces already: start from something else.
        np.random.seed(20), random.seed(20)
        keras.backend.set_epsilon(1.25e-7)
        before = settings()
        loss(y_true, y_pred)
        after = settings()
    finally:
        np.random.set_state(kept[0])
        random.setstate(kept[1])
        keras.backend.set_epsilon(kept[2])
        keras.backend.set_floatx(floatx)
    for key, old in before.items():
        if after[key] != old:
            change = "" if "random" in key else f" from {old!r} to {after[key]!r}"
            raise CheckFailed(f"a call changes {key}{change}")


@check("advice", "Remove print and tf.print; turn warnings into errors or comments.")
def is_quiet(subject: LossUnderTest) -> None:
    """A call prints nothing and warns of nothing."""
    y_true, y_pred = tensors(*subject.sample)
    out = io.StringIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with contextlib.redirect_stdout(out):
            subject.variant()(y_true, y_pred)
    own = [w for w in caught if issubclass(w.category, UserWarning)]
    if out.getvalue():
        raise CheckFailed(f"a call prints {out.getvalue()[:60]!r}")
    if own:
        raise CheckFailed(f"a call warns: {str(own[0].message)[:120]}")


@check(
    "warning",
    "Scale by the batch only through `reduction`.",
    needs=("runs", "repeatable", "independent"),
)
def mean_does_not_depend_on_batch_size(subject: LossUnderTest) -> None:
    """Two copies of a batch have the mean of one: learning rates carry over."""
    y_true, y_pred = subject.sample
    how = {"reduction": "sum_over_batch_size"}
    one = subject.values(y_true, y_pred, **how)
    two = subject.values(
        structures.concatenate(y_true, y_true),
        structures.concatenate(y_pred, y_pred),
        **how,
    )
    expect_close(two, one, "the mean of a batch twice", "of the batch once")


@check(
    "advice",
    "A callback that changes it has no effect. Keep it in a tf.Variable made in "
    "__init__, or compile the model again after the change.",
    needs=("class", "runs", "repeatable"),
    rests_on=("graph_equals_eager",),
)
def changed_attributes_reach_the_step(subject: LossUnderTest) -> None:
    """An argument that is changed on the loss after the first step has an effect."""
    y_true, y_pred = tensors(*subject.sample)
    deaf = []
    for name, other, _ in subject.changes:
        if type(vars(subject.loss).get(name)) not in (bool, int, float):
            continue
        loss = subject.variant()
        step = trace(lambda t, p, loss=loss: loss(t, p))
        try:
            before = arrays.to_numpy(step(y_true, y_pred))
            setattr(loss, name, other)
            eager = arrays.to_numpy(loss(y_true, y_pred))
            after = arrays.to_numpy(step(y_true, y_pred))
        except Exception:  # it cannot be set, or not to this
            continue
        if np.array_equal(after, before) and not np.allclose(eager, before):
            deaf.append(f"{name}={other!r}")
    if deaf:
        raise CheckFailed(
            f"set to {', '.join(deaf)} after the first step, the loss changes eagerly, "
            "and the compiled step goes on with the old value"
        )
