"""Comparing what was observed with what the reference yields: structure first, then values, norm-wise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograder.engine.inside.wire import Opaque, Tensor

# Largest allowed max|got - expected| / max|expected|. Correct code in another order of summation stays 10 to 100 times
# below the line; a known mistake lands far above it.
RTOL = {"float64": 1e-9, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2, "complex128": 1e-9, "complex64": 1e-5}
ZERO_SCALE = 1e-3  # the scale that stands in where everything expected is exactly zero


@dataclass(frozen=True)
class Difference:
    """The first way in which two values differ.

    Attributes:
        kind: type, length, keys, shape, dtype, nonfinite or values.
        path: where inside the value, such as `['W']` or `[2]`; empty for the value itself.
        text: the difference in a sentence.
        got, expected: the arrays that differ, for the diagnosis (only for shape, dtype, nonfinite, values).
        rtol: the tolerance that was applied.
    """

    kind: str
    path: str
    text: str
    got: np.ndarray | None = None
    expected: np.ndarray | None = None
    rtol: float = 0.0


def compare(
    got: Any, expected: Any, *, rtol: float | None = None, atol: float = 0.0, path: str = ""
) -> Difference | None:
    """The first difference between two decoded values, or None if they agree.

    Shapes are never broadcast and dtypes must be equal (for integers, of any width). What holds the same numbers is the
    same: a list, a tuple and a one-dimensional array; a number of Python's, one of NumPy's, and an array or tensor
    without axes. Floats agree when ``max|got - expected| <= rtol * max|expected| + atol``, with rtol from the table for
    the dtype unless given; inf equals inf, NaN equals NaN, each only in the same place.
    """
    got = _like(got, expected)
    if isinstance(expected, np.ndarray | Tensor):
        return _compare_arrays(got, expected, rtol, atol, path)
    if isinstance(expected, bool | np.bool_):
        if not isinstance(got, bool | np.bool_):
            return _wrong_type(got, "True or False", path)
        return None if bool(got) == bool(expected) else _wrong_value(got, expected, path)
    if isinstance(expected, int | float | complex | np.number):
        return _compare_numbers(got, expected, rtol, atol, path)
    if isinstance(expected, list | tuple):
        return _compare_sequences(got, expected, rtol, atol, path)
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return _wrong_type(got, "a dict", path)
        missing = [k for k in expected if k not in got]
        extra = [k for k in got if k not in expected]
        if missing or extra:
            said = [f"lacks {', '.join(map(short, missing))}"] if missing else []
            said += [f"has {', '.join(map(short, extra))} too many"] if extra else []
            return Difference("keys", path, f"The dict {' and '.join(said)}.")
        for key, value in expected.items():
            difference = compare(got[key], value, rtol=rtol, atol=atol, path=f"{path}[{key!r}]")
            if difference:
                return difference
        return None
    if isinstance(expected, frozenset):
        if not isinstance(got, frozenset):
            return _wrong_type(got, "a set", path)
        return None if got == expected else _wrong_value(set(got), set(expected), path)
    if isinstance(expected, Opaque):
        if not isinstance(got, Opaque):
            return _wrong_type(got, f"an object of type {expected.type}", path)
        return None if got == expected else _wrong_value(got.type, expected.type, path)
    if type(got) is not type(expected):
        return _wrong_type(got, type_name(expected), path)
    return None if got == expected else _wrong_value(got, expected, path)


_Number = bool | int | float | complex | np.generic


def _like(got: Any, expected: Any) -> Any:
    """What was got in the container that is expected, where another one holds the same numbers.

    A tensor that holds the graph it was computed in is more than its number.
    """
    if any(isinstance(one, Tensor) and one.graph for one in (got, expected)) and type(got) is not type(expected):
        return got
    if isinstance(expected, _Number | list | tuple) and isinstance(got, np.ndarray | Tensor):
        array = got.array if isinstance(got, Tensor) else got
        if isinstance(expected, _Number):
            return array[()] if array.ndim == 0 else got
        return list(got) if isinstance(got, np.ndarray) and got.ndim == 1 and _numbers(expected) else got
    if not isinstance(expected, np.ndarray | Tensor):
        return got
    array = expected.array if isinstance(expected, Tensor) else expected
    if isinstance(got, list | tuple) and isinstance(expected, np.ndarray) and array.ndim == 1 and _numbers(got):
        return _as_array(got, array.dtype)
    if array.ndim == 0 and isinstance(got, Tensor | np.ndarray | _Number):
        held = got.array if isinstance(got, Tensor) else got
        if isinstance(got, Tensor) != isinstance(expected, Tensor) or isinstance(got, _Number):
            mine = _as_array(held, array.dtype)
            return Tensor(mine, expected.dtype) if isinstance(expected, Tensor) and mine.dtype == array.dtype else mine
    return got


def _numbers(values: Any) -> bool:
    return all(isinstance(value, _Number) for value in values)


def _as_array(value: Any, dtype: np.dtype) -> np.ndarray:
    """Numbers as an array; those of Python get the dtype that is expected, if it holds them."""
    try:
        array = np.asarray(value)
    except (OverflowError, ValueError):
        return np.asarray(value, dtype=object)
    pythons = isinstance(value, int | float | complex) or (
        isinstance(value, list | tuple) and all(isinstance(v, int | float | complex) for v in value)
    )
    order = "biufc"
    fits = array.dtype.kind in order and order.index(array.dtype.kind) <= order.index(dtype.kind)
    return array.astype(dtype) if pythons and fits and (array.dtype.kind == "b") == (dtype.kind == "b") else array


def rounding(value: Any) -> float:
    """How far apart two computations of a value may be by rounding alone: the tolerance, on the value's scale."""
    if isinstance(value, dict | list | tuple):
        return max(map(rounding, value.values() if isinstance(value, dict) else value), default=0.0)
    array = value.array if isinstance(value, Tensor) else value
    if not isinstance(array, float | complex | np.ndarray | np.generic):
        return 0.0
    array = np.asarray(array)
    if array.dtype.kind not in "fc":
        return 0.0
    dtype = value.dtype if isinstance(value, Tensor) else str(array.dtype)
    return _allowed(dtype) * float(np.max(np.abs(array[np.isfinite(array)]), initial=0.0))


def type_name(value: Any) -> str:
    """A value's type in words, with shape and dtype where it has them."""
    if isinstance(value, Tensor):
        graph = " that still holds its graph" if value.graph else ""
        return f"a torch tensor of shape {value.array.shape} and dtype {value.dtype}{graph}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, Opaque):
        return f"an object of type {value.type}"
    if value is None:
        return "None (is a `return` missing, or a gradient that does not arrive?)"
    words = {bool: "True or False", int: "an int", float: "a float", str: "a string", list: "a list", tuple: "a tuple"}
    words |= {dict: "a dict", frozenset: "a set"}
    return words.get(type(value), f"a {type(value).__name__}")


def _wrong_type(got: Any, wanted: str, path: str) -> Difference:
    return Difference("type", path, f"It is {type_name(got)}; {wanted} is expected.")


def _wrong_value(got: Any, expected: Any, path: str) -> Difference:
    return Difference("values", path, f"Yours is {short(got)}, expected is {short(expected)}.")


def short(value: Any) -> str:
    """`repr`, cut where it gets long."""
    try:
        text = repr(value.item() if isinstance(value, np.generic) else value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        text = "a value too large to show"
    return text if len(text) <= 120 else text[:117] + "…"


def _which(got: Sequence[Any], expected: Sequence[Any]) -> str:
    """Which names are missing or too many, if it is names that are listed."""
    if not all(isinstance(item, str) for item in (*got, *expected)):
        return ""
    missing, extra = [n for n in expected if n not in got], [n for n in got if n not in expected]
    said = [f"{', '.join(map(short, missing))} missing"] if missing else []
    said += [f"{', '.join(map(short, extra))} too many"] if extra else []
    return f" ({'; '.join(said)})" if said else ""


def _compare_sequences(
    got: Any, expected: list[Any] | tuple[Any, ...], rtol: float | None, atol: float, path: str
) -> Difference | None:
    kind = "tuple" if isinstance(expected, tuple) else "list"
    if not isinstance(got, list | tuple):
        return _wrong_type(got, f"a {kind} of {len(expected)}", path)
    if len(got) != len(expected):
        return Difference(
            "length", path, f"The {kind} has {len(got)} items; {len(expected)} are expected{_which(got, expected)}."
        )
    for index, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        difference = compare(mine, theirs, rtol=rtol, atol=atol, path=f"{path}[{index}]")
        if difference:
            return difference
    return None


def _compare_numbers(got: Any, expected: Any, rtol: float | None, atol: float, path: str) -> Difference | None:
    if isinstance(got, Tensor | bool | np.bool_):
        return _wrong_type(got, "a number", path)
    if isinstance(got, np.ndarray) and got.ndim == 0:
        got = got[()]
    if not isinstance(got, int | float | complex | np.number):
        return _wrong_type(got, "a number", path)
    if isinstance(got, complex | np.complexfloating) and not isinstance(expected, complex | np.complexfloating):
        return _wrong_type(got, "a real number", path)
    if isinstance(expected, int | np.integer):
        if not isinstance(got, int | np.integer):
            return _wrong_type(got, "an integer", path)
        return None if int(got) == int(expected) else _wrong_value(got, expected, path)
    if isinstance(got, int):
        try:
            got = float(got)
        except OverflowError:
            return _wrong_value(got, expected, path)
    dtype = str(getattr(expected, "dtype", "complex128" if isinstance(expected, complex) else "float64"))
    return _compare_values(np.asarray(got), np.asarray(expected), dtype, rtol, atol, path)


def _compare_arrays(
    got: Any, expected: np.ndarray | Tensor, rtol: float | None, atol: float, path: str
) -> Difference | None:
    tensor = isinstance(expected, Tensor)
    if tensor != isinstance(got, Tensor) or not isinstance(got, np.ndarray | Tensor):
        if isinstance(got, np.generic) and isinstance(expected, np.ndarray) and expected.ndim == 0:
            got = np.asarray(got)
        else:
            return _wrong_type(got, "a torch tensor" if tensor else "a NumPy array", path)
    mine = got.array if isinstance(got, Tensor) else got
    theirs = expected.array if isinstance(expected, Tensor) else expected
    my_dtype, dtype = (str(v.dtype) for v in (got, expected))
    if mine.shape != theirs.shape:
        text = f"Its shape is {mine.shape}; {theirs.shape} is expected."
        return Difference("shape", path, text, mine, theirs)
    both_integers = mine.dtype.kind in "iu" and theirs.dtype.kind in "iu"
    if my_dtype != dtype and not both_integers:
        return Difference("dtype", path, f"Its dtype is {my_dtype}; {dtype} is expected.", mine, theirs)
    return _compare_values(mine, theirs, dtype, rtol, atol, path)


def _allowed(dtype: str) -> float:
    return RTOL.get(dtype, RTOL["float64"])  # longer ones are no better known


def _compare_values(
    mine: np.ndarray, theirs: np.ndarray, dtype: str, rtol: float | None, atol: float, path: str
) -> Difference | None:
    if theirs.dtype.kind not in "fc":
        wrong = mine != theirs
        if not wrong.any():
            return None
        return Difference("values", path, _worst(mine, theirs, wrong.astype(float)), mine, theirs)
    allowed = _allowed(dtype) if rtol is None else rtol
    same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    finite = np.isfinite(mine) & np.isfinite(theirs)
    if not (same | finite).all():
        bad = ~(same | finite)
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        place = f" (first at {list(first)}: yours {mine[first]:.6g}, expected {theirs[first]:.6g})" if first else ""
        what = "NaN" if np.isnan(mine[bad]).any() else "inf" if np.isinf(mine[bad]).any() else "a finite number"
        text = f"{int(bad.sum())} of {bad.size} values are {what} where the reference has another{place}."
        return Difference("nonfinite", path, text, mine, theirs, allowed)
    errors = np.zeros(mine.shape)
    errors[finite] = np.abs(mine[finite] - theirs[finite])
    scale = float(np.max(np.abs(theirs[finite]), initial=0.0))
    if errors.size == 0 or float(errors.max()) <= allowed * (scale or ZERO_SCALE) + atol:
        return None
    relative = f"; error over scale {errors.max() / scale:.1e}, allowed {allowed:.0e}" if scale else ""
    return Difference("values", path, _worst(mine, theirs, errors) + relative + ".", mine, theirs, allowed)


def _worst(mine: np.ndarray, theirs: np.ndarray, errors: np.ndarray) -> str:
    index = np.unravel_index(int(np.argmax(errors)), errors.shape) if errors.shape else ()
    place = f" at {[int(i) for i in index]}" if index else ""
    for digits in (9, 13, 17):  # as many as it takes to see a difference
        yours, expected = _written(mine[index], theirs[index], digits=digits)
        if yours != expected:
            break
    return f"Largest error{place}: yours {yours}, expected {expected}"


def _written(*values: Any, digits: int) -> tuple[str, ...]:
    """Numbers with so many digits."""
    return tuple(f"{v:.{digits}g}" if np.asarray(v).dtype.kind in "fc" else repr(v.item()) for v in values)
