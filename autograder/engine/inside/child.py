"""What runs in the process of a submission: its definitions, then the probes, with an event for every step.

At the end of a request it waits for another, which names a seed and exercises. Run as a program it is the child of
:class:`autograder.engine.border.runner.Subprocess`: JSON requests on standard input, a line each, events on standard
output. The sandbox's children are forked instead, by :mod:`autograder.engine.inside.warm`.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from autograder.engine.inside.isolate import address_space, limit_memory
from autograder.engine.inside.load import Loaded, load
from autograder.engine.inside.notebook import Cell
from autograder.engine.inside.observe import Record, load_grader, observe_case, ruled_out
from autograder.engine.probes import Probe, only, probes_of

MAX_EVENT_BYTES = 48 * 2**20  # an array of the largest size that may cross, and some more
Send = Callable[..., None]


def sender(channel: int) -> Send:
    """A function that sends its keyword arguments as a line of JSON; a record goes with the next event."""
    held = bytearray()

    def send(**event: Any) -> None:
        text = json.dumps(event)
        if len(text) >= MAX_EVENT_BYTES and "record" in event:
            text = json.dumps({**event, "record": _unsent(event["record"])})
        held.extend(text.encode() + b"\n")
        while held and "record" not in event:
            del held[: os.write(channel, held)]

    return send


def _unsent(record: Record) -> Record:
    sentence = "It returns more than can be compared."
    return {**record, "seen": {}, "raised": {"type": "WrongReturn", "text": sentence, "sentence": sentence}}


def prepare(torch: bool) -> bool:
    """Bring torch in for torch exercises, and keep it out for all others. False if it should be there and is not."""
    if not torch:
        sys.addaudithook(_keep_torch_out)
        return True
    try:
        import torch as library
    except ImportError:
        return False
    library.set_num_threads(1)
    return True


def _keep_torch_out(event: str, args: tuple) -> None:
    """An audit hook, which unlike an import hook can't be taken away again.

    It looks no name up before it refuses, so there is none to replace; and nobody may give a function other code,
    this one included.
    """
    if event == "import" and args[0].split(".")[0] == "torch":
        raise ImportError("torch can't be imported in a NumPy exercise")
    if event == "object.__setattr__" and args[1] == "__code__":
        raise AttributeError("the code of a function can't be replaced here")


def observe_and_exit(request: Record, more: BinaryIO, probes: list[Probe], send: Send) -> NoReturn:
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
            [Cell(number, "code", source) for number, source in request["cells"]],
            request["names"],
            skip={tuple(place) for place in request["skip"]},
            before=lambda s: send(event="statement", place=list(s.place)),
        )
        send(event="loaded", spoiled=loaded.spoiled)
        while True:
            _observe(request, loaded, probes, send)
            send(event="waiting")
            line = more.readline()
            if not line:
                break
            request |= json.loads(line)
        status = 0
    finally:
        os._exit(status)


def _observe(request: Record, loaded: Loaded, probes: list[Probe], send: Send) -> None:
    """Run the probes of the exercises of a request."""
    for forbids, exercises in groupby(request["exercises"], key=request["forbids"].get):
        with ruled_out(forbids or (), loaded.namespace):
            for exercise in exercises:
                for probe in only(probes, [exercise]):
                    for case in probe.cases:
                        send(event="case", exercise=exercise, probe=probe.name, case=case.index)
                        record = observe_case(probe, case, request["seed"], loaded)[0]
                        send(event="record", record=record)
                send(event="done", exercise=exercise)


def main() -> None:
    """Observe a notebook as the requests on standard input ask."""
    asked = os.fdopen(os.dup(0), "rb")
    send = sender(os.dup(1))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):  # what else is read or printed
        os.dup2(nowhere, standard)
    request = json.loads(asked.readline())
    if not prepare(request["torch"]):
        send(event="no torch")
        return
    probes = probes_of(load_grader(Path(request["grader"])))
    limit_memory(request["memory_mb"], address_space())
    observe_and_exit(request, asked, probes, send)


if __name__ == "__main__":
    main()
