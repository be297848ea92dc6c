"""The catalog: what the assignments are about, which need which, and how long they take (course/catalog.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from course.project import Project

TRACKS = ("beginner", "intermediate", "advanced", "theory")
AFTERNOON, WEEKEND = 240, 480  # minutes: what fits into one
PAGE = "CATALOG.md"


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
        track: one of TRACKS.
        needs: numbers of the assignments to solve before.
        minutes: that a learner takes.
    """

    slug: str
    title: str
    authors: str
    year: int
    link: str
    claim: str
    track: str
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
    """Papers such that each comes after what it needs; else by track, then by number."""
    waiting = sorted(papers, key=lambda p: (TRACKS.index(p.track), p.number))
    numbers = {paper.number for paper in waiting}
    found: list[Paper] = []
    while waiting:
        done = {paper.number for paper in found}
        ready = next(p for p in waiting if set(p.needs) & numbers <= done)
        waiting.remove(ready)
        found.append(ready)
    return found


def new_page(project: Project) -> str | None:
    """The catalog as the page that people read where the project is hosted; None if it says so already."""
    path = project.root / PAGE
    page = "\n".join([*_page(set(project.slugs())), ""])
    return None if path.is_file() and path.read_text(encoding="utf-8") == page else page


def _page(written: Collection[str]) -> Iterator[str]:
    papers = catalog().values()
    yield "# The assignments"
    yield ""
    yield (
        f"{len(written)} of {len(papers)} are written; the others say so. Made from `course/catalog.toml` by "
        "`s30 build`; `s30 list` shows the same with your progress."
    )
    for track in TRACKS:
        yield from ("", f"## {track.capitalize()}", "")
        yield "| | Paper | What it claims | First solve | Time |"
        yield "|---|---|---|---|---|"
        for paper in (p for p in papers if p.track == track):
            name = f"[{paper.title}]({paper.link}), {paper.authors}, {paper.year}"
            notebook = f"[{paper.number}](release/{paper.slug}/{paper.slug}.ipynb)"
            state = notebook if paper.slug in written else paper.number
            time = f"{paper.time} ({paper.effort})" if paper.slug in written else "not written yet"
            yield f"| {state} | {name} | {paper.claim} | {', '.join(paper.needs) or '–'} | {time} |"
