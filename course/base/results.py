"""Verdicts that were reached, kept with a digest of all that they depend on, so that nothing is graded twice.

A verdict is a function of the submission, the grader, the libraries and the seed. What is kept for other ones is not
used.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from autograder.engine.assignment import Assignment
from autograder.engine.inside.notebook import Cell
from autograder.engine.judge.verdict import Verdict
from course.base.files import write_whole
from course.base.fingerprints import fingerprint
from course.base.project import Project

LIBRARIES = ("numpy", "torch")


def digest_of(project: Project, assignment: Assignment, conditions: str, cells: Iterable[Cell]) -> str:
    """A digest of all that the verdicts on a notebook depend on.

    Of the notebook these are the places and texts of its code: words, outputs, counts and layout decide nothing.
    """
    digest = hashlib.sha256(grader_digest(project, assignment, conditions).encode())
    for cell in cells:
        if cell.type == "code":
            digest.update(json.dumps([cell.number, cell.source, cell.nbgrader.get("grade_id")]).encode())
    return digest.hexdigest()


def grader_digest(project: Project, assignment: Assignment, conditions: str) -> str:
    """A digest of what grades: stub, probes, key, reference, engine, libraries, and under what other conditions."""
    depends_on = [fingerprint(project, assignment.slug, "results"), _libraries(), conditions]
    return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:16]


@cache
def _libraries() -> list[str]:
    """The versions of what computes."""
    found = []
    for library in LIBRARIES:
        try:
            found.append(importlib.metadata.version(library))
        except importlib.metadata.PackageNotFoundError:
            found.append("missing")
    return found


class Results:
    """The last verdicts on each of some notebooks, a file for each.

    Args:
        folder: where the files are; made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str, made_from: str) -> list[Verdict] | None:
        """What is kept for the notebook called `name`, if it depends on exactly `made_from`."""
        try:
            kept = json.loads(self._path(name).read_bytes())
            if kept["made_from"] == made_from:
                return [Verdict.from_tree(verdict) for verdict in kept["verdicts"]]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing, or nothing that can be read
        return None

    def put(self, name: str, made_from: str, verdicts: list[Verdict]) -> None:
        """Keep verdicts in place of those that were kept for `name`; whole or not at all."""
        kept = {"made_from": made_from, "verdicts": [v.as_tree() for v in verdicts]}
        write_whole(self._path(name), json.dumps(kept))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
