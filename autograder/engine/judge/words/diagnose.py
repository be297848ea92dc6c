"""What a wrong value has in common with the right one: the likely cause, in a sentence.

A pattern that most wrong values would fit says nothing, and misleads who believes it: so each rule asks for enough
numbers, and for numbers unlike each other, before it speaks.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Collection, Iterable, Iterator

import numpy as np

from autograder.engine.inside.notebook import unread
from autograder.engine.judge.compare import Difference

_CLOSE = 1e-6  # how well a transformation must explain the difference, norm-wise


Patterns = dict[str, str]  # what makes two patterns the same in two cases → a sentence


@np.errstate(all="ignore")
def patterns(difference: Difference, sizes: dict[str, int] | None = None) -> Patterns:
    """What a wrong value has in common with the right one, the most telling first.

    Args:
        difference: as :func:`compare` gave it.
        sizes: the case's sizes by name (`batch`, `hidden`), to name a constant factor with.
    """
    got, expected = difference.got, difference.expected
    if got is None or expected is None:
        return {}
    sizes = sizes or {}
    found: dict[str, str | None] = {}
    if difference.kind == "shape":
        found["shape"] = _shape(got, expected)
    elif difference.kind == "nonfinite":
        found["nonfinite"] = _nonfinite(got, expected)
    elif difference.kind == "values" and got.dtype.kind in "fc" and expected.dtype.kind in "fc":
        found["zeros"] = _zeros(got, expected)
        if _close(got, expected):  # what is right is close enough to all that follows
            found["precision"] = _precision(got, expected)
        else:
            found |= {"sign": _sign(got, expected), "factor": _factor(got, expected, sizes)}
            found["offset"] = _offset(got, expected)
            texts = _axes(got, expected), _order(got, expected), _blocks(got, expected, sizes), _slices(got, expected)
            found |= {text: text for text in texts if text}
    elif difference.kind == "values" and got.shape == expected.shape:
        found["offset"] = _integers(got, expected)
    return {name: text for name, text in found.items() if text}


def common(shown: Patterns, others: Iterable[tuple[Difference, Patterns]]) -> str | None:
    """The first pattern of the case that is told of which every other case that fails alike shows too.

    In one case alone it may be chance. Cases with too few numbers to tell are passed over; a lack of precision shows
    in some cases more than in others.
    """
    telling = [found for difference, found in others if _tells(difference)]
    return next((text for name, text in shown.items() if name == "precision" or all(name in f for f in telling)), None)


def far_off(differences: Iterable[Difference]) -> bool:
    """Whether any value is off by more than a lack of precision explains."""
    for found in differences:
        got, expected = found.got, found.expected
        if found.kind == "values" and got is not None and expected is not None and got.shape == expected.shape:
            numbers = got.dtype.kind in "fc" and expected.dtype.kind in "fc"
            if not numbers or not _close(got, expected, 1e-4):
                return True
    return False


def _tells(difference: Difference) -> bool:
    expected = difference.expected
    return difference.kind == "values" and expected is not None and _varied(expected)


def swapped(differences: Iterable[tuple[str, Difference]]) -> str | None:
    """Two values that are right, each in the place of the other."""
    arrays = [(name, d.got, d.expected) for name, d in differences if d.got is not None and d.expected is not None]
    for (one, got, expected), (other, got_too, expected_too) in itertools.combinations(arrays, 2):
        told = all(a.dtype.kind in "fc" and a.any() for a in (got, got_too))
        told = told and not _close(expected, expected_too) and _varied(expected)
        if told and _close(got, expected_too) and _close(got_too, expected):
            return f"`{one}` and `{other}` are right, but swapped."
    return None


def suspicion(definition: ast.AST, meant: Collection[tuple[str, str]] = ()) -> str | None:
    """What stands in the text of wrong code and is seldom meant so. Only facts: whoever reads it can check them.

    Args:
        definition: of the exercise.
        meant: function and argument, for each argument that need not be read.
    """
    for function, lost in unread(definition):
        if (function, lost) not in meant:
            where = f" in `{function}`" if isinstance(definition, ast.ClassDef) else ""
            return f"the argument `{lost}` is never used{where}."
    for rule in (_adds_once, _binds_late):
        found = rule(definition)
        if found:
            return found
    return None


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(definition: ast.AST) -> list[_Function]:
    """The function that is defined, or the methods of the class."""
    body = definition.body if isinstance(definition, ast.ClassDef) else [definition]
    return [node for node in body if isinstance(node, _Function)]


def _parameters(function: _Function) -> list[str]:
    named = function.args
    return [arg.arg for arg in (*named.posonlyargs, *named.args, *named.kwonlyargs) if arg.arg not in ("self", "cls")]


def _read(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}


def _adds_once(definition: ast.AST) -> str | None:
    """`dW[ids] += …` where `ids` came as an argument, or out of one, and not from counting."""
    for function in _functions(definition):
        given = set(_parameters(function))
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and _is_taken(node.value):
                given |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        counted = {n.id for loop in ast.walk(function) for n in _targets(loop)}
        for node in ast.walk(function):
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
                index = node.target.slice
                if isinstance(index, ast.Name) and index.id in given - counted:
                    place = ast.unparse(node.target)
                    return f"`{place} {_SIGNS.get(type(node.op), '')}= …` does so once for an index that is repeated."
    return None


def _is_taken(value: ast.expr) -> bool:
    """Whether a value is taken out of another; `np.s_[…]` is not, which names a place and none twice."""
    place = isinstance(value, ast.Subscript) and ast.unparse(value.value).split(".")[-1] in ("s_", "index_exp")
    return isinstance(value, ast.Name | ast.Subscript | ast.Attribute) and not place


_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def _targets(node: ast.AST) -> list[ast.Name]:
    """The names over which a loop runs, or that are counted up or down."""
    if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension | ast.AugAssign):
        return [n for n in ast.walk(node.target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return []


def _binds_late(definition: ast.AST) -> str | None:
    """A lambda that is kept, and looks up the variable of the loop that made it when all of the loop is done."""
    for loop in ast.walk(definition):
        if isinstance(loop, ast.For):
            over, kept = _targets(loop), [held for node in ast.walk(loop) for held in _kept(node)]
        elif isinstance(loop, ast.ListComp | ast.DictComp):
            over = [n for part in loop.generators for n in _targets(part)]
            kept = [loop.elt if isinstance(loop, ast.ListComp) else loop.value]
        else:
            continue
        for held in kept:
            if isinstance(held, ast.Lambda):
                free = _read(held.body) - {arg.arg for arg in (*held.args.args, *held.args.kwonlyargs)}
                late = sorted(free & {name.id for name in over})
                if late:
                    bound = f"`lambda …, {late[0]}={late[0]}:`"
                    return f"every lambda of the loop sees the last `{late[0]}` when it is called: write {bound}."
    return None


def _kept(node: ast.AST) -> list[ast.expr]:
    """What a statement or call puts into a container."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
        return node.args
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        return [node.value]
    return []


def _close(got: np.ndarray, expected: np.ndarray, tolerance: float = _CLOSE) -> bool:
    if got.shape != expected.shape:
        return False
    got, expected = (a.astype(float) if a.dtype.kind == "b" else a for a in (got, expected))  # no True - False
    finite = np.isfinite(got) & np.isfinite(expected)
    if not ((got == expected) | finite | (np.isnan(got) & np.isnan(expected))).all():
        return False
    wrong, scale = np.abs(got[finite] - expected[finite]), np.abs(expected[finite])
    return bool(np.max(wrong, initial=0.0) <= tolerance * np.max(scale, initial=0.0))


def _shape(got: np.ndarray, expected: np.ndarray) -> str | None:
    if got.shape == expected.shape[::-1] and got.ndim > 1:
        same = _close(got.T, expected) if got.dtype.kind in "fc" else bool((expected == got.T).all())
        return "The transpose has the right shape" + (" and the right values." if same else ".")
    for order in itertools.permutations(range(got.ndim)) if 1 < got.ndim <= 4 else ():
        if tuple(got.shape[i] for i in order) == expected.shape:
            return f"The axes are in another order: {expected.shape} is yours with the axes as {order}."
    if got.size == expected.size and [n for n in got.shape if n != 1] == [n for n in expected.shape if n != 1]:
        return "Only axes of length 1 differ: look at keepdims, at reshape, and at (N,) against (N, 1)."
    if got.ndim < expected.ndim and _subsequence(got.shape, expected.shape):
        return "An axis is missing: was one summed, or indexed, that should be kept?"
    square = got.ndim == 2 and got.shape[0] == got.shape[1] > 1
    if square and sorted(expected.shape) in ([got.shape[0]], [1, got.shape[0]]):
        return "A square result: broadcasting of (N,) against (N, 1), or an axis that is not summed? Print the shapes."
    if got.ndim > expected.ndim and _subsequence(expected.shape, got.shape):
        return "There is an axis too many: is a sum or a mean over it missing?"
    return None


def _subsequence(short: tuple[int, ...], long: tuple[int, ...]) -> bool:
    rest = iter(long)
    return all(n in rest for n in short)


def _nonfinite(got: np.ndarray, expected: np.ndarray) -> str | None:
    """Where something finite is expected; elsewhere, and for -inf, which people write on purpose, nothing is known."""
    bad = got[np.isfinite(expected)]
    if np.isnan(bad).any():
        return "NaN comes from inf - inf, 0 / 0, 0 * inf, or from the root or logarithm of a negative number."
    if bad.dtype.kind == "f" and np.isposinf(bad).any():
        return (
            "inf comes from an overflow (exp of a large number), a division by 0, log 0, or from where it is written."
        )
    return None


def _varied(values: np.ndarray, count: int = 3) -> bool:
    """Whether there are so many different numbers besides 0 that a relation that all fit is no accident."""
    return np.unique(np.abs(values[values != 0])).size >= count


def _integers(got: np.ndarray, expected: np.ndarray) -> str | None:
    if not _varied(expected):
        return None
    offsets = np.unique(got.astype(np.int64) - expected.astype(np.int64))
    if offsets.size == 1 and expected.size > 1:
        return f"Every value is off by {offsets[0]:+d}."
    return None


def _zeros(got: np.ndarray, expected: np.ndarray) -> str | None:
    return "Every value is zero." if not got.any() and _varied(expected) else None


def _precision(got: np.ndarray, expected: np.ndarray) -> str | None:
    """Every digit but the last half is right, everywhere: a few values that are off have another cause."""
    wrong, known = np.abs(got - expected), np.abs(expected)
    inexact = np.mean(wrong > 0) > 0.5 or expected.size == 1
    if expected.dtype not in (np.float64, np.complex128) or not inexact or not known.any() or np.isinf(known).any():
        return None
    if np.max(wrong) < 3e-7 * np.max(known) and np.median(wrong[known > 0] / known[known > 0]) < 1e-6:
        return (
            "It agrees to about seven digits: some step is done in float32, adds a small constant such as 1e-8, or "
            "cuts off what is very small or large."
        )
    return None


def _sign(got: np.ndarray, expected: np.ndarray) -> str | None:
    return "Every value has the wrong sign." if expected.any() and _close(-got, expected) else None


def _factor(got: np.ndarray, expected: np.ndarray, sizes: dict[str, int]) -> str | None:
    if got.dtype.kind == "c" or not _varied(expected):
        return None
    power = float(np.vdot(expected, expected))
    factor = float(np.vdot(expected, got)) / power if power else 0.0
    if not factor or f"{factor:.6g}" == "1" or not _close(got / factor, expected):
        return None
    return f"Every value is the right one times {factor:.6g}{_name_factor(factor, sizes)}."


def _name_factor(factor: float, sizes: dict[str, int]) -> str:
    if any(math.isclose(abs(factor), plain, rel_tol=1e-6) for plain in (2, 0.5)):  # says enough, may be many things
        return ""
    named = {"ln 2": math.log(2), "1/ln 2": 1 / math.log(2)}
    for name, n in sizes.items():
        if n > 1:
            named |= {name: n, f"1/{name}": 1 / n, f"sqrt({name})": math.sqrt(n), f"1/sqrt({name})": 1 / math.sqrt(n)}
    fitting = [name for name, value in named.items() if math.isclose(abs(factor), value, rel_tol=1e-6)]
    sign = "-" if factor < 0 else ""
    return f", which is {' or '.join(sign + name for name in fitting)} here" if fitting else ""


def _offset(got: np.ndarray, expected: np.ndarray) -> str | None:
    if not _varied(expected):
        return None
    offset = (got - expected).mean()
    return f"Every value is off by the same {offset:+.6g}." if _close(got - offset, expected) else None


def _axes(got: np.ndarray, expected: np.ndarray) -> str | None:
    if 1 < got.ndim <= 4:
        for order in itertools.permutations(range(got.ndim)):
            moved = got.transpose(order)
            if order != tuple(range(got.ndim)) and _close(moved, expected):
                return f"The values are right with the axes as {order}: a transpose too many or too few."
    for axis in range(got.ndim):
        if got.shape[axis] > 1 and _close(np.flip(got, axis), expected):
            return f"The values are right in reverse order along axis {axis}."
        for shift in (1, -1):
            if got.shape[axis] > 2 and _close(np.roll(got, shift, axis), expected):
                return f"The values are right but shifted by one along axis {axis}."
    return None


def _in_blocks(got: np.ndarray, expected: np.ndarray) -> Iterator[tuple[int, list[int | None]]]:
    """For each way to cut into 4, 3 or 2 blocks: the axis, and which block of the right ones each is."""
    for axis in range(got.ndim - 1, -1, -1) if _varied(expected) else ():
        for count in (4, 3, 2):
            size = got.shape[axis]
            if size % count == 0 and size != count:
                mine, theirs = np.split(got, count, axis), np.split(expected, count, axis)
                yield axis, [next((j for j, t in enumerate(theirs) if _close(m, t)), None) for m in mine]


def _order(got: np.ndarray, expected: np.ndarray) -> str | None:
    """The gates' blocks in another order."""
    for axis, order in _in_blocks(got, expected):
        in_place = list(range(len(order)))
        if None not in order and sorted(order) == in_place != order:  # type: ignore[type-var]
            return f"The {len(order)} blocks along axis {axis} are right, but in the order {order}."
    return None


def _blocks(got: np.ndarray, expected: np.ndarray, sizes: dict[str, int]) -> str | None:
    """One gate's block wrong. Examples, atoms or steps have no blocks: gates lie along the last axis, or by name."""
    for axis, order in _in_blocks(got, expected):
        wrong = [i for i, place in enumerate(order) if place != i]
        length = got.shape[axis]
        named = length // len(order) in sizes.values() and length not in sizes.values()
        if len(order) > 2 and len(wrong) == 1 and (axis == got.ndim - 1 or named):
            return f"Only block {wrong[0]} (counted from 0) of the {len(order)} blocks along axis {axis} is wrong."
    return None


def _slices(got: np.ndarray, expected: np.ndarray) -> str | None:
    """Only the first or the last index along an axis right, or wrong."""
    line = _CLOSE * np.max(np.abs(expected))
    for axis in range(got.ndim):
        size = got.shape[axis]
        if size < 4:
            continue
        others = tuple(i for i in range(got.ndim) if i != axis)
        wrong = np.flatnonzero(np.max(np.abs(got - expected), axis=others) > line).tolist()
        for index, name in ((0, "first"), (size - 1, "last")):
            rest = [i for i in range(size) if i != index]
            if wrong == [index] and _varied(expected.take(rest, axis)):
                return f"Only the {name} index along axis {axis} is wrong."
            if wrong == rest and _varied(expected.take(index, axis)):
                return f"Only the {name} index along axis {axis} is right."
    return None
