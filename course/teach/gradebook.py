"""A class's gradebook: which assignments it knows, with which cells, and what each is worth to this class."""

from __future__ import annotations

import copy
import csv
import json
import tempfile
import tomllib
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry

from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import read_notebook
from course.base.nbgrader import begin_gradebook, convert, nbgrader_config
from course.base.project import Project

POINTS = "points.toml"  # in the class's folder: what exercises are worth where that is not what the course says


_STUDENT = ("first_name", "last_name", "email", "lms_user_id")


def register(project: Project, slug: str, course_dir: Path) -> None:
    """Enter an assignment into the class's gradebook as its released notebook has it; release/ is only read.

    What the class's points.toml says of points goes before what the release says.
    """
    db_url = f"sqlite:///{course_dir / 'gradebook.db'}"
    problem = other_cells(project, slug, db_url)
    if problem:
        raise UserError(problem)
    wanted = class_points(project, slug, course_dir)
    if not (course_dir / "gradebook.db").is_file():
        begin_gradebook(db_url)
    config = copy.deepcopy(nbgrader_config(project, course_dir))
    with tempfile.TemporaryDirectory(prefix="s30-register-") as folder:
        notebook = json.loads(project.release(slug).read_bytes())
        for cell in notebook["cells"]:
            meta = cell["metadata"].get("nbgrader", {})
            if meta.get("grade_id") in wanted:
                meta["points"] = wanted[meta["grade_id"]]
        source = Path(folder) / "source" / slug / f"{slug}.ipynb"
        source.parent.mkdir(parents=True)
        source.write_text(json.dumps(notebook), encoding="utf-8")
        config.CourseDirectory.source_directory = str(source.parents[1])
        config.CourseDirectory.release_directory = str(Path(folder) / "release")
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


def enter_roster(roster: Path, course_dir: Path) -> int:
    """Enter the students of a CSV file into the class's gradebook; who is there already is updated.

    Args:
        roster: has a column `id`, as submissions name the student, and may have first_name, last_name, email and
            lms_user_id.
        course_dir: the class's folder.

    Returns:
        How many students it lists.
    """
    try:
        with roster.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise UserError(f"--roster {roster} can't be read as CSV: {problem}.") from None
    students: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        name = (row.get("id") or "").strip()
        if not name or name in students:
            why = f"repeats {name!r}" if name else "has no id (the first line names the columns)"
            raise UserError(f"--roster {roster}: line {number} {why}. Nothing was entered.")
        students[name] = {column: row[column].strip() for column in _STUDENT if row.get(column)}
    with Gradebook(f"sqlite:///{course_dir / 'gradebook.db'}") as gradebook:
        for name, known in students.items():
            gradebook.update_or_create_student(name, **known)
    return len(students)


def class_points(project: Project, slug: str, course_dir: Path) -> dict[str, float]:
    """What the class's points.toml says of an assignment: id of a graded cell → points.

    The file has a table per assignment, in which exercises and written questions have their points; 0 leaves one out:

        [03_lstm_understanding]
        chrono_init = 0
        LSTM = 5
    """
    path = course_dir / POINTS
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get(slug, {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} can't be read as TOML: {problem}") from None
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
    return found


def other_cells(project: Project, slug: str, db_url: str) -> str | None:
    """Why submissions of an assignment can't be graded into a gradebook by this version of the course, if so.

    Text, probes, hints and points may change while a class is at work; which exercises there are may not, once there
    are submissions, for nbgrader keeps a score per cell.
    """
    if db_url.startswith("sqlite:///") and not Path(db_url.removeprefix("sqlite:///")).is_file():
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
