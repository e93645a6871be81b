"""The losses a user hands to `model.compile`. Importing this imports TensorFlow."""

from keras_losses_ref.losses.base import Loss
from keras_losses_ref.losses.crossentropy import (
    BCE,
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    bce,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from keras_losses_ref.losses.regression import (
    MAE,
    MSE,
    MeanAbsoluteError,
    MeanSquaredError,
    mae,
    mean_absolute_error,
    mean_squared_error,
    mse,
)

__all__ = [
    "BCE",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "MAE",
    "MSE",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "bce",
    "binary_crossentropy",
    "categorical_crossentropy",
    "mae",
    "mean_absolute_error",
    "mean_squared_error",
    "mse",
    "sparse_categorical_crossentropy",
]
