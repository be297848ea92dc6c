"""What the reference yields: observed live from the reference, or read from the key that was recorded from it.

A key holds outputs at the public seed, never code: it lets a learner's copy, which has no reference, give the same
verdicts and hints.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from autograder.engine.assignment import Assignment, with_needs
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.load import Loaded, load
from autograder.engine.inside.notebook import Code, read_notebook, unread
from autograder.engine.inside.observe import PUBLIC_SEED, Seen, load_grader, observe
from autograder.engine.inside.records import CaseId, Raised, Record
from autograder.engine.inside.wire import Opaque, Tensor, WireError, decode, encode
from autograder.engine.judge.compare import Difference, compare
from autograder.engine.judge.mistakes import Mistake, apply, read_mistakes
from autograder.engine.judge.traits import Traits, leave_out_common, look
from autograder.engine.probes import Case, Observed, Probe, probes_of

SAMPLE = 64  # elements of an array that are kept of what a mistake yields
OTHER_SEED = PUBLIC_SEED + 1
_OURS = "that is a fault of the grader, not yours: please report it, with your code."
Tree = dict[str, Any]  # a part of a key, as JSON


class AnswerKeyError(UserError):
    """A key that can't be read, or a reference that can't be observed; the message says what to do."""


@dataclass(frozen=True)
class Expected:
    """One value that the reference yields, and how to compare it."""

    value: Any
    rtol: float | None = None
    atol: float = 0.0
    judge: Callable[..., str | None] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    varies: bool = True
    consistency: bool = False

    def differs_from(self, got: Any) -> Difference | None:
        """How a decoded value differs from this one, or what the judge says against it; None if it is right."""
        try:
            if self.judge is None:
                return compare(got, self.value, rtol=self.rtol, atol=self.atol)
            sentence = self.judge(got, self.value, **self.given)
        except Exception as problem:  # `got` is anything at all, and a judge may stumble over it
            advice = "is its structure right?" if self.judge else _OURS  # a judge was seen to judge what is right
            sentence = f"it can't be compared ({type(problem).__name__}: {problem}); {advice}"
        return Difference("judged", "", sentence) if sentence else None


@dataclass(frozen=True)
class ExpectedCase:
    """What the reference yields for one case.

    Attributes:
        probe: the name of the probe.
        inputs: hash of the inputs that were drawn.
        call: the call under test in words, with shapes.
        touched: arguments that the reference itself changes.
        called: the exercises that the probe calls.
        remembered: the reference's result is the same for other arguments.
        sizes: the case's integer parameters by name.
        part: the name of the part of the points it belongs to, if any.
        traits: what the arguments are like with which the probe calls.
        values: name → expected value.
    """

    probe: str
    inputs: str
    call: str
    touched: frozenset[str]
    called: frozenset[str]
    remembered: bool
    sizes: dict[str, int]
    described: str
    part: str | None
    traits: Traits
    values: dict[str, Expected]

    @property
    def name(self) -> str:
        """`gradients(batch=4, inputs=3)`: the probe with the case's parameters."""
        return f"{self.probe}({self.described})"


@dataclass(frozen=True)
class Trace:
    """Where a known mistake differs from the reference in one case.

    Attributes:
        probe, case: which case.
        seen: name → :func:`sketch` of a value that differs.
        touched: what calls have changed, if that differs.
        raised: :func:`exception_digest` of what it raises, if it does.
    """

    probe: str
    case: int
    seen: dict[str, Any] = field(default_factory=dict)
    touched: tuple[str, ...] | None = None
    raised: str | None = None


@dataclass(frozen=True)
class KnownMistake:
    """A known wrong implementation: where it differs from the reference, and what to say to whoever made it."""

    exercise: str
    name: str
    hint: str
    traces: tuple[Trace, ...]


@dataclass(frozen=True)
class Key:
    """The public expectations and known mistakes of an assignment.

    Attributes:
        cases: what is expected.
        mistakes: what is known.
        unread: exercise → function and argument, for each that the reference itself does not read.
        made_from: fingerprints.
    """

    cases: dict[CaseId, ExpectedCase]
    mistakes: tuple[KnownMistake, ...]
    unread: dict[str, tuple[tuple[str, str], ...]]
    made_from: dict[str, str]


def _grader(path: Path) -> ModuleType:
    try:
        return load_grader(path)
    except Exception as problem:
        raise AnswerKeyError(f"{path.name} can't be imported: {type(problem).__name__}: {problem}") from problem


def load_reference(assignment: Assignment) -> Loaded:
    """Run the definitions of the reference notebook in this process."""
    if assignment.reference is None:
        raise AnswerKeyError(
            f"The reference of {assignment.slug} is not in this copy, so it can be graded at the public seed only."
        )
    loaded = load(read_notebook(assignment.reference), [e.name for e in assignment.exercises])
    broken = {name: text for name, text in loaded.spoiled.items() if name in {e.name for e in assignment.exercises}}
    if broken:
        raise AnswerKeyError(f"The reference of {assignment.slug} does not run: {'; '.join(broken.values())}")
    return loaded


@dataclass
class _Reference:
    """A loaded reference with its probes, and what it has yielded so far."""

    loaded: Loaded
    probes: list[Probe]
    seen: dict[tuple[str, int], dict[CaseId, ExpectedCase]] = field(default_factory=dict)


@lru_cache(maxsize=8)
def _reference(assignment: Assignment, stamps: tuple[int, ...]) -> _Reference:
    return _Reference(load_reference(assignment), probes_of(_grader(assignment.grader)))


def expect(assignment: Assignment, exercises: Collection[str], seed: int) -> dict[CaseId, ExpectedCase]:
    """What the reference yields at `seed`, observed in this (trusted) process: once, while its files don't change."""
    files = [path for path in (assignment.reference, assignment.grader) if path and path.exists()]
    reference = _reference(assignment, tuple(path.stat().st_mtime_ns for path in files))
    found: dict[CaseId, ExpectedCase] = {}
    for exercise in exercises:
        if (exercise, seed) not in reference.seen:
            reference.seen[exercise, seed] = {
                seen.record.id: _expected_case(seen, {})
                for seen in observe(reference.probes, [exercise], seed, reference.loaded)
            }
        found |= reference.seen[exercise, seed]
    return found


def _expected_case(seen: Seen, traits: Traits) -> ExpectedCase:
    """What the reference was seen to yield, as what is expected of others."""
    probe, case, record = seen.probe, seen.case, seen.record
    if record.raised:
        raise AnswerKeyError(
            f"Probe {probe.name}({probe.describe(case)}) of {probe.exercise} fails on the reference: "
            f"{record.raised.type}: {record.raised.text}"
        )
    if not seen.raw:
        raise AnswerKeyError(f"Probe {probe.name}({probe.describe(case)}) of {probe.exercise} yields nothing.")
    return ExpectedCase(
        probe=probe.name,
        inputs=record.inputs,
        call=record.call,
        touched=frozenset(record.touched),
        called=frozenset(record.called),
        remembered=record.remembered,
        sizes={n: v for n, v in probe.parameters(case).items() if isinstance(v, int) and not isinstance(v, bool)},
        described=probe.describe(case),
        part=probe.part_of(case),
        traits=traits,
        values={name: _expected(held, record.seen[name]) for name, held in seen.raw.items()},
    )


def _expected(held: Observed, tree: Any) -> Expected:
    return Expected(
        value=decode(tree),
        rtol=held.rtol,
        atol=held.atol,
        judge=held.judge,
        given=decode(encode(dict(held.given or {}))),  # as it comes out of a key
        consistency=held.consistency,
    )


# Recording ----------------------------------------------------------------------------------------------------------


def digest(path: Path | None) -> str:
    """SHA-256 of a text file, whatever its line endings, or of nothing."""
    content = path.read_bytes().replace(b"\r\n", b"\n") if path and path.is_file() else b""
    return hashlib.sha256(content).hexdigest()[:16]


def record_key(
    assignment: Assignment,
    mistakes: Path,
    made_from: dict[str, str],
    tell: Callable[[str], object] = str,
    *,
    each: int | None = None,
) -> Tree:
    """Observe the reference and its mistakes; the key as a JSON tree.

    Args:
        assignment: what the key is for.
        mistakes: the file of known mistakes.
        made_from: digests of what the key depends on.
        tell: hears what is about to be observed.
        each: how many mistakes of each exercise; by default all.

    Raises AnswerKeyError for a grader that could give points it should not: an exercise without probes, a probe without
    observations, a part none of whose observations varies with the seed, or a call that `needs` does not declare.
    """
    loaded = load_reference(assignment)
    grader = _grader(assignment.grader)
    probes = probes_of(grader)
    known, names = _first(read_mistakes(mistakes), each), [e.name for e in assignment.exercises]
    code = Code(read_notebook(assignment.reference)) if assignment.reference else Code([])
    for path, kind, listed in ((assignment.grader, "probes", probes), (mistakes, "mistakes", known)):
        if unknown := sorted({one.exercise for one in listed} - set(names)):
            raise AnswerKeyError(f"{path.name} has {kind} for {unknown}, which {assignment.slug} lacks.")
    cases: list[Tree] = []
    public: dict[CaseId, tuple[ExpectedCase, Record]] = {}

    traits: dict[bool, Traits] = {}  # of the case that is observed: of the exercise itself, and of what it needs
    current = ""

    def begin(probe: Probe, case: Case) -> None:
        nonlocal current
        tell(f"the probe {probe.name} of {probe.exercise}")
        current = probe.exercise
        traits.update({True: {}, False: {}})

    def look_at(name: str, arguments: Mapping[str, Any]) -> None:
        look(traits[name == current], arguments)

    public_ones = observe(probes, names, PUBLIC_SEED, loaded, before=begin, look=look_at)
    for seen, again in zip(public_ones, observe(probes, names, OTHER_SEED, loaded), strict=True):
        expected = _expected_case(seen, traits[False] | traits[True])
        record, other = seen.record, again.record
        public[record.id] = expected, record
        _check_values(seen.probe, expected, grader)
        _check_needs(assignment, seen.probe, record)
        _check_draws(seen.probe, record, other)
        cases.append(
            _case_tree(expected, record, {n: _varies(v, other.seen.get(n)) for n, v in expected.values.items()})
        )
    for exercise in assignment.exercises:
        mine = [c for c in cases if c["exercise"] == exercise.name]
        _check_earning(exercise.name, mine)
        leave_out_common([c["traits"] for c in mine])
    return {
        "made_from": made_from,
        "cases": cases,
        "unread": {name: unread(statement.node) for name in names if (statement := code.definition(name))},
        "mistakes": [_trace(m, probes, loaded, public, assignment) for m in _told(known, tell)],
    }


def _first(mistakes: Sequence[Mistake], each: int | None) -> list[Mistake]:
    """The first few of each exercise, or all."""
    before: Counter[str] = Counter()
    found = []
    for mistake in mistakes:
        if each is None or before[mistake.exercise] < each:
            found.append(mistake)
        before[mistake.exercise] += 1
    return found


def _told(mistakes: Iterable[Mistake], tell: Callable[[str], object]) -> Iterator[Mistake]:
    for mistake in mistakes:
        tell(f"the mistake {mistake.name!r} of {mistake.exercise}")
        yield mistake


def record_reference(assignment: Assignment, seed: int, made_from: dict[str, str]) -> Tree:
    """Observe the reference alone, at any seed; as a key without mistakes, in which all values are said to vary."""
    loaded, probes = load_reference(assignment), probes_of(_grader(assignment.grader))
    names = [e.name for e in assignment.exercises]
    cases = [_case_tree(_expected_case(seen, {}), seen.record) for seen in observe(probes, names, seed, loaded)]
    return {"made_from": made_from, "cases": cases, "unread": {}, "mistakes": []}


def _case_tree(expected: ExpectedCase, record: Record, varies: Mapping[str, bool] | None = None) -> Tree:
    return {
        "exercise": record.exercise,
        "probe": record.probe,
        "case": record.case,
        "inputs": expected.inputs,
        "call": expected.call,
        "touched": sorted(expected.touched),
        "called": sorted(expected.called),
        "remembered": expected.remembered,
        "sizes": expected.sizes,
        "described": expected.described,
        "part": expected.part,
        "traits": expected.traits,
        "values": {
            name: {
                "value": record.seen[name],
                "rtol": value.rtol,
                "atol": value.atol,
                "judge": value.judge.__name__ if value.judge else None,
                "given": encode(dict(value.given)),
                "varies": varies is None or varies[name],
                "consistency": value.consistency,
            }
            for name, value in expected.values.items()
        },
    }


def _varies(value: Expected, other: Any) -> bool:
    """Whether what is right at one seed is wrong at the other."""
    return other is not None and not value.consistency and value.differs_from(decode(other)) is not None


def _check_values(probe: Probe, expected: ExpectedCase, grader: Any) -> None:
    for name, value in expected.values.items():
        where = f"`{name}` of probe {probe.name} of {probe.exercise}"
        if value.judge is None and _opaque(value.value):
            raise AnswerKeyError(f"{where} is an object of which only the type would be compared: yield its parts.")
        if value.judge is not None and getattr(grader, value.judge.__name__, None) is not value.judge:
            raise AnswerKeyError(f"The judge of {where} must be a function at the top level of the grader.")
        if value.judge is not None and value.differs_from(value.value):
            raise AnswerKeyError(f"The judge of {where} refuses the reference.")


def _opaque(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_opaque, value.values()))
    return isinstance(value, Opaque) or (isinstance(value, list | tuple | frozenset) and any(map(_opaque, value)))


def _check_needs(assignment: Assignment, probe: Probe, record: Record) -> None:
    exercises = {e.name for e in assignment.exercises}
    allowed = with_needs(assignment.exercises, {probe.exercise})
    undeclared = (set(record.called) & exercises) - allowed
    if undeclared:
        raise AnswerKeyError(
            f"Probe {probe.name} calls {sorted(undeclared)}; declare it in `needs` of {probe.exercise} in the master."
        )


def _check_draws(probe: Probe, record: Record, other: Record) -> None:
    where = f"Probe {probe.name} of {probe.exercise}"
    if record.drew_late:
        raise AnswerKeyError(f"{where} draws from rng after its first call: an exception would shift what follows.")
    if record.seen != other.seen and record.inputs == other.inputs:
        raise AnswerKeyError(f"{where} takes random numbers from elsewhere than rng.")


def _check_earning(exercise: str, cases: list[Tree]) -> None:
    if not cases:
        raise AnswerKeyError(f"Exercise {exercise} has no probe.")
    parts = {c["part"] for c in cases if c["part"]} or {None}
    if len(parts) == 1 and None not in parts:
        raise AnswerKeyError(f"Exercise {exercise} has a single part, {parts.pop()}: it needs two, or none.")
    for part in parts:
        mine = [c for c in cases if c["part"] == part]
        if not any(v["varies"] for c in mine for v in c["values"].values()):
            raise AnswerKeyError(f"No observation of {exercise}{f' ({part})' if part else ''} varies with the seed.")


def _trace(
    mistake: Mistake,
    probes: Iterable[Probe],
    loaded: Loaded,
    public: dict[CaseId, tuple[ExpectedCase, Record]],
    assignment: Assignment,
) -> Tree:
    """Where a mistake's observations differ from the reference's."""
    traces = []
    with apply(mistake, loaded, read_notebook(assignment.reference)):  # type: ignore[arg-type]
        for found in observe(probes, [mistake.exercise], PUBLIC_SEED, loaded):
            got, (expected, right) = found.record, public[found.record.id]
            seen = {
                name: sketch(got.seen[name])
                for name, value in expected.values.items()
                if name in got.seen and not value.consistency and value.differs_from(decode(got.seen[name]))
            }
            trace: Tree = {"seen": seen} if seen else {}
            if got.touched != right.touched:
                trace["touched"] = got.touched
            if got.raised:
                trace["raised"] = exception_digest(got.raised)
            if trace:
                traces.append({"probe": got.probe, "case": got.case, **trace})
    if not traces:
        raise AnswerKeyError(
            f"The mistake {mistake.name!r} of {mistake.exercise} yields what the reference yields: sharpen a probe."
        )
    return {"exercise": mistake.exercise, "name": mistake.name, "hint": mistake.hint, "traces": traces}


def exception_digest(raised: Raised) -> str:
    """What tells an exception from others of its type: a digest of type and text, addresses in memory left out."""
    text = re.sub(r"0x[0-9a-fA-F]+", "", f"{raised.type}: {raised.text}")
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]


def sketch(tree: Any) -> Any:
    """A value with only a sample of each large array: enough to recognise it, too little to copy."""
    return encode(_sample(decode(tree)))


def _sample(value: Any) -> Any:
    if isinstance(value, Tensor):
        return {"tensor": value.dtype, "of": _sample(value.array)}
    if isinstance(value, np.ndarray):
        step = -(-value.size // SAMPLE) or 1
        return {"shape": list(value.shape), "sample": np.ascontiguousarray(value.ravel()[::step])}
    if isinstance(value, dict):
        return {k: _sample(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_sample(v) for v in value)
    return value


# Files --------------------------------------------------------------------------------------------------------------


_MADE_FROM = "made_from.npy"


def write_key(tree: Tree, path: Path) -> None:
    """Write a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(tree))


def packed(tree: Tree) -> bytes:
    """A key as an .npz, each of its parts as JSON text in bytes: no pickle, and the same bytes every time.

    What it was made from is not compressed, so that little of the file changes with it.
    """
    return zipped({f"{name}.npy": _npy(part) for name, part in tree.items()}, stored=_MADE_FROM)


def _npy(tree: Any) -> bytes:
    text = json.dumps(tree, separators=(",", ":"))
    written = io.BytesIO()
    np.lib.format.write_array(written, np.frombuffer(text.encode(), dtype=np.uint8), allow_pickle=False)
    return written.getvalue()


def zipped(files: Mapping[str, bytes], *, stored: str = "") -> bytes:
    """A zip of files, by name. The same content gives the same bytes.

    Args:
        files: name → content.
        stored: the name of one that is not compressed.
    """
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_STORED if name == stored else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # as on Unix, wherever it is written
            archive.writestr(entry, content)
    return written.getvalue()


def key_digest(path: Path) -> str:
    """A digest of what a key says, whatever it was made from; of the file, if it is no key."""
    try:
        with zipfile.ZipFile(path) as archive:
            says = b"".join(archive.read(name) for name in archive.namelist() if name != _MADE_FROM)
        return hashlib.sha256(says).hexdigest()[:16]
    except (OSError, zipfile.BadZipFile, zlib.error):
        return digest(path)


def read_tree(path: Path) -> Tree:
    """The JSON tree of a key file. Raises AnswerKeyError if it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: json.loads(stored[name].tobytes()) for name in stored.files}
    except FileNotFoundError:
        raise AnswerKeyError(
            f"{path} is missing. `s30 build` makes it from the master; a learner's copy comes with it."
        ) from None
    except Exception as problem:
        raise AnswerKeyError(f"{path} can't be read ({problem}). Get it anew: `git checkout -- {path}`.") from None


def read_key(path: Path, grader: Path) -> Key:
    """Read a key; judges are found by name in the grader."""
    tree = read_tree(path)
    made_from = tree.get("made_from")
    if not isinstance(made_from, dict) or made_from.get("grader") != digest(grader):
        raise AnswerKeyError(f"{path} was not made from {grader.name} as it is now: run `s30 build`.")
    module = _grader(grader)
    cases = {}
    try:
        for c in tree["cases"]:
            cases[c["exercise"], c["probe"], c["case"]] = ExpectedCase(
                probe=c["probe"],
                inputs=c["inputs"],
                call=c["call"],
                touched=frozenset(c["touched"]),
                called=frozenset(c["called"]),
                remembered=c["remembered"],
                sizes=c["sizes"],
                described=c["described"],
                part=c["part"],
                traits=c["traits"],
                values={name: _value_of(v, module) for name, v in c["values"].items()},
            )
        mistakes = tuple(
            KnownMistake(m["exercise"], m["name"], m["hint"], tuple(map(_trace_of, m["traces"])))
            for m in tree["mistakes"]
        )
        unmeant = {name: tuple((f, a) for f, a in listed) for name, listed in tree["unread"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, WireError) as problem:
        raise AnswerKeyError(f"{path} does not fit {grader.name} ({problem!r}): run `s30 build`.") from None
    return Key(cases, mistakes, unmeant, made_from)


def _trace_of(t: Tree) -> Trace:
    touched = tuple(t["touched"]) if "touched" in t else None
    return Trace(t["probe"], t["case"], t.get("seen", {}), touched, t.get("raised"))


def _value_of(v: Tree, module: Any) -> Expected:
    return Expected(
        value=decode(v["value"]),
        rtol=v["rtol"],
        atol=v["atol"],
        judge=getattr(module, v["judge"]) if v["judge"] else None,
        given=decode(v["given"]),
        varies=v["varies"],
        consistency=v["consistency"],
    )
