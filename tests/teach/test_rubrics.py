"""What earns the points of a written question stands beside the answer for whoever grades it, and nowhere else."""

import json
import shutil

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_markdown_cell

from course.base.nbgrader import nbgrader_config
from course.base.project import RUBRIC, Project
from course.teach.pages import ShowRubrics, StyleFeedback

SLUG, QUESTION = "03_lstm_understanding", "why_additive"
TOLD = "- 1 point: the product of the forget gates.\n- 1 point: the figure that shows it."


@pytest.fixture
def with_rubric(tmp_path, monkeypatch):
    """A project whose worked solution has a rubric."""
    made = Project(tmp_path)
    made.solution(SLUG).parent.mkdir(parents=True)
    notebook = json.loads(Project().solution(SLUG).read_text(encoding="utf-8"))
    answer = next(c for c in notebook["cells"] if c["id"] == QUESTION)
    answer["source"] = f"The gates multiply.\n\n{RUBRIC}\n\n{TOLD}"
    made.solution(SLUG).write_text(json.dumps(notebook), encoding="utf-8")
    monkeypatch.setenv("S30_ROOT", str(tmp_path))
    return made


def graded(notebook):
    return ShowRubrics().preprocess(notebook, {"nbgrader": {"assignment": SLUG}})[0]


def submission(minor: int = 5):
    notebook = nbformat.read(Project(ROOT).release(SLUG), as_version=4)
    notebook.nbformat_minor = minor
    if minor < 5:
        for cell in notebook.cells:
            del cell["id"]
    return notebook


@pytest.mark.parametrize("minor", [4, 5])
def test_the_rubric_stands_below_the_answer_and_not_in_the_feedback(with_rubric, minor):
    notebook = submission(minor)
    before = [cell.source for cell in notebook.cells]
    shown = graded(notebook)
    at = next(i for i, c in enumerate(shown.cells) if c.metadata.get("nbgrader", {}).get("grade_id") == QUESTION)
    assert shown.cells[at + 1].source.startswith(f"{RUBRIC}\n\n{TOLD}\n")
    assert "The gates multiply" not in json.dumps(shown)
    nbformat.validate(shown)
    page, _ = StyleFeedback().preprocess(shown, {"inlining": {"css": []}})
    assert [cell.source for cell in page.cells] == before


def test_what_a_student_writes_in_the_way_of_a_rubric_is_shown_as_theirs(with_rubric):
    notebook = submission()
    forged = new_markdown_cell(f"{RUBRIC}\n\n- 2 points: anything")
    notebook.cells.append(forged)
    page, _ = StyleFeedback().preprocess(graded(notebook), {"inlining": {"css": []}})
    assert forged in page.cells


def test_without_solutions_there_is_none(with_rubric):
    shutil.rmtree(with_rubric.root / "solutions")
    notebook = submission()
    before = len(notebook.cells)
    assert len(graded(notebook).cells) == before


def test_a_stub_has_no_rubric_and_the_configuration_shows_them():
    for slug in Project().slugs():
        assert RUBRIC not in Project().release(slug).read_text(encoding="utf-8")
    steps = nbgrader_config(Project(), Project().root).Autograde.autograde_preprocessors
    assert steps.index("course.teach.pages.ShowRubrics") < steps.index("nbgrader.preprocessors.CheckCellMetadata")
