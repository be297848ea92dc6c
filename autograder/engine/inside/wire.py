"""Values as JSON trees: the only form in which anything crosses between processes, or rests in a key.

Arrays keep shape and dtype; lists, tuples, dicts, sets, strings and numbers keep their type. Nothing is unpickled and
nothing is called while decoding, and sizes are checked before memory is taken, so what a hostile process sends can at
worst be refused.
"""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_BYTES = 32 * 2**20  # of one array
MAX_NODES = 100_000  # of one value
MAX_DEPTH = 32
MAX_INT_BITS = 8192
_KINDS = "biufc"  # dtypes that may cross: bool, integers, floats, complex
_DTYPE = re.compile(r"\?|b1|[iufc]\d{1,2}|(u?int|float|complex)\d{1,3}|bool")


class WireError(ValueError):
    """A value that cannot cross, or text that is no value; the message says why."""


@dataclass(frozen=True)
class Tensor:
    """A decoded torch tensor: its values, its torch dtype (`float64`, `bfloat16`, …), and whether it holds a graph."""

    array: np.ndarray
    dtype: str
    graph: bool = False


@dataclass(frozen=True)
class Opaque:
    """A decoded object of which only the type is known."""

    type: str


class _Budget:
    def __init__(self) -> None:
        self.nodes = MAX_NODES

    def spend(self, depth: int) -> None:
        self.nodes -= 1
        if self.nodes < 0:
            raise WireError(f"it has more than {MAX_NODES} parts")
        if depth > MAX_DEPTH:
            raise WireError(f"it is nested more than {MAX_DEPTH} deep")


def _pack(array: np.ndarray, tag: str, dtype: str | None = None) -> dict[str, Any]:
    if array.dtype.kind not in _KINDS:
        raise WireError(f"it is an array of dtype {array.dtype}")
    if array.nbytes > MAX_BYTES:
        raise WireError(f"it is an array of {array.nbytes / 2**20:.0f} MB")
    plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return {
        tag: dtype or plain.dtype.str.lstrip("<|="),
        "shape": list(array.shape),
        "data": base64.b64encode(plain.tobytes()).decode("ascii"),
    }


def encode(value: Any) -> Any:
    """`value` as a JSON tree. Raises WireError if it is too large to be sent."""
    return _encode(value, _Budget(), 0)


def _encode(value: Any, budget: _Budget, depth: int) -> Any:
    budget.spend(depth)
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        if value.bit_length() > MAX_INT_BITS:
            raise WireError(f"it is an integer of {value.bit_length()} bits")
        return value if abs(value) < 2**53 else {"int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind is complex:
        return {"complex": [repr(value.real), repr(value.imag)]}
    if isinstance(value, list):
        return [_encode(item, budget, depth + 1) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, budget, depth + 1) for item in tuple.__iter__(value)]}
    if kind in (set, frozenset):
        return {"set": [_encode(item, budget, depth + 1) for item in value]}
    if isinstance(value, dict):
        pairs = list(dict.items(value))
        return {"dict": [[_encode(k, budget, depth + 1), _encode(v, budget, depth + 1)] for k, v in pairs]}
    if isinstance(value, np.generic):
        return (
            _pack(np.asarray(value), "scalar") if value.dtype.kind in _KINDS else _encode(value.item(), budget, depth)
        )
    if isinstance(value, np.ndarray):
        return _pack(np.asarray(value), "array")
    if kind.__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
        tensor = value.detach().cpu().resolve_conj().resolve_neg()
        dtype = str(tensor.dtype).removeprefix("torch.")
        packed = _pack((tensor.float() if dtype == "bfloat16" else tensor).numpy(), "tensor", dtype)
        return packed | ({"graph": True} if value.requires_grad else {})
    return {"object": f"{kind.__module__}.{kind.__qualname__}"[:200]}


def decode(tree: Any) -> Any:
    """The value of a JSON tree made by :func:`encode`. Raises WireError on anything else."""
    try:
        return _decode(tree, _Budget(), 0)
    except WireError:
        raise
    except Exception as problem:  # whatever a hostile tree makes NumPy or Python say
        raise WireError(f"not a value: {type(problem).__name__}") from None


def _unpack(tree: dict[str, Any], dtype: str) -> np.ndarray:
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise WireError("an array of no known dtype")
    kind = np.dtype(dtype)
    shape = tuple(int(n) for n in tree["shape"])
    if kind.kind not in _KINDS or any(n < 0 for n in shape) or len(shape) > MAX_DEPTH:
        raise WireError(f"no array of {kind} and shape {shape}")
    data = tree["data"]
    if not isinstance(data, str) or len(data) > 4 * (MAX_BYTES // 3 + 1):
        raise WireError("an array without data, or with too much")
    raw = base64.b64decode(data, validate=True)
    if math.prod(shape) * kind.itemsize != len(raw):
        raise WireError("an array whose data does not fill its shape")
    return np.frombuffer(raw, dtype=kind.newbyteorder("<")).reshape(shape).astype(kind)


def _decode(tree: Any, budget: _Budget, depth: int) -> Any:
    budget.spend(depth)
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if isinstance(tree, list):
        return [_decode(item, budget, depth + 1) for item in tree]
    if not isinstance(tree, dict) or not tree:
        raise WireError(f"no value: {type(tree).__name__}")
    tag = next(iter(tree))
    body = tree[tag]
    if tag == "int":
        if len(body) > MAX_INT_BITS // 4 + 3:
            raise WireError("an integer with too many digits")
        return int(body, 16)
    if tag == "float":
        return float(body)
    if tag == "complex":
        return complex(float(body[0]), float(body[1]))
    if tag == "tuple":
        return tuple(_decode(item, budget, depth + 1) for item in body)
    if tag == "set":
        return frozenset(_decode(item, budget, depth + 1) for item in body)
    if tag == "dict":
        return {_decode(k, budget, depth + 1): _decode(v, budget, depth + 1) for k, v in body}
    if tag == "array":
        return _unpack(tree, body)
    if tag == "scalar":
        return _unpack({**tree, "shape": []}, body)[()]
    if tag == "tensor":
        stored = {"bfloat16": "f4", "bool": "?"}.get(str(body), str(body))
        return Tensor(_unpack(tree, stored), str(body), tree.get("graph") is True)
    if tag == "object":
        return Opaque(str(body))
    raise WireError(f"no value: {tag!r}")
