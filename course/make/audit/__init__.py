"""Grading the graders: what each lets pass that it should not, and what it refuses that it should let pass.

:mod:`course.make.audit.measure` finds out; here its findings are kept beside the grader, with a fingerprint of what
they depend on, and shown.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from autograder.engine.border.runner import child_environment
from autograder.engine.inside.errors import UserError
from course.base.files import as_json, write_whole
from course.base.fingerprints import DEPENDS_ON, fingerprint
from course.base.project import Project

OK = "ok"
NOT_APPLICABLE = "n/a"


@dataclass
class Measured:
    """What was found about one exercise. A word is `ok`, `n/a`, or says what is wrong.

    Attributes:
        id: `03/lstm_cell_forward`.
        mistakes: name → whether it fails with its own hint.
        cheats: name → whether it earns nothing.
        killed: how many mutants fail.
        equivalent: how many pass and are recorded as right.
        survivors: the others: line in the cell, old text, new text.
        alternatives: name → whether it passes.
        seeds: at how many of twenty the reference, the alternatives and the mistakes all keep their verdict.
        unsteady: those that don't, in sentences.
        oracle: whether the file of oracles names it.
    """

    id: str
    mistakes: dict[str, str] = field(default_factory=dict)
    cheats: dict[str, str] = field(default_factory=dict)
    killed: int = 0
    equivalent: int = 0
    survivors: list[dict[str, Any]] = field(default_factory=list)
    alternatives: dict[str, str] = field(default_factory=dict)
    seeds: int = 0
    unsteady: list[str] = field(default_factory=list)
    oracle: bool = False

    @property
    def made(self) -> int:
        """How many mutants should die."""
        return self.killed + len(self.survivors)


@dataclass(frozen=True)
class Audit:
    """What was found about the grader of one assignment.

    Attributes:
        slug: the assignment.
        fingerprint: of what it depends on.
        exercises: in the notebook's order.
        faults: what is wrong, in sentences.
        again: at how many of the seeds it was measured again, if only the engine has changed since all of them.
    """

    slug: str
    fingerprint: dict[str, str]
    exercises: list[Measured]
    faults: list[str]
    again: int = 0


def read(project: Project, slug: str) -> Audit | None:
    """The audit that is kept of an assignment, if there is one that can be read."""
    try:
        kept = json.loads(project.audit(slug).read_text(encoding="utf-8"))
        exercises = [Measured(**e) for e in kept["exercises"]]
        return Audit(slug, kept["fingerprint"], exercises, kept["faults"], kept.get("again", 0))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_current(project: Project, slug: str) -> bool:
    """Whether the audit that is kept is of the master, grader, mistakes, … as they are now."""
    kept = read(project, slug)
    return kept is not None and kept.fingerprint == fingerprint(project, slug, "audit")


def audit(project: Project, slug: str, before: Audit | None = None) -> Audit:
    """Measure the grader of one assignment, and keep what was found.

    Args:
        project: where it lies.
        slug: the assignment.
        before: what was found last. If that was without fault, and nothing but the engine has changed since, a few
            seeds tell whether the engine still judges alike.
    """
    from course.make import build
    from course.make.audit.trials import AGAIN, SEEDS

    if not hasattr(os, "fork"):
        raise UserError("The audit forks a process for everything that it tries, which this system can't.")
    if importlib.util.find_spec("cosmic_ray") is None:
        raise UserError('The audit makes mutants with cosmic-ray: pip install -c constraints.txt -e ".[dev]"')
    if not project.source(slug).is_file():
        raise UserError(f"{project.source(slug)} does not exist; without the master its grader can't be audited.")
    if not build.is_current(project, slug):
        raise UserError(f"{slug} has changed since it was compiled: run `s30 build {slug.split('_')[0]}` first.")
    made_from = fingerprint(project, slug, "audit")
    own = DEPENDS_ON["audit"][0]
    same = before is not None and all(before.fingerprint.get(name) == made_from[name] for name in own)
    again = AGAIN if before and same and not before.faults else 0
    found = _measure(project, slug, again or len(SEEDS))
    exercises = [Measured(**e) for e in found["exercises"]]
    if before and again:
        known = {e.id: e.seeds for e in before.exercises}
        exercises = [replace(e, seeds=e.seeds if e.unsteady else known[e.id]) for e in exercises]
    result = Audit(slug, made_from, exercises, [*_faults(project, slug, exercises), *found["faults"]], again)
    write_whole(project.audit(slug), as_json(asdict(result)))
    return result


def _measure(project: Project, slug: str, seeds: int) -> dict[str, Any]:
    """Run course.make.audit.measure in a process of its own, on one core per trial."""
    environment = child_environment(CUDA_VISIBLE_DEVICES="")  # CUDA's threads don't survive a fork
    with tempfile.TemporaryDirectory(prefix="s30-audit-") as folder:
        out = Path(folder) / "measured.json"
        arguments = [str(project.root.resolve()), slug, str(seeds), str(out)]
        command = [sys.executable, "-P", "-m", "course.make.audit.measure", *arguments]
        ran = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if ran.returncode:
            raise UserError(f"{slug} can't be audited: {ran.stderr.decode(errors='replace').strip()}")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found


def _faults(project: Project, slug: str, exercises: Sequence[Measured]) -> Iterator[str]:
    """What is wrong with the exercises, in sentences."""
    for e in exercises:
        for kind in ("mistake", "cheat", "alternative"):
            for name, word in getattr(e, f"{kind}s").items():
                if word not in (OK, NOT_APPLICABLE):
                    yield f"{e.id}: the {kind} `{name}`: {word}"
        yield from (f"{e.id}: {sentence}" for sentence in e.unsteady)
        if not e.oracle:
            yield f"{e.id}: {project.oracle(slug).relative_to(project.root).as_posix()} does not name it"
        if e.survivors:
            yield f"{e.id}: {_number(len(e.survivors), 'mutant')} of {e.made} survive, and EQUIVALENT gives no reason"


# Showing ------------------------------------------------------------------------------------------------------------


def run(project: Project, slugs: Sequence[str] | None, console: Console, report: Path | None = None) -> bool:
    """Audit the assignments that are named, or all that changed; show what is known of them, or of all.

    Returns:
        Whether all is well.
    """
    if report and not report.resolve().parent.is_dir():
        raise UserError(f"--report {report}: its folder does not exist.")
    chosen = slugs or [slug for slug in project.slugs() if project.source(slug).is_file()]
    if not chosen:
        raise UserError(f"{project.root / 'source'} holds no masters.")
    audits = []
    for slug in chosen:
        kept = None if slugs else read(project, slug)
        audits.append(kept if kept and is_current(project, slug) else audit(project, slug, kept))
    shown = table(audits)
    needed = Measurement.get(console, console.options.update(width=200), shown).maximum
    console.width = max(console.width, needed)  # a narrower terminal wraps the lines; rich would cut the numbers
    console.print(shown)
    for line in details(audits):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    well = not any(a.faults for a in audits)
    if report:
        tree = {"ok": well, "summary": summary(audits), "assignments": [asdict(a) for a in audits]}
        write_whole(report, as_json(tree))
    return well


def table(audits: Iterable[Audit]) -> Table:
    """A row per exercise."""
    shown = Table()
    for column in ("exercise", "mistakes", "cheats", "mutants", "equivalent", "alternatives", "seeds", "oracle"):
        shown.add_column(column, justify="left" if column == "exercise" else "right", no_wrap=True)
    for again, e in ((a.again, e) for a in audits for e in a.exercises):
        shown.add_row(
            e.id,
            _count(e.mistakes),
            _count(e.cheats),
            f"{e.killed}/{e.made}",
            str(e.equivalent),
            _count(e.alternatives),
            f"{e.seeds}, {again} again" if again else str(e.seeds),
            "yes" if e.oracle else "no",
        )
    return shown


def details(audits: Sequence[Audit]) -> Iterator[str]:
    """The mutants that survive, what is wrong, and all of it in a sentence."""
    for e in (e for a in audits for e in a.exercises):
        for s in e.survivors:
            yield f"{e.id}, line {s['line']} of its cell: this mutant survives"
            yield from (f"  - {line}" for line in s["old"].splitlines())
            yield from (f"  + {line}" for line in s["new"].splitlines())
    yield from (sentence for a in audits for sentence in a.faults)
    yield summary(audits)


def summary(audits: Iterable[Audit]) -> str:
    """`audit: 12 exercises, 41/41 mistakes, …: ok`."""
    listed = list(audits)
    exercises = [e for a in listed for e in a.exercises]
    mistakes, cheats, alternatives = (
        _count(*(getattr(e, kind) for e in exercises)) for kind in ("mistakes", "cheats", "alternatives")
    )
    killed, made = sum(e.killed for e in exercises), sum(e.made for e in exercises)
    rate = f" ({100 * killed / made:.1f} %)" if made else ""
    faults = sum(len(a.faults) for a in listed)
    return (
        f"audit: {_number(len(exercises), 'exercise')}, {mistakes} mistakes, {cheats} cheats, "
        f"{killed}/{made} mutants{rate}, {alternatives} alternatives: {_number(faults, 'fault') if faults else 'ok'}"
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _count(*found: dict[str, str]) -> str:
    """`3/4`: how many are as they should be, of those that apply."""
    words = [word for words in found for word in words.values() if word != NOT_APPLICABLE]
    return f"{words.count(OK)}/{len(words)}"
