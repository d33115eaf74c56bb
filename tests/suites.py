"""A stand-in with the interface of LeRobot's LIBERO, and takes in suites that need no recorder."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors.agents import Agent
from collectors.loop import Ended, Loop
from drivers import Rows
from drivers.gymnasium.cell import Gym
from drivers.gymnasium.environment import Environment
from drivers.gymnasium.libero import REACH, Libero, Upright
from drivers.kinematics import Chain
from storage import Observation

HOME = np.array([0.0, 0.196, 0.0, -2.4, 0.0, 2.6, 0.785])


class StandIn:
    """What ``lerobot.envs.libero.LiberoEnv`` says and takes. The task is done once the hand is 10 cm higher."""

    task_description = "raise the hand"

    def __init__(self, image: tuple[int, int] = (24, 32)) -> None:
        self.init_state_id = 0
        self.begun: list[int] = []
        self.taken: list[NDArray[np.float64]] = []
        self.closed = False
        self._image, self._chain = image, Chain()

    def reset(self, seed: int | None = None, **_more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        self.begun.append(self.init_state_id)
        self._q, self._width = HOME.copy(), 0.08
        self._q[0] = 0.01 * (self.init_state_id % 5)
        self._height = float(self._chain.tool(self._q)[2])
        return self._said(), {"is_success": False}

    def step(self, action: NDArray[np.float64]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Go where the action asks, at once, but no further than a controller goes in a step."""
        assert action.shape == (7,)
        assert (np.abs(action) <= 1).all()
        self.taken.append(action)
        tool = self._chain.tool(self._q)
        tool[:3] += action[:3] * REACH[:3]
        self._q = self._chain.joints(self._q, tool)
        self._width = float(np.clip(self._width - 0.01 * action[6], 0.0, 0.08))
        done = self._chain.tool(self._q)[2] > self._height + 0.1
        return self._said(), float(done), bool(done), False, {"is_success": bool(done)}

    def close(self) -> None:
        self.closed = True

    def _said(self) -> dict[str, Any]:
        picture = np.zeros((*self._image, 3), np.uint8)
        picture[0, 0] = 255
        return {
            "pixels": {"image": picture, "image2": picture},
            "robot_state": {
                "joints": {"pos": self._q.copy(), "vel": np.zeros(7)},
                "gripper": {"qpos": np.array([self._width / 2, -self._width / 2]), "qvel": np.zeros(2)},
            },
        }


def stand_in(image: tuple[int, int] = (24, 32)) -> Upright:
    """The stand-in, as our adapter of LIBERO makes it."""
    return Upright(StandIn(image))


class Standing(Libero):
    """LIBERO, with a stand-in where the suite would be."""

    def __init__(self) -> None:
        super().__init__("libero_spatial", 0)

    def make(self, image: tuple[int, int]) -> Environment:
        return stand_in(image)


class Kept:
    """A sink that keeps rows in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Rows]] = {}

    def append(self, stream: str, rows: Rows) -> None:
        self.rows.setdefault(stream, []).append(rows)


def drive(
    cell: Gym, agent: Agent, instruction: str, limit: float, **condition: int
) -> tuple[Ended, Mapping[str, Rows]]:
    """Have somebody drive a suite once, until they are done; nobody looks at pictures."""
    cell.arrange(condition)
    kept, truth = Kept(), [device for device in cell.watching if device.name == "truth"]

    def done(seen: Observation) -> bool:
        return bool(agent.done(seen)) if hasattr(agent, "done") else False

    ended = Loop(cell.robot, truth, cell.clock, cell.suite.hz).run(agent, instruction, kept, limit, done)
    return ended, {name: np.concatenate(rows) for name, rows in kept.rows.items()}
