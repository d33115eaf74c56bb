"""The physics of ALOHA's table. Knows nothing of clocks."""

from collections.abc import Mapping
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.twin.aloha import scene

Floats = NDArray[np.float64]

SIDES = ("left", "right")

TIMESTEP = 2_000_000
"""Nanoseconds of one physics step."""

SETTLE = 150
"""Physics steps that pass, unseen, between arranging a scene and its first row."""

_ARMS = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]
_FINGERS = [6, 14]
_JOINTS = [*_ARMS[:6], 6, *_ARMS[6:], 14]
"""Where joints and their servos stand in MuJoCo's arrays: per arm six angles, then the finger that leads the other."""


class Body:
    """Two arms and some objects. A set point per joint moves towards its goal as fast as it may; motors follow it.

    Joints are counted left arm first: six angles in radians, then the opening of the fingers in metres; 14 in all.
    """

    def __init__(self, task: scene.Task, image: tuple[int, int]) -> None:
        self.model: Any = scene.build(task, image)
        self.data: Any = mujoco.MjData(self.model)
        self.objects = tuple(task.objects)
        self.goal: Floats = np.zeros(14)
        """Where the set points go."""
        self.speed: Floats = np.full(14, np.inf)
        """How fast, per second."""
        self._gains = self.model.actuator_gainprm[:, 0].copy(), self.model.actuator_biasprm[:, 1].copy()
        self._start = {name: self.model.body(_BODIES[name]).jntadr[0] for name in self.objects}
        self._names = [self.model.geom(i).name for i in range(self.model.ngeom)]

    def reset(self, places: Mapping[str, Floats]) -> None:
        """Put everything in its place, and let it come to rest."""
        mujoco.mj_resetData(self.model, self.data)
        start = np.array([*scene.START, 0.024 - scene.SHUT])
        start[6] *= 2
        self.goal, self.speed = np.tile(start, 2), np.full(14, np.inf)
        self.data.qpos[_ARMS] = np.tile(scene.START, 2)
        self.data.qpos[_FINGERS] = 0.024
        self.data.qpos[[i + 1 for i in _FINGERS]] = -0.024
        for name, place in places.items():
            at = self.model.jnt_qposadr[self._start[name]]
            self.data.qpos[at : at + 7] = [*place, scene.HEIGHT, 1.0, 0.0, 0.0, 0.0]
        for side in range(2):
            for joint in range(7):
                self.stiffen(7 * side + joint, True)
        self._set(self.goal)
        self.step(SETTLE)

    def step(self, steps: int) -> None:
        """Let physics steps pass, and bring poses, which MuJoCo computes before a step, up to date."""
        reach = self.speed * (TIMESTEP / 1e9)
        for _ in range(steps):
            here = self.set_points
            if not np.array_equal(here, self.goal):
                self._set(here + np.clip(self.goal - here, -reach, reach))
            mujoco.mj_step(self.model, self.data)
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_collision(self.model, self.data)

    def stiffen(self, joint: int, on: bool) -> None:
        """Switch a joint's motor on, at the joint's place, or off."""
        actuators = [_JOINTS[joint]] if joint % 7 < 6 else [_JOINTS[joint], _JOINTS[joint] + 1]
        for i in actuators:
            self.model.actuator_gainprm[i, 0] = self._gains[0][i] * on
            self.model.actuator_biasprm[i, 1] = self._gains[1][i] * on

    @property
    def set_points(self) -> Floats:
        """Where the motors are told to be."""
        return _opened(self.data.ctrl[_JOINTS])

    def _set(self, points: Floats) -> None:
        inner = points.copy()
        inner[[6, 13]] = inner[[6, 13]] / 2 + scene.SHUT
        self.data.ctrl[_JOINTS] = inner
        self.data.ctrl[[i + 1 for i in _FINGERS]] = -inner[[6, 13]]

    @property
    def q(self) -> Floats:
        """Where the joints are."""
        return _opened(self.data.qpos[_JOINTS])

    @property
    def dq(self) -> Floats:
        """How fast they move, per second."""
        speed = self.data.qvel[_JOINTS].copy()
        speed[[6, 13]] *= 2
        return np.asarray(speed)

    @property
    def tau(self) -> Floats:
        """What the motors spend, in newton metres; newtons for a finger."""
        return np.asarray(self.data.qfrc_actuator[_JOINTS].copy())

    def poses(self) -> list[Floats]:
        """Where every object is: x y z qw qx qy qz."""
        starts = [self.model.jnt_qposadr[self._start[name]] for name in self.objects]
        return [self.data.qpos[at : at + 7].copy() for at in starts]

    def stage(self) -> int:
        """How far the task has come, 0 to 4, as gym-aloha counts it."""
        pairs = {frozenset(self._names[i] for i in pair) for pair in self.data.contact.geom[: self.data.ncon]}

        def touch(one: str, other: str) -> bool:
            return frozenset((one, other)) in pairs

        left, right = "vx300s_left/10_left_gripper_finger", "vx300s_right/10_right_gripper_finger"
        if self.objects == ("cube",):
            lifted = not touch("red_box", "table")
            if touch("red_box", left):
                return 4 if lifted else 3
            return (2 if lifted else 1) if touch("red_box", right) else 0
        walls = [f"socket-{i}" for i in range(1, 5)]
        if touch("red_peg", "pin"):
            return 4
        lifted = not touch("red_peg", "table") and not any(touch(wall, "table") for wall in walls)
        if lifted and any(touch("red_peg", wall) for wall in walls):
            return 3
        both = touch("red_peg", right) and any(touch(wall, left) for wall in walls)
        return (2 if lifted else 1) if both else 0


_BODIES = {"cube": "box", "peg": "peg", "socket": "socket"}


def _opened(joints: Floats) -> Floats:
    """Joints with openings instead of a finger's place."""
    outer = np.array(joints, np.float64)
    outer[[6, 13]] = 2 * (outer[[6, 13]] - scene.SHUT)
    return outer
