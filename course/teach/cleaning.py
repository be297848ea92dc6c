"""What a student wrote, made safe to show: formgrader and feedback pages render it with the grader's rights.

A notebook's Markdown may hold any HTML, nbconvert keeps it, and formgrader serves it beside the gradebook. So what is
recorded is cleaned once, when a submission is taken in, and every page that is made from it later is clean. The file
that was handed in stays as it is.
"""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

Tree = dict[str, Any]
PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp"}  # of the files beside a submission, what a browser may be given
LEFT_OUT = (
    "<p><em>Something that could run or load more than a picture is not shown here. It is in the file that was handed "
    "in.</em></p>"
)
# Without any of these, text is plain in every renderer: tags, entities, links and pictures, code with a language
_ACTIVE = re.compile(r"<[a-z!/?]|&|\]\s*[(:\[]|```|~~~", re.IGNORECASE)
# MathJax's commands that make links, styles, identifiers and more of it
_MATHJAX = re.compile(r"\\(href|url|style|class|cssId|data|bbox|require|unicode|html\w*)\b")
_BLANK = re.compile(r"\n(?=\s*(\n|$))")


def clean(notebook: Tree, release: Path) -> None:
    """Make all that a page shows of a repaired submission harmless, in place.

    Markdown that is as released stays, and so does what can be nothing but text. Other Markdown becomes the HTML that
    it means, see :func:`harmless`; raw cells become text, and outputs go. Metadata are the release's, and so are the
    attachments of what stays.

    Args:
        notebook: the submission.
        release: the released notebook.
    """
    released = json.loads(release.read_bytes())
    by_text = {"".join(cell["source"]): cell for cell in released["cells"]}
    metadata = {cell["id"]: cell["metadata"] for cell in released["cells"]}
    notebook["metadata"] = released["metadata"]
    for cell in notebook["cells"]:
        graded = {"nbgrader": cell["metadata"]["nbgrader"]} if "nbgrader" in cell["metadata"] else {}
        known = metadata.get(cell["id"], {})
        cell["metadata"] = {name: value for name, value in known.items() if name != "nbgrader"} | graded
        attached, text = cell.pop("attachments", None), cell["source"]
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        if cell["cell_type"] == "raw":
            cell["cell_type"], cell["source"] = "markdown", f"<pre>{html.escape(text)}</pre>"
        elif cell["cell_type"] == "markdown" and text in by_text:
            cell |= {name: value for name, value in by_text[text].items() if name == "attachments"}
        elif cell["cell_type"] == "markdown":
            cell["source"] = harmless(text, attached)


def harmless(text: str, attached: object = None) -> str:
    """Markdown that looks as `text` does and can't run, load or send anything: as it is, or as HTML.

    Args:
        text: Markdown, which may hold HTML.
        attached: the cell's attachments, if any: name → type → base64. Pictures in it become part of the HTML.

    Returns:
        Markdown.
    """
    text = _MATHJAX.sub(r"\\backslash \1", text)
    if not _ACTIVE.search(text):
        return text
    from course.teach.rendering import render, sanitise  # they take a quarter of a second to import

    made = render(text, attached)
    shown = sanitise(made)
    shown += LEFT_OUT if _tags(made) > _tags(shown) else ""
    return f"<div>{_BLANK.sub('&#10;', shown)}</div>"  # one block of HTML: none of it is read as Markdown once more


def _tags(page: str) -> int:
    """How many tags are opened, but for the boxes of lists of tasks."""
    counter = _Counter()
    counter.feed(page)
    return counter.tags


class _Counter(HTMLParser):
    tags = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags += tag != "input"
