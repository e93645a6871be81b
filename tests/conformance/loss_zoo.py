"""Losses with one mistake each, and the check that must catch it.

Most are mistakes that people make; some are contrived, where the honest mistake is
too large to read. Each is right but for its one mistake as far as that is possible.
At the end stand losses that are sound although they look odd, and five losses from the
literature, written as they should be.
"""

import contextlib
import dataclasses
import os
import threading
from typing import Any, Optional

import numpy as np
import tensorflow as tf

keras = tf.keras
Loss = keras.losses.Loss
KERAS_3 = int(getattr(keras, "__version__", tf.__version__).split(".")[0]) == 3 and (
    not Loss.__module__.startswith("tf_keras")
)
register = keras.utils.register_keras_serializable(package="zoo")


@dataclasses.dataclass
class Entry:
    """A broken loss, the checks that must catch it, and how it is checked."""

    loss: Any
    checks: tuple
    domain: Any = "real"
    declares: Optional[dict] = None
    oracle: Any = None
    only_keras_3: bool = False

    def __repr__(self):
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        return f"{name}-{self.checks[0]}"


ZOO = []


def broken(*checks, make=None, **how):
    """Put a loss into the zoo; `make` builds an instance of the class."""

    def add(loss):
        entry = loss
        if make is not None:
            entry = make(loss)
        ZOO.append(Entry(entry, checks, **how))
        return loss

    return add


def squares(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_pred - tf.cast(y_true, y_pred.dtype)), axis=-1)


class Squares(Loss):
    """A healthy loss with one argument, for the broken ones to derive from."""

    def __init__(self, scale=1.0, name="squares", **kwargs):
        super().__init__(name=name, **kwargs)
        self.scale = scale

    def call(self, y_true, y_pred):
        return self.scale * squares(y_true, y_pred)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


# Construction and config


@broken("runs")
def wrong_shapes(y_true, y_pred):
    return tf.linalg.matmul(y_true, y_pred)


@broken("arguments_in_order")
def swapped_arguments(y_pred, y_true):
    return squares(y_true, y_pred)


@broken("name_is_sane")
class NameOfASentence(Squares):
    def __init__(self, scale=1.0, name="my loss (v2)", **kwargs):
        super().__init__(scale, name=name, **kwargs)


@broken("repr_is_sane")
class EndlessRepr(Squares):
    def __repr__(self):
        return "Squares(" + "x" * 5000 + ")"


@broken("constructor_takes_name_and_reduction")
class NoBaseArguments(Squares):
    def __init__(self, scale=1.0):
        super().__init__(scale)


@broken("constructor_takes_name_and_reduction")
class IgnoresReduction(Squares):
    def __init__(self, scale=1.0, name="x", reduction="sum"):
        super().__init__(scale, name=name)


@broken("constructor_takes_dtype", only_keras_3=True)
class NoDtype(Squares):
    def __init__(self, scale=1.0, name="no_dtype", reduction="sum_over_batch_size"):
        super().__init__(scale, name=name, reduction=reduction)


@broken("config_is_json")
class TensorInConfig(Squares):
    def get_config(self):
        return {**super().get_config(), "scale": object()}


@broken("config_holds_every_argument")
class ForgetsArgument(Squares):
    def get_config(self):
        return Loss.get_config(self)


@broken("config_round_trip_keeps_values")
class ConfigOfDefaults(Squares):
    def get_config(self):
        return {**super().get_config(), "scale": 1.0}


@broken("config_round_trip_keeps_config")
class TransformsArgument(Squares):
    def __init__(self, scale=1.0, **kwargs):
        super().__init__(scale * 2.0, **kwargs)


@broken("config_holds_dtype", only_keras_3=True)
class ForgetsDtype(Squares):
    def get_config(self):
        config = super().get_config()
        config.pop("dtype", None)
        return config


@broken("config_refuses_unknown_keys")
class SwallowsUnknown(Squares):
    def __init__(self, scale=1.0, name="x", reduction="sum", **kwargs):
        super().__init__(scale, name=name, reduction=reduction)


@broken("config_is_a_copy")
class HandsOutItsList(Squares):
    def __init__(self, scales=None, **kwargs):
        super().__init__(**kwargs)
        self.scales = scales or [0.5, 1.0, 2.0]

    def call(self, y_true, y_pred):
        return squares(y_true, y_pred) * self.scales[0]

    def get_config(self):
        config = super().get_config()
        del config["scale"]
        return {**config, "scales": self.scales}


@broken("pickle_keeps_values", make=lambda cls: cls(3.0))
@register
class PickleForgets(Squares):
    def __reduce__(self):
        return type(self), ()


@broken("copies_keep_values", make=lambda cls: cls(3.0))
@register
class CopyForgets(Squares):
    def __copy__(self):
        return type(self)()


@broken("serialization_keeps_values", make=lambda cls: cls(3.0))
@register
class FromConfigForgets(Squares):
    @classmethod
    def from_config(cls, config):
        return cls()


@broken("keras_file_keeps_values", "h5_file_keeps_values", make=lambda cls: cls("a"))
@register
class ForgetsOnReload(Squares):
    """What Keras's wrapper of functions does to its subclasses: too many arguments."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def get_config(self):
        return {**super().get_config(), "fn": "squares"}


@broken("registered_for_loading")
class NotRegistered(Squares):
    pass


@broken("registered_for_loading", only_keras_3=True)
@register
class SameName(Squares):
    """Its name is taken by the next one, as two packages may do."""


with contextlib.suppress(ValueError):  # which some releases of Keras 2 refuse
    register(type("SameName", (Squares,), {}))


@broken("name_finds_the_loss")
class Stray(Squares):
    """Said to be Keras's own, which its table of losses does not know."""

    __module__ = "keras.src.losses.stray"


@broken("registered_for_loading")
def not_registered(y_true, y_pred):
    return squares(y_true, y_pred)


_CACHE = []


@broken("instances_share_nothing")
class SharesCache(Squares):
    def __init__(self, scale=1.0, **kwargs):
        super().__init__(scale, **kwargs)
        self.cache = _CACHE


# Values, weights and reductions


@broken("values_are_finite")
class LogOfAnything(Squares):
    def call(self, y_true, y_pred):
        return -tf.reduce_mean(y_true * tf.math.log(y_pred), axis=-1)


@broken("one_value_per_sample")
class Scalar(Squares):
    def call(self, y_true, y_pred):
        return tf.reduce_mean(tf.square(y_pred - y_true))


@broken("one_value_per_sample")
def scalar_function(y_true, y_pred):
    return tf.reduce_sum(tf.abs(y_pred - y_true))


@broken("batch_of_one_keeps_its_axis")
class SqueezesBatch(Squares):
    def call(self, y_true, y_pred):
        return tf.squeeze(squares(y_true, y_pred))


@broken("sum_is_sum_of_none")
class LooksAtReduction(Squares):
    def call(self, y_true, y_pred):
        values = super().call(y_true, y_pred)
        if self.reduction == "sum":
            values /= tf.cast(tf.shape(values)[0], values.dtype)
        return values


@broken("mean_is_mean_of_none")
class DividesTwice(Squares):
    def __call__(self, y_true, y_pred, sample_weight=None):
        loss = super().__call__(y_true, y_pred, sample_weight)
        if self.reduction == "sum_over_batch_size":
            loss /= tf.cast(tf.shape(y_pred)[0], loss.dtype)
        return loss


class OwnCall(Squares):
    """A loss with its own `__call__`, healthy but for what `weigh` does."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        values = self.call(y_true, y_pred)
        values = self.weigh(values, sample_weight, getattr(y_pred, "_keras_mask", None))
        if self.reduction == "none":
            return values
        total = tf.reduce_sum(values)
        if self.reduction == "sum":
            return total
        return total / tf.cast(tf.size(values), values.dtype)

    def weigh(self, values, weight, mask):
        if mask is not None:
            values *= tf.cast(mask, values.dtype)
        return values if weight is None else values * tf.cast(weight, values.dtype)


@broken("linear_in_sample_weight")
class NormalisesWeights(OwnCall):
    def weigh(self, values, weight, mask):
        if weight is None:
            return values
        weight = tf.cast(weight, values.dtype)
        return values * weight / tf.reduce_sum(weight)


@broken("integer_weight_is_repetition")
class WeighsTwice(OwnCall):
    def weigh(self, values, weight, mask):
        return super().weigh(super().weigh(values, weight, mask), weight, None)


@broken("zero_weight_removes_sample")
class SmoothsWeights(OwnCall):
    def weigh(self, values, weight, mask):
        weight = None if weight is None else tf.cast(weight, values.dtype) + 0.01
        return super().weigh(values, weight, mask)


@broken("zero_weight_hides_nan", "mask_hides_nan")
class HidesNoNan(OwnCall):
    pass


@broken("mask_removes_sample")
class IgnoresMask(OwnCall):
    def weigh(self, values, weight, mask):
        return super().weigh(values, weight, None)


@broken("mask_counts_in_the_mean")
class CountsMasked(OwnCall):
    pass


@broken("weight_column_equals_weight_vector")
class BroadcastsWeights(OwnCall):
    pass


@broken("fit_applies_sample_weight")
class DropsWeightsInGraphs(OwnCall):
    def weigh(self, values, weight, mask):
        if not tf.executing_eagerly():
            weight = None
        return super().weigh(values, weight, mask)


@broken("batch_order_does_not_matter")
class PrefersTheFirst(Squares):
    def call(self, y_true, y_pred):
        values = super().call(y_true, y_pred)
        place = tf.range(1, tf.size(values) + 1)
        return values / tf.cast(place, values.dtype)


@broken("samples_are_independent")
class NormalisesByBatch(Squares):
    def call(self, y_true, y_pred):
        values = super().call(y_true, y_pred)
        return values / (tf.reduce_max(values) + 1e-6)


@broken("samples_are_independent", declares={"batch_wise": True})
class NotBatchWiseAfterAll(Squares):
    pass


@broken("column_against_vector")
class BroadcastsLabels(Squares):
    pass


@broken("column_against_vector")
def broadcasts_labels(y_true, y_pred):
    """`fit` aligns the ranks for a function; a training loop of one's own does not."""
    return squares(y_true, y_pred)


def mean_over(y_true, y_pred, keep):
    """The mean of the squares that `keep` marks, per sample."""
    keep = tf.cast(keep, y_pred.dtype)
    squared = keep * tf.square(y_pred - tf.cast(y_true, y_pred.dtype))
    axes = list(range(1, squared.shape.rank))
    return tf.reduce_sum(squared, axes) / tf.maximum(tf.reduce_sum(keep, axes), 1.0)


@broken("ignored_entries_do_not_count", domain="ranking_padded")
class RanksPadding(Squares):
    def call(self, y_true, y_pred):
        return squares(tf.nn.relu(y_true), y_pred)


@broken("ignored_entries_do_not_count", domain="ranking_masked")
class LooksPastTheMask(Squares):
    def call(self, y_true, y_pred):
        return squares(y_true["labels"], y_pred)


@broken("ignored_entries_do_not_count", domain="packed_mask")
class MasksTheSumOnly(Squares):
    def call(self, y_true, y_pred):
        values, keep = tf.split(y_true, 2, axis=-1)
        scale = tf.reduce_max(tf.abs(y_pred), axis=[1, 2, 3])
        return mean_over(values, y_pred, keep) / (1.0 + scale)


@broken("ignored_entries_do_not_count", domain="depth")
class MeasuresInvalidPixels(Squares):
    def call(self, y_true, y_pred):
        return mean_over(y_true, y_pred, tf.ones_like(y_true))


@broken("arguments_have_an_effect")
class IdleEpsilon(Squares):
    def __init__(self, epsilon=1e-7, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@broken("arguments_do_not_jump", domain="binary")
class SmoothingJumps(Loss):
    def __init__(self, label_smoothing=0.0, name="smoothing", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        y_true = tf.cast(y_true, y_pred.dtype)
        if self.label_smoothing:
            y_true = y_true * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
            return 3 * squares(y_true, y_pred)
        return squares(y_true, y_pred)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@broken("integer_labels_equal_float_labels", domain="binary")
class IntegerArithmetic(Squares):
    def __call__(self, y_true, y_pred, sample_weight=None):
        y_pred = tf.cast(y_pred, y_true.dtype)
        return super().__call__(y_true, tf.cast(y_pred, "float32"), sample_weight)


@broken("labels_stay_exact", domain="index_logits")
class RoundsLabels(Squares):
    def call(self, y_true, y_pred):
        y_true = tf.cast(tf.cast(y_true, tf.float16), tf.int32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y_true, y_pred)


@broken("arrays_equal_tensors")
class WantsTensors(Squares):
    def __call__(self, y_true, y_pred, sample_weight=None):
        assert y_pred.shape.rank == y_true.shape.rank
        return super().__call__(y_true, y_pred, sample_weight)


@broken("value_matches_oracle", oracle=lambda t, p: np.abs(p - t).mean(-1))
class AnotherDefinition(Squares):
    pass


@broken("non_negative_as_claimed", declares={"non_negative": True})
class Negative(Squares):
    def call(self, y_true, y_pred):
        return tf.reduce_mean(y_pred - y_true, axis=-1)


@broken("zero_at_perfect_as_claimed", declares={"zero_at_perfect": True})
class NeverZero(Squares):
    def call(self, y_true, y_pred):
        return 0.1 + super().call(y_true, y_pred)


@broken("backends_agree", declares={"backends": ["tensorflow"]})
class AnotherInEachProcess(Squares):
    def call(self, y_true, y_pred):
        return (1 + os.getpid()) * super().call(y_true, y_pred)


@broken("mean_does_not_depend_on_batch_size")
class DividesByBatch(Squares):
    def call(self, y_true, y_pred):
        n = tf.cast(tf.shape(y_pred)[0], y_pred.dtype)
        return super().call(y_true, y_pred) / n


# Gradients, dtypes and the ends of the domain


@broken("gradient_exists")
class LeavesTensorFlow(Squares):
    def call(self, y_true, y_pred):
        if tf.executing_eagerly():
            y_pred = tf.constant(y_pred.numpy())
        return super().call(y_true, y_pred)


@broken("gradient_is_not_zero")
class Accuracy(Squares):
    def call(self, y_true, y_pred):
        return super().call(y_true, tf.sign(y_pred))


@broken("gradient_is_finite")
class WhereAroundTheResult(Squares):
    def call(self, y_true, y_pred):
        steep = tf.where(y_pred < 0, tf.exp(200 * y_pred), tf.ones_like(y_pred))
        return tf.reduce_mean(steep, axis=-1) + super().call(y_true, y_pred)


@tf.custom_gradient
def _uphill(x):
    return tf.identity(x), lambda upstream: -upstream


@broken("gradient_matches_differences")
class WrongSign(Squares):
    def call(self, y_true, y_pred):
        return super().call(y_true, _uphill(y_pred))


@broken("value_does_not_jump")
class HuberWithAStep(Squares):
    def __init__(self, delta=1.0, **kwargs):
        super().__init__(**kwargs)
        self.delta = delta

    def call(self, y_true, y_pred):
        e = y_pred - tf.cast(y_true, y_pred.dtype)
        tail = self.delta * tf.abs(e)
        near = tf.abs(e) < self.delta
        return tf.reduce_mean(tf.where(near, 0.5 * tf.square(e), tail), axis=-1)

    def get_config(self):
        return {**super().get_config(), "delta": self.delta}


@broken("finite_loss_has_finite_gradient")
class HidesNanLabels(Squares):
    def call(self, y_true, y_pred):
        missing = tf.math.is_nan(y_true)
        squared = tf.square(y_true - y_pred)
        return tf.reduce_mean(tf.where(missing, tf.zeros_like(squared), squared), -1)


@broken("finite_loss_has_finite_gradient", only_keras_3=True)
class HidesMaskedNan(Squares):
    """Its mean over what the mask keeps leaves the NaN to the gradient."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        mask = getattr(y_pred, "_keras_mask", None)
        values = self.call(tf.cast(y_true, y_pred.dtype), tf.convert_to_tensor(y_pred))
        if mask is not None:
            values = tf.where(mask, values, tf.zeros_like(values))
        if sample_weight is not None:
            values *= tf.cast(sample_weight, values.dtype)
        return values if self.reduction == "none" else tf.reduce_sum(values)


@broken("gradient_reaches_both", domain="pairs")
class OneBranchLearns(Squares):
    def call(self, y_true, y_pred):
        return squares(tf.stop_gradient(y_true), y_pred)


@broken("float64_is_computed_in_float64", "gradient_matches_differences")
class DetachesHalf(Squares):
    def call(self, y_true, y_pred):
        y_pred = 0.5 * (y_pred + tf.stop_gradient(y_pred))
        return squares(tf.cast(y_true, "float32"), tf.cast(y_pred, "float32"))


@broken("float64_is_computed_in_float64")
class Float32Only(Squares):
    def call(self, y_true, y_pred):
        return tf.constant(2.0, "float32") * squares(y_true, y_pred)


@broken("dtype_is_honoured")
class OneVariableInFloat32(Squares):
    def call(self, y_true, y_pred):
        return squares(y_true, y_pred * tf.ones([1], "float32"))


@broken("half_precision_is_close")
class Cancels(Squares):
    def call(self, y_true, y_pred):
        return squares(y_true + 1000.0, y_pred + 1000.0)


@broken("value_finite_at_the_ends", domain="binary")
class UnclippedLog(Squares):
    def call(self, y_true, y_pred):
        y_true = tf.cast(y_true, y_pred.dtype)
        good = y_true * tf.math.log(y_pred)
        return -tf.reduce_mean(good + (1 - y_true) * tf.math.log(1 - y_pred), axis=-1)


def of_ones_own(rng, n):
    """A domain given as a function: its ends must be found."""
    return rng.normal(size=(n, 4)), rng.normal(size=(n, 4))


@broken("gradient_finite_at_the_ends", domain=of_ones_own)
@broken("gradient_finite_at_the_ends")
class RootOfZero(Squares):
    def call(self, y_true, y_pred):
        return tf.sqrt(tf.reduce_sum(tf.square(y_pred - y_true), axis=-1))


@broken("value_finite_at_the_ends", domain=of_ones_own)
class DividesByPrediction(Squares):
    def call(self, y_true, y_pred):
        return squares(y_true, y_pred) / tf.reduce_sum(tf.abs(y_pred), axis=-1)


def boxes_of_ones_own(rng, n):
    boxes = np.sort(rng.uniform(size=(n, 2, 4)), axis=-1)
    return {"boxes": boxes}, {"boxes": boxes + 0.05 * rng.normal(size=boxes.shape)}


@broken("value_finite_at_the_ends", domain=boxes_of_ones_own)
def divides_by_area(y_true, y_pred):
    true, pred = y_true["boxes"], y_pred["boxes"]
    area = (pred[..., 2] - pred[..., 0]) * (pred[..., 3] - pred[..., 1])
    error = tf.reduce_mean(tf.abs(pred - true), axis=-1)
    return tf.reduce_mean(error / area, axis=-1)


class ClippedLog(Squares):
    def call(self, y_true, y_pred):
        y_true = tf.cast(y_true, y_pred.dtype)
        y_pred = tf.clip_by_value(y_pred, 1e-7, 1 - 1e-7)
        return -tf.reduce_sum(y_true * tf.math.log(y_pred), axis=-1)


@broken("half_precision_finite_at_the_ends", domain="one_hot")
class EpsilonTooSmall(ClippedLog):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) / (
            tf.reduce_max(y_pred, axis=-1) + 1e-9 - 1.0 + tf.reduce_min(y_pred, axis=-1)
        )


class BinaryOfLogits(Squares):
    """Binary cross-entropy of logits, as it should be."""

    def call(self, y_true, y_pred):
        y_true = tf.cast(y_true, y_pred.dtype)
        values = tf.nn.relu(y_pred) - y_true * y_pred
        return tf.reduce_mean(values + tf.nn.softplus(-tf.abs(y_pred)), axis=-1)


for _domain in ("binary", "one_hot"):
    broken("probabilities_are_taken_as_probabilities", domain=_domain)(BinaryOfLogits)


@broken("probabilities_are_taken_as_probabilities", domain="indices")
@broken("probabilities_are_taken_as_probabilities", domain="probabilities")
class SoftmaxOfProbabilities(Squares):
    def call(self, y_true, y_pred):
        if y_true.shape.rank == 1:
            y_true = tf.one_hot(tf.cast(y_true, "int32"), 5, dtype=y_pred.dtype)
        return -tf.reduce_sum(y_true * tf.nn.log_softmax(y_pred), axis=-1)


@broken("half_precision_at_training_size", domain="segmentation")
class DiceInOnePiece(Squares):
    def call(self, y_true, y_pred):
        y_true = tf.cast(y_true, y_pred.dtype)
        axes = [1, 2, 3]
        both = tf.reduce_sum(y_true * y_pred, axes)
        total = tf.reduce_sum(y_true, axes) + tf.reduce_sum(y_pred, axes)
        return 1 - (2 * both + 1) / (total + 1)


@broken("logits_are_taken_as_logits", domain="logits")
class ClipsLogits(ClippedLog):
    pass


@broken("probabilities_refuse_logits", domain="one_hot")
class SilentOnLogits(ClippedLog):
    pass


@broken("mixed_precision_trains")
class OverflowsInHalf(Squares):
    def __call__(self, y_true, y_pred, sample_weight=None):
        y_pred = tf.math.log(tf.exp(20.0 * y_pred)) / 20.0
        return super().__call__(y_true, y_pred, sample_weight)


# Execution


@broken("graph_equals_eager")
class NumpyInCall(Squares):
    def call(self, y_true, y_pred):
        largest = float(tf.reduce_max(y_true).numpy())
        return super().call(y_true, y_pred) + 0.0 * largest


@broken("xla_equals_eager")
class NumpyFunction(Squares):
    def call(self, y_true, y_pred):
        one = tf.numpy_function(lambda x: np.float32(1), [y_pred], tf.float32)
        return super().call(y_true, y_pred) * tf.reshape(one, [])


@broken("batch_size_may_be_unknown")
class StaticBatch(Squares):
    def call(self, y_true, y_pred):
        return tf.reshape(super().call(y_true, y_pred), [int(y_pred.shape[0])])


def counts_samples(y_true, y_pred):
    """A Python loop over a batch whose size `fit` does not tell."""
    n = y_pred.shape[0]
    return sum(tf.reduce_mean(tf.square(y_pred[i] - y_true[i])) for i in range(n)) / n


for _check in ("fit_takes_a_smaller_last_batch", "batch_size_may_be_unknown"):
    broken(_check, declares={"batch_wise": True})(counts_samples)


@broken("changed_attributes_reach_the_step")
class HasAKnob(Squares):
    pass


@broken("shape_may_be_unknown")
class StaticShape(Squares):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) / int(y_pred.shape[-1])


@broken("rank_may_be_unknown")
class StaticRank(Squares):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) / y_pred.shape.rank


@broken("empty_batch_is_no_error")
class NeedsOneSample(Squares):
    def call(self, y_true, y_pred):
        tf.debugging.assert_positive(tf.size(y_pred))
        return super().call(y_true, y_pred)


@broken("fit_reports_the_same_loss")
@broken("graph_equals_eager")
class OtherwiseInGraphs(Squares):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) * (1.0 if tf.executing_eagerly() else 2.0)


@broken("serves_several_outputs", "no_state_between_calls")
class CountsCalls(Squares):
    calls = 0

    def call(self, y_true, y_pred):
        self.calls += 1
        return super().call(y_true, y_pred) * float(self.calls)


@broken("no_state_between_calls")
class KeepsLastTensor(Squares):
    def call(self, y_true, y_pred):
        self.last = super().call(y_true, y_pred)
        return self.last


@broken("same_inputs_same_values")
class Noise(Squares):
    def call(self, y_true, y_pred):
        noise = tf.random.uniform(tf.shape(y_pred), dtype=y_pred.dtype)
        return super().call(y_true, y_pred + 1e-3 * noise)


@broken("same_inputs_same_values", declares={"random": True})
class DrawsOncePerGraph(Squares):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) * (1.0 + 0.1 * np.random.uniform())


@broken("same_inputs_same_values", declares={"random": True})
class NotRandomAfterAll(Squares):
    pass


@broken("inputs_are_not_changed")
class WritesIntoInputs(Squares):
    def __call__(self, y_true, y_pred, sample_weight=None):
        if isinstance(y_true, np.ndarray):
            y_true[:] = np.clip(y_true, -0.5, 0.5)
        return super().__call__(y_true, y_pred, sample_weight)


@broken("no_new_graph_per_call")
class FunctionPerCall(Squares):
    def call(self, y_true, y_pred):
        return tf.function(lambda t, p: squares(t, p))(y_true, y_pred)


@broken("fit_traces_once")
class SwitchesGraphsOff(Squares):
    def call(self, y_true, y_pred):
        tf.config.run_functions_eagerly(True)
        return super().call(y_true, y_pred)


ALL_FOUR = threading.Barrier(4, timeout=60)


@broken("threads_do_not_disturb_each_other")
class KeepsInputsOnSelf(Squares):
    def call(self, y_true, y_pred):
        self.labels = y_true
        if threading.current_thread().name.startswith("ThreadPoolExecutor"):
            ALL_FOUR.wait()  # until each thread of the check has set its labels
        return squares(self.labels, y_pred)


@broken("global_settings_stay")
class SetsEpsilon(Squares):
    def call(self, y_true, y_pred):
        keras.backend.set_epsilon(1e-3)
        return super().call(y_true, y_pred)


@broken("global_settings_stay")
class SeedsNumpy(Squares):
    def call(self, y_true, y_pred):
        np.random.seed(0)
        return super().call(y_true, y_pred)


@broken("is_quiet")
class Prints(Squares):
    def call(self, y_true, y_pred):
        print("y_pred", y_pred.shape)
        return super().call(y_true, y_pred)


# Fresh processes

_CALIBRATION = {"scale": 1.0}


@broken(
    "fresh_process_loads_keras_file",
    "fresh_process_loads_h5_file",
    "fresh_process_loads_pickle",
    make=lambda cls: cls(),
)
@broken("fresh_process_gives_same_values")
@register
class NeedsCalibration(Squares):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) * _CALIBRATION["scale"]


@broken("fresh_process_gives_same_values", domain="real")
def hashes(y_true, y_pred):
    return squares(y_true, y_pred) * float(hash("salt") % 997 + 1)


@broken("replicas_update_as_one_device")
@register
class DividesByItsPartOfTheBatch(Squares):
    def __init__(self, name="part", reduction="sum", **kwargs):
        super().__init__(name=name, reduction="sum", **kwargs)

    def call(self, y_true, y_pred):
        n = tf.cast(tf.shape(y_pred)[0], y_pred.dtype)
        return super().call(y_true, y_pred) / n

    def get_config(self):
        config = super().get_config()
        del config["scale"]
        return config


# Sound, although they look odd

SOUND = []


def sound(**how):
    """Put a loss among the sound ones: no check may fail it."""

    def add(loss):
        SOUND.append((loss, how))
        return loss

    return add


def aligned(y_true, y_pred):
    """Labels in the dtype and the shape of the predictions: never (N, N)."""
    y_true = tf.cast(y_true, y_pred.dtype)
    return tf.reshape(y_true, tf.shape(y_pred))


class Aligned(Squares):
    """Healthy, (N,) against (N, 1) included."""

    def call(self, y_true, y_pred):
        return self.scale * squares(aligned(y_true, y_pred), y_pred)


@sound(domain="logits")
@register
class KeepsClassWeights(Loss):
    """A constant tensor on the loss is no state."""

    def __init__(self, weights=(1.0, 2.0, 1.0, 0.5, 1.0), name="weighted", **kwargs):
        super().__init__(name=name, **kwargs)
        self.weights = tuple(weights)
        self.table = tf.constant(self.weights)

    def call(self, y_true, y_pred):
        y_true = tf.cast(y_true, y_pred.dtype)
        weights = tf.reduce_sum(y_true * tf.cast(self.table, y_pred.dtype), axis=-1)
        return -weights * tf.reduce_sum(y_true * tf.nn.log_softmax(y_pred), axis=-1)

    def get_config(self):
        return {**super().get_config(), "weights": list(self.weights)}

    def __reduce__(self):  # in Keras 2 a tensor cannot be pickled
        return type(self).from_config, (self.get_config(),)

    def __deepcopy__(self, memo):
        return type(self).from_config(self.get_config())


class _Equals:
    """Equal to nothing, its own copy included."""

    def __eq__(self, other):
        return self is other

    __hash__ = None


@sound(domain="real")
@register
class KeepsAnObject(Aligned):
    """An object whose copy is not equal to it is no state either."""

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(scale, **kwargs)
        self.helper = _Equals()
        self.helpers = [self.helper]


def near_the_ends(rng, n):
    y_true = (rng.random((n, 3)) < 0.5).astype(float)
    return y_true, np.where(rng.random((n, 3)) < 0.5, 0.008, 0.992)


@sound(domain=near_the_ends)
@register
class LogNearTheEnds(Loss):
    """Differences with a step of 0.01 would leave [0, 1]; float64 is not needed."""

    def call(self, y_true, y_pred):
        y_true = aligned(y_true, y_pred)
        p = tf.clip_by_value(tf.cast(y_pred, "float32"), 1e-7, 1 - 1e-7)
        y = tf.cast(y_true, "float32")
        values = y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p)
        return tf.cast(-tf.reduce_mean(values, axis=-1), y_pred.dtype)


LogNearTheEnds._klr_declares = {
    "expected_failures": {"float64_is_computed_in_float64": "float32 on purpose"}
}


@sound(domain="real", only_keras_2=True)
@register
class IfTensor(Aligned):
    """Keras 2 converts `if` of a tensor."""

    def call(self, y_true, y_pred):
        values = super().call(y_true, y_pred)
        if tf.reduce_any(y_pred > 1e6):
            values = values * 1.0
        return values


@sound(domain="real", only_keras_2=True)
@register
class TakesWeightColumns(OwnCall):
    """`fit` of Keras 2 gives weights as (N, 1), whatever a direct call may take."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None and len(sample_weight.shape) != 2:
            raise ValueError("sample_weight must be (N, 1)")
        if sample_weight is not None:
            sample_weight = tf.reshape(sample_weight, [-1])
        y_pred = tf.convert_to_tensor(y_pred)
        mask = getattr(y_pred, "_keras_mask", None)
        values = self.call(aligned(y_true, y_pred), y_pred)
        values = self.weigh(values, sample_weight, mask)
        if self.reduction == "none":
            return values
        total = tf.reduce_sum(values)
        if self.reduction == "sum":
            return total
        n = tf.size(values) if mask is None else tf.math.count_nonzero(mask)
        return total / tf.cast(n, values.dtype)


TakesWeightColumns._klr_declares = {
    "expected_failures": {
        "weight_column_equals_weight_vector": "takes columns only",
        "zero_weight_hides_nan": "as in Keras",
        "mask_hides_nan": "as in Keras",
    }
}


@sound(domain="real")
@register
def float32_function(y_true, y_pred):
    """A function has no dtype argument: Keras gives it float32."""
    y_true = tf.cast(aligned(y_true, y_pred), "float32")
    return tf.reduce_mean(tf.abs(y_true - tf.cast(y_pred, "float32")), axis=-1)


@sound(domain="real")
@register
class IgnoresNanLabels(Aligned):
    """A label of NaN is replaced before the formula."""

    def call(self, y_true, y_pred):
        y_true = aligned(y_true, y_pred)
        return super().call(
            tf.where(tf.math.is_finite(y_true), y_true, tf.stop_gradient(y_pred)),
            y_pred,
        )


@sound(domain="ranking_padded")
@register
class RanksValidEntries(Loss):
    """Softmax cross-entropy over the entries that are no padding."""

    def call(self, y_true, y_pred):
        wide = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
        valid = y_true >= 0
        labels = tf.cast(tf.nn.relu(y_true), wide)
        scores = tf.where(valid, tf.cast(y_pred, wide), -1e4)
        values = -tf.reduce_sum(labels * tf.nn.log_softmax(scores), axis=-1)
        return tf.cast(values, y_pred.dtype)


@sound(domain="ranking_masked")
@register
class RanksByMask(RanksValidEntries):
    """The same with the padding in a mask of its own."""

    def call(self, y_true, y_pred):
        valid = tf.cast(y_true["mask"], "bool")
        labels = tf.where(valid, y_true["labels"], -1)
        return super().call(tf.cast(labels, y_pred.dtype), y_pred)


@sound(domain="packed_mask")
@register
class SquaresUnderMask(Loss):
    def call(self, y_true, y_pred):
        wide = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
        values, keep = tf.split(tf.cast(y_true, wide), 2, axis=-1)
        return tf.cast(mean_over(values, tf.cast(y_pred, wide), keep), y_pred.dtype)


@sound(domain="depth")
@register
class AbsoluteDepth(Loss):
    def call(self, y_true, y_pred):
        wide = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
        y_true, p = tf.cast(aligned(y_true, y_pred), wide), tf.cast(y_pred, wide)
        keep = tf.cast(y_true > 0, wide)
        error = tf.reduce_sum(keep * tf.abs(y_true - p), [1, 2, 3])
        values = error / tf.maximum(tf.reduce_sum(keep, [1, 2, 3]), 1.0)
        return tf.cast(values, y_pred.dtype)


@sound(domain="boxes")
@register
class BoxesL1(Loss):
    def call(self, y_true, y_pred):
        error = tf.nn.softplus(tf.abs(aligned(y_true, y_pred) - y_pred))
        return tf.reduce_mean(error, axis=[1, 2])


@sound(domain=boxes_of_ones_own)
@register
def detection(y_true, y_pred):
    """Labels and predictions in dicts, as detectors have them."""
    return tf.reduce_mean(squares(y_true["boxes"], y_pred["boxes"]), axis=-1)


@sound(domain="pairs", declares={"batch_wise": True})
@register
class Contrasts(Loss):
    """InfoNCE: each sample finds its second view among all of the batch."""

    def __init__(self, temperature=0.5, name="contrasts", **kwargs):
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def call(self, y_true, y_pred):
        wide = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
        first, second = (
            tf.math.l2_normalize(tf.cast(x, wide), axis=-1, epsilon=1e-6)
            for x in (y_true, y_pred)
        )
        alike = tf.matmul(first, second, transpose_b=True) / self.temperature
        values = -tf.linalg.diag_part(tf.nn.log_softmax(alike))
        return tf.cast(values, y_pred.dtype)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


@sound(domain="real")
@register
class OneValuePerStep(Loss):
    """Values of shape (N, T), as for a sequence."""

    def call(self, y_true, y_pred):
        return tf.square(aligned(y_true, y_pred) - y_pred)


def scores_of_all(rng, n):
    """For each sample a score of each sample: no part of a batch is a batch."""
    return np.arange(n, dtype="int32"), rng.normal(size=(n, n))


@sound(domain=scores_of_all)
@register
class FindsItself(Loss):
    """Cross-entropy over the batch, as of a text and an image encoder."""

    def call(self, y_true, y_pred):
        wide = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
        labels = tf.reshape(tf.cast(y_true, "int32"), [-1])
        chosen = tf.gather(
            tf.nn.log_softmax(tf.cast(y_pred, wide)), labels, batch_dims=1
        )
        return tf.cast(-chosen, y_pred.dtype)


@sound(domain="real")
@register
class BuildsItsTable(Loss):
    """Its dtype is settled by the constructor, not by an attribute that it reads."""

    def __init__(self, scale=2.0, dtype="float32", name="table", **kwargs):
        how = {"dtype": dtype} if KERAS_3 else {}
        super().__init__(name=name, **how, **kwargs)
        self.scale, self.table = scale, tf.constant(scale, dtype)

    def call(self, y_true, y_pred):
        y_pred = tf.cast(y_pred, self.table.dtype)
        return self.table * squares(aligned(y_true, y_pred), y_pred)

    def get_config(self):
        config = {**super().get_config(), "scale": self.scale}
        return {**config, "dtype": self.table.dtype.name}

    def __reduce__(self):
        return type(self).from_config, (self.get_config(),)

    def __deepcopy__(self, memo):
        return type(self).from_config(self.get_config())


@sound(domain="real", declares={"random": True})
@register
class Noisy(Aligned):
    """Labels with noise of their own in each step."""

    def call(self, y_true, y_pred):
        noise = tf.random.normal(tf.shape(y_pred), stddev=0.1, dtype=y_pred.dtype)
        return super().call(aligned(y_true, y_pred) + noise, y_pred)


@sound(domain="segmentation", declares={"batch_wise": True})
@register
class BatchDice(Loss):
    """One number for a batch, as many a segmentation code has it."""

    def call(self, y_true, y_pred):
        wide = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
        y, p = tf.cast(aligned(y_true, y_pred), wide), tf.cast(y_pred, wide)
        both, total = tf.reduce_sum(y * p), tf.reduce_sum(y) + tf.reduce_sum(p)
        return tf.cast(1 - (2 * both + 1.0) / (total + 1.0), y_pred.dtype)


# From the literature, as they should be


@register
class AlphaFocal(Loss):
    """Lin et al. (2017): -alpha_t (1 - p_t)^gamma log p_t."""

    def __init__(self, alpha=0.25, gamma=2.0, name="alpha_focal", **kwargs):
        super().__init__(name=name, **kwargs)
        self.alpha, self.gamma = alpha, gamma

    def call(self, y_true, y_pred):
        y_true = aligned(y_true, y_pred)
        p = tf.clip_by_value(tf.cast(y_pred, "float64"), 1e-7, 1 - 1e-7)
        y = tf.cast(y_true, "float64")
        p_t = y * p + (1 - y) * (1 - p)
        alpha_t = y * self.alpha + (1 - y) * (1 - self.alpha)
        values = -alpha_t * (1 - p_t) ** self.gamma * tf.math.log(p_t)
        return tf.cast(tf.reduce_mean(values, axis=-1), y_pred.dtype)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}


@register
class Pinball(Loss):
    """Koenker and Bassett (1978): max(q e, (q - 1) e) for the error e = y - p."""

    _klr_declares = {"non_negative": True, "zero_at_perfect": True}

    def __init__(self, quantile=0.9, name="pinball", **kwargs):
        super().__init__(name=name, **kwargs)
        self.quantile = quantile

    def call(self, y_true, y_pred):
        error = aligned(y_true, y_pred) - y_pred
        worse = tf.maximum(self.quantile * error, (self.quantile - 1) * error)
        return tf.reduce_mean(worse, axis=-1)

    def get_config(self):
        return {**super().get_config(), "quantile": self.quantile}


@register
class SoftDiceWithBCE(Loss):
    """Milletari et al. (2016) plus cross-entropy, per image, as in many a U-Net."""

    _klr_declares = {"domain": "segmentation", "non_negative": True}

    def __init__(self, weight=0.5, smooth=1.0, name="dice_bce", **kwargs):
        super().__init__(name=name, **kwargs)
        self.weight, self.smooth = weight, smooth

    def call(self, y_true, y_pred):
        dtype = y_pred.dtype
        wide = tf.float64 if dtype == tf.float64 else tf.float32
        y = tf.cast(aligned(y_true, y_pred), wide)
        p = tf.clip_by_value(tf.cast(y_pred, wide), 1e-6, 1 - 1e-6)
        axes = [1, 2, 3]
        both = tf.reduce_sum(y * p, axes)
        total = tf.reduce_sum(y, axes) + tf.reduce_sum(p, axes)
        dice = 1 - (2 * both + self.smooth) / (total + self.smooth)
        bce = -tf.reduce_mean(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p), axes)
        return tf.cast(self.weight * dice + (1 - self.weight) * bce, dtype)

    def get_config(self):
        config = super().get_config()
        return {**config, "weight": self.weight, "smooth": self.smooth}


@register
class Contrastive(Loss):
    """Hadsell et al. (2006): y d^2 + (1 - y) max(margin - d, 0)^2."""

    _klr_declares = {"domain": "distances", "non_negative": True}

    def __init__(self, margin=1.0, name="contrastive", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = margin

    def call(self, y_true, y_pred):
        similar = aligned(y_true, y_pred)
        apart = tf.square(tf.maximum(self.margin - y_pred, 0))
        values = similar * tf.square(y_pred) + (1 - similar) * apart
        return tf.reduce_mean(values, axis=-1)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@register
class BatchHardTriplet(Loss):
    """Hermans et al. (2017): the farthest friend against the nearest stranger."""

    _klr_declares = {"domain": "embeddings", "batch_wise": True}

    def __init__(self, margin=0.2, name="batch_hard_triplet", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = margin

    def call(self, y_true, y_pred):
        labels = tf.reshape(y_true, [-1])
        same = tf.equal(labels[:, tf.newaxis], labels[tf.newaxis, :])
        squared = tf.square(y_pred[:, tf.newaxis] - y_pred[tf.newaxis, :])
        # The root of 0 has no gradient, and every sample has distance 0 to itself.
        distance = tf.sqrt(tf.reduce_sum(squared, -1) + 1e-6)
        zero = tf.zeros_like(distance)
        farthest = tf.reduce_max(tf.where(same, distance, zero), axis=1)
        far = zero + 1e4
        nearest = tf.reduce_min(tf.where(same, far, distance), axis=1)
        return tf.nn.softplus(farthest - nearest + self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


LITERATURE = [AlphaFocal, Pinball, SoftDiceWithBCE, Contrastive, BatchHardTriplet]
