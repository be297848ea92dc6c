"""What an exercise may not use, because it would do the work: found in the text, refused in the run.

An exercise names it by dotted patterns. The text is read before anything runs (:func:`shortcut`); what text can't tell,
because the code comes by a function in other ways, raises when it is called (:func:`ruled_out`). A process for NumPy
exercises keeps torch and its like out altogether (:func:`keep_libraries_out`).
"""

from __future__ import annotations

import ast
import contextlib
import fnmatch
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from autograder.engine.inside.notebook import Code, Statement, counted, runs_in_grading

GRADER = "autograder"  # the grader's own code does no exercise
NUMPY_ALONE = ("rapidfuzz", "scipy", "sklearn", "torch")  # what a NumPy exercise is solved without
NEEDED = (GRADER, "torch")  # by observing itself: these never raise as a whole


class Shortcut(Exception):
    """Raised by a forbidden function in place of doing its work."""


def forbidden(own: Sequence[str], *, torch: bool) -> tuple[str, ...]:
    """The patterns of all that an exercise may not use, given its own and whether it is one for torch."""
    return tuple(dict.fromkeys([GRADER, *own, *(() if torch else NUMPY_ALONE)]))


def in_words(forbids: Sequence[str]) -> str:
    """What an exercise is to be solved without, as its stub says it: `torch.nn.GRU*`. Nothing, if there is nothing.

    Names that nobody meets, such as those that begin with an underscore, are left out.
    """
    return ", ".join(name for name in forbids if name != GRADER and not re.search(r"\b_|\bmodules\b", name))


# In the text --------------------------------------------------------------------------------------------------------

# `torch._VF.lstm`, `torch.ops.aten.lstm` and the like are `torch.lstm`
_PRIVATE_DOOR = re.compile(r"^torch\.(?:\w+\.)*(?:_VF|_VariableFunctions(?:Class)?|aten|_refs)\.")


def shortcut(code: Code, name: str, forbidden: Sequence[str], stub: str | None = None) -> tuple[str, Statement] | None:
    """The first forbidden thing that `name`, or what it uses of the notebook, mentions; and where.

    Args:
        code: of the notebook.
        name: the exercise; of several definitions, as of all that it uses, only the one that counts is read.
        stub: fingerprint of the exercise's stub.
        forbidden: dotted patterns such as `torch.nn.LSTM*` or `torch`, which also covers all below it.
    """
    aliases = code.aliases()
    own_cells = {s.cell.number for s in code.definitions(name)}
    seen: set[str] = set()
    queue = [name]
    while queue:
        current = queue.pop()
        if current in seen:
            continue
        seen.add(current)
        run = [s for s in code.definitions(current) if runs_in_grading(s, own_cells, aliases)]
        statement = counted(run, stub if current == name else None)
        if statement is not None:
            imports = isinstance(statement.node, ast.Import | ast.ImportFrom)  # maybe of several modules
            for dotted in [aliases[current]] if imports else statement.mentioned:
                root, _, rest = dotted.partition(".")
                full = aliases.get(root, root) + (f".{rest}" if rest else "")
                if matches(full, forbidden) or matches(_PRIVATE_DOOR.sub("torch.", full), forbidden):
                    return full, statement
            queue.extend(statement.free)
    return None


def matches(dotted: str, patterns: Sequence[str]) -> bool:
    """Whether a dotted name is one of `patterns`, or lies below one."""
    return any(fnmatch.fnmatchcase(dotted, p) or fnmatch.fnmatchcase(dotted, f"{p}.*") for p in patterns)


# In the run ---------------------------------------------------------------------------------------------------------


def keep_libraries_out() -> None:
    """Let nothing in this process import what NumPy exercises are solved without any more."""
    sys.addaudithook(_keep_libraries_out)


def _keep_libraries_out(event: str, args: tuple[Any, ...], engine: str = str(Path(__file__).parents[1])) -> None:
    """An audit hook, which unlike an import hook can't be taken away again.

    It looks no name up before it refuses, so there is none to replace; and nobody may give a function of the engine
    other code, this one included, or other defaults.
    """
    if event == "import" and args[0].split(".")[0] in ("rapidfuzz", "scipy", "sklearn", "torch"):
        raise ImportError(f"{args[0]} can't be imported in a NumPy exercise")
    changed = event == "object.__setattr__" and args[1] in ("__code__", "__defaults__", "__kwdefaults__")
    if changed and args[0].__code__.co_filename.startswith(engine):
        raise AttributeError("a function of the grader can't be changed")


Function = Callable[..., Any]
Holders = dict[int, list[tuple[dict[str, Any], str]]]  # id of a callable → namespaces and names


@dataclass
class _Library:
    """The modules of a package that were loaded when it was looked at, and where they hold each callable.

    Looking at a large package takes long, and copies most of its memory in a process that was forked: so it is done
    once, before the fork, and not in every child.
    """

    loaded: int  # modules of all packages
    names: str  # of its own, a line each
    holders: Holders


@cache
def library(root: str) -> _Library:
    """What is loaded of a package, as of the first call."""
    if root not in sys.modules:
        return _Library(len(sys.modules), "", {})
    if root == "torch":  # it makes a table of its functions when the name of one is first asked for
        from torch.overrides import resolve_name

        resolve_name(sys.modules["torch"].zeros)
    names = [name for name, module in list(sys.modules.items()) if name.split(".")[0] == root and module is not None]
    holders: Holders = {}
    for held in [vars(sys.modules[name]) for name in names]:
        for name, value in held.items():
            if callable(value):
                holders.setdefault(id(value), []).append((held, name))
    return _Library(len(sys.modules), "\n".join(["", *names, ""]), holders)


@dataclass
class _Outlawed:
    """What patterns rule out, in the modules that were loaded when it was looked for."""

    banned: dict[int, Function] = field(default_factory=dict)  # id of a callable → what raises in its place
    places: list[tuple[dict[str, Any], str, Any, Function]] = field(default_factory=list)  # namespace, name, value

    def look_in(
        self, modules: Iterable[str], patterns: Sequence[str], holders: dict[int, list[tuple[dict[str, Any], str]]]
    ) -> None:
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


def _raising(patterns: Iterable[str]) -> tuple[str, ...]:
    return tuple(pattern for pattern in patterns if pattern not in NEEDED)


@cache
def outlawed(patterns: tuple[str, ...]) -> _Outlawed:
    """What some patterns rule out in the modules that were loaded at the first call."""
    found = _Outlawed()
    patterns = _raising(patterns)
    for root in sorted({pattern.split(".")[0] for pattern in patterns}):
        known = library(root)
        near = {name for pattern in patterns for name in _near(pattern, known.names)}
        found.look_in(sorted(near), patterns, known.holders)
    return found


@contextlib.contextmanager
def ruled_out(patterns: Sequence[str], namespace: dict[str, Any]) -> Iterator[None]:
    """Within the block, what `patterns` name raises, by whatever name modules and `namespace` hold it.

    What a forbidden module merely imports is left alone, for others need it too. A forbidden package that is not
    loaded yet can't be imported, and what torch runs is known by its own name, however the code came by it. Observing
    needs torch as a whole, which does not raise therefore; a process for NumPy exercises keeps it out. The operators
    behind torch's functions raise as well, for they can be reached without any function: in TorchScript, in a thread.
    """
    known = outlawed(tuple(patterns))
    patterns = _raising(patterns)
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
        with _watching(patterns), _without_operators(patterns):
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


def _watching(patterns: Sequence[str]) -> contextlib.AbstractContextManager[object]:
    """A mode in which torch tells the name of every function that it is about to run."""
    if "torch" not in sys.modules or not any(pattern.startswith("torch.") for pattern in patterns):
        return contextlib.nullcontext()
    from torch.overrides import TorchFunctionMode, resolve_name

    allowed = set()

    class Watch(TorchFunctionMode):  # type: ignore[misc] # torch is not looked into
        def __torch_function__(self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
            if func not in allowed:
                name = resolve_name(func) or f"torch.{getattr(func, '__name__', '')}"
                if name.startswith("aten."):  # an operator of the dispatcher: `aten.lstm.input`
                    name = f"torch.{name.split('.')[1]}"
                if matches(name, patterns):
                    _raiser(name)()
                allowed.add(func)
            return func(*args, **(kwargs or {}))

    return Watch()


@contextlib.contextmanager
def _without_operators(patterns: Sequence[str]) -> Iterator[None]:
    """Within the block, torch's operators that patterns name have kernels that raise, with and without gradients."""
    operators = _operators(tuple(patterns)) if "torch" in sys.modules else ()
    with contextlib.ExitStack() as put_back, warnings.catch_warnings(action="ignore"):
        if operators:
            from torch.library import _scoped_library

            for key in ("CPU", "AutogradCPU"):
                kernels = put_back.enter_context(_scoped_library("aten", "IMPL", key))
                for operator, dotted in operators:
                    kernels.impl(operator, _raiser(dotted), key)
        yield


@cache
def _operators(patterns: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The operators that patterns name by all their public names, or by a private one if they have no other.

    Returns:
        Each, such as `softplus.out`, with a name that it is known by.
    """
    import torch

    public = {"torch": torch, "torch.nn.functional": torch.nn.functional}
    found: list[tuple[str, str]] = []
    for operator in torch._C._dispatch_get_all_op_names() if any(p.startswith("torch.") for p in patterns) else ():
        namespace, _, overload = operator.partition("::")
        name = overload.split(".")[0]
        for spelt in (name, name.removesuffix("_loss"), name.replace("_", "")):  # cross_entropy_loss, log_sigmoid
            if known := [f"{module}.{spelt}" for module, held in public.items() if hasattr(held, spelt)]:
                break
        known = known or [f"torch._C._nn.{name}"]
        if namespace == "aten" and all(matches(dotted, patterns) for dotted in known):
            found.append((overload, known[0]))
    return tuple(found)


def why_not(dotted: str) -> str:
    """What to say of a shortcut."""
    return f"`{dotted}` can't be used here: this exercise is to be solved without it, as the line under its stub says."


def _raiser(dotted: str) -> Function:
    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise Shortcut(why_not(dotted))

    return forbidden
