"""Comparing with the reference, and naming what went wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from autograder.engine.inside.wire import Opaque, Tensor
from autograder.engine.judge.compare import RTOL, Difference, compare
from autograder.engine.judge.words.diagnose import _name_factor, patterns, swapped


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensor(values: Any, dtype: str = "float64") -> Tensor:
    """A torch tensor as it arrives from another process."""
    return Tensor(np.asarray(values, dtype={"bfloat16": "float32"}.get(dtype, dtype)), dtype)


def differs(got: Any, expected: Any, **how: Any) -> Difference:
    """The difference, which there must be."""
    difference = compare(got, expected, **how)
    assert difference is not None
    assert difference.text
    return difference


# What agrees --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3),
        np.zeros((0, 3)),
        np.array(2.5),
        np.array([True, False]),
        np.arange(3),
        np.array([1 + 2j]),
        np.float32([0.1]),
        np.float16([0.1]),
        np.float64(2.5),
        np.int32(3),
        tensor([1.0, 2.0]),
        tensor([1.0, 2.0], "bfloat16"),
        tensor([1, 2], "int64"),
        tensor([True], "bool"),
        1,
        2.5,
        1 + 2j,
        True,
        "text",
        None,
        [1, 2.0, "three"],
        (1, (2, [3])),
        {"a": 1, 2: [np.ones(2)]},
        frozenset({1, 2}),
        [],
        {},
        Opaque("torch.dtype"),
    ],
    ids=lambda v: f"{type(v).__name__}_{getattr(v, 'dtype', '')}",
)
def test_a_value_agrees_with_itself(value):
    assert compare(value, value) is None


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint64"])
def test_integers_of_any_width_agree(dtype):
    assert compare(np.array([1, 2], dtype), np.array([1, 2])) is None
    assert compare(np.array([1, 2]), np.array([1, 2], dtype)) is None
    assert compare(np.dtype(dtype).type(3), 3) is None


def test_integers_whose_bits_agree_but_not_their_values_differ():
    assert differs(np.array([-1]), np.array([2**64 - 1], np.uint64)).kind == "values"
    assert differs(np.array([255], np.uint8), np.array([-1], np.int8)).kind == "values"


@pytest.mark.parametrize("got", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0)])
def test_for_a_float_any_real_number_of_the_same_value_is_accepted(got):
    assert compare(got, 2.0) is None
    assert compare(got, np.float64(2)) is None


HOLDS = {
    "a_scalar_for_an_array_without_axes": (np.float64(2.5), np.array(2.5)),
    "a_float_for_an_array_without_axes": (2.5, np.array(2.5)),
    "a_float_for_a_tensor_without_axes": (2.5, tensor(2.5)),
    "a_float_for_one_in_single_precision": (2.5, tensor(2.5, "float32")),
    "a_scalar_for_a_tensor": (np.float64(2.5), tensor(2.5)),
    "an_int_for_a_float": (2, np.array(2.0)),
    "an_array_for_a_tensor_without_axes": (np.array(2.5), tensor(2.5)),
    "a_tensor_for_an_array_without_axes": (tensor(2.5), np.array(2.5)),
    "a_tensor_for_a_float": (tensor(2.5), 2.5),
    "a_tensor_for_an_int": (tensor(2, "int64"), 2),
    "an_array_for_a_truth": (np.array(True), True),
    "a_list_for_an_array": ([1.0, 2.0], np.array([1.0, 2.0])),
    "a_tuple_of_scalars_for_an_array": ((np.float64(1), np.float64(2)), np.array([1.0, 2.0])),
    "ints_for_an_array_of_floats": ([1, 2], np.array([1.0, 2.0])),
    "an_array_for_a_list": (np.array([1.0, 2.0]), [1.0, 2.0]),
    "an_array_for_a_tuple_of_ints": (np.array([1, 2]), (1, 2)),
    "an_empty_list_for_an_array": ([], np.zeros(0)),
    "inside": ({"a": [np.array([1, 2])]}, {"a": [[1, 2]]}),
}


@pytest.mark.parametrize(("got", "expected"), HOLDS.values(), ids=HOLDS)
def test_what_holds_the_same_numbers_is_the_same(got, expected):
    assert compare(got, expected) is None
    assert compare(got, _doubled(expected)) is not None or not np.size(got)


def test_a_truth_is_no_float():
    assert differs(True, np.array(1.0)).kind == "dtype"


def _doubled(expected):
    """The same with every number doubled, or every truth turned round."""
    if isinstance(expected, dict):
        return {key: [_doubled(item) for item in value] for key, value in expected.items()}
    if isinstance(expected, list | tuple):
        return [2 * value for value in expected]
    if isinstance(expected, bool):
        return not expected
    return Tensor(2 * expected.array, expected.dtype) if isinstance(expected, Tensor) else 2 * expected


def test_lists_and_tuples_are_interchangeable():
    assert compare([1, (2, 3)], (1, [2, 3])) is None


def test_the_order_of_a_dict_does_not_count():
    assert compare({"b": 2, "a": 1}, {"a": 1, "b": 2}) is None


# Types, shapes and dtypes come before values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ((4, 1), (4,)),
        ((4,), (4, 1)),
        ((1, 4), (4,)),
        ((1,), ()),
        ((), (1,)),
        ((4, 4), (4,)),
        ((3, 2), (2, 3)),
        ((0, 3), (0,)),
        ((1, 1), (1,)),
    ],
)
def test_shapes_are_never_broadcast(got, expected):
    difference = differs(np.ones(got), np.ones(expected))
    assert difference.kind == "shape"
    assert str(got) in difference.text
    assert str(expected) in difference.text
    assert differs(tensor(np.ones(got)), tensor(np.ones(expected))).kind == "shape"


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ("float32", "float64"),
        ("float64", "float32"),
        ("float16", "float32"),
        ("int64", "float64"),
        ("float64", "int64"),
        ("bool", "int64"),
        ("int64", "bool"),
        ("complex128", "float64"),
        ("float64", "complex128"),
    ],
)
def test_arrays_of_another_dtype_are_refused(got, expected):
    difference = differs(np.ones(3, got), np.ones(3, expected))
    assert difference.kind == "dtype"
    assert got in difference.text
    assert expected in difference.text
    assert differs(tensor(np.ones(3), got), tensor(np.ones(3), expected)).kind == "dtype"


def test_half_precisions_of_torch_are_not_confused():
    assert differs(tensor([1.0], "bfloat16"), tensor([1.0], "float32")).kind == "dtype"
    assert differs(tensor([1.0], "bfloat16"), tensor([1.0], "float16")).kind == "dtype"


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1, True),
        (True, 1),
        (True, 1.0),
        (np.True_, 1),
        (0, False),
        (None, False),
        (2.0, 2),
        (np.float64(2), 2),
        ("2", 2),
        (None, 2.0),
        ([2.0], 2.0),
        (np.array([2.0]), 2.0),
        ([1.0, 2.0], np.array([[1.0, 2.0]])),
        ([[1.0, 2.0]], np.array([[1.0, 2.0]])),
        (["1.0"], np.array([1.0])),
        (np.array([[1.0], [2.0]]), [1.0, 2.0]),
        (np.array([1.0, 2.0]), [1, 2]),
        ([1.0], tensor([1.0])),
        (tensor([1.0]), [1.0]),
        (tensor([2.0]), 2.0),
        (Tensor(np.array(2.0), "float64", graph=True), 2.0),
        (2.0, Tensor(np.array(2.0), "float64", graph=True)),
        (np.array([1.0]), tensor([1.0])),
        (tensor([1.0]), np.array([1.0])),
        ("ab", ["a", "b"]),
        ([1, 2], frozenset({1, 2})),
        ([("a", 1)], {"a": 1}),
        (None, {}),
        (0, None),
        (b"a", "a"),
        (Opaque("x.A"), 1),
        (1, Opaque("x.A")),
    ],
    ids=str,
)
def test_values_of_another_type_are_refused(got, expected):
    assert differs(got, expected).kind == "type"


def test_a_complex_number_is_no_float():
    assert differs(complex(2.0, 0.0), 2.0).kind == "type"


def test_none_asks_whether_a_return_is_missing():
    assert "return" in differs(None, np.ones(3)).text


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (2, 3),
        (True, False),
        ("cat", "car"),
        (2.0, 2.1),
        (1j, 2j),
        (np.float32(1.001), np.float32(1)),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array([True]), np.array([False])),
        (frozenset({1}), frozenset({2})),
        (Opaque("x.A"), Opaque("x.B")),
        (tensor([1, 2], "int64"), tensor([1, 3], "int64")),
    ],
    ids=str,
)
def test_other_values_are_refused(got, expected):
    assert differs(got, expected).kind == "values"


def test_integers_are_compared_exactly_however_large():
    assert compare(2**60 + 1, 2**60 + 1) is None
    assert differs(2**60 + 1, 2**60).kind == "values"
    assert differs(np.array([2**60 + 1]), np.array([2**60])).kind == "values"


@pytest.mark.parametrize("expected", [3, frozenset({3})], ids=["integer", "set"])
def test_an_absurdly_large_integer_is_a_wrong_value(expected):
    got = 10**5000 if expected == 3 else frozenset({10**5000})
    assert differs(got, expected).kind == "values"


@pytest.mark.parametrize("got", [2**64, 10**400], ids=["65_bits", "beyond_floats"])
def test_a_large_integer_where_a_float_is_expected_is_a_wrong_value(got):
    assert differs(got, 1.0).kind == "values"


# Tolerance ----------------------------------------------------------------------------------------------------------


def test_a_right_answer_in_another_order_of_summation_agrees():
    """Every entry of a product with cancellation, forwards, backwards and pairwise."""
    A, B = rng(1).standard_normal((40, 512)), rng(2).standard_normal((512, 30))
    backwards = A[:, ::-1] @ B[::-1]
    one_by_one = sum(np.outer(A[:, k], B[k]) for k in range(512))
    pairwise = np.einsum("ik,kj->ij", A, B)
    for other in (backwards, one_by_one, pairwise):
        assert compare(other, A @ B) is None
    singles = [np.float32(m) for m in (A, B)]
    assert compare(singles[0][:, ::-1] @ singles[1][::-1], singles[0] @ singles[1]) is None


@pytest.mark.parametrize("relative", [1e-7, -1e-7, 1e-8])
def test_a_relative_error_of_a_ten_millionth_is_wrong_in_float64(relative):
    expected = rng().standard_normal((5, 7))
    assert differs(expected * (1 + relative), expected).kind == "values"
    assert differs(float(expected[0, 0]) * (1 + relative), float(expected[0, 0])).kind == "values"


def test_the_tolerance_is_relative_to_the_largest_expected_value():
    """What counts is the error over the scale of the array, wherever in it the error is."""
    expected = np.array([1e-3, 0.5, -4.0])
    line = np.array([RTOL["float64"] * 4.0, 0.0, 0.0])
    assert compare(expected + 0.9 * line, expected) is None
    assert differs(expected + 1.1 * line, expected).kind == "values"


def test_each_dtype_has_its_own_tolerance():
    expected = rng().standard_normal(1000)
    for dtype in ("float32", "float16", "complex64"):
        rounded = expected.astype(dtype)
        assert compare((rounded * np.array(1 + np.finfo(dtype).eps, dtype)).astype(dtype), rounded) is None
        assert differs((rounded * np.array(1.01, dtype)).astype(dtype), rounded).kind == "values"
    assert compare(tensor([1.01], "bfloat16"), tensor([1.0], "bfloat16")) is None
    assert differs(tensor([1.1], "bfloat16"), tensor([1.0], "bfloat16")).kind == "values"


def test_a_small_array_does_not_hide_beside_a_large_one():
    """In a dict or a list every array has its own scale."""
    expected = {"large": np.full(3, 1e6), "small": np.full(3, 1e-6)}
    assert differs({**expected, "small": np.zeros(3)}, expected).path == "['small']"


def test_where_all_that_is_expected_is_zero_only_rounding_is_allowed():
    zero = np.zeros((3, 2))
    assert compare(zero + 1e-14, zero) is None
    assert compare(-zero, zero) is None
    assert differs(zero + 1e-9, zero).kind == "values"
    assert differs(1e-9, 0.0).kind == "values"
    assert compare(zero + 1e-9, zero, atol=1e-8) is None


def test_a_grader_may_widen_and_narrow_the_tolerance():
    expected = np.array([1.0, 100.0])
    assert compare(expected + 0.05, expected, rtol=1e-3) is None
    assert differs(expected + 0.05, expected, rtol=1e-4).rtol == 1e-4
    assert compare(expected + 0.05, expected, rtol=0.0, atol=0.0501) is None
    assert differs(expected + 0.05, expected, rtol=0.0, atol=0.0499).kind == "values"
    assert compare([expected + 0.05], [expected], rtol=1e-3) is None  # inside containers too


# inf and NaN --------------------------------------------------------------------------------------------------------


def test_inf_and_nan_agree_with_themselves_in_the_same_place():
    value = np.array([math.inf, -math.inf, math.nan, 1.0])
    assert compare(value, value.copy()) is None
    assert compare(math.inf, math.inf) is None
    assert compare(math.nan, math.nan) is None


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ([math.nan, 1.0], [0.0, 1.0]),
        ([0.0, 1.0], [math.nan, 1.0]),
        ([math.inf, 1.0], [-math.inf, 1.0]),
        ([math.inf, 1.0], [1e308, 1.0]),
        ([1e308, 1.0], [math.inf, 1.0]),
        ([math.nan, 1.0], [math.inf, 1.0]),
        ([math.nan, math.nan], [1.0, 1.0]),
        ([math.nan, 1.0], [1.0, math.nan]),
    ],
    ids=str,
)
def test_inf_and_nan_agree_with_nothing_else(got, expected):
    assert differs(np.array(got), np.array(expected)).kind == "nonfinite"
    assert differs(tensor(got), tensor(expected)).kind == "nonfinite"
    assert compare(got[0], expected[0]) is not None
    assert compare(np.array(got), np.array(expected), rtol=1e9, atol=1e9) is not None


def test_finite_errors_count_beside_inf():
    """An infinite value must not become the scale that the others are measured by."""
    expected = np.array([math.inf, 1.0, 2.0])
    assert compare(expected + 1e-12, expected) is None
    assert differs(np.array([math.inf, 1.0, 2.1]), expected).kind == "values"


def test_the_message_says_where_the_first_nan_is():
    got = np.ones((3, 4))
    got[1, 2] = math.nan
    text = differs(got, np.ones((3, 4))).text
    assert "NaN" in text
    assert "[1, 2]" in text
    assert "1 of 12" in text


# Containers and messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "expected", "kind", "path"),
    [
        ([1, 2, 3], [1, 2], "length", ""),
        ([1], [1, 2], "length", ""),
        ([], [1], "length", ""),
        ({"a": 1}, {"a": 1, "b": 2}, "keys", ""),
        ({"a": 1, "b": 2}, {"a": 1}, "keys", ""),
        ({"0": 1}, {0: 1}, "keys", ""),
        ([1, [2, 3]], [1, [2, 4]], "values", "[1][1]"),
        ({"W": np.ones(2)}, {"W": np.zeros(2)}, "values", "['W']"),
        ([{"W": (1, np.ones((2, 1)))}], [{"W": (1, np.ones(2))}], "shape", "[0]['W'][1]"),
        ({"layers": [{0: 1.0}]}, {"layers": [{0: None}]}, "type", "['layers'][0][0]"),
    ],
)
def test_the_path_leads_to_the_first_difference(got, expected, kind, path):
    difference = differs(got, expected)
    assert (difference.kind, difference.path) == (kind, path)


def test_missing_and_superfluous_keys_are_named():
    text = differs({"a": 1, "c": 3}, {"a": 1, "b": 2}).text
    assert "lacks 'b'" in text
    assert "'c'" in text


def test_the_worst_element_is_named_with_both_values():
    expected = rng().standard_normal((3, 4))
    got = expected + 1e-6
    got[2, 1] = expected[2, 1] + 0.5
    text = differs(got, expected).text
    assert "[2, 1]" in text
    assert f"{got[2, 1]:.6g}"[:6] in text
    assert f"{expected[2, 1]:.6g}"[:6] in text


def test_messages_stay_short():
    """Whatever is compared: nobody reads ten thousand numbers, and a report holds hundreds of messages."""
    long = [
        ("x" * 10**6, "y"),
        ("x", "y" * 10**6),
        (frozenset(range(10**4)), frozenset({1})),
        (np.zeros(10**6), np.ones(10**6)),
        ([0] * 10**4, [1] * 10**4),
        (Opaque("x." + "A" * 200), 1),
    ]
    assert all(len(differs(got, expected).text) < 600 for got, expected in long)


# Diagnosis ----------------------------------------------------------------------------------------------------------

BATCH, TIME, HIDDEN = 3, 5, 8
RIGHT = rng(7).standard_normal((BATCH, TIME, HIDDEN))
SQUARE = rng(8).standard_normal((6, 6))
SIZES = {"batch": BATCH, "time": TIME, "hidden": HIDDEN}


def said(got: np.ndarray, expected: np.ndarray = RIGHT, sizes: dict[str, int] = SIZES) -> str | None:
    """What the diagnosis says: the same about arrays and about tensors."""
    arrays = differs(got, expected)
    tensors = differs(tensor(got, str(got.dtype)), tensor(expected, str(expected.dtype)))
    texts = [next(iter(patterns(one, sizes).values()), None) for one in (arrays, tensors)]
    assert texts[0] == texts[1]
    return texts[0]


def with_wrong(index: Any, expected: np.ndarray = RIGHT) -> np.ndarray:
    """`expected` with other numbers at `index`."""
    got = expected.copy()
    got[index] = rng(99).standard_normal(got[index].shape)
    return got


def with_right(index: Any, expected: np.ndarray = RIGHT) -> np.ndarray:
    """Other numbers, with those of `expected` at `index`."""
    got = rng(99).standard_normal(expected.shape)
    got[index] = expected[index]
    return got


BLOCKS = np.split(RIGHT, 4, axis=2)

EXPLAINED = {
    "zeros": (np.zeros_like(RIGHT), RIGHT, "zero"),
    "sign": (-RIGHT, RIGHT, "sign"),
    "mean_for_sum": (RIGHT / BATCH, RIGHT, "1/batch"),
    "sum_for_mean": (RIGHT * BATCH, RIGHT, "which is batch"),
    "root_missing": (RIGHT * math.sqrt(HIDDEN), RIGHT, "sqrt(hidden)"),
    "root_twice": (RIGHT / math.sqrt(HIDDEN), RIGHT, "1/sqrt(hidden)"),
    "twice": (2 * RIGHT, RIGHT, "times 2."),
    "half": (RIGHT / 2, RIGHT, "times 0.5."),
    "negative_half": (-RIGHT / 2, RIGHT, "times -0.5."),
    "bits_for_nats": (RIGHT / math.log(2), RIGHT, "ln 2"),
    "factor_without_a_name": (1.7 * RIGHT, RIGHT, "1.7"),
    "offset": (RIGHT + 0.25, RIGHT, "+0.25"),
    "negative_offset": (RIGHT - 3.0, RIGHT, "-3"),
    "float32": (RIGHT.astype(np.float32).astype(np.float64), RIGHT, "float32"),
    "transpose_of_another_shape": (RIGHT[0].T, RIGHT[0], "transpose"),
    "transpose_of_a_square": (SQUARE.T, SQUARE, "(1, 0)"),
    "axes_of_another_shape": (RIGHT.transpose(1, 0, 2), RIGHT, "axes"),
    "axes_of_the_same_shape": (
        np.ascontiguousarray(rng(9).standard_normal((4, 4, 4)).transpose(2, 0, 1)),
        rng(9).standard_normal((4, 4, 4)),
        "axes as (1, 2, 0)",
    ),
    "reversed_time": (RIGHT[:, ::-1], RIGHT, "reverse order along axis 1"),
    "reversed_batch": (RIGHT[::-1], RIGHT, "reverse order along axis 0"),
    "shifted_by_one": (np.roll(RIGHT, 1, axis=1), RIGHT, "shifted by one along axis 1"),
    "shifted_back_by_one": (np.roll(RIGHT, -1, axis=1), RIGHT, "shifted by one along axis 1"),
    "first_step_wrong": (with_wrong(np.s_[:, 0]), RIGHT, "Only the first index along axis 1 is wrong"),
    "last_step_wrong": (with_wrong(np.s_[:, -1]), RIGHT, "Only the last index along axis 1 is wrong"),
    "first_step_right": (with_right(np.s_[:, 0]), RIGHT, "Only the first index along axis 1 is right"),
    "last_step_right": (with_right(np.s_[:, -1]), RIGHT, "Only the last index along axis 1 is right"),
    "first_example_right": (with_right(np.s_[0], SQUARE), SQUARE, "Only the first index along axis 0 is right"),
    "one_gate_wrong": (with_wrong(np.s_[..., 4:6]), RIGHT, "block 2"),
    "first_gate_wrong": (with_wrong(np.s_[..., :2]), RIGHT, "block 0"),
    "gates_permuted": (np.concatenate([BLOCKS[k] for k in (0, 1, 3, 2)], axis=2), RIGHT, "[0, 1, 3, 2]"),
    "three_blocks_permuted": (
        np.concatenate([SQUARE[:, 2:4], SQUARE[:, 4:], SQUARE[:, :2]], axis=1),
        SQUARE,
        "3 blocks along axis 1 are right, but in the order [1, 2, 0]",
    ),
    "missing_axis": (RIGHT.sum(axis=1), RIGHT, "axis is missing"),
    "one_axis_too_many": (RIGHT, RIGHT.sum(axis=1), "axis too many"),
    "keepdims": (RIGHT[:, 0, :1], RIGHT[:, 0, 0], "keepdims"),
    "axis_of_one_missing": (RIGHT[:, 0, 0], RIGHT[:, 0, :1], "keepdims"),
    "broadcast_to_a_square": (RIGHT[:, 0, :1] + RIGHT[:, 0, 0], RIGHT[:, 0, :1], "broadcasting"),
    "nan": (np.where(RIGHT > 1, math.nan, RIGHT), RIGHT, "NaN"),
    "inf": (np.where(RIGHT > 1, math.inf, RIGHT), RIGHT, "inf"),
    "integers_off_by_one": (np.arange(1, 6), np.arange(5), "off by +1"),
    "integers_transposed": (np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3).T, "transpose"),
}


@pytest.mark.parametrize(("got", "expected", "cause"), EXPLAINED.values(), ids=EXPLAINED)
def test_the_diagnosis_names_the_cause(got, expected, cause):
    text = said(np.ascontiguousarray(got), expected)
    assert text is not None
    assert cause in text


@pytest.mark.parametrize(
    ("got", "expected", "cause"),
    [case for name, case in EXPLAINED.items() if name in ("sign", "twice", "offset", "transpose_of_a_square", "nan")],
)
def test_the_diagnosis_also_knows_float32(got, expected, cause):
    text = said(got.astype(np.float32), expected.astype(np.float32))
    assert text is not None
    assert cause in text


FEW = np.array([0.0, 3.0, 0.0, 0.0])
LARGE = np.concatenate([[1e6], RIGHT.ravel()])
SILENT = {
    "one_number": (np.array([2.0]), np.array([1.0])),
    "one_number_besides_zeros": (2 * FEW, FEW),
    "equal_numbers": (np.full(5, 1.5), np.ones(5)),
    "two_numbers": (2 * RIGHT[0, 0, :2], RIGHT[0, 0, :2]),
    "integers_that_are_equal": (np.array([2, 2, 2]), np.array([1, 1, 1])),
    "minus_inf_that_was_written": (np.where(RIGHT > 1, -math.inf, RIGHT), RIGHT),
    "inf_that_is_missing": (RIGHT, np.where(RIGHT > 1, math.inf, RIGHT)),
    "inf_in_another_place": (np.full(3, math.inf), np.array([math.inf, -math.inf, math.inf])),
    "nan_that_is_missing": (RIGHT, np.where(RIGHT > 1, math.nan, RIGHT)),
    "one_small_value_beside_a_large_one": (LARGE + np.where(LARGE[5] == LARGE, 4e-2, 0.0), LARGE),
    "small_values_beside_a_large_one": (np.where(LARGE == 1e6, LARGE, LARGE * 1.1), LARGE),
    "the_last_of_three": (with_wrong(np.s_[2]), RIGHT),
    "two_of_six_rows": (with_wrong(np.s_[:2], SQUARE), SQUARE),
    "fewer_rows_that_make_a_square": (np.ones((2, 2)), np.ones((3, 2))),
    "more_columns_that_make_a_square": (np.ones((4, 4)), np.ones((4, 3))),
    "all_but_a_zero": (np.array([0.0, 5.0, 6.0, 7.0]), np.array([0.0, 1.0, 2.0, 3.0]) ** 2),
}


@pytest.mark.parametrize(("got", "expected"), SILENT.values(), ids=SILENT)
def test_a_pattern_that_most_wrong_values_fit_is_not_named(got, expected):
    assert said(got, expected) is None


def test_a_block_of_rows_is_named_where_a_size_says_that_there_are_blocks():
    weights = rng(3).standard_normal((3 * HIDDEN, 5))
    assert "Only block 1 (counted from 0) of the 3 blocks along axis 0" in str(
        said(with_wrong(np.s_[HIDDEN : 2 * HIDDEN], weights), weights)
    )


def test_values_in_the_place_of_each_other_are_named():
    a, b, c = (rng(k).standard_normal((3, 4)) for k in range(3))
    found = [("dW", differs(a + 1, c)), ("dx", differs(b, a)), ("dh", differs(a, b))]
    assert swapped(found) == "`dx` and `dh` are right, but swapped."
    assert swapped(found[:2]) is None


def test_masks_of_numbers_in_the_place_of_masks_of_truths_are_compared_without_a_crash():
    masks = [rng(k).random((3, 4)) > 0.5 for k in range(2)]
    found = [(name, differs(mask.astype(float), mask)) for name, mask in zip("AB", masks, strict=True)]
    assert swapped(found) is None


def test_a_square_is_told_where_a_vector_is_expected():
    assert said(np.ones((5, 5)), np.ones((3, 3))) is None
    assert "A square result" in str(said(np.ones((5, 5)), np.ones(5)))


def test_all_sizes_that_explain_a_factor_are_named():
    text = said(RIGHT / 4, RIGHT, {"batch": 4, "hidden": 4, "steps": 5})
    assert text is not None
    assert "1/batch" in text
    assert "1/hidden" in text
    assert "steps" not in text


@pytest.mark.parametrize(
    "shape", [(), (1,), (2,), (7,), (1, 1), (1, 6), (4, 4), (4, 3), (2, 8), (3, 4, 8), (2, 3, 4, 5), (5, 1, 5)]
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
def test_the_diagnosis_says_nothing_about_a_random_answer(shape, dtype):
    for seed in range(20):
        got, expected = (rng(2 * seed + k).standard_normal(shape).astype(dtype) for k in (0, 1))
        assert patterns(differs(got, expected), SIZES) == {}


def test_the_diagnosis_says_nothing_about_a_random_shape():
    for got, expected in (((7, 2), (3, 4)), ((5,), (4,)), ((2, 3, 4), (4, 5)), ((), (3, 2))):
        text = patterns(differs(np.ones(got), np.ones(expected)), SIZES).get("shape")
        assert text is None or "missing" in text  # () may well have been summed too far


def test_almost_is_not_enough_for_a_diagnosis():
    """Not every value has the wrong sign if one has not."""
    for got in (-RIGHT, RIGHT / BATCH, RIGHT + 0.25, RIGHT[:, ::-1].copy(), np.roll(RIGHT, 1, axis=1)):
        got[1, 2, 3] += 0.5
        got[0, 0, 0] -= 0.7  # two values, so that no single slice is to blame
        assert said(got) is None


def test_differences_without_arrays_have_no_diagnosis():
    for got, expected in ((1, 2), ("a", "b"), (None, np.ones(2)), ([1], [1, 2]), ({}, {"a": 1})):
        assert patterns(differs(got, expected)) == {}


def test_a_difference_of_numbers_can_be_diagnosed_without_failing():
    for got, expected in ((0.0, 2.0), (-2.0, 2.0), (math.nan, 2.0), (math.inf, 2.0), (3, 2.0), (1e-9, 0.0), (1j, 2.0)):
        patterns(differs(got, expected), SIZES)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_arrays_with_inf_in_the_same_place_can_be_diagnosed_without_failing():
    expected = RIGHT.copy()
    expected[0, 0, 0] = math.inf
    for got in (2 * expected, -RIGHT, expected + 1, np.zeros_like(expected)):
        patterns(differs(got, expected), SIZES)
    again = expected.copy()
    again[0, 1] += 1
    assert "sign" not in patterns(differs(again, expected), SIZES)
    assert "precision" not in patterns(differs(again, expected), SIZES)


@pytest.mark.parametrize("factor", [2.0, 0.5, -0.5, 0.5 * (1 + 1e-9)])
def test_a_half_and_a_double_bear_no_size_by_chance(factor):
    assert _name_factor(factor, {"C": 2}) == ""
    assert "C" in _name_factor(factor * 1.5, {"C": 3}) + _name_factor(factor / 1.5, {"C": 3})


def test_numbers_are_written_with_as_many_digits_as_it_takes_to_tell_them_apart():
    found = compare(np.array([1.0, np.log(4) + 1e-9]), np.array([1.0, np.log(4)]), rtol=1e-12)
    assert "yours 1.38629436212, expected 1.38629436112" in found.text
    found = compare(np.array([1.5]), np.array([1.25]))
    assert "yours 1.5, expected 1.25" in found.text
