"""`bench`: what is measured, and what is made of it. No time is asserted."""

import json
import math
import sys

import numpy as np
import pytest
import speed_page
import tensorflow as tf

from keras_losses_ref import cli
from keras_losses_ref.conformance import bench, cases
from keras_losses_ref.losses import compat

SPECS = {subject.name: subject for subject in bench.SPECS}


def test_every_loss_that_the_newest_keras_has_is_measured():
    measured = {subject.loss for subject in bench.SPECS}
    assert measured == set(cases.HANDWRITTEN) - {"SparseCategoricalFocalCrossentropy"}
    both = {name.replace(" from logits", "") for name in SPECS if "logits" in name}
    assert len(both) == 5


def test_a_place_for_each_path_and_size():
    mse, ctc = SPECS["MeanSquaredError"], SPECS["CTC"]
    all_paths = bench.cells_to_measure([mse, ctc])
    assert len(all_paths) == (3 * 3 + 3) + (3 + 3)
    assert bench.cells_to_measure([mse], ["graph"], fast=True) == [
        (mse, "graph", (1024, 1000))
    ]
    circle = SPECS["Circle"]
    assert (
        bench.cells_to_measure([circle], ["lengths"]) == []
    )  # embeddings are no sequences


@pytest.mark.parametrize("subject", bench.SPECS, ids=lambda subject: subject.name)
def test_inputs_are_those_of_the_loss(subject):
    if compat.builtin(subject.loss) is None:
        pytest.skip(f"this Keras has no {subject.loss}")
    y_true, y_pred = bench.tensors(subject.draw, subject.small)
    again = bench.tensors(subject.draw, subject.small)
    np.testing.assert_array_equal(y_true, again[0])
    np.testing.assert_array_equal(y_pred, again[1])
    assert tuple(y_pred.shape) == subject.small
    loss = getattr(compat.keras.losses, subject.loss)(**dict(subject.arguments))
    value, gradient = bench.step(loss, "small")(y_true, y_pred)
    assert math.isfinite(value) and np.isfinite(gradient).all()
    assert np.any(gradient)


def test_neighbours_are_compared():
    """Each ratio is of two neighbours; who begins changes from turn to turn."""
    order = []

    def step(who):
        order.append(who)
        return tf.constant(0.0), tf.zeros(1)

    ours, keras, ratios = bench.measure(
        lambda: step("o"),
        lambda: step("k"),
        seconds=0,
        pairs=(4, 4),
        warm_up=1,
    )
    assert len(ratios) == 4 and ours > 0 and keras > 0
    # A warm step of each, one to see how slow it is, then the turns.
    turns = "".join(order)[4:]
    times = len(turns) // 8
    expected = "ko" if turns[0] == "k" else "ok"
    assert turns == "".join(
        who * times for turn in range(4) for who in expected[:: 1 - 2 * (turn % 2)]
    )


def cell(name, path, *ratios, shape=(2, 3)):
    return bench.Cell(name, path, shape, 1e-3, 2e-3, ratios)


CELLS = (
    cell("Huber", "eager", 1.9, 2.0, 2.1),
    cell("Huber", "eager", 3.9, 4.0, 4.1, shape=(4, 5)),
    cell("LogCosh from logits", "eager", 0.5, 0.5, 0.5),
    cell("Huber", "lengths", 1.0, 1.0, 1.0, shape=(32, None, 32)),
)


def test_a_table_has_the_lowest_and_the_mean():
    rows = bench.table(CELLS)
    assert rows == [
        ["loss", "eager", "lengths"],
        ["Huber", "2.00 to 4.00", "1.00"],
        ["LogCosh from logits", "0.50", ""],
        ["geometric mean", f"{(2 * 4 * 0.5) ** (1 / 3):.2f}", "1.00"],
        ["lowest", "0.50", "1.00"],
    ]


def test_every_format_has_the_ratios():
    text = bench.render(CELLS, 1e9, "text")
    assert "Huber eager 2x3: 2.00 [1.90 2.10] 1.000 ms 2.000 ms" in text
    assert "Huber lengths 32x*x32: 1.00" in text
    assert "| Huber | 2.00 to 4.00 | 1.00 |" in bench.render(CELLS, 1e9, "md")
    document = json.loads(bench.render(CELLS, 1e9, "json"))
    first = document["cells"][0]
    assert (first["loss"], first["shape"], first["ratio"]) == ("Huber", [2, 3], 2.0)
    # 1 ms at 1 GB/s is a million bytes; the step must move 72.
    assert first["floors"] == pytest.approx(1e6 / 72, rel=1e-6)
    assert document["cells"][3]["floors"] is None


def test_pages_are_made_of_several_runs(tmp_path):
    for number, ratio in enumerate((1.8, 2.0, 2.6), 1):
        found = (
            cell("Huber", "eager", ratio, ratio, ratio),
            cell("Huber", "eager", 0.9, 0.9, 0.9, shape=(4, 5)),
        )
        text = bench.render(found, 1e9, "json")
        (tmp_path / f"run{number}.json").write_text(text, "utf-8")
    memory = bench.render_memory([("Huber", "eager", 1.0, 4.0)], "json")
    (tmp_path / "memory.json").write_text(memory, "utf-8")
    runs, memory, tricks = speed_page.load(tmp_path)
    table = "\n".join(speed_page.by_loss(runs))
    assert "| `Huber` | 0.90 |" in table
    low, middle, high = ((r * 0.9) ** 0.5 for r in (1.8, 2.0, 2.6))
    assert f"**{middle:.2f}** ({low:.2f} to {high:.2f})" in table
    assert "of every size" not in table
    quick = {**runs[1], "cells": runs[1]["cells"][:1]}
    rows = speed_page.by_loss([runs[0], quick])
    assert rows[-2].endswith("**1.90** (1.80 to 2.00) |")
    assert rows[-1] == f"| of every size, first run | **{low:.2f}** |"
    count, names = speed_page.slower(runs)
    assert count == "Keras's loss is faster in 1 of 2 cells"
    assert names == ["- `eager`: Huber 4×5 0.90"]
    assert tricks is None
    gain = {"mean": 1.3, "least": 0.9, "most": 2.04}
    tricks = {"tricks": {"tracing": {"what": "one trace", "paths": {"small": gain}}}}
    page = speed_page.page(runs, memory, tricks)
    assert "| `tracing`: one trace | small | 1.30 | 0.90 | 2.04 |" in page
    assert f"{count}:\n\n{names[0]}\n" in page
    assert "| Huber | eager | 2×3 | 2.00 | 1.80 2.00 2.60 | 1 | 2 |" in page
    assert "| Huber | eager | 1.0 | 4.0 |" in page


def test_no_runs_and_another_schema_are_refused(tmp_path):
    with pytest.raises(ValueError, match="without a run"):
        speed_page.load(tmp_path)
    (tmp_path / "run1.json").write_text('{"schema": 0}', "utf-8")
    with pytest.raises(ValueError, match="another schema. Received: 0"):
        speed_page.load(tmp_path)


def test_bench_command_measures_the_losses_named(tmp_path):
    file = tmp_path / "run.json"
    options = ["--fast", "--path", "small", "--format", "json", "--output", str(file)]
    assert cli.main(["bench", "MeanSquaredError", "CTC", *options]) == 0
    document = json.loads(file.read_text("utf-8"))
    absent = compat.builtin("CTC") is None
    assert [c["loss"] for c in document["cells"]] == ["MeanSquaredError", "CTC"][
        : 2 - absent
    ]
    assert all(c["path"] == "small" and c["ratio"] > 0 for c in document["cells"])
    assert document["environment"]["tensorflow"]


def test_an_unknown_loss_is_named(capsys):
    assert cli.main(["bench", "MeanSquareError"]) == 2
    assert "MeanSquaredError" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_the_step():
    """A mean squared error of Keras holds a difference, its square, and gradients."""
    ours, keras = bench.memory(SPECS["MeanSquaredError"], "eager", (2048, 2048))
    assert 0.9 < ours < keras  # at the least a gradient
    assert 2.9 < keras < 6
