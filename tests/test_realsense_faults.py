"""What happens when a RealSense's cable, a stream or a frame is lost. All on an emulated camera, through the SDK."""

import logging
import re
import threading
import time

import numpy as np
import pytest

from collectors import Ended, Loop
from drivers import DeviceLost, HostClock, Overrun, Row, Rows
from drivers.emulators.realsense import EmulatedCamera
from drivers.realsense import RealSense
from drivers.twin.table import Arm
from drivers.twin.world import World
from storage import Observation
from tests.realsense import HZ, before, camera, heartbeat, rows, until


def lost(device: RealSense) -> str:
    """What the operator sees, once the camera counts as lost."""
    told: list[str] = []

    def tells() -> bool:
        try:
            device.read(time.monotonic_ns())
        except DeviceLost as error:
            told.append(str(error))
        return bool(told)

    until(tells, "lost")
    return told[0]


def test_a_cable_that_is_out_for_a_moment_is_a_gap_and_no_loss(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with camera() as seen, before(seen, silence=0.1, reconnect=3.0, exposure=0.005) as device:
        since = int(rows(device, 30)["t"][-3])
        seen.unplug()
        out = time.monotonic()
        until(lambda: time.monotonic() - out > 0.3, "out for 0.3 s")
        assert seen.options("colour") == {}
        seen.plug()
        until(lambda: bool((np.diff(device.read(since)["number"][:, 0]) < 0).any()), "pictures again")
        taken = device.read(since)
        gap = int(np.diff(taken["t"]).argmax())
        seconds = np.diff(taken["t"])[gap] / 1e9
        assert seconds > 0.3
        assert taken["number"][gap + 1, 0] < taken["number"][gap, 0], "the camera counts anew"
        assert np.diff(taken["seq"])[gap] == pytest.approx(seconds * HZ, abs=1), "and yet the loss is seen"
        assert (np.delete(np.diff(taken["seq"]), gap) == 1).all()
        assert seen.options("colour")["exposure"] == 50, "it is set again, after the camera had forgotten"
    assert [record.message for record in caplog.records] == [
        "front (serial 000000000001): no new row for 0.1 s; it is opened again",
        "front (serial 000000000001): pictures again",
    ]


def test_a_cable_that_is_out_for_long_is_a_loss_until_it_is_in_again() -> None:
    with camera() as seen, before(seen, silence=0.3, reconnect=1.0) as device:
        rows(device, 2)
        with heartbeat() as between:
            seen.unplug()
            told = lost(device)
        assert re.fullmatch(r"front \(serial 000000000001\): no picture for \d\.\d s; is its USB cable in\?", told)
        assert max(between) < 2, "the SDK's pipeline would have stopped every thread for 15 s"
        since = time.monotonic_ns()
        seen.plug()
        until(lambda: _reads(device), "back by itself")
        assert len(rows(device, 2, since)) == 2


def _reads(device: RealSense) -> bool:
    try:
        return len(device.read(time.monotonic_ns() - 100_000_000)) > 0
    except DeviceLost:
        return False


def test_the_usual_limits_are_a_second() -> None:
    with camera() as seen, before(seen) as device:
        rows(device, 2)
        seen.unplug()
        out = time.monotonic()
        assert re.search(r"no picture for \d\.\d s; is its USB cable in\?", lost(device))
        assert time.monotonic() - out > 0.9


def test_depth_that_stands_still_makes_no_rows_of_old_depth() -> None:
    with camera() as seen, before(seen, silence=0.1, reconnect=0.4) as device:
        rows(device, 2)
        seen.stall("depth")
        stalled = time.monotonic_ns()
        told = lost(device)
        assert re.search(r"no depth for \d\.\d s; colour comes", told)
        with pytest.raises(DeviceLost):
            device.read(0)
        seen.go()
        until(lambda: _reads(device), "back by itself")
        taken = rows(device, 3, stalled + 100_000_000)
        assert taken["t"][0] > stalled + 300_000_000
        assert (np.diff(taken["number"][:, 1]) == 1).all()


def test_a_camera_that_is_connected_and_sends_nothing_is_lost() -> None:
    with camera() as seen, before(seen, silence=0.1, reconnect=0.3) as device:
        rows(device, 2)
        seen.stall("colour")
        assert re.search(r"no picture for \d\.\d s; it is connected but sends nothing new", lost(device))


def test_frames_that_were_lost_leave_a_gap_in_the_numbers() -> None:
    with camera() as seen, before(seen) as device:
        since = int(rows(device, 2)["t"][0])
        seen.skip(3)
        until(lambda: bool((np.diff(device.read(since)["seq"]) == 4).any()), "a gap of three")


def test_a_frame_that_is_sent_twice_is_one_row() -> None:
    with camera() as seen, before(seen) as device:
        since = int(rows(device, 2)["t"][-1])
        for _ in range(3):
            seen.repeat()
        taken = rows(device, 10, since)
        assert len(np.unique(taken["number"], axis=0)) == 10
        assert (np.diff(taken["seq"]) >= 1).all()


def test_shutters_that_are_not_in_step_still_make_pairs() -> None:
    seen = camera()
    seen.plug()
    over = threading.Event()

    def shoot() -> None:
        while not over.wait(1 / HZ):
            seen.push(skew=0.4 / HZ)

    thread = threading.Thread(target=shoot)
    thread.start()
    try:
        with before(seen) as device:
            taken = rows(device, 20)
        assert (taken["number"][:, 0] == taken["number"][:, 1]).all()
        assert (np.diff(taken["seq"]) == 1).all()
    finally:
        over.set()
        thread.join()


def test_a_reader_that_falls_behind_is_told() -> None:
    with camera(hz=200) as seen, before(seen, hz=200, silence=5.0, reconnect=10.0) as device:
        first = int(rows(device, 1)["t"][0])
        until(lambda: len(device.read(time.monotonic_ns() - 900_000_000)) > 150, "a second of rows")
        until(lambda: _overrun(device, first - 1), "overrun")


def _overrun(device: RealSense, since: int) -> bool:
    try:
        device.read(since)
    except Overrun:
        return True
    return False


def test_it_is_left_quickly_while_its_cable_is_out() -> None:
    with camera() as seen, before(seen, silence=0.05) as device:
        rows(device, 1)
        seen.unplug()
        lost(device)
        began = time.monotonic()
        device.__exit__(None, None, None)
        assert time.monotonic() - began < 1


class Reaching:
    """Always wants to be further; pulls the camera's cable on the way."""

    def __init__(self, robot: Arm, seen: EmulatedCamera) -> None:
        self._robot, self._seen = robot, seen
        self.acted = 0

    def reset(self, instruction: str) -> None: ...

    def act(self, seen: Observation) -> Row | None:
        self.acted += 1
        if self.acted == 10:
            self._seen.unplug()
        target = np.zeros(1, self._robot.action)
        target["t"], target["q"] = seen.t, seen.streams["arm"]["q"][-1] + 0.1
        return target[0]  # type: ignore[no-any-return]  # numpy does not say what an element of a structured array is


class Nowhere:
    """Keeps nothing."""

    def append(self, stream: str, rows: Rows) -> None: ...


def test_a_camera_that_is_pulled_out_ends_the_take_with_the_robot_at_rest(caplog: pytest.LogCaptureFixture) -> None:
    clock = HostClock()
    robot = Arm(World(clock, (12, 16), camera_hz=10, robot_hz=100))
    agent = Reaching(robot, seen := camera())
    with seen, before(seen, silence=0.5, reconnect=1.0) as device, robot:
        rows(device, 1)
        ended = Loop(robot, [device], clock, hz=50).run(agent, "reach", Nowhere(), 10.0, lambda _seen: False)
        assert ended is Ended.FAULT
        assert re.search(r"front \(serial 000000000001\): no picture for \d\.\d s; is its USB cable in\?", caplog.text)
        until(lambda: np.abs(robot.read(clock.now() - 100_000_000)["dq"][-1]).max() < 0.01, "at rest")
