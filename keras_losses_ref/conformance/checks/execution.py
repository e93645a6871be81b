"""Checks of execution: graphs, XLA, `fit`, state, threads."""

import concurrent.futures
import contextlib
import copy
import io
import random
import threading
import warnings

import numpy as np
import tensorflow as tf

from keras_losses_ref.conformance.checks.check import (
    CheckFailed,
    CheckSkipped,
    check,
    describe,
    expect_close,
)
from keras_losses_ref.conformance.checks.construction import (
    identity_layer,
    identity_model,
)
from keras_losses_ref.conformance.checks.loss_under_test import (
    host_loss,
    keras,
    tensors,
    to_numpy,
    values_and_gradient,
)
from keras_losses_ref.losses import compat


def _eager(subject):
    values, gradient = subject.gradient(*subject.sample)
    return values, gradient


def _compare(subject, got, where, rtol):
    values, gradient = got
    want_values, want_gradient = _eager(subject)
    expect_close(to_numpy(values), want_values, f"the loss {where}", "eagerly", rtol)
    if gradient is None or want_gradient is None:
        if (gradient is None) != (want_gradient is None):
            raise CheckFailed(f"the gradient {where} is {gradient}, and not so eagerly")
        return
    expect_close(
        to_numpy(gradient), want_gradient, f"the gradient {where}", "eagerly", rtol
    )


def _compiled(subject, jit):
    loss = subject.variant()

    @tf.function(jit_compile=jit, autograph=False)
    def both(y_true, y_pred):
        values, gradient = values_and_gradient(loss, y_true, y_pred)
        return (values,) if gradient is None else (values, gradient)

    found = both(*tensors(*subject.sample))
    return found if len(found) == 2 else (found[0], None)


@check(
    "error",
    "Use tf ops instead of .numpy(), `if tensor:`, Python loops over tensors and "
    "NumPy: fit runs the loss in a graph.",
)
def graph_equals_eager(subject):
    """In a `tf.function` the values and gradients are the eager ones."""
    _compare(subject, _compiled(subject, False), "in a graph", 1e-5)


@check(
    "error",
    "Avoid ops with shapes that depend on data (tf.boolean_mask, tf.where(x), "
    "tf.unique) and tf.py_function; multiply by a mask instead.",
)
def xla_equals_eager(subject):
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

    # Autograph as in `fit` of Keras 2; the loss decides by its own decorators.
    function = tf.function(
        lambda y_true, y_pred: loss(y_true, y_pred),
        input_signature=[spec(y_true), spec(y_pred)],
    )
    for n in (8, 5, 1) if subject.independent else (8,):
        got = function(*(x[:n] for x in (y_true, y_pred)))
        want = subject.values(*(x[:n] for x in subject.sample))
        expect_close(to_numpy(got), want, f"the loss of {n} samples in one graph",
                     "eagerly", 1e-5)  # fmt: skip


@check(
    "error",
    "Read sizes with tf.shape(x)[0], not x.shape[0], which is None in fit.",
    needs=("runs", "per_sample"),
)
def batch_size_may_be_unknown(subject):
    """One graph serves batches of any size."""
    _with_signature(subject, lambda x: [None, *x.shape[1:]])


@check(
    "warning",
    "Read sizes with tf.shape(x), not x.shape.",
    needs=("runs", "per_sample"),
)
def shape_may_be_unknown(subject):
    """The graph needs to know the ranks only, not the sizes."""
    _or_as_the_host(subject, lambda s: _with_signature(s, lambda x: [None] * x.ndim))


@check(
    "advice",
    "Read sizes and ranks with tf.shape and tf.rank.",
    needs=("runs", "per_sample"),
)
def rank_may_be_unknown(subject):
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
    needs=("runs", "per_sample"),
)
def empty_batch_is_no_error(subject):
    """A batch of no samples, as a replica may get, gives no values and a sum of 0."""
    y_true, y_pred = (x[:0] for x in subject.sample)
    try:
        none = subject.values(y_true, y_pred)
    except Exception as error:
        raise CheckFailed(f"for no samples it {describe(error)}") from None
    if none.size:
        raise CheckFailed(f"no samples give values of shape {none.shape}")


@check(
    "error",
    "Leave shapes and dtypes to Keras, use tf ops only, keep no state. If your loss "
    "expects labels of shape (N,), reshape them: fit may give (N, 1).",
)
def fit_reports_the_same_loss(subject):
    """`fit` and `evaluate` report the loss that a direct call gives."""
    y_true, y_pred = tensors(*subject.sample)
    given = subject.given if subject.kind == "function" else subject.loss
    how = {"jit_compile": "auto"} if compat.GENERATION == 3 else {}
    model = identity_model(subject, given, **how)
    want = subject.values(y_true, y_pred, reduction=...)
    if want.ndim:
        raise CheckSkipped("the loss is not reduced")
    n = len(subject.sample[0])
    got = model.evaluate(y_pred, y_true, batch_size=n, verbose=0)
    _expect_fit(np.ravel(got)[0], want, "evaluate")
    history = model.fit(y_pred, y_true, batch_size=n, shuffle=False, verbose=0)
    _expect_fit(history.history["loss"][0], want, "fit")
    if not all(np.isfinite(w).all() for w in model.get_weights()):
        raise CheckFailed("after one step of fit the weights are not finite")


def _expect_fit(got, want, where):
    expect_close(got, want, f"the loss in {where}", "in a direct call", 2e-5)


@check(
    "error",
    "Let super().__call__ apply sample_weight to one value per sample.",
    needs=("runs", "per_sample"),
)
def fit_applies_sample_weight(subject):
    """`fit` with sample_weight reports the weighted loss of a direct call."""
    y_true, y_pred = tensors(*subject.sample)
    n = len(subject.sample[0])
    none = subject.values(y_true, y_pred)
    if none.ndim != 1:
        raise CheckSkipped(
            f"the values have shape {none.shape}, not one number per sample"
        )
    weight = np.linspace(0.2, 1.8, n).astype("float32")
    want = subject.values(y_true, y_pred, weight, reduction=...)
    if want.ndim:
        raise CheckSkipped("the loss is not reduced")
    given = subject.given if subject.kind == "function" else subject.loss
    history = identity_model(subject, given).fit(
        y_pred, y_true, sample_weight=weight, batch_size=n, shuffle=False, verbose=0
    )
    _expect_fit(history.history["loss"][0], want, "fit with sample_weight")


@check(
    "error",
    "Keep nothing about one call for the next: the same loss may serve two outputs.",
)
def serves_several_outputs(subject):
    """One loss for two outputs of a model gives the sum of both."""
    y_true, y_pred = tensors(*subject.sample)
    want = subject.values(y_true, y_pred, reduction=...)
    if want.ndim:
        raise CheckSkipped("the loss is not reduced")
    given = subject.given if subject.kind == "function" else subject.loss
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
    n = len(subject.sample[0])
    got = model.evaluate(y_pred, [y_true, y_true], batch_size=n, verbose=0)
    expect_close(
        np.ravel(got)[0], 3.0 * want, "the loss of two outputs with weights 1 and 2",
        "three times the loss of one", 2e-5,
    )  # fmt: skip


@check(
    "error",
    "Use no random numbers, clocks or counters in call.",
)
def same_inputs_same_values(subject):
    """Two calls with the same inputs give the same values, to the last bit."""
    first = subject.values(*subject.sample)
    for _ in range(3):
        again = subject.values(*subject.sample)
        expect_close(again, first, "the loss of a second call", "of the first", 0, 0)
    twice = [_compiled(subject, False)[0] for _ in range(2)]
    expect_close(
        to_numpy(twice[1]), to_numpy(twice[0]), "the loss of a second graph",
        "of the first", 0, 0,
    )  # fmt: skip


def _state(loss):
    state = {}
    for key, value in vars(loss).items():
        try:
            state[key] = copy.deepcopy(value)
        except Exception:
            state[key] = value
    return state


@check(
    "error",
    "Assign to self in __init__ only: a graph runs call once and remembers the value "
    "of that day. For a running value use a metric or a callback.",
)
def no_state_between_calls(subject):
    """A call leaves the attributes of the loss as they were."""
    loss = subject.variant()
    if subject.is_function:
        loss = subject.loss.fn
    if not hasattr(loss, "__dict__"):
        return
    call = subject.variant().fn if subject.is_function else loss
    y_true, y_pred = tensors(*subject.sample)
    call(y_true, y_pred)
    before = _state(loss)
    call(y_true, y_pred)
    for key in {**before, **vars(loss)}:
        old, new = before.get(key), vars(loss).get(key)
        if type(old) is not type(new) or not _equal(old, new):
            raise CheckFailed(
                f"a call changes .{key} from {_short(old)} to {_short(new)}"
            )


def _equal(old, new):
    try:
        if isinstance(old, tf.Variable):
            return np.array_equal(old.numpy(), new.numpy())
        if isinstance(old, np.ndarray) or tf.is_tensor(old):
            # A tensor kept from a call is state, even when the values agree.
            return not tf.is_tensor(old) and np.array_equal(old, new)
        if isinstance(old, (bool, int, float, str, list, tuple, dict, set, type(None))):
            return bool(np.all(old == new))
    except Exception:
        return True
    return True  # an object without a value of its own


def _short(value):
    return repr(value)[:60]


@check(
    "error",
    "Work on new tensors or copies: y_pred = y_pred * 1.0, np.array(y_true).",
)
def inputs_are_not_changed(subject):
    """Arrays and variables given to the loss are the same afterwards."""
    y_true, y_pred = tensors(*subject.sample)
    true, pred = y_true.numpy().copy(), y_pred.numpy().copy()
    variable = tf.Variable(y_pred)
    loss = subject.variant()
    runs = False
    for inputs in ((true, pred), (y_true, variable)):
        try:
            loss(*inputs)
            runs = True
        except Exception:  # `arrays_equal_tensors` says so
            continue
    if not runs:
        raise CheckSkipped("it takes neither arrays nor variables")
    for what, now, before in (
        ("y_true", true, y_true),
        ("y_pred", pred, y_pred),
        ("the variable y_pred", variable.numpy(), y_pred),
    ):
        expect_close(now, before.numpy(), f"{what} after the call", "before", 0, 0)


_GRAPHS = threading.Lock()


@check(
    "warning",
    "Make tf.functions once, at module level, and pass them tensors, not Python "
    "numbers that change; avoid tf.vectorized_map outside of a tf.function.",
)
def no_new_graph_per_call(subject):
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
)
def fit_traces_once(subject):
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
    n = len(subject.sample[0])
    how = {"batch_size": n, "shuffle": False, "verbose": 0}
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
    needs=("runs", "per_sample"),
)
def threads_do_not_disturb_each_other(subject):
    """Four threads at once get the values that they get alone."""
    loss = subject.variant()
    batches = [tensors(*subject.more(seed=seed)) for seed in range(4)]
    alone = [to_numpy(loss(*batch)) for batch in batches]
    start = threading.Barrier(4)

    def work(index):
        start.wait()
        return [to_numpy(loss(*batches[index])) for _ in range(10)]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for index, values in enumerate(pool.map(work, range(4))):
            for got in values:
                expect_close(got, alone[index], "the loss in a thread", "alone", 1e-6)


@check(
    "warning",
    "Leave Keras's settings and the random generators alone.",
)
def global_settings_stay(subject):
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
            "run_functions_eagerly": tf.config.functions_run_eagerly(),
        }

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
def is_quiet(subject):
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
    needs=("runs", "independent"),
)
def mean_does_not_depend_on_batch_size(subject):
    """Two copies of a batch have the mean of one: learning rates carry over."""
    y_true, y_pred = subject.sample
    how = {"reduction": "sum_over_batch_size"}
    one = subject.values(y_true, y_pred, **how)
    two = subject.values(
        np.concatenate([y_true, y_true]), np.concatenate([y_pred, y_pred]), **how
    )
    expect_close(two, one, "the mean of a batch twice", "of the batch once")
