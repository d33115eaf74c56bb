"""The emulated arm as its controller knows it: shape, limits, and the description it hands to clients."""

from functools import cached_property
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.kinematics import HIGH, LOW, SPEED, description

Floats = NDArray[np.float64]

POSITION_LOW, POSITION_HIGH, SPEED_LIMIT = np.array(LOW), np.array(HIGH), np.array(SPEED)

ACCELERATION_LIMIT, JERK_LIMIT = 10.0, 5000.0
"""Of every joint's commanded motion, in rad/s² and rad/s³: libfranka's own constants for the FR3."""

TOOL_SPEED_LIMIT, TOOL_ACCELERATION_LIMIT = 3.0, 9.0
"""Of the commanded tool, in m/s and m/s²."""

TORQUE_LIMIT = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])

TORQUE_STEP = 1.0
"""Most that a commanded torque may change per millisecond, in Nm."""

FLANGE = 0.107
"""From the last joint to the flange, in metres."""

FLANGE_T_HAND = np.eye(4)
FLANGE_T_HAND[:2, :2] = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)
FLANGE_T_HAND[2, 3] = 0.1034
"""The hand's tool point in the flange's frame: turned by -45 degrees, between the finger tips."""


class Shape:
    """Poses and Jacobians of the arm for any joint angles, not only those it stands at."""

    def __init__(self) -> None:
        self.flange_T_tool: Floats = FLANGE_T_HAND.copy()

    def tool(self, q: Floats) -> Floats:
        """Return base_T_tool (4, 4) for joint angles ``q`` (7,)."""
        return self._flange(q) @ self.flange_T_tool

    def jacobian(self, q: Floats) -> Floats:
        """Return how fast the tool point moves and turns per joint speed, (6, 7), in the base frame."""
        point = self.tool(q)[:3, 3]
        axes, anchors = self._data.xaxis[:7], self._data.xanchor[:7]
        return np.vstack([np.cross(axes, point - anchors).T, axes.T])

    def _flange(self, q: Floats) -> Floats:
        self._data.qpos[:7] = q
        mujoco.mj_kinematics(self._model, self._data)
        last = self._model.body("link7").id
        pose = np.eye(4)
        pose[:3, :3] = self._data.xmat[last].reshape(3, 3)
        pose[:3, 3] = self._data.xpos[last] + FLANGE * pose[:3, 2]
        return pose

    @cached_property
    def hand(self) -> tuple[float, Floats, Floats]:
        """Mass (kg), centre of mass (m) and inertia (3, 3) about it of all that hangs on the flange, in its frame."""
        model, data = self._model, self._data
        data.qpos[:] = 0
        mujoco.mj_kinematics(model, data)
        flange = self._flange(np.zeros(7))
        bodies = [model.body(name).id for name in ("hand", "left_finger", "right_finger")]
        mass = model.body_mass[bodies]
        places = (data.xipos[bodies] - flange[:3, 3]) @ flange[:3, :3]
        centre = mass @ places / mass.sum()
        inertia = np.zeros((3, 3))
        for body, place in zip(bodies, places - centre, strict=True):
            turn = flange[:3, :3].T @ data.ximat[body].reshape(3, 3)
            inertia += turn @ np.diag(model.body_inertia[body]) @ turn.T
            inertia += model.body_mass[body] * (place @ place * np.eye(3) - np.outer(place, place))
        return float(mass.sum()), centre, inertia

    @cached_property
    def urdf(self) -> str:
        """The arm up to its flange, for clients: they compute gravity, masses and poses from it."""
        links = ['<link name="base"/><link name="link0"/>', _joint("base_joint", "fixed", "base", "link0", "")]
        for i in range(1, 8):
            body = self._model.body(f"link{i}")
            limit = (
                f'<axis xyz="0 0 1"/><limit lower="{LOW[i - 1]}" upper="{HIGH[i - 1]}" velocity="{SPEED[i - 1]}" '
                f'effort="{TORQUE_LIMIT[i - 1]}"/>'
                f'<position_based_velocity_limits velocity_offset="{_OFFSET}" deceleration_limit="{_SLOWING[i - 1]}"/>'
            )
            roll = 2 * np.arctan2(body.quat[1], body.quat[0])
            place = f'<origin rpy="{roll:.12f} 0 0" xyz="{_numbers(body.pos)}"/>'
            links += [
                _link(f"link{i}", body),
                _joint(f"joint{i}", "revolute", f"link{i - 1}", f"link{i}", place + limit),
            ]
        flange = f'<origin xyz="0 0 {FLANGE}"/>'
        links += ['<link name="link8"/>', _joint("joint8", "fixed", "link7", "link8", flange)]
        return f'<?xml version="1.0"?><robot name="fr3">{"".join(links)}</robot>'

    @cached_property
    def _model(self) -> Any:
        return mujoco.MjModel.from_xml_string(description())

    @cached_property
    def _data(self) -> Any:
        return mujoco.MjData(self._model)


_OFFSET, _SLOWING = 0.652, (6.0, 2.585, 3.0, 3.5, 8.0, 6.0, 8.0)
"""How joint speeds shrink towards joint limits; clients want some numbers here, these are illustrative."""


def _link(name: str, body: Any) -> str:
    x, y, z = body.inertia
    return (
        f'<link name="{name}"><inertial><origin xyz="{_numbers(body.ipos)}"/><mass value="{body.mass[0]}"/>'
        f'<inertia ixx="{x}" iyy="{y}" izz="{z}" ixy="0" ixz="0" iyz="0"/></inertial></link>'
    )


def _joint(name: str, kind: str, parent: str, child: str, content: str) -> str:
    return f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>{content}</joint>'


def _numbers(values: Floats) -> str:
    return " ".join(f"{value:.12g}" for value in values)


def between(here: Floats, there: Floats) -> Floats:
    """Return the way (6,) from one pose (4, 4) to another: metres, then the axis times the angle in radians."""
    turn = there[:3, :3] @ here[:3, :3].T
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    sine = float(np.linalg.norm(axis))
    angle = float(np.arctan2(sine, (np.trace(turn) - 1) / 2))
    return np.concatenate([there[:3, 3] - here[:3, 3], axis * (angle / sine if sine > 1e-9 else 1.0)])


def steps(jacobian: Floats, way: Floats) -> Floats:
    """Return the smallest joint steps (7,) that go a small way (6,); damped a little near singularities."""
    return jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-6 * np.eye(6), way)
