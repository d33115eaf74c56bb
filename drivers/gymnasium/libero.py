"""LIBERO as a cell, through LeRobot's own environment of it, for whoever has it installed."""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np

from drivers.device import DeviceError, Kinematics, Row
from drivers.gymnasium.cell import Gym
from drivers.gymnasium.environment import Environment, Said
from drivers.gymnasium.world import Floats
from drivers.kinematics import Chain

REACH = np.array([0.05] * 3 + [0.5] * 3)
"""How far an action of 1 asks the hand to go in a step, in metres, and to turn, in radians."""

SLACK = 0.002
"""Fingers that are this near to where they should be are left alone, in metres."""

FETCH = (
    'LIBERO is {lacking}: install "lerobot[libero]==0.6.1" here, answer `python -c "import libero.libero"` once, which '
    "writes {config}, and put the scenes where that file says `assets`: `hf download lerobot/libero-assets "
    "--repo-type dataset --local-dir {assets}` (0.4 GB)"
)
"""What is told where something is missing."""


@dataclass(frozen=True)
class Libero:
    """A Franka whose hand takes steps: six numbers that its controller follows, and one for the fingers."""

    suite: str
    task: int
    hz: float = 20.0
    joints: int = 7
    arms: int = 1

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.task}"

    @property
    def cameras(self) -> Mapping[str, str]:
        return {"front": "image", "wrist": "image2"}

    @property
    def things(self) -> list[tuple[Any, ...]]:
        return []

    @cached_property
    def kinematics(self) -> Kinematics:
        return Chain()

    def make(self, image: tuple[int, int]) -> Environment:
        """Make the environment.

        Raises:
            DeviceError: LIBERO is not installed, or its scenes are not where it looks for them.
        """
        if (line := missing()) is not None:
            raise DeviceError(line)
        from lerobot.envs.libero import LiberoEnv
        from libero.libero import benchmark  # type: ignore[import-not-found]  # only whoever has it has it

        suite = benchmark.get_benchmark_dict()[self.suite]()
        height, width = image
        return Upright(
            LiberoEnv(
                *(suite, self.task, self.suite),
                obs_type="pixels_agent_pos",
                observation_height=height,
                observation_width=width,
            )
        )

    def posture(self, said: Said) -> tuple[Floats, Floats]:
        state = said["robot_state"]
        width = np.abs(np.asarray(state["gripper"]["qpos"], np.float64)).sum(keepdims=True)
        return np.asarray(state["joints"]["pos"], np.float64), width

    def action(self, target: Row, said: Said) -> Floats:
        (q, width), wanted = self.posture(said), float(target["width"])
        here, there = self.kinematics.tool(q), self.kinematics.tool(target["q"])
        back, turn, step = here[3:] * [1, -1, -1, -1], np.empty(4), np.empty(6)
        mujoco.mju_mulQuat(turn, there[3:], back)
        mujoco.mju_quat2Vel(step[3:], turn, 1.0)
        step[:3] = there[:3] - here[:3]
        fingers = np.sign(width[0] - wanted) if abs(width[0] - wanted) > SLACK else 0.0
        return np.append(np.clip(step / REACH, -1, 1), fingers)

    def found(self, _reward: float, _info: Mapping[str, Any]) -> tuple[Any, ...]:
        return ()


class Upright:
    """LeRobot's environment of LIBERO with its pictures the right way up, and a start chosen by the seed.

    The suite has some tens of starts for every task: a seed stands for the start of that number, counted round.
    """

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self.task_description: str = environment.task_description

    def reset(self, *, seed: int | None = None) -> tuple[Said, dict[str, Any]]:
        self._environment.init_state_id = seed or 0
        said, info = self._environment.reset(seed=seed)
        return _upright(said), info

    def step(self, action: Floats) -> tuple[Said, float, bool, bool, dict[str, Any]]:
        said, reward, terminated, truncated, info = self._environment.step(action)
        return _upright(said), float(reward), bool(terminated), bool(truncated), info

    def close(self) -> None:
        self._environment.close()


@dataclass
class GymLibero(Gym):
    """One task of LIBERO, in LeRobot's environment of it.

    Targets are joint angles, as for any of our arms; each step the hand is asked to go where the angles would bring
    it, as far as the suite's controller goes in a step. There is no operator for it, and the suite tells nothing of
    where things are but its own success.
    """

    suite_name: Literal["libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90"] = "libero_spatial"
    task: int = 0
    """Which of the suite's tasks."""

    @cached_property
    def suite(self) -> Libero:
        return Libero(self.suite_name, self.task)


def missing() -> str | None:
    """What to fetch and where to put it, in one line; None when LIBERO can begin.

    It is looked for without being imported: its first import without a file of settings asks questions.
    """
    config = Path(os.environ.get("LIBERO_CONFIG_PATH", "~/.libero")).expanduser() / "config.yaml"
    if importlib.util.find_spec("libero") is None:
        return FETCH.format(lacking="not installed", assets="ASSETS", config=config)
    if not config.is_file():
        return FETCH.format(lacking="not set up", assets="ASSETS", config=config)
    from libero.libero import get_libero_path

    assets = Path(get_libero_path("assets"))
    if not (assets / "scenes").is_dir():
        return FETCH.format(lacking="without scenes", assets=assets, config=config)
    return None


def _upright(said: Said) -> Said:
    return {**said, "pixels": {name: picture[::-1, ::-1] for name, picture in said["pixels"].items()}}
