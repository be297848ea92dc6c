"""`check("name")` in a notebook: the same probes, comparison and words as the grader, on the names of the kernel."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from autograder.engine.assignment import Assignment, Exercise, with_needs
from autograder.engine.border.rounds import Observations, Round, too_long
from autograder.engine.border.runner import slowness
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.isolate import address_space
from autograder.engine.inside.load import Loaded
from autograder.engine.inside.notebook import (
    Cell,
    Code,
    NotebookError,
    keep_last,
    read_notebook,
    runs_in_grading,
    set_elsewhere,
)
from autograder.engine.inside.observe import PUBLIC_SEED, load_grader, observe
from autograder.engine.inside.records import Begun, Event, Limits, Waiting
from autograder.engine.judge.grade import static_verdicts, verdicts
from autograder.engine.judge.verdict import Status, Verdict
from autograder.engine.judge.words.report import as_html, as_text, number
from autograder.engine.probes import Case, Probe, probes_of


class CheckFailed(Exception):
    """An explanation raised in place of a traceback, for nbgrader's Validate and for a misspelt exercise."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class TimeUp(KeyboardInterrupt):
    """Raised in code under test whose time is up; who catches every Exception does not catch it."""


class Points(float):
    """Points that show their explanation: as HTML in a notebook, and as the plain number that nbgrader reads."""

    _html: str

    def __new__(cls, points: float, html: str) -> Points:
        """Points with the explanation to show."""
        self = super().__new__(cls, points)
        self._html = html
        return self

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return repr(float(self))


class Checker:
    """The check of one assignment.

    Args:
        assignment: what is checked.
        namespace: the names to check; by default those of the running notebook, or of the calling module.
        limits: of the time of one case, and of memory, where the system can keep them.
    """

    def __init__(
        self, assignment: Assignment, namespace: Mapping[str, Any] | None = None, limits: Limits | None = None
    ) -> None:
        self.assignment = assignment
        self._namespace = namespace
        self._limits = limits or Limits()

    def __call__(self, name: str) -> Points:
        """Check one exercise, show what is right or wrong and why, and return its points.

        Under nbgrader's validation anything short of full points raises the explanation.
        """
        try:
            exercise = self.assignment.exercise(name)
        except KeyError as problem:
            raise CheckFailed(problem.args[0]) from None
        shell = _shell()
        namespace = self._namespace or (shell.user_ns if shell else sys._getframe(1).f_globals)
        try:
            verdict, notes = self.verdict(exercise, namespace)
        except UserError as problem:
            raise CheckFailed(str(problem)) from None
        if os.environ.get("NBGRADER_EXECUTION") == "validate" and verdict.points < verdict.max_points:
            raise CheckFailed(as_text(verdict, notes))
        if not hasattr(shell, "kernel"):
            print(as_text(verdict, notes))
        return Points(verdict.points, as_html(verdict, notes))

    def verdict(self, exercise: Exercise, namespace: Mapping[str, Any]) -> tuple[Verdict, list[str]]:
        """The verdict on the names of `namespace`, and what else is worth knowing."""
        code = _code(namespace, [e.name for e in self.assignment.exercises])
        names = with_needs(self.assignment.exercises, {exercise.name})
        static = static_verdicts(self.assignment, code, names)
        seen = self._observe(namespace, [name for name, verdict in static.items() if verdict is None])
        found = {v.name: v for v in verdicts(self.assignment, static, code, seen, PUBLIC_SEED, {})}
        verdict = found[exercise.name]
        if verdict.status == Status.MISSING and (file := _file()) and file.definition(exercise.name, exercise.stub):
            headline = f"The cell of `{exercise.name}` has not been run: run it (Shift+Enter), then this check."
            verdict = dataclasses.replace(verdict, headline=headline, reasons=())
        return verdict, list(self._notes(exercise, code, verdict))

    def _observe(self, namespace: Mapping[str, Any], names: Collection[str]) -> Observations:
        seen = Observations(torch=importlib.util.find_spec("torch") is not None)
        loaded = Loaded(dict(namespace) if not isinstance(namespace, dict) else namespace)
        chosen = [e for e in self.assignment.exercises if e.name in names and (seen.torch or not e.torch)]
        probes = probes_of(load_grader(self.assignment.grader))
        forbids = {e.name: e.forbids for e in chosen}
        track = Round([e.name for e in chosen], PUBLIC_SEED, self.assignment.needing, seen)
        while track.remaining:
            last: Event | None = None
            try:
                with _memory(self._limits.memory_mb), _clock(self._limits.seconds) as wind_up:

                    def begin(probe: Probe, case: Case) -> None:
                        nonlocal last
                        last = Begun(probe.exercise, probe.name, case.index)
                        track.take(last)
                        wind_up()

                    for one in observe(
                        probes, list(track.remaining), PUBLIC_SEED, loaded, forbids=forbids, before=begin
                    ):
                        track.take(one.record)
                track.take(Waiting())
            except TimeUp:
                track.stopped(last, too_long(self._limits.seconds), late=False)
        return seen

    def _notes(self, exercise: Exercise, code: Code, verdict: Verdict) -> Iterable[str]:
        """Where the saved file would be judged otherwise than this kernel."""
        if verdict.status in (Status.NOT_ATTEMPTED, Status.MISSING):
            return
        for name, cell in set_elsewhere(code, exercise.name, [e.name for e in self.assignment.exercises]).items():
            if not hasattr(builtins, name):
                yield (
                    f"`{name}` is set by a cell that is not run in grading (In [{cell}]): move it into the function, "
                    "or make it an argument. As it is, grading fails."
                )
        for name in _from_own_files(code, exercise.name):
            yield (
                f"`{name}` comes from a file beside this notebook, which grading does not have: put it into a cell. As "
                "it is, grading fails."
            )
        file = _file()
        for name, cell in _set_again(file, exercise.name, self.assignment).items():
            yield (
                f"`{name}` is set again further down (cell {cell}), and grading sees what it is at the end of the "
                "notebook: give one of the two another name."
            )
        mine = code.definition(exercise.name)
        if verdict.status == Status.PASSED and mine:
            theirs = file.definition(exercise.name, exercise.stub) if file else None
            if theirs and theirs.fingerprint != mine.fingerprint:
                yield f"the file still holds another version of `{exercise.name}`: save the notebook (Ctrl+S)."

    def __repr__(self) -> str:
        total = number(self.assignment.max_points)
        names = ", ".join(e.name for e in self.assignment.exercises)
        return f'check("exercise") for {self.assignment.slug}, {total} points: {names}'


@contextlib.contextmanager
def _clock(seconds: float) -> Iterator[Callable[[], None]]:
    """Yields what winds it up: after so many seconds it raises TimeUp, and again until somebody lets it pass.

    A machine that is busy with other work is given more of them. What is being imported is imported to its end: half of
    a module would stay in the kernel, and fail whoever uses it later.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def ring(_: int, frame: FrameType | None) -> None:
        while frame:
            if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
                return  # it rings again
            frame = frame.f_back
        raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, seconds * slowness(), 1.0) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _memory(megabytes: int) -> Iterator[None]:
    """Within the block this process can't take more than so much beyond what it has, where its size can be known."""
    used = address_space()
    if not used:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = [limit for limit in (used + megabytes * 2**20, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(most), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _shell() -> Any:
    """The running IPython shell, if there is one."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def _code(namespace: Mapping[str, Any], exercises: list[str]) -> Code:
    """The source of what was run: the kernel's history, or the file of a script."""
    history = namespace.get("In")
    file = namespace.get("__file__")
    if isinstance(history, list):
        cells = [Cell(number, "code", source) for number, source in enumerate(history) if source]
    elif file and Path(file).is_file():
        cells = [Cell(1, "code", Path(file).read_text(encoding="utf-8"))]
    else:  # no source to be had: the names alone
        cells = [Cell(1, "code", "\n".join(f"{n} = ..." for n in exercises if n in namespace))]
    return keep_last(Code(cells))


def _saved_notebook() -> Path | None:
    """The file of the running notebook, as Jupyter tells its kernel."""
    name = os.environ.get("JPY_SESSION_NAME", "")
    path = Path(name)
    return path if name.endswith(".ipynb") and path.is_file() else None


def _file() -> Code | None:
    """The code of the file of the running notebook, if there is one that can be read."""
    saved = _saved_notebook()
    try:
        return Code(read_notebook(saved)) if saved else None
    except NotebookError:
        return None


def _from_own_files(code: Code, name: str) -> list[str]:
    """The names that an exercise uses and that were imported from files in the folder where the kernel runs."""
    used = code.used_by(name)
    imported = {dotted for user in (name, *used) for s in code.definitions(user) for dotted in s.mentioned}
    found = []
    for alias in sorted(used | {alias for alias, dotted in code.aliases().items() if dotted in imported}):
        module = sys.modules.get(code.aliases().get(alias, "").split(".")[0])
        folder = Path(getattr(module, "__file__", None) or "/").resolve().parent
        if Path.cwd() in (folder, *folder.parents) and not {"site-packages", "course", "autograder"} & set(
            folder.parts
        ):
            found.append(alias)
    return found


def _set_again(code: Code | None, name: str, assignment: Assignment) -> dict[str, int]:
    """Globals that `name` uses and that a file sets to something else below it, in grading too: name → cell."""
    mine = code.definition(name, assignment.exercise(name).stub) if code else None
    if code is None or mine is None:
        return {}
    stubs = {e.name for e in assignment.exercises}
    graded = {s.cell.number for s in code.statements if s.names & stubs}
    found: dict[str, int] = {}
    for used in sorted(code.used_by(name) - stubs):
        kept = [s for s in code.definitions(used) if runs_in_grading(s, graded, code.aliases())]
        above = [s.fingerprint for s in kept if s.place < mine.place]
        if kept and kept[-1].place > mine.place:
            differs = kept[-1].fingerprint != above[-1] if above else hasattr(builtins, used)
            found |= {used: kept[-1].cell.number} if differs else {}
    return found
