"""An ALOHA pair behind its real driver, in stepped time: the vendor's SDK on two emulated buses in memory."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, Self

from drivers.clock import Clock, StepClock
from drivers.device import Device
from drivers.dual import Dual
from drivers.dynamixel.follower import Follower
from drivers.emulators.dynamixel.bus import Bus
from drivers.emulators.dynamixel.port import plug
from drivers.emulators.dynamixel.turned import followers
from drivers.twin.aloha.body import SIDES
from drivers.twin.aloha.scene import CAMERAS
from drivers.twin.aloha.world import World
from drivers.twin.parts import Camera, Part
from drivers.twin.simulation import ROBOT

WATCH = 20_000_000
"""How often somebody looks whether a bus watchdog has tripped, in nanoseconds."""


@dataclass
class AlohaBench:
    """The twin's ALOHA table, but every command and every angle goes through the vendor's SDK and nine servos an arm.

    Rows and actions are those of two real arms; cameras and truth are the twin's. Faults are injected in
    ``buses``. Whoever arranges the scene lets go of the arms, sets them at their start, and switches them on again.

    For real time, with a program for each bus, take ``EmulatedAloha``.

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

    @property
    def axes(self) -> frozenset[str]:
        return frozenset()

    @cached_property
    def clock(self) -> Clock:
        return StepClock()

    @cached_property
    def robot(self) -> Dual:
        left, right = (
            Follower(side, f"the {side} bus", hz=self.robot_hz, sink=0.0, clock=self.clock, plug=self._plug(side))
            for side in SIDES
        )
        return Dual(ROBOT, left, right)

    @cached_property
    def watching(self) -> Sequence[Device]:
        return (*(Camera(self.world, name, self.image) for name in CAMERAS), Part(self.world, "truth"))

    @cached_property
    def buses(self) -> dict[str, Bus]:
        """The buses of the two arms, while the cell is entered."""
        return {}

    @cached_property
    def world(self) -> World:
        return World(self.clock, self.task, self.image, self.camera_hz, self.robot_hz)

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene: ``{"seed": 7}`` draws it; ``{"cube": [0.1, 0.5]}`` sets an object's x y.

        Raises:
            WrongCondition: a key or a value that this scene cannot have.
            DeviceLost: the cell has not been entered, or an arm is lost.
        """
        self.robot.__exit__(None, None, None)
        try:
            self.world.arrange(condition)
        finally:
            self.robot.__enter__()

    def _plug(self, side: str) -> Callable[[str, int], Any]:
        return lambda name, baud: plug(self.buses[side])(name, baud)

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            self.world.enter()
            entered.callback(self.world.leave)
            self.buses.update(followers(self.world, self.clock))
            for bus in self.buses.values():
                entered.callback(self.clock.every(WATCH, bus.pass_time))
            for device in (*self.watching, self.robot):  # entered last, the robot is left first, whatever else fails
                entered.enter_context(device)
            self._entered = entered.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.__exit__(kind, error, trace)
