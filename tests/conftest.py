"""What every test needs before TensorFlow starts."""

import gc
import os

import pytest

# Workers, and the processes that tests start, share the memory of a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


@pytest.fixture
def sweep(request):
    """For what takes minutes and is marked so: it runs when it is asked for."""
    if "sweep" not in (request.config.getoption("markexpr") or ""):
        pytest.skip("every loss there is, for minutes: pytest -m sweep")


def pytest_configure():
    """Thousands of graphs are made and some are kept by TensorFlow: Python would look
    through them for garbage again and again."""
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="module")
def what_stays_is_no_garbage():
    yield
    gc.collect()
    gc.freeze()
