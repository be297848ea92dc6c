"""Observing somebody else's code in another process, with limits on its time and memory.

What goes in is probe names and seeds; what comes back is a file of JSON lines, which :func:`observe_notebook` treats
as untrusted: it is size-checked before it is read, and everything in it is only compared or shown escaped.
A case that runs out of time or takes the process down ends its exercise and what needs it; the others go on in a
fresh process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.engine.assignment import Assignment, Exercise, with_needs
from autograder.engine.observe import PUBLIC_SEED, Record

MAX_RESULT_BYTES = 256 * 2**20


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


def observe_notebook(
    notebook: Path,
    assignment: Assignment,
    exercises: Collection[str],
    *,
    seed: int = PUBLIC_SEED,
    skip: Collection[tuple[int, int]] = (),
    limits: Limits | None = None,
) -> Observations:
    """Run the probes of `exercises` on a notebook's code in child processes.

    NumPy exercises run in a process that cannot import torch.
    """
    found = Observations()
    for torch in (False, True):
        chosen = [e for e in assignment.exercises if e.name in exercises and (e.track == "torch") == torch]
        if chosen:
            _observe_track(notebook, assignment, chosen, seed, set(skip), torch, limits or Limits(), found)
    return found


def _observe_track(
    notebook: Path,
    assignment: Assignment,
    exercises: list[Exercise],
    seed: int,
    skip: set[tuple[int, int]],
    torch: bool,
    limits: Limits,
    found: Observations,
) -> None:
    deadline = time.monotonic() + limits.total_seconds
    remaining = [e.name for e in exercises]
    while remaining:
        with tempfile.TemporaryDirectory(prefix="s30-") as folder:
            out = Path(folder) / "records.jsonl"
            request = {
                "notebook": str(notebook.resolve()),
                "grader": str(assignment.grader.resolve()),
                "out": str(out),
                "exercises": remaining,
                "names": [e.name for e in assignment.exercises],
                "forbids": {e.name: list(e.forbids) for e in exercises},
                "seed": seed,
                "skip": sorted(skip),
                "torch": torch,
                "memory_mb": limits.memory_mb,
            }
            ending = _run_child(request, folder, limits, deadline)
            last: Record = {}
            for event in _events(out):
                kind = event.get("event")
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
                last = event
        if ending is None and not remaining:
            return
        status, sentence = ending or ("crashed", "It ended the Python process (os._exit or the like).")
        if last.get("event") == "statement":  # the cell itself, not a call of ours
            cell, line = last["place"]
            skip.add((cell, line))
            sentence = f"Cell {cell}, line {line}: {sentence}"
            if status != "timeout" or time.monotonic() < deadline:
                found.spoiled[f"cell {cell}"] = sentence
                continue
        guilty = last.get("exercise") if last.get("event") in ("case", "record") else None
        if guilty not in remaining or time.monotonic() > deadline:
            found.ended |= dict.fromkeys(remaining, (status, sentence))
            return
        found.ended[guilty] = (status, sentence)
        remaining = [
            name for name in remaining if name != guilty and guilty not in with_needs(assignment.exercises, {name})
        ]


def _run_child(request: dict[str, Any], folder: str, limits: Limits, deadline: float) -> tuple[str, str] | None:
    """Run one child to its end. Returns how it ended badly, if it did."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV_", "JUPYTER", "NBGRADER"))}
    environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "autograder.engine.observe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.close()
        out = Path(request["out"])
        size, since = -1, time.monotonic()
        while child.poll() is None:
            time.sleep(0.01)
            now = time.monotonic()
            current = out.stat().st_size if out.exists() else 0
            if current != size:
                size, since = current, now
            if current > MAX_RESULT_BYTES:
                return "memory", f"It sent back more than {MAX_RESULT_BYTES // 2**20} MB."
            # until something was written, Python, NumPy and torch are being imported
            allowed = limits.seconds if current else 60 + limits.seconds
            if now - since > allowed:
                return "timeout", f"It ran longer than {limits.seconds:g} seconds and was stopped. Is a loop endless?"
            if now > deadline:
                return "timeout", f"All checks together ran longer than {limits.total_seconds:g} seconds."
        if child.returncode == 0:
            return None
        if child.returncode < 0:
            return "crashed", f"It took the Python process down ({signal.Signals(-child.returncode).name})."
        return "crashed", f"It ended the Python process (exit code {child.returncode})."
    finally:
        _kill(child)


def _kill(child: subprocess.Popen) -> None:
    """End the child and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()


def _events(out: Path) -> Iterator[Record]:
    """The child's events; anything that is none is passed over."""
    if not out.exists() or out.stat().st_size > MAX_RESULT_BYTES:
        return
    with out.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict) and _well_formed(event):
                    yield event


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
    return kind in ("no torch",) or (kind in ("case", "done") and isinstance(event.get("exercise"), str))
