"""What every loss shares: inputs, dtype, logits recovery, config, registration.

A loss is written twice, as in Keras: a function of `y_true` and `y_pred` that returns
one value per sample, and a class that binds the function's arguments, weighs and
reduces the values, and can be saved. `loss_function` makes the first out of plain
maths, `Loss` is the base of the second.

Arguments that all classes share:

reduction   how the values of a batch become one number: "sum_over_batch_size" (the
            default; "auto" in Keras 2), "sum", "mean", "mean_with_sample_weight",
            "none" or None, as far as the host has them
name        the name of the loss; its default is Keras's
dtype       the dtype in which y_pred is taken and the loss is returned; None means
            Keras's floatx (Keras 3) or the dtype of y_pred (Keras 2)
jit_compile whether the loss is compiled to kernels of its own (`fused.py`): "auto",
            where that pays; True, always; False, never

`loss(y_true, y_pred, sample_weight=None)`: a weight multiplies its sample's value;
a mask on y_pred (from a Masking or Embedding layer) drops what it marks False.

Precision: y_pred is rounded to the dtype as in Keras, then all arithmetic runs in a
wider one: float32 for float16 and bfloat16, and float64 where the terms of a loss
cancel or the errors of its functions add up (`in_float64`), as in sums over a batch.
The result is rounded once. Integer labels are never rounded. Where autodiff would lose
digits, the gradient is written out (`written_out`).
"""

import functools
import numbers
import warnings

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses import fused, host
from keras_losses_ref.losses.reduction import MEANS, reduce, same_rank

_undecorated = tf.autograph.experimental.do_not_convert


class Loss(host.Loss):
    """Base of all losses here: a host Keras's `Loss` that keeps its promises.

    A subclass names its function in `function` and the constructor arguments that
    the function takes in `arguments`, and stores each under its own name.
    """

    #: The loss per sample, made by `loss_function`.
    function = None
    #: The names of the constructor arguments passed on to it, and kept in the config.
    arguments = ()
    #: Whether the loss as a whole may become a kernel (`fused.py`).
    fusible = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "function" in vars(cls):
            cls.function = staticmethod(cls.function)  # not a method of the instance
        # Not `__module__ == ...`: a user's subclass keeps the order it was written in.
        if cls.__module__.startswith(__package__) and "__init__" in vars(cls):
            cls.__init__ = host.in_host_order(cls.__init__, cls.__name__)

    def __init__(
        self,
        name=None,
        reduction=host.DEFAULT_REDUCTION,
        dtype=None,
        jit_compile="auto",
    ):
        host.init_base(self, name, reduction, dtype)
        if jit_compile not in ("auto", True, False):
            raise ValueError(
                f"{type(self).__name__}: `jit_compile` must be 'auto', True or False. "
                f"Received: jit_compile={jit_compile!r}."
            )
        self.jit_compile = jit_compile

    @_undecorated
    def __call__(self, y_true, y_pred, sample_weight=None):
        with tf.name_scope(self._scope()):
            mask = host.get_mask(y_pred)
            dtype = host.dtype_of(self, y_pred)
            reduction = host.effective_reduction(self)
            y_true, y_pred = to_tensors(y_true, y_pred, dtype, self.function.labels)
            if type(self).call is not Loss.call:
                values = widen(tf.convert_to_tensor(self.call(y_true, y_pred)))
                return total_loss(values, sample_weight, mask, reduction, dtype)
            function, bound = self.function, self._bound()
            if is_ragged(y_true) or is_ragged(y_pred):
                values = function.wide(y_true, y_pred, **bound)
                return total_loss(values, sample_weight, mask, reduction, dtype)
            y_true, y_pred, bound = function.prepare(y_true, y_pred, bound)
            loss = type(self)
            factor = 1.0
            if sample_weight is None and mask is None and reduction in MEANS:
                y_true, y_pred, bound, factor = self._even(y_true, y_pred, bound)

            def core(y_true, y_pred, sample_weight, mask):
                values = function.body(y_true, y_pred, bound)
                values = values if factor == 1.0 else values * factor
                values = loss.with_mask(values, dtype)
                return total_loss(values, sample_weight, mask, reduction, dtype)

            if sample_weight is not None and not tf.is_tensor(sample_weight):
                sample_weight = tf.convert_to_tensor(sample_weight)
            key = fused.key(loss, bound, factor, reduction, dtype, *host.state())
            key = key if self.fusible else None
            tensors = (y_true, y_pred, sample_weight, mask)
            return fused.run(core, key, tensors, self.jit_compile)

    def _even(self, y_true, y_pred, bound):
        """The same mean over a batch, in rows over which a kernel is faster.

        Returns (y_true, y_pred, arguments, the factor that each value is short of).
        """
        function, factor = self.function, 1.0
        alike = function.alike and self.jit_compile is not False
        if not alike or (function.alike == "one" and bound["axis"] is not None):
            return y_true, y_pred, bound, factor
        length = fused.even_row(type(self), y_true, y_pred)
        if length is None:
            return y_true, y_pred, bound, factor
        if bound.get("axis") is not None:
            check_axis(function.__name__, bound["axis"], y_pred.shape.rank)
            bound = dict(bound, axis=-1)
        if function.alike == "sum":
            factor = y_pred.shape[-1] / length
        y_true, y_pred = (
            tf.reshape(tensor, [-1, length]) for tensor in (y_true, y_pred)
        )
        return y_true, y_pred, bound, factor

    @staticmethod
    def with_mask(values, dtype):
        """`values`, with a mask on them if the mean is to leave some out."""
        return values

    def call(self, y_true, y_pred):
        """The loss per sample, before weights and reduction."""
        return self.function(y_true, y_pred, **self._bound())

    def _bound(self):
        return {name: getattr(self, name) for name in self.arguments}

    def _scope(self):
        name = (self.name or type(self).__name__).replace("<lambda>", "lambda")
        return name.strip("_") or "loss"

    def get_config(self):
        """Everything the constructor takes, so that a reloaded loss is the same loss.

        Keras's own `get_config` leaves out `dtype`.
        """
        config = {
            "name": self.name,
            "reduction": self.reduction,
            "dtype": None if self.dtype is None else tf.as_dtype(self.dtype).name,
            "jit_compile": self.jit_compile,
        }
        return {**config, **self._bound()}

    @classmethod
    def from_config(cls, config):
        return cls(**host.portable_config(config))

    def __repr__(self):
        config = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({config})"


def loss_function(
    labels="values",
    logits_of=None,
    broadcast=False,
    believe_from_logits=False,
    ragged=False,
    check=None,
    alike=None,
):
    """Make a loss function out of the maths of its body.

    The body gets tensors of one float dtype (float32 at least), their ranks aligned,
    and returns one value per sample; the result goes back in the dtype of `y_pred`.

    labels      "values" (cast to the dtype of y_pred) or "indices" (kept integers,
                with the class axis of y_pred missing)
    logits_of   "Sigmoid" or "Softmax": where y_pred is the output of that op in a
                graph, the body gets the op's input and `from_logits=True`, as in Keras
    believe_from_logits  whether from_logits=True is taken at its word even then
    ragged      whether rows of different lengths are taken, where the host takes them
    broadcast   whether an axis of 1 may stand against a longer one
    check       (name, y_true, y_pred, arguments) -> y_true, or raises
    alike       whether the mean over a batch is made of all its elements alike, so that
                they may stand in rows of any length: "mean" or "sum" if that is what
                a value is of its elements, "one" if without an axis there is one value

    `f.wide` is the same function before the result is narrowed; `f.prepare` and
    `f.body` are its two halves, the second of which can become a kernel.
    """

    def decorate(definition):
        name = definition.__name__

        def body(y_true, y_pred, bound):
            """The definition, in float32 at least."""
            y_pred = widen(y_pred)
            if labels == "values":
                y_true = tf.cast(y_true, y_pred.dtype)
            return definition(y_true, y_pred, **bound)

        def prepare(y_true, y_pred, bound):
            """What is done before the body, whichever way that is run."""
            if labels == "values":
                y_true, y_pred = align(name, y_true, y_pred, broadcast)
            believed = believe_from_logits and bound["from_logits"]
            hidden = bound.get("ignore_class") is not None
            hidden = hidden and not host.RECOVERS_BEHIND_IGNORE_CLASS
            if logits_of is not None and not believed and not hidden:
                y_pred, from_logits = recover_logits(
                    y_pred, bound["from_logits"], logits_of, name
                )
                bound = dict(bound, from_logits=from_logits)
            if check is not None:
                y_true = check(name, y_true, y_pred, bound)
            return y_true, y_pred, bound

        @_undecorated
        @functools.wraps(definition)
        def wide(y_true, y_pred, *args, **kwargs):
            y_true, y_pred = to_tensors(y_true, y_pred, None, labels)
            bound = _bind(definition, args, kwargs)
            if is_ragged(y_true) or is_ragged(y_pred):
                check_ragged(name, ragged, y_true, y_pred, bound)
                return by_row(functools.partial(wide, **bound), y_true, y_pred)
            return body(*prepare(y_true, y_pred, bound))

        @_undecorated
        @functools.wraps(definition)
        def function(y_true, y_pred, *args, **kwargs):
            dtype = host.dtype_of(_NO_DTYPE, y_pred)
            values = wide(y_true, y_pred, *args, **kwargs)
            narrow = tf.cast(values, dtype)
            mask = host.get_mask(values)
            if mask is not None:
                host.set_mask(narrow, mask)
            return narrow

        function = host.in_host_order(function, name)
        function.labels, function.prepare, function.body = labels, prepare, body
        function.wide, function.alike = wide, alike
        return host.register(function)

    return decorate


class _NO_DTYPE:
    dtype = None


def total_loss(values, sample_weight, mask, reduction, dtype):
    """`values` weighed, masked and reduced, in the dtype of the loss."""
    values_mask = host.get_mask(values)
    if mask is None:
        mask = values_mask
    elif values_mask is not None:
        mask = tf.logical_and(tf.cast(mask, tf.bool), values_mask)
    return tf.cast(reduce(values, sample_weight, mask, reduction), dtype)


def _bind(body, args, kwargs):
    """The keyword arguments of `body` beyond y_true and y_pred, defaults filled in."""
    names = body.__code__.co_varnames[2 : body.__code__.co_argcount]
    bound = dict(zip(names, body.__defaults__ or ()))
    if len(args) > len(names):
        raise TypeError(
            f"{body.__name__} takes at most {len(names) + 2} positional arguments. "
            f"Received: {len(args) + 2}."
        )
    bound.update(zip(names, args))
    for name, value in kwargs.items():
        if name not in names:
            raise TypeError(
                f"{body.__name__} got an unexpected argument `{name}`. "
                f"Expected one of: {', '.join(('y_true', 'y_pred') + names)}."
            )
        bound[name] = value
    return bound


def to_tensors(y_true, y_pred, dtype, labels):
    """y_pred as a float tensor; y_true in the same dtype, unless it holds integers.

    Integers stay integers: 257 is no bfloat16, 2049 no float16, 2^24 + 1 no float32.
    """
    if dtype is None:
        dtype = host.dtype_of(_NO_DTYPE, y_pred)
    if not tf.is_tensor(y_pred):
        y_pred = tf.convert_to_tensor(y_pred)
    if y_pred.dtype != dtype:  # a cast hides the op that made y_pred, here as in Keras
        y_pred = tf.cast(y_pred, dtype)
    if not tf.is_tensor(y_true):
        y_true = tf.convert_to_tensor(y_true)
    if y_true.dtype.is_floating and labels == "values":
        y_true = tf.cast(y_true, dtype)
    return y_true, y_pred


def is_ragged(tensor):
    return isinstance(tensor, tf.RaggedTensor)


def check_ragged(name, allowed, y_true, y_pred, arguments):
    """Refuse ragged inputs where the host has no meaning for them."""
    if host.GENERATION == 3 or not allowed:
        takes = "Keras 3 has no ragged losses" if host.GENERATION == 3 else name
        if host.GENERATION == 2:
            takes += " takes no ragged inputs, in Keras neither"
        raise ValueError(
            f"{name}: ragged inputs are not supported: {takes}. Received: "
            f"y_true of type {type(y_true).__name__}, y_pred of type "
            f"{type(y_pred).__name__}. Pass tensor.to_tensor() and a sample_weight "
            "that is 0 for the padding."
        )
    if arguments.get("axis", -1) != -1:
        raise ValueError(
            f"{name}: ragged inputs are reduced over their last axis. Received: "
            f"axis={arguments['axis']}. Expected axis=-1."
        )
    if not is_ragged(y_pred):
        raise ValueError(
            f"{name}: y_true is ragged and y_pred is not. Received: "
            f"y_pred.shape={tuple(y_pred.shape)}. Make y_pred ragged, or pass "
            "y_true.to_tensor()."
        )


def by_row(function, y_true, y_pred):
    """`function` of each row of a ragged y_pred by itself, as Keras 2 has it.

    (n, (rows), features) gives (n, (rows)); (n, (features)) gives (n,).
    """
    if not is_ragged(y_pred):
        return function(y_true, y_pred)
    if not is_ragged(y_true):
        return function(y_true, y_pred.to_tensor())
    message = "y_true and y_pred must have rows of the same lengths."
    same = tf.debugging.assert_equal(y_true.row_splits, y_pred.row_splits, message)
    with tf.control_dependencies([] if same is None else [same]):
        if is_ragged(y_pred.values) or y_pred.values.shape.rank > 1:
            values = by_row(function, y_true.values, y_pred.values)
            return y_pred.with_values(values)
        return tf.map_fn(
            lambda row: tf.cast(function(*row), tf.float64),
            (y_true, y_pred),
            fn_output_signature=tf.TensorSpec([], tf.float64),
        )


def widened(dtype):
    """float32 for float16 and bfloat16; any other dtype as it is."""
    return tf.float32 if dtype.size < 4 else dtype


def widen(tensor):
    """float16 and bfloat16 as float32; everything else as it is."""
    return tf.cast(tensor, widened(tensor.dtype))


def in_float64(*tensors):
    """`tensors` for a body that works in float64 whatever the dtype.

    Constants such as Keras's epsilon are rounded to the dtype of the loss first: they
    are part of the definition.
    """
    return [tf.cast(tensor, tf.float64) for tensor in tensors]


def align(name, y_true, y_pred, broadcast):
    """Give y_true and y_pred one rank, or say why they have none.

    (N,) against (N, 1) becomes (N, 1), never (N, N).
    """
    if y_true.shape.rank is None or y_pred.shape.rank is None:
        return y_true, y_pred
    true, pred = same_rank(y_true, y_pred)
    fits = true.shape.rank == pred.shape.rank and all(
        a is None or b is None or a == b or (broadcast and 1 in (a, b))
        for a, b in zip(true.shape, pred.shape)
    )
    if not fits:
        hint = ""
        if y_true.shape.rank == y_pred.shape.rank - 1 and "categorical" in name:
            hint = (
                " y_true looks like class indices: use the sparse form of the loss, "
                "or one-hot encode it."
            )
        raise ValueError(
            f"{name}: y_true and y_pred cannot be aligned; they must have the same "
            "shape. Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}. "
            "Expected equal shapes, or one of them with an extra last axis of 1."
            + (hint or " Reshape y_true to the shape of y_pred.")
        )
    return true, pred


def recover_logits(y_pred, from_logits, op_type, name):
    """In a graph, the logits behind probabilities that a Sigmoid or Softmax op made.

    A probability that rounds to 1 has lost its gradient; the op's input has not.
    Keras does the same, so softmax([20, -20]) gives a loss of 16.118 eagerly and of
    40.0 inside `fit`. Eager tensors do not know their op, but Keras's activations
    hang `_keras_logits` on their outputs, which counts everywhere.
    """
    logits = getattr(y_pred, "_keras_logits", None)
    if logits is None and not isinstance(y_pred, tf.Variable):
        op = getattr(y_pred, "op", None)  # an eager tensor has none
        if op is not None and op.type == op_type:
            (logits,) = op.inputs
    if logits is None:
        return y_pred, from_logits
    if from_logits:
        warnings.warn(
            f"{name} received from_logits=True, but y_pred was made by a {op_type} "
            "activation: it holds probabilities. The logits behind them are used. "
            "Remove the activation or from_logits=True.",
            stacklevel=3,
        )
    return logits, True


def move_axis_last(tensor, axis):
    """`tensor` with `axis` as its last one, for kernels that take classes last."""
    rank = tensor.shape.rank
    if axis in (-1, rank - 1 if rank is not None else None):
        return tensor
    order = [i for i in range(rank) if i != axis % rank] + [axis % rank]
    return tf.transpose(tensor, order)


def check_axis(name, axis, rank):
    """An `axis` that is an integer and exists."""
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ValueError(
            f"{name}: `axis` must be an int. Received: axis={axis!r} of type "
            f"{type(axis).__name__}."
        )
    if rank is not None and not -rank <= axis < rank:
        raise ValueError(
            f"{name}: `axis` is out of range. Received: axis={axis} for a y_pred of "
            f"rank {rank}. Expected {-rank} <= axis < {rank}."
        )
    return axis


def check_label_smoothing(name, label_smoothing):
    """A `label_smoothing` between 0 and 1."""
    if tf.is_tensor(label_smoothing):
        return label_smoothing  # known only when the graph runs
    if isinstance(label_smoothing, bool) or not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"{name}: `label_smoothing` must be a number in [0, 1]. Received: "
            f"label_smoothing={label_smoothing!r}."
        )
    return label_smoothing


def check_axes(name, axis, rank):
    """An `axis` that is an integer, several, or None for all; lists become tuples."""
    if axis is None:
        return None
    if isinstance(axis, (list, tuple)):
        return tuple(check_axis(name, one, rank) for one in axis)
    return check_axis(name, axis, rank)


def check_number(name, argument, value):
    """A real number as a Python number, so that a config can hold it; tensors pass."""
    if tf.is_tensor(value):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(
            f"{name}: `{argument}` must be a number. Received: {argument}={value!r} of "
            f"type {type(value).__name__}."
        )
    return value if isinstance(value, (int, float)) else float(value)


def check_positive(name, argument, value):
    """A number above 0, as a float: Keras's Huber refuses an int."""
    value = check_number(name, argument, value)
    if tf.is_tensor(value):
        return value
    if not value > 0:
        raise ValueError(
            f"{name}: `{argument}` must be greater than 0. Received: "
            f"{argument}={value!r}."
        )
    return float(value)


def constant(value, dtype):
    """A hyperparameter in `dtype`; `tf.cast` would take a float through float32."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(value, dtype)


def written_out(terms, *tensors, wide=False, shares=False):
    """`terms(*tensors)` with its gradient written out, not left to autodiff.

    `terms` returns (values, gradient), and `gradient(upstream)` returns the gradients
    to the tensors, of their shapes. It is made of differentiable operations, so that
    second derivatives and forward mode come out of it as well.

    wide    whether `terms` works in float64 whatever the dtype
    shares  whether in a kernel too the gradient takes parts from the values; else it
            starts from the tensors again, if their rows are long
    """
    inside = in_float64 if wide else lambda *tensors: tensors

    def both(*tensors):
        values, gradient = terms(*inside(*tensors))

        def narrow(upstream):
            slopes = gradient
            if fused.recomputes(tensors[-1]) and not shares:
                _, slopes = terms(*inside(*fused.anew(*tensors)))
            slopes = slopes(upstream)
            return [tf.cast(s, t.dtype) for s, t in zip(slopes, tensors)]

        return values, narrow

    return tf.custom_gradient(both)(*tensors)


def mean_of(terms, y_true, y_pred, axis=-1, wide=False):
    """The mean along `axis` of elementwise terms, the gradient written out.

    `terms(y_true, y_pred)` returns (values, slopes), and `slopes()` the derivatives of
    each value by its own y_true and y_pred.
    """
    return sum_of(terms, y_true, y_pred, axis, wide, tf.shape(y_pred)[axis])


def sum_of(terms, y_true, y_pred, axis=-1, wide=False, count=None):
    """The sum along `axis` of elementwise terms; their mean if there is a count."""

    def reduced(y_true, y_pred):
        values, slopes = terms(y_true, y_pred)

        def gradient(upstream):
            if count is not None:
                upstream /= tf.cast(count, upstream.dtype)
            upstream = tf.expand_dims(upstream, axis)
            by_true, by_pred = slopes()
            return upstream * by_true, upstream * by_pred

        along = sum_along if count is None else mean_along
        return along(values, axis), gradient

    return written_out(reduced, *together(y_true, y_pred), wide=wide)


def mean_along(values, axis=-1):
    """The mean along `axis`."""
    if not fused.in_kernel():
        return tf.reduce_mean(values, axis=axis)
    count = tf.cast(tf.shape(values)[axis], values.dtype)
    return sum_along(values, axis) / count


def sum_along(values, axis=-1, keepdims=False):
    """The sum along `axis`, or several, or all if None.

    In a kernel in float64, and so that XLA has less to add one number after the other:
    short rows are products with ones, and so are blocks of long ones, or where these
    are no whole blocks, first their halves, thirds or fifths are added to each other.
    What goes into a longer product would be written to memory.
    """
    rank, count = values.shape.rank, values.shape[-1] if values.shape.rank else None
    axes = range(rank or 0) if axis is None else np.atleast_1d(axis)
    axes = sorted(int(a) % rank for a in axes) if rank else []
    if not fused.in_kernel() or count is None or rank - 1 not in axes:
        return tf.reduce_sum(values, axis=axis, keepdims=keepdims)
    sums = tf.cast(values, tf.float64)
    blocks = (count,) if count <= 1024 else (128, 64, 32)
    block = next((n for n in blocks if count % n == 0), None)
    if block:
        shape = tf.concat([tf.shape(sums)[:-1], [count // block]], 0)
        blocks, ones = tf.reshape(sums, [-1, block]), tf.ones([block], sums.dtype)
        sums = tf.reshape(tf.linalg.matvec(blocks, ones), shape)
    else:
        parts = next(n for n in (5, 4, 3, 2, 1) if count % n == 0)
        sums = tf.add_n(tf.split(sums, parts, axis=-1))
    sums = tf.reduce_sum(sums, axis=axes, keepdims=keepdims)
    return tf.cast(sums, values.dtype)


def together(y_true, y_pred):
    """Both in the shape that they broadcast to."""
    same = y_true.shape.is_fully_defined() and y_true.shape == y_pred.shape
    if same:
        return y_true, y_pred
    shape = tf.broadcast_dynamic_shape(tf.shape(y_true), tf.shape(y_pred))
    return tf.broadcast_to(y_true, shape), tf.broadcast_to(y_pred, shape)


def difference(a, b):
    """(a - b, what it was rounded by), by Knuth's TwoSum; NaN by where infinite."""
    rounded = a - b
    back = rounded - a
    return rounded, (a - (rounded - back)) - (b + back)


def power_of_two(x):
    """The largest power of two up to a float64 x > 0, as a constant; 1 for x = 0."""
    exponent = tf.bitwise.right_shift(tf.bitcast(x, tf.int64), 52)
    power = tf.bitcast(tf.bitwise.left_shift(exponent, 52), tf.float64)
    return tf.stop_gradient(tf.where(power > 0, power, tf.ones_like(x)))


def total(values, axis=None, keepdims=False):
    """The sum along `axis`, added up in float64 and given in the dtype of `values`."""
    exact = sum_along(tf.cast(values, tf.float64), axis, keepdims)
    return tf.cast(exact, values.dtype)
