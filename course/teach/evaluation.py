"""Evaluating submissions: with a class's secret seed, in the sandbox, and never twice."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from autograder.engine.border.runner import Runner
from autograder.engine.border.sandbox import runner_for_others
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import Cell
from autograder.engine.inside.records import Limits
from autograder.engine.judge.grade import grade
from autograder.engine.judge.verdict import Status, Verdict
from course.base.project import LESSONS, Project
from course.base.results import Results, digest_of, grader_digest
from course.teach.seed import class_secret, expected, seed_at, which_seed


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Under which conditions a class is graded.

    Attributes:
        project: the course.
        slug: the assignment.
        folder: the class's, with the secret seed and the verdicts that are kept.
        limits: of time and memory.
        runner: what runs submissions.
    """

    project: Project
    slug: str
    folder: Path
    limits: Limits
    runner: Runner

    @property
    def grader(self) -> str:
        """A digest of what grades: the grader, the seed, the limits, and whether there is a sandbox."""
        return grader_digest(self.project, self.project.assignment(self.slug), self._aside())

    def _aside(self) -> str:
        return f"{class_secret(self.folder, self.slug)} {self.limits} {self.runner.warning}"

    def warm_up(self) -> None:
        """Do once what every process that is started with these conditions would do for itself."""
        self.runner.warm_up(self.project.assignment(self.slug))
        with contextlib.suppress(UserError):  # it is told of each submission that needs it
            expected(self.project, self.slug, self.folder, 0)

    def evaluate(self, notebook: dict[str, Any], student: str, *, attempts: int = 2) -> Evaluated:
        """The verdicts on a submission that was taken in: those kept, if they are on this content.

        What was cut short (by time, memory, a crash) may be the moment's fault: it is tried again, up to so many
        `attempts`, and never kept.
        """
        assignment = self.project.assignment(self.slug)
        results = Results(self.folder / "results" / self.slug)
        cells = [
            Cell(n, cell["cell_type"], cell["source"], cell["metadata"]) for n, cell in enumerate(notebook["cells"], 1)
        ]
        made_from = digest_of(self.project, assignment, self._aside(), cells)
        kept = results.get(student, made_from)
        if kept is not None:
            return Evaluated(kept, made_from)
        if made_from in _cut_short:
            return Evaluated(_cut_short[made_from], made_from, cut_short=True)
        secret = class_secret(self.folder, self.slug)
        which = which_seed(secret, made_from)
        for left in reversed(range(attempts)):
            before = self.runner.cut_short
            try:
                found = grade(
                    cells,
                    assignment,
                    seed=seed_at(secret, which),
                    runner=self.runner,
                    limits=self.limits,
                    expected=lambda: expected(self.project, self.slug, self.folder, which),
                )
            except UserError:  # such as a sandbox that was ended from outside
                if left:
                    continue
                raise
            cut_short = self.runner.cut_short > before
            if not cut_short:
                results.put(student, made_from, found)
                break
        return Evaluated(found, made_from, cut_short)


class Evaluated(NamedTuple):
    """What came of evaluating a submission.

    Attributes:
        verdicts: on each exercise.
        made_from: a digest of all that they depend on.
        cut_short: time, memory or a crash ended one of its processes: another moment might have others.
    """

    verdicts: list[Verdict]
    made_from: str
    cut_short: bool = False


_cut_short: dict[str, list[Verdict]] = {}  # by what they are made from


def for_this_run(found: Evaluated) -> None:
    """Let verdicts that are not kept be recorded by this process, as another one has reached them."""
    _cut_short[found.made_from] = found.verdicts


@lru_cache(maxsize=2)
def class_runner(allow_unsandboxed: bool) -> Runner:
    """What runs submissions, for as long as this process lives. Raises UserError if there is no sandbox."""
    runner = runner_for_others(LESSONS, allow_unsandboxed=allow_unsandboxed)
    atexit.register(runner.close)
    return runner


def graded_by(conditions: Conditions, points: dict[str, float], *, parts: bool = True) -> str:
    """A digest of what recorded scores depend on beside the submission: what grades, and what each check is worth."""
    counted = sorted((name, float(worth_)) for name, worth_ in points.items())
    listed = json.dumps(counted if parts else [*counted, "whole"])
    return f"{conditions.grader}-{hashlib.sha256(listed.encode()).hexdigest()[:8]}"


def worth(verdict: Verdict, max_points: float, *, parts: bool = True) -> Verdict:
    """The verdict with the points that its exercise has in a class, which may count the `parts` of one or not."""
    share = verdict.points / verdict.max_points if verdict.max_points else 0.0
    share = share if parts or verdict.status == Status.PASSED else 0.0
    points = min(max(round(share * max_points, 6), 0.0), max_points)
    return dataclasses.replace(verdict, points=points, max_points=max_points)
