"""What came out of a run, as a person, a program or a pull request reads it."""

import dataclasses
from typing import Any, Dict, List


@dataclasses.dataclass
class Report:
    """The results of one run: verdicts of `check`, findings of `check_loss`.

    Each result has `failed` and `skipped` (bool) and `text()`, its lines for a person.
    """

    results: List[Any]
    environment: Dict[str, Any] = dataclasses.field(default_factory=dict)

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
