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

from collectors import Ended, Loop
from drivers import HostClock, Robot, Row, Rows
from drivers.emulators.fci.admin import ask
from drivers.emulators.fci.table import emulate
from drivers.kinematics import Chain
from storage import Observation
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


def recorded_brake(arm: Robot, host: str) -> Rows:
    """Run a loop of 5 Hz, have the arm brake at its sixth tick, and return the arm's rows as they were recorded."""

    class Sink:
        def __init__(self) -> None:
            self.rows: list[Rows] = []

        def append(self, stream: str, rows: Rows) -> None:
            if stream == "arm":
                self.rows.append(rows)

    class Going:
        def __init__(self) -> None:
            self.ticks = 0

        def reset(self, instruction: str) -> None: ...

        def act(self, seen: Observation) -> Row:
            self.ticks += 1
            if self.ticks == 6:
                ask(host, "reflex", error="joint_reflex")
            return target(seen.streams["arm"][-1]["q"] + 0.02, seen.t + 200 * MS)

    sink = Sink()
    newest(arm)
    assert Loop(arm, [], HostClock(), 5).run(Going(), "", sink, 60, lambda _seen: False) is Ended.FAULT
    return np.concatenate(sink.rows)


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


def next_tick(arm: Robot, t: int) -> int:
    """Wait for the first row at ``t`` or later, and return its stamp."""
    return int(wait(lambda: (row := newest(arm))["t"] >= t and row)["t"])


def circle(arm: Robot, enough: float, seconds: float = 3.0) -> float:
    """Stream a circle at 0.2 m/s and 50 Hz; return the root mean square distance from it, in metres.

    A busy machine does not stream evenly, which is not the arm's fault: the best of three, unless ``enough``.
    """
    off = np.inf
    for _ in range(3):
        off = min(off, _circled(arm, seconds))
        if off < enough:
            break
        arm.hold()
        after(arm, 500)
    return off


def _circled(arm: Robot, seconds: float) -> float:
    chain, begin = Chain(), newest(arm)
    q, centre, radius = begin["q"].copy(), begin["tool"].copy(), 0.08
    first, last = int(begin["t"]), int(begin["t"])
    sent: list[tuple[int, Any]] = []
    while last - first < seconds * 1e9:
        now = next_tick(arm, last + 20 * MS)
        last, ahead = now, now + 40 * MS
        s = (ahead - first) / 1e9
        angle = 0.2 / radius * (s - 0.25 if s > 0.5 else s * s)
        goal = centre + np.array([radius * (np.cos(angle) - 1), radius * np.sin(angle), 0, 0, 0, 0, 0])
        q = chain.joints(q, goal)
        arm.command(target(q, ahead))
        sent.append((ahead, goal[:3]))
    rows = arm.read(last - 1500 * MS)
    stamps, goals = np.array([t for t, _ in sent]), np.array([goal for _, goal in sent])
    rows = rows[(rows["t"] > stamps[0]) & (rows["t"] < stamps[-1])]
    wanted = np.column_stack([np.interp(rows["t"], stamps, goals[:, axis]) for axis in range(3)])
    return float(np.sqrt((np.linalg.norm(rows["tool"][:, :3] - wanted, axis=1) ** 2).mean()))


def lateness(arm: Robot) -> int:
    """From a target to a motion of 0.5 mrad, in the robot's milliseconds."""
    hold = newest(arm)["q"].copy()
    for _ in range(10):
        arm.command(target(hold, int(newest(arm)["t"]) + 20 * MS))
        after(arm, 20)
    start = newest(arm)
    arm.command(target(hold + 0.05, int(start["t"]) + 20 * MS))

    def moved() -> list[int]:
        rows = arm.read(int(start["t"]))
        return list(rows["seq"][np.abs(rows["q"] - start["q"]).max(axis=1) > 5e-4])

    return int(wait(moved)[0]) - int(start["seq"])
