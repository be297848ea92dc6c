"""A new version of the course, while learners are at work and while a class's submissions are in the gradebook."""

import json
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import needs_sandbox, s30
from nbgrader.api import Gradebook

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.verdict import Status, Verdict
from course.base.project import Project
from course.learn.progress import progress
from course.learn.start import is_outdated, start
from course.teach.evaluation import worth
from course.teach.folder import ClassFolder
from course.teach.gradebook import POINTS, class_points, register
from course.teach.roster import enter_roster

SLUG = "03_lstm_understanding"
QUESTION = "why_additive"


def change_release(project: Project, change) -> None:
    """Release another version, with another stamp."""
    path = project.release(SLUG)
    tree = json.loads(path.read_text(encoding="utf-8"))
    change(tree)
    tree["metadata"]["s30"]["release"] = f"version {zlib.crc32(json.dumps(tree).encode())}"
    path.write_text(json.dumps(tree, indent=1, ensure_ascii=False), encoding="utf-8")


def cell(tree: dict, name: str) -> dict:
    return next(c for c in tree["cells"] if c["id"] == name)


def without(tree: dict, name: str) -> None:
    """An earlier version of the course, that did not have this exercise."""
    tree["cells"] = [c for c in tree["cells"] if not c["id"].startswith(name)]


def other_docstring(tree: dict) -> None:
    stub = cell(tree, "sigmoid")
    stub["source"] = "".join(stub["source"]).replace('"""', '"""Better said: ', 1)


# A learner ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def at_work(copied) -> Project:
    """A learner who began with a version that had no gru_cell, solved sigmoid, wrote an answer and added a cell."""
    released = copied.release(SLUG).read_bytes()
    change_release(copied, lambda tree: without(tree, "gru_cell"))
    start(copied, SLUG)
    tree = json.loads(copied.work(SLUG).read_text(encoding="utf-8"))
    solution = json.loads(copied.solution(SLUG).read_text(encoding="utf-8"))
    cell(tree, "sigmoid")["source"] = "CONSTANT = 0.0\n" + "".join(cell(solution, "sigmoid")["source"])
    cell(tree, QUESTION)["source"] = "My answer."
    added = {"cell_type": "code", "id": "mine", "metadata": {}, "outputs": [], "execution_count": 1, "source": "x = 3"}
    tree["cells"].insert(tree["cells"].index(cell(tree, "sigmoid")), added)
    copied.work(SLUG).write_text(json.dumps(tree), encoding="utf-8")
    copied.release(SLUG).write_bytes(released)
    change_release(copied, other_docstring)
    return copied


def test_a_learners_old_copy_grades_on_and_the_new_version_is_offered(at_work):
    before = at_work.work(SLUG).read_bytes()
    found = {v.name: v.status for v in progress(at_work, SLUG).verdicts}
    assert found["sigmoid"] == "passed"
    assert found["gru_cell"] == "missing"
    ran = s30("progress", root=at_work.root)
    assert "The course has a newer version of it: s30 start 03" in ran.stdout
    assert at_work.work(SLUG).read_bytes() == before


def test_the_new_version_goes_beside_with_the_learners_answers_in_it(at_work):
    before = at_work.work(SLUG).read_bytes()
    ran = s30("start", "03", root=at_work.root)
    assert ran.returncode == 0, ran.stderr
    assert "stays as it is" in ran.stdout
    assert at_work.work(SLUG).read_bytes() == before
    beside = at_work.work(SLUG).with_name(f"{SLUG}.new.ipynb")
    tree = json.loads(beside.read_text(encoding="utf-8"))
    assert "".join(cell(tree, "sigmoid")["source"]).startswith("CONSTANT")
    assert "".join(cell(tree, QUESTION)["source"]) == "My answer."
    assert "NotImplementedError" in "".join(cell(tree, "gru_cell")["source"])
    ids = [c["id"] for c in tree["cells"]]
    assert ids.index("mine") == ids.index("sigmoid") - 1
    released = [c["id"] for c in json.loads(at_work.release(SLUG).read_text())["cells"]]
    assert [name for name in ids if name != "mine"] == released
    again = s30("start", "03", root=at_work.root)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    at_work.work(SLUG).unlink()
    beside.rename(at_work.work(SLUG))
    assert {v.name: v.status for v in progress(at_work, SLUG).verdicts}["gru_cell"] == "not_attempted"
    assert not is_outdated(at_work, SLUG)


def test_a_copy_of_this_version_is_left_alone(copied):
    start(copied, SLUG)
    ran = s30("start", "03", root=copied.root)
    assert ran.returncode == 1
    assert "exists already and stays as it is" in ran.stderr


# A class --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def course_dir(copied, tmp_path) -> Path:
    """A class's folder with one submission, fully solved."""
    folder = tmp_path / "class"
    path = folder / "submitted" / "ada" / SLUG / f"{SLUG}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(copied.solution(SLUG).read_bytes())
    return folder


def autograde(project: Project, folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "nbgrader", "autograde", SLUG, "--course-dir", str(folder), *words]
    environment = {"PYTHONPATH": str(project.root), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, env=environment)


def scores(folder: Path) -> dict[str, tuple[float | None, float]]:
    """Name → score and most points."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        notebook = gradebook.find_submission_notebook(SLUG, SLUG, "ada")
        return {g.name.removesuffix("-check"): (g.score, g.max_score) for g in notebook.grades}


def set_manual_score(folder: Path, points: float) -> None:
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade(QUESTION, SLUG, SLUG, "ada")
        grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.db.commit()


@needs_sandbox
def test_text_and_points_may_change_while_submissions_are_in_the_gradebook(copied, course_dir):
    assert s30("gradebook", "03", "--course-dir", str(course_dir), root=copied.root).returncode == 0
    ran = autograde(copied, course_dir)
    assert ran.returncode == 0, ran.stderr
    set_manual_score(course_dir, 1.5)
    before = scores(course_dir)
    assert before["sigmoid"] == (1.0, 1.0)

    def new_version(tree: dict) -> None:
        other_docstring(tree)
        cell(tree, "sigmoid-check")["metadata"]["nbgrader"]["points"] = 4

    change_release(copied, new_version)
    assert s30("gradebook", "03", "--course-dir", str(course_dir), root=copied.root).returncode == 0
    ran = autograde(copied, course_dir, "--force")
    assert ran.returncode == 0, ran.stderr
    after = scores(course_dir)
    assert after.pop("sigmoid") == (4.0, 4.0)
    del before["sigmoid"]
    assert after == before  # the score that a human gave among them
    assert after[QUESTION][0] == 1.5


@needs_sandbox
def test_other_exercises_are_refused_once_there_are_submissions_and_nothing_is_changed(copied, course_dir):
    released = copied.release(SLUG).read_bytes()
    change_release(copied, lambda tree: without(tree, "gru_cell"))
    register(copied, SLUG, ClassFolder.of(copied, course_dir))
    ran = autograde(copied, course_dir)
    assert ran.returncode == 0, ran.stderr
    before = scores(course_dir)
    copied.release(SLUG).write_bytes(released)
    with pytest.raises(UserError, match=r"new: gru_cell, gru_cell-check.*begin a new gradebook"):
        register(copied, SLUG, ClassFolder.of(copied, course_dir))
    ran = autograde(copied, course_dir, "--force")
    assert ran.returncode != 0
    assert "has other exercises now than when this class's submissions were graded" in ran.stderr
    assert scores(course_dir) == before


@needs_sandbox
def test_a_class_chooses_points_and_leaves_exercises_out(copied, course_dir):
    (course_dir / POINTS).write_text(f"[{SLUG}]\nchrono_init = 0\nLSTM = 5\n{QUESTION} = 10\n")
    register(copied, SLUG, ClassFolder.of(copied, course_dir))
    assert autograde(copied, course_dir).returncode == 0
    found = scores(course_dir)
    assert found["chrono_init"] == (0.0, 0.0)
    assert found["LSTM"] == (5.0, 5.0)
    assert found[QUESTION] == (0.0, 10.0)
    assert found["sigmoid"] == (1.0, 1.0)
    page = (course_dir / "autograded" / "ada" / SLUG / f"{SLUG}.ipynb").read_text(encoding="utf-8")
    assert "LSTM: passed, 5 of 5 points" in page


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"[{SLUG}]\nlstm = 1", "has no 'lstm'. It has: sigmoid"),
        (f"[{SLUG}]\nLSTM = -1", "points are a number from 0 up"),
        (f"[{SLUG}]\nLSTM = 'many'", "points are a number from 0 up"),
        (f"[{SLUG}]\nparts = 'no'", "it is true or false"),
        (f"{SLUG} = 5", "is a table of exercises and their points"),
        ("LSTM = ", "can't be read as TOML"),
    ],
)
def test_points_that_make_no_sense_are_refused(copied, tmp_path, text, sentence):
    (tmp_path / POINTS).write_text(text)
    with pytest.raises(UserError) as problem:
        class_points(copied, SLUG, tmp_path)
    assert sentence in str(problem.value)
    ran = s30("gradebook", "03", "--course-dir", str(tmp_path), root=copied.root)
    assert ran.returncode == 1
    assert not (tmp_path / "gradebook.db").exists()


def test_a_class_counts_parts_of_an_exercise_or_not(copied, tmp_path):
    half = Verdict("03/LSTM", "torch", Status.PARTLY, 1.5, 3.0, "half of it")
    full = replace(half, status=Status.PASSED, points=3.0)
    assert [worth(v, 4.0).points for v in (half, full)] == [2.0, 4.0]
    assert [worth(v, 4.0, parts=False).points for v in (half, full)] == [0.0, 4.0]
    assert class_points(copied, SLUG, tmp_path).parts
    (tmp_path / POINTS).write_text(f"[{SLUG}]\nparts = false\nLSTM = 5\n")
    said = class_points(copied, SLUG, tmp_path)
    assert (said.parts, said.points) == (False, {"LSTM-check": 5.0})


def test_a_roster_is_entered_and_nothing_of_a_broken_one(copied, tmp_path):
    roster = tmp_path / "students.csv"
    roster.write_text("\ufeffid,first_name,email\nada,Ada,ada@x.org\nben,,\n", encoding="utf-8")
    for _ in range(2):  # the second time they are there already
        ran = s30("gradebook", "03", "--course-dir", str(tmp_path), "--roster", str(roster), root=copied.root)
        assert ran.returncode == 0, ran.stderr
        assert "entered 2 students" in ran.stdout
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        assert {s.id: s.email for s in gradebook.students} == {"ada": "ada@x.org", "ben": None}
    for text, sentence in (("name\nada\n", "has no id"), ("id\ncleo\ncleo\n", "line 3 repeats 'cleo'")):
        roster.write_text(text)
        with pytest.raises(UserError, match=sentence):
            enter_roster(roster, ClassFolder.of(copied, tmp_path))
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        assert len(gradebook.students) == 2
