"""The cause that a verdict names: of the case that is shown, and a known mistake only where it explains them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import functions, make_notebook, tiny_assignment

from autograder.engine.assignment import Assignment
from autograder.engine.judge import keys
from autograder.engine.judge.grade import grade
from autograder.engine.judge.verdict import Verdict
from autograder.engine.judge.words.explain import only_small

HINT = "long inputs are left as they are."
MISTAKES = f"[f.long_ones]\nhint = '{HINT}'\nchange = [['return 2 * x', 'return 2 * x if len(x) < 5 else x']]\n"


def verdict(assignment: Assignment, tmp_path: Path, body: str) -> Verdict:
    (found,) = grade(make_notebook(functions({"f": body}), tmp_path / "mine.ipynb"), assignment)
    return found


def with_mistake(folder: Path) -> Assignment:
    folder.mkdir()
    (folder / "no_mistakes.toml").write_text(MISTAKES, encoding="utf-8")
    return tiny_assignment(folder, ["f"])


def test_a_known_mistake_is_named_only_where_it_explains_every_failing_case(tmp_path):
    assignment = with_mistake(tmp_path / "tiny")
    known = verdict(assignment, tmp_path, "return x + x if len(x) < 5 else x")
    assert (known.mistake, HINT in known.message) == ("long_ones", True)
    more = verdict(assignment, tmp_path, "return x - 1 if len(x) < 5 else x")
    assert (more.mistake, HINT in more.message) == (None, False)


def test_a_cause_is_named_only_where_every_failing_case_shows_it(tmp_path):
    assignment = with_mistake(tmp_path / "tiny")
    assert "every value has the wrong sign" in verdict(assignment, tmp_path, "return -2 * x").message
    assert verdict(assignment, tmp_path, "return x**3 if len(x) < 5 else -2 * x").message.count("Likely cause") == 0
    assert verdict(assignment, tmp_path, "return x**3").message.count("Likely cause") == 0


JUDGED = """
from autograder.engine.probes import observe, probe

def picky(got, expected):
    return None if len(got) == len(expected) and got[0] * 2 == expected[0] * 2 else "not so."

@probe("f", cases=[(3,), (5,)])
def judged(impl, rng, size):
    x = rng.standard_normal(size)
    yield "y", observe(impl.f(x), judge=picky)
"""


def test_what_a_judge_stumbles_over_is_the_learners(tmp_path):
    assignment = tiny_assignment(tmp_path / "tiny", ["f"], grader=JUDGED)
    assert "is its structure right?" in verdict(assignment, tmp_path, "return 7").message


def test_what_comparing_stumbles_over_is_ours(tmp_path, monkeypatch):
    def stumble(*args, **how):
        raise KeyError("float128")

    assignment = tiny_assignment(tmp_path / "tiny", ["f"])
    monkeypatch.setattr(keys, "compare", stumble)
    told = verdict(assignment, tmp_path, "return 2 * x").message
    assert "KeyError" in told
    assert "that is a fault of the grader, not yours" in told


SMALL = {
    "two_against_two": (
        [1, 1, 3, 5],
        [False, False, True, True],
        "It is right for batch=1, and wrong for larger batch.",
    ),
    "one_alone_is_chance": ([1, 3, 5], [False, True, True], None),
    "one_failure_is_chance": ([1, 1, 3], [False, False, True], None),
    "a_large_one_is_right": ([1, 1, 3, 5], [False, False, True, False], None),
}


@pytest.mark.parametrize(("batches", "fails", "said"), SMALL.values(), ids=SMALL)
def test_right_for_a_batch_of_one_is_said_where_more_than_one_case_shows_it(batches, fails, said):
    told = only_small([{"batch": batch} for batch in batches], fails)
    assert told == said or (said and told and told.startswith(said))


WHERE = """
import numpy as np
from autograder.engine.probes import probe

@probe("f", cases=[(6,), (8,), (9,)])
def steps(impl, rng, size):
    yield "y", impl.f(rng.standard_normal(size))
"""


def test_a_place_is_named_only_where_every_failing_case_shows_it(tmp_path):
    assignment = tiny_assignment(tmp_path / "tiny", ["f"], grader=WHERE)
    last = verdict(assignment, tmp_path, "y = 2 * x\n    y[-1] = 7\n    return y")
    assert "only the last index along axis 0 is wrong" in last.message
    once = verdict(assignment, tmp_path, "y = 2 * x\n    y[-1 if len(x) == 6 else 3] = 7\n    return y")
    assert "Likely cause" not in once.message


def test_the_line_of_an_exception_is_the_exercises_own(tmp_path):
    assignment = tiny_assignment(tmp_path / "tiny", ["f"])
    cells = functions({"f": "return helper(x)"})
    cells.insert(1, "def helper(x):\n    return x['a']")
    (found,) = grade(make_notebook(cells, tmp_path / "mine.ipynb"), assignment)
    assert "in `f`: `return helper(x)`; it was raised in cell 2, line 2, in `helper`: `return x['a']`" in found.message
