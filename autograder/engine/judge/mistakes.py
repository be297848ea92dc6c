"""Known wrong implementations, written as changes to the reference."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autograder.engine.inside.errors import UserError
from autograder.engine.inside.load import Loaded, cell_file
from autograder.engine.inside.notebook import Cell, Code
from autograder.engine.inside.observe import load_grader


@dataclass(frozen=True)
class Mistake:
    """What a learner may plausibly write instead of the reference.

    Attributes:
        exercise: the function or class it is a wrong version of.
        name: a slug, unique within the exercise.
        hint: what to tell whoever made it; never the solution.
        change: text of the reference's cell → text to put in its place (every occurrence).
    """

    exercise: str
    name: str
    hint: str
    change: Mapping[str, str]

    def source(self, text: str) -> str:
        """The reference's cell, given as text, with the mistake made in it. Raises MistakeError if it does not fit."""
        for old, new in self.change.items():
            if old not in text:
                raise MistakeError(f"{self.exercise}/{self.name}: the reference does not contain {old!r}.")
            text = text.replace(old, new)
        return text


class MistakeError(UserError):
    """A mistake that no longer fits its reference."""


def read_mistakes(path: Path) -> list[Mistake]:
    """The list ``MISTAKES`` of a mistakes file; empty if there is no such file."""
    return list(load_grader(path).MISTAKES) if path.is_file() else []


@contextlib.contextmanager
def apply(mistake: Mistake, loaded: Loaded, cells: list[Cell]) -> Iterator[None]:
    """Within the block, the reference's namespace holds the mistake in place of the right implementation."""
    found = Code(cells).definition(mistake.exercise)
    if found is None:
        raise MistakeError(f"{mistake.exercise} is not defined in the reference.")
    source = mistake.source(found.cell.source)
    before = dict(loaded.namespace)
    try:
        exec(compile(source, cell_file(found.cell.number), "exec"), loaded.namespace)
        yield
    finally:
        loaded.namespace.clear()
        loaded.namespace.update(before)
