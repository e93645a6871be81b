"""Turn the words of a command line into arguments of `check_loss`."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from keras_losses_ref import host
from keras_losses_ref.conformance import checks


def loss(target: str, arguments: Mapping[str, Any]) -> Any:
    """The loss that "package.module:name" names, built with `arguments` if any."""
    found = checks.load_target(target)
    if not arguments:
        return found
    if isinstance(found, host.Loss) or not callable(found):
        raise ValueError(
            f"--with gives arguments to a class or a factory. Received: {target}, "
            f"which is {type(found).__name__} already. Remove --with."
        )
    try:
        built = found(**arguments)
    except Exception as error:
        words = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise ValueError(
            f"{target} cannot be built with {words}: {type(error).__name__}: {error}"
        ) from None
    if not isinstance(built, host.Loss) and not callable(built):
        raise ValueError(
            f"--with gives arguments to a class or a factory. Received: {target}, "
            f"which returns a {type(built).__name__}. Name a function that returns a "
            "loss."
        )
    return built


def domain(name: Optional[str]) -> Any:
    """A domain by its name, or the function or `Domain` that "module:name" names."""
    if name is None or ":" not in name:
        return name
    found = checks.load_target(name)
    if not isinstance(found, checks.Domain) and not callable(found):
        raise ValueError(
            f"--domain {name} is a {type(found).__name__}. Expected a function "
            "(rng, n) -> (y_true, y_pred), or a keras_losses_ref.Domain."
        )
    return found


def assignments(
    words: Iterable[str], option: str, default: Any = None
) -> dict[str, Any]:
    """{name: value} of words like gamma=2; a value that is no literal is a string."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not (equals or default is not None):
            raise ValueError(f"{option} takes NAME=VALUE. Received: {word!r}.")
        found[name] = _literal(value) if equals else default
    return found


def reasons(words: Iterable[str]) -> dict[str, str]:
    """{check: reason} of words like check=reason."""
    found = {}
    for word in words:
        name, _, reason = word.partition("=")
        if not reason.strip():
            raise ValueError(
                f"--expect takes CHECK=REASON. Received: {word!r}. Say why the loss "
                "does not hold it."
            )
        found[name] = reason
    return found


def names(words: Iterable[str]) -> Optional[list[str]]:
    """The checks of words like a,b; None without any."""
    return [name for word in words for name in word.split(",") if name] or None


def _literal(value):
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(value.lower(), value)
