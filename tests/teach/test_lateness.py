"""Due dates, extensions, moments of submission and penalties, as the class says them and as nbgrader keeps them."""

from datetime import datetime, timedelta

import pytest
from nbgrader.api import Gradebook

from autograder.engine.inside.errors import UserError
from course.base.project import Project
from course.teach.folder import ClassFolder
from course.teach.gradebook import register
from course.teach.lateness import DATES, class_dates, settle_lateness, submission_moment

SLUG = "03_lstm_understanding"
DUE = f"[{SLUG}]\ndue = 2026-03-02T23:59:00+01:00\n"
EXTENDED = f"\n[{SLUG}.extended]\n"


@pytest.fixture(scope="module")
def registered(tmp_path_factory) -> bytes:
    """A gradebook with the assignment in it."""
    root = tmp_path_factory.mktemp("registered")
    register(Project(), SLUG, ClassFolder.of(Project(), root))
    return (root / "gradebook.db").read_bytes()


@pytest.fixture
def folder(tmp_path, registered) -> ClassFolder:
    """A class of three who have 10 points each, by hand, and who handed in on 3 March, at 10:00 UTC."""
    (tmp_path / "gradebook.db").write_bytes(registered)
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\nc.LateSubmissionPlugin.penalty_method = 'zero'\n")
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        for student in ("ann", "ben", "cyd"):
            gradebook.add_student(student)
            submission = gradebook.add_submission(SLUG, student)
            submission.notebooks[0].grades[0].manual_score = 10.0
            hand_in(tmp_path, student, "2026-03-03 10:00:00 UTC")
        gradebook.db.commit()
    return ClassFolder.of(Project(), tmp_path)


def hand_in(root, student: str, moment: str) -> None:
    place = root / "submitted" / student / SLUG
    place.mkdir(parents=True, exist_ok=True)
    (place / "timestamp.txt").write_text(moment)


def kept(folder: ClassFolder) -> dict[str, tuple[float, float]]:
    """Student → how many hours late, and the penalty, as the gradebook has them."""
    with folder.gradebook() as gradebook:
        return {
            s.student.id: (s.total_seconds_late / 3600, s.notebooks[0].late_submission_penalty or 0.0)
            for s in gradebook.assignment_submissions(SLUG)
        }


def test_a_penalty_comes_and_goes_with_the_due_date(folder):
    dates = folder.root / DATES
    assert settle_lateness(SLUG, folder) == ([], [])
    dates.write_text(DUE)
    changes, _ = settle_lateness(SLUG, folder)
    assert {(c.student, c.before, c.now) for c in changes} == {(s, 0, 10) for s in ("ann", "ben", "cyd")}
    assert kept(folder)["ann"] == (pytest.approx(11 + 1 / 60), 10.0)
    dates.write_text(DUE + EXTENDED + "ben = 2026-03-03T11:00:00+01:00\n")
    assert [(c.student, c.now) for c in settle_lateness(SLUG, folder)[0]] == [("ben", 0.0)]
    dates.write_text(DUE.replace("03-02", "03-04"))
    changes, _ = settle_lateness(SLUG, folder)
    assert {(c.student, c.now) for c in changes} == {("ann", 0.0), ("cyd", 0.0)}
    assert settle_lateness(SLUG, folder) == ([], [])


def test_without_a_file_the_gradebooks_own_dates_stay(folder):
    with folder.gradebook() as gradebook:
        gradebook.update_or_create_assignment(SLUG, duedate="2026-03-03 09:00:00 UTC")
        gradebook.grant_extension(SLUG, "ann", hours=2)
    settle_lateness(SLUG, folder)
    assert kept(folder) == {"ann": (0.0, 0.0), "ben": (1.0, 10.0), "cyd": (1.0, 10.0)}


def test_a_moment_that_is_none_is_said_and_counts_as_in_time(folder):
    (folder.root / DATES).write_text(DUE + EXTENDED + "zoe = 2026-03-09T23:59:00+01:00\n")
    hand_in(folder.root, "ann", "last Tuesday")
    hand_in(folder.root, "ben", "")
    _, notes = settle_lateness(SLUG, folder)
    assert ["timestamp.txt of ann says no moment" in notes[0], "zoe" in notes[1], len(notes)] == [True, True, 2]
    assert {student: late for student, (late, _) in kept(folder).items() if late} == {"cyd": pytest.approx(11 + 1 / 60)}
    assert submission_moment(folder, "nobody", SLUG) == (None, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[{SLUG}]\ndue = 2026-03-02\n", "has no offset from UTC"),
        (f"[{SLUG}]\ndue = 2026-03-02T23:59:00\n", "has no offset from UTC"),
        (f'[{SLUG}]\ndue = "Monday"\n', "is no moment"),
        (f"[{SLUG}]\nextended = 3\n", "has `due = "),
        (f"[{SLUG}]\ndeadline = 2026-03-02T23:59:00Z\n", "what is 'deadline'?"),
        (f"{SLUG[3:]} = [", "can't be read as TOML"),
        (f"{DUE}{EXTENDED}ann = 7\n", "ann = 7 is no moment"),
    ],
)
def test_what_is_no_date_is_one_sentence_with_the_files_name(text, said, tmp_path):
    (tmp_path / DATES).write_text(text)
    with pytest.raises(UserError, match=r"dates\.toml") as told:
        class_dates(SLUG, tmp_path)
    assert said in str(told.value)


def test_a_file_says_moments_in_any_zone(tmp_path):
    assert class_dates(SLUG, tmp_path) is None
    (tmp_path / DATES).write_text(DUE + EXTENDED + "ann = 2026-03-02T18:59:00-05:00\n")
    dates = class_dates(SLUG, tmp_path)
    assert dates.due == datetime(2026, 3, 2, 22, 59)
    assert dates.extended["ann"] - dates.due == timedelta(hours=1)
    assert class_dates("00_numpy_and_pytorch_for_deep_learning", tmp_path) is None
