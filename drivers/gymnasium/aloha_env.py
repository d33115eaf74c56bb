"""gym-aloha's environment, the same to the number, but drawn only where somebody looks."""

from typing import Any

import numpy as np
from gym_aloha.env import AlohaEnv  # type: ignore[import-untyped]  # it ships no type information
from numpy.typing import NDArray

from drivers.gymnasium.environment import Pictures, lighten
from drivers.twin.picture import Painter

CAMERAS = ("top", "angle", "front_close")
"""Those of its scene that stand still. Its own environment draws all three for every step, and shows ``top``."""


class LightAloha(AlohaEnv):  # type: ignore[misc]  # it ships no type information
    """``pixels`` are drawn when they are looked at, without shadows; ``info`` tells where the objects are, too."""

    def __init__(self, task: str, image: tuple[int, int]) -> None:
        """Make ``transfer_cube`` or ``insertion``, with pictures of this height and width."""
        height, width = image
        super().__init__(task, "pixels_agent_pos", observation_height=height, observation_width=width)
        self._model = self._env.physics.model.ptr
        lighten(self._model, image)
        self._painter = Painter(self._model, image)

    def close(self) -> None:
        """Stop drawing for good."""
        self._painter.close()

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        said, info = super().reset(seed, options)
        return said, info | self._objects()

    def step(self, action: NDArray[np.float64]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        said, reward, terminated, truncated, info = super().step(action)
        return said, reward, terminated, truncated, info | self._objects()

    def _objects(self) -> dict[str, Any]:
        return {"objects": self._env.task.get_env_state(self._env.physics)}

    def _make_env_task(self, task_name: str) -> Any:
        """Their environment, but for what it looks at."""
        made = super()._make_env_task(task_name)
        made.task.get_observation = self._observe
        return made

    def _observe(self, physics: Any) -> dict[str, Any]:
        return {"qpos": self._env.task.get_qpos(physics), "scene": physics.data.qpos}

    def _format_raw_obs(self, raw_obs: Any) -> dict[str, Any]:
        return {"pixels": Pictures(self._painter, CAMERAS, raw_obs["scene"]), "agent_pos": raw_obs["qpos"]}
