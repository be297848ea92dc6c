"""Generic cheats, made from the reference's own return values: none of them may earn a point."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from autograder.engine.inside.load import Loaded
from autograder.engine.inside.observe import GRADER
from autograder.engine.probes import Probe
from course.make.audit.changes import Arguments, Change, Keys, is_tensor, leaves, mapped
from course.make.audit.numerical import Numerical, numerical_inputs, upstream


def cheats(exercise: str, track: str, probes: Iterable[Probe], loaded: Loaded) -> Iterator[tuple[str, Change | None]]:
    """The name of every cheat with what it does to an exercise; None where it can't be derived."""
    for name, number in (("zeros", 0.0), ("ones", 1.0), ("NaN", float("nan"))):
        yield name, Returned(exercise, functools.partial(_filled, number=number))
    yield "sign flipped", Returned(exercise, _negative)
    yield "input returned", InputReturned(exercise)
    yield "constant", Recorded(exercise)
    yield "read from the grader", Read(exercise)
    if track == "torch":
        yield "detached", Detached(exercise)
    if track == "backward":
        yield "upstream ignored", UpstreamIgnored(exercise)
        inputs = numerical_inputs(exercise, probes, loaded)
        for how, complex_step in (("finite differences", False), ("complex step", True)):
            for name, batched in ((how, False), (f"batched {how}", True)):
                change: Change | None = None
                if inputs and (inputs.by_example or not batched):
                    change = Numerical(exercise, inputs, complex_step=complex_step, batched=batched)
                yield name, change


class Returned(Change):
    """Changes every leaf of what is returned."""

    def __init__(self, exercise: str, leaf: Callable[[Any], Any]) -> None:
        super().__init__(exercise)
        self.leaf = leaf

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """The result, leaf by leaf."""
        return mapped(lambda keys, leaf: self.leaf(leaf), function(arguments))


class InputReturned(Change):
    """Returns, for every array, the first argument of its shape."""

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """The result with arrays of the arguments in it."""
        given = [leaf for leaf in leaves(arguments).values() if isinstance(leaf, np.ndarray) or is_tensor(leaf)]

        def first_like(keys: Keys, leaf: Any) -> Any:
            same = [a for a in given if type(a) is type(leaf) and a.shape == leaf.shape and a.dtype == leaf.dtype]
            return same[0] if same else leaf

        return mapped(first_like, function(arguments))


class Recorded(Change):
    """Returns what the same call of the same case returned when it ran first."""

    def __init__(self, exercise: str) -> None:
        super().__init__(exercise)
        self.results: dict[tuple[Any, ...], Any] = {}

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """The first result, in the graph of this one where there is a graph."""
        result, place = function(arguments), (*self.place, self.calls)
        self.calls += 1
        if place not in self.results:
            self.results[place] = mapped(lambda keys, leaf: _copied(leaf), result)
            return result
        now = leaves(result)
        return mapped(lambda keys, leaf: _with_graph(leaf, now.get(keys)), self.results[place])


class Read(Change):
    """Returns what the grader holds: variables of the probe that calls, or results of its functions.

    Where the parts of a result lie it finds out when a call runs first, and looks there when it runs again.
    """

    def __init__(self, exercise: str) -> None:
        super().__init__(exercise)
        self.places: dict[tuple[Any, ...], dict[Keys, Keys]] = {}

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """The result if it is the first, else what lies where that one did, and None for what lay nowhere."""
        place, self.calls = (*self.place, self.calls), self.calls + 1
        held = dict(_held(arguments))
        result = function(arguments)
        if place not in self.places:
            found = {k: [p for p, value in held.items() if _equal(value, leaf)] for k, leaf in leaves(result).items()}
            self.places[place] = {keys: paths[0] for keys, paths in found.items() if paths}
            return result
        self.used |= bool(self.places[place])
        return mapped(lambda keys, leaf: held.get(self.places[place].get(keys, ())), result)


def _held(arguments: Arguments) -> Iterator[tuple[Keys, Any]]:
    """Where a value lies in the grader, and the value."""
    frame = inspect.currentframe()
    while frame is not None:
        grader = frame.f_globals
        if str(grader.get("__name__")).startswith(GRADER):
            for name, value in frame.f_locals.items():
                yield from (((name, *keys), leaf) for keys, leaf in leaves(value).items())
            for name, value in grader.items():
                if inspect.isfunction(value) and value.__module__ == grader["__name__"]:
                    with contextlib.suppress(Exception):
                        yield from (
                            (("()", name, *keys), leaf) for keys, leaf in leaves(value(*arguments.values())).items()
                        )
        frame = frame.f_back


def _equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if is_tensor(one) or isinstance(one, np.ndarray):
        return bool(one.shape == other.shape and (one == other).all())
    with contextlib.suppress(Exception):
        return bool(one == other)
    return False


def _copied(leaf: Any) -> Any:
    return leaf.detach().clone() if is_tensor(leaf) else leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _with_graph(constant: Any, leaf: Any) -> Any:
    fits = is_tensor(leaf) and is_tensor(constant) and constant.shape == leaf.shape and leaf.requires_grad
    return leaf * 0 + constant if fits else _copied(constant)


def _filled(leaf: Any, number: float) -> Any:
    """A leaf of the same kind, shape and dtype that holds one number; the leaf itself where its dtype has none such."""
    if is_tensor(leaf):  # the graph is kept, so that a gradient can be asked for
        return leaf * 0 + number if leaf.is_floating_point() else leaf
    if isinstance(leaf, np.ndarray):
        fits = leaf.dtype.kind in "fc" or (leaf.dtype.kind in "biu" and np.isfinite(number))
        return np.full_like(leaf, number) if fits else leaf
    if isinstance(leaf, np.generic):
        return _filled(np.asarray(leaf), number)[()]
    if isinstance(leaf, float) or (isinstance(leaf, bool | int) and np.isfinite(number)):
        return type(leaf)(number)
    return leaf


def _negative(leaf: Any) -> Any:
    if is_tensor(leaf):
        return -leaf if leaf.is_floating_point() else leaf
    signed = isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "ifc"
    return -leaf if signed or type(leaf) in (int, float) else leaf


class UpstreamIgnored(Change):
    """Takes every upstream gradient for ones."""

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """The gradient of the sum of everything."""
        for name in upstream(arguments):
            arguments[name] = mapped(lambda keys, leaf: _filled(leaf, 1.0), arguments[name])
            self.used = True
        return function(arguments)


class Detached(Change):
    """Returns tensors without their graph."""

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """The same values, through which no gradient flows."""

        def detached(keys: Keys, leaf: Any) -> Any:
            graph = is_tensor(leaf) and leaf.requires_grad
            self.used |= graph
            return leaf.detach() if graph else leaf

        return mapped(detached, function(arguments))
