"""The whole flow, cases -> evaluate -> compare -> report, as one function."""

import fnmatch
import inspect

import numpy as np

from keras_losses_ref import losses
from keras_losses_ref.conformance import compare, deviations
from keras_losses_ref.conformance.cases import HAND, Case, corpus
from keras_losses_ref.conformance.evaluate import (
    IMPLEMENTATIONS,
    Outcome,
    consult,
    environment,
    evaluate,
)
from keras_losses_ref.conformance.report import Report
from keras_losses_ref.losses import host


class NothingSelected(ValueError):
    """The selection leaves no case to run."""


def select(names=None, patterns=None, full=False, paths=None, dtypes=None):
    """The cases to run: by loss, by glob over ids, by path and dtype."""
    available = [name for name in HAND if hasattr(losses, name)]
    cases = corpus(names or available, full=full or bool(patterns))
    chosen = [
        case
        for case in cases
        if case.reduction in host.REDUCTIONS
        and (not paths or case.path in paths)
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
    return sorted(chosen, key=lambda case: (case.path, case.loss, case.dtype))


def _matches(identifier, pattern):
    # Brackets belong to ids, so they are no glob here.
    pattern = pattern.replace("[", "\0").replace("\0", "[[]")
    return fnmatch.fnmatchcase(identifier, pattern)


def check(cases, device="CPU:0", progress=None):
    """Ask ours, the host's and the oracle, and say who is right: a Report.

    `progress(done, case)` is called after each case.
    """
    cases = list(cases)
    ledger = deviations.ledger(host.VERSION, {case.loss for case in cases})
    answers = zip(*(evaluate(cases, name, device) for name in IMPLEMENTATIONS))
    results = []
    for done, ((case, ours), (_, keras), (_, oracle)) in enumerate(answers, 1):
        results += compare.judge(case, ours, keras, oracle, ledger)
        if progress is not None:
            progress(done, case)
    results += _unmatched(ledger, cases, results)
    return Report(results, environment(device))


def _unmatched(ledger, cases, results):
    """A failure for each entry that applied to a case and showed in none."""
    shown = {result.ledger for result in results}
    for entry in ledger:
        asked = [case for case in cases if entry.applies(case)]
        asked = [case for case in asked if _host_has(case)]
        if not asked or entry.id in shown or not _would_show(entry, asked):
            continue
        case = Case(
            asked[0].loss,
            f"ledger/{entry.id}",
            entry.sentence,
            np.zeros(0),
            np.zeros(0),
        )
        gap = compare.Difference(
            f"{len(asked)} cases meet its condition, first {asked[0].id}"
        )
        yield compare.Verdict(
            case,
            "ledger",
            compare.UNEXPLAINED,
            Outcome(),
            Outcome(),
            Outcome(),
            difference=gap,
            reason=f"the ledger says that Keras {host.VERSION} deviates here, and it "
            f"does not: end the entry's versions before {host.VERSION}",
        )


def _host_has(case):
    """Whether the host has the loss with the arguments of the case at all."""
    cls = getattr(host.keras.losses, case.loss, None)
    return cls is not None and set(case.config) <= set(
        inspect.signature(cls).parameters
    )


def _would_show(entry, cases):
    """Whether the entry's own definition differs from ours on any of the cases."""
    for case in cases:
        deviating, truth = entry.outcome(case), consult(case)
        if case.refused is not None:
            truth = Outcome(error="ValueError")
        if deviating.error or truth.error:
            if bool(deviating.error) != bool(truth.error):
                return True
            continue
        if any(
            compare.disagreement(case, deviating, truth, aspect)
            for aspect in ("value", "gradient")
        ):
            return True
    return False
