"""A report, and what every style of it states."""

import collections
import dataclasses
from typing import Any


@dataclasses.dataclass
class Report:
    """The results of one run, and what it ran on."""

    results: list[Any]
    environment: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def failures(self):
        return [result for result in self.results if result.failed]

    @property
    def skipped(self):
        return [result for result in self.results if result.skipped]

    @property
    def ok(self):
        """Whether something ran, and nothing of it failed."""
        return not self.failures and len(self.skipped) < len(self.results)

    def text(self, everything=False):
        """The report for a person; `everything` shows what passed too."""
        from keras_losses_ref.conformance.report import text

        return text.render(self, everything)

    def counts(self, results=None):
        """How many of the results have each verdict, by the verdicts' short names."""
        results = self.results if results is None else results
        found = collections.Counter(result.verdict for result in results)
        names = self.results[0].COUNTS if self.results else {}
        return {name: found[verdict] for name, verdict in names.items()}

    def by_loss(self):
        """The results of each loss, in the order of the alphabet."""
        by_loss = collections.defaultdict(list)
        for result in self.results:
            by_loss[result.loss].append(result)
        return dict(sorted(by_loss.items()))


def merged(reports):
    """Several reports as one; what their environments differ in is joined."""
    environment = {}
    for key in reports[0].environment:
        found = dict.fromkeys(str(report.environment[key]) for report in reports)
        environment[key] = ", ".join(filter(None, found))
    if len(reports) == 1:
        environment = reports[0].environment
    return Report([r for report in reports for r in report.results], environment)


def coverage(report):
    """{loss: what ran}: arguments, reductions, dtypes, paths, devices, how many cases.

    What was skipped is not covered. For a loss of the user's own: the checks.
    """
    covered = {}
    for loss, results in report.by_loss().items():
        ran = [result for result in results if not result.skipped]
        if hasattr(results[0], "case"):
            cases = {r.id: r.case for r in ran if r.aspect != "ledger"}
            found = {
                "arguments": {name for case in cases.values() for name in case.config},
                "reductions": {str(case.reduction) for case in cases.values()},
                "dtypes": {case.dtype for case in cases.values()},
                "paths": {case.path for case in cases.values()},
                "devices": {case.device for case in cases.values()},
            }
            covered[loss] = {kind: sorted(names) for kind, names in found.items()}
            covered[loss]["cases"] = len(cases)
        else:
            covered[loss] = {"checks": sorted(result.aspect for result in ran)}
            covered[loss]["cases"] = len(ran)
    return covered


def skips(report):
    """[(reason, loss, how many cases, one of them)] of what was not asked or compared.

    A case that this Keras has no loss, argument or reduction for is compared between
    ours and the oracle alone; that is not skipped, but is no three-way verdict either.
    """
    found = collections.defaultdict(list)
    for result in report.results:
        absent = getattr(getattr(result, "keras", None), "unsupported", None)
        reason = None
        if result.skipped:
            reason = result.reason
        elif absent and not absent.startswith("refused"):
            reason = f"not compared with tf.keras: {absent}"
        if reason:
            found[reason, result.loss].append(result.id)
    rows = [
        (reason, loss, len(set(ids)), ids[0]) for (reason, loss), ids in found.items()
    ]
    return sorted(rows, key=lambda row: (-row[2], row))


def known(report):
    """{entry of the ledger: how often its deviation was seen}, for this Keras."""
    seen = collections.Counter(getattr(r, "deviation", None) for r in report.results)
    seen.pop(None, None)
    if not seen:
        return {}
    from keras_losses_ref.conformance.deviations import DEVIATIONS

    entries = {entry.id: entry for entry in DEVIATIONS}
    return {entries[name]: seen[name] for name in sorted(seen)}


def where(report):
    """What it ran on, for a line."""
    env = report.environment
    package = env["keras_package"]
    package = "Keras" if package == "keras" else package
    devices = dict.fromkeys(name.split(":")[0] for name in env["device"].split(", "))
    words = f"TensorFlow {env['tensorflow']}, {package} {env['keras']}, "
    words += " and ".join(devices)
    # What a loss of the user's own was asked with.
    return f"{words}, domain {env['domain']}" if env.get("domain") else words


def rerun(result):
    """The command that asks for one result again, or None."""
    case = getattr(result, "case", None)
    if case is None or result.aspect == "ledger":
        return None
    device = "" if case.device == "CPU:0" else f" --device {case.device}"
    return f"keras-losses-ref check {case.loss} --case '{case.id}'{device}"


def explained(report, result):
    """A result's own lines, what it ran on, and how to run it again."""
    lines = [result.text()]
    if hasattr(result, "case"):
        lines.append(f"  {where(report)}")
    if rerun(result):
        lines.append(f"  rerun: {rerun(result)}")
    return "\n".join(lines)


def summary(report):
    """One line: does it conform, and how much was asked."""
    words = ", ".join(
        f"{number} {_WORDS.get(name, name)}" for name, number in report.counts().items()
    )
    asked = len({result.id for result in report.results})
    head = "conforms" if report.ok else "DEVIATES"
    line = f"{head}: {asked} {noun(report)} on {where(report)}: {words}"
    missing = report.environment.get("not_checked")
    return f"{line}; ends not checked: {missing}" if missing else line


def guessed(report):
    """A line on the domain, where nobody has named it; "" where somebody has."""
    env = report.environment
    how = env.get("domain_chosen") or "as given"
    if how == "as given":
        return ""
    return (
        f"guess: domain {env['domain']}, {how}. If that is not what the loss takes, "
        "name it: domain=... or --domain"
    )


def noun(report):
    """What was asked, in a word."""
    return "cases" if of_check(report) else "checks"


def of_check(report):
    """Whether these are the verdicts of `check`, not the findings of `check_loss`."""
    return all(hasattr(result, "case") for result in report.results)


_WORDS = {
    "ledger": "as the ledger says",
    "ours_wrong": "ours wrong",
    "oracle_suspect": "oracle suspect",
}
