"""The learner's part on newer Pythons than the oldest, in environments that hold only what it needs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, s30
from platformdirs import user_cache_path

from course.base.project import Project
from course.teach.bundle import FOLDER

NEWER = ("3.12", "3.13")
NEEDED = ("numpy", "matplotlib", "pytest", "typer", "rich")  # torch is a gigabyte, and its exercises can be skipped
CACHE = user_cache_path("sutskever30") / "pythons"
A_MONTH = 30 * 86400
SLUG, EASY = Project().slug("03"), Project().slug("00")

pytestmark = pytest.mark.slow


def candidates(version: str) -> Iterator[Path]:
    """Where a Python may be: on the PATH, and where pyenv and uv put theirs."""
    for folder in os.get_exec_path():
        yield Path(folder) / f"python{version}"
    for variable, usual, pattern in (
        ("PYENV_ROOT", "~/.pyenv", f"versions/{version}*/bin/python"),
        ("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python", f"cpython-{version}.*/bin/python{version}"),
    ):
        yield from sorted(Path(os.environ.get(variable) or usual).expanduser().glob(pattern))


def starts(python: Path, version: str) -> bool:
    """Whether it is that version, and no stand-in that refuses to start, as pyenv has them on the PATH."""
    if not python.is_file():
        return False
    asked = [python, "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, env=environment(), timeout=60)
    except OSError:
        return False
    return said.returncode == 0 and said.stdout.strip() == version


def environment() -> dict[str, str]:
    """The variables of a learner's shell, without what points to this Python's packages."""
    ours = ("PYTHON", "PYTEST", "COV_", "VIRTUAL_ENV", "S30_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | {"PYTHONUTF8": "1", "NO_COLOR": "1"}


def python_of(home: Path) -> Path:
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture(params=NEWER)
def libraries(request: pytest.FixtureRequest) -> Path:
    """The Python of an environment with what the NumPy exercises need; it is kept for the next run, and not changed."""
    version: str = request.param
    base = next((path for path in candidates(version) if starts(path, version)), None)
    if base is None:
        pytest.skip(f"there is no Python {version} that starts")
    made_from = [(ROOT / name).read_bytes() for name in ("constraints.txt", "pyproject.toml")]
    made_from.append(str(base).encode())
    home = CACHE / f"{version}-{hashlib.sha256(b' '.join(made_from)).hexdigest()[:12]}"
    if not starts(python_of(home), version):
        shutil.rmtree(home, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        _remove_old()
        draft = Path(tempfile.mkdtemp(prefix=f"{version}-", dir=CACHE))
        try:
            subprocess.run([base, "-m", "venv", draft], check=True, capture_output=True, env=environment())
            words = ["--quiet", "--only-binary", ":all:", "-c", str(ROOT / "constraints.txt"), *NEEDED]
            install = [python_of(draft), "-m", "pip", "install", *words]
            done = subprocess.run(install, capture_output=True, text=True, env=environment())
            if done.returncode:
                why = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr[-300:]]
                pytest.skip(f"Python {version} can't have {', '.join(NEEDED)}: {why[0]}")
            try:
                draft.rename(home)
            except OSError:  # another run was faster
                assert starts(python_of(home), version)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    os.utime(home)
    return python_of(home)


def _remove_old() -> None:
    """Remove environments that were not used for a month."""
    for home in CACHE.iterdir():
        if time.time() - home.stat().st_mtime > A_MONTH:
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What students receive, as a zip."""
    out = tmp_path_factory.mktemp("bundle") / "course.zip"
    made = s30("bundle", str(out), root=ROOT)
    assert made.returncode == 0, made.stderr
    return out


def beside(libraries: Path, home: Path) -> Path:
    """The Python of an environment of its own with the same packages, in which the course is not installed."""
    subprocess.run([libraries, "-m", "venv", "--without-pip", home], check=True, env=environment())
    python, where = python_of(home), "import sysconfig; print(sysconfig.get_path('purelib'))"
    theirs, ours = (
        subprocess.run([one, "-c", where], capture_output=True, text=True, check=True, env=environment()).stdout.strip()
        for one in (libraries, python)
    )
    Path(ours, "libraries.pth").write_text(f"{theirs}\n")
    return python


def test_a_learner_can_begin_and_is_graded(libraries, bundled, tmp_path):
    with zipfile.ZipFile(bundled) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / FOLDER
    python = beside(libraries, tmp_path / "environment")

    def run(*words: str) -> str:
        command = [python, "-m", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", env=environment())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Your copy: " in run("course.cli", "start", "00")
    mine = folder / "work" / SLUG / f"{SLUG}.ipynb"
    mine.parent.mkdir()
    shutil.copy(Project().solution(SLUG), mine)
    report = tmp_path / "report.json"
    shown = run("pytest", "autograder/", "--assignment", "03", "--assignment", "00", "--report", str(report))
    three, zero = sorted(json.loads(report.read_text(encoding="utf-8"))["assignments"], key=lambda a: a["id"])[::-1]
    numpy = [e for e in three["exercises"] if e["track"] != "torch"]
    torch = [e for e in three["exercises"] if e["track"] == "torch"]
    assert numpy
    assert {e["status"] for e in numpy} == {"passed"}, shown
    assert all(e["points"] > 0 for e in numpy)
    assert torch
    assert {e["status"] for e in torch} == {"blocked"}, shown
    assert all(f"`{e['id'][3:]}` is skipped: PyTorch is not installed." in e["message"] for e in torch)
    assert {e["status"] for e in zero["exercises"]} == {"not_attempted"}, shown
    assert f"{len(numpy)} passed, {len(torch) + len(zero['exercises'])} skipped" in shown
