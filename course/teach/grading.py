"""`s30 grade`: a whole class, evaluated on all cores and recorded through nbgrader.

Evaluating is a function of a submission, the grader and the seed; verdicts are kept as soon as they are reached, and
recording looks them up. So a run may be killed at any moment, and the next one goes on where it was. Every notebook
that was recorded says of what file and by which grader, so a run does only what is new.
"""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.converters.base import BaseConverter, NbGraderException
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.keys import digest
from autograder.engine.judge.verdict import Verdict
from course.base.files import make_folder
from course.base.project import Project
from course.teach import worker
from course.teach.evaluation import for_this_run, graded_by, worth
from course.teach.folder import ClassFolder
from course.teach.gradebook import class_points, other_cells, register
from course.teach.names import moment_beside
from course.teach.nbgrader_steps import GradeSubmission
from course.teach.reading import CUT_SHORT, GRADER, SUBMITTED, UNGRADED, read_recorded
from course.teach.seed import class_secret
from course.teach.submissions import EARLIER, Collected, submitted

_CHECK = "nbgrader.preprocessors.CheckCellMetadata"


@dataclass
class Submission:
    """One student's submission, on its way through a run.

    Attributes:
        student: whose it is.
        path: where nbgrader looks for it; None if there is no such file.
        reason: why it can't be graded, if so.
        before: its points as they were recorded, if they were.
        by: what they were recorded from: "this" file and grader, an "older grader", an "earlier file", or in an
            unlucky "moment", which ended a process before its time.
        verdicts: as evaluated.
        cut_short: time, memory or a crash ended a process of it, twice.
        stays: it was recorded by an older grader, and is left so.
        unreadable: the reason is in the file, and nbgrader's row for the student says so.
    """

    student: str
    path: Path | None
    reason: str = ""
    before: dict[str, float | None] = field(default_factory=dict)
    by: str = ""
    verdicts: list[Verdict] = field(default_factory=list)
    cut_short: bool = False
    stays: bool = False
    unreadable: bool = False


class ClassRun:
    """One run over a class's submissions of an assignment.

    Args:
        project: the course.
        slug: the assignment.
        folder: the class.
        taken: what came of taking submissions in.
        new_seed: draw another secret first.
    """

    def __init__(
        self, project: Project, slug: str, folder: ClassFolder, taken: Collected, *, new_seed: bool = False
    ) -> None:
        self.project = project
        self.folder = folder
        self.taken = taken
        self.assignment = project.assignment(slug)
        self.config = folder.config
        self.points = {e.grade_id: e.points for e in self.assignment.exercises}
        said = class_points(project, slug, folder.root)
        self.points, self._parts = self.points | said.points, said.parts
        _registered(project, slug, folder, self.points)
        class_secret(folder.root, slug, new=new_seed)
        self.conditions = GradeSubmission(config=self.config).conditions(project, slug, folder.root)
        worth_ = {e.grade_id: self.points[e.grade_id] for e in self.assignment.exercises}
        self.grader = graded_by(self.conditions, worth_, parts=self._parts)
        self.submissions = list(self._found())

    def _found(self) -> Iterator[Submission]:
        slug = self.assignment.slug
        with self.folder.gradebook() as gradebook:
            for student, reason in self.taken.problems.items():
                yield Submission(student, None, reason, _scores(gradebook, slug, student))
            for student, path in submitted(slug, self.folder.root).items():
                if student in self.taken.problems:
                    continue
                if path.is_symlink() or not path.is_file():
                    others = sorted(p.name for p in path.parent.iterdir())
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
                    elif known and recorded.get(CUT_SHORT):
                        found.by = "moment"
                    elif known and (same_grader or UNGRADED not in recorded):
                        found.by = "this" if same_grader else "older grader"
                yield found

    def _recorded(self, student: str) -> dict[str, Any]:
        """What the notebook that was recorded says of its origin; nothing if there is none."""
        slug = self.assignment.slug
        return read_recorded(self.folder.autograded(student, slug) / f"{slug}.ipynb")

    # Evaluating -----------------------------------------------------------------------------------------------------

    def evaluate(self, wanted: Collection[Submission], jobs: int, tell: Callable[[Submission], None]) -> None:
        """Evaluate submissions on `jobs` cores; `tell` is called after each. Raises UserError if there is none.

        What the moment may have ended, such as a process that died or took too long beside others, is tried once more
        with the machine to itself.
        """
        again: list[Submission] = []
        for submission, outcome in self._evaluated([s for s in wanted if s.path is not None], jobs):
            if outcome is None or outcome.again:
                again.append(submission)
            else:
                self._take(submission, outcome)
                tell(submission)
        for one in again:
            for submission, outcome in self._evaluated([one], 1):
                self._take(submission, outcome or _DIED)
                tell(submission)

    def _take(self, submission: Submission, outcome: worker.Outcome) -> None:
        submission.reason, submission.unreadable = outcome.reason, outcome.unreadable
        if outcome.found is not None:
            submission.verdicts, submission.cut_short = outcome.found.verdicts, outcome.found.cut_short
            if outcome.found.cut_short:
                for_this_run(outcome.found)

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
        """Record what was evaluated through nbgrader, so that its export, formgrader and feedback have it.

        What stops nbgrader at one submission stops it at that one alone.
        """
        going = {s.student: s for s in wanted if not s.reason or s.unreadable}
        pending = set(going)
        while pending:
            recorder = Recorder.of(self.config, self.assignment.slug, pending, tell)
            recorder.run()
            done = {name for name in pending & recorder.begun if self._recorded(name).get(GRADER) == self.grader}
            recorder.settle(done)
            left = pending - done
            stopped = left & set(recorder.reasons) or (set() if done else left)  # if nobody, it ended too early: go on
            for name in stopped:
                reason = recorder.reasons.get(name, recorder.last or "it says nothing")
                going[name].reason, going[name].unreadable = f"nbgrader could not record it: {reason}", False
            pending = left - stopped
        self._for_a_human([s for s in self.submissions if s.reason and not s.unreadable and not s.before])

    def _for_a_human(self, left: Iterable[Submission]) -> None:
        """Mark what could not be graded, and never was, in the gradebook, so that it is no silent zero there."""
        slug = self.assignment.slug
        with self.folder.gradebook() as gradebook:
            for submission in left:
                gradebook.update_or_create_student(submission.student)
                entry = gradebook.update_or_create_submission(slug, submission.student)
                for notebook in entry.notebooks:
                    notebook.flagged = True
                    for grade in notebook.grades:
                        grade.auto_score, grade.needs_manual_grade = None, True
                gradebook.db.commit()

    # Telling --------------------------------------------------------------------------------------------------------

    @property
    def ungraded(self) -> list[Submission]:
        """Those that could not be graded, or not be recorded, by student."""
        return sorted((s for s in self.submissions if s.reason), key=lambda s: s.student)

    @property
    def unrecorded(self) -> list[str]:
        """Who, and which files, nothing was recorded of but that a human is needed."""
        return [*(s.student for s in self.ungraded), *(name for name, _ in self.taken.unplaced)]

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
        return [worth(v, self.points[i], parts=self._parts) for i, v in zip(ids, submission.verdicts, strict=False)]

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


_DIED = worker.Outcome("The grader itself ended while it graded this, twice: see whether the machine has memory left.")


# nbgrader's side ----------------------------------------------------------------------------------------------------


def _registered(project: Project, slug: str, folder: ClassFolder, points: dict[str, float]) -> None:
    """Enter the assignment into the gradebook, unless it is there with these points."""
    problem = other_cells(project, slug, folder.db_url)
    if problem:
        raise UserError(problem)
    if folder.has_gradebook():
        with folder.gradebook() as gradebook:
            try:
                cells = gradebook.find_notebook(slug, slug).grade_cells
                known = {cell.name: cell.max_score for cell in cells}
            except MissingEntry:
                known = {}
        if all(known.get(name) == worth_ for name, worth_ in points.items()):
            return
    register(project, slug, folder)


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
    tell: Callable[[], None]
    places: Mapping[str, str]  # where a submission lies → whose it is
    reasons: dict[str, str]  # student → why theirs could not be recorded
    last: str  # what else went wrong
    begun: set[str]  # whose submission was come to
    _aside: dict[str, tuple[Path, Path]]  # student → where what was recorded before is now, and where it was
    _ready = False

    @classmethod
    def of(cls, config: Config, slug: str, students: Collection[str], tell: Callable[[], None]) -> Recorder:
        """One that records the submissions of some students; `tell` is called for each."""
        config = copy.deepcopy(config)
        config.CourseDirectory.assignment_id = slug
        recorder = cls(coursedir=_Courses(config=config), config=config)
        recorder.students, recorder.tell = set(students), tell
        recorder.log = logging.getLogger(f"{__name__}.{slug}")
        recorder.reasons, recorder.last, recorder.begun, recorder._aside = {}, "", set(), {}
        return recorder

    def run(self) -> None:
        """Record. What went wrong is in `reasons`, student → why, and in `last`, if it was nobody's."""
        self.log.setLevel(logging.INFO)
        self.log.addHandler(handler := _Log(self))
        self.log.propagate = False
        try:
            with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
                self.start()
        except (NbGraderException, SystemExit):
            pass  # who is concerned shows by what is not recorded
        except Exception as problem:  # before or between submissions, such as a database that is gone
            self.last = f"{type(problem).__name__}: {problem}"
        finally:
            self.log.removeHandler(handler)

    def init_notebooks(self) -> None:
        """Say which notebooks are converted. Nbgrader's own list is made of patterns, which ids may look like."""
        slug = self.coursedir.assignment_id
        self.places = {self._format_source(slug, student): student for student in sorted(self.students)}
        self.assignments = {folder: [os.path.join(folder, f"{slug}.ipynb")] for folder in self.places}
        self.notebooks: list[str] = []

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        """Put what was recorded before aside, instead of removing it: it is there again if recording fails."""
        self.begun.add(student_id)
        place = Path(self._format_dest(assignment_id, student_id))
        make_folder(place.parent)  # nbgrader shares the folders above and below it with a group, and not this one
        if place.exists():
            aside = Path(self.coursedir.root, EARLIER, student_id, f"{assignment_id}-recorded")
            shutil.rmtree(aside, ignore_errors=True)
            make_folder(aside.parent)
            place.rename(aside)
            self._aside[student_id] = (aside, place)
        return True

    def settle(self, recorded: Collection[str]) -> None:
        """Remove what was put aside for those that are recorded, and put it back for others."""
        for student, (aside, place) in self._aside.items():
            if student not in recorded:
                shutil.rmtree(place, ignore_errors=True)
                aside.rename(place)
            else:
                shutil.rmtree(aside, ignore_errors=True)

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
        self.tell()
        self._init_preprocessors()
        BaseConverter.convert_single_notebook(self, notebook_filename)


class _Courses(CourseDirectory):
    """Where what lies; a moment of submission that can't be read is none, instead of the end of the run."""

    def get_existing_timestamp(self, dest_path: str) -> datetime | None:
        """The moment in a folder's timestamp.txt."""
        with suppress(OSError, ValueError):
            return moment_beside(Path(dest_path))
        return None


class _Log(logging.Handler):
    """Keeps what went wrong, by whose submission it was."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.ERROR)
        self._recorder = recorder
        self._student = ""

    def emit(self, record: logging.LogRecord) -> None:
        text, recorder = record.getMessage().strip(), self._recorder
        named = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        if named in recorder.places:
            self._student = recorder.places[named]
        elif text.startswith("Traceback") and self._student:
            recorder.reasons[self._student] = text.splitlines()[-1]
            self._student = ""
        else:
            recorder.last = text.splitlines()[-1]
