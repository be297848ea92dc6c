"""What nbgrader's clearing takes from a stub: its pictures, and that results wait until the learner has run them.

The pictures are those of the executed solution. A figure that needs none of the learner's code keeps its output; under
any other stands, folded, what it is to look like, without its caption, which holds results (a stepper, which is one
with its captions, waits for its run). Where there is no solution, or its cell is another, there is no picture. A cell
named `…-reading` is folded, too.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.engine.inside.notebook import Cell, Code, Statement

MAX_BYTES = 2_000_000  # of a stub: it is sent by mail, and opened on a hub
SEEN = "What you should see"
FOUND = "What we found (open it when yours has run)"
_DEFINES = (ast.FunctionDef, ast.ClassDef)
_SETS = (ast.Assign, ast.AnnAssign, ast.For, ast.With, *_DEFINES)  # in any case, unlike what stands under an `if`


class ShowPictures(NbGraderPreprocessor):
    """Give a stub the solution's pictures, and fold what tells results."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Add outputs and folded cells, in place."""
        slug = resources["nbgrader"]["assignment"]
        directory = self.config.CourseDirectory
        folder = Path(directory.get("root", ".")) / directory.get("solution_directory", "solutions")
        outputs = _outputs(folder / slug / f"{slug}.ipynb")
        learners = drawn_by_learner(nb.cells)
        cells: list[NotebookNode] = []
        for cell in nb.cells:
            cells.append(cell)
            if cell.cell_type == "markdown" and cell.id.endswith("-reading"):
                cell.source = _folded(FOUND, cell.source)
            shown = outputs.get((cell.id, cell.source), [])
            if shown and cell.id not in learners:
                cell.outputs = [new_output(**output) for output in shown]
            elif any("image/png" in output["data"] for output in shown):
                cells.append(_what_to_see(cell.id, shown))
        nb.cells = cells
        size = len(json.dumps(nb))
        if size > MAX_BYTES:
            self.log.critical(told := f"The stub of {slug} has {size} bytes with its pictures; {MAX_BYTES} at most.")
            raise RuntimeError(told)
        return nb, resources


def drawn_by_learner(cells: Iterable[NotebookNode]) -> set[str]:
    """The ids of the code cells that need a name of a stub, directly or through what cells above them have made."""
    learners, found, imported = set[str](), set[str](), set[str]()
    for number, cell in enumerate(cells, 1):
        if cell.cell_type != "code":
            continue
        asked = bool(cell.metadata.get("nbgrader", {}).get("solution"))
        for statement in Code([Cell(number, "code", cell.source, {})]).statements:
            imported |= statement.names if isinstance(statement.node, ast.Import | ast.ImportFrom) else set()
            if asked or (statement.free | _of_itself(statement)) & learners:
                found.add(cell.id)
                learners |= set(_touched(statement)) - imported
            elif isinstance(statement.node, _SETS):
                learners -= statement.names  # `fig` and `ax` are anew what they were in a figure above
    return found


def _of_itself(statement: Statement) -> set[str]:
    """The names that a statement both sets and reads, as `x = x + 1` does: for the engine they are its own."""
    node = statement.node
    if isinstance(node, _DEFINES):
        return set()
    read = _named(node, ast.Load)
    if isinstance(node, ast.For):  # its variable is set before the body reads it
        read -= _named(node.target, ast.Store) - _named(node.iter, ast.Load)
    return read & statement.names


def _named(tree: ast.AST, how: type[ast.expr_context]) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, how)}


def _touched(statement: Statement) -> Iterator[str]:
    """The names that a statement sets, and those of what it changes: by a method of it, or by an assignment into it."""
    yield from statement.names
    if isinstance(statement.node, _DEFINES):
        return
    for node in ast.walk(statement.node):
        changed = node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
        changed = node.value if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) else changed
        while isinstance(changed, ast.Attribute | ast.Subscript):
            changed = changed.value
        if isinstance(changed, ast.Name):
            yield changed.id


def _outputs(solution: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(cell's id, its text) → what it displayed, as nbformat has it."""
    if not solution.is_file():
        return {}
    cells = [cell for cell in json.loads(solution.read_bytes())["cells"] if cell["cell_type"] == "code"]
    shown = {(cell["id"], "".join(cell["source"])): cell["outputs"] for cell in cells}
    return {key: [o for o in outputs if o["output_type"] == "display_data"] for key, outputs in shown.items()}


def _what_to_see(figure: str, shown: list[dict[str, Any]]) -> NotebookNode:
    pictures: list[str] = []
    attached: dict[str, Any] = {}
    for output in shown:
        if "image/png" in output["data"]:
            name = f"{len(attached) + 1}.png"
            attached[name] = {"image/png": "".join(output["data"]["image/png"])}
            pictures.append(f"![{output['metadata'].get('image/png', {}).get('alt', '')}](attachment:{name})")
    return new_markdown_cell(id=f"{figure}-seen", source=_folded(SEEN, "\n\n".join(pictures)), attachments=attached)


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"
