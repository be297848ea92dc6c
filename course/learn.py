"""What a learner does outside the notebook: begin an assignment, read a hint, begin an exercise again.

Nothing in here overwrites work: what a command replaces is kept first, and a new version of a notebook goes beside the
learner's.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from autograder.engine.assignment import Exercise
from autograder.engine.errors import UserError
from autograder.engine.notebook import Code, NotebookError, read_notebook
from course.project import Project

KEPT = "kept"  # the folder in which copies are kept, beside the notebook
_HINT = re.compile(r"<details><summary>Hint \d+: (.*?)</summary>(.*?)</details>", re.S)


class NothingToDo(UserError):
    """The command would change nothing, or overwrite work; the message says what stands there."""


@dataclass(frozen=True)
class Hint:
    """One folded hint: what it is about, and its text in Markdown."""

    title: str
    text: str


# Beginning ----------------------------------------------------------------------------------------------------------


def start(project: Project, slug: str) -> Path:
    """Copy the stub of an assignment to work/. Never overwrites.

    If the learner's copy is from an older version of the course, the new version goes beside it, with the learner's
    answers in it.

    Returns:
        The copy, or the new version beside it.
    """
    copy = project.work(slug)
    if copy.exists():
        if not is_outdated(project, slug):
            raise NothingToDo(f"{copy} exists already and stays as it is. Open it with: jupyter lab {copy}")
        return _new_version(project, slug)
    if copy.parent.is_dir() and any(copy.parent.glob("*.ipynb")):
        others = ", ".join(sorted(p.name for p in copy.parent.glob("*.ipynb")))
        raise NothingToDo(f"{copy.parent} holds {others} already. If that is your work, rename it to {copy.name}.")
    write_whole(copy, project.release(slug).read_bytes())
    return copy


def is_outdated(project: Project, slug: str) -> bool:
    """Whether the learner's copy was made from another version of the released notebook than this one."""
    try:
        mine, released = (_stamp(path) for path in (project.work(slug), project.release(slug)))
    except (OSError, ValueError):
        return False  # what can't be read is for grading to explain
    return mine is not None and released is not None and mine != released


def _stamp(notebook: Path) -> str | None:
    tree = json.loads(notebook.read_bytes())
    stamp = tree["metadata"].get("s30", {}).get("release") if isinstance(tree, dict) else None
    return stamp if isinstance(stamp, str) else None


def _new_version(project: Project, slug: str) -> Path:
    """Write the released notebook beside the learner's, with the learner's answers and added code cells in it."""
    copy = project.work(slug)
    beside = copy.with_name(f"{slug}.new.ipynb")
    if beside.exists():
        raise NothingToDo(f"{beside} is there already, the new version of your notebook. Look at it, or remove it.")
    mine, theirs = _tree(copy), _tree(project.release(slug))
    answers = {c["id"]: c for c in theirs["cells"] if c["metadata"].get("nbgrader", {}).get("solution")}
    names = {exercise.name for exercise in project.assignment(slug).exercises}
    code = Code(read_notebook(copy))
    defined = {name: code.definition(name) for name in names}
    taken = {s.cell.number - 1: name for name, s in defined.items() if s is not None}
    known = {c["id"] for c in theirs["cells"]}
    before: str | None = None  # the released cell after which an added one stood
    for position, cell in enumerate(mine["cells"]):
        name = taken.get(position, cell.get("id"))
        if name in answers:
            if "NotImplementedError" not in "".join(cell["source"]):
                answers[name]["source"] = cell["source"]
        elif name not in known and cell["cell_type"] == "code" and "nbgrader" not in cell["metadata"]:
            place = next((i for i, c in enumerate(theirs["cells"], 1) if c["id"] == before), 0)
            theirs["cells"].insert(place, {**cell, "outputs": [], "execution_count": None})
            known.add(cell.get("id"))
        before = name if name in known else before
    _write_tree(beside, theirs)
    return beside


# Hints --------------------------------------------------------------------------------------------------------------


def hints(project: Project, slug: str, name: str) -> list[Hint]:
    """The folded hints of an exercise, from a nudge to the structure of the code."""
    found = []
    for cell in _tree(project.release(slug))["cells"]:
        if re.fullmatch(rf"{re.escape(name)}-hint\d+", cell.get("id", "")):
            match = _HINT.search("".join(cell["source"]))
            if match:
                found.append(Hint(match[1].strip(), match[2].strip()))
    return found


def card(project: Project, slug: str, name: str) -> str:
    """The card of an exercise: `2 points · 15 minutes · difficulty 2 of 5 · NumPy forward`."""
    for cell in read_notebook(project.release(slug)):
        if cell.type == "markdown" and f"## Exercise: `{name}`" in cell.source:
            match = re.search(r"^\*\*(\d+ points? · .*)\*\*$", cell.source, re.M)
            return match[1] if match else ""
    return ""


# Beginning again ----------------------------------------------------------------------------------------------------


def reset(project: Project, slug: str) -> Path:
    """Put the stub in place of the learner's whole notebook. Returns the copy that was kept."""
    copy = _own(project, slug)
    released = project.release(slug).read_bytes()
    if copy.read_bytes() == released:
        raise NothingToDo(f"{copy} is still as it was released.")
    kept = keep(copy)
    write_whole(copy, released)
    return kept


def reset_exercise(project: Project, slug: str, exercise: Exercise) -> Path:
    """Put the stub of one exercise back. Returns the copy of the notebook that was kept."""
    return put(project, slug, exercise, released_cell(project.release(slug), exercise))


def released_cell(notebook: Path, exercise: Exercise) -> dict[str, Any]:
    """The cell that defines an exercise in one of the course's own notebooks."""
    return next(c for c in _tree(notebook)["cells"] if c.get("id") == exercise.name)


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
    tree = _tree(copy)
    own = _cell_of(copy, exercise)
    if own is not None and "".join(tree["cells"][own]["source"]) == text:
        raise NothingToDo(f"The cell of `{exercise.name}` in {copy} holds exactly that; nothing was changed.")
    kept = keep(copy)
    if own is None:
        tree["cells"].insert(_place_of(tree, project, slug, exercise), {**wanted, "source": text, "outputs": []})
    else:
        tree["cells"][own] |= {"source": text, "outputs": [], "execution_count": None}
    _write_tree(copy, tree)
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
        raise NothingToDo(f"{slug} is not started, so there is nothing to change: s30 start {slug[:2]}")
    return copy


def _cell_of(copy: Path, exercise: Exercise) -> int | None:
    """The index of the cell that defines an exercise, or tries to."""
    cells = read_notebook(copy)
    code = Code(cells)
    found = code.definition(exercise.name, exercise.stub) or code.breakage(exercise.name)
    if found:
        return found.cell.number - 1
    ids = [cell.get("id") for cell in _tree(copy)["cells"]]
    return ids.index(exercise.name) if exercise.name in ids else None


def _place_of(tree: dict[str, Any], project: Project, slug: str, exercise: Exercise) -> int:
    """Where a cell that was deleted comes back: before what followed it, else at the end."""
    released = [cell["id"] for cell in _tree(project.release(slug))["cells"]]
    ids = [cell.get("id") for cell in tree["cells"]]
    after = released[released.index(exercise.name) + 1 :]
    return next((ids.index(name) for name in after if name in ids), len(ids))


# Files --------------------------------------------------------------------------------------------------------------


def _tree(notebook: Path) -> dict[str, Any]:
    """A notebook as JSON, for changing it. Raises NotebookError for what is none, or is of a format before 4."""
    read_notebook(notebook)
    tree = json.loads(notebook.read_text(encoding="utf-8-sig"))
    if tree.get("nbformat", 0) < 4 or not all(isinstance(cell, dict) for cell in tree["cells"]):
        raise NotebookError(f"{notebook} is in an old format. Open it in Jupyter, save it, and try again.")
    return tree


def _write_tree(path: Path, tree: dict[str, Any]) -> None:
    for cell in tree["cells"]:
        if isinstance(cell["source"], str):
            cell["source"] = cell["source"].splitlines(keepends=True)
    write_whole(path, (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".writing")
    draft.write_bytes(content)
    os.replace(draft, path)
