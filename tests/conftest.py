"""What every test needs before TensorFlow starts."""

import os

# Workers, and the processes that tests start, share the memory of a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
