"""Beginning an exercise, or a notebook, again. What a command replaces is kept first."""

from __future__ import annotations

import itertools
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from autograder.engine.assignment import Exercise
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import Code, read_notebook
from course.base.files import read_tree, write_tree, write_whole
from course.base.project import Project

KEPT = "kept"  # the folder in which copies are kept, beside the notebook


def reset(project: Project, slug: str) -> Path:
    """Put the stub in place of the learner's whole notebook. Returns the copy that was kept."""
    copy = _own(project, slug)
    released = project.release(slug).read_bytes()
    if copy.read_bytes() == released:
        raise UserError(f"{copy} is still as it was released.")
    kept = keep(copy)
    write_whole(copy, released)
    return kept


def reset_exercise(project: Project, slug: str, exercise: Exercise) -> Path:
    """Put the stub of one exercise back. Returns the copy of the notebook that was kept."""
    return put(project, slug, exercise, released_cell(project.release(slug), exercise))


def released_cell(notebook: Path, exercise: Exercise) -> dict[str, Any]:
    """The cell that defines an exercise in one of the course's own notebooks."""
    return next(c for c in read_tree(notebook)["cells"] if c.get("id") == exercise.name)


def put(project: Project, slug: str, exercise: Exercise, wanted: dict[str, Any]) -> Path:
    """Give the cell of an exercise another source; a cell that was deleted comes back. Keeps a copy, and returns it.

    Args:
        project: whose work/ holds the notebook.
        slug: the assignment.
        exercise: whose cell it is.
        wanted: the cell as it should be.
    """
    copy = _own(project, slug)
    text = "".join(wanted["source"])
    tree = read_tree(copy)
    own = _cell_of(copy, exercise)
    if own is not None and "".join(tree["cells"][own]["source"]) == text:
        raise UserError(f"The cell of `{exercise.name}` in {copy} holds exactly that; nothing was changed.")
    kept = keep(copy)
    if own is None:
        tree["cells"].insert(_place_of(tree, project, slug, exercise), {**wanted, "source": text, "outputs": []})
    else:
        tree["cells"][own] |= {"source": text, "outputs": [], "execution_count": None}
    write_tree(copy, tree)
    return kept


def keep(copy: Path) -> Path:
    """Copy a notebook to the folder kept/ beside it, under a name with the time. Returns the copy."""
    folder = copy.parent / KEPT
    folder.mkdir(exist_ok=True)
    stem = f"{copy.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    names = (f"{stem}{f'-{n}' if n > 1 else ''}.ipynb" for n in itertools.count(1))
    kept = next(folder / name for name in names if not (folder / name).exists())
    shutil.copyfile(copy, kept)
    return kept


def _own(project: Project, slug: str) -> Path:
    copy = project.work(slug)
    if not copy.is_file():
        raise UserError(f"{slug} is not started, so there is nothing to change: s30 start {slug[:2]}")
    return copy


def _cell_of(copy: Path, exercise: Exercise) -> int | None:
    """The index of the cell that defines an exercise, or tries to."""
    cells = read_notebook(copy)
    code = Code(cells)
    found = code.definition(exercise.name, exercise.stub) or code.breakage(exercise.name)
    if found:
        return found.cell.number - 1
    ids = [cell.get("id") for cell in read_tree(copy)["cells"]]
    return ids.index(exercise.name) if exercise.name in ids else None


def _place_of(tree: dict[str, Any], project: Project, slug: str, exercise: Exercise) -> int:
    """Where a cell that was deleted comes back: before what followed it, else at the end."""
    released = [cell["id"] for cell in read_tree(project.release(slug))["cells"]]
    ids = [cell.get("id") for cell in tree["cells"]]
    after = released[released.index(exercise.name) + 1 :]
    return next((ids.index(name) for name in after if name in ids), len(ids))
