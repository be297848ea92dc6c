"""Known wrong implementations, written as changes to the reference."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.engine.inside.errors import UserError
from autograder.engine.inside.load import Loaded, cell_file
from autograder.engine.inside.notebook import Cell, Code


@dataclass(frozen=True)
class Mistake:
    """What a learner may plausibly write instead of the reference.

    Attributes:
        exercise: the function or class it is a wrong version of.
        name: a slug, unique within the exercise.
        hint: what to tell whoever made it; never the solution.
        change: one after the other, text of the reference's cell and the text to put in its place (every occurrence).
    """

    exercise: str
    name: str
    hint: str
    change: tuple[tuple[str, str], ...]

    def source(self, text: str) -> str:
        """The reference's cell, given as text, with the mistake made in it. Raises UserError if it does not fit."""
        for old, new in self.change:
            if old not in text:
                raise UserError(f"{self.exercise}/{self.name}: the reference does not contain {old!r}.")
            text = text.replace(old, new)
        return text


def read_mistakes(path: Path) -> list[Mistake]:
    """The known mistakes of an assignment, in the order of their file; none if there is no such file.

    It has a table per exercise and name of a mistake:

        [sigmoid.mirrored]
        hint = "the two halves are swapped: this is 1 - σ(x). Which numerator belongs to x ≥ 0?"
        change = [['x >= 0', 'x < 0']]

    Raises UserError for a file of any other form.
    """
    if not path.is_file():
        return []
    try:
        exercises = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UserError(f"{path.name} can't be read as TOML: {problem}.") from None
    found = []
    for exercise, tables in exercises.items():
        if not isinstance(tables, dict) or not tables:
            raise UserError(f"{path.name}: `{exercise}` holds no table of a mistake, such as [{exercise}.wrong_axis].")
        for name, table in tables.items():
            if fault := _fault(table):
                raise UserError(f"{path.name}: [{exercise}.{name}] {fault}.")
            change = tuple((old, new) for old, new in table["change"])
            found.append(Mistake(exercise, name, table["hint"], change))
    return found


def _fault(table: Any) -> str | None:
    """What keeps a value of the file from being a mistake, if anything does."""
    if not isinstance(table, dict):
        return "is no table with `hint` and `change`"
    if unknown := sorted(table.keys() - {"hint", "change"}):
        return f"has `{unknown[0]}`; a mistake has `hint` and `change`, and nothing else"
    hint, change = table.get("hint"), table.get("change")
    if not isinstance(hint, str) or not hint.strip():
        return "has no `hint`: a text that tells whoever made the mistake what is wrong"
    if not isinstance(change, list) or not change:
        return "has no `change`: pairs [old, new] of the reference's text and the text in its place"
    for pair in change:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            return f"has {pair!r} in `change`, which is no pair [old, new] of texts"
        if not pair[0]:
            return "replaces an empty text in `change`; the old text of a pair stands in the reference"
    return None


@contextlib.contextmanager
def apply(mistake: Mistake, loaded: Loaded, cells: list[Cell]) -> Iterator[None]:
    """Within the block, the reference's namespace holds the mistake in place of the right implementation."""
    found = Code(cells).definition(mistake.exercise)
    if found is None:
        raise UserError(f"{mistake.exercise} is not defined in the reference.")
    source = mistake.source(found.cell.source)
    before = dict(loaded.namespace)
    try:
        exec(compile(source, cell_file(found.cell.number), "exec"), loaded.namespace)
        yield
    finally:
        loaded.namespace.clear()
        loaded.namespace.update(before)
