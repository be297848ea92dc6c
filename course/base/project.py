"""Where everything of the project lies, and which assignments there are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from autograder.engine.assignment import Assignment, Exercise, read_exercises
from autograder.engine.inside.errors import UserError
from course.base.catalog import catalog

SLUG = re.compile(r"\d\d_\w+")
LESSONS = (
    "course",
    "course.data",
    "course.dates",
    "course.gradcheck",
    "course.plots",
)  # what notebooks import; nothing else of the course is shown them


RUBRIC = "**What earns the points**"  # in the answer to a written question: below it stands its rubric


def default_root() -> Path:
    """The folder that holds course/, or the one that the environment variable S30_ROOT names."""
    return Path(os.environ.get("S30_ROOT") or Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class Project:
    """A copy of the course: the whole repository, or what a student received of it."""

    root: Path = field(default_factory=default_root)

    def source(self, slug: str) -> Path:
        """The master notebook."""
        return self.root / "source" / slug / f"{slug}.ipynb"

    def release(self, slug: str) -> Path:
        """The student stub."""
        return self.root / "release" / slug / f"{slug}.ipynb"

    def solution(self, slug: str) -> Path:
        """The executed worked solution, which is also the reference implementation."""
        return self.root / "solutions" / slug / f"{slug}.ipynb"

    def work(self, slug: str) -> Path:
        """The learner's own copy."""
        return self.root / "work" / slug / f"{slug}.ipynb"

    def grader(self, slug: str) -> Path:
        """The probes."""
        return self.root / "autograder" / "graders" / f"test_{slug}.py"

    def mistakes(self, slug: str) -> Path:
        """The known wrong implementations."""
        return self.root / "autograder" / "mistakes" / f"{slug}.toml"

    def alternatives(self, slug: str) -> Path:
        """The correct implementations unlike the reference."""
        return self.root / "autograder" / "alternatives" / f"{slug}.py"

    def oracle(self, slug: str) -> Path:
        """The tests of the reference against something independent of it."""
        return self.root / "tests" / "oracles" / f"test_{slug}.py"

    def audit(self, slug: str) -> Path:
        """How well the grader grades, as last measured."""
        return self.root / "autograder" / "audit" / f"{slug}.json"

    def key(self, slug: str) -> Path:
        """What the reference and the mistakes yield at the public seed."""
        return self.root / "autograder" / "keys" / f"{slug}.npz"

    def weights(self, slug: str) -> Path:
        """The small weights of an assignment that needs some, as `course.data.weights` reads them."""
        return self.root / "course" / "weights" / f"{slug[:2]}.npz"

    def slugs(self) -> list[str]:
        """Every assignment that has a released notebook or a master, in order."""
        found = {
            path.parent.name
            for folder in ("release", "source")
            for path in (self.root / folder).glob("*/*.ipynb")
            if SLUG.fullmatch(path.parent.name) and path.stem == path.parent.name
        }
        return sorted(found)

    def slug(self, name: str) -> str:
        """The slug of `03`, `3` or `03_lstm_understanding`."""
        wanted = name.strip().rstrip("/")
        for slug in self.slugs():
            if wanted == slug or wanted.zfill(2) == slug.split("_")[0]:
                return slug
        for slug, paper in catalog().items():
            if wanted == slug or wanted.zfill(2) == paper.number:
                raise UserError(f"{slug} is not written yet. `s30 list` shows what there is.")
        known = ", ".join(self.slugs()) or "none: is this the project's folder?"
        raise UserError(f"There is no assignment {name!r}. The assignments: {known}.")

    def assignment(self, name: str) -> Assignment:
        """The assignment as the grader sees it, read from its released notebook."""
        slug = self.slug(name)
        released = self.release(slug)
        solution = self.solution(slug)
        return Assignment(
            slug=slug,
            exercises=_exercises(slug, released, released.stat().st_mtime_ns if released.exists() else 0),
            grader=self.grader(slug),
            key=self.key(slug),
            reference=solution if solution.is_file() else None,
        )


@lru_cache(maxsize=64)
def _exercises(slug: str, released: Path, stamp: int) -> tuple[Exercise, ...]:
    return read_exercises(slug, released)
