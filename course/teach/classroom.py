"""What a teacher sees of `s30 grade`: progress, what a regrade changes, what was reached, and who needs a human."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.words.report import number
from course.base.commands import cores
from course.base.files import as_json, write_whole
from course.base.project import Project
from course.teach.folder import ClassFolder
from course.teach.grading import ClassRun, Submission
from course.teach.lateness import Change, class_dates, settle_lateness
from course.teach.roster import Roster
from course.teach.submissions import Collected, collect, settle


@dataclass(frozen=True)
class Wishes:
    """What the teacher asks of a run; :func:`course.cli.grade` says what each is."""

    submissions: Path | None = None
    jobs: int | None = None
    regrade: bool = False
    new_seed: bool = False
    yes: bool = False
    report: Path | None = None


def run(console: Console, project: Project, slug: str, folder: ClassFolder, wishes: Wishes) -> ClassRun:
    """Take submissions in, evaluate them, record them, and sum up. One run at a time works on a class.

    Who was not recorded, and why, is in `unrecorded` of what is returned, and in the last line that is printed.
    """
    folder.begin()
    with folder.lock("grading"):
        return _run(console, project, slug, folder, wishes)


def _run(console: Console, project: Project, slug: str, folder: ClassFolder, wishes: Wishes) -> ClassRun:
    if wishes.report is not None and not wishes.report.resolve().parent.is_dir():
        raise UserError(f"--report {wishes.report}: its folder does not exist.")
    class_dates(slug, folder.root)  # what is wrong in it is said before an hour of grading
    taken = _take_in(slug, folder, wishes.submissions)
    going = ClassRun(project, slug, folder, taken, new_seed=wishes.new_seed)
    if not (going.submissions or taken.unplaced):
        raise UserError(f"Nobody has handed in {slug}: {folder.root / 'submitted'} has no folder */{slug}.")
    new = [s for s in going.submissions if not s.reason and s.by in ("", "earlier file", "moment")]
    older = [s for s in going.submissions if not s.reason and s.by == "older grader"]
    same = [s for s in going.submissions if not s.reason and s.by == "this"]
    for submission in older:
        submission.stays = not (wishes.regrade or wishes.new_seed)
    wanted = [*new, *(s for s in older if not s.stays)]
    with _progress(console, f"grading {slug}", len(wanted) + len(same)) as advance:
        going.evaluate([*wanted, *same], wishes.jobs or cores(), lambda _: advance())
    if len(wanted) > len(new):
        _show_changes(console, going, wanted)
        if not wishes.yes and not typer.confirm("Record this?"):
            for submission in older:
                submission.stays = True
            wanted = new
    with _progress(console, "recording", len(wanted)) as advance:
        going.record(wanted, advance)
    changes, notes = settle_lateness(slug, folder)
    if wishes.report is not None:
        write_whole(wishes.report, as_json(going.report()))
    _sum_up(console, going, wanted, changes, notes)
    return going


def _take_in(slug: str, folder: ClassFolder, source: Path | None) -> Collected:
    """What was handed in, where nbgrader looks for it: from where that is said, and what is there already."""
    roster = Roster.of(folder)
    if source is None or source.resolve() in (folder.root, folder.root / "submitted"):
        return settle(slug, folder.root, roster)
    taken = collect(source, slug, folder.root, roster)
    there = settle(slug, folder.root, roster)  # also those who handed in before
    return Collected(
        there.problems | taken.problems,
        [*taken.unplaced, *there.unplaced],
        list(dict.fromkeys([*taken.notes, *there.notes])),
        there.missing,
    )


@contextlib.contextmanager
def _progress(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar with the time left; nothing if there is nothing to do."""
    if total == 0:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def _show_changes(console: Console, going: ClassRun, wanted: list[Submission]) -> None:
    changes = going.changes(wanted)
    table = Table("student", "recorded", "now")
    for student, (old, now) in sorted(changes.items()):
        table.add_row(student, number(old), number(now))
    if changes:
        console.print(table)
    console.print(f"{len(changes)} of {sum(bool(s.before) for s in wanted)} recorded scores change.")


def _sum_up(
    console: Console, going: ClassRun, recorded: list[Submission], changes: list[Change], notes: list[str]
) -> None:
    """What came of it; in the last line, if so, who was not recorded."""
    graded = [s for s in going.submissions if not s.reason]
    taken, ungraded = going.taken, going.ungraded
    done = sum(not s.reason for s in recorded)

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    say(f"{going.assignment.slug}: {len(graded)} graded, {done} of them now.")
    stays = sum(s.stays for s in graded)
    if stays:
        say(
            f"{stays} were recorded by an older grader, or at other points, and stay so: "
            "--regrade shows what would change."
        )
    if graded:
        totals = sorted(going.total(s) for s in graded)
        most = sum(going.points[e.grade_id] for e in going.assignment.exercises)
        middle = totals[len(totals) // 2]
        low, high = number(totals[0]), number(totals[-1])
        say(f"Automatic points: {low} to {high}, median {number(middle)}, of {number(most)}.")
    for change in changes:
        say(f"The penalty of {change.student} for being late: {number(change.before)}, now {number(change.now)}.")
    cut = [s.student for s in graded if s.cut_short]
    if cut:
        say(
            f"Time, memory or a crash ended something of {', '.join(cut)}, also with the machine to itself; the next "
            "run tries it again."
        )
    for line in [*taken.notes, *notes]:
        say(line)
    if taken.missing:
        say(f"Nothing was handed in by {len(taken.missing)} of the roster: {', '.join(taken.missing)}.")
    if ungraded:
        say(f"For a human, {len(ungraded)} that could not be graded; the gradebook marks them:")
        for submission in ungraded:
            say(f"  {submission.student}: {submission.reason}")
    if taken.unplaced:
        say(f"Whose are these? {len(taken.unplaced)} that were not taken:")
        for name, reason in taken.unplaced:
            say(f"  {name}: {reason}")
    if going.unrecorded:
        say(f"Not recorded: {len(going.unrecorded)} ({', '.join(going.unrecorded)}). What to do stands above.")
