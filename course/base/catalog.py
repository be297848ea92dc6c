"""The catalog: what the assignments are about, which need which, and how long they take (catalog.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path

LEVELS = ("beginner", "intermediate", "advanced", "theory")
EFFORTS = ("afternoon", "weekend", "week")


@dataclass(frozen=True)
class Paper:
    """One assignment of the course, written or not.

    Attributes:
        slug: `03_lstm_understanding`.
        title: of the paper; also the heading of the notebook.
        authors: last names.
        year: of its first publication.
        link: where to read it.
        claim: what it claims, in a sentence.
        needs: numbers of the assignments to solve before.
        minutes: that a learner takes.
        level: one of LEVELS.
        place: in the order of its level.
        effort: one of EFFORTS.
    """

    slug: str
    title: str
    authors: str
    year: int
    link: str
    claim: str
    needs: tuple[str, ...]
    minutes: int
    level: str
    place: int
    effort: str

    @property
    def number(self) -> str:
        """`03` of `03_lstm_understanding`."""
        return self.slug[:2]

    @property
    def time(self) -> str:
        """`4 hours`, `3½ hours`."""
        hours, half = divmod(round(self.minutes / 30), 2)
        return f"{hours}{'½' * half} hour{'s' * (hours > 1 or half)}"


@lru_cache(maxsize=1)
def catalog() -> dict[str, Paper]:
    """Slug → paper, in the order of their numbers. An assignment without a level or an effort raises KeyError."""
    tree = tomllib.loads(Path(__file__).with_name("catalog.toml").read_text(encoding="utf-8"))
    places = {n: (level, at) for level, numbers in tree.pop("path").items() for at, n in enumerate(numbers)}
    efforts = {number: effort for effort, numbers in tree.pop("effort").items() for number in numbers}
    found = {}
    for slug, entry in tree.items():
        level, place = places[slug[:2]]
        own = {**entry, "needs": tuple(entry["needs"])}
        found[slug] = Paper(slug=slug, level=level, place=place, effort=efforts[slug[:2]], **own)
    return found


def in_study_order(papers: Collection[Paper]) -> list[Paper]:
    """The papers in the order of the path; what one needs and the path has later comes right before it.

    Raises:
        CycleError: papers need one another in a circle.
    """
    by_number = {paper.number: paper for paper in sorted(papers, key=_on_path)}
    needs = {number: [n for n in by_number if n in paper.needs] for number, paper in by_number.items()}
    TopologicalSorter(needs).prepare()  # looks for circles
    found: dict[str, Paper] = {}

    def visit(number: str) -> None:
        for need in needs[number]:
            visit(need)
        found.setdefault(number, by_number[number])

    for number in by_number:
        visit(number)
    return list(found.values())


def pulled_forward(papers: Collection[Paper]) -> dict[str, str]:
    """Number → that of the first on the path that needs it, for those that the path itself has later."""
    order = sorted(papers, key=_on_path)
    found: dict[str, str] = {}
    for at, paper in enumerate(order):
        for later in order[at:]:
            if later.number in paper.needs:
                found.setdefault(later.number, paper.number)
    return found


def _on_path(paper: Paper) -> tuple[int, int]:
    return LEVELS.index(paper.level), paper.place
