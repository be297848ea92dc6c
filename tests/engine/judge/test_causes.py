"""The cause that a verdict names: of the case that is shown, and a known mistake only where it explains them all."""

from __future__ import annotations

from pathlib import Path

from conftest import functions, make_notebook, tiny_assignment

from autograder.engine.assignment import Assignment
from autograder.engine.judge import keys
from autograder.engine.judge.grade import grade
from autograder.engine.judge.verdict import Verdict

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


def test_the_cause_is_that_of_the_case_that_is_shown(tmp_path):
    assignment = with_mistake(tmp_path / "tiny")
    found = verdict(assignment, tmp_path, "return x**3 if len(x) < 5 else -2 * x")
    assert "Every" not in found.message or found.case == "probe_f(size=5)"
    assert "every value has the wrong sign" in found.message
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
