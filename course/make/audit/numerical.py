"""The cheat of a backward pass that asks the forward pass for its gradients, one element at a time."""

from __future__ import annotations

import copy
import functools
import inspect
import time
from collections.abc import Callable, Iterable, Mapping
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
        inputs: keys of a gradient in what it returns → name of the input of the forward function.
        complex_step: which of the two.
    """

    def __init__(self, exercise: str, inputs: Mapping[Keys, str], *, complex_step: bool) -> None:
        super().__init__(exercise)
        self.inputs = inputs
        self.complex_step = complex_step
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
        work = _Work(sum(wanted[name].size for name in self.inputs.values()))

        def loss() -> Any:
            return sum(np.sum(out * d) for out, d in zip(forward(given)[:-1], above, strict=True))

        def gradient(keys: Keys, leaf: Any) -> Any:
            x = wanted[self.inputs[keys]]
            return _differences(loss, x, work) if not self.complex_step else _imaginary(loss, x, work)

        self.used = True
        return mapped(gradient, function(arguments))


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
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        before = x[index]
        x[index] = before + h
        above = loss()
        x[index] = before - h
        gradient[index] = (above - loss()) / (2 * h)
        x[index] = before
        work.step()
    return gradient


def _imaginary(loss: Callable[[], Any], x: np.ndarray, work: _Work, h: float = 1e-20) -> np.ndarray:
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        before = x[index]
        x[index] = before + 1j * h
        gradient[index] = np.imag(loss()) / h
        x[index] = before
        work.step()
    return gradient


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype == np.float64


def _forward(backward: str) -> str:
    return backward.replace("_backward", "_forward")


def numerical_inputs(exercise: str, probes: Iterable[Probe], loaded: Loaded) -> dict[Keys, str] | None:
    """Which input of the forward function each gradient belongs to, if a numerical gradient can be derived.

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
    for seen in observe(probes, [exercise], PUBLIC_SEED, spied):
        if not results.made:
            continue
        arguments, result = results.made[-1]
        known = {id(held.value): name for name, held in seen.raw.items()}
        named = {keys: known.get(id(leaf), "") for keys, leaf in leaves(result).items()}
        if all(name.startswith("d") for name in named.values()):
            found = {keys: name[1:] for keys, name in named.items()}
            return found if _derivable(found, upstream(arguments), inputs.made) else None
    return None


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
