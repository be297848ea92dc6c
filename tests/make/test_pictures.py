"""Stubs show the pictures of the executed solution: as they are, or folded where they need the learner's code."""

import json
import shutil

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell

from autograder.engine.inside.errors import UserError
from course.base.nbgrader import begin_gradebook, convert, nbgrader_config
from course.base.project import Project
from course.make.build import pictures
from course.make.build.pictures import FOUND, SEEN, drawn_by_learner

SLUG = "03_lstm_understanding"
STUB = {"nbgrader": {"solution": True}}
CELLS = {  # text of a cell below the stub of `f` and a cell of data → whether it needs the learner's code
    "data": ("plots.show(x)", False),
    "call": ("y = f(x)", True),
    "result": ("plots.show(y)", True),
    "nothing_but_plots": ("plots.show(1)", False),
    "through_a_function": ("def g(): return f(1)", True),
    "of_that_function": ("z = g()", True),
    "kept_in_a_list": ("runs = []\nfor k in range(3):\n    runs.append(f(k))", True),
    "read_from_the_list": ("plots.show(len(runs))", True),
    "kept_in_a_dict": ("made = {}\nmade['a']['b'] = f(1)", True),
    "read_from_the_dict": ("plots.show(made)", True),
    "a_name_of_its_own": ("[f for f in 'abc']", False),
    "set_under_a_condition": ("if x:\n    y = 1", False),
    "which_may_not_hold": ("plots.show(y)", True),
    "set_anew": ("y, z = 1, 2", False),
    "shown_anew": ("plots.show(y + z)", False),
    "the_learners_again": ("z = g()", True),
    "changed_by_its_own_value": ("runs = runs + [1]", True),
    "still_the_learners": ("plots.show(runs)", True),
    "counted_anew": ("for z in range(2):\n    plots.show(z)", False),
    "counted_by_itself": ("for runs in runs:\n    plots.show(runs)", True),
}


@pytest.fixture
def course(tmp_path) -> Project:
    """A course of one assignment, with its executed solution."""
    project, here = Project(), Project(tmp_path)
    for original, copy in ((project.source(SLUG), here.source(SLUG)), (project.solution(SLUG), here.solution(SLUG))):
        copy.parent.mkdir(parents=True)
        shutil.copy(original, copy)
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    return here


def released(course: Project) -> dict[str, dict]:
    """The cells of the stub that nbgrader makes, by id."""
    config = nbgrader_config(course, course.root)
    begin_gradebook(config.CourseDirectory.db_url)
    convert("assignment", SLUG, config)
    return {cell["id"]: cell for cell in json.loads(course.release(SLUG).read_text(encoding="utf-8"))["cells"]}


def test_what_needs_the_learners_code_is_followed_through_the_cells():
    above = [
        new_code_cell("from course import plots\nx = [1]", id="setup"),
        new_code_cell("def f(x):\n    raise NotImplementedError", id="f", metadata=STUB),
    ]
    below = [new_code_cell(text, id=name) for name, (text, _) in CELLS.items()]
    assert drawn_by_learner([*above, *below]) == {"f"} | {name for name, (_, needs) in CELLS.items() if needs}


def test_pictures_stand_in_the_stub(course):
    cells = released(course)
    shown = cells["cell-figure"]
    assert any("image/png" in output["data"] for output in shown["outputs"])
    assert shown["execution_count"] is None
    assert shown["metadata"]["jupyter"] == {"source_hidden": True}
    seen = cells["flow-figure-seen"]
    assert "".join(seen["source"]).startswith(f"<details><summary>{SEEN}</summary>")
    assert "image/png" in seen["attachments"]["1.png"]
    assert cells["flow-figure"]["outputs"] == []
    assert "Measured gradients of a loss" not in "".join(seen["source"])  # the caption holds results
    assert "".join(cells["flow-reading"]["source"]).startswith(f"<details><summary>{FOUND}</summary>")
    nbformat.validate(nbformat.read(course.release(SLUG), 4))


def test_without_a_solution_or_with_another_figure_there_is_no_picture(course):
    master = json.loads(course.source(SLUG).read_text(encoding="utf-8"))
    figure = next(cell for cell in master["cells"] if cell["id"] == "cell-figure")
    figure["source"].append("\n# drawn otherwise")
    course.source(SLUG).write_text(json.dumps(master), encoding="utf-8")
    cells = released(course)
    assert cells["cell-figure"]["outputs"] == []
    assert "flow-figure-seen" in cells
    course.solution(SLUG).unlink()
    assert "flow-figure-seen" not in released(course)


def test_a_stub_that_is_too_large_is_refused_with_its_size(course, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 100_000)
    with pytest.raises(UserError, match="bytes with its pictures; 100000 at most"):
        released(course)
