"""Emulated ALOHA arms for tests: on a bus in memory, at a moment the test chooses."""

from collections.abc import Callable, Mapping

import numpy as np

from drivers import Clock, Row, StepClock
from drivers.dynamixel import Follower, Leader
from drivers.dynamixel import registers as at
from drivers.emulators.dynamixel import Bus, follower, leader, plug

MS = 1_000_000
MIDDLE = (2048, 2048, 2048, 2048, 2048, 2048, 2600)
"""Positions of an arm in the middle of its reach."""


def arm(clock: Clock, name: str = "left") -> tuple[Follower, Bus]:
    """A follower in the middle of its reach, and its bus."""
    bus = follower(clock, MIDDLE)
    return Follower(name, "memory", clock=clock, plug=plug(bus)), bus


def in_hand(
    clock: Clock, hand: Mapping[int, Callable[[float], float]] | None = None, name: str = "hand"
) -> tuple[Leader, Bus]:
    """A leader whose joints are held at positions after seconds, and its bus."""
    bus = leader(clock, hand or {}, (*MIDDLE[:6], 1900))
    return Leader(name, "memory", clock=clock, plug=plug(bus)), bus


def torque(bus: Bus) -> dict[int, int]:
    """Which servos hold."""
    return {servo.id: servo.get(at.TORQUE) for servo in bus.servos}


def target(q: object, width: float = 0.05, t: int = 0) -> Row:
    row = np.zeros(1, Follower.action)
    row["q"], row["width"], row["t"] = q, width, t
    result: Row = row[0]
    return result


def positions(bus: Bus) -> list[float]:
    """Where the joints are, whatever the servos say."""
    bus.pass_time()
    return [bus[id_].joint.feel(id_).position for id_ in (1, 2, 4, 6, 7, 8, 9)]


def moved(robot: Follower, clock: StepClock, seconds: float, speed: float = 0.5) -> None:
    """Lead the arm upwards from zero at 50 Hz."""
    for _ in range(round(seconds * 50)):
        robot.command(target(np.full(6, speed * (clock.now() / 1e9))))
        clock.sleep_until(clock.now() + 20 * MS)
