"""Wrapping what an exercise defines, to change what it receives or what it returns.

A wrapped reference fits any exercise; where there is nothing to change, the change does not apply.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Arguments = dict[str, Any]
Keys = tuple[Any, ...]  # what leads to a part of a nested value: keys and indices


class Change:
    """Wraps what an exercise defines, a function or the public methods of a class.

    Attributes:
        exercise: its name.
        used: whether it had anything to do. A change that counts by its effect on the observations leaves it False.
    """

    def __init__(self, exercise: str) -> None:
        self.exercise = exercise
        self.used = False
        self.place: tuple[Any, ...] = ()
        self.calls = 0

    def install(self, namespace: dict[str, Any]) -> None:
        """Put the wrapped exercise into the namespace."""
        value = namespace[self.exercise]
        namespace[self.exercise] = self._class(value) if inspect.isclass(value) else self._function(value)

    def begin(self, *place: Any) -> None:
        """Take note of the case that is about to run."""
        self.place, self.calls = place, 0

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """Do what a call should do instead; `arguments` may be changed."""
        raise NotImplementedError

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)

            def original(arguments: Arguments) -> Any:
                bound.arguments = arguments
                return function(*bound.args, **bound.kwargs)

            return self.call(original, dict(bound.arguments))

        return wrapped

    def _class(self, cls: type) -> type:
        names: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        for name, method in vars(cls).items():
            if name[0] != "_" or name == "__call__":
                if inspect.isfunction(method):
                    names[name] = self._function(method)
                elif isinstance(method, staticmethod):  # of a torch.autograd.Function, for example
                    names[name] = staticmethod(self._function(method.__func__))
        return type(cls.__name__, (cls,), names)


def mapped(change: Callable[[Keys, Any], Any], value: Any, keys: Keys = ()) -> Any:
    """`value` with every leaf of its dicts, lists and tuples replaced by `change(keys, leaf)`."""
    if type(value) is dict:
        return {key: mapped(change, item, (*keys, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [mapped(change, item, (*keys, index)) for index, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return change(keys, value)


def leaves(value: Any) -> dict[Keys, Any]:
    """Keys → leaf of a nested value."""
    found: dict[Keys, Any] = {}
    mapped(lambda keys, leaf: found.setdefault(keys, leaf), value)
    return found


def is_tensor(value: Any) -> bool:
    """Whether something is a torch tensor; torch need not be installed."""
    return type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach")


# Harmless changes ---------------------------------------------------------------------------------------------------


class Layout(Change):
    """Hands the arrays that reach the exercise over in another memory layout.

    Calls that are also given a function are left alone: it may look at the same arrays.
    """

    def __init__(self, exercise: str, array: Callable[[Any], Any]) -> None:
        super().__init__(exercise)
        self.array = array

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """The result for the other layout."""
        if any(callable(leaf) for keys, leaf in leaves(arguments).items() if keys != ("self",)):
            return function(arguments)

        def other(keys: Keys, leaf: Any) -> Any:
            laid = self.array(leaf)
            self.used |= laid is not leaf
            return laid

        return function(mapped(other, arguments))


def _strided(leaf: Any) -> Any:
    """The same values at every second place."""
    if isinstance(leaf, np.ndarray) and leaf.ndim:
        return np.repeat(leaf, 2, axis=-1)[..., ::2]
    if is_tensor(leaf) and leaf.ndim:
        return leaf.repeat_interleave(2, dim=-1)[..., ::2]
    return leaf


def _read_only(leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray):
        return leaf
    view = leaf.view()
    view.flags.writeable = False
    return view


def layouts(exercise: str, track: str) -> Iterator[tuple[str, Change]]:
    """The name of every harmless change with what it does to an exercise."""
    yield "non-contiguous inputs", Layout(exercise, _strided)
    if track != "torch":
        yield "read-only inputs", Layout(exercise, _read_only)
