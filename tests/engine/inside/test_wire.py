"""Values cross between processes, and into keys, as JSON trees: unchanged, or not at all."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

from autograder.engine.inside import wire
from autograder.engine.inside.wire import Opaque, Tensor, WireError, decode, encode

Pair = namedtuple("Pair", "first second")
WHOLE = np.arange(24.0).reshape(4, 6)


def through_text(value: Any) -> Any:
    """What arrives on the other side."""
    return decode(json.loads(json.dumps(encode(value))))


# Round trips --------------------------------------------------------------------------------------------------------

ARRAYS = {
    "zero_dimensional": np.array(2.5),
    "empty": np.zeros((0, 3)),
    "empty_in_the_middle": np.zeros((2, 0, 4), dtype=np.float32),
    "matrix": WHOLE,
    "every_second_column": WHOLE[:, ::2],
    "transposed": WHOLE.T,
    "reversed_rows": WHOLE[::-1],
    "reversed_twice": WHOLE[::-2, ::-1],
    "broadcast": np.broadcast_to(np.arange(3.0), (4, 3)),
    "column_major": np.asfortranarray(WHOLE),
    "big_endian_floats": np.arange(5, dtype=">f8") / 7,
    "big_endian_integers": np.arange(5, dtype=">i4"),
    "booleans": np.array([[True, False], [False, True]]),
    "small_integers": np.array([-128, 127], dtype=np.int8),
    "large_unsigned_integers": np.array([2**64 - 1, 0], dtype=np.uint64),
    "half_precision": np.array([1.5, -65504.0], dtype=np.float16),
    "single_precision": np.float32([0.1, 1e-45]),
    "complex_numbers": np.array([1 + 2j, complex(-0.0, math.inf)]),
    "complex_single_precision": np.array([1 + 2j], dtype=np.complex64),
    "not_finite": np.array([math.nan, math.inf, -math.inf, -0.0]),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_keep_shape_dtype_and_every_bit(array):
    there = through_text(array)
    assert type(there) is np.ndarray
    assert there.shape == array.shape
    assert there.dtype == array.dtype.newbyteorder("=")
    assert there.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def test_a_decoded_array_can_be_written_to():
    there = through_text(WHOLE)
    there += 1.0  # a judge may work in place
    assert there[0, 0] == 1.0


@pytest.mark.parametrize(
    "scalar",
    [np.float64(1.5), np.float32(0.1), np.float16(2), np.int64(-3), np.uint8(255), np.bool_(True), np.complex64(1j)],
    ids=lambda s: type(s).__name__,
)
def test_numpy_scalars_stay_scalars_of_their_dtype(scalar):
    there = through_text(scalar)
    assert type(there) is type(scalar)
    assert there == scalar


PLAIN = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "negative_integer": -17,
    "largest_exact_integer": 2**53,
    "integer_beyond_floats": -(2**200) - 1,
    "float_that_is_whole": 3.0,
    "smallest_float": 5e-324,
    "infinity": math.inf,
    "negative_infinity": -math.inf,
    "complex": 1.5 - 2j,
    "text": "σ(x) = ½\n\0",
    "empty_text": "",
    "list": [1, 2.0, "three", None, True],
    "empty_list": [],
    "empty_tuple": (),
    "nested": [(1, [2, (3,)]), {"a": [4, {"b": (5,)}]}],
    "dict_with_integer_keys": {0: "a", -1: "b"},
    "dict_with_keys_of_many_kinds": {"a": 1, 2: "b", (3, 4): "c", None: "d", 1.5: "e"},
    "empty_dict": {},
    "set": frozenset({1, 2, "three", (4, 5)}),
    "dict_that_looks_like_a_tag": {"array": "f8", "shape": [1], "data": ""},
}


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_plain_values_arrive_equal_and_of_the_same_type(value):
    there = through_text(value)
    assert there == value
    assert repr(there) == repr(value) or isinstance(value, frozenset)  # types inside too; a set has no order


def test_nan_arrives_as_nan():
    assert math.isnan(through_text(math.nan))


def test_the_sign_of_zero_survives():
    assert math.copysign(1.0, through_text(-0.0)) == -1.0


def test_the_order_of_a_dict_survives():
    assert list(through_text({"b": 1, "a": 2, 10: 3, 9: 4})) == ["b", "a", 10, 9]


@pytest.mark.parametrize(
    ("value", "there"),
    [
        ({1, 2}, frozenset({1, 2})),
        (Pair(1, 2.0), (1, 2.0)),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (np.str_("word"), "word"),
    ],
    ids=["set", "namedtuple", "ordered_dict", "numpy_string"],
)
def test_relatives_of_plain_types_arrive_as_the_plain_type(value, there):
    assert through_text(value) == there
    assert type(through_text(value)) is type(there)


@pytest.mark.parametrize("value", [object(), b"bytes", range(3), slice(1), len, type], ids=lambda v: type(v).__name__)
def test_of_any_other_object_only_its_type_arrives(value):
    assert through_text(value) == Opaque(f"{type(value).__module__}.{type(value).__qualname__}")


def test_text_of_a_tree_is_valid_json_even_for_nan():
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(json.dumps(encode([math.nan, math.inf, np.array([math.nan]), {1: -math.inf}])), parse_constant=refuse)


# Torch --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype",
    ["float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64", "complex128"],
)
def test_tensors_keep_values_shape_and_torch_dtype(dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([[1, 0, 3], [0, 5, 1]]).to(getattr(torch, dtype))
    there = through_text(tensor)
    assert isinstance(there, Tensor)
    assert there.dtype == dtype
    assert there.array.tolist() == tensor.tolist()


def test_tensors_arrive_whatever_their_layout_and_their_graph():
    torch = pytest.importorskip("torch")
    base = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
    parameter = torch.nn.Parameter(base.clone())
    for tensor in (base.T, base[:, ::2], base.expand(4, 2, 3), torch.tensor(7.0), torch.zeros(0, 3), parameter * 2):
        there = through_text(tensor)
        assert there.array.shape == tuple(tensor.shape)
        assert there.array.tolist() == tensor.tolist()
    assert through_text(parameter).array.tolist() == base.tolist()


def test_a_tensor_is_no_array():
    torch = pytest.importorskip("torch")
    assert isinstance(through_text({"W": torch.zeros(2)})["W"], Tensor)
    assert isinstance(through_text({"W": np.zeros(2)})["W"], np.ndarray)


def test_lazily_conjugated_and_negated_tensors_arrive():
    torch = pytest.importorskip("torch")
    z = torch.tensor([1 + 2j, 3 - 1j])
    assert through_text(z.conj()).array.tolist() == [1 - 2j, 3 + 1j]
    assert through_text(z.conj().imag).array.tolist() == [-2.0, 1.0]


def test_a_torch_size_keeps_its_numbers():
    torch = pytest.importorskip("torch")
    assert tuple(through_text(torch.zeros(2, 5).shape)) == (2, 5)


# What is refused on the way out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [np.array([None, 1]), np.array([{}]), np.array(["text"]), np.zeros(2, "i4,f8"), np.array(["2020"], "M8[D]")],
    ids=["objects", "dicts", "strings", "structured", "dates"],
)
def test_arrays_of_anything_but_numbers_are_refused(array):
    with pytest.raises(WireError, match="dtype"):
        encode(array)


def test_an_array_that_is_too_large_is_refused_before_it_is_copied():
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match="MB"):
            encode(np.broadcast_to(1.0, (10**6, 10**6)))  # 8 TB that take no memory
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_what_holds_itself_or_is_nested_too_deep_is_refused():
    circle: list[Any] = []
    circle.append(circle)
    loop: dict[str, Any] = {}
    loop["again"] = loop
    deep: Any = 0
    for _ in range(1000):
        deep = (deep,)
    for value in (circle, loop, deep):
        with pytest.raises(WireError, match="deep"):
            encode(value)


def test_what_has_too_many_parts_is_refused():
    for value in ([0] * (wire.MAX_NODES + 1), {n: n for n in range(wire.MAX_NODES)}, set(range(wire.MAX_NODES + 1))):
        with pytest.raises(WireError, match="parts"):
            encode(value)


# What is refused on the way in --------------------------------------------------------------------------------------

EIGHT = "AAAAAAAAAAA="  # eight zero bytes

HOSTILE = {
    "huge_shape": {"array": "f8", "shape": [2**40], "data": EIGHT},
    "shape_beyond_any_integer": {"array": "f8", "shape": [10**30, 10**30], "data": EIGHT},
    "huge_but_empty_shape": {"array": "f8", "shape": [10**30, 0], "data": ""},
    "large_but_empty_shape": {"array": "f8", "shape": [2**62, 0], "data": ""},
    "more_data_than_shape": {"array": "f8", "shape": [1], "data": "A" * 400},
    "less_data_than_shape": {"array": "f8", "shape": [2], "data": EIGHT},
    "negative_dimension": {"array": "f8", "shape": [-1], "data": EIGHT},
    "two_negative_dimensions": {"array": "f8", "shape": [-1, -1], "data": EIGHT},
    "too_many_dimensions": {"array": "f8", "shape": [1] * 65, "data": EIGHT},
    "dimension_that_is_text": {"array": "f8", "shape": ["x"], "data": EIGHT},
    "dimension_that_is_infinite": {"array": "f8", "shape": [math.inf], "data": EIGHT},
    "dimension_that_is_nothing": {"array": "f8", "shape": [None], "data": EIGHT},
    "shape_that_is_a_number": {"array": "f8", "shape": 1, "data": EIGHT},
    "no_shape": {"array": "f8", "data": EIGHT},
    "objects": {"array": "O", "shape": [1], "data": EIGHT},
    "objects_by_name": {"array": "object", "shape": [1], "data": EIGHT},
    "objects_in_a_record": {"array": {"names": ["a"], "formats": ["O"]}, "shape": [1], "data": EIGHT},
    "raw_bytes": {"array": "V8", "shape": [1], "data": EIGHT},
    "strings": {"array": "U2", "shape": [1], "data": EIGHT},
    "dates": {"array": "M8[ns]", "shape": [1], "data": EIGHT},
    "dtype_with_a_shape": {"array": "(1000,1000)f8", "shape": [1], "data": EIGHT},
    "dtype_repeated": {"array": "1000000000f8", "shape": [1], "data": EIGHT},
    "dtype_of_commas": {"array": "f8,,", "shape": [1], "data": EIGHT},
    "dtype_with_an_open_bracket": {"array": "(1,2f8", "shape": [1], "data": EIGHT},
    "dtype_unknown": {"array": "no such type", "shape": [1], "data": EIGHT},
    "dtype_of_great_length": {"array": "f8" * 100_000, "shape": [1], "data": EIGHT},
    "dtype_that_is_a_number": {"array": 8, "shape": [1], "data": EIGHT},
    "dtype_that_is_a_list": {"array": ["f8"], "shape": [1], "data": EIGHT},
    "no_base64": {"array": "f8", "shape": [1], "data": "*" * 12},
    "base64_cut_short": {"array": "f8", "shape": [1], "data": EIGHT[:-1]},
    "data_beyond_ascii": {"array": "f8", "shape": [1], "data": "é" * 12},
    "data_that_is_a_number": {"array": "f8", "shape": [1], "data": 0},
    "no_data": {"array": "f8", "shape": [1]},
    "scalar_of_two": {"scalar": "f8", "shape": [], "data": EIGHT + EIGHT},
    "scalar_with_a_shape": {"scalar": "(2,)f8", "shape": [], "data": EIGHT},
    "tensor_of_unknown_dtype": {"tensor": "float7", "shape": [1], "data": EIGHT},
    "tensor_of_objects": {"tensor": "object", "shape": [1], "data": EIGHT},
    "tensor_dtype_that_is_a_list": {"tensor": ["float64"], "shape": [1], "data": EIGHT},
    "integer_that_is_none": {"int": "twelve"},
    "integer_that_is_a_list": {"int": []},
    "float_that_is_none": {"float": "one"},
    "complex_of_one": {"complex": ["1"]},
    "complex_of_text": {"complex": "1"},
    "complex_of_nothing": {"complex": None},
    "tuple_of_a_number": {"tuple": 5},
    "set_of_lists": {"set": [[1], [2]]},
    "dict_of_singles": {"dict": [[1]]},
    "dict_of_triples": {"dict": [[1, 2, 3]]},
    "dict_with_an_array_for_a_key": {"dict": [[{"array": "f8", "shape": [1], "data": EIGHT}, 1]]},
    "unknown_tag": {"pickle": "gASVAAAA"},
    "empty_object": {},
    "bytes": b"bytes",
}


def refusal(tree: Any) -> WireError:
    """The refusal of a tree that must be refused, made with little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(WireError) as refused:
            decode(tree)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    return refused.value


@pytest.mark.parametrize("tree", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_tree_is_refused_without_taking_memory(tree):
    refusal(tree)
    refusal([1, {"tuple": [tree]}])  # inside another value as well


def test_a_refusal_is_a_short_sentence():
    """It is shown to the learner: what a tree holds must not flood the report."""
    assert max(len(str(refusal(tree))) for tree in HOSTILE.values()) < 500


def test_a_tree_that_is_nested_too_deep_is_refused():
    deep: Any = 0
    for _ in range(50_000):
        deep = [deep]
    assert "deep" in str(refusal(deep))


def test_a_tree_with_too_many_parts_is_refused():
    assert "parts" in str(refusal([0] * (10 * wire.MAX_NODES)))
    assert "parts" in str(refusal({"dict": [[n, n] for n in range(wire.MAX_NODES)]}))


def test_an_array_with_more_data_than_allowed_is_refused(monkeypatch):
    tree = encode(np.zeros(100))
    monkeypatch.setattr(wire, "MAX_BYTES", 64)
    assert decode(encode(np.zeros(8))).shape == (8,)
    with pytest.raises(WireError):
        decode(tree)


def test_a_damaged_tree_gives_a_value_or_a_refusal_and_nothing_else():
    """Thousands of trees with one part replaced: whatever is raised otherwise would stop the grading of a class."""
    rng = np.random.default_rng(0)
    whole = encode([np.arange(3.0), (1, {2: "b"}), {"a": 1j, "b": [2**70, math.nan]}, {1}, np.float32(1)])
    parts = [
        None,
        True,
        -1,
        2**70,
        math.inf,
        "",
        "f8,",
        "O",
        "array",
        [],
        [[]],
        {},
        {"array": "f8"},
        ["1"],
        "(",
        "\ud800",
    ]

    def damaged(tree: Any) -> Any:
        if rng.random() < 0.08:
            return parts[rng.integers(len(parts))]
        if isinstance(tree, list):
            return [damaged(item) for item in tree]
        if isinstance(tree, dict):
            return {key: damaged(item) for key, item in tree.items() if rng.random() > 0.03}
        return tree

    refused = 0
    for _ in range(3000):
        try:
            decode(damaged(whole))
        except WireError:
            refused += 1
    assert 1000 < refused < 3000
