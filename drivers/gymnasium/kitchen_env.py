"""Franka Kitchen from gymnasium-robotics, saying and taking what LeRobot's environments do."""

from typing import Any

import gymnasium
import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from gymnasium_robotics.envs.franka_kitchen import KitchenEnv  # type: ignore[import-untyped]  # nor does this
from gymnasium_robotics.envs.franka_kitchen.kitchen_env import (  # type: ignore[import-untyped]
    OBS_ELEMENT_GOALS,
    OBS_ELEMENT_INDICES,
)
from numpy.typing import NDArray

from drivers.gymnasium.environment import Pictures, lighten
from drivers.twin.picture import Painter

VIEWS = {"left_cap": 70.0, "right_cap": 110.0}
"""Which way each camera looks, in degrees. Where the scene has them they see a counter; 70 is the suite's own."""

LOOKAT, DISTANCE, DOWN = np.array([-0.2, 0.5, 2.0]), 2.2, np.radians(35)
"""Where the suite's own view looks, from how far, in metres, and how steeply."""


class LightKitchen(gymnasium.Env[dict[str, Any], NDArray[np.float64]]):
    """One thing to be done in the kitchen; ``info`` tells where it is held and how far it is from done.

    The suite begins every episode with the same posture, but for its noise. Here each joint of the arm begins up to
    ``spread`` off, drawn from the seed, so that trials differ.
    """

    def __init__(self, element: str, handle: str, image: tuple[int, int], spread: float) -> None:
        """Make it for one of the suite's elements, which is held at a site called ``handle``."""
        self._kitchen = KitchenEnv(tasks_to_complete=[element], remove_task_when_completed=False)
        self.action_space = self._kitchen.action_space
        self._element, self._spread = element, spread
        self._start = self._kitchen.robot_env.init_qpos.copy()
        data = self._kitchen.data
        self._handle, self._foot = data.site(handle), data.body("panda0_link0")
        for camera, azimuth in VIEWS.items():
            _place(self._kitchen.model.camera(camera), np.radians(azimuth))
        lighten(self._kitchen.model, image)
        self._painter = Painter(self._kitchen.model, image)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        posture = self._start.copy()
        posture[:7] += self.np_random.uniform(-self._spread, self._spread, 7)
        self._kitchen.robot_env.init_qpos = posture
        said, _ = self._kitchen.reset(seed=seed)
        return self._said(said), self._info(False)

    def step(self, action: NDArray[np.float64]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        said, reward, terminated, truncated, _ = self._kitchen.step(action)
        return self._said(said), float(reward), bool(terminated), bool(truncated), self._info(reward > 0)

    def close(self) -> None:
        """Stop drawing for good."""
        self._painter.close()
        self._kitchen.close()

    def _said(self, said: Any) -> dict[str, Any]:
        pixels = Pictures(self._painter, tuple(VIEWS), self._kitchen.data.qpos)
        return {"pixels": pixels, "agent_pos": said["observation"][:9]}

    def _info(self, done: bool) -> dict[str, Any]:
        """Whether it is done, how far it is from that, and where it is held (m, in the frame of the arm's foot)."""
        there = self._kitchen.data.qpos[OBS_ELEMENT_INDICES[self._element]]
        off = float(np.linalg.norm(there - OBS_ELEMENT_GOALS[self._element]))
        at = self._foot.xmat.reshape(3, 3).T @ (self._handle.xpos - self._foot.xpos)
        return {"is_success": done, "off": off, "handle": at}


def _place(camera: Any, azimuth: float) -> None:
    """Have a camera look the way of ``azimuth``, in radians, as MuJoCo counts it."""
    level = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    ahead = np.cos(DOWN) * level - np.sin(DOWN) * np.array([0.0, 0.0, 1.0])
    right = np.array([level[1], -level[0], 0.0])
    frame = np.column_stack([right, np.cross(right, ahead), -ahead])
    camera.pos[:] = LOOKAT - DISTANCE * ahead
    mujoco.mju_mat2Quat(camera.quat, frame.ravel())
