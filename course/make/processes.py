"""Work in processes of their own, as many at a time as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from autograder.engine.border.rounds import Ending

Label = TypeVar("Label")
Result = TypeVar("Result")
METHOD = "fork" if hasattr(os, "fork") else "spawn"  # what is forked has imported all that this process has


def in_processes(
    work: Mapping[Label, Callable[[], Result]], seconds: Mapping[Label, float]
) -> Iterator[tuple[Label, Result | Ending]]:
    """Do some work, each in a process of its own; each result is given as it ends.

    Args:
        work: by the label that its result gets.
        seconds: of wall time that each may take.
    """
    context: Any = multiprocessing.get_context(METHOD)
    waiting = list(work)[::-1]
    running: dict[Connection, tuple[Label, BaseProcess, float]] = {}
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            label = waiting.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_send, args=(work[label], theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = label, process, time.monotonic() + seconds[label]
        first = min(deadline for *_, deadline in running.values())
        ready = wait(list(running), timeout=max(0.0, first - time.monotonic()))
        now = time.monotonic()
        for ours in [c for c, (*_, deadline) in running.items() if c in ready or deadline <= now]:
            label, process, _ = running.pop(ours)
            result: Result | Ending = Ending("timeout", f"It ran longer than {seconds[label]:g} seconds.")
            if ours in ready:
                try:
                    result = ours.recv()
                except EOFError:
                    result = Ending("crashed", "It took the Python process down.")
            process.kill()
            process.join()
            ours.close()
            yield label, result


def _send(work: Callable[[], Result], out: Connection) -> None:
    out.send(work())
