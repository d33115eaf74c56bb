"""A Franka at a table, in simulation: arm, two cameras, and the truth about what stands where."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from drivers.device import Device, Robot
from drivers.kinematics import Chain
from drivers.twin.parts import Camera, Mover, Part, Table
from drivers.twin.scenery import AXES
from drivers.twin.world import ACTION, CAMERAS, World


@dataclass
class FrankaTable(Table):
    """A Franka arm, three cubes and two pads on a table, and everything that watches them.

    ``with FrankaTable() as cell:`` enters every device at once; entering each device works as well. A condition
    places a cube by its x y yaw: ``{"seed": 7, "red_cube": [0.5, 0.1, 0.3]}``, and varies the table along any of its
    ``axes`` by the number of a variant: ``{"seed": 7, "lighting": 3}``.

    What it cannot do: the robot guards nothing (wrap it in a ``Guard``, as a station does) and has no reflexes (a
    collision does not stop it). There is no sensor noise and no latency, no fault near singularities, and the
    masses are plausible, not identified.
    """

    image: tuple[int, int] = (96, 96)
    """Height and width of the pictures, in pixels."""

    @cached_property
    def robot(self) -> Robot:
        return Arm(self.world)

    @cached_property
    def watching(self) -> Sequence[Device]:
        return (*(Camera(self.world, name, self.image) for name in CAMERAS), Truth(self.world))

    @property
    def axes(self) -> frozenset[str]:
        return frozenset(AXES)

    @cached_property
    def world(self) -> World:
        return World(self.clock, self.image, self.camera_hz, self.robot_hz)


class Arm(Mover):
    """The arm, unguarded, with its gripper; it is 18 ms behind its targets."""

    action = ACTION

    def __init__(self, world: World) -> None:
        super().__init__(world, ACTION, Chain())


class Truth(Part):
    """What a real cell cannot know: where every object is, and what touches what."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "truth")
        self._table = world

    @property
    def described(self) -> dict[str, Any]:
        """What stands on the table in this take: each thing's shape, and its width, depth and height in metres.

        Raises:
            DeviceLost: nobody has entered the world.
        """
        solids = self._table.open(self.name).solids
        return {"things": {name: {"shape": each.shape, "size": [*each.size]} for name, each in solids.items()}}
