"""What the reference yields at a class's secret seed: kept whole and private, and used only for what it is of."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, make_notebook, needs_sandbox, public_inputs, tiny_assignment, with_first_line

from autograder.engine.judge.grade import grade
from autograder.engine.judge.keys import AnswerKeyError
from autograder.engine.judge.verdict import Status
from course.base.project import Project
from course.teach import seed
from course.teach.bundle import contents
from course.teach.demo import SLUG, class_of
from course.teach.seed import SEEDS, class_secret, expected, seed_at, which_seed

TINY = "42_doubling"


@pytest.fixture
def project(tmp_path) -> Project:
    """A course of one assignment, which takes no time."""
    made, project = tiny_assignment(tmp_path / "made", ["f"]), Project(tmp_path / "course")
    assert made.reference is not None
    places = {
        made.reference.with_name("release.ipynb"): project.release(TINY),
        made.reference: project.solution(TINY),
        made.grader: project.grader(TINY),
        made.key: project.key(TINY),
    }
    for source, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    return project


@pytest.fixture
def folder(tmp_path) -> Path:
    """A class's."""
    place = tmp_path / "class"
    place.mkdir()
    return place


@pytest.fixture
def kept(project, folder, tmp_path) -> Path:
    """The file of what was observed."""
    assert set(expected(project, TINY, folder, 3)) == {("f", "probe_f", 0), ("f", "probe_f", 1)}
    return tmp_path / "class" / "secret_expected" / f"{TINY}-3.npz"


@pytest.fixture
def observations(monkeypatch) -> list[list[str]]:
    """The processes that were started to observe a reference, as they are."""
    started, run = [], subprocess.run

    def counted(words, **options):
        started.append(words)
        return run(words, **options)

    monkeypatch.setattr(seed.subprocess, "run", counted)
    return started


def test_it_is_observed_once_and_belongs_to_its_owner_alone(kept, project, folder, observations):
    assert kept.stat().st_mode & 0o077 == 0
    seed._read.cache_clear()
    expected(project, TINY, folder, 3)
    assert observations == []
    assert sorted(kept.parent.iterdir()) == [kept.with_name(f"{TINY}-{which}.npz") for which in range(SEEDS)]


def test_the_seed_is_not_told_on_a_command_line(project, folder, observations):
    secret = class_secret(folder, TINY)
    expected(project, TINY, folder, 3)
    (words,) = observations
    assert not [seed for seed in (secret, *(seed_at(secret, n) for n in range(SEEDS))) if str(seed) in " ".join(words)]


def _damaged(project: Project, folder: str, kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-30])


def _of_another_seed(project: Project, folder: str, kept: Path) -> None:
    seeds = kept.parents[1] / "secret_seeds.json"
    seeds.write_text(json.dumps({TINY: json.loads(seeds.read_text())[TINY] + 1}))


def _of_another_grader(project: Project, folder: str, kept: Path) -> None:
    grader = project.grader(TINY)
    grader.write_text(grader.read_text() + "\n# other probes\n")


def _of_another_reference(project: Project, folder: str, kept: Path) -> None:
    solution = project.solution(TINY)
    solution.write_text(solution.read_text().replace("2 * x", "x + x"))


def _with_a_new_seed(project: Project, folder: str, kept: Path) -> None:
    class_secret(folder, TINY, new=True)
    assert not kept.exists()


@pytest.mark.parametrize(
    "change", [_damaged, _of_another_seed, _of_another_grader, _of_another_reference, _with_a_new_seed]
)
def test_what_is_kept_of_something_else_is_refused_and_made_anew(kept, project, folder, observations, change):
    before = kept.read_bytes()
    change(project, folder, kept)
    assert expected(project, TINY, folder, 3)
    assert len(observations) == 1
    assert kept.read_bytes() != before or change is _damaged
    assert expected(project, TINY, folder, 3)
    assert len(observations) == 1


def test_a_reference_that_cannot_be_observed_says_why_and_nothing_is_kept(project, folder, tmp_path):
    project.solution(TINY).write_text(project.solution(TINY).read_text().replace("return 2 * x", "return nonsense"))
    with pytest.raises(AnswerKeyError, match="nonsense"):
        expected(project, TINY, folder, 3)
    project.solution(TINY).unlink()
    with pytest.raises(AnswerKeyError, match="is not in this copy"):
        expected(project, TINY, folder, 3)
    assert not list((tmp_path / "class").rglob("*.npz"))


def test_other_files_have_other_seeds_and_the_same_file_has_the_same(folder):
    secret = class_secret(folder, TINY)
    assert secret == class_secret(folder, TINY) > 2**64
    drawn = [which_seed(secret, str(number)) for number in range(400)]
    assert set(drawn) == set(range(SEEDS))
    assert max(map(drawn.count, range(SEEDS))) < 400 / SEEDS * 1.7
    assert drawn == [which_seed(secret, str(number)) for number in range(400)]
    assert drawn != [which_seed(secret + 1, str(number)) for number in range(400)]
    assert len({seed_at(s, which) for s in (secret, secret + 1) for which in range(SEEDS)}) == 2 * SEEDS


def test_no_bundle_takes_it_along(kept, project):
    shutil.copytree(kept.parent, project.root / "secret_expected")
    assert not [path for path in contents(project) if "secret" in path.as_posix()]


def test_verdicts_are_the_same_with_what_is_kept_as_with_the_reference_itself(tmp_path, folder):
    """Of a notebook that is right in part, in part wrong, and in part right on the public inputs only."""
    project = Project()
    assignment, secret = project.assignment(SLUG), seed_at(class_secret(folder, SLUG), 3)
    known = sorted(public_inputs(assignment, "state_gradient_norms", 0))
    cells = with_first_line("chrono_init", "return")
    remembers = f"import zlib; dh_last = dh_last if zlib.crc32(dh_last.tobytes()) in {known} else 2 * dh_last"
    cells = with_first_line("state_gradient_norms", remembers, cells)
    notebook = make_notebook(cells, tmp_path / "notebook.ipynb")
    live = grade(notebook, assignment, seed=secret)
    assert grade(notebook, assignment, seed=secret, expected=lambda: expected(project, SLUG, folder, 3)) == live
    failed = {verdict.name: verdict.message for verdict in live if verdict.status != Status.PASSED}
    assert set(failed) == {"chrono_init", "state_gradient_norms"}
    assert "right on the public inputs" in failed["state_gradient_norms"]


GRADES = f"""
import sys
from pathlib import Path
from autograder.engine.inside.records import Limits
from course.base.project import Project
from course.teach.evaluation import Conditions, class_runner
from course.teach.reading import read_submission
conditions = Conditions(Project(), {SLUG!r}, Path(sys.argv[1]), Limits(), class_runner(False))
found = conditions.evaluate(read_submission(Path(sys.argv[2]))[0], "ada").verdicts
print(sum(verdict.points for verdict in found), "torch" in sys.modules)
"""


@needs_sandbox
def test_no_process_that_grades_imports_torch(tmp_path, folder):
    submission = tmp_path / "submission.ipynb"
    submission.write_text(json.dumps(class_of(Project())["ada_complete"]))
    for _ in ("observed now", "kept"):
        shutil.rmtree(tmp_path / "class" / "results", ignore_errors=True)
        words = [sys.executable, "-c", GRADES, str(folder), str(submission)]
        ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert ran.stdout == "22.0 False\n", ran.stderr
