"""What the corpus is built from: an assignment under attack, drafts of submissions, and things hostile code may reach.

Every builder works on any :class:`Target`, so the same attack can be handed in to this course's grader and to another.
"""

from __future__ import annotations

import ast
import copy
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Notebook = dict[str, Any]
LOOT = "LOOT:"  # what stolen text is told with; code writes it so that the code itself does not hold it


@dataclass(frozen=True)
class Target:
    """An assignment that is attacked.

    Attributes:
        slug: its name, and that of its notebook.
        stub: the released notebook.
        solutions: exercise → text of its solved cell.
        wrong: exercise → body that runs and returns something wrong.
        points: exercise → points, in the notebook's order.
        needs: exercise → all exercises that it can't earn points without, itself included.
        first: the exercise that all others of its track need (or could).
        last: an exercise that no other needs.
        public: checksums (crc32) of the first argument of `last` in the checks that a learner can see.
        torch: the exercises that are solved with torch; drafts leave them as stubs unless told otherwise.
    """

    slug: str
    stub: Notebook
    solutions: Mapping[str, str]
    wrong: Mapping[str, str]
    points: Mapping[str, float]
    needs: Mapping[str, frozenset[str]]
    first: str
    last: str
    public: Callable[[], frozenset[int]]
    torch: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ground:
    """What hostile code finds around it. All of it is made for the occasion, and nothing else is touched.

    Attributes:
        folder: of the class, with submitted/, gradebook.db and what belongs to them.
        outside: a folder of no use to a submission; nothing may appear in it.
        masters: worked solutions and answer keys that only the grader may read.
        port: of a listener on this machine's own address; nobody may connect.
        bystander: a process that somebody else runs; it must go on.
        secret: a word in the environment of the grader.
    """

    folder: Path
    outside: Path
    masters: tuple[Path, ...]
    port: int
    bystander: int
    secret: str

    def tag(self, student: str) -> str:
        """A word in the command line of every process that a student's code starts, unlike that of other runs."""
        return f"s30-redteam-{self.port}-{student}."


VICTIM = "zz_victim"  # the student whose work others try to read and to change


def code_cell(source: str, **metadata: Any) -> dict[str, Any]:
    """A code cell as an editor writes it."""
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": [], "execution_count": None}


def indented(text: str, by: int = 4) -> str:
    """Text moved to the right."""
    return "\n".join(" " * by + line if line else line for line in text.split("\n"))


@dataclass
class Draft:
    """A submission in the making. Every method changes it and returns it."""

    tree: Notebook
    first: str
    last: str
    solved: tuple[str, ...]
    name: str = ""
    raw: bytes | None = None
    beside: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    is_folder: bool = False

    @property
    def cells(self) -> list[dict[str, Any]]:
        """The notebook's cells."""
        return self.tree["cells"]

    def cell(self, grade_id: str) -> dict[str, Any]:
        """The cell with an id of nbgrader's."""
        return next(c for c in self.cells if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)

    def check(self, name: str) -> dict[str, Any]:
        """The check cell of an exercise."""
        return self.cell(f"{name}-check")

    def at(self, cell: dict[str, Any]) -> int:
        """The place of a cell."""
        return next(i for i, c in enumerate(self.cells) if c is cell)

    def text(self, name: str) -> str:
        """The text of an exercise's cell."""
        return "".join(self.cell(name)["source"])

    def put(self, name: str, source: str) -> Draft:
        """Replace the text of an exercise's cell."""
        self.cell(name)["source"] = source
        return self

    def above(self, name: str, source: str) -> Draft:
        """Put statements above the definition, in its cell."""
        return self.put(name, f"{source}\n\n\n{self.text(name)}")

    def below(self, name: str, source: str) -> Draft:
        """Put statements below the definition, in its cell."""
        return self.put(name, f"{self.text(name)}\n\n\n{source}")

    def _lines(self, name: str) -> tuple[list[str], int]:
        """The lines of an exercise's cell, and where the body of its function begins."""
        source = self.text(name)
        node = next(n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef) and n.name == name)
        return source.split("\n"), node.body[bool(ast.get_docstring(node))].lineno - 1

    def first_line(self, name: str, lines: str) -> Draft:
        """Put statements first into the function."""
        text, start = self._lines(name)
        return self.put(name, "\n".join([*text[:start], indented(lines), *text[start:]]))

    def body(self, name: str, lines: str) -> Draft:
        """Replace what the function does; its signature stays."""
        text, start = self._lines(name)
        return self.put(name, "\n".join([*text[:start], indented(lines)]))

    def renamed(self, name: str, new: str) -> str:
        """The solved cell with its function under another name."""
        return self.text(name).replace(f"def {name}(", f"def {new}(")

    def insert(self, at: int, source: str, **metadata: Any) -> Draft:
        """Add a code cell."""
        self.cells.insert(at, code_cell(source, **metadata))
        return self

    def without_ids(self) -> Draft:
        """As nbformat 4.4 and older: cells have no ids."""
        for cell in self.cells:
            cell.pop("id", None)
        self.tree["nbformat_minor"] = 4
        return self

    def as_bytes(self) -> bytes:
        """The notebook file."""
        return self.raw if self.raw is not None else json.dumps(self.tree, indent=1).encode()

    def bytes_(self, raw: bytes) -> Draft:
        """The file is these bytes, whatever was drafted."""
        self.raw = raw
        return self

    def hand_in(self, folder: Path) -> None:
        """Write the submission into a folder that does not exist yet."""
        folder.mkdir(parents=True)
        if self.is_folder:
            (folder / self.name).mkdir()
        elif self.name not in self.links:
            (folder / self.name).write_bytes(self.as_bytes())
        for name, content in self.beside.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for name, to in self.links.items():
            os.symlink(to, folder / name)


@dataclass(frozen=True)
class Field:
    """What a builder gets: the target, the ground, and the name under which it hands in."""

    target: Target
    ground: Ground
    student: str

    @property
    def first(self) -> str:
        """The exercise that all others need."""
        return self.target.first

    @property
    def last(self) -> str:
        """An exercise that no other needs."""
        return self.target.last

    @property
    def file(self) -> str:
        """The name that the notebook must have."""
        return f"{self.target.slug}.ipynb"

    @property
    def mark(self) -> str:
        """A path outside, quoted for code, that must not come to exist."""
        return repr(str(self.ground.outside / self.student))

    def _draft(self, solved: tuple[str, ...]) -> Draft:
        draft = Draft(copy.deepcopy(self.target.stub), self.first, self.last, solved, self.file)
        for name in solved:
            draft.put(name, self.target.solutions[name])
        return draft

    def stub(self) -> Draft:
        """Nothing done."""
        return self._draft(())

    def solved(self, *, torch: bool = False) -> Draft:
        """All of the NumPy exercises done right; those in torch too, if asked for."""
        names = (n for n in self.target.points if torch or n not in self.target.torch)
        return self._draft(tuple(names))

    def wrong(self) -> Draft:
        """Everything that :meth:`solved` has, each with a wrong answer."""
        draft = self.solved()
        for name in draft.solved:
            draft.body(name, self.target.wrong[name])
        return draft

    def trick(self, code: str) -> Draft:
        """Wrong answers, and code at the top of the first exercise's cell that should turn them into points."""
        return self.wrong().above(self.first, code)

    def fault(self, lines: str) -> Draft:
        """Right answers, but for statements that come first in the last exercise."""
        return self.solved().first_line(self.last, lines)

    def answer(self, lines: str) -> Draft:
        """Right answers, but for the last exercise, which does this."""
        return self.solved().body(self.last, lines)

    def kept(self, lines: str) -> Draft:
        """As :meth:`answer`, with the right function at hand under the name `_right`."""
        draft = self.solved()
        right = draft.renamed(self.last, "_right")
        return draft.body(self.last, lines).above(self.last, right)

    def theft(self, expression: str, setup: str = "") -> Draft:
        """Right answers, but for the last exercise, which tells what it could get hold of."""
        told = f"raise ValueError({LOOT[:2]!r} + {LOOT[2:]!r} + repr({expression})[:300])"
        return self.answer(f"{setup}\n{told}" if setup else told)

    def started(self, seconds: int = 600) -> str:
        """Code for the arguments of a process that waits, and that can be found by its command line."""
        wait = f"import time; time.sleep({seconds})"
        return f"[__import__('sys').executable, '-c', {wait!r}, {self.ground.tag(self.student)!r}]"
