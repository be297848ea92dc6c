"""What a class's gradebook says of an assignment: each student's points, part by part, as nbgrader counts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from nbgrader.api import Gradebook, SubmittedAssignment, SubmittedNotebook
from sqlalchemy.orm import selectinload, undefer

from autograder.engine.inside.notebook import read_notebook
from course.base.project import Project

_CHECK = "-check"


@dataclass(frozen=True)
class Part:
    """An exercise or a written question.

    Attributes:
        name: `lstm_cell_forward`; what nbgrader calls the cell that has the points, without `-check`.
        max_score: what it is worth to the class.
        written: it is graded by hand alone.
    """

    name: str
    max_score: float
    written: bool


@dataclass(frozen=True)
class Scores:
    """One student's points in an assignment. What has no score yet is None, and never 0.

    Attributes:
        id, first_name, last_name, email, lms_user_id: the student, with "" for what is not known.
        handed_in: whether there is a submission.
        parts: name of a part → its points: a human's before automatic ones, with extra credit.
        penalty: for handing in late.
        seconds_late: by how much it was late; extensions count.
        timestamp: when it was handed in, in UTC, if that is known.
        comments: name of a part → what a human said of it in formgrader.
    """

    id: str
    first_name: str
    last_name: str
    email: str
    lms_user_id: str
    handed_in: bool = False
    parts: Mapping[str, float | None] = field(default_factory=dict)
    penalty: float = 0.0
    seconds_late: float = 0.0
    timestamp: datetime | None = None
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """First and last name, as far as they are known."""
        return f"{self.first_name} {self.last_name}".strip()

    @property
    def waiting(self) -> list[str]:
        """The parts that have no score yet, so that there is no total."""
        return [name for name, points in self.parts.items() if points is None]

    @property
    def raw_score(self) -> float | None:
        """The sum of all parts; None while one of them has no score, and for who handed in nothing."""
        points = [score for score in self.parts.values() if score is not None]
        return sum(points) if self.handed_in and len(points) == len(self.parts) else None

    @property
    def score(self) -> float | None:
        """What counts: the sum of all parts without the penalty, and not below 0."""
        return None if self.raw_score is None else max(0.0, self.raw_score - self.penalty)


def read_scores(gradebook: Gradebook, slug: str, project: Project) -> tuple[list[Part], list[Scores]]:
    """An assignment's parts, in the order of its notebook, and the points of every student of the gradebook.

    A part that is worth nothing to the class is left out, unless a human gave points for it all the same.
    Raises MissingEntry if the gradebook has no such assignment.
    """
    assignment = gradebook.find_assignment(slug)
    parts = dict(_parts(assignment, project))
    answers = {
        cell.id: "/".join([*_within(assignment, notebook), cell.name])
        for notebook in assignment.notebooks
        for cell in [*notebook.solution_cells, *notebook.task_cells]
    }
    rows = gradebook.db.query(SubmittedAssignment).filter(SubmittedAssignment.assignment_id == assignment.id)
    notebooks = selectinload(SubmittedAssignment.notebooks)
    rows = rows.options(
        undefer(SubmittedAssignment.late_submission_penalty),
        notebooks.selectinload(SubmittedNotebook.grades),
        notebooks.selectinload(SubmittedNotebook.comments),
    )
    submissions = {row.student_id: row for row in rows}
    points = {student: _points(row) for student, row in submissions.items()}
    counted = {
        cell: part
        for cell, part in parts.items()
        if part.max_score or any(scored.get(cell) for scored in points.values())
    }
    found = []
    for student in gradebook.students:
        known = Scores(
            student.id,
            student.first_name or "",
            student.last_name or "",
            student.email or "",
            student.lms_user_id or "",
        )
        row = submissions.get(student.id)
        if row is not None:
            known = replace(
                known,
                handed_in=True,
                parts={part.name: points[student.id].get(cell) for cell, part in counted.items()},
                penalty=row.late_submission_penalty,
                seconds_late=float(row.total_seconds_late) if assignment.duedate else 0.0,
                timestamp=row.timestamp,
                comments=dict(_comments(row, answers)),
            )
        found.append(known)
    return list(counted.values()), found


def _parts(assignment: Any, project: Project) -> Iterator[tuple[str, Part]]:
    """The id in the gradebook of each cell that has points, with the part that it grades."""
    release = project.release(assignment.name)
    order = [cell.nbgrader.get("grade_id") for cell in read_notebook(release)] if release.is_file() else []
    for notebook in assignment.notebooks:
        cells = [*notebook.grade_cells, *notebook.task_cells]
        names = {cell.name for cell in cells}
        placed = {name: place for place, name in enumerate(order)}
        for cell in sorted(cells, key=lambda c: (placed.get(c.name, len(order)), c.name)):
            bare = cell.name.removesuffix(_CHECK)
            name = cell.name if bare in names else bare
            written = getattr(cell, "cell_type", "markdown") != "code"
            yield cell.id, Part("/".join([*_within(assignment, notebook), name]), cell.max_score or 0.0, written)


def _within(assignment: Any, notebook: Any) -> list[str]:
    """What tells a notebook's cells from those of the assignment's others: nothing, where it is the only one."""
    return [notebook.name] if len(assignment.notebooks) > 1 else []


def _points(row: Any) -> dict[str, float | None]:
    """Cell → its points. That nbgrader asks to look again at what a human graded takes no points away."""
    grades = [grade for notebook in row.notebooks for grade in notebook.grades]
    return {g.cell_id: None if g.auto_score is None and g.manual_score is None else g.score for g in grades}


def _comments(row: Any, answers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for notebook in row.notebooks:
        for comment in notebook.comments:
            if comment.manual_comment and comment.cell_id in answers:
                yield answers[comment.cell_id], comment.manual_comment
