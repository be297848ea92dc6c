"""How far a learner is: the verdicts on the notebooks in work/, graded again only when something has changed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from dataclasses import dataclass
from pathlib import Path

from autograder.engine.assignment import Assignment, Exercise
from autograder.engine.grade import Verdict, grade, unreadable
from autograder.engine.notebook import Code, NotebookError, read_notebook
from course.catalog import Paper, catalog, in_study_order
from course.project import Project

REVEALED = "# Revealed: this is the course's solution."
RESULTS = ".results"  # in work/: the last verdicts on each notebook
PASSING = ("timeout",)  # endings that may be another one next time, so they are not stored


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
        return sum(v.status == "passed" and v.name not in self.revealed for v in self.verdicts)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return all(v.status == "passed" for v in self.verdicts)

    def next(self) -> Verdict | None:
        """The first exercise that is not right and that nothing else blocks."""
        open_ones = [v for v in self.verdicts if v.status not in ("passed", "blocked")]
        return open_ones[0] if open_ones else None


def progress(project: Project, slug: str) -> Progress | None:
    """Where the learner stands in an assignment, or None if it is not started."""
    notebook = project.work(slug)
    if not notebook.is_file():
        return None
    assignment = project.assignment(slug)
    names = [exercise.name for exercise in assignment.exercises]
    try:
        code = Code(read_notebook(notebook))
    except NotebookError as problem:
        return Progress(assignment, notebook, unreadable(assignment, str(problem), names), frozenset())
    revealed = frozenset(e.name for e in assignment.exercises if is_revealed(code, e))
    return Progress(assignment, notebook, _verdicts(project, assignment, notebook), revealed)


def is_revealed(code: Code, exercise: Exercise) -> bool:
    """Whether the counted definition of an exercise is a solution that `s30 reveal` put in."""
    found = code.definition(exercise.name, exercise.stub)
    return found is not None and found.cell.source.startswith(REVEALED)


def _verdicts(project: Project, assignment: Assignment, notebook: Path) -> list[Verdict]:
    """The verdicts on a notebook: those stored, if they are on this content by this grader."""
    store = project.root / "work" / RESULTS / f"{assignment.slug}.json"
    made_from = evaluated_from(project, assignment, notebook)
    try:
        stored = json.loads(store.read_bytes())
        if stored["made_from"] == made_from:
            return [Verdict(**verdict) for verdict in stored["verdicts"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or one that nobody can read: grade
    found = grade(notebook, assignment)
    if not any(v.status in PASSING for v in found):
        store.parent.mkdir(parents=True, exist_ok=True)
        draft = store.with_suffix(".writing")
        draft.write_text(json.dumps({"made_from": made_from, "verdicts": [v.as_json() for v in found]}))
        os.replace(draft, store)
    return found


def evaluated_from(project: Project, assignment: Assignment, notebook: Path) -> str:
    """A digest of all that the verdicts on a notebook depend on: its bytes, the grader, the engine, the libraries."""
    digest = hashlib.sha256()
    engine = sorted((project.root / "autograder" / "engine").glob("*.py"))
    for path in (notebook, project.release(assignment.slug), assignment.grader, assignment.key, *engine):
        digest.update(path.read_bytes() if path.is_file() else b"missing")
    for library in ("numpy", "torch"):
        try:
            digest.update(importlib.metadata.version(library).encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(b"missing")
    return digest.hexdigest()


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
