"""How a class stands in an assignment, in numbers: from what was recorded, without grading anything again.

Statuses, known mistakes and who is blocked where come from the verdicts in autograded/; points, from the gradebook, so
that what a human gave counts. Shares of an exercise's points are between 0 and 1, unless extra credit adds to them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import StatisticsError, correlation, fmean, quantiles, stdev
from typing import Any

from nbgrader.api import MissingEntry

from autograder.engine.assignment import Assignment, with_needs
from autograder.engine.inside.errors import UserError
from autograder.engine.judge.mistakes import read_mistakes
from autograder.engine.judge.verdict import Status, Verdict
from autograder.engine.judge.words.explain import printable
from course.base.project import Project
from course.teach.folder import ClassFolder
from course.teach.reading import UNGRADED, VERDICTS, read_recorded
from course.teach.scores import Part, Scores, read_scores
from course.teach.submissions import received, submitted

FEWEST = 3  # graded submissions that a correlation takes
STOPPED = (Status.TIMEOUT, Status.MEMORY, Status.CRASHED)
_TOLD_ELSEWHERE = (Status.PASSED, Status.NOT_ATTEMPTED, Status.BLOCKED)


@dataclass(frozen=True)
class Recorded:
    """What a notebook says that was recorded: its verdicts, or why there are none ("" if it does not say)."""

    verdicts: tuple[Verdict, ...] = ()
    reason: str = ""


def recorded_in(path: Path) -> Recorded:
    """What a notebook in autograded/ says; nothing of one that is not there, or of another version of the course."""
    ours = read_recorded(path)
    try:
        return Recorded(tuple(map(Verdict.from_tree, ours.get(VERDICTS, ()))), str(ours.get(UNGRADED, "")))
    except (ValueError, KeyError, TypeError):
        return Recorded()


@dataclass(frozen=True)
class Student:
    """One student of the class.

    Attributes:
        scores: their points.
        verdicts: name of an exercise → how it ended; nothing where nothing was graded.
        reason: why nothing was graded, of who handed something in.
        late: by how many seconds it was late; 0.0 if it was in time.
        marked_late: the system that it came from says that it was late.
        collected: their file lies in submitted/.
    """

    scores: Scores
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    reason: str = ""
    late: float = 0.0
    marked_late: bool = False
    collected: bool = False

    @property
    def handed_in(self) -> bool:
        """Whether there is a submission, recorded or not."""
        return self.scores.handed_in or self.collected

    @property
    def shown(self) -> str:
        """Their name with their id, or the id alone."""
        name = self.scores.full_name
        return f"{name} ({self.scores.id})" if name else self.scores.id


@dataclass(frozen=True)
class Spread:
    """Several numbers, from the least to the greatest, of `most` at best."""

    values: tuple[float, ...]
    most: float

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median, upper quartile, interpolated between neighbours."""
        if len(self.values) < 2:
            return (self.values[0],) * 3
        low, middle, high = quantiles(self.values, n=4, method="inclusive")
        return low, middle, high


@dataclass(frozen=True)
class Item:
    """An exercise, or a written question, over the class.

    Attributes:
        part: what it is worth.
        statuses: how often the checks ended how; none of a written question.
        shares: of its points, one for each student of those graded who has a score in it.
        correlation: of the share with the sum of the other exercises' points (item-rest); None where it isn't defined,
            for too few have a score, or all have the same.
        blocked_by: exercise → those who can't be judged here until it is right.
        mistakes: known mistakes, as a clause of their hints, with those who made them; the most frequent first.
        failures: other endings, as (status, headline), with how often they were seen; the most frequent first.
    """

    part: Part
    statuses: Mapping[Status, int]
    shares: tuple[float, ...]
    correlation: float | None
    blocked_by: Mapping[str, tuple[Student, ...]]
    mistakes: tuple[tuple[str, tuple[Student, ...]], ...]
    failures: tuple[tuple[Status, str, int], ...]

    @property
    def judged(self) -> int:
        """How many submissions have a verdict here."""
        return sum(self.statuses.values())

    @property
    def passed(self) -> int:
        """How many pass."""
        return self.statuses.get(Status.PASSED, 0)

    @property
    def stopped(self) -> int:
        """How many ran out of time or memory, or crashed."""
        return sum(self.statuses.get(status, 0) for status in STOPPED)

    @property
    def mean(self) -> float | None:
        """The mean share of points."""
        return fmean(self.shares) if self.shares else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the shares, as of a sample."""
        return stdev(self.shares) if len(self.shares) > 1 else None


@dataclass(frozen=True)
class Standing:
    """How a class stands in an assignment.

    Attributes:
        slug: the assignment.
        students: all of the gradebook, and who handed in and is not in it yet.
        items: its exercises, then its written questions, in the notebook's order.
        totals: of the graded: what counts, after penalties, if all have a total, else the points of the checks.
        complete: whether the totals are what counts.
    """

    slug: str
    students: tuple[Student, ...]
    items: tuple[Item, ...]
    totals: Spread
    complete: bool

    @property
    def graded(self) -> list[Student]:
        """Those whose submission has verdicts."""
        return [s for s in self.students if s.verdicts]

    @property
    def handed_in(self) -> list[Student]:
        """Those of whom there is a submission."""
        return [s for s in self.students if s.handed_in]

    @property
    def ungraded(self) -> list[Student]:
        """Those of whom there is a submission without verdicts, whatever a human gave for it."""
        return [s for s in self.handed_in if not s.verdicts]

    @property
    def waiting(self) -> list[Student]:
        """The graded of whom a part still has no score, such as a written answer."""
        return [s for s in self.graded if s.scores.waiting]

    @property
    def missing(self) -> list[Student]:
        """Those of whom there is no submission."""
        return [s for s in self.students if not s.handed_in]

    @property
    def late(self) -> list[Student]:
        """Those who handed in late."""
        return [s for s in self.handed_in if s.late or s.marked_late]

    @property
    def blockers(self) -> list[tuple[str, list[tuple[Student, list[str]]]]]:
        """Exercise → who gets no further for it, and what of theirs can't be judged for it; in the notebook's order."""
        found: dict[str, dict[str, tuple[Student, list[str]]]] = {item.part.name: {} for item in self.items}
        for item in self.items:
            for blocker, students in item.blocked_by.items():
                for student in students:
                    found.setdefault(blocker, {}).setdefault(student.scores.id, (student, []))[1].append(item.part.name)
        return [(name, list(those.values())) for name, those in found.items() if those]


def standing(project: Project, slug: str, course: ClassFolder) -> Standing:
    """How a class stands. Raises UserError where nothing of it was graded, with what to do."""
    first = f"`s30 grade {slug[:2]} --course-dir {course.root}` grades what was handed in"
    if not course.has_gradebook():
        raise UserError(f"{course.root} has no gradebook yet: {first}.")
    with course.gradebook() as gradebook:
        try:
            parts, scores = read_scores(gradebook, slug, project)
        except MissingEntry:
            raise UserError(f"The gradebook of {course.root} does not know {slug}: {first}.") from None
    told, collected = received(slug, course.root), submitted(slug, course.root)
    known = {one.id for one in scores}
    strangers = [Scores(id_, "", "", "", "") for id_ in collected if id_ not in known]
    students = [_student(course, slug, s, s.id in collected, told.get(s.id, {})) for s in [*scores, *strangers]]
    if not any(student.verdicts for student in students):
        some = sum(student.scores.handed_in for student in students)
        why = (
            f"of {some} recorded submissions none has verdicts (`--regrade` records anew)"
            if some
            else "nobody is graded"
        )
        raise UserError(f"There is nothing to report of {slug} in {course.root}: {why}; {first}.")
    return summed_up(project, slug, parts, students)


def _student(course: ClassFolder, slug: str, scores: Scores, collected: bool, told: Mapping[str, Any]) -> Student:
    recorded = recorded_in(course.autograded(scores.id, slug) / f"{slug}.ipynb") if scores.handed_in else Recorded()
    reason = recorded.reason
    if not reason and not recorded.verdicts and (scores.handed_in or collected):
        reason = "it was recorded without verdicts" if scores.handed_in else "it is not graded yet"
    verdicts = {verdict.name: verdict for verdict in recorded.verdicts}
    return Student(scores, verdicts, printable(reason), scores.seconds_late, told.get("late") is True, collected)


def summed_up(project: Project, slug: str, parts: Sequence[Part], students: Sequence[Student]) -> Standing:
    """The numbers of a class, from its students' verdicts and points."""
    assignment = project.assignment(slug)
    hints = {(m.exercise, m.name): m.hint for m in read_mistakes(project.mistakes(slug))}
    graded = [student for student in students if student.verdicts]
    checks = [part.name for part in parts if not part.written]
    items = []
    for part in sorted(parts, key=lambda part: part.written):
        rest = [name for name in checks if name != part.name]
        seen = [student for student in graded if part.name in student.verdicts and not part.written]
        shares, others = _shares(part, graded, rest)
        items.append(
            Item(
                part,
                Counter(student.verdicts[part.name].status for student in seen),
                shares,
                _correlation(shares, others),
                _blocked_by(assignment, part.name, seen),
                _mistakes(part.name, seen, hints),
                _failures(part.name, seen),
            )
        )
    complete = all(student.scores.score is not None for student in graded)
    counted = parts if complete else [part for part in parts if not part.written]
    totals = (student.scores.score if complete else _sum(student, checks) for student in graded)
    return Standing(
        slug,
        tuple(students),
        tuple(items),
        Spread(tuple(sorted(total or 0.0 for total in totals)), sum(part.max_score for part in counted)),
        complete,
    )


def _sum(student: Student, names: Iterable[str]) -> float:
    return sum(student.scores.parts.get(name) or 0.0 for name in names)


def _shares(part: Part, students: Sequence[Student], rest: Sequence[str]) -> tuple[tuple[float, ...], list[float]]:
    """The share of a part's points, and the points in the rest, of those who have a score in it."""
    if not part.max_score:
        return (), []
    scored = [(s, points) for s in students if (points := s.scores.parts.get(part.name)) is not None]
    return tuple(points / part.max_score for _, points in scored), [_sum(student, rest) for student, _ in scored]


def _correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    if len(xs) < FEWEST:
        return None
    try:
        return correlation([round(x, 9) for x in xs], [round(y, 9) for y in ys])  # equal sums may differ in rounding
    except StatisticsError:  # all are equal
        return None


def _blocked_by(assignment: Assignment, name: str, students: Sequence[Student]) -> dict[str, tuple[Student, ...]]:
    """Exercise → the students who are blocked in `name` by it: the first that it needs, and that is not right."""
    found: dict[str, list[Student]] = {}
    known = {name} & {e.name for e in assignment.exercises}
    needed = with_needs(assignment.exercises, known) - known
    for student in students:
        verdict = student.verdicts[name]
        if verdict.status is Status.BLOCKED:
            ended = ((e.name, student.verdicts.get(e.name)) for e in assignment.exercises if e.name in needed)
            wrong = [other for other, its in ended if its is not None and its.status != Status.PASSED]
            told = [other for other in wrong if f"`{other}`" in verdict.headline]  # of several, that which it calls
            for blocker in (told or wrong)[:1]:
                found.setdefault(blocker, []).append(student)
    return {blocker: tuple(those) for blocker, those in found.items()}


def _mistakes(
    name: str, students: Sequence[Student], hints: Mapping[tuple[str, str], str]
) -> tuple[tuple[str, tuple[Student, ...]], ...]:
    found: dict[str, list[Student]] = {}
    for student in students:
        if mistake := student.verdicts[name].mistake:
            found.setdefault(mistake, []).append(student)
    clauses = {mistake: clause(hints.get((name, mistake), mistake.replace("_", " "))) for mistake in found}
    return tuple((clauses[m], tuple(those)) for m, those in sorted(found.items(), key=lambda one: -len(one[1])))


def _failures(name: str, students: Sequence[Student]) -> tuple[tuple[Status, str, int], ...]:
    verdicts = [student.verdicts[name] for student in students]
    others = Counter((v.status, v.headline) for v in verdicts if not v.mistake and v.status not in _TOLD_ELSEWHERE)
    return tuple((status, headline, count) for (status, headline), count in others.most_common())


def clause(hint: str) -> str:
    """What a hint says first: `the two halves are swapped: this is …` becomes `the two halves are swapped`."""
    first = re.match(r"(.{16,}?)[.;:?](\s|$)", hint, re.DOTALL)
    plain = re.sub(r"(?<!\S)\*([^\s*`]+)\*(?!\w)", r"\1", first[1] if first else hint.rstrip("."))
    return " ".join(plain.split())
