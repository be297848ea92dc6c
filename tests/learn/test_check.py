"""`check` in the learner's own kernel: nothing hangs it, and it says where the saved file would be judged otherwise."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import functions, make_notebook, tiny_assignment

from autograder.engine.assignment import Assignment
from autograder.engine.inside.records import Limits
from autograder.engine.judge.verdict import Status, Verdict
from course.check import Checker

RIGHT = "return 2 * x"


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    return tiny_assignment(tmp_path / "tiny", ["f", "g"], needs={"g": ["f"]}, solution=RIGHT)


def kernel(*cells: str) -> dict[str, Any]:
    """The names of a kernel in which cells were run."""
    names: dict[str, Any] = {"In": ["", *cells]}
    for cell in cells:
        exec(cell, names)
    return names


def verdict(assignment: Assignment, name: str, names: dict[str, Any], **limits: Any) -> tuple[Verdict, list[str]]:
    return Checker(assignment, names, Limits(**limits)).verdict(assignment.exercise(name), names)


ENDLESS = {
    "plain": "while True: pass",
    "that_catches_exceptions": "while True:\n        try: x = x + 1\n        except Exception: pass",
    "that_catches_all_once": "try:\n        while True: pass\n    except BaseException:\n        while True: pass",
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no timer here")
@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_loop_is_stopped_with_the_graders_sentence(assignment, body):
    names = kernel(*functions({"f": body, "g": RIGHT}))
    before = signal.getsignal(signal.SIGALRM)
    found, _ = verdict(assignment, "f", names, seconds=0.3)
    assert found.status == Status.TIMEOUT
    assert (
        "It ran longer than 0.3 seconds and was stopped. Is a loop endless, or does the work grow too fast?"
        in found.message
    )
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert verdict(assignment, "g", names, seconds=0.3)[0].status == Status.BLOCKED
    assert verdict(assignment, "f", kernel(*functions({"f": RIGHT, "g": RIGHT})))[0].status == Status.PASSED


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no timer here")
def test_what_is_being_imported_when_time_is_up_is_imported_to_its_end(assignment, tmp_path, monkeypatch):
    """As torch does at the first optimiser: half of it would fail everything that uses it later in this kernel."""
    (tmp_path / "slow.py").write_text("import time, slow_too\ntime.sleep(0.6)\nfactor = 2\n")
    (tmp_path / "slow_too.py").write_text("import slow\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("course.check.slowness", lambda: 1.0)
    names = kernel(*functions({"f": "import slow\n    while True: pass", "g": RIGHT}))
    assert verdict(assignment, "f", names, seconds=0.2)[0].status == Status.TIMEOUT
    names |= kernel(*functions({"f": "import slow, slow_too\n    return slow_too.slow.factor * x"}))
    assert verdict(assignment, "f", names)[0].status == Status.PASSED


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process can't be known here")
def test_memory_is_bounded_while_it_checks_and_not_after(assignment):
    names = kernel(*functions({"f": "return np.ones(2**27)[: len(x)] * 2 * x", "g": RIGHT}))
    found, _ = verdict(assignment, "f", names, memory_mb=256)
    assert found.status == Status.MEMORY
    assert np.ones(2**27).sum() == 2**27
    assert verdict(assignment, "f", names)[0].status == Status.PASSED


HELPER = "def double(x):\n    return 2 * x"
FURTHER_DOWN = {
    "a_helper": ([HELPER], "return double(x)", "def double(x):\n    return 3 * x", "double"),
    "a_helper_of_a_helper": (
        [HELPER, "def both(x):\n    return double(x)"],
        "return both(x)",
        "double = abs",
        "double",
    ),
    "a_builtin": ([], "return x * sum([1, 1])", "sum = 0", "sum"),
    "a_constant": (["TWO = 2"], "return TWO * x", "TWO = 3", "TWO"),
}


@pytest.mark.parametrize(("above", "body", "below", "name"), FURTHER_DOWN.values(), ids=FURTHER_DOWN)
def test_what_is_set_again_further_down_is_noted(assignment, tmp_path, monkeypatch, above, body, below, name):
    cells = [*above, *functions({"f": body, "g": RIGHT})]
    saved = make_notebook([*cells, below], tmp_path / "mine.ipynb")
    monkeypatch.setenv("JPY_SESSION_NAME", os.fspath(saved))
    found, notes = verdict(assignment, "f", kernel(*cells))  # as "Run All" runs it: the check before the last cell
    assert found.status == Status.PASSED
    assert [note for note in notes if f"`{name}` is set again further down (cell {len(cells) + 1})" in note]
    assert verdict(assignment, "g", kernel(*cells))[1] == []


def test_a_helper_that_is_defined_further_down_or_repeated_is_not_noted(assignment, tmp_path, monkeypatch):
    cells = functions({"f": "return double(x)", "g": RIGHT})
    monkeypatch.setenv("JPY_SESSION_NAME", os.fspath(make_notebook([*cells, HELPER], tmp_path / "below.ipynb")))
    assert verdict(assignment, "f", kernel(*cells, HELPER))[1] == []
    monkeypatch.setenv("JPY_SESSION_NAME", os.fspath(make_notebook([HELPER, *cells, HELPER], tmp_path / "twice.ipynb")))
    assert verdict(assignment, "f", kernel(HELPER, *cells))[1] == []


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A folder, in which the kernel runs, with a module of the learner's own, helpers.py."""
    (tmp_path / "helpers.py").write_text(HELPER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("helpers", None)


@pytest.mark.parametrize("line", ["from helpers import double", "import helpers\ndouble = helpers.double"])
def test_a_helper_in_a_file_of_ones_own_is_noted(assignment, beside, line):
    cells = [line, "import numpy as np", *functions({"f": "return np.asarray(double(x))", "g": RIGHT})]
    found, notes = verdict(assignment, "f", kernel(*cells))
    assert found.status == Status.PASSED
    assert [note for note in notes if "comes from a file beside this notebook" in note], notes
    assert verdict(assignment, "g", kernel(*cells))[1] == []


def test_a_helper_that_a_function_itself_imports_from_ones_own_file_is_noted(assignment, beside):
    cells = functions({"f": "from helpers import double as d\n    return d(x)", "g": RIGHT})
    notes = verdict(assignment, "f", kernel(*cells))[1]
    assert [note for note in notes if "`d` comes from a file beside this notebook" in note], notes


def test_a_short_name_of_ones_own_module_is_not_found_in_the_letters_of_a_cell(assignment, beside):
    cells = ["import helpers as r", *functions({"f": RIGHT, "g": RIGHT})]
    assert verdict(assignment, "f", kernel(*cells))[1] == []
