"""A class's submissions: as nbgrader has them, or as a learning management system gives them, in a folder or a zip."""

from __future__ import annotations

import hashlib
import io
import os
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from autograder.engine.inside.errors import UserError
from course.base.files import write_whole
from course.teach.reading import MAX_SUBMITTED_BYTES

EARLIER = "earlier"  # in the class's folder: submissions that were replaced by later ones
MAX_UNPACKED_BYTES = 20 * 2**30  # of all notebooks of a zip together
MAX_ENTRIES = 100_000  # of a zip
MAX_ID = 100  # characters of a student's id: it names folders, and stands in tables
# What systems put round a student's name: Canvas `doejane_LATE_1234_56789_lstm.ipynb`, Moodle
# `Jane Doe_1234_assignsubmission_file_/lstm.ipynb`. The number stays, for two students may have one name; and the last
# of several counts, for a name is what its owner chose.
_SYSTEMS = (
    re.compile(r"(?P<student>.+_\d+)_assignsubmission_.*", re.DOTALL),
    re.compile(r"(?P<student>[^_]+)(?:_LATE)?(?P<user>_\d+)_\d+_.+", re.DOTALL),
)
_PASSED_OVER = {"__MACOSX", ".ipynb_checkpoints"}


@dataclass(frozen=True)
class Found:
    """One file that was handed in.

    Attributes:
        student: whose it is: their id.
        called: what they are called in the name of the file or folder, from which the id was made.
        name: what the file was called, fit to be shown.
        changed: when it was last changed, in seconds.
        open: begins to read it.
        problem: why it can't be read, as far as this is known before it is.
    """

    student: str
    called: str
    name: str
    changed: float = 0.0
    open: Callable[[], IO[bytes]] = io.BytesIO
    problem: str = ""


def collect(source: Path, slug: str, course_dir: Path) -> dict[str, str]:
    """Copy the notebooks of a folder or a zip to where nbgrader looks for them.

    A later version of a submission goes in the place of the earlier one, which is kept.

    Args:
        source: a folder or a zip with a file or a folder per student; or a folder in nbgrader's own layout.
        slug: the assignment.
        course_dir: the class's folder.

    Returns:
        Student → why no notebook of theirs could be taken.
    """
    if not source.exists():
        raise UserError(f"--submissions {source}: there is no such folder or file.")
    by_student: dict[str, list[Found]] = {}
    with ExitStack() as opened:
        for found in _from_zip(source, slug, opened) if source.is_file() else _from_folder(source, slug):
            by_student.setdefault(found.student, []).append(found)
        if not by_student:
            raise UserError(f"--submissions {source}: there is no notebook (*.ipynb) in it.")
        problems, room = {}, MAX_UNPACKED_BYTES
        for student, files in sorted(by_student.items()):
            chosen = _chosen(files, slug)
            called = sorted({shown(f.called) for f in files})
            if len(called) > 1:
                problems[student] = f"{' and '.join(called)} are one id, {student}. Rename all but one of them."
            elif chosen is None:
                names = ", ".join(sorted(f.name for f in files))
                problems[student] = f"Several notebooks, and none is called {slug}: {names}. Which one counts?"
            elif chosen.problem or not room:
                problems[student] = f"{chosen.name} {chosen.problem or _NO_ROOM}."
            else:
                try:
                    room -= _put(chosen, slug, course_dir, room)
                except _Unread as problem:
                    problems[student] = f"{chosen.name} {problem}."
    return problems


class _Unread(Exception):
    """Why a file can't be taken, as the rest of a sentence."""


def submitted(slug: str, course_dir: Path) -> dict[str, Path]:
    """Student → where nbgrader looks for their notebook of an assignment, for all who handed something in."""
    folders = sorted((course_dir / "submitted").glob(f"*/{slug}"))
    return {folder.parent.name: folder / f"{slug}.ipynb" for folder in folders if folder.is_dir()}


def _from_folder(source: Path, slug: str) -> Iterator[Found]:
    inner = source / "submitted" if (source / "submitted").is_dir() else source
    as_nbgrader_has_them = sorted(inner.glob(f"*/{slug}/*.ipynb"))
    for path in as_nbgrader_has_them or sorted(inner.rglob("*.ipynb")):
        parts = path.relative_to(inner).parts
        if _PASSED_OVER & set(parts):
            continue
        known, home = (*_student(parts, slug), shown(path.name)), inner.resolve()
        try:
            if not path.resolve().is_relative_to(home) or not path.is_file():
                yield Found(*known, problem="is a link or a folder, not a file")
            else:
                yield Found(*known, path.stat().st_mtime, partial(_opened, path))
        except OSError as problem:
            yield Found(*known, problem=f"can't be read: {problem.strerror}")


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _from_zip(source: Path, slug: str, opened: ExitStack) -> Iterator[Found]:
    """The notebooks of a zip. Nothing is unpacked, so names in it can't lead anywhere."""
    try:
        archive = opened.enter_context(zipfile.ZipFile(source))
    except Exception as problem:  # zipfile has many for what it does not expect
        raise UserError(f"--submissions {source} can't be read as a zip: {shown(str(problem))}.") from None
    if len(archive.infolist()) > MAX_ENTRIES:
        raise UserError(f"--submissions {source} has more than {MAX_ENTRIES:,} files: that is no class's archive.")
    entries = {e: PurePosixPath(e.filename.replace("\\", "/")).parts for e in archive.infolist()}
    entries = {e: p for e, p in entries.items() if e.filename.endswith(".ipynb") and not _PASSED_OVER & set(p)}
    nested = min((len(parts) for parts in entries.values()), default=1) - 1
    tops = {parts[0] for parts in entries.values()}
    skip = 1 if nested and len(tops) == 1 and len(entries) > 1 else 0  # one folder round everything
    for entry, parts in entries.items():
        changed = float("".join(f"{part:02d}" for part in entry.date_time))  # it need not be a date that exists
        yield Found(*_student(parts[skip:], slug), shown(parts[-1]), changed, partial(archive.open, entry))


def shown(text: str) -> str:
    """A name as it may be shown: nothing that moves a terminal's cursor, and no more than a line."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= MAX_ID else f"{text[:MAX_ID]}…"


def _student(parts: tuple[str, ...], slug: str) -> tuple[str, str]:
    """Whose a file is, and what that was made from: the folder it lies in, or its name, without what systems add."""
    name = unicodedata.normalize("NFC", parts[0] if len(parts) > 1 else PurePosixPath(parts[0]).stem)
    match = next((m for pattern in _SYSTEMS if (m := pattern.fullmatch(name))), None)
    called = "".join(match.groups()) if match else name
    called = called.replace(slug, "") or called
    student = re.sub(r"[^\w.@+-]+", "_", called).strip("._-") or "unnamed"
    if len(student) > MAX_ID:
        student = f"{student[: MAX_ID - 9]}-{hashlib.sha256(called.encode(errors='replace')).hexdigest()[:8]}"
    return student, called.strip("._- ")


def _chosen(files: list[Found], slug: str) -> Found | None:
    """Which of a student's files counts: the only one, or the latest of those that bear the assignment's name."""
    if len(files) == 1:
        return files[0]
    named = [f for f in files if slug in f.name] or [f for f in files if f.name.startswith(slug[:2])]
    return max(named, key=lambda f: f.changed) if named else None


def _put(found: Found, slug: str, course_dir: Path, room: int) -> int:
    """Write a notebook to where nbgrader looks for it; a different one that is there is kept. Returns its bytes."""
    most = min(MAX_SUBMITTED_BYTES, room)
    try:
        with found.open() as file:
            content = file.read(most + 1)
    except Exception as problem:  # of an archive these are many, such as zlib.error, NotImplementedError, RuntimeError
        raise _Unread(f"can't be read: {shown(str(problem))}") from None
    if len(content) > most:
        raise _Unread(_NO_ROOM if most < MAX_SUBMITTED_BYTES else f"is larger than {MAX_SUBMITTED_BYTES // 2**20} MB")
    path = course_dir / "submitted" / found.student / slug / f"{slug}.ipynb"
    if path.is_file():
        before = path.read_bytes()
        if before == content:
            return len(content)
        kept = course_dir / EARLIER / found.student / f"{slug}-{hashlib.sha256(before).hexdigest()[:12]}.ipynb"
        kept.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, kept)
    write_whole(path, content)
    return len(content)


_NO_ROOM = f"was not taken: all notebooks together have more than {MAX_UNPACKED_BYTES // 2**30} GB"
