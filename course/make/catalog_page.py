"""CATALOG.md: the catalog as the page that people read where the project is hosted."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from course.base.catalog import LEVELS, catalog, in_study_order, pulled_forward
from course.base.project import Project

PAGE = "CATALOG.md"


def new_page(project: Project) -> str | None:
    """The page as the catalog gives it; None if it is so already."""
    path = project.root / PAGE
    page = "\n".join([*_page(set(project.slugs())), ""])
    return None if path.is_file() and path.read_text(encoding="utf-8") == page else page


def _page(written: Collection[str]) -> Iterator[str]:
    papers = catalog().values()
    yield "# The assignments"
    yield ""
    yield (
        f"{len(written)} of {len(papers)} are written; the others say so. Made from `course/base/catalog.toml` by "
        "`s30 build`; `s30 list` shows the same with your progress."
    )
    yield ""
    yield "**One path through all of it:** " + " · ".join(paper.number for paper in in_study_order(papers)) + "."
    early = (f"{number} comes before {first}, which needs it" for number, first in pulled_forward(papers).items())
    yield f"It follows the tables below, but for what an assignment needs: {'; '.join(early)}."
    for level in LEVELS:
        yield from ("", f"## {level.capitalize()}", "")
        yield "| | Paper | What it claims | First solve | Time |"
        yield "|---|---|---|---|---|"
        for paper in sorted((p for p in papers if p.level == level), key=lambda p: p.place):
            name = f"[{paper.title}]({paper.link}), {paper.authors}, {paper.year}"
            notebook = f"[{paper.number}](release/{paper.slug}/{paper.slug}.ipynb)"
            state = notebook if paper.slug in written else paper.number
            time = f"{paper.time} ({paper.effort})" if paper.slug in written else "not written yet"
            yield f"| {state} | {name} | {paper.claim} | {', '.join(paper.needs) or '–'} | {time} |"
