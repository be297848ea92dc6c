"""Running other people's code: in bubblewrap, from an allow-list, each request in a process of its own.

For every assignment one sandbox is started, in which processes that have NumPy (and torch) imported and the grader
loaded fork a child for each request (:mod:`autograder.engine.inside.warm`). Nothing of the project is there but the
folder engine/inside and probes.py, the lessons that submissions may import, and the one grader. Linux only.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from autograder.engine.assignment import Assignment
from autograder.engine.border.runner import SINGLE, STARTING, Child, Runner, Subprocess
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.isolate import TMP_MB
from autograder.engine.inside.records import More, Request, as_tree
from autograder.engine.inside.shortcuts import NUMPY_ALONE

UNSANDBOXED = "Graded without a sandbox: the code could read and change files of the grader."
MAX_PARENTS = 2  # each may have a room for NumPy and one for torch
_HOME = "/s30"  # in the sandbox
_SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/nix/store")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LOGNAME": "learner",
    "MALLOC_ARENA_MAX": "2",  # every arena sets address space aside, which is limited
    "MPLBACKEND": "Agg",
    **SINGLE,
}


# What this machine offers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Protection:
    """What a sandbox would be like on this machine.

    Attributes:
        sandboxed: whether other people's code can be run safely.
        warm: whether one process can serve many submissions; else each takes a start of Python, NumPy and torch.
        seccomp: whether system calls are filtered.
        problem: what stands in the way, in a sentence; empty if nothing does.
        fix: what to do about it.
    """

    sandboxed: bool
    warm: bool
    seccomp: bool
    problem: str = ""
    fix: str = ""


@lru_cache(maxsize=1)
def protection() -> Protection:
    """What this machine offers, found out by trying it once."""
    if sys.platform != "linux":
        fix = "Grade other people's code on Linux, or on Windows in WSL 2; checking your own work needs no sandbox."
        return Protection(False, False, False, "A sandbox needs Linux.", fix)
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        fix = "apt-get install bubblewrap (Debian, Ubuntu), dnf install bubblewrap (Fedora)."
        return Protection(False, False, False, "bubblewrap (the program bwrap) is not installed.", fix)
    command = [*_bwrap(bwrap, [], sized=False), *_python("autograder.engine.inside.isolate")]
    try:
        tried = subprocess.run(command, env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        outcome = json.loads(tried.stdout)
    except subprocess.TimeoutExpired:
        return Protection(False, False, False, "bubblewrap does not come to an end.", _advice())
    except ValueError:
        said = tried.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        return Protection(False, False, False, f"bubblewrap can't make a sandbox: {said[0]}.", _advice())
    if outcome["filter"]:
        fix = "Use a kernel with seccomp on x86_64 or aarch64."
        return Protection(False, False, False, f"System calls can't be filtered: {outcome['filter']}.", fix)
    if outcome["namespaces"]:
        problem = f"Namespaces can't be nested ({outcome['namespaces']}), so every submission starts Python anew."
        return Protection(True, False, True, problem, _advice())
    return Protection(True, True, True)


def _advice() -> str:
    """What usually keeps an ordinary user from making namespaces here."""

    def setting(name: str) -> str:
        with contextlib.suppress(OSError):
            return Path("/proc/sys", name).read_text().strip()
        return ""

    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return (
            "This is a container: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined (or --privileged)."
        )
    if setting("kernel/unprivileged_userns_clone") == "0":
        return "User namespaces are switched off: sysctl -w kernel.unprivileged_userns_clone=1"
    if setting("user/max_user_namespaces") == "0":
        return "User namespaces are switched off: sysctl -w user.max_user_namespaces=15000"
    if setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "AppArmor keeps user namespaces from programs: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    return "Try it by hand: bwrap --unshare-all --ro-bind / / true"


def runner_for_others(lessons: Collection[str], *, allow_unsandboxed: bool = False) -> Runner:
    """What runs other people's code: a sandbox; or, if that is allowed and there is none, a process that says so.

    Raises UserError if there is no sandbox.
    """
    offered = protection()
    if offered.sandboxed:
        return Sandbox(lessons)
    if allow_unsandboxed:
        runner = Subprocess()
        runner.warning = UNSANDBOXED
        return runner
    raise UserError(
        f"Other people's code is graded in a sandbox only, and there is none here. {offered.problem} "
        f"What to do: {offered.fix}"
    )


# The sandbox --------------------------------------------------------------------------------------------------------


class Sandbox:
    """Runs every request in bubblewrap. To be closed after use; may be used from several threads.

    A process that gets it when it is started shares what is warm then; what it starts itself is its own.

    Args:
        lessons: the modules besides NumPy and torch that submissions may import, such as `course.plots`.

    Attributes:
        core: of the processor, on which its requests run: whoever has several at a time gives each its own.

    Raises UserError if this machine offers none.
    """

    warning = ""
    cut_short = 0
    core = 0

    def __init__(self, lessons: Collection[str] = ()) -> None:
        offered = protection()
        if not offered.sandboxed:
            raise UserError(f"There is no sandbox here. {offered.problem} What to do: {offered.fix}")
        self._warm = offered.warm
        self._lessons = {name: _source(name) for name in lessons}
        self._parents: dict[tuple[Path, int], _Parent] = {}
        self._get_ready()

    def _get_ready(self) -> None:
        self._lock = threading.Lock()
        # A parent dies with the thread that started it (--die-with-parent), so all are started from one that stays
        self._starter = ThreadPoolExecutor(max_workers=1)

    def __getstate__(self) -> dict[str, Any]:
        """What a process that is started gets of it."""
        return {"_warm": self._warm, "_lessons": self._lessons, "_parents": self._parents}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be what it is in the process that started this one."""
        self.__dict__ |= state
        self._get_ready()

    def warm_up(self, assignment: Assignment) -> None:
        """See :class:`autograder.engine.border.runner.Runner`."""
        if self._warm:
            with self._lock:
                self._parent(assignment)

    def start(self, assignment: Assignment, request: Request) -> Child:
        """See :class:`autograder.engine.border.runner.Runner`."""
        ours, theirs = socket.socketpair()
        channel, their_channel = socket.socketpair()
        asked = os.memfd_create("request")
        with open(asked, "wb") as file, theirs, their_channel:
            try:
                file.write(json.dumps(as_tree(replace(request, core=self.core))).encode())
                file.flush()
                passed = [asked, their_channel.fileno(), theirs.fileno()]
                parent = self._send(assignment, request.torch, passed)
            except BaseException:
                ours.close()
                channel.close()
                raise
        return _Child(channel, ours, parent, in_parent=not self._warm)

    def _send(self, assignment: Assignment, torch: bool, descriptors: list[int]) -> _Parent:
        """Hand a request over to the process that is to serve it, which is started if need be."""
        kind = b"torch" if torch else b"numpy"
        if not self._warm:
            parent = self._started(assignment, torch)
            socket.send_fds(parent.socket, [kind], descriptors)
            return parent
        with self._lock:
            while True:
                parent, fresh = self._parent(assignment)
                try:
                    socket.send_fds(parent.socket, [kind], descriptors)
                    return parent
                except OSError:  # it is gone, whatever ended it; or was closed because of that
                    self._parents = {key: other for key, other in self._parents.items() if other is not parent}
                    parent.close()
                    if fresh:
                        raise

    def _parent(self, assignment: Assignment) -> tuple[_Parent, bool]:
        """The process that serves an assignment's requests, and whether it was just started."""
        key = assignment.grader.resolve(), assignment.grader.stat().st_mtime_ns
        fresh = key not in self._parents
        if fresh:
            while len(self._parents) >= MAX_PARENTS:
                self._parents.pop(next(iter(self._parents))).close()
            self._parents[key] = self._starter.submit(self._started, assignment).result()
        return self._parents[key], fresh

    def _started(self, assignment: Assignment, torch: bool | None = None) -> _Parent:
        """A process in a new sandbox: for one request, if it is said of which kind, or for all."""
        grader = f"{_HOME}/graders/{assignment.grader.name}"
        files = {grader: assignment.grader, **{place: source for place, source in self._lessons.values()}}
        private = [assignment.grader, assignment.key, *([assignment.reference] if assignment.reference else [])]
        hidden = [path.resolve().parent for path in private]
        numpy_alone = [Path(folder, name) for folder in _packages() for name in NUMPY_ALONE]
        numpy_alone = [folder for folder in numpy_alone if folder.is_dir()]
        settings: dict[str, Any] = {
            "torch": torch,
            "grader": grader,
            "lessons": list(self._lessons),
            "numpy_alone": [place for folder in numpy_alone for place in _places(str(folder))],
            "forbids": [[e.forbids for e in assignment.exercises if e.torch == kind] for kind in (False, True)],
        }
        return _Parent(files, hidden + (numpy_alone if torch is False else []), settings)

    def close(self) -> None:
        """End every process in the sandbox."""
        with self._lock:
            while self._parents:
                self._parents.popitem()[1].close()
        self._starter.shutdown()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Parent:
    """The first process in a sandbox, and our end of its socket."""

    def __init__(self, files: dict[str, Path], hidden: Sequence[Path], settings: dict[str, Any]) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings |= {"socket": theirs.fileno(), "packages": [_places(folder)[-1] for folder in _packages()]}
        bwrap = shutil.which("bwrap") or "bwrap"
        with theirs:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [
                    *_bwrap(bwrap, hidden, sized=settings["torch"] is not None, files=files),
                    *_python("autograder.engine.inside.warm", json.dumps(settings)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env={},
                start_new_session=True,
            )
        assert self._process.stderr is not None
        self.socket.settimeout(STARTING)
        ready = b""
        with contextlib.suppress(OSError):
            ready = self.socket.recv(16)
        self.socket.settimeout(None)
        if ready != b"ready":
            self._process.kill()
            said = self._process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
            self.close()
            raise UserError(f"The grader did not start in the sandbox: {' '.join(said) or 'it took too long'}.")
        self._process.stderr.close()

    def __getstate__(self) -> dict[str, Any]:
        """What another process may have of it: a way to send requests."""
        return {"socket": self.socket, "_process": None}

    def wait(self, seconds: float) -> int | None:
        """Its exit status; None if it still runs after so many seconds."""
        assert self._process is not None  # only who started it waits for it
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(seconds)
            return 128 - code if code > 128 else code  # bubblewrap adds 128 to the number of a signal
        return None

    def close(self) -> None:
        """End it, and every process that it has forked; or only let go of it, if it is another process's."""
        self.socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stderr:
                self._process.stderr.close()


class _Child:
    """A process that serves requests; closing `control` ends it."""

    def __init__(self, channel: socket.socket, control: socket.socket, parent: _Parent, *, in_parent: bool) -> None:
        self.channel = os.dup(channel.fileno())  # whoever reads from it closes it
        self._asks = channel
        self._control = control
        self._parent = parent
        self._in_parent = in_parent  # it runs in that very process

    def ask(self, more: More) -> None:
        """See :class:`autograder.engine.border.runner.Child`."""
        with contextlib.suppress(OSError):  # whether it still runs is found out by listening
            self._asks.sendall(json.dumps(as_tree(more)).encode() + b"\n")

    def close(self) -> None:
        """See :class:`autograder.engine.border.runner.Child`."""
        self._control.close()
        self._asks.close()
        if self._in_parent:
            self._parent.close()

    def ended(self, seconds: float) -> int | None:
        """See :class:`autograder.engine.border.runner.Child`."""
        if self._in_parent:
            return self._parent.wait(seconds)
        ready, _, _ = select.select([self._control], [], [], seconds)
        if not ready:
            return None
        status = self._control.recv(1000)
        if status.startswith(b"!"):
            raise UserError(status[1:].decode(errors="replace"))
        if not status:  # whoever should say it was ended as well, and so probably was everything in the sandbox
            self._parent.close()
            raise UserError("The sandbox was ended from outside while this ran in it: grade it again.")
        return int(status)


# The command line ---------------------------------------------------------------------------------------------------


def _python(module: str, *arguments: str) -> list[str]:
    """Python as it runs in the sandbox: no `site`, which would follow the paths that installed packages name."""
    return [_interpreter(), "-P", "-S", "-s", "-B", "-m", module, *arguments]


def _interpreter() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _packages() -> Iterator[str]:
    """The folders of installed packages."""
    installed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    for entry in sys.path:
        if Path(entry).is_dir() and (entry in installed or Path(entry).name in ("site-packages", "dist-packages")):
            yield os.path.realpath(entry)


def _libraries() -> dict[str, str]:
    """Folders with Python, its packages and shared libraries → where they go in the sandbox.

    Packages move, for a virtual environment may lie anywhere, below /tmp too; with the `lib` that they lie in, because
    some find shared libraries there.
    """
    interpreter = Path(_interpreter())
    bases = {sys.base_prefix, sys.base_exec_prefix, str(interpreter.parents[1])}
    fixed = [f"{base}/{name}" for base in sorted(bases) for name in ("lib", "lib64")] + [*_SYSTEM]
    found = {folder: folder for folder in fixed if Path(folder).is_dir()}
    for folder in _packages():
        lib = os.path.realpath(f"{sys.prefix}/lib")
        root = lib if folder.startswith(f"{lib}/") else folder
        found.setdefault(root, f"{_HOME}/packages/{len(found)}")
    return found


def _places(folder: str) -> list[str]:
    """Where a folder of this machine can be seen in the sandbox."""
    return [
        place + folder.removeprefix(root)
        for root, place in _libraries().items()
        for root in {root, os.path.realpath(root)}
        if folder.startswith(f"{root}/") or folder == root
    ]


def _source(module: str) -> tuple[str, Path]:
    """Where the file of a module goes in the sandbox, and where it is here."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{module} has no file")
    origin = Path(spec.origin)
    place = module.replace(".", "/") + ("/__init__.py" if origin.name == "__init__.py" else ".py")
    return f"{_HOME}/{place}", origin


def _bwrap(bwrap: str, hidden: Sequence[Path], *, sized: bool, files: dict[str, Path] | None = None) -> list[str]:
    """The command that makes the sandbox.

    Args:
        bwrap: the program.
        hidden: folders that must not be seen if they lie where packages are installed.
        sized: bound the temporary folders, which needs bubblewrap 0.7. Whoever forks makes its own for each child.
        files: further files, place in the sandbox → here.
    """
    interpreter, libraries, engine = _interpreter(), _libraries(), Path(__file__).resolve().parents[1]
    command = [bwrap, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    command += [
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--cap-drop",
        "ALL",
        "--hostname",
        "s30",
    ]  # never 0: it can't be nested
    for name, value in {**_ENVIRONMENT, "PYTHONPATH": _HOME}.items():
        command += ["--setenv", name, value]
    for folder, place in libraries.items():
        command += ["--ro-bind", folder, place]
    command += ["--ro-bind", interpreter, interpreter]
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        command += ["--ro-bind-try", name, name]
    ours = [f"{folder}/{package}" for folder in _packages() for package in ("autograder", "course")]
    private = [*map(str, hidden), *(folder for folder in ours if Path(folder).is_dir())]
    masks = sorted({place for folder in private for place in _places(folder)})
    for folder in masks:
        command += ["--tmpfs", folder]
    mounted = [engine.parent / "__init__.py", engine / "__init__.py", engine / "probes.py"]
    held = {f"{_HOME}/{path.relative_to(engine.parents[1]).as_posix()}": path for path in [*mounted, engine / "inside"]}
    for place, source in {**held, **(files or {})}.items():
        command += ["--ro-bind", str(source), place]
    for device in _DEVICES:
        command += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    command += ["--proc", "/proc"]
    for folder in ("/tmp", "/dev/shm"):
        command += [*(["--size", str(TMP_MB * 2**20)] if sized else []), "--tmpfs", folder]
    for folder in ("/", *masks):
        command += ["--remount-ro", folder]
    return [*command, "--chdir", "/tmp", "--"]
