"""`s30 grade` on a class: what is recorded, that a run goes on after it was killed, and what a regrade changes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from conftest import needs_sandbox, s30, share_secret
from nbgrader.api import Gradebook

from course.base.files import locked
from course.base.project import Project
from course.base.results import Results
from course.cli import main
from course.teach.demo import class_of
from course.teach.grading import ClassRun, Submission
from course.teach.worker import Outcome

SLUG = "03_lstm_understanding"
pytestmark = [needs_sandbox, pytest.mark.slow]
POINTS = {"ada_complete": 22, "ben_two_mistakes": 8, "cleo_gate_order": 8, "dan_half_done": 6, "eve_blank": 0,
          "finn_damaged_file": 22}  # fmt: skip
QUESTION = "why_additive"


def handed_in(folder: Path) -> Path:
    """A class's folder, with nothing but what was handed in: six notebooks and three that can't be graded."""
    for student, notebook in class_of(Project()).items():
        hand_in(folder, student, json.dumps(notebook))
    hand_in(folder, "gil_broken", "{")
    hand_in(folder, "hal_renamed", "{}", "homework.ipynb")
    (folder / "submitted" / "ida_nothing" / SLUG).mkdir(parents=True)
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return handed_in(tmp_path)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory) -> tuple[Path, dict]:
    """The class after one run, and its report. Tests change copies of it."""
    folder = handed_in(tmp_path_factory.mktemp("class"))
    return folder, grade(folder)


@pytest.fixture
def graded(first_run, tmp_path) -> Path:
    """A class's folder that was graded once."""
    return shutil.copytree(first_run[0], tmp_path / "graded")


def hand_in(folder: Path, student: str, text: str, name: str = f"{SLUG}.ipynb") -> None:
    path = folder / "submitted" / student / SLUG / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    share_secret(folder)


def grade(folder: Path, *words: str, root: Path | None = None) -> dict:
    """Run the command and read its report."""
    report = folder / "report.json"
    root = root or Project().root
    ran = s30("grade", "03", "--course-dir", str(folder), "--report", str(report), *words, root=root)
    tree = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {"submissions": []}
    left = [s["student"] for s in tree["submissions"] if s["status"] == "ungraded"]
    assert ran.returncode == bool(left), ran.stdout + ran.stderr
    if left:  # the last line names them
        assert f"Not recorded: {len(left)} ({', '.join(left)})" in ran.stdout.splitlines()[-1]
    tree["said"] = ran.stdout
    return tree


def points(report: dict) -> dict[str, float]:
    return {s["student"]: s["points"] for s in report["submissions"] if s["status"] == "graded"}


def in_gradebook(folder: Path) -> dict[str, float]:
    """Student → automatic points as recorded."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        found = gradebook.assignment_submissions(SLUG)
        return {s.student.id: sum(g.auto_score or 0 for n in s.notebooks for g in n.grades) for s in found}


def autograded(folder: Path, *students: str) -> dict[str, int]:
    """Student → when their notebook was last recorded, for some, or those that can be graded."""
    found = {p.parts[-3]: p.stat().st_mtime_ns for p in (folder / "autograded").rglob("*.ipynb")}
    return {student: when for student, when in found.items() if student in (students or POINTS)}


def test_ids_are_data_and_no_pattern(tmp_path):
    ids = ["doe, jane", "doe", "x[12]", "x1", "a{student_id}", "*", "[bold]ann"]
    notebook = class_of(Project())["eve_blank"]
    for student in ids:
        hand_in(tmp_path, student, json.dumps(notebook))
    hand_in(tmp_path, "[b]", "{")
    said = grade(tmp_path)["said"]
    assert "[b]: " in said
    assert set(in_gradebook(tmp_path)) == {*ids, "[b]"}
    recorded = autograded(tmp_path, *ids)
    assert set(recorded) == set(ids)
    hand_in(tmp_path, "doe", json.dumps(class_of(Project())["ada_complete"]))
    grade(tmp_path)
    later = autograded(tmp_path, *ids)
    assert {student for student in ids if later[student] != recorded[student]} == {"doe"}


def test_a_class_is_graded_with_reasons_and_recorded(first_run, graded):
    folder, (_, report) = graded, first_run
    assert points(report) == POINTS
    assert report["assignment"] == SLUG
    ungraded = {s["student"]: s["reason"] for s in report["submissions"] if s["status"] == "ungraded"}
    assert set(ungraded) == {"gil_broken", "hal_renamed", "ida_nothing"}
    assert "not valid JSON" in ungraded["gil_broken"]
    assert "it has no list of cells" in ungraded["hal_renamed"]
    assert "hal_renamed: homework.ipynb counts" in report["said"]
    assert all(f"{student}: " in report["said"] for student in ungraded)
    ben = next(s for s in report["submissions"] if s["student"] == "ben_two_mistakes")
    assert {"id", "track", "status", "points", "max_points", "message"} <= set(ben["exercises"][0])
    assert ben["max_points"] == 22
    assert any("Likely cause" in e["message"] for e in ben["exercises"])
    recorded = in_gradebook(folder)
    assert {student: recorded[student] for student in POINTS} == POINTS
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        for student in ungraded:
            grades = gradebook.find_submission_notebook(SLUG, SLUG, student).grades
            assert all(g.needs_manual_grade and g.auto_score is None for g in grades)
    command = [sys.executable, "-m", "nbgrader", "generate_feedback", SLUG, "--course-dir", str(folder)]
    assert subprocess.run(command, cwd=Project().root, capture_output=True).returncode == 0
    assert "Likely cause" in (folder / "feedback" / "ben_two_mistakes" / SLUG / f"{SLUG}.html").read_text()

    before = autograded(folder)
    again = grade(folder)
    assert points(again) == POINTS
    assert "0 of them now" in again["said"]
    assert autograded(folder) == before  # nothing is done twice


@pytest.fixture(scope="module")
def from_a_zip(tmp_path_factory) -> tuple[Path, dict]:
    """The folder and the report of a class whose submissions came in a zip, one of them with very large outputs."""
    notebooks = class_of(Project())
    large = json.loads(json.dumps(notebooks["ada_complete"]))
    figure = {"output_type": "stream", "name": "stdout", "text": "x" * 21 * 2**20}
    next(c for c in large["cells"] if c["cell_type"] == "code")["outputs"] = [figure]
    home = tmp_path_factory.mktemp("zip")
    archive = home / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for student, notebook in (*notebooks.items(), ("lou_large", large)):
            if student in ("ada_complete", "dan_half_done", "lou_large"):
                out.writestr(f"{student.split('_')[0]}_123_456_lstm.ipynb", json.dumps(notebook))
    folder = home / "class"
    folder.mkdir()
    return folder, grade(folder, "--submissions", str(archive))


def test_a_zip_from_a_learning_management_system(from_a_zip):
    _, report = from_a_zip
    assert points(report) == {"ada_123": 22, "dan_123": 6, "lou_123": 22}


def test_large_outputs_cost_no_points(from_a_zip):
    """They decide nothing, and nbgrader grades without them: so the report must say the same."""
    folder, report = from_a_zip
    assert points(report)["lou_123"] == 22
    assert in_gradebook(folder)["lou_123"] == 22


def test_a_killed_run_goes_on_where_it_was(folder):
    """Kill -9 at three moments: while evaluating, between evaluating and recording, and while recording."""
    command = [sys.executable, "-m", "course.cli", "grade", "03", "--course-dir", str(folder), "--jobs", "1"]

    def kept() -> int:
        return len(list((folder / "results").rglob("*.json")))

    moments = [lambda: kept() >= 2, lambda: kept() >= 6, lambda: len(autograded(folder)) >= 3]
    seen: list[tuple[int, int]] = []
    for reached in moments:
        run = subprocess.Popen(command, cwd=Project().root, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 120
        while not reached():
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
        seen.append((kept(), len(autograded(folder))))
    assert seen[0][0] < 6
    assert seen[2][1] < 6
    complete = {student: path for student, path in autograded(folder).items()}
    report = grade(folder)
    assert points(report) == POINTS
    assert {s: p for s, p in in_gradebook(folder).items() if s in POINTS} == POINTS
    untouched = [student for student, when in complete.items() if autograded(folder)[student] == when]
    assert len(untouched) >= len(complete) - 1  # at most the one it was at


def test_a_worker_that_is_killed_loses_nothing(folder):
    report = folder / "report.json"
    command = [sys.executable, "-m", "course.cli", "grade", "03", "--course-dir", str(folder), "--report", str(report)]
    run = subprocess.Popen([*command, "--jobs", "2"], cwd=Project().root, stdout=subprocess.DEVNULL)
    while not list((folder / "results").rglob("*.json")):
        assert run.poll() is None
        time.sleep(0.01)
    listed = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    workers = [pid for pid in listed if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert len(workers) == 2
    os.kill(int(workers[0]), signal.SIGKILL)
    assert run.wait() == 1  # three can't be graded
    assert points(json.loads(report.read_text(encoding="utf-8"))) == POINTS


def test_who_ends_workers_loses_nobody_elses(monkeypatch):
    def evaluated(self, crew, jobs):
        names = [submission.student for submission in crew]
        yield from ((s, None if "moe" in names else Outcome()) for s in crew)

    monkeypatch.setattr(ClassRun, "_evaluated", evaluated)
    class_ = [Submission(student, Path(student)) for student in ("ada", "moe", "ben")]
    told: list[Submission] = []
    ClassRun.evaluate(object.__new__(ClassRun), class_, 2, told.append)
    assert {s.student: bool(s.reason) for s in told} == {"ada": False, "moe": True, "ben": False}


def test_nothing_is_left_running_after_a_kill(folder):
    hand_in(folder, "jo_endless", (folder / "submitted" / "ada_complete" / SLUG / f"{SLUG}.ipynb").read_text().replace(
        '"def sigmoid(', '"while True: pass\\n", "def sigmoid('))  # fmt: skip
    command = [sys.executable, "-m", "course.cli", "grade", "03", "--course-dir", str(folder)]
    run = subprocess.Popen(command, cwd=Project().root, stdout=subprocess.DEVNULL, start_new_session=True)
    while not list((folder / "results").rglob("*.json")):
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    end = time.monotonic() + 20
    while (left := _session(run.pid)) and time.monotonic() < end:
        time.sleep(0.2)
    assert left == []


def _session(leader: int) -> list[str]:
    """Command lines of the processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == leader:
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except (OSError, ProcessLookupError):
                pass
    return [line for line in found if line]


def test_a_regrade_shows_what_changes_and_asks_and_manual_scores_survive(graded, copied):
    folder = graded
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        by_hand = gradebook.find_grade(QUESTION, SLUG, SLUG, "ada_complete")
        by_hand.manual_score, by_hand.needs_manual_grade = 1.5, False
        gradebook.db.commit()
    before = autograded(folder)
    assert "older grader" not in grade(folder, root=copied.root)["said"]
    engine = copied.root / "autograder" / "engine" / "judge" / "compare.py"
    engine.write_text(engine.read_text() + "\n# another grader\n")
    report = grade(folder, root=copied.root)
    assert "6 were recorded by an older grader" in report["said"]
    assert points(report) == POINTS
    assert autograded(folder) == before
    regraded = grade(folder, "--regrade", "--yes", root=copied.root)
    assert "0 of 6 recorded scores change" in regraded["said"]
    assert {s: p for s, p in in_gradebook(folder).items() if s in POINTS} == POINTS
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        assert gradebook.find_grade(QUESTION, SLUG, SLUG, "ada_complete").score == 1.5

    release = copied.release(SLUG)
    text = release.read_text(encoding="utf-8")
    assert '"points": 1,' in text
    (folder / "points.toml").write_text(f"[{SLUG}]\nsigmoid = 3\n")
    assert "6 were recorded by an older grader, or at other points" in grade(folder, root=copied.root)["said"]
    seeds = json.loads((folder / "secret_seeds.json").read_text())
    declined = subprocess.run(
        [sys.executable, "-m", "course.cli", "grade", "03", "--course-dir", str(folder), "--new-seed"],
        cwd=copied.root,
        input="n\n",
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(copied.root)},
    )
    assert declined.returncode == 1, declined.stderr  # three can't be graded
    assert "5 of 6 recorded scores change" in declined.stdout
    assert json.loads((folder / "secret_seeds.json").read_text()) != seeds
    assert in_gradebook(folder)["ada_complete"] == 22


def test_a_resubmission_is_recorded_and_the_rest_is_left_alone(graded):
    folder = graded
    before = autograded(folder)
    hand_in(folder, "eve_blank", (folder / "submitted" / "ada_complete" / SLUG / f"{SLUG}.ipynb").read_text())
    report = grade(folder)
    assert points(report) == {**POINTS, "eve_blank": 22}
    assert in_gradebook(folder)["eve_blank"] == 22
    assert {s for s, when in autograded(folder).items() if when != before[s]} == {"eve_blank"}


def test_two_runs_do_not_work_on_one_class(folder):
    with locked(folder, "grading"):
        ran = s30("grade", "03", "--course-dir", str(folder), root=Project().root)
    assert ran.returncode == 1
    assert "Another run is grading" in ran.stderr


def test_bad_input_is_one_sentence(tmp_path, monkeypatch, capsys):
    for words, sentence in (
        (("03", "--course-dir", str(tmp_path)), "Nobody has handed in"),
        (("03", "--course-dir", str(tmp_path / "no")), "there is no such folder"),
        (("03", "--course-dir", str(tmp_path), "--submissions", "nowhere"), "there is no such folder or file"),
        (("99", "--course-dir", str(tmp_path)), "There is no assignment"),
        (("03", "--course-dir", str(tmp_path), "--report", "/nowhere/x.json"), "its folder does not exist"),
    ):
        monkeypatch.setattr(sys, "argv", ["s30", "grade", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert ended.value.code != 0
        assert sentence in said
        assert "Traceback" not in said


def test_kept_results_are_used_only_for_what_they_are_of(tmp_path):
    results = Results(tmp_path)
    results.put("ada/03", "one", [])
    assert results.get("ada/03", "one") == []
    assert results.get("ada/03", "other") is None
    assert results.get("ben/03", "one") is None
