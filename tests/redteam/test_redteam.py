"""Hostile, broken and odd submissions, graded as a class by the real command: each gets what it is owed."""

from __future__ import annotations

import pytest
from arena import HONEST, Aftermath, grade_corpus, ours, problems, solved_by
from conftest import needs_sandbox
from corpus import CORPUS, FULL

pytestmark = needs_sandbox

TOGETHER = {name: item for name, item in CORPUS.items() if not item.alone}
ALONE = {name: item for name, item in CORPUS.items() if item.alone}


def full_points() -> dict[str, float]:
    """What the honest have: everything but what needs torch."""
    return {n: 0.0 if n in ours().target.torch else p for n, p in ours().target.points.items()}


@pytest.fixture(scope="module")
def graded() -> Aftermath:
    """The class of all who can't end a batch, or should not be able to."""
    return grade_corpus(ours(), TOGETHER.values())


def test_the_corpus_is_large_and_every_row_says_what_it_is():
    assert len(CORPUS) >= 60
    assert all(item.description.endswith(".") for item in CORPUS.values())
    assert sum(item.outcome == FULL for item in CORPUS.values()) >= 20


def test_the_batch_goes_to_its_end(graded):
    assert graded.finished, graded.run.said[-3000:]


@pytest.mark.parametrize("name", HONEST)
def test_the_honest_have_their_points(name, graded):
    assert graded.seen[name].scores == full_points()


@pytest.mark.parametrize("name", TOGETHER)
def test_a_submission_gets_what_it_is_owed(name, graded):
    item = CORPUS[name]
    assert problems(ours().target, item, solved_by(ours(), item), graded.seen[name]) == [], item.description


@pytest.fixture(scope="module")
def at_once() -> Aftermath:
    """The class of all who might end a batch. Where one does, each is graded without the others, to name it."""
    return grade_corpus(ours(), ALONE.values(), seconds=120)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_what_might_end_a_batch_does_not(name, at_once):
    item = CORPUS[name]
    aftermath = at_once if at_once.finished else grade_corpus(ours(), [item], seconds=120)
    assert aftermath.finished, aftermath.run.said[-3000:]
    assert [aftermath.seen[honest].scores for honest in HONEST] == [full_points()] * len(HONEST)
    assert problems(ours().target, item, solved_by(ours(), item), aftermath.seen[name]) == [], item.description
