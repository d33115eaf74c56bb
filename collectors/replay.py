"""What was shown by hand is done again without the hand: the same motion, recorded anew.

An arm that was led has a hand in its pictures, and no policy will have one. So a second take repeats the first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors.agents import nearer, target
from collectors.ways import Lacking, Place, can, have
from drivers import Row, newest
from drivers.settings import filled
from storage import Episode, Observation
from storage.grade import MOVES
from storage.layout import WRITTEN

Floats = NDArray[np.float64]

SPARE = 0.95
"""The share of the fastest that a joint may turn which a repeated motion needs at most."""

STILL = 0.01
"""An arm whose joints are all slower than this stands still, in radians per second."""

PAUSE = 2
"""Ticks' worth of motion that is done at most when a tick comes late. The rest is done later: what is left out may have
led around something."""

SETTLES = 1_000_000_000
"""How long the arm may take to come to rest at the end, in nanoseconds."""


@dataclass(frozen=True)
class Settings:
    """What a station file may say under ``[by.replay]``."""

    pace: float = 1.0
    """How fast it is repeated; slower where the robot's limits ask for it."""

    slow: float = 0.3
    """How fast the robot is brought to where the motion begins, in radians per second."""

    tolerance: float = 0.03
    """How near every joint has to come, in radians; friction, and what the arm carries, keep it from coming nearer."""

    def __post_init__(self) -> None:
        if not (0 < self.pace <= 2 and 0 < self.slow <= 1 and self.tolerance > 0):
            raise ValueError("pace is more than 0 and at most 2, slow at most 1 rad/s, and tolerance more than 0")


@dataclass(frozen=True)
class Motion:
    """Where a robot was sent, and when."""

    t: NDArray[np.int64]
    q: Floats
    """Joint angles (n, joints), in radians."""
    width: Floats
    """Openings of the grippers (n, arms), in metres."""

    @property
    def lasts(self) -> int:
        """In nanoseconds."""
        return int(self.t[-1] - self.t[0])

    def at(self, moment: int) -> tuple[Floats, Floats]:
        """Joints and openings so many nanoseconds after the beginning: joints evenly between rows, openings as told."""
        t = self.t[0] + min(max(moment, 0), self.lasts)
        told = int(np.searchsorted(self.t, t, side="right")) - 1
        return np.array([np.interp(t, self.t, joint) for joint in self.q.T]), self.width[told]

    def fastest(self, period: int) -> Floats:
        """The fastest that each joint turns for a whole period, in radians per second."""
        moments = np.arange(self.t[0], self.t[-1] + 1, period)
        q = np.column_stack([np.interp(moments, self.t, joint) for joint in self.q.T])
        return np.asarray(np.abs(np.diff(q, axis=0)).max(axis=0, initial=0.0) / (period / 1e9))


class Replay:
    """Sends the robot where it was in a take, at the same pace or slower; slower, too, where ticks come late.

    A target is where the robot has to be at the next tick, so that a robot that plays targets on time is on time.
    Afterwards the robot's own controller holds the arm, as after it was led, so that it may be led again.

    What it cannot do: it looks at nothing. What lies elsewhere than it did is not found, and nothing is avoided.
    """

    def __init__(self, place: Place, motion: Motion, settings: Settings) -> None:
        self._place, self._motion, self._settings = place, motion, settings
        self._robot, self._action = place.robot.name, place.robot.action
        self._period = round(1e9 / place.hz)
        self.pace = min(settings.pace, _allowed(place, motion, self._period))
        self.status = ""
        self.reset("")

    @property
    def approach(self) -> "Begin":
        return Begin(self._place, self._motion, self._settings)

    @property
    def lasts(self) -> float:
        return self._motion.lasts / 1e9 / self.pace

    def reset(self, instruction: str) -> None:
        self._at = 0.0
        self._then: int | None = None
        self._over: int | None = None

    def act(self, seen: Observation) -> Row | None:
        if newest(seen.streams[self._robot]) is None:
            return None
        then = seen.t - self._period if self._then is None else self._then
        self._at += min(seen.t - then, PAUSE * self._period) * self.pace
        self._then = seen.t
        if self._over is None and self._at >= self._motion.lasts:
            self._over = seen.t + self._period
        self.status = f"repeating: {min(self._at, self._motion.lasts) / 1e9:.0f} of {self._motion.lasts / 1e9:.0f} s"
        return target(self._action, seen.t + self._period, *self._motion.at(round(self._at)))

    def done(self, seen: Observation) -> bool:
        """Whether it came to the end, and to rest there; or should have."""
        arm = newest(seen.streams[self._robot])
        if self._over is None or arm is None or seen.t <= self._over:
            return False
        return seen.t - self._over > SETTLES or _rests(arm, self._motion.q[-1], self._settings.tolerance)

    def leave(self) -> None:
        """Let the robot's own controller hold the arm, if it has one.

        Raises:
            DeviceError: the robot does not obey any more.
        """
        driver = self._place.devices[self._robot]
        if can(driver, "rest"):
            have(driver, "rest")


class Begin:
    """Brings the robot to where a motion begins, slowly and straight from joint to joint."""

    def __init__(self, place: Place, motion: Motion, settings: Settings) -> None:
        self._robot, self._action = place.robot.name, place.robot.action
        (self._q, self._width), self._settings = motion.at(0), settings
        self._longest = PAUSE * round(1e9 / place.hz)
        self.status = "going to where it begins"
        self.reset("")

    def reset(self, instruction: str) -> None:
        self._target: tuple[int, Floats] | None = None

    def act(self, seen: Observation) -> Row | None:
        arm = newest(seen.streams[self._robot])
        if arm is None:
            return None
        off = np.abs(arm["q"] - self._q)
        self.status = f"going to where it begins: joint {off.argmax() + 1} {np.degrees(off.max()):.1f} deg off"
        then, q = self._target or (seen.t, np.array(arm["q_target"], np.float64))
        q = nearer(q, self._q, self._settings.slow * min(seen.t - then, self._longest) / 1e9)
        self._target = seen.t, q
        return target(self._action, seen.t, q, self._width)

    def done(self, seen: Observation) -> bool:
        """Whether it was sent there, came near, and stands still: it gets no nearer."""
        arm = newest(seen.streams[self._robot])
        if arm is None or self._target is None or (self._target[1] != self._q).any():
            return False
        return _rests(arm, self._q, self._settings.tolerance)


def agent(place: Place) -> Replay:
    """Repeat what a place is given to repeat.

    Raises:
        Lacking: it is given nothing, or what another robot did.
        drivers.settings.Unfit: the station file says something wrong of this.
    """
    settings = filled(Settings, place.settings)
    if place.repeats is None:
        raise Lacking("there is no episode to repeat")
    return Replay(place, motion(place.repeats, place.robot.action), settings)


def motion(episode: Episode, action: np.dtype[np.void]) -> Motion:
    """Where the robot of an episode was sent; what a person led it is told so, too.

    Raises:
        Lacking: that was no robot like the one that takes ``action``, or it has no rows.
    """
    names = {name: episode.dtype(name).names or () for name in episode.streams if name not in WRITTEN}
    robots = [name for name, fields in names.items() if {MOVES, "width_target"} <= {*fields}]
    if not robots or not len(episode[robots[0], "t"]):
        raise Lacking(f"episode {episode.id} tells of no robot with joints and a gripper; there is nothing to repeat")
    t, q, width = (episode[robots[0], field] for field in ("t", MOVES, "width_target"))
    if q.shape[1:] != action["q"].shape or width.shape[1:] != action["width"].shape:
        raise Lacking(
            f"episode {episode.id} is of a robot with {q.shape[1]} joints; this one has {action['q'].shape[0]}"
        )
    return Motion(t, q.astype(np.float64), width.reshape(len(t), -1).astype(np.float64))


def _allowed(place: Place, motion: Motion, period: int) -> float:
    """The pace at which no joint turns faster than the robot may."""
    limits = getattr(place.robot, "limits", None)
    if limits is None:
        return np.inf
    fastest = motion.fastest(period)
    speed = np.resize(np.array(limits.speed), len(fastest))
    return float((SPARE * speed / np.maximum(fastest, 1e-9)).min())


def _rests(arm: Row, q: Floats, tolerance: float) -> bool:
    """Whether an arm stands still, near where it was sent."""
    return bool(np.abs(arm["q"] - q).max() <= tolerance and np.abs(arm["dq"]).max() <= STILL)
