"""A JupyterLab to look at and what is measured in it, for the tests that drive a browser."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--no-sandbox --disable-gpu --disable-background-networking --disable-quic --no-first-run --disable-sync"
QUICK, SLOW = 60_000, 120_000  # milliseconds to wait: for what is drawn; for what starts a process or runs cells

# The least contrast, as WCAG defines it, of a box and all in it with what lies behind
CONTRAST = """box => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const luminance = colour => {
        const [r, g, b] = numbers(colour).map(v => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = e => {
        const colour = getComputedStyle(e).backgroundColor;
        return numbers(colour)[3] !== 0 ? colour : e.parentElement ? behind(e.parentElement) : "rgb(255, 255, 255)";
    };
    const contrast = e => {
        const [a, b] = [getComputedStyle(e).color, behind(e)].map(luminance);
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    return Math.min(...[box, ...box.querySelectorAll("*")].map(contrast));
}"""


@contextlib.contextmanager
def jupyter(home: Path, *, started_in: Path, packages: Path) -> Iterator[tuple[str, str]]:
    """Run JupyterLab over `home` with the environment's extensions and nobody's settings. Yields address and token."""
    settings, exchange, token = home / ".settings", home / ".exchange", secrets.token_hex(16)
    for path, text in (
        (".config/nbgrader_config.py", f"c = get_config()\nc.Exchange.root = {str(exchange)!r}\n"),
        (f"{settings.name}/@jupyterlab/apputils-extension/notification.jupyterlab-settings", '{"fetchNews": "false"}'),
    ):
        (home / path).parent.mkdir(parents=True)
        (home / path).write_text(text, encoding="utf-8")
    exchange.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "PYTHONPATH": str(packages),
        "IPYTHONDIR": str(home / ".ipython"),
        "JUPYTER_CONFIG_DIR": str(home / ".config"),
        "JUPYTER_DATA_DIR": str(home / ".data"),
        "JUPYTER_RUNTIME_DIR": str(home / ".runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / ".workspaces"),
    }
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": home,
        "IdentityProvider.token": token,
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with (home / "server.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, cwd=started_in, env=os.environ | variables, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api", server, home / "server.log")
        yield f"http://127.0.0.1:{port}", token
    finally:
        server.terminate()  # its kernels end with it
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    """Return when the server answers; fail with its log when it has ended, or takes too long."""
    end = time.monotonic() + SLOW / 1000
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"JupyterLab does not answer at {address}:\n{log.read_text(encoding='utf-8')}")
