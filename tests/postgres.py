"""Debian's own PostgreSQL, started for a test on a port that is free and gone when the test is.

It keeps its data and its socket in a short folder below /tmp. PostgreSQL refuses to be run by root, so that root
starts it as somebody who may do nothing else.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

LINE = "apt-get install -y --no-install-recommends postgresql"
"""What to type when there is no server to start."""

WATCH = """
import os, signal, sys, time
parent, server, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
while os.getppid() == parent:
    time.sleep(0.2)
try:
    os.kill(server, signal.SIGQUIT)
except ProcessLookupError:
    pass
time.sleep(1)
import shutil
shutil.rmtree(folder, ignore_errors=True)
"""
"""Ends the server when the program that started it was killed."""


class NoServer(Exception):
    """PostgreSQL is not installed, or does not start."""


def installed() -> Path | None:
    """The folder of the newest server's programs; None when there is none."""
    found = [Path(path) for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def postgres(durable: bool = False) -> Generator[str]:
    """Run a server of our own, and give its URL. A ``durable`` one waits for the disk, as a real one does.

    Raises:
        NoServer: there is none on this machine, or it does not start.
    """
    programs = installed()
    if programs is None:
        raise NoServer(f"PostgreSQL is not installed. Type: {LINE}")
    user = _somebody()
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)
        data, log = Path(folder) / "data", Path(folder) / "log"
        make = ["-D", str(data), "-A", "trust", "-U", "appliance", "-E", "UTF8", "--no-sync", "--locale=C"]
        made = subprocess.run(
            [programs / "initdb", *make], user=user, cwd=folder, capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise NoServer(f"initdb says: {made.stderr.strip()}")
        port = _free_port()
        running = _start(programs, data, port, user, durable, log)
        watch = subprocess.Popen(
            [sys.executable, "-c", WATCH, str(os.getpid()), str(running.pid), folder], start_new_session=True
        )
        try:
            _wait(running, folder, port, log)
            yield f"postgresql://appliance@127.0.0.1:{port}/postgres"
        finally:
            _stop(running)
            watch.kill()
            watch.wait()


def _start(
    programs: Path, data: Path, port: int, user: str | None, durable: bool, log: Path
) -> "subprocess.Popen[bytes]":
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(data.parent),
        "fsync": "on" if durable else "off",
        "max_connections": "50",
        "shared_buffers": "64MB",
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with log.open("wb") as output:
        return subprocess.Popen(
            [programs / "postgres", "-D", str(data), "-p", str(port), *words],
            user=user,
            cwd=data.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _wait(running: "subprocess.Popen[bytes]", folder: str, port: int, log: Path) -> None:
    """Wait until the server takes connections on its socket."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        if "ready to accept connections" in log.read_text():
            return
        time.sleep(0.02)
    raise NoServer(f"the server in {folder}, port {port}, did not start; it says:\n{log.read_text()}")


def _stop(running: "subprocess.Popen[bytes]") -> None:
    """End the server at once; what it held is not needed."""
    running.send_signal(signal.SIGQUIT)
    try:
        running.wait(10)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


def _somebody() -> str | None:
    """Whom root runs the server as; None when we are not root."""
    return "nobody" if os.geteuid() == 0 else None


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
