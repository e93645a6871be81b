"""Checks of construction: arguments, config, copies and files."""

import contextlib
import copy
import inspect
import json
import os
import pickle
import tempfile
import warnings
from typing import Any, Optional

import numpy as np

from keras_losses_ref import host
from keras_losses_ref.conformance.checks.check import (
    CheckFailed,
    CheckSkipped,
    check,
    describe,
    expect_close,
    number,
)
from keras_losses_ref.conformance.checks.loss_under_test import (
    FunctionLoss,
    LossUnderTest,
)

keras = host.keras

#: `jit_compile` for a model that is not compiled more than its backend needs: on JAX
#: a step that is not compiled is not traced either.
UNCOMPILED = "auto" if host.BACKEND == "jax" else False

#: Keras 3 pickles and copies a loss through its config, Keras 2 does not.
KERAS_3 = host.GENERATION == 3


@check(
    "error",
    "Run the loss on one batch of the domain by hand. If the inputs are not what it "
    "takes, name the domain, check_loss(loss, domain='one_hot'), or give a function "
    "(rng, n) -> (y_true, y_pred) as the domain.",
    needs=(),
)
def runs(subject: LossUnderTest) -> Optional[str]:
    """The loss can be built, and called on ordinary samples."""
    if subject.build_problem is not None:
        name = subject.name
        missing = [
            parameter.name
            for parameter in subject.parameters.values()
            if parameter.default is parameter.empty
        ]
        fix = f"Check an instance: check_loss({name}(...))."
        if missing:
            given = ", ".join(f"{argument}=..." for argument in missing)
            fix = (
                f"Check an instance, check_loss({name}({given})), or give "
                f"{', '.join(missing)} a default; on the command line add "
                f"--with {' --with '.join(f'{argument}=...' for argument in missing)}."
            )
        raise CheckFailed(f"{name}() {subject.build_problem}", fix=fix)
    if subject.problem is not None:
        raise CheckFailed(subject.problem)
    return f"domain {subject.domain.name!r}, {subject.domain_reason}"


@check("error", "Write `def call(self, y_true, y_pred)`: the labels come first.")
def arguments_in_order(subject: LossUnderTest) -> None:
    """The function takes the labels first and the predictions second."""
    function = subject.implementation
    if not subject.is_function:
        function = subject.cls.call
    try:
        names = [
            name for name in inspect.signature(function).parameters if name != "self"
        ][:2]
    except (TypeError, ValueError):
        raise CheckSkipped("the function has no signature") from None
    if len(names) < 2:
        raise CheckSkipped("the function does not name its arguments")
    labels, predictions = ("true", "label", "target"), ("pred", "logit", "output")
    first, second = (name.lower() for name in names)
    swapped = any(p in first for p in predictions) and any(t in second for t in labels)
    if swapped:
        raise CheckFailed(
            f"the arguments are ({names[0]}, {names[1]}), but Keras calls with the "
            "labels first and the predictions second"
        )


@check(
    "warning",
    "Pass a name such as 'my_loss' to super().__init__: letters, digits, '_', no "
    "spaces. A lambda has no name; write a def.",
    needs=("built",),
)
def name_is_sane(subject: LossUnderTest) -> None:
    """The loss has a name that can stand in a log line and in a graph."""
    if subject.is_function:
        name = getattr(subject.implementation, "__name__", "")
    else:
        name = subject.loss.name
        if name is None and host.GENERATION == 2:
            return
    if not isinstance(name, str) or not name:
        raise CheckFailed(f"the name is {name!r}, not a string with letters")
    good = all(c.isalnum() or c in "_.-/" for c in name)
    if not good or not (name[0].isalnum() or name[0] == "_"):
        raise CheckFailed(
            f"the name is {name!r}, which no name scope in a graph accepts"
        )


@check(
    "warning", "Make __repr__ return a short string, or leave it to Keras.", ("built",)
)
def repr_is_sane(subject: LossUnderTest) -> None:
    """`repr` and `str` work, and fit on a screen."""
    for function in (repr, str):
        text = function(subject.loss)
        if len(text) > 1000:
            raise CheckFailed(
                f"{function.__name__}() has {len(text)} characters: {text[:60]}..."
            )


@check(
    "error",
    "Take name and reduction in __init__ and pass them to super().__init__, for "
    "example by def __init__(self, alpha=1.0, **kwargs): super().__init__(**kwargs).",
    needs=("built", "class"),
)
def constructor_takes_name_and_reduction(subject: LossUnderTest) -> None:
    """`name` and `reduction` can be given, and reach the loss."""
    arguments = subject.arguments()
    for key, value in (("name", "another_name"), ("reduction", "sum")):
        try:
            loss = subject.cls(**{**arguments, key: value})
        except TypeError as error:
            raise CheckFailed(f"{key}={value!r} {describe(error)}") from None
        if getattr(loss, key) != value:
            raise CheckFailed(
                f"built with {key}={value!r}, the loss has {getattr(loss, key)!r}"
            )


@check(
    "advice",
    "Take dtype in __init__ (or **kwargs) and pass it to super().__init__.",
    needs=("built", "class"),
)
def constructor_takes_dtype(subject: LossUnderTest) -> None:
    """`dtype` can be given, and reaches the loss."""
    loss = _with_dtype(subject, "float64")
    if loss.dtype != "float64":
        raise CheckFailed(f"built with dtype='float64', the loss has {loss.dtype!r}")


def _with_dtype(subject, dtype):
    takes = "dtype" in subject.parameters
    if not takes and host.GENERATION == 2:
        raise CheckSkipped("losses of Keras 2 take no dtype")
    if not takes and not subject.takes_anything:
        raise CheckFailed(
            f"dtype={dtype!r} is refused: the constructor takes "
            f"{', '.join(subject.parameters) or 'nothing'}"
        )
    try:
        return subject.cls(**subject.arguments(), dtype=dtype)
    except TypeError as error:
        if host.GENERATION == 2:
            raise CheckSkipped("losses of Keras 2 take no dtype") from None
        raise CheckFailed(f"dtype={dtype!r} {describe(error)}") from None


@check(
    "error",
    "Return plain Python values from get_config: float(x), list(x), a name instead of "
    "a function, keras.saving.serialize_keras_object(layer) instead of an object.",
    needs=("built", "class"),
)
def config_is_json(subject: LossUnderTest) -> None:
    """The config is a dict that can be written as JSON."""
    config = subject.loss.get_config()
    if not isinstance(config, dict):
        raise CheckFailed(f"get_config() returns {type(config).__name__}, not a dict")
    for key, value in config.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            try:
                json.dumps(keras.utils.serialize_keras_object(value))
            except Exception:
                raise CheckFailed(
                    f"config[{key!r}] is a {type(value).__name__}, which JSON cannot "
                    "hold"
                ) from None


@check(
    "error",
    "Add the argument to get_config, for one named alpha: return "
    "{**super().get_config(), 'alpha': self.alpha}.",
    needs=("built", "class"),
)
def config_holds_every_argument(subject: LossUnderTest) -> None:
    """Every constructor argument but dtype is in the config."""
    config, lost = subject.loss.get_config(), _lost(subject)
    if lost:
        added = ", ".join(f"{name!r}: self.{name}" for name in lost)
        raise CheckFailed(
            f"get_config() has {', '.join(config)}; the constructor also takes "
            f"{', '.join(lost)}, which a reloaded loss has forgotten",
            fix="Add to get_config what it lacks: return {**super().get_config(), "
            f"{added}}}.",
        )


@check(
    "warning",
    "Add 'dtype': self.dtype to get_config: Keras's own get_config leaves it out.",
    needs=("class", "runs"),
)
def config_holds_dtype(subject: LossUnderTest) -> None:
    """A loss built with a dtype has it after the round trip through its config."""
    try:
        loss = _with_dtype(subject, "float64")
    except CheckFailed as refused:
        raise CheckSkipped(str(refused), root="constructor_takes_dtype") from None
    _rest_on_config(subject)
    clone = _through_config(subject, loss)
    if clone.dtype != loss.dtype:
        raise CheckFailed(
            f"dtype is {loss.dtype} before and {clone.dtype} after from_config("
            "get_config())",
            # A loss that inherits this from Keras is not to blame for it.
            severity="advice" if _host_forgets_dtype() else None,
        )


def _host_forgets_dtype():
    class Plain(host.Loss):
        pass

    return Plain(dtype="float64").get_config().get("dtype") is None


def _through_config(subject, loss):
    return type(loss).from_config(json.loads(_json(loss.get_config())))


def _json(config):
    """As a file would hold it: tuples become lists."""

    def default(value):
        try:
            return keras.utils.serialize_keras_object(value)
        except Exception:
            raise CheckSkipped("the config is no JSON", root="config_is_json") from None

    return json.dumps(config, default=default)


@check(
    "error",
    "Let get_config return every constructor argument with its current value, and "
    "from_config pass them on.",
    needs=("class", "runs"),
)
def config_round_trip_keeps_values(subject: LossUnderTest) -> Optional[str]:
    """`from_config(get_config())` gives the same values, whatever the arguments are."""
    kept, broken = 0, []
    if _config_root(subject) not in (None, "config_round_trip_keeps_values"):
        _rest_on_config(subject)
    for what, loss in subject.settings:
        if what.partition("=")[0] in _lost(subject) and subject.fails(
            "config_holds_every_argument"
        ):
            continue
        try:
            _expect_same(subject, loss, _through_config(subject, loss), what, "reload")
            kept += 1
        except CheckFailed as failure:
            broken.append(str(failure))
        except CheckSkipped:
            raise
        except Exception as error:
            broken.append(f"{what}: from_config {describe(error)}")
    if broken:
        raise CheckFailed("\n".join(broken))
    if kept < len(subject.settings):
        raise CheckSkipped(
            f"{kept} settings come back; {', '.join(_lost(subject))} cannot",
            root="config_holds_every_argument",
        )
    return f"{kept} settings"


def _lost(subject):
    """The constructor arguments that the config lacks."""
    config = subject.loss.get_config()
    return [name for name in subject.parameters if name not in (*config, "dtype")]


def _config_root(subject):
    """The check that says why the loss does not survive its config, or None."""
    if "config_root" not in vars(subject):
        subject.config_root = None
        if not subject.is_function:
            try:
                clone = _through_config(subject, subject.loss)
                _expect_same(subject, subject.loss, clone, "as given", "reload")
            except Exception:
                roots = [
                    "constructor_takes_name_and_reduction",
                    "config_is_json",
                    "config_holds_every_argument",
                ]
                subject.config_root = next(
                    (root for root in roots if subject.fails(root)),
                    "config_round_trip_keeps_values",
                )
    return subject.config_root


def _rest_on_config(subject):
    """Skip where the config as given does not load: that is said once."""
    root = _config_root(subject)
    if root is not None and subject.fails(root):
        raise CheckSkipped("the config does not load", root=root)


def _expect_same(subject, loss, clone, what, trip):
    if clone is None:
        raise CheckFailed(f"{what}: nothing came back after {trip}")
    expect_close(
        subject.values(*subject.sample, loss=clone),
        subject.values(*subject.sample, loss=loss),
        f"{what}: the loss after {trip}",
        "before",
        rtol=1e-6,
    )


@check(
    "error",
    "Let from_config(config) build a loss whose get_config() is config again: do not "
    "transform arguments in __init__ before storing them.",
    needs=("built", "class"),
)
def config_round_trip_keeps_config(subject: LossUnderTest) -> None:
    """The config of the reloaded loss is the config, name and reduction included."""
    _rest_on_config(subject)
    arguments = subject.arguments()
    losses = [subject.loss]
    # Where it raises, `constructor_takes_name_and_reduction` says so.
    with contextlib.suppress(TypeError):
        losses.append(subject.cls(**{**arguments, "name": "x", "reduction": "sum"}))
    for loss in losses:
        before = json.loads(_json(loss.get_config()))
        after = json.loads(_json(_through_config(subject, loss).get_config()))
        for key in {**before, **after}:
            if before.get(key) != after.get(key):
                raise CheckFailed(
                    f"config[{key!r}] is {before.get(key)!r} before and "
                    f"{after.get(key)!r} after from_config"
                )


@check(
    "warning",
    "Do not swallow **kwargs in __init__: pass them to super().__init__, which "
    "refuses what it does not know.",
    needs=("built", "class"),
)
def config_refuses_unknown_keys(subject: LossUnderTest) -> None:
    """A config with a key that no argument answers to is refused."""
    config = {**subject.loss.get_config(), "no_such_argument": 1.0}
    try:
        subject.cls.from_config(config)
    except CheckSkipped:
        raise
    except Exception:
        return
    raise CheckFailed(
        "from_config accepts no_such_argument=1.0 silently: a misspelt argument "
        "would be ignored"
    )


@check(
    "warning",
    "Return copies of lists and dicts from get_config: list(self.weights).",
    needs=("class", "runs"),
)
def config_is_a_copy(subject: LossUnderTest) -> None:
    """Changing the returned config does not change the loss."""
    before = subject.values(*subject.sample)
    config = subject.loss.get_config()
    kept = copy.deepcopy(config)
    try:
        for value in config.values():
            if isinstance(value, list):
                value[:] = [0.0 for _ in value]
            elif isinstance(value, dict):
                value.clear()
        config.clear()
        after = subject.loss.get_config()
        if _json(after) != _json(kept):
            raise CheckFailed(f"the config was {kept}, and is {after} after a change")
        expect_close(
            subject.values(*subject.sample), before, "the loss after", "before"
        )
    finally:
        for key, value in kept.items():
            mine = subject.loss.get_config().get(key)
            if isinstance(mine, list) and isinstance(value, list):
                mine[:] = value
            elif isinstance(mine, dict) and isinstance(value, dict):
                mine.update(value)


def _settings_kept_by_config(subject):
    """The settings whose config holds them: what it forgets is reported once."""
    if "settings_kept" not in vars(subject):
        kept = subject.settings[:1]
        for what, loss in subject.settings[1:]:
            try:
                clone = _through_config(subject, loss)
                _expect_same(subject, loss, clone, what, "")
                kept.append((what, loss))
            except Exception:  # reported by the checks of the config
                continue
        subject.settings_kept = kept
    return subject.settings_kept


def _survive(subject, trip, travel, by_config=True):
    if by_config:
        _rest_on_config(subject)
    with keras.utils.custom_object_scope(subject.custom_objects()):
        for what, loss in _settings_kept_by_config(subject):
            try:
                clone = travel(loss)
            except Exception as error:
                raise CheckFailed(f"{what}: {trip} {describe(error)}") from None
            _expect_same(subject, loss, clone, what, trip)


@check(
    "error",
    "Keep no lambdas, locks, tensors or open files on the loss; make from_config take "
    "what get_config gives, which is how Keras 3 pickles a loss.",
)
def pickle_keeps_values(subject: LossUnderTest) -> None:
    """A pickled and unpickled loss gives the same values."""
    if not subject.importable():
        raise CheckSkipped(_not_importable(subject))
    if subject.kind == "function":
        pickle.loads(pickle.dumps(subject.given))
        return
    _survive(subject, "pickle", lambda loss: pickle.loads(pickle.dumps(loss)), KERAS_3)


def _not_importable(subject):
    found = subject.implementation
    where = getattr(found, "__qualname__", repr(found))
    return f"{where} cannot be imported by name from another process"


@check(
    "error",
    "Keep no locks, tensors or open files on the loss; make from_config take what "
    "get_config gives, which is how Keras 3 copies a loss.",
    rests_on=("pickle_keeps_values",),
)
def copies_keep_values(subject: LossUnderTest) -> None:
    """`copy.copy` and `copy.deepcopy` give the same values."""
    if subject.is_function:
        raise CheckSkipped("a plain function is its own copy")
    _survive(subject, "copy.copy", copy.copy, KERAS_3)
    _survive(subject, "copy.deepcopy", copy.deepcopy, KERAS_3)


@check(
    "error",
    "Make from_config take what get_config gives, without positional surprises.",
)
def serialization_keeps_values(subject: LossUnderTest) -> None:
    """`keras.losses.serialize` and `deserialize` keep the values."""

    def travel(loss):
        if subject.is_function:
            loss = subject.implementation
        config = json.loads(_json(keras.losses.serialize(loss)))
        return keras.losses.deserialize(config, custom_objects=subject.custom_objects())

    _survive(subject, "deserialize(serialize(loss))", travel)


@check(
    "warning",
    "Decorate it with @keras.saving.register_keras_serializable(package='my_package'), "
    "or tell your users to pass custom_objects to load_model.",
)
def registered_for_loading(subject: LossUnderTest) -> None:
    """A saved model finds the loss without `custom_objects`."""
    found = subject.implementation
    if getattr(found, "__module__", "").split(".")[0] in ("keras", "tf_keras"):
        return
    name = keras.utils.get_registered_name(found)
    if name in (getattr(found, "__name__", None), None):
        raise CheckFailed(
            f"{name} is not registered: load_model stops with 'Could not locate "
            f"{name}' unless it is given custom_objects"
        )
    if keras.utils.get_registered_object(name) is not found:
        raise CheckFailed(f"{name} is registered, but for another object")


@check(
    "warning",
    "Add the class to the table that keras.losses.get looks names up in.",
)
def name_finds_the_loss(subject: LossUnderTest) -> None:
    """`compile(loss="Name")` finds the loss, where Keras promises that."""
    found = subject.implementation
    name = keras.utils.get_registered_name(found)
    foreign = getattr(found, "__module__", "").split(".")[0] not in (
        "keras",
        "tf_keras",
    )
    if foreign and host.GENERATION == 3:
        raise CheckSkipped("Keras 3 looks up names among its own losses only")
    if foreign and name == getattr(found, "__name__", None):
        raise CheckSkipped("not registered", root="registered_for_loading")
    if not subject.is_function and any(
        p.default is p.empty for p in subject.parameters.values()
    ):
        raise CheckSkipped("the class cannot be built without arguments")
    try:
        loss = keras.losses.get(name)
    except Exception as error:
        raise CheckFailed(f"keras.losses.get({name!r}) {describe(error)}") from None
    if loss is not found and type(loss) is not found:
        raise CheckFailed(f"keras.losses.get({name!r}) finds {loss!r}")


def identity_layer(length: int, **how: Any) -> Any:
    """A layer that passes its input on, once its weights are set to `np.eye(length)`.

    Not by the initializer "identity", which some releases save but cannot load.
    """
    return keras.layers.Dense(length, use_bias=False, **how)


def identity_model(subject: LossUnderTest, loss: Any, **how: Any) -> Any:
    """A model that predicts its input, compiled with `loss`.

    It has weights, and only layers that every saved file can name.
    """
    _, y_pred = subject.sample
    layers = [keras.layers.Input(y_pred.shape[1:]), identity_layer(y_pred.shape[-1])]
    model = keras.Sequential(layers)
    model.set_weights([np.eye(y_pred.shape[-1])])
    how.setdefault("optimizer", keras.optimizers.SGD(0.1))
    how.setdefault("jit_compile", UNCOMPILED)
    model.compile(loss=loss, **how)
    return model


def save_model(subject: LossUnderTest, loss: Any, path: str) -> None:
    """Save a model compiled with `loss`, as a function where it was one."""
    if type(loss) is FunctionLoss and subject.is_function:
        loss = subject.implementation
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # HDF5 is called legacy
        identity_model(subject, loss).save(path)


def load_loss(path: str, custom_objects: Optional[dict[str, Any]] = None) -> Any:
    """The loss of a saved model."""
    loss = keras.models.load_model(path, custom_objects=custom_objects).loss
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        (loss,) = loss
    return loss


def _file_round_trip(subject, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model" + suffix)

        def travel(loss):
            save_model(subject, loss, path)
            return load_loss(path, subject.custom_objects())

        _survive(subject, f"a {suffix} file", travel)


@check(
    "error",
    "Make from_config take what get_config gives; a class whose base takes a function "
    "must override from_config.",
    needs=("runs", "fits"),
    rests_on=("serialization_keeps_values",),
)
def keras_file_keeps_values(subject: LossUnderTest) -> None:
    """A model saved as .keras and loaded again has the same loss."""
    _file_round_trip(subject, ".keras")


@check(
    "error",
    "Make from_config take what get_config gives, plain values only: the .h5 file "
    "holds the config as JSON.",
    needs=("runs", "fits"),
)
def h5_file_keeps_values(subject: LossUnderTest) -> None:
    """A model saved as .h5 and loaded again has the same loss."""
    _file_round_trip(subject, ".h5")


@check(
    "warning",
    "Store mutable arguments as copies, list(weights), and never change a default "
    "argument in place.",
    needs=("class", "runs"),
)
def instances_share_nothing(subject: LossUnderTest) -> None:
    """Two losses built alike share no list, dict or array."""
    arguments = subject.arguments()
    try:
        first, second = subject.cls(**arguments), subject.cls(**arguments)
    except Exception as error:
        raise CheckSkipped(f"built from its arguments it {describe(error)}") from None
    given = {id(value) for value in arguments.values()}
    for key, value in vars(first).items():
        mutable = isinstance(value, (list, dict, set, np.ndarray))
        if mutable and value is vars(second).get(key) and id(value) not in given:
            raise CheckFailed(f"two instances share the {type(value).__name__} {key!r}")


@check(
    "warning",
    "Use the argument in call, or remove it.",
    needs=("class", "runs"),
)
def arguments_have_an_effect(subject: LossUnderTest) -> None:
    """Every number that the constructor takes changes something."""
    idle = subject.without_effect()
    if idle:
        name, tried = next(iter(idle.items()))
        raise CheckFailed(
            f"{', '.join(idle)}: no call reads it, and with {name}="
            f"{' or '.join(map(repr, tried))} every value is the same, at the ends of "
            "the domain too",
            fix=f"Use self.{name} in call, or remove the argument {name}.",
        )


@check(
    "warning",
    "Let the formula hold for the whole range of the argument: no `if argument:` that "
    "switches to another formula.",
    needs=("class", "runs"),
)
def arguments_do_not_jump(subject: LossUnderTest) -> Optional[str]:
    """A tiny change of a constructor argument changes the loss a little only."""
    try:
        arguments = subject.arguments()
        plain = subject.values(*subject.sample, loss=subject.cls(**arguments))
    except Exception as error:
        raise CheckSkipped(f"built from its arguments it {describe(error)}") from None
    scale = float(np.abs(plain).mean()) + 1e-6
    tried = 0
    for name, value in arguments.items():
        if isinstance(value, (bool, np.bool_)) or not isinstance(
            value, (float, np.floating)
        ):
            continue
        for tiny in (1e-6, -1e-6):
            other = float(value) + tiny * max(abs(float(value)), float(value == 0))
            try:
                loss = subject.cls(**{**arguments, name: other})
                got = subject.values(*subject.sample, loss=loss)
            except Exception:  # beyond the range of the argument
                continue
            tried += 1
            if got.shape != plain.shape or not np.isfinite(plain).all():
                continue
            off = np.abs(got - plain)
            if not off.max() <= 0.02 * scale:
                at = np.unravel_index(int(np.nanargmax(off)), off.shape)
                raise CheckFailed(
                    f"with {name}={value!r} the loss is {number(plain[at])}, with "
                    f"{name}={other!r} it is {number(got[at])}"
                )
    return f"{tried} small changes"
