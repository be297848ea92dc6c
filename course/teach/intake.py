"""Taking a submission in: it is read, repaired, cleaned and analysed in another process, with limits.

What a stranger made is parsed, and a parser may take any time and memory over it. So what may take too much comes first
there, where it costs one submission a sentence; the same work afterwards is known to be within the limits.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

from autograder.engine.assignment import Assignment, with_needs
from autograder.engine.border.runner import child_environment
from autograder.engine.inside.notebook import MAX_NOTEBOOK_BYTES, Cell, Code, NotebookError
from course.base.project import Project
from course.teach.mending import listed
from course.teach.reading import Tree, read_submission, repair

SECONDS = 15  # of processor time, for one submission; an honest one takes a hundredth of it
MEMORY_MB = 3000
MAX_CODE = 500_000  # characters of a cell of code
MAX_WORDS = 5_000_000  # characters of any other cell, which may hold a picture
_TOO_MUCH = "{} takes too much time or memory to read, and was not graded."


class TooMuch(NotebookError):
    """Reading a file ended in a way that may have been the moment's fault. Its own processor time is the file's."""


def take_in(path: Path, slug: str, project: Project) -> tuple[Tree, list[str]]:
    """A submitted notebook, ready to be graded and shown.

    Args:
        path: the file that was handed in; it is not changed.
        slug: the assignment.
        project: the course.

    Returns:
        The notebook, and what was mended in it or came back from the release, a sentence each.

    Raises:
        NotebookError: it is no notebook, or there is too much of it.
        TooMuch: reading it took too much memory, or was ended from outside.
        RuntimeError: something in it is not foreseen here.
    """
    answer = _reader.ask(str(path.absolute()), slug, str(project.root))
    if answer is None:
        raise TooMuch(_TOO_MUCH.format(path))
    if "fault" in answer:
        raise RuntimeError(f"{path} could not be taken in: {answer['fault']}")
    if "problem" in answer:
        raise NotebookError(answer["problem"].replace(str(path.absolute()), str(path)))
    return answer["notebook"], answer["notes"]


class _Reader:
    """A process that takes submissions in one after the other, and is started anew after one that was too much."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self._end)

    def ask(self, *request: str) -> dict[str, Any] | None:
        """What is said of a submission; None if that ends the process, which has read nothing else then."""
        with self._lock:
            used = self._process is not None
            answer = self._answer(request)
            return self._answer(request) if answer is None and used else answer

    def _answer(self, request: Sequence[str]) -> dict[str, Any] | None:
        if self._process is None:
            command = [sys.executable, "-P", "-m", "course.teach.intake"]
            self._process = subprocess.Popen(
                command, env=child_environment(), stdin=PIPE, stdout=PIPE, stderr=subprocess.DEVNULL
            )
        assert self._process.stdin
        assert self._process.stdout
        too_late = threading.Timer(10 * SECONDS, self._process.kill)
        too_late.start()
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
            return answer
        except (OSError, ValueError):  # killed, by its limits or by the machine
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
            ended = self._process.poll()
            self._end()
            return {"problem": _TOO_MUCH.format(request[0])} if ended == -signal.SIGXCPU else None
        finally:
            too_late.cancel()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(OSError):
                self._process.communicate()
            self._process = None


_reader = _Reader()


def _taken_in(path: Path, slug: str, project: Project) -> tuple[Tree, list[str]]:
    """What :func:`take_in` does in the other process."""
    from course.teach.cleaning import clean

    release = project.release(slug)
    notebook, notes = read_submission(path)
    for number, cell in enumerate(notebook["cells"], 1):
        most = MAX_CODE if cell["cell_type"] == "code" else MAX_WORDS
        if len(cell["source"]) > most:
            raise NotebookError(f"Cell {number} of {path} has more than {most:,} characters, and it was not graded.")
    if sum(len(cell["source"]) for cell in notebook["cells"]) > MAX_NOTEBOOK_BYTES:
        raise NotebookError(f"The text of {path} is longer than {MAX_NOTEBOOK_BYTES // 2**20} MB and was not graded.")
    missing = repair(notebook, release)
    if missing:
        notes.append(f"Missing, and back from the release: {listed(missing)}.")
    clean(notebook, release)
    _analyse(notebook, project.assignment(slug))
    return notebook, notes


def _analyse(notebook: Tree, assignment: Assignment) -> None:
    """Do what grading does with the text alone, to see that it ends."""
    from autograder.engine.judge.grade import later_stubs, static_verdicts

    code = Code([Cell(n, cell["cell_type"], cell["source"]) for n, cell in enumerate(notebook["cells"], 1)])
    static_verdicts(assignment, code, with_needs(assignment.exercises, {e.name for e in assignment.exercises}))
    later_stubs(assignment, code)


def _limit() -> None:
    """Let the system end this process when what it does next takes too much."""
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + SECONDS, hard))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB * 2**20, MEMORY_MB * 2**20))


def main() -> None:
    """Answer what :func:`take_in` asks, a line each, for as long as it asks."""
    for line in sys.stdin:
        path, slug, root = json.loads(line)
        _limit()
        try:
            notebook, notes = _taken_in(Path(path), slug, Project(Path(root)))
            answer = {"notebook": notebook, "notes": notes}
        except NotebookError as problem:
            answer = {"problem": str(problem)}
        except MemoryError:  # told by the end of this process, which has used it up
            raise
        except Exception as problem:
            answer = {"fault": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
