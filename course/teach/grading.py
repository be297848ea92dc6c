"""`s30 grade`: a whole class, evaluated on all cores and recorded through nbgrader.

Evaluating is a function of a submission, the grader and the seed; verdicts are kept as soon as they are reached, and
recording looks them up. So a run may be killed at any moment, and the next one goes on where it was. Every notebook
that was recorded says of what file and by which grader, so a run does only what is new.
"""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.converters.base import BaseConverter, NbGraderException
from nbgrader.coursedir import CourseDirectory

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.keys import digest
from autograder.engine.judge.verdict import Verdict
from course.base.nbgrader import nbgrader_config
from course.base.project import Project
from course.teach import worker
from course.teach.evaluation import graded_by, worth
from course.teach.gradebook import class_points, other_cells, register
from course.teach.nbgrader_steps import GradeSubmission
from course.teach.reading import GRADER, RECORDED, SUBMITTED, UNGRADED
from course.teach.seed import class_secret
from course.teach.submissions import submitted

_CHECK = "nbgrader.preprocessors.CheckCellMetadata"


@dataclass
class Submission:
    """One student's submission, on its way through a run.

    Attributes:
        student: whose it is.
        path: where nbgrader looks for it; None if there is no such file.
        reason: why it can't be graded, if so.
        before: its points as they were recorded, if they were.
        by: what they were recorded from: "this" file and grader, an "older grader", or an "earlier file".
        verdicts: as evaluated.
        stays: it was recorded by an older grader, and is left so.
        unreadable: the reason is in the file, and nbgrader's row for the student says so.
    """

    student: str
    path: Path | None
    reason: str = ""
    before: dict[str, float | None] = field(default_factory=dict)
    by: str = ""
    verdicts: list[Verdict] = field(default_factory=list)
    stays: bool = False
    unreadable: bool = False


class ClassRun:
    """One run over a class's submissions of an assignment.

    Args:
        project: the course.
        slug: the assignment.
        course_dir: the class's folder, with submitted/ and gradebook.db.
        problems: student → why no notebook of theirs could be taken, as collecting them found.
        new_seed: draw another secret first.
    """

    def __init__(
        self, project: Project, slug: str, course_dir: Path, problems: dict[str, str], *, new_seed: bool = False
    ) -> None:
        self.project = project
        self.course_dir = course_dir
        self._problems = problems
        self.assignment = project.assignment(slug)
        self.db_url = f"sqlite:///{course_dir / 'gradebook.db'}"
        self.config = nbgrader_config(project, course_dir)
        self.points = {e.grade_id: e.points for e in self.assignment.exercises}
        self.points |= class_points(project, slug, course_dir)
        _registered(project, slug, course_dir, self.db_url, self.points)
        class_secret(self.db_url, slug, new=new_seed)
        self.conditions = GradeSubmission(config=self.config).conditions(project, slug, self.db_url)
        self.grader = graded_by(
            self.conditions, {e.grade_id: self.points[e.grade_id] for e in self.assignment.exercises}
        )
        self.submissions = list(self._found())

    def _found(self) -> Iterator[Submission]:
        slug = self.assignment.slug
        with Gradebook(self.db_url) as gradebook:
            for student, reason in self._problems.items():
                yield Submission(student, None, reason, _scores(gradebook, slug, student))
            for student, path in submitted(slug, self.course_dir).items():
                if student in self._problems:
                    continue
                if path.is_symlink() or not path.is_file():
                    others = sorted(p.name for p in path.parent.glob("*.ipynb"))
                    has = f"it holds {', '.join(others)}" if others else "it is empty"
                    yield Submission(student, None, f"{path.parent} has no file {path.name}: {has}.")
                    continue
                found = Submission(student, path)
                recorded = self._recorded(student)
                if GRADER in recorded:  # else nbgrader was interrupted
                    found.before = _scores(gradebook, slug, student)
                    same_file, same_grader = recorded.get(SUBMITTED) == digest(path), recorded[GRADER] == self.grader
                    known = bool(found.before) or UNGRADED in recorded
                    if known and not same_file:
                        found.by = "earlier file"
                    elif known and (same_grader or UNGRADED not in recorded):
                        found.by = "this" if same_grader else "older grader"
                yield found

    def _recorded(self, student: str) -> dict[str, str]:
        """What the notebook that was recorded says of its origin; nothing if there is none."""
        slug = self.assignment.slug
        path = self.course_dir / "autograded" / student / slug / f"{slug}.ipynb"
        try:
            return dict(json.loads(path.read_bytes())["metadata"][RECORDED])
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    # Evaluating -----------------------------------------------------------------------------------------------------

    def evaluate(self, wanted: Collection[Submission], jobs: int, tell: Callable[[Submission], None]) -> None:
        """Evaluate submissions on `jobs` cores; `tell` is called after each. Raises UserError if there is none."""
        lost: list[Submission] = []
        for submission, outcome in self._evaluated([s for s in wanted if s.path is not None], jobs):
            if outcome is None:
                lost.append(submission)
            else:
                submission.reason, submission.unreadable, submission.verdicts = outcome
                tell(submission)
        for last in lost:  # a worker died, of one of those it had: each has another to itself
            for submission, outcome in self._evaluated([last], 1):
                submission.reason, submission.unreadable, submission.verdicts = outcome or _DIED
                tell(submission)

    def _evaluated(self, crew: list[Submission], jobs: int) -> Iterator[tuple[Submission, worker.Outcome | None]]:
        """Each submission with what came of it, as they come; None for those whose worker died."""
        if not crew:
            return
        self.conditions.warm_up()
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(
            min(jobs, len(crew)), context, worker.begin, (self.conditions, context.Value("i", 0))
        )
        try:
            running = {pool.submit(worker.evaluate, s.student, s.path): s for s in crew if s.path}
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    submission = running.pop(future)
                    try:
                        yield submission, future.result()
                    except BrokenProcessPool:
                        yield submission, None
        finally:
            pool.shutdown(cancel_futures=True)

    # Recording ------------------------------------------------------------------------------------------------------

    def record(self, wanted: Collection[Submission], tell: Callable[[], None]) -> None:
        """Record what was evaluated through nbgrader, so that its export, formgrader and feedback have it."""
        names = {s.student for s in wanted if not s.reason or s.unreadable}
        if names:
            config = copy.deepcopy(self.config)
            config.CourseDirectory.assignment_id = self.assignment.slug
            log = _Log(tell)
            recorder = Recorder(coursedir=CourseDirectory(config=config), config=config)
            recorder.students, recorder.force = names, True
            recorder.log.setLevel(logging.INFO)
            recorder.log.addHandler(log)
            recorder.log.propagate = False
            try:
                with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
                    recorder.start()
            except (NbGraderException, SystemExit):
                pass  # who is concerned shows below, by what is not recorded
            finally:
                recorder.log.removeHandler(log)
            for submission in (s for s in wanted if s.student in names):
                if self._recorded(submission.student).get(GRADER) != self.grader:
                    submission.reason = f"nbgrader could not record it: {log.last or 'it says nothing'}"
                    submission.unreadable = False
        self._for_a_human([s for s in self.submissions if s.reason and not s.unreadable and not s.before])

    def _for_a_human(self, left: Iterable[Submission]) -> None:
        """Mark what could not be graded, and never was, in the gradebook, so that it is no silent zero there."""
        slug = self.assignment.slug
        with Gradebook(self.db_url) as gradebook:
            for submission in left:
                gradebook.update_or_create_student(submission.student)
                entry = gradebook.update_or_create_submission(slug, submission.student)
                for notebook in entry.notebooks:
                    for grade in notebook.grades:
                        grade.auto_score, grade.needs_manual_grade = None, True
                gradebook.db.commit()

    # Telling --------------------------------------------------------------------------------------------------------

    def changes(self, wanted: Iterable[Submission]) -> dict[str, tuple[float, float]]:
        """Student → automatic points as recorded and as evaluated now, where they differ."""
        found = {}
        for submission in wanted:
            old = sum(points or 0.0 for points in submission.before.values())
            new = self.total(submission)
            if submission.before and not submission.reason and abs(old - new) > 1e-6:
                found[submission.student] = (old, new)
        return found

    def total(self, submission: Submission) -> float:
        """The automatic points of a submission, as this class counts them."""
        if submission.stays:
            return sum(points or 0.0 for points in submission.before.values())
        return sum(v.points for v in self.as_counted(submission))

    def as_counted(self, submission: Submission) -> list[Verdict]:
        """The verdicts with the points that the exercises have in this class."""
        ids = [e.grade_id for e in self.assignment.exercises]
        return [worth(v, self.points[i]) for i, v in zip(ids, submission.verdicts, strict=False)]

    def report(self) -> dict[str, Any]:
        """The run as JSON."""
        most = sum(self.points[e.grade_id] for e in self.assignment.exercises)
        return {
            "grader": "s30 grade",
            "assignment": self.assignment.slug,
            "submissions": [
                {
                    "student": s.student,
                    "status": "ungraded" if s.reason else "graded",
                    "reason": s.reason,
                    "points": round(self.total(s), 6) if not s.reason else 0.0,
                    "max_points": most,
                    "exercises": [v.as_json() for v in self.as_counted(s)] if not s.reason else [],
                }
                for s in sorted(self.submissions, key=lambda s: s.student)
            ],
        }


_DIED: worker.Outcome = ("The grader itself ended while it graded this.", False, [])


# nbgrader's side ----------------------------------------------------------------------------------------------------


def _registered(project: Project, slug: str, course_dir: Path, db_url: str, points: dict[str, float]) -> None:
    """Enter the assignment into the gradebook, unless it is there with these points."""
    problem = other_cells(project, slug, db_url)
    if problem:
        raise UserError(problem)
    if (course_dir / "gradebook.db").is_file():
        with Gradebook(db_url) as gradebook:
            try:
                cells = gradebook.find_notebook(slug, slug).grade_cells
                known = {cell.name: cell.max_score for cell in cells}
            except MissingEntry:
                known = {}
        if all(known.get(name) == worth_ for name, worth_ in points.items()):
            return
    register(project, slug, course_dir)


def _scores(gradebook: Gradebook, slug: str, student: str) -> dict[str, float | None]:
    """The automatic scores of a student as recorded; nothing if there are none."""
    try:
        grades = gradebook.find_submission_notebook(slug, slug, student).grades
    except MissingEntry:
        return {}
    found = {g.name: g.auto_score for g in grades if g.cell.cell_type == "code"}
    return {} if all(score is None for score in found.values()) else found


class Recorder(Autograde):
    """Nbgrader's autograde in one pass over a notebook instead of two, with steps that are kept from one to the next.

    Its two passes are there because executing a notebook changes the file; we execute nothing. A second pass writes,
    reads, copies and validates the notebook again, which costs as much as all that the steps do.
    """

    students: Collection[str] = ()  # whose notebooks are recorded
    _ready = False

    def init_notebooks(self) -> None:
        """Say which notebooks are converted. Nbgrader's own list is made of patterns, which ids may look like."""
        slug = self.coursedir.assignment_id
        folders = [self._format_source(slug, student) for student in sorted(self.students)]
        self.assignments = {folder: [os.path.join(folder, f"{slug}.ipynb")] for folder in folders}
        self.notebooks: list[str] = []

    def _init_preprocessors(self) -> None:
        """Register the steps of both passes, unless they are."""
        if not self._ready:
            self.exporter._preprocessors = []
            for step in [*self.sanitize_preprocessors, *self.autograde_preprocessors]:
                if step != _CHECK:  # the metadata are those that were released: repairing has just written them
                    self.exporter.register_preprocessor(step)
            self._ready = True

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """Convert a notebook."""
        self.log.info("Autograding %s", notebook_filename)
        self._init_preprocessors()
        BaseConverter.convert_single_notebook(self, notebook_filename)


class _Log(logging.Handler):
    """Counts what nbgrader has recorded, and keeps the last thing that went wrong."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("Autograding "):
            self._tell()
        elif record.levelno >= logging.ERROR and "Traceback" in text:
            self.last = text.strip().splitlines()[-1]
