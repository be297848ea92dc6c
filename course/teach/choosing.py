"""Which of a student's notebooks counts: the one with most of this assignment's exercises done."""

from __future__ import annotations

import re
import traceback
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from autograder.engine.assignment import checked_name
from autograder.engine.inside.notebook import Cell, NotebookError, parse_notebook, read_notebook
from course.base.project import Project
from course.teach.intake import MAX_CODE

MAX_JUDGED_BYTES = 30 * 2**20  # of a notebook that is looked into; larger ones have their outputs in them
MAX_TEXT = 3_000_000  # characters of code that are looked at; an honest notebook has a tenth of a million
MAX_DEFINITIONS = 20  # of one name in a notebook
_DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)
_NEXT = re.compile(r"^[^\s#)\]}]", re.MULTILINE)
_NO_CODE = re.compile(r'""".*?"""|\'\'\'.*?\'\'\'|#[^\n]*|\s+', re.DOTALL)


@dataclass(frozen=True)
class Judged:
    """What a file has of an assignment.

    Attributes:
        notebook: it is one.
        fits: how many of the assignment's exercises it has.
        solved: how many of them are no longer as they were handed out.
        other: the assignment that it is of, if that is another one.
    """

    notebook: bool
    fits: int = 0
    solved: int = 0
    other: str = ""


@dataclass
class Chooser:
    """Knows an assignment's exercises by their texts: nothing handed in is parsed as code, which may take any time.

    Args:
        project: the course.
        slug: the assignment.
    """

    project: Project
    slug: str
    _names: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stubs = _definitions(_code(read_notebook(self.project.release(self.slug))), self._exercises(self.slug))
        self._stubs = {name: stubs.get(name, set()) for name in self._exercises(self.slug)}

    def judged(self, raw: bytes) -> Judged:
        """What a file has of the assignment."""
        if len(raw) > MAX_JUDGED_BYTES:
            return Judged(notebook=False)
        try:
            cells = _code(parse_notebook(raw, "it"))
        except NotebookError as problem:
            traceback.clear_frames(problem.__traceback__)  # they hold each other, and all that was read
            return Judged(notebook=False)
        mine = _definitions(cells, self._stubs)
        solved = sum(bool(codes - self._stubs[name]) for name, codes in mine.items())
        return Judged(True, len(mine), solved, self._other(cells) if 2 * len(mine) < len(self._stubs) else "")

    def _other(self, cells: list[Cell]) -> str:
        """The assignment of which a notebook has more exercises than of this one, if there is one."""
        mine = {match[1] for cell in cells for match in _DEFINED.finditer(cell.source)}
        slugs = [slug for slug in self.project.slugs() if self.project.release(slug).is_file()]
        most, _, slug = max((len(mine & self._exercises(s)), s == self.slug, s) for s in slugs)
        return slug if most and slug != self.slug else ""

    def _exercises(self, slug: str) -> frozenset[str]:
        """The names of an assignment's exercises: what its check cells check."""
        if slug not in self._names:
            found = (checked_name(cell) for cell in read_notebook(self.project.release(slug)))
            self._names[slug] = frozenset(name for name in found if name)
        return self._names[slug]


def _code(cells: list[Cell]) -> list[Cell]:
    """The code of a notebook, up to a limit."""
    code, room = [], MAX_TEXT
    for cell in cells:
        if cell.type == "code" and len(cell.source) <= min(room, MAX_CODE):
            code.append(cell)
            room -= len(cell.source)
    return code


def _definitions(cells: list[Cell], names: Collection[str]) -> dict[str, set[str]]:
    """Which of these names a notebook defines → with what code, without comments, docstrings and layout."""
    found: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        for match in _DEFINED.finditer(cell.source):
            if match[1] in names and len(found[match[1]]) < MAX_DEFINITIONS:
                after = _NEXT.search(cell.source, match.end())
                found[match[1]].add(_NO_CODE.sub("", cell.source[match.start() : after.start() if after else None]))
    return found
