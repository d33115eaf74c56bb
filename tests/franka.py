"""What tests of the Franka driver share: the emulated arm's addresses, and how to wait for the robot's time.

The emulator runs as a program of its own, in lockstep, and everything is timed by the robot's clock: a busy machine
stretches time, it does not change results.
"""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest

from drivers import Robot, Row, Rows
from drivers.emulators.fci.admin import ask
from drivers.emulators.fci.table import emulate
from tests.loopback import address

HOST, OTHER, NOBODY = address(0), address(1), address(2)
MS = 1_000_000
DEADLINE = 60.0
"""Seconds of the wall clock after which a wait is hopeless, however busy the machine."""


@contextmanager
def alone() -> Generator[str]:
    """An emulated arm that stands alone; its address."""
    program = emulate(HOST, table=False)
    try:
        yield HOST
    finally:
        program.close()


def healthy(host: str) -> str:
    """Return the same address once the arm there is healthy, at home and at rest, and nobody is connected."""
    wait(lambda: not ask(host, "status")["connected"])
    ask(host, "restart")
    return host


def wait(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.001)
    return pytest.fail(f"it did not happen within {DEADLINE} s")


def newest(arm: Robot) -> Row:
    return cast("Row", wait(lambda: list(arm.read(time.monotonic_ns() - 1900 * MS)[-1:]))[0])


def after(arm: Robot, milliseconds: int) -> Rows:
    """Let the robot's time pass, and return the rows of it."""
    start = newest(arm)
    wait(lambda: newest(arm)["seq"] >= start["seq"] + milliseconds)
    return arm.read(int(start["t"]))


def tell(measured: str) -> None:
    """Say a figure, for whoever runs with -s."""
    sys.stdout.write(measured + "\n")


def target(q: Any, t: int = 0, width: float = 0.08) -> Row:
    row = np.zeros(1, np.dtype([("t", "<i8"), ("q", "<f8", (7,)), ("width", "<f8")]))
    row["t"], row["q"], row["width"] = t, q, width
    return cast("Row", row[0])


def start_moving(arm: Robot) -> None:
    """Send the arm on a long way and wait until it is on it."""
    begin = newest(arm)
    arm.command(target(begin["q"] + 0.5, int(begin["t"]) + 2000 * MS))
    wait(lambda: np.abs(newest(arm)["dq"]).max() > 0.1)


def at_rest(host: str, happened: int) -> int:
    """Check that the arm came to rest soon after the robot's millisecond ``happened``, and stayed; say how soon."""
    trace = ask(host, "trace", milliseconds=10_000)
    later = trace[trace["clock"] > happened]
    if (later["mode"] == 3).any():  # a person leads it, and may
        return 0
    moving = later["clock"][np.abs(later["dq"]).max(axis=1) > 0.02]
    stopped = int(moving[-1] - happened) if len(moving) else 0
    assert stopped < 300, f"it still moved after {stopped} ms"
    assert np.ptp(later["q"][stopped + 50 :], axis=0).max() < 2e-3
    return stopped
