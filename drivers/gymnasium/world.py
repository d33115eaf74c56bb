"""An environment in time: a step for every row, a row of every device for every step."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.clock import StepClock
from drivers.device import DeviceError, DeviceLost, Kinematics, Row, Rows, newest, row_type, sensed
from drivers.gymnasium.environment import Environment, Said
from drivers.ring import Ring
from drivers.twin.scene import WrongCondition
from drivers.twin.simulation import KEPT, ROBOT

Floats = NDArray[np.float64]

TRUTH = "truth"

SLACK = 0.05
"""How far ahead of the arm its target may stay when it holds, in radians."""


class Suite(Protocol):
    """What an environment says and takes, in the words of a robot. Numbers stand arm by arm, left first."""

    @property
    def name(self) -> str:
        """What the suite's own people call it."""
        ...

    @property
    def hz(self) -> float:
        """Steps a second."""
        ...

    @property
    def joints(self) -> int:
        """Of all arms together, without the fingers."""
        ...

    @property
    def arms(self) -> int: ...

    @property
    def cameras(self) -> Mapping[str, str]:
        """What we call each camera, and what ``pixels`` calls it."""
        ...

    @property
    def things(self) -> Sequence[tuple[Any, ...]]:
        """What else truth tells: fields of its rows."""
        ...

    @property
    def kinematics(self) -> Kinematics: ...

    def make(self, image: tuple[int, int]) -> Environment:
        """Make the environment, with pictures of this height and width.

        Raises:
            DeviceError: something is not installed. The message says what to fetch, and where to put it.
        """
        ...

    def posture(self, said: Said, /) -> tuple[Floats, Floats]:
        """Joint angles (joints,) in radians, and how far each hand is open (arms,) in metres."""
        ...

    def action(self, target: Row, said: Said, /) -> Floats:
        """What the environment takes, to bring the robot from what was last said to a target."""
        ...

    def found(self, reward: float, info: Mapping[str, Any], /) -> tuple[Any, ...]:
        """The values of ``things``."""
        ...


class World:
    """One environment on a clock that jumps. The n-th row of every device tells of it after n - 1 steps.

    So an agent that is asked once a step sees what ``reset`` said, and what it then wants is the first step, as in
    LeRobot's own evaluation. The environment may be stepped past its end, which truth tells: what happens after a
    success says whether it lasts.
    """

    def __init__(self, suite: Suite, clock: StepClock, image: tuple[int, int], steps: int, camera_hz: float) -> None:
        """Take ``steps`` steps at most, and a picture ``camera_hz`` times a second."""
        arms = (suite.arms,) if suite.arms > 1 else ()
        joints = ("<f8", (suite.joints,)), ("<f8", (7 * suite.arms,)), ("<f8", arms)
        moved = [(name, *kind) for name, kind in zip(("q", "tool", "width"), joints, strict=True)]
        told = [(f"{name}_target", *kind) for name, kind in zip(("q", "tool", "width"), joints, strict=True)]
        self.action = row_type(moved[0], moved[2])
        self.layouts: Mapping[str, np.dtype[np.void]] = {
            ROBOT: sensed(*moved, ("dq", *joints[0]), *told),
            TRUTH: sensed(("reward", "<f8"), ("success", "?"), ("over", "?"), *suite.things),
            **{camera: sensed(("rgb", "u1", (*image, 3))) for camera in suite.cameras},
        }
        self._suite, self._clock, self._image, self._steps = suite, clock, image, steps
        self._every = max(1, round(suite.hz / camera_hz))
        self._period = round(1e9 / suite.hz)
        self._lock = threading.RLock()
        self._lost: set[str] = set()
        self._guests = self._taken = 0
        self._environment: Environment | None = None
        self._said: Said = {}
        self._rings: dict[str, Ring] = {}
        self._target = np.zeros(1, self.action)

    def enter(self) -> None:
        """Make the environment, for the first device that enters."""
        with self._lock:
            if self._environment is None:
                self._environment = self._suite.make(self._image)
                self._begin(0)
            self._guests += 1

    def leave(self) -> None:
        """Close the environment, when the last device has left."""
        with self._lock:
            self._guests -= 1
            if self._guests == 0 and self._environment is not None:
                self._environment.close()
                self._environment = None

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Begin again, from the start that the suite draws from ``seed``; time begins at zero.

        Raises:
            WrongCondition: the condition asks for something else.
            DeviceLost: the cell has not been entered.
        """
        seed = condition.get("seed", 0)
        if unknown := sorted(condition.keys() - {"seed"}):
            raise WrongCondition(f"{self._suite.name} draws its starts from a seed alone; it takes no {unknown}")
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise WrongCondition(f"seed must be a whole number from 0 to {2**32 - 1}, not {seed!r}")
        with self._lock:
            self._entered(TRUTH)
            self._clock.restart()
            self._begin(seed)

    def read(self, name: str, since: int) -> Rows:
        """Return the rows of a device stamped after ``since``."""
        with self._lock:
            self._open(name)
            self._advance()
            return self._rings[name].since(since)

    def command(self, target: Row) -> None:
        """Aim for a target, from now on.

        Raises:
            DeviceError: the target is not a number.
            DeviceLost: what moves is gone.
        """
        with self._lock:
            self._open(ROBOT)
            self._advance()
            if not (np.isfinite(target["q"]).all() and np.isfinite(target["width"]).all()):
                raise DeviceError(f"{ROBOT}: a target is joint angles and openings, all finite, not {target}")
            self._target[0] = target

    def hold(self) -> None:
        """Stop where it can stop. The fingers finish their move: what is held stays held."""
        with self._lock:
            if self._environment is not None and (row := newest(self._rings[ROBOT].rows)) is not None:
                self._target["q"] = row["q"] + np.clip(self._target["q"][0] - row["q"], -SLACK, SLACK)

    def fail(self, name: str) -> None:
        """Let a device fall silent, until ``mend``."""
        self._lost.add(name)

    def mend(self) -> None:
        """Let every device speak again."""
        self._lost.clear()

    @property
    def described(self) -> dict[str, Any]:
        """Which suite this is, and what it calls its task."""
        said = {"suite": self._suite.name, "steps": self._steps}
        instruction = getattr(self._environment, "task_description", None)
        return said | ({"instruction": instruction} if instruction else {})

    def _open(self, name: str) -> Environment:
        if name in self._lost:
            raise DeviceLost(f"{name}: no answer")
        return self._entered(name)

    def _entered(self, name: str) -> Environment:
        if self._environment is None:
            raise DeviceLost(f"{name}: the suite has not been entered; use it as a context manager")
        return self._environment

    def _begin(self, seed: int) -> None:
        """Begin a take: nothing recorded, the robot told to be where it is."""
        self._origin, self._taken = self._clock.now(), 0
        kept = round(KEPT * self._suite.hz)
        few = -(-kept // self._every)
        self._rings = {
            name: Ring(layout, max(2, few if name in self._suite.cameras else kept))
            for name, layout in self.layouts.items()
        }
        self._said, info = self._entered(TRUTH).reset(seed=seed)
        self._target["q"], self._target["width"] = self._posture()
        self._told = 0.0, bool(info.get("is_success", False)), False, info

    def _advance(self) -> None:
        """Take the steps that are due, and the rows of each."""
        due = (self._clock.now() - self._origin) // self._period
        while self._taken < due:
            if self._taken:
                action = self._suite.action(self._target[0], self._said)
                self._said, reward, terminated, truncated, info = self._entered(TRUTH).step(action)
                success = bool(info.get("is_success", False))
                over = truncated or self._taken >= self._steps or (terminated and not success)
                self._told = float(reward), success, over, info
            self._take()
            self._taken += 1

    def _take(self) -> None:
        t = self._origin + (self._taken + 1) * self._period
        self._push(ROBOT, (t, t, self._taken, *self._moved()))
        reward, success, over, info = self._told
        self._push(TRUTH, (t, t, self._taken, reward, success, over, *self._suite.found(reward, info)))
        if self._taken % self._every == 0:
            for camera, theirs in self._suite.cameras.items():
                self._push(camera, (t, t, self._taken // self._every, self._said["pixels"][theirs]))

    def _moved(self) -> tuple[Any, ...]:
        """Where the robot is, and where it is told to be."""
        suite, (q, width), before = self._suite, self._posture(), newest(self._rings[ROBOT].rows)
        speed = np.zeros(suite.joints) if before is None else (q - before["q"]) * suite.hz
        q_target, width_target = self._target["q"][0], self._target["width"][0]
        tool, tool_target = suite.kinematics.tool(q), suite.kinematics.tool(q_target)
        return q, tool, width, speed, q_target, tool_target, width_target

    def _posture(self) -> tuple[Floats, Any]:
        q, width = self._suite.posture(self._said)
        return q, width if self._suite.arms > 1 else width[0]

    def _push(self, name: str, row: tuple[Any, ...]) -> None:
        self._rings[name].push(np.array([row], self.layouts[name]))
