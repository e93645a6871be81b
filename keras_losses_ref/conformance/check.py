"""The whole flow, cases -> outcomes -> verdicts -> report, as one function."""

import collections
import dataclasses
import fnmatch
import gc
import itertools
import logging
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any, Callable, Optional

from keras_losses_ref.conformance import deviations, runners
from keras_losses_ref.conformance.cases import (
    COMPILED_PATHS,
    DEFAULT,
    HANDWRITTEN,
    Case,
    corpus,
)
from keras_losses_ref.conformance.outcome import Outcome
from keras_losses_ref.conformance.report import Report
from keras_losses_ref.conformance.runtime import BACKEND_NAMES, runtime_info
from keras_losses_ref.conformance.truth import host_rules, right_answer
from keras_losses_ref.conformance.verdict import (
    UnseenDeviation,
    Verdict,
    aspects,
    disagreement,
    judge,
)


class NothingSelected(ValueError):
    """The selection leaves no case to run."""


def select(
    names: Optional[Sequence[str]] = None,
    patterns: Optional[Sequence[str]] = None,
    full: bool = False,
    paths: Optional[Sequence[str]] = None,
    dtypes: Optional[Sequence[str]] = None,
    device: str = "CPU:0",
) -> list[Case]:
    """The cases to run: by loss, by glob over ids, by path, dtype and device.

    The device may be "all": the CPU and every GPU there is.
    """
    cases = corpus(names or HANDWRITTEN, full=full or bool(patterns))
    chosen = [
        case
        for case in _on_devices(cases, device)
        if (not paths or case.path in paths)
        and (not dtypes or case.dtype in dtypes)
        and (not patterns or any(_matches(case.id, p) for p in patterns))
    ]
    if not chosen:
        raise NothingSelected(
            "no case matches the selection. Received: "
            f"losses={names or 'all'}, case={patterns or 'any'}, "
            f"path={paths or 'any'}, dtype={dtypes or 'any'}. "
            "`keras-losses-ref list --cases` shows what there is."
        )
    # Neighbours share what they are compiled with.
    return sorted(chosen, key=_neighbours)


def _neighbours(case):
    return case.device, case.path, case.loss, case.dtype


def _on_devices(cases, device):
    """Each case once for each device it makes sense on."""
    found = runners.load().devices()
    chosen = [name for name in found if name == "CPU:0" or name.startswith("GPU")]
    if device != "all":
        chosen = [name for name in found if name == device]
    if not chosen:
        backend = BACKEND_NAMES[host_rules().backend]
        raise NothingSelected(
            f"{backend} finds no such device. Received: {device!r}. Expected one of: "
            f"{', '.join(found)}, or all. `nvidia-smi` tells whether a driver is there."
        )
    cases = list(cases)
    for name in chosen:
        for case in cases:
            if name.startswith(case.devices):
                yield dataclasses.replace(case, device=name)


def _matches(identifier, pattern):
    # Brackets belong to ids, so they are no glob here.
    pattern = pattern.replace("[", "\0").replace("\0", "[[]")
    return fnmatch.fnmatchcase(identifier, pattern)


#: What is not asked of a GPU by default: what no device changes, what the other cases
#: ask as well, and most of what XLA would have to compile, seconds each time.
_NOT_ON_A_GPU: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("on the paths fit and nested", lambda case: case.path in ("fit", "nested")),
    ("reloaded: a config knows no device", lambda case: case.path == "reloaded"),
    ("forms of input other than a tensor", lambda case: case.form != "tensor"),
    (
        "weights, masks and reductions in other dtypes than float32",
        lambda case: (
            case.dtype != "float32"
            and (case.reduction != DEFAULT or case.sample_weight is not None)
        ),
    ),
)
_UNDER_XLA = "under XLA, all but the first of each loss and what is asked there alone"


def for_gpu(
    cases: Iterable[Case],
) -> tuple[list[Case], collections.Counter[str]]:
    """(the cases that fit in minutes on a GPU, how many are left out for each reason).

    Cases on a CPU all stay.
    """
    kept, left_out, compiled = [], collections.Counter(), set()
    for case in cases:
        reason = None
        if not case.device.startswith("CPU"):
            reasons = (words for words, holds in _NOT_ON_A_GPU if holds(case))
            reason = next(reasons, None)
            if reason is None and case.path == "xla" and "eager" in case.paths:
                reason = _UNDER_XLA if case.loss in compiled else None
                compiled.add(case.loss)
        if reason is None:
            kept.append(case)
        else:
            left_out[reason] += 1
    return kept, left_out


#: Fewer cases than this take less time than starting another process.
_WORTH_A_PROCESS = 1000


def jobs_for(cases: Sequence[Case]) -> int:
    """How many processes are worth while for the cases on a CPU: one a core."""
    number = sum(case.device.startswith("CPU") for case in cases)
    return max(1, min(os.cpu_count() or 1, number // _WORTH_A_PROCESS))


def check(
    cases: Iterable[Case],
    progress: Optional[Callable[[int, Case], object]] = None,
    jobs: int = 1,
) -> Report[Any]:
    """Run the cases on ours, the host's and the oracle, and judge: a `Report`.

    `progress(done, case)` is called as the work proceeds. With several `jobs`, losses
    are shared out to as many processes; but cases on a GPU all run in this one.
    """
    cases = list(cases)
    results = []
    answered = _verdicts(cases)
    if jobs > 1:
        on_cpu = [case for case in cases if case.device.startswith("CPU")]
        others = [case for case in cases if not case.device.startswith("CPU")]
        answered = itertools.chain(_shared_out(on_cpu, jobs), _verdicts(others))
    for done, (case, verdicts) in enumerate(answered, 1):
        results += verdicts
        if progress is not None:
            progress(done, case)
    order = {case.id: index for index, case in enumerate(cases)}
    results.sort(key=lambda result: order[result.id])
    used = sorted({case.device for case in cases})
    return Report(
        results,
        runtime_info(used),
        unseen_deviations=list(_unseen(cases, results)),
        outcomes=outcomes,
    )


def outcomes(cases: Iterable[Case]) -> Iterator[tuple[Case, dict[str, Outcome]]]:
    """Yield (case, {"ours", "keras", "oracle": its outcome}) for each of the cases."""
    evaluate = runners.load().evaluate
    answers = zip(*(evaluate(cases, name) for name in runners.IMPLEMENTATIONS))
    for both in answers:
        case = both[0][0]
        found = dict(zip(runners.IMPLEMENTATIONS, (outcome for _, outcome in both)))
        yield case, {**found, "oracle": right_answer(case)}


def _verdicts(cases):
    """Yield (case, its verdicts)."""
    known = _known({case.loss for case in cases})
    for case, found in outcomes(cases):
        yield case, _judge(case, found, known)


def judged(asked: Iterable[tuple[Case, dict[str, Outcome]]]) -> Iterator[Verdict]:
    """The verdicts on what `outcomes` has yielded."""
    asked = list(asked)
    known = _known({case.loss for case, _ in asked})
    for case, found in asked:
        yield from _judge(case, found, known)


def _judge(case, found, known):
    keeps_nan = runners.load().xla_keeps_nan
    return list(judge(case, **found, deviations=known, keeps_nan=keeps_nan))


def _known(losses):
    """The entries of the ledger that hold for the Keras in use, on its backend."""
    rules = host_rules()
    return deviations.for_version(rules.version, losses, rules.backend)


def _shared_out(cases, jobs):
    """What `_verdicts` yields, from `jobs` processes, in no particular order.

    Processes are spawned: a fork of a process that runs TensorFlow hangs.
    """
    parts = collections.defaultdict(list)
    for case in cases:
        compiled = case.path in COMPILED_PATHS
        parts[case.loss, compiled].append(case)
    # The longest first, so that no process ends much later than the others.
    order = sorted(parts, key=lambda part: (not part[1], part[0] != "CTC"))
    fresh = multiprocessing.get_context("spawn")
    executor = futures.ProcessPoolExecutor(jobs, fresh, _start_worker)
    try:
        running = [executor.submit(_judged, parts[part]) for part in order]
        for part in futures.as_completed(running):
            yield from part.result()
        executor.shutdown()
    except BaseException:  # also an interrupt, which must not wait for the rest
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise


def _start_worker():
    """Ignore SIGINT and silence retracing warnings in workers.

    Thousands of graphs are made and some are kept. Python's garbage collector would
    scan them again and again, for a quarter of the time. `_judged` freezes what stays.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the memory of a GPU is its user's
    gc.set_threshold(50_000, 20, 20)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _judged(cases):
    found = list(_verdicts(cases))
    gc.collect()
    gc.freeze()
    return found


def _unseen(cases, results):
    """A failure for each deviation that some case should show and none does."""
    rules = host_rules()
    unsupported = runners.load().unsupported
    shown = {result.deviation for result in results}
    # What Keras refuses, as another entry says, shows nothing else.
    refused = {r.id for r in results if r.deviation and r.aspect == "error"}
    for entry in _known({case.loss for case in cases}):
        if entry.id in shown:
            continue
        asked = [case for case in cases if entry.applies(case)]
        asked = [c for c in asked if _asks(entry, c) and c.id not in refused]
        asked = [case for case in asked if unsupported(case, "keras") is None]
        if asked and _would_show(entry, asked):
            loss, first = asked[0].loss, asked[0].id
            yield UnseenDeviation(
                *(entry.id, loss, entry.sentence, len(asked), first),
                *(rules.version, rules.backend),
            )


def _asks(entry, case):
    """Whether a case tests what the entry says, and nothing else.

    Reloading may hide how a formula deviates, so a reloaded loss is tested for entries
    about reloading only.
    """
    if case.path != "reloaded":
        return True
    return not entry.applies(dataclasses.replace(case, path="eager"))


def _would_show(entry, cases):
    """Whether the entry's own definition differs from ours on any of the cases."""
    for case in cases:
        deviating, truth = entry.answer(case), right_answer(case)
        if case.expected_error is not None:
            truth = Outcome(error="ValueError")
        if deviating.error or truth.error:
            if bool(deviating.error) != bool(truth.error):
                return True
            continue
        if any(
            disagreement(case, deviating, truth, aspect)
            for aspect in aspects(case)
            if getattr(deviating, aspect) is not None
        ):
            return True
    return False
