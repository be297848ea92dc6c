"""`pytest autograder/` as a learner types it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, index_of, make_notebook, replaced, solution_cells, stub_cells

from course.base.project import Project

PROJECT = Project()
SLUG, EASY = PROJECT.slug("03"), PROJECT.slug("00")
EASIEST = PROJECT.assignment("00").exercises[0].name
BOTH = ("--assignment", "00", "--assignment", "03")  # what is graded in earnest: a whole course would take minutes
NAMES = [exercise.name for exercise in PROJECT.assignment("03").exercises]
FORWARD, BACKWARD, LAYER = "lstm_cell_forward", "lstm_cell_backward", "LSTM"
EVERYTHING = sum(PROJECT.assignment(slug).max_points for slug in PROJECT.slugs())


@dataclass(frozen=True)
class Run:
    """A finished run: its exit code, what it printed, and the report if one was asked for."""

    code: int
    text: str
    report: dict[str, Any] | None = None

    def exercises(self) -> dict[str, dict[str, Any]]:
        """Id → entry of the report."""
        assert self.report is not None
        return {entry["id"]: entry for part in self.report["assignments"] for entry in part["exercises"]}


def run(*arguments: object, report: Path | None = None) -> Run:
    """Run pytest on the graders."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))}
    words = [*map(str, arguments), *(["--report", str(report)] if report else [])]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "autograder/", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        env={**clean, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    found = json.loads(report.read_text(encoding="utf-8")) if report and report.exists() else None
    return Run(done.returncode, done.stdout + done.stderr, found)


def work(folder: Path, cells: list[str], slug: str = SLUG) -> Path:
    """A folder of a learner's notebooks with one in it."""
    make_notebook(cells, folder / slug / f"{slug}.ipynb")
    return folder


# Whole runs, shared by the tests below ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nothing(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("nothing")
    return run("--work", folder, report=folder / "report.json")


@pytest.fixture(scope="module")
def stubs(tmp_path_factory) -> Run:
    return run("--work", "release", report=tmp_path_factory.mktemp("stubs") / "report.json")


@pytest.fixture(scope="module")
def solved(tmp_path_factory) -> Run:
    return run("--work", "solutions", *BOTH, report=tmp_path_factory.mktemp("solved") / "report.json")


@pytest.fixture(scope="module")
def wrong_folder(tmp_path_factory) -> Path:
    """A wrong forward, and so a blocked backward; the torch exercises are still stubs."""
    cells, stubs = replaced(FORWARD, {"o * np.tanh(c)": "o * c"}), stub_cells()
    for exercise in PROJECT.assignment("03").exercises:
        if exercise.track == "torch":
            cells[index_of(cells, exercise.name)] = stubs[index_of(stubs, exercise.name)]
    return work(tmp_path_factory.mktemp("wrong"), cells)


@pytest.fixture(scope="module")
def wrong(wrong_folder) -> Run:
    return run("--work", wrong_folder, *BOTH, report=wrong_folder / "report.json")


def test_where_nothing_is_started_it_says_how_to_start(nothing):
    assert nothing.code == 0
    assert f"s30 start {PROJECT.slugs()[0][:2]}" in nothing.text
    assert nothing.report is not None
    assert nothing.report["points"] == 0
    assert {entry["status"] for entry in nothing.exercises().values()} == {"not_attempted"}
    assert all("s30 start" in entry["message"] for entry in nothing.exercises().values())


def test_stubs_earn_nothing_and_are_no_failure(stubs):
    assert stubs.code == 0
    assert stubs.report is not None
    assert (stubs.report["points"], stubs.report["max_points"]) == (0, EVERYTHING)
    assert {entry["status"] for entry in stubs.exercises().values()} == {"not_attempted"}
    assert f"{PROJECT.slugs()[0][:2]}/" in stubs.text.split("Next:")[1]  # what to do first


def test_solutions_earn_everything(solved):
    assert solved.code == 0
    assert solved.report is not None
    everything = sum(PROJECT.assignment(slug).max_points for slug in (EASY, SLUG))
    assert solved.report["points"] == solved.report["max_points"] == everything
    assert {entry["status"] for entry in solved.exercises().values()} == {"passed"}
    assert "All that was checked is solved." in solved.text  # two assignments of them all
    assert f"{len(solved.exercises())} passed" in solved.text


def test_every_exercise_has_a_line_with_its_name_and_points(solved):
    for slug in (EASY, SLUG):
        for exercise in PROJECT.assignment(slug).exercises:
            (line,) = [line for line in solved.text.split("\n") if line.startswith(f"{slug}::{exercise.name} ")]
            assert f"{exercise.points:g}/{exercise.points:g}" in line


def test_a_wrong_answer_is_explained_and_not_traced(wrong):
    assert wrong.code == 1
    assert "`h` is wrong" in wrong.text
    assert "Likely cause: h is o times the cell state itself" in wrong.text
    assert "Reread: " in wrong.text
    assert "Traceback" not in wrong.text
    assert "autograder/conftest.py" not in wrong.text
    assert ".venv" not in wrong.text
    assert f"Next: 03/{FORWARD}" in wrong.text


def test_wrong_blocked_and_untouched_are_told_apart(wrong):
    found = wrong.exercises()
    assert [found[f"03/{name}"]["status"] for name in (FORWARD, BACKWARD, LAYER)] == [
        "failed",
        "blocked",
        "not_attempted",
    ]
    statuses = [entry["status"] for entry in found.values()]
    untouched = statuses.count("blocked") + statuses.count("not_attempted")
    assert "= 1 failed" in wrong.text
    assert f" {untouched} skipped" in wrong.text
    assert all(entry["points"] == 0 for entry in found.values() if entry["status"] != "passed")


def test_the_report_has_exactly_the_documented_keys(nothing, stubs, solved, wrong):
    for done in (nothing, stubs, solved, wrong):
        assert done.report is not None
        assert list(done.report) == ["grader", "seed", "points", "max_points", "assignments"]
        assert isinstance(done.report["grader"], str)
        assert isinstance(done.report["seed"], int)
        for part in done.report["assignments"]:
            assert list(part) == ["id", "points", "max_points", "exercises"]
            for entry in part["exercises"]:
                assert list(entry) == ["id", "track", "status", "points", "max_points", "message", "mistake", "case"]
                assert entry["track"] in ("forward", "backward", "torch")
                assert entry["message"]


def test_the_report_adds_up_and_keeps_the_order_of_the_course(solved):
    assert solved.report is not None
    assert [part["id"] for part in solved.report["assignments"]] == [EASY, SLUG]
    assert [entry["id"] for entry in solved.report["assignments"][-1]["exercises"]] == [f"03/{name}" for name in NAMES]
    for key in ("points", "max_points"):
        for part in solved.report["assignments"]:
            assert part[key] == sum(entry[key] for entry in part["exercises"])
        assert solved.report[key] == sum(part[key] for part in solved.report["assignments"])


# pytest's own options -----------------------------------------------------------------------------------------------


def test_k_selects_exercises_by_name_and_what_they_need_is_still_judged(wrong_folder):
    done = run("--work", wrong_folder, "-k", BACKWARD, report=wrong_folder / "k.json")
    assert list(done.exercises()) == [f"03/{BACKWARD}"]
    assert done.exercises()[f"03/{BACKWARD}"]["status"] == "blocked"
    assert done.code == 0  # blocked is no failure of its own


def test_m_selects_a_track(tmp_path):
    done = run("--work", "solutions", "--assignment", "00", "-m", "forward", report=tmp_path / "report.json")
    assert done.code == 0
    assert {entry["track"] for entry in done.exercises().values()} == {"forward"}
    done = run("--work", "release", *BOTH, "-m", "torch", report=tmp_path / "report.json")
    assert f"03/{LAYER}" in done.exercises()
    assert {entry["track"] for entry in done.exercises().values()} == {"torch"}


def test_x_stops_at_the_first_failure(wrong_folder):
    done = run("--work", wrong_folder, "--assignment", "03", "-x", report=wrong_folder / "x.json")
    assert done.code == 1
    assert list(done.exercises())[-1] == f"03/{FORWARD}"
    assert len(done.exercises()) < len(NAMES)
    assert "stopping after 1 failures" in done.text


def test_n_gives_the_same_report_and_explains_too(wrong, wrong_folder):
    pytest.importorskip("xdist")
    done = run("--work", wrong_folder, *BOTH, "-n", "2", report=wrong_folder / "n.json")
    assert done.code == 1
    assert done.report == wrong.report
    assert "`h` is wrong" in done.text
    assert "Traceback" not in done.text


def test_quiet_and_verbose_runs_keep_their_exit_code(wrong_folder):
    for option in ("-q", "-vv"):
        done = run("--work", wrong_folder, "-k", FORWARD, option)
        assert done.code == 1
        assert "`h` is wrong" in done.text
        assert "Traceback" not in done.text


# The grader's own options -------------------------------------------------------------------------------------------


def test_assignment_selects_assignments(tmp_path):
    done = run("--work", "release", "--assignment", "0", report=tmp_path / "report.json")
    assert done.report is not None
    assert [part["id"] for part in done.report["assignments"]] == [EASY]
    done = run("--work", "release", "--assignment", "03", "--assignment", "00", report=tmp_path / "report.json")
    assert done.report is not None
    assert [part["id"] for part in done.report["assignments"]] == [EASY, SLUG]


def test_work_may_be_one_notebook(tmp_path):
    notebook = make_notebook(solution_cells("00"), tmp_path / f"{EASY}.ipynb")
    done = run("--work", notebook, "-k", EASIEST, report=tmp_path / "report.json")
    assert done.code == 0
    assert list(done.exercises()) == [f"00/{EASIEST}"]
    renamed = notebook.rename(tmp_path / "my homework.ipynb")
    assert run("--work", renamed, "--assignment", "00", "-k", EASIEST).code == 0
    done = run("--work", renamed, "-k", EASIEST)
    assert done.code != 0
    assert "--assignment" in done.text


def test_a_second_seed_is_graded_and_reported(tmp_path):
    done = run("--work", "solutions", "-k", EASIEST, "--seed", "5", report=tmp_path / "report.json")
    assert done.code == 0
    assert done.report is not None
    assert done.report["seed"] == 5
    assert done.report["points"] == done.report["max_points"] > 0


WRONG_OPTIONS = {
    "unknown_assignment": (["--assignment", "99"], ["99", SLUG]),
    "assignment_that_is_no_number": (["--assignment", "lstm"], ["lstm", SLUG]),
    "no_such_folder": (["--work", "no_such_folder"], ["no_such_folder", "no such folder"]),
    "report_in_no_folder": (["--report", "no_such_folder/report.json"], ["no_such_folder", "does not exist"]),
    "negative_seed": (["--seed", "-1"], ["--seed", "0"]),
    "seed_that_is_no_number": (["--seed", "one"], ["--seed", "one"]),
}


@pytest.mark.parametrize(("options", "words"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_a_wrong_option_is_a_sentence_and_no_success(options, words):
    done = run(*options)
    assert done.code not in (0, 1)
    assert all(word in done.text for word in words)
    assert "Traceback" not in done.text
    assert len(done.text.strip().split("\n")) <= 6


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Run:
    folder = work(tmp_path_factory.mktemp("broken"), [], EASY)
    (folder / EASY / f"{EASY}.ipynb").write_text("<!DOCTYPE html><title>Sign in</title>")
    return run("--work", folder, *BOTH, report=folder / "report.json")


def test_a_broken_notebook_is_a_failure_that_says_what_is_wrong(broken):
    assert broken.code == 1
    assert "is not a notebook: it is not valid JSON" in broken.text
    assert "Traceback" not in broken.text
    statuses = {entry["id"]: entry["status"] for entry in broken.exercises().values()}
    assert {status for id_, status in statuses.items() if id_.startswith("00/")} == {"error"}
    assert {status for id_, status in statuses.items() if id_.startswith("03/")} == {"not_attempted"}


def test_a_broken_notebook_is_explained_once(broken):
    assert broken.text.count("is not a notebook: it is not valid JSON") == 1


def test_a_notebook_under_another_name_is_found_by_its_neighbours(tmp_path):
    make_notebook(solution_cells("00"), tmp_path / EASY / "Untitled.ipynb")
    done = run("--work", tmp_path, "--assignment", "00")
    assert done.code == 1
    assert "Untitled.ipynb" in done.text
    assert "rename" in done.text


def test_a_notebook_that_lies_flat_is_found(tmp_path):
    make_notebook(solution_cells("00"), tmp_path / f"{EASY}.ipynb")
    done = run("--work", tmp_path, "-k", EASIEST, report=tmp_path / "report.json")
    assert done.code == 0
    assert done.report is not None
    assert done.report["points"] > 0


def test_a_message_of_strange_characters_does_not_lose_the_report(tmp_path):
    cells = [*solution_cells("00"), f"def {EASIEST}(*arguments):\n    raise ValueError(chr(0xD800))"]
    done = run("--work", work(tmp_path, cells, EASY), "-k", EASIEST, report=tmp_path / "report.json")
    assert done.code == 1
    assert done.exercises()[f"00/{EASIEST}"]["status"] == "error"
