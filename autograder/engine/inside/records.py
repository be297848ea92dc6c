"""What crosses the border to a process that runs foreign code, and back: frozen dataclasses, and one reader of them.

The trusted side sends a :class:`Request`, and :class:`More` to a process that waits. What comes back is a stream of
events, a line of JSON each. Whoever sends them may be hostile: :func:`read` makes nothing but these dataclasses, with
fields of the types that they declare, and refuses everything else.
"""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from autograder.engine.inside.wire import WireError

MAX_PARTS = 2_000_000  # of one line: an empty list takes two bytes to send and sixty to hold
MAX_TEXT = 20_000  # characters of one name, sentence or line of source that is sent back
MAX_SAID = 100_000  # bytes of one event, but for the values that a probe has seen
Shape = TypeVar("Shape")
EARLIER = "an earlier result"  # among what a call has changed: what the call before it returned
OTHERWISE = "its own result"  # … and what the same call returns when others were made
_MISFIT = re.compile(r"\(\) (takes|missing|got an unexpected|got multiple|got some positional)")


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: wall time of one case, or of one statement while the notebook is loaded.
        total_seconds: wall time of all of it.
        memory_mb: memory beyond that of Python, NumPy and torch.
    """

    seconds: float = 10.0
    total_seconds: float = 240.0
    memory_mb: int = 2048


# What is asked ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class More:
    """What a process that waits is asked next: the probes of some exercises, at a seed."""

    exercises: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Request(More):
    """What a process is asked first.

    Attributes:
        cells: number and text of each code cell.
        names: of all exercises of the assignment.
        forbids: exercise → patterns of what it may not use.
        skip: places (cell, line) of statements to leave out.
        grader: path of the file with the probes.
        torch: whether torch is to be had; where it is not, it can't be imported.
        memory_mb: see :class:`Limits`.
        seconds: of processor time, for all that is asked of the process.
        core: of the processor, counted round, on which a sandboxed process runs with all its threads.
    """

    cells: tuple[tuple[int, str], ...]
    names: tuple[str, ...]
    forbids: dict[str, tuple[str, ...]]
    skip: tuple[tuple[int, int], ...]
    grader: str
    torch: bool
    memory_mb: int
    seconds: float
    core: int = 0


# What is answered ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Raised:
    """An exception as data.

    Attributes:
        type, text: of the exception.
        sentence: what to tell instead, where the engine knows better.
        memory: it says that memory ran out.
        unusable: raised by the probe, while it used what the learner returned.
        file, line, function, source: where in the learner's own code; `file` is empty if no cell is known.
        below: where in what that called, in words, if it was raised in another cell of the notebook.
    """

    type: str
    text: str = ""
    sentence: str = ""
    memory: bool = False
    unusable: bool = False
    file: str = ""
    line: int = 0
    function: str = ""
    source: str = ""
    below: str = ""

    @property
    def misfit(self) -> bool:
        """Whether the probe called a function with other arguments than it takes."""
        return self.unusable and self.type == "TypeError" and bool(_MISFIT.search(self.text))


@dataclass(frozen=True)
class Record:
    """What one case of a probe has seen.

    Attributes:
        exercise, probe, case, seed: of what.
        inputs: a hash of the inputs that were drawn.
        seen: name → value, as :func:`autograder.engine.inside.wire.encode` gives it.
        touched: arguments that a call has changed, modes that it left switched, :data:`EARLIER` or :data:`OTHERWISE`.
        called: the names of the notebook that were called.
        call: the call under test in words, with shapes, if there was one kind of it.
        drew_late: the probe drew inputs after its first call.
        remembered: what a call returned depends on calls before it.
        raised: what ended it, if it did not come to its end.
    """

    exercise: str
    probe: str
    case: int
    seed: int
    inputs: str
    seen: dict[str, Any]
    touched: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    call: str = ""
    drew_late: bool = False
    remembered: bool = False
    raised: Raised | None = None

    @property
    def id(self) -> CaseId:
        """Exercise, probe and case index."""
        return self.exercise, self.probe, self.case


CaseId = tuple[str, str, int]


@dataclass(frozen=True)
class Running:
    """A statement of the notebook is about to run."""

    cell: int
    line: int


@dataclass(frozen=True)
class Defined:
    """The notebook's definitions have run; name → sentence, for names that could not be defined."""

    spoiled: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """A case is about to run. Exercises are run in the order in which they were asked."""

    exercise: str
    probe: str
    case: int


@dataclass(frozen=True)
class Waiting:
    """All that was asked has been done."""


@dataclass(frozen=True)
class NoTorch:
    """Torch is not installed, and the process ends."""


Event = Running | Defined | Begun | Record | Waiting | NoTorch
_EVENTS = {kind.__name__: kind for kind in get_args(Event)}


# Writing and reading ------------------------------------------------------------------------------------------------


def as_tree(value: Any) -> dict[str, Any]:
    """One of these dataclasses as a JSON tree; what it holds is not copied."""
    return {name: as_tree(held) if is_dataclass(held) else held for name, held in vars(value).items()}


def write_event(event: Event) -> str:
    """An event as text without line breaks."""
    return json.dumps({"event": type(event).__name__, **as_tree(event)})


def read_event(line: bytes) -> Event | None:
    """The event in a line that a child sent, if it is one."""
    if sum(line.count(sign) for sign in (b"[", b"{", b",")) > MAX_PARTS:
        return None
    try:
        tree = json.loads(line.decode("utf-8", errors="replace"))
        found: Event = _read(_EVENTS[tree.pop("event")], tree, MAX_TEXT)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    said = len(write_event(replace(found, seen={}))) if isinstance(found, Record) else len(line)
    return found if said <= MAX_SAID else None


def read(kind: type[Shape], tree: Any) -> Shape:
    """One of these dataclasses from a JSON tree. Raises WireError unless every field is there and of its type."""
    found: Shape = _read(kind, tree, sys.maxsize)
    return found


@cache
def _fields(kind: type) -> Mapping[str, tuple[Any, bool]]:
    """Field → its type, and whether it must be there."""
    hints = get_type_hints(kind)
    return {f.name: (hints[f.name], f.default is f.default_factory is MISSING) for f in fields(kind)}


def _read(kind: Any, tree: Any, longest: int) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return tree
    if is_dataclass(kind):
        known = _fields(kind)  # type: ignore[arg-type]
        needed = {name for name, (_, must) in known.items() if must}
        if type(tree) is dict and needed <= tree.keys() <= known.keys():
            return kind(**{name: _read(known[name][0], held, longest) for name, held in tree.items()})  # type: ignore[operator]
    elif origin is types.UnionType:  # with None, the only one there is
        return None if tree is None else _read(parts[0], tree, longest)
    elif origin is tuple and type(tree) is list:
        each = [parts[0]] * len(tree) if parts[-1] is Ellipsis else parts
        return tuple(_read(part, item, longest) for part, item in zip(each, tree, strict=True))
    elif origin is dict and type(tree) is dict:
        return {name: _read(parts[1], held, longest) for name, held in tree.items()}
    elif kind is float and type(tree) is int:
        return float(tree)
    elif type(tree) is kind and (kind is not str or len(tree) <= longest):
        return tree
    raise WireError(f"no {getattr(kind, '__name__', kind)}")
