"""Losses that are others once they were saved and loaded."""

import dataclasses

import numpy as np

from keras_losses_ref.conformance.cases import HANDWRITTEN
from keras_losses_ref.conformance.deviations import jax_formulas
from keras_losses_ref.conformance.deviations._common import KERAS, oracle_with
from keras_losses_ref.conformance.deviations.deviation import Deviation
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.truth import expected_config, host_rules, rounded

_SOURCE = f"{KERAS}/v3.15.1/keras/src/losses/losses.py"


def _reloaded_with(*names):
    def condition(case):
        return case.path == "reloaded" and bool(set(names) & set(expected_config(case)))

    return condition


def _without(name):
    """The loss with the default of an argument that its config forgets."""

    def outcome(case):
        config = {key: value for key, value in case.config.items() if key != name}
        return _forgotten(oracle_with(case, config=config), case, name)

    return outcome


def _forgotten(outcome, case, name):
    kept = {key: value for key, value in expected_config(case).items() if key != name}
    return dataclasses.replace(outcome, config=kept)


def _in_floatx(case):
    """The same numbers, asked of a loss in Keras's default dtype."""
    y_true, y_pred = rounded(case)
    wide = oracle_with(case, y_true=y_true, y_pred=y_pred, dtype=host_rules().floatx)
    return _forgotten(wide, case, "dtype")


def _in_floatx_on_jax(case):
    """The same, with what else JAX does to a loss in that dtype."""
    if case.loss not in jax_formulas.FORMULAS:
        return _in_floatx(case)
    y_true, y_pred = rounded(case)
    wide = dataclasses.replace(
        case, y_true=y_true, y_pred=y_pred, dtype=host_rules().floatx
    )
    return _forgotten(jax_formulas.outcome(wide), case, "dtype")


def _single(case, aspect):
    """The rounding of float32, where a float64 loss came back as one."""
    if case.dtype != "float64" or aspect not in ("value", "gradient"):
        return 0.0
    return 8 * 2.0**-23 * np.max(np.abs(getattr(_in_floatx(case), aspect)))


def _unloadable(case):
    return Outcome(error="TypeError", message="'str' object is not callable")


DEVIATIONS = (
    Deviation(
        "config-forgets-dtype",
        tuple(HANDWRITTEN),
        (("3.0.0", None),),
        "The saved config has no dtype: a loss in half or double precision is loaded "
        "as float32.",
        f"{KERAS}/v3.15.1/keras/src/losses/loss.py",
        _reloaded_with("dtype"),
        _in_floatx,
        _single,
        on_jax=_in_floatx_on_jax,
    ),
    Deviation(
        "huber-config-forgets-delta",
        ("Huber",),
        (("3.0.0", "3.15.1"),),
        "The saved config has no delta: every Huber loss is loaded with delta = 1.",
        _SOURCE,
        _reloaded_with("delta"),
        _without("delta"),
    ),
    Deviation(
        "cosine-similarity-config-forgets-axis",
        ("CosineSimilarity",),
        (("3.0.0", "3.15.1"),),
        "The saved config has no axis: the loss is loaded with the last axis.",
        _SOURCE,
        _reloaded_with("axis"),
        _without("axis"),
    ),
    Deviation(
        "sparse-config-forgets-axis",
        ("SparseCategoricalCrossentropy",),
        (("3.10.0", "3.15.1"),),
        "The saved config has no axis: the loss is loaded with the last axis.",
        _SOURCE,
        _reloaded_with("axis"),
        _without("axis"),
    ),
    Deviation(
        "generalized-crossentropy-unloadable",
        ("CategoricalGeneralizedCrossEntropy",),
        (("3.10.0", "3.15.1"),),
        "`losses.deserialize` does not know this class: it returns the name as a "
        "string, which fails at the first call.",
        f"{KERAS}/v3.15.1/keras/src/losses/__init__.py",
        lambda case: case.path == "reloaded",
        _unloadable,
    ),
    Deviation(
        "ctc-unloadable",
        ("CTC",),
        (("3.0.2", "3.3.3"),),
        "`losses.deserialize` does not know this class: it returns the name as a "
        "string, which fails at the first call.",
        f"{KERAS}/v3.3.3/keras/src/losses/__init__.py",
        lambda case: case.path == "reloaded",
        _unloadable,
    ),
    Deviation(
        "focal-unloadable",
        ("BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"),
        (("3.0.0", "3.1.1"),),
        "`losses.deserialize` does not know these classes: it returns the name as a "
        "string, which fails at the first call.",
        f"{KERAS}/v3.1.1/keras/losses/__init__.py",
        lambda case: case.path == "reloaded",
        _unloadable,
    ),
)
