"""Taking a submission in: it is read, repaired, cleaned and analysed in a process of its own, with limits.

What a stranger made is parsed, and a parser may take any time and memory over it. So what may take too much comes first
here, where it costs one submission a sentence; the same work afterwards is known to be within the limits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from autograder.engine.assignment import Assignment, with_needs
from autograder.engine.inside.notebook import MAX_NOTEBOOK_BYTES, Cell, Code, NotebookError
from course.base.project import Project
from course.teach.reading import Tree, read_submission, repair

SECONDS = 15  # of processor time, for one submission; an honest one takes a hundredth of it
MEMORY_MB = 3000
MAX_CODE = 500_000  # characters of a cell of code
MAX_WORDS = 5_000_000  # characters of any other cell, which may hold a picture
_ROOT = Path(__file__).resolve().parents[2]


def take_in(path: Path, slug: str, project: Project) -> tuple[Tree, list[str]]:
    """A submitted notebook, ready to be graded and shown.

    Args:
        path: the file that was handed in; it is not changed.
        slug: the assignment.
        project: the course.

    Returns:
        The notebook, and the ids of cells that were missing and come back from the release.

    Raises:
        NotebookError: it is no notebook, or there is too much of it.
    """
    command = [sys.executable, "-P", "-m", "course.teach.intake", str(path.absolute()), slug, str(project.root)]
    around = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        ran = subprocess.run(command, env=around, capture_output=True, timeout=10 * SECONDS)
        answer = json.loads(ran.stdout)
    except (subprocess.TimeoutExpired, ValueError):  # killed, by its limits or by the machine
        raise NotebookError(f"{path} takes too much time or memory to read, and was not graded.") from None
    if "problem" in answer:
        raise NotebookError(answer["problem"].replace(command[4], str(path)))
    return answer["notebook"], answer["missing"]


def _taken_in(path: Path, slug: str, project: Project) -> tuple[Tree, list[str]]:
    """What :func:`take_in` does in the process of its own."""
    from course.teach.cleaning import clean

    release = project.release(slug)
    notebook = read_submission(path)
    for number, cell in enumerate(notebook["cells"], 1):
        most = MAX_CODE if cell["cell_type"] == "code" else MAX_WORDS
        if len(cell["source"]) > most:
            raise NotebookError(f"Cell {number} of {path} has more than {most:,} characters, and it was not graded.")
    if sum(len(cell["source"]) for cell in notebook["cells"]) > MAX_NOTEBOOK_BYTES:
        raise NotebookError(f"The text of {path} is longer than {MAX_NOTEBOOK_BYTES // 2**20} MB and was not graded.")
    missing = repair(notebook, release)
    clean(notebook, release)
    _analyse(notebook, project.assignment(slug))
    return notebook, missing


def _analyse(notebook: Tree, assignment: Assignment) -> None:
    """Do what grading does with the text alone, to see that it ends."""
    from autograder.engine.judge.grade import later_stubs, static_verdicts

    code = Code([Cell(n, cell["cell_type"], cell["source"]) for n, cell in enumerate(notebook["cells"], 1)])
    static_verdicts(assignment, code, with_needs(assignment.exercises, {e.name for e in assignment.exercises}))
    later_stubs(assignment, code)


def _limit() -> None:
    """Let the system end this process when it takes too much."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB * 2**20, MEMORY_MB * 2**20))


def main(path: str, slug: str, root: str) -> None:
    """Print what :func:`take_in` reads."""
    _limit()
    try:
        notebook, missing = _taken_in(Path(path), slug, Project(Path(root)))
        answer = {"notebook": notebook, "missing": missing}
    except NotebookError as problem:
        answer = {"problem": str(problem)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
