"""The processes in the sandbox that have everything imported, and fork a child for every request.

Whoever started the sandbox sends over a socket, for each request, whether it is one for NumPy or for torch, and three
descriptors: the request as a file, a socket for the events of the child and for further requests, and a control socket.
Four processes take part in a request:

- the first one, which only passes it on, and forks a room for NumPy, and one for torch, when it is first asked for;
- the room, which only forks and never runs anything of a submission;
- a supervisor, forked from it, which enters new namespaces, waits for its child to end or for the control socket to
  be closed, kills in the second case, and reports the child's wait status over the control socket;
- the child, process 1 of those namespaces, which gives up its rights and runs the submission.

Where nested namespaces are not to be had the first one serves one request itself, and is started anew for the next.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

# What the program is started with: NumPy and the rest of the engine are imported once the search path is complete.
from autograder.engine.inside import isolate

if TYPE_CHECKING:
    from autograder.engine.probes import Probe

# What torch imports when a gradient is first computed, as nearly every exercise does, and when an optimiser is first
# made, as some do: half a CPU-second, and a whole one.
_GRADIENTS, _OPTIMISERS = "torch.fx.experimental.symbolic_shapes", "torch._dynamo"
Settings = dict[str, Any]


def main() -> None:
    """Serve requests, as the settings on the command line say, until the socket is closed."""
    settings: Settings = json.loads(sys.argv[1])
    del sys.argv[1:]
    sys.path += settings["packages"]
    host = socket.socket(fileno=settings["socket"])
    gc.disable()  # while modules are imported there is nothing to collect
    if settings["torch"] is not None:
        _serve_one(host, settings)
    _lead_nowhere()
    host.send(b"ready")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody is waited for
    rooms: dict[bool, socket.socket] = {}
    while True:
        message, descriptors, *_ = socket.recv_fds(host, 8, 3)
        if not message:
            return
        torch = message == b"torch"
        for _ in range(2):
            if torch not in rooms:
                _import("autograder.engine.inside.child", *settings["lessons"])  # what both have in common
                rooms[torch], door = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                if os.fork() == 0:
                    for other in (host, *rooms.values()):
                        other.close()
                    for descriptor in descriptors:
                        os.close(descriptor)
                    _serve(door, settings, torch)
                door.close()
            try:
                socket.send_fds(rooms[torch], [b"r"], descriptors)
                break
            except OSError:  # the room is gone, whatever ended it
                rooms.pop(torch).close()
        for descriptor in descriptors:
            os.close(descriptor)


def _serve(door: socket.socket, settings: Settings, torch: bool) -> NoReturn:
    """Be a room: fork a child for every request."""
    problem, served = "", 0
    try:
        probes, ready = _furnish(settings, torch)
    except Exception as trouble:
        problem = f"The grader did not start in the sandbox: {type(trouble).__name__}: {trouble}."
    while True:
        message, descriptors, *_ = socket.recv_fds(door, 1, 3)
        if not message:
            os._exit(0)
        if problem:
            door.shutdown(socket.SHUT_RD)  # who asks next gets another room; who waits here already is told
            _refuse(descriptors[2], problem)
        else:
            if served == 1:  # a second one: so there may be many
                _settle(settings, torch and ready)
            if os.fork() == 0:
                door.close()
                hidden = [] if torch else settings["numpy_alone"]
                _supervise(descriptors[0], descriptors[1], descriptors[2], probes, ready, hidden)
            served += 1
        for descriptor in descriptors:
            os.close(descriptor)


def _serve_one(host: socket.socket, settings: Settings) -> NoReturn:
    """Serve one request in this process."""
    _import(*settings["lessons"])
    probes, ready = _furnish(settings, settings["torch"])
    _lead_nowhere()
    host.send(b"ready")
    message, descriptors, *_ = socket.recv_fds(host, 8, 3)
    if not message:
        os._exit(0)
    host.close()
    _observe(descriptors[0], descriptors[1], probes, ready, isolate.address_space())


def _furnish(settings: Settings, torch: bool) -> tuple[list[Probe], bool]:
    """Import what every request needs. Returns the probes, and False if torch should be there and is not."""
    from autograder.engine.inside.child import prepare
    from autograder.engine.inside.observe import load_grader
    from autograder.engine.probes import probes_of

    ready = prepare(torch)
    if torch and ready:
        _import(_GRADIENTS)
    probes = probes_of(load_grader(Path(settings["grader"])))
    _keep()
    return probes, ready


def _settle(settings: Settings, torch: bool) -> None:
    """Do once what every child would otherwise do for itself; for a single one it would take longer than it saves."""
    from autograder.engine.inside.shortcuts import outlawed

    if torch:
        _import(_OPTIMISERS)
    for patterns in settings["forbids"][torch]:
        outlawed(tuple(patterns))
    _keep()
    isolate.collapse_memory()


def _keep() -> None:
    """Leave what there is alone from now on: a collection in a child would copy every page that holds an object."""
    gc.enable()
    gc.freeze()


def _import(*modules: str) -> None:
    """Import what can be; who needs the rest finds out."""
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def _lead_nowhere() -> None:
    """Let the standard descriptors lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)


def _refuse(control: int, sentence: str) -> None:
    """Say why a request is not served: no fault of the submission."""
    with contextlib.suppress(OSError):
        os.write(control, f"!{sentence}".encode()[:1000])


def _supervise(
    request: int, channel: int, control: int, probes: list[Probe], torch: bool, hidden: list[str]
) -> NoReturn:
    """See one child through, and end with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    used = isolate.address_space()
    try:
        isolate.enter_namespaces(hidden)
    except OSError as problem:
        _refuse(control, f"A process could not be shut off: {problem}.")
        os._exit(1)
    child = os.fork()
    if child == 0:
        _observe(request, channel, probes, torch, used)
    os.close(channel)
    poll = select.poll()
    poll.register(os.pidfd_open(child), select.POLLIN)
    poll.register(control, select.POLLIN)
    ready = [descriptor for descriptor, _ in poll.poll()]
    if control in ready:
        os.kill(child, signal.SIGKILL)  # it is process 1 of its namespace: all that is in there dies with it
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        os.write(control, str(status).encode())
    os._exit(0)


def _observe(request: int, channel: int, probes: list[Probe], torch: bool, used: int) -> NoReturn:
    """Become harmless, then run the submission."""
    from autograder.engine.inside.child import observe_and_exit, sender
    from autograder.engine.inside.records import NoTorch, Request, read

    with open(request, "rb") as file:
        file.seek(0)
        asked = read(Request, json.load(file))
    channel = _only(channel)
    send = sender(channel)
    with contextlib.suppress(PermissionError):  # unless it leads its group already
        os.setsid()  # a signal to one's own process group crosses the borders of namespaces
    isolate.limit(asked.memory_mb, used, asked.seconds, asked.core)
    isolate.give_up_rights()
    if asked.torch and not torch:
        send(NoTorch())
        os._exit(0)
    observe_and_exit(asked, os.fdopen(channel, "rb"), probes, send)


def _only(channel: int) -> int:
    """Close every descriptor but the standard ones, which lead nowhere, and `channel`. Returns its new number."""
    os.dup2(channel, 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return 3


if __name__ == "__main__":
    main()
