"""An assignment as the grader sees it: its exercises, read from the released notebook, and where its parts lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import Cell, Code, fingerprint, read_notebook
from autograder.engine.inside.shortcuts import forbidden

TRACKS = ("forward", "backward", "torch")
_CHECK = re.compile(r"""^\s*check\(\s*["'](\w+)["']\s*\)\s*$""", re.M)


@dataclass(frozen=True)
class Exercise:
    """One function or class with one check cell.

    Attributes:
        id: `03/lstm_cell_forward`.
        name: what the learner defines.
        track: forward, backward or torch.
        points: what it is worth.
        grade_id: the id of its check cell in nbgrader.
        needs: exercises of the same assignment that its checks call.
        forbids: dotted patterns of what its code may not use.
        reread: the section or equation to go back to.
        stub: fingerprint of the released stub.
    """

    id: str
    name: str
    track: str
    points: float
    grade_id: str
    needs: tuple[str, ...]
    forbids: tuple[str, ...]
    reread: str
    stub: str

    @property
    def torch(self) -> bool:
        """Whether it is one for torch; all others are solved with NumPy alone."""
        return self.track == "torch"


@dataclass(frozen=True)
class Assignment:
    """An assignment and the files that grade it. A learner's copy has no reference and no mistakes."""

    slug: str
    exercises: tuple[Exercise, ...]
    grader: Path
    key: Path
    reference: Path | None = None

    @property
    def number(self) -> str:
        """`03` of `03_lstm_understanding`."""
        return self.slug.split("_")[0]

    @property
    def max_points(self) -> float:
        """The automatic points; written questions are graded by hand and don't count here."""
        return sum(exercise.points for exercise in self.exercises)

    def needing(self, name: str) -> set[str]:
        """An exercise, and all that need it, directly or not."""
        return {e.name for e in self.exercises if name in with_needs(self.exercises, {e.name})}

    def exercise(self, name: str) -> Exercise:
        """The exercise called `name` (or `03/name`). Raises KeyError with a sentence."""
        for exercise in self.exercises:
            if name in (exercise.name, exercise.id):
                return exercise
        names = ", ".join(e.name for e in self.exercises)
        raise KeyError(f"{self.slug} has no exercise {name!r}. Its exercises: {names}.")


def checked_name(cell: Cell) -> str | None:
    """The exercise that a check cell checks, from its text."""
    found = _CHECK.search(cell.source) if cell.type == "code" else None
    return found.group(1) if found else None


def read_exercises(slug: str, notebook: Path) -> tuple[Exercise, ...]:
    """The exercises of a released (or master) notebook, in its order."""
    cells = read_notebook(notebook)
    code = Code(cells)
    metadata = {cell.number: cell.metadata for cell in cells}
    number = slug.split("_")[0]
    found = []
    for cell in cells:
        name = checked_name(cell)
        if name is None or not cell.nbgrader.get("grade"):
            continue
        definition = code.definition(name)
        if definition is None:
            raise UserError(f"{notebook}: no cell defines `{name}`, which cell {cell.number} checks.")
        card = metadata[definition.cell.number].get("s30", {})
        if card.get("track") not in TRACKS:
            raise UserError(f"{notebook}: the cell of `{name}` needs metadata s30.track, one of {TRACKS}.")
        found.append(
            Exercise(
                id=f"{number}/{name}",
                name=name,
                track=card["track"],
                points=float(cell.nbgrader["points"]),
                grade_id=str(cell.nbgrader["grade_id"]),
                needs=tuple(card.get("needs", ())),
                forbids=forbidden(card.get("forbids", ()), torch=card["track"] == "torch"),
                reread=card.get("reread", ""),
                stub=fingerprint(definition.node),
            )
        )
    if not found:
        raise UserError(f"{notebook} has no check cells.")
    known = {exercise.name for exercise in found}
    for exercise in found:
        for need in set(exercise.needs) - known:
            raise UserError(f"{notebook}: `{exercise.name}` needs `{need}`, which is no exercise here.")
    return tuple(found)


def with_needs(exercises: tuple[Exercise, ...], names: set[str]) -> set[str]:
    """`names` and every exercise that they need, directly or not."""
    needs = {exercise.name: exercise.needs for exercise in exercises}
    closed: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in closed:
            closed.add(name)
            queue.extend(needs[name])
    return closed
