"""The audit of graders: a sound one is found sound, and every kind of fault is named."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from conftest import s30

from autograder.engine.keys import record_key, write_key
from course.alternatives import AlternativesError, read_alternatives
from course.audit import Audit, AuditError, Measured, audit, details, is_current, read
from course.build import made_from
from course.mutants import mutants
from course.project import Project

ROOT = Path(__file__).resolve().parents[1]
SLUG = "42_tiny"


@dataclass(frozen=True)
class Exercise:
    """An exercise of a small assignment: its track, the given code with SOLUTION in it, and the solution."""

    track: str
    given: str
    solution: str


def tiny_project(
    root: Path, exercises: dict[str, Exercise], grader: str, mistakes: str, alternatives: str, oracle: str
) -> Project:
    """A project of one compiled assignment."""
    project = Project(root)
    for path, text in {
        project.grader(SLUG): grader,
        project.mistakes(SLUG): mistakes,
        project.alternatives(SLUG): alternatives,
        project.oracle(SLUG): oracle,
    }.items():
        path.parent.mkdir(parents=True)
        path.write_text(dedent(text), encoding="utf-8")
    marked = "### BEGIN SOLUTION\n    {0}\n    ### END SOLUTION"
    for path, solution in (
        (project.source(SLUG), marked),
        (project.release(SLUG), "raise NotImplementedError()"),
        (project.solution(SLUG), "{0}"),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(_notebook(exercises, solution)), encoding="utf-8")
    key = record_key(project.assignment(SLUG), project.mistakes(SLUG), made_from(project, SLUG))
    write_key(key, project.key(SLUG))
    return project


def _notebook(exercises: dict[str, Exercise], solution: str) -> dict:
    torch = any(exercise.track == "torch" for exercise in exercises.values())
    cells = [_cell("setup", "import numpy as np" + "\nimport torch\nfrom torch import nn" * torch)]
    for name, exercise in exercises.items():
        card = {"track": exercise.track, "needs": [n for n in [name.replace("_back", "_for")] if n in exercises]}
        card["needs"] = [need.replace("_forward", "_forward") for need in card["needs"] if need != name]
        source = exercise.given.replace("SOLUTION", solution.format(exercise.solution))
        cells.append(_cell(name, source, s30=card, nbgrader=_grade(name, grade=False)))
        cells.append(_cell(f"{name}-check", f'check("{name}")', nbgrader=_grade(f"{name}-check", grade=True)))
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def _cell(name: str, source: str, **metadata: dict) -> dict:
    return {"cell_type": "code", "id": name, "metadata": metadata, "source": source, "outputs": []}


def _grade(name: str, *, grade: bool) -> dict:
    return {"schema_version": 3, "grade_id": name, "grade": grade, "solution": not grade, "points": 2}
