"""What every simulated cell is made of: devices that take their rows from one world."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from drivers.clock import Clock, HostClock, StepClock
from drivers.device import Device, Kinematics, Robot, Row, Rows, sensed
from drivers.twin.simulation import ROBOT, Simulation


class World(Protocol):
    """What several devices take their rows from."""

    @property
    def layouts(self) -> Mapping[str, np.dtype[np.void]]: ...
    def enter(self) -> None: ...
    def leave(self) -> None: ...
    def read(self, name: str, since: int, /) -> Rows: ...
    def command(self, target: Row, /) -> None: ...
    def hold(self) -> None: ...


class Part:
    """One device of a world. Entering it builds the world, if no other device has."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name

    @property
    def dtype(self) -> np.dtype[np.void]:
        return self._world.layouts[self.name]

    def read(self, since: int) -> Rows:
        return self._world.read(self.name, since)

    def __enter__(self) -> Self:
        self._world.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._world.leave()


class Mover(Part):
    """What moves, unguarded: one arm or two, with their grippers."""

    def __init__(self, world: World, action: np.dtype[np.void], kinematics: Kinematics) -> None:
        super().__init__(world, ROBOT)
        self.action, self.kinematics = action, kinematics

    def command(self, target: Row) -> None:
        """Move evenly to ``target``, in the time since the command before."""
        self._world.command(target)

    def hold(self) -> None:
        """Stop where it can stop. The fingers finish their move: what is held stays held."""
        self._world.hold()


class Camera(Part):
    """A camera. A frame's stamp is the moment its light fell in; it is drawn when somebody reads it."""

    def __init__(self, world: Simulation[Any], name: str, image: tuple[int, int]) -> None:
        super().__init__(world, name)
        self._simulation = world
        self._layout = sensed(("rgb", "u1", (*image, 3)))

    @property
    def dtype(self) -> np.dtype[np.void]:
        return self._layout

    def read(self, since: int) -> Rows:
        exposed, pictures = self._simulation.see(self.name, since)
        rows = np.empty(len(exposed), self.dtype)
        for field in ("t", "received", "seq"):
            rows[field] = exposed[field]
        rows["rgb"] = pictures
        return rows


class Whole(ABC):
    """A cell of such devices, entered at once or one by one."""

    @property
    @abstractmethod
    def robot(self) -> Robot: ...

    @property
    @abstractmethod
    def watching(self) -> Sequence[Device]: ...

    @property
    def axes(self) -> frozenset[str]:
        """Along what a condition can vary the scene; a kind of table that can be varied says so."""
        return frozenset()

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            for device in (*self.watching, self.robot):  # entered last, the robot is left first, whatever else fails
                entered.enter_context(device)
            self._entered = entered.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.__exit__(kind, error, trace)


@dataclass(kw_only=True)
class Table(Whole):
    """Such a cell in MuJoCo. A kind of table says what stands on it.

    Unless ``realtime``, time is a ``StepClock``: as fast as the machine can, and the same bytes every time.
    """

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

    @property
    @abstractmethod
    def world(self) -> Simulation[Any]: ...

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene, what moves at its start and at rest: ``{"seed": 7}`` draws it, an object's name places it.

        On a ``StepClock`` time starts again at zero, so the same condition and the same commands give the same rows,
        whether in the first take of a sitting or the tenth.

        Raises:
            WrongCondition: a key or a value that this scene cannot have.
            DeviceLost: the cell has not been entered.
        """
        self.world.arrange(condition)

    def places(self, condition: Mapping[str, Any]) -> Mapping[str, NDArray[np.float64]]:
        """Where a condition puts every object: x, y and, where it matters, yaw. Nothing is moved.

        Raises:
            WrongCondition: as `arrange`.
        """
        return self.world.places(condition)

    def fail(self, name: str) -> None:
        """Let one device fall silent, as if its cable were pulled, until ``mend``."""
        self.world.fail(name)

    def mend(self) -> None:
        """Plug every cable in again."""
        self.world.mend()
