"""Who is in a class, and which of them a name is meant to be: ids, names and addresses are compared, never guessed."""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from autograder.engine.inside.errors import UserError
from course.base.files import write_whole
from course.teach.folder import ClassFolder

ROSTER = "roster.csv"  # in the class's folder, beside points.toml: the roster that was entered last
MAX_ROSTER_BYTES = 10 * 2**20
_NEAR = 0.75  # of difflib's ratio: from there on a name may be meant to be another
_MOST_NEAR = 3  # that are suggested


@dataclass(frozen=True)
class Student:
    """One who is in the class.

    Attributes:
        id: as submissions and nbgrader name them.
        first_name, last_name, email: as far as they are known.
        lms_user_id: their number in the learning management system.
    """

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""


_COLUMNS = tuple(field.name for field in fields(Student))


@dataclass(frozen=True)
class Roster:
    """The students of a class; none, where nobody has said who is in it."""

    students: tuple[Student, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.students)

    @classmethod
    def of(cls, folder: ClassFolder) -> Roster:
        """The roster that was entered, with what the gradebook knows of its students.

        Without one it is all who are in the gradebook, if it knows anything but the ids: those alone come from
        grading, too.
        """
        known = {}
        if folder.has_gradebook():
            with folder.gradebook() as gradebook:
                for row in gradebook.students:
                    student = Student(row.id, *(str(getattr(row, column) or "") for column in _COLUMNS[1:]))
                    if not _no_folder(row.id):
                        known[nfc(row.id)] = student
        entered = folder.root / ROSTER
        if entered.is_file():
            return cls(tuple(known.get(student.id, student) for student in read_roster(entered)))
        named = any(s.first_name or s.last_name or s.email or s.lms_user_id for s in known.values())
        return cls(tuple(known.values()) if named else ())

    @property
    def ids(self) -> list[str]:
        """The ids, as the gradebook has them."""
        return [student.id for student in self.students]

    def place(self, called: str, user_number: str = "") -> str | None:
        """The id of the one student whom a name can mean; None if that is nobody, or more than one.

        Args:
            called: an id, a login, an address or a full name; after it may stand `_` and the number.
            user_number: what the learning management system counts them as, if it says so.
        """
        found = self.find(called, user_number)
        return found[0] if found else None

    def find(self, called: str, user_number: str = "") -> tuple[str, bool] | None:
        """What :meth:`place` finds, and whether it was found by the person's name alone."""
        exact = self._by_id.get(nfc(called))
        if exact is not None:
            return exact, False
        if user_number and (found := _only(s.id for s in self.students if s.lms_user_id == user_number)):
            return found, False
        bare = _bare(called, user_number)
        for text in (called, bare):
            if found := _only(self._by_login.get(words(text), ())):
                return found, False
        if user_number and (found := _only(self._by_login.get(words(user_number), ()))) and self._agrees(found, bare):
            return found, False
        for key in (words(bare), words(called), _letters(bare)):
            if found := _only(self._by_name.get(key, ())):
                return found, True
        return None

    def near(self, called: str, user_number: str = "") -> list[str]:
        """The ids of students whom a name that means nobody may be meant to be."""
        bare = _bare(called, user_number)
        keys = {**self._by_login, **{k: v | self._by_login.get(k, set()) for k, v in self._by_name.items()}}
        alike = [key for text in (words(called), words(bare), _letters(bare)) if text for key in _alike(text, keys)]
        return list(dict.fromkeys(student for key in alike for student in sorted(keys[key])))[:_MOST_NEAR]

    @cached_property
    def _by_id(self) -> dict[str, str]:
        return {nfc(student.id): student.id for student in self.students}

    @cached_property
    def _by_login(self) -> dict[str, set[str]]:
        """Id, address, and what stands before its @ → whose it is."""
        found: dict[str, set[str]] = {}
        for student in self.students:
            for text in (student.id, student.email, student.email.partition("@")[0]):
                _enter(found, words(text), student.id)
        return found

    @cached_property
    def _by_name(self) -> dict[str, set[str]]:
        """Full names, in both orders → whose they are; also without what stands between the letters, as Canvas does."""
        found: dict[str, set[str]] = {}
        for student in self.students:
            if not (student.first_name and student.last_name):
                continue
            for text in (f"{student.first_name} {student.last_name}", f"{student.last_name} {student.first_name}"):
                letters = _letters(text)
                for key in (words(text), letters, letters.encode("ascii", "ignore").decode()):
                    _enter(found, key, student.id)
        return found

    def _agrees(self, found: str, name: str) -> bool:
        """Whether a name can be a student's, as far as the roster knows theirs."""
        student = next(s for s in self.students if s.id == found)
        known = words(f"{student.first_name} {student.last_name}").split()
        return not known or any(word in _letters(name) for word in known)


def nfc(text: str) -> str:
    """A text in the one of its forms in Unicode in which it is compared."""
    return unicodedata.normalize("NFC", text)


def words(text: str) -> str:
    """The words of a name, whatever their case and what stands between them."""
    return " ".join(re.findall(r"[^\W_]+", nfc(text).casefold()))


def _letters(text: str) -> str:
    return words(text).replace(" ", "")


def _bare(called: str, number: str) -> str:
    """A name without the number after it."""
    return called.removesuffix(f"_{number}") if number else called


def _enter(found: dict[str, set[str]], key: str, student: str) -> None:
    if key:
        found.setdefault(key, set()).add(student)


def _only(found: Iterable[str]) -> str | None:
    several = list(found)
    return several[0] if len(several) == 1 else None


def _alike(text: str, keys: Iterable[str]) -> list[str]:
    """The keys with the same words, and those that are nearly the same, the nearest first."""
    keys = list(keys)
    same = [key for key in keys if " " in key and sorted(key.split()) == sorted(text.split())]
    return same + difflib.get_close_matches(text, keys, n=_MOST_NEAR, cutoff=_NEAR)


# The file -------------------------------------------------------------------------------------------------------------


def enter_roster(roster: Path, folder: ClassFolder) -> int:
    """Enter the students of a CSV file into the class's gradebook; who is there already is updated.

    A copy stays in the class's folder, as :data:`ROSTER`: it says who is in the class.

    Args:
        roster: has a column `id`, as submissions name the student, and may have first_name, last_name, email and
            lms_user_id; what else it has is passed over.
        folder: the class.

    Returns:
        How many students it lists.
    """
    students = read_roster(roster, "--roster ")
    with folder.gradebook() as gradebook:
        for student in students:
            known = {c: value for c in _COLUMNS[1:] if (value := getattr(student, c))}
            gradebook.update_or_create_student(student.id, **known)
    copy = io.StringIO()
    table = csv.writer(copy, lineterminator="\n")
    table.writerows([_COLUMNS, *([getattr(student, column) for column in _COLUMNS] for student in students)])
    try:
        write_whole(folder.root / ROSTER, copy.getvalue())
    except OSError as problem:
        raise UserError(f"{folder.root / ROSTER} can't be written: {problem.strerror}.") from None
    return len(students)


def read_roster(path: Path, option: str = "") -> list[Student]:
    """The students of a CSV file, as Python, nbgrader or Excel writes it: with commas, semicolons or tabs.

    Raises UserError, with `option` before the file's name, for anything in it that is none.
    """
    lines = _text(path, option).splitlines(keepends=True)
    delimiter = ","
    if lines and lines[0].lower().startswith("sep="):  # Excel's own line
        delimiter = lines.pop(0).strip()[4:5] or ","
    elif lines:
        delimiter = max(",;\t", key=lines[0].count)
    try:
        heads, *rows = list(csv.reader(lines, delimiter=delimiter)) or [[]]
    except csv.Error as problem:
        raise UserError(f"{option}{path} can't be read as CSV: {problem}.") from None
    columns = [head.strip().casefold() for head in heads]
    students: dict[str, Student] = {}
    for number, row in enumerate(rows, 2):
        known = {c: nfc(v.strip()) for c, v in zip(columns, row, strict=False) if c in _COLUMNS and v.strip()}
        if not any(cell.strip() for cell in row):
            continue
        name = known.get("id", "")
        why = "has no id (the first line names the columns)" if not name else ""
        why = f"repeats {name!r}" if name in students else why or _no_folder(name)
        if why:
            raise UserError(f"{option}{path}: line {number} {why}.{' Nothing was entered.' if option else ''}")
        students[name] = Student(**known)
    return list(students.values())


def _no_folder(name: str) -> str:
    """Why an id can't be the name of a folder, as that of a student has to be."""
    if re.search(r"[/\\]", name) or name.startswith(".") or not name.isprintable():
        return f"has the id {name!r}, and a folder can't be called so: no / or \\, no dot at the start"
    return f"has an id of {len(name)} characters, and 100 are the most" if len(name) > 100 else ""


def _text(path: Path, option: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_ROSTER_BYTES + 1)
        if len(raw) > MAX_ROSTER_BYTES:
            raise UserError(f"{option}{path} is larger than {MAX_ROSTER_BYTES // 2**20} MB: that is no roster.")
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as problem:
        raise UserError(f"{option}{path} can't be read as CSV: {problem.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(
            f"{option}{path} can't be read as CSV: it is not UTF-8. In Excel, save it as “CSV UTF-8”."
        ) from None
