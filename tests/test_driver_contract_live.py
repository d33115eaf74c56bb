"""What runs by itself keeps the promises of every driver, too: emulated hardware, here and in programs of its own."""

import importlib.util
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import numpy as np
import pytest

from drivers import Device, DeviceLost, HostClock, Robot, Row
from drivers.dual import Dual
from drivers.dynamixel import Follower
from drivers.emulators.dynamixel import follower, leader, served
from drivers.emulators.dynamixel.arm import swing
from drivers.hosted import Hosted
from tests.dynamixel import MIDDLE
from tests.franka import alone, healthy

MS = 1_000_000
DEADLINE = 30.0
"""Seconds after which a wait is hopeless, however busy the machine."""

type Live = tuple[Device, Callable[[], object]]
"""A device, and what pulls its cable or kills the program that runs it."""


def killed(device: Hosted) -> Callable[[], None]:
    return lambda: os.kill(cast("int", device.pid), signal.SIGKILL)


def line(stack: ExitStack, hand: bool = False) -> tuple[dict[str, Any], Callable[[], None]]:
    """A bus on a serial line: settings for whoever drives it on a busy machine, and what unplugs it."""
    bus = leader(HostClock(), swing()) if hand else follower(HostClock(), MIDDLE)
    settings = {"port": str(stack.enter_context(served(bus))), "hz": 50, "slack": 0.1, "sink": 0.0}
    return settings | ({} if hand else {"watchdog": 2.0}), lambda: setattr(bus.faults, "unplugged", True)


def hosted_franka(stack: ExitStack) -> Live:
    pytest.importorskip("franky", reason="the extra [hardware] is not installed")
    device = Hosted("arm", "drivers.franka:Franka", {"host": healthy(stack.enter_context(alone()))})
    return device, killed(device)


def a_follower(stack: ExitStack) -> Live:
    settings, unplug = line(stack)
    return Follower("left", **settings), unplug


def hosted_leader(stack: ExitStack) -> Live:
    device = Hosted("hand", "drivers.dynamixel:Leader", line(stack, hand=True)[0])
    return device, killed(device)


def hosted_pair(stack: ExitStack) -> Live:
    left, right = (Hosted(side, "drivers.dynamixel:Follower", line(stack)[0]) for side in ("left", "right"))
    return Dual("arm", left, right), killed(right)


def hosted_camera(_stack: ExitStack) -> Live:
    pytest.importorskip("tests.realsense")
    settings = {"rgb": [48, 64], "hz": 60}
    device = Hosted("front", "drivers.emulators.realsense:Emulated", settings)
    return device, killed(device)


def hosted_headset(_stack: ExitStack) -> Live:
    if importlib.util.find_spec("xr") is None:  # to import it here would choose how this process draws
        pytest.skip("the extra [hardware] is not installed")
    device = Hosted("hands", "drivers.emulators.openxr:Emulated")
    return device, killed(device)


def hosted_page(stack: ExitStack) -> Live:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    device = Hosted("hands", "drivers.webxr:WebHands", {"port": 0, "folder": folder, "patience": 1e3})
    return device, killed(device)


LIVE = [a_follower, hosted_leader, hosted_pair, hosted_franka, hosted_camera, hosted_headset, hosted_page]


@pytest.fixture(scope="module", params=LIVE)
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """One device after the other, each entered once, and left twice."""
    with ExitStack() as stack:
        device, unplug = request.param(stack)
        assert device.dtype.names[:3] == ("t", "received", "seq"), "they are known before it is entered"
        with pytest.raises(DeviceLost, match="has not been entered"):
            device.read(0)
        if hasattr(device, "hold"):
            device.hold()
        with device:
            yield device, unplug
        device.__exit__(None, None, None)
        if hasattr(device, "hold"):
            device.hold()
        with pytest.raises(DeviceLost, match="has not been entered"):
            device.read(0)


def wait[T](condition: Callable[[], T]) -> T:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.005)
    return pytest.fail(f"it did not happen within {DEADLINE} s")


def test_rows_come_in_order_and_never_from_the_future(live: Live) -> None:
    device, _ = live
    since = first = time.monotonic_ns()
    stamps: list[int] = []
    numbers: list[int] = []

    def enough() -> bool:
        nonlocal since
        rows = device.read(since)
        assert rows.dtype == device.dtype
        assert (rows["t"] <= rows["received"]).all()
        assert (rows["received"] <= time.monotonic_ns()).all()
        stamps.extend(rows["t"].tolist())
        numbers.extend(rows["seq"].tolist())
        since = stamps[-1] if stamps else since
        return len(stamps) > 20

    wait(enough)
    assert stamps[0] > first
    assert (np.diff(stamps) > 0).all()
    assert (np.diff(numbers) > 0).all()


def test_reading_twice_gives_the_same_rows_twice(live: Live) -> None:
    device, _ = live
    start = time.monotonic_ns() - 300 * MS
    wait(lambda: len(device.read(start)) > 3)
    once = device.read(start)
    twice = device.read(start)[: len(once)]
    assert once.tobytes() == twice.tobytes()  # what is not known is NaN, which equals nothing


def test_the_offset_of_a_devices_own_clock_is_recorded(live: Live) -> None:
    device, _ = live
    if not hasattr(device, "clock_offset"):
        pytest.skip("it has no clock of its own")
    assert isinstance(device.clock_offset, int)


def test_a_robot_moves_and_once_it_holds_it_stops(live: Live) -> None:
    device, _ = live
    if not hasattr(device, "action"):
        pytest.skip("it does not move")
    robot = cast("Robot", device)

    def newest() -> Row:
        return cast("Row", wait(lambda: list(robot.read(time.monotonic_ns() - 1000 * MS)[-1:]))[0])

    rest, target = newest()["q"].copy(), np.zeros(1, robot.action)

    def moving() -> bool:
        target["q"] = newest()["q"] + 0.03
        target["width"], target["t"] = 0.04, time.monotonic_ns() + 40 * MS
        robot.command(target[0])
        return bool(np.abs(newest()["q"] - rest).min() > 0.03)

    wait(moving)
    robot.hold()
    robot.hold()
    here = newest()["q"].copy()

    def stands() -> bool:
        rows = robot.read(time.monotonic_ns() - 400 * MS)
        return len(rows) > 5 and bool(np.ptp(rows["q"], axis=0).max() < 2e-3)

    wait(stands)
    assert np.abs(newest()["q"] - here).max() < 0.1, "it went on"
    assert newest()["q_target"] == pytest.approx(newest()["q"], abs=6e-3)


def test_what_is_unplugged_is_lost_and_its_name_is_said(live: Live) -> None:
    device, unplug = live
    unplug()
    with pytest.raises(DeviceLost, match=device.name):
        wait(lambda: device.read(time.monotonic_ns()) is None)
    if hasattr(device, "hold"):
        device.hold()
