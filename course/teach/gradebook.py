"""A class's gradebook: which assignments it knows, with which cells, and what each is worth to this class."""

from __future__ import annotations

import copy
import json
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry

from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import read_notebook
from course.base.nbgrader import convert
from course.base.project import Project
from course.teach.folder import ClassFolder, has_gradebook

POINTS = "points.toml"  # in the class's folder: what exercises are worth where that is not what the course says


def register(project: Project, slug: str, folder: ClassFolder) -> None:
    """Enter an assignment into the class's gradebook as its released notebook has it; release/ is only read.

    What the class's points.toml says of points goes before what the release says.
    """
    problem = other_cells(project, slug, folder.db_url)
    if problem:
        raise UserError(problem)
    wanted = class_points(project, slug, folder.root).points
    with folder.gradebook():
        pass  # it is begun, and can be written
    config = copy.deepcopy(folder.config)
    with tempfile.TemporaryDirectory(prefix="s30-register-") as staged:
        notebook = json.loads(project.release(slug).read_bytes())
        for cell in notebook["cells"]:
            meta = cell["metadata"].get("nbgrader", {})
            if meta.get("grade_id") in wanted:
                meta["points"] = wanted[meta["grade_id"]]
        source = Path(staged) / "source" / slug / f"{slug}.ipynb"
        source.parent.mkdir(parents=True)
        source.write_text(json.dumps(notebook), encoding="utf-8")
        config.CourseDirectory.source_directory = str(source.parents[1])
        config.CourseDirectory.release_directory = str(Path(staged) / "release")
        convert(
            "assignment",
            slug,
            config,
            preprocessors=[
                "nbgrader.preprocessors.CheckCellMetadata",
                "nbgrader.preprocessors.ComputeChecksums",
                "nbgrader.preprocessors.SaveCells",
            ],
        )


@dataclass(frozen=True)
class ClassPoints:
    """What an assignment is worth to a class where that is not what the course says.

    Attributes:
        points: id of a graded cell → points.
        parts: whether an exercise that has parts earns points for those that are right.
    """

    points: dict[str, float]
    parts: bool = True


def class_points(project: Project, slug: str, course_dir: Path) -> ClassPoints:
    """What the class's points.toml says of an assignment.

    The file has a table per assignment, in which exercises and written questions have their points; 0 leaves one out,
    and `parts = false` gives no points for less than all of an exercise:

        [03_lstm_understanding]
        chrono_init = 0
        LSTM = 5
        parts = false
    """
    path = course_dir / POINTS
    table = read_toml(path).get(slug, {})
    if not isinstance(table, dict):
        raise UserError(f"{path}: {slug} is a table of exercises and their points, such as [{slug}] and a line below.")
    parts = table.pop("parts", True)
    if not isinstance(parts, bool):
        raise UserError(f"{path}: parts = {parts!r} of {slug}: it is true or false.")
    if not table:  # nor is it asked for: this is said of every submission
        return ClassPoints({}, parts)
    graded = {
        str(cell.nbgrader["grade_id"]).removesuffix("-check"): str(cell.nbgrader["grade_id"])
        for cell in read_notebook(project.release(slug))
        if cell.nbgrader.get("grade")
    }
    found = {}
    for name, points in table.items():
        if name not in graded:
            raise UserError(f"{path}: {slug} has no {name!r}. It has: {', '.join(graded)}.")
        if isinstance(points, bool) or not isinstance(points, int | float) or not 0 <= points < 1000:
            raise UserError(f"{path}: {name} = {points!r}: points are a number from 0 up; 0 leaves it out.")
        found[graded[name]] = float(points)
    return ClassPoints(found, parts)


def read_toml(path: Path) -> dict[str, Any]:
    """What a file of the class's says; nothing if there is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} can't be read as TOML: {problem}") from None


def other_cells(project: Project, slug: str, db_url: str) -> str | None:
    """Why submissions of an assignment can't be graded into a gradebook by this version of the course, if so.

    Text, probes, hints and points may change while a class is at work; which exercises there are may not, once there
    are submissions, for nbgrader keeps a score per cell.
    """
    if not has_gradebook(db_url):
        return None
    cells = read_notebook(project.release(slug))
    there = {str(c.nbgrader["grade_id"]) for c in cells if c.nbgrader.get("grade") or c.nbgrader.get("solution")}
    with Gradebook(db_url) as gradebook:
        try:
            notebook = gradebook.find_notebook(slug, slug)
        except MissingEntry:
            return None
        if not notebook.submissions:
            return None
        known = {cell.name for cell in [*notebook.grade_cells, *notebook.solution_cells]}
    if known == there:
        return None
    parts = [
        f"{verb} {', '.join(sorted(names))}"
        for verb, names in (("new:", there - known), ("gone:", known - there))
        if names
    ]
    return (
        f"{slug} has other exercises now than when this class's submissions were graded ({'; '.join(parts)}). "
        "Grade this class with the version of the course that it began with, or begin a new gradebook."
    )
