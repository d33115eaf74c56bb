"""An ALOHA pair at a table, in simulation: two arms as one robot, three cameras, and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from drivers.device import Device, Robot
from drivers.dual import Chains
from drivers.dynamixel.kinematics import Chain
from drivers.dynamixel.layout import Calibration
from drivers.twin.aloha.scene import CAMERAS
from drivers.twin.aloha.world import ACTION, World
from drivers.twin.parts import Camera, Mover, Part, Table


@dataclass
class AlohaTable(Table):
    """Two ViperX arms face to face, and a cube to hand over or a peg to put into a socket.

    The scenes are gym-aloha's, drawn cheaply, and ``truth`` counts the stages of the task as it does. A condition
    places an object by its x y: ``{"cube": [0.1, 0.5]}``. Joints are the left arm's, then the right one's; each tool
    is told from its own arm's foot.

    What it cannot do: the robot guards nothing (wrap it in a ``Guard``, as a station does). There is no sensor
    noise and no latency, and the joints' friction is as large as the scene says: they come to rest a little off.
    """

    task: Literal["transfer", "insertion"] = "transfer"
    """Hand the cube from the right arm to the left, or put the peg into the socket."""

    image: tuple[int, int] = (96, 128)
    """Height and width of the pictures, in pixels."""

    @cached_property
    def robot(self) -> Robot:
        limits = Calibration()
        return Mover(self.world, ACTION, Chains((Chain(limits.low, limits.high), Chain(limits.low, limits.high))))

    @cached_property
    def watching(self) -> Sequence[Device]:
        return (*(Camera(self.world, name, self.image) for name in CAMERAS), Part(self.world, "truth"))

    @cached_property
    def world(self) -> World:
        return World(self.clock, self.task, self.image, self.camera_hz, self.robot_hz)
