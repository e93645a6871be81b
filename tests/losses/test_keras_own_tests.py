"""Keras 3's own loss tests, run on our classes instead of Keras's."""

import importlib
import types
import unittest

import pytest

from keras_losses_ref import losses
from keras_losses_ref.losses import compat

#: The tests that ours must fail, and why: each asserts what the documentation does not
#: say, or the contrary of it.
ON_PURPOSE = {
    "CTCTest.test_correctness": "a blank among the labels is refused",
    "CTCTest.test_dtype_arg": "a blank among the labels is refused",
    "SparseCategoricalCrossentropyTest.test_binary_segmentation_different_axis": (
        "any axis is taken; Keras asserts that TensorFlow refuses all but the last"
    ),
    "SparseCategoricalCrossentropyTest.test_multi_class_segmentation_different_axis": (
        "any axis is taken; Keras asserts that TensorFlow refuses all but the last"
    ),
    "CosineSimilarityTest.test_config": "our config keeps axis and dtype",
    "HuberLossTest.test_config": "our config keeps delta and dtype",
    "LogCoshTest.test_config": "our config keeps dtype",
    "TverskyTest.test_binary_segmentation_custom_coefficients": (
        "Keras to 3.15 asserts alpha and beta swapped"
    ),
    "TverskyTest.test_binary_segmentation_custom_coefficients_with_axis": (
        "Keras to 3.15 asserts alpha and beta swapped"
    ),
    "TverskyTest.test_correctness_custom_coefficients": (
        "Keras to 3.15 asserts alpha and beta swapped"
    ),
}


def test_keras_own_tests_pass_on_ours(monkeypatch):
    if compat.GENERATION == 2:
        pytest.skip("Keras 2 does not ship its tests")
    try:
        theirs = importlib.import_module("keras.src.losses.losses_test")
    except ImportError:
        pytest.skip(f"Keras {compat.VERSION} was packed without its tests")
    ours = {name: getattr(losses, name) for name in losses.__all__}
    in_place = types.SimpleNamespace(**{**vars(theirs.losses), **ours})
    monkeypatch.setattr(theirs, "losses", in_place)

    suite = unittest.defaultTestLoader.loadTestsFromModule(theirs)
    result = unittest.TestResult()
    suite.run(result)
    broken = {
        test.id().split("losses_test.")[1]: text.strip().split("\n")[-1]
        for test, text in result.failures + result.errors
    }
    assert result.testsRun > 100
    unforeseen = {name: text for name, text in broken.items() if name not in ON_PURPOSE}
    assert not unforeseen
    if compat.RELEASE == (3, 15):
        assert set(broken) == set(ON_PURPOSE)
