"""The curves are those of the losses, and every loss has one."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_losses_ref import cli, oracle
from keras_losses_ref.conformance import cases, plot


def test_every_loss_has_a_picture():
    assert set(plot.CURVES) == set(cases.HANDWRITTEN)


@pytest.mark.parametrize("loss", sorted(set(plot.CURVES) - {"Circle"}))
def test_the_curve_and_its_slope_are_the_definition(loss):
    spec = plot.CURVES[loss]
    # Away from the kinks, which lie on round numbers.
    x = np.linspace(spec.low, spec.high, 7)[1:-1] + 0.03 * (spec.high - spec.low)
    for _, config, inputs in spec.curves:
        values, slope = plot.curve(loss, config, inputs, x)

        def exact(x, config=config, inputs=inputs):
            y_true, y_pred = (np.asarray(a) for a in inputs(x.astype("float32")))
            return oracle.BY_LOSS[loss](y_true, y_pred, **config)[0]

        np.testing.assert_allclose(values, exact(x), rtol=1e-4, atol=1e-5)
        step = 1e-2
        rise = (exact(x + step) - exact(x - step)) / (2 * step)
        np.testing.assert_allclose(slope, rise, rtol=0.05, atol=0.05)


def test_the_picture_shows_the_curve():
    axes, slope = plot.figure("Huber").axes
    assert axes.get_title(loc="left") == "Huber"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "delta = 0.5",
        "delta = 1",
        "delta = 2",
    ]
    (line, *_) = slope.get_lines()
    assert line.get_ydata()[-1] == pytest.approx(0.5)


def test_the_command_writes_files(tmp_path, capsys):
    folder = tmp_path / "new"
    argv = ["plot", "Huber", "Circle", "--format", "svg", "--output", str(folder)]
    assert cli.main(argv) == cli.OK
    files = [folder / "Huber.svg", folder / "Circle.svg"]
    assert capsys.readouterr().out.split() == list(map(str, files))
    first = files[0].read_bytes()
    assert first.startswith(b"<?xml")
    assert cli.main(argv) == cli.OK
    assert files[0].read_bytes() == first


def test_an_unknown_loss_is_a_usage_error(capsys):
    assert cli.main(["plot", "Hubert"]) == cli.USAGE
    assert "Huber" in capsys.readouterr().err
