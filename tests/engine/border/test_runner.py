"""How long a process is listened to, and how much it may say: here it is a pipe, and a test that writes to it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

import pytest

from autograder.engine.border import runner
from autograder.engine.border.runner import Observer
from autograder.engine.inside.records import Begun, Defined, Event, Limits, More, Request, Running, Waiting, write_event
from course.base.project import Project

ASSIGNMENT = Project().assignment("03_lstm_understanding")
BOTH = [next(e.name for e in ASSIGNMENT.exercises if e.torch is torch) for torch in (False, True)]
Script = Callable[[Callable[[Event], None]], None]


class Scripted:
    """A runner whose processes say what a script says, and then nothing."""

    warning = ""
    cut_short = 0

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Request] = []

    def start(self, assignment: object, request: Request) -> Scripted:
        self.asked.append(request)
        self.channel, end = os.pipe()
        self.end: int | None = end

        def say(event: Event) -> None:
            if self.end != end:  # closed, and its number may be another's by now
                raise OSError
            os.write(end, write_event(event).encode() + b"\n")

        def talk() -> None:
            with contextlib.suppress(OSError):  # nobody listens any more
                self.script(say)

        threading.Thread(target=talk, daemon=True).start()
        return self

    def ask(self, more: More) -> None:
        pass

    def ended(self, seconds: float) -> int | None:
        return None

    def close(self) -> None:
        assert self.end is not None
        end, self.end = self.end, None
        os.close(end)

    def warm_up(self, assignment: object) -> None:
        pass


def seconds_of(script: Script, limits: Limits) -> float:
    """How long some exercises of both tracks are observed that come to no end."""
    began = time.monotonic()
    with Observer([], ASSIGNMENT, Scripted(script), limits=limits) as observer:
        found = observer.observe(BOTH)
    assert set(found.ended) == set(BOTH)
    assert {ending.status for ending in found.ended.values()} == {"timeout"}
    return time.monotonic() - began


def again_and_again(say: Callable[[Event], None]) -> None:
    say(Defined())
    while True:
        say(Begun(BOTH[0], "probe", 0))
        time.sleep(0.05)


def always_another(say: Callable[[Event], None]) -> None:
    say(Defined())
    for case in range(10**6):
        say(Begun(BOTH[0], "probe", case))
        time.sleep(0.05)


def test_saying_the_same_again_buys_no_time(monkeypatch):
    monkeypatch.setattr(runner, "slowness", lambda: 1.0)
    assert seconds_of(again_and_again, Limits(seconds=0.5, total_seconds=20)) < 10


def test_all_processes_together_have_the_time_of_one_submission():
    assert seconds_of(always_another, Limits(seconds=5, total_seconds=1.5)) < 2.9


def test_steps_that_are_made_have_their_time_each():
    def talk(say: Callable[[Event], None]) -> None:
        for line in range(4):
            say(Running(1, line))
            time.sleep(0.3)
        say(Waiting())

    with Observer([], ASSIGNMENT, Scripted(talk), limits=Limits(seconds=0.6, total_seconds=20)) as observer:
        assert not observer.observe(BOTH[:1]).ended


@pytest.mark.parametrize(("load", "ended"), [(0.0, True), (1.0, True), (3.0, False), (500.0, False)])
def test_where_many_wait_for_a_processor_a_step_may_take_longer(monkeypatch, load, ended):
    monkeypatch.setattr(os, "getloadavg", lambda: (load * (os.cpu_count() or 1), 0.0, 0.0))

    def talk(say: Callable[[Event], None]) -> None:
        say(Defined())
        say(Begun(BOTH[0], "probe", 0))
        time.sleep(2.5)
        say(Waiting())

    with Observer([], ASSIGNMENT, Scripted(talk), limits=Limits(seconds=1.0, total_seconds=20)) as observer:
        assert bool(observer.observe(BOTH[:1]).ended) == ended


def test_a_busy_machine_buys_no_more_than_four_times_as_long(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (500.0, 500.0, 500.0))
    assert seconds_of(again_and_again, Limits(seconds=0.3, total_seconds=20)) < 10


@pytest.mark.parametrize("line", [b"[" * 10_000 + b"\n", b"{},,,,,," * 2000 + b"\n"])
def test_parts_are_counted_over_all_that_is_sent(monkeypatch, line):
    monkeypatch.setattr(runner, "MAX_RESULT_PARTS", 100_000)

    def flood(say: Callable[[Event], None]) -> None:
        say(Defined())
        while True:
            os.write(flooded.end, line)

    flooded = Scripted(flood)
    with Observer([], ASSIGNMENT, flooded, limits=Limits(seconds=5, total_seconds=20)) as observer:
        found = observer.observe(BOTH[:1])
    assert found.ended[BOTH[0]].status == "memory"
