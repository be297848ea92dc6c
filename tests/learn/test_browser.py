"""What students and teachers see in a browser: checks and Validate in JupyterLab, assignments in formgrader."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browsing import CHROMIUM, CONTRAST, SLOW, jupyter
from conftest import ROOT, s30

from autograder.engine.judge.mistakes import read_mistakes
from autograder.engine.judge.verdict import Label, Reason, Status, Verdict
from autograder.engine.judge.words.report import as_html, number
from course.base.project import Project
from course.teach.bundle import FOLDER, bundle

sync_api = pytest.importorskip("playwright.sync_api", reason='Playwright is missing: pip install -e ".[dev]"')

ENTRANCE, LSTM = "00_numpy_and_pytorch_for_deep_learning", "03_lstm_understanding"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; .ci/system-packages installs Debian's"),
]


@dataclass(frozen=True)
class Site:
    """A running JupyterLab that serves a student's copy of the course and a teacher's folder, and its token."""

    learner: Project
    url: str
    token: str

    def at(self, path: str) -> str:
        """The address of a page, with the token that opens it."""
        return f"{self.url}/{path}?token={self.token}"

    def notebook(self, path: Path) -> str:
        """The address of a notebook in a JupyterLab that has nothing else open."""
        return self.at(f"lab/tree/{path.relative_to(self.learner.root.parent).as_posix()}") + "&reset"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two folders under one server: what students receive, with work begun; and a teacher's, with a gradebook."""
    home = tmp_path_factory.mktemp("browser")
    bundle(Project(), home / "course.zip")
    with zipfile.ZipFile(home / "course.zip") as archive:
        archive.extractall(home)
    learner = Project(home / FOLDER)
    for slug in (ENTRANCE, LSTM):
        ran = s30("start", slug, root=learner.root)
        assert ran.returncode == 0, ran.stderr
    _solved(learner, ENTRANCE)
    _mistaken(learner, LSTM, "lstm_cell_backward", "cell_state_through_h_missing")

    teacher = home / "teacher"
    for slug in (ENTRANCE, LSTM):
        shutil.copytree(ROOT / "source" / slug, teacher / "source" / slug)
    shutil.copy(ROOT / "nbgrader_config.py", teacher)
    ran = s30("gradebook", ENTRANCE, LSTM, "--course-dir", str(teacher), root=ROOT)
    assert ran.returncode == 0, ran.stderr
    with jupyter(home, started_in=teacher, packages=learner.root) as (url, token):
        yield Site(learner, url, token)


def _solved(learner: Project, slug: str) -> Path:
    """Write the stub with the solution in every cell that is the student's, beside the stub. Returns the path."""
    reference = Project().assignment(slug).reference
    assert reference is not None
    answers = {cell["id"]: cell["source"] for cell in json.loads(reference.read_text(encoding="utf-8"))["cells"]}
    notebook = json.loads(learner.release(slug).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["source"] = answers[cell["id"]]
    path = learner.work(slug).with_name("solved.ipynb")
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def _mistaken(learner: Project, slug: str, exercise: str, mistake: str) -> Path:
    """Write the solved notebook with one known mistake in it, beside the stub. Returns the path."""
    [known] = [m for m in read_mistakes(Project().mistakes(slug)) if (m.exercise, m.name) == (exercise, mistake)]
    solved = _solved(learner, slug)
    notebook = json.loads(solved.read_text(encoding="utf-8"))
    cell = next(c for c in notebook["cells"] if c["id"] == exercise)
    cell["source"] = known.source("".join(cell["source"]))
    path = solved.with_name("mistaken.ipynb")
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def open_notebook(page: sync_api.Page, address: str) -> None:
    """Open a notebook and wait until its kernel is there; before that, JupyterLab ignores what is run."""
    page.goto(address, timeout=SLOW)
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=SLOW)


def cell_with(page: sync_api.Page, text: str) -> sync_api.Locator:
    """The code cell whose source contains `text`."""
    return page.locator(".jp-CodeCell", has=page.locator(".jp-InputArea-editor", has_text=text)).first


def run(cell: sync_api.Locator) -> None:
    """Run a cell as a student does, and wait until it has run."""
    cell.locator(".cm-line").first.click()
    cell.page.keyboard.press("Shift+Enter")
    sync_api.expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"), timeout=SLOW)


def validate(page: sync_api.Page) -> sync_api.Locator:
    """Press nbgrader's button. Returns what the dialog says."""
    page.get_by_role("button", name="Validate").click()
    message = page.get_by_role("dialog").locator("#validation-message")
    message.wait_for(timeout=SLOW)
    return message


def test_a_stub_opens_offline_and_its_check_says_that_it_is_not_attempted(page, site):
    elsewhere, broken = [], []
    inside = (site.url, "data:", "blob:", "attachment:")  # the last is a cell's own picture
    page.on("request", lambda r: None if r.url.startswith(inside) else elsewhere.append(r.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    open_notebook(page, site.notebook(site.learner.work(LSTM)))
    run(cell_with(page, "course.checker("))
    check = cell_with(page, 'check("lstm_cell_forward")')
    explanation = check.get_by_role("status")
    run(check)
    sync_api.expect(explanation).to_contain_text("has not been run: run it (Shift+Enter)")
    run(cell_with(page, "def lstm_cell_forward("))
    run(check)
    sync_api.expect(explanation).to_have_count(1)
    sync_api.expect(explanation).to_contain_text("lstm_cell_forward: not attempted, 0 of ")
    sync_api.expect(check.locator(".jp-OutputArea")).not_to_contain_text("<div")

    hints = page.locator("details")
    sync_api.expect(hints.first).to_be_attached()
    sync_api.expect(page.locator("details[open]")).to_have_count(0)
    hints.first.locator("summary").click()
    sync_api.expect(page.locator("details[open]")).to_have_count(1)
    sync_api.expect(page.locator("mjx-container").first).to_be_attached()
    sync_api.expect(page.locator("mjx-merror")).to_have_count(0)
    assert not elsewhere
    assert not broken


def test_a_stub_shows_its_pictures_before_anything_has_run(page, site):
    open_notebook(page, site.notebook(site.learner.work(LSTM)))
    drawing = page.locator(".jp-OutputArea img").first
    sync_api.expect(drawing).to_be_visible()
    assert drawing.evaluate("picture => picture.naturalWidth") > 300
    folded = page.locator("details", has=page.get_by_text("What you should see")).first
    folded.scroll_into_view_if_needed()
    sync_api.expect(folded.locator("img")).not_to_be_visible()
    folded.locator("summary").click()
    sync_api.expect(folded.locator("img")).to_be_visible()
    assert folded.locator("img").evaluate("picture => picture.naturalWidth") > 300
    assert "curves" in (folded.locator("img").get_attribute("alt") or "")
    code = page.locator(".jp-CodeCell", has=page.locator(".jp-OutputArea img")).first
    sync_api.expect(code.locator(".cm-content")).not_to_be_visible()  # a figure's code is folded


def test_solving_an_exercise_in_the_notebook_gives_its_points(page, site):
    open_notebook(page, site.notebook(site.learner.work(ENTRANCE)))
    run(cell_with(page, "course.checker("))
    exercise = cell_with(page, "def one_hot(")
    in_the_way = exercise.locator(".cm-line", has_text="raise NotImplementedError()")
    in_the_way.click()
    for key in ("End", "Shift+Home", "Delete"):
        page.keyboard.press(key)
    sync_api.expect(in_the_way).to_have_count(0)
    run(exercise)
    check = cell_with(page, 'check("one_hot")')
    run(check)
    explanation = check.get_by_role("status")
    points = number(site.learner.assignment(ENTRANCE).exercise("one_hot").points)
    sync_api.expect(explanation).to_contain_text(f"one_hot: passed, {points} of {points} points")
    sync_api.expect(explanation).to_contain_text("save the notebook")
    with page.expect_response(lambda answer: answer.request.method == "PUT" and "/api/contents/" in answer.url):
        page.keyboard.press("Control+S")
    run(check)
    sync_api.expect(explanation).not_to_contain_text("save the notebook")
    sync_api.expect(explanation).to_contain_text("passed")


def test_a_wrong_answer_is_explained_under_it(page, site):
    """With PICTURES=docs in the environment, the picture in the README is taken anew."""
    open_notebook(page, site.notebook(site.learner.work(LSTM).with_name("mistaken.ipynb")))
    for text in ("course.checker(", "def sigmoid(", "def lstm_cell_forward(", "def lstm_cell_backward("):
        run(cell_with(page, text))
    check = cell_with(page, 'check("lstm_cell_backward")')
    run(check)
    explanation = check.get_by_role("status")
    sync_api.expect(explanation).to_contain_text("lstm_cell_backward: wrong, 0 of 4 points")
    sync_api.expect(explanation).to_contain_text("Likely cause: only the direct gradient of c is used.")
    folder = os.environ.get("PICTURES")
    if folder:
        page.set_viewport_size({"width": 1280, "height": 1000})
        explanation.scroll_into_view_if_needed()
        box = check.bounding_box()
        assert box
        hints = 126  # pixels above the check, and no line of the code above them
        clip = {"x": box["x"], "y": box["y"] - hints, "width": box["width"], "height": box["height"] + hints}
        page.screenshot(path=ROOT / folder / "explanation.png", clip=clip)


def test_every_ending_is_readable_in_the_light_and_in_the_dark_theme(page, site):
    open_notebook(page, site.notebook(site.learner.work(ENTRANCE)))
    run(cell_with(page, "course.checker("))
    check = cell_with(page, 'check("one_hot")')
    run(check)
    check.get_by_role("status").wait_for()
    endings = [
        Verdict("00/x", "forward", s, float(s == Status.PASSED), 1.0, "`x` is so.", (Reason(Label.WHERE, "`y`"),))
        for s in Status
    ]
    check.locator(".jp-RenderedHTML").evaluate("(e, html) => { e.innerHTML = html }", "".join(map(as_html, endings)))
    unreadable = {}
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        for item in ("Settings", "Theme", theme):
            labels = page.locator(".lm-MenuBar-itemLabel, .lm-Menu-itemLabel")
            labels.filter(has_text=re.compile(f"^{item}$")).click()
        page.locator(f'body[data-jp-theme-name="{theme}"]').wait_for(state="attached")
        for status, box in zip(Status, check.get_by_role("status").all(), strict=True):
            contrast = box.evaluate(CONTRAST)
            if contrast < 4:  # a bold sign at 4 is readable; text has far more
                unreadable[theme, status] = round(contrast, 1)
    assert not unreadable


def test_validate_explains_what_is_missing(page, site):
    open_notebook(page, site.notebook(site.learner.work(LSTM)))
    message = validate(page)
    sync_api.expect(message).to_contain_text("The following cell failed:")
    sync_api.expect(message).to_contain_text("lstm_cell_forward: not attempted, 0 of ")
    sync_api.expect(message).not_to_contain_text("Traceback")
    sync_api.expect(message).not_to_contain_text("CheckFailed")


def test_validate_is_content_with_the_solution(page, site):
    open_notebook(page, site.notebook(site.learner.work(ENTRANCE).with_name("solved.ipynb")))
    sync_api.expect(validate(page)).to_have_text("Success! Your notebook passes all the tests.")


def test_formgrader_lists_the_assignments(page, site):
    errors = []
    page.on("response", lambda response: errors.append(response.url) if response.status >= 400 else None)
    page.goto(site.at("formgrader"))
    for slug in (ENTRANCE, LSTM):
        sync_api.expect(page.get_by_role("row", name=slug)).to_contain_text("draft")
    sync_api.expect(page.locator(".alert")).to_have_count(0)
    assert not errors
