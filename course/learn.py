"""What a learner does outside the notebook: begin an assignment, see what there is."""

from __future__ import annotations

import shutil
from pathlib import Path

from autograder.engine.errors import UserError
from autograder.engine.notebook import read_notebook
from course.project import Project


class NothingToDo(UserError):
    """The command would have overwritten work; the message says what stands there."""


def start(project: Project, slug: str) -> Path:
    """Copy the stub of an assignment to work/. Never overwrites. Returns the copy."""
    copy = project.work(slug)
    if copy.exists():
        raise NothingToDo(f"{copy} exists already and stays as it is. Open it with: jupyter lab {copy}")
    if copy.parent.is_dir() and any(copy.parent.glob("*.ipynb")):
        others = ", ".join(sorted(p.name for p in copy.parent.glob("*.ipynb")))
        raise NothingToDo(f"{copy.parent} holds {others} already. If that is your work, rename it to {copy.name}.")
    copy.parent.mkdir(parents=True, exist_ok=True)
    draft = copy.with_suffix(".ipynb.new")
    shutil.copyfile(project.release(slug), draft)
    draft.rename(copy)
    return copy


def heading(project: Project, slug: str) -> str:
    """The title of an assignment: the first heading of its notebook, without its number."""
    for cell in read_notebook(project.release(slug)):
        for line in cell.source.splitlines():
            if line.startswith("# "):
                return line[2:].split("·", 1)[-1].strip()
    return slug
