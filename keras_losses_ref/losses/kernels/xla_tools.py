"""Whether XLA finds what it compiles for a GPU with: ptxas and libdevice."""

import functools
import os
import re
import shutil
import sys

import tensorflow as tf


def roots() -> list[str]:
    """Where XLA looks for a CUDA toolkit, as in its cuda_root_path.cc."""
    named = os.environ.get("XLA_FLAGS", "")
    package = os.path.dirname(tf.__file__)
    wheels = os.path.join(os.path.dirname(package), "nvidia")
    return [
        *re.findall(r"--xla_gpu_cuda_data_dir=(\S+)", named),
        *(os.path.join(wheels, wheel) for wheel in ("cuda_nvcc", "cu13")),
        *(os.path.join(package, "cuda"), sys.prefix, "/usr/local/cuda", "/opt/cuda"),
    ]


@functools.cache
def missing() -> tuple[str, ...]:
    """The tools that are not found; with none missing XLA can compile."""
    inside = {"ptxas": "bin/ptxas", "libdevice": "nvvm/libdevice/libdevice.10.bc"}
    return tuple(
        tool
        for tool, file in inside.items()
        if not shutil.which(tool)
        and not any(os.path.isfile(os.path.join(root, file)) for root in roots())
    )
