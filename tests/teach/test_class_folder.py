"""A class's own configuration: where its gradebook is, and a folder in which a group works."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path

import pytest
from conftest import needs_sandbox

from autograder.engine.inside.errors import UserError
from course.base.files import GROUP, locked, make_folder, write_whole
from course.base.project import Project
from course.teach.demo import class_of
from course.teach.folder import ClassFolder, has_gradebook
from course.teach.gradebook import register
from course.teach.seed import class_secret

SLUG = "03_lstm_understanding"
GROUP_ID = 12345  # any group but root's


def configured(root: Path, *lines: str) -> ClassFolder:
    root.mkdir(exist_ok=True)
    (root / "nbgrader_config.py").write_text("c = get_config()\n" + "".join(f"{line}\n" for line in lines))
    return ClassFolder.of(Project(), root)


def test_the_classs_own_configuration_counts(tmp_path, monkeypatch):
    plain = ClassFolder.of(Project(), tmp_path)
    assert plain.db_url == f"sqlite:///{tmp_path / 'gradebook.db'}"
    assert (plain.root, plain.course_id, plain.shared) == (tmp_path, "sutskever30", False)
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    own = configured(
        tmp_path / "own", f"c.CourseDirectory.db_url = {elsewhere!r}", "c.CourseDirectory.course_id = 'dl'"
    )
    assert (own.db_url, own.course_id) == (elsewhere, "dl")
    register(Project(), SLUG, own)
    assert sorted(p.name for p in own.root.iterdir()) == ["nbgrader_config.py"]
    assert has_gradebook(elsewhere)
    moved = configured(tmp_path / "moved", "c.CourseDirectory.root = '../own'")
    assert (moved.root, moved.db_url) == (tmp_path / "own", f"sqlite:///{tmp_path / 'own' / 'gradebook.db'}")

    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "nbgrader_config.py").write_text(
        f"c = get_config()\nc.CourseDirectory.db_url = {elsewhere!r}\n"
    )
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path / "machine"))
    assert ClassFolder.of(Project(), tmp_path).db_url == elsewhere


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c.CourseDirectory.db_url = 'gradebook'", "names no database"),
        ("c.CourseDirectory.db_url = 'postgresql://teacher:secret@/x?host=/nowhere'", "can't be used"),
        ("c.CourseDirectory.db_url = 'sqlite:////nowhere/x.db'", "can't be used"),
        ("c.CourseDirectory.db_url = 'cubrid://x'", "names no database"),
        ("c.CourseDirectory.root = '/nowhere'", "there is no such folder"),
        ("1 / 0", "nbgrader_config.py can't be read: ZeroDivisionError"),
    ],
)
def test_what_can_not_be_used_is_one_sentence_without_a_password(line, said, tmp_path):
    with pytest.raises(UserError) as told:
        register(Project(), SLUG, configured(tmp_path / "class", line))
    assert said in str(told.value)
    assert "secret" not in str(told.value)


# A group ------------------------------------------------------------------------------------------------------------


def test_what_is_made_in_a_shared_folder_is_the_groups_and_elsewhere_nobodys(tmp_path):
    for bits, file, private in ((0o755, 0o644, 0o600), (0o2775, 0o664, 0o660)):
        root = tmp_path / oct(bits)
        root.mkdir()
        root.chmod(bits)
        write_whole(root / "a" / "b" / "x", "x")
        write_whole(root / "seeds", "x", private=True)
        assert stat.S_IMODE((root / "a" / "b" / "x").stat().st_mode) & 0o664 == file
        assert stat.S_IMODE((root / "seeds").stat().st_mode) == private
        assert ((root / "a" / "b").stat().st_mode & GROUP == GROUP) == (bits == 0o2775)
    make_folder(tmp_path / "0o2775" / "a" / "b")  # which is there


@pytest.fixture
def python() -> str:
    """A Python that other accounts may run, with this one's packages: itself, or the system's of the same version."""
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, shutil.which(minor, path="/usr/bin")) if os.geteuid() == 0 else ():
        with contextlib.suppress(OSError):
            if found and not _run_as(12001, [found, "-c", "import course, nbgrader"]).returncode:
                return found
    pytest.skip("needs root, and a Python that other accounts may run")


@needs_sandbox
@pytest.mark.slow
def test_two_accounts_of_one_group_grade_one_class(python):
    """Each takes up what the other began: gradebook, secrets, verdicts, recorded notebooks and locks."""
    with tempfile.TemporaryDirectory(prefix="s30-shared-") as outer:  # pytest's own folders are for one account
        os.chmod(outer, 0o755)
        root = Path(outer, "class")
        configured(root, "c.CourseDirectory.groupshared = True")
        os.chown(root, 12001, GROUP_ID)
        root.chmod(0o2775)
        secrets = _graded_by_two(root, python)
    assert secrets[0] == secrets[1] != secrets[2]


def _graded_by_two(root: Path, python: str) -> list[int]:
    """The class's secret after each run: of the first account, of the second, and of the second with a new one."""
    notebooks = class_of(Project())
    hand_in = "import sys, pathlib; from course.base.files import write_whole; "
    hand_in += "write_whole(pathlib.Path(sys.argv[1]), sys.stdin.read())"
    secrets = []
    for account, student, name in ((12001, "ann", "ada_complete"), (12002, "ben", "dan_half_done")):
        place = root / "submitted" / student / SLUG / f"{SLUG}.ipynb"
        assert _run_as(account, [python, "-c", hand_in, str(place)], json.dumps(notebooks[name])).returncode == 0
        for words in ([], ["--new-seed", "--yes"]) if secrets else ([],):
            command = [python, "-m", "course.cli", "grade", "03", "--course-dir", str(root), *words]
            ran = _run_as(account, command)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            assert words or "1 of them now" in ran.stdout
            secrets.append(class_secret(root, SLUG))
    return secrets


def _run_as(account: int, words: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(__file__).parents[2]), sysconfig.get_path("purelib")])
    own = {"HOME": "/tmp", "NO_COLOR": "1", "JUPYTER_PLATFORM_DIRS": "1", "PYTHONPATH": path}
    return subprocess.run(
        words, cwd="/tmp", input=text, text=True, capture_output=True, user=account, group=GROUP_ID, extra_groups=[],
        umask=0o022, env={**os.environ, **own},
    )  # fmt: skip


# Several at a time --------------------------------------------------------------------------------------------------


def test_a_lock_is_waited_for_or_told_of(tmp_path):
    with locked(tmp_path, "recording"):
        with pytest.raises(UserError, match="Another run is grading"), locked(tmp_path, "recording", wait=0.1):
            pass
        with locked(tmp_path, "grading"):
            pass
        release = threading.Event()
        waited = threading.Thread(target=_hold, args=(tmp_path, release))
        waited.start()
        time.sleep(0.2)
        assert not release.is_set()
    waited.join(10)
    assert release.is_set()


def _hold(root: Path, release: threading.Event) -> None:
    with locked(root, "recording", wait=10):
        release.set()


def test_two_who_draw_a_secret_at_once_have_the_same(tmp_path):
    drawn: list[int] = []
    threads = [threading.Thread(target=lambda: drawn.append(class_secret(tmp_path, SLUG))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 8
    assert len(set(drawn)) == 1


def test_seeds_that_can_not_be_read_are_not_drawn_anew(tmp_path):
    (tmp_path / "secret_seeds.json").write_text("{")
    with pytest.raises(UserError, match="put a copy of it back"):
        class_secret(tmp_path, SLUG)
