"""Masters to release, solutions and keys; and what a learner's copy can do without them."""

import ast
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import s30
from typer.testing import CliRunner

from autograder.engine.inside.notebook import read_notebook
from autograder.engine.inside.wire import decode, encode
from autograder.engine.judge.grade import grade
from autograder.engine.judge.keys import packed, read_tree, write_key
from course.base import fingerprints
from course.base.project import Project
from course.cli import app
from course.make import build
from course.make.build import (
    BuildError,
    compile_all,
    compile_assignment,
    differences,
    install,
    is_current,
    needs_execution,
    plain_kernels,
    stale,
)

SLUG = "03_lstm_understanding"
QUICK = "00_numpy_and_pytorch_for_deep_learning"  # executed in a few seconds
EXERCISES = Project().assignment(QUICK).exercises
pytestmark = pytest.mark.slow


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def only(project: Project, slug: str) -> None:
    """Take the masters of all other assignments away."""
    for path in (project.root / "source").iterdir():
        if path.name != slug:
            shutil.rmtree(path)


def shorten(project: Project) -> None:
    """Cut assignment 00 down to its first exercise, which is compiled and executed in half the time."""
    first, second = EXERCISES[0].name, EXERCISES[1].name
    path = project.source(QUICK)
    master = json.loads(path.read_text(encoding="utf-8"))
    ids = [cell["id"] for cell in master["cells"]]
    master["cells"] = master["cells"][: ids.index(f"{first}-example") + 1]
    path.write_text(json.dumps(master), encoding="utf-8")
    path = project.grader(QUICK)
    grader = ast.parse(path.read_text(encoding="utf-8"))
    probed = [[ast.unparse(one) for one in getattr(node, "decorator_list", [])] for node in grader.body]
    kept = [not any(one.startswith("probe(") and f"'{first}'" not in one for one in found) for found in probed]
    grader.body = list(itertools.compress(grader.body, kept))
    path.write_text(ast.unparse(grader), encoding="utf-8")
    path = project.mistakes(QUICK)
    path.write_text(path.read_text(encoding="utf-8").split(f"[{second}.")[0], encoding="utf-8")


@pytest.fixture(scope="module")
def built():
    """A master compiled and executed."""
    return compile_assignment(Project(), QUICK)


@pytest.fixture(scope="module")
def compiled():
    """Another master compiled, without being executed, with one mistake of each exercise."""
    return compile_assignment(Project(), SLUG, execute=False, each=1)


def test_compiling_is_deterministic(built):
    """What execution adds is compared with what nbgrader's own command gives, below."""
    again = compile_assignment(Project(), QUICK, execute=False)
    assert built.key == again.key
    assert packed(built.key) == packed(again.key)
    for one, other in ((built.release, again.release), (built.solution, again.solution)):
        assert without_outputs(one) == without_outputs(other)


def test_a_key_is_the_same_bytes_whenever_it_is_written(built, tmp_path):
    write_key(built.key, tmp_path / "key.npz")
    with zipfile.ZipFile(tmp_path / "key.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(tmp_path / "key.npz", allow_pickle=False) as stored:
        assert {name: json.loads(stored[name].tobytes()) for name in stored.files} == built.key


def test_release_has_no_solution_no_output_but_pictures_and_a_stub_per_exercise(built):
    notebook = json.loads(built.release)
    shown = {cell["id"]: cell["outputs"] for cell in notebook["cells"] if cell.get("outputs")}
    assert all(name.endswith("-figure") for name in shown)
    assert {output["output_type"] for outputs in shown.values() for output in outputs} == {"display_data"}
    text = built.release.decode()
    assert "BEGIN SOLUTION" not in text
    stubs = [c for c in notebook["cells"] if c["metadata"].get("s30")]
    assert len(stubs) == len(EXERCISES)
    assert all("raise NotImplementedError()" in "".join(c["source"]) for c in stubs)


def test_solution_is_executed_and_clean(built):
    notebook = json.loads(built.solution)
    text = built.solution.decode()
    assert "### BEGIN SOLUTION" not in text
    assert "### END SOLUTION" not in text
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    checks = [c for c in notebook["cells"] if c.get("id", "").endswith("-check")]
    values = ["".join(c["outputs"][0]["data"]["text/plain"]) for c in checks]
    assert values == [str(e.points) for e in EXERCISES]
    assert not any("execution" in cell["metadata"] for cell in notebook["cells"])
    for cell in notebook["cells"]:
        kinds = [output.get("name", output["output_type"]) for output in cell.get("outputs", [])]
        assert ("stdout", "stdout") not in itertools.pairwise(kinds)


def test_stock_generate_commands_give_the_same_and_what_is_committed(copied, built):
    """Last digits in outputs are those of the processor that ran them: they are compared with what this one gives."""
    committed = copied.release(QUICK).read_bytes(), without_outputs(copied.solution(QUICK).read_bytes())
    for command in ("generate_assignment", "generate_solution"):
        words = [sys.executable, "-m", "nbgrader", command, QUICK, "--force"]
        environment = {**os.environ, "PYTHONPATH": str(copied.root)}
        ran = subprocess.run(words, cwd=copied.root, capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
    release, solution = copied.release(QUICK).read_bytes(), copied.solution(QUICK).read_bytes()
    assert solution == built.solution
    assert without_outputs(release) == without_outputs(built.release)
    assert (release, without_outputs(solution)) == committed


def without_outputs(raw: bytes) -> dict:
    """Without what execution gives; of a stub's pictures of it only the names. Last digits are the processor's."""
    notebook = json.loads(raw)
    results = ("outputs", "execution_count")
    notebook["cells"] = [{k: v for k, v in cell.items() if k not in results} for cell in notebook["cells"]]
    for cell in notebook["cells"]:
        if "attachments" in cell:
            cell["attachments"] = sorted(cell["attachments"])
    return notebook


def test_committed_files_are_current_and_a_check_observes_some_of_the_mistakes_again(copied):
    assert is_current(copied, SLUG)
    built = compile_assignment(copied, SLUG, execute=False, each=1)
    assert differences(copied, built)[0] == []
    observed = [mistake["exercise"] for mistake in built.key["mistakes"]]
    assert sorted(observed) == sorted(e.name for e in copied.assignment(SLUG).exercises)
    tree = read_tree(copied.key(SLUG))
    assert len(tree["mistakes"]) > len(observed)
    tree["mistakes"][0]["traces"][0]["case"] += 1
    write_key(tree, copied.key(SLUG))
    assert "mistakes/0/traces/0/case" in differences(copied, built)[0][0]
    del tree["mistakes"][0]
    write_key(tree, copied.key(SLUG))
    assert len(differences(copied, built)[0]) == 1


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("release", "raise NotImplementedError()", "return 1"),
        ("solutions", "o * np.tanh(c)", "o * c"),
        ("source", "By hand: ", "By  hand: "),
    ],
)
def test_check_notices_an_edit_by_hand(copied, kind, old, new):
    edit(copied.root / kind / SLUG / f"{SLUG}.ipynb", old, new)
    ran = s30("build", "03", "--check", root=copied.root)
    assert ran.returncode == 1
    assert "is not what its" in ran.stderr
    assert "Run `s30 build`" in ran.stderr


def test_check_notices_another_grader(copied):
    edit(copied.grader(SLUG), 'params["b"] *= 1e3', 'params["b"] *= 2e3')
    assert not is_current(copied, SLUG)
    assert any("keys" in line for line in stale(copied, SLUG))


@pytest.mark.parametrize(("factor", "found"), [(1 + 1e-13, "rounded"), (1 + 1e-4, "stale")])
def test_check_tells_rounding_from_a_difference(copied, compiled, factor, found):
    tree = json.loads(json.dumps(compiled.key))
    value = next(c for c in tree["cases"] if c["probe"] == "states" and c["case"] == 1)["values"]["c"]
    value["value"] = encode(decode(value["value"]) * factor)
    write_key(tree, copied.key(SLUG))
    stale, rounded = differences(copied, compiled)
    assert len(rounded) == (found == "rounded")
    assert len(stale) == (found == "stale")
    assert SLUG in (stale + rounded)[0]


def test_check_passes_where_last_digits_are_rounded_otherwise_and_says_so(copied, monkeypatch):
    only(copied, SLUG)
    tree = read_tree(copied.key(SLUG))
    value = next(c for c in tree["cases"] if c["probe"] == "states" and c["case"] == 1)["values"]["c"]
    value["value"] = encode(decode(value["value"]) * (1 + 1e-13))
    write_key(tree, copied.key(SLUG))
    monkeypatch.setenv("S30_ROOT", str(copied.root))
    monkeypatch.setattr("course.make.catalog_page.new_page", lambda project: None)
    ran = CliRunner().invoke(app, ["build", "--check"])
    assert ran.exit_code == 0, ran.output
    assert "was recorded where the last digits are rounded otherwise" in ran.output


def test_check_ignores_outputs_of_solutions(copied, compiled):
    path = copied.solution(SLUG)
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = []
    path.write_text(json.dumps(notebook))
    assert differences(copied, compiled) == ([], [])


def test_a_master_whose_cell_raises_is_not_compiled(copied):
    shorten(copied)
    edit(copied.source(QUICK), "assert targets.sum() == len(labels)", "assert targets.sum() != len(labels)")
    before = copied.solution(QUICK).read_bytes()
    with pytest.raises(BuildError, match=r"Cell one_hot-example of the master raised AssertionError"):
        compile_assignment(copied, QUICK)
    assert copied.solution(QUICK).read_bytes() == before


def only_mistake(project: Project, old: str, new: str) -> None:
    """Leave one mistake, which replaces a text of the solution of lstm_cell_forward by another."""
    text = f"[lstm_cell_forward.cell_state_not_squashed]\nhint = 'squash it'\nchange = [['{old}', '{new}']]\n"
    project.mistakes(SLUG).write_text(text, encoding="utf-8")


def test_a_mistake_that_no_longer_fits_is_named(copied):
    only_mistake(copied, "o * tanh(c)", "o * c")
    with pytest.raises(BuildError, match="cell_state_not_squashed"):
        compile_assignment(copied, SLUG, execute=False)


def test_a_mistake_that_no_probe_sees_is_named(copied):
    only_mistake(copied, "o * np.tanh(c)", "np.tanh(c) * o")
    with pytest.raises(BuildError, match="sharpen a probe"):
        compile_assignment(copied, SLUG, execute=False)


def test_stray_files_beside_a_master_are_refused(copied):
    (copied.source(SLUG).parent / "answers.txt").write_text("42")
    with pytest.raises(BuildError, match=r"answers\.txt"):
        compile_assignment(copied, SLUG, execute=False)


def test_build_compiles_what_changed_and_only_that(copied):
    shorten(copied)
    ran = s30("build", root=copied.root)
    assert ran.returncode == 0, ran.stderr
    assert "compiled 00" in ran.stdout
    assert "compiled 03" not in ran.stdout


def test_what_only_the_code_makes_out_of_date_is_not_executed(copied):
    only(copied, SLUG)
    only_mistake(copied, "o * np.tanh(c)", "o * c")
    solution = copied.solution(SLUG)
    notebook = json.loads(solution.read_text(encoding="utf-8"))
    shown = next(cell for cell in notebook["cells"] if cell.get("outputs"))
    shown["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "as it was"}]
    solution.write_text(json.dumps(notebook), encoding="utf-8")
    before = solution.read_bytes()
    edit(copied.root / "course" / "make" / "build" / "compiling.py", "NOW = ", "NOW  = ")
    ran = s30("build", root=copied.root)
    assert ran.returncode == 0, ran.stderr
    assert f"compiled {SLUG}" in ran.stdout
    assert solution.read_bytes() == before
    assert f"compiled {SLUG}" not in s30("build", root=copied.root).stdout


def test_a_solution_is_executed_when_its_outputs_may_be_others(copied, compiled, monkeypatch):
    install(copied, compiled)
    assert not needs_execution(copied, compiled)
    path, change = copied.solution(SLUG), ("o * np.tanh(c)", "o * c")
    edit(path, *change)
    assert needs_execution(copied, compiled)
    edit(path, *reversed(change))
    assert not needs_execution(copied, compiled)
    for path, expected in ((copied.mistakes(SLUG), False), (copied.grader(SLUG), True), (copied.source(SLUG), True)):
        before = path.read_bytes()
        path.write_bytes(before + b"\n")
        assert needs_execution(copied, compiled) == expected, path
        path.write_bytes(before)
    monkeypatch.setattr(fingerprints, "CODE", copied.root)  # as if its code ran
    for path, expected in (("course/make/build/compiling.py", False), ("course/plots.py", True)):
        assert not needs_execution(copied, compiled)
        before = (copied.root / path).read_bytes()
        (copied.root / path).write_bytes(before + b"\n")
        assert needs_execution(copied, compiled) == expected, path
        (copied.root / path).write_bytes(before)


def test_a_mistake_that_ends_the_process_or_never_ends_is_named(copied, monkeypatch):
    shorten(copied)
    edit(copied.mistakes(SLUG), "'o * c']", """'__import__("os")._exit(0)']""")
    edit(copied.mistakes(QUICK), "'Y[:, y]'", """'Y[__import__("time").sleep(999), y]'""")
    monkeypatch.setattr(build, "PATIENCE", 40.0)
    problems = {str(found).split(":")[0]: str(found) for found in compile_all(copied, [SLUG, QUICK])}
    assert "took the Python process down. It was at the mistake 'cell_state_not_squashed' of lstm_" in problems[SLUG]
    assert "ran longer than 40 seconds. It was at the mistake 'whole_columns' of one_hot" in problems[QUICK]


def test_compiling_that_something_else_ends_says_so(copied, monkeypatch):
    monkeypatch.setattr(build.sys, "executable", shutil.which("false"))
    with pytest.raises(BuildError, match="exit status 1: something else ended its process"):
        compile_assignment(copied, SLUG)


def test_a_key_is_recorded_under_the_plainest_kernels_whatever_is_around(compiled, monkeypatch):
    for name, value in {"OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AUTO"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "")
    assert compile_assignment(Project(), SLUG, execute=False, each=1).key == compiled.key


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only there it is said which kernels are the plainest")
def test_the_plainest_kernels_are_in_force():
    code = (
        "import json, numpy as np, torch, threadpoolctl\n"
        "blas = [b['architecture'] for b in threadpoolctl.threadpool_info() if b['internal_api'] == 'openblas']\n"
        "found = np.show_config(mode='dicts')['SIMD Extensions'].get('found', [])\n"
        "print(json.dumps([found, torch.backends.cpu.get_cpu_capability(), blas]))"
    )
    environment = {**os.environ, **plain_kernels()}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert json.loads(ran.stdout) == [[], "DEFAULT", ["Nehalem"]]


# A learner's copy: no source/, solutions/, mistakes/, alternatives/ --------------------------------------------------

WRONG = "o * np.tanh(c)", "o * np.tanh(c_prev)"


def notebook_with(project: Project, path: Path, old: str, new: str) -> Path:
    text = project.solution(SLUG).read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_a_learners_copy_gives_the_same_verdicts_and_hints(copied, learners_copy, tmp_path):
    path = notebook_with(copied, tmp_path / "mine.ipynb", *WRONG)
    with_all = grade(path, copied.assignment("03"))
    without = grade(path, learners_copy.assignment("03"))
    assert without == with_all
    assert "uses the new one" in next(v.message for v in with_all if v.name == "lstm_cell_forward")


def test_check_in_a_learners_copy_gives_the_same_hint(copied, learners_copy, tmp_path):
    cells = read_notebook(notebook_with(copied, tmp_path / "mine.ipynb", *WRONG))
    script = tmp_path / "mine.py"
    wanted = ("setup", "sigmoid", "lstm_cell_forward")
    code = [c.source for c in cells if c.type == "code" and c.nbgrader.get("grade_id") in wanted]
    script.write_text("\n".join([*code, 'print(repr(check("lstm_cell_forward")))']))
    told = []
    for project in (copied, learners_copy):
        environment = {**os.environ, "PYTHONPATH": str(project.root)}
        ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        told.append(ran.stdout)
    assert told[0] == told[1]
    assert "uses the new one" in told[0]
    assert told[0].endswith("0.0\n")


def test_another_seed_needs_the_reference(copied, learners_copy, tmp_path):
    path = notebook_with(copied, tmp_path / "mine.ipynb", "o * np.tanh(c)", "o * np.tanh(c) ")
    with pytest.raises(Exception, match="public seed only"):
        grade(path, learners_copy.assignment("03"), seed=99)


def test_compiled_notebooks_install_where_nothing_is(copied, built):
    for path in (copied.release(QUICK), copied.solution(QUICK), copied.key(QUICK)):
        path.unlink()
    install(copied, built)
    assert stale(copied, QUICK) == []


def test_a_master_that_its_own_grader_refuses_is_not_compiled(copied):
    """The reference yields what it yields, but a shortcut that `check` notices gives it no points."""
    shorten(copied)
    edit(copied.source(QUICK), "    Y = np.zeros((y.shape[0], K))", "    import torch; Y = np.zeros((y.shape[0], K))")
    with pytest.raises(BuildError, match=r'check\("one_hot"\) in cell one_hot-check gave 0 of 1 points') as told:
        compile_assignment(copied, QUICK)
    assert "torch" in str(told.value)  # the explanation, as text
    assert "<" not in str(told.value)
    assert "nbgrader/converters" not in str(told.value)
