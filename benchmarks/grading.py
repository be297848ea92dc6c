"""What grading a class costs: here, and with nbgrader's own autograder on an equivalent notebook.

    python benchmarks/grading.py [--quick] [--only PART …] [--json FILE]

Parts:

- `cost`: CPU and wall seconds per submission, and the start-up apart from that, of four things:
  evaluation alone, in the sandbox; `s30 grade` end to end; nbgrader's own `autograde`, which executes a notebook with
  the same solutions and plain asserts; and `autograde` with a step in place of Execute that gives everybody full
  points, the floor of what recording through nbgrader costs.
- `single`: the same where there is one submission, so that what is done once is nearly all of it: for a class of which
  nothing is known yet, and again; and what formgrader's button costs, in a server that has started already.
- `growth`: the same of `s30 grade` for larger and larger classes, with the memory of the whole run.
- `jobs`: evaluation on one core against two.

Each cost is the slope between two class sizes, so that start-up is not in it. CPU is that of every process that took
part: a control group counts it. Where none can be made, only processes that were waited for are counted, and not the
submissions themselves, whose parent does not wait for them; the program checks this with a submission that burns CPU.
Wall time says something on an idle machine only.

The class is mixed: of fifteen, five are right, six have one or two of the known mistakes, in different places, three
are solved in part, one is blank; and two of these files are damaged. Every solution's text is unique. The notebooks
carry the outputs of the lesson's figures, as notebooks do that were run. Nbgrader's own autograder gets these solutions
in whole files without the lesson: without its figures and its training, which it would run as well, and without the two
largest cases of the checks.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from nbgrader.api import Gradebook  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from autograder.engine.inside.load import load  # noqa: E402
from autograder.engine.inside.notebook import read_notebook  # noqa: E402
from autograder.engine.judge.mistakes import Mistake, read_mistakes  # noqa: E402
from course.base.project import Project  # noqa: E402
from course.teach.folder import ClassFolder  # noqa: E402
from course.teach.gradebook import register  # noqa: E402

SLUG = "03_lstm_understanding"
PLAIN = "plain"
Notebook = dict[str, Any]
GOALS = {"evaluation": 20, "s30 grade": 8}
ONCE = 4  # CPU seconds before the first submission of a class whose seed is known
KINDS = (  # of submissions, again and again
    *("full", "one", "full", "half", "one", "two", "full", "damaged"),
    *("one", "blank", "full", "two", "half", "one", "damaged-half"),
)

# Costs --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        size: submissions in the class.
        cpu: seconds, of all its processes.
        wall: seconds.
        peak_mb: the largest sum of its processes' memory that was seen, pages that they share counted once.
        inner: wall seconds of the part that the command measured itself.
    """

    size: int
    cpu: float
    wall: float
    peak_mb: float = 0.0
    inner: float = 0.0


class Meter:
    """A control group for commands to run in. Two kinds are known: version 2, and `cpuacct` of version 1."""

    def __init__(self) -> None:
        self.group: Path | None = None
        for parent in (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup")):
            group = parent / f"s30-benchmark-{os.getpid()}"
            try:
                if not any((parent / name).is_file() for name in ("cpuacct.usage", "cpu.stat")):
                    continue
                group.mkdir()
                self.group = group
                self._used()
                return
            except OSError:
                self.close()

    def _used(self) -> float:
        """CPU seconds so far."""
        assert self.group is not None
        old = self.group / "cpuacct.usage"
        if old.is_file():
            return int(old.read_text()) / 1e9
        return int((self.group / "cpu.stat").read_text().split()[1]) / 1e6

    def run(
        self, size: int, words: list[str], cwd: Path, *, memory: bool = False, environment: dict[str, str] | None = None
    ) -> Cost:
        """Run a command to its end; `size` is how many submissions it grades."""
        enter = f'echo $$ > {self.group}/cgroup.procs; exec "$@"' if self.group else 'exec "$@"'
        before = self._used() if self.group else 0.0
        started = time.monotonic()
        child = subprocess.Popen(
            ["/bin/sh", "-c", enter, "sh", *words],
            cwd=cwd,
            env={**os.environ, "NO_COLOR": "1", **(environment or _found())},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        over = threading.Event()
        peaks: list[float] = [0.0]
        watcher = threading.Thread(target=self._watch, args=(child.pid, over, peaks))
        if memory:
            watcher.start()
        assert child.stdout is not None
        said = child.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - started
        over.set()
        if memory:
            watcher.join()
        if child.returncode:
            raise SystemExit(f"{' '.join(words)[:300]} failed:\n{said[-3000:]}")
        cpu = self._used() - before if self.group else usage.ru_utime + usage.ru_stime
        inner = [float(line.split()[1]) for line in said.splitlines() if line.startswith("INNER ")]
        return Cost(size, cpu, wall, max(peaks), sum(inner))

    def _watch(self, pid: int, over: threading.Event, peaks: list[float]) -> None:
        """Add up the memory of all processes twice a second."""
        while not over.wait(0.5):
            peaks.append(sum(_memory_mb(process) for process in self._processes(pid)))

    def _processes(self, pid: int) -> list[int]:
        if self.group:
            return [int(line) for line in (self.group / "cgroup.procs").read_text().split()]
        return _descent(pid)

    def close(self) -> None:
        """Remove the group."""
        if self.group:
            with contextlib.suppress(OSError):
                self.group.rmdir()
        self.group = None


def _memory_mb(pid: int) -> float:
    """A process's memory, with its share of pages that it has in common with others."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _descent(pid: int) -> list[int]:
    """A process, its children, and theirs."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = [pid]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


@dataclass(frozen=True)
class Line:
    """Cost as a line: so much per submission, and so much once."""

    each_cpu: float
    each_wall: float
    once_cpu: float
    once_wall: float


def line(small: Cost, large: Cost) -> Line:
    """The line through two costs."""
    more = large.size - small.size
    cpu, wall = (large.cpu - small.cpu) / more, (large.wall - small.wall) / more
    return Line(cpu, wall, small.cpu - small.size * cpu, small.wall - small.size * wall)


# The class ----------------------------------------------------------------------------------------------------------


def _grade_id(cell: Notebook) -> str:
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def solutions(project: Project) -> dict[str, str]:
    """Exercise → the text of its cell in the worked solution."""
    tree = json.loads(project.solution(SLUG).read_text(encoding="utf-8"))
    names = {e.name for e in project.assignment(SLUG).exercises}
    return {_grade_id(c): "".join(c["source"]) for c in tree["cells"] if _grade_id(c) in names}


def mixed(project: Project, count: int) -> Iterator[tuple[str, dict[str, str], bool]]:
    """Student, the exercises they wrote, and whether their file is damaged; the same mix in every fifteen."""
    right = solutions(project)
    order = list(right)
    bank = read_mistakes(project.mistakes(SLUG))
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        first = bank[number * 7 % len(bank)]
        second = bank[(number * 7 + len(bank) // 2) % len(bank)]
        wrong = {"one": [first], "two": [first, second]}.get(kind, [])
        solved = [] if kind == "blank" else order[: 2 + number % 4] if "half" in kind else order
        student = f"s{number:04d}_{kind}"
        texts = {name: f"{_made(wrong, name, right[name])}\n# {student}" for name in solved}
        yield student, texts, "damaged" in kind


def _made(mistakes: list[Mistake], name: str, text: str) -> str:
    """A solution with one of some mistakes made in it, if one is of this exercise."""
    fitting = [mistake for mistake in mistakes if mistake.exercise == name]
    return fitting[0].source(text) if fitting else text


def written(stub: Notebook, texts: dict[str, str]) -> Notebook:
    """The stub with some exercises as a student wrote them."""
    filled = copy.deepcopy(stub)
    for cell in filled["cells"]:
        cell["source"] = texts.get(_grade_id(cell), cell["source"])
    return filled


def damaged(notebook: Notebook) -> Notebook:
    """What editors do: a cell doubled, a check deleted, one relabelled, metadata gone, a cell added, ids gone."""
    cells = copy.deepcopy(notebook["cells"])
    by_id = {_grade_id(cell): cell for cell in cells}
    cells.remove(by_id["lstm_cell_forward-check"])
    cells.insert(cells.index(by_id["sigmoid"]), copy.deepcopy(by_id["sigmoid"]))
    by_id["lstm_cell_backward-check"]["metadata"]["nbgrader"]["solution"] = True
    by_id["lstm_forward"]["metadata"] = {"id": "a1B2c3"}
    cells.insert(2, {"cell_type": "code", "metadata": {}, "source": "1 / 0", "outputs": [], "execution_count": None})
    for cell in cells:
        cell.pop("id", None)
    return {**notebook, "cells": cells, "nbformat_minor": 4}


def _hand_in(folder: Path, student: str, slug: str, notebook: Notebook) -> None:
    path = folder / "submitted" / student / slug / f"{slug}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")


def _run_stub(project: Project) -> Notebook:
    """The stub with the outputs that the worked solution has, as in a notebook that was run."""
    stub: Notebook = json.loads(project.release(SLUG).read_text(encoding="utf-8"))
    outputs = {
        cell["id"]: cell["outputs"]
        for cell in json.loads(project.solution(SLUG).read_text(encoding="utf-8"))["cells"]
        if "outputs" in cell
    }
    for cell in stub["cells"]:
        if "outputs" in cell:
            cell["outputs"] = outputs.get(cell["id"], [])
    return stub


def our_class(project: Project, folder: Path, count: int, *, whole: bool = False) -> None:
    """A class's folder with `count` submissions, known to its gradebook; `whole` leaves out the damage."""
    stub = _run_stub(project)
    for student, texts, harmed in mixed(project, count):
        notebook = written(stub, texts)
        _hand_in(folder, student, SLUG, damaged(notebook) if harmed and not whole else notebook)
    register(project, SLUG, ClassFolder.of(project, folder))


# The equivalent notebook for nbgrader's own autograder --------------------------------------------------------------

_STATES = """params = {"W": rng.standard_normal((I + H, 4 * H)), "b": rng.standard_normal(4 * H)}
    h0, c0 = rng.standard_normal((2, B, H))"""
_ONE_STEP = f"""{_STATES}
    dh, dc = rng.standard_normal((2, B, H))
    *_, cache = lstm_cell_forward(params, rng.standard_normal((B, I)), h0, c0)"""
_SEQUENCE = f"{_STATES}\n    Hs, cache = lstm_forward(params, rng.standard_normal((B, T, I)) / 3, h0, c0)"
_CELLS = [(1, 1, 1, 1), (4, 1, 3, 5), (2, 1, 6, 2)]  # B, T, I, H
_LONG = [(1, 1, 1, 1), (2, 3, 3, 4), (3, 6, 2, 5)]
CHECKS: dict[str, tuple[str, list[tuple[int, int, int, int]]]] = {
    "sigmoid": ("return [sigmoid(30 * rng.standard_normal((B, T, I, H)))]", [*_CELLS, *_LONG]),
    "lstm_cell_forward": (
        f"{_STATES}\n    return lstm_cell_forward(params, rng.standard_normal((B, I)), h0, c0)[:2]",
        [*_CELLS, (3, 1, 2, 4)],
    ),
    "lstm_forward": (f"{_SEQUENCE}\n    return [Hs]", _LONG),
    "lstm_cell_backward": (
        f"{_ONE_STEP}\n    return lstm_cell_backward(dh, dc, cache)",
        _CELLS,
    ),
    "lstm_backward": (f"{_SEQUENCE}\n    return lstm_backward(rng.standard_normal((B, T, H)), cache)", _LONG),
    "state_gradient_norms": (
        f"{_SEQUENCE}\n    return [state_gradient_norms(rng.standard_normal((B, H)), cache)]",
        _LONG,
    ),
    "LSTM": (
        """layer = LSTM(I, H).double()
    with torch.no_grad():
        for p in (layer.W, layer.b):
            p.copy_(torch.from_numpy(rng.standard_normal(p.shape)))
    X = torch.tensor(rng.standard_normal((B, T, I)), requires_grad=True)
    out, (h, c) = layer(X)
    (out * torch.from_numpy(rng.standard_normal((B, T, H)))).sum().backward()
    return [v.detach().numpy() for v in (out, h, c, X.grad, layer.W.grad, layer.b.grad)]""",
        _LONG,
    ),
    "chrono_init": (
        """layer = nn.LSTM(I, H)
    layer.b = nn.Parameter(torch.zeros(4 * H, dtype=torch.float64))
    chrono_init(layer, 10 * H, torch.from_numpy(rng.uniform(size=H)))
    return [layer.b.detach().numpy()]""",
        _CELLS,
    ),
    "gru_cell": (
        """sizes = {"Wx": (I, 3 * H), "Wh": (H, 3 * H), "bx": (3 * H,), "bh": (3 * H,)}
    params = {n: torch.tensor(rng.standard_normal(s), requires_grad=True) for n, s in sizes.items()}
    out = gru_cell(params, torch.from_numpy(rng.standard_normal((B, I))), torch.from_numpy(rng.standard_normal((B, H))))
    (out * torch.from_numpy(rng.standard_normal((B, H)))).sum().backward()
    return [v.detach().numpy() for v in (out, *(p.grad for p in params.values()))]""",
        _CELLS,
    ),
}
_ASSERT = """for sizes, wanted in expected:
    for got, right in zip(observed(np.random.default_rng(SEED), *sizes), wanted, strict=True):
        assert np.shape(got) == np.shape(right)
        assert np.allclose(got, right, rtol=1e-6, atol=1e-9)"""


def _check(name: str, reference: dict[str, Any]) -> str:
    """A check cell: plain asserts against what the reference yields, at one seed in sight and at one that is not."""
    body, cases = CHECKS[name]
    text = f"def observed(rng, B, T, I, H):\n    {body}\n"
    space = {**reference}
    exec(text, space)
    np = reference["np"]
    blocks = []
    for seed in (1, 2):
        found = [(sizes, [np.asarray(v).tolist() for v in space["observed"](np.random.default_rng(seed), *sizes)])
                 for sizes in cases]  # fmt: skip
        blocks.append(f"expected = {found!r}\n" + _ASSERT.replace("SEED", str(seed)))
    return f"{text}\n{blocks[0]}\n### BEGIN HIDDEN TESTS\n{blocks[1]}\n### END HIDDEN TESTS"


def _code(source: str, cell_id: str, **nbgrader: Any) -> Notebook:
    meta = {"schema_version": 3, "task": False, "grade_id": cell_id, **nbgrader} if nbgrader else {}
    return {
        "cell_type": "code", "id": cell_id, "source": source, "outputs": [], "execution_count": None,
        "metadata": {"nbgrader": meta} if meta else {},
    }  # fmt: skip


def plain_master(project: Project, *, figures: bool = False) -> Notebook:
    """The exercises as an author writes them for nbgrader's own autograder: check cells of plain asserts."""
    assignment = project.assignment(SLUG)
    assert assignment.reference is not None
    reference = load(read_notebook(assignment.reference), [e.name for e in assignment.exercises]).namespace
    master = json.loads(project.source(SLUG).read_text(encoding="utf-8"))
    marked = {_grade_id(cell): "".join(cell["source"]) for cell in master["cells"]}
    cells = [_code("import numpy as np\nimport matplotlib.pyplot as plt" if figures else "import numpy as np", "setup")]
    torch = False
    for exercise in assignment.exercises:
        if exercise.track == "torch" and not torch:
            cells.append(_code(marked["setup-torch"], "setup-torch"))
            torch = True
        cells.append(_code(marked[exercise.name], exercise.name, grade=False, solution=True, locked=False))
        cells.append(
            _code(
                _check(exercise.name, reference),
                f"{exercise.name}-check",
                grade=True,
                solution=False,
                locked=True,
                points=exercise.points,
            )
        )
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def _nbgrader(*words: str) -> list[str]:
    return [sys.executable, "-m", "nbgrader", *words]


def _found() -> dict[str, str]:
    """The environment in which nbgrader finds its programs."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(ROOT),
    }


def plain_class(project: Project, folder: Path, count: int, *, figures: bool = False) -> None:
    """A class of nbgrader's own, with the same solutions in whole files."""
    (folder / "nbgrader_config.py").write_text('c = get_config()\nc.CourseDirectory.course_id = "plain"\n')
    source = folder / "source" / PLAIN / f"{PLAIN}.ipynb"
    source.parent.mkdir(parents=True)
    source.write_text(json.dumps(plain_master(project, figures=figures)), encoding="utf-8")
    Meter.run(_UNMETERED, 0, _nbgrader("generate_assignment", PLAIN), folder)
    stub = json.loads((folder / "release" / PLAIN / f"{PLAIN}.ipynb").read_text(encoding="utf-8"))
    for student, texts, _ in mixed(project, count):
        _hand_in(folder, student, PLAIN, written(stub, texts))


# What is measured ---------------------------------------------------------------------------------------------------

EVALUATE = f"""
import sys, time
from pathlib import Path
from course.teach.folder import ClassFolder
from course.teach.grading import ClassRun
from course.teach.submissions import Collected
from course.base.project import Project
if __name__ == "__main__":
    run = ClassRun(Project(), {SLUG!r}, ClassFolder.of(Project(), Path(sys.argv[1])), Collected())
    started = time.monotonic()
    run.evaluate(run.submissions, int(sys.argv[2]), lambda _: None)
    print("INNER", time.monotonic() - started)
    stopped = [v.name for s in run.submissions for v in s.verdicts if v.status in ("timeout", "memory")]
    ungraded = [s.reason for s in run.submissions if s.reason]
    if stopped or ungraded:
        raise SystemExit(f"not all were graded to the end: {{stopped}} {{ungraded}}")
"""
CLICK = f"""
import shutil, sys
from pathlib import Path
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from course.base.nbgrader import nbgrader_config
from course.base.project import Project
folder = Path(sys.argv[1])
config = nbgrader_config(Project(), folder)
server = NbGraderAPI(CourseDirectory(config=config), config=config)
for _ in range(int(sys.argv[2])):
    shutil.rmtree(folder / "results", ignore_errors=True)
    said = server.autograde({SLUG!r}, "one_full")
    if not said["success"]:
        raise SystemExit(said)
"""
BURN = """    import time
    began = time.process_time()
    while not hasattr(sigmoid, "burnt") and time.process_time() < began + 2:
        pass
    sigmoid.burnt = True
"""
FLOOR_STEP = """
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade

class FullPoints(NbGraderPreprocessor):
    def preprocess_cell(self, cell, resources, index):
        if is_grade(cell) and cell.cell_type == "code":
            points = repr(float(cell.metadata.nbgrader.points))
            cell.outputs = [new_output("execute_result", data={"text/plain": points}, execution_count=None)]
        return cell, resources
"""
FLOOR_CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "sutskever30"
names = "LimitOutput SaveAutoGrades AssignLatePenalties CheckCellMetadata".split()
c.Autograde.autograde_preprocessors = ["floor_step.FullPoints", *(f"nbgrader.preprocessors.{name}" for name in names)]
"""


class _NoGroup(Meter):
    """Runs commands whose cost is nobody's concern."""

    def __init__(self) -> None:
        self.group = None


_UNMETERED = _NoGroup()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="s30-benchmark-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _assert_recorded(folder: Path, slug: str, size: int) -> None:
    """What was measured did its work: all are in the gradebook, and who solved everything has full points."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        notebooks = [s.notebooks[0] for s in gradebook.assignment_submissions(slug)]
        assert len(notebooks) == size, f"{len(notebooks)} of {size} were recorded"
        for notebook in notebooks:
            lost = [g.name for g in notebook.grades if g.cell.cell_type == "code" and g.auto_score != g.max_score]
            if notebook.student.id.endswith("_full"):
                assert not lost, f"{notebook.student.id} has lost {lost}"


@dataclass(frozen=True)
class Bench:
    """The commands to be measured, each on a fresh class of a given size."""

    project: Project
    meter: Meter
    figures: bool = False  # nbgrader's notebook imports matplotlib, as the lesson does

    def evaluation(self, size: int, jobs: int = 1) -> Cost:
        """Evaluation alone; its inner wall time is without the start of the command, but with that of its workers."""
        with _folder() as folder:
            our_class(self.project, folder, size)
            words = [sys.executable, "-c", EVALUATE, str(folder), str(jobs)]
            return self.meter.run(size, words, ROOT)

    def end_to_end(self, size: int, *, memory: bool = False) -> Cost:
        """`s30 grade`."""
        with _folder() as folder:
            our_class(self.project, folder, size)
            words = [sys.executable, "-m", "course.cli", "grade", SLUG[:2], "--course-dir", str(folder)]
            cost = self.meter.run(size, words, ROOT, memory=memory)
            _assert_recorded(folder, SLUG, size)
            return cost

    def single(self) -> dict[str, tuple[float, float]]:
        """CPU seconds of grading one submission of a new class, and of grading it once more."""
        found = {}
        for name, words in {
            "evaluation": [sys.executable, "-c", EVALUATE],
            "s30 grade": [sys.executable, "-m", "course.cli", "grade", SLUG[:2], "--course-dir"],
        }.items():
            with self._class_of_one() as folder:
                last = ["1"] if name == "evaluation" else []
                cold = self.meter.run(1, [*words, str(folder), *last], ROOT).cpu
                for kept in ("results", "autograded"):
                    shutil.rmtree(folder / kept, ignore_errors=True)
                found[name] = cold, self.meter.run(1, [*words, str(folder), *last], ROOT).cpu
        return found

    def clicks(self, more: int = 20) -> tuple[float, float]:
        """CPU seconds of the first click on formgrader's button, and of each more, where the class's seed is known."""
        with self._class_of_one() as folder:
            register(self.project, SLUG, ClassFolder.of(self.project, folder))

            def server(clicks: int) -> float:
                return self.meter.run(clicks, [sys.executable, "-c", CLICK, str(folder), str(clicks)], ROOT).cpu

            server(1)
            none, one, many = server(0), server(1), server(1 + more)
        return one - none, (many - one) / more

    @contextlib.contextmanager
    def _class_of_one(self) -> Iterator[Path]:
        with _folder() as folder:
            _hand_in(folder, "one_full", SLUG, written(_run_stub(self.project), solutions(self.project)))
            yield folder

    def stock(self, size: int) -> Cost:
        """Nbgrader's own autograde, which executes notebooks."""
        with _folder() as folder:
            plain_class(self.project, folder, size, figures=self.figures)
            environment = {**_found(), "IPYTHONDIR": str(folder / ".ipython")}
            cost = self.meter.run(size, _nbgrader("autograde", PLAIN), folder, environment=environment)
            _assert_recorded(folder, PLAIN, size)
            return cost

    def floor(self, size: int) -> Cost:
        """Nbgrader's autograde of our notebook with full points for all."""
        with _folder() as folder:
            our_class(self.project, folder, size, whole=True)
            (folder / "floor_step.py").write_text(FLOOR_STEP)
            (folder / "nbgrader_config.py").write_text(FLOOR_CONFIG)
            environment = {**_found(), "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
            cost = self.meter.run(size, _nbgrader("autograde", SLUG), folder, environment=environment)
            _assert_recorded(folder, SLUG, size)
            return cost

    def burnt(self) -> float:
        """CPU seconds more that are counted if a submission burns two in its process."""
        texts = solutions(self.project)
        place = "    small = np.exp"
        assert place in texts["sigmoid"]
        return self._alone({**texts, "sigmoid": texts["sigmoid"].replace(place, BURN + place)}) - self._alone(texts)

    def _alone(self, texts: dict[str, str]) -> float:
        """CPU seconds of evaluating one submission."""
        with _folder() as folder:
            _hand_in(folder, "one", SLUG, written(_run_stub(self.project), texts))
            register(self.project, SLUG, ClassFolder.of(self.project, folder))
            return self.meter.run(1, [sys.executable, "-c", EVALUATE, str(folder), "1"], ROOT).cpu


# Telling ------------------------------------------------------------------------------------------------------------


def costs(bench: Bench, small: int, large: int, console: Console) -> dict[str, Any]:
    """Cost per submission of the four ways, with ratios."""
    ways: dict[str, Callable[[int], Cost]] = {
        "evaluation": bench.evaluation,
        "s30 grade": bench.end_to_end,
        "nbgrader autograde": bench.stock,
        "floor of recording": bench.floor,
    }
    found: dict[str, tuple[Cost, Cost, Line]] = {}
    for name, way in ways.items():
        console.print(f"{name}: {small} and {large} submissions …", style="dim")
        less, more = way(small), way(large)
        found[name] = less, more, line(less, more)
        console.print(f"  {less}\n  {more}", style="dim", highlight=False)  # should a later one fail
    stock = found["nbgrader autograde"][2]
    table = Table("", "CPU s each", "wall s each", "start-up CPU s", "start-up wall s", "times cheaper", "goal",
                  title=f"Cost per submission, from {small} and {large}")  # fmt: skip
    for name, (_, _, each) in found.items():
        ratio = f"{stock.each_cpu / each.each_cpu:.1f} (wall {stock.each_wall / each.each_wall:.1f})"
        goal = f"{GOALS[name]}" if name in GOALS else ""
        numbers = (each.each_cpu, each.each_wall, each.once_cpu, each.once_wall)
        table.add_row(
            name, *(f"{number:.3f}" for number in numbers), ratio if name != "nbgrader autograde" else "", goal
        )
    console.print(table)
    return {
        name: {"small": asdict(less), "large": asdict(more), **asdict(each), "ratio": stock.each_cpu / each.each_cpu}
        for name, (less, more, each) in found.items()
    }


def single(bench: Bench, console: Console) -> dict[str, Any]:
    """What is done once, as the cost of a class of one."""
    console.print("one submission …", style="dim")
    found = bench.single()
    table = Table("CPU s", "of a new class", "once more", "goal", title="One submission: what is done once, and it")
    for name, (cold, warm) in found.items():
        table.add_row(name, f"{cold:.2f}", f"{warm:.2f}", f"{ONCE} and one evaluation" if name == "evaluation" else "")
    console.print(table)
    first, each = bench.clicks()
    console.print(f"Formgrader's button: {first:.2f} CPU s for the first click, {each:.2f} for each more")
    return {"cold and warm": found, "first click": first, "each more": each}


def growth(bench: Bench, sizes: list[int], console: Console) -> list[dict[str, Any]]:
    """Cost of `s30 grade` for larger and larger classes."""
    table = Table("submissions", "CPU s", "wall s", "CPU s each", "CPU s each more", "wall s each more", "peak MB",
                  title="s30 grade, growth (goal: a line, below 1500 MB)")  # fmt: skip
    found: list[Cost] = []
    for size in sizes:
        console.print(f"s30 grade: {size} submissions …", style="dim")
        cost = bench.end_to_end(size, memory=True)
        slope = line(found[-1], cost) if found else None
        more = (f"{slope.each_cpu:.3f}", f"{slope.each_wall:.3f}") if slope else ("", "")
        found.append(cost)
        console.print(f"  {cost}", style="dim", highlight=False)
        table.add_row(f"{size}", f"{cost.cpu:.1f}", f"{cost.wall:.1f}", f"{cost.cpu / size:.3f}", *more,
                      f"{cost.peak_mb:.0f}")  # fmt: skip
    console.print(table)
    return [asdict(cost) for cost in found]


def jobs(bench: Bench, small: int, large: int, console: Console) -> dict[str, Any]:
    """Evaluation on one core and on two."""
    found: dict[int, tuple[Cost, Cost]] = {}
    for workers in (1, 2):
        console.print(f"evaluation with --jobs {workers}: {small} and {large} submissions …", style="dim")
        found[workers] = bench.evaluation(small, workers), bench.evaluation(large, workers)
    each = {w: (more.inner - less.inner) / (large - small) for w, (less, more) in found.items()}
    whole = {w: more.inner for w, (_, more) in found.items()}
    table = Table("jobs", f"wall s of {large}", "wall s each", "CPU s", title="Evaluation on one core and on two")
    for workers, (_, more) in found.items():
        table.add_row(f"{workers}", f"{whole[workers]:.1f}", f"{each[workers]:.3f}", f"{more.cpu:.1f}")
    console.print(table)
    speed_up, each_up = whole[1] / whole[2], each[1] / each[2]
    console.print(f"Speed-up {speed_up:.2f} with the start of workers, {each_up:.2f} without; goal 1.7")
    return {"each": each, "whole": whole, "speed_up": speed_up, "speed_up_each": each_up}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parts = ("cost", "single", "growth", "jobs")
    parser.add_argument("--only", nargs="*", choices=parts, default=list(parts), help="parts to run")
    parser.add_argument("--quick", action="store_true", help="5 and 15 submissions for costs, 15 and 60 for growth")
    parser.add_argument("--sizes", nargs=2, type=int, help="the two class sizes of costs; default 15 60")
    parser.add_argument("--growth", nargs="*", type=int, help="the class sizes of growth; default 15 60 240 960")
    parser.add_argument("--figures", action="store_true", help="nbgrader's notebook imports matplotlib too")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    chosen = parser.parse_args()
    small, large = chosen.sizes or ((5, 15) if chosen.quick else (15, 60))
    sizes = chosen.growth or ([15, 60] if chosen.quick else [15, 60, 240, 960])
    console = Console(width=110)  # tables are whole in a file too
    meter = Meter()
    bench = Bench(Project(), meter, chosen.figures)
    numbers: dict[str, Any] = {"load": os.getloadavg(), "cores": len(os.sched_getaffinity(0))}
    try:
        burnt = bench.burnt()
        numbers["burnt"] = burnt
        how = "counts" if burnt > 1.7 else "DOES NOT COUNT"
        console.print(f"Of 2 CPU seconds that a submission burns, {burnt:.1f} are seen: the meter {how} submissions.")
        console.print(f"{numbers['cores']} cores, load {numbers['load'][0]:.1f} before the first measurement.")
        if "cost" in chosen.only:
            numbers["cost"] = costs(bench, small, large, console)
        if "single" in chosen.only:
            numbers["single"] = single(bench, console)
        if "jobs" in chosen.only:
            numbers["jobs"] = jobs(bench, small, large, console)
        if "growth" in chosen.only:
            numbers["growth"] = growth(bench, sizes, console)
    finally:
        meter.close()
        if chosen.json:
            chosen.json.write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
