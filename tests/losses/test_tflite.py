"""A training step of unknown batch size, converted for phones.

Whether the step needs operators beyond TFLite's own is decided by what the loss and
its gradient are made of; none of them may be in float64.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_losses_ref.losses.convert import LOSSES

CLASSES = sorted(name for name, loss in LOSSES.items() if isinstance(loss, type))
#: In CI on every push; the others take seconds each and are asked with the slow tests.
FEW = ("BinaryCrossentropy", "KLDivergence", "LogCosh")
EACH = [
    name if name in FEW else pytest.param(name, marks=pytest.mark.slow)
    for name in CLASSES
    if name != "Circle"  # its pairs need a batch whose size is known to TFLite
]


def converted(name, flex):
    """The bytes of a step that trains a softmax layer by the loss."""
    if name == "CTC":
        true, pred = tf.TensorSpec([None, 2], tf.int32), [None, 5, 3]
    elif name.startswith("Sparse") or "Generalized" in name:
        true, pred = tf.TensorSpec([None], tf.int32), [None, 3]
    else:
        true, pred = tf.TensorSpec([None, 3], tf.float32), [None, 3]
    module = tf.Module()
    module.weight = tf.Variable(np.eye(3, dtype="float32"))
    loss = LOSSES[name]()

    def step(y_true, x):
        with tf.GradientTape() as tape:
            rows = tf.matmul(tf.reshape(x, [-1, 3]), module.weight)
            value = loss(y_true, tf.nn.softmax(tf.reshape(rows, tf.shape(x))))
        module.weight.assign_sub(0.1 * tape.gradient(value, module.weight))
        return value

    specs = [true, tf.TensorSpec(pred, tf.float32)]
    step = tf.function(step, input_signature=specs).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([step], module)
    converter.experimental_enable_resource_variables = True
    operators = [tf.lite.OpsSet.TFLITE_BUILTINS]
    operators += [tf.lite.OpsSet.SELECT_TF_OPS] if flex else []
    converter.target_spec.supported_ops = operators
    return converter.convert()


@pytest.mark.parametrize("name", EACH)
def test_a_step_is_converted_with_tensorflow_operators(name):
    assert converted(name, flex=True)


#: The gradient of a product of two batches of unknown size needs an operator that
#: TFLite has not (BroadcastGradientArgs), in Keras's losses as in ours. These two
#: do without; of Keras's own the first alone (TensorFlow 2.21, Keras 3.15.1).
BUILT_IN = ["CategoricalCrossentropy", "CategoricalFocalCrossentropy"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_step_is_converted_with_built_in_operators(name):
    assert converted(name, flex=False)
