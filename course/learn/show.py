"""What the learner's commands print: tables and lines; nothing is said by colour alone."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from autograder.engine.judge.verdict import Status, Verdict
from autograder.engine.judge.words.report import LOOKS, as_text, number, title
from course.base.catalog import LEVELS, Paper, catalog, in_study_order
from course.base.project import Project
from course.learn.doctor import Finding
from course.learn.hints import Hint, card
from course.learn.progress import Progress, progress
from course.learn.start import is_outdated

COLOURS = {
    Status.PASSED: "green",
    Status.NOT_ATTEMPTED: "default",
    Status.BLOCKED: "default",
    Status.PARTLY: "yellow",
}
STATES = {"ok": ("✓", "green"), "broken": ("✗", "red"), "absent": ("–", "yellow")}


def catalog_tables(to: Console, project: Project) -> None:
    """All assignments by track, in the order of study, with what is written and how far the learner is."""
    written = set(project.slugs())
    for level in LEVELS:
        to.print(Text(f"\n{level.capitalize()}", "bold"))
        table = Table.grid(padding=(0, 2))
        for width in (2, 17, 9, None, None):
            table.add_column(no_wrap=width is not None, min_width=width)
        for paper in (p for p in in_study_order(catalog().values()) if p.level == level):
            there = paper.slug in written
            needs = f"after {', '.join(paper.needs)}" if paper.needs else ""
            name = f"{paper.title} ({paper.authors}, {paper.year})"
            cells = (paper.number, _state(project, paper, there), paper.time, name, needs)
            table.add_row(*map(escape, cells), style=None if there else "dim")
        to.print(table)
    to.print(f"\n{len(written)} of {len(catalog())} are written. Begin one with: s30 start NN")


def _state(project: Project, paper: Paper, written: bool) -> str:
    if not written:
        return "not written yet"
    found = progress(project, paper.slug)
    return "not started" if found is None else f"{bar(found)} {_score(found)}"


def bar(found: Progress) -> str:
    """Ten places, of which as many are full as tenths of the points are there."""
    return f"{'█' * int(10 * found.points / found.assignment.max_points):░<10}"


def _score(found: Progress) -> str:
    return f"{number(found.points)}/{number(found.assignment.max_points)}"


def overview(to: Console, project: Project, found: Iterable[Progress]) -> None:
    """A line per assignment that is started."""
    for one in found:
        paper = catalog().get(one.assignment.slug)
        name = paper.title if paper else one.assignment.slug
        exercises = f"{one.solved}/{len(one.verdicts)} exercises"
        revealed = f", {len(one.revealed)} revealed" if one.revealed else ""
        to.print(f"{one.assignment.number}  {bar(one)}  {_score(one)} points, {exercises}{revealed}  {escape(name)}")
        if is_outdated(project, one.assignment.slug):
            to.print(
                f"    The course has a newer version of it: s30 start {one.assignment.number} puts it beside yours."
            )


def exercises(to: Console, found: Progress) -> None:
    """A line per exercise of one assignment."""
    for verdict in found.verdicts:
        sign, word = LOOKS[verdict.status].sign, LOOKS[verdict.status].word
        revealed = verdict.name in found.revealed and verdict.status == Status.PASSED
        if revealed:
            sign, word = "○", "revealed"
        points = f"{number(0 if revealed else verdict.points)}/{number(verdict.max_points)}"
        to.print(Text(f"{sign} {verdict.name:<32} {points:>5}  {word}", COLOURS.get(verdict.status, "red")))


def explanation(to: Console, verdict: Verdict) -> None:
    """A verdict with its reasons."""
    first, *rest = as_text(verdict).split("\n")
    to.print(Text(first, COLOURS.get(verdict.status, "red")))
    for line in rest:
        to.print(line, markup=False, soft_wrap=True)


def coming(to: Console, project: Project, found: Progress) -> None:
    """The exercise that comes next in an assignment, and what can be done about it."""
    verdict = found.next()
    number_, slug = found.assignment.number, found.assignment.slug
    if verdict is None:
        to.print(f"{slug} is solved: {_score(found)} points.", soft_wrap=True)
        return
    to.print(f"Next: {number_} {verdict.name}   {card(project, slug, verdict.name)}", soft_wrap=True, markup=False)
    if verdict.status != Status.NOT_ATTEMPTED:
        to.print(f"  {title(verdict)}", soft_wrap=True, markup=False)
    to.print(f"  Open it:   jupyter lab {found.notebook}", soft_wrap=True, markup=False)
    to.print(f"  Stuck?     s30 hint {number_} {verdict.name}", soft_wrap=True, markup=False)


def hint(to: Console, shown: Hint, level: int, of: int, again: str) -> None:
    """One hint, and how to see the next."""
    to.print(f"Hint {level} of {of}: {shown.title}", markup=False)
    to.print(Markdown(shown.text))
    to.print(f"More:  {again} --level {level + 1}" if level < of else "That was the last hint.", markup=False)


def finding(to: Console, one: Finding) -> None:
    """One thing that `s30 doctor` tried."""
    sign, colour = STATES[one.state]
    to.print(Text(f"{sign} {one.what:<12} {one.found}", colour if one.state != "ok" else ""), soft_wrap=True)
    if one.advice and one.state != "ok":
        to.print(f"  {'':<12} {one.advice}", markup=False, soft_wrap=True)
