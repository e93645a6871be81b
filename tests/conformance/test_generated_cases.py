"""Generated cases: ours, the host's Keras and the oracle must agree."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from planted import half_the_error, plant

from keras_losses_ref.conformance import cases, check, inputs
from keras_losses_ref.losses import compat

ROWS, COLUMNS = 3, 4


def numbers(low, high, shape=(ROWS, COLUMNS)):
    # No subnormal numbers: kernels read them as 0, or do not, as they were built.
    floats = st.floats(low, high, width=32, allow_subnormal=False)
    return arrays(np.float64, shape, elements=floats)


def whole(low, high, shape=(ROWS, COLUMNS)):
    return arrays(np.int64, shape, elements=st.integers(low, high))


def normal(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


real = numbers(-100.0, 100.0)
unit = numbers(0.0, 1.0)
positive = numbers(2.0**-20, 100.0)
zero_or_one = whole(0, 1).map(lambda y: y.astype(np.float64))
signs = zero_or_one.map(lambda y: 2 * y - 1)
classes = whole(0, COLUMNS - 1, (ROWS,))
one_hot = classes.map(lambda index: np.eye(COLUMNS)[index])
shares = numbers(2.0**-10, 1.0).map(lambda p: p / p.sum(-1, keepdims=True))
vectors = numbers(2.0**-4, 4.0)

#: domain: (labels, predictions)
STRATEGIES = {
    "real": (real, real),
    "positive": (positive, positive),
    # Where p - y log p does not cancel: float32 has no digits to compare then.
    "counts": (whole(0, 2), numbers(0.5, 4.0)),
    "vectors": (vectors, vectors),
    "signs": (signs, real),
    "binary": (zero_or_one, unit),
    "binary_logits": (zero_or_one, real),
    "one_hot": (one_hot, shares),
    "logits": (one_hot, real),
    "indices": (classes, shares),
    "index_logits": (classes, real),
    "probabilities": (shares, shares),
    "segmentation": (zero_or_one, unit),
    # Rows of length one, as a loss of embeddings expects them.
    "embeddings": (classes, vectors.map(normal)),
    "sequence": (whole(1, 3, (ROWS, 2)), numbers(-5.0, 5.0, (ROWS, 5, COLUMNS))),
}
#: The same for one loss.
STRATEGIES_OF_LOSS = {"MeanAbsolutePercentageError": (positive, real)}
LOSSES = list(cases.HANDWRITTEN)


@st.composite
def generated(draw, loss):
    variants = [row for row in inputs.LOSSES if row.loss == loss]
    row = draw(st.sampled_from(variants))
    labels, predictions = STRATEGIES_OF_LOSS.get(loss, STRATEGIES[row.domain])
    weights = numbers(0.0, 4.0, (ROWS,))
    y_pred = draw(predictions)
    # Without an axis there is one value, and nothing for the weight of a sample.
    weighted = row.domain != "segmentation" and draw(st.booleans())
    config = {k: v for k, v in row.config.items() if k != "axis"}
    return cases.Case(
        loss,
        "generated",
        "generated",
        draw(labels),
        y_pred,
        config,
        sample_weight=draw(weights) if weighted else None,
        dtype=draw(st.sampled_from(("float32", "float64"))),
        reduction=draw(st.sampled_from(("sum_over_batch_size", "sum", "none"))),
    )


def test_a_planted_bug_is_found(monkeypatch):
    plant(monkeypatch, "MeanSquaredError", call=half_the_error)
    with pytest.raises(AssertionError, match="ours is wrong"):
        test_generated_cases_agree("MeanSquaredError")


@pytest.mark.parametrize("loss", LOSSES)
def test_generated_cases_agree(loss):
    @settings(
        max_examples=30,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(generated(loss))
    def assert_agrees(case):
        failures = [
            failure.text()
            for failure in check.check([case]).failures
            if failure.aspect != "ledger"  # one case need not show what a ledger says
        ]
        assert not failures, "\n\n".join(failures) + f"\nKeras {compat.VERSION}"

    assert_agrees()
