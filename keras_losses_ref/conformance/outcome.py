"""What one implementation did with one case."""

import dataclasses
from typing import Any, Optional

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What one implementation did with one case."""

    value: Any = None
    gradient: Any = None
    dtype: Optional[str] = None
    #: The exception, where the input was refused.
    error: Optional[str] = None
    message: str = ""
    #: Why there is nothing to compare: this host has no such loss or argument.
    unsupported: Optional[str] = None
    #: The derivative of the gradient along `direction`, where the case asks for it.
    second: Any = None
    #: Path "reloaded": the arguments of the case, as the saved config holds them.
    config: Optional[dict] = None

    #: The categories of the warnings that hold what the case expects, if it does.
    warning: Optional[tuple[str, ...]] = None

    @property
    def shape(self) -> Optional[tuple[int, ...]]:
        return None if self.value is None else np.shape(self.value)


def refusal(error: Exception) -> Outcome:
    """The outcome of a case whose input was refused with `error`."""
    return Outcome(error=type(error).__name__, message=str(error))
