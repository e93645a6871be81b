"""The last layer of a large vocabulary and its loss, without all of its logits.

Known elsewhere as fused linear cross-entropy (Liger) or cut cross-entropy (CCE).

For 4,096 tokens and 50,000 classes the logits take 0.8 GB, with their gradient up to
2.5 GB, and neither is wanted: only the loss is. Here the last layer's product with its
weight is part of the loss, and is taken for a few hundred tokens at a time.

    hidden = transformer(tokens)
    logits = klr.LinearHead(50_000)(hidden)
    model = keras.Model(tokens, logits)
    model.compile(loss=klr.LinearSparseCategoricalCrossentropy(), optimizer="adam")

The layer returns logits, which `predict` and metrics use as any others, and hangs on
them what they were made of. The loss takes that, and so `fit` and `evaluate` leave the
logits uncomputed: no part of their graph needs them. (As Keras finds logits behind
probabilities, by `_keras_logits`.) Eagerly there is no such saving, as the layer has
worked by then; there the loss takes the parts: `loss(y, (hidden, weight, bias))`.
"""

import functools
import warnings
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Optional

import tensorflow as tf

from keras_losses_ref.losses import compat
from keras_losses_ref.losses.base import Loss, undecorated
from keras_losses_ref.losses.compat import DType, Tensor
from keras_losses_ref.losses.crossentropy import SparseCategoricalCrossentropy
from keras_losses_ref.losses.inputs import (
    assert_labels_in_range,
    one_per_row,
    to_tensor,
    widened,
)
from keras_losses_ref.losses.kernels.classes import nan_where_label_invalid
from keras_losses_ref.losses.kernels.sums import sum_along
from keras_losses_ref.losses.reduction import reduce_weighted_values
from keras_losses_ref.losses.validation import (
    check_label_smoothing,
    check_labels,
    check_positive,
)

#: No fewer tokens at a time, however few the features: a product of less is slow.
MIN_TOKENS = 64
#: How many kinds of weights are traced eagerly before the first is forgotten.
MAX_TRACES = 64


class Parts(NamedTuple):
    """What logits are made of: softcap * tanh((hidden @ weight + bias) / softcap)."""

    hidden: Any
    weight: Any
    bias: Any = None
    softcap: Any = None


def linear_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    softcap: Optional[float] = None,
) -> Tensor:
    """Logits that the paired loss never computes whole: for a layer of your own.

    Shapes:    hidden (*batch, features), weight (features, classes), bias (classes,)
               -> (*batch, classes)
    Domain:    all reals; softcap > 0 or None
    Formula:   x = hidden @ weight + bias;  softcap tanh(x / softcap), if there is one
    Edges:     in float32 at least, whatever the dtype of hidden
    Raises:    ValueError if the shapes do not fit, or softcap is not above 0
    Example:   a layer with the weight of an embedding:
               >>> return linear_logits(hidden, tf.transpose(embedding.embeddings))
    """
    parts = to_parts("linear_logits", Parts(hidden, weight, bias, softcap))
    logits = tf.tensordot(parts.hidden, parts.weight, 1)
    if parts.bias is not None:
        logits = tf.nn.bias_add(logits, parts.bias)
    if softcap is not None:
        logits = parts.softcap * tf.tanh(logits / parts.softcap)
    logits._linear_parts = parts
    return logits


@compat.register
class LinearHead(compat.Dense):
    """A Dense layer for logits, which its paired loss does without in a graph.

    units       the number of classes
    softcap     None, or the value c that logits are kept below, as c tanh(logits / c)
    The other arguments are those of Keras's Dense; there is no activation.

    Its weights stay float32 under a mixed precision policy, and so do the logits.
    """

    def __init__(
        self, units: int, softcap: Optional[float] = None, **kwargs: Any
    ) -> None:
        if kwargs.get("activation") not in (None, "linear"):
            raise ValueError(
                "LinearHead: there is no activation, the layer returns logits. "
                f"Received: activation={kwargs['activation']!r}. Leave it out, and put "
                "the activation behind the layer where you use its predictions."
            )
        super().__init__(units, **kwargs)
        self.softcap = check_softcap("LinearHead", softcap)

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """A weight that mixed precision leaves alone."""
        return super().add_weight(*args, **{**kwargs, compat.AUTOCAST: False})

    def call(self, inputs: Tensor) -> Any:
        bias = self.bias if self.use_bias else None
        return linear_logits(inputs, self.kernel, bias, self.softcap)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "softcap": self.softcap}


@compat.register
@undecorated
def linear_sparse_categorical_crossentropy(
    y_true: Tensor,
    hidden: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    softcap: Optional[float] = None,
    ignore_class: Optional[int] = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Sparse categorical cross-entropy of a last layer, chunk by chunk of its logits.

    Shapes:    y_true (*batch,) or (*batch, 1); hidden (*batch, features);
               weight (features, classes); bias (classes,) or None -> (*batch,)
    Domain:    y_true integers in [0, classes), or ignore_class; the rest all reals;
               softcap > 0 or None
    Formula:   x = hidden @ weight + bias;  softcap tanh(x / softcap), if there is one
               -log softmax(x)_y
               label_smoothing s: (1 - s) times that, plus s times the mean over the
               classes of -log softmax(x)
    Gradient:  g = softmax(x) - (1 - s) onehot(y) - s / classes, times
               1 - (x / softcap)^2;  d/dhidden = g weight^T, d/dweight = hidden^T g,
               d/dbias = g; a second derivative is refused
    Edges:     a label equal to ignore_class gives 0, no gradient, and is left out of
               the mean, whatever its hidden state; half precision is computed and
               returned in float32; an infinite logit is NaN
    Raises:    ValueError if the shapes do not fit, or softcap or label_smoothing is out
               of range; InvalidArgumentError for a label outside [0, classes), eagerly
               and in graphs on a CPU; NaN for that sample under XLA and on a GPU
    Source:    sparse_categorical_crossentropy of the logits; in chunks: Wijmans et al.
               (2024), Hsu et al. (2024)
    Example:   >>> float(linear_sparse_categorical_crossentropy(1, [1.0], [[0.0, 2.0]]))
               # 0.12693
    """
    name = "linear_sparse_categorical_crossentropy"
    parts = to_parts(name, Parts(hidden, weight, bias, softcap))
    chunked = ChunkedLoss(name, y_true, parts, ignore_class, label_smoothing)
    return chunked.values()


@compat.register
class LinearSparseCategoricalCrossentropy(Loss):
    __doc__ = linear_sparse_categorical_crossentropy.__doc__

    function = linear_sparse_categorical_crossentropy
    arguments = ("ignore_class", "label_smoothing")

    ignore_class: Optional[int]
    label_smoothing: float

    def __init__(
        self,
        ignore_class: Optional[int] = None,
        label_smoothing: float = 0.0,
        reduction: Optional[str] = compat.DEFAULT_REDUCTION,
        name: Optional[str] = "linear_sparse_categorical_crossentropy",
        dtype: DType = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.ignore_class = ignore_class
        self.label_smoothing = check_label_smoothing(
            type(self).__name__, "label_smoothing", label_smoothing
        )

    @undecorated
    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Optional[Tensor] = None
    ) -> Tensor:
        """The loss, from logits of a `LinearHead`, or (hidden, weight, bias, softcap).

        Of the four only the first two are needed.
        """
        parts = self._parts(y_pred)
        if parts is None:
            return self._of_whole_logits(y_pred)(y_true, y_pred, sample_weight)
        with tf.name_scope(self._scope()):
            chunked = ChunkedLoss(self.name, y_true, parts, **self._call_kwargs())
            dtype = parts.weight.dtype if self.dtype is None else self.dtype
            weigh = functools.partial(
                reduce_weighted_values,
                sample_weight=sample_weight,
                mask=compat.get_mask(
                    y_pred[0] if isinstance(y_pred, tuple) else y_pred
                ),
                reduction=compat.effective_reduction(self),
                dtype=parts.weight.dtype,
            )
            return tf.cast(chunked.total(weigh), dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss per sample, before weights and reduction."""
        parts = self._parts(y_pred)
        if parts is None:
            return self._of_whole_logits(y_pred).call(y_true, y_pred)
        return ChunkedLoss(self.name, y_true, parts, **self._call_kwargs()).values()

    def _parts(self, y_pred):
        """What y_pred is made of, or None if that is not known."""
        if not isinstance(y_pred, tuple):
            return getattr(y_pred, "_linear_parts", None)
        if not 2 <= len(y_pred) <= 4:
            raise ValueError(
                f"{self.name}: a tuple as y_pred is (hidden, weight), (hidden, weight, "
                "bias) or (hidden, weight, bias, softcap). Received: a tuple of "
                f"{len(y_pred)}. Pass one of these, or the logits of a LinearHead."
            )
        return to_parts(self.name, Parts(*y_pred))

    def _of_whole_logits(self, y_pred):
        """The same loss, for a y_pred of which no more is known than that.

        Silently, if it is an argument of a graph: so Keras 3 asks for the shape of the
        loss, under a strategy, before it computes any.
        """
        op = getattr(y_pred, "op", None)  # an eager tensor has none
        if op is None or op.type != "Placeholder":
            warnings.warn(
                f"{self.name}: y_pred does not come straight from a LinearHead, so its "
                "logits are taken whole, and no memory is saved. Make LinearHead the "
                "last layer, let your own return linear_logits(hidden, weight, bias), "
                "or call the loss with y_pred=(hidden, weight, bias).",
                stacklevel=3,
            )
        return SparseCategoricalCrossentropy(from_logits=True, **self.get_config())

    def get_config(self) -> dict[str, Any]:
        """Without `jit_compile`: there is nothing that a kernel could do at once."""
        config = super().get_config()
        config.pop("jit_compile", None)
        return config


def check_softcap(name: Optional[str], softcap: Optional[float]) -> Optional[float]:
    return None if softcap is None else check_positive(name, "softcap", softcap)


def to_parts(name: Optional[str], parts: Any) -> Parts:
    """`parts` as tensors of one dtype, float32 at least, that fit together."""
    for given in parts[:3]:
        if isinstance(given, (tf.RaggedTensor, tf.SparseTensor)):
            raise ValueError(
                f"{name}: the parts of the logits must be dense tensors. Received: one "
                f"of type {type(given).__name__}. Pass tensor.to_tensor() for it, and "
                "for padding a sample_weight of 0 or ignore_class."
            )
    hidden, weight, bias = (
        None if part is None else to_tensor(part) for part in parts[:3]
    )
    bias_shape = tf.TensorShape(None) if bias is None else bias.shape
    fits = (
        hidden.shape.rank not in (None, 0)
        and weight.shape.is_compatible_with([hidden.shape[-1], None])
        and weight.shape.rank is not None
        and bias_shape.is_compatible_with(weight.shape[-1:])
    )
    if not fits:
        raise ValueError(
            f"{name}: hidden, weight and bias do not fit together. Received: "
            f"hidden.shape={hidden.shape}, weight.shape={weight.shape}"
            + (f", bias.shape={bias.shape}" if bias is not None else "")
            + ". Expected (*batch, features), (features, classes) and (classes,). "
            "Transpose the weight if it is an embedding's; give a hidden of unknown "
            "rank one, by tf.ensure_shape."
        )
    dtype = widened(hidden.dtype)
    if tf.float64 in (weight.dtype, bias.dtype if bias is not None else None):
        dtype = tf.float64
    tensors = [None if t is None else tf.cast(t, dtype) for t in (hidden, weight, bias)]
    return Parts(*tensors, check_softcap(name, parts.softcap))


class ChunkedLoss:
    """Labels and the parts of the logits, checked, in one row for each token."""

    def __init__(
        self,
        name: Optional[str],
        y_true: Tensor,
        parts: Any,
        ignore_class: Optional[int],
        label_smoothing: float,
    ) -> None:
        if tf.is_tensor(label_smoothing) or tf.is_tensor(parts.softcap):
            raise ValueError(
                f"{name}: `label_smoothing` and `softcap` must be Python numbers, as "
                f"they get no gradient. Received: label_smoothing={label_smoothing!r}, "
                f"softcap={parts.softcap!r}. To train them, use "
                "sparse_categorical_crossentropy on the logits."
            )
        smoothing = float(
            check_label_smoothing(name, "label_smoothing", label_smoothing)
        )
        hidden, weight, bias, softcap = parts
        labels = in_shape_of(name, to_tensor(y_true), hidden)
        classes = tf.shape(weight)[-1]
        if tf.executing_eagerly():
            check_labels(name, labels.numpy(), int(classes), ignore_class)
        self.shape = tf.shape(labels)
        self.static_shape = labels.shape
        labels = tf.reshape(tf.cast(labels, tf.int64), [-1])
        hidden = tf.reshape(hidden, [-1, tf.shape(weight)[0]])
        hidden = tf.ensure_shape(hidden, [None, weight.shape[0]])
        self.valid = None
        if ignore_class is not None:
            valid = tf.not_equal(labels, tf.cast(ignore_class, tf.int64))
            labels = tf.where(valid, labels, tf.zeros_like(labels))
            hidden = tf.where(valid[:, tf.newaxis], hidden, tf.zeros_like(hidden))
            self.valid = valid
        factor = tf.cast(1 + assert_labels_in_range(labels, classes), hidden.dtype)
        factor = nan_where_label_invalid(factor, labels, weight)
        known = tf.equal(factor, 1.0)
        if self.valid is not None:
            factor = tf.where(self.valid, factor, tf.zeros_like(factor))
        #: What each token's loss is multiplied by: 1, 0 if ignored, NaN if no class.
        self.factor = factor
        labels = tf.where(known, labels, tf.zeros_like(labels))
        self.labels = labels
        self.tensors = [t for t in (hidden, weight, bias) if t is not None]
        self.options = smoothing, softcap

    def in_batch(self, values: Tensor) -> Tensor:
        """One value for each token in the shape of the labels, the ignored masked."""
        values = tf.ensure_shape(tf.reshape(values, self.shape), self.static_shape)
        if self.valid is not None:
            compat.set_mask(values, tf.reshape(self.valid, self.shape))
        return values

    def values(self) -> Tensor:
        """The loss of each token; its gradient computes the logits again."""

        @tf.custom_gradient
        def losses(*tensors):
            (values,) = _no_tape(self.labels, tensors, None, *self.options)

            def gradient(upstream):
                _, *grads = _no_tape(self.labels, tensors, upstream, *self.options)
                return no_second_derivative(grads, upstream, *tensors)

            return values, gradient

        values = losses(*self.tensors)
        return self.in_batch(tf.math.multiply_no_nan(values, self.factor))

    def total(self, weigh: Callable[[Tensor], Tensor]) -> Tensor:
        """`weigh(values)`, for a `weigh` that is linear, as sums and means are.

        In a graph the gradients are computed along with the loss, out of the same
        logits: what the loss of a token counts for in the sum is known beforehand. If
        no gradient is asked for, these operations are not run. Eagerly they would be,
        so there the gradient computes the logits once more.
        """
        if tf.executing_eagerly():
            return weigh(self.values())
        probe = self.in_batch(tf.zeros_like(self.factor))
        with tf.GradientTape() as tape:
            tape.watch(probe)
            result = weigh(probe)
        if result.shape.rank != 0:  # nothing is added up
            return weigh(self.values())

        @tf.custom_gradient
        def weighed(counts, *tensors):
            counted = counts * self.factor
            values, *grads = _no_tape(self.labels, tensors, counted, *self.options)
            values = tf.math.multiply_no_nan(values, self.factor)

            def gradient(upstream):
                scaled = [upstream * grad for grad in (values, *grads)]
                return no_second_derivative(scaled, upstream, counts, *tensors)

            return sum_along(counts * values, None), gradient

        counts = tf.reshape(tape.gradient(result, probe), [-1])
        return weighed(counts, *self.tensors)


def in_shape_of(name: Optional[str], labels: Tensor, hidden: Tensor) -> Tensor:
    """Labels in the shape of `hidden` without its features."""
    unsure = labels.shape.rank == hidden.shape.rank and labels.shape[-1] is None
    if labels.shape.rank is None or unsure:
        return one_per_row(name, labels, hidden)
    if labels.shape.rank == hidden.shape.rank and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    if not labels.shape.is_compatible_with(hidden.shape[:-1]):
        raise ValueError(
            f"{name}: y_true must hold one class index for each hidden state. "
            f"Received: y_true.shape={labels.shape}, hidden.shape={hidden.shape}. "
            f"Expected y_true.shape={hidden.shape[:-1]}, or with a last axis of 1. If "
            "y_true is one-hot, pass tf.argmax(y_true, axis=-1)."
        )
    return labels


def no_second_derivative(grads: Sequence[Tensor], *inputs: Tensor) -> Tensor:
    """`grads`, first derivatives by hand, which refuse to be differentiated again."""

    @tf.custom_gradient
    def final(*_):
        def refuse(*_):
            raise NotImplementedError(
                "LinearSparseCategoricalCrossentropy has no second derivative, and no "
                "forward mode: its logits would have to exist whole. Use "
                "SparseCategoricalCrossentropy(from_logits=True) on a Dense layer."
            )

        return [tf.identity(grad) for grad in grads], refuse

    return final(*inputs)


def _no_tape(labels, tensors, counts, smoothing, softcap):
    """`scan_chunks`, out of sight of any tape: else it would keep all of the chunks."""
    tensors = [tf.stop_gradient(tensor) for tensor in tensors]
    counts = None if counts is None else tf.stop_gradient(counts)
    if not tf.executing_eagerly():
        return scan_chunks(labels, tensors, counts, smoothing, softcap)
    kinds = tuple((t.dtype, *t.shape[1:]) for t in tensors)
    function = traced(smoothing, softcap, counts is not None, kinds)
    return function(labels, tensors, counts)


@functools.lru_cache(maxsize=MAX_TRACES)
def traced(smoothing: float, softcap: Optional[float], *_: Any) -> Callable[..., Any]:
    """`scan_chunks` as a graph of its own, in which chunks share their memory."""

    def of(labels, tensors, counts):
        return scan_chunks(labels, tensors, counts, smoothing, softcap)

    return tf.function(of, autograph=False, reduce_retracing=True)


def scan_chunks(
    labels: Tensor,
    tensors: Sequence[Tensor],
    counts: Optional[Tensor],
    smoothing: float,
    softcap: Optional[float],
) -> Tensor:
    """What `chunk_loss_and_grads` gives for all tokens, a chunk at a time.

    The logits of a chunk take half as much memory as the weight.
    """
    hidden, weight, *bias = tensors
    tokens, features = labels.shape[0], weight.shape[0]
    most = max(MIN_TOKENS, (features or 0) // 2)
    tokens = tf.shape(labels)[0] if tokens is None else tokens
    features = tf.shape(weight)[0] if features is None else features
    chunks = tokens // most + 1
    length = -(-tokens // chunks)
    missing = chunks * length - tokens

    def split(rows):
        """Rows in chunks, the last of them filled up; these rows count for nothing."""
        # Not tf.pad: a GPU has no kernel of it for int64.
        filling = tf.zeros([missing, features][: rows.shape.rank], rows.dtype)
        rows = tf.concat([rows, filling], 0)
        return tf.reshape(rows, [chunks, length, features][: rows.shape.rank + 1])

    def join(rows, like):
        size = [chunks * length, features][: like.shape.rank]
        return tf.reshape(rows.stack(), size)[:tokens]

    rows = [split(labels), split(hidden)] + ([] if counts is None else [split(counts)])
    sums = [] if counts is None else [tf.zeros_like(t) for t in (weight, *bias)]
    arrays = [tf.TensorArray(hidden.dtype, chunks) for _ in rows[1:]]

    def step(i, arrays, sums):
        result = chunk_loss_and_grads(
            weight, bias, smoothing, softcap, *(row[i] for row in rows)
        )
        of_rows, of_sums = result[: len(arrays)], result[len(arrays) :]
        arrays = [array.write(i, part) for array, part in zip(arrays, of_rows)]
        return i + 1, arrays, [total + part for total, part in zip(sums, of_sums)]

    _, arrays, sums = tf.while_loop(
        lambda i, *_: i < chunks,
        step,
        (0, arrays, sums),
        parallel_iterations=1,
        maximum_iterations=chunks,
    )
    return [join(a, like) for a, like in zip(arrays, (labels, hidden))] + sums


def chunk_loss_and_grads(
    weight: Tensor,
    bias: Optional[Tensor],
    smoothing: float,
    softcap: Optional[float],
    labels: Tensor,
    hidden: Tensor,
    counts: Optional[Tensor] = None,
) -> list[Any]:
    """The loss of each token; with `counts` also the gradients of sum(counts * loss).

    By the hidden states, the weight and the bias. The buffer of the logits becomes that
    of their exponentials, and that of their gradient.
    """
    at_label = tf.stack([tf.range(tf.shape(labels)[0], dtype=tf.int64), labels], 1)
    logits = tf.matmul(hidden, weight)
    if bias:
        logits = tf.nn.bias_add(logits, bias[0])
    if softcap is not None:
        bent = tf.tanh(logits / softcap)
        logits = softcap * bent
    below = logits - tf.reduce_max(logits, axis=-1, keepdims=True)
    of_label = tf.gather_nd(below, at_label)
    expected = (1.0 - smoothing) * of_label
    if smoothing:
        expected += smoothing * tf.reduce_mean(below, axis=-1)
    with tf.control_dependencies([expected]):  # then `below` has no other use
        e = tf.exp(below)
    # Without the label nothing cancels: 1 + 1e-9 would be 1.
    e = tf.tensor_scatter_nd_update(e, at_label, tf.zeros_like(of_label))
    rest = tf.reduce_sum(e, axis=-1)
    losses = tf.math.log1p(rest + tf.math.expm1(of_label)) - expected
    if counts is None:
        return [losses]
    # The softmax less the smoothed labels, all times the sum of the exponentials.
    size = rest + tf.exp(of_label)
    grad_at_label = -rest
    if smoothing:
        share = size * (smoothing / tf.cast(tf.shape(weight)[1], size.dtype))
        e -= share[:, tf.newaxis]
        grad_at_label += smoothing * size - share
    grad = tf.tensor_scatter_nd_update(e, at_label, grad_at_label)
    if softcap is not None:
        grad *= 1.0 - tf.square(bent)
    scale = (counts / size)[:, tf.newaxis]
    d_hidden = scale * tf.matmul(grad, weight, transpose_b=True)
    d_weight = tf.matmul(scale * hidden, grad, transpose_a=True)
    d_bias = [tf.squeeze(tf.matmul(scale, grad, transpose_a=True), 0) for _ in bias]
    return [losses, d_hidden, d_weight, *d_bias]
