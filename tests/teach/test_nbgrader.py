"""nbgrader's own commands, on a class whose files are as editors and students leave them."""

import copy
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, needs_sandbox, s30
from nbgrader.api import Gradebook

from autograder.engine.assignment import with_needs
from course.base.project import Project
from course.teach.demo import SLUG, class_of

pytestmark = [needs_sandbox, pytest.mark.slow]


def nbgrader(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    """Run a stock command."""
    command = [sys.executable, "-m", "nbgrader", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment})


def cell(notebook: dict, grade_id: str) -> dict:
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)


def with_source(notebook: dict, grade_id: str, source: str) -> dict:
    changed = copy.deepcopy(notebook)
    cell(changed, grade_id)["source"] = source
    return changed


def faulty_files(full: dict, stub: dict) -> dict[str, str]:
    """Student → text of a file that something or somebody damaged."""
    duplicated, relabelled, bare, edited, tagged, stale = (copy.deepcopy(full) for _ in range(6))
    check = cell(duplicated, "LSTM-check")
    duplicated["cells"].insert(duplicated["cells"].index(check), copy.deepcopy(check))
    duplicated["cells"].append(copy.deepcopy(cell(stub, "lstm_cell_forward")))  # an unsolved copy below the solved one
    cell(relabelled, "lstm_cell_forward-check")["metadata"]["nbgrader"].update(solution=True, locked=False)
    cell(relabelled, "lstm_cell_backward-check")["cell_type"] = "markdown"
    for c in bare["cells"]:
        c["metadata"] = {}
        c.pop("id")
    bare["nbformat_minor"] = 4
    cell(edited, "LSTM-check")["metadata"]["nbgrader"]["points"] = 100
    cell(edited, "LSTM-check")["source"] = "100.0"
    for c in edited["cells"]:
        if c["cell_type"] == "code":
            c["outputs"] = [
                {"output_type": "execute_result", "data": {"text/plain": "3.0"}, "metadata": {}, "execution_count": 1}
            ]
    edited = with_source(edited, "LSTM", cell(stub, "LSTM")["source"])
    for c in tagged["cells"]:
        c["metadata"]["tags"] = ["skip-execution"]
    tagged = with_source(
        tagged, "lstm_cell_forward", "def lstm_cell_forward(params, x, h_prev, c_prev):\n    return x, x, ()"
    )
    stale["cells"] = [c for c in stale["cells"] if "-check" not in c.get("id", "")]  # every check deleted
    hostile = with_source(
        full, "LSTM", "import os\nos.kill(os.getppid(), 0)\nraise SystemExit('<script>alert(1)</script>')"
    )
    return {
        "duplicated": json.dumps(duplicated),
        "relabelled": json.dumps(relabelled),
        "bare": json.dumps(bare),
        "edited_checks": json.dumps(edited),
        "tagged": json.dumps(tagged),
        "checks_deleted": json.dumps(stale),
        "exits": json.dumps(hostile),
        "broken_json": json.dumps(full)[:2000],
    }


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class that was graded, with feedback and an export; and what autograde printed."""
    folder = tmp_path_factory.mktemp("class")
    project = Project()
    students = class_of(project)
    files = {student: json.dumps(notebook) for student, notebook in students.items()}
    files |= faulty_files(students["ada_complete"], students["eve_blank"])
    for student, text in files.items():
        path = folder / "submitted" / student / SLUG / f"{SLUG}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    wrong_name = folder / "submitted" / "renamed" / SLUG / "my homework.ipynb"
    wrong_name.parent.mkdir(parents=True)
    wrong_name.write_text(files["ada_complete"], encoding="utf-8")
    before = (project.release(SLUG).read_bytes(), project.release(SLUG).stat().st_mtime_ns)
    assert s30("gradebook", "03", "--course-dir", str(folder), root=ROOT).returncode == 0
    assert (project.release(SLUG).read_bytes(), project.release(SLUG).stat().st_mtime_ns) == before
    ran = nbgrader("autograde", SLUG, "--course-dir", str(folder))
    feedback = nbgrader("generate_feedback", SLUG, "--course-dir", str(folder))
    assert feedback.returncode == 0, feedback.stderr
    return folder, ran


def scores(folder: Path, student: str) -> dict[str, float | None]:
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        notebook = gradebook.find_submission_notebook(SLUG, SLUG, student)
        return {g.name.removesuffix("-check"): g.auto_score for g in notebook.grades if g.name.endswith("-check")}


EXERCISES = Project().assignment(SLUG).exercises
FULL = {e.name: e.points for e in EXERCISES}


def all_but(*wrong: str) -> dict[str, float]:
    """Full points, but for some exercises and those that need them."""
    lost = {e.name for e in EXERCISES if with_needs(EXERCISES, {e.name}) & set(wrong)}
    return {name: 0.0 if name in lost else points for name, points in FULL.items()}


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        ("ada_complete", FULL),
        ("ben_two_mistakes", all_but("lstm_cell_backward", "LSTM")),
        ("cleo_gate_order", all_but("lstm_cell_forward")),
        ("dan_half_done", all_but(*set(FULL) - {"sigmoid", "lstm_cell_forward", "lstm_forward"})),
        ("eve_blank", all_but(*FULL)),
        ("finn_damaged_file", FULL),
        ("duplicated", FULL),
        ("relabelled", FULL),
        ("bare", FULL),
        ("checks_deleted", FULL),
        ("edited_checks", all_but("LSTM")),
        ("tagged", all_but("lstm_cell_forward")),
        ("exits", all_but("LSTM")),
    ],
)
def test_every_submission_gets_its_score(graded, student, expected):
    assert scores(graded[0], student) == expected


def test_unreadable_files_get_no_score_and_wait_for_a_human(graded):
    folder, ran = graded
    assert ran.returncode != 0  # nbgrader finds nothing at all of the one that was renamed
    assert not (folder / "autograded" / "renamed").exists()
    assert "for student 'renamed'" in ran.stderr
    assert "broken_json needs a human" in ran.stderr
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        grades = gradebook.find_submission_notebook(SLUG, SLUG, "broken_json").grades
        assert len(grades) > len(EXERCISES)
        assert all(grade.auto_score is None and grade.needs_manual_grade for grade in grades)
    page = (folder / "feedback" / "broken_json" / SLUG / f"{SLUG}.html").read_text(encoding="utf-8")
    assert "This could not be graded and needs a human" in page


def test_explanations_reach_the_feedback_page(graded):
    page = (graded[0] / "feedback" / "ben_two_mistakes" / SLUG / f"{SLUG}.html").read_text(encoding="utf-8")
    assert "The cell state also reaches the loss through h" in page
    assert "Called:" in page
    assert "Traceback (most recent call last)" not in page


def test_feedback_escapes_what_a_student_wrote(graded):
    page = (graded[0] / "feedback" / "exits" / SLUG / f"{SLUG}.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page


def test_export_has_the_scores(graded, tmp_path):
    folder, _ = graded
    grades = tmp_path / "grades.csv"
    ran = nbgrader("export", "--db", f"sqlite:///{folder / 'gradebook.db'}", "--to", str(grades))
    assert ran.returncode == 0, ran.stderr
    with grades.open() as lines:
        exported = {row["student_id"]: float(row["score"] or 0) for row in csv.DictReader(lines)}
    assert exported["ada_complete"] == sum(FULL.values())
    assert exported["eve_blank"] == 0.0


def test_the_secret_seed_stays_with_the_class(graded):
    folder, _ = graded
    seeds = json.loads((folder / "secret_seeds.json").read_text())
    for secret in ("secret_seeds.json", f"secret_expected/{SLUG}-0.npz"):
        assert (folder / secret).stat().st_mode & 0o077 == 0
    told = "".join(
        p.read_text() for p in [*(folder / "autograded").rglob("*.ipynb"), *(folder / "feedback").rglob("*.html")]
    )
    assert str(seeds[SLUG]) not in told


def test_a_manual_score_survives_regrading(graded):
    folder, _ = graded
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("LSTM-check", SLUG, SLUG, "eve_blank")
        grade.manual_score = 2.0
        gradebook.db.commit()
    ran = nbgrader("autograde", SLUG, "--course-dir", str(folder), "--student", "eve_blank", "--force")
    assert ran.returncode == 0, ran.stderr
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        assert gradebook.find_grade("LSTM-check", SLUG, SLUG, "eve_blank").score == 2.0


def test_a_grader_that_cannot_work_gives_no_score_but_asks_for_a_human(graded, copied):
    folder, _ = graded
    copied.key(SLUG).write_bytes(b"damaged")
    ran = nbgrader(
        "autograde",
        SLUG,
        "--course-dir",
        str(folder),
        "--student",
        "finn_damaged_file",
        "--force",
        cwd=copied.root,
        PYTHONPATH=str(copied.root),
    )
    assert ran.returncode == 0, ran.stderr
    assert scores(folder, "finn_damaged_file") == dict.fromkeys(FULL)
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        assert gradebook.find_grade("LSTM-check", SLUG, SLUG, "finn_damaged_file").needs_manual_grade


QUICK = "00_numpy_and_pytorch_for_deep_learning"  # whose solution runs in a few seconds, that of 03 in a minute


def test_stock_validate_explains(copied):
    release = copied.root / "release" / QUICK / f"{QUICK}.ipynb"
    ran = nbgrader("validate", str(release), cwd=copied.root)
    exercises = Project().assignment(QUICK).exercises
    assert f"VALIDATION FAILED ON {len(exercises) + 1} CELL(S)" in ran.stdout  # and the written question
    assert "is still the stub" in ran.stdout
    assert "Traceback" not in ran.stdout
    solved = copied.root / "solutions" / QUICK / f"{QUICK}.ipynb"
    ran = nbgrader("validate", str(solved), cwd=copied.root)
    assert "Success! Your notebook passes all the tests." in ran.stdout, ran.stdout + ran.stderr
