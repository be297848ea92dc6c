"""Observing a notebook's code in another process: what is asked of it, and what is made of its answers.

What goes in is the text of the notebook, names and a seed; what comes back is a stream of JSON lines, which is
untrusted: bounded while it is read, checked for form, and only compared or shown escaped. A case that runs out of time
or takes the process down ends its exercise and what needs it; the others go on in a fresh process.

Who starts that process is a :class:`Runner`: :class:`Subprocess` for one's own work, the sandbox
(:mod:`autograder.engine.sandbox`) for everybody else's.
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
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from autograder.engine.assignment import Assignment, Exercise, with_needs
from autograder.engine.child import MAX_EVENT_BYTES
from autograder.engine.notebook import Cell
from autograder.engine.observe import PUBLIC_SEED, Record

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

    def ended(self, seconds: float) -> int | None:
        """Its exit status, negative for a signal; None if it still runs after so many seconds."""


class Runner(Protocol):
    """Starts processes that observe. To be closed after use, as a context manager.

    Attributes:
        warning: what to say beside every verdict that comes from it, if anything.
    """

    warning: str

    def start(self, assignment: Assignment, request: Record) -> AbstractContextManager[Child]:
        """A process for one request, which is gone with all that it started when the block is left."""

    def close(self) -> None:
        """Give back what it holds."""


def observe_notebook(
    cells: Iterable[Cell],
    assignment: Assignment,
    exercises: Collection[str],
    runner: Runner,
    *,
    seed: int = PUBLIC_SEED,
    skip: Collection[tuple[int, int]] = (),
    limits: Limits | None = None,
) -> Observations:
    """Run the probes of `exercises` on a notebook's code in child processes.

    NumPy exercises run in a process that cannot import torch.
    """
    found = Observations()
    limits = limits or Limits()
    common = {
        "cells": [[cell.number, cell.source] for cell in cells if cell.type == "code"],
        "grader": str(assignment.grader.resolve()),
        "names": [e.name for e in assignment.exercises],
        "forbids": {e.name: list(e.forbids) for e in assignment.exercises},
        "seed": seed,
        "memory_mb": limits.memory_mb,
        "seconds": limits.total_seconds,
    }
    for torch in (False, True):
        chosen = [e for e in assignment.exercises if e.name in exercises and (e.track == "torch") == torch]
        if chosen:
            _observe_track({**common, "torch": torch}, assignment, chosen, runner, set(skip), limits, found)
    return found


def _observe_track(
    common: Record,
    assignment: Assignment,
    exercises: list[Exercise],
    runner: Runner,
    skip: set[tuple[int, int]],
    limits: Limits,
    found: Observations,
) -> None:
    deadline = time.monotonic() + limits.total_seconds
    remaining = [e.name for e in exercises]
    while remaining:
        request = {**common, "exercises": remaining, "skip": sorted(skip)}
        with runner.start(assignment, request) as child:
            events, ending = _watch(child, limits, deadline)
        for event in events:
            kind = event["event"]
            if kind == "record":
                record = event["record"]
                found.records[record["exercise"], record["probe"], record["case"], common["seed"]] = record
            elif kind == "loaded":
                graded = {e.name for e in exercises}  # torch modules are spoiled where torch is kept out
                found.spoiled |= {n: text for n, text in event["spoiled"].items() if n in graded}
            elif kind == "done" and event["exercise"] in remaining:
                remaining.remove(event["exercise"])
            elif kind == "no torch":
                found.torch = False
                return
        if ending is None and not remaining:
            return
        status, sentence = ending or ("crashed", "It ended the Python process (os._exit or the like).")
        last: Record = events[-1] if events else {"event": "nothing"}
        if last["event"] == "statement":  # the cell itself, not a call of ours
            cell, line = last["place"]
            skip.add((cell, line))
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
            name for name in remaining if name != guilty and guilty not in with_needs(assignment.exercises, {name})
        ]


# What a child sends -------------------------------------------------------------------------------------------------


def _watch(child: Child, limits: Limits, deadline: float) -> tuple[list[Record], tuple[str, str] | None]:
    """The events of a child until it ends or must be ended; and how it ended badly, if it did."""
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    too_much = threading.Event()
    threading.Thread(target=_read, args=(child.channel, lines, too_much), daemon=True).start()
    events: list[Record] = []
    patience = STARTING + limits.seconds  # until something was sent, Python, NumPy and torch are being imported
    while True:
        since = time.monotonic()
        try:
            line = lines.get(timeout=max(0.0, min(since + patience, deadline) - since))
        except queue.Empty:
            return events, _too_long(limits, deadline)
        if line is None:
            break
        patience = limits.seconds
        event = _parse(line)
        if event is not None:
            events.append(event)
        if time.monotonic() > deadline:
            return events, _too_long(limits, deadline)
    if too_much.is_set():
        return events, ("memory", f"It sent back more than {MAX_RESULT_BYTES // 2**20} MB.")
    status = child.ended(max(0.0, min(patience, deadline - time.monotonic())))
    if status is None:  # it has closed the channel, and goes on
        return events, _too_long(limits, deadline)
    if status == 0:
        return events, None
    if status < 0:
        with contextlib.suppress(ValueError):
            return events, ("crashed", f"It took the Python process down ({signal.Signals(-status).name}).")
    return events, ("crashed", f"It ended the Python process (exit code {status}).")


def _too_long(limits: Limits, deadline: float) -> tuple[str, str]:
    if time.monotonic() < deadline:
        return "timeout", f"It ran longer than {limits.seconds:g} seconds and was stopped. Is a loop endless?"
    return "timeout", f"All checks together ran longer than {limits.total_seconds:g} seconds."


def _read(channel: int, lines: queue.SimpleQueue[bytes | None], too_much: threading.Event) -> None:
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
                for line in complete:
                    lines.put(bytes(line))
                pending = bytearray(rest)
    os.close(channel)
    lines.put(None)


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
    return kind == "no torch" or (kind in ("case", "done") and isinstance(event.get("exercise"), str))


# One's own work -----------------------------------------------------------------------------------------------------

SINGLE = {  # one thread per process, and sets of strings in one order
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
}


class Subprocess:
    """Runs every request in a Python process of its own: limits on time and memory, but nothing is hidden from it."""

    warning = ""

    @contextlib.contextmanager
    def start(self, assignment: Assignment, request: Record) -> Iterator[Child]:
        """See :class:`Runner`."""
        ours = ("PYTEST", "COV_", "JUPYTER", "NBGRADER")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        with tempfile.TemporaryDirectory(prefix="s30-", ignore_cleanup_errors=True) as folder:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "autograder.engine.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={**environment, **SINGLE},
                start_new_session=True,
            )
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                channel = os.dup(process.stdout.fileno())
                process.stdout.close()
                with contextlib.suppress(BrokenPipeError, OSError):
                    process.stdin.write(json.dumps(request).encode() + b"\n")
                    process.stdin.close()
                yield _Process(process, channel)
            finally:
                _kill(process)

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Subprocess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Process:
    def __init__(self, process: subprocess.Popen, channel: int) -> None:
        self._process = process
        self.channel = channel

    def ended(self, seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None


def _kill(process: subprocess.Popen) -> None:
    """End a process and what it started in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
