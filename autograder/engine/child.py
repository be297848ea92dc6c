"""What runs in the process of a submission: its definitions, then the probes, with an event for every step.

Run as a program it is the child of :class:`autograder.engine.runner.Subprocess`: one JSON request on standard input,
events on standard output. The sandbox's children are forked instead, by :mod:`autograder.engine.warm`.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from autograder.engine.isolate import address_space, limit_memory
from autograder.engine.load import load
from autograder.engine.notebook import Cell
from autograder.engine.observe import Record, load_grader, observe_case, ruled_out
from autograder.engine.probes import Probe, only, probes_of

MAX_EVENT_BYTES = 48 * 2**20  # an array of the largest size that may cross, and some more
Send = Callable[..., None]


def sender(channel: int) -> Send:
    """A function that sends its keyword arguments as a line of JSON."""

    def send(**event: Any) -> None:
        text = json.dumps(event)
        if len(text) >= MAX_EVENT_BYTES and "record" in event:
            text = json.dumps({**event, "record": _unsent(event["record"])})
        line = text.encode() + b"\n"
        while line:
            line = line[os.write(channel, line) :]

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


def observe_and_exit(request: Record, probes: list[Probe], send: Send) -> NoReturn:
    """Observe, and end the process: threads and exit handlers of the code under test get no further turn."""
    status = 1
    try:
        _observe(request, probes, send)
        status = 0
    finally:
        os._exit(status)


def _observe(request: Record, probes: list[Probe], send: Send) -> None:
    """Load the notebook of a request and run the probes of its exercises."""
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
    """Observe a notebook as the request on standard input asks."""
    request = json.loads(sys.stdin.buffer.readline())
    send = sender(os.dup(1))
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)  # what else is printed goes nowhere
    if not prepare(request["torch"]):
        send(event="no torch")
        return
    probes = probes_of(load_grader(Path(request["grader"])))
    limit_memory(request["memory_mb"], address_space())
    observe_and_exit(request, probes, send)


if __name__ == "__main__":
    main()
