"""Masters → release, solutions and keys, with nbgrader's own converters.

Everything is made in a staging folder (:mod:`course.make.build.compiling`) and put in place only when all of it
succeeded.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autograder.engine.border.runner import child_environment, end
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.wire import WireError, decode
from autograder.engine.judge.compare import compare
from autograder.engine.judge.keys import AnswerKeyError, packed, read_tree
from course.base.files import write_whole
from course.base.fingerprints import fingerprint
from course.base.nbgrader import convert, nbgrader_config
from course.base.project import Project

SAMPLE = 1  # how many mistakes of each exercise a check observes again: all would take longer than everything else
PATIENCE = 600.0  # seconds that compiling one assignment may take, without the execution of its solution


class BuildError(UserError):
    """A master that does not compile; the message says where and why."""


@dataclass(frozen=True)
class Built:
    """What was compiled from one master. A solution that was not executed has no outputs."""

    slug: str
    release: bytes
    solution: bytes
    key: dict[str, Any]
    executed: bool = False


def compile_assignment(project: Project, slug: str, *, execute: bool = True, each: int | None = None) -> Built:
    """Compile one master. Raises BuildError if it does not compile.

    Args:
        project: where it lies.
        slug: the assignment.
        execute: run the solution; without, it has no outputs.
        each: how many mistakes of each exercise are in its key; by default all.
    """
    [built] = compile_all(project, [slug], lambda _: execute, each=each)
    if isinstance(built, BuildError):
        raise built
    return built


def compile_all(
    project: Project,
    slugs: Sequence[str],
    execute: Callable[[Built], bool] = lambda _: False,
    *,
    each: int | None = None,
) -> Iterator[Built | BuildError]:
    """Compile masters, on all cores. Yields each as it is ready, or why it does not compile.

    Args:
        project: where they lie.
        slugs: the assignments.
        execute: which solutions to run.
        each: how many mistakes of each exercise are in their keys; by default all.
    """
    with tempfile.TemporaryDirectory(prefix="s30-build-") as folder:
        for slug, problem in _compiled(project, slugs, Path(folder), each):
            staged = Project(Path(folder) / slug)
            try:
                if problem:
                    raise BuildError(f"{slug}: {problem}")
                built = _read(staged, slug)
                if execute(built):
                    _execute(staged, slug)
                    built = replace(_read(staged, slug), executed=True)
                yield built
            except BuildError as told:
                yield told


def _compiled(project: Project, slugs: Sequence[str], folder: Path, each: int | None) -> Iterator[tuple[str, str]]:
    """Have masters compiled into `folder`. Yields each as it is ready, with why it does not compile, if so."""
    command = [sys.executable, "-P", "-m", "course.make.build.compiling", str(project.root.resolve()), str(folder)]
    with open(folder / "errors", "w+b") as errors:
        process = subprocess.Popen(
            [*command, str(PATIENCE), json.dumps(each), *slugs],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env=child_environment(**plain_kernels()),
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            with process.stdout as lines:
                yield from map(json.loads, lines)
            if status := process.wait():
                errors.seek(0)
                told = errors.read().decode(errors="replace").strip() or "something else ended its process"
                raise BuildError(f"Compiling stopped, with exit status {status}: {told}")
        finally:
            if process.poll() is None:
                end(process)


def plain_kernels() -> dict[str, str]:
    """The variables under which NumPy, torch and the C library compute as on the oldest processor that runs them.

    Each of these has code for several generations of processors, which round differently in the last digit.
    """
    newer = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    variables = {"NPY_DISABLE_CPU_FEATURES": " ".join(newer), "ATEN_CPU_CAPABILITY": "default"}
    if platform.machine() in ("x86_64", "AMD64"):
        variables |= {
            "OPENBLAS_CORETYPE": "Nehalem",  # the oldest whose blocks don't depend on the size of a cache
            "MKL_CBWR": "COMPATIBLE",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4",  # for exp, log, sin, …
        }
    return variables


def _read(staged: Project, slug: str) -> Built:
    return Built(
        slug, staged.release(slug).read_bytes(), staged.solution(slug).read_bytes(), read_tree(staged.key(slug))
    )


def _execute(staged: Project, slug: str) -> None:
    """Run a solution, with the kernels that this processor has: the outputs are what people see on theirs.

    Its pictures go into the stub.
    """
    before = os.environ.get("S30_ROOT")
    os.environ["S30_ROOT"] = str(staged.root)  # its check looks here
    try:
        for kind in ("solution", "assignment"):
            convert(kind, slug, nbgrader_config(staged, staged.root))
    except UserError as problem:
        raise BuildError(str(problem)) from problem
    finally:
        os.environ.pop("S30_ROOT")
        if before is not None:
            os.environ["S30_ROOT"] = before


def install(project: Project, built: Built) -> None:
    """Put what was compiled in its place. A solution that was not executed leaves the one that is there."""
    write_whole(project.release(built.slug), built.release)
    write_whole(project.key(built.slug), packed(built.key))
    if built.executed:
        write_whole(project.solution(built.slug), built.solution)


def is_current(project: Project, slug: str) -> bool:
    """Whether an assignment was compiled from the master, grader and mistakes as they are now, by the code as it is."""
    if not (project.release(slug).is_file() and project.solution(slug).is_file()):
        return False
    return _made_from(project, slug) == fingerprint(project, slug, "build")


def _made_from(project: Project, slug: str) -> dict[str, str]:
    try:
        return dict(read_tree(project.key(slug))["made_from"])
    except (AnswerKeyError, KeyError, TypeError, ValueError):
        return {}


def needs_execution(project: Project, built: Built) -> bool:
    """Whether the outputs of the solution that is there may be others now.

    They may if its master, its weights, its grader (a check in it shows points) or what notebooks import has changed,
    or if it says anything else.
    """
    before, now = _made_from(project, built.slug), fingerprint(project, built.slug, "build")
    same = all(before.get(name) == now.get(name) for name in ("source", "grader", "weights", "course"))
    return not same or not _says_the_same(project.solution(built.slug), built.solution)


def _says_the_same(path: Path, content: bytes) -> bool:
    return path.is_file() and _without_outputs(path.read_bytes()) == _without_outputs(content)


def stale(project: Project, slug: str) -> list[str]:
    """How release/, solutions/ (outputs excepted) and keys/ differ from what source/ gives; empty if they don't."""
    return differences(project, compile_assignment(project, slug, execute=False, each=SAMPLE))[0]


def differences(project: Project, built: Built) -> tuple[list[str], list[str]]:
    """How the files that are there differ from what was compiled: what is out of date, and what is only rounding.

    Of a key's mistakes those are compared that were compiled: where the digests of all that it was made from are equal,
    some tell of all.
    """
    found, rounded = [], []
    release, solution, key = project.release(built.slug), project.solution(built.slug), project.key(built.slug)
    if not release.is_file() or release.read_bytes() != built.release:
        found.append(f"{release.relative_to(project.root)} is not what its master gives")
    if not _says_the_same(solution, built.solution):
        found.append(f"{solution.relative_to(project.root)} is not what its master gives")
    try:
        compiled = {(mistake["exercise"], mistake["name"]) for mistake in built.key["mistakes"]}
        there = read_tree(key)
        there |= {"mistakes": [m for m in there["mistakes"] if (m["exercise"], m["name"]) in compiled]}
        where = _differs(there, built.key, "")
        if not where and packed(there) != packed(built.key):
            rounded.append(f"{key.relative_to(project.root)} was recorded where the last digits are rounded otherwise")
    except AnswerKeyError:
        where = "missing or damaged"
    if where:
        found.append(f"{key.relative_to(project.root)} is not what its grader and reference give ({where})")
    return found, rounded


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
