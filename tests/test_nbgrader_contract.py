"""What of nbgrader's inside our steps lean on: each thing that no document promises, with what of ours would break.

A new version of nbgrader that changes one of them fails here, in a second, and not in the middle of a class.
"""

from __future__ import annotations

import inspect
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from nbconvert.exporters import NotebookExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader import api, converters, utils
from nbgrader.converters import base
from nbgrader.coursedir import CourseDirectory
from nbgrader.nbgraderformat import SCHEMA_VERSION, MetadataValidator
from traitlets.config import Config

from course.base.nbgrader import begin_gradebook, nbgrader_config
from course.base.project import Project
from course.teach.grading import Recorder

CONFIG = nbgrader_config(Project(), Project().root)


def graded_cell(outputs: list[Any], **meta: Any) -> Any:
    about = {"grade": True, "solution": False, "locked": True, "points": 3, "grade_id": "f-check", "schema_version": 3}
    return new_code_cell("check('f')", metadata={"nbgrader": {**about, **meta}}, outputs=outputs)


# The order of steps, in which nbgrader_config.py puts ours ----------------------------------------------------------

STOCK = {  # converter and list → the steps of nbgrader's that ours leaves out, adds, or puts one of ours in place of
    ("GenerateAssignment", "preprocessors"): ({"InstantiateTests", "ClearHiddenTests", "ClearMarkScheme"}, set()),
    ("GenerateSolution", "preprocessors"): (set(), {"CoalesceStreamsPreprocessor"}),
    ("Autograde", "sanitize_preprocessors"): (set(), set()),
    ("Autograde", "autograde_preprocessors"): (
        {"Execute", "IgnorePattern", "ClearMetadataPreprocessor", "SaveAutoGrades"},
        set(),
    ),
    ("GenerateFeedback", "preprocessors"): ({"GetGrades"}, set()),  # whose work ShowGrades does
}


@pytest.mark.parametrize(("converter", "trait"), STOCK)
def test_our_lists_of_steps_are_the_stock_ones_but_for_what_is_said_here(converter, trait):
    left_out, added = STOCK[converter, trait]
    stock = [step.__name__ for step in getattr(converters, converter).class_traits()[trait].default()]
    ours = [name.rsplit(".", 1)[-1] for name in CONFIG[converter][trait] if not name.startswith("course.")]
    assert left_out <= set(stock)
    assert [step for step in ours if step not in added] == [step for step in stock if step not in left_out]


# Recording in one pass (course.teach.grading.Recorder) --------------------------------------------------------------


def test_autograde_makes_its_steps_anew_and_converts_notebook_by_notebook():
    made = inspect.getsource(converters.Autograde._init_preprocessors)
    assert "self.exporter._preprocessors = []" in made  # Recorder does this once, and for both passes
    assert "self.exporter.register_preprocessor(pp)" in made
    converted = inspect.getsource(converters.Autograde.convert_single_notebook)
    assert converted.count(".convert_single_notebook(notebook_filename)") == 2  # of which Recorder makes one
    assert 'self.log.info("Autograding %s", notebook_filename)' in converted  # by which _Log counts
    assert set(vars(Recorder)) & set(vars(converters.Autograde)) >= {"_init_preprocessors", "convert_single_notebook"}


def test_an_exporter_keeps_its_steps_in_a_list():
    exporter = NotebookExporter()
    exporter._preprocessors = []
    exporter.register_preprocessor("nbgrader.preprocessors.ClearOutput", enabled=True)
    assert [type(step).__name__ for step in exporter._preprocessors] == ["ClearOutput"]


def test_a_converter_logs_a_traceback_as_one_message_and_goes_on():
    handled = inspect.getsource(base.BaseConverter.convert_notebooks)
    assert "traceback.format_exc()" in handled  # _Log.last is the last line of it
    assert "_handle_failure(" in handled
    assert issubclass(base.NbGraderException, Exception)


def test_students_are_left_out_by_a_list_with_commas():
    course = CourseDirectory(config=Config({"CourseDirectory": {"student_id_exclude": "ada,ben"}}))
    assert course.student_id_exclude == "ada,ben"
    assert "student_id_exclude" in inspect.getsource(base.BaseConverter.init_destination)


# What a cell is worth (GradeSubmission, SaveVerdicts) ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "score"),
    [
        ([], 3.0),  # so GradeSubmission never leaves a check empty
        ([new_output("execute_result", data={"text/plain": "1.5"})], 1.5),
        ([new_output("execute_result", data={"text/plain": "0.0"})], 0.0),
        ([new_output("display_data", data={"text/plain": "2"}), new_output("error", ename="E", evalue="")], 0),
        (
            [
                new_output("display_data", data={"text/html": "<b>2 of 3</b>"}),
                new_output("execute_result", data={"text/plain": "2.0"}),
            ],
            2.0,
        ),
    ],
    ids=["empty", "partial", "zero", "error", "verdict"],
)
def test_the_first_result_of_a_check_is_its_score(outputs, score):
    assert utils.determine_grade(graded_cell(outputs), logging.getLogger("nowhere")) == (score, 3.0)


def test_a_written_answer_has_no_score_until_a_human_gives_one():
    answer = graded_cell([], solution=True)
    assert utils.determine_grade(answer) == (None, 3.0)
    answer.metadata.nbgrader.checksum = utils.compute_checksum(answer)
    assert utils.determine_grade(answer) == (0, 3.0)
    assert utils.is_grade(answer)
    assert utils.is_solution(answer)
    assert not utils.is_grade(new_markdown_cell("text"))


def test_the_gradebook_has_the_columns_that_are_set():
    for table, columns in {
        api.Grade: ("auto_score", "manual_score", "needs_manual_grade", "cell_id", "name", "cell"),
        api.Comment: ("auto_comment", "cell_id"),
        api.GradeCell: ("max_score", "cell_type", "name"),
        api.SubmittedNotebook: ("grades", "comments"),
        api.Notebook: ("grade_cells", "solution_cells", "submissions"),
    }.items():
        assert [column for column in columns if not hasattr(table, column)] == [], table
    for method in (
        "find_notebook",
        "find_submission_notebook",
        "update_or_create_student",
        "update_or_create_submission",
    ):
        assert callable(getattr(api.Gradebook, method))


def test_a_gradebook_that_notes_the_version_of_its_tables_is_taken_as_it_is(tmp_path, monkeypatch):
    db_url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    begin_gradebook(db_url)
    monkeypatch.setattr(api, "get_alembic_version", None)  # which would start alembic
    with api.Gradebook(db_url) as gradebook:
        gradebook.update_or_create_student("ada")
        assert [student.id for student in gradebook.students] == ["ada"]


# Where things lie, and what steps are told --------------------------------------------------------------------------


def test_steps_are_told_student_assignment_notebook_and_gradebook():
    told = inspect.getsource(base.BaseConverter.init_single_notebook_resources)
    for name in ("student", "assignment", "notebook", "db_url"):
        assert f"resources['nbgrader']['{name}']" in told
    reads = inspect.getsource(base.BaseConverter.convert_single_notebook)
    assert "self.exporter.from_filename(notebook_filename, resources=resources)" in reads  # SubmissionReader's


def test_an_exporter_knows_the_course_through_its_parent():
    made = inspect.getsource(base.BaseConverter)
    assert "exporter_class(parent=self" in made  # SubmissionReader takes `self.parent.coursedir`
    course = CourseDirectory(config=Config({"CourseDirectory": {"root": "/course"}}))
    assert course.format_path(course.autograded_directory, "ada", "03").endswith("autograded/ada/03")


def test_the_metadata_of_cells_have_the_version_that_masters_are_written_in():
    assert SCHEMA_VERSION == 3
    notebook = SimpleNamespace(cells=[graded_cell([])])
    MetadataValidator().validate_nb(notebook)
    del notebook.cells[0].metadata.nbgrader["points"]
    with pytest.raises(Exception, match="does not have points"):  # the words by which the linter leaves it out
        MetadataValidator().validate_nb(notebook)
