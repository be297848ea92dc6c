"""A class's submissions: as nbgrader has them, or as a learning management system gives them, in a folder or a zip."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autograder.engine.inside.errors import UserError
from course.base.files import write_whole
from course.teach.reading import MAX_SUBMITTED_BYTES

EARLIER = "earlier"  # in the class's folder: submissions that were replaced by later ones
# What systems put round a student's name: Canvas `doejane_LATE_1234_56789_lstm.ipynb`, Moodle
# `Jane Doe_1234_assignsubmission_file_/lstm.ipynb`. The number stays, for two students may have one name.
_SYSTEMS = (
    re.compile(r"(?P<student>.+?_\d+)_assignsubmission_.*"),
    re.compile(r"(?P<student>[^_]+)(?:_LATE)?(?P<user>_\d+)_\d+_.+"),
)
_PASSED_OVER = {"__MACOSX", ".ipynb_checkpoints"}


@dataclass(frozen=True)
class Found:
    """One file that was handed in.

    Attributes:
        student: who handed it in, as the name of its file or folder says.
        name: what it was called.
        changed: when it was last changed, in seconds.
        content: its bytes.
        problem: why it can't be read; then there is no content.
    """

    student: str
    name: str
    changed: float
    content: bytes = b""
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
    for found in _from_zip(source, slug) if source.is_file() else _from_folder(source, slug):
        by_student.setdefault(found.student, []).append(found)
    if not by_student:
        raise UserError(f"--submissions {source}: there is no notebook (*.ipynb) in it.")
    problems = {}
    for student, files in sorted(by_student.items()):
        chosen = _chosen(files, slug)
        if chosen is None:
            names = ", ".join(sorted(f.name for f in files))
            problems[student] = f"Several notebooks, and none is called {slug}: {names}. Which one counts?"
        elif chosen.problem:
            problems[student] = f"{chosen.name} {chosen.problem}."
        else:
            _put(chosen, slug, course_dir)
    return problems


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
        student, home = _student(parts, slug), inner.resolve()
        try:
            if not path.resolve().is_relative_to(home) or not path.is_file():
                yield Found(student, path.name, 0.0, problem="is a link or a folder, not a file")
            elif path.stat().st_size > MAX_SUBMITTED_BYTES:
                yield Found(student, path.name, path.stat().st_mtime, problem=_TOO_LARGE)
            else:
                yield Found(student, path.name, path.stat().st_mtime, path.read_bytes())
        except OSError as problem:
            yield Found(student, path.name, 0.0, problem=f"can't be read: {problem.strerror}")


_TOO_LARGE = f"is larger than {MAX_SUBMITTED_BYTES // 2**20} MB"


def _from_zip(source: Path, slug: str) -> Iterator[Found]:
    """The notebooks of a zip. Nothing is unpacked, so names in it can't lead anywhere."""
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError) as problem:
        raise UserError(f"--submissions {source} can't be read as a zip: {problem}.") from None
    with archive:
        entries = {e: PurePosixPath(e.filename.replace("\\", "/")).parts for e in archive.infolist()}
        entries = {e: p for e, p in entries.items() if e.filename.endswith(".ipynb") and not _PASSED_OVER & set(p)}
        nested = min((len(parts) for parts in entries.values()), default=1) - 1
        tops = {parts[0] for parts in entries.values()}
        skip = 1 if nested and len(tops) == 1 and len(entries) > 1 else 0  # one folder round everything
        for entry, parts in entries.items():
            student, name = _student(parts[skip:], slug), parts[-1]
            changed = float("".join(f"{part:02d}" for part in entry.date_time))  # it need not be a date that exists
            try:
                with archive.open(entry) as file:
                    content = file.read(MAX_SUBMITTED_BYTES + 1)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as problem:
                yield Found(student, name, changed, problem=f"can't be read: {problem}")
                continue
            if len(content) > MAX_SUBMITTED_BYTES:
                yield Found(student, name, changed, problem=_TOO_LARGE)
            else:
                yield Found(student, name, changed, content)


def _student(parts: tuple[str, ...], slug: str) -> str:
    """Who handed a file in: the folder it lies in, or else its name, without what the system added."""
    name = parts[0] if len(parts) > 1 else PurePosixPath(parts[0]).stem
    match = next((m for pattern in _SYSTEMS if (m := pattern.fullmatch(name))), None)
    if match:
        name = "".join(match.groups())
    name = name.replace(slug, "") or name
    return re.sub(r"[^\w.@+-]+", "_", name).strip("._-") or "unnamed"


def _chosen(files: list[Found], slug: str) -> Found | None:
    """Which of a student's files counts: the only one, or the latest of those that bear the assignment's name."""
    if len(files) == 1:
        return files[0]
    named = [f for f in files if slug in f.name] or [f for f in files if f.name.startswith(slug[:2])]
    return max(named, key=lambda f: f.changed) if named else None


def _put(found: Found, slug: str, course_dir: Path) -> None:
    """Write a notebook to where nbgrader looks for it; a different one that is there is kept."""
    path = course_dir / "submitted" / found.student / slug / f"{slug}.ipynb"
    if path.is_file():
        before = path.read_bytes()
        if before == found.content:
            return
        kept = course_dir / EARLIER / found.student / f"{slug}-{hashlib.sha256(before).hexdigest()[:12]}.ipynb"
        kept.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, kept)
    write_whole(path, found.content)
