"""What every test needs before TensorFlow starts."""

import os

import pytest

# Workers, and the processes that tests start, share the memory of a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


@pytest.fixture
def sweep(request):
    """Skip a slow test unless `-m sweep` selects it."""
    if "sweep" not in (request.config.getoption("markexpr") or ""):
        pytest.skip("takes minutes: every loss. Run it with pytest -m sweep")
