"""`s30 feedback`: the pages of a class, those that have changed made anew, and all of them in one zip for the LMS.

A page says what it was made of. It is made again when that has changed: the notebook that was recorded, points,
comments, a penalty, or what makes pages. It is written whole; where a page can't be made, the one that was there stays.
"""

from __future__ import annotations

import contextlib
import copy
import io
import multiprocessing
import re
import signal
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, count, dropwhile, takewhile
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import nbformat
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from rich.console import Console
from rich.progress import track

from autograder.engine.inside.errors import UserError
from course.base.files import write_whole
from course.teach.folder import ClassFolder
from course.teach.names import CANVAS, MOODLE, SAKAI
from course.teach.pages import FeedbackPage, made_from
from course.teach.sources import shown
from course.teach.submissions import received, submitted

SECONDS = 60  # for one page
WORTH_A_PROCESS = 8  # pages; to start another process takes as long as to make some
MAX_NAME = 200  # characters of a name in the zip
# What names of the systems have in them that says whose a file is; Sakai has a folder for what is handed back
_CANVAS, _MOODLE = re.compile(r"_\d+_\d+_"), "_assignsubmission_"
_SUBMITTED, _HANDED_BACK = "Submission attachment(s)", "Feedback Attachment(s)"
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*]')


@dataclass(frozen=True)
class Page:
    """A student's page, and how it went.

    Attributes:
        student: whose it is.
        path: where it is; it may be one that was there before.
        new: it was made now.
        problem: why it could not be made, if so.
    """

    student: str
    path: Path
    new: bool = False
    problem: str = ""


class PageMaker:
    """Makes pages as a class's nbgrader_config.py has GenerateFeedback make them, one by one."""

    def __init__(self, folder: ClassFolder, slug: str) -> None:
        config = copy.deepcopy(folder.config)
        config.CourseDirectory.assignment_id = slug
        self._folder, self._slug = folder, slug
        converter = GenerateFeedback(coursedir=CourseDirectory(config=config), config=config)
        self._exporter = FeedbackPage(parent=converter, config=converter.config)
        for step in converter.preprocessors:
            self._exporter.register_preprocessor(step)

    def make(self, student: str) -> Page:
        """A student's page, made unless it is there and shows what would be shown now."""
        path = self._folder.feedback(student, self._slug) / f"{self._slug}.html"
        try:
            with _within(SECONDS):
                return Page(student, path, new=self._made(student, path))
        except Exception as problem:  # of one student's page; whose it is and why is told, and the others are made
            return Page(student, path, problem=f"{type(problem).__name__}: {shown(str(problem))}")

    def _made(self, student: str, path: Path) -> bool:
        """Whether the page had to be made."""
        source = self._folder.autograded(student, self._slug) / f"{self._slug}.ipynb"
        about = {"student": student, "assignment": self._slug, "notebook": self._slug, "db_url": self._folder.db_url}
        notebook = nbformat.read(source, as_version=4)
        if path.is_file() and made_from(path) == self._exporter.made_from(notebook, {"nbgrader": dict(about)}):
            return False
        page, _ = self._exporter.from_notebook_node(notebook, {"nbgrader": about})
        write_whole(path, page)
        return True


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError where a page takes longer: what a student wrote may be made for that."""

    def stop(*_: object) -> NoReturn:
        raise TimeoutError(f"it takes longer than {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def make_pages(folder: ClassFolder, slug: str, students: Iterable[str], jobs: int) -> Iterator[Page]:
    """The pages of some students, made on `jobs` cores."""
    listed = sorted(students)
    jobs = min(jobs, len(listed) // WORTH_A_PROCESS)
    if jobs < 2:
        yield from map(PageMaker(folder, slug).make, listed)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _begin, (folder, slug)) as pool:
        try:
            yield from pool.map(_make, listed)
        except BrokenProcessPool:
            raise UserError(f"A process that makes pages of {slug} was ended; --jobs 1 names the page.") from None


_makers: list[PageMaker] = []  # of this process


def _begin(folder: ClassFolder, slug: str) -> None:
    _makers[:] = [PageMaker(folder, slug)]


def _make(student: str) -> Page:
    return _makers[0].make(student)


# In the LMS's names -------------------------------------------------------------------------------------------------


def zip_names(slug: str, students: Iterable[str], receipts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Student → what their page is called in the zip, so that the LMS gives it to them.

    No two names are one, on any system of files, and none leads out of the folder in which the zip is unpacked.
    """
    names: dict[str, str] = {}
    files: set[str] = set()
    folders: set[str] = set()
    for student in sorted(students):
        own = f"{_safe(student)}/{slug}.html"
        others = (f"{_safe(student)}-{number}/{slug}.html" for number in count(2))
        for name in chain([_as_received(student, receipts.get(student, {})) or own, own], others):
            path = PurePosixPath(unicodedata.normalize("NFC", name).casefold())  # many systems don't tell A from a
            above = {str(folder) for folder in path.parents} - {"."}
            if str(path) not in files | folders and not above & files:
                break
        names[student] = name
        files.add(str(path))
        folders |= above
    return names


def _as_received(student: str, receipt: Mapping[str, Any]) -> str | None:
    """The name by which the LMS that handed a submission over finds whose page it is; None if it has none."""
    system, name = str(receipt.get("system") or ""), str(receipt.get("name") or "")
    parts = name.replace("\\", "/").split("/")
    if not system or any(part != _safe(part) for part in parts):
        return None
    if system == CANVAS:
        return f"{_stem(next(filter(_CANVAS.search, parts), parts[-1]))}.html"
    if system == MOODLE:
        mine = list(dropwhile(lambda part: _MOODLE not in part, parts))
        return "/".join([*mine[:-1], f"{_stem(mine[-1])}.html"]) if mine else None
    if system == SAKAI:
        mine = list(takewhile(lambda part: part != _SUBMITTED, parts))
        return "/".join([*mine, _HANDED_BACK, f"{_stem(parts[-1])}.html"]) if len(mine) < len(parts) else None
    return f"{_safe(student)}/{_safe(student)}.html"


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _safe(part: str) -> str:
    """A name of one file or folder on any system, of what need not be one."""
    part = _NOT_IN_NAMES.sub("_", "".join(c if c.isprintable() else "_" for c in part))
    return part[:MAX_NAME].rstrip(" .") or "_"


def write_zip(out: Path, pages: Mapping[str, Path]) -> None:
    """Write pages, which are given by their names in it, into a zip, which is written whole."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(pages.items()):
            archive.writestr(name, path.read_bytes())
    write_whole(out, made.getvalue())


# What a teacher sees of it ------------------------------------------------------------------------------------------


def run(console: Console, slug: str, folder: ClassFolder, out: Path | None, jobs: int) -> dict[str, str]:
    """Make the pages of a class, and the zip. Returns whose could not be made, and why: student → reason."""
    if out is not None and not out.resolve().parent.is_dir():
        raise UserError(f"--out {out}: its folder does not exist.")
    with folder.lock("grading"):  # what is recorded does not change meanwhile
        students = _students(folder, slug)
        recorded = [s for s in students if (folder.autograded(s, slug) / f"{slug}.ipynb").is_file()]
        made = make_pages(folder, slug, recorded, jobs)
        pages = list(track(made, f"pages of {slug}", len(recorded), console=console, transient=True))
        there = {page.student: page.path for page in pages if not page.problem}
        if out is not None:
            names = zip_names(slug, there, received(slug, folder.root))
            try:
                write_zip(out, {names[student]: path for student, path in there.items()})
            except OSError as problem:
                raise UserError(f"--out {out} can't be written: {problem.strerror}. The pages are made.") from None

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    say(f"{slug}: {len(there)} feedback pages in {folder.root}, {sum(page.new for page in pages)} of them made now.")
    if out is not None:
        say(f"All of them are in {out}, named as they were handed in.")
    failed = {page.student: page.problem for page in pages if page.problem}
    failed |= {s: f"nothing of theirs is recorded: `s30 grade {slug[:2]}` says why." for s in students - set(recorded)}
    for student, reason in sorted(failed.items()):
        say(f"No page of {shown(student)}: {reason}")
    return failed


def _students(folder: ClassFolder, slug: str) -> set[str]:
    """Who has handed something in. Raises UserError if nobody has, or nothing was graded."""
    known: set[str] = set()
    if folder.has_gradebook():
        with folder.gradebook() as gradebook:
            known = {submission.student.id for submission in gradebook.assignment_submissions(slug)}
    if not known:
        raise UserError(f"Nothing of {slug} is recorded in {folder.root} yet: `s30 grade {slug[:2]}` comes first.")
    return known | set(submitted(slug, folder.root))
