"""The command `s30`: what it does, and what it says to bad input."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import s30

SLUG = "03_lstm_understanding"


def test_list_shows_the_assignments_and_how_to_start(learners_copy):
    ran = s30("list", root=learners_copy.root)
    assert ran.returncode == 0, ran.stderr
    assert "Understanding LSTM Networks" in ran.stdout
    assert "s30 start NN" in ran.stdout


def test_an_assignment_that_is_not_written_says_so(learners_copy):
    ran = s30("start", "24", root=learners_copy.root)
    assert ran.returncode == 1
    assert "24_machine_super_intelligence is not written yet" in ran.stderr


def test_start_copies_the_stub_and_never_overwrites(learners_copy):
    ran = s30("start", "3", root=learners_copy.root)
    assert ran.returncode == 0, ran.stderr
    copy = learners_copy.work(SLUG)
    assert copy.read_bytes() == learners_copy.release(SLUG).read_bytes()
    copy.write_text("my work")
    ran = s30("start", "03", root=learners_copy.root)
    assert ran.returncode == 1
    assert "stays as it is" in ran.stderr
    assert copy.read_text() == "my work"


def test_start_does_not_put_a_stub_beside_a_renamed_notebook(learners_copy):
    folder = learners_copy.work(SLUG).parent
    folder.mkdir(parents=True)
    (folder / "lstm final.ipynb").write_text("my work")
    ran = s30("start", "03", root=learners_copy.root)
    assert ran.returncode == 1
    assert "lstm final.ipynb" in ran.stderr
    assert not learners_copy.work(SLUG).exists()


@pytest.mark.parametrize("command", ["start", "check", "build", "gradebook"])
def test_an_unknown_assignment_is_named_with_those_there_are(learners_copy, command):
    ran = s30(command, "77", root=learners_copy.root)
    assert ran.returncode == 1
    assert "There is no assignment '77'" in ran.stderr
    assert SLUG in ran.stderr
    assert "Traceback" not in ran.stderr


def test_check_is_the_pytest_run(learners_copy):
    assert s30("start", "00", root=learners_copy.root).returncode == 0
    ran = s30("check", "00", root=learners_copy.root)
    assert ran.returncode == 0, ran.stdout
    assert "one_hot ○ not attempted 0/1" in ran.stdout
    notebook = learners_copy.work("00_numpy_and_pytorch_for_deep_learning")
    text = notebook.read_text()
    notebook.write_text(text.replace('"    raise NotImplementedError()\\n",\n', ""))
    ran = s30("check", "00", root=learners_copy.root)
    assert "one_hot ✓ passed 1/1" in ran.stdout, ran.stdout


def test_a_learners_copy_cannot_be_built_and_says_so(learners_copy):
    ran = s30("build", root=learners_copy.root)
    assert ran.returncode == 1
    assert "holds no masters" in ran.stderr


def test_gradebook_of_a_folder_that_is_not_there(learners_copy, tmp_path):
    ran = s30("gradebook", "--course-dir", str(tmp_path / "nowhere"), root=learners_copy.root)
    assert ran.returncode == 1
    assert "there is no such folder" in ran.stderr


def test_without_torch_numpy_exercises_work_and_the_rest_is_said_to_be_skipped(copied, tmp_path):
    hidden = tmp_path / "hidden" / "torch"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('No module named torch')")
    copied.work(SLUG).parent.mkdir(parents=True)
    copied.work(SLUG).write_bytes(copied.solution(SLUG).read_bytes())
    ran = s30("check", "03", root=copied.root, PYTHONPATH=str(hidden.parent))
    assert ran.returncode == 0, ran.stdout
    assert "lstm_cell_backward ✓ passed 4/4" in ran.stdout
    assert "LSTM ○ blocked 0/3 (`LSTM` is skipped: PyTorch is not installed." in ran.stdout


def test_an_old_python_is_told_which_one_is_needed(tmp_path):
    root = Path(__file__).resolve().parents[1]
    (tmp_path / "Makefile").write_text((root / "Makefile").read_text())
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((root / name).read_text())
    old = tmp_path / "python-old"
    old.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 9); exec(sys.argv[1])" "$2"\n'
    )
    old.chmod(0o755)
    ran = subprocess.run(["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode != 0
    assert "This course needs Python 3.11 or newer" in ran.stderr
    assert not (tmp_path / ".venv").exists()
