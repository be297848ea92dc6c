"""Our steps in nbgrader's pipeline, attached by nbgrader_config.py alone.

- :class:`StampRelease` ends generate_assignment: a copy of a stub knows of which version it is.
- :class:`CleanSolution` ends generate_solution: no markers, no version noise.
- :class:`SubmissionReader` reads submissions, whatever an editor or a mail program did to the file.
- :class:`RepairSubmission` begins autograde: whatever an editor did to the cells, nbgrader finds those it knows.
- :class:`GradeSubmission` stands in autograde where nbgrader would execute the notebook.
"""

from __future__ import annotations

import atexit
import base64
import copy
import dataclasses
import hashlib
import json
import os
import secrets
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor, SaveAutoGrades
from nbgrader.utils import is_grade
from traitlets import Bool, Float, Integer

from autograder.engine.assignment import Assignment, checked_name
from autograder.engine.grade import Verdict, grade
from autograder.engine.notebook import Cell, Code, NotebookError
from autograder.engine.report import as_html, as_text
from autograder.engine.runner import Limits, Runner
from autograder.engine.sandbox import runner_for_others
from course.gradebook import GradebookError, other_cells
from course.project import LESSONS, Project

NOT_GRADED = "NotGraded"
MAX_SUBMITTED_BYTES = 100 * 2**20  # with outputs, which are not read further
MARKERS = ("### BEGIN SOLUTION", "### END SOLUTION")


class StampRelease(NbGraderPreprocessor):
    """Write a digest of the stub into it, by which `s30 start` sees that a learner's copy is of another version."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Stamp the stub in place."""
        text = json.dumps(nb.cells, sort_keys=True)
        nb.metadata["s30"] = {"release": hashlib.sha256(text.encode()).hexdigest()[:12]}
        return nb, resources


class CleanSolution(NbGraderPreprocessor):
    """Remove what is not the solution: markers, times, versions.

    Fails if a cell raised, and if a check did not give its full points: then master and grader do not agree.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Clean the executed master in place."""
        nb.metadata.language_info = {"name": "python"}
        for number, cell in enumerate(nb.cells, 1):
            lines = cell.source.split("\n")
            cell.source = "\n".join(line for line in lines if line.strip() not in MARKERS)
            cell.metadata.pop("execution", None)
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    text = "\n".join(output.traceback)
                    raise RuntimeError(f"Cell {number} of the master raised {output.ename}: {output.evalue}\n{text}")
                if is_grade(cell) and output.output_type == "execute_result":
                    given = output.data["text/plain"]
                    if float(given) < cell.metadata.nbgrader.points:
                        raise RuntimeError(f"Cell {number} of the master, {cell.source}, gave {given}: {output.data}")
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = _plain_png(output.data["image/png"])
        return nb, resources


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


class SubmissionReader(NotebookExporter):
    """Reads a submitted file before nbgrader's steps see it: in any encoding, and with cells of the right types.

    Raises NotebookError for what no human would call a notebook; nbgrader then names the student and goes on.
    """

    def from_filename(self, filename: str, resources: Any = None, **kw: Any) -> tuple[NotebookNode, dict]:
        """Read a file, but no link: that would hand in what another student, or the grader, wrote."""
        path = Path(filename)
        if path.is_symlink():
            raise NotebookError(f"{path} is a link, not a file; what it leads to was not graded.")
        if path.stat().st_size > MAX_SUBMITTED_BYTES:
            raise NotebookError(f"{path} is larger than {MAX_SUBMITTED_BYTES // 2**20} MB and was not graded.")
        course, about = self.parent.coursedir, (resources or {})["nbgrader"]
        copies = Path(course.format_path(course.autograded_directory, about["student"], about["assignment"]))
        for beside in path.parent.rglob("*"):
            if beside.is_symlink():  # nbgrader has just copied what it leads to
                self.log.warning("%s is a link and is not part of the submission", beside)
                (copies / beside.relative_to(path.parent)).unlink(missing_ok=True)
        return super().from_filename(filename, resources, **kw)

    def from_file(self, file_stream: Any, resources: Any = None, **kw: Any) -> tuple[NotebookNode, dict]:
        """Read an open file."""
        tree = read_tree(file_stream.buffer.read(), file_stream.name)
        return self.from_notebook_node(nbformat.reads(json.dumps(tree), as_version=4), resources, **kw)


def read_tree(raw: bytes, name: str) -> dict[str, Any]:
    """The tree of a notebook file, with cells of the right types; what can't be one is left out.

    Raises:
        NotebookError: it is no notebook.
    """
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise NotebookError(f"{name} is not a notebook: it is not valid JSON ({problem}).") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("cells", tree.get("worksheets")), list):
        raise NotebookError(f"{name} is not a notebook: it has no list of cells.")
    if "cells" in tree:
        tree["cells"] = [_sound(cell) for cell in tree["cells"] if isinstance(cell, dict)]
    return tree


def _sound(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell of the types that nbformat asks for."""
    source = cell.get("source", "")
    source = "".join(map(str, source)) if isinstance(source, list) else source
    metadata = cell.get("metadata")
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    if not isinstance(metadata.get("nbgrader", {}), dict):
        del metadata["nbgrader"]
    if "tags" in metadata:
        tags = metadata["tags"] if isinstance(metadata["tags"], list) else []
        metadata["tags"] = [tag for tag in tags if isinstance(tag, str)]
    kind = cell.get("cell_type")
    sound = {
        **cell,
        "cell_type": kind if kind in ("code", "markdown", "raw") else "markdown",
        "metadata": metadata,
        "source": source.encode(errors="replace").decode() if isinstance(source, str) else "",
    }
    if not isinstance(cell.get("id", ""), str):
        del sound["id"]
    if sound["cell_type"] == "code" and not isinstance(cell.get("outputs"), list):
        sound["outputs"] = []
    return sound


class RepairSubmission(NbGraderPreprocessor):
    """Give every cell that nbgrader knows its metadata back, and no other cell any.

    Cells are found by their id, else by what they define or check; what is missing comes back from the release.
    Cells that the student added stay, as plain cells.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Repair the submission in place."""
        project = Project()
        slug = resources["nbgrader"]["assignment"]
        problem = other_cells(project, slug, resources["nbgrader"]["db_url"])
        if problem:
            raise GradebookError(problem)
        released = nbformat.read(project.release(slug), as_version=4).cells
        known = [cell for cell in released if "nbgrader" in cell.metadata]
        mine: dict[str, NotebookNode] = {}
        for wanted in known:
            found = _find(wanted, [c for c in nb.cells if not any(c is taken for taken in mine.values())])
            if found is not None:
                mine[_grade_id(wanted)] = found
        for cell in nb.cells:
            if not any(cell is taken for taken in mine.values()):
                cell.metadata.pop("nbgrader", None)
            if isinstance(cell.metadata.get("tags"), list):
                cell.metadata["tags"] = [t for t in cell.metadata["tags"] if t != "skip-execution"]
        place = 0
        for wanted in known:
            grade_id = _grade_id(wanted)
            if grade_id in mine:
                _restore(mine[grade_id], wanted)
                place = max(place, next(i for i, c in enumerate(nb.cells) if c is mine[grade_id]) + 1)
            else:
                self.log.warning("Cell %r is missing from the submission; it comes back from the release", grade_id)
                nb.cells.insert(place, copy.deepcopy(wanted))
                place += 1
        _unique_ids(nb)
        return nb, resources


def _grade_id(cell: NotebookNode) -> str:
    return str(cell.metadata.nbgrader.grade_id)


def _find(wanted: NotebookNode, cells: list[NotebookNode]) -> NotebookNode | None:
    """The submitted cell that stands for a released one."""
    meta = wanted.metadata.nbgrader
    candidates = [c for c in cells if (c.metadata.get("nbgrader") or {}).get("grade_id") == meta["grade_id"]]
    if meta["solution"] and wanted.cell_type == "code":
        name = meta["grade_id"]
        stub = Code([Cell(0, "code", wanted.source)]).definition(name)
        defining = [c for c in cells if _defines(c, name, None)]
        solved = [c for c in defining if _defines(c, name, stub.fingerprint if stub else None)]
        candidates = solved or defining or candidates
    if not candidates and meta["grade"] and not meta["solution"]:
        name = checked_name(Cell(0, "code", wanted.source))
        candidates = [c for c in cells if name and checked_name(Cell(0, c.cell_type, c.source)) == name]
    return candidates[-1] if candidates else None


def _defines(cell: NotebookNode, name: str, stub: str | None) -> bool:
    """Whether a cell defines `name`, and not as the stub."""
    code = Code([Cell(0, cell.cell_type, cell.source)])
    found = code.definition(name)
    if found is None:
        return code.breakage(name) is not None
    return stub is None or found.fingerprint != stub


def _restore(cell: NotebookNode, wanted: NotebookNode) -> None:
    """Metadata and type as released; the text too, unless it is the student's to write."""
    cell.metadata["nbgrader"] = copy.deepcopy(wanted.metadata.nbgrader)
    if cell.cell_type != wanted.cell_type:
        cell.cell_type = wanted.cell_type
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
    if wanted.metadata.nbgrader["locked"]:
        cell.source = wanted.source


def _unique_ids(nb: NotebookNode) -> None:
    """Cell ids that nbformat accepts: editors that copy cells copy ids."""
    seen: set[str] = set()
    for index, cell in enumerate(nb.cells):
        if (nb.nbformat, nb.nbformat_minor) < (4, 5):
            cell.pop("id", None)
        elif cell.get("id") in seen or "id" not in cell:
            cell["id"] = f"cell-{index}-{secrets.token_hex(3)}"
        seen.add(cell.get("id", ""))


class GradeSubmission(NbGraderPreprocessor):
    """Write a verdict into every check cell: the points as the cell's value, the explanation beside it.

    Submissions run in a sandbox. Where there is none, grading stops, unless the configuration says
    ``c.GradeSubmission.allow_unsandboxed = True``; then every verdict says so.
    """

    allow_unsandboxed = Bool(
        False, help="Grade without a sandbox where none can be had: the code could read and change files of the grader."
    ).tag(config=True)

    seconds = Float(Limits.seconds, help="Wall time of one case, in seconds.").tag(config=True)
    total_seconds = Float(Limits.total_seconds, help="Wall time of a submission, in seconds.").tag(config=True)
    memory_mb = Integer(Limits.memory_mb, help="Memory beyond that of NumPy and torch, in MB.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Grade the repaired submission in place. Whatever happens, no cell is left without a verdict."""
        checks = {}
        for cell in nb.cells:
            meta = cell.metadata.get("nbgrader") or {}
            if cell.cell_type == "code":
                cell.outputs = []  # nothing that came with the file counts
            if meta.get("grade") and not meta.get("solution") and cell.cell_type == "code":
                checks[meta["grade_id"]] = cell
                cell.outputs = _not_run("This check was not run.")  # an empty cell would count as full points
        nbinfo = resources["nbgrader"]
        runner = runner_for_strangers(self.allow_unsandboxed)
        try:
            assignment = Project().assignment(nbinfo["assignment"])
            limits = Limits(self.seconds, self.total_seconds, self.memory_mb)
            found = _grade(nb, assignment, class_seed(nbinfo["db_url"], nbinfo["assignment"]), runner, limits)
            by_check = {e.grade_id: v for e, v in zip(assignment.exercises, found, strict=True)}
        except Exception as problem:
            self.log.exception("Could not grade %s of %s", nbinfo["assignment"], nbinfo["student"])
            for cell in checks.values():
                cell.outputs = _not_run(
                    f"This could not be graded and needs a human: {type(problem).__name__}: {problem}"
                )
            return nb, resources
        for grade_id, cell in checks.items():
            if grade_id in by_check:
                points = float(cell.metadata.nbgrader.points)
                cell.outputs = _verdict_outputs(by_check[grade_id], points, runner.warning)
        return nb, resources


class SaveVerdicts(SaveAutoGrades):
    """As nbgrader saves scores; but a check that could not be run has no score, and waits for a human."""

    def _add_score(self, cell: NotebookNode, resources: dict) -> None:
        super()._add_score(cell, resources)
        if any(output.get("ename") == NOT_GRADED for output in cell.get("outputs", [])):
            grade_id = cell.metadata.nbgrader.grade_id
            grade = self.gradebook.find_grade(grade_id, self.notebook_id, self.assignment_id, self.student_id)
            grade.auto_score = None
            grade.needs_manual_grade = True
            self.gradebook.db.commit()


@lru_cache(maxsize=2)
def runner_for_strangers(allow_unsandboxed: bool) -> Runner:
    """What runs submissions, for as long as this process lives. Raises SandboxError if there is no sandbox."""
    runner = runner_for_others(LESSONS, allow_unsandboxed=allow_unsandboxed)
    atexit.register(runner.close)
    return runner


def _grade(nb: NotebookNode, assignment: Assignment, seed: int, runner: Runner, limits: Limits) -> list[Verdict]:
    with tempfile.TemporaryDirectory(prefix="s30-") as folder:
        path = Path(folder) / f"{assignment.slug}.ipynb"
        path.write_text(json.dumps(nb), encoding="utf-8")
        return grade(path, assignment, seed=seed, runner=runner, limits=limits)


def _not_run(sentence: str) -> list[NotebookNode]:
    return [new_output("error", ename=NOT_GRADED, evalue=sentence, traceback=[sentence])]


def _verdict_outputs(verdict: Verdict, max_points: float, warning: str) -> list[NotebookNode]:
    """What nbgrader reads as the score is the first result: one number, within bounds."""
    share = verdict.points / verdict.max_points if verdict.max_points else 0.0
    points = min(max(round(share * max_points, 6), 0.0), max_points)
    verdict = dataclasses.replace(verdict, points=points, max_points=max_points)  # what it is worth to this class
    notes = [warning] if warning else []
    return [
        new_output("display_data", data={"text/html": as_html(verdict, notes), "text/plain": as_text(verdict, notes)}),
        new_output("execute_result", data={"text/plain": repr(points)}, execution_count=None),
    ]


def class_seed(db_url: str, slug: str) -> int:
    """The secret seed of an assignment for the class whose gradebook this is; drawn when first asked for.

    It lies beside a SQLite gradebook (else in the current folder), readable by its owner only.
    """
    folder = Path(db_url.removeprefix("sqlite:///")).parent if db_url.startswith("sqlite:///") else Path.cwd()
    path = folder / "secret_seeds.json"
    seeds = json.loads(path.read_text()) if path.is_file() else {}
    if slug not in seeds:
        seeds[slug] = secrets.randbelow(2**31) + 1000
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(seeds, indent=1))
        os.replace(draft, path)
    return int(seeds[slug])
