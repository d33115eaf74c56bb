"""A toy robot in a program of its own, the far end of its wire, and how to wait for what happens there."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from drivers import DeviceLost, HostClock, Row
from drivers.hosted import Hosted

WIRED = "tests.toy:Wired"


class FarEnd:
    """What the robot at the other end of the wire is told, and when."""

    def __init__(self) -> None:
        self.address = f"test/{os.getpid()}/{id(self)}"
        self._wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wire.bind(f"\0{self.address}")

    def hear(self, *what: Any, within: float = 5.0) -> int:
        """Wait until it is told this, and return when that was."""
        end = time.monotonic() + within
        while (left := end - time.monotonic()) > 0:
            self._wire.settimeout(left)
            t, *said = json.loads(self._wire.recv(1024))
            if said == list(what):
                return int(t)
        raise TimeoutError(f"the far end has not heard {what}")

    def heard(self) -> list[list[Any]]:
        """Everything that it has been told and not been asked about."""
        said = []
        self._wire.setblocking(False)
        try:
            while True:
                said.append(json.loads(self._wire.recv(1024))[1:])
        except BlockingIOError:
            return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()


def target(robot: Hosted, q: float) -> Row:
    row = np.zeros(1, robot.action)
    row["t"], row["q"] = time.monotonic_ns(), q
    return cast("Row", row[0])


def until(wanted: Callable[[], Any], within: float = 5.0) -> Any:
    """Wait until something is so, and return it."""
    end = time.monotonic() + within
    while not (found := wanted()):
        assert time.monotonic() < end, "it never came"
        HostClock().sleep_until(time.monotonic_ns() + 2_000_000)
    return found


def lost(device: Hosted, within: float = 5.0) -> str:
    """Read as a loop does until the device is lost, and return what the operator is told."""

    def told() -> str:
        try:
            device.read(time.monotonic_ns())
        except DeviceLost as error:
            return str(error)
        return ""

    return cast("str", until(told, within))


def ended(pid: int) -> bool:
    """Whether a program has ended, even if nobody has asked how."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def shares(pid: int) -> set[str]:
    """What a program has open that others could find: anything with a name, but for its code and its terminal."""
    links = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(file.readlink()))
    mapped = [line.split(maxsplit=5) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    links += [line[5] for line in mapped if line[1].endswith("s")]
    return {link for link in links if link.startswith("/") and Path(link).exists() and not _ordinary(link)}


def _ordinary(link: str) -> bool:
    return link == "/dev/null" or link.startswith(("/dev/pts/", "/dev/tty", "/proc/", "/usr/", sys.prefix))


STATION = """
import os, signal, sys, time
from drivers.hosted import Hosted
from tests.hosts import WIRED, target
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # what runs without a terminal may be deaf to it
_, far, forked, slow = sys.argv
if forked:
    reading, writing = os.pipe()
arm = Hosted("arm", WIRED, {"far": far, "slow": float(slow)})
if float(slow):
    print(os.getpid(), arm.address, flush=True)
with arm:
    if forked and os.fork() == 0:
        os.read(reading, 1)
        os._exit(0)
    print(arm.pid, arm.address, flush=True)
    while True:
        arm.command(target(arm, 1.0))
        time.sleep(0.02)
"""


class Running:
    """A program that runs a station of one hosted robot, and keeps it moving until something happens to it."""

    def __init__(self, far: FarEnd, forked: bool = False, slow: float = 0.0) -> None:
        arguments = [sys.executable, "-c", STATION, far.address, "forked" if forked else "", str(slow)]
        self._forked = forked
        self.program = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, process_group=0)
        assert self.program.stdout is not None
        pid, self.address = self.program.stdout.readline().split()
        self.hosting = int(pid)
        """The program that runs the robot."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.program.pid, signal.SIGKILL)
        self.program.wait()
        assert self.program.stdout is not None
        self.program.stdout.close()
