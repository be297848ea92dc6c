"""Compiling in a process of its own: the stub, the solution before it is executed, and the key.

It is started as `python -m course.make.build.compiling ROOT FOLDER SECONDS EACH SLUG...`, under the plainest kernels,
so that a key's bytes don't depend on the processor that recorded it. It forks another process for every assignment,
which compiles into a folder named after it. A line of JSON on standard output says of each how it ended.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from autograder.engine.border.rounds import Ending
from autograder.engine.inside.errors import UserError
from autograder.engine.judge.keys import record_key, write_key
from course.base.fingerprints import fingerprint
from course.base.nbgrader import begin_gradebook, convert, nbgrader_config
from course.base.project import Project
from course.make.processes import in_processes

# What most assignments import, the optimizers of torch too. It is imported once, before the forks.
SHARED = ("nbgrader.converters", "torch._dynamo", "matplotlib.pyplot")
NOW = "now"  # in the folder of an assignment: what is being done, for the case that it never ends
_EXECUTE = "nbgrader.preprocessors.Execute"


def compile_into(project: Project, slug: str, staged: Project, each: int | None) -> str:
    """Compile one master into `staged`, with so many mistakes of each exercise in its key, or all.

    Returns why it does not compile; nothing if it does.
    """

    def tell(what: str) -> None:
        (staged.root / NOW).write_text(what, encoding="utf-8")

    try:
        staged.root.mkdir(parents=True)
        tell("the master")
        _copy(project, slug, staged)
        os.environ["S30_ROOT"] = str(staged.root)  # where a notebook's check looks
        config = nbgrader_config(staged, staged.root)
        begin_gradebook(config.CourseDirectory.db_url)  # which is thrown away
        convert("assignment", slug, config)
        steps = config.GenerateSolution.preprocessors
        convert("solution", slug, config, preprocessors=[step for step in steps if step != _EXECUTE])
        made_from = fingerprint(project, slug, "build")
        key = record_key(staged.assignment(slug), staged.mistakes(slug), made_from, tell, each=each)
        write_key(key, staged.key(slug))
    except Exception as problem:
        return str(problem) if isinstance(problem, UserError) else f"{type(problem).__name__}: {problem}"
    return ""


def _copy(project: Project, slug: str, staged: Project) -> None:
    """Copy what a master is compiled from."""
    for needed, told in ((project.source(slug), ""), (project.grader(slug), ": write its probes")):
        if not needed.is_file():
            raise UserError(f"{needed} does not exist{told}.")
    strays = [p.name for p in project.source(slug).parent.iterdir() if p != project.source(slug) and p.name[0] != "."]
    if strays:
        raise UserError(f"{project.source(slug).parent} holds {', '.join(strays)}, which nbgrader would release.")
    for path, copy in (
        (project.source(slug), staged.source(slug)),
        (project.grader(slug), staged.grader(slug)),
        (project.mistakes(slug), staged.mistakes(slug)),
        (project.solution(slug), staged.solution(slug)),  # for the pictures of the stub
        (project.root / "nbgrader_config.py", staged.root / "nbgrader_config.py"),
    ):
        if path.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


def compile_each(
    root: Path, folder: Path, seconds: float, each: int | None, slugs: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Compile assignments into `folder`, each in a process of its own. Yields each with why it does not compile."""
    work = {slug: partial(compile_into, Project(root), slug, Project(folder / slug), each) for slug in slugs}
    for slug, problem in in_processes(work, dict.fromkeys(slugs, seconds)):
        if isinstance(problem, Ending):
            now = (folder / slug / NOW).read_text(encoding="utf-8")
            yield slug, f"{problem.sentence} It was at {now}."
        else:
            yield slug, problem


def main() -> None:
    """Compile, and say how each assignment ended."""
    root, folder, seconds, each, *slugs = sys.argv[1:]
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a grader prints is not for whoever listens
    if len(slugs) > 1:
        for module in SHARED:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
    for slug, problem in compile_each(Path(root), Path(folder), float(seconds), json.loads(each), slugs):
        print(json.dumps([slug, problem]), file=told, flush=True)


if __name__ == "__main__":
    main()
