"""The folded hints of an exercise, and its card, as its notebook has them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autograder.engine.inside.notebook import read_notebook
from course.base.files import read_tree
from course.base.project import Project

_HINT = re.compile(r"<details><summary>Hint \d+: (.*?)</summary>(.*?)</details>", re.S)


@dataclass(frozen=True)
class Hint:
    """One folded hint: what it is about, and its text in Markdown."""

    title: str
    text: str


def hints(project: Project, slug: str, name: str) -> list[Hint]:
    """The folded hints of an exercise, from a nudge to the structure of the code."""
    found = []
    for cell in read_tree(project.release(slug))["cells"]:
        if re.fullmatch(rf"{re.escape(name)}-hint\d+", cell.get("id", "")):
            match = _HINT.search("".join(cell["source"]))
            if match:
                found.append(Hint(match[1].strip(), match[2].strip()))
    return found


def card(project: Project, slug: str, name: str) -> str:
    """The card of an exercise: `2 points · 15 minutes · difficulty 2 of 5 · NumPy forward`."""
    for cell in read_notebook(project.release(slug)):
        if cell.type == "markdown" and f"## Exercise: `{name}`" in cell.source:
            match = re.search(r"^\*\*(\d+ points? · .*)\*\*$", cell.source, re.M)
            return match[1] if match else ""
    return ""
