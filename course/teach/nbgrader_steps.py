"""Our steps in nbgrader's grading, attached by nbgrader_config.py alone.

- :class:`SubmissionReader` takes in the file that was handed in, before any step of autograde: whatever an editor did
  to the cells, nbgrader finds those it knows, and nothing that a student wrote runs where it is shown.
- :class:`RepairSubmission` begins autograde, and stops it where the class has an assignment of other cells.
- :class:`GradeSubmission` stands in autograde where nbgrader would execute the notebook.
- :class:`SaveVerdicts` saves the scores: none for what could not be graded.

What people see of it, formgrader's and the feedback pages, is in :mod:`course.teach.pages`.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from nbgrader.api import Grade, Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import compute_checksum, determine_grade, is_grade, is_solution
from traitlets import Bool, Float, Integer

from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import NotebookError
from autograder.engine.inside.records import Limits
from autograder.engine.judge.keys import digest
from autograder.engine.judge.verdict import Verdict
from autograder.engine.judge.words.report import as_html, as_text
from course.base.files import locked
from course.base.project import Project
from course.teach.cleaning import PICTURES
from course.teach.evaluation import Conditions, class_runner, graded_by, worth
from course.teach.folder import home
from course.teach.gradebook import class_points, other_cells
from course.teach.intake import take_in
from course.teach.reading import CUT_SHORT, GRADER, RECORDED, SUBMITTED, UNGRADED, VERDICTS, read_submission

NOT_GRADED = "NotGraded"
RECORDING = 600  # seconds for which one who records waits for another
NOT_THEIRS = (
    "**This is not what was handed in, but the notebook as it was released.** The file that was handed in could not be "
    "read, has no score yet, and needs a human. The reason is below each check."
)


class SubmissionReader(NotebookExporter):
    """Takes a submitted file in before nbgrader's steps see it; see :func:`course.teach.intake.take_in`.

    In the place of what is no notebook it puts the stub, which says why it is there, so that the student has a row in
    the gradebook that waits for a human.
    """

    optimistic_validation = True  # after the last step, not after each: it takes a third of the time of a notebook

    def from_filename(self, filename: str, resources: Any = None, **kw: Any) -> tuple[NotebookNode, dict[str, Any]]:
        """Read a file, as nbgrader asks for it, and take all the steps with it: of those who record, one at a time."""
        with locked(home(self), "recording", wait=RECORDING):
            return self._from_filename(filename, resources, **kw)

    def _from_filename(self, filename: str, resources: Any, **kw: Any) -> tuple[NotebookNode, dict[str, Any]]:
        path, about = Path(filename), (resources or {})["nbgrader"]
        course = self.parent.coursedir
        copies = Path(course.format_path(course.autograded_directory, about["student"], about["assignment"]))
        for beside in path.parent.rglob("*"):
            shown = beside == path or beside.suffix.lower() in PICTURES  # formgrader serves what lies beside a notebook
            if beside.is_symlink() or not (shown or beside.is_dir()):  # nbgrader has just copied it
                self.log.warning("%s stays where it was handed in, and is shown nowhere", beside)
                (copies / beside.relative_to(path.parent)).unlink(missing_ok=True)
        try:
            if path.parent == copies:  # nbgrader's second pass: it is ours
                notebook = nbformat.from_dict(read_submission(path)[0])
            else:
                tree, notes = take_in(path, about["assignment"], Project())
                for note in notes:
                    self.log.warning("%s of %s: %s", about["assignment"], about["student"], note)
                notebook = nbformat.from_dict(tree)
                notebook.metadata[RECORDED] = {SUBMITTED: digest(path)}
        except NotebookError as problem:
            self.log.error("%s of %s needs a human: %s", about["assignment"], about["student"], problem)
            notebook = nbformat.read(Project().release(about["assignment"]), as_version=4)
            notebook.cells.insert(0, new_markdown_cell(NOT_THEIRS, id="not-what-was-handed-in"))
            told = str(problem).replace(str(path), path.name)  # students are not told of the grader's folders
            notebook.metadata[RECORDED] = {SUBMITTED: digest(path), UNGRADED: told}
        resources["metadata"] = {"name": path.stem, "path": str(path.parent)}
        read: tuple[NotebookNode, dict[str, Any]] = self.from_notebook_node(notebook, resources, **kw)
        return read


class RepairSubmission(NbGraderPreprocessor):
    """Stop where the cells that the class's gradebook knows are not those of the release, by which it was repaired."""

    def __init__(self, **kw: Any) -> None:
        super().__init__(**kw)
        self._fitting: set[tuple[object, ...]] = set()  # what is known to fit a gradebook

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Compare release and gradebook, once for all submissions."""
        project = Project()
        slug = resources["nbgrader"]["assignment"]
        release, db_url = project.release(slug), resources["nbgrader"]["db_url"]
        fits = slug, db_url, release, release.stat().st_mtime_ns
        if fits not in self._fitting:
            problem = other_cells(project, slug, db_url)
            if problem:
                raise UserError(problem)
            self._fitting.add(fits)
        return nb, resources


class GradeSubmission(NbGraderPreprocessor):
    """Write a verdict into every check cell: the points as the cell's value, the explanation beside it.

    Submissions run in a sandbox. Where there is none, grading stops, unless the configuration says
    ``c.GradeSubmission.allow_unsandboxed = True``; then every verdict says so.
    """

    allow_unsandboxed = Bool(
        False, help="Grade without a sandbox where none can be had: the code could read and change files of the grader."
    ).tag(config=True)

    seconds = Float(Limits.seconds, help="Wall time of one case, in seconds.").tag(config=True)
    total_seconds = Float(Limits.total_seconds, help="Wall time of a submission, in seconds.").tag(config=True)
    memory_mb = Integer(Limits.memory_mb, help="Memory beyond that of NumPy and torch, in MB.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Grade the repaired submission in place. Whatever happens, no cell is left without a verdict."""
        checks = {}
        for cell in nb.cells:
            meta = cell.metadata.get("nbgrader") or {}
            if cell.cell_type == "code":
                cell.outputs = []  # nothing that came with the file counts
            if meta.get("grade") and not meta.get("solution") and cell.cell_type == "code":
                checks[meta["grade_id"]] = cell
                cell.outputs = _not_run("This check was not run.")  # an empty cell would count as full points
        about, ours = resources["nbgrader"], nb.metadata[RECORDED]
        project, folder = Project(), home(self)
        conditions = self.conditions(project, about["assignment"], folder)
        points = {name: float(cell.metadata.nbgrader.points) for name, cell in checks.items()}
        parts = class_points(project, about["assignment"], folder).parts
        warning, ours[GRADER] = conditions.runner.warning, graded_by(conditions, points, parts=parts)
        if UNGRADED in ours:
            for cell in checks.values():
                cell.outputs = _not_run(f"This could not be graded and needs a human: {ours[UNGRADED]}")
            return nb, resources
        try:
            found = conditions.evaluate(nb, about["student"])
            exercises = conditions.project.assignment(conditions.slug).exercises
            by_check = {e.grade_id: v for e, v in zip(exercises, found.verdicts, strict=True)}
            ours[VERDICTS] = [v.as_tree() for v in found.verdicts]
            ours[CUT_SHORT] = found.cut_short
        except Exception as problem:
            self.log.exception("Could not grade %s of %s", about["assignment"], about["student"])
            for cell in checks.values():
                cell.outputs = _not_run(
                    f"This could not be graded and needs a human: {type(problem).__name__}: {problem}"
                )
            return nb, resources
        for grade_id, cell in checks.items():
            if grade_id in by_check:
                cell.outputs = _verdict_outputs(worth(by_check[grade_id], points[grade_id], parts=parts), warning)
        return nb, resources

    def conditions(self, project: Project, slug: str, folder: Path) -> Conditions:
        """The conditions under which a class is graded, as this step is configured."""
        limits = Limits(self.seconds, self.total_seconds, self.memory_mb)
        return Conditions(project, slug, folder, limits, class_runner(self.allow_unsandboxed))


class SaveVerdicts(NbGraderPreprocessor):
    """As nbgrader saves scores; but a check that could not be run has no score, and waits for a human.

    Scores are saved all or none, and with a few queries for a notebook instead of two for each cell. A submission of
    which no check could be run is flagged.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Save the scores of a notebook."""
        about = resources["nbgrader"]
        waits = UNGRADED in nb.metadata[RECORDED]
        with Gradebook(about["db_url"]) as gradebook:
            known = gradebook.find_notebook(about["notebook"], about["assignment"])
            names = {cell.id: cell.name for cell in [*known.grade_cells, *known.solution_cells]}
            mine = gradebook.find_submission_notebook(about["notebook"], about["assignment"], about["student"])
            grades = {names[grade.cell_id]: grade for grade in mine.grades}
            comments = {names[comment.cell_id]: comment for comment in mine.comments}
            checks = [grades[cell.name] for cell in known.grade_cells if cell.cell_type == "code"]
            waited = all(grade.auto_score is None for grade in checks)
            for cell in nb.cells:
                if is_grade(cell):
                    self._save_score(cell, grades[cell.metadata.nbgrader.grade_id], waits)
                if is_solution(cell):
                    untouched = cell.metadata.nbgrader.get("checksum") == compute_checksum(cell)
                    said = "No response." if untouched and not waits else None
                    if waits and is_grade(cell):  # of a check its explanation says it
                        said = f"The file could not be read: {nb.metadata[RECORDED][UNGRADED]}"
                    comments[cell.metadata.nbgrader.grade_id].auto_comment = said
            if all(grade.auto_score is None for grade in checks):
                mine.flagged = True  # in formgrader's list it would look like a blank one
            elif waited:
                mine.flagged = False
            gradebook.db.commit()
        return nb, resources

    def _save_score(self, cell: NotebookNode, grade: Grade, waits: bool) -> None:
        """Save the score of a cell; `waits` if the whole notebook could not be graded."""
        score, _ = determine_grade(cell, self.log)
        if waits or any(output.get("ename") == NOT_GRADED for output in cell.get("outputs", [])):
            score = None
        grade.auto_score = score
        grade.needs_manual_grade = score is None or grade.manual_score is not None


def _not_run(sentence: str) -> list[NotebookNode]:
    """Why a check has no score, for people; and for nbgrader an error, so that its cell is not taken as passed."""
    shown = (
        '<div role="status" style="border-left:4px solid #767d86;padding:0.4em 0.8em;margin:0.3em 0;'
        'font-family:system-ui,sans-serif;line-height:1.4;overflow-wrap:anywhere">'
        f"<strong>○ not graded</strong><div>{html.escape(sentence)}</div></div>"
    )
    return [
        new_output("display_data", data={"text/html": shown, "text/plain": sentence}),
        new_output("error", ename=NOT_GRADED, evalue=sentence, traceback=["No score yet."]),
    ]


def _verdict_outputs(verdict: Verdict, warning: str) -> list[NotebookNode]:
    """What nbgrader reads as the score is the first result: one number, within bounds."""
    notes = [warning] if warning else []
    return [
        new_output("display_data", data={"text/html": as_html(verdict, notes), "text/plain": as_text(verdict, notes)}),
        new_output("execute_result", data={"text/plain": repr(verdict.points)}, execution_count=None),
    ]
