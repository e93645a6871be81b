"""Drop TensorFlow's known notices from stderr, and pass everything else on.

TensorFlow's C++ code writes to the file descriptor of stderr, past Python: which CPU it
was built for, that oneDNN is on, that a plugin was registered twice, what the graph
optimizer did to a loop. A separate process reads that descriptor and drops the lines
that `NOTICES` lists. So the last lines of a run that crashes arrive too, and worker
processes are covered. What Python writes goes to the terminal directly.

Run as a script, this module is that process. It imports the standard library only.
"""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator

#: Known notices of the host, by their text. None asks the user to change anything.
NOTICES = (
    r"All log messages before absl::InitializeLog\(\) is called",
    r"oneDNN custom operations are on",
    r"oneDNN supports DT_\w+ only on platforms with AVX",
    r"This TensorFlow binary is optimized ",
    r"To enable the following instructions: ",
    r"To enable them in other operations, rebuild TensorFlow",
    r"Could not find cuda drivers on your machine, GPU will not be used",
    r"Unable to register cu(DNN|FFT|BLAS) factory",
    r"computation_placer(\.cc:\d+\]? computation placer)? already registered",
    r"TF-TRT Warning: Could not find TensorRT",
    r"libcuda reported version is|kernel driver does not appear to be running on this",
    r"failed call to cuInit: .*(UNKNOWN ERROR \(303\)|CUDA_ERROR_NO_DEVICE)",
    r"retrieving CUDA diagnostic information for host|: hostname: ",
    r"libcuda\.so\.1: cannot open shared object file",
    r"env: CUDA_VISIBLE_DEVICES=",
    r"verbose logging is disabled\. Rerun with verbose logging",
    r"XLA service 0x[0-9a-f]+ initialized for platform|StreamExecutor device \(\d+\)",
    r"Compiled cluster using XLA!  This line is logged at most once",
    r"MLIR V1 optimization pass is not enabled",
    r"The `?MLIR crash reproducer`? env|disabling MLIR crash reproducer",
    r"NodeDef mentions attribute \w+ which is not in the op definition",
    r"Local rendezvous is aborting with status: (OUT_OF_RANGE: End of sequence"
    r"|CANCELLED)",
    r"[Ss]low operation|Constant folding an instruction is taking > |Very slow compile",
)

#: The graph optimizer reports each failed attempt on a loop in several lines and goes
#: on without it. The first line matches one of these; the others are indented.
ATTEMPTS = (
    r"loc\(.*error: .*'tfg\.While' op ",
    r".*error: 'tfg\.While' op ",
    r".*\] tfg_optimizer\{.*\} failed: ",
)

_NOTICE = re.compile("|".join(NOTICES))
_ATTEMPT = re.compile("|".join(ATTEMPTS))


def is_notice(line: str) -> bool:
    """Whether a line is, or begins, a known notice."""
    return bool(_NOTICE.search(line) or _ATTEMPT.match(line))


def kept(lines: Iterable[str]) -> Iterator[str]:
    """The lines that are not known notices."""
    in_attempt = False
    for line in lines:
        belongs = in_attempt and re.match(r"\s+when importing GraphDef|\s*$", line)
        in_attempt = bool(belongs or _ATTEMPT.match(line))
        if not in_attempt and not is_notice(line):
            yield line


@contextlib.contextmanager
def filtered() -> Iterator[None]:
    """Drop known notices from file descriptor 2 of this process and its children.

    `sys.stderr` keeps the terminal: progress bars and our messages are not filtered.
    """
    if os.name == "nt":  # no process outlives a console's Ctrl-C there
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    reader = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,  # Ctrl-C is for us: it reads to the end
    )
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()
    python, sys.stderr = (
        sys.stderr,
        os.fdopen(os.dup(terminal), "w", buffering=1, errors="backslashreplace"),
    )
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = python
        os.dup2(terminal, 2)  # the last writer of ours: the reader sees the end
        os.close(terminal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            reader.wait(timeout=5)  # a child that hangs on holds the pipe open


def _main():
    for line in kept(sys.stdin):
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    sys.stdin.reconfigure(errors="surrogateescape")
    sys.stdout.reconfigure(errors="surrogateescape")
    _main()
