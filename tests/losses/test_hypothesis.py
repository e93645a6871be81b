"""Generated inputs: nothing is NaN or infinite where the definition is finite.

The default run is short. `nox -s numerics` (-m sweep) asks for 100,000 rows: 116 pairs
of loss and dtype, 216 examples of 4 rows each.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from keras_losses_ref.conformance import accuracy
from keras_losses_ref.conformance.cases.case import Case
from keras_losses_ref.conformance.runners.tensorflow import evaluate
from keras_losses_ref.conformance.tolerance import FLOAT_INFO, round_to
from keras_losses_ref.conformance.truth import right_answer

ROWS = 4


def numbers(dtype, low=None, high=None, special=()):
    """Numbers of the dtype between bounds, the special ones often.

    Up to the largest / 4096: beyond that the sum of a row, or the hundredfold or the
    logarithms in it, may leave the range though the mean does not.
    """
    _, smallest, largest = FLOAT_INFO[dtype]
    largest /= 4096
    low, high = (-largest if low is None else low), (largest if high is None else high)
    # Subnormal inputs count as 0 in TensorFlow.
    ordinary = st.floats(low, high).map(lambda x: 0.0 if abs(x) < smallest else x)
    usual = st.floats(max(low, -30.0), min(high, 30.0)).map(
        lambda x: 0.0 if abs(x) < smallest else x
    )
    ends = [x for x in (0.0, 1.0, -1.0, low, high, *special) if low <= x <= high]
    return st.one_of(st.sampled_from(ends + list(special)), usual, ordinary)


def table(elements, *shape):
    return arrays(np.float64, shape, elements=elements)


def hot(classes):
    labels = arrays(np.int64, ROWS, elements=st.integers(0, classes - 1))
    return labels.map(lambda index: np.eye(classes)[index])


def normalised(rows):
    """Rows whose sum is 1, as a softmax gives them, or nearly: they are rounded."""
    rows = np.abs(rows)
    size = rows.sum(-1, keepdims=True)
    return np.where(size > 0, rows / np.where(size > 0, size, 1), 1 / rows.shape[-1])


def inputs(subject, dtype):
    """A strategy for (y_true, y_pred) in the domain of a loss."""
    domain, inf = subject.domain.name, float("inf")
    real = numbers(dtype)
    unit = numbers(dtype, 0.0, 1.0, (1e-7, 1 - 1e-7, 1 - 2**-24, 0.5, 1e-30))
    share = table(unit, ROWS, 5).map(normalised)
    indices = arrays(np.int64, ROWS, elements=st.integers(0, 4))
    # One infinite logit in a row has a limit, two have none: the oracle knows.
    logit = numbers(dtype, special=(inf, -inf, 17.0, -17.0, 89.0, -89.0))
    positive = numbers(dtype, 0.0)
    signs = st.sampled_from([-1.0, 1.0])
    if domain == "embeddings":
        rows = table(st.floats(-1, 1), ROWS, 3).map(
            lambda x: (x + 1e-3) / np.linalg.norm(x + 1e-3, axis=-1, keepdims=True)
        )
        return st.tuples(arrays(np.int64, ROWS, elements=st.integers(0, 1)), rows)
    if domain == "sequence":
        labels = arrays(np.int64, (ROWS, 2), elements=st.integers(1, 3))
        return st.tuples(labels, table(real, ROWS, 4, 4))
    pairs = {
        "real": (table(real, ROWS, 2), table(real, ROWS, 2)),
        "positive": (table(positive, ROWS, 2), table(positive, ROWS, 2)),
        "counts": (table(positive, ROWS, 2), table(positive, ROWS, 2)),
        "signs": (table(signs, ROWS, 2), table(real, ROWS, 2)),
        "binary": (table(unit, ROWS, 2), table(unit, ROWS, 2)),
        "binary_logits": (table(unit, ROWS, 2), table(logit, ROWS, 2)),
        "one_hot": (st.one_of(hot(5), share), share),
        "indices": (indices, share),
        "logits": (hot(5), table(logit, ROWS, 5)),
        "index_logits": (indices, table(logit, ROWS, 5)),
        "probabilities": (share, share),
        "vectors": (table(real, ROWS, 3), table(real, ROWS, 3)),
        "segmentation": (table(unit, ROWS, 3), table(unit, ROWS, 3)),
    }
    return st.tuples(*pairs[domain])


def lost(case):
    """What is not finite in our answer and is in the definition's, in words."""
    ((_, ours),) = evaluate([case], "ours")
    truth = right_answer(case)
    assert not ours.error, ours.message
    largest = FLOAT_INFO[case.dtype][2]
    found = []
    for aspect in ("value", "gradient"):
        got, want = (np.asarray(getattr(one, aspect)) for one in (ours, truth))
        bad = (np.abs(want) <= largest) & ~np.isfinite(got)
        if np.any(bad):
            found.append(
                f"{aspect}: {got[bad][:3]}, not {want[bad][:3]}; y_true="
                f"{case.y_true.tolist()}, y_pred={case.y_pred.tolist()}"
            )
    return found


def check(subject, dtype, **options):
    @settings(deadline=None, suppress_health_check=list(HealthCheck), **options)
    @given(inputs(subject, dtype))
    def assert_finite(pair):
        y_true, y_pred = pair
        case = Case(
            subject.loss,
            "generated",
            "any input of the domain",
            round_to(y_true, dtype) if y_true.dtype.kind == "f" else y_true,
            round_to(y_pred, dtype),
            dict(subject.config),
            dtype=dtype,
            reduction="none",
        )
        assert lost(case) == []

    assert_finite()


every_subject = pytest.mark.parametrize(
    "subject", accuracy.SPECS, ids=lambda subject: subject.name
)
every_dtype = pytest.mark.parametrize("dtype", accuracy.DTYPES)


@every_dtype
@every_subject
def test_finite_where_the_definition_is(subject, dtype):
    check(subject, dtype, max_examples=4, derandomize=True)


@pytest.mark.sweep
@every_dtype
@every_subject
def test_finite_in_100000_rows(subject, dtype, sweep):
    check(subject, dtype, max_examples=216)
