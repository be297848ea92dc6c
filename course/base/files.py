"""Files: written whole or not at all, and notebooks as trees that can be changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from autograder.engine.inside.notebook import NotebookError, read_notebook


def write_whole(path: Path, content: bytes | str, *, private: bool = False) -> None:
    """Write a file whole or not at all: whoever reads it meanwhile, or after a crash, sees the old one or the new.

    Args:
        path: where; its folder is made.
        content: bytes, or text, which becomes UTF-8.
        private: readable by its owner only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.writing")
    draft.unlink(missing_ok=True)  # of a process of the same number that was killed
    try:
        draft.touch(mode=0o600 if private else 0o666)
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


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
