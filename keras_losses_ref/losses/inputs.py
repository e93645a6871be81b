"""What a loss is given: tensors, ranks, ragged rows, class labels, logits recovery."""

import warnings
from collections.abc import Mapping
from typing import Any, Callable, Optional

import numpy as np
import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.compat import DType, Tensor
from keras_losses_ref.losses.reduction import squeeze_or_expand_to_same_rank
from keras_losses_ref.losses.validation import check_axis, check_labels


def to_tensors(
    y_true: Tensor, y_pred: Tensor, dtype: DType, labels: str
) -> tuple[Tensor, Tensor]:
    """y_pred as a float tensor; y_true in the same dtype, unless it holds integers.

    Integers stay integers: 257 is no bfloat16, 2049 no float16, 2^24 + 1 no float32.
    """
    y_pred = to_array(y_pred)
    if dtype is None:
        dtype = compat.dtype_of(None, y_pred)
    y_pred, y_true = to_tensor(y_pred), to_tensor(y_true)
    if y_pred.dtype != dtype:  # a cast hides the op that made y_pred, here as in Keras
        y_pred = tf.cast(y_pred, dtype)
    if y_true.dtype.is_floating and labels == "values":
        y_true = tf.cast(y_true, dtype)
    return y_true, y_pred


def to_tensor(value: Any) -> Tensor:
    """A tensor or a ragged one out of anything that holds numbers.

    A variable is read here, TensorFlow's or Keras's, so that all the rest of a loss
    sees tensors.
    """
    if isinstance(value, (tf.Tensor, tf.RaggedTensor)):
        return value
    return tf.convert_to_tensor(to_array(value))


def to_array(value: Any) -> Tensor:
    """What has a NumPy form, such as a column of pandas, in it; the rest as it is.

    An array of objects becomes one of the numbers that it holds.
    """
    if tf.is_tensor(value) or not hasattr(value, "__array__"):
        return value
    array = np.asarray(value)
    return np.array(array.tolist()) if array.dtype == object else array


@compat.register
class SymbolicLoss(compat.Operation):
    """A loss as a step of a functional model, where it is called on symbolic tensors.

    loss        the function or instance; `arguments` are passed on to it
    """

    def __init__(
        self,
        loss: Any,
        arguments: Optional[Mapping[str, Any]] = None,
        name: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **{**compat.AS_IT_COMES, **kwargs})
        self.loss = loss if callable(loss) else compat.from_saved(loss)
        self.arguments = arguments or {}
        self.supports_masking = True

    def call(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        tensors: Optional[Mapping[str, Any]] = None,
    ) -> Tensor:
        return self.loss(y_true, y_pred, **self.arguments, **(tensors or {}))

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: the mask of y_pred is part of the loss."""

    def get_config(self) -> dict[str, Any]:
        config = super().get_config() if compat.GENERATION == 2 else {"name": self.name}
        loss = compat.to_save(self.loss)
        return {**config, "loss": loss, "arguments": self.arguments}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        return cls(**config)


def symbolic_loss(
    loss: Any, y_true: Tensor, y_pred: Tensor, **arguments: Any
) -> Tensor:
    """The symbolic output of `loss`, of whose inputs some are symbolic."""
    given = {k: v for k, v in arguments.items() if v is not None}
    tensors = {k: v for k, v in given.items() if compat.is_symbolic(v)}
    plain = {k: v for k, v in given.items() if k not in tensors}
    inputs = [v if compat.is_symbolic(v) else to_tensor(v) for v in (y_true, y_pred)]
    return SymbolicLoss(loss, plain)(
        *inputs, **({"tensors": tensors} if tensors else {})
    )


def is_ragged(tensor: Tensor) -> bool:
    return isinstance(tensor, tf.RaggedTensor)


def check_ragged(
    name: str,
    allowed: bool,
    y_true: Tensor,
    y_pred: Tensor,
    arguments: Mapping[str, Any],
) -> None:
    """Refuse ragged inputs where the loss has no meaning for them."""
    if not allowed:
        raise ValueError(
            f"{name}: the loss of a row depends on more than that row's elements, so "
            "ragged inputs have none. Received: y_true of type "
            f"{type(y_true).__name__}, y_pred of type {type(y_pred).__name__}. Pass "
            "tensor.to_tensor() and a sample_weight that is 0 for the padding."
        )
    if arguments.get("axis", -1) not in (-1, None):
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


def to_flat(tensor: Tensor) -> Tensor:
    """The elements of a ragged tensor, or of a dense one, in a vector."""
    flat = tensor.flat_values if is_ragged(tensor) else tensor
    return tf.reshape(flat, [-1])


def by_row(function: Callable[..., Tensor], y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`function` of each row of a ragged y_pred by itself.

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
            lambda row: function(*row),
            (y_true, y_pred),
            fn_output_signature=tf.TensorSpec([], widened(y_pred.dtype)),
        )


def widened(dtype: DType) -> DType:
    """float32 for float16 and bfloat16; any other dtype as it is."""
    return tf.float32 if dtype.size < 4 else dtype


def widen(tensor: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; everything else as it is."""
    return tf.cast(tensor, widened(tensor.dtype))


def align(
    name: str, y_true: Tensor, y_pred: Tensor, broadcast: bool
) -> tuple[Tensor, Tensor]:
    """Give y_true and y_pred one rank, or say why they have none.

    (N,) against (N, 1) becomes (N, 1), never (N, N). Where a graph does not know enough
    of the shapes, they are aligned, and refused, when it runs.
    """
    true, pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
    if None in (true.shape.rank, pred.shape.rank):
        return _aligned_at_run_time(name, true, pred, broadcast)
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


def _aligned_at_run_time(name, y_true, y_pred, broadcast):
    """The same for tensors of one rank, as far as `squeeze_or_expand` could tell."""
    true, pred = _padded(tf.shape(y_true), tf.shape(y_pred))
    fits = tf.equal(true, pred)
    if broadcast:
        fits |= (tf.equal(true, 1) & (pred > 0)) | (tf.equal(pred, 1) & (true > 0))
    message = f"{name}: y_true and y_pred cannot be aligned; they must have one shape."
    shape = tf.shape(y_true if broadcast else y_pred)
    y_true = reshape_if(tf.reduce_all(fits), y_true, shape, message, y_pred)
    if not broadcast:
        y_true.set_shape(y_pred.shape)
        y_pred.set_shape(y_true.shape)
    for one, other in ((y_true, y_pred), (y_pred, y_true)):
        if one.shape.rank is not None:
            other.set_shape([None] * one.shape.rank)
    return y_true, y_pred


def _padded(one, other):
    """Two shapes made equally long by axes of -1."""
    length = tf.maximum(tf.size(one), tf.size(other))
    return [
        tf.concat([shape, tf.fill([length - tf.size(shape)], -1)], 0)
        for shape in (one, other)
    ]


def _same(one, other):
    """Whether two shapes are the same when the graph runs."""
    return tf.reduce_all(tf.equal(*_padded(one, other)))


def reshape_if(
    fits: Tensor, tensor: Tensor, shape: Any, message: str, other: Tensor
) -> Tensor:
    """`tensor` in `shape`, or an error, once it is known whether it `fits`.

    XLA leaves assertions out: there the impossible shape of -2 is what fails.
    """
    data = [message, "Received the shapes:", tf.shape(tensor), tf.shape(other)]
    with tf.control_dependencies([tf.debugging.Assert(fits, data)]):
        return tf.reshape(tensor, tf.where(fits, shape, tf.constant(-2)))


def recover_logits(
    y_pred: Tensor, from_logits: bool, op_type: str, name: str
) -> tuple[Tensor, bool]:
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


def constant(value: Any, dtype: DType) -> Tensor:
    """A hyperparameter in `dtype`; `tf.cast` would take a float through float32."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(value, dtype)


def several_classes(
    name: str, y_true: Tensor, y_pred: Tensor, arguments: Mapping[str, Any]
) -> Tensor:
    """y_true; with Keras's warning, where there is one class only to choose from."""
    axis = check_axis(name, "axis", arguments["axis"], y_pred.shape)
    if y_pred.shape.rank is not None and y_pred.shape[axis] == 1:
        warnings.warn(
            f"In loss {name}, expected y_pred.shape to be (batch_size, num_classes) "
            f"with num_classes > 1. Received: y_pred.shape={tuple(y_pred.shape)}, "
            f"axis={axis}. Of one class the loss is always 0. Use binary_crossentropy "
            "for two classes and one output.",
            SyntaxWarning,
            stacklevel=4,
        )
    return y_true


def validate_class_indices(
    name: str, y_true: Tensor, y_pred: Tensor, arguments: Mapping[str, Any]
) -> Tensor:
    """y_true as one class for each row of y_pred; eagerly, what is none is refused."""
    axis = check_axis(name, "axis", arguments.get("axis", -1), y_pred.shape)
    y_true = drop_class_axis(name, y_true, y_pred, axis)
    if tf.executing_eagerly():
        ignored = arguments.get("ignore_class")
        check_labels(name, y_true.numpy(), y_pred.shape[axis], ignored)
    return tf.cast(y_true, tf.int64)


def validate_class_indices_in_graph(
    name: str, y_true: Tensor, y_pred: Tensor, arguments: Mapping[str, Any]
) -> Tensor:
    """The same; in a graph on a CPU, what is no class is refused when it runs.

    A lookup does it, as it does in TensorFlow's own kernel.
    """
    y_true = validate_class_indices(name, y_true, y_pred, arguments)
    if tf.executing_eagerly():
        return y_true
    index, ignored = y_true, arguments["ignore_class"]
    if ignored is not None:
        index = tf.where(tf.equal(index, ignored), tf.zeros_like(index), index)
    return y_true + assert_labels_in_range(index, tf.shape(y_pred)[arguments["axis"]])


def assert_labels_in_range(labels: Tensor, classes: Any) -> Tensor:
    """0 for each label; on a CPU an error for what is no class."""
    return tf.gather(tf.zeros([classes], tf.int64), labels)


def of_rank(tensor: Tensor, rank: int) -> Tensor:
    """`tensor`, which has this rank when the graph runs, if it is known no earlier."""
    known = tensor.shape.rank is not None
    return tensor if known else tf.ensure_shape(tensor, [None] * rank)


def one_per_row(name: str, labels: Tensor, rows: Tensor, axis: int = -1) -> Tensor:
    """Labels in the shape of `rows` without `axis`, as the graph finds them to be."""
    shape, at = tf.shape(rows), axis % tf.rank(rows)
    before, after = shape[:at], shape[at + 1 :]
    expected = tf.concat([before, after], 0)
    found, column = tf.shape(labels), tf.concat([before, [1], after], 0)
    message = (
        f"{name}: y_true must hold one class index per row of y_pred, in the shape of "
        "y_pred without its class axis, or with an axis of 1 in its place."
    )
    fits = _same(found, expected) | _same(found, column)
    labels = reshape_if(fits, labels, expected, message, rows)
    if rows.shape.rank is not None:
        axis %= rows.shape.rank
        labels.set_shape(rows.shape[:axis].concatenate(rows.shape[axis + 1 :]))
    return labels


def drop_class_axis(name: str, y_true: Tensor, y_pred: Tensor, axis: int) -> Tensor:
    """Class indices in the shape of y_pred without its class axis."""
    true, pred = y_true.shape, y_pred.shape
    unsure = None in (true.rank, pred.rank)
    if unsure or (true.rank == pred.rank and true[axis] is None):
        return one_per_row(name, y_true, y_pred, axis)
    if true.rank == pred.rank and true[axis] == 1:
        y_true = tf.squeeze(y_true, axis)
    expected = [n for i, n in enumerate(pred.as_list()) if i != axis % pred.rank]
    found = y_true.shape.as_list()
    if len(found) != len(expected) or any(
        a is not None and b is not None and a != b for a, b in zip(found, expected)
    ):
        hint = ""
        if true.rank == pred.rank:
            hint = (
                " y_true looks one-hot: use categorical_crossentropy, or give the "
                "indices, tf.argmax(y_true, axis)."
            )
        raise ValueError(
            f"{name}: y_true must hold one class index per row of y_pred. Received: "
            f"y_true.shape={tuple(true)}, y_pred.shape={tuple(pred)}, axis={axis}. "
            f"Expected y_true.shape={tuple(expected)}, or with an axis of 1 at `axis`."
            + hint
        )
    return y_true
