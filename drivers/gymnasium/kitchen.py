"""Franka Kitchen as a cell: one thing to be done there, by an arm whose joints are told in Franka's own angles."""

import importlib.util
import math
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import Any, Literal

import numpy as np

from drivers.device import DeviceError, Kinematics, Row
from drivers.gymnasium.cell import Gym
from drivers.gymnasium.environment import Environment, Said
from drivers.gymnasium.world import Floats
from drivers.kinematics import Chain

HANDLES = {
    "bottom burner": "knob2_site",
    "top burner": "knob4_site",
    "light switch": "light_site",
    "slide cabinet": "slide_site",
    "hinge cabinet": "hinge_site2",
    "microwave": "microhandle_site",
    "kettle": "kettle_site",
}
"""Every element of the kitchen, and where it is held."""

ZEROS = np.array([0, 0, 0, 0, 0, 1.57, math.pi / 4])
"""What the kitchen's joint angles lack of Franka's own, in radians."""

FASTEST = 2.0
"""What an action of 1 asks of a joint, in radians per second, or of a finger, in metres per second."""


@dataclass(frozen=True)
class Kitchen:
    """A Franka in a kitchen: it takes velocities, from which the suite works out joint angles to be at."""

    element: str
    spread: float
    hz: float = 12.5
    joints: int = 7
    arms: int = 1

    @property
    def name(self) -> str:
        return f"FrankaKitchen-v1/{self.element}"

    @property
    def cameras(self) -> Mapping[str, str]:
        return {"left": "left_cap", "right": "right_cap"}

    @property
    def things(self) -> list[tuple[Any, ...]]:
        return [(self.element.replace(" ", "_"), "<f8", (3,)), ("off", "<f8")]

    @cached_property
    def kinematics(self) -> Kinematics:
        return Chain()

    def make(self, image: tuple[int, int]) -> Environment:
        """Make the environment.

        Raises:
            DeviceError: gymnasium-robotics is not installed.
        """
        if importlib.util.find_spec("gymnasium_robotics") is None:
            raise DeviceError("Franka Kitchen comes with gymnasium-robotics: install the extra [twin]")
        with redirect_stderr(StringIO()):  # while it is imported, it tells of other environments of its own
            from drivers.gymnasium.kitchen_env import LightKitchen
        made: Environment = LightKitchen(self.element, HANDLES[self.element], image, self.spread)
        return made

    def posture(self, said: Said) -> tuple[Floats, Floats]:
        joints = np.asarray(said["agent_pos"], np.float64)
        return joints[:7] + ZEROS, joints[7:9].sum(keepdims=True)

    def action(self, target: Row, said: Said) -> Floats:
        wanted = np.append(target["q"] - ZEROS, [target["width"] / 2] * 2)
        return np.asarray((wanted - said["agent_pos"]) * self.hz / FASTEST)

    def found(self, _reward: float, info: Mapping[str, Any]) -> tuple[Any, ...]:
        return info["handle"], info["off"]


@dataclass
class GymKitchen(Gym):
    """gymnasium-robotics' FrankaKitchen-v1, with one thing to be done, such as opening the microwave.

    ``agent_pos`` is the suite's noisy posture, 9 numbers, and 9 velocities go back at 12.5 Hz: what they ask for is
    the target, as fast as 2 rad/s allow. ``truth`` tells where the element is held, and how far it is from done,
    in the suite's own measure; below 0.3 is success.

    What it cannot do: the kitchen itself never moves, and every episode of the suite begins alike, so the arm begins
    up to ``spread`` off here. Forces are not told.
    """

    element: Literal[
        "microwave", "slide cabinet", "hinge cabinet", "light switch", "kettle", "bottom burner", "top burner"
    ] = "microwave"
    spread: float = 0.05
    """How far each joint may begin from where the suite has it, in radians."""

    @cached_property
    def suite(self) -> Kitchen:
        return Kitchen(self.element, self.spread)
