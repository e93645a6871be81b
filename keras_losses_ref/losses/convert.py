"""To and from Keras's own losses: `get` and `to_keras`."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, Callable, Union, overload

from keras_losses_ref.losses import (
    compat,
    crossentropy,
    divergence,
    focal,
    hinge,
    regression,
    segmentation,
    sequence,
    similarity,
)
from keras_losses_ref.losses.base import Loss
from keras_losses_ref.losses.compat import Tensor


def _is_loss(value):
    if inspect.isclass(value):
        return issubclass(value, Loss) and value is not Loss
    return callable(value) and hasattr(value, "unrounded")


#: Every class, function and alias by its name.
LOSSES = {
    name: value
    for module in (
        regression,
        crossentropy,
        focal,
        divergence,
        hinge,
        segmentation,
        similarity,
        sequence,
    )
    for name, value in vars(module).items()
    if _is_loss(value)
}


@overload
def get(identifier: None) -> None: ...
@overload
def get(
    identifier: Union[str, Mapping[str, Any], Callable[..., Any]],
) -> Callable[..., Tensor]: ...
def get(identifier: Any) -> Any:
    """The loss that `identifier` names, as one of this package's.

    identifier  None; the name of a class (gives an instance with its defaults), of a
                function, or an alias such as "mse"; a config dict, of ours or of
                Keras's own loss, as Keras 2 or Keras 3 serialized it; one of Keras's
                own loss instances (converted, with all its arguments), classes (gives
                an instance) or functions; or any other callable, returned unchanged
    Raises:     ValueError if nothing is known by that name, or the config holds an
                argument that the loss does not take
    Example:    >>> get("huber_loss") is huber
                >>> get(tf.keras.losses.Huber(delta=2.0))  # Huber(..., delta=2.0)
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        return _made(_named(identifier))
    if isinstance(identifier, dict):
        return _from_dict(identifier)
    if not callable(identifier):
        raise ValueError(
            "get: cannot interpret this as a loss. Received: "
            f"{identifier!r} of type {type(identifier).__name__}. Expected None, a "
            "name, a config dict, or a callable."
        )
    if inspect.isclass(identifier) or inspect.isroutine(identifier):
        known = LOSSES.get(getattr(identifier, "__name__", None))
        if known is not None and (known is identifier or compat.is_builtin(identifier)):
            return _made(known)
        return identifier
    ours = LOSSES.get(type(identifier).__name__)
    if ours is None or not compat.is_builtin(type(identifier)):
        return identifier
    return ours.from_config(_arguments_of(identifier, ours))


def to_keras(loss: Any) -> Any:
    """The host Keras's own loss with the arguments of `loss`: the way back from `get`.

    loss        a name, or an instance, class or function of this package; or a config
                dict, which also works where Keras has another backend than TensorFlow
                and ours cannot be made; what is None or not ours is returned unchanged
    Raises:     ValueError if the host lacks the loss or one of its arguments, or if
                `loss` is of a class that was derived from one of ours
    Example:    >>> to_keras(Huber(delta=2.0))  # <keras.losses.Huber>
    """
    if isinstance(loss, str):
        loss = _named(loss)
    if isinstance(loss, dict):
        return _host_loss_from_dict(loss)
    if inspect.isclass(loss) and issubclass(loss, Loss):
        if compat.BACKEND != "tensorflow":  # where ours cannot be made
            return _host_loss(loss)()
        loss = loss()
    if _is_loss(loss):
        return _host_loss(loss)
    if not isinstance(loss, Loss):
        return loss
    if LOSSES.get(type(loss).__name__) is not type(loss):
        raise ValueError(
            f"to_keras: {type(loss).__name__} is a class of your own; Keras has no "
            "loss that does the same. Expected a loss that keras_losses_ref defines."
        )
    theirs = _host_loss(type(loss))
    accepted = inspect.signature(theirs).parameters
    defaults = inspect.signature(type(loss)).parameters
    config = {}
    for name, value in loss.get_config().items():
        if name in accepted:
            config[name] = value
        elif name == "dtype":
            _check_droppable(loss, name, value, (None, compat.default_dtype()))
        else:
            _check_droppable(loss, name, value, (defaults[name].default,))
    return theirs(**config)


def _host_loss_from_dict(serialized):
    """Keras's own loss out of a config dict of ours."""
    loss, config = _parsed(serialized)
    if not _is_loss(loss):
        return loss
    if not inspect.isclass(loss):
        return _host_loss(loss)
    config = compat.portable_config({**config})
    config.pop("jit_compile", None)  # Keras's losses have no kernels
    return _host_loss(loss)(**config)


def _check_droppable(loss, name, value, harmless):
    if value not in harmless:
        raise ValueError(
            f"to_keras: the {type(loss).__name__} of Keras {compat.VERSION} has no "
            f"argument `{name}`. Received: {name}={value!r}. Leave it at "
            f"{harmless[-1]!r}, or use the loss as it is."
        )


def _host_loss(ours):
    """The host's class or function under any of the names of ours."""
    names = [name for name, value in LOSSES.items() if value is ours]
    for name in names:
        theirs = compat.builtin(name)
        if theirs is not None:
            return theirs
    raise ValueError(
        f"to_keras: Keras {compat.VERSION} has no {ours.__name__}. Use the loss as it "
        "is: it is a Keras loss like any other."
    )


def _made(loss):
    return loss() if inspect.isclass(loss) else loss


def _named(name):
    known = LOSSES.get(name.split(">")[-1])
    if known is None:
        close = difflib.get_close_matches(name, LOSSES, n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"get: no loss has this name. Received: {name!r}.{hint} Expected one of: "
            f"{', '.join(sorted(LOSSES))}."
        )
    return known


def _from_dict(serialized):
    """A loss out of a config dict as Keras 2 or Keras 3 wrote it."""
    loss, config = _parsed(serialized)
    return loss.from_config(config) if inspect.isclass(loss) else loss


def _parsed(serialized):
    """(the class or function that a config dict names, its arguments)."""
    name, config = serialized.get("class_name"), serialized.get("config", {})
    if name == "function" and isinstance(config, str):  # Keras 3's way with functions
        name, config = config, {}
    if not isinstance(name, str):
        raise ValueError(
            "get: a config dict needs a `class_name`. Received the keys: "
            f"{sorted(map(str, serialized))}. Expected a dict such as "
            "{'class_name': 'Huber', 'config': {'delta': 2.0}}."
        )
    registered = serialized.get("registered_name") or name
    package = registered.rpartition(">")[0]
    module = serialized.get("module") or "keras.losses"
    root = module.split(".")[0]
    foreign = package not in ("", "keras_losses_ref") or root not in (
        "keras",
        "tf_keras",
        "builtins",
        "keras_losses_ref",
    )
    if foreign:
        return compat.deserialize(serialized), {}
    loss = _named(name)
    if not inspect.isclass(loss):
        return loss, {}
    config = {key: _plain(value) for key, value in config.items() if key != "fn"}
    accepted = inspect.signature(loss).parameters
    unknown = [key for key in config if key not in accepted]
    if unknown:
        raise ValueError(
            f"get: {loss.__name__} takes no argument {', '.join(map(repr, unknown))}. "
            f"Received: config={config!r}. Expected: {', '.join(accepted)}."
        )
    return loss, config


def _plain(value):
    """A value of a config; of a dtype policy its name."""
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    return value


def _arguments_of(keras_loss, ours):
    """The config of one of Keras's own losses, with what its `get_config` forgets."""
    bound = getattr(keras_loss, "_fn_kwargs", {})
    config = {"name": keras_loss.name, "reduction": keras_loss.reduction}
    if getattr(keras_loss, "dtype", None) is not None:
        config["dtype"] = keras_loss.dtype
    for name in ours.arguments:
        if name in bound:
            config[name] = bound[name]
        elif hasattr(keras_loss, name):
            config[name] = getattr(keras_loss, name)
    return config
