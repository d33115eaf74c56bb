"""An ALOHA pair at a table, in simulation: two arms as one robot, three cameras, and the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from drivers.clock import Clock, HostClock, StepClock
from drivers.device import Device, Kinematics, Robot, Row, Rows, sensed
from drivers.dual import Chains
from drivers.dynamixel.kinematics import Chain
from drivers.dynamixel.layout import Calibration
from drivers.twin.aloha.scene import CAMERAS
from drivers.twin.aloha.world import ACTION, ARMS, ROBOT, World


@dataclass
class AlohaTable:
    """Two ViperX arms face to face, and a cube to hand over or a peg to put into a socket.

    The scenes are gym-aloha's, drawn cheaply, and ``truth`` counts the stages of the task as it does. Unless
    ``realtime``, time is a ``StepClock``: as fast as the machine can, and the same bytes every time.

    What it cannot do: the robot guards nothing (wrap it in a ``Guard``, as a station does). There is no sensor
    noise and no latency, and the joints' friction is as large as the scene says: they come to rest a little off.
    """

    task: Literal["transfer", "insertion"] = "transfer"
    """Hand the cube from the right arm to the left, or put the peg into the socket."""

    image: tuple[int, int] = (96, 128)
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
        return Arms(self._world)

    @cached_property
    def watching(self) -> Sequence[Device]:
        return (*(Camera(self._world, name, self.image) for name in CAMERAS), Part(self._world, "truth"))

    @cached_property
    def _world(self) -> World:
        return World(self.clock, self.task, self.image, self.camera_hz, self.robot_hz)

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene: ``{"seed": 7}`` draws it; ``{"cube": [0.1, 0.5]}`` sets an object's x y.

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


class Part:
    """One device of a world. Entering it builds the world, if no other device has."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name

    @property
    def dtype(self) -> np.dtype[np.void]:
        return ARMS if self.name == ROBOT else self._world.truth

    def read(self, since: int) -> Rows:
        return self._world.read(self.name, since)

    def __enter__(self) -> Self:
        self._world.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._world.leave()


class Arms(Part):
    """Both arms, unguarded: joints of the left, then of the right; each tool from its own arm's foot."""

    action = ACTION

    def __init__(self, world: World) -> None:
        super().__init__(world, ROBOT)

    @cached_property
    def kinematics(self) -> Kinematics:
        limits = Calibration()
        return Chains((Chain(limits.low, limits.high), Chain(limits.low, limits.high)))

    def command(self, target: Row) -> None:
        """Move evenly to ``target``, in the time since the command before."""
        self._world.command(target)

    def hold(self) -> None:
        """Stop the arms where they can stop. The fingers finish their move: what is held stays held."""
        self._world.hold()


class Camera(Part):
    """A camera. A frame's stamp is the moment its light fell in; it is drawn when somebody reads it."""

    def __init__(self, world: World, name: str, image: tuple[int, int]) -> None:
        super().__init__(world, name)
        self._layout = sensed(("rgb", "u1", (*image, 3)))

    @property
    def dtype(self) -> np.dtype[np.void]:
        return self._layout

    def read(self, since: int) -> Rows:
        exposed, pictures = self._world.see(self.name, since)
        rows = np.empty(len(exposed), self.dtype)
        for field in ("t", "received", "seq"):
            rows[field] = exposed[field]
        rows["rgb"] = pictures
        return rows
