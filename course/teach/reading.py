"""Reading and repairing what students hand in, whatever an editor or a mail program did to the file.

Notebooks are plain trees here; nbgrader is not needed.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from autograder.engine.assignment import checked_name
from autograder.engine.inside.notebook import Cell, Code, NotebookError, tree_of
from course.base.project import RUBRIC
from course.teach.mending import give_ids, mended

MAX_SUBMITTED_BYTES = 100 * 2**20  # with outputs, which are not read further
MAX_CELLS = 5000
RECORDED = "s30"  # our part of the metadata of a notebook that was recorded, and what is in it:
SUBMITTED = "submitted"  # a digest of the submitted file
GRADER = "grader"  # a digest of what graded it
UNGRADED = "ungraded"  # why it was not graded
CUT_SHORT = "cut short"  # whether time, memory or a crash ended a process of it
VERDICTS = "verdicts"  # on each exercise, as the course counts points
Tree = dict[str, Any]


def read_submission(path: Path) -> tuple[Tree, list[str]]:
    """The notebook in a submitted file, as :func:`read_tree` reads it.

    Raises:
        NotebookError: it is no notebook, or it is a link, which would hand in what somebody else wrote.
    """
    if path.is_symlink():
        raise NotebookError(f"{path} is a link, not a file; what it leads to was not graded.")
    if not path.is_file():
        raise NotebookError(f"{path} does not exist, or is not a file.")
    if path.stat().st_size > MAX_SUBMITTED_BYTES:
        raise NotebookError(f"{path} is larger than {MAX_SUBMITTED_BYTES // 2**20} MB and was not graded.")
    return read_tree(path.read_bytes(), str(path))


def read_tree(raw: bytes, name: str) -> tuple[Tree, list[str]]:
    """The notebook in the content of a file, without outputs, as nbformat wants it.

    Returns:
        The notebook, and a sentence for each kind of thing that was mended or dropped.

    Raises:
        NotebookError: it is no notebook.
    """
    try:
        tree = tree_of(raw)
    except NotebookError as problem:
        raise NotebookError(f"{name} {problem}.") from None
    if "cells" not in tree:  # as in format 3
        sheets = [sheet.get("cells") for sheet in tree.pop("worksheets") if isinstance(sheet, dict)]
        tree["cells"] = [_of_today(cell) for cells in sheets if isinstance(cells, list) for cell in cells]
    if len(tree["cells"]) > MAX_CELLS:
        raise NotebookError(f"{name} has {len(tree['cells'])} cells; more than {MAX_CELLS} are not graded.")
    return mended(tree)


def _of_today(cell: object) -> object:
    """A cell of format 3 without what it called otherwise, or had beside its metadata."""
    earlier = ("language", "prompt_number", "collapsed")
    return {name: value for name, value in cell.items() if name not in earlier} if isinstance(cell, dict) else cell


def read_recorded(path: Path) -> Tree:
    """Our part of the metadata of a notebook that was recorded; nothing of one that is not there or has none."""
    try:
        return dict(json.loads(path.read_bytes())["metadata"][RECORDED])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def read_rubrics(solution: Path) -> dict[str, str]:
    """What earns the points of each written question: its id → Markdown, from the worked solution, if that is here."""
    found = {}
    for cell in json.loads(solution.read_bytes())["cells"] if solution.is_file() else ():
        source, meta = "".join(cell["source"]), cell["metadata"].get("nbgrader", {})
        if cell["cell_type"] == "markdown" and meta.get("solution") and RUBRIC in source:
            found[str(meta["grade_id"])] = RUBRIC + source.rpartition(RUBRIC)[2]
    return found


# Repairing ----------------------------------------------------------------------------------------------------------


def repair(notebook: Tree, release: Path) -> list[str]:
    """Give every cell that nbgrader knows its metadata back, and no other cell any.

    Cells are found by their id, else by what they define or check; what is missing comes back from the release. Cells
    that the student added stay, as plain cells.

    Args:
        notebook: the submission, which is changed in place.
        release: the released notebook.

    Returns:
        The ids of the cells that were missing.
    """
    missing = []
    known = [_tree(cell) for cell in json.loads(release.read_bytes())["cells"] if "nbgrader" in cell["metadata"]]
    mine: dict[str, Tree] = {}
    taken: set[int] = set()
    for wanted in known:
        found = _find(wanted, [(n, c) for n, c in enumerate(notebook["cells"], 1) if id(c) not in taken])
        if found is not None:
            mine[_grade_id(wanted)] = found
            taken.add(id(found))
    for cell in notebook["cells"]:
        if id(cell) not in taken:
            cell["metadata"].pop("nbgrader", None)
        if isinstance(cell["metadata"].get("tags"), list):
            cell["metadata"]["tags"] = [t for t in cell["metadata"]["tags"] if t != "skip-execution"]
    place = 0
    for wanted in known:
        grade_id = _grade_id(wanted)
        if grade_id in mine:
            _restore(mine[grade_id], wanted)
            place = max(place, next(i for i, c in enumerate(notebook["cells"]) if c is mine[grade_id]) + 1)
        else:
            missing.append(grade_id)
            notebook["cells"].insert(place, copy.deepcopy(wanted))
            place += 1
    give_ids(notebook["cells"])
    return missing


def _tree(cell: Tree) -> Tree:
    return {**cell, "source": "".join(cell["source"])}


def _grade_id(cell: Tree) -> str:
    return str(cell["metadata"]["nbgrader"]["grade_id"])


def _said_id(cell: Tree) -> object:
    """The id of a submitted cell, if it has one, and it need not be one."""
    meta = cell["metadata"].get("nbgrader")
    return meta.get("grade_id") if isinstance(meta, dict) else None


def _find(wanted: Tree, cells: list[tuple[int, Tree]]) -> Tree | None:
    """The submitted cell that stands for a released one, of some with their numbers."""
    meta = wanted["metadata"]["nbgrader"]
    candidates = [c for _, c in cells if _said_id(c) == meta["grade_id"]]
    candidates = candidates or [c for _, c in cells if c["id"] == wanted["id"]]
    if meta["solution"] and wanted["cell_type"] == "code":
        name = meta["grade_id"]
        stub = Code([Cell(0, "code", wanted["source"])]).definition(name)
        defining = [(n, c) for n, c in cells if _defines(n, c, name, None)]
        solved = [c for n, c in defining if _defines(n, c, name, stub.fingerprint if stub else None)]
        candidates = solved or [c for _, c in defining] or candidates
    if not candidates and meta["grade"] and not meta["solution"]:
        name = checked_name(Cell(0, "code", wanted["source"]))
        candidates = [c for n, c in cells if name and checked_name(Cell(n, c["cell_type"], c["source"])) == name]
    return candidates[-1] if candidates else None


def _defines(number: int, cell: Tree, name: str, stub: str | None) -> bool:
    """Whether a cell defines `name`, and not as the stub."""
    if name not in cell["source"]:
        return False
    code = Code([Cell(number, cell["cell_type"], cell["source"])])
    found = code.definition(name)
    if found is None:
        return code.breakage(name) is not None
    return not found.is_stub(stub)


def _restore(cell: Tree, wanted: Tree) -> None:
    """Metadata and type as released; the text too, unless it is the student's to write."""
    cell["metadata"]["nbgrader"] = copy.deepcopy(wanted["metadata"]["nbgrader"])
    if cell["cell_type"] != wanted["cell_type"]:
        cell["cell_type"] = wanted["cell_type"]
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        else:
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
    if wanted["metadata"]["nbgrader"]["locked"]:
        cell["source"] = wanted["source"]
