"""`get` takes what `tf.keras.losses.get` takes and more; `to_keras` is the way back."""

import inspect
import json

import numpy as np
import pytest

import keras_losses_ref as klr
from keras_losses_ref.losses import compat
from keras_losses_ref.losses.convert import LOSSES

theirs = compat.keras.losses

CLASSES = sorted(
    {value for value in LOSSES.values() if inspect.isclass(value)},
    key=lambda cls: cls.__name__,
)
SHARED = [cls for cls in CLASSES if hasattr(theirs, cls.__name__)]
FUNCTIONS = sorted(
    {value for value in LOSSES.values() if not inspect.isclass(value)},
    key=lambda function: function.__name__,
)

#: Arguments other than the defaults, for every class that has any.
OTHER = {
    "from_logits": True,
    "label_smoothing": 0.25,
    "axis": 1,
    "delta": 2.5,
    "alpha": 0.375,
    "beta": 0.625,
    "gamma": 3.0,
    "margin": 0.25,
    "remove_diagonal": False,
    "apply_class_balancing": True,
    "ignore_class": 7,
    "q": 0.75,
}


def name_of(value):
    return value.__name__


def other_arguments(cls, host_cls=None):
    """Arguments other than the defaults that `cls`, and the host's, takes."""
    accepted = inspect.signature(host_cls or cls).parameters
    arguments = {name: OTHER[name] for name in cls.arguments if name in accepted}
    return {**arguments, "name": "mine", "reduction": "sum"}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_get_by_name(name):
    found = klr.get(name)
    if inspect.isclass(LOSSES[name]):
        assert type(found) is LOSSES[name]
        assert found.get_config() == LOSSES[name]().get_config()
    else:
        assert found is LOSSES[name]


def test_get_of_none():
    assert klr.get(None) is None


@pytest.mark.parametrize(
    "name, close",
    [("mean_square_error", "'mean_squared_error'"), ("Hubert", "'Huber'")],
)
def test_get_suggests(name, close):
    with pytest.raises(ValueError, match="Did you mean") as info:
        klr.get(name)
    assert close in str(info.value)
    assert repr(name) in str(info.value)


@pytest.mark.parametrize("identifier", [3, 1.5, [], {"config": {}}, {"class_name": 3}])
def test_get_refuses(identifier):
    with pytest.raises(ValueError, match="get: "):
        klr.get(identifier)


@pytest.mark.parametrize("cls", CLASSES, ids=name_of)
def test_get_of_our_config_in_every_form(cls):
    loss = cls(**other_arguments(cls))
    config = loss.get_config()
    plain = {"class_name": cls.__name__, "config": config}
    registered = {"class_name": f"keras_losses_ref>{cls.__name__}", "config": config}
    for form in (plain, registered, theirs.serialize(loss)):
        for again in (form, json.loads(json.dumps(form))):
            found = klr.get(again)
            assert type(found) is cls
            assert found.get_config() == config


@pytest.mark.parametrize("cls", SHARED, ids=name_of)
def test_get_of_keras_instance(cls):
    host_cls = getattr(theirs, cls.__name__)
    arguments = other_arguments(cls, host_cls)
    found = klr.get(host_cls(**arguments))
    assert type(found) is cls
    assert found.get_config().items() >= arguments.items()


@pytest.mark.parametrize("cls", SHARED, ids=name_of)
def test_get_of_keras_config(cls):
    host_cls = getattr(theirs, cls.__name__)
    arguments = other_arguments(cls, host_cls)
    loss = host_cls(**arguments)
    serialized = theirs.serialize(loss)
    found = klr.get(json.loads(json.dumps(serialized)))
    assert type(found) is cls
    # Some of Keras's configs forget arguments; what they keep must arrive.
    kept = {
        name: value for name, value in serialized["config"].items() if name in arguments
    }
    assert found.get_config().items() >= kept.items()
    assert found.name == "mine"
    assert found.reduction == "sum"


@pytest.mark.parametrize("cls", SHARED, ids=name_of)
def test_get_of_keras_class(cls):
    found = klr.get(getattr(theirs, cls.__name__))
    assert type(found) is cls
    assert type(klr.get(cls)) is cls


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_get_of_our_function(function):
    assert klr.get(function) is function


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_get_of_keras_function(function):
    try:
        host_function = klr.to_keras(function)
    except ValueError:
        pytest.skip(f"Keras {compat.VERSION} has no {function.__name__}")
    assert klr.get(host_function) is function


def test_get_of_a_serialized_function():
    written = {
        "module": "builtins",
        "class_name": "function",
        "config": "mean_squared_error",
        "registered_name": "mean_squared_error",
    }
    assert klr.get(written) is klr.mean_squared_error
    ours = "keras_losses_ref>huber"
    assert klr.get({**written, "config": ours, "registered_name": ours}) is klr.huber


def test_get_returns_other_callables_unchanged():
    class Huber(theirs.Huber):
        """A user's own, of a name that Keras has too."""

    class Fresh:
        def __call__(self, y_true, y_pred):
            return y_pred

    for loss in (lambda y_true, y_pred: y_pred, Huber(), Huber, Fresh(), klr.Huber()):
        assert klr.get(loss) is loss


@pytest.mark.skipif(compat.GENERATION == 2, reason="a dtype is Keras 3's")
def test_get_keeps_the_dtype():
    if "dtype" not in inspect.signature(theirs.Huber).parameters:
        pytest.skip(f"the classes of Keras {compat.VERSION} take no dtype")
    assert klr.get(theirs.Huber(dtype="float64")).dtype == "float64"
    policy = {"module": "keras", "class_name": "DTypePolicy"}
    policy["config"] = {"name": "float16"}
    found = klr.get({"class_name": "Huber", "config": {"dtype": policy}})
    assert found.dtype == "float16"


@pytest.mark.parametrize("reduction", ["auto", "sum_over_batch_size", "none", None])
def test_get_takes_the_reductions_of_both_generations(reduction):
    found = klr.get({"class_name": "Huber", "config": {"reduction": reduction}})
    assert found.reduction in compat.REDUCTIONS
    shape = found([[0.0], [1.0]], [[1.0], [3.0]]).shape
    assert shape == ((2,) if reduction in ("none", None) else ())


def test_get_refuses_an_unknown_argument():
    with pytest.raises(ValueError, match="takes no argument 'detla'"):
        klr.get({"class_name": "Huber", "config": {"detla": 2.0}})


def test_get_ignores_the_function_in_keras_2_configs():
    config = {"fn": "huber", "delta": 2.0, "name": "huber_loss", "reduction": "auto"}
    assert klr.get({"class_name": "Huber", "config": config}).delta == 2.0


def test_get_leaves_others_configs_to_keras():
    @compat.keras.utils.register_keras_serializable(package="test_convert")
    class Mine(theirs.Loss):
        def call(self, y_true, y_pred):
            return y_pred

    assert isinstance(klr.get(theirs.serialize(Mine(name="mine"))), Mine)


@pytest.mark.parametrize("cls", SHARED, ids=name_of)
def test_there_and_back(cls):
    host_cls = getattr(theirs, cls.__name__)
    arguments = other_arguments(cls, host_cls)
    ours = cls(**arguments)
    made = klr.to_keras(ours)
    assert type(made) is host_cls
    assert klr.get(made).get_config() == ours.get_config()


def test_to_keras_of_names_classes_and_others():
    assert type(klr.to_keras("Huber")) is theirs.Huber
    assert type(klr.to_keras(klr.Huber)) is theirs.Huber
    assert klr.to_keras("mse") is theirs.mse
    assert klr.to_keras(None) is None
    loss = theirs.Huber()
    assert klr.to_keras(loss) is loss


def test_to_keras_takes_an_int_delta():
    assert klr.get(klr.to_keras(klr.Huber(delta=2))).delta == 2.0


def test_to_keras_says_what_the_host_lacks(monkeypatch):
    monkeypatch.delattr(theirs, "Huber")
    with pytest.raises(ValueError, match="has no Huber"):
        klr.to_keras(klr.Huber())


def test_to_keras_says_which_argument_the_host_lacks(monkeypatch):
    class Huber(theirs.Loss):
        def __init__(self, reduction=None, name=None):
            pass

    monkeypatch.setattr(theirs, "Huber", Huber)
    assert isinstance(klr.to_keras(klr.Huber()), Huber)
    with pytest.raises(ValueError, match="no argument `delta`"):
        klr.to_keras(klr.Huber(delta=2.0))
    with pytest.raises(ValueError, match="no argument `dtype`"):
        klr.to_keras(klr.Huber(dtype="float64"))


def test_to_keras_refuses_a_subclass():
    class Mine(klr.Huber):
        pass

    with pytest.raises(ValueError, match="a class of your own"):
        klr.to_keras(Mine())


def test_what_get_converts_computes_the_same():
    y_true, y_pred = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    loss = theirs.CosineSimilarity(axis=0, reduction="none")
    np.testing.assert_allclose(
        klr.get(loss)(y_true, y_pred), loss(y_true, y_pred), rtol=1e-5, atol=1e-6
    )
