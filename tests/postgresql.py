"""A PostgreSQL server of the tests' own, in a temporary folder, that speaks through a socket alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

OWNER = "teacher"


def programs() -> Path | None:
    """The folder of PostgreSQL's own programs, if it is installed."""
    found = shutil.which("initdb")
    folders = [Path(os.path.realpath(found)).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "postgres").is_file()), None)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A server; yields what comes before and after the name of a database in its URL, with {} between."""
    bin_ = programs()
    assert bin_
    folder = Path(tempfile.mkdtemp(prefix="s30-postgresql-", dir="/tmp"))  # a socket's path has a hundred letters
    user = {"user": "nobody"} if os.geteuid() == 0 else {}  # it refuses to be run by root
    if user:
        shutil.chown(folder, "nobody")
    data = folder / "data"
    begun = subprocess.run(
        [bin_ / "initdb", "-D", data, "-U", OWNER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C"],
        capture_output=True,
        text=True,
        cwd=folder,
        **user,
    )
    assert begun.returncode == 0, begun.stderr
    quick = [f"-c{name}=off" for name in ("fsync", "full_page_writes", "synchronous_commit")]
    log = (folder / "log").open("w")
    command = [bin_ / "postgres", "-D", data, "-k", folder, "-h", "", *quick]
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **user)
    try:
        deadline = time.monotonic() + 60
        while not (folder / ".s.PGSQL.5432").exists():
            assert time.monotonic() < deadline, (folder / "log").read_text()
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield f"postgresql://{OWNER}@/{{}}?host={folder}"
    finally:
        process.terminate()
        process.wait(30)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def create(url: str, name: str) -> str:
    """A new, empty database on a server. Returns its URL."""
    import psycopg

    with psycopg.connect(url.format("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return url.format(name)
