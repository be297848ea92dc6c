"""`s30 demo`: a small class, graded from submissions to feedback pages with nbgrader's own commands."""

from __future__ import annotations

import copy
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from autograder.engine.border.sandbox import protection
from autograder.engine.inside.errors import UserError
from autograder.engine.judge.mistakes import read_mistakes
from autograder.engine.judge.verdict import Label, Status, Verdict
from autograder.engine.judge.words.report import LOOKS, number, title
from course.base.project import Project
from course.teach.classroom import Wishes
from course.teach.classroom import run as grade
from course.teach.folder import ClassFolder

SLUG = "03_lstm_understanding"
Notebook = dict[str, Any]


def _cell(notebook: Notebook, grade_id: str) -> dict[str, Any]:
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)


def _fill_in(stub: Notebook, solution: Notebook, names: list[str]) -> Notebook:
    """The stub with the solutions of some exercises."""
    filled = copy.deepcopy(stub)
    for name in names:
        _cell(filled, name)["source"] = _cell(solution, name)["source"]
    return filled


def _with_mistakes(notebook: Notebook, project: Project, wanted: dict[str, str]) -> Notebook:
    """The notebook with a known mistake in each of some exercises."""
    wrong = copy.deepcopy(notebook)
    for mistake in read_mistakes(project.mistakes(SLUG)):
        if wanted.get(mistake.exercise) == mistake.name:
            cell = _cell(wrong, mistake.exercise)
            cell["source"] = mistake.source("".join(cell["source"]))
    return wrong


def _damaged(notebook: Notebook) -> Notebook:
    """What editors do: a cell doubled, a check deleted, one relabelled, metadata gone, a cell added."""
    cells = copy.deepcopy(notebook["cells"])
    by_id = {c["metadata"].get("nbgrader", {}).get("grade_id"): c for c in cells}
    cells.remove(by_id["lstm_cell_forward-check"])
    cells.insert(cells.index(by_id["lstm_cell_backward"]), copy.deepcopy(by_id["lstm_cell_backward"]))
    by_id["lstm_cell_backward-check"]["metadata"]["nbgrader"]["solution"] = True
    by_id["LSTM"]["metadata"] = {"id": "a1B2c3"}
    cells.insert(2, {"cell_type": "code", "metadata": {}, "source": "1 / 0", "outputs": [], "execution_count": None})
    for cell in cells:
        cell.pop("id", None)
    return {**notebook, "cells": cells, "nbformat_minor": 4}


def class_of(project: Project) -> dict[str, Notebook]:
    """Student → submission."""
    stub: Notebook = json.loads(project.release(SLUG).read_text(encoding="utf-8"))
    solution: Notebook = json.loads(project.solution(SLUG).read_text(encoding="utf-8"))
    exercises = [e.name for e in project.assignment(SLUG).exercises]
    full = _fill_in(stub, solution, exercises)
    one = {"lstm_cell_backward": "cell_state_through_h_missing", "LSTM": "state_detached"}
    two = {"lstm_cell_forward": "gates_i_f_o_g"}
    return {
        "ada_complete": full,
        "ben_two_mistakes": _with_mistakes(full, project, one),
        "cleo_gate_order": _with_mistakes(full, project, two),
        "dan_half_done": _fill_in(stub, solution, ["sigmoid", "lstm_cell_forward", "lstm_forward"]),
        "eve_blank": stub,
        "finn_damaged_file": _damaged(full),
    }


def _run(say: Callable[[str], None], root: Path, *words: str) -> None:
    """Run one of nbgrader's own commands where it finds the project's configuration."""
    say(f"$ nbgrader {' '.join(words)}")
    command = [sys.executable, "-m", "nbgrader", *words]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    if ended.returncode:
        raise UserError(f"nbgrader {' '.join(words)} failed:\n{(ended.stdout + ended.stderr)[-3000:]}")


def run(project: Project, console: Console) -> Path:
    """Make the class, grade it and print its gradebook. Returns the class's folder."""
    if not project.solution(SLUG).is_file():
        raise UserError("The demo makes its class from solutions/, which this copy of the course does not have.")
    folder = Path(tempfile.mkdtemp(prefix="s30-demo-"))
    for student, notebook in class_of(project).items():
        path = folder / "submitted" / student / SLUG / f"{SLUG}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")
    count = len(list((folder / "submitted").iterdir()))
    console.print(f"A class of {count} hands in {SLUG}; everything is in {folder}\n", soft_wrap=True)
    # This class is no stranger: where there is no sandbox its code may run without
    trust = f"c = get_config()\nc.GradeSubmission.allow_unsandboxed = {not protection().sandboxed}\n"
    (folder / "nbgrader_config.py").write_text(trust)
    console.print(f"$ s30 grade 03 --course-dir {folder}", style="dim", soft_wrap=True)
    going = grade(console, project, SLUG, ClassFolder.of(project, folder), Wishes())

    def say(line: str) -> None:
        console.print(line, style="dim", soft_wrap=True, highlight=False)

    grades = folder / "grades.csv"
    database = ("--db", f"sqlite:///{folder / 'gradebook.db'}")
    _run(say, project.root, "generate_feedback", SLUG, "--course-dir", str(folder))
    _run(say, project.root, "export", *database, "--to", str(grades))
    _print_gradebook(project, grades, {s.student: going.as_counted(s) for s in going.submissions}, console)
    page = folder / "feedback" / "ben_two_mistakes" / SLUG / f"{SLUG}.html"
    console.print(f"\nGrades as CSV: {grades}\nA student's feedback page: {page}", soft_wrap=True, highlight=False)
    return folder


def _print_gradebook(project: Project, grades: Path, verdicts: dict[str, list[Verdict]], console: Console) -> None:
    with grades.open(encoding="utf-8") as exported:
        scores = {row["student_id"]: row for row in csv.DictReader(exported)}
    table = Table(title=f"\nGradebook of {SLUG}", title_justify="left", show_footer=True)
    table.add_column("exercise", footer="score")
    for student in verdicts:
        row = scores[student]
        table.add_column(student.split("_")[0], f"{number(float(row['score']))}/{number(float(row['max_score']))}")
    for exercise, *row_of in zip(project.assignment(SLUG).exercises, *verdicts.values(), strict=True):
        table.add_row(exercise.name, *map(_points, row_of))
    console.print(table)
    console.print("Scores hold the automatic points; the written question (2 points) is graded by hand.\n")
    for student, found in verdicts.items():
        for verdict in found:
            _print_reason(student, verdict, console)


def _points(verdict: Verdict) -> str:
    return f"{LOOKS[verdict.status].sign} {number(verdict.points)}/{number(verdict.max_points)}"


def _print_reason(student: str, verdict: Verdict, console: Console) -> None:
    """Why points are missing, in brief; a stub that nobody touched needs no reason."""
    if verdict.status in (Status.PASSED, Status.NOT_ATTEMPTED):
        return
    console.print(f"{student}  {title(verdict)}", style="bold", highlight=False, soft_wrap=True)
    shown = [f"{r.label}: {r.text}" for r in verdict.reasons if r.label in (Label.COMPARED, Label.CAUSE)]
    for line in [verdict.headline, *shown]:
        console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)
