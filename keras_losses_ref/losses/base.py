"""What every loss shares: inputs, dtype, logits recovery, config, registration.

A loss is written twice, as in Keras: a function of `y_true` and `y_pred` that returns
one value per sample, and a class that binds the function's arguments, weighs and
reduces the values, and can be saved. `loss_function` makes the first out of plain
maths, `Loss` is the base of the second.

`loss(y_true, y_pred, sample_weight=None)`: a weight multiplies its sample's value;
a mask on y_pred (from a Masking or Embedding layer) drops what it marks False.

Precision: y_pred is rounded to the dtype as in Keras. A float16 or bfloat16 loss then
computes in float32 and rounds its result once, a float32 and a float64 loss compute in
their own dtype. Integer labels are never rounded.
"""

import copyreg
import functools
import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Optional, TypeVar, Union

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.compat import DType, F, Tensor
from keras_losses_ref.losses.inputs import (
    align,
    by_row,
    check_ragged,
    is_ragged,
    recover_logits,
    symbolic_loss,
    to_array,
    to_flat,
    to_tensors,
    widen,
)
from keras_losses_ref.losses.kernels import dispatch
from keras_losses_ref.losses.reduction import MEANS, reduce_weighted_values

#: What `help` shows below each loss: the arguments that all of them share.
SHARED_ARGUMENTS = """\
reduction    how the values of a batch become one number: "sum_over_batch_size" (the
             default; "auto" in Keras 2), "sum", "mean", "mean_with_sample_weight",
             "none" or None, as far as the host has them
name         the name of the loss; its default is Keras's
dtype        the dtype in which y_pred is taken and the loss is returned; None means
             Keras's floatx (Keras 3) or the dtype of y_pred (Keras 2)
jit_compile  whether the loss is compiled to kernels of its own: "auto", where that
             pays; True, always; False, never
"""


def field(*, default: Any, kw_only: bool = False) -> Any:
    """The default of an argument; a type checker wants some by keyword."""
    return default


if TYPE_CHECKING:
    # Keras's Loss has no types. A type checker takes the attributes that a class
    # annotates for the arguments of its constructor, as in a dataclass; `_constructor`
    # makes it of the function's arguments, which are the same.
    from typing_extensions import dataclass_transform

    @dataclass_transform(field_specifiers=(field,))
    class _Base: ...

else:
    _Base = compat.Loss

L = TypeVar("L", bound="Loss")


def undecorated(function: F) -> F:
    """`function` as it is written, which AutoGraph need not convert."""
    converted: F = tf.autograph.experimental.do_not_convert(function)
    return converted


class Loss(_Base):
    """Base class of all losses; extends the installed Keras's `Loss`.

    A subclass names its function in `function`. Its constructor takes the arguments of
    the function and those that all losses share, and stores each under its own name.
    """

    if TYPE_CHECKING:
        reduction: Optional[str] = field(default="", kw_only=True)
        name: Optional[str] = field(default="", kw_only=True)
        dtype: DType = field(default=None, kw_only=True)
        jit_compile: Union[bool, str] = field(default="auto", kw_only=True)

    #: The loss per sample, made by `loss_function`.
    function: ClassVar[Any] = None
    #: The name of a loss that was given none; by default that of the function.
    default_name: ClassVar[Optional[str]] = None
    #: The arguments of the function that the constructor takes, stores and passes on.
    arguments: ClassVar[tuple[str, ...]] = ()
    #: The order of the constructor's arguments, where Keras has "reduction" and "name"
    #: not behind all of those.
    order: ClassVar[Optional[tuple[str, ...]]] = None
    #: Whether the loss as a whole may become a kernel (`dispatch.py`).
    fusible: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "function" in vars(cls):
            cls.function = staticmethod(cls.function)  # not a method of the instance
        # A user's subclass keeps the constructor that it was written with.
        if cls.__module__.startswith(__package__) and "__init__" not in vars(cls):
            if "arguments" not in vars(cls):
                cls.arguments = tuple(inspect.signature(cls.function).parameters)[2:]
            cls.__doc__ = cls.function.__doc__
            cls.__init__ = compat.in_host_order(_constructor(cls), cls.__name__)
        if cls.__module__.startswith(__package__):
            cls.__doc__ = _with_shared_docs(cls.__doc__, cls.__init__)

    def __init__(
        self,
        name: Optional[str] = None,
        reduction: Optional[str] = compat.DEFAULT_REDUCTION,
        dtype: DType = None,
        jit_compile: Union[bool, str] = "auto",
        **arguments: Any,
    ) -> None:
        compat.check_backend(type(self).__name__)
        compat.init_base(self, name, reduction, dtype)
        for argument, value in arguments.items():
            setattr(self, argument, self._checked(argument, value))
        if jit_compile not in ("auto", True, False):
            raise ValueError(
                f"{type(self).__name__}: `jit_compile` must be 'auto', True or False. "
                f"Received: jit_compile={jit_compile!r}."
            )
        self.jit_compile = jit_compile

    def _checked(self, argument, value):
        check = self.function.checks.get(argument)
        return check(type(self).__name__, argument, value) if check else value

    @undecorated
    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Optional[Tensor] = None
    ) -> Tensor:
        if any(map(compat.is_symbolic, (y_true, y_pred, sample_weight))):
            return symbolic_loss(self, y_true, y_pred, sample_weight=sample_weight)
        with tf.name_scope(self._scope()):
            mask = compat.get_mask(y_pred)
            dtype = compat.dtype_of(self.dtype, y_pred)
            reduction = compat.effective_reduction(self)
            y_true, y_pred = to_tensors(y_true, y_pred, dtype, self.function.labels)
            if type(self).call is not Loss.call:
                values = widen(tf.convert_to_tensor(self.call(y_true, y_pred)))
                return reduce_weighted_values(
                    values, sample_weight, mask, reduction, dtype
                )
            function, bound = self.function, self._call_kwargs()
            if is_ragged(y_true) or is_ragged(y_pred):
                values = function.unrounded(y_true, y_pred, **bound)
                return reduce_weighted_values(
                    values, sample_weight, mask, reduction, dtype
                )
            y_true, y_pred, bound = function.prepare(y_true, y_pred, bound)
            cls = type(self)
            factor = 1.0
            if sample_weight is None and mask is None and reduction in MEANS:
                y_true, y_pred, bound, factor = self._reblock(y_true, y_pred, bound)

            def core(y_true, y_pred, sample_weight, mask):
                values = function.body(y_true, y_pred, bound)
                values = values if factor == 1.0 else values * factor
                values = cls.with_mask(values, dtype)
                return reduce_weighted_values(
                    values, sample_weight, mask, reduction, dtype
                )

            if sample_weight is not None and not tf.is_tensor(sample_weight):
                sample_weight = tf.convert_to_tensor(sample_weight)
            key = dispatch.key(cls, bound, factor, reduction, dtype, *compat.state())
            key = key if self.fusible else None
            tensors = (y_true, y_pred, sample_weight, mask)
            return dispatch.run(core, key, tensors, self.jit_compile)

    def _reblock(self, y_true, y_pred, bound):
        """The batch in rows of a length over which a kernel is fast: the same mean.

        Returns (y_true, y_pred, arguments, the factor that each value is short of).
        """
        function, factor = self.function, 1.0
        flattenable = function.flattenable
        if flattenable == "one" and bound["axis"] is not None:
            flattenable = None
        if not flattenable or self.jit_compile is False:
            return y_true, y_pred, bound, factor
        length = dispatch.block_length(type(self), y_true, y_pred)
        if length is None:
            return y_true, y_pred, bound, factor
        if bound.get("axis") is not None:
            bound = dict(bound, axis=-1)
        if function.flattenable == "sum":
            factor = y_pred.shape[-1] / length
        y_true, y_pred = (
            tf.reshape(tensor, [-1, length]) for tensor in (y_true, y_pred)
        )
        return y_true, y_pred, bound, factor

    @staticmethod
    def with_mask(values: Tensor, dtype: DType) -> Tensor:
        """`values`, with a mask on them if the mean is to leave some out."""
        return values

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss per sample, before weights and reduction."""
        return self.function(y_true, y_pred, **self._call_kwargs())

    def _call_kwargs(self):
        return {name: getattr(self, name) for name in self.arguments}

    def _scope(self):
        name = (self.name or type(self).__name__).replace("<lambda>", "lambda")
        return name.strip("_") or "loss"

    def get_config(self) -> dict[str, Any]:
        """Everything the constructor takes, so that a reloaded loss is the same loss.

        Keras's own `get_config` leaves out `dtype`.
        """
        config = {
            "name": self.name,
            "reduction": self.reduction,
            "dtype": None if self.dtype is None else tf.as_dtype(self.dtype).name,
            "jit_compile": self.jit_compile,
        }
        return {**config, **self._call_kwargs()}

    @classmethod
    def from_config(cls: type[L], config: Mapping[str, Any]) -> L:
        return cls(**compat.portable_config(config))

    def __reduce__(self):
        """A pickle that names this class, whatever is done to the host's `Loss`."""
        get_state = getattr(self, "__getstate__", self.__dict__.copy)
        return copyreg.__newobj__, (type(self),), get_state()

    def __repr__(self):
        config = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({config})"


def _with_shared_docs(doc, init):
    """`doc` with a section on those of the shared arguments that `init` takes."""
    if doc is None:  # python -OO
        return None
    accepted = inspect.signature(init).parameters
    entries = re.split(r"\n(?=\w)", SHARED_ARGUMENTS.rstrip())
    lines = [entry for entry in entries if entry.split()[0] in accepted]
    shared = "\n".join(["Arguments that all losses share:", "", *lines])
    return f"{inspect.cleandoc(doc)}\n\n{shared}\n"


Loss.__doc__ = _with_shared_docs(Loss.__doc__, Loss.__init__)


def _constructor(cls):
    """A constructor of the arguments of the function, and of those that all share."""
    given = inspect.signature(cls.function).parameters
    defaults = {name: given[name].default for name in cls.arguments}
    defaults["reduction"] = compat.DEFAULT_REDUCTION
    defaults["name"] = cls.default_name or cls.function.__name__
    if cls.order is not None:
        defaults = {name: defaults[name] for name in cls.order}
    defaults.update(dtype=None, jit_compile="auto")

    def __init__(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        Loss.__init__(**bound.arguments)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(n, kind, default=d) for n, d in defaults.items()]
    me = inspect.Parameter("self", kind)
    signature = __init__.__signature__ = inspect.Signature([me, *parameters])
    return __init__


def loss_function(
    kernel: Optional[Callable[..., Any]] = None,
    checks: Optional[Mapping[str, Callable[..., Any]]] = None,
    labels: str = "values",
    logits_of: Optional[str] = None,
    broadcast: bool = False,
    trust_from_logits: bool = False,
    ragged: bool = True,
    check: Optional[Callable[..., Any]] = None,
    flattenable: Optional[str] = None,
) -> Callable[[F], F]:
    """Make a loss function out of its definition, the maths of its body.

    The definition gets tensors of one float dtype (float32 at least), their ranks
    aligned, and returns one value per sample; the result goes back in the dtype of
    `y_pred`. TensorFlow differentiates it.

    kernel      the same function with its gradient in closed form, by y_true and y_pred
                both, itself differentiable. It runs where it applies: on tensors of
                known rank, with hyperparameters that are no tensors. Elsewhere, and
                where it returns NotImplemented, the definition does, for each row of
                ragged inputs as well
    labels      "values" (cast to the dtype of y_pred) or "indices" (kept integers,
                with the class axis of y_pred missing)
    logits_of   "Sigmoid" or "Softmax": where y_pred is the output of that op in a
                graph, the body gets the op's input and `from_logits=True`, as in Keras
    trust_from_logits  whether from_logits=True is taken at its word even then
    ragged      whether rows of different lengths are taken, each by itself
    broadcast   whether an axis of 1 may stand against a longer one
    checks      for arguments by their names, of `validation.py`: what they may be
    check       (name, y_true, y_pred, arguments) -> y_true, or raises
    flattenable  whether the loss averages over all elements of a batch equally, so that
                they may be reshaped to any row length: "mean" or "sum" if that is what
                a value is of its elements, "one" if without an axis there is one value

    `f.unrounded` is the same function before the result is rounded to the dtype;
    `f.prepare` and `f.body` are its two halves: the second can be traced or compiled.
    `f.definition` and `f.kernel` are what the body chooses from.
    """

    checks = checks or {}

    def decorate(definition):
        name = definition.__name__

        def body(y_true, y_pred, bound, kernel=kernel):
            """The kernel where it applies, else the definition; in float32 at least."""
            y_pred = widen(y_pred)
            if labels == "values":
                y_true = tf.cast(y_true, y_pred.dtype)
            values = NotImplemented
            if kernel is not None and _applies(y_true, y_pred, bound):
                values = kernel(y_true, y_pred, **bound)
            if values is NotImplemented:
                values = definition(y_true, y_pred, **bound)
            return values

        def prepare(y_true, y_pred, bound):
            """Align the inputs, recover logits and validate, before any kernel runs."""
            if labels == "values":
                y_true, y_pred = align(name, y_true, y_pred, broadcast)
            believed = trust_from_logits and bound["from_logits"]
            hidden = bound.get("ignore_class") is not None
            hidden = hidden and not compat.RECOVERS_BEHIND_IGNORE_CLASS
            if logits_of is not None and not believed and not hidden:
                y_pred, from_logits = recover_logits(
                    y_pred, bound["from_logits"], logits_of, name
                )
                bound = dict(bound, from_logits=from_logits)
            shape = y_pred.shape
            bound = dict(bound)
            for argument in checks.keys() & bound.keys():
                value = bound[argument]
                bound[argument] = checks[argument](name, argument, value, shape, bound)
            if check is not None:
                y_true = check(name, y_true, y_pred, bound)
            return y_true, y_pred, bound

        @undecorated
        @functools.wraps(definition)
        def unrounded(y_true, y_pred, *args, **kwargs):
            y_true, y_pred = to_tensors(y_true, y_pred, None, labels)
            bound = _bind(definition, args, kwargs)
            if is_ragged(y_true) or is_ragged(y_pred):
                check_ragged(name, ragged, y_true, y_pred, bound)
                if bound.get("axis", -1) is None:  # over all elements of all rows
                    flat = (to_flat(tensor) for tensor in (y_true, y_pred))
                    return body(*prepare(*flat, bound), kernel=None)
                return by_row(lambda *row: of_row(*row, bound), y_true, y_pred)
            return body(*prepare(y_true, y_pred, bound))

        def of_row(y_true, y_pred, bound):
            tensors = to_tensors(y_true, y_pred, None, labels)
            return body(*prepare(*tensors, bound), kernel=None)

        @undecorated
        @functools.wraps(definition)
        def function(y_true, y_pred, *args, **kwargs):
            compat.check_backend(name)
            bound = _bind(definition, args, kwargs)
            if any(map(compat.is_symbolic, (y_true, y_pred, *bound.values()))):
                return symbolic_loss(function, y_true, y_pred, **bound)
            y_pred = to_array(y_pred)
            dtype = compat.dtype_of(None, y_pred)
            values = unrounded(y_true, y_pred, **bound)
            narrow = tf.cast(values, dtype)
            mask = compat.get_mask(values)
            if mask is not None:
                compat.set_mask(narrow, mask)
            return narrow

        function = compat.in_host_order(function, name)
        function.labels, function.prepare, function.body = labels, prepare, body
        function.unrounded, function.flattenable = unrounded, flattenable
        function.definition, function.kernel = definition, kernel
        function.checks = checks
        return compat.register(function)

    return decorate


def _applies(y_true, y_pred, bound):
    """Whether a kernel can take these inputs and arguments."""
    dense = isinstance(y_true, tf.Tensor) and isinstance(y_pred, tf.Tensor)
    if not dense or None in (y_true.shape.rank, y_pred.shape.rank):
        return False
    return not any(tf.is_tensor(value) for value in bound.values())


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
