"""Files: written whole or not at all, and notebooks as trees that can be changed."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import NotebookError, read_notebook

GROUP = stat.S_ISGID | stat.S_IRWXG  # the bits of a folder in which a group works


def write_whole(path: Path, content: bytes | str, *, private: bool = False) -> None:
    """Write a file whole or not at all: whoever reads it meanwhile, or after a crash, sees the old one or the new.

    In a folder in which a group works, the group may write it, too.

    Args:
        path: where; its folder is made.
        content: bytes, or text, which becomes UTF-8.
        private: nobody else may read it.
    """
    make_folder(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.writing")
    draft.unlink(missing_ok=True)  # of a process of the same number that was killed
    try:
        draft.touch(mode=0o600 if private else 0o666)
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        share(draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those that it lies in, unless they are there."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        share(path)


def share(path: Path) -> None:
    """Let the group that works in a folder work with what was made there; nothing where none does."""
    if path.parent.stat().st_mode & GROUP == GROUP:
        with contextlib.suppress(PermissionError):  # of somebody else, who has shared it
            path.chmod(stat.S_IMODE(path.stat().st_mode) | (GROUP if path.is_dir() else 0o660))


@contextlib.contextmanager
def locked(root: Path, name: str, *, wait: float = 0.0) -> Iterator[None]:
    """Hold a lock of the class in a folder: "grading" is a run's, "recording" whoever's who writes what was reached.

    Raises UserError if somebody else holds it for longer than `wait` seconds.
    """
    import fcntl  # the sandbox is of Linux too

    path, until = root / f"{name}.lock", time.monotonic() + wait
    try:
        lock = path.open("a")
    except OSError as problem:
        raise UserError(f"{path} can't be opened: {problem.strerror}. May you write in {root}?") from None
    with lock:
        share(path)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise UserError(f"Another run is grading in {root}: wait for its end, or stop it.") from None
                time.sleep(0.05)
        yield


def as_json(tree: Any) -> str:
    """A tree as the text of a file that people may read."""
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def read_tree(notebook: Path) -> dict[str, Any]:
    """A notebook as JSON, for changing it. Raises NotebookError for what is none, or is of a format before 4."""
    read_notebook(notebook)
    tree: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8-sig"))
    if tree.get("nbformat", 0) < 4 or not all(isinstance(cell, dict) for cell in tree["cells"]):
        raise NotebookError(f"{notebook} is in an old format. Open it in Jupyter, save it, and try again.")
    return tree


def write_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write a notebook, with the text of its cells in lines."""
    for cell in tree["cells"]:
        if isinstance(cell["source"], str):
            cell["source"] = cell["source"].splitlines(keepends=True)
    write_whole(path, as_json(tree))
