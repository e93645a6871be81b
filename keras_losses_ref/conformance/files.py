"""The files we write: JSON with a schema and sorted keys, whole or not at all."""

import json
import math
import os
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

#: The version of every document that we write and read.
SCHEMA = 1

#: Larger arrays are thinned out: every n-th element says as much about a version.
MOST_ELEMENTS = 1024


class Unreadable(Exception):
    """A file that is not what it should be; the message says what to do."""


def dumps(document: Any) -> str:
    """A document as the text of a file. Non-finite numbers must already be strings."""
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write(text: str, path: str) -> None:
    """Write a file: the whole text, or leave the old file as it was."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


# --- numbers and arrays as JSON holds them ------------------------------------------


def plain(value: Any, dtype: Optional[str] = None) -> Any:
    """A number or array as JSON holds it, as short as `dtype` allows."""
    array = np.asarray(value)
    if array.size > MOST_ELEMENTS:
        every = -(-array.size // MOST_ELEMENTS)
        thin = array.reshape(-1)[::every]
        return {"shape": list(array.shape), "every": every, "of": plain(thin, dtype)}
    return _plain(array.tolist(), dtype != "float64")


def _plain(number, short):
    if isinstance(number, list):
        return [_plain(item, short) for item in number]
    if isinstance(number, (bool, int)):
        return number
    if not math.isfinite(number):
        return str(number)
    if short:  # the shortest text of a float32 is shorter than its float64's
        with np.errstate(over="ignore"):
            single = float(str(np.float32(number)))
            return single if np.float32(single) == number else number
    return number


def array(value: Any) -> NDArray[Any]:
    """What `plain` wrote, as float64; of a thinned array the elements kept."""
    if isinstance(value, dict):
        value = value["of"]
    return np.array(_floats(value), dtype=np.float64)


def _floats(value):
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value)


def shape(value: Any) -> tuple[int, ...]:
    """The shape of the array that `plain` was given."""
    return tuple(value["shape"]) if isinstance(value, dict) else array(value).shape


def plain_config(value: Any) -> Any:
    """A config as plain JSON; of anything else its type, which has no address."""
    if isinstance(value, dict):
        return {str(key): plain_config(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_config(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "numpy"):
        return plain(np.asarray(value))
    if isinstance(value, float):
        return plain(value, "float64")
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return getattr(value, "__name__", type(value).__name__)
