"""What the arguments of a case are like: recorded with what is expected, to tell failing cases from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Traits = dict[str, dict[str, Any]]  # argument → what it is like, as JSON

_MOST = 40  # arguments, and elements of a tuple, that are looked at
_MANY = 100_000  # elements of an array that is looked at for equal ones


def look(found: Traits, arguments: Mapping[str, Any]) -> None:
    """Add what the arguments of a call are like; of several calls, that one was so, or all were alike."""
    mine: Traits = {}
    for name, value in arguments.items():
        if name != "self" and not name.startswith("cache"):  # a cache is of the learner's own making
            _add(mine, name, value)
    for name, traits in mine.items():
        known = found.setdefault(name, traits)
        for what in known.keys() | traits.keys():
            if known.get(what) != traits.get(what):
                if known.get(what) is True or traits.get(what) is True:  # a number may be 1.0, which equals it
                    known[what] = True
                else:
                    known.pop(what, None)


def leave_out_common(cases: Sequence[Traits]) -> None:
    """Leave out, in place, what is the same in all cases: it sets none of them apart."""
    for name in {name for case in cases for name in case}:
        held = [case.get(name, {}) for case in cases]
        for what in set.intersection(*(set(traits) for traits in held)):
            if all(traits[what] == held[0][what] for traits in held):
                for traits in held:
                    del traits[what]


def _add(found: Traits, name: str, value: Any, depth: int = 0) -> None:
    if len(found) >= _MOST:
        return
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic) and np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf":
        value = value.item()
    if value is None or isinstance(value, bool):
        found[name] = {"is": str(value)}
    elif isinstance(value, int):
        found[name] = {"is": str(value), "number": float(value)} if abs(value) < 2**53 else {}
    elif isinstance(value, float):
        short = f"{value:.3g}"  # of a number that was drawn only its size is told
        found[name] = {"number": value} if np.isfinite(value) else {}
        found[name] |= {"is": short} if float(short) == value or not np.isfinite(value) else {}
    elif isinstance(value, str):
        found[name] = {"shape": [len(value)], "equal": len(set(value)) < len(value)}
    elif isinstance(value, np.ndarray):
        found[name] = _array(value)
    elif isinstance(value, Mapping) and depth < 2:
        for key, item in value.items():
            _add(found, f"{name}[{key!r}]", item, depth + 1)
    elif isinstance(value, list | tuple) and depth < 2:
        if all(isinstance(item, int | float | np.number) for item in value):
            found[name] = _array(np.array(value)) | {"dtype": type(value).__name__}
        elif isinstance(value, tuple) and len(value) <= _MOST:
            for index, item in enumerate(value):
                _add(found, f"{name}[{index}]", item, depth + 1)
        else:
            empty = any(hasattr(item, "__len__") and len(item) == 0 for item in value)
            found[name] = {"shape": [len(value)], "empty item": empty}
    elif isinstance(getattr(value, "training", None), bool):
        found[name] = {"training": value.training}


def _array(values: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {"dtype": str(values.dtype), "shape": list(values.shape)}
    if not values.flags.writeable:
        found["read-only"] = True
    if values.size and values.ndim > 1 and not values.flags.c_contiguous:
        found["layout"] = "Fortran order" if values.flags.f_contiguous else "strides"
    if values.dtype.kind in "iuf" and values.size:
        finite = values[np.isfinite(values)]
        found |= {
            "NaN": bool(np.isnan(values).any()),
            "inf": bool(np.isposinf(values).any()),
            "-inf": bool(np.isneginf(values).any()),
            "zeros": bool((values == 0).any()),
            "negative": bool((finite < 0).any()),
            "equal": finite.size <= _MANY and np.unique(finite).size < finite.size,
        }
        if finite.size:
            found["size"] = float(f"{np.max(np.abs(finite.astype(float))):.2g}")
    return {what: trait for what, trait in found.items() if trait is not False}
