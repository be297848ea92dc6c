"""A made-up class's submissions, in the zips that learning management systems write of them."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from course.teach.roster import Student

SYSTEMS = ("canvas", "moodle", "blackboard", "gradescope", "sakai", "nbgrader")
SLUG = "03_lstm_understanding"
TITLE = "Homework 3: LSTM"
FIRST = datetime(2026, 3, 1, 10)  # when the first one hands in, in UTC; each of the others a minute after another
_FIRST = ("Ann", "Bob", "Cyd", "Dee", "Elí", "Fay", "Gus", "Hal", "Ida", "Jörg")
_LAST = ("Roe", "van Dam", "O'Neil", "Müller", "Smith-Poe", "Li", "Nuñez", "Berg")


def a_class(count: int) -> list[Student]:
    """Students with names of all sorts, each with an id that no system writes into a name."""
    return [
        Student(f"s{n:03d}", _FIRST[n % 10], f"{_LAST[n % 8]}{n // 40 or ''}", f"s{n:03d}@uni.example", str(7000 + n))
        for n in range(count)
    ]


def write_roster(path: Path, students: Iterable[Student]) -> Path:
    """A roster as `s30 gradebook --roster` reads it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["id", "first_name", "last_name", "email", "lms_user_id"])
        table.writeheader()
        table.writerows(vars(student) for student in students)
    return path


def write_class(
    system: str,
    path: Path,
    notebooks: Mapping[str, bytes],
    *,
    students: Iterable[Student] = (),
    late: Collection[str] = (),
    attempt: int = 1,
    file: str = f"{SLUG}.ipynb",
) -> Path:
    """Write the zip that a system gives of a class.

    Args:
        system: one of :data:`SYSTEMS`.
        path: the zip.
        notebooks: student's id → what they hand in.
        students: who they are; of others the id is their first name.
        late: ids of those who were late.
        attempt: which submission of theirs this is; a later one comes a day later.
        file: what they call their notebook.

    Returns:
        The zip.
    """
    known = {student.id: student for student in students}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        tables: dict[str, str] = {}
        for number, (name, content) in enumerate(notebooks.items()):
            student = known.get(name, Student(name, name.title(), "Roe", f"{name}@uni.example", str(7000 + number)))
            moment = FIRST + timedelta(days=attempt - 1, minutes=number)
            files = _FILES[system](student, content, moment, number + 1000 * attempt, name in late, file, tables)
            for entry, text in files.items():
                archive.writestr(zipfile.ZipInfo(entry, moment.timetuple()[:6]), text)
        for entry, text in tables.items():
            archive.writestr(entry, text)
    return path


def handed_in(number: int, attempt: int = 1) -> datetime:
    """When the one at this place in the class has handed in, in UTC."""
    return FIRST + timedelta(days=attempt - 1, minutes=number)


Files = dict[str, bytes | str]


def _canvas(
    student: Student, content: bytes, moment: datetime, order: int, late: bool, file: str, tables: dict[str, str]
) -> Files:
    name = re.sub(r"\W", "", f"{student.last_name}, {student.first_name}").lower()
    attempt = order // 1000
    stem, dot, ending = file.rpartition(".")
    called = file if attempt == 1 else f"{stem}-{attempt - 1}{dot}{ending}"
    return {f"{name}{'_LATE' if late else ''}_{student.lms_user_id}_{90000 + order}_{called}": content}


def _moodle(
    student: Student, content: bytes, moment: datetime, order: int, late: bool, file: str, tables: dict[str, str]
) -> Files:
    participant = 40000 + order % 1000
    return {f"{student.first_name} {student.last_name}_{participant}_assignsubmission_file/{file}": content}


def _blackboard(
    student: Student, content: bytes, moment: datetime, order: int, late: bool, file: str, tables: dict[str, str]
) -> Files:
    head = f"{TITLE.replace(':', '')}_{student.id}_attempt_{moment:%Y-%m-%d-%H-%M-%S}"
    receipt = (
        f"Name: {student.first_name} {student.last_name} ({student.id})\nAssignment: {TITLE}\n"
        f"Date Submitted: {moment:%A, %B %d, %Y %I:%M:%S %p} UTC\nCurrent Grade: Needs Grading\n\n"
        "Submission Field:\nThere is no student submission text data for this assignment.\n\n"
        f"Files:\n\tOriginal filename: {file}\n\tFilename: {head}_{file}\n"
    )
    return {f"{head}.txt": receipt, f"{head}_{file}": content}


def _gradescope(
    student: Student, content: bytes, moment: datetime, order: int, late: bool, file: str, tables: dict[str, str]
) -> Files:
    folder, table = f"submission_{330000 + order}", "assignment_55_export/submission_metadata.yml"
    local = (moment - timedelta(hours=8)).isoformat(sep=" ")
    tables[table] = tables.get(table, "---\n") + (
        f"{folder}:\n  :submitters:\n  - :name: {student.first_name} {student.last_name}\n    :sid: '{student.id}'\n"
        f"    :email: {student.email}\n  :created_at: {local}.123456000 -08:00\n  :score: 0.0\n"
        "  :status: processed\n  :history: []\n"
    )
    return {f"assignment_55_export/{folder}/{file}": content}


def _sakai(
    student: Student, content: bytes, moment: datetime, order: int, late: bool, file: str, tables: dict[str, str]
) -> Files:
    folder = f"{TITLE}/{student.last_name}, {student.first_name}({student.id})"
    table = f"{TITLE}/grades.csv"
    row = f'"{student.id}","{student.id}","{student.last_name}","{student.first_name}","","{moment}",""\n'
    tables[table] = tables.get(table, f'"{TITLE}","Points"\n\n"Display ID","ID","Last Name","First Name"\n') + row
    return {
        f"{folder}/timestamp.txt": f"{moment:%Y%m%d%H%M%S}000",
        f"{folder}/comments.txt": "",
        f"{folder}/Submission attachment(s)/{file}": content,
    }


def _nbgrader(
    student: Student, content: bytes, moment: datetime, order: int, late: bool, file: str, tables: dict[str, str]
) -> Files:
    folder = f"submitted/{student.id}/{SLUG}"
    return {
        f"{folder}/timestamp.txt": f"{moment.replace(tzinfo=UTC):%Y-%m-%d %H:%M:%S %Z}",
        f"{folder}/{file}": content,
    }


_FILES = {
    "canvas": _canvas,
    "moodle": _moodle,
    "blackboard": _blackboard,
    "gradescope": _gradescope,
    "sakai": _sakai,
    "nbgrader": _nbgrader,
}
