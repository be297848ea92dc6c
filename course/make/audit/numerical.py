"""The cheat of a backward pass that asks the forward pass for its gradients, by differences.

It takes one element at a time; or, batched, one element of every example at a time, and then the gradient of what
examples share costs it nothing: whatever way there is to get that by differences, it is no cheaper.
"""

from __future__ import annotations

import copy
import functools
import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograder.engine.inside.load import Loaded
from autograder.engine.inside.observe import PUBLIC_SEED, observe
from autograder.engine.inside.records import Limits
from autograder.engine.probes import Probe
from course.make.audit.changes import Arguments, Change, Keys, leaves, mapped

_ENOUGH = 3 * Limits().seconds  # a numerical gradient must be too slow on a faster machine as well


class OutOfTime(Exception):
    """A numerical gradient that would take longer than a case may."""


class Numerical(Change):
    """Computes gradients from calls of the forward function, by central differences or by a complex step.

    Args:
        exercise: `…_backward`, which takes upstream gradients and the cache of `…_forward`.
        inputs: of the forward function.
        complex_step: a complex step in place of central differences.
        batched: whether all examples are moved at once.
    """

    def __init__(self, exercise: str, inputs: Inputs, *, complex_step: bool, batched: bool) -> None:
        super().__init__(exercise)
        self.inputs = inputs
        self.complex_step = complex_step
        self.batched = batched
        self.seen: dict[int, tuple[Any, Callable[..., Any], Arguments]] = {}  # id of a cache → it, forward, arguments

    def install(self, namespace: dict[str, Any]) -> None:
        """Wrap the backward function, and note the arguments of each call of the forward one."""
        super().install(namespace)
        forward = namespace[_forward(self.exercise)]
        signature = inspect.signature(forward)

        @functools.wraps(forward)
        def noted(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            kept = copy.deepcopy(dict(bound.arguments))
            result = forward(*args, **kwargs)
            self.seen[id(result[-1])] = result[-1], lambda a: forward(**a), kept
            return result

        namespace[_forward(self.exercise)] = noted

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """The gradients, one element at a time."""
        if id(arguments["cache"]) not in self.seen:
            return function(arguments)
        _, forward, given = self.seen[id(arguments["cache"])]
        above = [arguments[name] for name in upstream(arguments)]
        given = copy.deepcopy(given)
        if self.complex_step:
            given = mapped(lambda keys, leaf: leaf.astype(complex) if _is_float(leaf) else leaf, given)
        wanted = {keys[-1]: leaf for keys, leaf in leaves(given).items() if isinstance(leaf, np.ndarray)}
        asked = {name: wanted[name] for name in self.inputs.of.values()}
        if self.batched:
            asked = {name: x for name, x in asked.items() if name in self.inputs.by_example}
        moved = {name: np.moveaxis(x, 0, -1) if self.batched else x[..., None] for name, x in asked.items()}
        work = _Work(sum(int(np.prod(x.shape[:-1])) for x in moved.values()))

        def loss() -> Any:  # of each example, or of all
            weighted = [out * d for out, d in zip(forward(given)[:-1], above, strict=True)]
            return sum(np.sum(w, axis=tuple(range(1, w.ndim)) if self.batched else None) for w in weighted)

        def gradient(keys: Keys, leaf: Any) -> Any:
            name = self.inputs.of[keys]
            if name not in moved:
                return leaf
            found = (_imaginary if self.complex_step else _differences)(loss, moved[name], work)
            return np.moveaxis(found, -1, 0) if self.batched else found[..., 0]

        self.used = bool(moved)
        return mapped(gradient, function(arguments))


@dataclass(frozen=True)
class Inputs:
    """The inputs of a forward function whose gradients its backward function returns.

    Attributes:
        of: keys of a gradient in what is returned → name of the input.
        by_example: names of those whose first axis is that of the examples.
    """

    of: Mapping[Keys, str]
    by_example: frozenset[str]


class _Work:
    """Counts elements, and gives up as soon as it is clear that all of them would take too long."""

    def __init__(self, elements: int) -> None:
        self.elements, self.done, self.since = elements, 0, time.process_time()

    def step(self) -> None:
        self.done += 1
        spent = time.process_time() - self.since
        if spent > 0.2 and spent / self.done * self.elements > _ENOUGH:
            raise OutOfTime(f"{self.elements} elements would take longer than {_ENOUGH:g} seconds")


def _differences(loss: Callable[[], Any], x: np.ndarray, work: _Work, h: float = 1e-5) -> np.ndarray:
    """The slopes of a loss: at each index but the last, which is that of the examples, one for each of them."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape[:-1]):
        before = x[index].copy()
        x[index] = before + h
        above = loss()
        x[index] = before - h
        gradient[index] = (above - loss()) / (2 * h)
        x[index] = before
        work.step()
    return gradient


def _imaginary(loss: Callable[[], Any], x: np.ndarray, work: _Work, h: float = 1e-20) -> np.ndarray:
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape[:-1]):
        before = x[index].copy()
        x[index] = before + 1j * h
        gradient[index] = np.imag(loss()) / h
        x[index] = before
        work.step()
    return gradient


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype == np.float64


def _forward(backward: str) -> str:
    return backward.replace("_backward", "_forward")


def numerical_inputs(exercise: str, probes: Iterable[Probe], loaded: Loaded) -> Inputs | None:
    """The inputs of the forward function, if a numerical gradient can be derived.

    The probes give the gradients their names (`dW`); each must be that of one float64 array among the forward
    function's arguments (`W`), and there must be one upstream gradient per output.
    """
    forward = loaded.namespace.get(_forward(exercise))
    if not exercise.endswith("_backward") or not inspect.isfunction(forward):
        return None
    inputs, results = _Calls(_forward(exercise)), _Calls(exercise)
    spied = Loaded(dict(loaded.namespace))
    inputs.install(spied.namespace)
    results.install(spied.namespace)
    found: dict[Keys, str] | None = None
    for seen in observe(probes, [exercise], PUBLIC_SEED, spied):
        known = {id(held.value): name for name, held in seen.raw.items()}
        for arguments, result in results.made if found is None else ():  # of which not all are the probe's own
            named = {keys: known.get(id(leaf), "") for keys, leaf in leaves(result).items()}
            if named and all(name.startswith("d") for name in named.values()):
                found = {keys: name[1:] for keys, name in named.items()}
                if not _derivable(found, upstream(arguments), inputs.made):
                    return None
                break
    return Inputs(found, _by_example(found, inputs.made)) if found is not None else None


def _by_example(inputs: Mapping[Keys, str], calls: list[tuple[Arguments, Any]]) -> frozenset[str]:
    """The inputs whose first axis is, in every call, that of every output."""
    names = set(inputs.values())
    for arguments, result in calls:
        sizes = {np.shape(out)[:1] for out in result[:-1]}
        held = {keys[-1]: leaf for keys, leaf in leaves(arguments).items() if _is_float(leaf)}
        names &= {name for name, leaf in held.items() if sizes == {leaf.shape[:1]} != {()}}
    return frozenset(names)


def upstream(names: Iterable[str]) -> list[str]:
    """The parameters of a backward function that hold upstream gradients: `dh` and `dc` of `dh, dc, cache`."""
    listed = list(names)
    before = listed[: listed.index("cache")] if "cache" in listed else []
    return [name for name in before if name.startswith("d")]


class _Calls(Change):
    """Notes the arguments and the result of every call."""

    def __init__(self, exercise: str) -> None:
        super().__init__(exercise)
        self.made: list[tuple[Arguments, Any]] = []

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """The result, unchanged."""
        self.made.append((arguments, function(arguments)))
        return self.made[-1][1]


def _derivable(inputs: Mapping[Keys, str], above: list[str], calls: list[tuple[Arguments, Any]]) -> bool:
    if not calls or not isinstance(calls[-1][1], tuple):
        return False
    arguments, result = calls[-1]
    names = [keys[-1] for keys, leaf in leaves(arguments).items() if _is_float(leaf)]
    paired = 0 < len(above) == len(result) - 1 and all(isinstance(out, np.ndarray | float) for out in result[:-1])
    return paired and all(names.count(name) == 1 for name in inputs.values())
