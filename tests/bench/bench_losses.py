"""Every loss beside Keras's, timed by pytest-benchmark, for work on one of them.

    pip install ".[bench]"
    python -m pytest tests/bench/bench_losses.py -n 0 -k "Huber and graph"

The ratios that the documentation prints come from `keras-losses-ref bench`, which
measures both in turn. Here each has its own statistics, can be compared with an earlier
run (--benchmark-autosave, --benchmark-compare) and profiled (--benchmark-cprofile).
"""

import pytest

from keras_losses_ref import losses
from keras_losses_ref.conformance import bench
from keras_losses_ref.losses import compat

PLACES = bench.cells_to_measure(paths=("eager", "graph", "xla", "small"), fast=True)


def name(place):
    subject, path, shape = place
    return f"{subject.name.replace(' ', '-')}-{path}-{'x'.join(map(str, shape))}"


@pytest.mark.parametrize("who", ["ours", "keras"])
@pytest.mark.parametrize("place", PLACES, ids=name)
def test_a_step(place, who, benchmark):
    subject, path, shape = place
    if who == "keras" and compat.builtin(subject.loss) is None:
        pytest.skip(f"this Keras has no {subject.loss}")
    benchmark.group = name(place)
    module = losses if who == "ours" else compat.keras.losses
    loss = getattr(module, subject.loss)(**dict(subject.arguments))
    y_true, y_pred = bench.tensors(subject.draw, shape)
    run = bench.step(loss, path)

    def step():
        value, gradient = run(y_true, y_pred)
        value.numpy(), gradient.numpy()

    for _ in range(4):  # until what is traced or compiled is
        step()
    benchmark(step)
