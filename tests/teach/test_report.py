"""`s30 report` on a class of seven whose numbers were counted by hand, and the page as a browser shows it."""

import html
import io
import json
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from browsing import CHROMIUM
from conftest import ROOT, s30
from nbgrader.api import Gradebook
from rich.console import Console

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.mistakes import read_mistakes
from autograder.engine.judge.verdict import Status, Verdict
from course.base.nbgrader import begin_gradebook
from course.base.project import Project
from course.cli import app
from course.teach.folder import ClassFolder
from course.teach.report import show
from course.teach.report_page import page as report_page
from course.teach.statistics import Standing, clause, standing

pytestmark = pytest.mark.filterwarnings("ignore:Object of type")  # nbgrader's, of no use
SLUG = "03_lstm_understanding"
EXERCISES = Project().assignment(SLUG).exercises  # worth 1, 3, 2, 4, 3, 2, 3, 2, 2
NAMES = [e.name for e in EXERCISES]
ENDINGS = {
    "p": Status.PASSED,
    "h": Status.PARTLY,
    "m": Status.FAILED,  # by a known mistake
    "f": Status.FAILED,
    "t": Status.TIMEOUT,
    "b": Status.BLOCKED,
    "o": Status.NOT_ATTEMPTED,
}
CLASS = {"ada": "ppppppppp", "ben": "pmbbbbppp", "cy": "pmbbbbooo", "dan": "ppptbbpmo", "eve": "ffbbooooo"}
MISTAKES = {"lstm_cell_forward": "gates_i_f_o_g", "chrono_init": "without_logarithm"}
BLOCKERS = {"dan": "lstm_cell_backward"}  # the others: lstm_cell_forward; eve, although sigmoid is wrong too
TOTALS = {"ada": 22, "ben": 9, "cy": 1, "dan": 9, "eve": 0}  # ben: 8, and 1 by hand where he is blocked


def verdict(student: str, ending: str, name: str) -> Verdict:
    exercise = Project().assignment(SLUG).exercise(name)
    said = (
        f"`{name}` calls `{BLOCKERS.get(student, 'lstm_cell_forward')}`, which is not right yet."
        if ending == "b"
        else f"`{name}` {ending}."
    )
    points = {"p": exercise.points, "h": exercise.points / 2}.get(ending, 0.0)
    mistake = MISTAKES[name] if ending == "m" else None
    return Verdict(exercise.id, exercise.track, ENDINGS[ending], points, exercise.points, said, mistake=mistake)


def record(folder: Path, student: str, ours: dict) -> None:
    path = folder / "autograded" / student / SLUG / f"{SLUG}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"cells": [], "metadata": {"s30": ours}}), encoding="utf-8")


@pytest.fixture(scope="module")
def counted(tmp_path_factory) -> Path:
    """The class's folder: five graded, fay's file can't be read, gil handed in nothing. Tests change copies of it."""
    folder = tmp_path_factory.mktemp("class")
    due = datetime(2026, 3, 2, 12)
    begin_gradebook(f"sqlite:///{folder / 'gradebook.db'}")
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        gradebook.add_assignment(SLUG, duedate=due)
        gradebook.add_notebook(SLUG, SLUG)
        for exercise in EXERCISES:
            gradebook.add_grade_cell(exercise.grade_id, SLUG, SLUG, max_score=exercise.points, cell_type="code")
        gradebook.add_grade_cell("why_additive", SLUG, SLUG, max_score=2, cell_type="markdown")
        gradebook.add_student("ada", first_name="<b>Ada</b>", last_name='& "Roe"')
        for student, endings in {**CLASS, "fay": ""}.items():
            gradebook.update_or_create_student(student)
            late = timedelta(hours=5 if student == "dan" else -1)
            gradebook.add_submission(SLUG, student, timestamp=due + late)
            for exercise, ending in zip(EXERCISES, endings, strict=endings != ""):
                grade = gradebook.find_grade(exercise.grade_id, SLUG, SLUG, student)
                grade.auto_score = verdict(student, ending, exercise.name).points
            if endings and student != "ada":  # hers waits
                gradebook.find_grade("why_additive", SLUG, SLUG, student).auto_score = 0
            if endings:
                trees = [verdict(student, e, name).as_tree() for name, e in zip(NAMES, endings, strict=True)]
                record(folder, student, {"verdicts": trees})
        gradebook.find_grade("lstm_forward-check", SLUG, SLUG, "ben").manual_score = 1
        gradebook.find_submission_notebook(SLUG, SLUG, "dan").late_submission_penalty = 1.5
        gradebook.add_student("gil", first_name="Gil")
        gradebook.db.commit()
    record(folder, "fay", {"ungraded": "fay's file is not valid JSON."})
    (folder / "received").mkdir()
    (folder / "received" / f"{SLUG}.json").write_text(json.dumps({"cy": {"late": True}, "eve": {"late": False}}))
    (folder / "submitted" / "hal" / SLUG).mkdir(parents=True)  # and nobody has graded it
    return folder


@pytest.fixture
def folder(counted, tmp_path) -> Path:
    return shutil.copytree(counted, tmp_path / "class")


def stand(folder: Path) -> Standing:
    return standing(Project(), SLUG, ClassFolder.of(Project(), folder))


def ids(students) -> list[str]:
    return sorted(student.scores.id for student in students)


def item(found: Standing, name: str):
    return next(item for item in found.items if item.part.name == name)


def test_who_is_where(counted):
    found = stand(counted)
    assert ids(found.students) == ["ada", "ben", "cy", "dan", "eve", "fay", "gil", "hal"]
    assert ids(found.handed_in) == ["ada", "ben", "cy", "dan", "eve", "fay", "hal"]
    assert ids(found.graded) == ["ada", "ben", "cy", "dan", "eve"]
    assert {s.scores.id: s.reason for s in found.ungraded} == {
        "fay": "fay's file is not valid JSON.",
        "hal": "it is not graded yet",
    }
    assert [(s.scores.id, s.scores.waiting) for s in found.waiting] == [("ada", ["why_additive"])]
    assert ids(found.missing) == ["gil"]
    assert {s.scores.id: s.late for s in found.late} == {"cy": 0.0, "dan": 5 * 3600}


# Counted by hand: passes, mean share, standard deviation, and the correlation of the shares with the sum of the rest.
@pytest.mark.parametrize(
    ("name", "passed", "mean", "spread", "correlation"),
    [
        # 1 1 1 1 0 with 21 8 0 8 0: means 0.8 and 7.4; 7.4 / √(0.8 · 295.2)
        ("sigmoid", 4, 0.8, 0.2**0.5, 7.4 / (0.8 * 295.2) ** 0.5),
        # 1 0 0 1 0 with 19 9 1 6 0: means 0.4 and 7; 11 / √(1.2 · 234)
        ("lstm_cell_forward", 2, 0.4, 0.3**0.5, 11 / (1.2 * 234) ** 0.5),
        # 1 0.5 0 1 0 (0.5 by hand, of who is blocked) with 20 8 1 7 0: means 0.5 and 7.2; 13 / √(1 · 254.8)
        ("lstm_forward", 2, 0.5, 0.25**0.5, 13 / 254.8**0.5),
        # 1 0 0 0 0 with 18 9 1 9 0: means 0.2 and 7.4; 10.6 / √(0.8 · 213.2)
        ("lstm_cell_backward", 1, 0.2, 0.2**0.5, 10.6 / (0.8 * 213.2) ** 0.5),
        # 1 1 0 1 0 with 19 6 1 6 0: means 0.6 and 6.4; 11.8 / √(1.2 · 229.2)
        ("LSTM", 3, 0.6, 0.3**0.5, 11.8 / (1.2 * 229.2) ** 0.5),
        # all who have a score have 0, so that nothing can be said
        ("why_additive", 0, 0.0, 0.0, None),
    ],
)
def test_an_exercise_in_numbers(counted, name, passed, mean, spread, correlation):
    found = item(stand(counted), name)
    assert (found.passed, found.mean, found.spread) == (passed, pytest.approx(mean), pytest.approx(spread))
    assert found.correlation == (correlation and pytest.approx(correlation))
    assert (found.judged, len(found.shares)) == ((0, 4) if name == "why_additive" else (5, 5))


def test_how_exercises_ended(counted):
    found = stand(counted)
    assert [entry.part.name for entry in found.items] == [*NAMES, "why_additive"]
    table = {entry.part.name: dict(entry.statuses) for entry in found.items}
    assert table["lstm_forward"] == {Status.PASSED: 2, Status.BLOCKED: 3}
    assert table["lstm_cell_backward"] == {Status.PASSED: 1, Status.BLOCKED: 3, Status.TIMEOUT: 1}
    assert table["gru_cell"] == {Status.PASSED: 2, Status.NOT_ATTEMPTED: 3}
    assert [entry.stopped for entry in found.items] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert item(found, "sigmoid").failures == ((Status.FAILED, "`sigmoid` f.", 1),)
    assert item(found, "lstm_cell_forward").failures == ((Status.FAILED, "`lstm_cell_forward` f.", 1),)
    made = [(said, ids(those)) for entry in found.items for said, those in entry.mistakes]
    assert made == [("the gates are taken in the order i, f, o, g", ["ben", "cy"]), (made[1][0], ["dan"])]


def test_who_is_blocked_where(counted):
    behind_forward = ["lstm_forward", "lstm_cell_backward", "lstm_backward", "state_gradient_norms"]
    found = {name: {s.scores.id: held for s, held in those} for name, those in stand(counted).blockers}
    assert found == {
        "lstm_cell_forward": {"ben": behind_forward, "cy": behind_forward, "eve": behind_forward[:2]},
        "lstm_cell_backward": {"dan": ["lstm_backward", "state_gradient_norms"]},
    }


def test_totals_are_those_of_the_checks_until_all_answers_are_graded(folder):
    found = stand(folder)
    assert (found.complete, found.totals.most) == (False, 22)
    assert found.totals.values == tuple(sorted(TOTALS.values()))  # 0 1 9 9 22
    assert found.totals.quartiles == (1, 9, 9)
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        gradebook.find_grade("why_additive", SLUG, SLUG, "ada").manual_score = 2
        gradebook.db.commit()
    found = stand(folder)
    assert (found.complete, found.totals.most) == (True, 24)
    assert found.totals.values == (0, 1, 7.5, 9, 24)  # dan was late


@pytest.mark.parametrize(("left", "correlated"), [(3, True), (2, False)])
def test_a_correlation_takes_three(folder, left, correlated):
    for student in list(CLASS)[left:]:
        shutil.rmtree(folder / "autograded" / student)
    assert (item(stand(folder), "lstm_cell_forward").correlation is not None) == correlated
    console = Console(file=io.StringIO(), width=120)
    show(console, stand(folder))
    assert ("It takes 3 graded submissions." in console.file.getvalue()) != correlated


def test_what_the_class_leaves_out_is_not_counted(folder):
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        gradebook.find_grade_cell("gru_cell-check", SLUG, SLUG).max_score = 0
        for student in CLASS:
            gradebook.find_grade("gru_cell-check", SLUG, SLUG, student).auto_score = 0
        gradebook.db.commit()
    found = stand(folder)
    assert "gru_cell" not in [entry.part.name for entry in found.items]
    assert found.totals.most == 20


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ("the two halves are swapped: this is 1 - σ(x). Which?", "the two halves are swapped"),
        ("below x = -709, 1/inf is 0: σ(x) is tiny there.", "below x = -709, 1/inf is 0"),
        ("b1 is not used: both are.", "b1 is not used: both are"),
        ("dx is divided by 1.5\nonce more; why?", "dx is divided by 1.5 once more"),
        ("outputs are right, the *gradient* is NaN.", "outputs are right, the gradient is NaN"),
        ("an old name", "an old name"),
    ],
)
def test_a_hint_in_a_clause(hint, said):
    assert clause(hint) == said


def test_the_terminal_says_all_of_it(folder):
    ran = s30("report", "03", "--course-dir", str(folder), root=ROOT)
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout
    hint = next(m.hint for m in read_mistakes(Project().mistakes(SLUG)) if m.name == MISTAKES["chrono_init"])
    for line in (
        f"{SLUG}: 8 students, 7 handed in, 5 graded, 2 for a human, 1 with an answer to grade by hand, 1 missing, 2 ",
        "Points of the checks: 0 to 22, median 9, the middle half 1 to 9, of 22.",
        "40 %: the gates are taken in the order i, f, o, g (lstm_cell_forward: ben, cy)",
        f"20 %: {clause(hint)} (chrono_init: dan)",
        "20 %: `lstm_cell_backward` t. (lstm_cell_backward: out of time)",
        "lstm_cell_forward holds up 3: ben, cy, eve",
        "fay: fay's file is not valid JSON.",
        "Gil (gil)",
        "dan: by 5.0 hours, 1.5 points less",
    ):
        assert line in said
    row = next(line for line in said.splitlines() if "lstm_forward" in line and "│" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == (
        ["lstm_forward", "2", "40 % (2)", "50 %", "50 %", f"{13 / 254.8**0.5:.2f}", "5", "", "3", ""]
    )
    assert str(folder / "reports" / f"{SLUG}.html") in said.replace("\n", "")


def test_the_page_needs_nothing_and_runs_nothing(counted):
    found = stand(counted)
    text = report_page(found, datetime(2026, 3, 3, 9, 30))
    assert text == report_page(found, datetime(2026, 3, 3, 9, 30))
    assert "default-src 'none'" in text
    assert not re.search(r"<script|<link|<img|\bon\w+=|@import|https?:", text)
    assert "<b>Ada" not in text
    assert html.escape('<b>Ada</b> & "Roe" (ada)', quote=False) in text.replace("&#34;", '"')
    plain = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))
    for said in ("40 % (2) the gates are taken", "20 % (1) lstm_cell_backward t.", "median 9, middle half 1 to 9"):
        assert said in plain
    alts = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', text)
    assert len(alts) == 2
    assert "1 from 0, 1 from 1" not in alts[0]
    assert "Students by points: 2 from 0, 2 from 8, 1 from 22." in alts[0]
    assert "lstm_forward: 2 passed, 3 blocked by another, r 0.81" in alts[1]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; .ci/system-packages installs Debian's")
@pytest.mark.parametrize("width", [1280, 794])  # a screen's; of A4 at 96 dpi
def test_a_browser_shows_it_with_labels_apart(counted, tmp_path, page, width):
    path = tmp_path / "page.html"
    path.write_text(report_page(stand(counted)), encoding="utf-8")
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path.as_uri())
    assert (said, asked) == ([], [path.as_uri()])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = """svg => [...svg.querySelectorAll("text")].filter(text => text.textContent).map(text => {
        const {left, right, top, bottom} = text.getBoundingClientRect(), all = svg.getBoundingClientRect();
        return [text.textContent, left, right, top + 2, bottom - 2, left >= all.left && right <= all.right];
    })"""
    for picture in page.locator("svg").all():
        labels = picture.evaluate(boxes)
        assert len(labels) > 10
        assert all(inside for *_, inside in labels)
        for k, (one, left, right, top, bottom, _) in enumerate(labels):
            for other, left_, right_, top_, bottom_, _ in labels[k + 1 :]:
                apart = right < left_ or right_ < left or bottom < top_ or bottom_ < top
                assert apart, f"{one!r} lies on {other!r}"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("no gradebook", "has no gradebook yet: `s30 grade 03 --course-dir"),
        ("another assignment", "does not know 04_rnn_regularization: `s30 grade 04 --course-dir"),
        ("nobody graded", "nobody is graded; `s30 grade 03 --course-dir"),
        ("no verdicts", "of 6 recorded submissions none has verdicts (`--regrade` records anew)"),
        ("broken list", f"received/{SLUG}.json can't be read"),
        ("no folder", "there is no such folder"),
        ("no place", "can't be written: File exists."),
    ],
)
def test_what_can_not_be_reported_is_said_in_a_sentence(folder, broken, said):
    more = []
    if broken == "no gradebook":
        (folder / "gradebook.db").unlink()
    elif broken == "nobody graded":
        with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
            for student in (*CLASS, "fay"):
                gradebook.remove_submission(SLUG, student)
    elif broken == "no verdicts":
        shutil.rmtree(folder / "autograded")
    elif broken == "broken list":
        (folder / "received" / f"{SLUG}.json").write_text("{")
    elif broken == "no place":
        more = ["--out", str(folder / "gradebook.db" / "page.html")]
    number = "04" if broken == "another assignment" else "03"
    target = folder / "elsewhere" if broken == "no folder" else folder
    with pytest.raises(UserError, match=re.escape(said)):
        app(["report", number, "--course-dir", str(target), *more], standalone_mode=False)
    assert not (folder / "reports").exists()
    assert broken != "no gradebook" or not (folder / "gradebook.db").exists()
