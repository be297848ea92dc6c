"""What the commands of the three wings share."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console

from autograder.engine.assignment import Exercise
from autograder.engine.inside.errors import UserError
from course.base.project import Project

Numbers = Annotated[list[str] | None, typer.Argument(metavar="[NN]...", help="Assignments, such as 03. Default: all.")]
Number = Annotated[str, typer.Argument(metavar="NN", help="An assignment, such as 03.")]
OneOrAll = Annotated[str | None, typer.Argument(metavar="[NN]", help="An assignment, such as 03.")]
Name = Annotated[str, typer.Argument(metavar="EXERCISE", help="The name of its function or class.")]
OneOrAllNames = Annotated[str | None, typer.Argument(metavar="[EXERCISE]", help="The name of its function or class.")]


def new_console() -> Console:
    """A console that prints plain text where NO_COLOR is set (no-color.org)."""
    return Console(color_system=None if os.environ.get("NO_COLOR") else "auto", highlight=False)


console = new_console()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def exercise_of(project: Project, slug: str, name: str) -> Exercise:
    """An exercise by its name. Raises UserError, with those that there are."""
    try:
        return project.assignment(slug).exercise(name)
    except KeyError as problem:
        raise UserError(problem.args[0]) from None
