"""From observations to verdicts: the trusted half of grading.

Points come only from a pass, and a pass only from an observation that varies with the seed and agrees with the
reference. Everything else can only take points away; zero is the default. What a verdict says is put into words by
:mod:`autograder.engine.judge.words.explain`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from autograder.engine.assignment import Assignment, Exercise, with_needs
from autograder.engine.border.rounds import Observations
from autograder.engine.border.runner import Observer, Runner, Subprocess
from autograder.engine.inside.notebook import Cell, Code, Statement, place_name, read_notebook
from autograder.engine.inside.observe import PUBLIC_SEED
from autograder.engine.inside.records import CaseId, Limits, Raised, Record
from autograder.engine.inside.shortcuts import shortcut
from autograder.engine.inside.wire import WireError, decode
from autograder.engine.judge.compare import Difference, compare, rounding
from autograder.engine.judge.keys import (
    AnswerKeyError,
    Expected,
    ExpectedCase,
    Key,
    KnownMistake,
    Trace,
    exception_digest,
    expect,
    read_key,
    sketch,
)
from autograder.engine.judge.verdict import Status, Verdict
from autograder.engine.judge.words import explain
from autograder.engine.judge.words.apart import set_apart
from autograder.engine.judge.words.diagnose import common, far_off, patterns, suspicion, swapped
from autograder.engine.judge.words.explain import Shown, Told, Wrong, printable


@dataclass(frozen=True)
class _Failure:
    """Why a case failed, and every difference that was found, by name."""

    status: Status
    told: Told
    differences: tuple[tuple[str, Difference], ...] = ()


@dataclass(frozen=True)
class _CaseResult:
    id: CaseId
    case: ExpectedCase
    failure: _Failure | None
    earning: bool  # something that varies with the seed was seen and was right


def grade(
    notebook: Path | list[Cell],
    assignment: Assignment,
    *,
    seed: int = PUBLIC_SEED,
    exercises: Collection[str] | None = None,
    limits: Limits | None = None,
    runner: Runner | None = None,
    expected: Callable[[], Mapping[CaseId, ExpectedCase]] | None = None,
) -> list[Verdict]:
    """Grade a notebook.

    Args:
        notebook: the learner's file, or its cells; its code runs in child processes.
        assignment: what to grade.
        seed: a second seed at which everything must be right as well.
        exercises: names to grade (default all); what they need is observed too.
        limits: of time and memory.
        runner: what runs the code; by default a plain process, which is for one's own work only.
        expected: what the reference yields at the second seed; by default it is observed in this process.

    Raises:
        NotebookError: the file is no notebook.
        AnswerKeyError: the key or the reference can't be used.
    """
    cells = notebook if isinstance(notebook, list) else read_notebook(notebook)
    names = {e.name for e in assignment.exercises} if exercises is None else set(exercises)
    closed = with_needs(assignment.exercises, names)
    code = Code(cells)
    static = static_verdicts(assignment, code, closed)
    attempted = [name for name, verdict in static.items() if verdict is None]
    stubs = later_stubs(assignment, code)
    with Observer(cells, assignment, runner or Subprocess(), skip=stubs, limits=limits) as observer:
        seen = observer.observe(attempted)
        found = verdicts(assignment, static, code, seen, PUBLIC_SEED, {})
        right = [v.name for v in found if v.points > 0]
        if seed != PUBLIC_SEED and right:
            # The code learns the seed when all that it said before has arrived, and no text is shown that it says now;
            # nor is it told how it ended there: what is missing counts as wrong.
            seen.records |= observer.observe(right, seed=seed).records
            known = expect(assignment, right, seed) if expected is None else expected()
            others = {case_id: case for case_id, case in known.items() if case_id[0] in right}
            found = verdicts(assignment, static, code, seen, seed, others)
    return [v for v in found if v.name in names]


@lru_cache(maxsize=64)
def _key(path: Path, grader: Path, stamp: tuple[int, int]) -> Key:
    return read_key(path, grader)


def public_key(assignment: Assignment) -> Key:
    """The assignment's key, read once as long as its files don't change."""
    try:
        stamp = (assignment.key.stat().st_mtime_ns, assignment.grader.stat().st_mtime_ns)
    except FileNotFoundError as problem:
        raise AnswerKeyError(f"{problem.filename} is missing. `s30 build` makes keys from masters.") from None
    return _key(assignment.key, assignment.grader, stamp)


def later_stubs(assignment: Assignment, code: Code) -> list[tuple[int, int]]:
    """Places of stubs that would replace a solved copy of the same exercise, as a duplicated cell does."""
    places = []
    for exercise in assignment.exercises:
        counted = code.definition(exercise.name, exercise.stub)
        for statement in code.definitions(exercise.name):
            if counted and statement.place > counted.place:
                places.append(statement.place)
    return places


def static_verdict(exercise: Exercise, code: Code) -> Verdict | None:
    """The verdict that the text of the code alone allows, if any."""
    definition = code.definition(exercise.name, exercise.stub)
    if definition is None:
        broken = code.breakage(exercise.name)
        if broken:
            return _verdict(exercise, Status.ERROR, explain.broken(exercise, broken))
        return _verdict(exercise, Status.MISSING, explain.missing(exercise))
    if definition.is_stub(exercise.stub):
        return _verdict(exercise, Status.NOT_ATTEMPTED, explain.untouched(exercise))
    found = shortcut(code, exercise.name, exercise.forbids, exercise.stub)
    return _verdict(exercise, Status.FORBIDDEN, explain.shortcut(exercise, *found)) if found else None


def static_verdicts(assignment: Assignment, code: Code, names: Collection[str]) -> dict[str, Verdict | None]:
    """Exercise → :func:`static_verdict`, for those of `names`, in the assignment's order."""
    return {e.name: static_verdict(e, code) for e in assignment.exercises if e.name in names}


def verdicts(
    assignment: Assignment,
    static: dict[str, Verdict | None],
    code: Code,
    seen: Observations,
    seed: int,
    others: dict[CaseId, ExpectedCase],
) -> list[Verdict]:
    """The verdict on each exercise of `static`, in the assignment's order.

    Args:
        assignment: what is graded.
        static: what the text allows, for all exercises that are asked for and all that these need.
        code: the notebook as text.
        seen: what its code yielded.
        seed: the second seed, or the public one.
        others: what the reference yields at the second seed.
    """
    key = public_key(assignment)
    chosen = [exercise for exercise in assignment.exercises if exercise.name in static]
    found = {e.name: static[e.name] or _observed_verdict(e, code, seen, key, seed, others) for e in chosen}
    calls = {e.name: _calls(assignment, e, code, key, seen) for e in assignment.exercises}
    return [_after_needs(assignment, exercise, found, calls, key, seen) for exercise in chosen]


def _verdict(
    exercise: Exercise,
    status: Status,
    told: Told,
    *,
    points: float = 0.0,
    mistake: str | None = None,
    case: str | None = None,
) -> Verdict:
    reasons = tuple(replace(reason, text=printable(reason.text)) for reason in told.reasons)
    headline = printable(told.headline)
    return Verdict(
        exercise.id, exercise.track, status, points, exercise.points, headline, reasons, mistake=mistake, case=case
    )


def _calls(assignment: Assignment, exercise: Exercise, code: Code, key: Key, seen: Observations) -> set[str]:
    """Which of the exercises that it may need an exercise's probes call, or its own code mentions.

    What probes call is known from the reference, for what a child says may be a lie. An exercise of which nothing was
    seen, because what it needs took the process with it, may call all of them.
    """
    if not any(case_id[0] == exercise.name for case_id, _ in seen.records):
        return set(exercise.needs)
    called = {name for case_id, case in key.cases.items() if case_id[0] == exercise.name for name in case.called}
    return (called | code.used_by(exercise.name)) & with_needs(assignment.exercises, set(exercise.needs))


def _after_needs(
    assignment: Assignment,
    exercise: Exercise,
    found: dict[str, Verdict],
    calls: Mapping[str, set[str]],
    key: Key,
    seen: Observations,
) -> Verdict:
    """Blocked, if something that the exercise calls is not right."""
    verdict = found[exercise.name]
    needed: set[str] = set()
    queue = [exercise.name]
    while queue:
        fresh = calls[queue.pop()] - needed
        needed |= fresh
        queue.extend(fresh)
    failing = [e.name for e in assignment.exercises if e.name in needed and found[e.name].status != Status.PASSED]
    by_itself = verdict.status in (Status.MISSING, Status.NOT_ATTEMPTED, Status.FORBIDDEN)
    if not failing or by_itself or (exercise.torch and not seen.torch):
        return verdict
    consistent = exercise.track == "backward" and _consistent(exercise, key, seen)
    told = explain.blocked(exercise, failing[0], found[failing[0]].status, consistent=consistent)
    return _verdict(exercise, Status.BLOCKED, told)


def _consistent(exercise: Exercise, key: Key, seen: Observations) -> bool:
    """Whether every consistency pair that was seen agrees with itself, and there was one."""
    pairs = []
    for case_id, case in key.cases.items():
        record = seen.records.get((case_id, PUBLIC_SEED))
        if case_id[0] == exercise.name and record is not None:
            pairs += [record.seen.get(name) for name, wanted in case.values.items() if wanted.consistency]
    try:
        values = [decode(pair) for pair in pairs]
        return bool(values) and all(compare(a, b, rtol=1e-5, atol=1e-9) is None for a, b in values)
    except (WireError, TypeError, ValueError):
        return False


def _observed_verdict(
    exercise: Exercise,
    code: Code,
    seen: Observations,
    key: Key,
    seed: int,
    others: dict[CaseId, ExpectedCase],
) -> Verdict:
    definition = code.definition(exercise.name, exercise.stub)
    ended = seen.spoiled.get(place_name(definition.place)) if definition else None
    trouble = ended or seen.spoiled.get(exercise.name)
    if trouble:
        return _verdict(exercise, Status.ERROR, explain.undefined(exercise, trouble))
    if exercise.torch and not seen.torch:
        return _verdict(exercise, Status.BLOCKED, explain.no_torch(exercise))
    if exercise.name in seen.ended:
        ending = seen.ended[exercise.name]
        case = key.cases.get((exercise.name, *ending.case)) if ending.case else None
        called = explain.called_in_words(case.call, case.described) if case else ""
        return _verdict(exercise, Status(ending.status), explain.stopped(exercise, ending, called))
    public = _results(exercise, key.cases, seen, PUBLIC_SEED, varies=key.cases)
    secret = _results(exercise, others, seen, seed, varies=key.cases) if seed != PUBLIC_SEED else []
    return _sum_up(exercise, public, secret, key, seen, definition)


def _results(
    exercise: Exercise,
    expected: dict[CaseId, ExpectedCase],
    seen: Observations,
    seed: int,
    varies: dict[CaseId, ExpectedCase],
) -> list[_CaseResult]:
    results = []
    for case_id, case in expected.items():
        if case_id[0] != exercise.name:
            continue
        failure, right = _judge_case(exercise, case, seen.records.get((case_id, seed)))
        known = varies[case_id].values
        earning = failure is None and any(known[name].varies for name in right if name in known)
        results.append(_CaseResult(case_id, case, failure, earning))
    return results


def _judge_case(exercise: Exercise, case: ExpectedCase, record: Record | None) -> tuple[_Failure | None, list[str]]:
    """Why the case fails, if it does; and the names of the observations that are right."""
    if record is None:
        return _Failure(Status.ERROR, explain.not_run()), []
    if record.raised:
        return _Failure(_status_of(record.raised), explain.raised(exercise, record.raised)), []
    if record.inputs != case.inputs:
        return _Failure(Status.ERROR, explain.other_inputs()), []
    right: list[str] = []
    wrong: dict[str, Wrong] = {}
    for name, wanted in case.values.items():
        if wanted.consistency:
            continue
        if name not in record.seen:
            wrong[name] = None
            continue
        try:
            difference = wanted.differs_from(decode(record.seen[name]))
        except WireError as problem:
            wrong[name] = problem
            continue
        if difference:
            wrong[name] = difference
        else:
            right.append(name)
    changed = sorted({text.split(": ")[-1] for text in set(record.touched) - case.touched})
    if wrong:
        differences = tuple((name, d) for name, d in wrong.items() if isinstance(d, Difference) and d.kind != "judged")
        told = explain.wrong_values(wrong, right, changed=changed, remembered=record.remembered and not case.remembered)
        return _Failure(Status.FAILED, told, differences), right
    if changed:
        return _Failure(Status.FAILED, explain.changed_arguments(changed)), right
    return None, right


def _status_of(raised: Raised) -> Status:
    """How an exercise ends in which this was raised."""
    if raised.memory:
        return Status.MEMORY
    if raised.type == "Shortcut":
        return Status.FORBIDDEN
    returned_otherwise = raised.type == "WrongReturn" or (raised.unusable and not raised.misfit)
    named = raised.type in ("NotImplementedError", "SystemExit", "EOFError")
    return Status.FAILED if returned_otherwise and not named else Status.ERROR


def _sum_up(
    exercise: Exercise,
    public: list[_CaseResult],
    secret: list[_CaseResult],
    key: Key,
    seen: Observations,
    definition: Statement | None,
) -> Verdict:
    results = public + secret
    failures = [r for r in results if r.failure]
    share = _share(results)
    if not failures and share == 1.0:
        return _verdict(exercise, Status.PASSED, explain.passed(exercise), points=exercise.points)
    if not failures:
        return _verdict(exercise, Status.ERROR, explain.nothing_compared(exercise))
    known, shown = None, _shown(public)
    if shown is None:
        case, status = None, Status.FAILED
        told = explain.wrong_on_others(exercise)
    else:
        case, status = shown[0].case, shown[1].status
        unread = key.unread.get(exercise.name, ())
        known = recognise(exercise.name, key, seen, {r.id for r in public if r.failure})
        told = explain.wrong(
            exercise,
            Shown(
                shown[1].told,
                case.call,
                case.described,
                failed=sum(r.failure is not None for r in public),
                cases=len(public),
                causes=[known.hint] if known else _causes(*shown, public, definition, unread),
                apart=set_apart([r.case.traits for r in public], [r.failure is not None for r in public]),
            ),
        )
    mistake = known.name if known else None
    points = round(share * exercise.points, 6)
    if points > 0 and shown is None:
        status = Status.PARTLY
    elif points > 0:
        done = sorted({str(r.case.part) for r in results if r.case.part} - {str(r.case.part) for r in failures})
        status, told = Status.PARTLY, explain.also_right(told, done)
    return _verdict(exercise, status, told, points=points, mistake=mistake, case=case.name if case else None)


def _share(results: list[_CaseResult]) -> float:
    """The share of the points: 1 if all is right, else that of the parts that are (only if the author named parts)."""
    if not results:
        return 0.0
    parts = sorted({r.case.part for r in results if r.case.part})
    if any(r.failure for r in results if r.case.part is None):
        return 0.0
    if not parts:
        return 1.0 if any(r.earning for r in results) else 0.0
    earned = 0
    for part in parts:
        mine = [r for r in results if r.case.part == part]
        earned += all(r.failure is None for r in mine) and any(r.earning for r in mine)
    return earned / len(parts)


def _shown(public: list[_CaseResult]) -> tuple[_CaseResult, _Failure] | None:
    """The failing case that is told of: one whose cause can be named, if the first one's values are wrong.

    Cases with a size of 1 say least of a cause, and a NaN or an overflow is none where other values are wrong, too.
    """
    failing = [(r, r.failure) for r in public if r.failure]
    if failing and failing[0][1].differences:
        kinds = [{difference.kind for _, difference in failure.differences} for _, failure in failing]
        failing = [one for one, kind in zip(failing, kinds, strict=True) if kind - {"nonfinite"}] or failing
        telling = sorted(failing, key=lambda one: 1 in one[0].case.sizes.values() or not one[0].case.sizes)
        return next((one for one in telling if _diagnosis(*one, public)), failing[0])
    return failing[0] if failing else None


def _causes(
    shown: _CaseResult,
    failure: _Failure,
    public: list[_CaseResult],
    definition: Statement | None,
    unread: Collection[tuple[str, str]],
) -> list[str]:
    """What may have caused a failure that is no known mistake, seen in the case that is told of or in the text."""
    if failure.told.cause or not failure.differences:
        return [failure.told.cause] if failure.told.cause else []
    if text := _diagnosis(shown, failure, public):
        return [text]
    read = suspicion(definition.node, unread) if definition else None
    return [read] if read else []


def _diagnosis(result: _CaseResult, failure: _Failure, public: list[_CaseResult]) -> str | None:
    """The first wrong value of a case whose relation to the right one can be named, or two that are swapped."""
    if both := swapped(failure.differences):
        return both
    others = [(name, d, r) for r in public if r.failure and r is not result for name, d in r.failure.differences]
    for name, difference in failure.differences:
        found = patterns(difference, result.case.sizes)
        if far_off(d for _, d, _ in others):
            found.pop("precision", None)
        alike = [
            (other, patterns(other, r.case.sizes))
            for called, other, r in others
            if called == name and other.kind == difference.kind
        ]
        text = common(found, alike)
        if text:
            return explain.of_value(f"{name}{difference.path}", text)
    return None


def recognise(exercise: str, key: Key, seen: Observations, failing: Collection[CaseId]) -> KnownMistake | None:
    """The known mistake that explains every case that fails, and whose every trace was seen, at the public seed."""
    for mistake in key.mistakes:
        explained = {(exercise, trace.probe, trace.case) for trace in mistake.traces}
        if mistake.exercise != exercise or not explained.issuperset(failing):
            continue
        if all(_shows(trace, exercise, key, seen) for trace in mistake.traces):
            return mistake
    return None


def _shows(trace: Trace, exercise: str, key: Key, seen: Observations) -> bool:
    """Whether a case was seen as a trace says, up to what would make no difference to what is right in its place.

    A mistake may yield what should cancel, and what is left of it differs from processor to processor.
    """
    case_id = exercise, trace.probe, trace.case
    record = seen.records.get((case_id, PUBLIC_SEED))
    if record is None:
        return False
    if trace.raised and (record.raised is None or exception_digest(record.raised) != trace.raised):
        return False
    if trace.touched is not None and record.touched != trace.touched:
        return False
    try:
        return all(
            name in record.seen and _alike(record.seen[name], tree, key.cases[case_id].values[name])
            for name, tree in trace.seen.items()
        )
    except (WireError, TypeError, ValueError, KeyError):
        return False


def _alike(got: object, trace: object, right: Expected) -> bool:
    slack = right.atol + rounding(right.value)
    return compare(decode(sketch(got)), decode(trace), rtol=right.rtol, atol=slack) is None


def unreadable(assignment: Assignment, sentence: str, names: Collection[str]) -> list[Verdict]:
    """The verdicts on a file that is no notebook: an error each, with the sentence under the first."""
    chosen = [exercise for exercise in assignment.exercises if exercise.name in names]
    said = [sentence, *["The notebook can't be read; see above."] * (len(chosen) - 1)]
    return [
        _verdict(exercise, Status.ERROR, explain.unreadable(line)) for exercise, line in zip(chosen, said, strict=True)
    ]
