"""How far a learner is: the verdicts on the notebooks in work/, graded again only when something has changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autograder.engine.assignment import Assignment, Exercise
from autograder.engine.inside.notebook import Cell, Code, NotebookError, read_notebook
from autograder.engine.judge.grade import grade, unreadable
from autograder.engine.judge.verdict import Status, Verdict
from course.base.catalog import Paper, catalog, in_study_order
from course.base.project import Project
from course.base.results import Results, digest_of

REVEALED = "# Revealed: this is the course's solution."
RESULTS = ".results"  # in work/: the last verdicts on each notebook


@dataclass(frozen=True)
class Progress:
    """Where a learner stands in one assignment.

    Attributes:
        assignment: which.
        notebook: the learner's file.
        verdicts: one per exercise, in the notebook's order.
        revealed: exercises whose solution was put in with `s30 reveal`.
    """

    assignment: Assignment
    notebook: Path
    verdicts: list[Verdict]
    revealed: frozenset[str]

    @property
    def points(self) -> float:
        """Points for what the learner solved; a revealed solution earns none."""
        return sum(v.points for v in self.verdicts if v.name not in self.revealed)

    @property
    def solved(self) -> int:
        """Exercises that the learner solved."""
        return sum(v.status == Status.PASSED and v.name not in self.revealed for v in self.verdicts)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return all(v.status == Status.PASSED for v in self.verdicts)

    def next(self) -> Verdict | None:
        """The first exercise that is not right and that nothing else blocks."""
        open_ones = [v for v in self.verdicts if v.status not in (Status.PASSED, Status.BLOCKED)]
        return open_ones[0] if open_ones else None


def progress(project: Project, slug: str) -> Progress | None:
    """Where the learner stands in an assignment, or None if it is not started."""
    notebook = project.work(slug)
    if not notebook.is_file():
        return None
    assignment = project.assignment(slug)
    names = [exercise.name for exercise in assignment.exercises]
    try:
        cells = read_notebook(notebook)
    except NotebookError as problem:
        return Progress(assignment, notebook, unreadable(assignment, str(problem), names), frozenset())
    code = Code(cells)
    revealed = frozenset(e.name for e in assignment.exercises if is_revealed(code, e))
    return Progress(assignment, notebook, _verdicts(project, assignment, notebook, cells), revealed)


def is_revealed(code: Code, exercise: Exercise) -> bool:
    """Whether the counted definition of an exercise is a solution that `s30 reveal` put in."""
    found = code.definition(exercise.name, exercise.stub)
    return found is not None and found.cell.source.startswith(REVEALED)


def _verdicts(project: Project, assignment: Assignment, notebook: Path, cells: list[Cell]) -> list[Verdict]:
    """The verdicts on a notebook: those kept, if they are on these cells by this grader."""
    results = Results(project.root / "work" / RESULTS)
    made_from = digest_of(project, assignment, "", cells)
    found = results.get(assignment.slug, made_from)
    if found is None:
        found = grade(notebook, assignment)
        if not any(v.status == Status.TIMEOUT for v in found):  # it may be in time when it is tried again
            results.put(assignment.slug, made_from, found)
    return found


# What comes next ------------------------------------------------------------------------------------------------------


def current(project: Project) -> Progress | None:
    """The assignment that the learner is at: the one last saved that is not complete."""
    started = [slug for slug in project.slugs() if project.work(slug).is_file()]
    for slug in sorted(started, key=lambda s: project.work(s).stat().st_mtime_ns, reverse=True):
        found = progress(project, slug)
        if found is not None and not found.complete:
            return found
    return None


def to_start(project: Project) -> Paper | None:
    """The assignment to begin next: the first in the order of study that is written and not started."""
    written = set(project.slugs())
    for paper in in_study_order(catalog().values()):
        if paper.slug in written and not project.work(paper.slug).exists():
            return paper
    return None
