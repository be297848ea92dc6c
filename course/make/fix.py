"""`s30 lint --fix`: what the cells of a master carry beside their text, derived from the text.

An author writes text, stubs, hints and checks in any notebook editor. Ids, nbgrader's metadata and a stub's copy of its
card come from here; outputs, and what editors leave behind, go. An exercise's `needs`, `forbids` and `reread` are the
author's own: they are kept, and begin as nothing, nothing, and the equations of its text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autograder.engine.assignment import checked_name
from autograder.engine.inside.notebook import Cell, read_notebook

TRACK = {"NumPy forward": "forward", "NumPy backward": "backward", "PyTorch": "torch"}
CARD = re.compile(rf"\*\*(\d+) points? · (\d+) minutes · difficulty ([1-5]) of 5 · ({'|'.join(TRACK)})\*\*")
WRITTEN = re.compile(r"\*\*(\d+) points? · graded by hand\*\*")
SLUG = re.compile(r"[A-Za-z_][\w-]*")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
_HINT = re.compile(r"<details>\s*<summary>Hint (\d)\b")
_HEADING = re.compile(r"^#+ (.+)$", re.M)
_TAG = re.compile(r"\\tag\{(\w+)\}")
# ids as JupyterLab and nbformat draw them
_RANDOM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8}")
_NOTEBOOK = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def fixed(master: Path) -> str:
    """A master with all that its text implies, as nbformat writes notebooks. Raises NotebookError if it is none."""
    cells = read_notebook(master)
    held = json.loads(master.read_bytes())["cells"]
    names = _names(cells, [cell.get("id", "") for cell in held])
    above = zip(names[1:], [cell.source for cell in cells], strict=False)
    cards = {name: (text, card) for name, text in above if (card := CARD.search(text) or WRITTEN.search(text))}
    made: list[dict[str, Any]] = []
    for cell, name, before in zip(cells, names, held, strict=True):
        source = cell.source.strip("\n").splitlines(keepends=True)
        made.append(
            {"cell_type": cell.type, "id": name, "metadata": _metadata(cell, name, cards), "source": source}
            | ({"execution_count": None, "outputs": []} if cell.type == "code" else {})
            | ({"attachments": before["attachments"]} if before.get("attachments") else {})  # pictures of a text
        )
    tree = {"cells": made, "metadata": _NOTEBOOK, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(tree, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _names(cells: Sequence[Cell], ids: Sequence[str]) -> list[str]:
    """The id of each cell: what its place in an exercise says, else its own, else made from the heading above it."""
    asked = [*map(_asked, cells), ""]
    answers = [cell.type == "markdown" and BEGIN in cell.source for cell in cells] + [False]
    found: list[str] = []
    stub, heading = "", "title"

    def own(at: int, base: str) -> str:
        if SLUG.fullmatch(ids[at]) and not _RANDOM.fullmatch(ids[at]) and ids[at] not in [*found, *asked]:
            return ids[at]
        numbered = [base, *(f"{base}-{k}" for k in range(2, len(cells) + 2))]
        return next(name for name in numbered if name not in [*ids, *found, *asked])

    for at, cell in enumerate(cells):
        title = _HEADING.search(cell.source) if cell.type == "markdown" and not answers[at] else None
        heading = re.sub(r"\W+", "-", title[1].lower()).strip("-") if title else heading
        hint = _HINT.match(cell.source)
        if asked[at]:
            stub = asked[at]
            found.append(stub)
        elif checked := checked_name(cell):
            found.append(f"{checked}-check")
        elif hint and cell.type == "markdown":
            found.append(f"{stub}-hint{hint[1]}")
        elif asked[at + 1] and CARD.search(cell.source):
            found.append(f"{asked[at + 1]}-text")
        elif answers[at + 1]:
            found.append(f"{own(at + 1, heading)}-text")
        elif answers[at]:
            found.append(own(at, heading))
        elif cell.type == "markdown":
            found.append(own(at, f"{heading}-text" if at else "title"))
        elif "course.checker(" in cell.source:
            found.append(own(at, "setup"))
        else:
            found.append(own(at, f"{heading}-figure" if "plots.show(" in cell.source else f"{heading}-run"))
    return found


def _asked(cell: Cell) -> str:
    """The function or class that a stub asks for: the one its solution stands in. Nothing for any other cell."""
    before = cell.source.partition(BEGIN)[0] if has_solution(cell) else ""
    asked: list[str] = re.findall(r"^(?:def|class) (\w+)", before, re.M)
    return asked[-1] if asked else ""


def has_solution(cell: Cell) -> bool:
    """Whether a cell holds a solution in code."""
    return cell.type == "code" and BEGIN in cell.source


def _metadata(cell: Cell, name: str, cards: Mapping[str, tuple[str, re.Match[str]]]) -> dict[str, Any]:
    """What nbgrader and the engine must know about a cell. A card that is missing is the linter's to name."""
    role = {"schema_version": 3, "grade_id": name, "grade": False, "solution": False, "locked": False}
    text, card = cards.get(name.removesuffix("-check"), ("", None))
    points = {"points": int(card[1])} if card else {}
    if has_solution(cell):
        tags = _TAG.findall(text)
        ends = " to ".join(f"({tag})" for tag in dict.fromkeys(tags[:1] + tags[-1:]))
        reread = f"equation{'s' * (len(tags) > 1)} {ends}" if tags else "the text above"
        own: dict[str, Any] = {"needs": [], "forbids": [], "reread": reread}
        own |= {key: value for key, value in cell.metadata.get("s30", {}).items() if key in own}
        if card:
            own |= {"track": TRACK[card[4]], "minutes": int(card[2]), "difficulty": int(card[3])}
        return {"nbgrader": role | {"solution": True}, "s30": own}
    if checked_name(cell):
        return {"nbgrader": role | {"grade": True, "locked": True} | points}
    if cell.type == "markdown" and BEGIN in cell.source:
        return {"nbgrader": role | {"grade": True, "solution": True} | points}
    if cell.type == "code" and name.endswith("-figure"):
        return {"jupyter": {"source_hidden": True}}
    return {"nbgrader": role | {"locked": True}} if name.startswith("setup") and cell.type == "code" else {}
