"""From observations to verdicts: the trusted half of grading.

Points come only from a pass, and a pass only from an observation that varies with the seed and agrees with the
reference. Everything else can only take points away; zero is the default.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from autograder.engine.assignment import Assignment, Exercise, with_needs
from autograder.engine.border.runner import Limits, Observations, Observer, Runner, Subprocess
from autograder.engine.inside.notebook import Cell, Code, read_notebook
from autograder.engine.inside.observe import PUBLIC_SEED, Record
from autograder.engine.inside.wire import WireError, decode
from autograder.engine.judge.compare import Difference, compare, rounding
from autograder.engine.judge.keys import (
    AnswerKeyError,
    CaseId,
    Expected,
    ExpectedCase,
    Key,
    KnownMistake,
    exception_digest,
    expect,
    read_key,
    sketch,
)
from autograder.engine.judge.words.diagnose import diagnose

STATUSES = (
    "passed", "partly", "failed", "error", "not_attempted", "missing",
    "blocked", "forbidden", "timeout", "memory", "crashed",
)  # fmt: skip
UNTOUCHED = ("not_attempted", "blocked")  # neither right nor wrong
ALWAYS_FORBIDDEN = ("autograder",)


@dataclass(frozen=True)
class Verdict:
    """How one exercise ended. The message is plain text: a headline, then lines of the form `Label: text`."""

    id: str
    track: str
    status: str
    points: float
    max_points: float
    message: str

    def __post_init__(self) -> None:
        """Refuse points without a pass, whoever asks for them."""
        least, most = {"passed": (self.max_points,) * 2, "partly": (0.0, self.max_points)}.get(self.status, (0.0, 0.0))
        if self.status not in STATUSES or not least <= self.points <= most:
            raise ValueError(f"{self.id}: status {self.status!r} can't be worth {self.points} of {self.max_points}")

    @property
    def name(self) -> str:
        """The exercise's own name."""
        return self.id.split("/", 1)[1]

    def as_json(self) -> dict[str, Any]:
        """The verdict as it stands in a report."""
        return asdict(self)


_SIGNATURE = re.compile(r"\(\) (takes|missing|got an unexpected|got multiple|got some positional)")


@dataclass(frozen=True)
class _Failure:
    """Why a case failed: a status, the lines of its explanation, and every difference that was found by name."""

    status: str
    lines: tuple[str, ...]
    differences: tuple[tuple[str, Difference], ...] = ()


@dataclass(frozen=True)
class _CaseResult:
    case: ExpectedCase
    id: CaseId
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
) -> list[Verdict]:
    """Grade a notebook.

    Args:
        notebook: the learner's file, or its cells; its code runs in child processes.
        assignment: what to grade.
        seed: a second seed at which everything must be right as well; needs the reference.
        exercises: names to grade (default all); what they need is observed too.
        limits: of time and memory.
        runner: what runs the code; by default a plain process, which is for one's own work only.

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
            # The code learns the seed when all that it said before has arrived, and no text is shown that it says now.
            again = observer.observe(right, seed=seed)
            seen.records |= again.records
            seen.ended |= {
                name: (status, "On inputs other than the public ones.") for name, (status, _) in again.ended.items()
            }
            found = verdicts(assignment, static, code, seen, seed, expect(assignment, right, seed))
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
            return _verdict(exercise, "error", f"`{exercise.name}` can't be read.", f"Where: {broken}.")
        return _verdict(
            exercise,
            "missing",
            f"No cell defines `{exercise.name}`.",
            f"What to do: was it renamed, or its cell deleted? Get the stub back from release/, the cell "
            f"`{exercise.name}`.",
        )
    if definition.is_stub(exercise.stub):
        return _verdict(exercise, "not_attempted", f"`{exercise.name}` is still the stub.")
    ruled_out = [*ALWAYS_FORBIDDEN, *exercise.forbids, *(["torch"] if exercise.track != "torch" else [])]
    found = code.shortcut(exercise.name, ruled_out, exercise.stub)
    if found:
        dotted, where = found
        reason = (
            "a NumPy exercise is solved with NumPy alone"
            if dotted.split(".")[0] == "torch" and exercise.track != "torch"
            else "it does this exercise for you"
        )
        return _verdict(
            exercise,
            "forbidden",
            f"`{dotted}` can't be used here: {reason}.",
            f"Where: cell {where.cell.number}, in the statement at line {where.node.lineno}.",
        )
    return None


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
    return [_after_needs(assignment, exercise, found, key, seen) for exercise in chosen]


def _verdict(exercise: Exercise, status: str, *lines: str, points: float = 0.0) -> Verdict:
    message = "\n".join(_printable(line) for line in lines)
    return Verdict(exercise.id, exercise.track, status, points, exercise.points, message)


def _printable(line: str) -> str:
    """A line that any file and terminal can show, whatever a learner's code put into it."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+", " ", line)


def _after_needs(
    assignment: Assignment, exercise: Exercise, found: dict[str, Verdict], key: Key, seen: Observations
) -> Verdict:
    """Blocked, if something that the exercise needs is not right."""
    verdict = found[exercise.name]
    failing = [n for n in sorted(with_needs(assignment.exercises, set(exercise.needs))) if found[n].status != "passed"]
    order = [e.name for e in assignment.exercises]
    if (
        not failing
        or verdict.status in ("missing", "not_attempted", "forbidden")
        or (not seen.torch and exercise.track == "torch")
    ):
        return verdict
    first = min(failing, key=order.index)
    how = found[first].status.replace("_", " ")
    lines = [f"`{exercise.name}` calls `{first}`, which is not right yet ({how}): solve that one first."]
    if exercise.track == "backward" and _consistent(exercise, key, seen):
        lines.append(
            f"Good to know: it agrees with finite differences of your own `{first}`, so it may pass once that does."
        )
    return _verdict(exercise, "blocked", *lines)


def _consistent(exercise: Exercise, key: Key, seen: Observations) -> bool:
    """Whether every consistency pair that was seen agrees with itself, and there was one."""
    pairs = []
    for case_id, case in key.cases.items():
        record = seen.records.get((*case_id, PUBLIC_SEED))
        if case_id[0] == exercise.name and record is not None:
            pairs += [record["seen"].get(name) for name, wanted in case.values.items() if wanted.consistency]
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
    cell_trouble = seen.spoiled.get(f"cell {definition.cell.number}") if definition else None
    trouble = seen.spoiled.get(exercise.name) or cell_trouble
    if trouble:
        return _verdict(exercise, "error", f"`{exercise.name}` could not be defined.", f"Why: {trouble}")
    if exercise.track == "torch" and not seen.torch:
        return _verdict(
            exercise,
            "blocked",
            f"`{exercise.name}` is skipped: PyTorch is not installed.",
            "What to do: pip install -c constraints.txt torch",
        )
    if exercise.name in seen.ended:
        status, sentence = seen.ended[exercise.name]
        return _verdict(exercise, status, f"`{exercise.name}` was stopped.", f"Why: {sentence}")
    public = _results(exercise, key.cases, seen, PUBLIC_SEED, varies=key.cases)
    secret = _results(exercise, others, seen, seed, varies=key.cases) if seed != PUBLIC_SEED else []
    return _sum_up(exercise, public, secret, key, seen)


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
        record = seen.records.get((*case_id, seed))
        failure, right = _judge_case(exercise, case, record)
        known = varies[case_id].values
        earning = failure is None and any(known[name].varies for name in right if name in known)
        results.append(_CaseResult(case, case_id, failure, earning))
    return results


def _judge_case(exercise: Exercise, case: ExpectedCase, record: Record | None) -> tuple[_Failure | None, list[str]]:
    """Why the case fails, if it does; and the names of the observations that are right."""
    if record is None:
        return _Failure("error", ("It was not run.",)), []
    if "raised" in record:
        return _raised(exercise, record["raised"]), []
    if record["inputs"] != case.inputs:
        return _Failure(
            "error",
            (
                "Its inputs differ from those that the key was made with, so it can't be compared.",
                "What to do: the installed NumPy draws other random numbers; pip install -c constraints.txt numpy",
            ),
        ), []
    right: list[str] = []
    wrong: dict[str, tuple[tuple[str, ...], Difference | None]] = {}
    for name, wanted in case.values.items():
        if wanted.consistency:
            continue
        found = _judge_value(name, wanted, record["seen"])
        if found:
            wrong[name] = found
        else:
            right.append(name)
    if wrong:
        first, *more = wrong
        lines = list(wrong[first][0])
        if more:
            lines.append(f"Also wrong: {', '.join(f'`{name}`' for name in more)}")
        if right:
            lines.append(f"Right: {', '.join(f'`{name}`' for name in right)}")
        differences = tuple((name, d) for name, (_, d) in wrong.items() if d is not None)
        return _Failure("failed", tuple(lines), differences), right
    changed = sorted(str(t) for t in set(map(str, record["touched"])) - case.touched)
    if changed:
        arguments = ", ".join(f"`{text.split(': ')[-1]}`" for text in changed)
        return _Failure(
            "failed",
            (
                f"The values are right, but the call changes its argument {arguments} in place.",
                "Likely cause: an operator such as `+=`, or assignment into a slice, on an input. Work on a copy.",
            ),
        ), right
    return None, right


def _judge_value(name: str, wanted: Expected, seen: Record) -> tuple[tuple[str, ...], Difference | None] | None:
    """What is wrong with one value, in lines, and the difference behind it; None if it is right."""
    if name not in seen:
        return (f"`{name}` is missing from what it returned.",), None
    try:
        got = decode(seen[name])
    except WireError as problem:
        return (f"`{name}` can't be read: {problem}.",), None
    difference = wanted.differs_from(got)
    if difference is None:
        return None
    if difference.kind == "judged":
        return (f"`{name}`: {difference.text}",), None
    kinds = {"shape": "has the wrong shape", "dtype": "has the wrong dtype", "type": "has the wrong type"}
    kinds |= {"length": "has the wrong length", "keys": "has the wrong keys", "nonfinite": "has NaN or inf values"}
    what = kinds.get(difference.kind, "is wrong")
    return (f"`{name}{difference.path}` {what}.", f"Compared: {difference.text}"), difference


def _raised(exercise: Exercise, raised: Record) -> _Failure:
    kind, text = str(raised.get("type")), str(raised.get("text", ""))
    said = f"{kind}: {text}" if text else kind
    where = []
    if raised.get("line"):
        cell = str(raised.get("file", "")).strip("<>")
        place = f"{cell}, line {raised['line']}" if cell else f"line {raised['line']} of the cell"
        where = [f"Where: {place}, in `{raised.get('function')}`: `{raised.get('source', '')}`"]
    if raised.get("memory"):
        return _Failure(
            "memory", (f"`{exercise.name}` ran out of memory.", *([f"Why: {text}"] if text else []), *where)
        )
    sentence = raised.get("sentence")
    if kind == "Shortcut":
        return _Failure("forbidden", (str(sentence), *where))
    if kind == "WrongReturn":
        return _Failure("failed", (str(sentence),))
    if kind == "NotImplementedError":
        return _Failure(
            "error",
            (f"`{exercise.name}` still raises NotImplementedError: delete that line once your code stands.", *where),
        )
    if kind in ("SystemExit", "EOFError"):
        what = "calls exit()" if kind == "SystemExit" else "asks for input()"
        return _Failure("error", (f"`{exercise.name}` {what}, which an exercise can't do.", *where))
    if raised.get("unusable") and kind == "TypeError" and _SIGNATURE.search(text):
        lines = (
            f"`{exercise.name}` can't be called as its docstring says.",
            f"Why: {said}",
            "What to do: keep the stub's arguments.",
        )
        return _Failure("error", lines)
    if raised.get("unusable"):
        return _Failure(
            "failed",
            (
                f"What `{exercise.name}` returned can't be used as its docstring says.",
                f"Why: {said}",
            ),
        )
    if sentence:
        return _Failure("error", (str(sentence), *where))
    return _Failure("error", (f"`{exercise.name}` raised {said}", *where))


def _sum_up(
    exercise: Exercise, public: list[_CaseResult], secret: list[_CaseResult], key: Key, seen: Observations
) -> Verdict:
    results = public + secret
    failures = [r for r in results if r.failure]
    share = _share(results)
    if not failures and share == 1.0:
        return _verdict(exercise, "passed", f"`{exercise.name}` is right.", points=exercise.points)
    if not failures:
        return _verdict(exercise, "error", f"Nothing that `{exercise.name}` returned could be compared.")
    first = next((r for r in public if r.failure), None)
    if first is None:
        lines = _secret_lines(exercise, failures[0])
        status = "failed"
    else:
        assert first.failure is not None
        lines = _public_lines(exercise, first, public, key, seen)
        status = first.failure.status
    points = round(share * exercise.points, 6)
    if points > 0:
        done = sorted({str(r.case.part) for r in results if r.case.part} - {str(r.case.part) for r in failures})
        return _verdict(exercise, "partly", *lines, f"Already right: {', '.join(done)}.", points=points)
    return _verdict(exercise, status, *lines)


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


def _secret_lines(exercise: Exercise, result: _CaseResult) -> list[str]:
    """Right on the public inputs only: shapes are all that is said, so that resubmitting leaks nothing."""
    lines = [f"`{exercise.name}` is right on the public inputs, but wrong on others of the same kind."]
    if result.case.call:
        lines.append(f"Called: {_shapes_only(result.case)}")
    lines.append("Likely cause: a value that should be computed from the arguments is fixed in the code.")
    return lines


def _shapes_only(case: ExpectedCase) -> str:
    return f"with {case.described}" if case.described else "with other values of the same shapes"


def _public_lines(
    exercise: Exercise, first: _CaseResult, public: list[_CaseResult], key: Key, seen: Observations
) -> list[str]:
    failure = first.failure
    assert failure is not None
    lines = [failure.lines[0]]
    if first.case.call or first.case.described:
        lines.append(f"Called: {first.case.call or 'with ' + first.case.described}")
    lines += [line for line in failure.lines[1:] if not line.startswith("Likely cause")]
    known = recognise(exercise.name, key, seen)
    causes = (
        [known.hint] if known else [line.split(": ", 1)[1] for line in failure.lines if line.startswith("Likely cause")]
    )
    if not causes and failure.differences:
        causes = [text for text in (_only_small(public), _diagnosis(public)) if text]
    lines += [f"Likely cause: {cause}" for cause in causes]
    failed = sum(r.failure is not None for r in public)
    if len(public) > 1:
        lines.append(f"Cases: {failed} of {len(public)} fail; this is the first.")
    if exercise.reread:
        lines.append(f"Reread: {exercise.reread}")
    return lines


def _diagnosis(public: list[_CaseResult]) -> str | None:
    """The first wrong value whose relation to the right one can be named; cases with a size of 1 say least."""
    for result in sorted(public, key=lambda r: 1 in r.case.sizes.values() or not r.case.sizes):
        for name, difference in result.failure.differences if result.failure else ():
            text = diagnose(difference, result.case.sizes)
            if text:
                return f"in `{name}`: {text[0].lower()}{text[1:]}"
    return None


def _only_small(public: Iterable[_CaseResult]) -> str | None:
    """Right where a size is 1 and wrong where it is larger."""
    results = list(public)
    names = set.intersection(*(set(r.case.sizes) for r in results)) if results else set()
    for name in sorted(names):
        right = [r.case.sizes[name] for r in results if r.failure is None]
        wrong = [r.case.sizes[name] for r in results if r.failure is not None]
        if right and wrong and set(right) == {1} and min(wrong) > 1:
            return f"It is right for {name}={1}, and wrong for larger {name}."
    return None


def recognise(exercise: str, key: Key, seen: Observations) -> KnownMistake | None:
    """The known mistake whose every trace the observations at the public seed show."""
    for mistake in key.mistakes:
        if mistake.exercise == exercise and all(
            _shows(
                seen.records.get((exercise, probe, case, PUBLIC_SEED)), trace, key.cases.get((exercise, probe, case))
            )
            for (probe, case), trace in mistake.traces.items()
        ):
            return mistake
    return None


def _shows(record: Record | None, trace: Record, case: ExpectedCase | None) -> bool:
    """Whether a record is as a trace says, up to what would make no difference to what is right in its place.

    A mistake may yield what should cancel, and what is left of it differs from processor to processor.
    """
    if record is None or case is None:
        return False
    if "raised" in trace and ("raised" not in record or exception_digest(record["raised"]) != trace["raised"]):
        return False
    if "touched" in trace and record["touched"] != trace["touched"]:
        return False
    try:
        for name, tree in trace.get("seen", {}).items():
            right = case.values[name]
            slack = right.atol + rounding(right.value)
            if name not in record["seen"] or compare(
                decode(sketch(record["seen"][name])), decode(tree), rtol=right.rtol, atol=slack
            ):
                return False
    except (WireError, TypeError, ValueError, KeyError):
        return False
    return True


def unreadable(assignment: Assignment, sentence: str, names: Collection[str]) -> list[Verdict]:
    """The verdicts on a file that is no notebook: an error each, with the sentence under the first."""
    chosen = [exercise for exercise in assignment.exercises if exercise.name in names]
    said = [sentence, *["The notebook can't be read; see above."] * (len(chosen) - 1)]
    return [_verdict(exercise, "error", line) for exercise, line in zip(chosen, said, strict=True)]
