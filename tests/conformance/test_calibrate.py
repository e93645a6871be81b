"""The tolerances of a device are measured and written by a command."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_losses_ref.conformance import calibrate, check, runners, tolerance, verdict
from keras_losses_ref.losses import compat

CASE = "huber/documented[float32*eager*]"


@pytest.fixture
def gpu(monkeypatch):
    """Simulate a GPU: TensorFlow places on the CPU what is meant for one it lacks."""
    monkeypatch.setattr(runners.load(), "devices", lambda: ["CPU:0", "GPU:0"])


def asked_on_gpu():
    return list(check.outcomes(check.select(["Huber"], [CASE], device="GPU:0")))


def off_by(asked, share):
    """The same outcomes, Keras's value off by so many times the CPU's tolerance.

    An answer of ours may be right by its mixed error besides.
    """
    rtol, atol = tolerance.CPU["value"]
    for case, found in asked:
        exact, keras = found["oracle"].value, found["keras"]
        value = exact + share * 2.0**-23 * (rtol * np.abs(exact) + atol)
        yield case, {**found, "keras": dataclasses.replace(keras, value=value)}


def measured(monkeypatch, asked):
    monkeypatch.setattr(check, "outcomes", lambda cases: iter(asked))
    return calibrate.measure([], "GPU:0")


def test_a_device_that_keeps_the_row_keeps_it(gpu, monkeypatch):
    factors, beyond, used = measured(monkeypatch, asked_on_gpu())
    assert set(factors.values()) == {1} and beyond == []
    share, case = used["value"]["float32"]["ours"]
    assert 0 <= share < 1 and case.startswith("huber/documented[float32")


@pytest.mark.parametrize("share, factor", [(0.9, 1), (1.5, 2), (3, 4), (6, 8)])
def test_rounding_widens_the_row_as_little_as_will_do(gpu, monkeypatch, share, factor):
    asked = list(off_by(asked_on_gpu(), share))
    factors, beyond, _ = measured(monkeypatch, asked)
    assert factors == {"value": factor, "gradient": 1, "second": 1}
    assert beyond == []


def test_what_is_no_rounding_is_named_and_widens_nothing(gpu, monkeypatch):
    asked = list(off_by(asked_on_gpu(), 100))
    factors, beyond, _ = measured(monkeypatch, asked)
    assert set(factors.values()) == {1}
    assert {v.verdict for v in beyond} == {verdict.UNEXPLAINED}
    assert tolerance.TOLERANCE["GPU"] == tolerance.measured()  # as it was


def test_the_row_that_was_written_is_read(tmp_path):
    path = tmp_path / "tolerance_gpu.json"
    assert tolerance.measured(path) == tolerance.CPU
    path.write_text(json.dumps({"row": {"value": [16.0, 4.0]}}), encoding="utf-8")
    assert tolerance.measured(path) == {"value": (16.0, 4.0)}


def test_the_row_of_a_gpu_is_unmeasured_or_has_its_evidence():
    if not tolerance.MEASURED.exists():
        assert tolerance.TOLERANCE["GPU"] == tolerance.CPU
        return
    document = json.loads(tolerance.MEASURED.read_text("utf-8"))
    assert document["environment"]["card"] and document["environment"]["driver"]
    assert document["cases"] > 1000 and set(document["row"]) == set(calibrate.KINDS)


@pytest.mark.skipif(compat.GENERATION == 2, reason="one process is enough")
def test_the_command_measures_a_cpu(tmp_path):
    path = tmp_path / "row.json"
    module = "keras_losses_ref.conformance.tolerance"
    command = [sys.executable, "-m", module, "Huber", "--measure", "CPU:0"]
    done = subprocess.run(
        [*command, "--output", str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(path.read_text("utf-8"))
    assert document["row"]["value"] == [8.0, 2.0] and document["beyond"] == []
    assert document["environment"]["device"] == "CPU:0" and document["cases"] > 300
    shares = document["used"]["gradient"]["float32"]
    assert 0 < shares["keras"][0] <= 1 and 0 < shares["ours"][0] <= 1


def test_only_all_losses_on_a_gpu_make_its_row(gpu, monkeypatch, tmp_path, capsys):
    few = check.select(["Huber"], [CASE], device="GPU:0")
    monkeypatch.setattr(check, "select", lambda *_, **__: few)
    monkeypatch.setattr(tolerance, "MEASURED", tmp_path / "row.json")
    assert calibrate.main(["--measure", "CPU:0"]) == 0
    assert calibrate.main(["Huber", "--measure", "GPU:0"]) == 0
    assert not tolerance.MEASURED.exists()
    assert calibrate.main(["--measure", "GPU:0"]) == 0
    assert tolerance.measured(tolerance.MEASURED) == tolerance.CPU
    assert f"written: {tolerance.MEASURED}" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_refused(capsys):
    assert calibrate.main(["--measure", "GPU:7"]) == 2
    assert "CPU:0" in capsys.readouterr().err


def test_the_share_is_that_of_the_worst_element():
    allowed = 8 * 2.0**-23 + 2 * 2.0**-23
    got = np.array([1.0, 1.0 + allowed / 2])
    assert tolerance.share(got, np.ones(2), "float32", "value") == pytest.approx(0.5)
    assert tolerance.share(np.nan, np.nan, "float32", "value") == 0.0
