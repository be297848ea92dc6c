"""Our steps in nbgrader's compiling, attached by nbgrader_config.py alone.

- :class:`NameBans` follows ClearSolutions: under each stub stands what it is to be solved without.
- :class:`StampRelease` ends generate_assignment: a copy of a stub knows of which version it is.
- :class:`CleanSolution` ends generate_solution: no markers, no version noise.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import textwrap
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade

from autograder.engine.inside.shortcuts import forbidden, in_words
from course.make.fix import BEGIN, END


class NameBans(NbGraderPreprocessor):
    """Write under every stub what its exercise is to be solved without, as its cell's metadata has it."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Add a line of comment to each stub, in place."""
        for cell in nb.cells:
            card = cell.metadata.get("s30", {})
            if cell.cell_type == "code" and "track" in card:
                names = in_words(forbidden(card.get("forbids", ()), torch=card["track"] == "torch"))
                said = textwrap.wrap(f"Solve it without: {names}", 96, initial_indent="# ", subsequent_indent="#   ")
                cell.source = "\n".join([cell.source.rstrip(), "", *said]) if names else cell.source
        return nb, resources


class StampRelease(NbGraderPreprocessor):
    """Write a digest of the stub into it, by which `s30 start` sees that a learner's copy is of another version."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Stamp the stub in place."""
        text = json.dumps(nb.cells, sort_keys=True)
        nb.metadata["s30"] = {"release": hashlib.sha256(text.encode()).hexdigest()[:12]}
        return nb, resources


class CleanSolution(NbGraderPreprocessor):
    """Remove what is not the solution: markers, times, versions.

    Fails if a cell raised, and if a check did not give its full points: then master and grader do not agree.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Clean the executed master in place."""
        nb.metadata.language_info = {"name": "python"}
        for cell in nb.cells:
            lines = cell.source.split("\n")
            cell.source = "\n".join(line for line in lines if line.strip() not in (BEGIN, END))
            cell.metadata.pop("execution", None)
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    told = "\n".join(output.traceback)
                    self._stop(f"Cell {cell.id} of the master raised {output.ename}: {output.evalue}\n{told}")
                if is_grade(cell) and output.output_type == "execute_result":
                    given, points = output.data["text/plain"], cell.metadata.nbgrader.points
                    if float(given) < points:
                        shown = output.data.get("text/html", "").replace("<div", "\n<div").strip()
                        told = html.unescape(re.sub(r"<[^>]+>", "", shown))
                        self._stop(f"{cell.source} in cell {cell.id} gave {float(given):g} of {points} points:\n{told}")
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = _plain_png(output.data["image/png"])
        return nb, resources

    def _stop(self, told: str) -> None:
        self.log.critical(told)  # nbgrader logs errors, with tracebacks of its own, after it
        raise RuntimeError(told)


def _plain_png(text: str) -> str:
    """A base64 PNG without its text chunks, in which matplotlib writes its version."""
    raw = base64.b64decode(text)
    kept, at = [raw[:8]], 8
    while at < len(raw):
        end = at + 12 + int.from_bytes(raw[at : at + 4], "big")
        if raw[at + 4 : at + 8] not in (b"tEXt", b"iTXt", b"zTXt", b"tIME"):
            kept.append(raw[at:end])
        at = end
    return base64.b64encode(b"".join(kept)).decode("ascii")
