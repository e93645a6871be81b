"""The ledger: entries are well formed, reach as far as they say, and can be shown."""

import dataclasses
import re

import numpy as np
import pytest

from keras_losses_ref.conformance import cases, check, deviations, verdict
from keras_losses_ref.conformance.cases import Case
from keras_losses_ref.conformance.deviations import formulas
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.truth import right_answer
from keras_losses_ref.losses import compat

ENTRIES = [pytest.param(entry, id=entry.id) for entry in deviations.DEVIATIONS]

#: Issues, pull requests and commits of Keras and TensorFlow, or a file at a tag.
THREAD = re.compile(
    r"https://github\.com/(keras-team/(keras|tf-keras)|tensorflow/tensorflow|jax-ml/jax)/"
    r"((issues|pull)/\d+|commit/[0-9a-f]{40}|blob/(v\d+\.\d+\.\d+|master)/[\w/.]+)"
)


def entry_named(identifier):
    return next(e for e in deviations.DEVIATIONS if e.id == identifier)


def release(version):
    return tuple(int(n) for n in version.split("."))


def made_up(*versions):
    return deviations.Deviation(
        "made-up", ("MeanSquaredError",), versions, "It.", "", bool, right_answer
    )


@pytest.mark.parametrize("entry", ENTRIES)
def test_versions_are_releases_in_order(entry):
    assert entry.versions
    after = (2, 12)  # nothing older is supported
    for first, last in entry.versions:
        assert re.fullmatch(r"\d+\.\d+\.\d+", first)
        assert release(first) >= after
        after = (release(first)[0] + 1,)
        if last is not None:
            assert re.fullmatch(r"\d+\.\d+\.\d+", last)
            assert release(first) <= release(last) < after
            after = release(last)


@pytest.mark.parametrize("entry", ENTRIES)
def test_threads_are_upstream(entry):
    assert THREAD.fullmatch(entry.thread)


def test_ids_are_unique_and_readable():
    ids = [entry.id for entry in deviations.DEVIATIONS]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", one) for one in ids)


@pytest.mark.parametrize(
    "version, covered",
    [
        ("2.13.1", False),
        ("3.3.3", False),
        ("3.4.0", True),
        ("3.12.4", True),
        ("3.13.0", False),
        ("3.4.0.dev2024060303", True),
    ],
)
def test_a_range_includes_both_ends(version, covered):
    assert made_up(("3.4.0", "3.12.4")).covers(version) is covered


@pytest.mark.parametrize(
    "version, covered",
    [("2.11.0", False), ("2.12.0", True), ("2.21.0", True), ("3.0.0", False)],
)
def test_an_open_range_ends_with_its_generation(version, covered):
    assert made_up(("2.12.0", None)).covers(version) is covered


def test_the_newest_keras_is_in_an_open_range():
    assert made_up(("3.0.0", None)).covers("3.99.0")


def shows(entry, case):
    """Whether the entry's definition differs from ours on a case."""
    if not entry.applies(case):
        return False
    deviating, truth = entry.answer(case), right_answer(case)
    if case.expected_error is not None:
        truth = Outcome(error="ValueError")
    if deviating.error or truth.error:
        return bool(deviating.error) != bool(truth.error)
    # One that allows an error tells of rounding, and may have the definition's value.
    return entry.outcome is right_answer or any(
        verdict.disagreement(case, deviating, truth, aspect)
        for aspect in verdict.aspects(case)
        if getattr(deviating, aspect) is not None
    )


@pytest.mark.parametrize(
    "entry", [pytest.param(e, id=e.id) for e in deviations.for_version(compat.VERSION)]
)
def test_some_case_shows_it(entry):
    """`check` fails an entry that does not show; this one that nothing asks for."""
    corpus = cases.corpus(entry.losses, full=True)
    corpus = (case for case in corpus if case.reduction in compat.REDUCTIONS)
    asked = (
        dataclasses.replace(case, device=device)
        for case in corpus
        for device in ("CPU:0", "GPU:0")  # no definition needs the device itself
    )
    assert any(shows(entry, case) for case in asked)


def overlap(loss, y_true, y_pred):
    one = Case(loss, "any_name", "", np.ones(y_true), np.full(y_pred, 0.5))
    return dataclasses.replace(one, expected_error="cannot be aligned")


@pytest.mark.parametrize("loss", ["Dice", "Tversky"])
@pytest.mark.parametrize(
    "y_true, y_pred, stretched",
    [
        ((2, 1), (2, 3), True),
        ((2, 4, 1, 3), (2, 4, 4, 3), True),
        ((1, 3), (2, 1), True),
        ((2, 3), (2, 3), False),
        ((2, 2), (2, 3), False),
        ((2, 3), (2, 3, 1), False),
        ((2,), (2, 1), False),
    ],
)
def test_a_mask_is_stretched_by_its_shape_and_not_by_its_name(
    loss, y_true, y_pred, stretched
):
    entry = entry_named(f"{loss.lower()}-mask-stretched")
    assert entry.applies(overlap(loss, y_true, y_pred)) is stretched


def test_circle_cancels_is_a_definition_and_no_allowance():
    """Two float32 formulas differ by 8 million epsilons; this one follows Keras's."""
    entry = entry_named("circle-cancels")
    chosen = check.select(patterns=["circle/tight_cluster[float32,*,eager]"])
    for case in chosen:
        assert entry.applies(case) and entry.allowed(case, "gradient") == 0.0
        truth, deviating = right_answer(case), entry.answer(case)
        error = np.max(np.abs(deviating.gradient - truth.gradient))
        assert error > 0.01 * np.max(np.abs(truth.gradient))


def test_circle_as_written_is_circle_where_nothing_cancels():
    """The deviating formula itself has no mistake: far apart it is the definition."""
    (case,) = check.select(
        patterns=["circle/typical[float64,sum_over_batch_size,eager]"]
    )
    written, truth = formulas.circle(case), right_answer(case)
    np.testing.assert_allclose(written.value, truth.value, rtol=1e-13)
    np.testing.assert_allclose(written.gradient, truth.gradient, rtol=1e-11, atol=1e-12)


def test_what_the_definition_refuses_breaks_no_entry():
    """Weights or masks that do not fit, in half precision too."""
    asked = [
        case
        for case in cases.corpus(["CategoricalCrossentropy", "Hinge"], full=True)
        if case.expected_error is None and right_answer(case).error
    ]
    assert any(case.dtype == "float16" for case in asked)
    for case in asked:
        for entry in deviations.DEVIATIONS:
            if entry.applies(case):
                assert entry.answer(case).error, (entry.id, case.id)
