"""JAX's part of `arrays`."""

import jax
import jax.numpy as jnp
import numpy as np


def tensor(x, dtype="float32"):
    if is_tensor(x):
        return x
    x = np.asarray(x)
    if x.dtype.kind in "iub":
        return jnp.asarray(x)
    # By NumPy, since JAX may have no float64 to round from.
    with np.errstate(all="ignore"):
        return jnp.asarray(x.astype(jnp.dtype(dtype)))


def is_tensor(x):
    return isinstance(x, jax.Array)


def identity(x):
    return jnp.array(x, copy=True)


def dtype_of(x):
    return np.dtype(x.dtype).name


def to_numpy(x):
    x = jnp.asarray(x)
    if x.dtype == jnp.bfloat16:
        x = x.astype(jnp.float32)
    return np.asarray(x)


def value_and_gradients(function, watched):
    value, pullback = jax.vjp(lambda watched: jnp.asarray(function(watched)), watched)
    return value, list(pullback(jnp.ones_like(value))[0])


def compiled(function, xla=True):
    """What JAX traces it compiles, so that there is no other way."""
    return jax.jit(function)


def precision(dtype):
    """JAX has float64 only where it is switched on, which changes other dtypes too."""
    wide = dtype == "float64" or jax.config.jax_enable_x64
    enable = getattr(jax, "enable_x64", None)
    if enable is None:  # JAX before 0.8
        from jax.experimental import enable_x64 as enable
    return enable(wide)


def exact_matrices():
    return jax.default_matmul_precision("float32")


def model_gradients(model, x, y, sample_weight=None):
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
