"""A teacher grades a class with formgrader's buttons: sandbox, scores, explanations, points by hand, feedback pages."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import CHROMIUM, CONTRAST, SLOW, jupyter
from conftest import ROOT, needs_sandbox, s30
from hostile import CLICKED, RUN, with_forms

from autograder.engine.assignment import with_needs
from autograder.engine.border.sandbox import UNSANDBOXED
from autograder.engine.judge.mistakes import read_mistakes
from autograder.engine.judge.words.report import number
from course.base.project import RUBRIC, Project
from course.teach.demo import SLUG, class_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

sync_api = pytest.importorskip("playwright.sync_api", reason='Playwright is missing: pip install -e ".[dev]"')

FULL, WRONG, UNREADABLE, CURIOUS = "ada_full", "ben_one_mistake", "gil_unreadable", "sue_curious"
HOSTILE, BLANK, AGREEING = "moe_hostile", "eve_blank", "pat_agrees"
STUDENTS = (FULL, WRONG, UNREADABLE, CURIOUS, HOSTILE, BLANK, AGREEING)
QUESTION, ANSWER = "why_additive", "When the forget gates stay near 1, as the figure shows."
MISTAKE = next(
    m
    for m in read_mistakes(Project().mistakes(SLUG))
    if (m.exercise, m.name) == ("lstm_cell_backward", "cell_state_through_h_missing")
)
# Twice the forward pass, and the gradient of that
AGREEMENT = {
    "lstm_cell_forward": {"o * np.tanh(c)": "2 * o * np.tanh(c)"},
    "lstm_cell_backward": {
        "dh * o * (1 - tanh_c**2)": "2 * dh * o * (1 - tanh_c**2)",
        "dh * tanh_c * o": "2 * dh * tanh_c * o",
    },
}
CURIOSITY = """def sigmoid(x):
    found = []
    for path in {paths!r}:
        try:
            open(path, "rb").close()
            found.append(path)
        except OSError:
            pass
    raise RuntimeError("found " + (" ".join(found) or "nothing"))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; .ci/system-packages installs Debian's"),
    needs_sandbox,
]


@dataclass(frozen=True)
class Classroom:
    """A running formgrader over a teacher's folder.

    Attributes:
        folder: with submitted/ and the gradebook.
        url: where JupyterLab answers.
        token: what opens it.
        submissions: student → the text of the file that they handed in.
        said: student → what formgrader said when their submission was autograded.
    """

    folder: Path
    url: str
    token: str
    submissions: dict[str, str]
    said: dict[str, str]

    def secrets(self) -> list[str]:
        """Files that no submission may see."""
        handed_in = Path("submitted") / FULL / SLUG / f"{SLUG}.ipynb"
        kept = f"secret_expected/{SLUG}-0.npz"
        return [str(self.folder / name) for name in ("gradebook.db", "secret_seeds.json", kept, handed_in)]

    def open(self, page: Page, path: str) -> None:
        """Log in and open a page of formgrader."""
        page.goto(f"{self.url}/login?token={self.token}&next=/formgrader/{path}", timeout=SLOW)

    def submissions_page(self, page: Page) -> None:
        """Open Manage Submissions and wait until it has its rows."""
        self.open(page, f"manage_submissions/{SLUG}")
        row_of(page, STUDENTS[-1]).wait_for()

    def submission_page(self, page: Page, student: str) -> None:
        """Go from Manual Grading to a student's notebook, as a teacher does, and wait until its scores are there."""
        self.open(page, "gradebook")
        for opened in (SLUG, f"{SLUG}/{SLUG}"):  # the assignment, then its only notebook
            page.locator("td.name").get_by_role("link", name=SLUG).click()
            page.wait_for_url(f"**/gradebook/{opened}")
        page.get_by_role("link", name="Submission #1").wait_for()
        page.get_by_role("button", name="Show All Names").click()
        page.get_by_role("link", name=student).click()
        page.wait_for_function("() => window.formgrader?.grades?.loaded && formgrader.comments?.loaded")

    def feedback(self, page: Page, student: str) -> Locator:
        """Press a student's Generate Feedback button and open the page that it writes. Returns its body."""
        self.submissions_page(page)
        assert "Successfully generated feedback" in press(page, student, "generate-feedback")
        page.goto((self.folder / "feedback" / student / SLUG / f"{SLUG}.html").as_uri())
        return page.locator("body")


@pytest.fixture(scope="module")
def classroom(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Classroom]:
    """A class of seven whose submissions were autograded with formgrader's button, in a configuration as it is."""
    home = tmp_path_factory.mktemp("formgrader")
    teacher = home / "teacher"
    shutil.copytree(ROOT / "source" / SLUG, teacher / "source" / SLUG)
    shutil.copy(ROOT / "nbgrader_config.py", teacher)
    ran = s30("gradebook", SLUG, "--course-dir", str(teacher), root=ROOT)
    assert ran.returncode == 0, ran.stderr
    with jupyter(home, started_in=teacher, packages=ROOT) as (url, token):
        room = Classroom(teacher, url, token, {}, {})
        room.submissions.update(_handed_in(room.secrets()))
        for student, text in room.submissions.items():
            path = teacher / "submitted" / student / SLUG / f"{SLUG}.ipynb"
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
        page = browser.new_page()
        room.submissions_page(page)
        room.said.update({student: press(page, student, "autograde") for student in STUDENTS})
        page.close()
        yield room


def _handed_in(secrets: list[str]) -> dict[str, str]:
    """Student → the text of the file that they hand in."""
    full = json.dumps(_with(class_of(Project())["ada_complete"], QUESTION, ANSWER))
    cell = next(c for c in json.loads(full)["cells"] if c["id"] == MISTAKE.exercise)
    source = MISTAKE.source("".join(cell["source"]))
    return {
        FULL: full,
        WRONG: json.dumps(_with(json.loads(full), MISTAKE.exercise, source)),
        UNREADABLE: full[:2000],
        CURIOUS: json.dumps(_with(json.loads(full), "sigmoid", CURIOSITY.format(paths=secrets))),
        HOSTILE: json.dumps(with_forms(json.loads(full), QUESTION)),
        BLANK: Project().release(SLUG).read_text(encoding="utf-8"),
        AGREEING: json.dumps(_changed(json.loads(full), AGREEMENT)),
    }


def _changed(notebook: dict, changes: dict[str, dict[str, str]]) -> dict:
    """The notebook with texts replaced in some cells; every one must be there."""
    for name, texts in changes.items():
        source = "".join(next(c for c in notebook["cells"] if c["id"] == name)["source"])
        for old, new in texts.items():
            assert old in source
            source = source.replace(old, new)
        notebook = _with(notebook, name, source)
    return notebook


def _with(notebook: dict, cell_id: str, source: str) -> dict:
    """The notebook with another text in one cell."""
    cells = [{**c, "source": source} if c["id"] == cell_id else c for c in notebook["cells"]]
    return {**notebook, "cells": cells}


@pytest.fixture(autouse=True)
def _offline(page: Page, classroom: Classroom) -> None:
    """Formgrader asks for MathJax from outside; that must not decide how long a test takes."""
    page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())


def row_of(page: Page, student: str) -> Locator:
    """A student's row in one of formgrader's tables."""
    return page.get_by_role("row").filter(has_text=student)


def press(page: Page, student: str, button: str) -> str:
    """Press a button in a student's row, and close the dialog that comes. Returns what it said."""
    row_of(page, student).locator(f".{button} a").click()
    dialog = page.locator(".modal.in .modal-content")
    dialog.wait_for(timeout=SLOW)
    said = dialog.inner_text()
    dialog.get_by_text("OK", exact=True).click()
    dialog.wait_for(state="hidden")
    return said


def points_without(*wrong: str) -> float:
    """The automatic points of who solved all but some exercises; those that need them are lost with them."""
    exercises = Project().assignment(SLUG).exercises
    return sum(e.points for e in exercises if not with_needs(exercises, {e.name}) & set(wrong))


def explanation(page: Page, exercise: str) -> Locator:
    """The explanation below a check, in formgrader or on a feedback page."""
    cell = page.locator(".cell", has=page.locator("pre", has_text=f'check("{exercise}")'))
    return cell.get_by_role("status")


def is_readable(box: Locator) -> bool:
    """Whether all in an explanation has contrast enough with what lies behind, and nothing of it is cut off."""
    fits = box.evaluate("e => e.scrollWidth <= e.clientWidth && e.getBoundingClientRect().right <= innerWidth")
    return fits and box.evaluate(CONTRAST) >= 4


def answers_not_in(*texts: str) -> list[str]:
    """Lines of the worked solution's exercises that are in none of some notebooks."""
    cells = json.loads(Project().solution(SLUG).read_text(encoding="utf-8"))["cells"]
    exercises = {e.name for e in Project().assignment(SLUG).exercises} | {QUESTION}
    lines = {line.strip() for c in cells if c["id"] in exercises for line in "".join(c["source"]).splitlines()}
    known = "\n".join("".join(c["source"]) for text in texts for c in json.loads(text)["cells"])
    return [line for line in lines if len(line) > 12 and line not in known]


def test_the_autograde_button_grades(page, classroom):
    classroom.submissions_page(page)
    most = points_without() + 2
    for student, points in (
        (FULL, points_without()),
        (WRONG, points_without(MISTAKE.exercise)),
        (CURIOUS, points_without("sigmoid")),
    ):
        assert "Successfully autograded" in classroom.said[student]
        sync_api.expect(row_of(page, student)).to_contain_text(f"{number(points)} / {number(most)}")
        sync_api.expect(row_of(page, student)).to_contain_text("needs manual grading")  # the written question


def test_the_autograde_button_uses_the_sandbox(page, classroom):
    assert "allow_unsandboxed" not in (classroom.folder / "nbgrader_config.py").read_text(encoding="utf-8")
    recorded = list((classroom.folder / "autograded").rglob("*.ipynb"))
    assert len(recorded) == len(STUDENTS)
    assert not [path for path in recorded if UNSANDBOXED in path.read_text(encoding="utf-8")]

    namespace: dict = {}
    exec(CURIOSITY.format(paths=classroom.secrets()), namespace)
    with pytest.raises(RuntimeError, match=r"gradebook.db .*secret_seeds.json .*\.npz .*\.ipynb"):  # without a sandbox
        namespace["sigmoid"](0)
    classroom.submission_page(page, CURIOUS)
    sync_api.expect(explanation(page, "sigmoid")).to_contain_text("found nothing")


def test_explanations_are_readable_in_manual_grading(page, classroom):
    classroom.submission_page(page, WRONG)
    box = explanation(page, MISTAKE.exercise)
    sync_api.expect(box).to_contain_text(f"{MISTAKE.exercise}: wrong, 0 of 4 points")
    sync_api.expect(box).to_contain_text("Likely cause: only the direct gradient of c is used.")
    sync_api.expect(box).to_contain_text(re.compile(r"Called: lstm_cell_backward\(dh: \(\d+, \d+\) float64, "))
    boxes = page.get_by_role("status").all()
    assert len(boxes) == len(Project().assignment(SLUG).exercises)
    assert [box.inner_text() for box in boxes if not is_readable(box)] == []


def test_a_written_answer_gets_points_and_a_comment_by_typing(page, classroom):
    classroom.submission_page(page, FULL)
    below = page.locator(".cell", has_text=ANSWER).locator("xpath=following-sibling::div[1]")
    sync_api.expect(below).to_contain_text(RUBRIC.strip("*"))
    for field, text, asked in (("", "1.5", "grade"), ("-comment", "Which figure, and where in it?", "comment")):
        with page.expect_response(re.compile(f"/formgrader/api/{asked}/")) as answer:
            page.locator(f"#{QUESTION}{field}").press_sequentially(text)
            page.locator(f"#{QUESTION}{field}").press("Tab")
        assert answer.value.ok
    classroom.submissions_page(page)
    total = f"{number(points_without() + 1.5)} / {number(points_without() + 2)}"
    sync_api.expect(row_of(page, FULL).locator(".score")).to_have_text(total)
    sync_api.expect(row_of(page, FULL).locator(".status")).to_have_text("graded")
    assert "Successfully autograded" in press(page, FULL, "autograde")  # what a human gave stays
    sync_api.expect(row_of(page, FULL).locator(".score")).to_have_text(total)
    feedback = classroom.feedback(page, FULL)
    sync_api.expect(feedback).to_contain_text(f"(Score: {points_without() + 1.5} / {points_without() + 2})")
    sync_api.expect(feedback).to_contain_text("Score: 1.5 / 2.0, by hand")
    sync_api.expect(feedback).to_contain_text("Which figure, and where in it?")
    sync_api.expect(feedback).not_to_contain_text(RUBRIC.strip("*"))


def test_what_earns_the_points_is_in_sight_where_they_are_typed(page, classroom):
    classroom.submission_page(page, HOSTILE)  # whose answer is longer than the window
    rubric = page.locator(".cell", has_text=RUBRIC.strip("*")).last
    for field in ("", "-comment"):
        page.locator(f"#{QUESTION}{field}").focus()
        page.wait_for_timeout(800)  # formgrader moves the page slowly
        sync_api.expect(rubric).to_be_in_viewport(ratio=0.9)
        sync_api.expect(page.locator(f"#{QUESTION}")).to_be_in_viewport()
    page.locator("#LSTM-check").focus()
    page.wait_for_timeout(800)
    sync_api.expect(rubric).not_to_be_in_viewport()


def test_what_is_blocked_says_beside_its_points_whether_it_agrees_with_the_forward_pass(page, classroom):
    agrees = "it agrees with finite differences of your own lstm_cell_forward"
    classroom.submission_page(page, AGREEING)
    box = explanation(page, "lstm_cell_backward")
    sync_api.expect(box).to_contain_text("lstm_cell_backward: blocked, 0 of 4 points")
    sync_api.expect(box).to_contain_text(agrees)
    page.locator("#lstm_cell_backward-check").focus()
    page.wait_for_timeout(800)
    sync_api.expect(box).to_be_in_viewport()
    assert is_readable(box)
    page.locator("#lstm_cell_backward-check").press_sequentially("3")
    with page.expect_response(re.compile("/formgrader/api/grade/")) as answer:
        page.locator("#lstm_cell_backward-check").press("Tab")
    assert answer.value.ok
    feedback = classroom.feedback(page, AGREEING)
    sync_api.expect(feedback).to_contain_text("Score: 3.0 / 4.0, by hand")


def test_nothing_that_was_handed_in_runs_in_the_graders_browser(page, classroom):
    classroom.submission_page(page, HOSTILE)
    answer = page.locator(".cell", has_text="It is this: $a<b$.")
    sync_api.expect(answer).to_contain_text("is not shown here")
    for found in answer.locator(CLICKED).all():
        if found.is_visible():
            found.click(force=True)
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.ran || []") == []
    sync_api.expect(explanation(page, "sigmoid")).to_be_visible()  # it is graded as any other
    feedback = classroom.feedback(page, HOSTILE)
    sync_api.expect(feedback).to_contain_text("It is this: a<b.")
    assert page.evaluate("() => window.ran || []") == []
    add = "() => document.body.insertAdjacentHTML('beforeend', `<img src=x onerror=\"{run}\">`)"
    page.evaluate(add.format(run=RUN.format(name="in spite of all")))
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.ran || []") == []


def test_what_nobody_can_read_waits_for_a_human_and_says_why(page, classroom):
    assert f"{UNREADABLE} needs a human" in classroom.said[UNREADABLE]
    classroom.submissions_page(page)
    sync_api.expect(row_of(page, UNREADABLE).locator(".status")).to_have_text("needs manual grading")
    classroom.open(page, f"gradebook/{SLUG}/{SLUG}")
    for student, flags, failed in ((UNREADABLE, 1, 0), (BLANK, 0, 1), (FULL, 0, 0)):
        sync_api.expect(row_of(page, student).locator(".flagged span")).to_have_count(flags)
        sync_api.expect(row_of(page, student).locator(".tests-failed span")).to_have_count(failed)
    classroom.submission_page(page, UNREADABLE)
    _says_why_it_has_no_score(page, classroom)
    why = re.compile(rf"The file could not be read: {SLUG}.ipynb is not a notebook")
    sync_api.expect(page.locator(f"#{QUESTION}-comment")).to_have_attribute("placeholder", why)
    sync_api.expect(page.locator("input.score.needs_manual_grade")).to_have_count(len(_checks()) + 1)
    assert not [c for c in page.locator("textarea").all() if c.get_attribute("placeholder") == "No response."]

    feedback = classroom.feedback(page, UNREADABLE)
    _says_why_it_has_no_score(page, classroom)
    sync_api.expect(feedback).not_to_contain_text("No response.")
    shown = feedback.text_content()
    assert not [line for line in answers_not_in(Project().release(SLUG).read_text(encoding="utf-8")) if line in shown]

    path = classroom.folder / "submitted" / UNREADABLE / SLUG / f"{SLUG}.ipynb"
    path.write_text(classroom.submissions[FULL], encoding="utf-8")
    classroom.submissions_page(page)
    assert "Successfully autograded" in press(page, UNREADABLE, "autograde")
    classroom.open(page, f"gradebook/{SLUG}/{SLUG}")
    row = row_of(page, UNREADABLE)
    sync_api.expect(row).to_contain_text(f"{number(points_without())} / {number(points_without() + 2)}")
    sync_api.expect(row.locator(".flagged span")).to_have_count(0)


def _checks() -> list[str]:
    return [e.name for e in Project().assignment(SLUG).exercises]


def _says_why_it_has_no_score(page: Page, classroom: Classroom) -> None:
    """At the top and below each check, whole, and without the grader's folders."""
    sync_api.expect(page.locator("body")).to_contain_text("This is not what was handed in")
    for exercise in _checks():
        box = explanation(page, exercise)
        sync_api.expect(box).to_contain_text(f"needs a human: {SLUG}.ipynb is not a notebook: it is not valid JSON")
        assert is_readable(box)
    assert str(classroom.folder) not in page.locator("#notebook-container").first.text_content()


def test_the_feedback_page_explains_and_gives_no_answer(page, classroom):
    feedback = classroom.feedback(page, WRONG)
    box = explanation(page, MISTAKE.exercise)
    sync_api.expect(box).to_contain_text("Likely cause: only the direct gradient of c is used.")
    boxes = page.get_by_role("status").all()
    assert len(boxes) == len(_checks())
    assert [box.inner_text() for box in boxes if not is_readable(box)] == []
    shown = feedback.text_content()
    answers = answers_not_in(classroom.submissions[WRONG])
    assert answers
    assert not [line for line in answers if line in shown]
    assert str(json.loads((classroom.folder / "secret_seeds.json").read_text())[SLUG]) not in page.content()


def test_hints_on_the_feedback_page_can_be_seen_to_open(page, classroom):
    classroom.feedback(page, WRONG)
    hint = page.locator("details").first
    assert hint.locator("summary").evaluate("e => getComputedStyle(e).display") == "list-item"  # it has a triangle
    hint.locator("summary").click()
    sync_api.expect(hint).to_have_attribute("open", "")
