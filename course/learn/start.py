"""Beginning an assignment. What is in work/ is never overwritten: a new version of a notebook goes beside it."""

from __future__ import annotations

import json
from pathlib import Path

from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import Code, read_notebook
from course.base.files import read_tree, write_tree, write_whole
from course.base.project import Project


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
            raise UserError(f"{copy} exists already and stays as it is. Open it with: jupyter lab {copy}")
        return _new_version(project, slug)
    if copy.parent.is_dir() and any(copy.parent.glob("*.ipynb")):
        others = ", ".join(sorted(p.name for p in copy.parent.glob("*.ipynb")))
        raise UserError(f"{copy.parent} holds {others} already. If that is your work, rename it to {copy.name}.")
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
        raise UserError(f"{beside} is there already, the new version of your notebook. Look at it, or remove it.")
    mine, theirs = read_tree(copy), read_tree(project.release(slug))
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
    write_tree(beside, theirs)
    return beside
