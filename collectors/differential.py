"""Which way joints go so that tools follow hands: as far as their speed allows in a tick, and never by a leap."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from drivers import Kinematics, Limits

Floats = NDArray[np.float64]

TURNS = 0.1
"""What a radian off counts, where a metre counts 1: an arm of six joints often has to choose, and a person who watches
the place of a tool corrects its turn."""

CALM = 1e-3
"""The cost of moving, in metres per radian, both squared: it keeps joints slow where an arm is nearly singular."""


@runtime_checkable
class Described(Protocol):
    """One arm's kinematics that says what the arm is made of."""

    @property
    def description(self) -> str:
        """MJCF text of its joints, ``joint 0`` and so on, with a site ``tool``."""
        ...


@dataclass(frozen=True)
class Differential:
    """The kinematics of one or several arms, whose ``joints`` goes one tick's way towards the tools it is given.

    Solved as a quadratic program with mink: joint limits and speeds are its bounds, so that what comes out can be
    commanded as it is. Give every thread its own.
    """

    kinematics: Kinematics
    """Of all arms; says where their tools are."""
    arms: Sequence[Described]
    limits: Limits
    joints_each: int
    """How many joints each arm has."""
    seconds: float
    """Of a tick."""

    def tool(self, q: Floats) -> Floats:
        """Return the tools' poses (7 * arms,) for joint angles ``q`` (n,), in radians."""
        return self.kinematics.tool(q)

    def joints(self, near: Floats, tool: Floats) -> Floats:
        """Return the joint angles (n,) a tick after ``near`` (n,), on the way to ``tool`` (7 * arms,)."""
        count = len(self.arms)
        halves = zip(self._solvers, np.split(near, count), np.split(tool, count), strict=True)
        return np.concatenate([solver.step(start, goal) for solver, start, goal in halves])

    @cached_property
    def _solvers(self) -> "list[_Solver]":
        each = len(self.arms), self.joints_each
        low, high, speed = (
            np.resize(np.array(v), each) for v in (self.limits.low, self.limits.high, self.limits.speed)
        )
        return [_Solver(arm, low[i], high[i], speed[i] * self.seconds) for i, arm in enumerate(self.arms)]


def differential(kinematics: Kinematics, limits: Limits, joints: int, seconds: float) -> Differential | None:
    """Return it for arms with so many joints in all that say what they are made of; None for others.

    Raises:
        ImportError: mink is not installed.
    """
    whole = getattr(kinematics, "arms", (kinematics,))
    arms = [arm for arm in whole if isinstance(arm, Described)]
    if len(arms) < len(whole):
        return None
    import mink  # ruff: ignore[unused-import]  # slow to load, and to be missed before anything moves

    return Differential(kinematics, arms, limits, joints // len(arms), seconds)


class _Solver:
    """One arm's program."""

    def __init__(self, arm: Described, low: Floats, high: Floats, reach: Floats) -> None:
        import mink
        import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information

        model = mujoco.MjModel.from_xml_string(arm.description)
        model.jnt_range[:, 0] = np.maximum(model.jnt_range[:, 0], low)
        model.jnt_range[:, 1] = np.minimum(model.jnt_range[:, 1], high)
        self._low, self._high = model.jnt_range.T + np.array([[1e-6], [-1e-6]])
        self._mink: Any = mink
        self._configuration = mink.Configuration(model)
        self._task = mink.FrameTask("tool", "site", 1.0, TURNS)
        speeds = {f"joint {i}": far for i, far in enumerate(reach.tolist())}
        self._limits = [mink.ConfigurationLimit(model), mink.VelocityLimit(model, speeds)]

    def step(self, near: Floats, tool: Floats) -> Floats:
        """Go one tick's way; the program counts time in ticks."""
        mink = self._mink
        self._configuration.update(np.clip(near, self._low, self._high))
        self._task.set_target(mink.SE3(np.concatenate([tool[3:], tool[:3]])))
        try:
            way = mink.solve_ik(self._configuration, [self._task], 1.0, "daqp", damping=CALM, limits=self._limits)
        except mink.NoSolutionFound:
            return near.copy()
        return np.asarray(np.clip(near + way, self._low, self._high))
