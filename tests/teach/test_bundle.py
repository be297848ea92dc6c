"""What students receive works without the rest, and nothing in it holds an answer."""

import ast
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import ROOT, make_notebook, needs_sandbox, s30
from nbclient import NotebookClient

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.keys import read_tree
from autograder.engine.judge.mistakes import read_mistakes
from course.base.project import RUBRIC, Project
from course.teach.bundle import FOLDER, bundle
from course.teach.folder import ClassFolder
from course.teach.gradebook import register

LONG_ENOUGH = 24  # shorter lines, such as `return out`, say nothing
COMMON = {  # what answers nothing: what anybody writes, calls by which graders observe
    "additive_attention(p, s, h, mask)",
    "block.bn2.weight.zero_()",
    "for name in sorted(params):",
    "terms / terms.sum(axis=1, keepdims=True)",
    "terms.sum(axis=1, keepdims=True)",
    "for parameter in model.parameters():",
    "ctc_beta(logp, y, blank)",
    "extend_with_blanks(y, blank)",
    "gates_forward(p, row, M)",
    RUBRIC,
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """The bundle, unzipped."""
    folder = tmp_path_factory.mktemp("student")
    out = folder / "course.zip"
    bundle(Project(), out)
    with zipfile.ZipFile(out) as archive:
        archive.extractall(folder)
    return folder / FOLDER


def code_lines(source: str) -> set[str]:
    """Lines of code that are long enough to be an answer; no comments, docstrings, imports or signatures."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        tree = ast.Module([], [])
    documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            skipped.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        if isinstance(node, ast.Import | ast.ImportFrom):
            skipped.add(node.lineno)
    lines = (line.strip() for number, line in enumerate(source.split("\n"), 1) if number not in skipped)
    kept = (re.sub(r"\s+#.*", "", line) for line in lines if not line.startswith(("#", "def ", "class ", '"""')))
    return {line for line in kept if len(line) >= LONG_ENOUGH}


def given(project: Project) -> str:
    """All text that learners are given on purpose: the stubs with their given code."""
    return "\n".join(cell_text(project.release(slug)) for slug in project.slugs())


def cell_text(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def standing_in(text: str, lines: Iterable[str]) -> list[str]:
    """The lines that stand somewhere in a text. First by pairs of words: thousands of lines go through each file."""
    words = re.findall(r"\w+", text)
    known = {*words, *itertools.pairwise(words)}
    return [line for line in lines if inner_pairs(line) <= known and line in text]


@cache
def inner_pairs(line: str) -> frozenset[str | tuple[str, str]]:
    """Neighbours among a line's words, which are neighbours wherever the line stands, or its only word.

    Of the words that have something on either side: others may be part of longer ones there.
    """
    words = re.findall(r"(?<=\W)\w+(?=\W)", line)
    return frozenset(itertools.pairwise(words) if len(words) > 1 else words)


@cache
def answers(project: Project) -> frozenset[str]:
    """Every line of code of solutions, mistakes and alternatives that is not given code."""
    found: set[str] = set()
    for slug in project.slugs():
        for cell in json.loads(project.source(slug).read_text(encoding="utf-8"))["cells"]:
            inside = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", "".join(cell["source"]), re.S)
            for part in inside:
                found |= {line.strip() for line in part.split("\n") if len(line.strip()) >= LONG_ENOUGH}
        if project.alternatives(slug).is_file():
            found |= code_lines(project.alternatives(slug).read_text(encoding="utf-8"))
        for mistake in read_mistakes(project.mistakes(slug)):  # their hints are meant to be read
            lines = (line.strip() for pair in mistake.change for text in pair for line in text.split("\n"))
            found |= {line for line in lines if len(line) >= LONG_ENOUGH}
    return frozenset(found.difference(standing_in(given(project), found), COMMON))


def text_of(path: Path) -> str:
    """A file as text; a key as the JSON that is in it, weights as the bytes of their arrays."""
    if path.suffix == ".npz" and path.parent.name == "weights":
        with np.load(path) as arrays:
            return "".join(f"{name} {array.tobytes().decode('latin-1')}\n" for name, array in arrays.items())
    if path.suffix == ".npz":
        return json.dumps(read_tree(path), ensure_ascii=False)
    if path.suffix == ".ipynb":
        return cell_text(path) + path.read_text(encoding="utf-8")
    return path.read_bytes().decode("utf-8", "replace")


def leaks(paths: list[Path]) -> list[tuple[str, str]]:
    """Every answer that stands in one of the files."""
    lines = answers(Project())
    assert len(lines) > 50
    return [(path.name, line) for path in paths for line in standing_in(text_of(path), lines)]


def test_the_search_finds_what_is_there():
    project = Project()
    slug = "03_lstm_understanding"
    for path in (project.solution(slug), project.mistakes(slug), project.alternatives(slug)):
        assert len(leaks([path])) > 5, path


def test_no_answer_is_released_or_bundled(unpacked):
    project = Project()
    files = [path for path in unpacked.rglob("*") if path.is_file()]
    assert leaks(files) == []
    assert leaks([project.release(slug) for slug in project.slugs()]) == []
    names = {path.relative_to(unpacked).parts[:2] for path in files}
    assert not {name for name in names if {"source", "solutions", "mistakes", "alternatives", "tests"} & set(name)}


def test_no_answer_is_in_the_wheel(tmp_path):
    project = tmp_path / "project"
    for name in ("course", "autograder"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project / name)
    make = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(tmp_path),
        str(project),
    ]
    subprocess.run(make, check=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "wheel")
    assert leaks([path for path in (tmp_path / "wheel").rglob("*") if path.is_file()]) == []


@needs_sandbox
def test_no_answer_is_in_the_gradebook_or_on_a_feedback_page(tmp_path):
    project = Project()
    slug = "03_lstm_understanding"
    path = tmp_path / "submitted" / "blank" / slug / f"{slug}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(project.release(slug).read_bytes())
    register(project, slug, ClassFolder.of(project, tmp_path))
    for command in ("autograde", "generate_feedback"):
        ran = [sys.executable, "-m", "nbgrader", command, slug, "--course-dir", str(tmp_path)]
        subprocess.run(ran, cwd=ROOT, check=True, capture_output=True)
    pages = list((tmp_path / "feedback").rglob("*.html"))
    assert pages
    assert leaks([tmp_path / "gradebook.db", *pages]) == []


def test_a_bundle_is_the_same_every_time_and_never_overwrites(tmp_path):
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    bundle(Project(), first)
    bundle(Project(), second)
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(UserError, match="stays as it is"):
        bundle(Project(), first)


def test_a_bundle_without_keys_is_refused(copied, tmp_path):
    copied.key("03_lstm_understanding").unlink()
    with pytest.raises(UserError, match="s30 build"):
        bundle(copied, tmp_path / "out.zip")


def test_teachers_commands_say_in_a_students_copy_what_they_lack(unpacked):
    for words, sentence in (
        (("build",), "holds no masters"),
        (("demo",), "which this copy of the course does not have"),
        (("lint",), "does not exist"),
    ):
        ran = s30(*words, root=unpacked)
        assert ran.returncode == 1
        assert sentence in ran.stderr
        assert "Traceback" not in ran.stderr


def test_the_bundle_installs_and_grades_on_a_machine_of_its_own(unpacked, tmp_path):
    """A new environment, in which only the libraries are those of this one."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    libraries = subprocess.run([sys.executable, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    packages = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", str(unpacked)]
    subprocess.run(install, check=True, capture_output=True)
    Path(packages, "libraries.pth").write_text(f"{libraries}\n")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"NO_COLOR": "1"}

    def run(*words: str) -> str:
        ran = subprocess.run(
            [python, *words], cwd=unpacked, capture_output=True, text=True, env={**bare, "NO_COLOR": "1"}
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    assert str(unpacked) in run("-c", "import course; print(course.__file__)")
    run("-m", "course.cli", "start", "00")
    assert "one_hot ○ not attempted 0/1" in run("-m", "pytest", "autograder/", "--assignment", "00")
    told = run("-c", "import course\ncheck = course.checker('00')\nprint(repr(check('one_hot')))")
    assert "No cell defines `one_hot`" in told


def test_a_hosted_notebook_needs_the_unzipped_folder_and_nothing_installed(unpacked, tmp_path, monkeypatch):
    """What the README says for Colab: `%cd` into the folder, then the notebook's own cells."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    cells = [f"%cd -q {unpacked}", "import course\nprint(course.__file__)\ncheck = course.checker('03')"]
    cells += ["def sigmoid(x):\n    return x", "print(float(check('sigmoid')))\ncheck('sigmoid')"]
    path = make_notebook(cells, tmp_path / "hosted.ipynb")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = json.dumps(notebook.cells)
    assert f"{unpacked}/course/__init__.py" in said
    assert "sigmoid: wrong, 0 of 1 points" in said
