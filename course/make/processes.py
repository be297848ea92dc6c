"""Work in processes of their own, as many at a time as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

Label = TypeVar("Label")
Result = TypeVar("Result")
METHOD = "fork" if hasattr(os, "fork") else "spawn"  # what is forked has imported all that this process has


class Ended(Exception):
    """A process ended without a result: `timeout` or `crashed`, and how in a sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status, self.sentence = status, sentence


def in_processes(
    work: Mapping[Label, Callable[[], Result]], seconds: Mapping[Label, float]
) -> Iterator[tuple[Label, Result | Ended]]:
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
            result: Result | Ended = Ended("timeout", f"It ran longer than {seconds[label]:g} seconds.")
            if ours in ready:
                try:
                    result = ours.recv()
                except EOFError:
                    result = Ended("crashed", "It took the Python process down.")
            process.kill()
            process.join()
            ours.close()
            yield label, result


def _send(work: Callable[[], Result], out: Connection) -> None:
    out.send(work())
