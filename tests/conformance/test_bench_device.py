"""`bench --device`: what is measured there, and what not. No time is asserted."""

import json
import types

import pytest
import tensorflow as tf

from keras_losses_ref import cli
from keras_losses_ref.conformance import bench, bench_device, runtime
from keras_losses_ref.losses import compat

SPECS = {spec.name: spec for spec in bench.SPECS}
MSE = SPECS["MeanSquaredError"]


def test_one_large_shape_of_each_loss_path_by_path():
    found = bench_device.cells_to_measure([MSE, SPECS["CTC"]])
    assert [path for _, path, _ in found] == ["eager"] * 2 + ["graph"] * 2 + ["xla"] * 2
    assert [shape for *_, shape in found][:2] == [(4096, 4096), (16, 200, 64)]
    [(_, _, shape)] = bench_device.cells_to_measure([MSE], ["xla"], fast=True)
    assert shape == MSE.large[0]


def test_a_batch_is_drawn_in_part_and_repeated():
    y_true, y_pred = bench_device._tensors(bench.indices, (16, 5))
    assert y_true.shape == (16,) and y_pred.shape == (16, 5)
    tf.debugging.assert_equal(y_pred[:2], y_pred[14:])
    assert bench_device._tensors(bench.reals, (9, 5))[0].shape == (9, 5)


def test_a_step_is_waited_for(monkeypatch):
    """Nothing counts as done before an element of value and gradient is there."""
    waited = []
    monkeypatch.setattr(
        bench_device,
        "wait",
        lambda value, gradient: waited.append((value.shape, gradient.shape)),
    )
    cells, left_out = bench_device.measure([(MSE, "eager", (8, 3))], "CPU:0")
    assert [cell.name for cell in cells] == ["MeanSquaredError"]
    assert len(waited) >= 12 and set(waited) == {((), (8, 3))}
    assert cells[0].memory is None  # TensorFlow counts for GPUs alone
    assert left_out == list(bench_device._LEFT_OUT)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_an_element_of_any_shape_is_fetched(shape):
    bench_device.wait(tf.zeros(shape), tf.zeros(shape))


def test_what_does_not_fit_in_time_is_left_out_and_named():
    found = bench_device.cells_to_measure([MSE], ["eager", "xla"], fast=True)
    cells, left_out = bench_device.measure(found, "CPU:0", seconds=-1)
    assert cells == []
    names = "MeanSquaredError eager, MeanSquaredError xla"
    assert left_out[-1] == f"when -1 s were over: {names}"


def test_what_fails_on_a_device_is_left_out_with_its_reason(monkeypatch):
    def fail(*_):
        raise tf.errors.InternalError(None, None, "libdevice not found\nmore")

    monkeypatch.setattr(bench_device, "_one", fail)
    cells, left_out = bench_device.measure([(MSE, "xla", (8, 3))], "CPU:0")
    assert cells == []
    assert left_out[-1] == "MeanSquaredError xla, which failed: libdevice not found"


def test_memory_is_the_peak_of_a_step_beside_what_was_there(monkeypatch):
    reset = []
    memory = types.SimpleNamespace(
        reset_memory_stats=reset.append,
        get_memory_info=lambda device: {"current": 100, "peak": 700},
    )
    monkeypatch.setattr(tf.config, "experimental", memory)
    y_pred = tf.zeros([10, 5])  # 200 bytes
    assert bench_device._memory(lambda: (y_pred, y_pred), "GPU:0", y_pred) == 3.0
    assert reset == ["GPU:0"]
    assert bench_device._memory(lambda: (y_pred, y_pred), "CPU:0", y_pred) is None


def test_every_format_says_what_was_left_out():
    cell = bench_device.DeviceCell(
        "Huber", "xla", (2, 3), 1e-3, 2e-3, (1.9, 2.0, 2.1), False, (1.0, 4.0)
    )
    found = {
        format: bench_device.render([cell], ["the rest"], 1e9, "CPU:0", format)
        for format in ("text", "md", "json")
    }
    assert "Huber xla 2x3: 2.00 [1.90 2.10]" in found["text"]
    assert "Huber xla: 1.0 4.0" in found["text"]
    assert found["text"].endswith("left out:\nthe rest\n")
    assert "| Huber | 2.00 |" in found["md"] and "- the rest" in found["md"]
    document = json.loads(found["json"])
    assert document["left_out"] == ["the rest"]
    assert document["cells"][0]["memory"] == [1.0, 4.0]
    assert document["environment"]["device"] == "CPU:0"


def test_the_command_measures_on_the_device(tmp_path, monkeypatch):
    file = tmp_path / "bench.json"
    argv = ["bench", "Circle", "--device", "CPU:0", "--path", "graph", "--fast"]
    code = cli.main([*argv, "--format", "json", "--output", str(file)])
    document = json.loads(file.read_text("utf-8"))
    absent = compat.builtin("Circle") is None
    assert code == (cli.DIFFERENCE if absent else cli.OK)
    assert [c["loss"] for c in document["cells"]] == ["Circle"] * (not absent)
    assert document["bytes_per_second"] > 0


def test_a_device_that_is_not_there_is_refused_with_those_that_are(capsys):
    assert cli.main(["bench", "Huber", "--device", "GPU:7"]) == cli.USAGE
    said = capsys.readouterr().err
    assert "'GPU:7'" in said and "Expected one of: CPU:0" in said


@pytest.mark.parametrize("option", [["--path", "small"], ["--memory"]])
def test_what_is_not_measured_on_a_device_is_refused(option, capsys):
    assert cli.main(["bench", "Huber", "--device", "CPU:0", *option]) == cli.USAGE
    assert " ".join(option) in capsys.readouterr().err


def test_a_report_of_a_gpu_names_card_driver_and_cuda(monkeypatch, tmp_path):
    details = {"device_name": "Some Card", "compute_capability": (9, 0)}
    experimental = types.SimpleNamespace(get_device_details=lambda card: details)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a card"])
    monkeypatch.setattr(tf.config, "experimental", experimental)
    build = {"cuda_version": "12.5.1", "cudnn_version": "9"}
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: build)
    monkeypatch.setattr(runtime, "_driver", lambda: "580.82.07")
    found = runtime.runtime_info(["CPU:0", "GPU:0"])
    assert found["card"] == "Some Card" and found["compute_capability"] == "9.0"
    assert found["cuda"] == "12.5.1" and found["driver"] == "580.82.07"
    assert "card" not in runtime.runtime_info(["CPU:0", "GPU:1"])  # there is none
    assert "card" not in runtime.runtime_info(["CPU:0"])


def test_the_driver_is_read_where_it_says_its_version(tmp_path):
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA Module for x86_64  580.82.07  Release\n")
    assert runtime._driver(file) == "580.82.07"
    assert runtime._driver(tmp_path / "none") == "unknown"
