"""What a loss is given: tensors, ranks, ragged rows, class labels, logits recovery."""

import warnings

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.reduction import squeeze_or_expand_to_same_rank
from keras_losses_ref.losses.validation import check_axis, check_labels


def to_tensors(y_true, y_pred, dtype, labels):
    """y_pred as a float tensor; y_true in the same dtype, unless it holds integers.

    Integers stay integers: 257 is no bfloat16, 2049 no float16, 2^24 + 1 no float32.
    """
    if dtype is None:
        dtype = compat.dtype_of(None, y_pred)
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
    if compat.GENERATION == 3 or not allowed:
        takes = "Keras 3 has no ragged losses" if compat.GENERATION == 3 else name
        if compat.GENERATION == 2:
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
            lambda row: function(*row),
            (y_true, y_pred),
            fn_output_signature=tf.TensorSpec([], widened(y_pred.dtype)),
        )


def widened(dtype):
    """float32 for float16 and bfloat16; any other dtype as it is."""
    return tf.float32 if dtype.size < 4 else dtype


def widen(tensor):
    """float16 and bfloat16 as float32; everything else as it is."""
    return tf.cast(tensor, widened(tensor.dtype))


def align(name, y_true, y_pred, broadcast):
    """Give y_true and y_pred one rank, or say why they have none.

    (N,) against (N, 1) becomes (N, 1), never (N, N).
    """
    if y_true.shape.rank is None or y_pred.shape.rank is None:
        return y_true, y_pred
    true, pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
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


def constant(value, dtype):
    """A hyperparameter in `dtype`; `tf.cast` would take a float through float32."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(value, dtype)


def validate_class_indices(name, y_true, y_pred, arguments):
    """y_true as one class for each row of y_pred; eagerly, what is none is refused."""
    axis = check_axis(name, "axis", arguments.get("axis", -1), y_pred.shape)
    y_true = drop_class_axis(name, y_true, y_pred, axis)
    if tf.executing_eagerly():
        ignored = arguments.get("ignore_class")
        check_labels(name, y_true.numpy(), y_pred.shape[axis], ignored)
    return tf.cast(y_true, tf.int64)


def validate_class_indices_static_rank(name, y_true, y_pred, arguments):
    """The same for tensors whose axes would be broadcast unseen."""
    if y_true.shape.rank is None or y_pred.shape.rank is None:
        raise ValueError(
            f"{name}: the ranks must be known. Received: y_true.shape={y_true.shape}, "
            f"y_pred.shape={y_pred.shape}. Give them one, for example by "
            "y_pred = tf.ensure_shape(y_pred, (None, classes))."
        )
    return validate_class_indices(name, y_true, y_pred, arguments)


def validate_class_indices_in_graph(name, y_true, y_pred, arguments):
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


def assert_labels_in_range(labels, classes):
    """0 for each label; on a CPU an error for what is no class."""
    return tf.gather(tf.zeros([classes], tf.int64), labels)


def drop_class_axis(name, y_true, y_pred, axis):
    """Class indices in the shape of y_pred without its class axis."""
    true, pred = y_true.shape, y_pred.shape
    if true.rank is None or pred.rank is None:
        return y_true
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
