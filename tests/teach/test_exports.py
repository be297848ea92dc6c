"""What `nbgrader export` writes, read back and held against the gradebook, whatever names there are."""

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from conftest import ROOT
from nbgrader.api import Gradebook

from course.base.nbgrader import begin_gradebook
from course.teach.exports import CanvasExport, CsvExport, GradescopeExport, MoodleExport, harmless

pytestmark = pytest.mark.filterwarnings("ignore:Object of type")  # nbgrader's, of no use
SLUG, QUIZ = "03_lstm_understanding", "quiz"
POINTS = {"sigmoid-check": 1, "lstm_cell_forward-check": 3, "left_out-check": 0, "why_additive": 2}
COLUMNS = ["03/sigmoid", "03/lstm_cell_forward", "03/why_additive"]  # in the notebook's order, not the alphabet's
# id → first name, last name, address; and the automatic points, if they handed in
STUDENTS = {
    "ann": ("Ann", 'Roe, "Jr."', "ann@x.org", [1.0, 3.0, 0.0, 0.0]),
    "bob": ('=HYPERLINK("http://x.example")', "-Poe", "@bob", [1.0, 0.0, 0.0, None]),
    "+cé": ("Zoë\nof two lines", "Müller; ß", "", [0.0, 0.1, 0.0, 1.0]),
    "../dan": ("\tDan", "＝1+1", "d@x.org", [None] * 4),  # nothing of it could be graded
    "eva": ("Eva", "", "", None),
}


@pytest.fixture(scope="module")
def entered(tmp_path_factory) -> Path:
    """A class's gradebook: of all that nbgrader counts, something. Tests change copies of it."""
    path = tmp_path_factory.mktemp("class") / "gradebook.db"
    begin_gradebook(f"sqlite:///{path}")
    with Gradebook(f"sqlite:///{path}") as found:
        for slug, notebooks in ((SLUG, [SLUG]), (QUIZ, ["one", "two"])):
            found.add_assignment(slug, duedate="2026-03-02 12:00:00")
            for notebook in notebooks:
                found.add_notebook(notebook, slug)
        for name, most in sorted(POINTS.items()):
            kind = "markdown" if name == "why_additive" else "code"
            found.add_grade_cell(name, SLUG, SLUG, max_score=most, cell_type=kind)
            found.add_solution_cell(name.removesuffix("-check"), SLUG, SLUG)
        for notebook in ("one", "two"):
            found.add_grade_cell("a", notebook, QUIZ, max_score=5, cell_type="code")
        for id_, (first, last, email, points) in STUDENTS.items():
            found.add_student(id_, first_name=first, last_name=last, email=email)
            if points is not None:
                found.add_submission(SLUG, id_, timestamp=datetime(2026, 3, 2, 13))
                for name, score in zip(POINTS, points, strict=True):
                    grade = found.find_grade(name, SLUG, SLUG, id_)
                    grade.auto_score, grade.needs_manual_grade = score, score is None
        found.find_student("ann").lms_user_id = "101"
        found.add_submission(QUIZ, "ann")
        found.find_grade("a", "one", QUIZ, "ann").auto_score = 2.5
        found.find_grade("a", "two", QUIZ, "ann").auto_score = 5
        by_hand = found.find_grade("lstm_cell_forward-check", SLUG, SLUG, "ann")
        by_hand.manual_score, by_hand.extra_credit, by_hand.needs_manual_grade = 2.0, 0.5, True
        found.find_comment("lstm_cell_forward", SLUG, SLUG, "ann").manual_comment = "almost; =well"
        found.find_submission_notebook(SLUG, SLUG, "ann").late_submission_penalty = 0.75
        found.find_submission_notebook(SLUG, SLUG, "+cé").late_submission_penalty = 9.0
        found.db.commit()
    return path


@pytest.fixture
def gradebook(entered, tmp_path):
    shutil.copy(entered, tmp_path)
    with Gradebook(f"sqlite:///{tmp_path / entered.name}") as found:
        yield found


def exported(gradebook: Gradebook, plugin: type, to: Path, **asked) -> list[dict[str, str]]:
    plugin(to=str(to), **asked).export(gradebook)
    with to.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in rows)  # no column is shifted
    return rows


def total(gradebook: Gradebook, slug: str, student: str) -> float:
    submission = gradebook.find_submission(slug, student)
    return max(0.0, submission.score - submission.late_submission_penalty)


def test_plain_csv_is_the_gradebook(gradebook, tmp_path):
    rows = exported(gradebook, CsvExport, tmp_path / "grades.csv")
    assert len(rows) == 2 * len(STUDENTS)
    found = {row["student_id"].removeprefix("'"): row for row in rows if row["assignment"] == SLUG}
    assert [column for column in rows[0] if "/" in column] == [*COLUMNS, "quiz/one/a", "quiz/two/a"]
    for id_, row in found.items():
        first, last, email, points = STUDENTS[id_]
        assert (row["first_name"], row["last_name"], row["email"]) == tuple(map(harmless, (first, last, email)))
        for column, name in zip(COLUMNS, [n for n in POINTS if n != "left_out-check"], strict=True):
            grade = gradebook.find_grade(name, SLUG, SLUG, id_) if points else None
            unscored = grade is None or grade.auto_score is grade.manual_score is None
            assert row[column] == ("" if unscored else str(grade.score))
        assert row["max_score"] == "6.0"
    for id_ in ("ann", "+cé"):
        assert float(found[id_]["score"]) == total(gradebook, SLUG, id_)
        assert float(found[id_]["raw_score"]) == gradebook.find_submission(SLUG, id_).score
    assert (found["ann"]["score"], found["+cé"]["score"]) == ("2.75", "0.0")
    assert found["ann"]["duedate"] == "2026-03-02 12:00:00"
    assert {id_: row["status"] for id_, row in found.items()} == {
        **dict.fromkeys(("ann", "+cé"), "graded"),
        **dict.fromkeys(("bob", "../dan"), "waits for a human"),
        "eva": "missing",
    }
    for id_ in ("bob", "../dan", "eva"):
        assert found[id_]["raw_score"] == found[id_]["score"] == ""
    assert found["bob"]["03/sigmoid"] == "1.0"
    quiz = next(row for row in rows if row["assignment"] == QUIZ and row["student_id"] == "ann")
    assert (quiz["quiz/one/a"], quiz["quiz/two/a"], quiz["score"], quiz["03/sigmoid"]) == ("2.5", "5.0", "7.5", "")


def test_what_is_worth_nothing_has_a_column_where_a_human_gave_points(gradebook, tmp_path):
    gradebook.find_grade("left_out-check", SLUG, SLUG, "ann").manual_score = 1.0
    gradebook.db.commit()
    rows = exported(gradebook, CsvExport, tmp_path / "grades.csv")
    ann = next(row for row in rows if row["student_id"] == "ann" and row["assignment"] == SLUG)
    assert (ann["03/left_out"], ann["score"]) == ("1.0", "3.75")


@pytest.mark.parametrize(
    ("text", "cell"),
    [(text, f"'{text}") for text in ("=1+1", "+1-1", "-a", "@x", "\tx", "\rx", "\n=x", " =1", "＝1", "-1e3", "+1;=x")]
    + [(text, text) for text in ("", "a=1", "-1", "+49", "-0.5", "Ann-Lea", "x@y.org", "2-1")],
)
def test_no_text_is_a_formula_and_numbers_stay_numbers(text, cell):
    assert harmless(text) == cell


@pytest.mark.parametrize("exercises", [False, True])
def test_canvas(gradebook, tmp_path, exercises):
    title = {SLUG: "LSTM (98)"}
    worth, *rows = exported(gradebook, CanvasExport, tmp_path / "c.csv", exercises=exercises, titles=title)
    fixed = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    quiz = ["quiz", "quiz/one/a", "quiz/two/a"]
    assert list(worth) == fixed + (["LSTM (98)", *COLUMNS, *quiz] if exercises else ["LSTM (98)", "quiz"])
    assert (worth["Student"], worth["LSTM (98)"], worth["quiz"]) == ("Points Possible", "6.0", "10.0")
    found = {row["SIS Login ID"].removeprefix("'"): row for row in rows}
    assert set(found) == set(STUDENTS)
    assert {id_: row["LSTM (98)"] for id_, row in found.items()} == {
        **{id_: str(total(gradebook, SLUG, id_)) for id_ in ("ann", "+cé")},
        **dict.fromkeys(("bob", "../dan", "eva"), ""),
    }
    assert [found["ann"][name] for name in fixed] == ['Roe, "Jr.", Ann', "101", "", "ann", ""]
    assert found["bob"]["Student"].startswith("'-Poe")
    if exercises:
        assert [worth[column] for column in COLUMNS] == ["1.0", "3.0", "2.0"]
        assert [found["bob"][column] for column in COLUMNS] == ["1.0", "0.0", ""]


def test_a_system_is_told_of_no_assignment_in_which_nobody_handed_in_unless_it_is_named(gradebook, tmp_path):
    gradebook.add_assignment("05_later")
    assert "05_later" not in exported(gradebook, CanvasExport, tmp_path / "c.csv")[0]
    rows = exported(gradebook, CanvasExport, tmp_path / "c.csv", assignment=["05_later"])
    assert {row["05_later"] for row in rows[1:]} == {""}


def test_moodle(gradebook, tmp_path):
    found = {row["Username"].removeprefix("'"): row for row in exported(gradebook, MoodleExport, tmp_path / "m.csv")}
    ann = found["ann"]
    assert (ann["First name"], ann["ID number"], ann["Email address"]) == ("Ann", "101", "ann@x.org")
    assert [ann[column] for column in (SLUG, *COLUMNS)] == ["2.75", "1.0", "2.5", "0.0"]
    assert ann[f"{SLUG} (feedback)"] == (
        "sigmoid: 1 of 1; lstm_cell_forward: 2.5 of 3 (almost; =well); why_additive: 0 of 2; "
        "Handed in late: 0.75 points less."
    )
    for id_ in ("bob", "../dan", "eva"):
        assert found[id_][SLUG] == found[id_][f"{SLUG} (feedback)"] == ""


def results(to: Path) -> dict[str, dict]:
    if to.suffix == ".zip":
        with zipfile.ZipFile(to) as archive:
            return {name: json.loads(archive.read(name)) for name in archive.namelist()}
    return {str(path.relative_to(to)): json.loads(path.read_text("utf-8")) for path in to.rglob("*.json")}


@pytest.mark.parametrize("to", ["all.zip", "folder"])
def test_gradescope_has_results_of_who_has_a_total(gradebook, tmp_path, to):
    GradescopeExport(to=str(tmp_path / to), assignment=["03"]).export(gradebook)
    found = results(tmp_path / to)
    assert set(found) == {f"{SLUG}/ann/results.json", f"{SLUG}/+cé/results.json"}
    ann = found[f"{SLUG}/ann/results.json"]
    assert ann["score"] == total(gradebook, SLUG, "ann") == 2.75
    assert ann["output"] == "Handed in late: 0.75 points less."
    tests = [(test["name"], test["score"], test["max_score"], test["status"], test["output"]) for test in ann["tests"]]
    assert tests == [
        ("03/sigmoid", 1.0, 1.0, "passed", ""),
        ("03/lstm_cell_forward", 2.5, 3.0, "failed", "almost; =well"),
        ("03/why_additive", 0.0, 2.0, "failed", ""),
    ]
    gradebook.find_grade("sigmoid-check", SLUG, SLUG, "ann").auto_score = None  # of a later file, say
    for name in POINTS:
        gradebook.find_grade(name, SLUG, SLUG, "../dan").manual_score = 1.0
    gradebook.db.commit()
    GradescopeExport(to=str(tmp_path / to), assignment=["03"]).export(gradebook)
    names = set(results(tmp_path / to))
    assert names == {f"{SLUG}/+cé/results.json", f"{SLUG}/%2E%2E%2Fdan/results.json"}  # an id leads nowhere else


@pytest.mark.parametrize("asked", [["03"], ["3"], [SLUG], [f"[{SLUG}]"]])
def test_assignments_and_students_may_be_named(gradebook, tmp_path, asked):
    rows = exported(gradebook, CsvExport, tmp_path / "g.csv", assignment=asked, student=["ann", "+cé"])
    assert [row["student_id"] for row in rows] == ["'+cé", "ann"]
    assert {row["assignment"] for row in rows} == {SLUG}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"assignment": ["09"]}, f"--assignment 09: the gradebook has no such assignment. It has {SLUG}, quiz."),
        ({"student": ["ann", "zoe"]}, "--student: the gradebook has no zoe."),
        ({"to": "FOLDER"}, "can't be written: Is a directory."),
    ],
)
def test_what_can_not_be_done_is_said_in_a_sentence(gradebook, tmp_path, caplog, asked, said):
    asked = {name: str(tmp_path) if value == "FOLDER" else value for name, value in asked.items()}
    with pytest.raises(SystemExit) as ended:
        CsvExport(**{"to": str(tmp_path / "g.csv"), **asked}).export(gradebook)
    assert ended.value.code == 1
    assert said in caplog.text
    assert "Traceback" not in caplog.text
    assert not (tmp_path / "g.csv").exists()


def test_who_has_no_total_is_said(gradebook, tmp_path, caplog):
    CsvExport(to=str(tmp_path / "g.csv"), assignment=["03"]).export(gradebook)
    assert f"{SLUG}: no total for 2, waits for a human: bob, ../dan" in caplog.text
    assert f"{SLUG}: no total for 1, missing: eva" in caplog.text


@pytest.mark.slow
def test_nbgrader_export_writes_it_by_itself(gradebook, tmp_path):
    """By nbgrader_config.py alone; and what the checks said is found where nbgrader is told that the class lies."""
    notebook = tmp_path / "autograded" / "ann" / SLUG / f"{SLUG}.ipynb"
    notebook.parent.mkdir(parents=True)
    tree = {"id": "03/sigmoid", "track": "forward", "status": "passed", "points": 1.0, "max_points": 1.0}
    tree |= {"headline": "`sigmoid` is right.", "reasons": []}
    notebook.write_text(json.dumps({"cells": [], "metadata": {"s30": {"verdicts": [tree]}}}), encoding="utf-8")
    command = [sys.executable, "-m", "nbgrader", "export", f"--CourseDirectory.root={tmp_path}"]
    command += ["--db", f"sqlite:///{tmp_path / 'gradebook.db'}", "--to"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    for to, more in (("g.csv", []), ("out", ["--exporter=course.teach.exports.GradescopeExport"])):
        ran = subprocess.run([*command, str(tmp_path / to), *more], cwd=ROOT, capture_output=True, env=variables)
        assert ran.returncode == 0, ran.stderr.decode()
    with (tmp_path / "g.csv").open(encoding="utf-8", newline="") as file:
        assert {row["student_id"]: row["score"] for row in csv.DictReader(file)}[
            "ann"
        ] == "7.5"  # of the last, the quiz
    ann = results(tmp_path / "out")[f"{SLUG}/ann/results.json"]
    assert [test["output"] for test in ann["tests"]] == ["`sigmoid` is right.", "almost; =well", ""]
