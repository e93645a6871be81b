"""Drop-in replacements for the losses of Keras, tested against their definition.

    import keras_losses_ref as klr
    model.compile(loss=klr.BinaryCrossentropy(from_logits=True), optimizer="adam")

Importing this package does not import TensorFlow; the first use of a loss does. It
registers the losses with Keras, now if Keras is loaded and otherwise as soon as it is.
So `import keras_losses_ref` is all that loading a saved model needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_losses_ref._registration import register_with_keras

__version__ = "0.2.0.dev0"

_NO_TENSORFLOW = (
    "keras_losses_ref needs TensorFlow, and none is installed. Install the build you "
    "want, for example: pip install 'keras-losses-ref[tensorflow]' or "
    "'keras-losses-ref[tensorflow-cpu]'. To check Keras on JAX, set KERAS_BACKEND=jax."
)

#: Public names that come from the conformance kit.
_KIT = ("Domain", "check_loss", "parametrize_with_loss_checks")
#: Submodules, which `from keras_losses_ref import oracle` finds without the losses.
_MODULES = (
    "backend",
    "cli",
    "conformance",
    "host",
    "losses",
    "oracle",
    "pytest_plugin",
)

if TYPE_CHECKING:  # for type checkers and editors, which do not run `_find`
    from keras_losses_ref.conformance.checks import (
        Domain as Domain,
        check_loss as check_loss,
        parametrize_with_loss_checks as parametrize_with_loss_checks,
    )
    from keras_losses_ref.losses import (
        BCE as BCE,
        CTC as CTC,
        KLD as KLD,
        MAE as MAE,
        MAPE as MAPE,
        MSE as MSE,
        MSLE as MSLE,
        BinaryCrossentropy as BinaryCrossentropy,
        BinaryFocalCrossentropy as BinaryFocalCrossentropy,
        CategoricalCrossentropy as CategoricalCrossentropy,
        CategoricalFocalCrossentropy as CategoricalFocalCrossentropy,
        CategoricalGeneralizedCrossEntropy as CategoricalGeneralizedCrossEntropy,
        CategoricalHinge as CategoricalHinge,
        Circle as Circle,
        CosineSimilarity as CosineSimilarity,
        Dice as Dice,
        Hinge as Hinge,
        Huber as Huber,
        KLDivergence as KLDivergence,
        LinearHead as LinearHead,
        LinearSparseCategoricalCrossentropy as LinearSparseCategoricalCrossentropy,
        LogCosh as LogCosh,
        Loss as Loss,
        MeanAbsoluteError as MeanAbsoluteError,
        MeanAbsolutePercentageError as MeanAbsolutePercentageError,
        MeanSquaredError as MeanSquaredError,
        MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
        Poisson as Poisson,
        SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
        SparseCategoricalFocalCrossentropy as SparseCategoricalFocalCrossentropy,
        SquaredHinge as SquaredHinge,
        Tversky as Tversky,
        bce as bce,
        binary_crossentropy as binary_crossentropy,
        binary_focal_crossentropy as binary_focal_crossentropy,
        categorical_crossentropy as categorical_crossentropy,
        categorical_focal_crossentropy as categorical_focal_crossentropy,
        categorical_generalized_cross_entropy as categorical_generalized_cross_entropy,
        categorical_hinge as categorical_hinge,
        circle as circle,
        cosine_similarity as cosine_similarity,
        ctc as ctc,
        dice as dice,
        get as get,
        huber as huber,
        huber_loss as huber_loss,
        kl_divergence as kl_divergence,
        kld as kld,
        kullback_leibler_divergence as kullback_leibler_divergence,
        linear_logits as linear_logits,
        linear_sparse_categorical_crossentropy as linear_sparse_categorical_crossentropy,
        log_cosh as log_cosh,
        logcosh as logcosh,
        mae as mae,
        mape as mape,
        mean_absolute_error as mean_absolute_error,
        mean_absolute_percentage_error as mean_absolute_percentage_error,
        mean_squared_error as mean_squared_error,
        mean_squared_logarithmic_error as mean_squared_logarithmic_error,
        mse as mse,
        msle as msle,
        poisson as poisson,
        sparse_categorical_crossentropy as sparse_categorical_crossentropy,
        sparse_categorical_focal_crossentropy as sparse_categorical_focal_crossentropy,
        squared_hinge as squared_hinge,
        to_keras as to_keras,
        tversky as tversky,
    )

    # Not the module of that name.
    from keras_losses_ref.losses.hinge import hinge as hinge


def _find(name: str) -> Any:
    """Find a public name in the losses, which imports TensorFlow (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _KIT:
        return getattr(_import("conformance.checks"), name)
    losses = _import_losses()
    if name == "__all__":
        return [*losses.__all__, *_KIT, "__version__"]
    try:
        return getattr(losses, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


if not TYPE_CHECKING:  # else type checkers would accept any name
    __getattr__ = _find


def __dir__() -> list[str]:
    return sorted({*globals(), *_find("__all__")})


def _import(name: str) -> Any:
    """A module of this package that needs TensorFlow, or the Keras of a backend."""
    importlib.import_module(f"{__name__}.backend").known()  # refuses others
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise ModuleNotFoundError(_NO_TENSORFLOW, name="tensorflow") from None


def _import_losses() -> Any:
    return _import("losses")


register_with_keras(_import_losses)
