"""What crosses the border: every dataclass comes back as it was sent, and nothing else is let in."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any, get_args

import pytest

from autograder.engine.inside.records import (
    MAX_TEXT,
    Begun,
    Defined,
    Event,
    More,
    NoTorch,
    Raised,
    Record,
    Request,
    Running,
    Waiting,
    as_tree,
    read,
    read_event,
    write_event,
)
from autograder.engine.inside.wire import WireError, encode

RECORD = Record("f", "probe", 2, 30, "0a", {"y": encode({"a": [1.5, "x"]})}, ("f: x",), ("f", "g"), "f(x: 1)")
EVENTS = [
    Running(3, 14),
    Defined({"f": "cell 3, line 1 raised KeyError: 'x'"}),
    Begun("f", "probe", 0),
    RECORD,
    Record("f", "probe", 2, 30, "0a", {}, raised=Raised("ValueError", "no", memory=True, file="<cell 3>", line=7)),
    Waiting(),
    NoTorch(),
]


def test_there_is_an_example_of_every_event():
    assert {type(event) for event in EVENTS} == set(get_args(Event))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was_sent(event):
    assert read_event(write_event(event).encode()) == event


def test_a_request_comes_back_as_it_was_sent():
    more = More(("f", "g"), 30)
    cells, forbids = ((1, "import numpy"), (3, "x" * 2 * MAX_TEXT)), {"f": ("scipy",), "g": ()}
    request = Request(more.exercises, 30, cells, ("f", "g"), forbids, ((1, 2),), "/a/grader.py", True, 512, 3)
    for asked in (more, request):
        assert read(type(asked), json.loads(json.dumps(as_tree(asked)))) == asked


def changed(event: Event, **changes: Any) -> bytes:
    """The line of an event with fields replaced, or left out if they are `...`."""
    tree = {**json.loads(write_event(event)), **changes}
    return json.dumps({name: value for name, value in tree.items() if value is not ...}).encode()


# Of the right form, for every type that a field may have; and what is none of it.
WRONG: dict[str, list[Any]] = {
    "str": [None, 1, True, ["f"], {"f": 1}, "x" * (MAX_TEXT + 1)],
    "int": [None, "1", 1.0, True, [1], {}],
    "bool": [None, 1, 0, "true", []],
    "dict[str, Any]": [None, 1, "x", [], [["y", 1]]],
    "dict[str, str]": [None, [], {"f": 1}, {"f": None}, {"f": ["x"]}],
    "tuple[str, ...]": [None, "f", [1], [["f"]], [None], {"f": 1}],
    "Raised | None": [1, "x", [], {}, {"type": 1}, {"type": "E", "more": 1}, {"type": "E", "line": "1"}],
}
FIELDS = [(event, field) for event in EVENTS[:4] for field in fields(event)]


@pytest.mark.parametrize(("event", "field"), FIELDS, ids=lambda value: getattr(value, "name", type(value).__name__))
def test_a_field_of_another_type_is_refused(event, field):
    assert read_event(changed(event)) == event
    for value in WRONG[field.type]:
        assert read_event(changed(event, **{field.name: value})) is None, value


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"1",
        b"null",
        b'"Waiting"',
        b"{}",
        b'{"event": null}',
        b'{"event": ["Waiting"]}',
        b'{"event": "Raised", "type": "ValueError"}',
        b'{"event": "Request"}',
        b'{"event": "waiting"}',
        b'{"event": "Waiting", "points": 1}',
        b"[" * 100_000,
        changed(RECORD, seen=...),
        changed(RECORD, exercise=...),
        changed(RECORD, points=1),
        changed(RECORD, status="passed"),
    ],
    ids=lambda line: line[:30].decode(errors="replace"),
)
def test_a_line_that_is_no_event_is_refused(line):
    assert read_event(line) is None


def test_reading_something_else_says_so():
    with pytest.raises(WireError, match="no int"):
        read(More, {"exercises": [], "seed": "30"})
    with pytest.raises(WireError, match="no More"):
        read(More, {"exercises": []})


def test_what_an_event_says_is_limited_in_all_and_what_was_seen_is_not():
    record = Record("f", "probe", 0, 30, "", {"values": ["x" * MAX_TEXT] * 10})
    assert read_event(write_event(record).encode()) == record
    for long in ({"touched": ("x" * MAX_TEXT,) * 6}, {"called": tuple(map(str, range(30_000)))}):
        assert read_event(write_event(replace(record, **long)).encode()) is None
    assert read_event(write_event(Defined({str(n): "x" * MAX_TEXT for n in range(6)})).encode()) is None
