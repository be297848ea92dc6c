"""The catalog: all 31 assignments, an order of study that exists, and a page that says what is written."""

import re

import pytest

from course.base.catalog import LEVELS, catalog, in_study_order
from course.base.project import SLUG, Project
from course.make.catalog_page import PAGE, new_page


def test_it_has_the_basics_and_thirty_papers():
    assert [slug[:2] for slug in catalog()] == [f"{n:02d}" for n in range(31)]
    assert all(SLUG.fullmatch(slug) for slug in catalog())


@pytest.mark.parametrize("paper", catalog().values(), ids=list(catalog()))
def test_every_entry_is_whole(paper):
    assert paper.level in LEVELS
    assert re.fullmatch(r"https?://[^\s]+", paper.link)
    assert 1950 < paper.year < 2026
    assert 60 <= paper.minutes <= 900
    assert paper.minutes % 30 == 0
    assert paper.effort in ("afternoon", "weekend", "week")
    assert paper.claim.endswith(".")
    assert 40 < len(paper.claim) < 130
    assert set(paper.needs) <= {other.number for other in catalog().values()} - {paper.number}


def test_every_written_assignment_is_in_it():
    assert set(Project().slugs()) <= set(catalog())


def test_in_the_order_of_study_nothing_comes_before_what_it_needs():
    done: set[str] = set()
    for paper in in_study_order(catalog().values()):
        assert set(paper.needs) <= done, paper.slug
        done.add(paper.number)
    assert len(done) == 31


def test_the_page_is_what_the_catalog_gives_and_says_what_is_not_written(copied):
    project = Project()
    assert new_page(project) is None, "run `s30 build` and commit CATALOG.md"
    text = (project.root / PAGE).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| (\[\d\d\]|\d\d)", line)]
    assert len(rows) == 31
    assert sum("not written yet" in row for row in rows) == 31 - len(project.slugs())
    (copied.root / PAGE).write_text("something else", encoding="utf-8")
    made = new_page(copied)  # of a copy in which fewer are written
    assert made is not None
    assert made.startswith(f"# The assignments\n\n{len(copied.slugs())} of 31 are written")
    (copied.root / PAGE).write_text(made, encoding="utf-8")
    assert new_page(copied) is None


@pytest.mark.parametrize(
    ("minutes", "time", "effort"),
    [(180, "3 hours", "afternoon"), (60, "1 hour", "afternoon"), (90, "1½ hours", "afternoon"),
     (300, "5 hours", "weekend"), (600, "10 hours", "week")],
)  # fmt: skip
def test_times_in_words(minutes, time, effort):
    import dataclasses

    paper = dataclasses.replace(next(iter(catalog().values())), minutes=minutes)
    assert (paper.time, paper.effort) == (time, effort)
