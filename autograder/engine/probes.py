"""How a grader is written: probes that exercise an implementation and yield what it returned.

A probe runs in the process of the code it tests, so it holds inputs and never an answer. It yields ``(name, value)``
pairs, each value just as the learner returned it. How a value is compared is said with :func:`observe`, and the
comparison itself happens elsewhere, on the trusted side.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


class WrongReturn(Exception):
    """A learner's function returned something of the wrong structure; the text says so in a sentence."""


@dataclass(frozen=True)
class Observed:
    """A value and how to compare it. What the learner's side says here is ignored: only the reference's counts.

    Attributes:
        value: what the implementation returned.
        rtol: largest allowed ``max|got - expected| / max|expected|``; None takes the table for the dtype.
        atol: absolute slack, for quantities that may cancel to zero.
        judge: instead of comparing, ``judge(got, expected, **given)`` returns None if right, else a sentence.
        given: the probe's inputs that the judge needs, as data.
        consistency: the value is a pair that should agree with itself; never part of the verdict.
    """

    value: Any
    rtol: float | None = None
    atol: float = 0.0
    judge: Callable[..., str | None] | None = None
    given: Mapping[str, Any] | None = None
    consistency: bool = False


@dataclass(frozen=True)
class Case:
    """One set of parameters of a probe."""

    index: int
    params: tuple[Any, ...]


@dataclass(frozen=True)
class Probe:
    """A generator function that exercises one exercise, with its declared cases, and what divides them into parts."""

    exercise: str
    name: str
    cases: tuple[Case, ...]
    run: Callable[..., Iterator[tuple[str, Any]]]
    part: str | None = None

    def parameters(self, case: Case) -> dict[str, Any]:
        """The case's parameters by name."""
        names = list(inspect.signature(self.run).parameters)[2:]
        return dict(zip(names, case.params, strict=False))

    def part_of(self, case: Case) -> str | None:
        """`stops=True`: the part of the exercise's points that the case belongs to, if it has parts."""
        return None if self.part is None else f"{self.part}={self.parameters(case)[self.part]!r}"

    def describe(self, case: Case) -> str:
        """`batch=4, inputs=3`: the case's parameters in words."""
        return ", ".join(f"{name}={value!r}" for name, value in self.parameters(case).items())


def probe(
    exercise: str, *, cases: Sequence[Any] = ((),), part: str | None = None
) -> Callable[[Callable[..., Any]], Probe]:
    """Declare a generator ``f(impl, rng, *case)`` as a probe of `exercise`.

    Args:
        exercise: the name of the function or class that is graded.
        cases: a list of parameter tuples. Every case runs alone, with its own ``default_rng([seed, case])``.
        part: the parameter that tells to which part of the points a case belongs, as in `stops=True`. The parts share
            the exercise's points equally, whichever probes they are in; a case without one can lose them all.

    Inputs come from `rng` only, and every draw comes before the first call of `impl`.
    """

    def declare(run: Callable[..., Any]) -> Probe:
        if isinstance(run.__globals__.get(run.__name__), Probe):
            raise ValueError(f"Two probes are called {run.__name__!r}: the first would be lost.")
        if part is not None and part not in inspect.signature(run).parameters:
            raise ValueError(f"The probe {run.__name__} has no parameter {part!r} that could tell its parts.")
        listed = [params if isinstance(params, tuple) else (params,) for params in cases]
        return Probe(exercise, run.__name__, tuple(map(Case, range(len(listed)), listed)), run, part)

    return declare


def observe(
    value: Any,
    *,
    rtol: float | None = None,
    atol: float = 0.0,
    judge: Callable[..., str | None] | None = None,
    given: Mapping[str, Any] | None = None,
) -> Observed:
    """Say how `value` is to be compared. A judge must be a function at the top level of the grader."""
    return Observed(value, rtol=rtol, atol=atol, judge=judge, given=given)


def agree(analytic: Any, numeric: Any, *, rtol: float = 1e-5) -> Observed:
    """Two values that a consistent learner gets equal, such as a gradient and a finite difference of their forward.

    Never worth points: it lets a message say "your backward agrees with your own forward".
    """
    return Observed((analytic, numeric), rtol=rtol, consistency=True)


def named(names: str, values: Any) -> Iterator[tuple[str, Any]]:
    """Yield ``(name, value)`` for each of the space-separated `names`, or say that their number is wrong."""
    expected = names.split()
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise WrongReturn(
            f"It should return {len(expected)} values ({', '.join(expected)}); it returned {_article(values)}."
        )
    if len(values) != len(expected):
        raise WrongReturn(
            f"It should return {len(expected)} values ({', '.join(expected)}); it returned {len(values)}."
        )
    yield from zip(expected, values, strict=True)


def shapes(module: Any) -> dict[str, list[int]]:
    """Name → shape of a torch module's registered parameters. Finds those kept in a plain list, or renamed."""
    return {name: list(parameter.shape) for name, parameter in sorted(module.named_parameters())}


def fill(module: Any, seed: int, *, scale: float = 0.5) -> Any:
    """Give every parameter of a torch module N(0, scale²) values from NumPy, one stream per *name*. Returns it."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            stream = np.random.default_rng([seed, zlib.crc32(name.encode())])
            parameter.copy_(torch.as_tensor(scale * stream.standard_normal(tuple(parameter.shape))))
    return module


def slope(f: Callable[[np.ndarray], float], x: np.ndarray, direction: np.ndarray, *, h: float = 1e-5) -> float:
    """Central difference of scalar `f` at float64 `x` along `direction` (error O(h²)); `x` is left as it was."""
    return float(f(x + h * direction) - f(x - h * direction)) / (2 * h)


def _article(value: Any) -> str:
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def probes_of(module: Any) -> list[Probe]:
    """The probes that a grader declares, in their order."""
    return [value for value in vars(module).values() if isinstance(value, Probe)]


def only(probes: Iterable[Probe], exercises: Iterable[str]) -> list[Probe]:
    """Those of `probes` that grade one of `exercises`."""
    wanted = set(exercises)
    return [p for p in probes if p.exercise in wanted]
