"""When an assignment is due, to whom, and what being late costs: nbgrader's due dates, extensions and penalties.

A class says it in dates.toml, beside points.toml; what it says there goes into the gradebook whenever the class is
graded. An assignment that is not in the file keeps what the gradebook has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from nbgrader.api import Assignment, SubmittedAssignment
from nbgrader.preprocessors import AssignLatePenalties
from traitlets.config import Config

from autograder.engine.inside.errors import UserError
from course.teach.folder import ClassFolder
from course.teach.gradebook import read_toml
from course.teach.names import TIMESTAMP, moment_beside

DATES = "dates.toml"  # in the class's folder
_EXTENDED = "extended"


@dataclass(frozen=True)
class Dates:
    """When an assignment is due.

    Attributes:
        due: for everybody, in UTC.
        extended: student → until when they have time, in UTC.
    """

    due: datetime
    extended: dict[str, datetime]


@dataclass(frozen=True)
class Change:
    """A penalty that is another one now."""

    student: str
    before: float
    now: float


def class_dates(slug: str, course_dir: Path) -> Dates | None:
    """What the class's dates.toml says of an assignment, if anything.

    The file has a table per assignment, with moments that say their offset from UTC:

        [03_lstm_understanding]
        due = 2026-03-02T23:59:00+01:00

        [03_lstm_understanding.extended]
        ann = 2026-03-09T23:59:00+01:00
    """
    path = course_dir / DATES
    table = read_toml(path).get(slug)
    if table is None:
        return None
    unknown = sorted(set(table) - {"due", _EXTENDED}) if isinstance(table, dict) else [slug]
    if unknown or "due" not in table or not isinstance(table.get(_EXTENDED, {}), dict):
        raise UserError(
            f"{path}: [{slug}] has `due = 2026-03-02T23:59:00+01:00`, and [{slug}.{_EXTENDED}] a line for each student "
            f"who has more time{f'; what is {unknown[0]!r}?' if unknown else '.'}"
        )
    extended = {student: _moment(path, student, moment) for student, moment in table.get(_EXTENDED, {}).items()}
    return Dates(_moment(path, "due", table["due"]), extended)


def _moment(path: Path, name: str, value: Any) -> datetime:
    """A moment in UTC, as nbgrader keeps it: without its zone."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    why = "has no offset from UTC" if isinstance(value, datetime | date) else "is no moment"
    raise UserError(f"{path}: {name} = {value} {why}: write it as 2026-03-02T23:59:00+01:00, without quotes.")


def settle_lateness(slug: str, folder: ClassFolder) -> tuple[list[Change], list[str]]:
    """Bring the gradebook's due dates, extensions, moments of submission and penalties of an assignment up to date.

    Returns:
        The penalties that have changed, and what else is to be said.
    """
    dates = class_dates(slug, folder.root)
    with folder.gradebook() as gradebook:
        assignment = gradebook.find_assignment(slug)
        if dates is not None:
            assignment.duedate = dates.due
        notes = []
        for student, submission in _submissions(assignment):
            moment, note = submission_moment(folder, student, slug)
            notes += [note] if note else []
            if moment is not None or note:
                submission.timestamp = moment
            if dates is not None:
                until = dates.extended.get(student)
                submission.extension = until - dates.due if until is not None else None
        strangers = sorted(set(dates.extended) - {s.id for s in gradebook.students}) if dates else []
        notes += [f"{folder.root / DATES} gives {name} more time, who is not in the gradebook." for name in strangers]
        changes = list(_penalties(assignment, folder.config))
        gradebook.db.commit()
    return changes, notes


def submission_moment(folder: ClassFolder, student: str, slug: str) -> tuple[datetime | None, str]:
    """When a student handed in, in UTC, as far as it is known; and what is wrong with the file that says so."""
    place = folder.submitted(student, slug)
    try:
        return moment_beside(place), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError):
        said = f"{place / TIMESTAMP} of {student} says no moment, and it counts as in time"
        return None, f"{said}: write it as 2026-03-03 10:00:00 UTC."


def _submissions(assignment: Assignment) -> Iterator[tuple[str, SubmittedAssignment]]:
    for submission in assignment.submissions:
        yield submission.student.id, submission


def _penalties(assignment: Assignment, config: Config) -> Iterator[Change]:
    """What nbgrader's step would find now, of every submission, whether it is recorded anew or not."""
    step = AssignLatePenalties(config=config)
    step.init_plugin()
    for student, submission in _submissions(assignment):
        late = submission.total_seconds_late
        for notebook in submission.notebooks:
            before = notebook.late_submission_penalty or 0.0
            asked = step.plugin_inst.late_submission_penalty(student, notebook.score, late) if late > 0 else None
            penalty = None if asked is None else min(max(float(asked), 0.0), notebook.score)
            notebook.late_submission_penalty = penalty
            if abs(before - (penalty or 0.0)) > 1e-9:
                yield Change(student, before, penalty or 0.0)
