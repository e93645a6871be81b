"""What came out of a run, as a person, a program or a pull request reads it."""

import collections
import dataclasses
import io
import json
import math
from typing import Any
from xml.etree import ElementTree

from keras_losses_ref.conformance import compare

SCHEMA = 1
#: The verdicts by the names that reports count them under, in the order of a table.
COUNTS = {
    "agree": compare.AGREE,
    "ledger": compare.LEDGER,
    "unexplained": compare.UNEXPLAINED,
    "ours_wrong": compare.OURS_WRONG,
    "oracle_suspect": compare.ORACLE_SUSPECT,
    "skipped": compare.SKIPPED,
}


@dataclasses.dataclass
class Report:
    """The results of one run: verdicts of `check`, findings of `check_loss`.

    Each result has `failed` and `skipped` (bool) and `text()`, its lines for a person.
    """

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
        """Every finding that is not simply passed, then one line that counts them."""
        shown = [
            result
            for result in self.results
            if everything or getattr(result, "status", None) != "passed"
        ]
        passed = len(self.results) - len(self.failures) - len(self.skipped)
        verdict = "fit" if self.ok else "NOT FIT"
        lines = [result.text() for result in shown]
        lines.append(
            f"{verdict}: {passed} passed, {len(self.failures)} failed, "
            f"{len(self.skipped)} skipped"
        )
        return "\n".join(lines) + "\n"


def counts(results):
    """How many results have each verdict."""
    found = collections.Counter(result.verdict for result in results)
    return {name: found[verdict] for name, verdict in COUNTS.items()}


def coverage(results):
    """Per loss: which arguments, reductions, dtypes and paths ran, and how many."""
    covered = {}
    for result in results:
        case = result.case
        kinds = ("arguments", "reductions", "dtypes", "paths", "cases")
        loss = covered.setdefault(case.loss, {kind: set() for kind in kinds})
        loss["arguments"].update(case.config)
        loss["reductions"].add(str(case.reduction))
        loss["dtypes"].add(case.dtype)
        loss["paths"].add(case.path)
        loss["cases"].add(case.id)
    return {
        name: {
            key: len(value) if key == "cases" else sorted(value)
            for key, value in loss.items()
        }
        for name, loss in sorted(covered.items())
    }


def render(report, style="text", everything=False):
    """The report as one string, in one of `STYLES`."""
    return STYLES[style](report, everything)


#: Wide enough for the longest name of a loss and every count beside it.
_WIDTH = 114


def _text(report, everything):
    """Tables for a person: the losses, what Keras is known for, and every failure."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "The text report needs rich. Install it with pip install "
            "'keras-losses-ref[cli]', or ask for --format json.",
            name="rich",
        ) from None
    stream = io.StringIO()
    console = Console(file=stream, width=_WIDTH, highlight=False)

    table = Table(title="Ours, tf.keras and the definition", title_justify="left")
    table.add_column("loss", no_wrap=True)
    for column in ("cases", *COUNTS, "worst ulp"):
        table.add_column(column.replace("_", "\n").replace("worst ", "worst\n"))
        table.columns[-1].justify = "right"
    for loss, results in _by_loss(report).items():
        cases = len({result.id for result in results})
        numbers = [str(number or ".") for number in counts(results).values()]
        table.add_row(loss, str(cases), *numbers, _worst(results))
    console.print(table)
    console.print(
        "Each case counts once per aspect: value, gradient, shape, dtype, error. "
        "Worst ulp: ours against the oracle, float32 values.\n",
        style="dim",
    )

    known = collections.Counter(r.ledger for r in report.results if r.ledger)
    if known:
        from keras_losses_ref.conformance.deviations import DEVIATIONS

        sentences = {entry.id: entry.sentence for entry in DEVIATIONS}
        table = Table(title="Where this Keras is known to deviate, and does")
        table.title_justify = "left"
        table.add_column("ledger", no_wrap=True)
        table.add_column("seen", justify="right")
        table.add_column("what it does")
        for identifier, seen in sorted(known.items()):
            table.add_row(identifier, str(seen), sentences[identifier])
        console.print(table)
        console.print()

    lines = [stream.getvalue()]
    where = _where(report)
    shown = report.results if everything else report.failures
    for result in shown:
        lines.append(f"{result.text()}\n  {where}")
        if result.aspect != "ledger":
            lines.append(
                f"  rerun: keras-losses-ref check {result.loss} --case '{result.id}'"
            )
        lines.append("")
    lines.append(summary(report))
    return "\n".join(lines) + "\n"


def _worst(results):
    """The largest error of our float32 values, where the definition is finite."""
    found = [
        result.ulp
        for result in results
        if result.aspect == "value"
        and result.case.dtype == "float32"
        and math.isfinite(result.ulp)
    ]
    return f"{max(found):.3g}" if found else ""


def _where(report):
    env = report.environment
    return (
        f"TensorFlow {env['tensorflow']}, {_keras_name(env)} {env['keras']}, "
        f"{env['device'].split(':')[0]}"
    )


def _keras_name(env):
    return "Keras" if env["keras_package"] == "keras" else env["keras_package"]


def summary(report):
    """One line: does it conform, and how much was asked."""
    number = counts(report.results)
    cases = len({result.id for result in report.results})
    head = "conforms" if report.ok else "DEVIATES"
    words = [
        f"{number['agree']} agree",
        f"{number['ledger']} as the ledger says",
        f"{number['unexplained']} unexplained",
        f"{number['ours_wrong']} ours wrong",
        f"{number['oracle_suspect']} oracle suspect",
        f"{number['skipped']} skipped",
    ]
    return f"{head}: {cases} cases on {_where(report)}: {', '.join(words)}"


def _json(report, everything):
    number = counts(report.results)
    shown = [
        result
        for result in report.results
        if everything or result.verdict != compare.AGREE
    ]
    document = {
        "schema": SCHEMA,
        "environment": report.environment,
        "verdict": "conforms" if report.ok else "deviates",
        "counts": number,
        "coverage": coverage(report.results),
        "results": [_plain(result) for result in shown],
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _markdown(report, everything):
    """Short enough for a comment on a pull request: what failed, then the table."""
    number = counts(report.results)
    mark = "conforms" if report.ok else "**deviates**"
    lines = [f"### keras-losses-ref: {mark}", "", summary(report), ""]
    shown = report.results if everything else report.failures
    for result in shown[:_MARKDOWN_LIMIT]:
        lines += ["```text", result.text(), "```", ""]
    if len(shown) > _MARKDOWN_LIMIT:
        lines += [f"... and {len(shown) - _MARKDOWN_LIMIT} more.", ""]
    lines.append("| loss | cases | " + " | ".join(n.replace("_", " ") for n in number))
    lines[-1] += " |"
    lines.append("|---" + "|---:" * (len(number) + 1) + "|")
    for loss, results in sorted(_by_loss(report).items()):
        cases = len({result.id for result in results})
        row = " | ".join(str(n) for n in counts(results).values())
        lines.append(f"| {loss} | {cases} | {row} |")
    known = collections.Counter(r.ledger for r in report.results if r.ledger)
    if known:
        lines += ["", "Known deviations of this Keras, seen and matched:", ""]
        lines += [f"- `{name}` ({seen})" for name, seen in sorted(known.items())]
    return "\n".join(lines) + "\n"


#: How many failures a comment shows in full.
_MARKDOWN_LIMIT = 20


def _junit(report, everything):
    """One suite per loss and one test per case, as CI servers read it."""
    suites = ElementTree.Element("testsuites", name="keras-losses-ref")
    for loss, results in sorted(_by_loss(report).items()):
        cases = collections.defaultdict(list)
        for result in results:
            cases[result.id].append(result)
        suite = ElementTree.SubElement(suites, "testsuite", name=loss)
        failed = skipped = 0
        for identifier, aspects in cases.items():
            test = ElementTree.SubElement(
                suite, "testcase", classname=f"keras_losses_ref.{loss}", name=identifier
            )
            failures = [result for result in aspects if result.failed]
            if failures:
                failed += 1
                failure = ElementTree.SubElement(
                    test, "failure", message=failures[0].verdict
                )
                failure.text = "\n\n".join(_printable(f.text()) for f in failures)
            elif all(result.skipped for result in aspects):
                skipped += 1
                ElementTree.SubElement(test, "skipped", message=aspects[0].reason)
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(failed))
        suite.set("skipped", str(skipped))
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text):
    """Without the control characters that XML cannot hold."""
    return "".join(c for c in text if c == "\n" or c.isprintable())


def _by_loss(report):
    by_loss = collections.defaultdict(list)
    for result in report.results:
        by_loss[result.loss].append(result)
    return by_loss


def _plain(result):
    """A result as JSON holds it: non-finite numbers as strings."""
    names = {verdict: name for name, verdict in COUNTS.items()}
    return {
        "id": result.id,
        "loss": result.loss,
        "aspect": result.aspect,
        "verdict": names[result.verdict],
        "ours": _answer(result.ours, result.aspect),
        "keras": _answer(result.keras, result.aspect),
        "oracle": _answer(result.oracle, result.aspect),
        "ulp": _finite(result.ulp),
        "ledger": result.ledger,
        "reason": result.reason,
    }


def _answer(outcome, aspect):
    if outcome.absent:
        return {"absent": outcome.absent}
    if outcome.error:
        return {"error": outcome.error}
    answer = getattr(outcome, aspect, None)
    if aspect in ("value", "gradient") and answer is not None:
        return _finite(answer.tolist())
    return list(answer) if isinstance(answer, tuple) else answer


def _finite(number):
    if isinstance(number, list):
        return [_finite(item) for item in number]
    return number if math.isfinite(number) else str(number)


STYLES = {"text": _text, "json": _json, "md": _markdown, "junit": _junit}
