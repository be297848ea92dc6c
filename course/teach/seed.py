"""A class's secrets: of each assignment a number, the seeds that follow from it, and what the reference yields at them.

They lie in the class's folder, readable by their owner only. Which of an assignment's seeds a submission is graded with
follows from the secret and the submission: so what a student could learn of one by handing in is of no use for the
next, which is graded with another. The reference is observed at all of them at once, in a process that ends: so whoever
grades needs no torch. Run as a program, this is that process.
"""

from __future__ import annotations

import hmac
import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from autograder.engine.border.runner import child_environment
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.records import CaseId
from autograder.engine.judge.keys import AnswerKeyError, ExpectedCase, digest, packed, read_key, record_reference
from course.base.files import locked, write_whole
from course.base.project import Project
from course.base.results import grader_digest

_SEEDS = "secret_seeds.json"
SEEDS = 8  # of an assignment: the reference is observed at each


def class_secret(folder: Path, slug: str, *, new: bool = False) -> int:
    """The secret of an assignment for a class; drawn when first asked for.

    Args:
        folder: the class's.
        slug: the assignment.
        new: draw another one in its place.
    """
    seeds = _seeds(folder)
    if new or slug not in seeds:
        with locked(folder, "secret", wait=10):  # of two who draw at once, the second takes what the first has drawn
            seeds = _seeds(folder)
            if new or slug not in seeds:
                seeds[slug] = secrets.randbits(128)
                write_whole(folder / _SEEDS, json.dumps(seeds, indent=1), private=True)
                for which in range(SEEDS):
                    _place(folder, slug, which).unlink(missing_ok=True)
    return seeds[slug]


def _seeds(folder: Path) -> dict[str, int]:
    """The secrets of a class: assignment → number."""
    path = folder / _SEEDS
    try:
        return {str(slug): int(number) for slug, number in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise UserError(
            f"{path} belongs to another account. A class in which several grade has, in its nbgrader_config.py, "
            "c.CourseDirectory.groupshared = True; and the file's owner says chmod g+rw for this one."
        ) from None
    except (OSError, ValueError, AttributeError, TypeError) as problem:
        raise UserError(
            f"{path} can't be read: {problem}. It holds the class's secret seeds: put a copy of it back. Without one, "
            "delete it; then new seeds are drawn, and --regrade grades what was recorded with the old ones."
        ) from None


def which_seed(secret: int, submission: str) -> int:
    """Which of an assignment's seeds, counted from 0, a submission is graded with, given by a digest of it."""
    return _drawn(secret, f"submission {submission}") % SEEDS


def seed_at(secret: int, which: int) -> int:
    """One of an assignment's seeds."""
    return _drawn(secret, f"seed {which}") + 1000


def _drawn(secret: int, what: str) -> int:
    return int.from_bytes(hmac.digest(str(secret).encode(), what.encode(), "sha256")[:6])


def expected(project: Project, slug: str, folder: Path, which: int) -> Mapping[CaseId, ExpectedCase]:
    """What the reference yields at one of a class's seeds: as it was kept, if that is whole and of this very grader.

    Else the reference is observed, and that is kept. Raises AnswerKeyError if it can't be.
    """
    found = _kept(project, slug, folder, which)
    if found is None:
        observer = subprocess.run(
            [sys.executable, "-m", "course.teach.seed", str(project.root), slug, str(folder)],
            cwd=Path(__file__).resolve().parents[2],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        found = _kept(project, slug, folder, which)
        if found is None:
            said = observer.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise AnswerKeyError(said[0] if said else f"The reference of {slug} can't be observed.")
    return found


def _place(folder: Path, slug: str, which: int) -> Path:
    return folder / "secret_expected" / f"{slug}-{which}.npz"


def _made_from(project: Project, slug: str, folder: Path, which: int) -> dict[str, str]:
    assignment = project.assignment(slug)
    whole = grader_digest(project, assignment, f"the reference at {seed_at(class_secret(folder, slug), which)}")
    return {"grader": digest(assignment.grader), "whole": whole}


def _kept(project: Project, slug: str, folder: Path, which: int) -> Mapping[CaseId, ExpectedCase] | None:
    """What is kept, if it was made from all that there is now."""
    path = _place(folder, slug, which)
    try:
        made_from, cases = _read(path, path.stat().st_mtime_ns, project.grader(slug))
    except (OSError, AnswerKeyError):  # nothing, or nothing that can be used
        return None
    return cases if made_from == _made_from(project, slug, folder, which) else None


@lru_cache(maxsize=2 * SEEDS)
def _read(path: Path, stamp: int, grader: Path) -> tuple[dict[str, str], Mapping[CaseId, ExpectedCase]]:
    key = read_key(path, grader)
    return key.made_from, key.cases


def main() -> None:
    """Observe the reference at the seeds of a class, and keep what it yields."""
    root, slug, place = sys.argv[1:]
    project, folder = Project(Path(root)), Path(place)
    secret = class_secret(folder, slug)
    for which in range(SEEDS):
        made_from = _made_from(project, slug, folder, which)
        try:
            tree = record_reference(project.assignment(slug), seed_at(secret, which), made_from)
        except UserError as problem:
            raise SystemExit(str(problem)) from None
        write_whole(_place(folder, slug, which), packed(tree), private=True)


if __name__ == "__main__":
    main()
