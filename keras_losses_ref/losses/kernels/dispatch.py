"""How the body of a loss is run: op by op, or as one kernel where that pays.

A loss is dozens of small operations, each of which costs a call and reads and writes a
whole batch. The same body can be run in three ways:

plain      as it is written: eagerly op by op, in a graph as part of that graph
traced     eagerly, as a `tf.function` whose shapes are open: one call, not dozens
compiled   as XLA kernels: what is made of an element on the way is never written

A kernel is compiled for one shape, in tenths of a second. So by itself, with
`jit_compile="auto"`, only what is large and comes again is compiled: eagerly a shape
that was seen before, in a graph a shape that is known, and in Keras's `fit` one whose
batch alone is open; only on CPUs, and only so many shapes of one loss. On a GPU nobody
has measured that it pays: there only `jit_compile=True` compiles.

A training step asks for the gradient to y_pred, once. Where a tape shows that (see
`tape_watch.py`), one kernel, or one traced call, gives it together with the loss. Else
the gradient has a kernel of its own, which starts again from the inputs; it is made of
differentiable operations, and can itself be differentiated.
"""

import functools
import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Union

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.compat import Tensor
from keras_losses_ref.losses.kernels import tape_watch, xla_tools
from keras_losses_ref.losses.kernels.cache import Cache

# No public name, yet there from TensorFlow 2.12 to 2.21; without it only slower.
try:
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
except ImportError:
    GraphOrParentsInXlaContext = None

#: Elements of y_pred from which a compiled kernel beats the plain operations.
MIN_ELEMENTS = 2**16
#: The same for one sample, where `fit` leaves the size of the batch open.
MIN_ELEMENTS_PER_SAMPLE = 2**9
#: Elements of a row from which a kernel computes them again rather than keeps them.
REMAT_MIN_ROW = 64
#: How many shapes of one loss are compiled: those of a whole batch and of the last one,
#: in training and in validation.
MAX_COMPILED_SHAPES = 4
#: How often a shape is run plainly, and found valid, before it is traced or compiled.
WARMUP_CALLS = 2
#: The same for `run_no_grad` in graphs, where nothing tells whether a shape repeats.
MAX_COMPILED_SHAPES_IN_GRAPH = 2
#: How often shapes that differ are run plainly, before a function is traced for all.
WARMUP_SHAPES = 16
#: How many shapes and how many kernels are kept, so that a program that runs for long
#: does not fill the memory: a kernel takes some hundred kilobytes.
SEEN_CACHE_SIZE, KERNEL_CACHE_SIZE = 10_000, 500

#: How often each key of a loss and its shapes was asked for.
_seen = Cache(SEEN_CACHE_SIZE)
#: loss: the signatures that are compiled for it, eagerly or in graphs.
_compiled_shapes = Cache(KERNEL_CACHE_SIZE)
#: What runs for a loss and its shapes, which may be one for many shapes;
_kernels = Cache(KERNEL_CACHE_SIZE)
#: and these, by their dtypes and ranks. Shapes that come once do not push them out.
_traces = Cache(KERNEL_CACHE_SIZE)
_tracing = threading.local()


def key(
    loss: type, arguments: Mapping[str, Any], *settings: Any
) -> Optional[tuple[Any, ...]]:
    """What tells one loss with its settings from another; None if one is a tensor."""
    arguments = tuple(
        (name, tuple(value) if isinstance(value, list) else value)
        for name, value in arguments.items()
    )
    try:
        hash(arguments)
    except TypeError:
        return None
    return loss, arguments, *settings


def run(
    core: Callable[..., Tensor],
    key: Any,
    tensors: Sequence[Any],
    jit_compile: Union[bool, str],
) -> Tensor:
    """`core(*tensors)` in the way that suits them; None stands for a tensor not given.

    The second of `tensors` is y_pred; `key` is made by `key`.
    """
    if jit_compile is True and not _can_compile(tensors[1]):
        jit_compile = "auto"
    if jit_compile is False or key is None or tf.config.functions_run_eagerly():
        before = getattr(_tracing, "jit_compile", "auto")
        _tracing.jit_compile = jit_compile
        try:
            return core(*tensors)
        finally:
            _tracing.jit_compile = before
    tensors = [
        tf.convert_to_tensor(t) if isinstance(t, tf.Variable) else t for t in tensors
    ]
    signature = _signature(tensors)
    if signature is None:
        return core(*tensors)
    key = (key, signature, tf.executing_eagerly())
    kernel = _kernels.get(key) or _kernel(core, key, jit_compile)
    if kernel is None:
        return core(*tensors)
    return kernel(*(tensor for tensor in tensors if tensor is not None))


def run_no_grad(
    function: Callable[..., Any], tensors: Sequence[Any], compiles: bool = True
) -> Tensor:
    """`function(*tensors)`, all its outputs, which get no gradient.

    It is traced once, for all shapes, and compiled where that pays, unless the
    `jit_compile` of the loss that is being run says otherwise.
    """
    jit_compile = getattr(_tracing, "jit_compile", "auto")
    tensors = [tf.stop_gradient(tensor) for tensor in tensors]
    signature = _signature(tensors)
    if in_kernel() or tf.config.functions_run_eagerly() or signature is None:
        return function(*tensors)
    if jit_compile is False:
        compiles = False
    compiles = compiles and _compiles_now(function, signature, jit_compile)
    ranks = tuple((dtype, len(shape)) for dtype, shape in signature)
    key = function, ranks, compiles
    trace = _traces.get(key)
    if trace is None:
        specs = [tf.TensorSpec([None] * rank, dtype) for dtype, rank in ranks]
        trace = tf.function(function, jit_compile=compiles or None, autograph=False)
        with tf.init_scope():
            trace = _traces.put(key, trace.get_concrete_function(*specs))
    return trace(*tensors)


def _compiles_now(function, signature, jit_compile):
    compiled = _compiled_shapes.get(function, ())
    if jit_compile is True or signature in compiled:
        return True
    if tf.executing_eagerly():
        if _seen.count((function, signature)) <= WARMUP_CALLS:
            return False
    elif len(compiled) >= MAX_COMPILED_SHAPES_IN_GRAPH:
        return False
    if not _worth_compiling(function, signature, signature[-1][1]):
        return False
    _add_compiled(function, signature)
    return True


def _can_compile(y_pred):
    """Whether XLA has its tools for where y_pred is; a warning where it has not."""
    on_cpu = _only_cpus() or "CPU:" in getattr(y_pred, "device", "")
    if on_cpu or not xla_tools.missing():
        return True
    warnings.warn(
        "jit_compile=True compiles for a GPU, and XLA's tools for that were not found. "
        f"Missing: {', '.join(xla_tools.missing())}. The loss runs uncompiled. Install "
        "nvidia-cuda-nvcc-cu12, or name a CUDA toolkit in XLA_FLAGS="
        "--xla_gpu_cuda_data_dir=FOLDER.",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def in_kernel() -> bool:
    """Whether a body that runs now becomes part of a compiled kernel."""
    return getattr(_tracing, "kernel", False)


def in_xla_on_cpu() -> bool:
    """Whether XLA compiles for a CPU what is built now: a kernel, or a whole step."""
    return (in_kernel() or _in_compiled_step()) and _only_cpus()


def _signature(tensors):
    """The dtypes and shapes, or None if there can be no kernel for such tensors."""
    signature = []
    for tensor in tensors:
        if tensor is None:
            signature.append(None)
            continue
        if not isinstance(tensor, tf.Tensor) or tensor.shape.rank is None:
            return None
        shape = tuple(tensor.shape)
        if 0 in shape:
            return None
        signature.append((tensor.dtype, shape))
    return tuple(signature)


def _kernel(core, key, jit_compile):
    """The kernel for this key, made now if it is time to; None for the plain way."""
    loss, signature, eager = key
    given = [part is not None for part in signature]

    def filled(*tensors):
        """`core` of the tensors that are given."""
        tensors = iter(tensors)
        return core(*(next(tensors) if there else None for there in given))

    force, open_key = jit_compile is True, _open_key(key)
    counted = eager and not force
    calls = _seen.count(key) if counted else 0
    shapes = _seen.count(open_key) if counted else 0
    repeated = force or not eager or calls > WARMUP_CALLS
    if repeated and (force or _worth_compiling(loss, signature, signature[1][1])):
        _add_compiled(loss, signature)
        specs = [
            tf.TensorSpec(shape, dtype) for dtype, shape in filter(None, signature)
        ]
        kernel = _compiled(filled, specs, eager)
    elif eager and (repeated or shapes > WARMUP_SHAPES):
        kernel = _traced(filled, open_key)
    else:
        return None
    return _kernels.put(key, kernel)


def _add_compiled(loss, signature):
    """Note that a loss is compiled for this signature; of many, the last are kept."""
    made = Cache(KERNEL_CACHE_SIZE)
    _compiled_shapes.put(loss, made).put(signature, True)


def _open_key(key):
    """The key of all tensors of these dtypes and ranks; axes of 1 stay known."""
    loss, signature, _ = key
    return loss, tuple(
        part and tf.TensorSpec([1 if n == 1 else None for n in part[1]], part[0])
        for part in signature
    )


def _worth_compiling(loss, signature, shape):
    if not shape or None in shape[1:] or not _only_cpus():
        return False
    compiled = _compiled_shapes.get(loss, ())
    if signature not in compiled and len(compiled) >= MAX_COMPILED_SHAPES:
        return False
    if shape[0] is None:
        return math.prod(shape[1:]) >= MIN_ELEMENTS_PER_SAMPLE and compat.in_fit()
    return math.prod(shape) >= MIN_ELEMENTS


def block_length(loss: type, y_true: Tensor, y_pred: Tensor) -> Optional[int]:
    """The length of rows in which a kernel would be faster, or None: as they are.

    Kernels run over whole vectors of a row: one of 21 leaves most of a vector empty,
    and elements that may stand in rows of 1024 take half the time. Not where a whole
    step is compiled: XLA would compute the place of each element in the old rows again.
    """
    if None in (y_true.shape.rank, y_pred.shape.rank):
        return None
    shape = tuple(y_pred.shape)
    if tuple(y_true.shape) != shape or len(shape) < 2:
        return None
    if None in shape[1:] or shape[-1] >= REMAT_MIN_ROW or _in_compiled_step():
        return None
    sample, enough = math.prod(shape[1:]), MIN_ELEMENTS_PER_SAMPLE
    if shape[0] is not None:
        sample, enough = sample * shape[0], MIN_ELEMENTS
    if sample < enough or (shape[0] is None and not compat.in_fit()):
        return None
    # A shape that does not come again stays as it is.
    if tf.executing_eagerly() and _seen.count((loss, shape)) == 1:
        return None
    return next((n for n in (1024, 512, 256, 128, 64) if sample % n == 0), None)


def _in_compiled_step():
    """Whether XLA compiles the whole of the graph that is built."""
    if GraphOrParentsInXlaContext is None or tf.executing_eagerly():
        return False
    return GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


@functools.cache
def _only_cpus():
    """XLA for other devices needs tools that may be missing there."""
    return all(d.device_type == "CPU" for d in tf.config.list_logical_devices())


def _traced(filled, key):
    """`filled` as a function of all tensors like these."""
    trace = _traces.get(key)
    if trace is None:
        make = functools.partial(tf.function, autograph=False)
        at = functools.partial(_concrete, specs=list(filter(None, key[1])))
        forward, both = at(make(filled)), at(make(_value_and_grad(filled)))
        d_pred = at(make(_gradient_to(filled, [1])))
        trace = _traces.put(key, _on_tape(both, d_pred, forward, forward))
    return trace


def _compiled(core, specs, eager):
    """`core` of tensors like these in XLA kernels.

    Its value and its gradient to y_pred, the second tensor, come of one, where it is
    known that the gradient will be asked for; else of two. What is seldom wanted, the
    gradient to the others, costs nothing until it is.
    """
    floating = [i for i, spec in enumerate(specs) if i != 1 and spec.dtype.is_floating]
    forward, both = _xla(core), _xla(_value_and_grad(core))
    d_pred, d_others = (_xla(_gradient_to(core, to)) for to in ([1], floating))

    def kernel(*tensors):
        @tf.custom_gradient
        def to_pred(y_pred):
            value = forward(*map(tf.stop_gradient, tensors))
            return value, lambda upstream: d_pred(upstream, *tensors)[0]

        value = to_pred(tensors[1])
        if not floating:
            return value

        @tf.custom_gradient
        def to_others(*_):
            """Zeros that carry the gradients to the other tensors."""
            return tf.zeros_like(value), (lambda upstream: d_others(upstream, *tensors))

        return value + to_others(*(tensors[i] for i in floating))

    if not eager:
        return _on_tape(both, d_pred, kernel, kernel)
    quick = [_concrete(function, specs) for function in (both, d_pred, forward)]
    return _on_tape(*quick, kernel)


def _value_and_grad(core):
    """(*tensors) -> the value of `core`, and its gradient to y_pred where that serves.

    In half precision the upstream gradient must scale it before it is rounded.
    """

    def value_and_grad(*tensors):
        value = core(*tensors)
        if value.shape.rank != 0 or value.dtype.size < 4:
            return (value,)
        return value, *_gradients(value, [tensors[1]])

    return value_and_grad


def _gradient_to(core, positions):
    """(upstream, *tensors) -> the gradients of `core` to those at `positions`."""

    def gradient(upstream, *tensors):
        sources = [tensors[i] for i in positions]
        return _gradients(core(*tensors), sources, upstream)

    return gradient


def _gradients(value, sources, upstream=None):
    # No tape: inside of one, forward mode loses what depends on `upstream`.
    zero = tf.UnconnectedGradients.ZERO
    return tf.gradients(value, sources, upstream, unconnected_gradients=zero)


def _concrete(function, specs):
    """`function` for these specs alone, the last ones; traced when it is called.

    A `tf.function` looks its specs up at every call, as long as a small loss takes.
    """
    made = functools.cache(function.get_concrete_function)
    known = all(spec.shape.is_fully_defined() for spec in specs)

    def call(*tensors):
        # What stands before them is what comes from upstream, in the shape of the
        # values: as open as the specs, or each new batch would be traced once more.
        first = tensors[: len(tensors) - len(specs)]
        first = (
            tf.TensorSpec(t.shape if known else [None] * t.shape.rank, t.dtype)
            for t in first
        )
        return made(*first, *specs)(*tensors)

    return call


def _on_tape(both, d_pred, alone, kernel):
    """`kernel`, but quicker where one tape watches y_pred alone, as in any usual step.

    Then the gradient is computed with the value, and the step back has to scale it.

    both     what gives the value, and its gradient if it can; made by `_value_and_grad`
    d_pred   what gives the gradient, where that is asked for by itself
    alone    what gives the value where nothing is watching
    """

    def on_tape(*tensors):
        watching = tape_watch.watching(tensors)
        if watching == tape_watch.NOTHING:
            return alone(*tensors)
        if watching == tape_watch.MORE or tape_watch.watching(
            [tensors[0], *tensors[2:]]
        ):
            return kernel(*tensors)
        value, *grad = tape_watch.unrecorded(both, *tensors)

        def gradient(upstream):
            # Unless the gradient itself is to be differentiated.
            if grad and not tape_watch.watching([upstream, *tensors]):
                return _times(upstream, grad[0])
            return d_pred(upstream, *tensors)[0]

        tape_watch.record(value, tensors[1], gradient)
        return value

    return on_tape


def _times(factor, grad):
    """factor * grad, for a factor that mostly is known, and 1."""
    known = tf.get_static_value(factor) if _only_cpus() else None
    return grad if known is not None and known == 1 else factor * grad


def _xla(function):
    """`function` as a kernel."""

    def marked(*tensors):
        before, _tracing.kernel = in_kernel(), True
        try:
            return function(*tensors)
        finally:
            _tracing.kernel = before

    return tf.function(marked, jit_compile=True, autograph=False)
