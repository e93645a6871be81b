"""The pytest plugin. Loading it loads neither TensorFlow nor the kit.

pytest --pyargs keras_losses_ref.conformance      # the corpus, a test per case
pytest --losses-ref=Huber,CTC                     # of two losses, beside your tests
pytest --losses-ref=all -k "float16 and eager"    # -k selects by id
"""

import collections
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    import pytest

#: The file that stands for the corpus among the arguments of pytest.
_CORPUS = Path(__file__).parent / "conformance" / "pytest_items.py"

#: The property in which a test carries its verdicts, from a worker to the terminal.
VERDICTS = "keras_losses_ref"


def pytest_addoption(parser: "pytest.Parser") -> None:
    group = parser.getgroup("keras_losses_ref", "conformance of Keras's losses")
    group.addoption(
        "--losses-ref",
        metavar="LOSSES",
        help="also run the corpus of keras_losses_ref, a test per case: all, or "
        "losses such as Huber,CTC",
    )
    group.addoption(
        "--losses-ref-full",
        action="store_true",
        help="run every dtype on every path",
    )
    group.addoption(
        "--losses-ref-device",
        metavar="DEVICE",
        default="CPU:0",
        help="such as GPU:0; all: the CPU and every GPU (default: CPU:0)",
    )


def pytest_configure(config: "pytest.Config") -> None:
    wanted = config.getoption("losses_ref") is not None
    if wanted and str(_CORPUS) not in config.args:  # a worker of xdist is given it
        config.args.append(str(_CORPUS))


def pytest_collect_file(
    file_path: Path, parent: "pytest.Collector"
) -> "Optional[pytest.Collector]":
    if file_path == _CORPUS:
        from keras_losses_ref.conformance import pytest_items

        return pytest_items.Corpus.from_parent(
            parent, path=file_path, verdicts_property=VERDICTS
        )
    return None


def pytest_report_header(config: "pytest.Config") -> str:
    """Name the TensorFlow and Keras under test, without importing them."""
    from importlib import metadata

    found = []
    for name in ("tensorflow", "tensorflow-cpu", "tf-nightly", "keras", "tf-keras"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return f"keras_losses_ref: {', '.join(found) or 'no TensorFlow'}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for the corpus, if any of it ran, as `check` ends with."""
    found, cases, failed = collections.Counter(), 0, False
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            verdicts = dict(report.user_properties).get(VERDICTS)
            if report.when == "call" and verdicts is not None:
                cases += bool(verdicts)
                failed |= outcome == "failed"
                found.update(verdicts.split())
    if cases:
        words = ", ".join(f"{number} {name}" for name, number in sorted(found.items()))
        head = "DEVIATES" if failed else "conforms"
        terminalreporter.write_line(f"keras_losses_ref {head}: {cases} cases: {words}")
