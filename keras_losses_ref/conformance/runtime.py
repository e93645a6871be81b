"""The versions behind a set of answers: what a report must name."""

import platform

import numpy as np

import keras_losses_ref


def runtime_info(devices=("CPU:0",)):
    """What a report must name for its numbers to mean anything."""
    import tensorflow as tf

    from keras_losses_ref.losses import compat

    return {
        "keras_losses_ref": keras_losses_ref.__version__,
        "tensorflow": tf.__version__,
        "keras": compat.VERSION,
        "keras_package": compat.PACKAGE,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": ", ".join(devices),
    }
