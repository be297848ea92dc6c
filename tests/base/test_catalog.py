"""The catalog: all 31 assignments, an order of study that exists, and a page that says what is written."""

import dataclasses
import re
from graphlib import CycleError

import pytest

from course.base.catalog import EFFORTS, LEVELS, catalog, in_study_order, pulled_forward
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
    assert paper.effort in EFFORTS
    assert paper.effort != "afternoon" or paper.minutes <= 240
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


@pytest.mark.parametrize(("minutes", "time"), [(180, "3 hours"), (60, "1 hour"), (90, "1½ hours"), (600, "10 hours")])
def test_times_in_words(minutes, time):
    assert dataclasses.replace(next(iter(catalog().values())), minutes=minutes).time == time


# As the suite that the course implements has them; where 00, 05, 18, 24 and 27 stand is the course's own choice.
SUITE = {
    "beginner": "02 03 07 10 17",
    "intermediate": "04 14 06 08 26 09 13 11 22",
    "advanced": "15 12 16 20 21 28 29 30",
    "theory": "23 25 01 19",
}
SUITES_EFFORT = {"afternoon": "02 03 10 11 17", "weekend": "06 12 13 16 20 21 28", "week": "29"}


def test_levels_and_efforts_are_the_suites():
    papers = {paper.number: paper for paper in catalog().values()}
    for level, numbers in SUITE.items():
        assert [papers[n].level for n in numbers.split()] == [level] * len(numbers.split())
        assert [papers[n].place for n in numbers.split()] == sorted(papers[n].place for n in numbers.split())
    for effort, numbers in SUITES_EFFORT.items():
        assert {papers[n].effort for n in numbers.split()} == {effort}


def test_the_path_is_followed_but_for_what_is_needed_earlier():
    papers = list(catalog().values())
    early = pulled_forward(papers)
    assert early == {"05": "17", "23": "22"}
    free = [(LEVELS.index(p.level), p.place) for p in in_study_order(papers) if p.number not in early]
    assert free == sorted(free)
    numbers = [p.number for p in in_study_order(papers)]
    assert all(numbers.index(number) == numbers.index(first) - 1 for number, first in early.items())
    text = (Project().root / PAGE).read_text(encoding="utf-8")
    assert all(f"{number} comes before {first}, which needs it" in text for number, first in early.items())


def test_a_circle_of_needs_is_an_error():
    papers = [dataclasses.replace(p, needs=("02",)) if p.number == "00" else p for p in catalog().values()]
    with pytest.raises(CycleError):
        in_study_order(papers)
