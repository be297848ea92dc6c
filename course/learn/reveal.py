"""`s30 reveal`: the course's solution of an exercise, put into the learner's notebook. Students don't receive this."""

from __future__ import annotations

from pathlib import Path

from autograder.engine.assignment import Exercise
from autograder.engine.inside.errors import UserError
from course.base.project import Project
from course.learn.progress import REVEALED
from course.learn.reset import put, released_cell


def reveal(project: Project, slug: str, exercise: Exercise) -> Path:
    """Put the solution of an exercise in, marked as revealed. Returns the copy of the notebook that was kept."""
    solution = project.solution(slug)
    if not solution.is_file():
        raise UserError(f"{solution} is not here, so there is nothing to reveal.")
    cell = released_cell(solution, exercise)
    back = f"# `s30 reset {slug[:2]} {exercise.name}` gives the stub back."
    source = "\n".join([REVEALED, back, "".join(cell["source"])])
    return put(project, slug, exercise, {**cell, "source": source})
