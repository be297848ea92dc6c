"""What the notebooks import and people run. A notebook's set-up cell says ``check = course.checker("03")``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course.check import Checker

__all__ = ["checker"]


def checker(number: str) -> Checker:
    """The check of one assignment, for its notebook: ``check("exercise")`` explains and returns the points.

    Args:
        number: the assignment's number, such as "03".
    """
    from course.base.project import Project
    from course.check import Checker

    return Checker(Project().assignment(number))
