"""What every style of a report states: coverage, skips, known deviations, verdict."""

import collections
from typing import TYPE_CHECKING, Any, Optional

from keras_losses_ref.conformance import runtime
from keras_losses_ref.conformance.deviations import DEVIATIONS, Deviation
from keras_losses_ref.conformance.verdict import UnseenDeviation, Verdict

if TYPE_CHECKING:
    from keras_losses_ref.conformance.report.report import Report


def coverage(report: "Report[Any]") -> dict[str, dict[str, Any]]:
    """{loss: what ran}: arguments, reductions, dtypes, paths, devices, how many cases.

    What was skipped is not covered. For a loss of the user's own: the checks.
    """
    covered = {}
    for loss, results in report.by_loss().items():
        ran = [result for result in results if not result.skipped]
        if isinstance(results[0], Verdict):
            cases = {result.id: result.case for result in ran}
            found = {
                "arguments": {name for case in cases.values() for name in case.config},
                "reductions": {str(case.reduction) for case in cases.values()},
                "dtypes": {case.dtype for case in cases.values()},
                "paths": {case.path for case in cases.values()},
                "devices": {case.device for case in cases.values()},
                "forms": {case.form for case in cases.values()},
                "warnings": {
                    case.expected_warning
                    for case in cases.values()
                    if case.expected_warning is not None
                },
            }
            covered[loss] = {kind: sorted(names) for kind, names in found.items()}
            covered[loss]["cases"] = len(cases)
        else:
            covered[loss] = {"checks": sorted(result.aspect for result in ran)}
            covered[loss]["cases"] = len(ran)
    return covered


def skips(report: "Report[Any]") -> list[tuple[str, str, int, str]]:
    """[(reason, loss, how many cases, one of them)] of what was not asked or compared.

    A case that this Keras has no loss, argument or reduction for is compared between
    ours and the oracle alone; that is not skipped, but is no three-way verdict either.
    """
    found = collections.defaultdict(list)
    for result in report.results:
        reason = result.reason if result.skipped else _not_compared(result)
        if reason:
            found[reason, result.loss].append(result.id)
    rows = [
        (reason, loss, len(set(ids)), ids[0]) for (reason, loss), ids in found.items()
    ]
    return sorted(rows, key=lambda row: (-row[2], row))


def _not_compared(result):
    """Why ours was compared with the oracle alone, or None."""
    if not isinstance(result, Verdict):
        return None
    reason = result.keras.unsupported
    if not reason or reason.startswith("refused"):
        return None
    return f"not compared with Keras: {reason}"


def known(report: "Report[Any]") -> dict[Deviation, int]:
    """{entry of the ledger: how often its deviation was seen}, for this Keras."""
    if not of_check(report):
        return {}
    seen = collections.Counter(verdict.deviation for verdict in report.results)
    entries = {entry.id: entry for entry in DEVIATIONS}
    return {entries[name]: seen[name] for name in sorted(filter(None, seen))}


def where(report: "Report[Any]") -> str:
    """What it ran on, for a line."""
    env = report.environment
    package = env["keras_package"]
    package = "Keras" if package == "keras" else package
    devices = dict.fromkeys(name.split(":")[0] for name in env["device"].split(", "))
    words = f"{runtime.named(env)}, {package} {env['keras']}, "
    words += " and ".join(devices)
    # What a loss of the user's own was asked with.
    return f"{words}, domain {env['domain']}" if env.get("domain") else words


def rerun(verdict: Verdict) -> str:
    """The command that asks for one case again."""
    case = verdict.case
    device = "" if case.device == "CPU:0" else f" --device {case.device}"
    return f"keras-losses-ref check {case.loss} --case '{case.id}'{device}"


def explained(report: "Report[Any]", result: Any) -> str:
    """A result's own lines, what it ran on, and how to run it again."""
    lines = [result.text()]
    if isinstance(result, (Verdict, UnseenDeviation)):
        lines.append(f"  {where(report)}")
    if isinstance(result, Verdict):
        lines.append(f"  rerun: {rerun(result)}")
    return "\n".join(lines)


def summary(report: "Report[Any]") -> str:
    """One line: the verdict, and how many results have each."""
    return f"{verdict(report)}: {counted(report, zeros=True)}"


def verdict(report: "Report[Any]") -> str:
    """The verdict, in a line that fits a terminal."""
    asked = len({result.id for result in report.all_results})
    head = "conforms" if report.ok else "DEVIATES"
    return f"{head}: {asked} {noun(report)} on {where(report)}"


def counted(
    report: "Report[Any]", loss: Optional[str] = None, zeros: bool = False
) -> str:
    """How many results have each verdict, of all losses or of one, in words."""
    words = ", ".join(
        f"{number} {_WORDS.get(name, name)}"
        for name, number in report.counts(loss).items()
        if number or zeros
    )
    if loss is None and is_two_way(report):
        words += f"; two-way: {OURS_NOT_ASKED}"
    missing = report.environment.get("not_checked") if loss is None else None
    return f"{words}; ends not checked: {missing}" if missing else words


def guessed(report: "Report[Any]") -> str:
    """A line about the domain if it was guessed, else ""."""
    env = report.environment
    how = env.get("domain_chosen") or "as given"
    if how == "as given":
        return ""
    return (
        f"guess: domain {env['domain']}, {how}. If that is not what the loss takes, "
        "name it: domain=... or --domain"
    )


#: Why a report on another backend compares Keras with the definition only.
OURS_NOT_ASKED = "ours run on TensorFlow only"


def is_two_way(report: "Report[Any]") -> bool:
    """Whether ours could not run, so that only Keras and the oracle are compared."""
    backend = report.environment.get("backend", "tensorflow")
    return of_check(report) and backend != "tensorflow"


def noun(report: "Report[Any]") -> str:
    """What the results are results of, in a word."""
    return "cases" if of_check(report) else "checks"


def of_check(report: "Report[Any]") -> bool:
    """Whether these are the verdicts of `check`, not the results of `check_loss`."""
    return all(isinstance(result, Verdict) for result in report.results)


_WORDS = {
    "ledger": "as the ledger says",
    "ours_wrong": "ours wrong",
    "oracle_suspect": "oracle suspect",
}
