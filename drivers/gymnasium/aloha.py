"""gym-aloha's TransferCube and Insertion as a cell, with the truth that our own ALOHA twin tells."""

import importlib.util
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from drivers.device import DeviceError, Kinematics, Row
from drivers.dual import Chains
from drivers.dynamixel.kinematics import Chain
from drivers.dynamixel.layout import Calibration
from drivers.gymnasium.cell import Gym
from drivers.gymnasium.environment import Environment, Said
from drivers.gymnasium.world import Floats
from drivers.twin.aloha.scene import TASKS, WIDEST

THEIRS = {"transfer": ("transfer_cube", "AlohaTransferCube-v0"), "insertion": ("insertion", "AlohaInsertion-v0")}
"""What gym-aloha calls each task, and the environment of it."""


@dataclass(frozen=True)
class Aloha:
    """Two ViperX arms: absolute joint angles, and fingers from 0, closed, to 1, ``WIDEST`` open."""

    task: str
    hz: float = 50.0
    joints: int = 12
    arms: int = 2

    @property
    def name(self) -> str:
        return f"gym_aloha/{THEIRS[self.task][1]}"

    @property
    def cameras(self) -> Mapping[str, str]:
        return {"top": "top"}

    @property
    def things(self) -> list[tuple[Any, ...]]:
        return [*((name, "<f8", (7,)) for name in TASKS[self.task].objects), ("stage", "<i4")]

    @cached_property
    def kinematics(self) -> Kinematics:
        limits = Calibration()
        return Chains((Chain(limits.low, limits.high), Chain(limits.low, limits.high)))

    def make(self, image: tuple[int, int]) -> Environment:
        """Make the environment.

        Raises:
            DeviceError: gym-aloha is not installed.
        """
        if importlib.util.find_spec("gym_aloha") is None:
            raise DeviceError("gym-aloha's suite is not installed: install the extra [twin]")
        with _undrawn():
            from drivers.gymnasium.aloha_env import LightAloha
        made: Environment = LightAloha(THEIRS[self.task][0], image)
        return made

    def posture(self, said: Said) -> tuple[Floats, Floats]:
        each = np.asarray(said["agent_pos"], np.float64).reshape(2, 7)
        return each[:, :6].ravel(), each[:, 6] * WIDEST

    def action(self, target: Row, _said: Said) -> Floats:
        each = np.column_stack([target["q"].reshape(2, 6), target["width"] / WIDEST])
        return np.asarray(each.ravel())

    def found(self, reward: float, info: Mapping[str, Any]) -> tuple[Any, ...]:
        poses = np.split(info["objects"], len(self.things) - 1)
        return *poses, round(reward)


@dataclass
class GymAloha(Gym):
    """gym-aloha: the right arm hands a cube to the left, or a peg goes into a socket.

    What it says and takes is the environment's own, ``agent_pos`` and 14 absolute targets at 50 Hz, told as a robot's
    rows, so that whatever drives our pairs drives it. ``truth`` has its reward as ``stage``. Objects lie where the
    suite puts them for a seed.

    What it cannot do: torques are not told, speeds are differences of angles, and a start cannot be chosen but by
    its seed. Shadows and smooth edges are missing from the pictures.
    """

    task: Literal["transfer", "insertion"] = "transfer"

    @cached_property
    def suite(self) -> Aloha:
        return Aloha(self.task)


@contextmanager
def _undrawn() -> Generator[None]:
    """Keep dm_control from opening a graphics library while it is imported: it draws nothing here."""
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = before
