"""Measuring one grader: what it lets pass and what it refuses.

It runs in a process of its own, `python -m course.make.audit.measure ROOT SLUG SEEDS OUT`, with the reference loaded,
and forks another for every implementation that it tries, at so many seeds. What it found is written to OUT as JSON.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autograder.engine.assignment import Assignment
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import Code, read_notebook
from autograder.engine.inside.observe import PUBLIC_SEED
from autograder.engine.inside.records import Limits
from autograder.engine.judge.grade import grade
from autograder.engine.judge.mistakes import Mistake, read_mistakes
from autograder.engine.judge.verdict import Label, Status, Verdict
from autograder.engine.probes import only
from course.base.project import Project
from course.make.audit import NOT_APPLICABLE, OK, Measured
from course.make.audit.alternatives import Alternatives, read_alternatives
from course.make.audit.changes import layouts
from course.make.audit.cheats import cheats
from course.make.audit.mutants import Mutant, mutants
from course.make.audit.trials import SECOND_SEED, SEEDS, Bench, Outcome, Trial

BOTH = (PUBLIC_SEED, SECOND_SEED)


def measure(project: Project, slug: str, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Everything about one grader, as JSON: `exercises`, and `faults` that belong to none."""
    assignment = project.assignment(slug)
    names = [e.name for e in assignment.exercises]
    alternatives = read_alternatives(project.alternatives(slug), names)
    bench = Bench(assignment, seeds)
    found = {e.name: Measured(e.id) for e in assignment.exercises}
    lost = {name: set[int]() for name in names}  # seeds at which something changes its verdict

    def keep(name: str, what: str, seen: Outcome, right: bool) -> None:
        whole = [seed for seed in seeds if right or bench.complete(name, seed)]  # what fails may do so in any case
        wrong = [seed for seed in whole if bench.keeps(name, seen, seed) != right]
        lost[name].update(wrong)
        if wrong:
            verdict = "does not pass" if right else "passes"
            found[name].unsteady.append(f"{what} {verdict} at the seeds {', '.join(map(str, wrong))}")

    for name in names:
        keep(name, "the reference", bench.reference, True)
    _mistakes(bench, read_mistakes(project.mistakes(slug)), found, keep)
    _cheats(bench, found)
    faults = _mutants(bench, Code(read_notebook(project.source(slug))), alternatives, found)
    _alternatives(bench, alternatives, found, keep)
    text = project.oracle(slug).read_text(encoding="utf-8") if project.oracle(slug).is_file() else ""
    for name in names:
        found[name].seeds = len(seeds) - len(lost[name])
        found[name].unsteady.sort()
        found[name].oracle = bool(re.search(rf"\b{name}\b", text))
    faults += _ends(project, assignment)
    return {"exercises": [asdict(measured) for measured in found.values()], "faults": faults}


Keep = Callable[[str, str, Outcome, bool], None]


def _mistakes(bench: Bench, mistakes: list[Mistake], found: dict[str, Measured], keep: Keep) -> None:
    trials = {}
    for mistake in mistakes:
        which = mistake.exercise, mistake.name
        found[mistake.exercise].mistakes[mistake.name] = ""  # in the order of the file
        patience = bench.patience([mistake.exercise], bench.seeds)
        source = mistake.source(bench.definition(mistake.exercise).cell.source)
        others = bench.seeds[1:]  # at the public one all is looked at, for its hint
        trials[which] = Trial([mistake.exercise], bench.seeds, patience, {mistake.exercise: source}, stop=others)
    for (name, mistaken), trial, seen in bench.run(trials):
        verdict = bench.verdict(name, trial, seen)
        word = OK
        if verdict.status == Status.PASSED:
            word = "passes"
        elif verdict.mistake != mistaken:
            shown = f"the hint of `{verdict.mistake}`" if verdict.mistake else f"no hint ({verdict.status.value})"
            word = f"shows {shown}"
            if not verdict.mistake and verdict.status == Status.FAILED:
                # a key is recorded under other kernels than these
                word += "; is what it yields rounding noise, which no other processor repeats?"
        found[name].mistakes[mistaken] = word
        keep(name, f"the mistake `{mistaken}`", seen, False)


def _cheats(bench: Bench, found: dict[str, Measured]) -> None:
    trials = {}
    for exercise in bench.assignment.exercises:
        probes = only(bench.probes, [exercise.name])
        for cheat, change in cheats(exercise.name, exercise.track, probes, bench.loaded):
            found[exercise.name].cheats[cheat] = NOT_APPLICABLE
            if change:
                # what is learnt at the public seed is right there; anything else must be wrong there already
                seeds = BOTH if cheat in ("constant", "read from the grader") else (PUBLIC_SEED,)
                patience = bench.patience([exercise.name], seeds) + 12 * Limits().seconds
                trials[exercise.name, cheat] = Trial([exercise.name], seeds, patience, change=change)
    for (name, cheat), trial, seen in bench.run(trials):
        if seen.used or _differs(bench, seen):
            verdict = bench.verdict(name, trial, seen, trial.seeds[-1])
            found[name].cheats[cheat] = OK if verdict.points == 0 else f"earns {verdict.points:g} points"


def _differs(bench: Bench, seen: Outcome) -> bool:
    """Whether anything that was observed is not what the reference yields."""
    right = bench.reference.records
    return bool(seen.ended) or any(
        (r.seen, r.raised, r.touched) != (right[place].seen, right[place].raised, right[place].touched)
        for place, r in seen.records.items()
    )


def _mutants(bench: Bench, master: Code, alternatives: Alternatives, found: dict[str, Measured]) -> list[str]:
    """Count the mutants that die. Returns what is wrong with the record of those that need not."""
    made = {e.name: _made(bench, e.name, master) for e in bench.assignment.exercises}
    alive = {(name, mutant) for name, listed in made.items() for mutant in listed}
    for seed in BOTH:  # most die at the first
        trials = {}
        for name, mutant in alive:
            source = {name: _in_its_cell(bench, name, mutant.source)}
            trials[name, mutant] = Trial([name], (seed,), bench.patience([name], [seed]), source, stop=(seed,))
        alive = {which for which, _, seen in bench.run(trials) if bench.keeps(which[0], seen, seed)}
    faults = []
    for name, listed in made.items():
        recorded = alternatives.equivalent.get(name, {})
        passing = [mutant for mutant in listed if (name, mutant) in alive]
        found[name].killed = len(listed) - len(passing)
        found[name].equivalent = sum(mutant.new in recorded for mutant in passing)
        found[name].survivors = [
            {"line": mutant.line, "old": mutant.old, "new": mutant.new}
            for mutant in passing
            if mutant.new not in recorded
        ]
        for text in recorded.keys() - {mutant.new for mutant in passing}:
            why = "fails" if text in {mutant.new for mutant in listed} else "is no mutant any more"
            faults.append(f"{found[name].id}: EQUIVALENT has {text!r}, which {why}")
    return sorted(faults)


def _made(bench: Bench, name: str, master: Code) -> list[Mutant]:
    """The mutants of what the learner writes of an exercise; the lines that the stub gives are left alone."""
    before, definition, _ = _around(bench, name)
    start = before.count("\n")
    found = [replace(mutant, line=start + mutant.line) for mutant in mutants(definition)]
    marked = master.definition(name)
    written = _written(marked.cell.source.splitlines()) if marked else None
    return [mutant for mutant in found if not written or mutant.line in written]


def _written(lines: list[str]) -> set[int]:
    """The numbers of the lines between nbgrader's marks, if there are any, as they are once the marks are removed."""
    found, number, inside = set(), 0, False
    for line in lines:
        if "### BEGIN SOLUTION" in line or "### END SOLUTION" in line:
            inside = "BEGIN" in line
            continue
        number += 1
        if inside:
            found.add(number)
    return found


def _around(bench: Bench, name: str) -> tuple[str, str, str]:
    """The cell of an exercise: before its definition, the definition, and after it."""
    statement = bench.definition(name)
    node = statement.node
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)]) - 1
    lines = statement.cell.source.splitlines(keepends=True)
    return "".join(lines[:first]), "".join(lines[first : node.end_lineno]), "".join(lines[node.end_lineno :])


def _in_its_cell(bench: Bench, name: str, definition: str) -> str:
    before, _, after = _around(bench, name)
    return before + definition + after


def _alternatives(bench: Bench, alternatives: Alternatives, found: dict[str, Measured], keep: Keep) -> None:
    trials = {}
    for what, sources in alternatives.sets.items():
        trials[what, *sources] = Trial(list(sources), bench.seeds, bench.patience(sources, bench.seeds), sources)
        for name in sources:
            found[name].alternatives[what] = ""
    for exercise in bench.assignment.exercises:
        if not found[exercise.name].alternatives:
            found[exercise.name].alternatives["by hand"] = "there is none"
        for what, change in layouts(exercise.name, exercise.track):
            found[exercise.name].alternatives[what] = NOT_APPLICABLE
            changes = any(r.touched for r in bench.reference.records.values() if r.exercise == exercise.name)
            if not changes:  # what the exercise changes in place it must be given as it is
                patience = bench.patience([exercise.name], BOTH)
                trials[what, exercise.name] = Trial([exercise.name], BOTH, patience, change=change)
    for (what, *names), trial, seen in bench.run(trials):
        for name in names if trial.sources or seen.used or seen.ended else ():
            verdict = bench.verdict(name, trial, seen, SECOND_SEED)
            found[name].alternatives[what] = OK if verdict.status == Status.PASSED else _told(verdict)
            if trial.sources:
                keep(name, f"the alternative `{what}`", seen, True)


def _told(verdict: Verdict) -> str:
    """The headline of an explanation, and what was compared."""
    kinds = (Label.COMPARED, Label.WHY, Label.WHERE)
    return " ".join([verdict.headline, *(f"{r.label}: {r.text}" for r in verdict.reasons if r.label in kinds)])


def _ends(project: Project, assignment: Assignment) -> Iterator[str]:
    """What is wrong with the verdicts on the blank stub and on the solution."""
    slug = assignment.slug
    for verdict in grade(project.release(slug), assignment):
        if verdict.status != Status.NOT_ATTEMPTED:
            yield f"{verdict.id}: the stub is {verdict.status.value} and earns {verdict.points:g} points"
    for verdict in grade(project.solution(slug), assignment, seed=SECOND_SEED):
        if verdict.points != verdict.max_points:
            yield f"{verdict.id}: the solution earns {verdict.points:g} of {verdict.max_points:g} points"


def main() -> None:
    """Measure the grader of one assignment; what can't be measured is one sentence and a non-zero exit."""
    root, slug, seeds, out = sys.argv[1:]
    project = Project(Path(root))
    try:
        if any(exercise.track == "torch" for exercise in project.assignment(slug).exercises):
            import torch

            torch.set_num_threads(1)
        found = measure(project, slug, SEEDS[: int(seeds)])
    except UserError as problem:
        sys.exit(str(problem))
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
