"""The losses on a GPU: `python -m pytest -m gpu`, on a machine that has one."""

import json

import numpy as np
import pytest
import tensorflow as tf
from on_device import NO_GPU

import keras_losses_ref as klr
from keras_losses_ref import cli
from keras_losses_ref.conformance import cases, check, report
from keras_losses_ref.conformance.runners import asking, tensorflow as runner

pytestmark = [pytest.mark.gpu, NO_GPU]


def test_a_gpu_is_among_the_devices():
    assert "GPU:0" in runner.devices()


@pytest.mark.parametrize("loss", cases.HANDWRITTEN)
def test_a_loss_conforms_on_the_gpu(loss):
    """In a graph; `keras-losses-ref check --device GPU:0` asks the rest."""
    chosen = check.select([loss], device="GPU:0", paths=["graph"])
    result = check.check(chosen)
    assert result.ok, report.render(result)
    assert report.coverage(result)[loss]["devices"] == ["GPU:0"]


@pytest.mark.parametrize("loss", cases.HANDWRITTEN)
def test_a_value_is_computed_on_the_gpu_itself(loss, monkeypatch):
    """TensorFlow would place on the CPU what has no kernel for the GPU, and not say."""
    placed = set()
    outcome = asking.outcome_of

    def spy(value, *rest, **more):
        placed.add(value.device.split("device:")[1])
        return outcome(value, *rest, **more)

    monkeypatch.setattr(asking, "outcome_of", spy)
    chosen = check.select([loss], device="GPU:0", paths=["eager"], dtypes=["float32"])
    accepted = [case for case in chosen if case.expected_error is None][:1]
    assert check.check(accepted).ok
    assert placed == {"GPU:0"}


def test_the_command_reports_both_devices(capsys):
    argv = ["check", "MeanSquaredError", "--device", "all", "--path", "eager"]
    assert cli.main([*argv, "--format", "json"]) == cli.OK
    document = json.loads(capsys.readouterr().out)
    devices = document["coverage"]["MeanSquaredError"]["devices"]
    assert devices[0] == "CPU:0" and "GPU:0" in devices


def test_a_label_that_is_no_class_is_refused_eagerly_and_nan_in_a_graph():
    loss = klr.SparseCategoricalCrossentropy(reduction="none")
    y_true, y_pred = np.array([0, 3]), np.array([[0.6, 0.2, 0.2], [0.1, 0.5, 0.4]])
    with tf.device("GPU:0"):
        with pytest.raises(tf.errors.InvalidArgumentError, match="no class"):
            loss(y_true, y_pred)
        graph = tf.function(lambda t, p: loss(t, p), autograph=False)
        values = graph(tf.constant(y_true), tf.constant(y_pred)).numpy()
    assert np.isfinite(values[0]) and np.isnan(values[1])
