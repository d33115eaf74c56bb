"""What stands on ALOHA's table: two ViperX arms face to face, and what is to be handed over or put together."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.device import DeviceError
from drivers.twin.scene import WrongCondition

START = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0)
"""Joint angles that each arm starts from, in radians."""

SHUT = 0.01844
"""Where each finger is, from the middle, when their tips touch, in metres."""

WIDEST = 0.07912
"""How far the tips are apart when the gripper is open, in metres."""

CAMERAS = ("top", "left_wrist", "right_wrist")

WRIST = 60.0
"""What the wrist cameras see, in degrees; the scene's own 20 show the finger tips and little else."""

HEIGHT = 0.05
"""Objects are let go at this height, in metres; they come to rest before the first row."""


class Task(NamedTuple):
    """A scene, and what is in it: each object's place is drawn between two corners, x y in metres."""

    file: str
    objects: Mapping[str, tuple[tuple[float, float], tuple[float, float]]]


TASKS = {
    "transfer": Task("bimanual_viperx_transfer_cube.xml", {"cube": ((0.0, 0.4), (0.2, 0.6))}),
    "insertion": Task(
        "bimanual_viperx_insertion.xml", {"peg": ((0.1, 0.4), (0.2, 0.6)), "socket": ((-0.2, 0.4), (-0.1, 0.6))}
    ),
}
"""What the arms can be asked to do: hand a cube from right to left, put a peg into a socket."""


def build(task: Task, image: tuple[int, int]) -> Any:
    """Compile a scene into a MuJoCo model that renders pictures up to ``image`` (height, width), cheaply.

    Raises:
        DeviceError: the package that brings the scenes is not installed.
    """
    found = importlib.util.find_spec("gym_aloha")
    if found is None or found.origin is None:
        raise DeviceError("ALOHA's scenes come with gym-aloha: install the extra [twin]")
    spec = mujoco.MjSpec.from_file(str(Path(found.origin).parent / "assets" / task.file))
    visual = spec.visual
    visual.global_.offheight, visual.global_.offwidth = image
    visual.quality.shadowsize = visual.quality.offsamples = 0
    for light in spec.lights:
        light.castshadow = False
    for camera in spec.cameras:
        if camera.name.endswith("wrist"):
            camera.fovy = WRIST
    return spec.compile()


def places(task: Task, condition: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return where every object goes, as x y: drawn from ``seed``, unless the condition says so itself.

    Raises:
        WrongCondition: a key or a value that the scene cannot have.
    """
    if unknown := condition.keys() - {"seed", *task.objects}:
        raise WrongCondition(f"this table has no {sorted(unknown)}; it takes {['seed', *task.objects]}")
    seed = condition.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise WrongCondition(f"seed must be a whole number, 0 or more, not {seed!r}")
    random = np.random.default_rng(seed)
    drawn = {name: random.uniform(*corners) for name, corners in task.objects.items()}
    return {name: _given(task, name, condition[name]) if name in condition else drawn[name] for name in drawn}


def _given(task: Task, name: str, value: Any) -> NDArray[np.float64]:
    low, high = task.objects[name]
    try:
        place = np.array(value, np.float64)
    except (TypeError, ValueError):
        place = np.array([])
    if place.shape != (2,) or not ((low <= place) & (place <= high)).all():
        raise WrongCondition(
            f"{name} must be [x, y] in metres, x {low[0]} to {high[0]} and y {low[1]} to {high[1]}, not {value!r}"
        )
    return place
