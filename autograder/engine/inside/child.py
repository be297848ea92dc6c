"""What runs in the process of a submission: its definitions, then the probes, with an event for every step.

At the end of a request it waits for another, which names a seed and exercises. Run as a program it is the child of
:class:`autograder.engine.border.runner.Subprocess`: JSON requests on standard input, a line each, events on standard
output. The sandbox's children are forked instead, by :mod:`autograder.engine.inside.warm`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from autograder.engine.inside.isolate import limit_memory
from autograder.engine.inside.load import load
from autograder.engine.inside.notebook import Cell
from autograder.engine.inside.observe import load_grader, observe
from autograder.engine.inside.records import (
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
    read,
    write_event,
)
from autograder.engine.inside.shortcuts import keep_libraries_out
from autograder.engine.probes import Probe, probes_of

MAX_EVENT_BYTES = 48 * 2**20  # an array of the largest size that may cross, and some more
Send = Callable[[Event], None]


def sender(channel: int) -> Send:
    """A function that sends events as lines of JSON; a record goes with the event that follows it."""
    held = bytearray()

    def send(event: Event) -> None:
        text = write_event(event)
        if isinstance(event, Record) and len(text) >= MAX_EVENT_BYTES:
            sentence = "It returns more than can be compared."
            text = write_event(
                dataclasses.replace(event, seen={}, raised=Raised("WrongReturn", text=sentence, sentence=sentence))
            )
        held.extend(text.encode() + b"\n")
        while held and not isinstance(event, Record):
            del held[: os.write(channel, held)]

    return send


def prepare(torch: bool) -> bool:
    """Bring torch in for torch exercises, keep it and its like out for others. False if it is not there."""
    if not torch:
        keep_libraries_out()
        return True
    try:
        import torch as library
    except ImportError:
        return False
    library.set_num_threads(1)
    return True


def observe_and_exit(request: Request, more: BinaryIO, probes: list[Probe], send: Send) -> NoReturn:
    """Load the notebook of a request, observe it as that and those that follow ask, and end the process.

    Threads and exit handlers of the code under test get no turn after that.
    """
    status = 1
    try:
        random.seed(0)  # what a notebook draws without a seed is the same in every run: so are the verdicts
        np.random.seed(0)
        if "torch" in sys.modules:
            sys.modules["torch"].default_generator.manual_seed(0)
        loaded = load(
            [Cell(number, "code", source) for number, source in request.cells],
            request.names,
            skip=set(request.skip),
            before=lambda statement: send(Running(*statement.place)),
        )
        send(Defined({name: text for name, text in loaded.spoiled.items() if name in request.names}))
        asked: More = request
        while True:
            for seen in observe(
                probes,
                asked.exercises,
                asked.seed,
                loaded,
                forbids=request.forbids,
                before=lambda probe, case: send(Begun(probe.exercise, probe.name, case.index)),
            ):
                send(seen.record)
            send(Waiting())
            line = more.readline()
            if not line:
                break
            asked = read(More, json.loads(line))
        status = 0
    finally:
        os._exit(status)


def main() -> None:
    """Observe a notebook as the requests on standard input ask."""
    asked = os.fdopen(os.dup(0), "rb")
    send = sender(os.dup(1))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):  # what else is read or printed
        os.dup2(nowhere, standard)
    request = read(Request, json.loads(asked.readline()))
    if not prepare(request.torch):
        send(NoTorch())
        return
    probes = probes_of(load_grader(Path(request.grader)))
    limit_memory(request.memory_mb)
    observe_and_exit(request, asked, probes, send)


if __name__ == "__main__":
    main()
