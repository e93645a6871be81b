"""What every test needs before TensorFlow starts."""

import os

import pytest

# Workers, and the processes that tests start, share the memory of a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


@pytest.fixture
def sweep(request):
    """For what takes minutes and is marked so: it runs when it is asked for."""
    if "sweep" not in (request.config.getoption("markexpr") or ""):
        pytest.skip("every loss there is, for minutes: pytest -m sweep")
