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
from course.base.files import write_whole
from course.base.project import Project
from course.base.results import grader_digest

SEEDS = 8  # of an assignment: the reference is observed at each


def class_folder(db_url: str) -> Path:
    """The folder of a class: that of its SQLite gradebook, else the current one."""
    return Path(db_url.removeprefix("sqlite:///")).parent if db_url.startswith("sqlite:///") else Path.cwd()


def class_secret(db_url: str, slug: str, *, new: bool = False) -> int:
    """The secret of an assignment for the class whose gradebook this is; drawn when first asked for.

    Args:
        db_url: the gradebook.
        slug: the assignment.
        new: draw another one in its place.
    """
    path = class_folder(db_url) / "secret_seeds.json"
    seeds = json.loads(path.read_text()) if path.is_file() else {}
    if new or slug not in seeds:
        seeds[slug] = secrets.randbits(128)
        write_whole(path, json.dumps(seeds, indent=1), private=True)
        for which in range(SEEDS):
            _place(db_url, slug, which).unlink(missing_ok=True)
    return int(seeds[slug])


def which_seed(secret: int, submission: str) -> int:
    """Which of an assignment's seeds, counted from 0, a submission is graded with, given by a digest of it."""
    return _drawn(secret, f"submission {submission}") % SEEDS


def seed_at(secret: int, which: int) -> int:
    """One of an assignment's seeds."""
    return _drawn(secret, f"seed {which}") + 1000


def _drawn(secret: int, what: str) -> int:
    return int.from_bytes(hmac.digest(str(secret).encode(), what.encode(), "sha256")[:6])


def expected(project: Project, slug: str, db_url: str, which: int) -> Mapping[CaseId, ExpectedCase]:
    """What the reference yields at one of a class's seeds: as it was kept, if that is whole and of this very grader.

    Else the reference is observed, and that is kept. Raises AnswerKeyError if it can't be.
    """
    found = _kept(project, slug, db_url, which)
    if found is None:
        observer = subprocess.run(
            [sys.executable, "-m", "course.teach.seed", str(project.root), slug, db_url],
            cwd=Path(__file__).resolve().parents[2],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        found = _kept(project, slug, db_url, which)
        if found is None:
            said = observer.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise AnswerKeyError(said[0] if said else f"The reference of {slug} can't be observed.")
    return found


def _place(db_url: str, slug: str, which: int) -> Path:
    return class_folder(db_url) / "secret_expected" / f"{slug}-{which}.npz"


def _made_from(project: Project, slug: str, db_url: str, which: int) -> dict[str, str]:
    assignment = project.assignment(slug)
    whole = grader_digest(project, assignment, f"the reference at {seed_at(class_secret(db_url, slug), which)}")
    return {"grader": digest(assignment.grader), "whole": whole}


def _kept(project: Project, slug: str, db_url: str, which: int) -> Mapping[CaseId, ExpectedCase] | None:
    """What is kept, if it was made from all that there is now."""
    path = _place(db_url, slug, which)
    try:
        made_from, cases = _read(path, path.stat().st_mtime_ns, project.grader(slug))
    except (OSError, AnswerKeyError):  # nothing, or nothing that can be used
        return None
    return cases if made_from == _made_from(project, slug, db_url, which) else None


@lru_cache(maxsize=2 * SEEDS)
def _read(path: Path, stamp: int, grader: Path) -> tuple[dict[str, str], Mapping[CaseId, ExpectedCase]]:
    key = read_key(path, grader)
    return key.made_from, key.cases


def main() -> None:
    """Observe the reference at the seeds of a class, and keep what it yields."""
    root, slug, db_url = sys.argv[1:]
    project, secret = Project(Path(root)), class_secret(db_url, slug)
    for which in range(SEEDS):
        made_from = _made_from(project, slug, db_url, which)
        try:
            tree = record_reference(project.assignment(slug), seed_at(secret, which), made_from)
        except UserError as problem:
            raise SystemExit(str(problem)) from None
        write_whole(_place(db_url, slug, which), packed(tree), private=True)


if __name__ == "__main__":
    main()
