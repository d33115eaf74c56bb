"""ALOHA's table in time, and what its devices say."""

from collections.abc import Mapping
from typing import Any

from drivers.clock import Clock
from drivers.device import row_type, sensed
from drivers.twin.aloha import scene
from drivers.twin.aloha.body import Body
from drivers.twin.simulation import ROBOT, TIMESTEP, Places, Simulation

ARMS = sensed(
    ("q", "<f8", (12,)),
    ("dq", "<f8", (12,)),
    ("tau", "<f8", (12,)),
    ("tool", "<f8", (14,)),
    ("width", "<f8", (2,)),
    ("q_target", "<f8", (12,)),
    ("tool_target", "<f8", (14,)),
    ("width_target", "<f8", (2,)),
)
ACTION = row_type(("q", "<f8", (12,)), ("width", "<f8", (2,)))


class World(Simulation[Body]):
    """Two arms at a table, and what is to be handed over or put together."""

    def __init__(self, clock: Clock, task: str, image: tuple[int, int], camera_hz: float, robot_hz: float) -> None:
        self.task = scene.TASKS[task]
        truth = sensed(*((name, "<f8", (7,)) for name in self.task.objects), ("stage", "<i4"))
        hz = {ROBOT: robot_hz, "truth": 50.0, **dict.fromkeys(scene.CAMERAS, camera_hz)}
        super().__init__(clock, image, {ROBOT: ARMS, "truth": truth}, scene.CAMERAS, hz)

    def build(self, _scenery: object) -> Body:
        return Body(self.task, self._image)

    def places(self, condition: Mapping[str, Any]) -> Places:
        return scene.places(self.task, condition)

    def due(self, name: str, taken: int) -> int:
        return round((taken + 1) * 1e9 / self._hz[name] / TIMESTEP)
