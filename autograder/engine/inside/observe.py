"""Running probes on an implementation and recording what it returned.

:func:`observe_case` runs in the process of the code under test: in a notebook's kernel for `check`, in a child
process for a file (:mod:`autograder.engine.inside.child`). It knows inputs, never answers.
"""

from __future__ import annotations

import contextlib
import copy
import fnmatch
import hashlib
import importlib.util
import inspect
import linecache
import os
import re
import sys
import traceback
import types
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from autograder.engine.inside.load import Loaded, as_main
from autograder.engine.inside.notebook import matches
from autograder.engine.inside.wire import WireError, encode
from autograder.engine.probes import Case, Observed, Probe, WrongReturn

PUBLIC_SEED = 30
MAX_OBSERVATIONS = 1000
Record = dict[str, Any]


class Shortcut(Exception):
    """Raised by a forbidden function in place of doing its work."""


def load_grader(path: Path) -> types.ModuleType:
    """Import a grader file by its path (its name begins with a number)."""
    spec = importlib.util.spec_from_file_location(f"grader_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _HashedRng(np.random.Generator):
    """A NumPy generator that keeps a hash of everything it gave out."""

    def __init__(self, bit_generator: np.random.BitGenerator) -> None:
        super().__init__(bit_generator)
        self.digest = hashlib.sha256()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or name == "spawn" or not callable(value):
            return value

        def draw(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            drawn = np.asarray(result if result is not None else args[0])
            if drawn.dtype.kind in "fc":  # the last digits may differ between machines
                drawn = np.round(drawn, 6) + 0.0
            content = repr(drawn.tolist()).encode() if drawn.dtype.hasobject else drawn.tobytes()
            self.digest.update(f"{name}{drawn.shape}".encode() + content)
            return result

        return draw


class _Implementation:
    """The learner's names, as a probe sees them: calls are described, and changed arguments are noticed."""

    def __init__(self, names: Mapping[str, Any], exercise: str, rng: _HashedRng) -> None:
        self._names = names
        self._exercise = exercise
        self._rng = rng
        self.drawn_before = ""  # hash of what had been drawn when the implementation was first called
        self.call = ""
        self.called: set[str] = set()
        self.touched: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise NameError(f"name {name!r} is not defined", name=name)
        value = self._names[name]
        if inspect.isclass(value):
            self.called.add(name)
        if inspect.isclass(value) or not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self.drawn_before = self.drawn_before or self._rng.digest.hexdigest()
            self.called.add(name)
            arguments = _bind(value, args, kwargs)
            if name == self._exercise and not self.call:
                self.call = f"{name}({', '.join(f'{n}: {summary(v)}' for n, v in arguments.items())})"
            before = {n: _checksum(v) for n, v in arguments.items()}
            result = value(*args, **kwargs)
            self.touched |= {f"{name}: {n}" for n, v in arguments.items() if _checksum(v) != before[n]}
            return result

        return call


def _bind(function: Callable, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return {**{f"argument {i}": a for i, a in enumerate(args, 1)}, **kwargs}


def summary(value: Any, depth: int = 0) -> str:
    """A value in a few words: arrays by shape and dtype, containers by their parts."""
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype}"
    if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "shape"):
        return f"tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, dict) and depth < 2:
        return "{" + ", ".join(f"{k}: {summary(v, depth + 1)}" for k, v in list(value.items())[:6]) + "}"
    if isinstance(value, list | tuple) and depth < 2 and len(value) > 0:
        kinds = {summary(item, depth + 1) for item in value}
        if len(kinds) == 1:
            return f"{type(value).__name__} of {len(value)} × {kinds.pop()}"
        return type(value).__name__
    if isinstance(value, bool | int | float | str | None):
        text = repr(value)
        return text if len(text) <= 40 else text[:37] + "…"
    return type(value).__name__


def _checksum(value: Any, depth: int = 0) -> int:
    """A checksum of the arrays, numbers and strings that an argument holds."""
    if isinstance(value, float | complex | str | bytes | np.generic):
        return zlib.crc32(repr(value).encode(errors="replace"))
    if isinstance(value, int):
        return hash(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return zlib.crc32(np.ascontiguousarray(value).data)
    if depth < 4 and isinstance(value, dict):
        return hash(tuple(_checksum(item, depth + 1) for item in value.values()))
    if depth < 4 and isinstance(value, list | tuple):
        return hash(tuple(_checksum(item, depth + 1) for item in value))
    if type(value).__module__ == "torch" and hasattr(value, "detach"):
        with contextlib.suppress(Exception):
            return zlib.crc32(value.detach().float().cpu().contiguous().numpy())
    return 0


def observe_case(probe: Probe, case: Case, seed: int, loaded: Loaded) -> tuple[Record, dict[str, Observed]]:
    """Run one case.

    Returns:
        The record, a JSON tree that may cross to another process; and the raw observations, for the trusted side.
    """
    rng = _HashedRng(np.random.PCG64([seed, case.index]))  # the stream of default_rng
    impl = _Implementation(loaded.namespace, probe.exercise, rng)
    record: Record = {"exercise": probe.exercise, "probe": probe.name, "case": case.index, "seed": seed}
    raw: dict[str, Observed] = {}
    seen: dict[str, Any] = {}
    try:
        with _quiet(), _seeded(seed, case.index), as_main(loaded.module):
            for name, value in probe.run(impl, rng, *copy.deepcopy(case.params)):
                held = value if isinstance(value, Observed) else Observed(value)
                try:
                    seen[name] = encode(held.value)
                except WireError as problem:
                    raise WrongReturn(f"`{name}` can't be compared: {problem}.") from None
                raw[name] = held
                if len(seen) > MAX_OBSERVATIONS:
                    raise WrongReturn("It yields more values than can be compared.")
    except KeyboardInterrupt:
        raise
    except BaseException as problem:
        record["raised"] = _describe(problem, loaded)
    record |= {"seen": seen, "touched": sorted(impl.touched), "inputs": rng.digest.hexdigest()[:16]}
    record |= {"call": impl.call, "called": sorted(impl.called)}
    record["drew_late"] = bool(impl.drawn_before) and impl.drawn_before != rng.digest.hexdigest()
    return record, raw


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Printing and warnings change no verdict, and would only drown it."""
    with (
        open(os.devnull, "w", encoding="utf-8", errors="replace") as nowhere,
        np.errstate(all="ignore"),
        warnings.catch_warnings(action="ignore"),
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


@contextlib.contextmanager
def _seeded(*seed: int) -> Iterator[None]:
    """The global generators of NumPy and torch at a seed, and back to where they were."""
    state = np.random.get_state()
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    np.random.seed(seed)
    if torch:
        torch.default_generator.manual_seed(hash(seed) % 2**31)  # that of the CPU; all others take long to reach
    try:
        yield
    finally:
        np.random.set_state(state)
        if torch:
            torch.set_rng_state(torch_state)


def _describe(problem: BaseException, loaded: Loaded) -> Record:
    """An exception as data: its kind, its text, and where in the learner's own code it was raised."""
    if isinstance(problem, RuntimeError) and isinstance(problem.__cause__, StopIteration):
        problem = problem.__cause__  # a generator, which a probe is, turns one into the other
    text = ""
    with contextlib.suppress(Exception):
        text = str(problem)[:1000]
    found: Record = {"type": type(problem).__name__, "text": text}
    if isinstance(problem, WrongReturn | Shortcut):
        found["sentence"] = text
    if isinstance(problem, MemoryError) or "can't allocate memory" in text or "DefaultCPUAllocator" in text:
        found["memory"] = True
    if isinstance(problem, NameError) and getattr(problem, "name", None):
        name = str(problem.name)
        if name in loaded.skipped:
            found["sentence"] = (
                f"`{name}` is set by a cell that is not run in grading (cell {loaded.skipped[name]}); move it into "
                "the function, or make it an argument."
            )
        elif name in loaded.spoiled:
            found["sentence"] = f"`{name}` is missing because {loaded.spoiled[name]}"
    frames = [
        (frame, line)
        for frame, line in traceback.walk_tb(problem.__traceback__)
        if frame.f_globals is loaded.namespace and frame.f_code.co_filename != "<string>"  # text that was executed
    ]
    if frames:
        frame, line = frames[-1]
        file = frame.f_code.co_filename
        with contextlib.suppress(Exception):
            found["source"] = _source_line(file, line)
        found |= {"file": file if file.startswith("<cell ") else "", "line": line, "function": frame.f_code.co_name}
    elif "sentence" not in found and "memory" not in found:
        found["unusable"] = True  # raised by the probe, while it used what the learner returned
    return found


def _source_line(file: str, line: int) -> str:
    return linecache.getline(file, line).strip()[:200]


# Shortcuts ----------------------------------------------------------------------------------------------------------


@dataclass
class _Library:
    """The modules of a package that were loaded when it was looked at, and where they hold each callable.

    Looking at a large package takes long, and copies most of its memory in a process that was forked: so it is done
    once, before the fork, and not in every child.
    """

    loaded: int  # modules of all packages
    names: str  # of its own, a line each
    holders: dict[int, list[tuple[dict[str, Any], str]]]  # id of a callable → namespaces and names


@cache
def library(root: str) -> _Library:
    """What is loaded of a package, as of the first call."""
    if root not in sys.modules:
        return _Library(len(sys.modules), "", {})
    if root == "torch":  # it makes a table of its functions when the name of one is first asked for
        from torch.overrides import resolve_name

        resolve_name(sys.modules["torch"].zeros)
    names = [name for name, module in list(sys.modules.items()) if name.split(".")[0] == root and module is not None]
    holders: dict[int, list[tuple[dict[str, Any], str]]] = {}
    for held in [vars(sys.modules[name]) for name in names]:
        for name, value in held.items():
            if callable(value):
                holders.setdefault(id(value), []).append((held, name))
    return _Library(len(sys.modules), "\n".join(["", *names, ""]), holders)


@dataclass
class _Outlawed:
    """What patterns rule out, in the modules that were loaded when it was looked for."""

    banned: dict[int, Callable] = field(default_factory=dict)  # id of a callable → what raises in its place
    places: list[tuple[dict[str, Any], str, Any, Callable]] = field(default_factory=list)  # namespace, name, value

    def look_in(self, modules: Iterable[str], patterns: Sequence[str], holders: dict[int, list]) -> None:
        """Add what some modules hold; `holders` tells by which other names it is known."""
        for module in filter(None, map(sys.modules.get, modules)):
            for attribute, value in list(vars(module).items()):
                dotted = f"{module.__name__}.{attribute}"
                if not callable(value) or attribute.startswith("_") or not matches(dotted, patterns):
                    continue
                by_name = any(fnmatch.fnmatchcase(dotted, pattern) for pattern in patterns)
                own_ufunc = isinstance(value, np.ufunc) and getattr(np, value.__name__, None) is not value
                if by_name or own_ufunc or getattr(value, "__module__", None) == module.__name__:
                    self.banned[id(value)] = _raiser(dotted)
                    self.places += [(*h, value, self.banned[id(value)]) for h in holders.get(id(value), ())]
                elif isinstance(value, types.BuiltinFunctionType):
                    self.places.append((vars(module), attribute, value, _raiser(dotted)))


@cache
def outlawed(patterns: tuple[str, ...]) -> _Outlawed:
    """What some patterns rule out in the modules that were loaded at the first call."""
    found = _Outlawed()
    for root in sorted({pattern.split(".")[0] for pattern in patterns}):
        known = library(root)
        near = {name for pattern in patterns for name in _near(pattern, known.names)}
        found.look_in(sorted(near), patterns, known.holders)
    return found


@contextlib.contextmanager
def ruled_out(patterns: Sequence[str], namespace: dict[str, Any]) -> Iterator[None]:
    """Within the block, what `patterns` name raises, by whatever name modules and `namespace` hold it.

    What a forbidden module merely imports is left alone, for others need it too. A forbidden package that is not
    loaded yet can't be imported, and what torch runs is known by its own name, however the code came by it.
    """
    known = outlawed(tuple(patterns))
    found = _Outlawed(dict(known.banned), list(known.places))
    namespaces = [namespace]
    for root in {pattern.split(".")[0] for pattern in patterns}:
        before = library(root)
        if len(sys.modules) != before.loaded and root in sys.modules:
            late = [n for n in list(sys.modules) if n.split(".")[0] == root and f"\n{n}\n" not in before.names]
            namespaces += [vars(sys.modules[name]) for name in late if sys.modules[name] is not None]
            found.look_in(sorted(late), patterns, before.holders)
    for held in namespaces if found.banned else ():
        of_it = [(name, value) for name, value in held.items() if id(value) in found.banned]
        found.places += [(held, name, value, found.banned[id(value)]) for name, value in of_it]
    places = [(held, name, value, raiser) for held, name, value, raiser in found.places if held.get(name) is value]
    for held, name, _, raiser in places:
        held[name] = raiser
    sys.meta_path.insert(0, finder := _NoImport(patterns))
    try:
        with _watching(patterns):
            yield
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(finder)
        for held, name, value, _ in places:
            held[name] = value


def _near(pattern: str, names: str) -> Iterator[str]:
    """The modules, of those in lines, that may hold what a pattern names: those above it, and those that it covers."""
    fixed = re.split(r"[*?\[]", pattern)[0]
    parts = fixed.split(".")
    yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    yield from re.findall(rf"\n({re.escape(fixed)}.*)", names)


class _NoImport:
    """Refuses to import modules that patterns name."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = patterns

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """As the import system asks for a module."""
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns):
            _raiser(name)()


def _watching(patterns: Sequence[str]) -> contextlib.AbstractContextManager:
    """A mode in which torch tells the name of every function that it is about to run."""
    if "torch" not in sys.modules or not any(pattern.startswith("torch.") for pattern in patterns):
        return contextlib.nullcontext()
    from torch.overrides import TorchFunctionMode, resolve_name

    allowed = set()

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
            if func not in allowed:
                name = resolve_name(func) or f"torch.{getattr(func, '__name__', '')}"
                if name.startswith("aten."):  # an operator of the dispatcher: `aten.lstm.input`
                    name = f"torch.{name.split('.')[1]}"
                if matches(name, patterns):
                    _raiser(name)()
                allowed.add(func)
            return func(*args, **(kwargs or {}))

    return Watch()


def _raiser(dotted: str) -> Callable:
    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise Shortcut(f"`{dotted}` does this exercise for you, so it can't be used here.")

    return forbidden
