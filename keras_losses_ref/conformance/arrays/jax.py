"""JAX's part of `arrays`."""

from collections.abc import Sequence
from typing import Any, Callable

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

nn = jax.nn


def tensor(x: Any, dtype: str = "float32") -> Any:
    if is_tensor(x):
        return x
    x = np.asarray(x)
    if x.dtype.kind in "iub":
        return jnp.asarray(x)
    # By NumPy, since JAX may have no float64 to round from.
    with np.errstate(all="ignore"):
        return jnp.asarray(x.astype(jnp.dtype(dtype)))


def is_tensor(x: Any) -> bool:
    return isinstance(x, jax.Array)


def identity(x: Any) -> Any:
    return jnp.array(x, copy=True)


def dtype_of(x: Any) -> str:
    return np.dtype(x.dtype).name


def to_numpy(x: Any) -> NDArray[Any]:
    x = jnp.asarray(x)
    if x.dtype == jnp.bfloat16:
        x = x.astype(jnp.float32)
    return np.asarray(x)


def value_and_gradients(
    function: Callable[..., Any], watched: Sequence[Any]
) -> tuple[Any, list[Any]]:
    value, pullback = jax.vjp(lambda watched: jnp.asarray(function(watched)), watched)
    return value, list(pullback(jnp.ones_like(value))[0])


def compiled(function: Callable[..., Any], xla: bool = True) -> Callable[..., Any]:
    """What JAX traces it compiles, so that there is no other way."""
    return jax.jit(function)


def precision(dtype: str) -> Any:
    """JAX has float64 only where it is switched on, which changes other dtypes too."""
    wide = dtype == "float64" or jax.config.jax_enable_x64
    enable = getattr(jax, "enable_x64", None)
    if enable is None:  # JAX before 0.8
        from jax.experimental import enable_x64 as enable
    return enable(wide)


def exact_matrices() -> Any:
    return jax.default_matmul_precision("float32")


def model_gradients(
    model: Any, x: Any, y: Any, sample_weight: Any = None
) -> tuple[Any, Any]:
    rest = [v.value for v in model.non_trainable_variables]

    def loss_of(trainable):
        y_pred, _ = model.stateless_call(trainable, rest, x, training=False)
        loss = model.compute_loss(
            x=None, y=y, y_pred=y_pred, sample_weight=sample_weight
        )
        return jnp.asarray(loss)

    x, y = jnp.asarray(x), jnp.asarray(y)
    if sample_weight is not None:
        sample_weight = jnp.asarray(sample_weight)
    return value_and_gradients(loss_of, [v.value for v in model.trainable_variables])
