"""The cause that a verdict names: of the case that is shown, and a known mistake only where it explains them all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import functions, make_notebook, tiny_assignment

from autograder.engine.assignment import Assignment
from autograder.engine.judge import keys
from autograder.engine.judge.grade import grade
from autograder.engine.judge.traits import Traits, leave_out_common, look
from autograder.engine.judge.verdict import Verdict
from autograder.engine.judge.words.apart import set_apart

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


def case(**arguments: object) -> Traits:
    found: Traits = {}
    look(found, arguments)
    return found


X, ZEROS, HOLES = np.arange(1.0, 7).reshape(2, 3), np.zeros((2, 3)), np.full((2, 3), np.nan)
APART = {
    "an_option": ([case(x=X, axis=0)] * 2 + [case(x=X, axis=1)], "001", "just the one with `axis` = 1"),
    "its_absence": ([case(x=X, m=X), case(x=X, m=ZEROS), case(x=X, m=None)], "001", "just the one with `m` = None"),
    "all_others": ([case(x=X, n=2)] * 2 + [case(x=X, n=1), case(x=X, n=3)], "0011", "all but those with `n` = 2"),
    "one_row": ([case(x=X)] * 2 + [case(x=X[:1])] * 2, "0011", "just those with `x.shape[0]` = 1"),
    "as_many_rows_as_columns": ([case(x=X)] * 2 + [case(x=X[:, :2].copy())], "001", "just the one with a square `x`"),
    "negative": ([case(x=X)] * 2 + [case(x=-X)], "001", "just the one with negative numbers in `x`"),
    "nan": ([case(x=X)] * 2 + [case(x=HOLES)], "001", "just the one with NaN in `x`"),
    "magnitude": ([case(x=X), case(x=2 * X), case(x=100 * X)], "001", "just the one with `abs(x).max()` ≥ 600"),
    "not_by_chance": ([case(x=X), case(x=2 * X), case(x=3 * X)], "001", None),
    "precision": ([case(x=X)] * 2 + [case(x=X.astype(np.float32))], "001", "just the one with float32 for `x`"),
    "order": ([case(x=X)] * 2 + [case(x=np.asfortranarray(X))], "001", "just the one with Fortran order of `x`"),
    "a_large_one_passes": ([case(n=1), case(n=1), case(n=3), case(n=5)], "0010", "just the one with `n` = 3"),
    "larger_ones": ([case(n=1), case(n=2), case(n=3), case(n=5)], "0011", "just those with `n` ≥ 3"),
    "more_rows": ([case(x=X[:1])] * 2 + [case(x=X)] * 2, "0011", "just those with `x.shape[0]` ≥ 2"),
    "sizes_that_hardly_differ": ([case(n=3), case(n=4), case(n=5), case(n=6)], "0011", None),
    "a_number_that_was_drawn": ([case(s=0.9), case(s=1.1), case(s=0.7), case(s=0.6)], "0011", None),
    "by_hand_or_drawn": ([case(x=X)] * 2 + [case(x=-X), case(x=-2 * X), case(x=-3 * X)], "00111", None),
    "one_of_many_weights": ([case(p={"W": X})] * 2 + [case(p={"W": -X})], "001", None),
    "three_facts_are_none": ([case(n=1, m=1, k=1)] * 2 + [case(n=2, m=2, k=2)] * 2, "0011", None),
    "another_method": ([case(x=X)] * 2 + [case(s=X)] * 2, "0011", None),
    "another_kind_of_array": ([case(x=X)] * 2 + [case(x=X[:, 0].copy())] * 2, "0011", "just those with 1 axis in `x`"),
    "nothing": ([case(x=X)] * 3, "001", None),
    "too_much": ([case(x=X, a=1, b=2, c=3)] * 2 + [case(x=HOLES, a=4, b=5, c=6)], "001", None),
    "one_that_passes_is_chance": ([case(n=1), case(n=2), case(n=2)], "011", None),
    "all_fail": ([case(n=1), case(n=2)], "11", None),
    "no_argument": ([{}, {}, case(n=1)], "001", "just the one with `n` = 1"),
}


@pytest.mark.parametrize(("cases", "fails", "said"), APART.values(), ids=APART)
def test_what_sets_failing_cases_apart(cases, fails, said):
    assert set_apart(cases, [failed == "1" for failed in fails]) == said


def test_several_calls_of_a_case_are_taken_together():
    found: Traits = {}
    for x in (X, ZEROS[:1]):
        look(found, {"self": None, "x": x, "cache": X, "layers": (X, 2)})
    assert found["x"] == {"dtype": "float64", "zeros": True, "equal": True}
    assert found["layers[1]"] == {"is": "2", "number": 2.0}
    assert "cache" not in found


def test_a_number_that_is_not_the_same_in_all_calls_of_a_case_is_not_kept():
    found: Traits = {}
    for scale in (1.0, 3.0):
        look(found, {"scale": scale})
    assert found["scale"] == {}


def test_what_all_cases_share_is_not_kept():
    cases = [case(x=X, n=1), case(x=ZEROS, n=1), case(n=1)]
    before = [set_apart(cases, [c == failing for c in range(3)]) for failing in range(3)]
    leave_out_common(cases)
    assert [c["n"] for c in cases] == [{}, {}, {}]
    assert [set_apart(cases, [c == failing for c in range(3)]) for failing in range(3)] == before
    assert before[1] is not None


def test_any_argument_is_looked_at():
    odd = {
        "huge": 10**400,
        "bits": [2**70, 1],
        "drawn": 0.123456,
        "nan": float("nan"),
        "text": "ab",
        "none": [],
        "f": len,
    }
    assert case(**odd) == {
        "huge": {},
        "bits": {"dtype": "list", "shape": [2]},
        "drawn": {"number": 0.123456},
        "nan": {"is": "nan"},
        "text": {"shape": [2], "equal": False},
        "none": {"dtype": "list", "shape": [0]},
    }


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
