"""Feedback pages show the grade that counts, need no network, and go back to the LMS in names that it knows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import CHROMIUM
from conftest import ROOT
from nbgrader.api import Gradebook
from typer.testing import CliRunner

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.verdict import Status, Verdict
from course.base.commands import new_console
from course.base.project import Project
from course.cli import app
from course.teach import feedback, pages
from course.teach.folder import ClassFolder
from course.teach.gradebook import register
from course.teach.nbgrader_steps import _verdict_outputs

if TYPE_CHECKING:
    from playwright.sync_api import Page

SLUG, QUESTION, CHECK = "03_lstm_understanding", "why_additive", "sigmoid-check"
ANN, BOB, CY = STUDENTS = ("ann", "bob <b>", "cy")
MATHS = r"Since $\frac{a}{b} < 1$, but not $\nosuchthing{1}$."


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Path:
    """The folder of a class of three, recorded as if they had been graded: two with a point. Their pages are made."""
    folder = ClassFolder.of(Project(ROOT), tmp_path_factory.mktemp("class"))
    register(Project(ROOT), SLUG, folder)
    for number, student in enumerate(STUDENTS):
        notebook = json.loads(Project(ROOT).release(SLUG).read_bytes())
        points = float(number < 2)
        with Gradebook(folder.db_url, folder.course_id) as gradebook:
            gradebook.add_student(student)
            gradebook.add_submission(SLUG, student)
            mine = gradebook.find_submission_notebook(SLUG, SLUG, student)
            for grade in mine.grades:
                written = grade.name == QUESTION
                grade.auto_score = None if written else points * (grade.name == CHECK)
                grade.needs_manual_grade = written
            gradebook.db.commit()
        status = Status.PASSED if points else Status.NOT_ATTEMPTED
        verdict = Verdict("03/sigmoid", "forward", status, points, 1.0, "`sigmoid` is right.")
        for cell in notebook["cells"]:
            if cell["id"] == CHECK:
                cell["outputs"] = _verdict_outputs(verdict, "")
            if cell["id"] == QUESTION:
                cell["source"] = MATHS
        write(recorded(folder.root, student), notebook)
    assert run(folder.root)[0] == 0
    return folder.root


@pytest.fixture
def folder(graded, tmp_path) -> Path:
    return shutil.copytree(graded, tmp_path / "class")


def recorded(folder: Path, student: str) -> Path:
    return folder / "autograded" / student / SLUG / f"{SLUG}.ipynb"


def page_of(folder: Path, student: str) -> Path:
    return folder / "feedback" / student / SLUG / f"{SLUG}.html"


def write(path: Path, notebook: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def run(folder: Path, *options: str) -> tuple[int, str]:
    """Run the command. Returns its exit status and what it printed."""
    ran = CliRunner().invoke(app, ["feedback", "03", "--course-dir", str(folder), "--jobs", "1", *options])
    assert not ran.exception or isinstance(ran.exception, SystemExit | UserError), ran.exception
    return ran.exit_code, ran.output


def change(folder: Path, student: str, what: str) -> None:
    """Change something that a student's page shows."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        mine = gradebook.find_submission_notebook(SLUG, SLUG, student)
        grade = next(g for g in mine.grades if g.name == QUESTION)
        if what == "points by hand":
            grade.manual_score, grade.needs_manual_grade = 1.5, False
        elif what == "a regrade":
            next(g for g in mine.grades if g.name == "LSTM-check").auto_score = 3.0
        elif what == "a comment":
            next(c for c in mine.comments if c.name == QUESTION).manual_comment = "Which $f$?"
        elif what == "a penalty":
            mine.late_submission_penalty = 0.5
        gradebook.db.commit()
    if what == "another file":
        notebook = json.loads(recorded(folder, student).read_bytes())
        notebook["cells"][-1]["source"] = "That was it."
        write(recorded(folder, student), notebook)


CHANGES = {
    "points by hand": ["(Score: 2.5 / 24.0)", "Score: 1.5 / 2.0, by hand"],
    "a regrade": ["(Score: 4.0 / 24.0; not graded yet: 1 of its parts)", "Score: 3.0 / 3.0"],
    "a comment": ["Comment on <code>why_additive</code>", '<b>Comments:</b> <p>Which <math display="inline"'],
    "a penalty": ["(Score: 0.5 / 24.0", "Late submission penalty (Score: -0.5)"],
    "another file": ["That was it."],
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_page_is_made_anew_when_something_that_it_shows_has_changed(folder, what):
    before = {student: page_of(folder, student).stat().st_mtime_ns for student in STUDENTS}
    assert "3 feedback pages" in run(folder)[1]
    assert before == {student: page_of(folder, student).stat().st_mtime_ns for student in STUDENTS}
    change(folder, ANN, what)
    assert "1 of them made now" in run(folder)[1]
    changed = [student for student in STUDENTS if page_of(folder, student).stat().st_mtime_ns != before[student]]
    assert changed == [ANN]
    page = page_of(folder, ANN).read_text(encoding="utf-8")
    assert [text for text in CHANGES[what] if text not in page] == []


def test_a_page_is_made_anew_by_another_template(folder, monkeypatch):
    monkeypatch.setattr(pages, "_maker", lambda: "another")
    assert "3 of them made now" in run(folder)[1]


@pytest.mark.slow
def test_nbgraders_own_command_makes_pages_anew_too(folder):
    command = [sys.executable, "-m", "nbgrader", "generate_feedback", SLUG, "--course-dir", str(folder)]
    for expected in ("(Score: 1.0 / 24.0", "(Score: 2.5 / 24.0"):
        ran = subprocess.run([*command, "--student", ANN], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert expected in page_of(folder, ANN).read_text(encoding="utf-8")
        change(folder, ANN, "points by hand")


def test_a_page_that_cannot_be_made_costs_neither_the_others_nor_the_old_one(folder):
    before = page_of(folder, BOB).read_bytes()
    recorded(folder, BOB).write_text("{", encoding="utf-8")
    for student in (ANN, CY):
        change(folder, student, "a comment")
    (folder / "submitted" / "dee" / SLUG).mkdir(parents=True)
    status, said = run(folder, "--out", str(folder / "out.zip"))
    assert status == 1
    assert "2 feedback pages" in said
    assert "2 of them made now" in said
    assert re.search(rf"No page of {BOB}: NotJSONError: ", said)
    assert "No page of dee: nothing of theirs is recorded: `s30 grade 03` says why." in said
    assert page_of(folder, BOB).read_bytes() == before
    with zipfile.ZipFile(folder / "out.zip") as made:
        assert sorted(made.namelist()) == [f"{student}/{SLUG}.html" for student in (ANN, CY)]


def test_an_interruption_leaves_the_old_page(folder, monkeypatch):
    before = page_of(folder, ANN).read_bytes()
    change(folder, ANN, "a comment")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(feedback, "write_whole", stop)
    with pytest.raises(KeyboardInterrupt):
        feedback.PageMaker(ClassFolder.of(Project(ROOT), folder), SLUG).make(ANN)
    assert page_of(folder, ANN).read_bytes() == before


def test_a_page_that_takes_too_long_is_named(folder, monkeypatch):
    monkeypatch.setattr(feedback, "SECONDS", 0.01)
    status, said = run(folder)
    assert status == 1
    assert f"No page of {ANN}: TimeoutError: it takes longer than 0.01 seconds" in said


@pytest.mark.slow
def test_on_several_cores_the_pages_are_the_same(folder, monkeypatch):
    alone = {student: page_of(folder, student).read_bytes() for student in STUDENTS}
    shutil.rmtree(folder / "feedback")
    monkeypatch.setattr(feedback, "WORTH_A_PROCESS", 1)
    found = feedback.make_pages(ClassFolder.of(Project(ROOT), folder), SLUG, STUDENTS, 2)
    assert [(page.student, page.new, page.problem) for page in found] == [(s, True, "") for s in STUDENTS]
    assert {student: page_of(folder, student).read_bytes() for student in STUDENTS} == alone


@pytest.mark.parametrize("recorded_yet", [False, True])
def test_without_pages_to_make_it_says_what_comes_first(tmp_path, recorded_yet):
    course = ClassFolder.of(Project(ROOT), tmp_path)
    if recorded_yet:
        register(Project(ROOT), SLUG, course)
    with pytest.raises(UserError, match=rf"Nothing of {SLUG} is recorded in .* yet: `s30 grade 03` comes first"):
        feedback.run(new_console(), SLUG, course, None, 1)


def test_exercises_have_their_names_and_what_is_not_graded_is_no_zero(folder):
    page = page_of(folder, BOB).read_text(encoding="utf-8")
    assert "<title>03 lstm_understanding – bob &lt;b&gt;</title>" in page
    assert '<a href="#sigmoid-check"><code>sigmoid</code></a> (Score: 1.0 / 1.0)' in page
    assert '<a href="#why_additive"><code>why_additive</code></a> (not graded yet, of 2.0)' in page
    assert "(Score: 1.0 / 24.0; not graded yet: 1 of its parts)" in page
    assert not re.search("Test cell|Grade cell|Written response", page)


WIDGETS = "application/vnd.jupyter.widget-state+json"


@pytest.mark.parametrize(
    "metadata",
    [
        {"title": "PLANTED</title>"},
        {"widgets": {WIDGETS: {"0a1": {"model_name": "PLANTED"}}}},
        {"widgets": "PLANTED"},
        {"language_info": {"name": "PLANTED", "pygments_lexer": "PLANTED"}},
        {"language_info": "PLANTED"},
        {"kernelspec": {"name": "PLANTED"}, "authors": "PLANTED", "s30": {"ungraded": "PLANTED"}},
    ],
)
def test_metadata_of_a_submission_do_not_reach_the_page(folder, metadata):
    before = page_of(folder, ANN).read_bytes()
    notebook = json.loads(recorded(folder, ANN).read_bytes())
    notebook["metadata"] = metadata
    for cell in notebook["cells"]:
        cell["metadata"] |= {"tags": ["PLANTED"], "slideshow": metadata, "name": "PLANTED"}
        for output in cell.get("outputs", []):
            output["metadata"] = {"text/html": {"isolated": True}, "filenames": {"image/png": "PLANTED"}}
    write(recorded(folder, ANN), notebook)
    assert "0 of them made now" in run(folder)[1]  # nor are they a reason to make it again
    page_of(folder, ANN).unlink()
    assert run(folder)[0] == 0
    assert page_of(folder, ANN).read_bytes() == before


def test_a_notebook_of_any_length_has_a_page(folder, monkeypatch):
    monkeypatch.setattr(pages, "MAX_SHOWN", 40_000)
    assert run(folder)[0] == 0
    page = page_of(folder, ANN).read_text(encoding="utf-8")
    assert "Understanding LSTM Networks" in page
    assert "[This is not shown: the notebook is too long for a page.]" in page


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; .ci/system-packages installs Debian's")
@pytest.mark.slow
def test_a_page_needs_no_network_and_shows_its_formulas(folder, page: Page):
    notebook = json.loads(recorded(folder, ANN).read_bytes())
    loads = '<img src="https://example.org/a.png"><link rel="stylesheet" href="https://example.org/a.css">'
    runs = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"
    notebook["cells"].append({"cell_type": "markdown", "id": "own", "metadata": {}, "source": f"{loads}\n\n{runs}"})
    write(recorded(folder, ANN), notebook)
    run(folder)
    answered: list[str] = []
    page.context.set_offline(True)
    page.on("response", lambda response: answered.append(response.url))
    page.goto(page_of(folder, ANN).as_uri())
    page.wait_for_load_state("networkidle")
    assert answered == [page_of(folder, ANN).as_uri()]
    assert page.evaluate("() => window.ran") is None
    shown = page.locator("math")
    assert shown.count() > 100
    sizes = shown.evaluate_all("all => all.filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().height)")
    assert len(sizes) > 80
    assert min(sizes) > 5
    answer = page.locator(".nbgrader_cell", has=page.locator(f"#{QUESTION}"))
    fraction = answer.locator("mfrac")
    above, below = (fraction.locator("mi").nth(n).bounding_box()["y"] for n in (0, 1))
    assert above < below
    assert r"but not $\nosuchthing{1}$." in answer.inner_text()
    equation = page.locator(".equation", has_text="(2)").first
    number, formula = equation.locator("span").bounding_box(), equation.locator("math").bounding_box()
    assert number["x"] >= formula["x"] + formula["width"] - 1
    hint = page.locator("details").first
    assert hint.locator("summary").evaluate("e => getComputedStyle(e).display") == "list-item"
    assert not hint.locator("p").first.is_visible()


# The zip ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "name", "wanted"),
    [
        ("canvas", "doejane_1234_5678_lstm.ipynb", "doejane_1234_5678_lstm.html"),
        ("canvas", "submissions/doejane_LATE_1234_5678_lstm-1.ipynb", "doejane_LATE_1234_5678_lstm-1.html"),
        ("canvas", "doejane_1234_5678_all.zip/lstm.ipynb", "doejane_1234_5678_all.html"),
        ("moodle", "Jane Doe_41_assignsubmission_file_/lstm.ipynb", "Jane Doe_41_assignsubmission_file_/lstm.html"),
        ("moodle", "HW 3/Jo Ä_4_assignsubmission_file_/a/b.ipynb", "Jo Ä_4_assignsubmission_file_/a/b.html"),
        ("moodle", "Jane Doe_41_assignsubmission_file_lstm.ipynb", "Jane Doe_41_assignsubmission_file_lstm.html"),
        (
            "sakai",
            "HW 3/Doe, Jane(jdoe)/Submission attachment(s)/lstm.ipynb",
            "HW 3/Doe, Jane(jdoe)/Feedback Attachment(s)/lstm.html",
        ),
        ("blackboard", "HW_jdoe_attempt_2025-01-01-10-00-00_lstm.ipynb", "jane/jane.html"),
        ("gradescope", "assignment_1_export/submission_77/lstm.ipynb", "jane/jane.html"),
        ("nbgrader", "jane/03_lstm_understanding/03_lstm_understanding.ipynb", "jane/jane.html"),
        ("", "jane.ipynb", f"jane/{SLUG}.html"),
        ("canvas", "", f"jane/{SLUG}.html"),
        ("moodle", "lstm.ipynb", f"jane/{SLUG}.html"),
        ("moodle", "../_assignsubmission_file_/lstm.ipynb", f"jane/{SLUG}.html"),
        ("moodle", "a_assignsubmission_file_/../../x.ipynb", f"jane/{SLUG}.html"),
        ("moodle", "/a_assignsubmission_file_/x.ipynb", f"jane/{SLUG}.html"),
        ("moodle", "C:\\a_assignsubmission_file_\\x.ipynb", f"jane/{SLUG}.html"),
        ("canvas", "doe_1_2_\x1b[2J.ipynb", f"jane/{SLUG}.html"),
    ],
)
def test_pages_go_back_in_the_names_in_which_submissions_came(system, name, wanted):
    assert feedback.zip_names(SLUG, ["jane"], {"jane": {"name": name, "system": system}}) == {"jane": wanted}


def test_names_in_the_zip_never_clash():
    receipts = {student: {"system": "canvas", "name": "x_1_2_a.ipynb"} for student in ("a", "b", "Ann")}
    receipts |= {"X_1_2_A.html": {}, "ann": {}, "é": {}, "e\u0301": {}}
    names = feedback.zip_names(SLUG, receipts, receipts)
    files = [name.casefold() for name in names.values()]
    assert len(set(files)) == len(receipts)
    assert not {str(above) for file in files for above in Path(file).parents} & set(files)


def test_the_zip_is_named_by_the_receipts(folder):
    write(folder / "received" / f"{SLUG}.json", {ANN: {"name": "annlee_1_2_lstm.ipynb", "system": "canvas"}})
    status, said = run(folder, "--out", str(folder / "out.zip"))
    assert status == 0, said
    with zipfile.ZipFile(folder / "out.zip") as made:
        assert set(made.namelist()) == {"annlee_1_2_lstm.html", f"bob _b_/{SLUG}.html", f"cy/{SLUG}.html"}
        assert made.read("annlee_1_2_lstm.html") == page_of(folder, ANN).read_bytes()
    (folder / "received" / f"{SLUG}.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match=r"received/03_lstm_understanding.json can't be read"):
        feedback.run(new_console(), SLUG, ClassFolder.of(Project(ROOT), folder), folder / "out.zip", 1)
    (folder / "received" / f"{SLUG}.json").unlink()
    with pytest.raises(UserError, match="can't be written: Is a directory"):
        feedback.run(new_console(), SLUG, ClassFolder.of(Project(ROOT), folder), folder, 1)
    with pytest.raises(UserError, match="its folder does not exist"):
        feedback.run(new_console(), SLUG, ClassFolder.of(Project(ROOT), folder), folder / "no" / "out.zip", 1)
