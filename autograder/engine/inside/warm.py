"""The process in the sandbox that has everything imported, and forks a child for every request.

Whoever started it sends over a socket, for each request, three descriptors: the request as a file, a socket for the
events of the child and for further requests, and a control socket. Three processes take part in a request:

- this one, which only forks and never runs anything of a submission;
- a supervisor, forked from it, which enters new namespaces, waits for its child to end or for the control socket to
  be closed, kills in the second case, and reports the child's wait status over the control socket;
- the child, process 1 of those namespaces, which gives up its rights and runs the submission.

Where nested namespaces are not to be had it serves one request, in its own process, and is started anew for the next.
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

# What torch imports when a gradient is first computed, and when an optimiser is first made: 1 CPU-second for both.
_LATE = ("torch.fx.experimental.symbolic_shapes", "torch._dynamo")


def main() -> None:
    """Import what the settings on the command line ask for, say so, and serve requests until the socket is closed."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    sys.path += settings["packages"]
    host = socket.socket(fileno=settings["socket"])
    from autograder.engine.inside.child import prepare
    from autograder.engine.inside.observe import load_grader
    from autograder.engine.inside.shortcuts import outlawed
    from autograder.engine.probes import probes_of

    torch = prepare(settings["torch"])
    for module in [*settings["lessons"], *(_LATE if torch and settings["torch"] else ())]:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    probes = probes_of(load_grader(Path(settings["grader"])))
    for patterns in settings["forbids"]:
        outlawed(tuple(patterns))
    del sys.argv[1:]
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    gc.collect()
    gc.freeze()  # else the first collection in a child would copy every page that holds an object
    isolate.collapse_memory()
    host.send(b"ready")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are not waited for
    while True:
        message, descriptors, *_ = socket.recv_fds(host, 1, 3)
        if not message:
            return
        if not settings["forks"]:
            host.close()
            _observe(descriptors[0], descriptors[1], probes, torch, isolate.address_space())
        if os.fork() == 0:
            host.close()
            _supervise(descriptors[0], descriptors[1], descriptors[2], probes, torch)
        for descriptor in descriptors:
            os.close(descriptor)


def _supervise(request: int, channel: int, control: int, probes: list[Probe], torch: bool) -> NoReturn:
    """See one child through, and end with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    used = isolate.address_space()
    try:
        isolate.enter_namespaces()
    except OSError as problem:  # no fault of the submission
        os.write(control, f"!{problem}".encode()[:200])
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
    isolate.limit(asked.memory_mb, used, asked.seconds)
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
