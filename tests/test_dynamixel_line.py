"""A real serial line of this machine between the SDK and the emulated bus: locks, cables, speeds, and kill -9."""

import os
import subprocess
import sys
import termios
import time
import tty
from pathlib import Path

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost, HostClock
from drivers.dynamixel import Follower, Leader, wire
from drivers.dynamixel import registers as at
from drivers.emulators.dynamixel import follower, served
from tests.dynamixel import MIDDLE, target, torque

ROOT = Path(__file__).parent.parent


def patient(path: Path) -> Follower:
    """A follower that a busy machine does not lose: a watchdog of 2 s, and slow cycles."""
    return Follower("left", str(path), hz=50, watchdog=2.0, sink=0.1, retries=4)


def test_an_arm_moves_over_a_serial_line() -> None:
    clock = HostClock()
    bus = follower(clock, MIDDLE)
    with served(bus, wire=True) as path, patient(path) as robot:
        start = clock.now()
        while clock.now() < start + 1_000_000_000:
            robot.command(target(np.full(6, 0.3)))
            time.sleep(0.02)
        rows = robot.read(start)
        assert rows["q"][-1] == pytest.approx(np.full(6, 0.3), abs=0.01)
        assert (np.diff(rows["t"]) > 0).all()
        assert (rows["t"] < rows["received"]).all()
    assert not any(torque(bus).values())


def test_a_second_program_is_refused_and_the_first_goes_on() -> None:
    bus = follower(HostClock(), MIDDLE)
    with served(bus) as path, patient(path) as robot:
        with pytest.raises(DeviceError, match="another program uses this bus"), patient(path):
            pass
        time.sleep(0.1)
        robot.command(target(np.zeros(6)))


def test_a_second_program_that_is_refused_has_changed_and_taken_nothing() -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    path = os.ttyname(theirs)
    first = wire.serial(path, 1_000_000)
    os.write(ours, b"answer")
    before = termios.tcgetattr(theirs)
    with pytest.raises(DeviceError, match="another program uses this bus"):
        wire.serial(path, 57600)
    assert termios.tcgetattr(theirs) == before
    first.setPacketTimeoutMillis(1000)
    assert first.readPort(6) == b"answer"
    first.closePort()
    wire.serial(path, 57600).closePort()
    os.close(ours)
    os.close(theirs)


def test_pulling_the_cable_is_noticed() -> None:
    bus = follower(HostClock(), MIDDLE)
    with served(bus) as path, patient(path) as robot:
        bus.faults.unplugged = True
        with pytest.raises(DeviceLost, match=r"left: the cable of .* is out. Plug it in"):  # ruff: ignore[pytest-raises-with-multiple-statements]
            for _ in range(100):
                time.sleep(0.02)
                robot.read(HostClock().now())


def test_the_wrong_speed_is_found_out() -> None:
    bus = follower(HostClock(), MIDDLE)
    for servo in bus.servos:
        servo.put(at.BAUD_RATE, at.BAUD_RATES[57600])
    with served(bus) as path, pytest.raises(DeviceLost, match="speak at 57600 baud, not at 1000000"), patient(path):
        pass


def test_a_line_that_is_not_there_says_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"cannot be opened.*adapter plugged in"), patient(tmp_path / "ttyDXL"):
        pass


def test_a_speed_that_no_bus_has_is_refused() -> None:
    with served(follower(HostClock(), MIDDLE)) as path, pytest.raises(DeviceError, match="no speed of a Dynamixel"):
        wire.serial(str(path), 4_500_000)


def test_a_slow_adapter_is_refused_with_the_fix(tmp_path: Path) -> None:
    file = tmp_path / "ttyUSB0" / "device" / "latency_timer"
    file.parent.mkdir(parents=True)
    file.write_text("16\n")
    assert wire.latency(Path("/dev/ttyUSB0"), tmp_path) == 16
    assert wire.latency(Path("/dev/pts/0"), tmp_path) is None
    with pytest.raises(DeviceError, match=r"16 ms .latency_timer.*echo 1"):
        wire.serial("/dev/ttyUSB0", 1_000_000, devices=tmp_path)


CONTROL = """
import sys, time
import numpy as np
from drivers.dynamixel import Follower
with Follower("left", sys.argv[1], retries=4) as robot:
    target = np.zeros(1, robot.action)
    print("moving", flush=True)
    while True:
        target["q"] = np.minimum(target["q"] + 0.01, 1.2)
        robot.command(target[0])
        time.sleep(0.02)
"""


class Slow(HostClock):
    """The robot's time, at a quarter of ours: a busy machine has 320 ms for every 80 ms of it."""

    def now(self) -> int:
        return time.monotonic_ns() // 4


def test_killing_the_control_program_stops_the_arm_within_100_ms_of_its_own_time() -> None:
    """The servos' bus watchdog does it: nobody else is left."""
    clock = Slow()
    bus = follower(clock, MIDDLE)
    with served(bus) as path:
        control = subprocess.Popen(
            [sys.executable, "-c", CONTROL, str(path)], cwd=ROOT, stdout=subprocess.PIPE, env=os.environ
        )
        try:
            assert control.stdout is not None
            assert control.stdout.readline() == b"moving\n"
            joint = bus[1].joint
            deadline = time.monotonic() + 20
            while joint.feel(1).position < MIDDLE[0] + 60 and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:
            control.kill()
            control.communicate()
        assert joint.feel(1).position >= MIDDLE[0] + 60, "it never moved"
        while clock.now() < bus.last + 200_000_000:
            time.sleep(0.01)
        bus.pass_time()
    assert bus[1].get(at.BUS_WATCHDOG) == at.TRIPPED
    tripped = bus[1].tripped
    assert tripped is not None
    assert tripped - bus.last <= 100_000_000
    assert set(torque(bus).values()) == {1}, "it holds"


def test_an_emulated_arm_runs_as_a_program_of_its_own(tmp_path: Path) -> None:
    link = tmp_path / "ttyDXL_leader_left"
    program = [sys.executable, "-m", "drivers.emulators.dynamixel", str(link), "--leader"]
    emulator = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert emulator.stdout is not None
        assert emulator.stdout.readline().strip() == str(link)
        with Leader("left", str(link), hz=50, retries=4) as hand:
            start = HostClock().now()
            time.sleep(0.5)
            rows = hand.read(start)
        assert len(rows) > 2
        assert np.ptp(rows["positions"], axis=0).max() > 0, "nobody swings it"
    finally:
        emulator.terminate()
        emulator.communicate()
    assert emulator.returncode == 0
    assert not link.is_symlink()
