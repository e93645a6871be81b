"""What every test needs before TensorFlow starts."""

import gc
import os

import pytest

# Workers, and the processes that tests start, share the memory of a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


@pytest.fixture
def sweep(request):
    """Skip a slow test unless `-m sweep` selects it."""
    if "sweep" not in (request.config.getoption("markexpr") or ""):
        pytest.skip("takes minutes: every loss. Run it with pytest -m sweep")


def pytest_configure():
    """Collect garbage less often: TensorFlow keeps thousands of graphs to scan."""
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="module")
def freeze_what_stays():
    """Keep the objects of finished modules out of later garbage collections."""
    yield
    gc.collect()
    gc.freeze()
