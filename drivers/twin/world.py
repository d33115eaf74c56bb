"""The Franka's table in time, and what its devices say."""

from collections.abc import Mapping
from typing import Any

from drivers.clock import Clock
from drivers.device import row_type, sensed
from drivers.twin import scene
from drivers.twin.body import Body
from drivers.twin.scenery import Scenery
from drivers.twin.simulation import ROBOT, TIMESTEP, Places, Simulation

ARM = sensed(
    ("q", "<f8", (7,)),
    ("dq", "<f8", (7,)),
    ("tau", "<f8", (7,)),
    ("tool", "<f8", (7,)),
    ("width", "<f8"),
    ("q_target", "<f8", (7,)),
    ("tool_target", "<f8", (7,)),
    ("width_target", "<f8"),
)
ACTION = row_type(("q", "<f8", (7,)), ("width", "<f8"))
TRUTH = sensed(
    *((cube, "<f8", (7,)) for cube in scene.CUBES),
    *((pad, "<f8", (3,)) for pad in scene.PADS),
    ("touched", "?", (len(scene.CUBES),)),
    ("held", "?", (len(scene.CUBES),)),
    ("collided", "?"),
)

CAMERAS = ("front", "wrist")

FIRST = 20_000_000
"""Nanoseconds from an arrangement to the first row of truth and the first frame of every camera."""


class World(Simulation[Body]):
    """An arm on a table and everything around it."""

    def __init__(self, clock: Clock, image: tuple[int, int], camera_hz: float, robot_hz: float) -> None:
        hz = {ROBOT: robot_hz, "truth": 50.0, **dict.fromkeys(CAMERAS, camera_hz)}
        super().__init__(clock, image, {ROBOT: ARM, "truth": TRUTH}, CAMERAS, hz)

    def scenery(self, condition: Mapping[str, Any]) -> Scenery:
        return scene.scenery(condition)

    def build(self, scenery: Scenery) -> Body:
        return Body(self._image, scenery)

    def places(self, condition: Mapping[str, Any]) -> Places:
        return scene.places(condition)

    def due(self, name: str, taken: int) -> int:
        period = 1e9 / self._hz[name] / TIMESTEP
        return (round(period) if name == ROBOT else FIRST // TIMESTEP) + round(taken * period)
