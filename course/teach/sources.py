"""The files of a folder or a zip, as they were handed in. Nothing is unpacked, so names in a zip lead nowhere."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO

from autograder.engine.inside.errors import UserError
from course.teach.reading import MAX_SUBMITTED_BYTES
from course.teach.roster import nfc

MAX_UNPACKED_BYTES = 20 * 2**30  # of all files of a source together
MAX_STUDENT_BYTES = 2 * MAX_SUBMITTED_BYTES  # of all files of one student
MAX_ENTRIES = 100_000  # of a zip
MAX_INNER_ENTRIES = 2000  # of a zip in it
MAX_NAME = 100  # characters of a name, as it is shown
EMPTY_FOLDER = "is an empty folder"
_PASSED_OVER = {"__macosx", ".ipynb_checkpoints", ".ds_store", "thumbs.db", "desktop.ini", "__pycache__", ".git"}
_NO_DATE = (1980, 1, 1)  # of a zip entry that has none


class Unread(Exception):
    """Why a file can't be taken, as the rest of a sentence."""


@dataclass(frozen=True)
class File:
    """One file that was handed in.

    Attributes:
        name: its path in the source, as that has it.
        parts: the folders that it lies in, and its own name, in one form of Unicode; that is "" for a folder.
        changed: when it was last changed, in seconds; 0 if that is not known.
        open: begins to read it.
        problem: why it can't be read, as far as this is known before it is.
    """

    name: str
    parts: tuple[str, ...]
    changed: float = 0.0
    open: Callable[[], IO[bytes]] = io.BytesIO
    problem: str = ""

    @property
    def shown(self) -> str:
        """Its own name, fit to be shown."""
        return shown(self.parts[-1] or f"{self.parts[-2]}/")


def shown(text: str) -> str:
    """A name as it may be shown: nothing that moves a terminal's cursor, and no more than a line."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}…"


def files_of(source: Path, opened: ExitStack) -> list[File]:
    """The files of a folder or a zip, and the folders in it that hold none; without what systems leave beside files."""
    if not source.exists():
        raise UserError(f"--submissions {source}: there is no such folder or file.")
    return list(_in_zip(source, opened) if source.is_file() else in_folder(source))


def in_folder(folder: Path) -> Iterator[File]:
    """The files below a folder. Links are not followed: what they lead to is not what was handed in."""
    unread: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unread.append):
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        noise = [name for name in (*folders, *names) if _noise(name)]
        empty = len(noise) == len(folders) + len(names)
        folders[:] = sorted(set(folders) - set(links) - set(noise))
        if empty and here != folder and (file := _file(here.relative_to(folder))):
            yield File(file.name, (*file.parts, ""), problem=_hollow(next(iter(noise), "")))
        for name in sorted([*names, *links]):
            path = here / name
            if (file := _file(path.relative_to(folder))) is None:
                continue
            try:
                if path.is_symlink() or not path.is_file():
                    yield File(file.name, file.parts, problem="is a link or a folder, not a file")
                else:
                    yield File(file.name, file.parts, path.stat().st_mtime, partial(_opened, path))
            except OSError as problem:
                yield File(file.name, file.parts, problem=f"can't be read: {problem.strerror}")
    for trouble in unread:
        path = Path(trouble.filename)
        if path == folder:
            raise UserError(f"{folder} can't be read: {trouble.strerror}.")
        if file := _file(path.relative_to(folder)):
            yield File(file.name, (*file.parts, ""), problem=f"can't be read: {trouble.strerror}")


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _file(path: Path) -> File | None:
    name = os.fsencode(path).decode("utf-8", "replace")
    parts = _parts(name)
    return File(name, parts) if parts else None


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a path that name something; none, if systems leave it beside files, or it names nothing."""
    parts, noise = _split(name)
    return () if noise else parts


def _split(name: str) -> tuple[tuple[str, ...], str]:
    """The parts of a path that name something, up to one that systems leave beside files; and that one, or ""."""
    parts = [nfc(part) for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    outer = tuple(takewhile(lambda part: not _noise(part), parts))
    return outer, "".join(parts[len(outer) : len(outer) + 1])


def _noise(part: str) -> bool:
    """Whether systems leave what is called so beside files, and nobody hands it in."""
    return part.casefold() in _PASSED_OVER or part.startswith(("._", "~$"))


def _hollow(noise: str) -> str:
    """The problem of a folder in which there is nothing, or only what systems leave."""
    return f"is a folder in which there is only {shown(noise)}" if noise else EMPTY_FOLDER


def _in_zip(source: Path, opened: ExitStack) -> Iterator[File]:
    try:
        archive = opened.enter_context(zipfile.ZipFile(source))
    except Exception as problem:  # zipfile has many for what it does not expect
        raise UserError(f"--submissions {source} can't be read as a zip: {shown(str(problem))}.") from None
    if len(archive.infolist()) > MAX_ENTRIES:
        raise UserError(f"--submissions {source} has more than {MAX_ENTRIES:,} files: that is no class's archive.")
    yield from _entries(archive)


def in_inner_zip(content: bytes, opened: ExitStack) -> list[File]:
    """The files of a zip that a student handed in. Raises Unread for what is none."""
    try:
        archive = opened.enter_context(zipfile.ZipFile(io.BytesIO(content)))
    except Exception as problem:  # zipfile has many for what it does not expect
        raise Unread(f"can't be read as a zip: {shown(str(problem))}") from None
    if len(archive.infolist()) > MAX_INNER_ENTRIES:
        raise Unread(f"is a zip of more than {MAX_INNER_ENTRIES:,} files")
    return list(_entries(archive))


def _entries(archive: zipfile.ZipFile) -> Iterator[File]:
    folders: dict[tuple[str, ...], File] = {}
    holding: set[tuple[str, ...]] = set()
    for entry in archive.infolist():
        name = _name(entry)
        parts, noise = _split(name)
        holding |= {parts[:end] for end in range(1, len(parts))}
        if not parts:
            continue
        if noise:
            folders[parts] = File("/".join(parts), (*parts, ""), problem=_hollow(noise))
        elif entry.is_dir():
            folders.setdefault(parts, File(name, (*parts, ""), problem=EMPTY_FOLDER))
        else:
            yield File(name, parts, _changed(entry), partial(archive.open, entry))
    yield from (file for parts, file in folders.items() if parts not in holding)


def _name(entry: zipfile.ZipInfo) -> str:
    """The name of a zip's entry, also where it is UTF-8 and does not say so."""
    if entry.flag_bits & 0x800 or entry.filename.isascii():
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode()
    except UnicodeError:
        return entry.filename


def _changed(entry: zipfile.ZipInfo) -> float:
    """When an entry was last changed, on this machine's clock; it need not be a date that exists."""
    if entry.date_time[:3] == _NO_DATE:
        return 0.0
    try:
        return max(0.0, time.mktime((*entry.date_time, 0, 0, -1)))
    except (OverflowError, ValueError):
        return 0.0


class Budget:
    """How much may be read: of one file, of one student's, and of all that is handed in."""

    def __init__(self) -> None:
        self._room = MAX_UNPACKED_BYTES
        self._share = MAX_STUDENT_BYTES

    def next_student(self) -> None:
        """Begin to read the files of another student."""
        self._share = MAX_STUDENT_BYTES

    def read(self, file: File, limit: int = MAX_SUBMITTED_BYTES) -> bytes:
        """A file's bytes. Raises Unread."""
        most = min(limit, self._room, self._share)
        content = read(file, most + 1)
        if len(content) > most:
            if most == limit:
                raise Unread(f"is larger than {limit / 2**20:.3g} MB: its outputs have to be cleared")
            whose, whole = ("files", MAX_UNPACKED_BYTES) if most == self._room else ("of one", MAX_STUDENT_BYTES)
            raise Unread(f"was not taken: all {whose} together have more than {whole / 2**20:,.0f} MB")
        self._room -= len(content)
        self._share -= len(content)
        return content


def read(file: File, most: int) -> bytes:
    """Up to `most` bytes of a file. Raises Unread."""
    if file.problem:
        raise Unread(file.problem)
    try:
        with file.open() as stream:
            return stream.read(most)
    except OSError as problem:
        raise Unread(f"can't be read: {problem.strerror or shown(str(problem))}") from None
    except Exception as problem:  # of an archive these are many, such as zlib.error, NotImplementedError, RuntimeError
        raise Unread(f"can't be read: {shown(str(problem))}") from None
