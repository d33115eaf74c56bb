"""The physics of the Franka's table. Knows nothing of clocks."""

from collections.abc import Mapping
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.device import Row
from drivers.kinematics import Chain
from drivers.twin import scene
from drivers.twin.scenery import Scenery
from drivers.twin.simulation import ROBOT, TIMESTEP

SETTLE = 250
"""Physics steps that pass, unseen, between arranging a scene and its first row."""

_LEFT, _RIGHT, _ARM, _TABLE, _CUBE = 1, 2, 4, 8, 16
"""Bits that say what a contact shape belongs to; cube i has the bit ``_CUBE << i``, other things are the table's."""

_SLACK = 0.05
"""How far ahead of the arm its set point may stay when it holds, in radians: where it comes to rest at full speed."""

_SHORTEST, _LONGEST = 20_000_000, 100_000_000
"""Bounds on the time in which the set point moves to a new target, in nanoseconds."""


class Body:
    """The physics: a compiled scene and its state. Knows nothing of clocks."""

    def __init__(self, image: tuple[int, int], scenery: Scenery = scene.USUAL) -> None:
        self.model: Any = scene.build(image, scenery)
        self.data: Any = mujoco.MjData(self.model)
        self._chain = Chain()
        self._tool = self.model.site("tool").id
        self._start = np.array(scenery.start)
        self.solids = dict((*scenery.cubes, *scene.others(scenery)))
        """What stands on the table."""
        self._at = {name: self.model.joint(name).qposadr[0] for name in self.solids}
        self._kind = np.array([self._kind_of(i) for i in range(self.model.ngeom)])
        self._target = self._from = self._start
        self._tool_target = self._chain.tool(self._target)
        self._width = 0.08
        self._commanded = self._arrives = 0
        self._pairs: set[int] = set()

    def _kind_of(self, geom: int) -> int:
        name = self.model.geom(geom).name
        body = self.model.body(self.model.geom_bodyid[geom]).name
        if name in scene.CUBES:
            return _CUBE << list(scene.CUBES).index(name)
        return {"left_finger": _LEFT, "right_finger": _RIGHT, "world": _TABLE}.get(
            body, _TABLE if name in self.solids else _ARM
        )

    def reset(self, places: Mapping[str, NDArray[np.float64]]) -> None:
        """Put everything in its place, and let it come to rest."""
        data = self.data
        mujoco.mj_resetData(self.model, data)
        data.qpos[:7], data.qpos[7:9] = self._start, 0.04
        for name, address in self._at.items():
            x, y, yaw = places[name]
            height = self.solids[name].size[2] / 2
            data.qpos[address : address + 7] = [x, y, height, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        self._width = 0.08
        self._pairs.clear()
        self._rest(self._start)
        data.ctrl[:7], data.ctrl[7:9] = self._start, self._width / 2
        mujoco.mj_step(self.model, data, SETTLE)
        mujoco.mj_kinematics(self.model, data)

    def aim(self, target: Row, t: int) -> None:
        """Move the set point evenly to joint angles, in as much time as passed since the command before."""
        took = min(max(_SHORTEST, t - self._commanded), _LONGEST)
        self._from, self._target = self.data.ctrl[:7].copy(), np.array(target["q"], np.float64)
        self._width = float(target["width"])
        self._commanded, self._arrives = t, t + took
        self._tool_target = self._chain.tool(self._target)

    def stop(self) -> None:
        q = self.data.qpos[:7]
        self._rest(q + np.clip(self.data.ctrl[:7] - q, -_SLACK, _SLACK))

    def _rest(self, q: NDArray[np.float64]) -> None:
        self._from = self._target = q
        self._commanded = self._arrives = -_LONGEST
        self._tool_target = self._chain.tool(q)

    def pass_time(self, steps: int, t: int) -> None:
        """Let physics steps pass from ``t`` on. Poses, which MuJoCo computes before a step, are brought up to date."""
        after = t + steps * TIMESTEP
        left = max(0.0, (self._arrives - after) / max(1, self._arrives - self._commanded))
        self.data.ctrl[:7] = self._target + left * (self._from - self._target)
        self.data.ctrl[7:9] = self._width / 2
        mujoco.mj_step(self.model, self.data, steps)
        mujoco.mj_kinematics(self.model, self.data)

    def notice(self) -> None:
        """Remember what touches what, until truth is told."""
        self._pairs |= self.touching()

    def measured(self, name: str) -> tuple[Any, ...]:
        """The arm's row, or the truth's since the last."""
        if name == ROBOT:
            return self.arm()
        truth = self.truth(self._pairs)
        self._pairs.clear()
        return truth

    def touching(self) -> set[int]:
        """What touches what, as the bits of both."""
        pairs = self._kind[self.data.contact.geom[: self.data.ncon]]
        return set((pairs[:, 0] | pairs[:, 1]).tolist())

    def arm(self) -> tuple[Any, ...]:
        data = self.data
        tool = np.empty(7)
        tool[:3] = data.site_xpos[self._tool]
        mujoco.mju_mat2Quat(tool[3:], data.site_xmat[self._tool])
        if tool[4] < 0:
            tool[3:] *= -1
        tau = data.qfrc_actuator[:7] + data.qfrc_gravcomp[:7]
        width = float(data.qpos[7] + data.qpos[8])
        q, dq = data.qpos[:7].copy(), data.qvel[:7].copy()
        return q, dq, tau, tool, width, self._target, self._tool_target, self._width

    def truth(self, pairs: set[int]) -> tuple[Any, ...]:
        """Where things are, and what touched what since the last time, given the pairs seen since."""
        cubes = [self.data.qpos[self._at[cube] : self._at[cube] + 7].copy() for cube in scene.CUBES]
        bits = [_CUBE << i for i in range(len(cubes))]
        left, right = [_LEFT | bit in pairs for bit in bits], [_RIGHT | bit in pairs for bit in bits]
        touched = [one or other for one, other in zip(left, right, strict=True)]
        held = [one and other for one, other in zip(left, right, strict=True)]
        return (*cubes, *scene.PLACES.values(), touched, held, self.collided(pairs))

    @staticmethod
    def collided(pairs: set[int]) -> bool:
        """Whether the arm touched anything, or a finger the table or another thing on it, given the pairs seen."""
        return any(pair & _ARM for pair in pairs) or bool({_LEFT | _TABLE, _RIGHT | _TABLE} & pairs)
