"""A class: its folder, its gradebook, and how nbgrader is configured for it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from traitlets.config import Config

from autograder.engine.inside.errors import UserError
from course.base.files import GROUP, locked, share
from course.base.nbgrader import begin_gradebook, merged_config
from course.base.project import Project


@dataclass(frozen=True)
class ClassFolder:
    """A class, as nbgrader is configured for it: by its own nbgrader_config.py, by the project's, and by the machine's.

    Attributes:
        root: its folder, with submitted/, autograded/ and what this course keeps of it.
        config: all that is configured.
        db_url: its gradebook; by default the file gradebook.db in its folder.
        course_id: what the gradebook calls the course.
        shared: whether several accounts of a group work in the folder (nbgrader's `groupshared`).
    """

    root: Path
    config: Config
    db_url: str
    course_id: str
    shared: bool

    @classmethod
    def of(cls, project: Project, course_dir: Path) -> ClassFolder:
        """The class whose nbgrader_config.py, if it has one, lies in `course_dir`."""
        config = merged_config(project, course_dir)
        course = config.CourseDirectory
        course.root = str((course_dir / str(course.get("root") or "")).resolve())
        if not Path(course.root).is_dir():
            raise UserError(f"c.CourseDirectory.root of {course_dir} is {course.root}: there is no such folder.")
        known = CourseDirectory(config=config)  # with nbgrader's own defaults
        return cls(Path(course.root), config, known.db_url, known.course_id or "default_course", known.groupshared)

    @cached_property
    def courses(self) -> CourseDirectory:
        """The class as nbgrader sees it: where what lies."""
        return CourseDirectory(config=self.config)

    def submitted(self, student: str, slug: str) -> Path:
        """Where a student's submission of an assignment lies."""
        return self._place(self.courses.submitted_directory, student, slug)

    def autograded(self, student: str, slug: str) -> Path:
        """Where what was recorded of a student's submission lies."""
        return self._place(self.courses.autograded_directory, student, slug)

    def feedback(self, student: str, slug: str) -> Path:
        """Where a student's feedback page of an assignment lies."""
        return self._place(self.courses.feedback_directory, student, slug)

    def _place(self, directory: str, student: str, slug: str) -> Path:
        return self.root / str(self.courses.format_path(directory, student, slug))

    # The gradebook ---------------------------------------------------------------------------------------------------

    @property
    def shown(self) -> str:
        """The gradebook as it may be shown: a file's path, or a URL without its password."""
        return str(_sqlite_file(self.db_url) or _harmless(self.db_url))

    def has_gradebook(self) -> bool:
        """Whether the gradebook was begun; asking makes none. Raises UserError if it can't be reached."""
        return has_gradebook(self.db_url)

    @contextlib.contextmanager
    def gradebook(self) -> Iterator[Gradebook]:
        """The gradebook, which is begun if need be; what goes wrong in it is a UserError that names it."""
        with _told(self.db_url):
            if not has_gradebook(self.db_url):
                begin_gradebook(self.db_url)
                if file := _sqlite_file(self.db_url):
                    share(file)
            with Gradebook(self.db_url, self.course_id) as gradebook:
                yield gradebook

    # Several who work on it ------------------------------------------------------------------------------------------

    def lock(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Hold one of the class's locks; see :func:`course.base.files.locked`."""
        return locked(self.root, name)

    def begin(self) -> None:
        """Let the class's group write in its folder, if it is shared, as nbgrader does with the folders it makes."""
        if self.shared:
            mode = self.root.stat().st_mode
            if mode & GROUP != GROUP:
                try:
                    self.root.chmod(stat.S_IMODE(mode | GROUP))
                except PermissionError:
                    raise UserError(
                        f"{self.root} is shared by a group (c.CourseDirectory.groupshared), which may not write in it: "
                        f"its owner says chmod g+rwxs {self.root}"
                    ) from None


def has_gradebook(db_url: str) -> bool:
    """Whether a gradebook was begun; asking makes none. Raises UserError if it can't be reached."""
    file = _sqlite_file(db_url)
    if file is not None:
        return file.is_file() and file.stat().st_size > 0
    with _told(db_url):
        engine = create_engine(db_url)
        try:
            return bool(inspect(engine).has_table("alembic_version"))
        finally:
            engine.dispose()


def _sqlite_file(db_url: str) -> Path | None:
    """The file of an SQLite gradebook."""
    with _told(db_url):
        url = make_url(db_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


@contextlib.contextmanager
def _told(db_url: str) -> Iterator[None]:
    """Say in a sentence what is wrong with a gradebook."""
    try:
        yield
    except (ArgumentError, NoSuchModuleError) as problem:
        raise UserError(
            f"c.CourseDirectory.db_url = {_harmless(db_url)!r} names no database: {problem}. "
            "Such as postgresql://user@host/name, or sqlite:////folder/gradebook.db"
        ) from None
    except ModuleNotFoundError as problem:
        raise UserError(
            f"The gradebook {_harmless(db_url)} needs the package {problem.name}: pip install {problem.name}"
        ) from None
    except SQLAlchemyError as problem:
        said = str(getattr(problem, "orig", None) or problem).strip().splitlines() or ["it says nothing"]
        raise UserError(
            f"The gradebook {_harmless(db_url)} can't be used: {said[0]}. Nothing is lost; say the same again when it "
            "can. (Of an older nbgrader it is brought up to date by `nbgrader db upgrade`.)"
        ) from None


def _harmless(db_url: str) -> str:
    """A URL without its password."""
    try:
        return make_url(db_url).render_as_string(hide_password=True)
    except ArgumentError:
        return db_url if "@" not in db_url else "***"


def home(step: Any) -> Path:
    """The folder of the class on which a converter of nbgrader works, of which this is a step."""
    while step is not None and getattr(step, "coursedir", None) is None:
        step = step.parent
    return Path(step.coursedir.root if step is not None else os.getcwd())
