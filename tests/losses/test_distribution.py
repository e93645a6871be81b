"""Under tf.distribute each replica gives what one device would give for its share.

`distributed.py` does the work, in processes of its own; one process takes all losses.
The host's rules say what a share is: from Keras 3.8 on a mean is divided by the number
of replicas too; in Keras 2 `fit` does that, and a loop of one's own may not use a mean.

Tolerances are relative, float32 arithmetic in another order. Measured, over TensorFlow
2.12 to 2.21 and Keras 2.12 to 3.15: 3e-7 for a loss and its gradient, 4e-6 for the
weights after two epochs.
"""

import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from loss_rows import one_per_kind, rows

import keras_losses_ref as klr
from keras_losses_ref.losses import compat

STEP, FIT = 2e-6, 2e-5
SCRIPT = Path(__file__).parent / "distributed.py"

by_loss = pytest.mark.parametrize("loss", [row.loss for row in rows()])
by_kind = pytest.mark.parametrize("loss", [row.loss for row in one_per_kind()])


def start(*arguments):
    path = [str(Path(klr.__file__).parents[1]), os.environ.get("PYTHONPATH")]
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes):
    """What each process printed; all are gone afterwards."""
    try:
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, outputs):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]


@functools.cache
def mirrored():
    (result,) = finish([start("mirrored")])
    return result


@functools.cache
def workers():
    """Two workers on ports of the loopback device that were free just now."""
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return finish([start("worker", index, *ports) for index in range(2)])


@functools.cache
def parameter_server():
    (result,) = finish([start("parameter-server")])
    return result


def check(errors, tolerance):
    assert errors
    wrong = {case: error for case, error in errors.items() if not error <= tolerance}
    assert not wrong, f"more than {tolerance:g}: {wrong}"


@by_loss
def test_custom_loop_on_two_devices(loss):
    """Ours and Keras's own: the loss and its gradient on each replica, and summed."""
    errors = mirrored()["loop"][loss]
    allowed = len(compat.REDUCTIONS) - (2 if compat.GENERATION == 2 else 0)
    if loss not in [row.loss for row in one_per_kind()]:
        allowed = 2 if compat.GENERATION == 3 else 1  # a mean and a sum
    assert len(errors) == allowed * 2 * 3
    check(errors, STEP)


@by_kind
def test_fit_on_two_devices(loss):
    """As Keras's own loss with an uneven last batch, and as one device without."""
    check(mirrored()["fit"][loss], FIT)


@pytest.mark.skipif(
    compat.GENERATION == 3, reason=f"Keras {compat.VERSION} allows a mean in any loop"
)
@by_loss
def test_a_mean_is_refused_outside_fit(loss):
    found = mirrored()["refused"][loss]
    assert set(found) == {
        f"{reduction}-{who}"
        for reduction in ("auto", "sum_over_batch_size")
        for who in ("ours", "theirs")
    }
    for message in found.values():
        assert message.startswith("ValueError: Please use")
        assert "Reduction.SUM" in message


@pytest.mark.slow  # three processes
@by_kind
def test_custom_loop_on_two_workers(loss):
    for index, found in enumerate(workers()):
        errors = found["loop"][loss]
        assert any(case.endswith(f"-{index}") for case in errors)
        check(errors, STEP)


@pytest.mark.slow
def test_fit_on_two_workers():
    for found in workers():
        ours, theirs = found["fit"]["ours"], found["fit"]["theirs"]
        if isinstance(theirs, str):
            assert ours == theirs  # ours fails nowhere else than Keras's own
            pytest.skip(
                f"{compat.PACKAGE} {compat.VERSION} cannot fit under "
                f"MultiWorkerMirroredStrategy, with its own losses neither: "
                f"{theirs[:40]}"
            )
        assert ours == pytest.approx(theirs, rel=FIT)
    first, second = (found["fit"]["ours"][2:] for found in workers())
    assert first == second  # the weights stay in step


@pytest.mark.slow  # four processes
@by_kind
def test_custom_loop_on_a_parameter_server(loss):
    """The variables on a server, the loss on two workers; in Keras 2 also `fit`."""
    errors = dict(parameter_server()[loss])
    if compat.GENERATION == 2:
        check({"fit": errors.pop("fit")[0]}, STEP)
    assert {"sum", "none"} <= set(errors)
    for reduction, of_workers in errors.items():
        assert len(of_workers) == 2
        check({f"{reduction} {i}": e for i, e in enumerate(of_workers)}, STEP)
