"""Giving a notebook back the form that nbformat asks for, and saying what had to go for it.

Editors, converters and mail programs write what nbformat's schema refuses, and every later step that validates would
stop at it, though no score depends on it. So what every cell has is put right, and of the rest its own validator says
what is wrong: the smallest thing that it names is dropped. What a cell says always stays.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

Tree = dict[str, Any]
FORMAT = {"nbformat": 4, "nbformat_minor": 5}  # of every notebook that was read, whatever it was before
MAX_SENTENCES = 5
MAX_DROPPED = 200  # things of a notebook, one by one; then only what every cell has is kept
MAX_LEVELS = 20  # of lists and objects in one another
MAX_ITEMS = 50  # of a list, if they are not all text, which may be that of a picture
_KINDS = ("code", "markdown", "raw")
_WRITTEN = ("cells", "source", "outputs")  # never too long here: they have limits of their own
_KEPT = ("cell_type", "id", "source", "outputs", "execution_count", "cells", *FORMAT)
_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NAME = re.compile(r"[A-Za-z_]{1,30}")  # which may be shown, whoever chose it


def mended(tree: Tree) -> tuple[Tree, list[str]]:
    """A notebook of :data:`FORMAT` that nbformat accepts, without outputs, from any tree with a list of cells.

    Returns:
        The notebook; and a sentence for each kind of thing that was mended or dropped, with the numbers of the cells.
    """
    notes = _Notes()
    cells, numbers = [], []  # the number of a cell is that in the file
    for number, cell in enumerate(tree["cells"], 1):
        if isinstance(cell, dict):
            cells.append(_whole(cell, number, notes))
            numbers.append(number)
        else:
            notes.add(number, "not a cell, and dropped")
    for place in give_ids(cells):
        notes.add(numbers[place], "id was not valid, or another cell's, and is new")
    minor = tree.get("nbformat_minor", 0)
    if type(minor) is not int or minor < 0:
        notes.add(0, f"nbformat_minor was no number of a format, and is {FORMAT['nbformat_minor']} now")
    frame = {**tree, **FORMAT, "metadata": _metadata(tree, 0, notes), "cells": []}
    for number, part in zip([0, *numbers], [frame, *cells], strict=True):
        for path in list(_unwieldy(part)):
            _drop(part, path, number, "was too long or nested too deep", notes)
    tree = _of_text({**frame, "cells": cells}, notes)
    if not _accepted(tree):
        tree = _without_refused(tree, numbers, notes)
    return tree, notes.sentences()


def give_ids(cells: list[Tree]) -> list[int]:
    """Give cells that have no valid id, or that of a cell before them, one of their own, in place.

    Returns the places, from 0, of those that had one that was not theirs or not valid.
    """
    used = {cell["id"] for cell in cells if isinstance(cell.get("id"), str)}
    spare = (name for number in itertools.count(1) if (name := f"cell-{number}") not in used)
    seen: set[str] = set()
    wrong = []
    for place, cell in enumerate(cells):
        mine = cell.get("id")
        if not isinstance(mine, str) or not _CELL_ID.fullmatch(mine) or mine in seen:
            cell["id"] = next(spare)
            if mine is not None:
                wrong.append(place)
        seen.add(cell["id"])
    return wrong


def listed(things: Collection[object]) -> str:
    """Some things, of which there are any, as part of a sentence: a few, and how many there are more."""
    words = [str(thing) for thing in things]
    if len(words) > MAX_SENTENCES + 1:
        words[MAX_SENTENCES:] = [f"{len(words) - MAX_SENTENCES} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


class _Notes:
    """What was mended: the kinds of it, each with the numbers of the cells. The notebook round them has none."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[int]] = {}

    def add(self, number: int, kind: str) -> None:
        """Note something of a cell; its number is 0 for the notebook."""
        numbers = self._found.setdefault(("Cell" if number else "The notebook", kind), [])
        if number and number not in numbers[-1:]:
            numbers.append(number)

    def sentences(self) -> list[str]:
        said = []
        for (what, kind), numbers in self._found.items():
            where = f"{what}{'s' if len(numbers) > 1 else ''} {listed(numbers)}" if numbers else what
            said.append(f"{where}: {kind}.")
        more = len(said) - MAX_SENTENCES
        return [*said[:MAX_SENTENCES], f"And {more} more kinds of such things."] if more > 1 else said


# What every cell has -------------------------------------------------------------------------------------------------


def _whole(cell: Tree, number: int, notes: _Notes) -> Tree:
    """A cell with a type, a text and metadata, and without outputs."""
    source = cell.get("source", cell.get("input", ""))  # of formats 4 and 3
    lines = source if isinstance(source, list) else [source]
    text = "".join(line for line in lines if isinstance(line, str))
    if not all(isinstance(line, str) for line in lines):
        notes.add(number, "source was not all text, and the rest was dropped")
    kind = cell.get("cell_type")
    if kind == "heading":  # of format 3
        level = cell.get("level")
        text = f"{'#' * (level if isinstance(level, int) and 1 <= level <= 6 else 1)} {text}"
    elif kind not in _KINDS:
        notes.add(number, "type was none that nbformat knows, and was guessed")
    if kind not in _KINDS:
        kind = "code" if {"outputs", "execution_count"} & set(cell) else "markdown"
    rest = {name: value for name, value in cell.items() if name not in ("input", "level", "outputs", "execution_count")}
    whole = rest | {"cell_type": kind, "source": text, "metadata": _metadata(cell, number, notes)}
    return whole | {"outputs": [], "execution_count": None} if kind == "code" else whole


def _metadata(part: Tree, number: int, notes: _Notes) -> Tree:
    metadata = part.get("metadata", {})
    if isinstance(metadata, dict):
        return dict(metadata)
    notes.add(number, "metadata was no object, and is empty now")
    return {}


def _of_text(tree: Tree, notes: _Notes) -> Tree:
    """A tree all of whose text can be written."""
    text = json.dumps(tree, ensure_ascii=False)
    possible = text.encode(errors="replace").decode()
    if text == possible:
        return tree
    notes.add(0, "characters that are none were replaced by question marks")
    read: Tree = json.loads(possible)
    return read


# What only some have -------------------------------------------------------------------------------------------------


def _unwieldy(part: Tree) -> Iterator[tuple[str, ...]]:
    """Where in a cell, or in the notebook round them, is what nothing should have to go through."""
    for name, value in part.items():
        if isinstance(value, dict):
            yield from ((name, key) for key, inner in value.items() if _too_much(inner, MAX_LEVELS))
        elif name not in _WRITTEN and _too_much(value, MAX_LEVELS):
            yield (name,)


def _too_much(value: object, levels: int) -> bool:
    if isinstance(value, list) and len(value) > MAX_ITEMS and not all(isinstance(item, str) for item in value):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_too_much(v, levels - 1) for v in inner)


def _accepted(tree: Tree) -> bool:
    from nbformat.validator import get_validator  # not at the top, for it takes as long as all else here

    return not get_validator(*FORMAT.values(), name="fastjsonschema").iter_errors(tree)


def _without_refused(tree: Tree, numbers: Sequence[int], notes: _Notes) -> Tree:
    """A notebook without what nbformat refuses in it."""
    frame, left = {**tree, "cells": []}, MAX_DROPPED
    refs = [None, *(f"{cell['cell_type']}_cell" for cell in tree["cells"])]
    for number, part, ref in zip([0, *numbers], [frame, *tree["cells"]], refs, strict=True):
        left -= _drop_refused(part, ref, left, number, notes)
    return {**frame, "cells": tree["cells"]}


def _drop_refused(part: Tree, ref: str | None, most: int, number: int, notes: _Notes) -> int:
    """Drop what nbformat refuses in a cell, or in the notebook round them, in place. Returns how many times."""
    from nbformat.validator import iter_validate

    for done in range(most):
        error = next(iter_validate(part, ref, *FORMAT.values()), None)
        if error is None:
            return done
        if error.absolute_path:
            _drop(part, tuple(error.absolute_path)[:2], number, "was not as nbformat has it", notes)
        else:  # the keys of a cell or of a notebook are the only ones that are not free
            for name in set(part) - set(error.schema["properties"]):
                del part[name]
            notes.add(number, "keys that nbformat does not know were dropped")
    bare = {name: part[name] for name in _KEPT if name in part} | {"metadata": {}}
    if part.keys() != bare.keys() or part["metadata"]:
        notes.add(number, "there was too much to mend, and only its text was kept")
    part.clear()
    part.update(bare)
    return most


def _drop(part: Tree, path: tuple[str, ...], number: int, why: str, notes: _Notes) -> None:
    holder = part if len(path) == 1 else part[path[0]]
    del holder[path[-1]]
    known = list(itertools.takewhile(_NAME.fullmatch, path))
    what = ".".join(known) or "it"
    notes.add(number, f"{what if len(known) == len(path) else f'a part of {what}'} {why}, and was dropped")
