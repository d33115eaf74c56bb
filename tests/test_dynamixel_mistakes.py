"""What no one foresaw, on a line of servos: it is told as it is, and every servo lets go all the same."""

import errno
import logging
from dataclasses import dataclass, field

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost, StepClock
from drivers.dynamixel import Follower
from drivers.emulators.dynamixel import Bus, follower
from drivers.emulators.dynamixel.port import MemoryPort
from tests.dynamixel import MIDDLE, MS, moved, positions, target, torque


@dataclass
class Odd:
    """Plugs an emulated bus in, and lets packets fail that the system or the SDK stumbles over."""

    bus: Bus
    failing: list[Exception | None] = field(default_factory=list)
    """What becomes of the next packets."""

    def __call__(self, _name: str, baud: int) -> MemoryPort:
        odd = self

        class Port(MemoryPort):
            def writePort(self, packet: list[int]) -> int:  # ruff: ignore[invalid-function-name] - the SDK's own name
                if odd.failing and (error := odd.failing.pop(0)) is not None:
                    raise error
                return super().writePort(packet)

        self.bus.taken = True
        return Port(self.bus, baud)


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@pytest.fixture
def odd(clock: StepClock) -> Odd:
    return Odd(follower(clock, MIDDLE))


@pytest.fixture
def robot(clock: StepClock, odd: Odd) -> Follower:
    return Follower("left", "memory", clock=clock, plug=odd)


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "Cannot allocate memory"), IndexError("list index")])
def test_every_servo_is_tried_whatever_is_raised_meanwhile(robot: Follower, odd: Odd, error: Exception) -> None:
    with robot:
        odd.failing = [None, None, error]
    assert not any(torque(odd.bus).values()), "it was asked again at the end"
    with pytest.raises(DeviceError, match=r"memory cannot be used|servo 1 may hold .*: IndexError"), robot:
        odd.failing = [*[None] * 18, *[None] * 20, error]
    assert {id_ for id_, on in torque(odd.bus).items() if on} == {1}


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "Cannot allocate memory"), IndexError("list index")])
def test_a_cycle_that_fails_as_nobody_foresaw_tells_its_cause_and_the_arm_goes_no_further(
    robot: Follower, odd: Odd, clock: StepClock, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    with robot:
        moved(robot, clock, 0.5)
        odd.failing = [error]
        clock.sleep_until(clock.now() + 20 * MS)
        for call in (lambda: robot.read(0), lambda: robot.command(target(np.zeros(6)))):
            with pytest.raises(DeviceLost, match=r"left: .*(IndexError: list index|Cannot allocate memory)"):
                call()
        clock.sleep_until(clock.now() + 300 * MS)
        stood = positions(odd.bus)
        clock.sleep_until(clock.now() + 500 * MS)
        assert positions(odd.bus) == pytest.approx(stood)
    assert not any(torque(odd.bus).values())
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
