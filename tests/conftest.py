"""What the tests share: notebooks written from text, changed copies of the worked solutions, and their verdicts."""

from __future__ import annotations

import ast
import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browsing import CHROMIUM, FLAGS, QUICK

from autograder.engine.assignment import Assignment, read_exercises, with_needs
from autograder.engine.border.runner import SINGLE
from autograder.engine.inside.load import load
from autograder.engine.inside.notebook import Cell, Code, read_notebook, runs_in_grading
from autograder.engine.inside.observe import PUBLIC_SEED, load_grader, observe
from autograder.engine.inside.records import Limits
from autograder.engine.judge.grade import grade
from autograder.engine.judge.keys import digest, load_reference, record_key, write_key
from autograder.engine.judge.verdict import Verdict
from autograder.engine.probes import probes_of
from course.base.commands import cores
from course.base.project import Project
from course.teach.seed import expected

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
SOLVED = "03"  # the assignment whose worked solution most notebooks here are made from


def pytest_configure(config: pytest.Config) -> None:
    """Files go to the workers in the order of collection, not those with the most tests first.

    Workers, and what they start, compute with one thread each: several times as many as there are cores would mostly
    wait for each other.
    """
    os.environ |= {name: count for name, count in SINGLE.items() if name.endswith("_THREADS")}
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: most of the time of the tests is waiting for limits, browsers and servers."""
    return cores() + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: the last file that a worker begins must not be one that the others wait for."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def make_notebook(cells: Iterable[str], path: Path) -> Path:
    """Write code cells as a notebook without any metadata. Returns the path."""
    tree = {
        "cells": [
            {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
            for source in cells
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def solution_cells(number: str = SOLVED) -> list[str]:
    """What grading runs of an assignment's worked solution, a cell for each of its cells; the first one imports.

    Left out is what notebooks import for their figures: matplotlib alone would double the time of every test that
    grades.
    """
    assignment = Project().assignment(number)
    assert assignment.reference is not None
    code = Code(read_notebook(assignment.reference))
    aliases = code.aliases()
    exercises = {code.definition(exercise.name).cell.number for exercise in assignment.exercises}
    cells = {0: "import numpy as np" + ("\nimport torch\nfrom torch import nn" if "torch" in aliases else "")}
    for statement in code.statements:
        number = statement.cell.number
        if number in exercises:
            cells[number] = statement.cell.source
        elif runs_in_grading(statement, exercises, aliases) and not _imports_figures(statement.node):
            cells[number] = (cells[number] + "\n\n" if number in cells else "") + ast.unparse(statement.node)
    return list(cells.values())


def _imports_figures(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom) and (
        "course" in ast.unparse(node) or "plot" in ast.unparse(node)
    )


def stub_cells(number: str = SOLVED) -> list[str]:
    """The code cells of an assignment as it is released."""
    released = Project().release(Project().slug(number))
    return [cell.source for cell in read_notebook(released) if cell.type == "code"]


def index_of(cells: list[str], name: str) -> int:
    """The place of the cell that defines `name`."""
    return next(i for i, source in enumerate(cells) if Code([Cell(1, "code", source)]).definition(name))


def replaced(name: str, changes: Mapping[str, str], cells: list[str] | None = None) -> list[str]:
    """The solution's cells (or `cells`) with text replaced in the one that defines `name`; every text must be there."""
    cells = list(solution_cells() if cells is None else cells)
    at = index_of(cells, name)
    for old, new in changes.items():
        assert old in cells[at], f"{name} does not contain {old!r}"
        cells[at] = cells[at].replace(old, new)
    return cells


def with_first_line(name: str, line: str, cells: list[str] | None = None, *, method: str | None = None) -> list[str]:
    """The solution's cells (or `cells`) with `line` put first into the function `name`, or into a method of it."""
    cells = list(solution_cells() if cells is None else cells)
    at = index_of(cells, name)
    node = next(
        n for n in ast.walk(ast.parse(cells[at])) if isinstance(n, ast.FunctionDef) and n.name == (method or name)
    )
    first = node.body[1] if ast.get_docstring(node) else node.body[0]
    lines = cells[at].split("\n")
    lines.insert(first.lineno - 1, " " * first.col_offset + line)
    cells[at] = "\n".join(lines)
    return cells


def explain(
    notebook: Path,
    number: str = SOLVED,
    *,
    exercises: Collection[str] | None = None,
    seed: int = PUBLIC_SEED,
    limits: Limits | None = None,
) -> dict[str, Verdict]:
    """Grade a notebook file. Returns name → verdict."""
    assignment = Project().assignment(number)
    return {v.name: v for v in grade(notebook, assignment, exercises=exercises, seed=seed, limits=limits)}


ANSWERS = (
    "source",
    "solutions",
    "autograder/mistakes",
    "autograder/alternatives",
    "autograder/audit",
)  # what a learner's copy lacks


COPIED = ("00", "03")  # the entrance, and the one that is solved: all that the tests of copies look at


def _not_copied(folder: str, names: list[str]) -> set[str]:
    """What belongs to other assignments; a copy of all would cost each test as much as the course has grown."""
    numbers = {name: re.match(r"(?:test_)?(\d\d)_", name) for name in names}
    return {name for name, number in numbers.items() if number and number[1] not in COPIED}


def _copy(root: Path, names: Iterable[str]) -> Project:
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=_not_copied)
        else:
            shutil.copy(source, root / name)
    return Project(root)


@pytest.fixture
def copied(tmp_path: Path) -> Project:
    """A copy of the project to change: as a clone gives it, with two assignments and without a gradebook."""
    return _copy(tmp_path / "copy", ["course", "source", "release", "solutions", "autograder", "nbgrader_config.py"])


@pytest.fixture
def learners_copy(tmp_path: Path) -> Project:
    """A copy without anything that holds an answer."""
    project = _copy(tmp_path / "learner", ["course", "release", "autograder", "nbgrader_config.py"])
    for name in ANSWERS:
        shutil.rmtree(project.root / name, ignore_errors=True)
    return project


def s30(*words: str, root: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run the command `s30` of the copy of the project in `root`."""
    path = os.pathsep.join([str(root), *filter(None, [environment.pop("PYTHONPATH", "")])])
    variables = {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "120", **environment}
    command = [sys.executable, "-m", "course.cli", *words]
    if words[0] in ("grade", "gradebook") and "--course-dir" in words:
        share_secret(Path(words[words.index("--course-dir") + 1]))
    return subprocess.run(command, cwd=root, capture_output=True, text=True, env=variables)


def share_secret(folder: Path) -> None:
    """Give a class that has no secrets those that the tests' classes have in common.

    To observe the reference of an assignment at new seeds takes longer than most tests.
    """
    if folder.is_dir() and not (folder / "secret_seeds.json").exists():
        shutil.copytree(_secret(), folder, dirs_exist_ok=True)


@cache
def _secret() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="s30-secret-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    expected(Project(), Project().slug(SOLVED), folder, 0)
    return folder


def tiny_assignment(
    folder: Path,
    names: Iterable[str],
    *,
    track: str = "forward",
    forbids: Iterable[str] = (),
    needs: Mapping[str, list[str]] | None = None,
    solution: str = "return 2 * x",
    grader: str | None = None,
    key: bool = True,
) -> Assignment:
    """An assignment of exercises of one point each, with its key.

    Args:
        folder: where its files go.
        names: of the exercises, all functions of one array.
        track: of all of them.
        forbids: what all of them forbid.
        needs: for those that need others.
        solution: the body of all of them, in one line.
        grader: the text of its probes; by default one per exercise, at two sizes.
        key: record it. A test that wants to see it refused does that itself.
    """
    slug, names = "42_doubling", list(names)
    cells = [
        _cell("setup", "import numpy as np" + ("\nimport torch\nfrom torch import nn" if track == "torch" else ""))
    ]
    for name in names:
        common = {"schema_version": 3}
        exercise = {**common, "grade": False, "solution": True, "locked": False, "grade_id": name}
        check = {**common, "grade": True, "solution": False, "locked": True, "grade_id": f"{name}-check", "points": 1}
        card = {"track": track, "forbids": list(forbids), "needs": (needs or {}).get(name, [])}
        cells.append(_cell(name, f"def {name}(x):\n    BODY", nbgrader=exercise, s30=card))
        cells.append(_cell(f"{name}-check", f'check("{name}")', nbgrader=check))
    text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    folder.mkdir(parents=True, exist_ok=True)
    release, reference, probes = (folder / name for name in ("release.ipynb", "solution.ipynb", f"test_{slug}.py"))
    release.write_text(text.replace("BODY", "raise NotImplementedError()"), encoding="utf-8")
    reference.write_text(text.replace("BODY", solution), encoding="utf-8")
    probes.write_text(grader or "\n".join([_IMPORTS, *map(_PROBE.format, names)]), encoding="utf-8")
    assignment = Assignment(slug, read_exercises(slug, release), probes, folder / f"{slug}.npz", reference)
    if key:
        made_from = {"grader": digest(assignment.grader)}
        write_key(record_key(assignment, folder / "no_mistakes.toml", made_from), assignment.key)
    return assignment


def own_assignment(folder: Path, solutions: dict[str, str], stubs: dict[str, str], grader: str, **tiny) -> Assignment:
    """An assignment with its key: name → solution, and name → what its stub begins with."""
    plain = tiny_assignment(folder, list(solutions), key=False, **tiny)
    for path, sources in (
        (plain.reference, solutions),
        (folder / "release.ipynb", {n: f"{stub}raise NotImplementedError()" for n, stub in stubs.items()}),
    ):
        tree = json.loads(path.read_text(encoding="utf-8"))
        for cell in tree["cells"]:
            cell["source"] = sources.get(cell["id"], cell["source"])
        path.write_text(json.dumps(tree), encoding="utf-8")
    plain.grader.write_text(grader, encoding="utf-8")
    exercises = read_exercises(plain.slug, folder / "release.ipynb")
    ready = Assignment(plain.slug, exercises, plain.grader, plain.key, plain.reference)
    write_key(record_key(ready, folder / "no_mistakes.toml", {"grader": digest(ready.grader)}), ready.key)
    return ready


_IMPORTS = "from autograder.engine.probes import probe"
_PROBE = """
@probe("{0}", cases=[(3,), (5,)])
def probe_{0}(impl, rng, size):
    x = rng.standard_normal(size)
    yield "y", impl.{0}(x)
"""


def functions(bodies: Mapping[str, str]) -> list[str]:
    """The cells of a notebook that hands in functions of one array, each with its body."""
    return ["import numpy as np", *(f"def {name}(x):\n    {body}" for name, body in bodies.items())]


def public_inputs(assignment: Assignment, name: str, argument: int) -> set[int]:
    """Checksums of the array that the function `name` gets as its argument of that index at the public seed."""
    assert assignment.reference is not None
    loaded = load(read_notebook(assignment.reference), [e.name for e in assignment.exercises])
    right, seen = loaded.namespace[name], set()

    def spy(*arguments):
        seen.add(zlib.crc32(arguments[argument].tobytes()))
        return right(*arguments)

    loaded.namespace[name] = spy
    calling = [e.name for e in assignment.exercises if name in with_needs(assignment.exercises, {e.name})]
    for _ in observe(probes_of(load_grader(assignment.grader)), calling, PUBLIC_SEED, loaded):
        pass
    return seen


def _cell(name: str, source: str, **metadata: dict) -> dict:
    return {
        "cell_type": "code",
        "id": name,
        "metadata": metadata,
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


@pytest.fixture(scope="session")
def reference():
    """`reference("03")`: the names that the worked solution of an assignment defines."""

    def load(number: str) -> SimpleNamespace:
        return SimpleNamespace(**load_reference(Project().assignment(number)).namespace)

    return load


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2015)


def bubblewrap_works() -> bool:
    """Whether bubblewrap by itself works. If it does, having no sandbox is a fault of ours, and no reason to skip."""
    bwrap = shutil.which("bwrap")
    alone = ["--unshare-all", "--ro-bind", "/", "/", "true"]
    return bwrap is not None and subprocess.run([bwrap, *alone], capture_output=True).returncode == 0


needs_sandbox = pytest.mark.skipif(
    not bubblewrap_works(), reason="there is no bubblewrap, or it is not permitted; .ci/system-packages installs it"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    from playwright import sync_api  # whoever asks for a browser has it

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of its own for each test. If the test fails, what it shows is saved as a picture."""
    from playwright import sync_api

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(QUICK)
    sync_api.expect.set_options(timeout=QUICK)
    page = context.new_page()
    failed_before = request.session.testsfailed
    yield page
    if request.session.testsfailed > failed_before:
        picture = tmp_path / "page.png"
        page.screenshot(path=picture)
        print(f"What the browser showed: {picture}")
    context.close()
