"""Parameters of tests that run on a GPU where there is one, and on the CPU anywhere."""

import pytest
import tensorflow as tf

NO_GPU = pytest.mark.skipif(
    not tf.config.list_physical_devices("GPU"),
    reason="TensorFlow finds no GPU; its build, a driver and a device are needed",
)

#: The CPU shows that the test itself holds; what it asks of a GPU has the mark gpu.
each_device = pytest.mark.parametrize(
    "device", ["CPU:0", pytest.param("GPU:0", marks=[pytest.mark.gpu, NO_GPU])]
)
