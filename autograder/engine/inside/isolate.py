"""What a process does to itself before it runs a stranger's code: namespaces, limits, no rights, fewer system calls.

Linux only, but for :func:`limit_memory`, which does what it can anywhere. The process can undo none of it. The order
is: :func:`enter_namespaces`, fork, then :func:`limit` and :func:`give_up_rights` in the fork. Run as a program it tries
all this out and says as JSON how far it came.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import struct
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

TMP_MB = 64  # of each temporary folder
MAX_FILE_MB = 256
MAX_FILES = 256
MAX_THREADS = 1024  # holds for ordinary users only; root's are bounded by their stacks, which count as memory
_CLONE_NEW = {"mount": 0x20000, "ipc": 0x08000000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_LARGE_PAGE, _MADV_COLLAPSE = 2**21, 25
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 38, 22, 24, 47


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    """A function of the C library, whose failure is an OSError."""
    words = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if getattr(_library(), name)(*words) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


# Namespaces ---------------------------------------------------------------------------------------------------------


def enter_namespaces(hidden: Iterable[str] = ()) -> None:
    """Leave everything that could be shared with other processes. What is forked next is alone, as process 1.

    It sees no other process, has no network, an empty /proc, and temporary folders of its own that vanish with it.
    In the `hidden` folders it finds nothing.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", sum(_CLONE_NEW.values()))
    Path("/proc/self/setgroups").write_text("deny")  # else an ordinary user may not map its group
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    for folder in (b"/tmp", b"/dev/shm"):
        options = f"size={TMP_MB}m,nr_inodes=4096".encode()
        _call("mount", b"tmpfs", folder, b"tmpfs", _MS_NOSUID | _MS_NODEV, options)
    # A new /proc may be refused where parts of the old one are covered; nothing in grading needs one.
    for folder in (b"/proc", *map(os.fsencode, hidden)):
        _call("mount", b"tmpfs", folder, b"tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, b"size=4k")
    os.chdir("/tmp")


def collapse_memory() -> None:
    """Ask for large pages where this process has written: a fork copies the table of its pages, 512 times shorter then.

    For torch that is two thirds of what a fork costs. It takes Linux 6.1; without, all is as before.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            where, rights, *_, name = [*line.split(), ""][:6]
            if not rights.startswith("rw") or name not in ("", "[heap]"):
                continue
            first, end = (int(address, 16) for address in where.split("-"))
            first, end = -(-first // _LARGE_PAGE) * _LARGE_PAGE, end // _LARGE_PAGE * _LARGE_PAGE
            if first < end:
                with contextlib.suppress(OSError):
                    _call("madvise", first, end - first, _MADV_COLLAPSE)


# Limits -------------------------------------------------------------------------------------------------------------


def address_space() -> int:
    """Bytes of memory that this process has mapped, or 0 where that can't be known."""
    with contextlib.suppress(OSError, ImportError):
        import resource

        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return 0


def limit_memory(megabytes: int, used: int | None = None) -> None:
    """Bound the memory that this process may take beyond `used` bytes, or what it has now (where the system can)."""
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(ValueError, OSError):
        most = (address_space() if used is None else used) + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_MB * 2**20,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit(megabytes: int, used: int, seconds: float, core: int) -> None:
    """Bound memory, processor time, open files and threads, and take one core of the processor for all threads.

    Which core, of those that may be used, is counted round. Raises OSError or ValueError if that can't be done.
    """
    import resource

    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})
    limit_memory(megabytes, used)
    for which, most in (
        (resource.RLIMIT_AS, used + megabytes * 2**20),  # again, for here it must not fail silently
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_NPROC, MAX_THREADS),
    ):
        resource.setrlimit(which, (most, most))


# Rights -------------------------------------------------------------------------------------------------------------


def give_up_rights() -> None:
    """Drop every capability for good, and let the kernel refuse the system calls in `DENIED`."""
    with contextlib.suppress(OSError):  # beyond the last one; or whoever started this process has dropped them all
        for capability in range(64):
            _call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    with contextlib.suppress(OSError):
        _call("prctl", _PR_CAP_AMBIENT, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    _call("capset", struct.pack("Ii", 0x20080522, 0), bytes(24))  # version 3, this process; all sets empty
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _filter_system_calls()


# Name → number on x86_64 and on aarch64 (None: there is no such call). What is not here stays allowed.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # processes and programs: what can't fork is bounded by its own limits
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # other cores of the processor, which are other submissions'
    "sched_setaffinity": (203, 122),
    # memory that RLIMIT_AS does not count
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180),
    # large parts of the kernel that no exercise needs
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "fanotify_init": (300, 262), "vmsplice": (278, 75), "lookup_dcookie": (212, 18),
    "personality": (135, 92), "modify_ldt": (154, None), "uselib": (134, None), "quotactl": (179, 60),
    # the machine
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "syslog": (103, 116), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "iopl": (172, None), "ioperm": (173, None),
    "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # audit number, column of the table
_CLONE = (56, 220)
_CLONE3 = 435
_SOCKET = (41, 198)
_CLONE_THREAD = 0x10000
_AF_UNIX = 1
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the low half comes first


def system_call_filter(machine: str) -> bytes:
    """The filter as a program for the kernel (struct sock_filter[]). Raises OSError for an unknown processor."""
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"there is no list of system calls for {machine}")
    audit, column = _ARCHITECTURES[machine]
    program: list[tuple[int, int, int, int]] = []

    def add(code: int, value: int, yes: int = 0, no: int = 0) -> None:
        program.append((code, yes, no, value))

    add(_LOAD, _ARCHITECTURE)
    add(_EQUAL, audit, yes=1)
    add(_RETURN, _KILL)  # 32-bit calls have other numbers
    add(_LOAD, _NUMBER)
    if machine == "x86_64":
        add(_AT_LEAST, 0x40000000, no=1)
        add(_RETURN, _KILL)  # and so have those of the x32 ABI
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            add(_EQUAL, number, no=1)
            add(_RETURN, _REFUSE | errno.EPERM)
    add(_EQUAL, _CLONE3, no=1)
    add(_RETURN, _REFUSE | errno.ENOSYS)  # its flags can't be looked at; the C library then takes clone
    add(_EQUAL, _CLONE[column], no=4)
    add(_LOAD, _FIRST_ARGUMENT)
    add(_ANY_BIT, _CLONE_THREAD, yes=1)
    add(_RETURN, _REFUSE | errno.EPERM)
    add(_RETURN, _ALLOW)
    add(_EQUAL, _SOCKET[column], no=4)
    add(_LOAD, _FIRST_ARGUMENT)
    add(_EQUAL, _AF_UNIX, yes=1)
    add(_RETURN, _REFUSE | errno.EPERM)  # some families, such as VSOCK, know no network namespaces
    add(_RETURN, _ALLOW)
    add(_RETURN, _ALLOW)
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _filter_system_calls() -> None:
    program = system_call_filter(platform.machine())
    held = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(held)))
    _call("prctl", _PR_SET_SECCOMP, 2, header, 0, 0)  # SECCOMP_MODE_FILTER


# The self-test ------------------------------------------------------------------------------------------------------


def _namespaces() -> None:
    enter_namespaces()
    os.waitpid(os.fork() or os._exit(0), 0)


def _filter() -> None:
    give_up_rights()
    with contextlib.suppress(PermissionError):
        os.fork() or os._exit(0)
        raise OSError("the filter of system calls has no effect")


def _outcome(step: Callable[[], None]) -> str:
    """What goes wrong with a step, tried in a process of its own; nothing if all is well."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            step()
        except OSError as problem:
            os.write(writer, str(problem).encode()[:1000])
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        return answer.read()


if __name__ == "__main__":
    print(json.dumps({"namespaces": _outcome(_namespaces), "filter": _outcome(_filter)}))
