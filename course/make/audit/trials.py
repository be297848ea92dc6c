"""Trying other implementations in place of the reference's: each in a forked process, then judged like a submission."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial

from autograder.engine.assignment import Assignment
from autograder.engine.border.rounds import Ending, Observations
from autograder.engine.inside.isolate import limit_memory
from autograder.engine.inside.load import cell_file
from autograder.engine.inside.notebook import Cell, Code, Statement, read_notebook
from autograder.engine.inside.observe import PUBLIC_SEED, load_grader, observe
from autograder.engine.inside.records import CaseId, Limits, Record
from autograder.engine.judge.grade import static_verdicts, verdicts
from autograder.engine.judge.keys import AnswerKeyError, ExpectedCase, expect, load_reference
from autograder.engine.judge.verdict import Verdict
from autograder.engine.probes import Case, Probe, probes_of
from course.make.audit.changes import Change
from course.make.processes import Label, in_processes

SECOND_SEED = 101
SEEDS = (PUBLIC_SEED, *range(SECOND_SEED, SECOND_SEED + 19))
LATE = frozenset(SEEDS[3:])  # at these, cases that take the reference longer than SLOW seconds are left out
SLOW = 0.25
AGAIN = 3  # at so many of the seeds a grader is measured again when nothing of its own has changed


@dataclass(frozen=True)
class Trial:
    """An implementation to try.

    Attributes:
        exercises: those whose probes run.
        seeds: at which they run.
        seconds: of wall time that all of it may take.
        sources: exercise → text that stands in place of its cell.
        change: what is done to the names of the notebook besides.
        stop: those of the seeds at which the first wrong case is the last, for whether it fails is all that is asked.
    """

    exercises: Collection[str]
    seeds: tuple[int, ...]
    seconds: float
    sources: Mapping[str, str] = field(default_factory=dict)
    change: Change | None = None
    stop: Collection[int] = ()


@dataclass
class Outcome:
    """What a trial yielded.

    Attributes:
        records: (exercise, probe, case), seed → record.
        spoiled: exercise → why it could not be defined.
        ended: how it ended, if it did not come to its end.
        used: whether its change had anything to do.
        seconds: (exercise, probe, case) → what it took last.
    """

    records: dict[tuple[CaseId, int], Record] = field(default_factory=dict)
    spoiled: dict[str, str] = field(default_factory=dict)
    ended: Ending | None = None
    used: bool = False
    seconds: dict[CaseId, float] = field(default_factory=dict)


class Bench:
    """An assignment with its reference loaded, in which implementations are tried one by one."""

    def __init__(self, assignment: Assignment, seeds: tuple[int, ...] = SEEDS) -> None:
        self.assignment, self.seeds = assignment, seeds
        self.loaded = load_reference(assignment)
        assert assignment.reference is not None
        self.cells = read_notebook(assignment.reference)
        self.code = Code(self.cells)
        self.probes = probes_of(load_grader(assignment.grader))
        self.expected, self.definition = cache(self._expected), cache(self._definition)
        self.slow: set[CaseId] = set()
        timed = self._reference((PUBLIC_SEED,) * 2).seconds  # of the second pass, when all is imported
        self.slow = {case for case, seconds in timed.items() if seconds > SLOW}
        self.reference = self._reference(seeds)

    def _reference(self, seeds: tuple[int, ...]) -> Outcome:
        """What the reference itself yields."""
        [(_, _, seen)] = self.run({"reference": Trial([e.name for e in self.assignment.exercises], seeds, 600)})
        if seen.ended:
            raise AnswerKeyError(f"The reference of {self.assignment.slug} was stopped: {seen.ended.sentence}")
        return seen

    def _expected(self, seed: int) -> dict[CaseId, ExpectedCase]:
        return expect(self.assignment, [e.name for e in self.assignment.exercises], seed)

    def _definition(self, name: str) -> Statement:
        """Where the reference defines an exercise."""
        found = self.code.definition(name)
        assert found is not None
        return found

    def run(self, trials: Mapping[Label, Trial]) -> Iterator[tuple[Label, Trial, Outcome]]:
        """Run trials in processes of their own, as many at a time as there are cores; each is given as it ends."""
        work = {label: partial(self._observe, trial) for label, trial in trials.items()}
        for label, seen in in_processes(work, {label: trial.seconds for label, trial in trials.items()}):
            yield label, trials[label], Outcome(ended=seen) if isinstance(seen, Ending) else seen

    def _observe(self, trial: Trial) -> Outcome:
        """In the forked process: define, run the probes."""
        limit_memory(Limits().memory_mb)
        seen = Outcome()
        with contextlib.suppress(_Stop):
            self._define(trial, seen)
            if trial.change:
                trial.change.install(self.loaded.namespace)
            for name in trial.exercises:
                for seed in trial.seeds:
                    self._run_probes(trial, name, seed, seen)
        seen.used = bool(trial.change and trial.change.used)
        return seen

    def _define(self, trial: Trial, seen: Outcome) -> None:
        for name, source in trial.sources.items():
            try:
                with warnings.catch_warnings(action="ignore"):
                    code = compile(source, cell_file(self.definition(name).cell.number), "exec", dont_inherit=True)
                    exec(code, self.loaded.namespace)
            except BaseException as problem:
                seen.spoiled[name] = f"{type(problem).__name__}: {problem}"
                raise _Stop from None

    def _run_probes(self, trial: Trial, name: str, seed: int, seen: Outcome) -> None:
        since = 0.0

        def begin(probe: Probe, case: Case) -> None:
            nonlocal since
            if trial.change:
                trial.change.begin(probe.name, case.index)
            since = time.monotonic()

        probes = self._fast if seed in LATE else self.probes
        forbids = {name: self.assignment.exercise(name).forbids}
        for one in observe(probes, [name], seed, self.loaded, forbids=forbids, before=begin):
            seen.records[one.record.id, seed] = one.record
            seen.seconds[one.record.id] = time.monotonic() - since
            if seed in trial.stop and self._fails(name, one.record):
                break

    def _fails(self, name: str, record: Record) -> bool:
        """Whether a single case fails, where all others of its seed yield what the reference does."""
        where = record.id, record.seed
        right = self.reference.records.get(where)
        if right is None or (record.seen, record.raised, record.touched) == (right.seen, right.raised, right.touched):
            return False
        records = {place: r for place, r in self.reference.records.items() if place[1] == record.seed}
        return not self.keeps(name, Outcome(records | {where: record}), record.seed)

    @property
    def _fast(self) -> list[Probe]:
        """The probes without their slow cases."""
        return [
            replace(p, cases=tuple(c for c in p.cases if (p.exercise, p.name, c.index) not in self.slow))
            for p in self.probes
        ]

    def verdict(self, name: str, trial: Trial, seen: Outcome, seed: int = PUBLIC_SEED) -> Verdict:
        """The verdict on one exercise by itself, at the public seed and at `seed`."""
        if not trial.sources:
            return self._verdict(name, _nothing(name), seen, seed)
        changed = {self.definition(n).cell.number: source for n, source in trial.sources.items()}
        cells = [replace(cell, source=changed.get(cell.number, cell.source)) for cell in self.cells]
        return self._verdict(name, Code(cells), seen, seed)

    def patience(self, names: Collection[str], seeds: Collection[int]) -> float:
        """Seconds after which a trial is given up: ten times what the reference takes, and ten."""
        once = sum(seconds for (name, *_), seconds in self.reference.seconds.items() if name in names)
        return 10 + 10 * len(seeds) * once

    def complete(self, name: str, seed: int) -> bool:
        """Whether all cases of an exercise run at `seed`."""
        return seed not in LATE or name not in {exercise for exercise, *_ in self.slow}

    def keeps(self, name: str, seen: Outcome, seed: int) -> bool:
        """Whether an exercise is right at `seed`, whatever it is at the public one."""
        there = {k: r for k, r in seen.records.items() if k[1] == seed}
        if seed != PUBLIC_SEED:
            public = {k: r for k, r in self.reference.records.items() if k[0][0] == name and k[1] == PUBLIC_SEED}
            there |= public
        return self._verdict(name, _nothing(name), replace(seen, records=there), seed).status == "passed"

    def _verdict(self, name: str, code: Code, seen: Outcome, seed: int) -> Verdict:
        exercise = replace(self.assignment.exercise(name), needs=())  # what it needs is the reference's
        observations = Observations(seen.records, {name: seen.ended} if seen.ended else {}, seen.spoiled)
        others = self.expected(seed) if seed != PUBLIC_SEED else {}
        if seed in LATE:
            others = {case: expected for case, expected in others.items() if case not in self.slow}
        alone = replace(self.assignment, exercises=(exercise,))
        [verdict] = verdicts(alone, static_verdicts(alone, code, [name]), code, observations, seed, others)
        return verdict


def _nothing(name: str) -> Code:
    """A text that breaks no rule, where only what was observed is to be judged."""
    return Code([Cell(1, "code", f"{name} = ...")])


class _Stop(Exception):
    """Nothing more needs to be seen."""
