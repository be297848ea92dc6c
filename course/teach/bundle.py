"""`s30 bundle`: what students receive, by allow-list. Nothing in it holds an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.keys import zipped
from course.base.files import write_whole
from course.base.project import Project

# Everything else stays at home: source/, solutions/, mistakes/, alternatives/, oracles, gradebooks, work.
ALLOWED = (
    "README.md",
    "CONTRIBUTING.md",
    "CATALOG.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "docs/*.md",
    "docs/*.png",
    "LICENSE",
    "pyproject.toml",
    "constraints.txt",
    "course/*.py",
    "course/py.typed",
    "course/weights/*.npz",
    "course/base/*.py",
    "course/base/catalog.toml",
    "course/learn/*.py",
    "autograder/*.py",
    "autograder/py.typed",
    "autograder/engine/**/*.py",
    "autograder/graders/test_*.py",
    "autograder/keys/*.npz",
    "release/*/*.ipynb",
)
WITHHELD = ("course/learn/reveal.py",)
FOLDER = "sutskever30"


def contents(project: Project) -> Iterator[Path]:
    """The files of a student's copy, relative to the project, in order."""
    found = {path for pattern in ALLOWED for path in project.root.glob(pattern) if path.is_file()}
    yield from sorted(path.relative_to(project.root) for path in found - {project.root / name for name in WITHHELD})


def bundle(project: Project, out: Path) -> int:
    """Write the zip. Returns the number of files in it."""
    if out.exists():
        raise UserError(f"{out} exists already and stays as it is. Remove it first, or give another name.")
    if not out.resolve().parent.is_dir():
        raise UserError(f"{out}: its folder does not exist.")
    for slug in project.slugs():
        for needed in (project.release(slug), project.grader(slug), project.key(slug)):
            if not needed.is_file():
                raise UserError(f"{needed} is missing: run `s30 build {slug[:2]}` first.")
    files = list(contents(project))
    write_whole(out, zipped({f"{FOLDER}/{path.as_posix()}": (project.root / path).read_bytes() for path in files}))
    return len(files)
