"""`s30 doctor`: what of this machine works, tried rather than looked up, and what to do about the rest."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from autograder.engine.border.sandbox import protection
from autograder.engine.inside.errors import UserError
from autograder.engine.judge.grade import public_key
from course.base.project import Project

PYTHON = (3, 11)
LIBRARIES = {"numpy": "every exercise", "torch": "the PyTorch exercises", "matplotlib": "the figures"}


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: its name.
        state: "ok"; "broken", if learners need it; "absent", if only some need it.
        found: what was seen.
        advice: what to do, if anything.
    """

    what: str
    state: str
    found: str
    advice: str = ""


def examine(project: Project) -> Iterator[Finding]:
    """Try everything, in the order in which one thing needs another."""
    yield _python()
    tested = _tested(project)
    for name, use in LIBRARIES.items():
        yield _library(name, use, tested)
    yield _jupyter()
    yield _course(project)
    yield _work(project)
    yield _nbgrader()
    yield _sandbox()


def _python() -> Finding:
    found = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info < PYTHON:
        return Finding("Python", "broken", found, "The course needs Python 3.11 or newer.")
    return Finding("Python", "ok", found)


def _tested(project: Project) -> dict[str, str]:
    """Library → the version that the course was tested with."""
    path = project.root / "constraints.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    return {name.lower(): version for line in lines for name, _, version in [line.partition("==")] if version}


_TRIALS: dict[str, Callable[..., bool]] = {
    "numpy": lambda m: float((m.ones((2, 3)) @ m.ones((3, 2))).sum()) == 12.0,
    "torch": lambda m: m.ones(3, requires_grad=True).sum().backward() is None,
    "matplotlib": lambda m: importlib.import_module("matplotlib.figure").Figure() is not None,
}


def _library(name: str, use: str, tested: dict[str, str]) -> Finding:
    pinned = tested.get(name, "")
    advice = f"For {use}: python -m pip install -c constraints.txt {name}"
    try:
        works = _TRIALS[name](importlib.import_module(name))
    except Exception as problem:  # a library that is half installed raises anything
        return Finding(name, "broken", f"{type(problem).__name__}: {problem}".splitlines()[0], advice)
    version = importlib.metadata.version(name)
    if not works:
        return Finding(name, "broken", f"{version} does not calculate as it should", advice)
    if pinned and version.split("+")[0] != pinned:
        return Finding(name, "ok", f"{version} (tested with {pinned})")
    return Finding(name, "ok", version)


def _jupyter() -> Finding:
    """Whether JupyterLab is here, and a kernel that it starts finds the course."""
    advice = "python -m pip install -c constraints.txt jupyterlab, or open the notebooks in VS Code or Colab."
    said: list[str] = []

    def listen(message: dict[str, Any]) -> None:
        content = message["content"]
        said.append(content.get("text") or content.get("evalue") or "")

    try:
        version = importlib.metadata.version("jupyterlab")
        manager, client = importlib.import_module("jupyter_client.manager").start_new_kernel(stderr=subprocess.DEVNULL)
        try:
            client.execute_interactive("import sys, course; print(sys.prefix)", timeout=30, output_hook=listen)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    except Exception as problem:
        return Finding("JupyterLab", "broken", f"{type(problem).__name__}: {problem}".splitlines()[0], advice)
    answer = "".join(said).strip()
    if answer != sys.prefix:
        make = f"Give it the course's Python: {sys.executable} -m ipykernel install --sys-prefix"
        return Finding("JupyterLab", "broken", f"{version}, but its kernel answers: {answer}", make)
    return Finding("JupyterLab", "ok", f"{version}, and its kernel finds the course")


def _course(project: Project) -> Finding:
    """Whether the released notebooks and their keys are here and belong together."""
    slugs = project.slugs()
    if not slugs:
        return Finding("assignments", "broken", f"none in {project.root}", "Is this the whole folder of the course?")
    for slug in slugs:
        try:
            public_key(project.assignment(slug))
        except UserError as problem:
            return Finding("assignments", "broken", f"{slug}: {problem}", "Get the course again, or run `s30 build`.")
    return Finding("assignments", "ok", f"{len(slugs)} in {project.root}")


def _work(project: Project) -> Finding:
    folder = project.root / "work"
    place = folder if folder.exists() else project.root
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as problem:
        return Finding("work/", "broken", f"{place}: {problem.strerror}", "Your notebooks go there: make it writable.")
    started = sum(project.work(slug).is_file() for slug in project.slugs())
    return Finding("work/", "ok", f"{started} started" if started else "nothing started: s30 start 00")


def _nbgrader() -> Finding:
    """Needed to teach and to build, not to learn."""
    try:
        return Finding("nbgrader", "ok", importlib.metadata.version("nbgrader"))
    except importlib.metadata.PackageNotFoundError:
        return Finding("nbgrader", "absent", "not installed", "To teach: pip install -c constraints.txt nbgrader")


def _sandbox() -> Finding:
    """Needed to grade other people's code; one's own needs none."""
    offered = protection()
    if not offered.sandboxed:
        advice = f"To grade other people's code (your own needs none): {offered.fix}"
        return Finding("sandbox", "absent", offered.problem, advice)
    found = "bubblewrap, no network, system calls filtered"
    return Finding("sandbox", "ok", f"{found}; {offered.problem}" if offered.problem else found)
