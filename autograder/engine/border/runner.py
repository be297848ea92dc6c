"""Observing a notebook's code in another process: what is asked of it, and what is made of its answers.

What goes in is the text of the notebook, names and a seed; what comes back is a stream of JSON lines, which is
untrusted: bounded while it is read, checked for form, and only compared or shown escaped. A case that runs out of time
or takes the process down ends its exercise and what needs it; the others go on in a fresh process.

Who starts that process is a :class:`Runner`: :class:`Subprocess` for one's own work, the sandbox
(:mod:`autograder.engine.border.sandbox`) for everybody else's.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from autograder.engine.assignment import Assignment, Exercise, with_needs
from autograder.engine.inside.child import MAX_EVENT_BYTES
from autograder.engine.inside.notebook import Cell
from autograder.engine.inside.observe import PUBLIC_SEED, Record

MAX_RESULT_BYTES = 256 * 2**20
MAX_EVENTS = 100_000
MAX_PARTS = 2_000_000  # of one event: an empty list takes two bytes to send and sixty to hold
STARTING = 60.0  # seconds that Python, NumPy and torch may take to be imported


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: wall time of one case, or of one statement while the notebook is loaded.
        total_seconds: wall time of all of it.
        memory_mb: memory beyond that of Python, NumPy and torch.
    """

    seconds: float = 10.0
    total_seconds: float = 240.0
    memory_mb: int = 2048


@dataclass
class Observations:
    """What a notebook's code yielded.

    Attributes:
        records: (exercise, probe, case index, seed) → record of :func:`observe_case`.
        ended: exercise → (status, sentence), for those that took time, memory or the process with them.
        spoiled: name → sentence, for names that could not be defined.
        torch: False if torch exercises were skipped because torch is not installed.
    """

    records: dict[tuple[str, str, int, int], Record] = field(default_factory=dict)
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)
    spoiled: dict[str, str] = field(default_factory=dict)
    torch: bool = True


class Child(Protocol):
    """A process that observes. `channel` is the descriptor on which its events arrive."""

    channel: int

    def ask(self, request: Record) -> None:
        """Ask a process that waits for more."""

    def ended(self, seconds: float) -> int | None:
        """Its exit status, negative for a signal; None if it still runs after so many seconds."""

    def close(self) -> None:
        """End it, and all that it started."""


class Runner(Protocol):
    """Starts processes that observe. To be closed after use, as a context manager.

    Attributes:
        warning: what to say beside every verdict that comes from it, if anything.
    """

    warning: str

    def start(self, assignment: Assignment, request: Record) -> Child:
        """A process that has a first request to serve; to be closed."""

    def close(self) -> None:
        """Give back what it holds."""


class Observer:
    """Observes a notebook's code in child processes, as often as asked. To be closed, as a context manager.

    NumPy exercises run in a process that cannot import torch. A process that came to the end of what was asked waits
    for more, so a second seed is told to it only when all that it says of the first has been received.

    Args:
        cells: the notebook.
        assignment: what its exercises are.
        runner: what starts processes.
        skip: places of statements to leave out.
        limits: of time and memory.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        assignment: Assignment,
        runner: Runner,
        *,
        skip: Collection[tuple[int, int]] = (),
        limits: Limits | None = None,
    ) -> None:
        self._assignment = assignment
        self._runner = runner
        self._skip = set(skip)
        self._limits = limits or Limits()
        self._listeners: dict[bool, _Listener] = {}  # to the process for NumPy, and to that for torch
        self._request = {
            "cells": [[cell.number, cell.source] for cell in cells if cell.type == "code"],
            "grader": str(assignment.grader.resolve()),
            "names": [e.name for e in assignment.exercises],
            "forbids": {e.name: list(e.forbids) for e in assignment.exercises},
            "memory_mb": self._limits.memory_mb,
            "seconds": 2 * self._limits.total_seconds,  # of processor time, for two seeds
        }

    def observe(self, exercises: Collection[str], *, seed: int = PUBLIC_SEED) -> Observations:
        """What the probes of `exercises` see at a seed."""
        found = Observations()
        for torch in (False, True):
            chosen = [e for e in self._assignment.exercises if e.name in exercises and (e.track == "torch") == torch]
            self._observe_track(torch, chosen, seed, found)
        return found

    def _observe_track(self, torch: bool, exercises: list[Exercise], seed: int, found: Observations) -> None:
        limits = self._limits
        deadline = time.monotonic() + limits.total_seconds
        remaining = [e.name for e in exercises]
        while remaining:
            asked = {"exercises": remaining, "seed": seed}
            listener = self._listeners.get(torch)
            fresh = listener is None
            if listener is None:
                request = {**self._request, **asked, "torch": torch, "skip": sorted(self._skip)}
                listener = self._listeners[torch] = _Listener(self._runner.start(self._assignment, request))
            else:
                listener.child.ask(asked)
            events, ending = listener.hear(limits, deadline)
            for event in events:
                kind = event["event"]
                if kind == "record":
                    record = event["record"]
                    found.records[record["exercise"], record["probe"], record["case"], seed] = record
                elif kind == "loaded":
                    graded = {e.name for e in exercises}  # torch modules are spoiled where torch is kept out
                    found.spoiled |= {n: text for n, text in event["spoiled"].items() if n in graded}
                elif kind == "done" and event["exercise"] in remaining:
                    remaining.remove(event["exercise"])
                elif kind == "no torch":
                    found.torch = False
                    return
            if listener.waits and not remaining:
                return
            self._listeners.pop(torch).close()
            if ending is None and not remaining:
                return
            if not (fresh or events) and time.monotonic() < deadline:
                continue  # it had ended while it waited
            status, sentence = ending or ("crashed", "It ended the Python process (os._exit or the like).")
            last: Record = events[-1] if events else {"event": "nothing"}
            if last["event"] == "statement":  # the cell itself, not a call of ours
                cell, line = last["place"]
                self._skip.add((cell, line))
                sentence = f"Cell {cell}, line {line}: {sentence}"
                if status != "timeout" or time.monotonic() < deadline:
                    found.spoiled[f"cell {cell}"] = sentence
                    continue
            guilty = last["exercise"] if last["event"] == "case" else None
            guilty = last["record"]["exercise"] if last["event"] == "record" else guilty
            if guilty not in remaining or time.monotonic() > deadline:
                found.ended |= dict.fromkeys(remaining, (status, sentence))
                return
            found.ended[guilty] = (status, sentence)
            remaining = [
                name
                for name in remaining
                if name != guilty and guilty not in with_needs(self._assignment.exercises, {name})
            ]

    def close(self) -> None:
        """End the processes."""
        while self._listeners:
            self._listeners.popitem()[1].close()

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# What a child sends -------------------------------------------------------------------------------------------------


class _Listener:
    """Hears what a child sends.

    Attributes:
        child: the process.
        waits: it came to the end of what it was asked, and waits for more.
    """

    def __init__(self, child: Child) -> None:
        self.child = child
        self.waits = False
        self._arrived: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._too_much = threading.Event()
        self._starting = STARTING
        threading.Thread(target=_read, args=(child.channel, self._arrived, self._too_much), daemon=True).start()

    def hear(self, limits: Limits, deadline: float) -> tuple[list[Record], tuple[str, str] | None]:
        """The events until the child waits, ends or must be ended; and how it ended badly, if it did."""
        self.waits = False
        events: list[Record] = []
        while not self.waits:
            since = time.monotonic()  # until something was sent, Python, NumPy and torch are being imported
            try:
                lines = self._arrived.get(
                    timeout=max(0.0, min(since + self._starting + limits.seconds, deadline) - since)
                )
            except queue.Empty:
                return events, _too_long(limits, deadline)
            if lines is None:
                return events, self._ending(limits, deadline)
            self._starting = 0.0
            for event in filter(None, map(_parse, lines)):
                if event["event"] == "waiting":
                    self.waits = True
                    break
                events.append(event)
            if time.monotonic() > deadline:
                return events, _too_long(limits, deadline)
        return events, None

    def _ending(self, limits: Limits, deadline: float) -> tuple[str, str] | None:
        """How the child ended, once it has closed the channel."""
        if self._too_much.is_set():
            return "memory", f"It sent back more than {MAX_RESULT_BYTES // 2**20} MB."
        status = self.child.ended(max(0.0, min(limits.seconds, deadline - time.monotonic())))
        if status is None:
            return _too_long(limits, deadline)
        if status == 0:
            return None
        if status < 0:
            with contextlib.suppress(ValueError):
                return "crashed", f"It took the Python process down ({signal.Signals(-status).name})."
        return "crashed", f"It ended the Python process (exit code {status})."

    def close(self) -> None:
        """End the child."""
        self.child.close()


def _too_long(limits: Limits, deadline: float) -> tuple[str, str]:
    if time.monotonic() < deadline:
        return "timeout", f"It ran longer than {limits.seconds:g} seconds and was stopped. Is a loop endless?"
    return "timeout", f"All checks together ran longer than {limits.total_seconds:g} seconds."


def _read(channel: int, arrived: queue.SimpleQueue[list[bytes] | None], too_much: threading.Event) -> None:
    """Pass on the lines that arrive on a descriptor until it is closed, or more arrives than is allowed."""
    size, count, pending = 0, 0, bytearray()
    with contextlib.suppress(OSError):
        while chunk := os.read(channel, 2**16):
            size += len(chunk)
            count += chunk.count(b"\n")
            pending += chunk
            if size > MAX_RESULT_BYTES or count > MAX_EVENTS or len(pending) > MAX_EVENT_BYTES + 2**16:
                too_much.set()
                break
            if b"\n" in chunk:
                *complete, rest = pending.split(b"\n")
                arrived.put(list(map(bytes, complete)))
                pending = bytearray(rest)
    os.close(channel)
    arrived.put(None)


def _parse(line: bytes) -> Record | None:
    """The event in a line, if it is one."""
    if sum(line.count(sign) for sign in (b"[", b"{", b",")) > MAX_PARTS:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        event = json.loads(line.decode("utf-8", errors="replace"))
        if isinstance(event, dict) and _well_formed(event):
            return event
    return None


def _well_formed(event: Record) -> bool:
    kind = event.get("event")
    if kind == "record":
        record = event.get("record")
        return (
            isinstance(record, dict)
            and all(isinstance(record.get(k), str) for k in ("exercise", "probe", "inputs"))
            and all(isinstance(record.get(k), int) for k in ("case", "seed"))
            and isinstance(record.get("seen"), dict)
            and isinstance(record.get("touched"), list)
            and isinstance(record.get("raised", {}), dict)
        )
    if kind == "statement":
        place = event.get("place")
        return isinstance(place, list) and len(place) == 2 and all(isinstance(n, int) for n in place)
    if kind == "loaded":
        spoiled = event.get("spoiled")
        return isinstance(spoiled, dict) and all(isinstance(v, str) for v in spoiled.values())
    return kind in ("no torch", "waiting") or (kind in ("case", "done") and isinstance(event.get("exercise"), str))


# One's own work -----------------------------------------------------------------------------------------------------

SINGLE = {  # one thread per process, and sets of strings in one order
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
}


def child_environment(**more: str) -> dict[str, str]:
    """The variables of a process of ours: no word of the tests, kernels and servers around this one, and SINGLE."""
    around = ("PYTEST", "COV_", "JUPYTER", "NBGRADER")
    return {k: v for k, v in os.environ.items() if not k.startswith(around)} | SINGLE | more


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a session, and what it started in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


class Subprocess:
    """Runs every request in a Python process of its own: limits on time and memory, but nothing is hidden from it."""

    warning = ""

    def start(self, assignment: Assignment, request: Record) -> Child:
        """See :class:`Runner`."""
        return _Process(request)

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Subprocess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Process:
    def __init__(self, request: Record) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="s30-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "autograder.engine.inside.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env=child_environment(),
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.channel = os.dup(self._process.stdout.fileno())
        self._process.stdout.close()
        self.ask(request)

    def ask(self, request: Record) -> None:
        """See :class:`Child`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # whether it still runs is found out by listening
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def ended(self, seconds: float) -> int | None:
        """See :class:`Child`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def close(self) -> None:
        """End the process and what it started in its session."""
        end(self._process)
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self._folder.cleanup()
