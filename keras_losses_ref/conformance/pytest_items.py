"""The corpus as pytest collects it: a node for each loss, and in it a test per case.

The first test of a loss evaluates all of its selected cases, since compiling them
together takes seconds and one by one minutes. The others look their verdicts up.
pytest-xdist's `--dist loadscope` keeps the tests of a loss in one worker.
"""

import collections
import difflib
import functools
from collections.abc import Iterator
from typing import Any

import pytest

from keras_losses_ref.conformance import check, report
from keras_losses_ref.conformance.cases import HANDWRITTEN, Case
from keras_losses_ref.conformance.verdict import COUNTS


class Deviates(Exception):
    """A failed case; the message is the report's."""


class Corpus(pytest.File):
    """What `--losses-ref` selects of the corpus, loss by loss.

    verdicts_property  the name of the property in which a test carries its verdicts
    """

    def __init__(self, *, verdicts_property: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verdicts_property = verdicts_property

    def collect(self) -> Iterator[pytest.Collector]:
        wanted = self.config.getoption("losses_ref") or "all"
        for loss in HANDWRITTEN if wanted == "all" else wanted.split(","):
            if loss not in HANDWRITTEN:
                close = difflib.get_close_matches(loss, HANDWRITTEN, n=3, cutoff=0.4)
                raise self.CollectError(
                    f"--losses-ref: unknown loss. Received: {loss!r}. Expected all, or "
                    f"with commas between them: {', '.join(close or HANDWRITTEN)}."
                )
            yield Loss.from_parent(self, name=loss)


class Loss(pytest.Collector):
    """The cases of one loss, and what the ledger says of it."""

    def collect(self) -> Iterator[pytest.Item]:
        option = self.config.getoption
        try:
            cases = check.select(
                [self.name],
                full=option("losses_ref_full"),
                device=option("losses_ref_device"),
            )
        except check.NothingSelected as error:
            raise self.CollectError(str(error)) from None
        for case in cases:
            yield CaseItem.from_parent(self, name=case.id, case=case)
        yield DeviationsItem.from_parent(self, name="ledger")

    @functools.cached_property
    def report(self) -> Any:
        """The check of those cases that were selected."""
        items = self.session.items
        chosen = [i.case for i in items if i.parent is self and isinstance(i, CaseItem)]
        return check.check(chosen)

    @functools.cached_property
    def verdicts(self) -> dict[str, list[Any]]:
        found = collections.defaultdict(list)
        for verdict in self.report.results:
            found[verdict.id].append(verdict)
        found["ledger"] = self.report.unseen_deviations
        return found


class _Item(pytest.Item):
    """Fail with the report's text for each verdict that failed."""

    def runtest(self):
        verdicts = self.parent.verdicts[self.name]
        names = {verdict: name for name, verdict in COUNTS.items()}
        said = " ".join(names[verdict.verdict] for verdict in verdicts)
        name = self.parent.parent.verdicts_property
        self.user_properties.append((name, said))
        failures = [verdict for verdict in verdicts if verdict.failed]
        if failures:
            texts = [report.explained(self.parent.report, v) for v in failures]
            raise Deviates("\n\n".join(texts))
        if verdicts and all(verdict.skipped for verdict in verdicts):
            pytest.skip(verdicts[0].reason)

    def repr_failure(self, excinfo):
        if isinstance(excinfo.value, Deviates):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, f"{self.parent.name}: {self.name}"


class CaseItem(_Item):
    """One case: does every aspect of it agree?"""

    def __init__(self, *, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case


class DeviationsItem(_Item):
    """Whether each entry of the ledger that the cases meet shows in one of them."""
