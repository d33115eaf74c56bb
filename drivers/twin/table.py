"""A Franka at a table, in simulation: arm, two cameras, and the truth about what stands where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np

from drivers.clock import Clock, HostClock, StepClock
from drivers.device import Device, Kinematics, Robot, Row, Rows, sensed
from drivers.kinematics import Chain
from drivers.twin.world import ACTION, ARM, CAMERAS, TRUTH, World


@dataclass
class FrankaTable:
    """A Franka arm, three cubes and two pads on a table, and everything that watches them.

    ``with FrankaTable() as cell:`` enters every device at once; entering each device works as well. Unless
    ``realtime``, time is a ``StepClock``: as fast as the machine can, and the same bytes every time.

    What it cannot do: the robot guards nothing (wrap it in a ``Guard``, as a station does) and has no reflexes (a
    collision does not stop it). There is no sensor noise and no latency, no fault near singularities, and the
    masses are plausible, not identified.
    """

    image: tuple[int, int] = (96, 96)
    """Height and width of the pictures, in pixels."""

    camera_hz: float = 10.0
    robot_hz: float = 100.0

    realtime: bool = False
    """Follow the host's clock instead of a clock that jumps."""

    def __post_init__(self) -> None:
        for name, hz in (("camera_hz", self.camera_hz), ("robot_hz", self.robot_hz)):
            if not 0 < hz <= 500:
                raise ValueError(f"{name} must be more than 0 and at most 500, the rate of the physics, not {hz}")

    @cached_property
    def clock(self) -> Clock:
        return HostClock() if self.realtime else StepClock()

    @cached_property
    def robot(self) -> Robot:
        return Arm(self._world)

    @cached_property
    def watching(self) -> Sequence[Device]:
        return (*(Camera(self._world, name, self.image) for name in CAMERAS), Truth(self._world))

    @cached_property
    def _world(self) -> World:
        return World(self.clock, self.image, self.camera_hz, self.robot_hz)

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene: ``{"seed": 7}`` draws it; ``{"seed": 7, "red_cube": [0.5, 0.1, 0.3]}`` sets x y yaw.

        The arm starts at home and at rest. On a ``StepClock`` time starts again at zero, so the same condition and
        the same commands give the same rows, whether in the first take of a sitting or the tenth.

        Raises:
            WrongCondition: a key or a value that this scene cannot have.
            DeviceLost: the cell has not been entered.
        """
        self._world.arrange(condition)

    def fail(self, name: str) -> None:
        """Let one device fall silent, as if its cable were pulled, until ``mend``."""
        self._world.fail(name)

    def mend(self) -> None:
        """Plug every cable in again."""
        self._world.mend()

    def __enter__(self) -> Self:
        for device in (self.robot, *self.watching):
            device.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for device in (*self.watching, self.robot):
            device.__exit__(kind, error, trace)


class _Part:
    """One device of a world. Entering it builds the world, if no other device has."""

    def __init__(self, world: World, name: str, dtype: np.dtype[np.void]) -> None:
        self._world = world
        self.name = name
        self.dtype = dtype

    def read(self, since: int) -> Rows:
        return self._world.read(self.name, since)

    def __enter__(self) -> Self:
        self._world.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._world.leave()


class Arm(_Part):
    """The arm, unguarded, with its gripper."""

    action = ACTION

    def __init__(self, world: World) -> None:
        super().__init__(world, "arm", ARM)

    @cached_property
    def kinematics(self) -> Kinematics:
        return Chain()

    def command(self, target: Row) -> None:
        """Move evenly to ``target``, in the time since the command before; the arm is 18 ms behind."""
        self._world.command(target)

    def hold(self) -> None:
        """Stop the arm where it can stop. The fingers finish their move: what is held stays held."""
        self._world.hold()


class Camera(_Part):
    """A camera. A frame's stamp is the moment its light fell in; it is drawn when somebody reads it."""

    def __init__(self, world: World, name: str, image: tuple[int, int]) -> None:
        super().__init__(world, name, sensed(("rgb", "u1", (*image, 3))))

    def read(self, since: int) -> Rows:
        exposed, pictures = self._world.see(self.name, since)
        rows = np.empty(len(exposed), self.dtype)
        for field in ("t", "received", "seq"):
            rows[field] = exposed[field]
        rows["rgb"] = pictures
        return rows


class Truth(_Part):
    """What a real cell cannot know: where every object is, and what touches what."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "truth", TRUTH)
