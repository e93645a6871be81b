"""What the value of each loss is, by definition: NumPy in float64 or wider.

Every loss is f(y_true, y_pred, <Keras's arguments>, *, dtype="float32") and returns
(values, pullback); `reduce` turns the values into the loss and gives the upstream
gradient that the pullback takes.
"""

from .crossentropy import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    poisson,
    sparse_categorical_crossentropy,
    sparse_categorical_focal_crossentropy,
    valid_mask,
)
from .hinge import categorical_hinge, hinge, squared_hinge
from .reduction import reduce
from .regression import (
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from .segmentation import dice, tversky
from .sequence import ctc
from .similarity import circle, circle_mask

BY_LOSS = {
    "BinaryCrossentropy": binary_crossentropy,
    "BinaryFocalCrossentropy": binary_focal_crossentropy,
    "CTC": ctc,
    "CategoricalCrossentropy": categorical_crossentropy,
    "CategoricalFocalCrossentropy": categorical_focal_crossentropy,
    "CategoricalGeneralizedCrossEntropy": categorical_generalized_cross_entropy,
    "CategoricalHinge": categorical_hinge,
    "Circle": circle,
    "CosineSimilarity": cosine_similarity,
    "Dice": dice,
    "Hinge": hinge,
    "Huber": huber,
    "KLDivergence": kl_divergence,
    "LogCosh": log_cosh,
    "MeanAbsoluteError": mean_absolute_error,
    "MeanAbsolutePercentageError": mean_absolute_percentage_error,
    "MeanSquaredError": mean_squared_error,
    "MeanSquaredLogarithmicError": mean_squared_logarithmic_error,
    "Poisson": poisson,
    "SparseCategoricalCrossentropy": sparse_categorical_crossentropy,
    "SparseCategoricalFocalCrossentropy": sparse_categorical_focal_crossentropy,
    "SquaredHinge": squared_hinge,
    "Tversky": tversky,
}

__all__ = [
    "BY_LOSS",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "circle",
    "circle_mask",
    "cosine_similarity",
    "ctc",
    "dice",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "reduce",
    "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy",
    "squared_hinge",
    "tversky",
    "valid_mask",
]
