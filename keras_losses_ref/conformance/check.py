"""The whole flow, cases -> evaluate -> compare -> report, as one function."""

import collections
import dataclasses
import fnmatch
import gc
import inspect
import logging
import multiprocessing
import os
import signal
from concurrent import futures

import numpy as np

from keras_losses_ref import losses
from keras_losses_ref.conformance import deviations
from keras_losses_ref.conformance.cases import HANDWRITTEN, Case, corpus
from keras_losses_ref.conformance.evaluate import (
    COMPILED,
    IMPLEMENTATIONS,
    Outcome,
    devices,
    evaluate,
    evaluate_oracle,
    runtime_info,
)
from keras_losses_ref.conformance.report import Report
from keras_losses_ref.conformance.tolerance import Difference
from keras_losses_ref.conformance.verdict import (
    UNEXPLAINED,
    Verdict,
    aspects,
    disagreement,
    judge,
)
from keras_losses_ref.losses import compat


class NothingSelected(ValueError):
    """The selection leaves no case to run."""


def select(
    names=None, patterns=None, full=False, paths=None, dtypes=None, device="CPU:0"
):
    """The cases to run: by loss, by glob over ids, by path, dtype and device.

    The device may be "all": the CPU and every GPU there is.
    """
    available = [name for name in HANDWRITTEN if hasattr(losses, name)]
    cases = corpus(names or available, full=full or bool(patterns))
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
    found = devices()
    chosen = [name for name in found if name == "CPU:0" or name.startswith("GPU")]
    if device != "all":
        chosen = [name for name in found if name == device]
    if not chosen:
        raise NothingSelected(
            f"TensorFlow finds no such device. Received: {device!r}. Expected one of: "
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


#: Fewer cases than this take less time than another process takes to start.
_WORTH_A_PROCESS = 1000


def jobs_for(cases):
    """How many processes are worth while: one a core, and never two on one GPU."""
    if any(not case.device.startswith("CPU") for case in cases):
        return 1
    return max(1, min(os.cpu_count() or 1, len(cases) // _WORTH_A_PROCESS))


def check(cases, progress=None, jobs=1):
    """Ask ours, the host's and the oracle, and say who is right: a Report.

    `progress(done, case)` is called as the work proceeds. With several `jobs`, losses
    are shared out to as many processes.
    """
    cases = list(cases)
    results = []
    answered = _verdicts(cases) if jobs == 1 else _shared_out(cases, jobs)
    for done, (case, verdicts) in enumerate(answered, 1):
        results += verdicts
        if progress is not None:
            progress(done, case)
    order = {case.id: index for index, case in enumerate(cases)}
    results.sort(key=lambda result: order[result.id])
    results += _unmatched(cases, results)
    used = sorted({case.device for case in cases})
    return Report(results, runtime_info(used))


def _verdicts(cases):
    """Yield (case, its verdicts)."""
    entries = deviations.for_version(compat.VERSION, {case.loss for case in cases})
    answers = zip(*(evaluate(cases, name) for name in IMPLEMENTATIONS))
    for (case, ours), (_, keras), (_, oracle) in answers:
        yield case, list(judge(case, ours, keras, oracle, entries))


def _shared_out(cases, jobs):
    """What `_verdicts` yields, out of `jobs` processes; in no particular order.

    Processes are started afresh: a fork of a process that runs TensorFlow hangs.
    """
    parts = collections.defaultdict(list)
    for case in cases:
        compiled = case.path in COMPILED
        parts[case.loss, compiled].append(case)
    # What takes longest first, so that no process ends much later than the others.
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
    """Leave interrupts to the parent, and spare it remarks on retracing.

    Thousands of graphs are made and some are kept: Python would look through them again
    and again for garbage, for a quarter of the time. `_judged` sets aside what stays.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(50_000, 20, 20)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _judged(cases):
    found = list(_verdicts(cases))
    gc.collect()
    gc.freeze()
    return found


def _unmatched(cases, results):
    """A failure for each entry that applied to a case and showed in none."""
    entries = deviations.for_version(compat.VERSION, {case.loss for case in cases})
    shown = {result.deviation for result in results}
    # What Keras refuses, as another entry says, shows nothing else.
    refused = {r.id for r in results if r.deviation and r.aspect == "error"}
    for entry in entries:
        asked = [case for case in cases if entry.applies(case)]
        asked = [case for case in asked if _host_has(case) and _asks(entry, case)]
        asked = [case for case in asked if case.id not in refused]
        if not asked or entry.id in shown or not _would_show(entry, asked):
            continue
        case = Case(
            asked[0].loss,
            f"ledger/{entry.id}",
            entry.sentence,
            np.zeros(0),
            np.zeros(0),
        )
        gap = Difference(f"{len(asked)} cases meet its condition, first {asked[0].id}")
        yield Verdict(
            case,
            "ledger",
            UNEXPLAINED,
            Outcome(),
            Outcome(),
            Outcome(),
            difference=gap,
            reason=f"the ledger says that Keras {compat.VERSION} deviates here, and it "
            f"does not: end the entry's versions before {compat.VERSION}",
        )


def _asks(entry, case):
    """Whether a case asks for what the entry says, and for nothing else.

    What a loss became on reload may hide how its formula deviates, so that only
    entries about reloading are asked of a reloaded loss.
    """
    if case.path != "reloaded":
        return True
    return not entry.applies(dataclasses.replace(case, path="eager"))


def _host_has(case):
    """Whether the host has the loss with the arguments of the case at all."""
    cls = getattr(compat.keras.losses, case.loss, None)
    if cls is None or case.reduction not in compat.REDUCTIONS:
        return False
    return set(case.config) <= set(inspect.signature(cls).parameters)


def _would_show(entry, cases):
    """Whether the entry's own definition differs from ours on any of the cases."""
    for case in cases:
        deviating, truth = entry.answer(case), evaluate_oracle(case)
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
