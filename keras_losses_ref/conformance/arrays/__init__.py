"""Arrays of Keras's backend: the same few functions for each backend.

    tensor(x, dtype)          NumPy's floats in `dtype`, all else as it is
    is_tensor(x)
    identity(x)               an array of its own, to hang a mask on
    nn                        where its sigmoid and its softmax are
    dtype_of(x)               the name of its dtype
    to_numpy(x)               as an array, bfloat16 widened
    value_and_gradients(function, watched)
                              the value of a function of a list of tensors, and the
                              gradient of its sum in each, None where there is none
    compiled(function, xla)   the function, traced or compiled
    precision(dtype)          a context in which there are tensors of that dtype
    exact_matrices()          a context in which no GPU rounds products of matrices
    model_gradients(model, x, y, sample_weight)
                              the loss of a compiled model on a batch, and its gradient
                              in each trainable weight

Importing this imports the backend.
"""

import importlib

from keras_losses_ref import backend

_backend = importlib.import_module(f"{__name__}.{backend.known()}")

tensor = _backend.tensor
is_tensor = _backend.is_tensor
identity = _backend.identity
nn = _backend.nn
dtype_of = _backend.dtype_of
to_numpy = _backend.to_numpy
value_and_gradients = _backend.value_and_gradients
compiled = _backend.compiled
precision = _backend.precision
exact_matrices = _backend.exact_matrices
model_gradients = _backend.model_gradients
