"""`pytest autograder/` grades a learner's notebooks: one line per exercise, an explanation under each failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autograder.engine.assignment import Assignment, Exercise
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import NotebookError
from autograder.engine.inside.observe import PUBLIC_SEED
from autograder.engine.judge.grade import grade, unreadable
from autograder.engine.judge.keys import AnswerKeyError
from autograder.engine.judge.verdict import Status, Verdict
from autograder.engine.judge.words.report import LOOKS, as_report, number, title
from course.base.files import as_json, write_whole
from course.base.project import Project

GRADER = "pytest autograder/"
PROPERTY = "s30_verdict"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("course")
    group.addoption("--work", metavar="DIR", help="grade the notebooks in DIR instead of work/, or one .ipynb file")
    group.addoption("--assignment", metavar="NN", action="append", help="grade this assignment only (may be repeated)")
    group.addoption(
        "--seed", metavar="N", type=int, default=PUBLIC_SEED, help="grade at this seed too; needs solutions/"
    )
    group.addoption("--report", metavar="FILE.json", help="write the result as JSON")


def pytest_configure(config: pytest.Config) -> None:
    project = Project()
    work = Path(config.getoption("--work") or project.root / "work")
    if config.getoption("--work") and not work.exists():
        raise pytest.UsageError(f"--work {work}: there is no such folder or file.")
    try:
        chosen = [project.slug(name) for name in config.getoption("--assignment") or []]
    except UserError as problem:
        raise pytest.UsageError(str(problem)) from None
    if work.is_file() and not chosen:
        chosen = [slug for slug in project.slugs() if slug in work.stem or work.stem.startswith(slug[:2])]
        if len(chosen) != 1:
            raise pytest.UsageError(f"--work {work}: say which assignment it is with --assignment NN.")
    seed = config.getoption("--seed")
    if seed < 0:
        raise pytest.UsageError(f"--seed {seed}: a seed is a number from 0 up.")
    if seed != PUBLIC_SEED and not any(project.solution(slug).is_file() for slug in chosen or project.slugs()):
        raise pytest.UsageError(
            f"--seed {seed}: what is right at another seed is worked out from solutions/, which this copy lacks. "
            "Without --seed it grades at the public one."
        )
    report = config.getoption("--report")
    if report and not Path(report).resolve().parent.is_dir():
        raise pytest.UsageError(f"--report {report}: its folder does not exist.")
    config.stash[SESSION] = _Session(project, work, chosen, seed)
    if config.option.verbose == 0:
        config.option.verbose = 1  # a line per exercise
    config.option.no_header = True
    config.option.reportchars = ""  # the explanations and the progress table say it all


class _Session:
    """What a run grades, and the verdicts so far."""

    def __init__(self, project: Project, work: Path, chosen: list[str], seed: int) -> None:
        self.project = project
        self.work = work
        self.chosen = chosen
        self.seed = seed
        self.demanded: dict[str, set[str]] = {}
        self._graded: dict[str, dict[str, Verdict]] = {}

    def notebook(self, slug: str) -> Path | None:
        """The notebook of an assignment, if there is one."""
        if self.work.is_file():
            return self.work
        for path in (self.work / slug / f"{slug}.ipynb", self.work / f"{slug}.ipynb"):
            if path.exists():
                return path
        return None

    def verdict(self, assignment: Assignment, exercise: Exercise) -> Verdict:
        """The verdict on one exercise; the first call grades all of the assignment that the run asks for."""
        if assignment.slug not in self._graded:
            self._graded[assignment.slug] = {v.id: v for v in self._grade(assignment)}
        return self._graded[assignment.slug][exercise.id]

    def _grade(self, assignment: Assignment) -> list[Verdict]:
        path = self.notebook(assignment.slug)
        if path is None:
            return [_not_started(assignment, e, self) for e in assignment.exercises]
        try:
            return grade(path, assignment, seed=self.seed, exercises=self.demanded[assignment.slug])
        except NotebookError as problem:
            return unreadable(assignment, str(problem), self.demanded[assignment.slug])


SESSION = pytest.StashKey[_Session]()


def _not_started(assignment: Assignment, exercise: Exercise, session: _Session) -> Verdict:
    number_ = assignment.number
    folder = session.work / assignment.slug
    others = sorted(p.name for p in folder.glob("*.ipynb")) if folder.is_dir() else []
    sentence = f"{assignment.slug} is not started: s30 start {number_}"
    if others:
        sentence = f"{folder} holds {', '.join(others)}, but no {assignment.slug}.ipynb: rename it back."
    status = Status.MISSING if others else Status.NOT_ATTEMPTED
    return Verdict(exercise.id, exercise.track, status, 0.0, exercise.points, sentence)


# Collection: a grader file becomes one item per exercise -------------------------------------------------------------


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> GraderFile | None:
    if module_path.parent.name != "graders":
        return None
    slug = module_path.stem.removeprefix("test_")
    return GraderFile.from_parent(parent, path=module_path, nodeid=slug)


class GraderFile(pytest.File):
    """The grader of one assignment."""

    def collect(self) -> Iterator[ExerciseItem]:
        """One item per exercise, in the notebook's order."""
        session = self.config.stash[SESSION]
        slug = self.path.stem.removeprefix("test_")
        if (session.chosen and slug not in session.chosen) or slug not in session.project.slugs():
            return
        assignment = session.project.assignment(slug)
        for exercise in assignment.exercises:
            yield ExerciseItem.from_parent(self, name=exercise.name, assignment=assignment, exercise=exercise)


class ExerciseItem(pytest.Item):
    """One exercise."""

    def __init__(self, *, assignment: Assignment, exercise: Exercise, **rest: Any) -> None:
        super().__init__(**rest)
        self.assignment = assignment
        self.exercise = exercise
        self.add_marker(exercise.track)

    def runtest(self) -> None:
        """Grade, and fail or skip with the explanation."""
        try:
            verdict = self.config.stash[SESSION].verdict(self.assignment, self.exercise)
        except AnswerKeyError as problem:
            raise pytest.UsageError(str(problem)) from None
        self.user_properties.append((PROPERTY, {"slug": self.assignment.slug, **verdict.as_tree()}))
        if verdict.status.untouched:
            pytest.skip(verdict.headline if verdict.status == Status.BLOCKED else "")
        if verdict.status != Status.PASSED:
            raise Explained(verdict)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """The explanation; never a traceback of ours."""
        if isinstance(excinfo.value, Explained):
            return str(excinfo.value)
        if isinstance(excinfo.value, pytest.UsageError):
            return f"The grader can't work: {excinfo.value}"
        return (
            f"The grader failed on this exercise, which is its fault and not yours:\n{excinfo.getrepr(style='short')}"
        )

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where pytest says a failure is."""
        return self.path, None, self.exercise.id


class Explained(Exception):
    """A verdict short of full points."""

    def __init__(self, verdict: Verdict) -> None:
        points = f"{number(verdict.points)} of {number(verdict.max_points)} points ({LOOKS[verdict.status].word})"
        super().__init__("\n".join([*verdict.message.splitlines(), points]))


def pytest_collection_finish(session: pytest.Session) -> None:
    demanded = session.config.stash[SESSION].demanded
    for item in session.items:
        if isinstance(item, ExerciseItem):
            demanded.setdefault(item.assignment.slug, set()).add(item.exercise.name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, an assignment stays in one process: it is loaded once for all its exercises."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


# Reporting ----------------------------------------------------------------------------------------------------------


def _verdict_of(report: Any) -> dict[str, Any] | None:
    return dict(report.user_properties).get(PROPERTY) if hasattr(report, "user_properties") else None


def pytest_report_teststatus(report: Any, config: pytest.Config) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    verdict = _verdict_of(report)
    if verdict is None or report.when != "call":
        return None
    look = LOOKS[Status(verdict["status"])]
    text = f"{look.sign} {look.word} {number(verdict['points'])}/{number(verdict['max_points'])}"
    colour = {"passed": "green", "skipped": "yellow"}.get(report.outcome, "red")
    return report.outcome, look.sign, (text, {colour: True})


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    session = config.stash[SESSION]
    found = [
        v for reports in terminalreporter.stats.values() for r in reports if (v := _verdict_of(r)) and r.when == "call"
    ]
    graded: dict[str, list[Verdict]] = {}
    for item in sorted(found, key=lambda v: v["slug"]):
        graded.setdefault(item["slug"], []).append(Verdict.from_tree({k: v for k, v in item.items() if k != "slug"}))
    for slug, verdicts in graded.items():
        order = [e.id for e in session.project.assignment(slug).exercises]
        verdicts.sort(key=lambda v: order.index(v.id))
    if config.getoption("--report"):
        write_whole(Path(config.getoption("--report")), as_json(as_report(session.seed, graded, GRADER)))
    if not graded:
        return
    write = terminalreporter.write_line
    terminalreporter.section("progress")
    for slug, verdicts in graded.items():
        points, most = sum(v.points for v in verdicts), sum(v.max_points for v in verdicts)
        solved = sum(v.status == Status.PASSED for v in verdicts)
        bar = "█" * round(10 * points / most) if most else ""
        write(f"{slug:<44} {bar:░<10} {number(points):>5}/{number(most)} points   {solved}/{len(verdicts)} exercises")
    if all(session.notebook(slug) is None for slug in graded):
        first = next(iter(graded))
        write(f"\nNothing is started in {session.work}. Begin with:  s30 start {first.split('_')[0]}")
        return
    unsolved = [v for verdicts in graded.values() for v in verdicts if v.status != Status.PASSED]
    open_ones = [v for v in unsolved if v.status != Status.BLOCKED]
    started = [v for v in open_ones if any(v in graded[s] for s in graded if session.notebook(s))]
    if started:
        write(f"\nNext: {started[0].id}   ({title(started[0])})")
    elif open_ones:
        write(f"\nAll that is started is solved. Next:  s30 start {open_ones[0].id.split('/')[0]}")
    elif unsolved:
        write(f"\nAll that could be checked is solved; {unsolved[0].id} was not, see above.")
    elif len(found) < sum(len(session.project.assignment(slug).exercises) for slug in session.project.slugs()):
        write("\nAll that was checked is solved.")
    else:
        write("\nEverything is solved.")
