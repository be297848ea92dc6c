"""`s30 watch`: every time the notebook is saved, the one exercise that the learner is on is checked again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from autograder.engine.assignment import Exercise
from autograder.engine.inside.notebook import Code, NotebookError, fingerprint, read_notebook
from autograder.engine.judge.grade import grade, unreadable
from autograder.engine.judge.verdict import Status, Verdict
from course.base.project import Project
from course.learn.progress import Progress, progress

EVERY = 0.3  # seconds between two looks at the file's time


def watch(project: Project, slug: str) -> Iterator[Verdict | Progress]:
    """Look at the learner's notebook for ever.

    Yields:
        First the progress. Then, after each save, the verdict on the exercise that the learner is on: the first of
        those whose code has changed, else the one shown before. After one that is passed, the progress again.
    """
    notebook, assignment = project.work(slug), project.assignment(slug)
    stamp, code = _stamp(notebook), _code(notebook)
    on = None
    while True:
        if on is None:  # at the start, and after an exercise that is solved
            found = progress(project, slug)
            assert found is not None  # it is started: its file was there a moment ago
            coming = found.next()
            on = assignment.exercise(coming.name) if coming else None
            yield found
        stamp = _next_save(notebook, stamp)
        before, code = code, _code(notebook)
        changed = [e for e in assignment.exercises if code and before and _state(before, e) != _state(code, e)]
        on = changed[0] if changed else on
        if on is None:
            continue
        try:
            [verdict] = grade(notebook, assignment, exercises=[on.name])
        except NotebookError as problem:
            [verdict] = unreadable(assignment, str(problem), [on.name])
        yield verdict
        if verdict.status == Status.PASSED:
            on = None


def _next_save(notebook: Path, stamp: tuple[int, int] | None) -> tuple[int, int]:
    """Wait until the file is another one than before. An editor that replaces it takes it away for a moment."""
    while (now := _stamp(notebook)) is None or now == stamp:
        time.sleep(EVERY)
    return now


def _stamp(notebook: Path) -> tuple[int, int] | None:
    """What changes when a file is saved."""
    try:
        stat = notebook.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _code(notebook: Path) -> Code | None:
    try:
        return Code(read_notebook(notebook))
    except NotebookError:
        return None


def _state(code: Code, exercise: Exercise) -> str | None:
    """What an exercise is now: its definition but for comments and layout, or the text that does not parse."""
    found, broken = code.definition(exercise.name, exercise.stub), code.breakage(exercise.name)
    return broken.cell.source if broken else fingerprint(found.node) if found else None
