"""Checks of batches: values per sample, weights, masks and reductions."""

import contextlib
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref import host
from keras_losses_ref.conformance import arrays
from keras_losses_ref.conformance.checks import structures
from keras_losses_ref.conformance.checks.check import (
    CheckFailed,
    CheckSkipped,
    check,
    describe,
    expect_close,
    number,
)
from keras_losses_ref.conformance.checks.loss_under_test import (
    LossUnderTest,
    host_loss,
    tensors,
)


@check("error", "Look for a log or a division of something that can be zero.")
def values_are_finite(subject: LossUnderTest) -> None:
    """Ordinary samples have finite values."""
    values = subject.values(*subject.sample)
    if not np.isfinite(values).all():
        at = list(map(int, np.argwhere(~np.isfinite(values))[0]))
        raise CheckFailed(f"the loss is {values[tuple(at)]} at {at}")


@check(
    "error",
    "Reduce over axis=-1 (or all axes but the first) in call; leave the batch to "
    "`reduction`: tf.reduce_mean(x, axis=-1), not tf.reduce_mean(x). One number for a "
    "batch on purpose is declared: _klr_declares = {'batch_wise': True}.",
)
def one_value_per_sample(subject: LossUnderTest) -> Optional[str]:
    """`call` returns one value per sample, which weights and reduction then use."""
    if subject.per_sample:
        return
    y_true, y_pred = subject.sample
    if subject.declares.get("batch_wise"):
        return "one number for the batch, as declared"
    values = subject.values(y_true, y_pred)
    n = subject.n
    if values.ndim:
        raise CheckFailed(f"{n} samples give values of shape {values.shape}")
    weight = np.zeros(n, "float32")
    weight[0] = 1.0
    try:
        weighted = subject.values(y_true, y_pred, weight, reduction="sum")
    except Exception as error:
        raise CheckFailed(
            f"{n} samples give a scalar; a weight {describe(error)}"
        ) from (None)
    one = slice(0, 1)
    alone = ""
    with contextlib.suppress(Exception):  # one sample may be no batch
        first = subject.values(*(structures.take(x, one) for x in subject.sample))
        alone = f", while the first sample alone has a loss of {number(first)}"
    raise CheckFailed(
        f"{n} samples give one scalar, {number(values)}: with a weight of 1 for the "
        f"first sample and 0 for the others the sum is {number(weighted)}{alone}. "
        "Weights, masks and reduction='none' have no effect on single samples"
    )


@check(
    "error",
    "Keep the batch axis whatever its length: tf.squeeze(x, axis=-1), never "
    "tf.squeeze(x).",
    needs=("runs", "parts"),
)
def batch_of_one_keeps_its_axis(subject: LossUnderTest) -> Optional[str]:
    """A batch of one sample has the value that the sample has among others."""
    y_true, y_pred = (structures.take(x, slice(0, 1)) for x in subject.sample)
    if subject.random or not subject.per_sample:
        # The last batch of an epoch may have one sample: no NaN may come of it.
        alone = subject.values(y_true, y_pred)
        if not np.isfinite(alone).all():
            raise CheckFailed(
                f"one sample alone has a loss of {alone}: if the last batch of an "
                "epoch has one sample, every weight is NaN after it",
                severity="advice",
                fix="Return 0 for a batch of one, or train with drop_remainder=True.",
            )
        return "" if subject.per_sample else "one number, and finite"
    alone = subject.values(y_true, y_pred)
    among = subject.values(*subject.sample)
    if alone.shape != (1, *among.shape[1:]):
        raise CheckFailed(
            f"{subject.n} samples give values of shape {among.shape}, one sample "
            f"gives {alone.shape}"
        )
    if subject.independent:
        expect_close(alone, among[:1], "the loss of one sample alone", "among others")
    return ""


@check(
    "error",
    "Let call return values per sample and super().__call__ reduce them; do not look "
    "at self.reduction in call.",
)
def sum_is_sum_of_none(subject: LossUnderTest) -> None:
    """`reduction="sum"` is the sum of what `reduction="none"` gives."""
    none = subject.values(*subject.sample)
    total = subject.values(*subject.sample, reduction="sum")
    expect_close(total, none.sum(), "reduction='sum'", "the sum of 'none'")


@check(
    "error",
    "Let call return values per sample and super().__call__ reduce them; do not divide "
    "by the batch size in call.",
)
def mean_is_mean_of_none(subject: LossUnderTest) -> None:
    """`reduction="sum_over_batch_size"` is the mean of what "none" gives."""
    y_true, y_pred = subject.sample
    none = subject.values(y_true, y_pred)
    mean = subject.values(y_true, y_pred, reduction="sum_over_batch_size")
    mask = own_mask(subject)
    want = none.mean() if mask is None else none.sum() / arrays.to_numpy(mask).sum()
    expect_close(mean, want, "reduction='sum_over_batch_size'", "the mean of 'none'")


def own_mask(subject: LossUnderTest) -> Any:
    """The mask that `call` hangs on its values, as for an ignored class, or None."""
    call = getattr(subject.variant(), "call", None)
    return None if call is None else host.get_mask(call(*tensors(*subject.sample)))


def _weighted_sum(subject, weight):
    none = subject.values(*subject.sample)
    if subject.per_sample:
        weight = subject.sample_weight(weight, none)
    return subject.values(*subject.sample, weight, reduction="sum")


@check(
    "error",
    "Apply sample_weight once, by super().__call__; do not normalise by its sum.",
)
def linear_in_sample_weight(subject: LossUnderTest) -> None:
    """Twice the weight is twice the loss, and weights add up."""
    n = subject.n
    one = np.linspace(0.1, 1.3, n).astype("float32")
    two = np.linspace(0.9, 0.2, n).astype("float32")
    unit = np.ones(n, "float32")
    if not subject.per_sample:  # one number takes one weight
        one, two, unit = one[0], two[0], unit[0]
    first, second = _weighted_sum(subject, one), _weighted_sum(subject, two)
    expect_close(
        _weighted_sum(subject, 2 * one),
        2 * first,
        "the sum with twice the weight",
        "twice the sum",
        rtol=2e-5,
    )
    expect_close(
        _weighted_sum(subject, one + two),
        first + second,
        "the sum with weights w + v",
        "the sum with w plus that with v",
        rtol=2e-5,
    )
    ones = _weighted_sum(subject, unit)
    expect_close(
        ones,
        subject.values(*subject.sample, reduction="sum"),
        "the sum with weights of 1",
        "without weights",
    )


@check(
    "error",
    "Multiply each sample's value by its weight, nothing else.",
    needs=("runs", "repeatable", "parts", "independent"),
)
def integer_weight_is_repetition(subject: LossUnderTest) -> None:
    """A weight of 3 counts, under "sum", as three copies of the sample."""
    y_true, y_pred = subject.sample
    times = np.arange(subject.n, dtype="int64") % 3 + 1
    weighted = _weighted_sum(subject, times)
    repeated = subject.values(
        structures.repeat(y_true, times),
        structures.repeat(y_pred, times),
        reduction="sum",
    )
    expect_close(
        weighted,
        repeated,
        "the sum with integer weights",
        "the sum of repeated samples",
        rtol=2e-5,
    )


@check(
    "error",
    "Multiply each sample's value by its weight, and add nothing after that.",
    needs=("runs", "repeatable", "parts", "independent"),
)
def zero_weight_removes_sample(subject: LossUnderTest) -> None:
    """A weight of 0 counts, under "sum", as if the sample were not there."""
    weight = np.ones(subject.n, "float32")
    weight[::2] = 0
    expect_close(
        _weighted_sum(subject, weight),
        subject.values(*_part(subject, slice(1, None, 2)), reduction="sum"),
        "the sum with weights of 0",
        "the sum without those samples",
    )


def _part(subject, index):
    """Some samples of the batch."""
    return [structures.take(x, index) for x in subject.sample]


def _nan_in_first(y_pred):
    def put(x):
        x = np.array(x)
        x[0] = np.nan
        return x

    return structures.tree_map(put, y_pred)


def _blame(hides, subject):
    """Apply `hides`; advice instead of an error where the host itself does not hold."""
    try:
        hides(subject)
    except CheckFailed as failure:
        try:
            hides(host_loss("MeanSquaredError"))
        except CheckFailed:
            raise CheckFailed(
                f"{failure}; so does {host.PACKAGE} {host.VERSION}'s own reduction",
                severity="advice",
            ) from None
        raise


def _zero_weight_hides_nan(subject):
    y_true, y_pred = subject.sample
    none = subject.values(y_true, y_pred)
    weight = np.ones(subject.n, "float32")
    weight[0] = 0
    total = subject.values(
        y_true,
        _nan_in_first(y_pred),
        subject.sample_weight(weight, none),
        reduction="sum",
    )
    if not np.isfinite(total):
        want = subject.values(*_part(subject, slice(1, None)), reduction="sum")
        raise CheckFailed(
            f"with NaN in a sample of weight 0 the sum is {number(total)}, without "
            f"that sample {number(want)}"
        )


@check(
    "warning",
    "Replace such predictions before the loss: tf.where(weight > 0, y_pred, 0.0).",
    needs=("runs", "repeatable", "parts", "independent"),
)
def zero_weight_hides_nan(subject: LossUnderTest) -> None:
    """NaN in a sample of weight 0 does not reach the loss."""
    _blame(_zero_weight_hides_nan, subject)


def masked(
    subject: LossUnderTest, y_true: Any, y_pred: Any, keep: Any, **variant: Any
) -> NDArray[Any]:
    """The loss of predictions that carry a mask, as a Masking layer makes them."""
    none = subject.values(*subject.sample)
    y_true, y_pred = tensors(y_true, y_pred)
    y_pred = arrays.identity(y_pred)
    keep = subject.weights(keep, none).astype(bool)
    host.set_mask(y_pred, arrays.tensor(keep))
    return subject.values(y_true, y_pred, **variant)


@check(
    "error",
    "Do not override __call__, or take the mask of y_pred into account there.",
    needs=("runs", "one_tensor", "repeatable", "parts", "independent"),
)
def mask_removes_sample(subject: LossUnderTest) -> None:
    """A sample that the mask of y_pred marks False does not count, under "sum"."""
    y_true, y_pred = subject.sample
    keep = np.arange(subject.n) % 3 != 0
    expect_close(
        masked(subject, y_true, y_pred, keep, reduction="sum"),
        subject.values(*_part(subject, keep), reduction="sum"),
        "the sum under a mask",
        "the sum of the samples it keeps",
    )


@check(
    "error",
    "Let super().__call__ divide: it divides by the number of samples the mask keeps.",
    needs=("runs", "one_tensor", "repeatable", "parts", "independent"),
)
def mask_counts_in_the_mean(subject: LossUnderTest) -> None:
    """The mean under a mask is the mean of the samples it keeps."""
    y_true, y_pred = subject.sample
    keep = np.arange(subject.n) % 3 != 0
    if own_mask(subject) is not None:
        raise CheckSkipped("the loss has a mask of its own")
    expect_close(
        masked(subject, y_true, y_pred, keep, reduction="sum_over_batch_size"),
        subject.values(*_part(subject, keep), reduction="sum_over_batch_size"),
        "the mean under a mask",
        "the mean of the samples it keeps",
    )


def _mask_hides_nan(subject):
    y_true, y_pred = subject.sample
    keep = np.arange(subject.n) > 0
    total = masked(subject, y_true, _nan_in_first(y_pred), keep, reduction="sum")
    if not np.isfinite(total):
        want = subject.values(*_part(subject, slice(1, None)), reduction="sum")
        raise CheckFailed(
            f"with NaN in a masked sample the sum is {number(total)}, without that "
            f"sample {number(want)}"
        )


@check(
    "warning",
    "Replace such predictions before the loss: tf.where(mask, y_pred, 0.0).",
    needs=("runs", "one_tensor", "repeatable", "parts", "independent"),
)
def mask_hides_nan(subject: LossUnderTest) -> None:
    """NaN in a masked sample does not reach the loss."""
    _blame(_mask_hides_nan, subject)


@check(
    "error",
    "Return values of shape (N,), and let Keras align the weights.",
    needs=("runs", "per_sample"),
)
def weight_column_equals_weight_vector(subject: LossUnderTest) -> None:
    """Weights of shape (N, 1) do what weights of shape (N,) do."""
    y_true, y_pred = subject.sample
    none = subject.values(y_true, y_pred)
    if none.ndim != 1:
        raise CheckSkipped(
            f"the values have shape {none.shape}, not one number per sample"
        )
    weight = np.linspace(0.1, 1.3, subject.n).astype("float32")
    expect_close(
        subject.values(y_true, y_pred, weight[:, np.newaxis], reduction="sum"),
        subject.values(y_true, y_pred, weight, reduction="sum"),
        "the sum with weights (N, 1)",
        "with weights (N,)",
    )


@check(
    "error",
    "Do not use the position of a sample in the batch.",
    needs=("runs", "repeatable", "parts"),
)
def batch_order_does_not_matter(subject: LossUnderTest) -> None:
    """Samples in another order have the same values, in that order."""
    order = np.random.default_rng(3).permutation(subject.n)
    among = subject.values(*subject.sample)
    expect_close(
        subject.values(*_part(subject, order)),
        among[order] if subject.per_sample else among,
        "the loss of a sample in another place",
        "in its own",
    )


@check(
    "error",
    "Reduce over all axes but the first. If samples are meant to be compared, declare "
    "it: _klr_declares = {'batch_wise': True}.",
    needs=("runs", "repeatable", "per_sample"),
)
def samples_are_independent(subject: LossUnderTest) -> Optional[str]:
    """No sample changes the value of another, unless declared batch-wise."""
    declared = subject.declares.get("batch_wise", False)
    if declared and subject.independent:
        raise CheckFailed(
            "declared batch_wise, but no sample changes the value of another",
            fix="Remove 'batch_wise' from _klr_declares.",
        )
    if subject.independent or declared:
        return "batch-wise, as declared" if declared else ""
    index, before, after = subject.leak
    raise CheckFailed(
        f"sample {index} has a loss of {number(before)}, and {number(after)} when "
        "another sample of the batch changes"
    )


@check(
    "error",
    "Leave them out of the sum and out of what it is divided by: sum(value * mask) / "
    "sum(mask).",
)
def ignored_entries_do_not_count(subject: LossUnderTest) -> Optional[str]:
    """What the labels mark as padding, masked or invalid does not change the loss."""
    if subject.domain.ignored is None:
        raise CheckSkipped(f"the domain {subject.domain.name!r} ignores no entries")
    y_true, y_pred = subject.sample
    ignored = subject.domain.ignored(y_true)
    want = subject.values(y_true, y_pred)
    for added in (1.0, 100.0):
        got = subject.values(y_true, np.where(ignored, y_pred + added, y_pred))
        expect_close(
            got,
            want,
            f"the loss with {added:g} added to the predictions that the "
            "labels say to ignore",
            "without",
        )
    return f"{int(ignored.sum())} of {ignored.size} entries are ignored"


@check(
    "error",
    "Align the ranks first: y_true = tf.reshape(y_true, tf.shape(y_pred)).",
    needs=("runs", "elementwise"),
)
def column_against_vector(subject: LossUnderTest) -> Optional[str]:
    """Labels (N,) against predictions (N, 1) mean (N, 1), not (N, N)."""
    y_true, y_pred = (x[:, :1] for x in subject.sample)
    n = len(y_true)
    if subject.is_function:
        return _column_in_a_function(subject, y_true, y_pred)
    want = subject.values(y_true, y_pred, reduction="sum")
    for what, true, pred in (
        ("y_true (N,), y_pred (N, 1)", y_true[:, 0], y_pred),
        ("y_true (N, 1), y_pred (N,)", y_true, y_pred[:, 0]),
    ):
        try:
            none = subject.values(true, pred)
            total = subject.values(true, pred, reduction="sum")
        except Exception:
            continue  # refusing is as good
        # From values per sample, a scalar is the mean of one long sample.
        if none.shape in ((n,), (n, n)) or not subject.per_sample:
            aligned = host.GENERATION == 2 and true.ndim == 1
            expect_close(
                total,
                want,
                f"{what}: the sum" + " in a direct call" * aligned,
                "with both (N, 1)",
                why="the difference was broadcast to (N, N)"
                + ("; `fit` of Keras 2 aligns these ranks itself" if aligned else ""),
                severity="warning" if aligned else "error",
            )
    return ""


def _column_in_a_function(subject, y_true, y_pred):
    """As in a training loop of one's own: Keras aligns the ranks only in `fit`."""
    function = subject.loss.fn

    def mean(true, pred):
        with subject.seeded():
            values = arrays.to_numpy(function(*tensors(true, pred)))
        return np.mean(values, dtype="float32")

    want = mean(y_true, y_pred)
    for what, true, pred in (
        ("y_true (N,), y_pred (N, 1)", y_true[:, 0], y_pred),
        ("y_true (N, 1), y_pred (N,)", y_true, y_pred[:, 0]),
    ):
        try:
            got = mean(true, pred)
        except Exception:
            continue  # refusing is as good
        expect_close(
            got,
            want,
            f"{what}: the mean in a direct call",
            "with both (N, 1)",
            why="the difference was broadcast to (N, N)",
            severity="warning",
        )
    return "in a direct call; `fit` aligns the ranks itself"


@check(
    "error",
    "Cast the labels in call: y_true = tf.cast(y_true, y_pred.dtype).",
    needs=("runs",),
)
def integer_labels_equal_float_labels(subject: LossUnderTest) -> None:
    """Labels given as integers count as the same labels given as floats."""
    y_true, y_pred = subject.sample
    if structures.is_structure(y_true):
        raise CheckSkipped(f"y_true is {structures.describe(y_true)}")
    if y_true.dtype.kind != "f" or not (y_true == np.round(y_true)).all():
        raise CheckSkipped(
            f"the labels of the domain {subject.domain.name!r} are no integers"
        )
    want = subject.values(y_true, y_pred)
    for dtype in ("int32", "int64", "uint8"):
        if dtype == "uint8" and (y_true < 0).any():
            continue
        try:
            got = subject.values(y_true.astype(dtype), y_pred)
        except Exception as error:
            raise CheckFailed(f"y_true as {dtype} {describe(error)}") from None
        expect_close(got, want, f"the loss of {dtype} labels", "of float labels")


@check(
    "error",
    "Never cast labels to a float type: use them as integers in tf.gather, tf.one_hot "
    "or a sparse kernel, and override __call__ if Keras casts them first.",
    needs=("runs", "repeatable"),
)
def labels_stay_exact(subject: LossUnderTest) -> None:
    """A class index beyond what a float type can count to stays that index."""
    if subject.domain.name not in ("indices", "index_logits"):
        raise CheckSkipped("the labels are no class indices")
    _labels_exact(subject, 2049, 2060, None)
    try:
        _labels_exact(subject, 257, 300, "bfloat16")
    except CheckFailed as failure:
        if host.GENERATION == 2:
            raise
        try:
            _labels_exact(
                host_loss("SparseCategoricalCrossentropy"), 257, 300, "bfloat16"
            )
        except CheckFailed:
            raise CheckFailed(
                f"{failure}; Keras {host.VERSION}'s Loss.__call__ rounds labels to "
                "the dtype of the loss",
                severity="advice",
            ) from None
        raise


def _labels_exact(subject, label, classes, dtype):
    y_pred = np.random.default_rng(0).normal(size=(2, classes))
    y_pred[:, label], y_pred[:, label - 1] = 6.0, -6.0
    if subject.domain.name == "indices":
        y_pred = np.exp(y_pred) / np.exp(y_pred).sum(-1, keepdims=True)
    try:
        got = subject.values(np.full((2,), label, "int32"), y_pred, dtype=dtype)
        # The same with the classes renamed, so that the label is a small number.
        want, other = (
            subject.values(
                np.full((2,), small, "int32"),
                np.roll(y_pred, small - label, axis=-1),
                dtype=dtype,
            )
            for small in (3, 4)
        )
    except Exception as error:
        raise CheckSkipped(f"with {classes} classes it {describe(error)}") from None
    if not np.allclose(want, other, rtol=0.02, atol=0.02):
        raise CheckSkipped(
            "classes have values of their own: no two names mean the same"
        )
    expect_close(
        got,
        want,
        f"the loss of label {label} of {classes} in {dtype or 'float32'}",
        "with that class renamed to 3 it",
        rtol=0.2,
        atol=0.5,
        why=f"the label became {label - 1}",
    )


@check(
    "error",
    "Convert the inputs first: y_pred = tf.convert_to_tensor(y_pred).",
    needs=("runs",),
)
def arrays_equal_tensors(subject: LossUnderTest) -> None:
    """NumPy arrays as inputs give what tensors give."""
    y_true, y_pred = tensors(*subject.sample)
    both = (structures.tree_map(arrays.to_numpy, x) for x in (y_true, y_pred))
    with subject.seeded():
        got = arrays.to_numpy(subject.variant()(*both))
    expect_close(
        got, subject.values(y_true, y_pred), "the loss of arrays", "of tensors"
    )


@check(
    "warning",
    "Follow the definition, or give an oracle that follows yours.",
    needs=("runs",),
)
def value_matches_oracle(subject: LossUnderTest) -> None:
    """The values are those of the oracle given to `check_loss`."""
    if subject.oracle is None:
        raise CheckSkipped("no oracle was given")
    for seed in (0, 1):
        y_true, y_pred = subject.more(seed=seed)
        expect_close(
            subject.values(y_true, y_pred, dtype="float64"),
            np.asarray(subject.oracle(y_true, y_pred)),
            "the loss",
            "the oracle",
            rtol=1e-6,
        )


def _claims(subject, claim):
    if not subject.declares.get(claim):
        raise CheckSkipped(
            f"not claimed; claim it by _klr_declares = {{{claim!r}: True}}"
        )


@check(
    "error",
    "Look for a missing absolute value, a swapped sign, or a constant left out; or "
    "withdraw the claim.",
)
def non_negative_as_claimed(subject: LossUnderTest) -> None:
    """No value is below zero, where the loss claims so."""
    _claims(subject, "non_negative")
    for seed in range(3):
        values = subject.values(*subject.more(seed=seed))
        # A rounding error below zero breaks no promise.
        if values.min() < -1e-6:
            raise CheckFailed(f"the loss is {number(values.min())}, below zero")


@check(
    "error",
    "Check the formula where y_pred = y_true, smoothing and epsilons included; or "
    "withdraw the claim.",
)
def zero_at_perfect_as_claimed(subject: LossUnderTest) -> None:
    """A perfect prediction has a loss of zero, where the loss claims so."""
    _claims(subject, "zero_at_perfect")
    if subject.domain.perfect is None:
        raise CheckSkipped(
            f"the domain {subject.domain.name!r} knows no perfect prediction"
        )
    y_true, _ = subject.sample
    values = subject.values(y_true, subject.domain.perfect(y_true))
    worst = values.flat[int(np.argmax(np.abs(values)))]
    if not abs(worst) < 1e-5:
        raise CheckFailed(f"a perfect prediction has a loss of {number(worst)}, not 0")
