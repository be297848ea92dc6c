"""What is out of date: digests of all that a build, an audit or kept results depend on.

Code counts by rooms, not by lists of modules: a room is the Python files of one folder, without the folders in it. So
what only says things (autograder/engine/judge/words, the wings) makes nothing out of date, and what decides (compare)
everything.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Literal

from autograder.engine.judge.keys import digest, key_digest
from course.base.project import Project

CODE = Path(__file__).resolve().parents[2]  # what runs is what was imported, wherever the project lies
_DECIDES = ("autograder/engine", "autograder/engine/inside", "autograder/engine/judge")

What = Literal["build", "audit", "results"]
# what → an assignment's own files, by the names that a Project has for them, and rooms; "code" is that of the master,
# without its texts
DEPENDS_ON: dict[What, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "build": (("source", "grader", "mistakes", "weights"), (*_DECIDES, "course/make/build", "course")),
    "audit": (("code", "grader", "mistakes", "alternatives", "oracle"), (*_DECIDES, "course/make/audit")),
    "results": (("release", "grader", "key", "solution"), (*_DECIDES, "autograder/engine/border")),
}


def fingerprint(project: Project, slug: str, what: What) -> dict[str, str]:
    """Digests of what `what` of an assignment depends on, by file and room. Files that have not changed are not read.

    Equal fingerprints mean that it is current; where two differ says why it is not.
    """
    files, rooms = DEPENDS_ON[what]
    own = {name: found for name in files if (found := _digest_of(project, slug, name))}
    return own | {room: _digest_of_room(tuple(map(_stamped, sorted((CODE / room).glob("*.py"))))) for room in rooms}


def _digest_of(project: Project, slug: str, name: str) -> str:
    """Of one of an assignment's own files; nothing of weights where there are none."""
    if name == "code":
        return _digest_of_code(*_stamped(project.source(slug)))
    path: Path = getattr(project, name)(slug)
    return "" if name == "weights" and not path.is_file() else _digest(*_stamped(path))


Stamped = tuple[Path, int, int]  # a path, and the time and size by which a change shows


def _stamped(path: Path) -> Stamped:
    try:
        state = path.stat()
    except OSError:
        return path, 0, 0
    return path, state.st_mtime_ns, state.st_size


@lru_cache(maxsize=1024)
def _digest(path: Path, *_: int) -> str:
    return key_digest(path) if path.suffix == ".npz" else digest(path)


@lru_cache(maxsize=64)
def _digest_of_code(master: Path, *_: int) -> str:
    """Of the cells of code, with their metadata, in which cards stand; of the whole file if it can't be read."""
    try:
        cells = json.loads(master.read_bytes())["cells"]
        code = [["".join(c["source"]), c["metadata"]] for c in cells if c["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError):
        return digest(master)
    return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _digest_of_room(files: tuple[Stamped, ...]) -> str:
    listed = "".join(f"{path.name} {digest(path)}\n" for path, *_ in files)
    return hashlib.sha256(listed.encode()).hexdigest()[:16]
