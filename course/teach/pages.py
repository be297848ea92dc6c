"""What people see of grading through nbgrader: formgrader's page of a submission, and the student's feedback.

- :class:`ShowRubrics` ends autograde: below the answer to a written question stands what earns its points.
- :class:`StyleFeedback` ends generate_feedback: no rubrics, and hints look as if they could be opened.
- :class:`FeedbackPage` writes the page, with a policy by which a browser runs nothing in it but MathJax.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from nbconvert.exporters import HTMLExporter
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_markdown_cell
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_solution

from course.base.project import Project
from course.teach.reading import read_rubrics

OURS = "s30_rubric"  # in the metadata of cells that only whoever grades by hand sees


class ShowRubrics(NbGraderPreprocessor):
    """Put what earns the points below each answer to a written question, for whoever grades it by hand."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Add a cell below each answer that has a rubric in the worked solution, in place."""
        rubrics = read_rubrics(Project().solution(resources["nbgrader"]["assignment"]))
        cells = []
        for cell in nb.cells:
            cells.append(cell)
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in rubrics and is_solution(cell):  # repaired, so it is the student's answer
                shown = new_markdown_cell(rubrics[name], metadata={OURS: True})
                if (nb.nbformat, nb.nbformat_minor) < (4, 5):
                    del shown["id"]
                cells.append(shown)
        nb.cells = cells
        return nb, resources


class StyleFeedback(NbGraderPreprocessor):
    """Leave rubrics out of the feedback page, and give folded hints back the triangle that Bootstrap takes away."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Remove cells in place, and add to the styles of the page."""
        nb.cells = [cell for cell in nb.cells if OURS not in cell.metadata]
        resources["inlining"]["css"].append("summary { display: list-item; cursor: pointer; }")
        return nb, resources


class FeedbackPage(HTMLExporter):
    """A feedback page, in which a browser runs the scripts of its head and loads their like and pictures, no more."""

    def from_notebook_node(self, nb: NotebookNode, *args: Any, **kw: Any) -> tuple[str, dict[str, Any]]:
        """Render a page, as nbgrader asks for it."""
        page, resources = super().from_notebook_node(nb, *args, **kw)
        head = page.partition("</head>")[0]
        ours = [hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(head)]
        run = " ".join(f"'sha256-{base64.b64encode(digest_).decode()}'" for digest_ in ours)
        policy = (
            f"default-src 'none'; script-src {_MATHJAX} 'unsafe-eval' {run}; style-src 'unsafe-inline' {_MATHJAX}; "
            f"font-src data: {_MATHJAX}; img-src data: https:; form-action 'none'; base-uri 'none'"
        )
        meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        return page.replace("<head>", f"<head>\n{meta}", 1), resources


_MATHJAX = "https://cdnjs.cloudflare.com"  # where the pages of nbconvert and nbgrader have it from
_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
