"""The results of one run: what `check`, `check_loss` and pytest hand out."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, Callable, Generic, Optional, TypeVar

from keras_losses_ref.conformance.report import text

#: What a report holds: the verdicts of `check`, or the `CheckResult`s of `check_loss`.
R = TypeVar("R")


@dataclasses.dataclass
class Report(Generic[R]):
    """The results of one run, and what it ran on."""

    #: `Verdict`s of `check`, or `CheckResult`s of `check_loss`.
    results: list[R]
    environment: dict[str, Any] = dataclasses.field(default_factory=dict)
    #: Deviations that the Keras in use should show, and does not.
    unseen_deviations: list[R] = dataclasses.field(default_factory=list)
    #: What was left out because it takes too long on a GPU: {what: how many cases}.
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    #: Yields the outcomes of cases, to draw the answers around a failure.
    outcomes: Optional[Callable[..., Any]] = None

    @property
    def all_results(self) -> list[R]:
        """The results, and after them the deviations that were not seen."""
        return [*self.results, *self.unseen_deviations]

    @property
    def failures(self) -> list[R]:
        return [result for result in self.all_results if result.failed]

    @property
    def skipped(self) -> list[R]:
        return [result for result in self.results if result.skipped]

    @property
    def ok(self) -> bool:
        """Whether something ran and nothing failed."""
        return not self.failures and len(self.skipped) < len(self.results)

    def text(self, everything: bool = False, verbose: bool = False) -> str:
        """The report for a person; `everything` shows what passed too."""
        return text.render(self, everything, verbose)

    def counts(self, loss: Optional[str] = None) -> dict[str, int]:
        """How many results have each verdict, of all losses or of one."""
        results = [r for r in self.all_results if loss is None or r.loss == loss]
        found = collections.Counter(result.verdict for result in results)
        names = self.results[0].COUNTS if self.results else {}
        return {name: found[verdict] for name, verdict in names.items()}

    def by_loss(self) -> dict[str, list[R]]:
        """The results of each loss, in the order of the alphabet."""
        by_loss = collections.defaultdict(list)
        for result in self.results:
            by_loss[result.loss].append(result)
        return dict(sorted(by_loss.items()))


def merged(reports: Sequence[Report[Any]]) -> Report[Any]:
    """Several reports as one; values that differ in their environments are joined."""
    environment = {}
    for key in reports[0].environment:
        found = dict.fromkeys(str(report.environment[key]) for report in reports)
        environment[key] = ", ".join(filter(None, found))
    if len(reports) == 1:
        environment = reports[0].environment
    return Report(
        [result for report in reports for result in report.results],
        environment,
        [unseen for report in reports for unseen in report.unseen_deviations],
    )
