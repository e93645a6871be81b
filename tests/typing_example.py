"""What a user writes, for mypy in strict mode: see test_types.py. It also runs."""

from typing import Any

import keras_losses_ref as klr
from keras_losses_ref import cli


class Cautious(klr.Huber):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(delta=0.1, name="cautious", **kwargs)


def value() -> float:
    return float(klr.huber([0.0, 1.0], [0.6, 0.4], delta=1.0))


def by_class() -> float:
    loss = klr.Huber(delta=2.0, reduction="sum")
    again = klr.Huber.from_config(loss.get_config())
    assert again.delta == 2.0
    return float(again([[0.0, 1.0]], [[0.6, 0.4]], sample_weight=[0.5]))


def by_name() -> float:
    return float(klr.get("mse")([0.0, 1.0], [0.6, 0.4]))


def own_loss() -> bool:
    report = klr.check_loss(Cautious, domain="real", checks=["runs", "name_is_sane"])
    for finding in report.failures:
        print(finding.text())
    return report.ok


@klr.parametrize_with_loss_checks([Cautious()], domain="real", checks=["runs"])
def check_each(loss: klr.Loss, check: Any) -> None:
    check(loss)


def exit_code() -> int:
    return cli.main(["list"])


if __name__ == "__main__":
    print(value(), by_class(), by_name(), own_loss(), exit_code(), klr.__version__)
