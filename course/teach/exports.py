"""What `nbgrader export` writes of a class's gradebook: plain CSV, and files that learning management systems take in.

    nbgrader export                                                              # grades.csv, all assignments
    nbgrader export --exporter=course.teach.exports.CanvasExport --assignment 03_lstm_understanding --to canvas.csv

Every exercise has a column (in Canvas's file only if it is asked for, for there each would become an assignment that
counts). What has no score is blank, and never 0; so is the total of who waits for a human, or handed in nothing.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook
from nbgrader.plugins import ExportPlugin
from traitlets import Bool, Dict, Enum

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.words.report import number
from course.base.files import write_whole
from course.base.project import Project
from course.teach.scores import Part, Scores, read_scores
from course.teach.sources import shown
from course.teach.statistics import recorded_in

Cell = str | float | None
GRADED, WAITS, MISSING = "graded", "waits for a human", "missing"
# What a spreadsheet takes for a formula, as OWASP lists it ("CSV injection"), unless it is no more than a number.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Graded:
    """An assignment of the gradebook, and all students' points in it.

    Attributes:
        slug: what nbgrader calls it.
        short: what its columns begin with: `03`, or all of the name if it is none of the course's assignments.
        duedate: in UTC, if there is one.
        max_score: of all parts.
        parts: what has points.
        scores: of every student that is asked for, by name.
    """

    slug: str
    short: str
    duedate: Any
    max_score: float
    parts: list[Part]
    scores: list[Scores]

    def column(self, part: Part) -> str:
        """`03/lstm_cell_forward`."""
        return f"{self.short}/{part.name}"


class GradesExport(ExportPlugin):
    """What the exporters share: whom and what they are asked for, and that a fault is told in a sentence."""

    destination = ""  # where nothing is said of it

    def export(self, gradebook: Gradebook) -> None:
        """Write the file, as nbgrader asks for it."""
        try:
            assignments = self._assignments(gradebook)
            target = Path(self.to or self.destination)
            try:
                self.write(target, assignments)
            except OSError as problem:
                raise UserError(f"--to {target} can't be written: {problem.strerror}.") from None
        except UserError as problem:
            self.log.error("%s", problem)
            sys.exit(1)
        self.log.info("Exported to %s", target)
        self._tell(assignments)

    def write(self, target: Path, assignments: list[Graded]) -> None:
        """Write what is asked for. Raises OSError."""
        raise NotImplementedError

    def _assignments(self, gradebook: Gradebook) -> list[Graded]:
        project = Project()
        ours, known = project.slugs(), {assignment.name: assignment for assignment in gradebook.assignments}
        wanted = [
            name for said in self.assignment for name in re.findall(r"[^\[\],\s]+", str(said))
        ]  # `[a, b]` is text
        asked = [_named(name, list(known)) for name in wanted]
        students, there = {str(name) for name in self.student}, {student.id for student in gradebook.students}
        if unknown := sorted(students - there):
            raise UserError(f"--student: the gradebook has no {', '.join(map(shown, unknown))}.")
        found = []
        for slug, assignment in known.items():
            if not asked or slug in asked:
                parts, scores = read_scores(gradebook, slug, project)
                scores = [one for one in scores if not students or one.id in students]
                short = slug[:2] if slug in ours else slug
                found.append(Graded(slug, short, assignment.duedate, assignment.max_score, parts, scores))
        return found

    def _tell(self, assignments: list[Graded]) -> None:
        """Say who has no total, for a blank is easily overlooked."""
        for one in assignments:
            for state in (WAITS, MISSING):
                names = [shown(scores.id) for scores in one.scores if status(scores) == state]
                if names and len(names) < len(one.scores):
                    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
                    self.log.warning("%s: no total for %d, %s: %s", one.slug, len(names), state, listed)


class CsvExport(GradesExport):
    """A row per student and assignment with the columns of nbgrader's own CSV, then `status` and one per exercise."""

    destination = "grades.csv"
    encoding = Enum(
        ["utf-8", "utf-8-sig"], "utf-8", help="How text is written; utf-8-sig for an Excel that shows umlauts wrong."
    ).tag(config=True)

    def write(self, target: Path, assignments: list[Graded]) -> None:
        """Write the table."""
        columns = [one.column(part) for one in assignments for part in one.parts]
        write_whole(target, _table([*_NBGRADERS, "status", *columns], self._rows(assignments)).encode(self.encoding))

    def _rows(self, assignments: list[Graded]) -> Iterator[dict[str, Cell]]:
        for one in assignments:
            for scores in one.scores:
                row: dict[str, Cell] = {
                    "assignment": one.slug,
                    "duedate": str(one.duedate or ""),
                    "timestamp": str(scores.timestamp or ""),
                    "student_id": scores.id,
                    "last_name": scores.last_name,
                    "first_name": scores.first_name,
                    "email": scores.email,
                    "raw_score": scores.raw_score,
                    "late_submission_penalty": scores.penalty if scores.handed_in else None,
                    "score": scores.score,
                    "max_score": one.max_score,
                    "status": status(scores),
                }
                yield row | _by_exercise(one, scores)


_NBGRADERS = (
    *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
    *("raw_score", "late_submission_penalty", "score", "max_score"),
)


class LmsExport(GradesExport):
    """A row per student, with a column per assignment. Those in which nobody handed in are left out, unless named."""

    encoding = "utf-8"
    exercises = Bool(True, help="Write a column per exercise too.").tag(config=True)
    titles = Dict(
        help='What the system calls an assignment, where it is not by its name: {"03_lstm_understanding": "LSTM (98)"}.'
    ).tag(config=True)

    def title(self, one: Graded) -> str:
        """What the system calls an assignment."""
        return str(self.titles.get(one.slug, one.slug))

    def chosen(self, assignments: list[Graded]) -> list[Graded]:
        """The assignments that get a column."""
        return [one for one in assignments if self.assignment or any(scores.handed_in for scores in one.scores)]

    def write(self, target: Path, assignments: list[Graded]) -> None:
        """Write the table."""
        chosen = self.chosen(assignments)
        people = {scores.id: scores for one in assignments for scores in one.scores}
        rows: dict[str, dict[str, Cell]] = {id_: self.person(scores) for id_, scores in people.items()}
        columns = [*self.person(Scores("", "", "", "", ""))]
        for one in chosen:
            columns += self.columns(one)
            for scores in one.scores:
                rows[scores.id] |= self.points(one, scores)
        write_whole(target, _table(columns, [*self.heads(chosen), *rows.values()]).encode(self.encoding))

    def person(self, scores: Scores) -> dict[str, Cell]:
        """The columns by which the system finds the student."""
        raise NotImplementedError

    def heads(self, chosen: list[Graded]) -> list[dict[str, Cell]]:
        """Rows that stand before the students."""
        return []

    def columns(self, one: Graded) -> list[str]:
        """The columns of an assignment."""
        return [self.title(one), *(one.column(part) for part in one.parts if self.exercises)]

    def points(self, one: Graded, scores: Scores) -> dict[str, Cell]:
        """What a student has in an assignment's columns."""
        return {self.title(one): scores.score} | (_by_exercise(one, scores) if self.exercises else {})


class CanvasExport(LmsExport):
    """What Canvas's gradebook takes in (Grades › Import).

    It finds students by ID or SIS User ID (the roster's lms_user_id, as the one if it is a number, else as the other),
    or by SIS Login ID (the student's id). A title that it does not know becomes an assignment, which counts, so
    exercises are written only with `--CanvasExport.exercises=True`.
    """

    destination = "canvas.csv"
    exercises = Bool(False, help="Write a column per exercise too; each becomes an assignment in Canvas.").tag(
        config=True
    )

    def person(self, scores: Scores) -> dict[str, Cell]:
        """Canvas's five columns."""
        names = [name for name in (scores.last_name, scores.first_name) if name]
        numbered = scores.lms_user_id.isdecimal()
        return {
            "Student": ", ".join(names) or scores.id,
            "ID": scores.lms_user_id if numbered else "",
            "SIS User ID": "" if numbered else scores.lms_user_id,
            "SIS Login ID": scores.id,
            "Section": "",
        }

    def heads(self, chosen: list[Graded]) -> list[dict[str, Cell]]:
        """The row that says what is worth how much."""
        row: dict[str, Cell] = {"Student": "Points Possible"}
        for one in chosen:
            row[self.title(one)] = one.max_score
            row |= {one.column(part): part.max_score for part in one.parts if self.exercises}
        return [row]


class MoodleExport(LmsExport):
    """Moodle's gradebook (Grades › Import › CSV file), which asks which column is what, and ignores the others."""

    destination = "moodle.csv"

    def person(self, scores: Scores) -> dict[str, Cell]:
        """What Moodle may find a student by."""
        return {
            "First name": scores.first_name,
            "Last name": scores.last_name,
            "ID number": scores.lms_user_id,
            "Username": scores.id,
            "Email address": scores.email,
        }

    def columns(self, one: Graded) -> list[str]:
        """Those of all, and one of feedback."""
        return [*super().columns(one), f"{self.title(one)} (feedback)"]

    def points(self, one: Graded, scores: Scores) -> dict[str, Cell]:
        """Those of all, and the feedback: points by exercise, what was said in formgrader, and the penalty."""
        return super().points(one, scores) | {f"{self.title(one)} (feedback)": _feedback(one, scores)}


class GradescopeExport(GradesExport):
    """Gradescope's results.json for each submission that has a total: ASSIGNMENT/STUDENT/results.json.

    They come in a zip or, if `--to` does not end with .zip, in a folder. What the checks said is read from autograded/.
    """

    destination = "gradescope.zip"

    def write(self, target: Path, assignments: list[Graded]) -> None:
        """Write all results; those of students who have no total any more go."""
        files = {f"{one.slug}/{_as_name(s.id)}/results.json": (one, s) for one in assignments for s in one.scores}
        texts = {name: self._results(*what) for name, what in files.items() if what[1].score is not None}
        if target.suffix.lower() == ".zip":
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in texts.items():
                    archive.writestr(name, text)
            write_whole(target, content.getvalue())
            return
        for name in files:
            if name in texts:
                write_whole(target / name, texts[name])
            else:
                (target / name).unlink(missing_ok=True)

    def _results(self, one: Graded, scores: Scores) -> str:
        course = getattr(self.parent, "coursedir", None)
        verdicts = {}
        if course is not None:
            folder = course.format_path(course.autograded_directory, scores.id, one.slug)
            path = Path(course.root, folder, f"{one.slug}.ipynb")
            verdicts = {verdict.name: verdict for verdict in recorded_in(path).verdicts}
        tests = []
        for part in one.parts:
            points = scores.parts[part.name]
            if points is None:  # then there is no total
                continue
            said = [verdicts[part.name].message] if part.name in verdicts else []
            said += [scores.comments[part.name]] if part.name in scores.comments else []
            tests.append(
                {
                    "name": one.column(part),
                    "score": points,
                    "max_score": part.max_score,
                    "status": "passed" if points >= part.max_score else "failed",
                    "output": "\n".join(said),
                    "output_format": "text",
                    "visibility": "visible",
                }
            )
        results = {"score": scores.score, "visibility": "visible", "output_format": "text", "tests": tests}
        if scores.penalty:
            results["output"] = _late(scores)
        return json.dumps(results, indent=1, ensure_ascii=False) + "\n"


def status(scores: Scores) -> str:
    """How far a student is: graded, waits for a human, missing."""
    if not scores.handed_in:
        return MISSING
    return WAITS if scores.score is None else GRADED


def harmless(text: str) -> str:
    """Text as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _named(wanted: str, known: Sequence[str]) -> str:
    """The assignment that `03_lstm_understanding`, `03` or `3` means."""
    found = [slug for slug in known if wanted == slug or re.match(rf"{re.escape(wanted.zfill(2))}_", slug)]
    if not found:
        listed = ", ".join(known) or "none: `s30 gradebook` enters the assignments"
        raise UserError(f"--assignment {shown(wanted)}: the gradebook has no such assignment. It has {listed}.")
    return wanted if wanted in found else found[0]


def _by_exercise(one: Graded, scores: Scores) -> dict[str, Cell]:
    return {one.column(part): scores.parts.get(part.name) for part in one.parts}


def _table(columns: Sequence[str], rows: Iterable[dict[str, Cell]]) -> str:
    """A table as CSV: text in quotes and harmless, numbers as they are, and blank what is not there."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(map(harmless, columns))
    for row in rows:
        cells = (row.get(column) for column in columns)
        writer.writerow([harmless(cell) if isinstance(cell, str) else "" if cell is None else cell for cell in cells])
    return out.getvalue()


def _feedback(one: Graded, scores: Scores) -> str:
    if scores.score is None:
        return ""
    said = []
    for part in one.parts:
        comment = scores.comments.get(part.name)
        points = f"{part.name}: {number(scores.parts[part.name] or 0.0)} of {number(part.max_score)}"
        said.append(f"{points} ({comment})" if comment else points)
    return "; ".join(said + ([_late(scores)] if scores.penalty else []))


def _late(scores: Scores) -> str:
    return f"Handed in late: {number(scores.penalty)} points less."


def _as_name(student: str) -> str:
    """An id as the name of a folder, different ones under different names."""
    return re.sub(r'[/\\:*?"<>|%\x00-\x1f\x7f]|^\.+|[. ]$', lambda m: "".join(f"%{ord(c):02X}" for c in m[0]), student)
