"""Losses over all pairs of a batch, for learning an embedding."""

import tensorflow as tf

from keras_losses_ref.losses import compat, inputs
from keras_losses_ref.losses.base import Loss, loss_function
from keras_losses_ref.losses.inputs import constant, of_rank, to_tensor
from keras_losses_ref.losses.kernels import dispatch
from keras_losses_ref.losses.kernels.autodiff import in_float64, with_gradient
from keras_losses_ref.losses.kernels.sums import sum_float64
from keras_losses_ref.losses.validation import check_number


@loss_function(labels="indices", ragged=False)
def circle(
    y_true,
    y_pred,
    ref_labels=None,
    ref_embeddings=None,
    remove_diagonal=True,
    gamma=80,
    margin=0.4,
):
    """Circle loss: same labels near each other, others apart, the worst pairs first.

    Shapes:    y_true (n,) or (n, 1), y_pred (n, features) -> (n,); references, if
               given, (m,) or (m, 1) and (m, features)
    Domain:    y_true integers; rows of y_pred of norm 1; gamma > 0; 0 < margin < 1
    Formula:   d_ij = max(1 - y_pred_i . reference_j, 0)
               P_i = log sum over j of the same label of exp(gamma (d_ij^2 - margin^2))
               N_i = log sum over j of another label of
                     exp(gamma max(1 + margin - d_ij, 0) (1 - margin - d_ij))
               log(1 + exp(P_i + N_i))
    Gradient:  through d, in both rows of a pair, where d > 0 or at its tie
    Edges:     a row without a positive or without a negative gives 0 and no gradient,
               and the class leaves values of 0 out of the mean, as Keras does;
               remove_diagonal drops the pair (i, i), also of given references
    Raises:    ValueError unless y_pred has rank 2 with one label for each row
    Deviates:  labels-rounded-to-dtype, all-masked-overflows-in-half, circle-cancels,
               config-forgets-dtype, circle-second-derivative-nan
    Source:    Keras 3 `keras.losses.circle`; Sun et al. (2020)
    Example:   >>> circle([0, 0, 1], [[1., 0.], [0.6, 0.8], [0., 1.]])
               # [2.7608e-06, 38.4, 0.0]
    """
    gamma = constant(check_number("circle", "gamma", gamma), tf.float64)
    margin = constant(check_number("circle", "margin", margin), tf.float64)
    y_pred = of_rank(y_pred, 2)
    alone = ref_embeddings is None
    if alone:
        ref_embeddings = y_pred
    if ref_labels is None:
        ref_labels = y_true
    labels = one_per_row("circle", "y_true", y_true, "y_pred", y_pred)
    ref_labels = one_per_row(
        "circle", "ref_labels", ref_labels, "ref_embeddings", ref_embeddings
    )
    same = tf.equal(labels[:, tf.newaxis], ref_labels[tf.newaxis, :])
    positive, negative = same, ~same
    if remove_diagonal:
        rows, columns = tf.shape(same)[0], tf.shape(same)[1]
        positive &= tf.not_equal(tf.range(rows)[:, tf.newaxis], tf.range(columns))
    paired = tf.reduce_any(positive, axis=1) & tf.reduce_any(negative, axis=1)
    paired = paired[:, tf.newaxis]

    def pairs(embeddings, references):
        """In float64, as 1 - cos of close neighbours cancels and gamma magnifies it."""
        cosine = tf.matmul(*in_float64(embeddings, references), transpose_b=True)
        distance = tf.maximum(1.0 - cosine, 0.0)
        pull = gamma * (margin + distance) * (distance - margin)
        reach = tf.maximum(1.0 + margin - distance, 0.0)
        return cosine, distance, pull, gamma * reach * (1.0 - margin - distance)

    def cost(exponent):
        exponent = tf.where(paired, exponent, tf.zeros_like(exponent))
        values = tf.where(paired, tf.nn.softplus(exponent), tf.zeros_like(exponent))
        return tf.cast(tf.squeeze(values, 1), y_pred.dtype)

    def terms(embeddings):
        """The same in a kernel: exponentials, and what is made of them, in float32."""
        dtype = embeddings.dtype
        cosine, distance, pull, push = pairs(embeddings, embeddings)
        nearest, farthest = largest_of(push, negative), largest_of(pull, positive)
        below = tf.where(same, pull - farthest, push - nearest)
        counts = positive | negative
        below = tf.where(counts, below, tf.zeros_like(below))
        e = tf.exp(tf.cast(below, dtype))
        size_of_pull, size_of_push = sum_over(e, positive), sum_over(e, negative)
        exponent = farthest + tf.math.log(size_of_pull)
        exponent += nearest + tf.math.log(size_of_push)

        def gradient(upstream):
            (upstream,) = in_float64(upstream[:, tf.newaxis])
            rate = upstream * tf.sigmoid(exponent) * (2.0 * gamma)
            rate = tf.where(paired, rate, tf.zeros_like(rate))
            of_pull, of_push, further, nearer = (
                tf.cast(part, dtype)
                for part in (
                    rate / size_of_pull,
                    rate / size_of_push,
                    distance,
                    distance - 1.0,
                )
            )
            nothing = tf.zeros_like(e)
            by_push = tf.where(distance > 1.0 + margin, nothing, of_push * nearer)
            by_cosine = e * tf.where(same, of_pull * further, by_push)
            by_cosine = tf.where(counts & ~(cosine > 1.0), -by_cosine, nothing)
            return [tf.matmul(by_cosine + tf.transpose(by_cosine), embeddings)]

        return cost(exponent), gradient

    if dispatch.in_kernel() and alone and y_pred.dtype != tf.float64:
        values = with_gradient(terms, y_pred)
    else:
        _, _, pull, push = pairs(y_pred, ref_embeddings)
        exponent = masked_logsumexp(pull, positive)
        values = cost(exponent + masked_logsumexp(push, negative))
    compat.set_mask(values, values > 0)
    return values


def masked_logsumexp(values, mask):
    """log(sum(exp(values))) of each row over what `mask` keeps."""
    return tf.reduce_logsumexp(kept(values, mask), axis=1, keepdims=True)


def largest_of(values, mask):
    """The largest of each row that `mask` keeps."""
    top = tf.reduce_max(kept(values, mask), axis=1, keepdims=True)
    return tf.stop_gradient(top)


def kept(values, mask):
    """`values` where `mask` keeps them, else as good as -inf, which has no gradient."""
    return tf.where(mask, values, tf.constant(values.dtype.min / 2, values.dtype))


def sum_over(values, mask):
    """The sum of each row over what `mask` keeps, in float64; 1 if it keeps nothing."""
    values = tf.where(mask, values, tf.zeros_like(values))
    (sums,) = in_float64(sum_float64(values, axis=1, keepdims=True))
    return tf.where(tf.equal(sums, 0.0), tf.ones_like(sums), sums)


def one_per_row(name, labels_name, labels, rows_name, rows):
    """Labels as a vector of integers, one for each of `rows`."""
    labels, rows = to_tensor(labels), to_tensor(rows)
    vector = labels
    if labels.shape.rank is None or (
        labels.shape.rank == 2 and labels.shape[1] is None
    ):
        vector = inputs.one_per_row(name, labels, of_rank(rows, 2))
    if labels.shape.rank == 2 and labels.shape[1] == 1:
        vector = tf.squeeze(labels, 1)
    if not (
        vector.shape.rank in (None, 1)
        and rows.shape.rank in (None, 2)
        and (
            vector.shape.rank is None
            or rows.shape.rank is None
            or vector.shape[:1].is_compatible_with(rows.shape[:1])
        )
    ):
        raise ValueError(
            f"{name}: there must be one label for each embedding. Received: "
            f"{labels_name}.shape={tuple(labels.shape)}, "
            f"{rows_name}.shape={tuple(rows.shape)}. Expected integers of shape (n,) "
            "or (n, 1), and embeddings of shape (n, features)."
        )
    return tf.cast(vector, tf.int64)


@compat.register
class Circle(Loss):
    __doc__ = circle.__doc__

    function = circle
    arguments = ("gamma", "margin", "remove_diagonal")

    def __init__(
        self,
        gamma=80.0,
        margin=0.4,
        remove_diagonal=True,
        reduction=compat.DEFAULT_REDUCTION,
        name="circle",
        dtype=None,
        jit_compile="auto",
    ):
        super().__init__(name, reduction, dtype, jit_compile)
        self.gamma = check_number("Circle", "gamma", gamma)
        self.margin = check_number("Circle", "margin", margin)
        self.remove_diagonal = remove_diagonal

    @staticmethod
    def with_mask(values, dtype):
        """A value that is 0 in the loss's dtype does not count in the mean."""
        compat.set_mask(values, tf.cast(values, dtype) > 0)
        return values
