"""Masters → release, solutions and keys, with nbgrader's own converters.

Everything is made in a staging folder and put in place only when all of it succeeded.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.engine.inside.errors import UserError
from autograder.engine.inside.wire import WireError, decode
from autograder.engine.judge.compare import compare
from autograder.engine.judge.keys import AnswerKeyError, digest, read_tree, record_key, write_key
from course.base.files import write_whole
from course.base.nbgrader import convert, nbgrader_config
from course.base.project import Project

# nbgrader leaves metadata and outputs of a solution alone except for these steps of its own
_UNEXECUTED = "nbgrader.preprocessors.Execute"


class BuildError(UserError):
    """A master that does not compile; the message says where and why."""


@dataclass(frozen=True)
class Built:
    """What was compiled from one master."""

    slug: str
    release: bytes
    solution: bytes
    key: dict[str, Any]


@contextlib.contextmanager
def _staging(project: Project, slug: str) -> Iterator[Project]:
    """A copy of the project with this master and its grader, in which to compile."""
    with tempfile.TemporaryDirectory(prefix="s30-build-") as folder:
        staged = Project(Path(folder))
        shutil.copytree(project.source(slug).parent, staged.source(slug).parent)
        for path, staged_path in (
            (project.grader(slug), staged.grader(slug)),
            (project.mistakes(slug), staged.mistakes(slug)),
            (project.root / "nbgrader_config.py", staged.root / "nbgrader_config.py"),
        ):
            if path.is_file():
                staged_path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, staged_path)
        before = os.environ.get("S30_ROOT")
        os.environ["S30_ROOT"] = folder  # the executed solution's check looks here
        try:
            yield staged
        finally:
            if before is None:
                del os.environ["S30_ROOT"]
            else:
                os.environ["S30_ROOT"] = before


def made_from(project: Project, slug: str) -> dict[str, str]:
    """Digests of what an assignment is compiled from."""
    parts = {"master": project.source(slug), "grader": project.grader(slug), "mistakes": project.mistakes(slug)}
    return {name: digest(path) for name, path in parts.items()}


def compile_assignment(project: Project, slug: str, *, execute: bool = True) -> Built:
    """Compile one master.

    Args:
        project: where it lies.
        slug: the assignment.
        execute: run the solution; without, it has no outputs.
    """
    if not project.source(slug).is_file():
        raise BuildError(f"{project.source(slug)} does not exist.")
    if not project.grader(slug).is_file():
        raise BuildError(f"{project.grader(slug)} does not exist: write its probes.")
    strays = [p.name for p in project.source(slug).parent.iterdir() if p != project.source(slug) and p.name[0] != "."]
    if strays:
        raise BuildError(f"{project.source(slug).parent} holds {', '.join(strays)}, which nbgrader would release.")
    with _staging(project, slug) as staged:
        config = nbgrader_config(staged, staged.root)
        convert("assignment", slug, config)
        steps = config.GenerateSolution.preprocessors
        convert("solution", slug, config, preprocessors=[step for step in steps if step != _UNEXECUTED])
        try:
            key = record_key(staged.assignment(slug), staged.mistakes(slug), made_from(project, slug))
        except Exception as problem:
            raise BuildError(f"{slug}: {problem}") from problem
        write_key(key, staged.key(slug))
        if execute:
            convert("solution", slug, config)
        return Built(slug, staged.release(slug).read_bytes(), staged.solution(slug).read_bytes(), key)


def install(project: Project, built: Built) -> None:
    """Put what was compiled in its place."""
    for path, content in (
        (project.release(built.slug), built.release),
        (project.solution(built.slug), built.solution),
    ):
        write_whole(path, content)
    write_key(built.key, project.key(built.slug))


def is_current(project: Project, slug: str) -> bool:
    """Whether an assignment was compiled from the master, grader and mistakes as they are now."""
    if not (project.release(slug).is_file() and project.solution(slug).is_file()):
        return False
    try:
        return read_tree(project.key(slug))["made_from"] == made_from(project, slug)
    except (AnswerKeyError, KeyError):
        return False


def stale(project: Project, slug: str) -> list[str]:
    """How release/, solutions/ (outputs excepted) and keys/ differ from what source/ gives; empty if they don't."""
    built = compile_assignment(project, slug, execute=False)
    found = []
    release, solution, key = project.release(slug), project.solution(slug), project.key(slug)
    if not release.is_file() or release.read_bytes() != built.release:
        found.append(f"{release.relative_to(project.root)} is not what its master gives")
    if not solution.is_file() or _without_outputs(solution.read_bytes()) != _without_outputs(built.solution):
        found.append(f"{solution.relative_to(project.root)} is not what its master gives")
    try:
        where = _differs(read_tree(key), json.loads(json.dumps(built.key)), "")
    except AnswerKeyError:
        where = "missing or damaged"
    if where:
        found.append(f"{key.relative_to(project.root)} is not what its grader and reference give ({where})")
    return found


def _without_outputs(raw: bytes) -> Any:
    try:
        notebook = json.loads(raw)
    except ValueError:
        return None
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return notebook


def _differs(a: Any, b: Any, path: str) -> str | None:
    """Where two JSON trees of keys differ, up to rounding of the numbers in them."""
    if isinstance(a, dict) and isinstance(b, dict) and a and "data" in a and list(a) == list(b):
        try:
            return path if compare(decode(a), decode(b), rtol=1e-6, atol=1e-9) else None
        except WireError:
            return path
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{path}: {sorted(a.keys() ^ b.keys())}"
        return next((found for k in a if (found := _differs(a[k], b[k], f"{path}/{k}"))), None)
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{path}: {len(a)} and {len(b)} items"
        return next(
            (f for i, (x, y) in enumerate(zip(a, b, strict=True)) if (f := _differs(x, y, f"{path}/{i}"))), None
        )
    if isinstance(a, float) and isinstance(b, float):
        return path if compare(a, b, rtol=1e-6, atol=1e-9) else None
    return None if a == b else path
