"""What a moment does to grading (a process killed, stalled, out of memory) is no verdict on a student."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import functions, make_notebook, needs_sandbox, s30, tiny_assignment
from test_grade import SLUG, autograded, hand_in, in_gradebook

from autograder.engine.border.runner import Subprocess
from autograder.engine.border.sandbox import Sandbox
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import NotebookError
from autograder.engine.inside.observe import PUBLIC_SEED
from autograder.engine.inside.records import Limits
from autograder.engine.judge.verdict import Status
from course.base.project import Project
from course.teach import evaluation, intake
from course.teach.demo import class_of
from course.teach.evaluation import Conditions
from course.teach.intake import TooMuch, take_in
from course.teach.reading import CUT_SHORT, RECORDED


class Unlucky(Subprocess):
    """A runner whose first so many processes get a signal as soon as they have started."""

    def __init__(self, signal_: int, times: int) -> None:
        self.left, self.signal = times, signal_

    def start(self, assignment, request):
        child = super().start(assignment, request)
        if self.left:
            self.left -= 1
            os.kill(child._process.pid, self.signal)
        return child


@pytest.fixture
def conditions(tmp_path, monkeypatch):
    """Conditions of grading an assignment of one exercise with a runner, without secrets."""
    assignment = tiny_assignment(tmp_path / "course", ["f"])
    monkeypatch.setattr(Project, "assignment", lambda *_: assignment)
    monkeypatch.setattr(evaluation, "digest_of", lambda *_: "submission")
    monkeypatch.setattr(evaluation, "expected", lambda *_: None)
    monkeypatch.setattr(evaluation, "seed_at", lambda *_: evaluation_seed)
    monkeypatch.setattr(evaluation, "_cut_short", {})
    monkeypatch.setattr("autograder.engine.border.runner.STARTING", 4.0)

    def made(runner) -> Conditions:
        return Conditions(Project(), assignment.slug, tmp_path, Limits(1.0, 30.0, 500), runner)

    return made


evaluation_seed = PUBLIC_SEED  # nothing else is observed


def notebook(body: str, folder: Path) -> dict:
    return json.loads(make_notebook(functions({"f": body}), folder / "n.ipynb").read_text())


ENDS = {"killed": signal.SIGKILL, "crashed": signal.SIGSEGV, "stalled": signal.SIGSTOP}


@pytest.mark.parametrize("how", ENDS)
def test_one_unlucky_moment_is_tried_again_and_leaves_nothing(how, conditions, tmp_path):
    made = conditions(Unlucky(ENDS[how], 1))
    found = made.evaluate(notebook("return 2 * x", tmp_path), "ann")
    assert ([v.status for v in found.verdicts], found.cut_short) == ([Status.PASSED], False)
    assert list((tmp_path / "results").rglob("*.json"))


@pytest.mark.parametrize("how", ["killed", "crashed"])
def test_what_ends_twice_is_said_and_not_kept(how, conditions, tmp_path):
    handed_in = notebook("return 2 * x", tmp_path)
    found = conditions(Unlucky(ENDS[how], 2)).evaluate(handed_in, "ann")
    assert ([v.status for v in found.verdicts], found.cut_short) == ([Status.CRASHED], True)
    assert not (tmp_path / "results").exists()
    later = conditions(Subprocess()).evaluate(handed_in, "ann")
    assert ([v.status for v in later.verdicts], later.cut_short) == ([Status.PASSED], False)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("\n    while True: pass", Status.TIMEOUT),
        ("\n    import os; os._exit(3)", Status.CRASHED),
        ("return np.zeros(2**33) + x[0]", Status.MEMORY),
    ],
)
def test_what_a_submission_does_itself_is_its_verdict_after_two_attempts(body, status, conditions, tmp_path):
    runner = Unlucky(signal.SIGKILL, 0)
    found = conditions(runner).evaluate(notebook(body, tmp_path), "ann")
    assert ([v.status for v in found.verdicts], found.cut_short) == ([status], True)
    assert runner.cut_short >= 2
    assert not (tmp_path / "results").exists()


@needs_sandbox
def test_a_sandbox_that_is_ended_from_outside_is_nobodys_crash(conditions, tmp_path):
    class Lost(Sandbox):
        left = 1

        def start(self, assignment, request):
            child = super().start(assignment, request)
            if Lost.left:
                Lost.left -= 1
                child._parent._process.kill()
            return child

    slow = notebook("\n    import time; time.sleep(0.2)\n    return 2 * x", tmp_path)
    with Lost() as runner:
        made = conditions(runner)
        assert [v.status for v in made.evaluate(slow, "ann").verdicts] == [Status.PASSED]
        Lost.left = 1
        with pytest.raises(UserError, match="ended from outside"):
            made.evaluate(notebook("\n    import time; time.sleep(0.3)\n    return 2 * x", tmp_path), "x", attempts=1)


def test_a_reader_that_is_killed_or_stalled_reads_again(tmp_path, monkeypatch):
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps(class_of(Project())["eve_blank"]))
    assert take_in(path, SLUG, Project())[0]
    monkeypatch.setattr(intake, "SECONDS", 1)  # ten of them, and a reader that says nothing is given up
    for how in (signal.SIGKILL, signal.SIGSTOP):
        os.kill(intake._reader._process.pid, how)
        assert take_in(path, SLUG, Project())[0]
    assert issubclass(TooMuch, NotebookError)


@needs_sandbox
@pytest.mark.slow
def test_a_class_in_a_bad_moment_gets_its_points(tmp_path):
    """The sandbox of a run is killed while it grades: everybody is graded, the exit is 0, and nobody is a zero."""
    solved = class_of(Project())["ada_complete"]
    for student in ("ann", "ben", "cyd"):
        hand_in(tmp_path, student, json.dumps(solved))
    command = [sys.executable, "-m", "course.cli", "grade", "03", "--course-dir", str(tmp_path), "--jobs", "2"]
    run = subprocess.Popen(command, cwd=Project().root, stdout=subprocess.PIPE, text=True)
    killed = 0
    while run.poll() is None and not list((tmp_path / "results").rglob("*.json")):
        for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split():
            name = Path(f"/proc/{pid}/cmdline")
            if not killed and name.exists() and "spawn_main" in name.read_text():
                time.sleep(2.0)  # it grades by now
                killed = sum(_kill(pid) for pid in _sandboxes(run.pid))
        time.sleep(0.05)
    said = run.communicate()[0]
    assert (killed > 0, run.returncode) == (True, 0), said
    assert in_gradebook(tmp_path) == {"ann": 22, "ben": 22, "cyd": 22}


def _sandboxes(leader: int) -> list[int]:
    """The processes called bwrap that descend from one."""
    found, queue = [], [leader]
    while queue:
        for task in Path(f"/proc/{queue.pop()}/task").glob("*"):
            below = [int(pid) for pid in (task / "children").read_text().split()]
            queue += below
            found += [pid for pid in below if Path(f"/proc/{pid}/comm").read_text().startswith("bwrap")]
    return found


def _kill(pid: int) -> bool:
    os.kill(pid, signal.SIGKILL)
    return True


@needs_sandbox
@pytest.mark.slow
def test_what_was_cut_short_is_recorded_with_the_word_and_tried_again_by_the_next_run(tmp_path):
    solved = json.dumps(class_of(Project())["ada_complete"])
    endless = solved.replace('"def sigmoid(', '"import time\\n", "time.sleep(9)\\n", "def sigmoid(')
    assert endless != solved
    hand_in(tmp_path, "ann", endless)
    hand_in(tmp_path, "ben", solved)
    config = tmp_path / "nbgrader_config.py"
    config.write_text("c = get_config()\nc.GradeSubmission.seconds = 2.0\n")
    ran = s30("grade", "03", "--course-dir", str(tmp_path), root=Project().root)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "ended something of ann, also with the machine to itself" in ran.stdout
    recorded = json.loads((tmp_path / "autograded" / "ann" / SLUG / f"{SLUG}.ipynb").read_text())["metadata"]
    assert recorded[RECORDED][CUT_SHORT] is True
    assert [p.stem for p in (tmp_path / "results").rglob("*.json")] == ["ben"]
    before = autograded(tmp_path, "ann", "ben")
    again = s30("grade", "03", "--course-dir", str(tmp_path), root=Project().root)
    assert "1 of them now" in again.stdout
    later = autograded(tmp_path, "ann", "ben")
    assert [s for s in later if later[s] != before[s]] == ["ann"]
