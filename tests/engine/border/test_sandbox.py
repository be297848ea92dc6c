"""The sandbox, attacked from within: what a learner's code tries there, and what it gets.

Code may always lie about its own values. What it must not do is read an answer, touch anything outside its run, or
change the result of another submission.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, explain, functions, make_notebook, needs_sandbox, s30, solution_cells, tiny_assignment

from autograder.engine.assignment import Assignment
from autograder.engine.border import sandbox as boxing
from autograder.engine.border.runner import Observer, Runner, Subprocess
from autograder.engine.border.sandbox import Protection, Sandbox, protection, runner_for_others
from autograder.engine.inside.errors import UserError
from autograder.engine.inside.isolate import DENIED, MAX_FILES, TMP_MB
from autograder.engine.inside.notebook import Cell
from autograder.engine.inside.observe import PUBLIC_SEED
from autograder.engine.inside.records import MAX_PARTS, Limits, read_event
from autograder.engine.inside.wire import decode
from autograder.engine.judge.grade import grade
from autograder.engine.judge.verdict import Verdict
from course.base.project import LESSONS, Project
from course.teach.demo import SLUG, class_of

pytestmark = needs_sandbox

SHORT = Limits(seconds=2, memory_mb=300)
SECRET = "S30_SECRET_OF_THE_HOST"
warm_only = pytest.mark.skipif(protection().sandboxed and not protection().warm, reason=protection().problem)

# What the attacks below have at hand
TOOLS = """
import ctypes, errno, os, resource, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)

def attempt(function, *arguments):
    try:
        return repr(function(*arguments))
    except BaseException as problem:
        return type(problem).__name__

def libraries():
    return {libraries}

def files_elsewhere(top="/"):
    there = []
    for folder, folders, files in os.walk(top):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in libraries()]
        there += [os.path.join(folder, f) for f in files]
    return sorted(there)

def writable_folders():
    there = []
    for folder, folders, files in os.walk("/"):
        folders[:] = [] if folder in libraries() else folders
        try:
            open(os.path.join(folder, "written"), "w").close()
            os.remove(os.path.join(folder, "written"))
            there.append(folder)
        except OSError:
            pass
    return sorted(there)

def filled(folder):
    size = 0
    try:
        for number in range(1000):
            with open(f"{{folder}}/{{number}}", "wb", buffering=0) as file:
                for _ in range(16):
                    size += file.write(bytes(2**20))
    except OSError:
        pass
    return size // 2**20

def taken():
    size, held = 0, []
    try:
        while size < 4000:
            held.append(bytearray(2**24))
            size += 16
    except MemoryError:
        pass
    return size

def solvers():
    names = ("scipy", "sklearn", "rapidfuzz", "torch")
    there = [os.path.join(folder, name) for folder in sys.path for name in names]
    loaded = [name for name in sys.modules if name.split(".")[0] in names]
    sys.meta_path[:] = [finder for finder in sys.meta_path if "autograder" not in type(finder).__module__]
    tried = [attempt(__import__, name) for name in ("scipy.special", "sklearn.metrics", "rapidfuzz", "torch")]
    return [[path for path in there if os.path.isdir(path) and os.listdir(path)], loaded, tried]

def threads():
    stop, started = threading.Event(), []
    threading.stack_size(2**20)
    try:
        while len(started) < 20000:
            thread = threading.Thread(target=stop.wait, daemon=True)
            thread.start()
            started.append(thread)
    except BaseException:
        pass
    stop.set()
    threads.most = max(getattr(threads, "most", 0), len(started))  # the first time: what they held is not given back
    return threads.most

def open_descriptors():
    there = []
    for number in range(4096):
        try:
            there.append((number, oct(os.fstat(number).st_mode)[2:4], os.fstat(number).st_rdev))
        except OSError:
            pass
    return there

def refused(numbers):
    let_through = []
    for name, number in numbers.items():
        ctypes.set_errno(0)
        if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.EPERM:
            let_through.append(name)
    return let_through
"""


def brought_back(cells: Iterable[str], assignment: Assignment, runner: Runner) -> dict[str, Any]:
    """Name → what each exercise of a notebook returned for its first case."""
    numbered = [Cell(number, "code", source) for number, source in enumerate(cells, 1)]
    names = [exercise.name for exercise in assignment.exercises]
    with Observer(numbered, assignment, runner, limits=SHORT) as observer:
        seen = observer.observe(names)
    assert not seen.ended, seen.ended
    assert not seen.spoiled, seen.spoiled
    records = {name: seen.records[(name, f"probe_{name}", 0), PUBLIC_SEED] for name in names}
    assert not [record.raised for record in records.values() if record.raised]
    return {name: decode(record.seen["y"]) for name, record in records.items()}


def with_tools(bodies: Mapping[str, str], libraries: Iterable[str] = ()) -> list[str]:
    """The functions of a notebook, with the tools above in the cell of the first: all of such a cell runs."""
    cells = functions(bodies)
    cells[1] = f"{TOOLS.format(libraries=repr(list(libraries)))}\n{cells[1]}"
    return cells


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(LESSONS) as made:
        yield made


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Iterator[dict[str, Any]]:
    """Things of the host that a submission would like to reach."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "gradebook.db").write_text("scores")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0s30-test-{os.getpid()}")
        abstract.listen()
        os.environ[SECRET] = "what the host holds"
        yield {
            "folder": folder,
            "port": server.getsockname()[1],
            "abstract": f"\0s30-test-{os.getpid()}",
            "pid": os.getpid(),
        }
        del os.environ[SECRET]


def secret_paths(assignment: Assignment, host: Mapping[str, Any]) -> list[str]:
    assert assignment.reference is not None
    project = [
        ROOT / name for name in ("solutions", "source", "release", "autograder", "tests", ".git", "course", ".venv")
    ]
    paths = [assignment.key, assignment.reference, assignment.grader, host["folder"], *project, Path.cwd(), Path.home()]
    paths += map(Path, ["/root", "/home", "/etc/passwd", "/etc/shadow", "/var", "/sys", "/run", "/proc/1", "/usr/bin"])
    held = {
        p for folder in boxing._libraries().values() for p in (Path(folder), *Path(folder).parents)
    }  # lead to Python itself
    held |= set(Path(boxing._interpreter()).parents)
    return [str(p) for p in paths if p not in held]


def probing(assignment: Assignment | None, host: Mapping[str, Any]) -> dict[str, str]:
    """Name → body that sets `found`."""
    column = {"x86_64": 0, "aarch64": 1}[os.uname().machine]
    numbers = {name: n[column] for name, n in DENIED.items() if n[column] is not None}
    paths = secret_paths(assignment, host) if assignment else []
    return {
        "descriptors": "found = open_descriptors()",  # first: later attacks open some of their own
        "files": "found = files_elsewhere()",
        "paths": f"found = [p for p in {paths!r} if os.path.lexists(p)]",
        "processes": "found = os.listdir('/proc') if os.path.isdir('/proc') else []",
        "environment": "found = sorted(os.environ)",
        "modules": "found = [m for m in ('keys', 'grade', 'compare', 'mistakes', 'report', 'sandbox', 'runner') "
        "if attempt(__import__, f'autograder.engine.{m}') != 'ModuleNotFoundError']",
        "tools": "found = [m for m in ('audit', 'build', 'learn', 'nbgrader_steps', 'project', 'check') "
        "if attempt(__import__, f'course.{m}') != 'ModuleNotFoundError']",
        "lessons": "from course import gradcheck, plots; found = [gradcheck.__name__, plots.__name__]",
        "internet": "found = [attempt(socket.create_connection, ('1.1.1.1', 53), 1), "
        "attempt(socket.getaddrinfo, 'example.org', 80)]",
        "localhost": f"found = attempt(socket.create_connection, ('127.0.0.1', {host['port']}), 1)",
        "local_socket": f"found = attempt(socket.socket(socket.AF_UNIX).connect, {host['abstract']!r})",
        "odd_sockets": "found = [attempt(socket.socket, family) for family in (16, 17, 38, 40)]",
        "interfaces": "found = attempt(socket.if_nameindex)",
        "who_am_i": "found = [os.getpid(), os.getppid()]",
        "signals": f"found = [p for p in [*range(2, 5000), {host['pid']}, -1] if attempt(os.kill, p, 0) == 'None']",
        "kills": "found = [attempt(os.kill, -1, 9), attempt(os.kill, 1, 9), attempt(os.killpg, 0, 9)]",
        "traces": "libc.ptrace(16, 1, 0, 0); found = [errno.errorcode[ctypes.get_errno()]]; "
        "libc.process_vm_readv(1, 0, 0, 0, 0, 0); found.append(errno.errorcode[ctypes.get_errno()])",
        "forks": "found = [attempt(os.fork), attempt(subprocess.Popen, [sys.executable]), "
        "attempt(os.posix_spawn, sys.executable, ['x'], {}), attempt(os.execv, sys.executable, ['x'])]",
        "shell": "found = os.system('true') == 0",
        "multiprocessing": "import multiprocessing as m; "
        "found = attempt(m.get_context('fork').Process(target=int).start)",
        "clones": "found = [libc.syscall(n, 17, 0, 0, 0, 0, 0) for n in ((56, 220)[libc.syscall(39) != 1], 435)]",
        "calls": f"found = refused({numbers!r})",
        "rights": "held = (ctypes.c_uint32 * 6)(1, 1, 1, 1, 1, 1); "
        "libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), held); "
        "found = [list(held), libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0)]",
        "raises_limits": "found = [attempt(resource.setrlimit, kind, (-1, -1)) for kind in "
        "(resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU)]",
        "cores": "found = [len(os.sched_getaffinity(0)), attempt(os.sched_setaffinity, 0, range(64)), "
        "attempt(os.sched_setaffinity, 0, [0])]",
        "out_of_reach": "found = solvers()",
        "memory": "found = taken()",
        "thread_bomb": "found = threads()",
        "many_files": "held = []; attempt(lambda: [held.append(os.dup(0)) for _ in range(5000)]); "
        "[os.close(d) for d in held]; found = len(held)",
        "writable": "found = writable_folders()",
        "fills_tmp": "found = filled('/tmp')",
        "fills_shm": "found = filled('/dev/shm')",
        "inputs": "found = [attempt(os.read, 0, 1), attempt(input)]",
        "own_randomness": "found = [draws, draws_of_python, hash('text')]",
    }


@pytest.fixture(scope="module")
def attacks(tmp_path_factory, box, host) -> dict[str, Any]:
    """One notebook that tries everything that takes nothing down: name → what it found."""
    folder = tmp_path_factory.mktemp("attacks")
    return attacked(folder, box, host)


def attacked(folder: Path, runner: Runner, host: Mapping[str, Any], *names: str) -> dict[str, Any]:
    names = names or tuple(probing(None, host))
    assignment = tiny_assignment(folder, names)
    bodies = probing(assignment, host)
    libraries = [*boxing._libraries().values(), "/proc", "/etc/alternatives"]
    cells = with_tools({name: f"{bodies[name]}\n    return found" for name in names}, libraries)
    cells[1] = f"import random; draws, draws_of_python = float(np.random.random()), random.random()\n{cells[1]}"
    return brought_back(cells, assignment, runner)


def test_where_bubblewrap_works_there_is_a_sandbox():
    assert protection().sandboxed, protection().problem
    assert protection().seccomp


# What is there to be seen -------------------------------------------------------------------------------------------


def test_no_file_is_there_but_python_the_engines_child_the_lessons_and_one_grader(attacks):
    mine = [path for path in attacks["files"] if path.startswith("/s30/") and "/__pycache__/" not in path]
    course = [f"/s30/course/{name}.py" for name in ("__init__", "data", "dates", "gradcheck", "plots")]
    inside = [f"inside/{path.name}" for path in (ROOT / "autograder" / "engine" / "inside").glob("*.py")]
    engine = [f"/s30/autograder/engine/{name}" for name in ("__init__.py", "probes.py", *inside)]
    assert mine == sorted(["/s30/autograder/__init__.py", *engine, *course, "/s30/graders/test_42_doubling.py"])
    others = [path for path in attacks["files"] if path not in mine]
    devices = {f"/dev/{name}" for name in boxing._DEVICES}
    assert set(others) <= {boxing._interpreter(), "/etc/ld.so.cache", *devices}


def test_no_path_to_an_answer_a_gradebook_or_another_submission_leads_anywhere(attacks):
    assert attacks["paths"] == []


def test_there_are_no_other_processes_to_look_at(attacks):
    assert attacks["processes"] == []


def test_the_environment_is_a_short_list(attacks):
    allowed = {*boxing._ENVIRONMENT, "PYTHONPATH", "PWD", "LC_CTYPE"}
    assert {name for name in attacks["environment"] if not name.startswith("KMP_")} <= allowed


def test_neither_the_trusted_half_of_the_engine_nor_the_courses_tools_can_be_imported(attacks):
    assert attacks["modules"] == attacks["tools"] == []
    assert attacks["lessons"] == ["course.gradcheck", "course.plots"]


def test_what_is_installed_of_the_project_is_masked_and_other_packages_are_not(tmp_path, monkeypatch):
    """As where the project was installed without `-e`, and somebody keeps the course's files there too."""
    packages = tmp_path / "site-packages"
    for name in ("autograder/keys/42.npz", "course/nbgrader_steps.py", "other/module.py"):
        (packages / name).parent.mkdir(parents=True)
        (packages / name).write_text("")
    monkeypatch.syspath_prepend(str(packages))
    (place,) = boxing._places(str(packages))
    assignment = tiny_assignment(packages / "graders", ["f"])
    look = f"return [files_elsewhere({place!r}), os.listdir({place!r}), os.path.exists({str(packages)!r})]"
    with Sandbox(LESSONS) as made:
        files, folders, at_home = brought_back(with_tools({"f": look}), assignment, made)["f"]
    assert files == [f"{place}/other/module.py"]
    assert sorted(folders) == ["autograder", "course", "graders", "other"]
    assert not at_home


# What can be reached ------------------------------------------------------------------------------------------------


def test_there_is_no_network_not_even_the_machines_own(attacks):
    assert set(attacks["internet"]) <= {"PermissionError", "gaierror", "OSError"}
    assert attacks["localhost"] == "PermissionError"
    assert attacks["local_socket"] == "ConnectionRefusedError"
    assert set(attacks["odd_sockets"]) == {"PermissionError"}
    assert attacks["interfaces"] in ("PermissionError", "[(1, 'lo')]")


@warm_only
def test_no_other_process_can_be_signalled(attacks):
    assert attacks["who_am_i"] == [1, 0]
    assert attacks["signals"] == []
    assert attacks["kills"] == ["ProcessLookupError", "None", "None"]  # process 1 does not die of its own signals


def test_nothing_can_be_traced(attacks):
    assert attacks["traces"] == ["EPERM", "EPERM"]


def test_no_process_can_be_started(attacks):
    assert set(attacks["forks"]) == {"PermissionError"}
    assert attacks["shell"] is False
    assert attacks["multiprocessing"] == "PermissionError"
    assert attacks["clones"] == [-1, -1]


def test_every_denied_system_call_is_refused(attacks):
    assert attacks["calls"] == []


def test_no_right_is_left(attacks):
    capabilities, no_new_privileges, seccomp = attacks["rights"]
    assert (set(capabilities), no_new_privileges, seccomp) == ({0}, 1, 2)


def test_limits_can_not_be_raised(attacks):
    assert set(attacks["raises_limits"]) <= {"PermissionError", "ValueError"}


# What can be used up ------------------------------------------------------------------------------------------------


def test_memory_is_bounded_also_where_it_is_taken_bit_by_bit(attacks):
    assert attacks["memory"] <= SHORT.memory_mb + 64  # what Python had set aside for itself may be used too


def test_all_threads_have_one_core_together(attacks):
    assert attacks["cores"] == [1, "PermissionError", "PermissionError"]


def test_what_numpy_exercises_are_solved_without_is_not_there(attacks):
    assert attacks["out_of_reach"] == [[], [], ["ImportError"] * 4]


def test_threads_are_bounded_by_their_memory(attacks):
    assert 10 < attacks["thread_bomb"] <= SHORT.memory_mb


def test_open_files_are_bounded(attacks):
    assert attacks["many_files"] < MAX_FILES


def test_only_the_temporary_folders_can_be_written_to_and_they_are_small(attacks):
    assert attacks["writable"] == ["/dev/shm", "/tmp"]
    assert 0 < attacks["fills_tmp"] <= TMP_MB
    assert 0 < attacks["fills_shm"] <= TMP_MB


def test_no_descriptor_is_inherited_but_the_childs_own_channel(attacks):
    null = os.stat("/dev/null").st_rdev
    channels = [number for number, kind, device in attacks["descriptors"] if not (kind == "20" and device == null)]
    kinds = [kind for number, kind, _ in attacks["descriptors"] if number in channels]
    assert kinds == ["14"]  # a socket
    assert attacks["inputs"] == ["b''", "EOFError"]


# What takes the process down, or would ------------------------------------------------------------------------------

DEAF = "for n in range(1, 65): attempt(signal.signal, n, signal.SIG_IGN)"
ENDINGS = {
    "deaf_loop": (f"{DEAF}\n    while True: pass", "timeout"),
    "sleeps": ("time.sleep(1000)", "timeout"),
    "threads_go_on": ("\n    for _ in range(3 - threading.active_count()):\n"
                      "        threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()\n"
                      "    return 2 * x", "passed"),
    "channel_closed": ("os.closerange(0, 100)\n    while True: pass", "timeout"),
    "exits": ("os._exit(0)", "crashed"),
    "segmentation_fault": ("ctypes.string_at(0)", "crashed"),
    "aborts": ("os.abort()", "crashed"),
    "deep_recursion": ("sys.setrecursionlimit(10**9)\n    f = lambda n: f(n + 1)\n    f(0)", None),
    "deep_c_recursion": ("a = []\n    for _ in range(10**6): a = [a]\n    return repr(a)", None),
    "exit_handler": ("import atexit; atexit.register(os._exit, 7); raise KeyboardInterrupt", "crashed"),
    "parent_killed": ("attempt(os.kill, os.getppid(), 9); attempt(os.kill, -1, 9); return 2 * x", "passed"),
    "output_flood": ("os.write(1, b'x' * 10**8); print('x' * 10**7); return 2 * x", "passed"),
    "event_flood": ("for _ in range(300_000): os.write(3, b'{}\\n')\n    return 2 * x", "memory"),
    "channel_flood": ("os.write(3, b'x' * (2**28 + 2**20)); return 2 * x", "memory"),
    "deep_event": ("os.write(3, b'[' * 10**5 + b'\\n'); os.write(3, b'[' + b'{},' * 10**5 + b'0]\\n'); "
                   "return 2 * x", "passed"),
    "no_text": ("os.write(3, bytes(range(128, 256)) + b'\\n' + b'9' * 10**6 + b'\\n'); return 2 * x", "passed"),
    "half_a_line": ("os.write(3, b'{\\\"event\\\": \\\"rec'); time.sleep(1000)", "timeout"),
    "patched": ("import builtins, json; json.dumps = os.write = builtins.open = builtins.len = np.asarray = print; "
                "sys.stdout = sys.stderr = None; return 2 * x", None),
}  # fmt: skip


@pytest.fixture(scope="module")
def ended(tmp_path_factory, box) -> dict[str, Verdict]:
    """One notebook with every ending, and a right answer after each."""
    folder = tmp_path_factory.mktemp("ended")
    bodies = {}
    for name, (body, _) in ENDINGS.items():
        bodies |= {name: body, f"after_{name}": "return x + x"}
    cells = with_tools(bodies)
    assignment = tiny_assignment(folder, bodies)
    found = grade(make_notebook(cells, folder / "notebook.ipynb"), assignment, limits=SHORT, runner=box)
    return {verdict.name: verdict for verdict in found}


@pytest.mark.parametrize("name", ENDINGS)
def test_an_ending_is_named_and_leaves_the_next_exercise_alone(name, ended):
    wanted = ENDINGS[name][1]
    assert ended[name].status == wanted or (wanted is None and ended[name].points == 0), ended[name].message
    if name not in ("patched", "threads_go_on"):  # that was its own process, and no other one's
        assert ended[f"after_{name}"].status == "passed", ended[f"after_{name}"].message


def processes_below(pid: int) -> list[int]:
    """The processes that descend from one, as the host sees them."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if words[0] != "Z":
            parents[int(stat.parent.name)] = int(words[1])
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        below = [child for child, parent in parents.items() if parent == current]
        found += below
        queue += below
    return found


@warm_only
def test_nothing_of_a_submission_outlives_it_and_the_parent_outlives_all(tmp_path, ended):
    """Also what would not die: threads that go on, loops that ignore signals."""
    with Sandbox() as made:
        assignment = tiny_assignment(tmp_path, ["good", "bad"])
        grade(make_notebook(functions({"good": "return 2 * x"}), tmp_path / "n.ipynb"), assignment, runner=made)
        (parent,) = made._parents.values()
        for name in ("deaf_loop", "threads_go_on", "exits", "segmentation_fault", "parent_killed", "patched"):
            cells = with_tools({"bad": ENDINGS[name][0], "good": "return 2 * x"})
            grade(make_notebook(cells, tmp_path / "n.ipynb"), assignment, limits=SHORT, runner=made)
        deadline = time.monotonic() + 5
        while len(processes_below(parent._process.pid)) > 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(processes_below(parent._process.pid)) == 3  # bubblewrap's own, the first, the room
        assert list(made._parents.values()) == [parent]
        pid = parent._process.pid
    assert processes_below(pid) == []


# From one submission to the next ------------------------------------------------------------------------------------


def test_nothing_is_left_for_the_next_submission(tmp_path, box, host):
    assignment = tiny_assignment(tmp_path, ["finds", "leaves"])
    leave = """
    for folder in ("/tmp", "/dev/shm"):
        open(folder + "/left", "w").write("an answer")
    np.left = sys.left = os.environ["LEFT"] = "an answer"
    import autograder.engine.probes as probes, autograder.engine.inside.child as child
    probes.left = child.json.left = "an answer"
    np.random.seed(7)
    os.chdir("/dev/shm")
    os.umask(0)
    return 2 * x"""
    look = """
    import autograder.engine.probes as probes
    found = [os.listdir("/tmp"), os.listdir("/dev/shm"), hasattr(np, "left"), hasattr(sys, "left"),
             "LEFT" in os.environ, hasattr(probes, "left"), os.getcwd(), os.umask(0o22)]
    return found"""
    nothing = [[], [], False, False, False, False, "/tmp", 0o22]
    for leaves in ("return 0", leave, "return 0"):
        found = brought_back(with_tools({"finds": look, "leaves": leaves}), assignment, box)
        assert found["finds"] == nothing
    assert brought_back(with_tools({"finds": leave, "leaves": look}), assignment, box)["leaves"] != nothing


def test_what_is_drawn_without_a_seed_is_the_same_in_every_run(tmp_path, box, host, attacks):
    again = attacked(tmp_path, box, host, "own_randomness")
    assert again["own_randomness"][:2] == attacks["own_randomness"][:2]
    with Sandbox() as another:
        assert attacked(tmp_path, another, host, "own_randomness") == again


@warm_only
def test_the_parent_shares_no_memory_that_can_be_written_to(box, attacks):
    for parent in box._parents.values():
        for pid in processes_below(parent._process.pid):
            maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
            assert not [line for line in maps if re.match(r"\S+ .w.s", line)]


@warm_only
def test_if_the_parent_dies_only_the_request_it_served_is_lost(tmp_path):
    assignment = tiny_assignment(tmp_path, ["f"])
    quick = make_notebook(functions({"f": "return 2 * x"}), tmp_path / "quick.ipynb")
    slow = make_notebook(functions({"f": "import time; time.sleep(60)"}), tmp_path / "slow.ipynb")
    with Sandbox() as made:
        assert grade(quick, assignment, runner=made)[0].status == "passed"
        (parent,) = made._parents.values()
        for pid in processes_below(parent._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        parent._process.wait()
        assert grade(quick, assignment, runner=made)[0].status == "passed"
        (parent,) = made._parents.values()
        threading.Timer(1.0, parent._process.kill).start()
        started = time.monotonic()
        with pytest.raises(UserError, match="ended from outside"):  # which is no fault of the submission's
            grade(slow, assignment, limits=Limits(seconds=30), runner=made)
        assert time.monotonic() - started < 20
        assert grade(quick, assignment, runner=made)[0].status == "passed"


def _take(box: Sandbox) -> None:
    global _taken
    _taken = box


def _grade_there(notebook: Path, assignment: Assignment) -> tuple[str, bool]:
    (verdict,) = grade(notebook, assignment, runner=_taken)
    (parent,) = _taken._parents.values()
    return verdict.status, parent._process is None


@warm_only
def test_a_process_that_is_started_shares_what_is_warm_and_has_its_own_once_that_is_gone(tmp_path):
    assignment = tiny_assignment(tmp_path, ["f"])
    notebook = make_notebook(functions({"f": "return 2 * x"}), tmp_path / "notebook.ipynb")
    with Sandbox() as made:
        made.warm_up(assignment)
        (parent,) = made._parents.values()
        with ProcessPoolExecutor(1, get_context("spawn"), _take, (made,)) as pool:
            assert pool.submit(_grade_there, notebook, assignment).result() == ("passed", True)
            assert len(processes_below(parent._process.pid)) >= 3  # there is a room
            for pid in processes_below(parent._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            parent._process.wait()
            assert pool.submit(_grade_there, notebook, assignment).result() == ("passed", False)


@warm_only
def test_if_a_room_dies_the_next_request_gets_another(tmp_path):
    assignment = tiny_assignment(tmp_path, ["f"])
    notebook = make_notebook(functions({"f": "return 2 * x"}), tmp_path / "notebook.ipynb")
    with Sandbox() as made:
        for _ in range(2):
            assert grade(notebook, assignment, runner=made)[0].status == "passed"
            (parent,) = made._parents.values()
            seen: list[int] = []
            while seen != (seen := processes_below(parent._process.pid)):  # whoever served is on the way out
                time.sleep(0.1)
            *_, room = seen
            os.kill(room, 9)
            while room in processes_below(parent._process.pid):
                time.sleep(0.01)
        assert list(made._parents.values()) == [parent]


@warm_only
def test_submissions_that_run_at_the_same_time_do_not_see_each_other(tmp_path, host):
    look = """
    open("/dev/shm/mine", "w").write(str(id(x)))
    server = socket.socket(socket.AF_UNIX)
    server.bind(chr(0) + "meeting")
    server.listen()
    time.sleep(1)
    return [len(os.listdir("/dev/shm")), os.getpid()]"""
    assignment = tiny_assignment(tmp_path, ["f"])
    cells = with_tools({"f": look.replace("time.sleep(1)", "time.sleep(0.4)")})
    found: list[Any] = []
    with Sandbox() as made:

        def run() -> None:
            found.append(brought_back(cells, assignment, made)["f"])

        runs = [threading.Thread(target=run) for _ in range(3)]
        for thread in runs:
            thread.start()
        for thread in runs:
            thread.join()
    assert found == [[1, 1]] * 3


def test_a_value_that_is_too_large_to_be_sent_is_wrong_and_says_so(tmp_path, box):
    assignment = tiny_assignment(tmp_path, ["f"])
    cells = functions({"f": "return [np.zeros(2**22 - 8)] * 3"})
    (verdict,) = grade(make_notebook(cells, tmp_path / "notebook.ipynb"), assignment, runner=box)
    assert verdict.status == "failed"
    assert "more than can be compared" in verdict.message


def test_an_event_of_too_many_parts_is_not_even_read():
    """Three bytes each to send, and sixty and more to hold."""
    event = (
        b'{"event": "Record", "exercise": "f", "probe": "p", "case": 0, "seed": 1, "inputs": "", "seen": {"y": [%s0]}}'
    )
    assert read_event(event % (b"{}," * 1000)) is not None
    assert read_event(event % (b"{}," * MAX_PARTS)) is None


FORGERY = """
    import json
    for name in ("forges", "victim"):
        record = dict(exercise=name, probe="probe_" + name, case=0, seed=30, inputs="", seen={"y": 1}, touched=[])
        lines = [dict(event="Record", **record), dict(event="Begun", exercise=name, probe="probe_" + name, case=0),
                 dict(event="Passed", exercise=name, points=1), dict(event="Defined", spoiled={})]
        for number in range(100):
            for line in lines:
                try: os.write(number, json.dumps(line).encode() + b"\\n")
                except OSError: pass
    return 3 * x"""


def test_a_forged_event_earns_nothing_and_reaches_no_other_submission(tmp_path, box):
    assignment = tiny_assignment(tmp_path, ["forges", "victim"])
    mine = make_notebook(with_tools({"forges": FORGERY, "victim": "return 3 * x"}), tmp_path / "forging.ipynb")
    theirs = make_notebook(functions(dict.fromkeys(("forges", "victim"), "return 2 * x")), tmp_path / "honest.ipynb")
    assert [verdict.points for verdict in grade(mine, assignment, runner=box)] == [0, 0]
    assert [verdict.points for verdict in grade(theirs, assignment, runner=box)] == [1, 1]


# The second seed ----------------------------------------------------------------------------------------------------

OTHER_SEED = 4321
LISTENING = """
    import json, os, socket
    if not hasattr(victim, "told"):  # at the public seed: is there anything to be read?
        victim.told = []
        channels = []
        for number in range(3, 100):
            try: channels.append(socket.socket(fileno=os.dup(number)))
            except OSError: pass
        for channel in channels:
            try: victim.told.append(channel.recv(2**16, socket.MSG_DONTWAIT | socket.MSG_PEEK))
            except OSError: victim.told.append("nothing")
    return 2 * x
def told(x): return list(victim.told)"""
LATE_FORGERY = """
    import json, os
    victim.calls = getattr(victim, "calls", 0) + 1
    if victim.calls > 8:  # the probe has two cases at the public seed, each with one call before and two after
        record = dict(exercise="victim", probe="probe_victim", case=0, seed=30, inputs="", seen={}, touched=[],
                      raised=dict(type="ValueError", text="the seed is " + repr(x)))
        for line in (dict(event="Record", **record), dict(event="Defined", spoiled={"victim": repr(x)})):
            os.write(3, json.dumps(line).encode() + b"\\n")
        return 0 * x
    return 2 * x"""


def test_a_second_seed_is_not_to_be_had_before_the_first_is_done(tmp_path, box):
    assignment = tiny_assignment(tmp_path, ["victim", "told"])
    cells = [Cell(1, "code", f"def victim(x):{LISTENING}")]
    with Observer(cells, assignment, box, limits=SHORT) as observer:
        seen = observer.observe(["victim", "told"])
        again = observer.observe(["victim"], seed=OTHER_SEED)
    assert set(decode(seen.records[("told", "probe_told", 0), PUBLIC_SEED].seen["y"])) == {"nothing"}
    assert again.records[("victim", "probe_victim", 0), OTHER_SEED].raised is None


def test_what_a_submission_says_after_it_knows_the_seed_changes_no_text(tmp_path, box):
    assignment = tiny_assignment(tmp_path, ["victim"])
    cells = ["import numpy as np", f"def victim(x):{LATE_FORGERY}"]
    path = make_notebook(cells, tmp_path / "notebook.ipynb")
    (verdict,) = grade(path, assignment, seed=OTHER_SEED, runner=box)
    assert verdict.points == 0
    assert verdict.message.startswith("`victim` is right on the public inputs, but wrong on others")
    assert "array" not in verdict.message


@pytest.mark.parametrize("kind", ["sandbox", "process"])
def test_both_seeds_are_observed_in_one_process_unless_it_ends_meanwhile(kind, tmp_path, box):
    assignment = tiny_assignment(tmp_path, ["calls", "ends"])
    bodies = {
        "calls": "calls.n = getattr(calls, 'n', 0) + 1\n    return calls.n",
        "ends": "import os, threading\n    threading.Timer(0.5, os._exit, [0]).start()",
    }
    cells = [Cell(number, "code", source) for number, source in enumerate(functions(bodies), 1)]
    with Observer(cells, assignment, box if kind == "sandbox" else Subprocess(), limits=SHORT) as observer:
        first = observer.observe(["calls"])
        second = observer.observe(["calls"], seed=OTHER_SEED)
        observer.observe(["ends"])
        time.sleep(1)
        third = observer.observe(["calls"], seed=OTHER_SEED)
    counted = [[decode(record.seen["y"]) for record in seen.records.values()] for seen in (first, second, third)]
    assert counted == [[2, 6], [10, 14], [2, 6]]  # one call goes before each, and two come after
    assert not third.ended


# The worked solution, and every kind of sandbox ---------------------------------------------------------------------


def test_the_worked_solution_passes_in_the_sandbox_with_figures_and_torch(box):
    project = Project()
    assignment = project.assignment("03")
    found = grade(project.solution(assignment.slug), assignment, seed=987654, runner=box)
    assert {verdict.status for verdict in found} == {"passed"}


def test_torch_cannot_be_imported_in_a_numpy_exercise(tmp_path, box):
    assignment = tiny_assignment(tmp_path, ["f"])
    cells = functions({"f": "__import__('to' + 'rch')"})
    verdict = grade(make_notebook(cells, tmp_path / "notebook.ipynb"), assignment, runner=box)[0]
    assert "torch can't be imported" in verdict.message


COLD = ("descriptors", "processes", "files", "paths", "environment", "forks", "calls", "rights", "localhost",
        "memory", "writable", "fills_tmp")  # fmt: skip


def test_where_namespaces_do_not_nest_each_request_gets_a_sandbox_of_its_own(tmp_path, host, attacks, monkeypatch):
    monkeypatch.setattr(boxing, "protection", lambda: Protection(True, False, True))
    with Sandbox(LESSONS) as made:
        found = attacked(tmp_path, made, host, *COLD)
        found["files"] = [path for path in found["files"] if not path.startswith("/tmp/.c")]  # matplotlib's
        found["paths"].remove("/proc/1")  # bubblewrap's own, with an empty environment
        found["writable"] = [path for path in found["writable"] if not path.startswith("/tmp/.c")]
        assert [process for process in found.pop("processes") if process.isdigit()] == ["1", "2"]
        assert made._parents == {}
        body = {"descriptors": "import ctypes; ctypes.string_at(0)"}
        ending = make_notebook(functions(body), tmp_path / "ending.ipynb")
        (verdict, *_) = grade(ending, tiny_assignment(tmp_path, COLD), runner=made)
    assert found["fills_tmp"] <= TMP_MB
    for name in set(COLD) - {"fills_tmp", "memory", "processes"}:
        assert found[name] == attacks[name], name
    assert "SIGSEGV" in verdict.message


def test_a_grader_that_cannot_be_imported_says_so(tmp_path, box):
    assignment = tiny_assignment(tmp_path, ["f"])
    path = make_notebook(functions({"f": "return 2 * x"}), tmp_path / "notebook.ipynb")
    text = assignment.grader.read_text()
    assignment.grader.write_text(f"{text}\nimport absent_module")
    with pytest.raises(UserError, match="absent_module"):
        grade(path, assignment, runner=box)


# Where there is none ------------------------------------------------------------------------------------------------


@pytest.fixture
def no_bubblewrap(monkeypatch):
    monkeypatch.setattr(boxing.shutil, "which", lambda name: None)
    protection.cache_clear()
    yield
    monkeypatch.undo()
    protection.cache_clear()


def test_without_bubblewrap_other_peoples_code_is_refused_with_the_fix(no_bubblewrap):
    with pytest.raises(UserError, match="apt-get install bubblewrap"):
        runner_for_others(LESSONS)
    with pytest.raises(UserError, match="apt-get install bubblewrap"):
        Sandbox()
    assert not protection().sandboxed


def test_if_it_is_allowed_it_runs_without_and_says_so(no_bubblewrap):
    runner = runner_for_others(LESSONS, allow_unsandboxed=True)
    assert isinstance(runner, Subprocess)
    assert "without a sandbox" in runner.warning


def test_bubblewrap_that_is_not_permitted_says_what_to_do(tmp_path, monkeypatch):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(boxing.shutil, "which", lambda name: str(broken))
    protection.cache_clear()
    try:
        offered = protection()
    finally:
        monkeypatch.undo()
        protection.cache_clear()
    assert not offered.sandboxed
    assert "No permissions" in offered.problem
    assert offered.fix


@pytest.fixture
def without_bwrap(tmp_path) -> dict[str, str]:
    """An environment in which bubblewrap is not found."""
    return {"PATH": str(Path(sys.executable).parent)}


@pytest.mark.slow
@pytest.mark.parametrize("allowed", [False, True], ids=["refused", "allowed"])
def test_nbgrader_grades_without_a_sandbox_only_if_told_to_and_labels_it(allowed, tmp_path, without_bwrap):
    submitted = tmp_path / "submitted" / "ada" / SLUG / f"{SLUG}.ipynb"
    submitted.parent.mkdir(parents=True)
    submitted.write_text(json.dumps(class_of(Project())["ada_complete"]), encoding="utf-8")
    assert s30("gradebook", "03", "--course-dir", str(tmp_path), root=ROOT).returncode == 0
    words = ["autograde", SLUG, "--course-dir", str(tmp_path)]
    words += ["--GradeSubmission.allow_unsandboxed=True"] if allowed else []
    command = [sys.executable, "-m", "nbgrader", *words]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **without_bwrap})
    graded = tmp_path / "autograded" / "ada" / SLUG / f"{SLUG}.ipynb"
    if not allowed:
        assert ran.returncode != 0
        assert "apt-get install bubblewrap" in ran.stderr
        assert not graded.exists()
        return
    assert ran.returncode == 0, ran.stderr
    checks = [c for c in json.loads(graded.read_text())["cells"] if c["metadata"].get("nbgrader", {}).get("grade")]
    shown = ["".join(c["outputs"][0]["data"]["text/plain"]) for c in checks if c["cell_type"] == "code"]
    assert shown
    assert all("without a sandbox" in text for text in shown)


def test_ones_own_work_needs_no_sandbox(tmp_path, no_bubblewrap):
    notebook = make_notebook(solution_cells(), tmp_path / "notebook.ipynb")
    assert explain(notebook, exercises=["sigmoid"])["sigmoid"].status == "passed"
