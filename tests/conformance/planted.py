"""Losses of ours with a bug planted in each, and the case that must name it."""

import tensorflow as tf

from keras_losses_ref import losses
from keras_losses_ref.losses import base as shared


def plant(
    monkeypatch, loss, call=None, invoke=None, bound=None, config=None, reduce=None
):
    """Put a broken subclass of a loss in its place.

    `call`, `invoke` and `config` stand around the methods `call`, `__call__` and
    `get_config`; `bound` alters the arguments of its function, `reduce` the reduction.
    """
    base = getattr(losses, loss)
    methods = {}
    if call is not None:
        methods["call"] = lambda self, y_true, y_pred: call(
            lambda *inputs: base.call(self, *inputs), y_true, y_pred
        )
    if invoke is not None:
        methods["__call__"] = lambda self, y_true, y_pred, sample_weight=None: invoke(
            lambda *inputs: base.__call__(self, *inputs), y_true, y_pred, sample_weight
        )
    if bound is not None:
        methods["_call_kwargs"] = lambda self: bound(base._call_kwargs(self))
    if config is not None:  # of the class itself, which is what a config names
        kept = base.get_config
        monkeypatch.setattr(base, "get_config", lambda self: config(kept(self)))
    if reduce is not None:
        right = shared.reduce_weighted_values
        monkeypatch.setattr(
            shared, "reduce_weighted_values", lambda *given: reduce(right, *given)
        )
    if methods:
        monkeypatch.setattr(losses, loss, type(loss, (base,), methods))


def swapped(call, y_true, y_pred):
    return call(y_pred, tf.cast(y_true, y_pred.dtype))


def wrong_axis(call, y_true, y_pred):
    values = call(y_true, y_pred)
    return tf.reduce_mean(values, axis=0) if values.shape.rank else values


def no_weight(invoke, y_true, y_pred, sample_weight):
    return invoke(y_true, y_pred)


def no_clip_binary(call, y_true, y_pred):
    y_true = tf.cast(y_true, y_pred.dtype)
    values = y_true * tf.math.log(y_pred) + (1 - y_true) * tf.math.log(1 - y_pred)
    return -tf.reduce_mean(values, axis=-1)


def no_clip_categorical(call, y_true, y_pred):
    p = y_pred / tf.reduce_sum(y_pred, -1, keepdims=True)
    return -tf.reduce_sum(tf.cast(y_true, p.dtype) * tf.math.log(p), axis=-1)


def no_clip_sparse(call, y_true, y_pred):
    p = tf.gather(y_pred, tf.cast(y_true, tf.int32), batch_dims=1)
    return tf.math.log(tf.reduce_sum(y_pred, -1)) - tf.math.log(p)


def half_the_error(call, y_true, y_pred):
    return 0.5 * call(y_true, y_pred)


def wrong_sign(call, y_true, y_pred):
    return -call(y_true, y_pred)


def quadrupled(call, y_true, y_pred):
    return 4.0 * call(y_true, y_pred)


def mean_for_sum(call, y_true, y_pred):
    return call(y_true, y_pred) / tf.cast(tf.shape(y_pred)[-1], y_pred.dtype)


def one_number(call, y_true, y_pred):
    return tf.reduce_mean(call(y_true, y_pred))


def cast(y_true, y_pred):
    return tf.cast(y_true, y_pred.dtype)


def no_floor_log(call, y_true, y_pred):
    y_true = cast(y_true, y_pred)
    error = tf.math.log(1.0 + y_pred) - tf.math.log(1.0 + y_true)
    return tf.reduce_mean(tf.square(error), axis=-1)


def no_linear_branch(call, y_true, y_pred):
    error = y_pred - cast(y_true, y_pred)
    return tf.reduce_mean(0.5 * tf.square(error), axis=-1)


def naive_cosh(call, y_true, y_pred):
    error = y_pred - cast(y_true, y_pred)
    return tf.reduce_mean(tf.math.log(tf.math.cosh(error)), axis=-1)


def no_log_two(call, y_true, y_pred):
    return call(y_true, y_pred) + 0.6931472


def no_floor_norm(call, y_true, y_pred):
    y_true = cast(y_true, y_pred)
    a, b = (x / tf.norm(x, axis=-1, keepdims=True) for x in (y_true, y_pred))
    return -tf.reduce_sum(a * b, axis=-1)


def hinged(y_true, y_pred, power):
    margin = tf.maximum(1.0 - y_true * y_pred, 0.0)
    return tf.reduce_mean(margin**power, axis=-1)


def not_converted(call, y_true, y_pred):
    return hinged(cast(y_true, y_pred), y_pred, 1)


def not_converted_squared(call, y_true, y_pred):
    return hinged(cast(y_true, y_pred), y_pred, 2)


def by_row(y_true, y_pred):
    y_true = cast(y_true, y_pred)
    binary = tf.reduce_all((y_true == 0) | (y_true == 1), axis=-1, keepdims=True)
    return tf.where(binary, 2.0 * y_true - 1.0, y_true)


def converted_by_row(call, y_true, y_pred):
    return hinged(by_row(y_true, y_pred), y_pred, 1)


def converted_by_row_squared(call, y_true, y_pred):
    return hinged(by_row(y_true, y_pred), y_pred, 2)


def margin_of_zero(call, y_true, y_pred):
    return tf.maximum(call(y_true, y_pred) - 1.0, 0.0)


def true_class_left_out(call, y_true, y_pred):
    y_true = cast(y_true, y_pred)
    wrong = tf.reduce_max(tf.where(y_true > 0, y_pred.dtype.min, y_pred), axis=-1)
    return tf.maximum(wrong - tf.reduce_sum(y_true * y_pred, axis=-1) + 1.0, 0.0)


def no_epsilon(call, y_true, y_pred):
    values = y_pred - cast(y_true, y_pred) * tf.math.log(y_pred)
    return tf.reduce_mean(values, axis=-1)


def overlap_counted_once(call, y_true, y_pred):
    return 1.0 - 0.5 * (1.0 - call(y_true, y_pred))


def last_label_dropped(call, y_true, y_pred):
    return call(y_true[:, :-1], y_pred)


def blank_is_last(call, y_true, y_pred):
    return call(y_true, tf.roll(y_pred, 1, axis=-1))


def first_step_dropped(call, y_true, y_pred):
    return call(y_true, y_pred[:, 1:])


def delta_of_one(bound):
    return {**bound, "delta": 1.0}


def last_axis(bound):
    return {**bound, "axis": -1}


def all_axes(bound):
    return {**bound, "axis": None}


def no_gamma(bound):
    return {**bound, "gamma": 0.0}


def gamma_of_two(bound):
    return {**bound, "gamma": 2.0}


def alpha_of_a_quarter(bound):
    return {**bound, "alpha": 0.25}


def opposite_alpha(bound):
    return {**bound, "alpha": 1.0 - bound["alpha"]}


def nothing_ignored(bound):
    return {**bound, "ignore_class": None}


def q_of_a_half(bound):
    return {**bound, "q": 0.5}


def swapped_weights(bound):
    return {**bound, "alpha": bound["beta"], "beta": bound["alpha"]}


def beta_as_alpha(bound):
    return {**bound, "beta": bound["alpha"]}


def no_margin(bound):
    return {**bound, "margin": 0.0}


def diagonal_kept(bound):
    return {**bound, "remove_diagonal": False}


@tf.custom_gradient
def _turned(x):
    return tf.identity(x), lambda upstream: -upstream


def uphill(call, y_true, y_pred):
    return call(y_true, _turned(y_pred))


def no_gradient(call, y_true, y_pred):
    return call(y_true, tf.stop_gradient(y_pred))


def no_second_derivative(call, y_true, y_pred):
    """A closed-form gradient that no tape can see through."""

    @tf.custom_gradient
    def closed(y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            values = call(y_true, y_pred)
        slope = tf.stop_gradient(tape.gradient(values, y_pred))
        return values, lambda upstream: slope * tf.expand_dims(upstream, -1)

    return closed(y_pred)


def summed_in_float32(call, y_true, y_pred):
    y_true = tf.cast(y_true, tf.float32) if y_true.dtype.is_floating else y_true
    return tf.cast(call(y_true, tf.cast(y_pred, tf.float32)), y_pred.dtype)


def narrow_labels(call, y_true, y_pred):
    return call(tf.cast(tf.cast(y_true, y_pred.dtype), y_true.dtype), y_pred)


def offset_by_one(call, y_true, y_pred):
    return call(tf.maximum(y_true - 1, 0), y_pred)


def no_mask(invoke, y_true, y_pred, sample_weight):
    return invoke(y_true, tf.identity(y_pred), sample_weight)


def forgets(name):
    def config(kept):
        return {key: value for key, value in kept.items() if key != name}

    config.__name__ = f"forgets_{name}"
    return config


def mean_for_any_sum(reduce, values, weight, mask, reduction):
    return reduce(values, weight, mask, "mean" if reduction == "sum" else reduction)


def divided_by_weights(reduce, values, weight, mask, reduction):
    result = reduce(values, weight, mask, reduction)
    if weight is None or reduction in ("sum", "none", None):
        return result
    return result / tf.reduce_mean(tf.cast(weight, result.dtype))


#: (loss, the bug, a case that must be named: float32, unless it says otherwise)
PLANTED = [
    ("MeanSquaredError", {"call": half_the_error}, "documented"),
    ("MeanSquaredError", {"call": wrong_axis}, "per_row"),
    ("MeanSquaredError", {"invoke": no_weight}, "element_weight_no_mask"),
    ("MeanAbsoluteError", {"call": half_the_error}, "documented"),
    ("MeanAbsoluteError", {"call": wrong_axis}, "per_row"),
    ("MeanAbsoluteError", {"invoke": no_weight}, "element_weight_no_mask"),
    ("BinaryCrossentropy", {"call": no_clip_binary}, "certain_and_wrong"),
    ("BinaryCrossentropy", {"call": swapped}, "swapped_matters"),
    ("BinaryCrossentropy", {"call": wrong_axis}, "per_row"),
    ("BinaryCrossentropy", {"invoke": no_weight}, "element_weight_no_mask"),
    ("CategoricalCrossentropy", {"call": no_clip_categorical}, "certain_and_wrong"),
    ("CategoricalCrossentropy", {"call": swapped}, "swapped_matters"),
    ("CategoricalCrossentropy", {"call": wrong_axis}, "per_row"),
    ("CategoricalCrossentropy", {"invoke": no_weight}, "element_weight_no_mask"),
    ("SparseCategoricalCrossentropy", {"call": no_clip_sparse}, "certain_and_wrong"),
    ("SparseCategoricalCrossentropy", {"call": wrong_axis}, "per_row"),
    ("SparseCategoricalCrossentropy", {"invoke": no_weight}, "element_weight_no_mask"),
    ("MeanAbsolutePercentageError", {"call": swapped}, "divided_by_truth"),
    ("MeanAbsolutePercentageError", {"call": half_the_error}, "per_cent"),
    ("MeanAbsolutePercentageError", {"invoke": no_weight}, "element_weight_no_mask"),
    ("MeanSquaredLogarithmicError", {"call": no_floor_log}, "below_minus_one"),
    ("MeanSquaredLogarithmicError", {"call": half_the_error}, "doubled"),
    ("Huber", {"call": no_linear_branch}, "outside"),
    ("Huber", {"bound": delta_of_one}, "delta_large"),
    ("LogCosh", {"call": naive_cosh}, "beyond_exp"),
    ("LogCosh", {"call": no_log_two}, "perfect"),
    ("CosineSimilarity", {"call": wrong_sign}, "documented"),
    ("CosineSimilarity", {"call": no_floor_norm}, "y_pred_zero"),
    ("CosineSimilarity", {"bound": last_axis}, "axis_0"),
    ("Hinge", {"call": not_converted}, "documented"),
    ("Hinge", {"call": converted_by_row}, "whole_batch_decides"),
    ("SquaredHinge", {"call": not_converted_squared}, "documented"),
    ("SquaredHinge", {"call": converted_by_row_squared}, "whole_batch_decides"),
    ("CategoricalHinge", {"call": margin_of_zero}, "all_zero"),
    ("CategoricalHinge", {"call": true_class_left_out}, "others_negative"),
    ("KLDivergence", {"call": swapped}, "swapped_matters"),
    ("KLDivergence", {"call": mean_for_sum}, "sum_not_mean"),
    ("Poisson", {"call": swapped}, "swapped_matters"),
    ("Poisson", {"call": no_epsilon}, "rate_zero"),
    ("BinaryFocalCrossentropy", {"call": swapped}, "swapped_matters"),
    ("BinaryFocalCrossentropy", {"bound": gamma_of_two}, "gamma_five"),
    ("BinaryFocalCrossentropy", {"bound": opposite_alpha}, "balanced"),
    ("CategoricalFocalCrossentropy", {"bound": no_gamma}, "documented"),
    ("CategoricalFocalCrossentropy", {"bound": alpha_of_a_quarter}, "alpha_list"),
    ("CategoricalFocalCrossentropy", {"bound": last_axis}, "smoothing_axis_1"),
    ("SparseCategoricalFocalCrossentropy", {"call": quadrupled}, "documented"),
    ("SparseCategoricalFocalCrossentropy", {"bound": nothing_ignored}, "ignore_zero"),
    ("CategoricalGeneralizedCrossEntropy", {"bound": q_of_a_half}, "q_near_one"),
    ("CategoricalGeneralizedCrossEntropy", {"call": wrong_axis}, "per_row"),
    ("Dice", {"call": overlap_counted_once}, "perfect"),
    ("Dice", {"bound": all_axes}, "per_sample"),
    ("Dice", {"call": one_number}, "weighted_samples"),
    ("Tversky", {"bound": swapped_weights}, "alpha_weighs_false_positives"),
    ("Tversky", {"bound": beta_as_alpha}, "beta_weighs_false_negatives"),
    ("Circle", {"bound": no_margin}, "margin_quarter"),
    ("Circle", {"bound": diagonal_kept}, "pairs"),
    ("CTC", {"call": last_label_dropped}, "two_labels"),
    ("CTC", {"call": blank_is_last}, "last_class_is_no_blank"),
    ("CTC", {"call": first_step_dropped}, "one_label"),
    ("MeanSquaredError", {"call": uphill}, "documented"),
    ("MeanSquaredError", {"invoke": no_mask}, "no_weight_some_masked"),
    ("MeanSquaredError", {"reduce": divided_by_weights}, "element_weight_no_mask"),
    ("MeanSquaredError", {"reduce": mean_for_any_sum}, "no_weight_no_mask"),
    ("MeanAbsoluteError", {"call": no_gradient}, "documented"),
    ("MeanSquaredError", {"call": summed_in_float32}, "rank_2[float64"),
    ("LogCosh", {"call": summed_in_float32}, "rank_2[float64"),
    ("SparseCategoricalCrossentropy", {"call": offset_by_one}, "documented"),
    ("SparseCategoricalCrossentropy", {"call": narrow_labels}, "many_classes[bfloat16"),
    ("Huber", {"config": forgets("delta")}, "delta_large"),
    ("CosineSimilarity", {"config": forgets("axis")}, "axis_0"),
    ("Tversky", {"config": forgets("alpha")}, "alpha_weighs_false_positives"),
    ("BinaryCrossentropy", {"call": no_second_derivative}, "second_order[float64"),
    ("KLDivergence", {"call": no_second_derivative}, "second_order[float64"),
]
