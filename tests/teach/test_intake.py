"""A submission is read within limits, whatever is in it, and what is honest is taken in whole."""

from __future__ import annotations

import json
import time

import pytest

from autograder.engine.inside.notebook import NotebookError
from course.base.project import Project
from course.teach import intake
from course.teach.demo import SLUG, class_of
from course.teach.intake import TooMuch, take_in

PROJECT = Project()


def notebook_of(*sources: str, kind: str = "code") -> dict:
    """A solved notebook with more cells."""
    notebook = json.loads(json.dumps(class_of(PROJECT)["ada_complete"]))
    for source in sources:
        cell = {"cell_type": kind, "id": f"more-{len(notebook['cells'])}", "metadata": {}, "source": source}
        notebook["cells"].append(cell | ({"outputs": [], "execution_count": None} if kind == "code" else {}))
    return notebook


HOSTILE = {
    "lines without end": notebook_of("\n" * 1_000_000),
    "cells without end": notebook_of(*["x = 1"] * 6_000),
    "code without end": notebook_of("a\n" * 14_000_000),
    "words without end": notebook_of("a\n" * 4_000_000, kind="markdown"),
    "text in many cells": notebook_of(*["a" * 4_000_000] * 10, kind="markdown"),
    "brackets in words": notebook_of("[" * 60_000, "<a " * 60_000, "`" * 60_001 + " x", kind="markdown"),
    "quotes in words": notebook_of("> " * 30_000 + "x", kind="markdown"),
    "deep code": notebook_of("x = " + "(" * 10_000 + ")" * 10_000, "-" * 50_000 + "1"),
    "deep tree": {"cells": [], "metadata": json.loads("[" * 900 + "]" * 900)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_takes_a_minute_or_ends_the_run(tmp_path, name):
    path = tmp_path / "submission.ipynb"
    path.write_text(json.dumps(HOSTILE[name]))
    began = time.process_time()
    try:
        notebook, _ = take_in(path, SLUG, PROJECT)
        said = "" if len(notebook["cells"]) > 10 else "cells are gone"
    except NotebookError as problem:
        said = str(problem)
    assert time.process_time() - began < 5  # on this side of the border
    assert said == "" or (str(path) in said and ("was not graded" in said or "are not graded" in said))


def test_what_takes_too_long_is_told_at_once(tmp_path, monkeypatch):
    """Processor time is not the moment's: it is neither tried again by this reader, nor by the run."""
    first, path = tmp_path / "first.ipynb", tmp_path / "submission.ipynb"
    first.write_text(json.dumps(notebook_of("x = 1")))
    take_in(first, SLUG, PROJECT)
    path.write_text(json.dumps(notebook_of("!ls\n" * 20_000)))
    asked = []
    monkeypatch.setattr(
        intake._Reader, "_answer", lambda self, r, real=intake._Reader._answer: asked.append(r) or real(self, r)
    )
    with pytest.raises(NotebookError, match=f"^{path} takes too much time or memory") as told:
        take_in(path, SLUG, PROJECT)
    assert not isinstance(told.value, TooMuch)
    assert len(asked) == 1


def test_memory_is_limited(tmp_path):
    path = tmp_path / "submission.ipynb"
    path.write_text('{"cells": [' + "[]," * 30_000_000 + "[]]}")
    with pytest.raises(NotebookError, match=r"were not graded|are not graded|time or memory"):
        take_in(path, SLUG, PROJECT)


def test_an_honest_one_is_taken_in_whole(tmp_path):
    path = tmp_path / "submission.ipynb"
    handed_in = notebook_of("data = '" + "x" * 100_000 + "'")
    handed_in["cells"] = [c for c in handed_in["cells"] if c.get("id") != "sigmoid-check"]
    path.write_text(json.dumps(handed_in))
    notebook, notes = take_in(path, SLUG, PROJECT)
    assert notes == ["Missing, and back from the release: sigmoid-check."]
    assert len(notebook["cells"]) == len(handed_in["cells"]) + 1
    assert path.read_text() == json.dumps(handed_in)


def test_what_was_mended_is_told_of_the_one_it_was_mended_in(tmp_path):
    paths = [tmp_path / f"{n}.ipynb" for n in range(3)]
    for path, odd in zip(paths, ({"tags": ["a", "a"]}, {}, {"name": 5}), strict=True):
        handed_in = notebook_of("x = 1")
        handed_in["cells"][-1]["metadata"] = odd
        path.write_text(json.dumps(handed_in))
    number = len(handed_in["cells"])
    assert [take_in(path, SLUG, PROJECT)[1] for path in paths] == [
        [f"Cell {number}: metadata.tags was not as nbformat has it, and was dropped."],
        [],
        [f"Cell {number}: metadata.name was not as nbformat has it, and was dropped."],
    ]


def test_a_fault_of_ours_is_not_told_as_one_of_the_file(tmp_path):
    path = tmp_path / "submission.ipynb"
    path.write_text(json.dumps(notebook_of("x = 1")))
    with pytest.raises(RuntimeError, match=r"could not be taken in: FileNotFoundError"):
        take_in(path, "99_nothing", PROJECT)


def test_the_process_answers_for_itself_alone(tmp_path):
    """Nothing of what it says of a file that is none comes from the file."""
    path = tmp_path / "submission.ipynb"
    path.write_text('{"notebook": {}, "notes": []}')
    with pytest.raises(NotebookError, match="it has no list of cells"):
        take_in(path, SLUG, PROJECT)
    assert intake.SECONDS < 60


def test_after_one_that_is_too_much_the_next_is_read_by_a_process_of_its_own(tmp_path):
    first, second, third = (tmp_path / f"{name}.ipynb" for name in ("first", "second", "third"))
    first.write_text(json.dumps(notebook_of("x = 1")))
    second.write_text('{"cells": [' + "[]," * 30_000_000 + "[]]}")
    third.write_text(first.read_text())
    expected = take_in(first, SLUG, PROJECT)
    with pytest.raises(NotebookError):
        take_in(second, SLUG, PROJECT)
    assert take_in(third, SLUG, PROJECT) == expected


def test_many_are_read_by_one_process_and_none_answers_for_another(tmp_path):
    paths = [tmp_path / f"{n}.ipynb" for n in range(4)]
    for number, path in enumerate(paths):
        path.write_text(json.dumps(notebook_of(f"x = {number}")) if number != 2 else "[]")
    served = set()
    for number, path in enumerate(paths):
        if number == 2:
            with pytest.raises(NotebookError):
                take_in(path, SLUG, PROJECT)
        else:
            assert take_in(path, SLUG, PROJECT)[0]["cells"][-1]["source"] == f"x = {number}"
        served.add(intake._reader._process.pid)
    assert len(served) == 1


def test_an_honest_one_is_not_lost_to_what_those_before_it_left(tmp_path):
    path = tmp_path / "submission.ipynb"
    path.write_text(json.dumps(notebook_of("x = 1")))
    expected = take_in(path, SLUG, PROJECT)
    intake._reader._process.kill()
    assert take_in(path, SLUG, PROJECT) == expected
