"""The pages of docs/ are current, what they show exists, and no link is dead."""

import itertools
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import reference_pages
import speed_page

import keras_losses_ref as klr
from keras_losses_ref import cli
from keras_losses_ref.conformance import accuracy, bench, cases, checks, deviations
from keras_losses_ref.conformance.report import accuracy as accuracy_report
from keras_losses_ref.losses import compat

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINKED = [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md"]


def name(path):
    return path.relative_to(ROOT).as_posix()


def prose(path):
    """A page without its code: what looks like a link in there is none."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "``", text)


def anchors(path):
    """What a link may lead to within a page: GitHub's names of headings, and ids."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {word.replace(" ", "-") for word in words} | set(
        re.findall(r'<a id="([^"]+)">', text)
    )


def dead_links(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (path.parent / file).resolve() if file else path
        if not there.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(there):
            yield f"{target}: no such heading"


@pytest.mark.parametrize("path", LINKED, ids=name)
def test_no_link_is_dead(path):
    assert not list(dead_links(path))


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        '# A `b` c\n<a id="row"></a>\n[1](#a-b-c) [2](page.md#row) [3](https://x.y/z)\n'
        "[4](#nowhere) [5](gone.md) ![6](gone.svg)\n```\n[7](code.md)\n```\n"
        "`[8](code.md)` [`9`](page.md#rows)\n",
        encoding="utf-8",
    )
    found = [line.partition(":")[0] for line in dead_links(page)]
    assert found == ["#nowhere", "gone.md", "gone.svg", "page.md#rows"]


@pytest.mark.skipif(
    compat.GENERATION == 2, reason="defaults on the page are of Keras 3"
)
@pytest.mark.parametrize("page", reference_pages.PAGES)
def test_a_printed_page_is_current(page):
    written = (DOCS / page).read_text(encoding="utf-8")
    assert written == reference_pages.PAGES[page](DOCS), (
        "print it again: nox -s docs-pages"
    )


def test_the_atlas_is_printed_from_its_numbers():
    folder = DOCS / "atlas"
    found = accuracy_report.load(folder)
    assert (folder / "atlas.json").read_text("utf-8") == accuracy_report.dumps(found)
    page = (folder / "README.md").read_text("utf-8")
    assert page == accuracy_report.page(found), "make it again: nox -s atlas"
    # Every loss on every path, and a picture of each.
    asked = {(row.subject, row.dtype, row.path) for row in found["cells"]}
    names = [subject.name for subject in accuracy.SPECS]
    assert asked == set(itertools.product(names, accuracy.DTYPES, accuracy.PATHS))
    pictures = {path.stem for path in folder.glob("*.svg")}
    assert pictures == {subject.slug for subject in accuracy.SPECS}


def test_a_changed_number_of_the_atlas_shows():
    found = accuracy_report.load(DOCS / "atlas")
    worse = (float("inf"),) * 3
    rows = [row._replace(ours=worse) for row in found["cells"]]
    assert "| `Huber` | inf / 1.8 (1.9) |" in "\n".join(accuracy_report.by_loss(rows))
    assert accuracy_report.page({**found, "cells": rows}) != accuracy_report.page(found)


def test_the_page_of_speed_is_printed_from_its_runs():
    runs, *others = speed_page.load(DOCS / "speed")
    assert len(runs) >= 3
    page = (DOCS / "speed" / "README.md").read_text("utf-8")
    assert page == speed_page.page(runs, *others), "make it again: nox -s bench"
    # One environment; every cell, and the first of each loss and path in all runs.
    assert len({repr(run["environment"]) for run in runs}) == 1
    every, often = (
        {(place[0].name, *place[1:]) for place in bench.cells_to_measure(fast=fast)}
        for fast in (False, True)
    )
    found = speed_page.cells(runs)
    assert set(found) == every
    assert {place for place in found if len(found[place]) == len(runs)} == often


def test_every_loss_and_every_check_has_its_place():
    losses = (DOCS / "losses.md").read_text("utf-8")
    for loss in cases.HANDWRITTEN:
        assert f"\n### {loss}\n" in losses
        assert f"](plots/{loss}.svg)" in losses
        picture = (DOCS / "plots" / f"{loss}.svg").read_text("utf-8")
        assert picture.startswith("<?xml") and picture.rstrip().endswith("</svg>")
    page = (DOCS / "checks.md").read_text("utf-8")
    for name in checks.CHECKS:
        assert page.count(f"| `{name}` |") == 1
    assert {p.stem for p in (DOCS / "plots").iterdir()} == set(cases.HANDWRITTEN)


@pytest.mark.parametrize("public", sorted({*klr.__all__} - {"Loss", "__version__"}))
def test_every_public_name_is_documented(public):
    text = "".join((DOCS / page).read_text("utf-8") for page in reference_pages.PAGES)
    assert f"`{public}`" in text or f"\n### {public}\n" in text
    assert getattr(klr, public).__doc__


def test_every_deviation_is_linked_from_its_losses():
    sections = (DOCS / "losses.md").read_text("utf-8").split("\n### ")
    sections = {section.split("\n", 1)[0]: section for section in sections}
    for entry in deviations.DEVIATIONS:
        for loss in entry.losses:
            assert f"[`{entry.id}`](deviations.md#{entry.id})" in sections[loss]


def shown_commands():
    """Every `keras-losses-ref ...` line in the code of the pages."""
    for path in PAGES:
        text = path.read_text("utf-8")
        blocks = re.findall(r"^```(?:sh|yaml)\n(.*?)^```", text, flags=re.M | re.S)
        for line in "\n".join(blocks).splitlines():
            for found in re.findall(r"keras-losses-ref [a-z][^#&]*", line):
                yield found.strip()


@pytest.mark.parametrize("line", sorted(set(shown_commands())))
def test_a_command_that_is_shown_is_understood(line):
    arguments = cli._parser().parse_args(shlex.split(line)[1:])
    assert arguments.command
    if arguments.command == "bisect":
        assert arguments.id in {case.id for case in cases.corpus(full=False)}


def test_ci_steps_shown_work(tmp_path, monkeypatch):
    """The YAML's lines, on few cases: a record, a comparison, a summary."""
    text = (DOCS / "upgrading.md").read_text("utf-8")
    (workflow,) = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.M | re.S)
    steps = re.findall(r"run: (.*)", workflow)
    assert [shlex.split(step)[0] for step in steps] == [
        *("pip", "keras-losses-ref", "keras-losses-ref", "cat"),
    ]
    (extra,) = re.findall(r"keras-losses-ref\[([a-z]+)\]", steps[0])
    assert f"{extra} = [" in (ROOT / "pyproject.toml").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    few = ["--case", "huber/documented*", "--path", "eager"]
    assert cli.main(["record", "losses.json", *few]) == cli.OK
    pathlib.Path("accepted.txt").write_text("# nothing yet\n")
    record, compare = (shlex.split(step)[1:] for step in steps[1:3])
    assert cli.main([*record, *few]) == cli.OK
    assert cli.main(compare) == cli.OK
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    subprocess.run(["sh", "-c", steps[3]], check=True)
    assert "keras-losses-ref" in pathlib.Path("summary").read_text("utf-8")


def test_the_pages_show_every_command_of_an_upgrade():
    shown = {line.split()[1] for line in shown_commands()}
    assert {"check", "record", "compare", "upgrade", "bisect"} <= shown


def test_every_option_that_is_named_exists():
    known = set()
    parser = cli._parser()
    (commands,) = [a for a in parser._actions if hasattr(a, "choices") and a.choices]
    for command in commands.choices.values():
        for action in command._actions:
            known.update(action.option_strings)
    text = (DOCS / "upgrading.md").read_text("utf-8")
    named = set(re.findall(r"`(--[a-z-]+)", text))
    assert len(named) >= 9
    assert named <= known


def test_the_site_builds_and_asks_no_other_machine(tmp_path):
    pytest.importorskip("sphinx", reason="the site's tools come with the extra docs")
    pytest.importorskip("furo", reason="the site's tools come with the extra docs")
    # The large pages would take most of the time; their links are checked above.
    source, site = tmp_path / "docs", tmp_path / "site"
    shutil.copy(ROOT / "README.md", tmp_path)  # the start page repeats its opening
    large = ("atlas", "speed", "versions")
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns(*large))
    for folder in large:
        (source / folder).mkdir()
        (source / folder / "README.md").write_text(f"# {folder}\n", encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    done = subprocess.run(
        [*command, str(source), str(site)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    index = (site / "index.html").read_text("utf-8")
    assert "Where to go" in index and 'href="losses.html"' in index
    assert "Install and use" in index and 'href="atlas/README.html"' in index
    losses = (site / "losses.html").read_text("utf-8")
    assert 'href="deviations.html#config-forgets-dtype"' in losses
    assert 'id="config-forgets-dtype"' in (site / "deviations.html").read_text("utf-8")
    loads = r"<(?:link|script|img|iframe)\b[^>]*\b(?:src|href)=.(?:https?:)?//[^>]*>"
    for page in site.rglob("*.html"):
        assert not re.findall(loads, page.read_text("utf-8")), page
    for sheet in site.rglob("*.css"):
        text = sheet.read_text("utf-8")
        assert not re.findall(r"(?:@import|url\()\s*.?(?:https?:)?//", text), sheet
