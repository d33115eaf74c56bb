"""The physics of ALOHA's table. Knows nothing of clocks."""

from collections.abc import Mapping
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.device import DeviceError, Row
from drivers.dynamixel.kinematics import Chain
from drivers.dynamixel.layout import Calibration
from drivers.twin.aloha import scene
from drivers.twin.simulation import ROBOT, TIMESTEP

Floats = NDArray[np.float64]

SIDES = ("left", "right")

SHORTEST, LONGEST = 20_000_000, 100_000_000
"""Bounds on the time in which the set points move to a new target, in nanoseconds."""

SLACK = 0.05
"""How far ahead of an arm its set point may stay when it holds, in radians."""

SETTLE = 150
"""Physics steps that pass, unseen, between arranging a scene and its first row."""

_ARMS = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]
_FINGERS = [6, 14]
_JOINTS = [*_ARMS[:6], 6, *_ARMS[6:], 14]
"""Where joints and their servos stand in MuJoCo's arrays: per arm six angles, then the finger that leads the other."""


_ARM, _WIDTH = [*range(6), *range(7, 13)], [6, 13]
"""Where angles and openings stand among the joints below."""


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
        self._target: Floats = self.goal
        self._commanded = -LONGEST
        self._chain = Chain(Calibration().low, Calibration().high)
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
        self._target, self._commanded = self.goal, -LONGEST
        self.pass_time(SETTLE, 0)

    def aim(self, target: Row, t: int) -> None:
        """Aim for joint angles and openings, evenly, in as much time as passed since the command before.

        Raises:
            DeviceError: the target is not a number. The arms stop.
        """
        wanted = np.zeros(14)
        wanted[_ARM], wanted[_WIDTH] = target["q"], np.clip(target["width"], 0, scene.WIDEST)
        if not np.isfinite(wanted).all():
            self.stop()
            raise DeviceError(f"{ROBOT}: a target is 12 joint angles and 2 openings, all finite, not {target}")
        took = min(max(SHORTEST, t - self._commanded), LONGEST)
        self.goal, self.speed = wanted, np.abs(wanted - self.set_points) / (took / 1e9)
        self._commanded, self._target = t, wanted

    def stop(self) -> None:
        """Stop the arms where they can stop. The fingers finish their move: what is held stays held."""
        goal = self.goal.copy()
        goal[_ARM] = (self.q + np.clip(self.set_points - self.q, -SLACK, SLACK))[_ARM]
        self.goal, self._target, self._commanded = goal, goal, -LONGEST
        self.speed[_ARM] = np.inf

    def notice(self) -> None:
        """Nothing is remembered between rows."""

    def measured(self, name: str) -> tuple[Any, ...]:
        """The arms' row, or the truth's."""
        if name != ROBOT:
            return *self.poses(), self.stage()
        q, target = self.q, self._target
        tools = [self._chain.tool(part) for joints in (q, target) for part in np.split(joints[_ARM], 2)]
        moved = q[_ARM], self.dq[_ARM], self.tau[_ARM]
        return (*moved, np.append(*tools[:2]), q[_WIDTH], target[_ARM], np.append(*tools[2:]), target[_WIDTH])

    def pass_time(self, steps: int, _t: int) -> None:
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
