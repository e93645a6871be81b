"""`loss_function`: which of its two forms of a loss runs."""

import numpy as np
import pytest
import tensorflow as tf

from keras_losses_ref.losses import base

TRUE = tf.constant([[0.0, 1.0], [1.0, 0.0]])
PRED = tf.constant([[0.3, 0.6], [0.5, 0.1]])


@pytest.fixture(scope="module")  # Keras 2 registers a name once
def loss():
    """A loss whose value tells which form ran: 1 the kernel, 0 the definition."""

    def told_apart(y_true, y_pred, scale=1.0):
        return tf.zeros_like(y_pred[..., 0])

    def kernel(y_true, y_pred, scale):
        return tf.ones_like(y_pred[..., 0])

    return base.loss_function(kernel=kernel, ragged=True)(told_apart)


def test_the_kernel_runs_on_dense_tensors(loss):
    np.testing.assert_array_equal(loss(TRUE, PRED), [1.0, 1.0])
    np.testing.assert_array_equal(tf.function(loss)(TRUE, PRED), [1.0, 1.0])


@pytest.mark.parametrize("scale", [tf.constant(1.0), tf.Variable(1.0)])
def test_a_tensor_as_hyperparameter_takes_the_definition(loss, scale):
    np.testing.assert_array_equal(loss(TRUE, PRED, scale=scale), [0.0, 0.0])


def test_an_unknown_rank_takes_the_definition(loss):
    unknown = tf.TensorSpec(None, tf.float32)
    run = tf.function(loss, input_signature=[unknown, unknown])
    np.testing.assert_array_equal(run(TRUE, PRED), [0.0, 0.0])


def test_both_forms_can_be_called(loss):
    np.testing.assert_array_equal(loss.definition(TRUE, PRED), [0.0, 0.0])
    np.testing.assert_array_equal(loss.kernel(TRUE, PRED, scale=1.0), [1.0, 1.0])
