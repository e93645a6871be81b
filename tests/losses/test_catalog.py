"""Nothing is missing: each loss of the host's `tf.keras.losses` has one of ours.

The host is asked at run time, so a loss that a new Keras adds fails here by its name.
"""

import inspect
import pydoc
import re

import numpy as np
import pytest

import keras_losses_ref as klr
from keras_losses_ref.losses import compat
from keras_losses_ref.losses.convert import LOSSES

theirs = compat.keras.losses

#: What `tf.keras.losses` exports besides losses.
NOT_A_LOSS = {"Loss", "Reduction", "deserialize", "get", "serialize"}

EXPORTED = sorted(
    name
    for name, value in vars(theirs).items()
    if not name.startswith("_") and callable(value) and name not in NOT_A_LOSS
)

#: Every name that either generation has ever exported for a loss.
EITHER_GENERATION = [
    "BCE",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CTC",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLD",
    "KLDivergence",
    "LogCosh",
    "MAE",
    "MAPE",
    "MSE",
    "MSLE",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "bce",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "circle",
    "cosine_similarity",
    "ctc",
    "dice",
    "hinge",
    "huber",
    "huber_loss",
    "kl_divergence",
    "kld",
    "kullback_leibler_divergence",
    "log_cosh",
    "logcosh",
    "mae",
    "mape",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "mse",
    "msle",
    "poisson",
    "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy",
    "squared_hinge",
    "tversky",
]


def parameters(callable_):
    return inspect.signature(callable_).parameters


@pytest.mark.parametrize("name", EXPORTED)
def test_what_the_host_exports_exists_here(name):
    assert name in LOSSES, f"tf.keras.losses.{name} has no counterpart"
    assert inspect.isclass(LOSSES[name]) == inspect.isclass(getattr(theirs, name))


@pytest.mark.parametrize("name", EITHER_GENERATION)
def test_both_generations_names_exist_in_each(name):
    assert name in LOSSES
    assert getattr(klr, name) is LOSSES[name]
    assert name in klr.__all__


def test_the_lists_are_whole():
    assert set(LOSSES) == set(EITHER_GENERATION)
    assert len(EXPORTED) > 40


@pytest.mark.parametrize("name", EXPORTED)
def test_arguments_and_their_defaults_are_the_hosts(name):
    ours, host_ = parameters(LOSSES[name]), parameters(getattr(theirs, name))
    missing = [argument for argument in host_ if argument not in ours]
    assert not missing, f"{name} lacks {missing}"
    for argument, parameter in host_.items():
        if parameter.default is parameter.empty:
            continue  # ours may have a default where Keras demands a value
        if (name, argument) == ("CTC", "name"):
            assert ours[argument].default == "ctc"  # not the one of Keras 3.2
        elif argument == "reduction":
            assert ours[argument].default == compat.DEFAULT_REDUCTION
        else:
            assert ours[argument].default == parameter.default, argument


@pytest.mark.parametrize("name", EXPORTED)
def test_positional_arguments_mean_what_they_mean_in_the_host(name):
    ours, host_ = parameters(LOSSES[name]), parameters(getattr(theirs, name))
    assert list(ours)[: len(host_)] == list(host_)


CLASSES = sorted(
    {value for value in LOSSES.values() if inspect.isclass(value)},
    key=lambda cls: cls.__name__,
)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_and_its_function_take_the_same_arguments(cls):
    shared = ["reduction", "name", "dtype", "jit_compile"]
    of_class = [name for name in parameters(cls) if name not in shared]
    assert sorted(of_class) == sorted(cls.arguments)
    of_function = parameters(cls.function)
    for name in of_class:
        assert parameters(cls)[name].default == of_function[name].default
    assert set(shared) <= set(parameters(cls))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_docstring_has_every_part(cls):
    for part in (
        "Shapes:",
        "Domain:",
        "Formula:",
        "Gradient:",
        "Edges:",
        "Raises:",
        "Source:",
        "Example:",
    ):
        assert part in cls.__doc__, part
    assert cls.__doc__.startswith(inspect.cleandoc(cls.function.__doc__))


@pytest.mark.parametrize("cls", [*CLASSES, klr.Loss], ids=lambda cls: cls.__name__)
def test_help_explains_the_shared_arguments(cls):
    text = pydoc.render_doc(cls, renderer=pydoc.plaintext)
    assert text.count("Arguments that all losses share:") == 1
    for name in ("reduction", "name", "dtype", "jit_compile"):
        assert re.search(rf"^ \|  {name} +(how|the|whether) ", text, re.MULTILINE), name


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_example_of_the_docstring_holds(cls):
    example = cls.function.__doc__.split("Example:")[1].strip()
    code, _, result = example.partition("#")
    value = eval(code.strip().lstrip("> "), dict(vars(klr.losses)))
    expected = [
        float(number) for number in re.findall(r"-?[0-9.]+(?:e-[0-9]+)?", result)
    ]
    np.testing.assert_allclose(np.ravel(value), expected, rtol=2e-4)
