"""The arms of the twin's ALOHA table, turned by emulated servos instead of by the twin itself."""

import math
from dataclasses import dataclass, field

from drivers.clock import Clock
from drivers.dynamixel import registers as at
from drivers.dynamixel.layout import FOLLOWER, Calibration
from drivers.emulators.dynamixel.arm import arm
from drivers.emulators.dynamixel.bus import Bus
from drivers.emulators.dynamixel.joint import Drive, Feel
from drivers.twin.aloha.body import SIDES
from drivers.twin.aloha.scene import WIDEST
from drivers.twin.aloha.world import World
from drivers.twin.simulation import ROBOT

COUNTS = 200.0
"""Counts of current for a newton metre, or for a newton of a finger: plausible, not measured."""

_NOMINAL = Calibration()


@dataclass
class WorldJoint:
    """A joint of the twin's world, turned by servos."""

    world: World
    joint: int
    drives: dict[int, Drive] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """Radians in a position, or metres for the gripper."""
        return math.tau / at.TURN if self.joint % 7 < 6 else WIDEST / (_NOMINAL.open - _NOMINAL.closed)

    @property
    def zero(self) -> int:
        """The position at which the angle is zero, or the fingers meet."""
        return _NOMINAL.zero[0] if self.joint % 7 < 6 else _NOMINAL.closed

    def drive(self, servo: int, drive: Drive) -> None:
        self.drives[servo] = drive
        with self.world.lock:
            body = self.world.open(ROBOT)
            driving = [drive for drive in self.drives.values() if drive.torque]
            body.stiffen(self.joint, bool(driving))
            if driving:
                goal = sum(drive.goal for drive in driving) / len(driving)
                body.goal[self.joint] = (goal - self.zero) * self.scale
                body.speed[self.joint] = min(drive.speed for drive in driving) * self.scale
            else:
                body.goal[self.joint] = body.q[self.joint]

    def pass_time(self, t: int) -> None:
        self.world.advance(t)

    def feel(self, servo: int) -> Feel:
        with self.world.lock:
            body, i = self.world.open(ROBOT), self.joint
            most = self.drives[servo].current if servo in self.drives else 0.0
            current = max(-most, min(most, float(body.tau[i]) * COUNTS))
            return Feel(float(body.q[i]) / self.scale + self.zero, float(body.dq[i]) / self.scale, current)


def followers(world: World, clock: Clock) -> dict[str, Bus]:
    """Return the buses of both arms of a world that has been entered, ``left`` and ``right``."""
    buses = {}
    for i, side in enumerate(SIDES):
        bus = arm(FOLLOWER, clock, [WorldJoint(world, 7 * i + joint) for joint in range(7)])
        bus[FOLLOWER.gripper.ids[0]].put(at.OPERATING_MODE, at.CURRENT_POSITION)
        buses[side] = bus
    return buses
