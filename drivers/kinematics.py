"""Where a Franka's tool is for given joints, and which joints bring it there."""

from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOW = (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159)
"""Lowest joint angles of an FR3, in radians, from its data sheet."""

HIGH = (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159)
"""Highest joint angles of an FR3, in radians, from its data sheet."""

SPEED = (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)
"""Fastest joint speeds of an FR3, in radians per second, from its data sheet."""


def description() -> str:
    """Return the arm as MJCF text: bodies, joints and contact shapes in Franka's own convention."""
    return resources.files("drivers").joinpath("franka.xml").read_text()


@dataclass(frozen=True)
class Chain:
    """One Franka arm with its hand; the tool is the point between the finger tips, 0.1034 m from the flange.

    Joint angles are Franka's own (the zero of its Denavit-Hartenberg table). A chain keeps scratch memory:
    give every thread its own. It knows nothing of what stands around the arm.
    """

    posture: tuple[float, ...] = (0.0, -0.2, 0.0, -2.2, 0.0, 2.0, 0.785)
    """Joint angles that the elbow drifts towards where the tool does not care, in radians."""

    steps: int = 20
    """Most improvements tried per call; a call that starts near its answer needs two or three."""

    damping: float = 1e-4
    """Keeps joint steps small where the arm is nearly singular, at the price of slower convergence."""

    step: float = 0.25
    """Furthest any joint moves in one improvement, in radians."""

    ease: float = 0.05
    """Share of the way to the posture that is covered per improvement, in the motions the tool does not feel."""

    near: float = 2e-5
    """The answer is good when the tool is this close, in metres and in radians."""

    def tool(self, q: Floats) -> Floats:
        """Return the tool's pose for joint angles ``q`` (7,), in radians: x y z (m), then qw qx qy qz."""
        model = self._model
        self._place(q)
        pose = np.empty(7)
        pose[:3] = model.site
        mujoco.mju_mat2Quat(pose[3:], model.frame)
        return pose if pose[3:] @ DOWN >= 0 else np.concatenate([pose[:3], -pose[3:]])

    def joints(self, near: Floats, tool: Floats) -> Floats:
        """Return joint angles (7,) that bring the tool to the pose ``tool`` (7,), searching from ``near`` (7,).

        The answer always keeps the joint limits. A pose out of reach gives the closest the search came.
        """
        low, high = self.low, self.high
        q = np.clip(np.asarray(near, np.float64), low, high)
        want = np.asarray(tool, np.float64)
        turn = want[3:] / np.linalg.norm(want[3:])
        best, closest = q, np.inf
        error, here = np.empty(6), np.empty(4)
        model = self._model
        for _ in range(self.steps):
            self._place(q)
            np.subtract(want[:3], model.site, out=error[:3])
            mujoco.mju_mat2Quat(here, model.frame)
            mujoco.mju_subQuat(error[3:], turn, here)
            error[3:] = model.rotation @ error[3:]
            off = float(np.sqrt(error @ error))
            if off < closest:
                best, closest = q, off
            if off < self.near:
                break
            jacobian = self._jacobian()
            q = np.clip(q + self._improve(q, jacobian, error), low, high)
        return best.copy()

    def _improve(self, q: Floats, jacobian: Floats, error: Floats) -> Floats:
        """One damped least-squares step towards the target, with the rest of the freedom spent on posture."""
        drift = self.ease * (self._rest - q)
        gram = jacobian @ jacobian.T
        gram[_DIAGONAL] += self.damping * min(1.0, float(error @ error) * 1e2 + 1e-3)
        move = drift + jacobian.T @ np.linalg.solve(gram, error - jacobian @ drift)
        largest = float(np.abs(move).max())
        return move if largest <= self.step else move * (self.step / largest)

    def _place(self, q: Floats) -> None:
        model = self._model
        model.q[:] = q
        mujoco.mj_kinematics(model.model, model.data)

    def _jacobian(self) -> Floats:
        """The tool's velocity (3) and turning rate (3) per unit of joint speed, (6, 7), for the placed joints."""
        model = self._model
        axes = model.axes
        arm = model.site - model.anchors
        whole = np.empty((6, 7))
        whole[0] = axes[:, 1] * arm[:, 2] - axes[:, 2] * arm[:, 1]
        whole[1] = axes[:, 2] * arm[:, 0] - axes[:, 0] * arm[:, 2]
        whole[2] = axes[:, 0] * arm[:, 1] - axes[:, 1] * arm[:, 0]
        whole[3:] = axes.T
        return whole

    @cached_property
    def low(self) -> Floats:
        return np.array(LOW)

    @cached_property
    def high(self) -> Floats:
        return np.array(HIGH)

    @cached_property
    def _rest(self) -> Floats:
        return np.array(self.posture)

    @cached_property
    def _model(self) -> "_Views":
        return _Views()


DOWN = np.array([0.0, 1.0, 0.0, 0.0])
"""The rotation of a tool that points straight down; quaternions are given in this one's half of the sphere."""

_DIAGONAL = (np.arange(6), np.arange(6))


class _Views:
    """The compiled arm, and views into it that stay valid: looked up once, read thousands of times a second."""

    def __init__(self) -> None:
        self.model: Any = mujoco.MjModel.from_xml_string(description())
        self.data: Any = mujoco.MjData(self.model)
        site = self.model.site("tool").id
        self.q: Floats = self.data.qpos[:7]
        self.site: Floats = self.data.site_xpos[site]
        self.frame: Floats = self.data.site_xmat[site]
        self.rotation: Floats = self.frame.reshape(3, 3)
        self.anchors: Floats = self.data.xanchor[:7]
        self.axes: Floats = self.data.xaxis[:7]
