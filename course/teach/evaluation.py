"""Evaluating submissions: with a class's secret seed, in the sandbox, and never twice."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import hashlib
import json
from functools import lru_cache
from typing import Any

from autograder.engine.border.runner import Runner
from autograder.engine.border.sandbox import runner_for_others
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import Cell
from autograder.engine.inside.records import Limits
from autograder.engine.judge.grade import grade
from autograder.engine.judge.verdict import Verdict
from course.base.project import LESSONS, Project
from course.base.results import Results, digest_of, grader_digest
from course.teach.seed import class_folder, class_secret, expected, seed_at, which_seed


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Under which conditions a class is graded.

    Attributes:
        project: the course.
        slug: the assignment.
        db_url: the class's gradebook; the secret seed and the verdicts that are kept lie beside it.
        limits: of time and memory.
        runner: what runs submissions.
    """

    project: Project
    slug: str
    db_url: str
    limits: Limits
    runner: Runner

    @property
    def grader(self) -> str:
        """A digest of what grades: the grader, the seed, the limits, and whether there is a sandbox."""
        return grader_digest(self.project, self.project.assignment(self.slug), self._aside())

    def _aside(self) -> str:
        return f"{class_secret(self.db_url, self.slug)} {self.limits} {self.runner.warning}"

    def warm_up(self) -> None:
        """Do once what every process that is started with these conditions would do for itself."""
        self.runner.warm_up(self.project.assignment(self.slug))
        with contextlib.suppress(UserError):  # it is told of each submission that needs it
            expected(self.project, self.slug, self.db_url, 0)

    def evaluate(self, notebook: dict[str, Any], student: str) -> list[Verdict]:
        """The verdicts on a submission that was taken in: those kept, if they are on this content."""
        assignment = self.project.assignment(self.slug)
        results = Results(class_folder(self.db_url) / "results" / self.slug)
        cells = [
            Cell(n, cell["cell_type"], cell["source"], cell["metadata"]) for n, cell in enumerate(notebook["cells"], 1)
        ]
        made_from = digest_of(self.project, assignment, self._aside(), cells)
        found = results.get(student, made_from)
        if found is None:
            secret = class_secret(self.db_url, self.slug)
            which = which_seed(secret, made_from)
            found = grade(
                cells,
                assignment,
                seed=seed_at(secret, which),
                runner=self.runner,
                limits=self.limits,
                expected=lambda: expected(self.project, self.slug, self.db_url, which),
            )
            results.put(student, made_from, found)
        return found


@lru_cache(maxsize=2)
def class_runner(allow_unsandboxed: bool) -> Runner:
    """What runs submissions, for as long as this process lives. Raises UserError if there is no sandbox."""
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
