"""What a teacher sees of `s30 grade`: progress, what a regrade changes, what was reached, and who needs a human."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.words.report import number
from course.base.files import as_json, write_whole
from course.base.project import Project
from course.teach.grading import ClassRun, Submission
from course.teach.submissions import collect


@dataclass(frozen=True)
class Wishes:
    """What the teacher asks of a run; :func:`course.cli.grade` says what each is."""

    submissions: Path | None = None
    jobs: int | None = None
    regrade: bool = False
    new_seed: bool = False
    yes: bool = False
    report: Path | None = None


def run(console: Console, project: Project, slug: str, course_dir: Path, wishes: Wishes) -> ClassRun:
    """Take submissions in, evaluate them, record them, and sum up. One run at a time works on a class."""
    import fcntl  # the sandbox is of Linux too

    with (course_dir / "grading.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"Another run is grading in {course_dir}: wait for its end, or stop it.") from None
        return _run(console, project, slug, course_dir, wishes)


def _run(console: Console, project: Project, slug: str, course_dir: Path, wishes: Wishes) -> ClassRun:
    if wishes.report is not None and not wishes.report.resolve().parent.is_dir():
        raise UserError(f"--report {wishes.report}: its folder does not exist.")
    source = wishes.submissions
    in_place = source is None or source.resolve() in (course_dir, course_dir / "submitted")
    problems = {} if in_place or source is None else collect(source, slug, course_dir)
    going = ClassRun(project, slug, course_dir, problems, new_seed=wishes.new_seed)
    if not going.submissions:
        raise UserError(f"Nobody has handed in {slug}: {course_dir / 'submitted'} has no folder */{slug}.")
    new = [s for s in going.submissions if not s.reason and s.by in ("", "earlier file")]
    older = [s for s in going.submissions if not s.reason and s.by == "older grader"]
    same = [s for s in going.submissions if not s.reason and s.by == "this"]
    for submission in older:
        submission.stays = not (wishes.regrade or wishes.new_seed)
    wanted = [*new, *(s for s in older if not s.stays)]
    with _progress(console, f"grading {slug}", len(wanted) + len(same)) as advance:
        going.evaluate([*wanted, *same], wishes.jobs or len(os.sched_getaffinity(0)), lambda _: advance())
    if len(wanted) > len(new):
        _show_changes(console, going, wanted)
        if not wishes.yes and not typer.confirm("Record this?"):
            for submission in older:
                submission.stays = True
            wanted = new
    with _progress(console, "recording", len(wanted)) as advance:
        going.record(wanted, advance)
    if wishes.report is not None:
        write_whole(wishes.report, as_json(going.report()))
    _sum_up(console, going, wanted)
    return going


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


def _sum_up(console: Console, going: ClassRun, recorded: list[Submission]) -> None:
    graded = [s for s in going.submissions if not s.reason]
    ungraded = [s for s in going.submissions if s.reason]
    done = sum(not s.reason for s in recorded)
    console.print(f"{going.assignment.slug}: {len(graded)} graded, {done} of them now.")
    stays = sum(s.stays for s in graded)
    if stays:
        console.print(
            f"{stays} were recorded by an older grader, or at other points, and stay so: "
            "--regrade shows what would change."
        )
    if graded:
        totals = sorted(going.total(s) for s in graded)
        most = sum(going.points[e.grade_id] for e in going.assignment.exercises)
        middle = totals[len(totals) // 2]
        low, high = number(totals[0]), number(totals[-1])
        console.print(f"Automatic points: {low} to {high}, median {number(middle)}, of {number(most)}.")
    if ungraded:
        console.print(f"For a human, {len(ungraded)} that could not be graded; the gradebook marks them:")
        for submission in ungraded:
            console.print(f"  {submission.student}: {submission.reason}", markup=False, soft_wrap=True)
