"""The learner's commands, on a learner's own copy: what they say, and that no work is ever lost."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, s30

from course.base.project import Project
from course.base.results import digest_of
from course.learn.hints import card, hints
from course.learn.progress import progress
from course.learn.reset import KEPT, keep
from course.learn.start import start

SLUG = "03_lstm_understanding"
SOLVED_SIGMOID = """def sigmoid(x):
    z = np.exp(-np.abs(x))
    return np.where(x > 0, 1.0, z) / (1.0 + z)"""


@pytest.fixture
def started(copied) -> Project:
    """A self-learner's clone, in which 03 was begun."""
    start(copied, SLUG)
    return copied


def ran(project: Project, *words: str, **environment: str) -> str:
    """What a command that should succeed prints."""
    done = s30(*words, root=project.root, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(project: Project, *words: str) -> str:
    """What a command that should not succeed says: a sentence, and no traceback."""
    done = s30(*words, root=project.root)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def edit(project: Project, name: str, source: str | None, slug: str = SLUG) -> None:
    """Type into the cell of an exercise, or delete it, as an editor does."""
    path = project.work(slug)
    tree = json.loads(path.read_text(encoding="utf-8"))
    cell = next(c for c in tree["cells"] if c["id"] == name)
    if source is None:
        tree["cells"].remove(cell)
    else:
        cell["source"] = source
    path.write_text(json.dumps(tree), encoding="utf-8")


def source(path: Path, name: str) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "".join(next(c for c in cells if c["id"] == name)["source"])


def line(text: str, name: str) -> str:
    return next(row for row in text.splitlines() if f" {name} " in row)


# list, progress, next -----------------------------------------------------------------------------------------------


def test_list_goes_by_track_and_says_what_is_not_written(started):
    text = ran(started, "list")
    assert [t for t in text.splitlines() if t in ("Beginner", "Intermediate", "Advanced", "Theory")] == [
        "Beginner", "Intermediate", "Advanced", "Theory"]  # fmt: skip
    assert "not started" in next(row for row in text.splitlines() if row.startswith("00"))
    assert "0/22" in next(row for row in text.splitlines() if row.startswith("03"))
    assert "not written yet" in next(row for row in text.splitlines() if row.startswith("24"))


def test_progress_counts_what_is_solved_and_grades_again_after_a_change(started):
    assert "0/22 points, 0/9 exercises" in ran(started, "progress")
    edit(started, "sigmoid", SOLVED_SIGMOID)
    text = ran(started, "progress", "03")
    assert "1/22 points, 1/9 exercises" in text
    assert line(text, "sigmoid").split() == ["✓", "sigmoid", "1/1", "passed"]
    edit(started, "sigmoid", SOLVED_SIGMOID.replace("> 0", "< 0"))
    assert line(ran(started, "progress", "03"), "sigmoid").split()[-1] == "wrong"


def test_an_unchanged_notebook_is_not_graded_again_and_a_changed_grader_grades_it_again(started, monkeypatch):
    calls = []

    def spy(*arguments, **rest):
        calls.append(arguments)
        return real(*arguments, **rest)

    from course.learn import progress as module

    real = module.grade
    before = digest_of(started, started.assignment(SLUG), "", [])
    monkeypatch.setattr(module, "grade", spy)
    first = progress(started, SLUG)
    assert progress(started, SLUG) == first
    assert len(calls) == 1
    stored = started.root / "work" / module.RESULTS / f"{SLUG}.json"
    stored.write_text("not JSON")
    assert progress(started, SLUG) == first
    assert len(calls) == 2
    grader = started.grader(SLUG)
    grader.write_text(grader.read_text() + "\n# changed\n")
    assert digest_of(started, started.assignment(SLUG), "", []) != before


def test_next_begins_at_the_beginning_then_follows_the_notebook(copied):
    assert "Begin with: s30 start 00" in ran(copied, "next")
    start(copied, SLUG)
    assert "Next: 03 sigmoid   1 point · 10 minutes" in ran(copied, "next")
    edit(copied, "sigmoid", SOLVED_SIGMOID)
    text = ran(copied, "next")
    assert "Next: 03 lstm_cell_forward" in text
    assert "s30 hint 03 lstm_cell_forward" in text


def test_a_notebook_that_cannot_be_read_is_said_to_be_so(started):
    started.work(SLUG).write_text("not JSON")
    assert "error" in line(ran(started, "progress", "03"), "sigmoid")
    assert "is not a notebook" in refused(started, "reset", "03", "sigmoid")
    ran(started, "list")


# hint -----------------------------------------------------------------------------------------------------------------


def test_hints_come_one_level_at_a_time(copied):
    first = ran(copied, "hint", "03", "lstm_cell_backward")
    assert "Hint 1 of 3: " in first
    assert "s30 hint 03 lstm_cell_backward --level 2" in first
    last = ran(copied, "hint", "3", "03/lstm_cell_backward", "--level", "3")
    assert "That was the last hint." in last
    assert first.splitlines()[1] not in last
    assert "--level 1 to 3" in refused(copied, "hint", "03", "lstm_cell_backward", "--level", "4")
    assert "Its exercises: sigmoid" in refused(copied, "hint", "03", "lstm")


def test_every_exercise_has_its_three_hints():
    project = Project()
    for slug in project.slugs():
        for exercise in project.assignment(slug).exercises:
            assert len(hints(project, slug, exercise.name)) == 3, exercise.id
            assert card(project, slug, exercise.name), exercise.id


# reset and reveal -----------------------------------------------------------------------------------------------------


def test_reset_of_an_exercise_keeps_a_copy_and_touches_nothing_else(started):
    edit(started, "sigmoid", SOLVED_SIGMOID)
    edit(started, "lstm_cell_forward", "def lstm_cell_forward(): half done")
    before = started.work(SLUG).read_bytes()
    ran(started, "reset", "03", "sigmoid")
    assert source(started.work(SLUG), "sigmoid") == source(started.release(SLUG), "sigmoid")
    assert source(started.work(SLUG), "lstm_cell_forward") == "def lstm_cell_forward(): half done"
    [kept] = (started.work(SLUG).parent / KEPT).iterdir()
    assert kept.read_bytes() == before
    assert "nothing was changed" in refused(started, "reset", "03", "sigmoid")
    ran(started, "reset", "03", "lstm_cell_forward")  # which does not even parse
    assert len(list((started.work(SLUG).parent / KEPT).iterdir())) == 2
    assert [e for e in progress(started, SLUG).verdicts if e.status != "not_attempted"] == []


def test_a_deleted_cell_comes_back_in_its_place(started):
    edit(started, "sigmoid", None)
    ran(started, "reset", "03", "sigmoid")
    ids = [c["id"] for c in json.loads(started.work(SLUG).read_text())["cells"]]
    assert ids == [c["id"] for c in json.loads(started.release(SLUG).read_text())["cells"]]


def test_reset_of_a_notebook_keeps_a_copy(started):
    assert "still as it was released" in refused(started, "reset", "03")
    started.work(SLUG).write_text("my work")
    ran(started, "reset", "03")
    assert started.work(SLUG).read_bytes() == started.release(SLUG).read_bytes()
    [kept] = (started.work(SLUG).parent / KEPT).iterdir()
    assert kept.read_text() == "my work"
    assert "not started" in refused(started, "reset", "00", "one_hot")


def test_two_copies_in_one_second_are_two_files(started):
    kept = {keep(started.work(SLUG)) for _ in range(5)}
    assert len(kept) == 5


def test_reveal_puts_the_solution_in_marks_it_and_unblocks_the_rest(started):
    edit(started, "lstm_cell_forward", "def lstm_cell_forward(params, x, h_prev, c_prev):\n    return 1")
    forward = source(started.solution(SLUG), "lstm_forward")
    edit(started, "lstm_forward", forward)
    assert "blocked" in line(ran(started, "progress", "03"), "lstm_forward")
    ran(started, "reveal", "03", "sigmoid")
    ran(started, "reveal", "03", "lstm_cell_forward")
    text = ran(started, "progress", "03")
    assert line(text, "lstm_cell_forward").split() == ["○", "lstm_cell_forward", "0/3", "revealed"]
    assert line(text, "lstm_forward").split() == ["✓", "lstm_forward", "2/2", "passed"]
    assert "2/22 points, 1/9 exercises, 2 revealed" in text
    assert source(started.work(SLUG), "lstm_cell_forward").startswith("# Revealed")
    kept = started.work(SLUG).parent / KEPT
    assert any("return 1" in source(path, "lstm_cell_forward") for path in kept.iterdir())
    ran(started, "reset", "03", "sigmoid")
    assert "not attempted" in line(ran(started, "progress", "03"), "sigmoid")


def test_students_receive_no_reveal(learners_copy):
    from course.teach.bundle import contents

    assert (ROOT / "course" / "learn" / "reveal.py").is_file()
    assert "course/learn/reveal.py" not in [p.as_posix() for p in contents(Project())]
    (learners_copy.root / "course" / "learn" / "reveal.py").unlink()
    assert "reveal" not in ran(learners_copy, "--help")
    assert "No such command 'reveal'" in refused(learners_copy, "reveal", "03", "sigmoid")


def test_reveal_without_solutions_says_so(learners_copy):
    start(learners_copy, SLUG)
    assert "nothing to reveal" in refused(learners_copy, "reveal", "03", "sigmoid")


# check and watch ------------------------------------------------------------------------------------------------------


def test_check_of_one_exercise(started):
    text = ran(started, "check", "03", "sigmoid")
    assert "sigmoid ○ not attempted 0/1" in text
    assert "collected 1 item" in text
    assert "Its exercises: sigmoid" in refused(started, "check", "03", "sigmoids")


def test_watch_shows_the_exercise_that_was_changed_and_then_the_next(started):
    command = [sys.executable, "-u", "-m", "course.cli", "watch"]
    environment = {"PYTHONPATH": str(started.root), "NO_COLOR": "1", "PATH": "/usr/bin:/bin", "COLUMNS": "120"}
    log = started.root / "log"
    with log.open("w") as out:
        watching = subprocess.Popen(command, cwd=started.root, stdout=out, stderr=out, env=environment)

    def wait_for(text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            assert watching.poll() is None, log.read_text()
            time.sleep(0.1)

    try:
        wait_for("Next: 03 sigmoid")
        edit(started, "sigmoid", SOLVED_SIGMOID.replace("> 0", "< 0"))
        wait_for("✗ sigmoid: wrong")
        edit(started, "sigmoid", "def sigmoid(x):\n    return (x")
        wait_for("✗ sigmoid: error")
        edit(started, "sigmoid", SOLVED_SIGMOID)
        wait_for("✓ sigmoid: passed")
        wait_for("Next: 03 lstm_cell_forward")
        edit(started, "lstm_cell_forward", "def lstm_cell_forward(params, x, h_prev, c_prev):\n    return hidden")
        wait_for("✗ lstm_cell_forward: error")
    finally:
        watching.kill()
        watching.wait()
    assert "Traceback" not in log.read_text()


# doctor and plain text ------------------------------------------------------------------------------------------------


def test_doctor_tries_everything_and_this_machine_works(started):
    text = ran(started, "doctor")
    for what in ("Python", "numpy", "torch", "matplotlib", "JupyterLab", "assignments", "work/", "nbgrader"):
        assert any(row.startswith(f"✓ {what}") for row in text.splitlines()), what
    assert "sandbox" in text


def test_another_seed_is_refused_at_once_where_there_are_no_solutions(learners_copy):
    words = [sys.executable, "-m", "pytest", "autograder/", "--seed", "5"]
    environment = {**os.environ, "PYTHONPATH": str(learners_copy.root)}
    done = subprocess.run(words, cwd=learners_copy.root, capture_output=True, text=True, env=environment)
    assert done.returncode == 4
    assert "worked out from solutions/, which this copy lacks" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_everything_is_solved_is_said_only_when_it_is(copied):
    for slug in copied.slugs():
        copied.work(slug).parent.mkdir(parents=True)
        shutil.copy(copied.solution(slug), copied.work(slug))
    assert done_of(copied, "--assignment", "00").endswith("All that was checked is solved.")
    assert done_of(copied).endswith("Everything is solved.")
    without_torch = copied.root / "hidden" / "torch"
    without_torch.mkdir(parents=True)
    (without_torch / "__init__.py").write_text("raise ImportError('No module named torch')")
    told = done_of(copied, "--assignment", "03", PYTHONPATH=os.pathsep.join([str(without_torch.parent)]))
    assert told.endswith("All that could be checked is solved; 03/LSTM was not, see above.")


def done_of(project: Project, *words: str, **environment: str) -> str:
    """What `pytest autograder/` ends with, but for its own last line."""
    path = os.pathsep.join([str(project.root), *filter(None, [environment.pop("PYTHONPATH", "")])])
    command = [sys.executable, "-m", "pytest", "autograder/", *words]
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    variables.pop("PYTEST_ADDOPTS", None)  # of the tests themselves
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, env=variables)
    return done.stdout.strip().rsplit("\n", 1)[0].strip()


def test_doctor_names_what_is_broken_and_what_to_do(started, tmp_path):
    torch = tmp_path / "hidden" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("raise ImportError('No module named torch')")
    started.key(SLUG).unlink()
    done = s30("doctor", root=started.root, PYTHONPATH=str(torch.parent), PATH="/nowhere")
    assert done.returncode == 1
    assert "✗ torch        ImportError: No module named torch" in done.stdout
    assert "pip install -c constraints.txt torch" in done.stdout
    assert "✗ assignments" in done.stdout
    assert "– sandbox      bubblewrap (the program bwrap) is not installed" in done.stdout


def test_no_color_is_plain_text_even_where_colour_is_forced(started):
    for words in (("list",), ("progress", "03"), ("next",), ("hint", "03", "sigmoid"), ("doctor",)):
        assert "\x1b" not in ran(started, *words, FORCE_COLOR="1"), words


def test_a_terminal_without_unicode_gets_other_signs_and_no_traceback(started):
    assert "sigmoid" in ran(started, "progress", "03", PYTHONIOENCODING="ascii:strict")
