"""A class's submissions: as nbgrader has them, or as a learning management system gives them, in a folder or a zip.

Everything that is in a source ends as a notebook that is graded, as a student's problem, as a file that could be given
to nobody, or as a note.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autograder.engine.inside.errors import UserError
from course.base.files import as_json, write_whole
from course.base.project import Project
from course.teach.choosing import Chooser, Judged
from course.teach.names import (
    BLACKBOARD,
    GRADESCOPE,
    METADATA,
    NBGRADER,
    SAKAI,
    TIMESTAMP,
    Layout,
    Name,
    Receipt,
    as_id,
    attempt,
    is_notebook,
    moment_beside,
    moment_in,
    other_assignment,
    receipt_in,
    submitters,
)
from course.teach.roster import Roster, nfc
from course.teach.sources import EMPTY_FOLDER, Budget, File, Unread, files_of, in_folder, in_inner_zip, read, shown

EARLIER = "earlier"  # in the class's folder: submissions that were replaced by later ones, or came too late for that
RECEIVED = "received"  # in the class's folder: what the system said of each submission
_MOST_SHOWN = 10  # names in a note
_SAME_TIME = 2.0  # seconds that dates in a zip may be apart and mean the same
_OFFICE = (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".pages", ".jar", ".whl")  # zips that are none to people
_ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # with these nothing else can be written, either


@dataclass(frozen=True)
class Collected:
    """What came of taking submissions in.

    Attributes:
        problems: student's id → why no notebook of theirs could be taken, though they handed something in.
        unplaced: files that could be given to nobody, as they are shown, and why.
        notes: what is to be said though nothing is lost.
        missing: the ids of the roster of whom nothing is there.
    """

    problems: dict[str, str] = field(default_factory=dict)
    unplaced: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Piece:
    """A file of somebody's, with what its name says, and its name in the source, or that of the zip that it lies in."""

    file: File
    name: Name
    source: str


@dataclass(frozen=True)
class _Person:
    """One who handed in, as the source names them."""

    name: Name
    pieces: list[_Piece] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    """A notebook that may count."""

    piece: _Piece
    shown: str
    content: bytes
    judged: Judged


def collect(source: Path, slug: str, course_dir: Path, roster: Roster, *, project: Project | None = None) -> Collected:
    """Copy the notebooks of a folder or a zip to where nbgrader looks for them.

    A later version of a submission goes in the place of the earlier one, which is kept.

    Args:
        source: a folder or a zip with a file or a folder per student, or as a system gives it; or a folder in
            nbgrader's own layout.
        slug: the assignment.
        course_dir: the class's folder.
        roster: who is in the class, as far as that is known.
        project: the course; by default this copy of it.
    """
    taken = Collected()
    desk = _Desk(slug, course_dir, Chooser(project or Project(), slug), roster, taken)
    with ExitStack() as opened:
        inner = source / "submitted" if (source / "submitted").is_dir() else source
        files = _below_submitted(files_of(inner, opened), slug)
        if not files:
            raise UserError(f"--submissions {source}: there is no notebook (*.ipynb) in it, nor any other file.")
        people = _people(files, slug, roster, taken, packed=source.is_file())
        try:
            for student, person in sorted(_placed(people, roster, taken).items()):
                desk.take(student, person)
        finally:
            desk.end()
    taken.missing.extend(_missing(slug, course_dir, roster, taken))
    return taken


def settle(slug: str, course_dir: Path, roster: Roster, *, project: Project | None = None) -> Collected:
    """Give those whose submission is there already, under another name, a notebook that is called as nbgrader asks for.

    The files that they handed in stay. Of somebody whose notebook has the right name but is as it was handed out, and
    who has another one with exercises done, that one is copied in its place.

    Args and result are those of :func:`collect`.
    """
    taken, chooser = Collected(), Chooser(project or Project(), slug)
    for student, path in submitted(slug, course_dir).items():
        if roster and nfc(student) not in map(nfc, roster.ids):
            taken.notes.append(_stranger(student, roster.near(student)))
        if path.is_symlink():
            continue  # the grader says it
        try:
            files = {file.parts: file for file in in_folder(path.parent)}
            mine = files.pop((path.name,), None)
            others = [file for parts, file in files.items() if parts != (TIMESTAMP,)]
            if mine and not any(is_notebook(file.name) for file in others):
                continue
            before = Budget().read(mine) if mine else None
        except (UserError, Unread) as problem:
            taken.problems[student] = f"{path} {problem}." if isinstance(problem, Unread) else str(problem)
            continue
        judged = chooser.judged(before) if before is not None else None
        if judged and (judged.solved or not judged.notebook):
            continue
        if not others:
            taken.problems[student] = f"{path.parent} has no file {path.name}: it is empty."
            continue
        with ExitStack() as opened:
            pieces = [_Piece(file, Name(student), file.name) for file in others]
            found, why, beside = _choose(student, pieces, slug, chooser, Budget(), opened)
        if found is None and before is None:
            taken.problems[student] = why
        elif found is not None and (before is None or found.judged.solved):
            try:
                if before is not None:
                    _keep(before, student, slug, course_dir)
                write_whole(path, found.content)
            except OSError as problem:
                taken.problems[student] = _unwritten(student, found.shown, course_dir, problem)
                continue
            was = " in place of one that was as handed out" if before is not None else ""
            taken.notes.append(f"{student}: {found.shown} counts, and was copied to {path.name}{was}.")
            taken.notes.extend(_passed_over(student, beside))
    taken.missing.extend(_missing(slug, course_dir, roster, taken))
    return taken


def submitted(slug: str, course_dir: Path) -> dict[str, Path]:
    """Student → where nbgrader looks for their notebook of an assignment, for all who handed something in."""
    folders = sorted((course_dir / "submitted").glob(f"*/{slug}"))
    return {folder.parent.name: folder / f"{slug}.ipynb" for folder in folders if folder.is_dir()}


def received(slug: str, course_dir: Path) -> dict[str, dict[str, Any]]:
    """Student → what the system said of the submission that counts.

    `name` is the file's path in the source, `system` whose names they are ("canvas", "moodle", "blackboard",
    "gradescope", "sakai", "nbgrader" or ""), `late` whether the name says so, `moment` when it came (ISO, UTC) or None,
    `order` a number that grows with time, or None.
    """
    path = course_dir / RECEIVED / f"{slug}.json"
    try:
        tree = dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as problem:
        raise UserError(f"{path} can't be read: {problem}. Move it away, and take the submissions in again.") from None
    return {student: entry for student, entry in tree.items() if isinstance(entry, dict)}


# Whose each file is ---------------------------------------------------------------------------------------------------


def _below_submitted(files: list[File], slug: str) -> list[File]:
    """Of the files of a class's whole folder those that were handed in."""
    for depth in (0, 1):
        inside = [f for f in files if len(f.parts) > depth + 3 and f.parts[depth] == "submitted"]
        if any(f.parts[depth + 2] == slug for f in inside):
            return [replace(f, parts=f.parts[depth + 1 :]) for f in inside]
    return files


def _people(files: Sequence[File], slug: str, roster: Roster, taken: Collected, *, packed: bool) -> list[_Person]:
    """Those whom the source names, with what they handed in."""
    layout = Layout.of([f.parts for f in files], slug, lambda name: roster.place(name) is not None, packed=packed)
    told = [(file, layout.named(file.parts, slug)) for file in files]
    beside = _Beside([(file, name) for file, name in told if name is not None], taken)
    people: dict[tuple[str, ...], _Person] = {}
    others: dict[str, int] = defaultdict(int)
    for file, name in told:
        if other := other_assignment(file.parts[layout.depth :], slug):
            others[other] += 1
        elif name is None:
            why = "its name is not like those of the other files, and says nobody's: rename it as they are"
            taken.unplaced.append((shown(file.name), f"{why}, or hand it in in a folder of the student's id."))
        elif name.called or not name.own:
            for known in beside.names(file, name):
                who = (known.called, known.person, name.person)
                inner = replace(file, parts=file.parts[layout.depth :])
                people.setdefault(who, _Person(known)).pieces.append(_Piece(inner, known, file.name))
    taken.notes.extend(f"passed over: {count} files of {other}." for other, count in sorted(others.items()))
    return list(people.values())


class _Beside:
    """What systems write of submissions in files of their own, beside them."""

    def __init__(self, files: Sequence[tuple[File, Name]], taken: Collected) -> None:
        self._taken = taken
        self._metadata: dict[str, list[Name]] | None = None
        self._attempts: dict[str, Receipt | None] = {}
        self._moments: dict[str, datetime] = {}
        self._guessed = False
        for file, name in files:
            last = file.parts[-1]
            if name.own and last == METADATA:
                self._metadata = self._gradescope(file)
            elif name.own and name.system == BLACKBOARD:
                self._attempts[name.person] = self._attempts.get(name.person) or receipt_in(self._text(file))
            elif name.own and name.system in (SAKAI, NBGRADER) and last == TIMESTAMP:
                self._moment(file, name)

    def names(self, file: File, name: Name) -> list[Name]:
        """Whose a file is: more than one, where a group has handed in; nobody's, if it was said so."""
        if name.system == GRADESCOPE:
            known = (self._metadata or {}).get(name.person)
            if not known:
                why = f"whose it is says {METADATA}, which {'does not name it' if self._metadata else 'is not there'}"
                self._taken.unplaced.append((shown(file.name), f"{why}: export the submissions again, with it."))
            return known or []
        if name.system == BLACKBOARD:
            receipt = self._attempts.get(name.person)
            if not (receipt and receipt.zone) and not self._guessed:
                self._guessed = True
                zone = datetime.now().astimezone().tzname()
                self._taken.notes.append(f"Blackboard's times do not say their zone: they were taken to be in {zone}.")
            return [attempt(name, receipt)]
        return [replace(name, moment=self._moments.get(name.called, name.moment))]

    def _gradescope(self, file: File) -> dict[str, list[Name]]:
        try:
            return submitters(read(file, 100 * 2**20))
        except (Unread, ValueError) as problem:
            self._taken.notes.append(f"{shown(file.name)} can't be read: {shown(str(problem))}.")
            return {}

    def _moment(self, file: File, name: Name) -> None:
        try:
            text = self._text(file)
            moment = moment_in(text, name.system)
        except ValueError:
            self._taken.notes.append(
                f"{shown(name.called)}: {shown(file.name)} says no date ({shown(text.strip())!r}), so when they handed "
                "in is not known."
            )
        else:
            if moment is not None:
                self._moments[name.called] = moment

    def _text(self, file: File) -> str:
        try:
            return read(file, 100_000).decode("utf-8-sig", "replace")
        except Unread as problem:
            self._taken.notes.append(f"{shown(file.name)} {problem}.")
            return ""


def _placed(people: Sequence[_Person], roster: Roster, taken: Collected) -> dict[str, _Person]:
    """Student's id → what they handed in. Whoever could be somebody else is told of, and given to nobody."""
    claims: dict[str, list[tuple[bool, _Person]]] = defaultdict(list)
    for person in people:
        found = next((f for text in person.name.lookups if (f := roster.find(text, person.name.number))), None)
        if found:
            claims[found[0]].append((found[1], person))
            continue
        near = _near(roster, person.name)
        if near:
            whose = f"{shown(person.name.called)} is not in the roster; near: {', '.join(map(shown, near))}"
            why = f"{whose}. Rename the file, or enter them with s30 gradebook --roster."
            taken.unplaced.extend((shown(p.file.name), why) for p in person.pieces if not p.name.own)
        else:
            claims[as_id(person.name.called)].append((False, person))
    placed: dict[str, _Person] = {}
    by_name = []
    for student, several in sorted(claims.items()):
        sure = [claim for claim in several if not claim[0]]
        counted = several if len(several) == 1 else sure if len(sure) == 1 else []
        called = {person.name.called for _, person in several}
        names = called if len(called) == len(several) else {p.pieces[0].source for _, p in several}
        for _, person in (claim for claim in several if claim not in counted):
            why = f"{' and '.join(sorted(map(shown, names)))} are one id, {shown(student)}. Rename all but one of them."
            taken.unplaced.extend((shown(p.file.name), why) for p in person.pieces if not p.name.own)
        if counted:
            placed[student] = counted[0][1]
            by_name += [f"{shown(counted[0][1].name.called)} is {student}"] if counted[0][0] else []
    if by_name:
        taken.notes.append(f"found in the roster by their names: {_listed(by_name)}.")
    return placed


def _near(roster: Roster, name: Name) -> list[str]:
    return list(dict.fromkeys(student for text in name.lookups for student in roster.near(text, name.number)))


def _stranger(student: str, near: list[str]) -> str:
    return f"not in the roster: {student} (graded){'; near: ' if near else ''}{', '.join(near)}"


def _missing(slug: str, course_dir: Path, roster: Roster, taken: Collected) -> Iterator[str]:
    there = {nfc(student) for student in (*submitted(slug, course_dir), *taken.problems)}
    yield from (student for student in roster.ids if nfc(student) not in there)


# Which of a student's files counts ------------------------------------------------------------------------------------


def _kind(file: File) -> str:
    """What a file is, by its name and how it begins: a "notebook", a "zip", an "archive", "empty" or "other".

    Raises Unread.
    """
    name = file.parts[-1].casefold()
    head = read(file, 64)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) and not name.endswith(_OFFICE):
        return "zip"
    if not head:
        return "empty"
    if name.endswith(".zip"):
        return "zip"
    if name.endswith(".ipynb"):
        return "notebook"
    if name.endswith(_ARCHIVES) or head.startswith((b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")):
        return "archive"
    begins = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return "json" if begins.startswith(b"{") else "other"


def _choose(
    student: str, pieces: Sequence[_Piece], slug: str, chooser: Chooser, budget: Budget, opened: ExitStack
) -> tuple[_Found | None, str, list[str]]:
    """The notebook of a student that counts, or why none does; and what else they handed in, as it is shown."""
    best: _Found | None = None
    tied: list[_Found] = []
    left: list[tuple[str, str]] = []  # what is no notebook, or of another assignment, and why it is left
    beside: list[str] = []
    budget.next_student()
    for piece, called in _unpacked(pieces, budget, opened, left):
        try:
            found = _looked_into(piece, called, chooser, budget)
        except Unread as problem:
            left.append((called, str(problem)))
            continue
        if found is None:
            left.append((called, "is no notebook"))
        elif found.judged.other:
            left.append((called, f"is a notebook of {found.judged.other}, not of {slug}"))
        elif best is None or _rank(found, slug) > _rank(best, slug):
            beside += [f.shown for f in tied]
            best, tied = found, [found]
        elif found.content == best.content:
            continue
        elif _rank(found, slug) == _rank(best, slug):
            tied.append(replace(found, content=b""))
        else:
            beside.append(called)
    if len(tied) > 1:
        names = ", ".join(sorted(f.shown for f in tied))
        return None, f"Several notebooks, and nothing says which one counts: {names}. Keep one of them.", []
    beside += [called if why == "is no notebook" else f"{called} ({why})" for called, why in left]
    return best, "" if best else _problem(student, left, pieces), beside


def _unpacked(
    pieces: Sequence[_Piece], budget: Budget, opened: ExitStack, left: list[tuple[str, str]]
) -> Iterator[tuple[_Piece, str]]:
    """A student's files, with what is in their zips, and how each is called; what a system wrote is left out."""
    for piece in pieces:
        file, called = piece.file, piece.file.shown
        if piece.name.own:
            continue
        if piece.name.text:
            left.append((called, "is what they typed in, and no file"))
            continue
        try:
            kind = _kind(file)
            if kind == "zip":
                inner = in_inner_zip(budget.read(file), opened)
                if not inner:
                    left.append((called, "is a zip without a file in it"))
                for entry in inner:
                    yield _Piece(entry, piece.name, piece.source), f"{called}/{shown('/'.join(entry.parts))}"
            elif kind == "archive":
                left.append((called, "is an archive that can't be opened here"))
            elif kind == "empty":
                left.append((called, "is empty"))
            else:
                yield piece, called
        except Unread as problem:
            left.append((called, str(problem)))


def _looked_into(piece: _Piece, called: str, chooser: Chooser, budget: Budget) -> _Found | None:
    """A file as a notebook that may count; None if it is none. Raises Unread."""
    kind = _kind(piece.file)
    if kind in ("zip", "archive"):
        raise Unread("is an archive in an archive, and was not opened")
    if kind == "empty":
        raise Unread("is empty")
    if kind == "other":
        return None
    content = budget.read(piece.file)
    judged = chooser.judged(content)
    return _Found(piece, called, content, judged) if judged.notebook or kind == "notebook" else None


def _rank(found: _Found, slug: str) -> tuple[Any, ...]:
    """The greater, the more a notebook is the one that counts; its date decides only among those of the assignment."""
    name, judged, stem = found.piece.name, found.judged, found.piece.file.parts[-1].partition(".")[0]
    moment = name.moment or datetime.min
    changed = found.piece.file.changed // _SAME_TIME if judged.fits else 0
    return (
        *(judged.solved > 0, judged.fits > 0, judged.notebook, moment, judged.solved, name.order or 0),
        *(changed, stem == slug, slug in stem),
    )


def _problem(student: str, left: Sequence[tuple[str, str]], pieces: Sequence[_Piece]) -> str:
    """Why nothing that a student handed in is a notebook, and what to do."""
    ask = f"ask {student} for the .ipynb file"
    if not left:
        last = pieces[-1].file.shown
        return f"{student} handed in no file; there is only what the system wrote, {last}: {ask}."
    plain = [called for called, why in left if why == "is no notebook"]
    said = [f"{_listed(plain)} {'is' if len(plain) == 1 else 'are'} no notebook"] if plain else []
    said += [f"{called} {why}" for called, why in left if why != "is no notebook"]
    return f"{_listed(said, '; ')}: {ask}."


def _passed_over(student: str, beside: Sequence[str]) -> list[str]:
    return [f"passed over beside {student}'s notebook: {_listed(beside)}."] if beside else []


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return between.join(names[:_MOST_SHOWN]) + more


# Where nbgrader looks for it ------------------------------------------------------------------------------------------


class _Desk:
    """Takes the notebooks of one source in."""

    def __init__(self, slug: str, course_dir: Path, chooser: Chooser, roster: Roster, taken: Collected) -> None:
        self._known = set(map(nfc, roster.ids))
        self._slug, self._course_dir, self._chooser, self._taken = slug, course_dir, chooser, taken
        self._budget = Budget()
        self._received = received(slug, course_dir)

    def take(self, student: str, person: _Person) -> None:
        """Take the notebook that counts of what one person handed in."""
        known = nfc(student) in self._known
        loose = not known and _loose(person)
        who = "somebody" if loose else student
        with ExitStack() as opened:
            found, why, beside = _choose(who, person.pieces, self._slug, self._chooser, self._budget, opened)
        if found is None and _nothing(person):
            return
        if found is None and loose:
            self._taken.unplaced.extend((shown(piece.file.name), why) for piece in person.pieces)
            return
        if found is None:
            self._taken.problems[student] = why
            return
        if self._known and not known:
            self._taken.notes.append(_stranger(student, []))
        if not found.piece.file.parts[-1].endswith(".ipynb"):
            self._taken.notes.append(f"{student}: taken although it is called {found.shown}.")
        self._taken.notes.extend(_passed_over(student, beside))
        try:
            self._put(student, found)
        except OSError as problem:
            self._taken.problems[student] = _unwritten(student, found.shown, self._course_dir, problem)

    def end(self) -> None:
        """Write down what the system said of each submission that counts."""
        if self._received:
            ordered = dict(sorted(self._received.items()))
            try:
                write_whole(self._course_dir / RECEIVED / f"{self._slug}.json", as_json(ordered))
            except OSError as problem:
                self._taken.notes.append(f"{self._course_dir / RECEIVED} can't be written: {problem.strerror}.")

    def _put(self, student: str, found: _Found) -> None:
        """Write a notebook to where nbgrader looks for it, unless a newer one is there; a different one is kept."""
        moment = found.piece.name.moment
        path = self._course_dir / "submitted" / student / self._slug / f"{self._slug}.ipynb"
        stamp = path.with_name(TIMESTAMP)
        before = path.read_bytes() if path.is_file() else None
        was = _moment_beside(path.parent)
        if before is not None and before != found.content:
            if why := self._stays(student, found, was, path, before):
                _keep(found.content, student, self._slug, self._course_dir, moment)
                self._taken.notes.append(f"{found.shown} of {student} {why}; it is kept in {EARLIER}/.")
                return
            _keep(before, student, self._slug, self._course_dir, was)
        if before != found.content:
            write_whole(path, found.content)
            if found.piece.file.changed:
                os.utime(path, (found.piece.file.changed,) * 2)
            if moment is None:
                stamp.unlink(missing_ok=True)  # it is of the one before
        if moment is not None and (before != found.content or was is None):
            _stamp(stamp, moment)
        self._received[student] = {
            "name": found.piece.source,
            "system": found.piece.name.system,
            "late": found.piece.name.late,
            "moment": moment.replace(tzinfo=UTC).isoformat() if moment else None,
            "order": found.piece.name.order,
        }

    def _stays(self, student: str, found: _Found, was: datetime | None, path: Path, before: bytes) -> str:
        """Why what is there already is not replaced, as the rest of a sentence; nothing if it is."""
        known = self._received.get(student, {})
        moment, order, same = (
            *(found.piece.name.moment, found.piece.name.order),
            known.get("system") == found.piece.name.system,
        )
        if moment is not None and was is not None:
            older = moment < was
        elif order is not None and same and isinstance(known.get("order"), int):
            older = order < known["order"]
        else:
            older = 0 < found.piece.file.changed < path.stat().st_mtime - _SAME_TIME
        if older:
            return "is older than the one that is there, and did not replace it"
        if not found.judged.solved and self._chooser.judged(before).solved:
            return "has no exercise done, and did not replace the earlier one, which has"
        return ""


def _loose(person: _Person) -> bool:
    """Whether somebody is known only by the name of a file, which is not called as notebooks are, and by no system."""
    return all(
        not (piece.name.system or len(piece.file.parts) > 1 or is_notebook(piece.file.name)) for piece in person.pieces
    )


def _nothing(person: _Person) -> bool:
    """Whether a system made a folder for somebody who has handed in nothing."""
    hollow = all(piece.name.own or piece.file.problem == EMPTY_FOLDER for piece in person.pieces)
    return hollow and person.name.system == SAKAI and person.name.moment is None


def _moment_beside(folder: Path) -> datetime | None:
    """The moment beside a notebook that is there; None also for what is no date."""
    try:
        return moment_beside(folder)
    except (FileNotFoundError, ValueError):
        return None


def _stamp(path: Path, moment: datetime) -> None:
    """Write when something was handed in, as nbgrader does."""
    write_whole(path, f"{moment.isoformat(sep=' ')} UTC\n")


def _keep(content: bytes, student: str, slug: str, course_dir: Path, moment: datetime | None = None) -> None:
    """Keep a notebook that does not count."""
    kept = course_dir / EARLIER / student / f"{slug}-{hashlib.sha256(content).hexdigest()[:12]}.ipynb"
    write_whole(kept, content)
    if moment is not None:
        _stamp(kept.with_suffix(".timestamp.txt"), moment)


def _unwritten(student: str, called: str, course_dir: Path, problem: OSError) -> str:
    """Why a notebook could not be written; a UserError where nobody else's could be, either."""
    said = f"{called} of {student} can't be written into {course_dir}: {problem.strerror}"
    if problem.errno in _FULL:
        raise UserError(f"{said}. What was there is there still; make room, and say the same again.") from None
    return f"{said}. Who may write there?"
