"""Record what every loss does in this environment.

Keras's losses, ours and the user's own are run on the corpus of cases (not the user's,
which it does not cover), saved and loaded, and used in a small training. Their public
names, arguments, defaults and configs are recorded too. Nothing is judged here;
`compare` does that with two records.
"""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from typing import Callable, Optional

import numpy as np

from keras_losses_ref.conformance import check, deviations, files, runners, runtime
from keras_losses_ref.conformance.cases import HANDWRITTEN, Case
from keras_losses_ref.conformance.parity import record_file
from keras_losses_ref.conformance.verdict import AGREE, ORACLE_SUSPECT, OURS_WRONG

#: The aspects of an outcome that are arrays.
_ARRAYS = ("value", "gradient", "second")


def select(
    patterns: Optional[Sequence[str]] = None,
    paths: Optional[Sequence[str]] = None,
    device: str = "CPU:0",
) -> tuple[list[Case], list[str]]:
    """(cases, names of losses) to record: all of them unless `patterns` are given.

    A pattern with a slash is over the ids of the corpus. One without is over the
    answers of a loss as a whole, "Huber(delta=0.6)[.keras]", and selects the loss.
    """
    everything = [*HANDWRITTEN]
    if patterns is None:
        return check.select(paths=paths, device=device), everything
    of_cases = [pattern for pattern in patterns if "/" in pattern]
    of_losses = [pattern for pattern in patterns if "/" not in pattern]
    cases = []
    if of_cases or not of_losses:
        cases = check.select(patterns=of_cases, paths=paths, device=device)
    asked = {re.split(r"[(\[]", pattern)[0] for pattern in of_losses}
    names = [n for n in everything if any(fnmatch.fnmatchcase(n, a) for a in asked)]
    # Public names are asked in any case: `get('mse')`, `huber`, `Loss(reduction=...)`.
    public = {*runners.load("lifecycle").public_names(), *names, "get", "Loss"}
    unknown = [a for a in asked if not fnmatch.filter(public, a)]
    if unknown:
        raise check.NothingSelected(
            f"no loss has this name. Received: {', '.join(unknown)}. Expected one "
            f"of: {', '.join(everything)}, or the id of a case."
        )
    return cases, names


def where(found: record_file.Record) -> str:
    """The versions of a record in a few words."""
    environment = found.environment
    package, version = environment["keras_package"], environment["keras"]
    return f"{runtime.named(environment)}, {package} {version}"


def record(
    cases: Sequence[Case],
    names: Iterable[str],
    targets: Iterable[str] = (),
    models: Iterable[tuple[str, str]] = (),
    progress: Optional[Callable[[int, str], object]] = None,
) -> record_file.Record:
    """The answers of this environment as a `record_file.Record`.

    cases     of the corpus
    names     of the losses to save, load and train with
    targets   losses of the user's own, "package.module:name"
    models    pairs of a model's file and an .npz with x, y and perhaps sample_weight
    progress  called with (number of answers, what is being recorded)
    """
    answers = {}
    done = 0

    def step(what):
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, what)

    lifecycle = runners.load("lifecycle")
    losses = {target: lifecycle.load_target(target) for target in targets}
    result = check.check(
        cases,
        lambda _, case: step(f"{case.loss} {case.path}"),
        jobs=check.jobs_for(cases),
    )
    answers.update(_of_cases(result.results))
    for implementation in runners.IMPLEMENTATIONS:
        answers.update(lifecycle.public_answers(implementation))
        for name in names:
            answers.update(lifecycle.answers_of_builtin(implementation, name))
            if implementation == "ours":  # Keras's are done by then
                step(f"{name} saved and trained")
    for target, loss in losses.items():
        answers.update(lifecycle.answers_of_loss(target.partition(":")[2], loss))
        step(target)
    for model, data in models:
        answers.update(lifecycle.answers_of_model(model, data))
        step(model)
    matched = {
        name
        for answer in answers.values()
        for name in answer.get("matches", {}).values()
    }
    entries = {
        entry.id: {"sentence": entry.sentence, "thread": entry.thread}
        for entry in deviations.DEVIATIONS
        if entry.id in matched
    }
    return record_file.Record(answers, result.environment, entries)


def _of_cases(results):
    """The outcomes behind the verdicts of `check`, and whose answer each one is."""
    answers = {}
    for verdict in results:
        for implementation in ("keras", "ours"):
            identifier = f"{implementation}:{verdict.id}"
            if identifier not in answers:
                outcome = getattr(verdict, implementation)
                answers[identifier] = _answer(verdict.case, outcome)
            answers[identifier]["matches"][verdict.aspect] = _whose(
                verdict, implementation
            )
    for answer in answers.values():
        # What was not judged is nobody's; what is the definition's needs no words.
        judged = answer["matches"]
        if judged.get("shape", "definition") != "definition":
            judged["value"] = judged["shape"]  # values of two shapes are not compared
        taken = judged.get("error")  # by an entry: the definition has no value here
        unjudged = None if taken == "definition" else taken
        for aspect in {*_ARRAYS, "config", "dtype"} & set(answer):
            judged.setdefault(aspect, unjudged)
        answer["matches"] = {k: v for k, v in judged.items() if v != "definition"}
    return answers


def _answer(case, outcome):
    answer = {"loss": case.loss, "matches": {}}
    if outcome.unsupported is not None:
        answer["absent"] = outcome.unsupported
    for aspect in ("error", "dtype"):
        if getattr(outcome, aspect) is not None:
            answer[aspect] = getattr(outcome, aspect)
    for aspect in _ARRAYS:
        found = getattr(outcome, aspect, None)
        if found is None:
            continue
        if aspect != "value" and np.shape(found) == case.y_pred.shape:
            # There is no derivative at a NaN: whatever stands there is no change.
            found = np.where(np.isnan(case.y_pred), np.nan, found)
        answer[aspect] = files.plain(found, outcome.dtype)
    if getattr(outcome, "config", None) is not None:
        answer["config"] = files.plain_config(outcome.config)
    return answer


def _whose(verdict, implementation):
    """The definition's, a ledger entry's, or nobody's (None)."""
    if verdict.skipped or getattr(verdict, implementation).unsupported:
        return None
    if implementation == "ours":
        wrong = (OURS_WRONG, ORACLE_SUSPECT)
        return None if verdict.verdict in wrong else "definition"
    if verdict.verdict == AGREE:
        return "definition"
    return verdict.deviation
