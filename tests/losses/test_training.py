"""`compile(loss=ours)` trains as `compile(loss=keras's own)` does.

Two models start from the same weights, see the same batches of real data and differ in
their loss only; then the epoch losses and the weights must agree. A weight's error is
measured against how far training has moved the weights, not against their size, so
that a loss which barely moves them cannot pass by standing still.
"""

import numpy as np
import pytest
import tensorflow as tf
from loss_rows import (
    BATCH,
    EPOCHS,
    ROWS,
    compile_arguments,
    dense,
    exported_classes,
    keras,
    one_per_kind,
    rows,
    sequential,
    set_weights,
    sgd,
)

import keras_losses_ref as klr
from keras_losses_ref.losses import compat

MODES = ("eager", "graph", "xla")

#: Relative errors allowed, and in comments the largest seen on a CPU with TensorFlow
#: 2.21 and Keras 3.15.1, and with TensorFlow 2.12.1 and Keras 2.12.
#:
#: float32 arithmetic in another order.
FLOAT32 = {"loss": 1e-6, "weights": 2e-5}  # 3.3e-7, 8.6e-6
#: The layers work in half precision. The loss works in float32 on both sides under
#: Keras 3 (1.3e-7, 0), and on Keras's side in half precision under Keras 2.
HALF = {
    "float16": {"loss": 2e-3, "weights": 1e-2},  # 3.9e-4, 1.3e-3
    "bfloat16": {"loss": 2e-2, "weights": 5e-2},  # 6.3e-3, 8.3e-3
}


def by_loss(chosen):
    return pytest.mark.parametrize("row", chosen, ids=[row.loss for row in chosen])


def train(model, loss, data, mode="graph", rate=0.05, loss_weights=None, **fit):
    """Two epochs: what `fit` reports, and the weights before and after."""
    start = model.get_weights()
    model.compile(
        optimizer=sgd(rate),
        loss=loss,
        loss_weights=loss_weights,
        **compile_arguments(mode),
    )
    fit = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, **fit}
    history = model.fit(*data, verbose=0, **fit).history
    return history, start, model.get_weights()


def assert_same(ours, theirs, tolerance=FLOAT32, learns=True):
    """Histories and weights of two runs of `train` agree within `tolerance`."""
    (history, start, end), (their_history, their_start, their_end) = ours, theirs
    for weight, expected in zip(start, their_start):
        np.testing.assert_array_equal(weight, expected)
    assert history.keys() == their_history.keys()
    assert np.all(np.isfinite(list(their_history.values()))), their_history
    errors = {"loss": 0.0, "weights": 0.0}
    for name, expected in their_history.items():
        error = np.max(np.abs(np.subtract(history[name], expected)))
        errors["loss"] = max(errors["loss"], error / (np.max(np.abs(expected)) or 1))
    moved = max(np.max(np.abs(b - a)) for a, b in zip(their_start, their_end))
    assert moved > 0, "Training moved no weight."
    for weight, expected in zip(end, their_end):
        error = np.max(np.abs(weight - expected)) / moved
        errors["weights"] = max(errors["weights"], error)
    for name, error in errors.items():
        assert error <= tolerance[name], (
            f"relative error of the {name}: {error:.2g}, {tolerance[name]:.2g} allowed"
            f"\n  ours   {history}\n  theirs {their_history}"
        )
    if learns:
        assert history["loss"][-1] < history["loss"][0]
    return errors


def assert_trains_like_keras(
    row, model, data, config=None, mode="graph", tolerance=FLOAT32, **fit
):
    """Train `model()` with our loss and with Keras's; return our run if they agree.

    Where the host has no such loss, with ours eagerly: then the modes must agree.
    """
    config = row.host_config() if config is None else config
    if mode == "xla":  # which compiles again for a smaller last batch
        data = [part[: 2 * BATCH] for part in data]
    fit.setdefault("rate", row.rate)
    ours = train(model(), row.ours(**config), data, mode, **fit)
    if row.keras is not None:
        theirs = train(model(), row.keras(**config), data, mode, **fit)
    else:
        theirs = train(model(), row.ours(**config), data, "eager", **fit)
    assert_same(ours, theirs, tolerance)
    return ours


def unless_first_of_its_kind(row):
    return [] if row in one_per_kind() else [pytest.mark.slow]


def by_loss_slowly(rows):
    """A test for each loss, of which the default tests have one of each kind."""
    params = [
        pytest.param(row, marks=unless_first_of_its_kind(row), id=row.loss)
        for row in rows
    ]
    return pytest.mark.parametrize("row", params)


FITS = [
    pytest.param(
        row,
        mode,
        marks=unless_first_of_its_kind(row) if mode != "graph" else [],
        id=f"{row.loss}-{mode}",
    )
    for row in rows()
    for mode in MODES
]


@pytest.mark.parametrize(("row", "mode"), FITS)
def test_fit(row, mode):
    assert_trains_like_keras(row, row.model, row.data(), {}, mode)


@by_loss([row for row in rows() if row.config])
def test_fit_with_arguments(row):
    config = row.host_config()
    assert_trains_like_keras(row, lambda: row.model(config), row.data(), config)


@by_loss_slowly(rows())
def test_fit_with_the_function(row):
    data = row.data()
    ours = train(row.model(), getattr(klr, row.function), data, rate=row.rate)
    theirs = (row.keras or row.ours)()
    assert_same(ours, train(row.model(), theirs, data, rate=row.rate))


@by_loss_slowly(rows())
def test_sample_weight(row):
    x, y = row.data()
    weights = np.random.default_rng(1).uniform(0, 2, len(x)).astype("float32")
    weights[::4] = 0
    assert_trains_like_keras(row, row.model, (x, y), {}, sample_weight=weights)


@by_loss(rows("binary", "onehot", "indices"))
def test_class_weight(row):
    classes = {i: 0.5 + 0.25 * i for i in range(10)}
    assert_trains_like_keras(row, row.model, row.data(), {}, class_weight=classes)


@by_loss(rows("reals", "binary", "signs"))
def test_targets_without_their_last_axis(row):
    x, y = row.data()
    assert_trains_like_keras(row, row.model, (x, y[:, 0]), {})


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_dtype_of_class_indices(dtype):
    row = ROWS["SparseCategoricalCrossentropy"]
    x, y = row.data()
    assert_trains_like_keras(row, row.model, (x, y.astype(dtype)), {})


def _steps(kind, n=48, steps=5):
    """Tokens of sequences of different lengths, and a target of `kind` per step."""
    random = np.random.default_rng(2)
    x = random.integers(1, 9, (n, steps)).astype("int32")
    for length in range(steps):  # at least one step is kept
        x[length::7, length + 1 :] = 0
    if kind in ("indices", "onehot", "distributions"):
        y = x % 10
        if kind != "indices":
            y = np.eye(10, dtype="float32")[y]
        if kind == "distributions":
            y = 0.9 * y + np.float32(0.01)
        return x, y
    y = (x[..., None] % 3 + 0.5).astype("float32")
    if kind == "vectors":
        y = np.concatenate([y, 2 - y, np.ones_like(y)], -1)
    elif kind in ("binary", "signs"):
        y = (y > 1).astype("float32") * (2 if kind == "signs" else 1)
        y -= kind == "signs"
    return x, y


PER_STEP = rows("reals", "vectors", "binary", "signs", "onehot", "distributions")
PER_STEP += rows("indices")


@by_loss_slowly(PER_STEP)
def test_mask_of_an_embedding(row):
    if row.loss == "CategoricalGeneralizedCrossEntropy" and row.keras is None:
        pytest.skip(f"{compat.PACKAGE} {compat.VERSION} has no {row.loss}")
    x, y = _steps(row.kind)

    def model():
        embedding = keras.layers.Embedding(9, 6, mask_zero=True)
        return sequential((5,), [embedding, *row.head()])

    if row in one_per_kind():
        assert_trains_like_keras(row, model, (x, y), {})
    weights = np.random.default_rng(3).uniform(0, 2, x.shape).astype("float32")
    assert_trains_like_keras(row, model, (x, y), {}, sample_weight=weights)


MASKING = ("MeanSquaredError", "BinaryCrossentropy", "SparseCategoricalCrossentropy")


@pytest.mark.parametrize("mode", MODES[1:])
@by_loss([ROWS[name] for name in MASKING])
def test_mask_of_a_masking_layer(row, mode):
    tokens, y = _steps(row.kind)
    x = np.eye(9, dtype="float32")[tokens] * (tokens > 0)[..., None]

    def model():
        layers = [keras.layers.Masking(), dense(6, "tanh"), *row.head()]
        return sequential((5, 9), layers)

    assert_trains_like_keras(row, model, (x, y), {}, mode)


@pytest.fixture
def policy(request):
    """Put a mixed-precision policy in force; gives the dtype it computes in."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(f"mixed_{request.param}")
    yield request.param
    keras.mixed_precision.set_global_policy(before)


def small_loss(row):
    """Keep long gradients within float16, where Keras scales them by 2^15."""
    scale = row.rate / 0.05
    return {} if scale == 1 else {"loss_weights": scale, "rate": 0.05}


@pytest.mark.filterwarnings(  # Keras's UnitNormalization, with its 1e-12 in float16
    "ignore:(?s).*overflow encountered in cast:RuntimeWarning"
)
@pytest.mark.parametrize(
    ("row", "policy"),
    [
        pytest.param(
            row, dtype, marks=unless_first_of_its_kind(row), id=f"{row.loss}-{dtype}"
        )
        for row in rows()
        for dtype in ("float16", "bfloat16")
    ],
    indirect=["policy"],
)
def test_mixed_precision(row, policy):
    assert_trains_like_keras(
        row, row.model, row.data(), {}, "eager", HALF[policy], **small_loss(row)
    )
    assert row.model()(row.data()[0][:1]).dtype == policy


@pytest.mark.parametrize(
    "policy",
    ["float16", pytest.param("bfloat16", marks=pytest.mark.slow)],
    indirect=True,
)
@by_loss(one_per_kind())
def test_mixed_precision_in_a_graph(row, policy):
    """As Keras advises: the last layer in float32."""
    x, y = row.data()

    def model():
        *layers, last = row.head()
        last = type(last).from_config({**last.get_config(), "dtype": "float32"})
        return sequential(x.shape[1:], [dense(8, "tanh"), *layers, last])

    assert_trains_like_keras(
        row, model, (x, y), {}, "graph", HALF[policy], **small_loss(row)
    )


OUTPUTS = {
    "value": "MeanSquaredError",
    "parity": "BinaryCrossentropy",
    "digit": "SparseCategoricalCrossentropy",
}


def _outputs():
    x, y = ROWS["SparseCategoricalCrossentropy"].data()
    value = (y[:, None] / 5).astype("float32")
    parity = (y[:, None] % 2).astype("float32")
    return x, {"value": value, "parity": parity, "digit": y}


def _outputs_model(as_dict):
    inputs = keras.Input((64,))
    hidden = dense(8, "tanh")(inputs)
    outputs = {
        "value": dense(1, name="value")(hidden),
        "parity": dense(1, "sigmoid", name="parity")(hidden),
        "digit": dense(10, "softmax", name="digit")(hidden),
    }
    model = keras.Model(inputs, outputs if as_dict else list(outputs.values()))
    set_weights(model)
    return model


@pytest.mark.parametrize(
    ("as_dict", "mode"),
    [(True, mode) for mode in MODES] + [(False, mode) for mode in MODES[:2]],
    ids=[f"dict-{mode}" for mode in MODES] + [f"list-{mode}" for mode in MODES[:2]],
)
def test_several_outputs(as_dict, mode):
    x, targets = _outputs()
    scales = {"value": 0.5, "parity": 2.0, "digit": 1.0}
    histories = []
    for module in (klr, keras.losses):
        losses = {name: getattr(module, loss)() for name, loss in OUTPUTS.items()}
        arguments = losses, scales, targets
        if not as_dict:
            arguments = [list(argument.values()) for argument in arguments]
        losses, weights, y = arguments
        model = _outputs_model(as_dict)
        histories.append(train(model, losses, (x, y), mode, loss_weights=weights))
    assert_same(*histories)
    if compat.GENERATION == 2 or compat.RELEASE >= (3, 7):  # the sum, and each part
        assert len(histories[0][0]) == 4


class OwnStep(keras.Model):
    """A train_step written by hand, with the compiled loss."""

    def __init__(self, row):
        super().__init__()
        self.hidden = dense(8, "tanh")
        self.heads = row.head()

    def call(self, x):
        x = self.hidden(x)
        for layer in self.heads:
            x = layer(x)
        return x

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return {"loss": loss}


class Subclassed(OwnStep):
    """A subclassed model, with Keras's own train_step."""

    train_step = keras.Model.train_step


@pytest.mark.parametrize("kind", [OwnStep, Subclassed], ids=["own_step", "subclass"])
@by_loss(one_per_kind())
def test_subclassed_model(row, kind):
    x, y = row.data()

    def model():
        built = kind(row)
        built(x[:2])
        set_weights(built)
        return built

    # The last batch's loss, which an own step reports, may well be the larger one.
    ours = train(model(), row.ours(), (x, y), rate=row.rate)
    theirs = (row.keras or row.ours)()
    theirs = train(model(), theirs, (x, y), rate=row.rate)
    assert_same(ours, theirs, learns=kind is Subclassed)


@pytest.mark.parametrize("mode", MODES[:2])
@by_loss(rows())
def test_custom_loop(row, mode):
    """No `fit`: the loss is called by hand, under a tape of one's own."""
    x, y = row.data()

    def run(loss):
        model, values = row.model(), []
        start = model.get_weights()

        def step(x, y):
            with tf.GradientTape() as tape:
                value = loss(y, model(x, training=True))
            gradients = tape.gradient(value, model.trainable_variables)
            return value, gradients

        if mode == "graph":
            step = tf.function(step)
        for i in range(0, 64, 32):
            value, gradients = step(tf.constant(x[i : i + 32]), y[i : i + 32])
            for variable, gradient in zip(model.trainable_variables, gradients):
                variable.assign_sub(row.rate * gradient)
            values.append(float(value))
        return {"loss": values}, start, model.get_weights()

    assert_same(run(row.ours()), run((row.keras or row.ours)()), learns=False)


@by_loss(one_per_kind())
def test_gradient_through_a_frozen_layer(row):
    x, y = row.data()

    def model():
        head = row.head()
        for layer in head:
            layer.trainable = False
        return sequential(x.shape[1:], [dense(8, "tanh"), *head])

    _, start, end = assert_trains_like_keras(row, model, (x, y), {})
    moved = [not np.array_equal(a, b) for a, b in zip(start, end)]
    assert moved[0]
    assert not any(moved[2:])


RECOVERING = [
    name
    for name in (
        "BinaryCrossentropy",
        "CategoricalCrossentropy",
        "SparseCategoricalCrossentropy",
    )
    if name in ROWS
]


def _saturated(row, cast=None):
    """A model whose probabilities are 0 and 1, and whose logits are in the hundreds."""
    x, _ = row.data()
    logits, activation = dense(1 if row.kind == "binary" else 10), row.activation
    layers = [dense(8, "tanh"), logits, keras.layers.Activation(activation)]
    if cast is not None:
        layers.append(keras.layers.Activation("linear", dtype=cast))
    model = sequential(x.shape[1:], layers)
    model.set_weights([w * f for w, f in zip(model.get_weights(), (1, 1, 200, 1))])
    return model


@pytest.mark.parametrize("mode", MODES)
@by_loss([ROWS[name] for name in RECOVERING])
def test_logits_are_recovered(row, mode):
    """A probability that rounds to 0 or 1 still has a gradient inside `fit`."""
    x, y = row.data()
    ours = train(_saturated(row), row.ours(), (x, y), mode)
    assert_same(ours, train(_saturated(row), row.keras(), (x, y), mode), learns=False)
    assert ours[0]["loss"][0] > 17  # more than -log(1e-7) = 16.118


@pytest.mark.parametrize("mode", MODES[:2])
@by_loss([ROWS[name] for name in RECOVERING])
def test_logits_are_not_recovered_behind_a_cast(row, mode):
    x, y = row.data()
    ours = train(_saturated(row, "float64"), row.ours(), (x, y), mode)
    assert ours[0]["loss"][0] < 16.2


@pytest.mark.parametrize("mode", MODES[:2])
@by_loss([ROWS[name] for name in RECOVERING])
def test_keras_recovers_no_logits_behind_a_cast_either(row, mode):
    if compat.GENERATION == 2 and row.loss == "BinaryCrossentropy":
        pytest.skip("Keras 2 adds 1e-7 within the logarithm: another value at 0 and 1")
    x, y = row.data()
    ours = train(_saturated(row, "float64"), row.ours(), (x, y), mode)
    theirs = train(_saturated(row, "float64"), row.keras(), (x, y), mode)
    assert_same(ours, theirs, learns=False)


def test_every_exported_loss_has_a_row():
    """A loss without a row here is trained, saved and distributed by no test."""
    assert exported_classes() == set(ROWS)


def test_the_rows_are_the_host_s_losses_too():
    """A loss that the host adds wants a row, and one of ours."""
    theirs = {
        name
        for name, value in vars(keras.losses).items()
        if isinstance(value, type) and issubclass(value, compat.Loss)
    }
    assert theirs - {"Loss", "LossFunctionWrapper"} <= set(ROWS)
