"""Evaluating submissions: with a class's secret seed, in the sandbox, and never twice."""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
import json
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Any

from autograder.engine.border.runner import Runner
from autograder.engine.border.sandbox import runner_for_others
from autograder.engine.inside.notebook import MAX_NOTEBOOK_BYTES, Cell, NotebookError
from autograder.engine.inside.records import Limits
from autograder.engine.judge.grade import grade
from autograder.engine.judge.verdict import Verdict
from course.base.files import write_whole
from course.base.project import LESSONS, Project
from course.base.results import Results, digest_of, grader_digest


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Under which conditions a class is graded.

    Attributes:
        project: the course.
        slug: the assignment.
        db_url: the class's gradebook; the secret seed and the verdicts that are kept lie beside it.
        limits: of time and memory.
        allow_unsandboxed: grade without a sandbox where there is none.
    """

    project: Project
    slug: str
    db_url: str
    limits: Limits
    allow_unsandboxed: bool

    @property
    def runner(self) -> Runner:
        """What runs submissions, for as long as this process lives. Raises SandboxError if there is no sandbox."""
        return _runner(self.allow_unsandboxed)

    @property
    def grader(self) -> str:
        """A digest of what grades: the grader, the seed, the limits, and whether there is a sandbox."""
        return grader_digest(self.project, self.project.assignment(self.slug), self._aside())

    def _aside(self) -> str:
        return f"{class_seed(self.db_url, self.slug)} {self.limits} {self.runner.warning}"

    def evaluate(self, notebook: dict[str, Any], student: str) -> list[Verdict]:
        """The verdicts on a submission that was read and repaired: those kept, if they are on this content.

        Raises NotebookError if there is too much of it.
        """
        assignment = self.project.assignment(self.slug)
        results = Results(class_folder(self.db_url) / "results" / self.slug)
        cells = [
            Cell(n, cell["cell_type"], cell["source"], cell["metadata"]) for n, cell in enumerate(notebook["cells"], 1)
        ]
        made_from = digest_of(self.project, assignment, self._aside(), cells)
        found = results.get(student, made_from)
        if found is None:
            if sum(len(cell.source) for cell in cells) > MAX_NOTEBOOK_BYTES:
                raise NotebookError(f"Its text is longer than {MAX_NOTEBOOK_BYTES // 2**20} MB and was not graded.")
            seed = class_seed(self.db_url, self.slug)
            found = grade(cells, assignment, seed=seed, runner=self.runner, limits=self.limits)
            results.put(student, made_from, found)
        return found


@lru_cache(maxsize=2)
def _runner(allow_unsandboxed: bool) -> Runner:
    runner = runner_for_others(LESSONS, allow_unsandboxed=allow_unsandboxed)
    atexit.register(runner.close)
    return runner


def graded_by(conditions: Conditions, points: dict[str, float]) -> str:
    """A digest of what recorded scores depend on beside the submission: what grades, and what each check is worth."""
    listed = json.dumps(sorted((name, float(worth_)) for name, worth_ in points.items()))
    return f"{conditions.grader}-{hashlib.sha256(listed.encode()).hexdigest()[:8]}"


def worth(verdict: Verdict, max_points: float) -> Verdict:
    """The verdict with the points that its exercise has in a class."""
    share = verdict.points / verdict.max_points if verdict.max_points else 0.0
    points = min(max(round(share * max_points, 6), 0.0), max_points)
    return dataclasses.replace(verdict, points=points, max_points=max_points)


def class_folder(db_url: str) -> Path:
    """The folder of a class: that of its SQLite gradebook, else the current one."""
    return Path(db_url.removeprefix("sqlite:///")).parent if db_url.startswith("sqlite:///") else Path.cwd()


def class_seed(db_url: str, slug: str, *, new: bool = False) -> int:
    """The secret seed of an assignment for the class whose gradebook this is; drawn when first asked for.

    It lies in the class's folder, readable by its owner only.

    Args:
        db_url: the gradebook.
        slug: the assignment.
        new: draw another one in its place.
    """
    path = class_folder(db_url) / "secret_seeds.json"
    seeds = json.loads(path.read_text()) if path.is_file() else {}
    if new or slug not in seeds:
        seeds[slug] = secrets.randbelow(2**31) + 1000
        write_whole(path, json.dumps(seeds, indent=1), private=True)
    return int(seeds[slug])
