"""`s30 report`: how a class stands in an assignment, in a terminal and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.verdict import Status
from autograder.engine.judge.words.report import LOOKS, number
from course.base.files import write_whole
from course.base.project import Project
from course.teach.folder import ClassFolder
from course.teach.sources import shown
from course.teach.statistics import FEWEST, Item, Standing, Student, standing

NOT_DEFINED = "–"
MOST_FAILURES = 3  # other failures that are shown of an exercise
MOST_NAMES = 12  # of students in one line


def run(console: Console, project: Project, slug: str, course: ClassFolder, out: Path | None) -> Standing:
    """Sum a class up in the terminal, and write the page, by default reports/SLUG.html in the class's folder."""
    from course.teach.report_page import page

    found = standing(project, slug, course)
    show(console, found)
    target = out or course.root / "reports" / f"{slug}.html"
    try:
        write_whole(target, page(found))
    except OSError as problem:
        raise UserError(f"--out {target} can't be written: {problem.strerror}.") from None
    console.print(f"\nThe same with pictures: {target}", markup=False, soft_wrap=True)
    return found


def show(console: Console, found: Standing) -> None:
    """Print all numbers."""

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    counted = ", ".join(f"{len(those)} {word}" for word, those in people(found))
    say(f"{found.slug}: {len(found.students)} students, {counted}.")
    say(totals(found))
    console.print(_exercises(found))
    say(_CORRELATION if len(found.graded) >= FEWEST else f"{_CORRELATION} It takes {FEWEST} graded submissions.")
    if rows := mistakes(found):
        say("\nKnown mistakes, of those with a verdict there:")
        for item, said, students in rows:
            say(f"  {percent(len(students) / item.judged)}: {said} ({item.part.name}: {names(students)})")
    if others := failures(found):
        say("\nOther failures:")
        for item, status, said, count in others:
            say(f"  {percent(count / item.judged)}: {said} ({item.part.name}: {LOOKS[status].word})")
    if found.blockers:
        say("\nWho is blocked where:")
    for name, those in found.blockers:
        say(f"  {name} holds up {len(those)}: {names([student for student, _ in those])}")
    for word, concerned in people(found)[2:]:
        if concerned:
            say(f"\n{word.capitalize()}:")
        for student in concerned:
            say(f"  {shown(student.shown)}{why(found, student, word)}")


GRADED, HANDED_IN, HUMAN, WRITTEN, MISSING, LATE = (
    *("graded", "handed in", "for a human", "with an answer to grade by hand", "missing", "late"),
)


def people(found: Standing) -> list[tuple[str, list[Student]]]:
    """Who is where: what is said of them, and who they are."""
    return [
        (HANDED_IN, found.handed_in),
        (GRADED, found.graded),
        (HUMAN, found.ungraded),
        (WRITTEN, found.waiting),
        (MISSING, found.missing),
        (LATE, found.late),
    ]


def why(found: Standing, student: Student, word: str) -> str:
    """What there is to say of a student in one of these lists."""
    if word == HUMAN:
        return f": {student.reason}"
    if word == WRITTEN:
        return f": {', '.join(student.scores.waiting)}"
    if word == LATE and student.late:
        hours = student.late / 3600
        how = f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
        penalty = f", {number(student.scores.penalty)} points less" if student.scores.penalty else ""
        return f": by {how}{penalty}"
    return ""


def totals(found: Standing) -> str:
    """The distribution of totals in a sentence."""
    low, middle, high = found.totals.quartiles
    what = "Total points, after penalties" if found.complete else "Points of the checks"
    return (
        f"{what}: {number(found.totals.values[0])} to {number(found.totals.values[-1])}, median {number(middle)}, "
        f"the middle half {number(low)} to {number(high)}, of {number(found.totals.most)}."
    )


def mistakes(found: Standing) -> list[tuple[Item, str, tuple[Student, ...]]]:
    """All known mistakes that were made, the most frequent first."""
    rows = [(item, said, students) for item in found.items for said, students in item.mistakes]
    return sorted(rows, key=lambda row: -len(row[2]) / row[0].judged)


def failures(found: Standing) -> list[tuple[Item, Status, str, int]]:
    """The most frequent other failures of each exercise, the most frequent first."""
    rows = [(item, *failure) for item in found.items for failure in item.failures[:MOST_FAILURES]]
    return sorted(rows, key=lambda row: -row[3] / row[0].judged)


def percent(share: float | None) -> str:
    """`16 %`."""
    return NOT_DEFINED if share is None else f"{100 * share:.0f} %"


def signed(correlation: float | None) -> str:
    """`0.42` or `−0.10`."""
    return NOT_DEFINED if correlation is None else f"{correlation:.2f}".replace("-", "−")


def names(students: Sequence[Student]) -> str:
    """Some students, not too many, by their ids."""
    listed = ", ".join(shown(student.scores.id) for student in students[:MOST_NAMES])
    return f"{listed} and {len(students) - MOST_NAMES} more" if len(students) > MOST_NAMES else listed


_CORRELATION = (
    "r: item-rest correlation, of the share of an exercise's points with the sum of the others' "
    "(– where it is not defined, as where all are equal)."
)


def _exercises(found: Standing) -> Table:
    table = Table(title=f"\nExercises of {found.slug}", title_justify="left")
    table.add_column("exercise", overflow="fold")
    for head in ("points", "passed", "mean", "spread", "r", "n", "not attempted", "blocked", "stopped"):
        table.add_column(head, justify="right")
    for item in found.items:
        table.add_row(Text(item.part.name), *cells(item))
    return table


def cells(item: Item) -> list[str]:
    """The numbers of an exercise: points, passed, mean and spread of the share, r, n, and how many were not judged."""
    passed = f"{percent(item.passed / item.judged)} ({item.passed})" if item.judged else NOT_DEFINED
    counts = [item.statuses.get(s, 0) for s in (Status.NOT_ATTEMPTED, Status.BLOCKED)]
    return [
        number(item.part.max_score),
        passed,
        percent(item.mean),
        percent(item.spread),
        signed(item.correlation),
        str(len(item.shares)),
        *(str(count or "") for count in [*counts, item.stopped]),
    ]
