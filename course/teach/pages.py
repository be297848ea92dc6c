"""What people see of grading through nbgrader: formgrader's page of a submission, and the student's feedback.

- :class:`ShowRubrics` ends autograde: below the answer to a written question stands what earns its points.
- :class:`ShowGrades` begins generate_feedback: what each exercise earned, and what was said of it.
- :class:`StyleFeedback` ends it: no rubrics, and the styles of the page.
- :class:`FeedbackPage` writes the page, in which a browser runs nothing, and for which it loads nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.exporters import HTMLExporter
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_markdown_cell
from nbgrader.api import Grade, Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution
from traitlets.config import Config

from course.base.project import Project
from course.teach.maths import with_mathml
from course.teach.reading import read_rubrics

OURS = "s30_rubric"  # in the metadata of cells that only whoever grades by hand sees
# What a browser does for a feedback page: shows it, with the styles and pictures that are in it
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'"
MAX_SHOWN = 500_000  # characters of a notebook that a feedback page shows
TEMPLATE = Path(__file__).parent / "templates" / "feedback_page"
_MADE_FROM = re.compile(rb'<meta content="([0-9a-f]{32})" name="s30-made-from"/>')
_KNOWN = ("grade_id", "grade", "solution", "task", "locked", "points")  # of nbgrader's metadata, what a page is made of
_IN_SIGHT = """

<style id="rubric-{name}">
.cell:has(#rubric-{name}) {{ background: #fff8dc; border-left: 4px solid #a87200; padding: 0.4em 0.8em; }}
body:has(#{name}:focus, #{name}-comment:focus) .cell:has(#rubric-{name}) {{
  position: sticky; bottom: 0; max-height: 45vh; overflow: auto; z-index: 1;
}}
</style>
"""
_TOO_LONG = "[This is not shown: the notebook is too long for a page.]"


class ShowRubrics(NbGraderPreprocessor):
    """Put what earns the points below each answer to a written question, for whoever grades it by hand.

    It comes into sight when they are about to type points or a comment, however long the answer is.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Add a cell below each answer that has a rubric in the worked solution, in place."""
        rubrics = read_rubrics(Project().solution(resources["nbgrader"]["assignment"]))
        cells = []
        for cell in nb.cells:
            cells.append(cell)
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in rubrics and is_solution(cell):  # repaired, so it is the student's answer
                shown = new_markdown_cell(rubrics[name] + _IN_SIGHT.format(name=name), metadata={OURS: True})
                if (nb.nbformat, nb.nbformat_minor) < (4, 5):
                    del shown["id"]
                cells.append(shown)
        nb.cells = cells
        return nb, resources


class ShowGrades(NbGraderPreprocessor):
    """Write into each cell what the gradebook has of it, as nbgrader's GetGrades does, and what has no score yet."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Add its score and its comment to each cell in place, and the sums to resources."""
        about = resources["nbgrader"]
        with Gradebook(about["db_url"]) as gradebook:
            mine = gradebook.find_submission_notebook(about["notebook"], about["assignment"], about["student"])
            grades = {grade.name: grade for grade in mine.grades}
            comments = {comment.name: comment.comment for comment in mine.comments}
            for cell in nb.cells:
                meta = cell.metadata.get("nbgrader")
                if meta is None:
                    continue
                if is_grade(cell):
                    meta |= _score(grades[meta.grade_id])
                if is_solution(cell):
                    meta["comment"] = comments.get(meta.grade_id)
            penalty = mine.late_submission_penalty or 0.0
            about |= {
                "score": max(0.0, mine.score - penalty),
                "max_score": mine.max_score,
                "late_penalty": penalty,
                "waiting": sum(_waits(grade) for grade in grades.values()),
            }
        return nb, resources


def _score(grade: Grade) -> dict[str, Any]:
    by_hand = grade.manual_score is not None
    return {"score": grade.score, "points": grade.max_score, "by_hand": by_hand, "waits": _waits(grade)}


def _waits(grade: Grade) -> bool:
    """Whether neither grader nor human has given a score, which nbgrader counts as 0."""
    return grade.auto_score is None and grade.manual_score is None


class StyleFeedback(NbGraderPreprocessor):
    """Leave rubrics out of the feedback page, and add its styles."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Remove cells in place, and add to the styles of the page."""
        nb.cells = [cell for cell in nb.cells if OURS not in cell.metadata]
        resources["inlining"]["css"].append((TEMPLATE / "page.css").read_text(encoding="utf-8"))
        return nb, resources


class FeedbackPage(HTMLExporter):
    """A feedback page, in which a browser runs nothing and for which it loads nothing.

    Its template gets of a notebook's metadata what this course wrote there.
    """

    @property
    def default_config(self) -> Config:
        """The template, which goes before the one that nbgrader asks for, of any exporter."""
        config = super().default_config
        config.FeedbackPage.template_name = TEMPLATE.name
        config.FeedbackPage.extra_template_basedirs = [str(TEMPLATE.parent)]
        config.FeedbackPage.exclude_anchor_links = True
        return config

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **kw: Any) -> tuple[str, dict[str, Any]]:
        """Render a page, as nbgrader asks for it."""
        made: tuple[str, dict[str, Any]] = super().from_notebook_node(_known(nb), resources, **kw)
        return made

    def made_from(self, nb: NotebookNode, resources: dict[str, Any]) -> str:
        """The digest that the page of a notebook would have, without rendering it."""
        return str(self._preprocess(_known(nb), self._init_resources(resources))[1]["made_from"])

    def _preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Run all steps, and add to the resources the title and a digest of what the template gets."""
        nb, resources = super()._preprocess(nb, resources)
        about = {name: value for name, value in resources["nbgrader"].items() if name != "db_url"}
        listed = json.dumps([nb, about, resources["inlining"]["css"], _maker()], sort_keys=True)
        resources["made_from"] = hashlib.sha256(listed.encode(errors="replace")).hexdigest()[:32]
        resources["policy"] = POLICY
        resources["title"] = f"{about['assignment'].replace('_', ' ', 1)} – {about['student']}"
        return nb, resources

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Markdown as HTML, with formulas as MathML."""
        return with_mathml(super().markdown2html(context, source))


def _known(nb: NotebookNode) -> NotebookNode:
    """A notebook with the metadata that this course knows, and as much text as a page can have."""
    cells, left = [], MAX_SHOWN
    for cell in nb.cells:
        given, meta = cell.metadata, NotebookNode()
        if is_grade(cell) or is_solution(cell):
            known = {name: value for name, value in given["nbgrader"].items() if name in _KNOWN}
            meta["nbgrader"] = NotebookNode(known, name=known["grade_id"].removesuffix("-check"))
        if OURS in given:
            meta[OURS] = True
        left -= len(cell.source)
        cells.append(NotebookNode({**cell, "metadata": meta, "source": cell.source if left >= 0 else _TOO_LONG}))
        for output in cells[-1].get("outputs", []):
            if "metadata" in output:
                output["metadata"] = NotebookNode()
    language = NotebookNode({"name": "python", "pygments_lexer": "ipython3"})
    return NotebookNode({**nb, "cells": cells, "metadata": NotebookNode(language_info=language)})


def made_from(page: Path) -> str | None:
    """The digest that a page bears; None if it is none of ours."""
    with page.open("rb") as file:
        found = _MADE_FROM.search(file.read(4096))
    return found[1].decode() if found else None


@lru_cache(maxsize=1)
def _maker() -> str:
    """A digest of what makes pages of notebooks."""
    files = [Path(__file__), Path(with_mathml.__code__.co_filename), *sorted(TEMPLATE.iterdir())]
    packages = [f"{name} {version(name)}" for name in ("nbconvert", "nbgrader", "latex2mathml")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files) + repr(packages).encode()).hexdigest()
