"""One of the processes that evaluate a class. It imports no more than it needs: nbgrader stays out."""

from __future__ import annotations

import ctypes
import signal
import sys
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from autograder.engine.border.sandbox import Sandbox
from autograder.engine.inside.notebook import NotebookError
from autograder.engine.judge.verdict import Verdict
from course.teach.evaluation import Conditions
from course.teach.intake import take_in

Outcome = tuple[str, bool, list[Verdict]]  # why it can't be graded, if so; whether that is in the file; the verdicts
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
        return "", False, _here.evaluate(notebook, student)
    except NotebookError as problem:
        return str(problem), True, []
    except Exception as problem:  # one submission never stops the others
        return f"{type(problem).__name__}: {problem}", False, []
