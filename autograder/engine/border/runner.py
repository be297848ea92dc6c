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
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from autograder.engine.assignment import Assignment
from autograder.engine.border.rounds import Ending, Observations, Round, too_long
from autograder.engine.inside.child import MAX_EVENT_BYTES
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.notebook import Cell
from autograder.engine.inside.observe import PUBLIC_SEED
from autograder.engine.inside.records import (
    Begun,
    Event,
    Limits,
    More,
    Record,
    Request,
    Running,
    Waiting,
    as_tree,
    read_event,
)

MAX_RESULT_BYTES = 256 * 2**20
MAX_EVENTS = 100_000
MAX_RESULT_PARTS = 5_000_000  # lists, dictionaries and their items: two bytes to send are sixty to hold
STARTING = 60.0  # seconds that Python, NumPy and torch may take to be imported


class Child(Protocol):
    """A process that observes. `channel` is the descriptor on which its events arrive."""

    channel: int

    def ask(self, more: More) -> None:
        """Ask a process that waits for more."""

    def ended(self, seconds: float) -> int | None:
        """Its exit status, negative for a signal; None if it still runs after so many seconds."""

    def close(self) -> None:
        """End it, and all that it started."""


class Runner(Protocol):
    """Starts processes that observe. To be closed after use, as a context manager.

    Attributes:
        warning: what to say beside every verdict that comes from it, if anything.
        cut_short: how often time, memory or a crash has ended what it ran, so far: at another moment it may not.
    """

    warning: str
    cut_short: int

    def start(self, assignment: Assignment, request: Request) -> Child:
        """A process that has a first request to serve; to be closed."""

    def warm_up(self, assignment: Assignment) -> None:
        """Get ready for the requests of processes that are started with this runner."""

    def close(self) -> None:
        """Give back what it holds."""


class Observer:
    """Observes a notebook's code in child processes, as often as asked. To be closed, as a context manager.

    All of it together has the time of `limits`, however many processes and seeds it takes. NumPy exercises run in a
    process that cannot import torch. A process that came to the end of what was asked waits
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
        self._cells = tuple((cell.number, cell.source) for cell in cells if cell.type == "code")
        self._listeners: dict[bool, _Listener] = {}  # to the process for NumPy, and to that for torch
        self._deadline: float | None = None

    def observe(self, exercises: Collection[str], *, seed: int = PUBLIC_SEED) -> Observations:
        """What the probes of `exercises` see at a seed."""
        found = Observations()
        for torch in (False, True):
            chosen = [e.name for e in self._assignment.exercises if e.name in exercises and e.torch == torch]
            self._observe_track(torch, Round(chosen, seed, self._assignment.needing, found))
        return found

    def _observe_track(self, torch: bool, track: Round) -> None:
        """Observe the exercises of a track, in one process after another until none is left."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._limits.total_seconds
        deadline = self._deadline
        while track.remaining:
            listener = self._listeners.get(torch)
            fresh = listener is None
            if listener is None:
                request = self._request(torch, track)
                listener = self._listeners[torch] = _Listener(self._runner.start(self._assignment, request))
            else:
                listener.child.ask(More(tuple(track.remaining), track.seed))
            last: Event | None = None
            for last in listener.hear(self._limits, deadline):
                track.take(last)
                self._runner.cut_short += isinstance(last, Record) and bool(last.raised and last.raised.memory)
            if not listener.waits:
                self._listeners.pop(torch).close()
            late = time.monotonic() > deadline
            if (fresh or last or late) and not listener.full:  # else it had ended while it waited
                self._runner.cut_short += bool(track.remaining)
                place = track.stopped(last, listener.ending or _GONE, late=late)
                self._skip |= {place} if place else set()

    def _request(self, torch: bool, track: Round) -> Request:
        exercises = self._assignment.exercises
        return Request(
            exercises=tuple(track.remaining),
            seed=track.seed,
            cells=self._cells,
            names=tuple(e.name for e in exercises),
            forbids={e.name: e.forbids for e in exercises},
            skip=tuple(sorted(self._skip)),
            grader=str(self._assignment.grader.resolve()),
            torch=torch,
            memory_mb=self._limits.memory_mb,
            seconds=self._limits.total_seconds,
        )

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
        full: an exercise ran out of memory and may have kept it: the next ones deserve another process.
        ending: how it ended, if it did and badly.
    """

    def __init__(self, child: Child) -> None:
        self.child = child
        self.waits = self.full = False
        self.ending: Ending | None = None
        self._arrived: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._too_much = threading.Event()
        self._starting = STARTING
        threading.Thread(target=_read, args=(child.channel, self._arrived, self._too_much), daemon=True).start()

    def hear(self, limits: Limits, deadline: float) -> Iterator[Event]:
        """The events until the child waits, ends or must be ended; the first two as they come."""
        self.waits, self.ending, exhausted = False, None, ""
        since, known = time.monotonic(), set[tuple[str, object]]()
        while True:  # until something was sent, Python, NumPy and torch are being imported
            late = min(since + self._starting + limits.seconds * slowness(), deadline)
            try:
                lines = self._arrived.get(timeout=max(0.0, late - time.monotonic()))
            except queue.Empty:
                if self._starting and time.monotonic() < deadline:
                    raise UserError(
                        f"Python did not start within {STARTING + limits.seconds:g} seconds; nothing of the notebook "
                        "has run yet. This machine is too busy, or its disk is slow: try again when it is quiet."
                    ) from None
                self.ending = _too_long(limits, deadline)
                return
            if lines is None:
                self.ending = self._how_it_ended(limits, deadline)
                return
            self._starting = 0.0
            for event in map(read_event, lines):
                if event is None:
                    continue
                if (step := _step(event)) not in known:  # saying something again buys no time
                    known.add(step)
                    since = time.monotonic()
                if isinstance(event, Record) and event.raised and event.raised.memory:
                    exhausted = event.exercise
                same = isinstance(event, Begun | Record) and event.exercise == exhausted
                self.full = bool(exhausted) and not same
                self.waits = isinstance(event, Waiting) and not self.full
                yield event
                if self.waits or self.full:
                    return
            if time.monotonic() > deadline:
                self.ending = _too_long(limits, deadline)
                return

    def _how_it_ended(self, limits: Limits, deadline: float) -> Ending | None:
        """How the child ended, once it has closed the channel; nothing if it ended well."""
        if self._too_much.is_set():
            most = f"{MAX_RESULT_BYTES // 2**20} MB, or {MAX_RESULT_PARTS:,} values"
            return Ending("memory", f"It sent back more than {most}.")
        status = self.child.ended(max(0.0, min(limits.seconds, deadline - time.monotonic())))
        if status is None:
            return _too_long(limits, deadline)
        if status == 0:
            return None
        if status < 0:
            with contextlib.suppress(ValueError):
                return Ending("crashed", f"It took the Python process down ({signal.Signals(-status).name}).")
        return Ending("crashed", f"It ended the Python process (exit code {status}).")

    def close(self) -> None:
        """End the child."""
        self.child.close()


def slowness() -> float:
    """How many times longer than on an idle machine work may take now: what waits for a processor, to each of them.

    Four times at most: a submission is part of what waits.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return min(4.0, max(1.0, load / (os.cpu_count() or 1)))


def _step(event: Event) -> tuple[str, object]:
    """Which step of its work a process says that it takes."""
    if isinstance(event, Begun | Record):
        return type(event).__name__, (event.exercise, event.probe, event.case)
    return type(event).__name__, (event.cell, event.line) if isinstance(event, Running) else None


_GONE = Ending("crashed", "It ended the Python process (os._exit or the like).")


def _too_long(limits: Limits, deadline: float) -> Ending:
    if time.monotonic() < deadline:
        return too_long(limits.seconds)
    return Ending("timeout", f"All checks together ran longer than {limits.total_seconds:g} seconds.")


def _read(channel: int, arrived: queue.SimpleQueue[list[bytes] | None], too_much: threading.Event) -> None:
    """Pass on the lines that arrive on a descriptor until it is closed, or more arrives than is allowed."""
    size, count, parts, pending = 0, 0, 0, bytearray()
    with contextlib.suppress(OSError):
        while chunk := os.read(channel, 2**16):
            size += len(chunk)
            count += chunk.count(b"\n")
            parts += sum(chunk.count(sign) for sign in (b"[", b"{", b","))
            pending += chunk
            much = size > MAX_RESULT_BYTES or count > MAX_EVENTS or parts > MAX_RESULT_PARTS
            if much or len(pending) > MAX_EVENT_BYTES + 2**16:
                too_much.set()
                break
            if b"\n" in chunk:
                *complete, rest = pending.split(b"\n")
                arrived.put(list(map(bytes, complete)))
                pending = bytearray(rest)
    os.close(channel)
    arrived.put(None)


# One's own work -----------------------------------------------------------------------------------------------------

SINGLE = {  # one thread per process, and sets of strings in one order
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
}


_CODE = str(Path(__file__).resolve().parents[3])  # the folder that holds autograder/


def child_environment(**more: str) -> dict[str, str]:
    """The variables of a process of ours: no word of the tests, kernels and servers around this one, and SINGLE.

    It finds the code that runs here, installed or not.
    """
    around = ("PYTEST", "COV_", "JUPYTER", "NBGRADER")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(around)}
    found = os.pathsep.join(filter(None, [_CODE, inherited.get("PYTHONPATH")]))
    return inherited | SINGLE | {"PYTHONPATH": found} | more


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
    cut_short = 0

    def start(self, assignment: Assignment, request: Request) -> Child:
        """See :class:`Runner`."""
        return _Process(request)

    def warm_up(self, assignment: Assignment) -> None:
        """There is nothing to share."""

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Subprocess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Process:
    def __init__(self, request: Request) -> None:
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

    def ask(self, more: More) -> None:
        """See :class:`Child`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # whether it still runs is found out by listening
            self._process.stdin.write(json.dumps(as_tree(more)).encode() + b"\n")
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
