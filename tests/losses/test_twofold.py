"""Twofold numbers, and the gradients that are made of them, against mpmath."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import keras_losses_ref as klr
from keras_losses_ref.losses.kernels import twofold
from keras_losses_ref.losses.kernels.twofold import Twofold

mp = pytest.importorskip("mpmath")

PATHS = {
    "eager": lambda function: function,
    "graph": tf.function,
    "xla": lambda function: tf.function(function, jit_compile=True),
}

GAMMAS = [pytest.param(1.0, marks=pytest.mark.slow), 2.0, 2.5]

#: name: (of twofold numbers, of mpmath's, bits that are right)
OPERATIONS = {
    "sum": (lambda a, b: a + b, lambda a, b: a + b, 100),
    "product": (lambda a, b: a * b, lambda a, b: a * b, 75),
    "quotient": (lambda a, b: a / b, lambda a, b: a / b, 75),
    "number_over": (lambda a, b: 1.0 / a, lambda a, b: 1 / a, 75),
    "cancels": (lambda a, b: (a + b) - b.high, lambda a, b: a + (b - float(b)), 70),
    "log": (lambda a, b: twofold.log(a), lambda a, b: mp.log(a), 61),
    "exp": (lambda a, b: twofold.exp(-a), lambda a, b: mp.exp(-a), 60),
    "where": (
        lambda a, b: twofold.where(a.high > 1.0, a, -b),
        lambda a, b: a if a > 1 else -b,
        105,
    ),
}


@pytest.fixture(autouse=True)
def many_digits():
    with mp.workprec(200):
        yield


def numbers(seed, count=300):
    """Positive numbers of all sizes, some beside 1, with a second half."""
    rng = np.random.default_rng(seed)
    sizes = (
        rng.uniform(0.01, 1.0, count),
        10.0 ** rng.uniform(-7, 2, count),
        1.0 + rng.uniform(-1e-6, 1e-6, count),
    )
    high = rng.permutation(np.concatenate(sizes))
    return high, high * 2.0**-54 * rng.uniform(-1, 1, high.size)


def exactly(high, low):
    return [mp.mpf(float(a)) + mp.mpf(float(b)) for a, b in zip(high, low)]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name, path):
    ours, theirs, bits = OPERATIONS[name]
    a, b = numbers(1), numbers(2)

    def both(*parts):
        found = ours(Twofold(*parts[:2]), Twofold(*parts[2:]))
        return found.high, found.low

    found = PATHS[path](both)(*map(tf.constant, (*a, *b)))
    for got, x, y in zip(exactly(*found), exactly(*a), exactly(*b)):
        want = theirs(x, y)
        assert abs(got - want) <= abs(want) * mp.mpf(2) ** -bits, (x, y)


@pytest.mark.parametrize("path", PATHS)
def test_a_total_of_what_cancels(path):
    high, low = (part.reshape(9, -1) for part in numbers(3))
    # The second half of a row takes the first half back, but for its last digits.
    high[:, 50:], low[:, 50:] = -high[:, :50], low[:, 50:] * 2.0**-3

    def both(*parts):
        found = twofold.total(Twofold(*parts))
        return found.high, found.low

    found = PATHS[path](both)(tf.constant(high), tf.constant(low))
    for row, got in enumerate(exactly(*(part[:, 0] for part in found))):
        want = mp.fsum(exactly(high[row], low[row]))
        size = mp.mpf(np.abs(high[row]).max())
        assert abs(got - want) <= size * mp.mpf(2) ** -75


def test_what_has_no_digits_stays_plain():
    plain = tf.constant([1.0, 2.0], tf.float64)
    exact = Twofold(tf.constant([1.0 + 2.0**-50, np.nan], tf.float64))
    np.testing.assert_array_equal(
        twofold.corrected(plain, exact), [1.0 + 2.0**-50, 2.0]
    )
    assert np.isnan(twofold.exp(Twofold(tf.constant(-800.0, tf.float64))).high)


def focal_slope(y, x, *, gamma, from_logits):
    """The derivative of the binary focal cross-entropy by x, by mpmath."""
    y, x = mp.mpf(float(y)), mp.mpf(float(x))
    p = 1 / (1 + mp.exp(-x)) if from_logits else x
    miss = y * (1 - p) + (1 - y) * p
    cost = -(y * mp.log(p) + (1 - y) * mp.log(1 - p))
    slope = gamma * miss ** (gamma - 1) * (1 - 2 * y) * cost
    slope += miss**gamma * (p - y) / (p * (1 - p))
    return slope * p * (1 - p) if from_logits else slope


def zero_of(slope, low, high):
    """The float64 next to where `slope` crosses zero, by halving."""
    for _ in range(80):
        middle = (low + high) / 2
        same = mp.sign(slope(middle)) == mp.sign(slope(low))
        low, high = (middle, high) if same else (low, middle)
    return float(low)


@functools.cache
def beside_the_zero(from_logits, gamma):
    """Labels, predictions beside the one at which the slope is 0, and the slopes."""
    bounds = (mp.mpf(-5), mp.mpf(5)) if from_logits else (mp.mpf(0.01), mp.mpf(0.99))
    pairs, slopes = [], []
    for y in (0.2, 0.36, 0.61, 0.83):
        slope = functools.partial(focal_slope, y, gamma=gamma, from_logits=from_logits)
        x = zero_of(slope, *bounds)
        pairs += [(y, x * (1 + d)) for d in (1e-2, -1e-2, 1e-4, -1e-4)]
        slopes += [slope(x) for _, x in pairs[-4:]]
    return *zip(*pairs), slopes


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("from_logits", [False, True])
def test_binary_focal_beside_the_zero_of_its_gradient(from_logits, gamma, path):
    *pairs, slopes = beside_the_zero(from_logits, gamma)
    y, x = (tf.constant(part, tf.float64) for part in pairs)
    loss = klr.BinaryFocalCrossentropy(
        gamma=gamma, from_logits=from_logits, dtype="float64", reduction="sum"
    )

    def gradient(y, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(y[:, None], x[:, None])
        return tape.gradient(value, x)

    for got, want in zip(PATHS[path](gradient)(y, x), slopes):
        assert abs(mp.mpf(float(got)) - want) <= 8 * np.spacing(abs(float(want)))


def categorical_slopes(y, x, gamma, from_logits):
    """The derivatives of the categorical focal cross-entropy by x, by mpmath."""
    y, x = ([mp.mpf(float(v)) for v in part] for part in (y, x))
    e = [mp.exp(v) for v in x] if from_logits else x
    q = [v / mp.fsum(e) for v in e]
    pulls = [
        -a * (gamma * (1 - b) ** (gamma - 1) * -mp.log(b) + (1 - b) ** gamma / b) / 4
        for a, b in zip(y, q)
    ]
    mean = mp.fsum(a * b for a, b in zip(pulls, q))
    scale = q if from_logits else [1 / mp.fsum(e)] * len(x)
    return [a * (b - mean) for a, b in zip(scale, pulls)]


@functools.cache
def beside_a_zero(from_logits, gamma):
    """Labels and predictions with a slope that all but vanishes, and all the slopes."""
    rng = np.random.default_rng(4)
    y, p = rng.dirichlet([1.0] * 4, 20), rng.dirichlet([2.0] * 4, 20)
    x = np.log(p) if from_logits else p

    def first_slope(row, label):
        return categorical_slopes([label, *y[row, 1:]], x[row], gamma, from_logits)[0]

    for row in range(20):
        zero = zero_of(functools.partial(first_slope, row), mp.mpf(0), mp.mpf(5))
        y[row, 0] = zero * (1 + 1e-4)
    return y, x, [categorical_slopes(*row, gamma, from_logits) for row in zip(y, x)]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("from_logits", [False, True])
def test_categorical_focal_beside_a_zero_of_its_gradient(from_logits, gamma, path):
    y, x, slopes = beside_a_zero(from_logits, gamma)
    loss = klr.CategoricalFocalCrossentropy(
        gamma=gamma, from_logits=from_logits, dtype="float64", reduction="sum"
    )

    def gradient(y, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(y, x)
        return tape.gradient(value, x)

    got = PATHS[path](gradient)(tf.constant(y), tf.constant(x)).numpy()
    for found, wanted in zip(got, slopes):
        for a, b in zip(found, wanted):
            assert abs(mp.mpf(float(a)) - b) <= 8 * np.spacing(abs(float(b)))
