"""One of the processes that evaluate a class. It imports no more than it needs: nbgrader stays out."""

from __future__ import annotations

import ctypes
import signal
import sys
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NamedTuple

from autograder.engine.border.sandbox import Sandbox
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import NotebookError
from course.teach.evaluation import Conditions, Evaluated
from course.teach.intake import TooMuch, take_in


class Outcome(NamedTuple):
    """What came of a submission.

    Attributes:
        reason: why it can't be graded, if so.
        unreadable: whether that is in the file.
        again: whether it may have been the moment's fault.
        found: the verdicts.
    """

    reason: str = ""
    unreadable: bool = False
    again: bool = False
    found: Evaluated | None = None


_PR_SET_PDEATHSIG = 1
_here: Conditions


def begin(conditions: Conditions, begun: Synchronized[int]) -> None:
    """Make ready to evaluate under these conditions, as one of several workers, of which each adds one to `begun`."""
    global _here
    _here = conditions
    with begun.get_lock():
        number, begun.value = begun.value, begun.value + 1
    if isinstance(conditions.runner, Sandbox):
        conditions.runner.core = number
    if sys.platform == "linux":  # whatever ends the run ends its workers, and they end their sandboxes
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def evaluate(student: str, path: Path) -> Outcome:
    """Evaluate a submission. The verdicts are kept as well, for recording, and for a run after this one was killed."""
    try:
        notebook, _ = take_in(path, _here.slug, _here.project)
        found = _here.evaluate(notebook, student, attempts=1)
        return Outcome(found=found, again=found.cut_short)
    except NotebookError as problem:
        return Outcome(str(problem), unreadable=True, again=isinstance(problem, TooMuch))
    except Exception as problem:  # one submission never stops the others
        return Outcome(
            str(problem) if isinstance(problem, UserError) else f"{type(problem).__name__}: {problem}", again=True
        )
