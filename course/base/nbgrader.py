"""nbgrader's converters, run from a program: by the author's wing to compile, by the teacher's to enter assignments."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_config_path
from traitlets.config import Config, PyFileConfigLoader

from autograder.engine.inside.errors import UserError
from course.base.project import Project


def nbgrader_config(project: Project, course_dir: Path) -> Config:
    """The configuration for a course directory with a gradebook of its own, whatever the class's is."""
    config = _merged([project.root, course_dir])
    config.CourseDirectory.root = str(course_dir)
    config.CourseDirectory.db_url = f"sqlite:///{course_dir / 'gradebook.db'}"
    return config


def merged_config(project: Project, course_dir: Path) -> Config:
    """The configuration for a class as nbgrader's own commands read it.

    That of the machine and its user (in Jupyter's folders), then the project's, then that of the class's folder.
    """
    return _merged([*map(Path, reversed(jupyter_config_path())), project.root, course_dir])


def _merged(folders: Iterable[Path]) -> Config:
    """What the files nbgrader_config.py of some folders say; later ones have the last word."""
    config = Config()
    for folder in dict.fromkeys(folders):
        if (folder / "nbgrader_config.py").is_file():
            try:
                config.merge(PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config())
            except Exception as problem:  # it is a program
                raise UserError(
                    f"{folder / 'nbgrader_config.py'} can't be read: {type(problem).__name__}: {problem}"
                ) from None
    return config


def begin_gradebook(db_url: str) -> None:
    """Note in a new gradebook the version of its tables, which nbgrader makes.

    It would start alembic to do this: another Python, which imports all of nbgrader once more.
    """
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from nbgrader.dbutil import ALEMBIC_DIR
    from sqlalchemy import create_engine

    engine = create_engine(db_url)
    with engine.begin() as connection:
        MigrationContext.configure(connection).stamp(ScriptDirectory(ALEMBIC_DIR), "head")
    engine.dispose()


def convert(kind: str, slug: str, config: Config, *, preprocessors: list[Any] | None = None) -> None:
    """Run one of nbgrader's converters on one assignment. Raises UserError with what it logged."""
    from nbgrader.converters import GenerateAssignment, GenerateSolution
    from nbgrader.coursedir import CourseDirectory

    cls = {"assignment": GenerateAssignment, "solution": GenerateSolution}[kind]
    config = copy.deepcopy(config)
    config.CourseDirectory.assignment_id = slug
    if preprocessors is not None:
        config[cls.__name__].preprocessors = preprocessors
    converter = cls(coursedir=CourseDirectory(config=config), config=config)
    converter.force = True
    memory = _Memory()
    converter.log.addHandler(memory)
    try:
        with contextlib.redirect_stderr(None):
            converter.start()
    except Exception as problem:
        told = "\n".join(memory.critical or memory.errors) or str(problem)
        raise UserError(f"nbgrader generate_{kind} {slug} failed:\n{told}") from None
    finally:
        converter.log.removeHandler(memory)


class _Memory(logging.Handler):
    """Keeps what is logged, to show only if it fails: nbgrader's errors, and what a step of ours says of a master."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []
        self.critical: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        (self.critical if record.levelno == logging.CRITICAL else self.errors).append(record.getMessage())
