"""An ALOHA pair behind its real driver: the twin's arms, reached through the vendor's SDK over two emulated buses."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, Self

from drivers.clock import Clock, HostClock, StepClock
from drivers.device import Device
from drivers.dual import Dual
from drivers.dynamixel import registers as at
from drivers.dynamixel.follower import Follower
from drivers.dynamixel.layout import FOLLOWER, Calibration
from drivers.emulators.dynamixel.arm import arm
from drivers.emulators.dynamixel.bus import Bus
from drivers.emulators.dynamixel.joint import Drive, Feel
from drivers.emulators.dynamixel.port import plug
from drivers.twin.aloha.body import SIDES
from drivers.twin.aloha.scene import CAMERAS, WIDEST
from drivers.twin.aloha.table import Camera, Part
from drivers.twin.aloha.world import ROBOT, World

WATCH = 20_000_000
"""How often somebody looks whether a bus watchdog has tripped, in nanoseconds."""

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


@dataclass
class AlohaBench:
    """The twin's ALOHA table, but every command and every angle goes through the vendor's SDK and nine servos an arm.

    Rows and actions are those of two real arms; cameras and truth are the twin's. Faults are injected in
    ``buses``. Whoever arranges the scene lets go of the arms, sets them at their start, and switches them on again.

    What it cannot do: currents are plausible only, and an arm without torque hardly sinks, for the scene's joints
    have the friction that lets gym-aloha do without gravity compensation.
    """

    task: Literal["transfer", "insertion"] = "transfer"
    """Hand the cube from the right arm to the left, or put the peg into the socket."""

    image: tuple[int, int] = (96, 128)
    """Height and width of the pictures, in pixels."""

    camera_hz: float = 10.0
    robot_hz: float = 100.0
    """Cycles of each bus per second."""

    realtime: bool = False
    """Follow the host's clock instead of a clock that jumps."""

    @cached_property
    def clock(self) -> Clock:
        return HostClock() if self.realtime else StepClock()

    @cached_property
    def robot(self) -> Dual:
        left, right = (
            Follower(side, f"the {side} bus", hz=self.robot_hz, sink=0.0, clock=self.clock, plug=self._plug(side))
            for side in SIDES
        )
        return Dual(ROBOT, left, right)

    @cached_property
    def watching(self) -> Sequence[Device]:
        return (*(Camera(self._world, name, self.image) for name in CAMERAS), Part(self._world, "truth"))

    @cached_property
    def buses(self) -> dict[str, Bus]:
        """The buses of the two arms, while the cell is entered."""
        return {}

    @cached_property
    def _world(self) -> World:
        return World(self.clock, self.task, self.image, self.camera_hz, self.robot_hz)

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene: ``{"seed": 7}`` draws it; ``{"cube": [0.1, 0.5]}`` sets an object's x y.

        Raises:
            WrongCondition: a key or a value that this scene cannot have.
            DeviceLost: the cell has not been entered, or an arm is lost.
        """
        self.robot.__exit__(None, None, None)
        try:
            self._world.arrange(condition)
        finally:
            self.robot.__enter__()

    def _plug(self, side: str) -> Callable[[str, int], Any]:
        return lambda name, baud: plug(self.buses[side])(name, baud)

    def __enter__(self) -> Self:
        self._world.enter()
        for i, side in enumerate(SIDES):
            bus = arm(FOLLOWER, self.clock, [WorldJoint(self._world, 7 * i + joint) for joint in range(7)])
            bus[FOLLOWER.gripper.ids[0]].put(at.OPERATING_MODE, at.CURRENT_POSITION)
            self.buses[side] = bus
        self._ends = [self.clock.every(WATCH, bus.pass_time) for bus in self.buses.values()]
        try:
            for device in (self.robot, *self.watching):
                device.__enter__()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for device in (*self.watching, self.robot):
                device.__exit__(kind, error, trace)
        finally:
            self._close()

    def _close(self) -> None:
        for end in self._ends:
            end()
        self._world.leave()
