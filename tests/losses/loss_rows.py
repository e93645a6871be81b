"""One row per loss: the data it is trained on, the output it wants, its arguments.

The real-use tests (training, serialization, distribution) loop over `ROWS`: a row for
every loss of the conformance kit's table of inputs, which says what it is trained on.
"""

import functools
import inspect
from dataclasses import dataclass, field

import numpy as np

from keras_losses_ref import losses, oracle
from keras_losses_ref.conformance.inputs import LOSSES
from keras_losses_ref.losses import compat

keras = compat.keras

#: Batches of 32, 32 and 16: the last one is smaller.
SAMPLES, BATCH, EPOCHS = 80, 32, 2


@dataclass(frozen=True)
class Row:
    """What one loss is tried on.

    loss         the class's name, in this package and in Keras
    function     the function's name
    kind         what the targets are: a key of `DATA`
    activation   of the output layer; a linear one where `from_logits` is on
    rate         of the descent
    config       arguments other than the default, where Keras does what it documents
    saved        more of them, where Keras does not, for the tests without Keras's own
    """

    loss: str
    function: str
    kind: str
    activation: str = "linear"
    config: dict = field(default_factory=dict)
    saved: dict = field(default_factory=dict)
    rate: float = 0.05

    @property
    def ours(self):
        return getattr(losses, self.loss)

    @property
    def keras(self):
        """Keras's own class, or None where this host has none."""
        return getattr(keras.losses, self.loss, None)

    def host_config(self):
        """`config` without the arguments that this host's class does not have yet."""
        if self.keras is None:
            return self.config
        known = inspect.signature(self.keras).parameters
        return {name: value for name, value in self.config.items() if name in known}

    def data(self):
        return DATA[self.kind]()

    def head(self, config=None):
        """The output layers that make y_pred, for a loss with `config`."""
        linear = (config or {}).get("from_logits", False)
        return head(self.kind, "linear" if linear else self.activation)

    def model(self, config=None):
        """A small network, with the same initial weights every time."""
        x, _ = self.data()
        return sequential(x.shape[1:], [dense(8, "tanh"), *self.head(config)])


def dense(units, activation="linear", **kwargs):
    return keras.layers.Dense(units, activation=activation, **kwargs)


def sequential(shape, layers, seed=7):
    model = keras.Sequential([keras.Input(tuple(shape)), *layers])
    set_weights(model, seed)
    return model


def set_weights(model, seed=7):
    """Glorot weights and small biases, the same in every process and every Keras."""
    random = np.random.default_rng(seed)
    model.set_weights(
        [
            random.normal(0, np.sqrt(1 / max(w.shape[0], 1)), w.shape).astype(w.dtype)
            if w.ndim > 1
            else random.normal(0, 0.1, w.shape).astype(w.dtype)
            for w in model.get_weights()
        ]
    )


def head(kind, activation):
    units = {
        "vectors": 3,
        "onehot": 10,
        "distributions": 10,
        "indices": 10,
        "labels": 4,
        "sequences": 5,
    }.get(kind, 1)
    layers = [dense(units, activation)]
    if kind == "labels":  # embeddings on the unit sphere
        layers.append(keras.layers.UnitNormalization())
    return layers


def _standard(x):
    return ((x - x.mean(0)) / (x.std(0) + 1e-6)).astype("float32")


@functools.cache
def _diabetes():
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return _standard(x[:SAMPLES]), (y[:SAMPLES, None] / 100).astype("float32")


@functools.cache
def _cancer():
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return _standard(x[:SAMPLES]), y[:SAMPLES, None].astype("float32")


@functools.cache
def _digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x[:SAMPLES] / 16).astype("float32"), y[:SAMPLES].astype("int32")


def _vectors():
    x, _ = _diabetes()
    return x[:, 3:], x[:, :3]


def _signs():
    x, y = _cancer()
    return x, 2 * y - 1


def _onehot():
    x, y = _digits()
    return x, np.eye(10, dtype="float32")[y]


def _distributions():
    x, y = _onehot()
    return x, 0.9 * y + np.float32(0.01)


def _masks():
    """Find the bright pixels of a noisy image."""
    x, _ = _digits()
    noise = np.random.default_rng(0).normal(0, 0.1, x.shape)
    image = (x + noise).astype("float32").reshape(-1, 8, 8, 1)
    return image, (x > 0.5).astype("float32").reshape(-1, 8, 8, 1)


def _sequences():
    """Up to 3 symbols out of 1..4 in 8 steps of noisy features, 0-padded."""
    random = np.random.default_rng(0)
    y = random.integers(1, 5, (SAMPLES, 3)).astype("int32")
    y[::3, 2] = 0
    y[::5, 1:] = 0
    x = random.normal(0, 1, (SAMPLES, 8, 5)).astype("float32")
    for i, labels in enumerate(y):
        for j, label in enumerate(labels):
            x[i, 1 + 2 * j, label] += 2
    return x, y


#: kind -> a function that gives (x, y), the targets as the kind says.
DATA = {
    "reals": _diabetes,  # positive reals, (n, 1)
    "vectors": _vectors,  # (n, 3)
    "binary": _cancer,  # 0 or 1, (n, 1)
    "signs": _signs,  # -1 or 1, (n, 1)
    "onehot": _onehot,  # (n, 10)
    "distributions": _distributions,  # (n, 10), no zeros
    "indices": _digits,  # integers, (n,)
    "labels": _digits,  # integers, (n,), for embeddings
    "masks": _masks,  # images of 0 and 1, (n, 8, 8, 1)
    "sequences": _sequences,  # integers, (n, 3), 0 is no label
}

_LOGITS = {"from_logits": True, "label_smoothing": 0.1, "axis": 1}
_IMAGE = {"axis": (1, 2, 3)}

#: domain of a loss: (kind of targets, activation of the output layer).
_TRAINED_ON = {
    "real": ("reals", "linear"),
    "positive": ("reals", "softplus"),
    "counts": ("reals", "softplus"),
    "vectors": ("vectors", "linear"),
    "signs": ("signs", "tanh"),
    "binary": ("binary", "sigmoid"),
    "one_hot": ("onehot", "softmax"),
    "logits": ("onehot", "linear"),
    "indices": ("indices", "softmax"),
    "probabilities": ("distributions", "softmax"),
    "segmentation": ("masks", "sigmoid"),
    "embeddings": ("labels", "linear"),
    "sequence": ("sequences", "linear"),
}

_GAMMA = {"alpha": 0.3, "gamma": 1.5}
_SPARSE = {"from_logits": True, "ignore_class": 3, "axis": 1}

#: What else there is to say of a loss: fields of its `Row`.
_DETAILS = {
    # In percent, so the gradients are a hundred times as long.
    "MeanAbsolutePercentageError": {"rate": 2e-4},
    "Huber": {"config": {"delta": 0.4}},
    "CosineSimilarity": {"config": {"axis": 1}},
    "BinaryCrossentropy": {"config": _LOGITS},
    "BinaryFocalCrossentropy": {
        "config": {"apply_class_balancing": True, **_GAMMA, **_LOGITS}
    },
    "CategoricalCrossentropy": {"config": _LOGITS},
    "CategoricalFocalCrossentropy": {"config": {**_GAMMA, **_LOGITS}},
    "CategoricalGeneralizedCrossEntropy": {"config": {"q": 0.7}},
    "SparseCategoricalCrossentropy": {
        "config": _SPARSE,
        "saved": {"label_smoothing": 0.1},
    },
    "SparseCategoricalFocalCrossentropy": {"config": {**_GAMMA, **_SPARSE}},
    "Dice": {"config": _IMAGE},
    "Tversky": {
        "config": {"alpha": 0.4, "beta": 0.4, **_IMAGE},
        "saved": {"alpha": 0.3, "beta": 0.7},
    },
    "Circle": {
        "config": {"gamma": 40.0, "margin": 0.3, "remove_diagonal": False},
        "rate": 1e-3,
    },
}


def _row(inputs):
    kind, activation = _TRAINED_ON[inputs.domain]
    details = _DETAILS.get(inputs.loss, {})
    function = oracle.BY_LOSS[inputs.loss].__name__
    return Row(inputs.loss, function, kind, activation, **details)


#: A row for each loss, with the inputs of its default arguments.
ROWS = {
    inputs.loss: _row(inputs)
    for inputs in LOSSES
    if not inputs.config.get("from_logits")
}


def rows(*kinds):
    """The rows whose targets are of one of `kinds`; all of them, for none."""
    return [row for row in ROWS.values() if not kinds or row.kind in kinds]


def one_per_kind():
    """The first row of each kind of targets, where trying them all would take long."""
    first = {}
    for row in ROWS.values():
        first.setdefault(row.kind, row)
    return list(first.values())


def exported_classes():
    """The names of the loss classes that this package exports.

    Without the pair of a layer and its loss, which Keras does not have: what they do in
    training, saved and distributed is in test_linear.py.
    """
    exported = {
        name: getattr(losses, name)
        for name in losses.__all__
        if not name.startswith("Linear")
    }
    return {
        name
        for name, value in exported.items()
        if inspect.isclass(value) and value is not losses.Loss
    }


def compile_arguments(mode):
    """What `compile` takes to run eagerly, as a graph, or through XLA."""
    return {"run_eagerly": mode == "eager", "jit_compile": mode == "xla"}


def sgd(rate=0.05):
    """Plain descent: an adaptive optimizer would blow rounding up to a whole step."""
    return keras.optimizers.SGD(rate)
