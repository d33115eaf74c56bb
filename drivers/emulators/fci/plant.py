"""The physics under the emulated controller: an arm and a hand, alone or at the twin's table."""

from collections.abc import Mapping
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.kinematics import description
from drivers.twin.body import Body
from drivers.twin.scene import HOME, places

Floats = NDArray[np.float64]

MILLISECOND = 0.001

FILTER = 0.1
"""Share of a new reading in the filtered external torque: a time constant of 10 ms."""

_ARM = 1
"""The group of the actuators that hold the arm; they rest while somebody else computes torques."""


class Plant:
    """An arm that follows set points or torques, a millisecond at a time, and feels what touches it.

    Gravity is compensated, as the real controller does. Nothing here knows of limits, modes or clients.
    """

    def __init__(self, body: Body | None = None) -> None:
        self.body = body
        self.model: Any = mujoco.MjModel.from_xml_string(description()) if body is None else body.model
        self.data: Any = mujoco.MjData(self.model) if body is None else body.data
        self.model.opt.timestep = MILLISECOND
        self.model.actuator_group[:7] = _ARM
        self._late = -self.model.actuator_biasprm[:7, 2] / self.model.actuator_gainprm[:7, 0]
        self.model.actuator_ctrlrange[7:9] = (-0.1, 0.14)
        self._hand = self.model.body("hand").id
        self._tool = self.model.site("tool").id
        self.push: Floats = np.zeros(6)
        """Force (N) and torque (Nm) at the tool point, in the base frame, as if somebody leaned on it."""
        self.reset({})

    def reset(self, condition: Mapping[str, Any], q: Floats | None = None) -> None:
        """Put everything in its place, at rest, the arm at home or at ``q``.

        Raises:
            WrongCondition: the scene cannot be arranged like that.
        """
        start = np.array(HOME) if q is None else q
        self.model.opt.disableactuator = 0
        if self.body is None:
            mujoco.mj_resetData(self.model, self.data)
        else:
            self.body.reset(places(condition))
        self.data.qpos[:9], self.data.qvel[:] = [*start, 0.04, 0.04], 0
        self.data.ctrl[:9] = [*start, 0.04, 0.04]
        mujoco.mj_forward(self.model, self.data)
        self.push[:] = 0
        self.felt: Floats = np.zeros(7)
        """External torque per joint, filtered, in Nm: what the arm exerts on its surroundings, as Franka counts it."""

    @property
    def q(self) -> Floats:
        return self.data.qpos[:7].copy()  # type: ignore[no-any-return]  # MuJoCo ships no type information

    @property
    def dq(self) -> Floats:
        return self.data.qvel[:7].copy()  # type: ignore[no-any-return]  # MuJoCo ships no type information

    @property
    def torque(self) -> Floats:
        """What the joints' sensors read, in Nm, gravity included."""
        driven = self.data.qfrc_actuator[:7] + self._applied
        return driven + self.data.qfrc_gravcomp[:7]  # type: ignore[no-any-return]  # MuJoCo ships no type information

    def follow(self, q: Floats, dq: Floats, ddq: Floats) -> None:
        """Let a millisecond pass while the joints are held to set points that move, and speed up as they do."""
        self.model.opt.disableactuator = 0
        self.data.ctrl[:7] = q + self._late * dq
        acceleration, torque = np.zeros(self.model.nv), np.zeros(self.model.nv)
        acceleration[:7] = ddq
        mujoco.mj_mulM(self.model, self.data, torque, acceleration)
        self._pass(torque[:7])

    def exert(self, torque: Floats) -> None:
        """Let a millisecond pass under joint torques, gravity being taken care of."""
        self.model.opt.disableactuator = 1 << _ARM
        self._pass(torque)

    def _pass(self, torque: Floats) -> None:
        data = self.data
        data.qfrc_applied[:] = 0
        if self.push.any():
            point = data.site_xpos[self._tool]
            mujoco.mj_applyFT(self.model, data, self.push[:3], self.push[3:], point, self._hand, data.qfrc_applied)
        pushed = data.qfrc_applied[:7].copy()
        data.qfrc_applied[:7] += torque
        mujoco.mj_step(self.model, data)
        mujoco.mj_kinematics(self.model, data)
        self._applied = torque
        self.felt = self.felt + FILTER * (-(pushed + data.qfrc_constraint[:7]) - self.felt)

    _applied: Floats = np.zeros(7)

    @property
    def width(self) -> float:
        """How far the fingers are apart, in metres."""
        return max(0.0, float(self.data.qpos[7] + self.data.qpos[8]))

    @property
    def stiffness(self) -> float:
        """How hard a finger presses per metre that it is short of its set point, in N/m."""
        return float(self.model.actuator_gainprm[7, 0])

    @property
    def closing(self) -> float:
        """How fast the fingers approach each other, in m/s."""
        return -float(self.data.qvel[7] + self.data.qvel[8])

    def grip(self, width: float, force: float) -> None:
        """Set where the fingers go, in metres apart, and the most that each may press, in newtons."""
        self.data.ctrl[7:9] = width / 2
        self.model.actuator_forcerange[7:9] = (-force, force)
