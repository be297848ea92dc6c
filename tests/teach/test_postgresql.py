"""A class whose gradebook is on a PostgreSQL server: every step, and the same scores as with a file."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT, needs_sandbox, s30
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from postgresql import create, programs, server

from course.base.project import Project
from course.teach.demo import class_of
from course.teach.folder import ClassFolder

SLUG = "03_lstm_understanding"
pytestmark = [
    needs_sandbox,
    pytest.mark.slow,
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed; .ci/system-packages installs it"),
]


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> dict[str, ClassFolder]:
    """The same class twice, graded: with a file, and on a server."""
    with server() as url:
        found = {}
        for kind in ("file", "server"):
            root = tmp_path_factory.mktemp(kind)
            lines = ["c = get_config()", "c.LateSubmissionPlugin.penalty_method = 'zero'"]
            lines += [f"c.CourseDirectory.db_url = {create(url, 'class')!r}"] if kind == "server" else []
            (root / "nbgrader_config.py").write_text("\n".join(lines))
            (root / "dates.toml").write_text(f"[{SLUG}]\ndue = 2026-03-02T00:00:00Z\n")
            (root / "roster.csv").write_text("id,first_name\n" + "".join(f"{s},{s[:3]}\n" for s in (*MEMBERS, "zoe")))
            for student in MEMBERS:
                place = root / "submitted" / student / SLUG
                place.mkdir(parents=True)
                (place / f"{SLUG}.ipynb").write_text(json.dumps(class_of(Project())[student]))
            (root / "submitted" / MEMBERS[-1] / SLUG / "timestamp.txt").write_text("2026-03-03 10:00:00 UTC")
            for words in (
                ["gradebook", "03", "--roster", str(root / "roster.csv")],
                ["grade", "03"],
                ["grade", "03", "--new-seed", "--yes"],
            ):
                ran = s30(*words, "--course-dir", str(root), root=ROOT)
                assert ran.returncode == 0, ran.stdout + ran.stderr
            found[kind] = ClassFolder.of(Project(), root)
        yield found


MEMBERS = ("ada_complete", "ben_two_mistakes", "dan_half_done", "finn_damaged_file")


def scores(folder: ClassFolder) -> dict[str, tuple]:
    """Student → what the gradebook has of them: every score, the penalty, how late they were."""
    with folder.gradebook() as gradebook:
        return {
            s.student.id: (
                s.score,
                s.total_seconds_late,
                s.notebooks[0].late_submission_penalty,
                sorted((g.name, g.auto_score, g.manual_score, g.needs_manual_grade) for g in s.notebooks[0].grades),
            )
            for s in gradebook.assignment_submissions(SLUG)
        }


def nbgrader(folder: ClassFolder, *words: str) -> str:
    command = [sys.executable, "-m", "nbgrader", *words]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_scores_are_the_same_and_no_file_is_made(classes):
    assert scores(classes["server"]) == scores(classes["file"])
    assert {s: (points, penalty) for s, (points, _, penalty, _) in scores(classes["server"]).items()} == {
        "ada_complete": (22, None),
        "ben_two_mistakes": (8, None),
        "dan_half_done": (6, None),
        "finn_damaged_file": (22, 22),
    }
    assert not list(classes["server"].root.rglob("*.db"))
    with classes["server"].gradebook() as gradebook:
        assert {s.id for s in gradebook.students} == {*MEMBERS, "zoe"}


def test_nbgraders_own_commands_find_it(classes):
    exported = {}
    for kind, folder in classes.items():
        nbgrader(folder, "generate_feedback", SLUG, "--course-dir", str(folder.root))
        pages = {p.parts[-3] for p in folder.root.glob(f"feedback/*/{SLUG}/*.html")}
        assert pages == set(MEMBERS)
        to = folder.root / "grades.csv"
        nbgrader(folder, "export", "--db", folder.db_url, "--to", str(to))
        exported[kind] = sorted(to.read_text().splitlines())
    assert exported["server"] == exported["file"]


def test_formgraders_button_grades_and_points_by_hand_stay(classes):
    folder = classes["server"]
    api = NbGraderAPI(CourseDirectory(config=folder.config), config=folder.config)
    said = api.autograde(SLUG, "ben_two_mistakes")
    assert said["success"], said
    listed = {s["student"]: s["score"] for s in api.get_submissions(SLUG)}
    assert listed["ben_two_mistakes"] == 8
    with folder.gradebook() as gradebook:
        grade = gradebook.find_grade("why_additive", SLUG, SLUG, "ben_two_mistakes")
        grade.manual_score, grade.needs_manual_grade = 1.5, False
        gradebook.db.commit()
    ran = s30("grade", "03", "--course-dir", str(folder.root), "--new-seed", "--yes", root=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert scores(folder)["ben_two_mistakes"][0] == 9.5


def test_a_server_that_is_gone_is_one_sentence(tmp_path):
    url = "postgresql://teacher:secret@127.0.0.1:1/class"
    (tmp_path / "nbgrader_config.py").write_text(f"c = get_config()\nc.CourseDirectory.db_url = {url!r}\n")
    ran = s30("grade", "03", "--course-dir", str(tmp_path), root=ROOT)
    assert (ran.returncode, len(ran.stderr.strip().splitlines())) == (1, 1)
    assert "can't be used" in ran.stderr
    assert "secret" not in ran.stderr


def test_the_url_that_is_used_is_that_of_the_class(classes):
    with Gradebook(classes["server"].db_url) as gradebook:
        assert gradebook.db.get_bind().dialect.name == "postgresql"
