"""The catalog: what the assignments are about, which need which, and how long they take (catalog.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path

LEVELS = ("beginner", "intermediate", "advanced", "theory")
AFTERNOON, WEEKEND = 240, 480  # minutes: what fits into one


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
        level: one of LEVELS.
        needs: numbers of the assignments to solve before.
        minutes: that a learner takes.
    """

    slug: str
    title: str
    authors: str
    year: int
    link: str
    claim: str
    level: str
    needs: tuple[str, ...]
    minutes: int

    @property
    def number(self) -> str:
        """`03` of `03_lstm_understanding`."""
        return self.slug[:2]

    @property
    def effort(self) -> str:
        """An afternoon, a weekend or a week."""
        return "afternoon" if self.minutes <= AFTERNOON else "weekend" if self.minutes <= WEEKEND else "week"

    @property
    def time(self) -> str:
        """`4 hours`, `3½ hours`."""
        hours, half = divmod(round(self.minutes / 30), 2)
        return f"{hours}{'½' * half} hour{'s' * (hours > 1 or half)}"


@lru_cache(maxsize=1)
def catalog() -> dict[str, Paper]:
    """Slug → paper, in the order of their numbers."""
    tree = tomllib.loads(Path(__file__).with_name("catalog.toml").read_text(encoding="utf-8"))
    return {slug: Paper(slug=slug, **{**entry, "needs": tuple(entry["needs"])}) for slug, entry in tree.items()}


def in_study_order(papers: Collection[Paper]) -> list[Paper]:
    """Papers such that each comes after what it needs; else by level, then by number. A circle raises CycleError."""
    by_number = {paper.number: paper for paper in papers}
    order = TopologicalSorter({p.number: [n for n in p.needs if n in by_number] for p in papers})
    order.prepare()
    found: list[Paper] = []
    ready: list[Paper] = []
    while order.is_active():
        ready += (by_number[number] for number in order.get_ready())
        found.append(min(ready, key=lambda p: (LEVELS.index(p.level), p.number)))
        ready.remove(found[-1])
        order.done(found[-1].number)
    return found
