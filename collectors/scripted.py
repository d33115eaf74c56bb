"""An operator that needs no hands: it knows where things are, errs like a person, and corrects itself."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from drivers import Kinematics, Row, newest
from storage import Observation

Floats = NDArray[np.float64]

OPEN = 0.08
"""The fingers' widest opening, in metres."""

HOVER = 0.12
"""Height of the tool point above the table before a descent and after a lift, in metres."""

NEAR = 0.005
"""The hand has arrived when its tool point is this close to where it was sent, in metres."""

PATIENCE = 1.0
"""How much longer than planned arm and fingers may take to follow, in seconds, before the next move begins anyway."""

STILL = 0.1
"""Fingers that met something have stood still for this long, in seconds."""

ON_GOAL = 0.04
"""A cube lies where it was asked for when it is this close to the goal's centre, in metres."""


class Unclear(ValueError):
    """The instruction does not say which object goes where. The message says what could be named."""


def asked(instruction: str, names: Sequence[str]) -> tuple[str, str]:
    """Return which object goes where: the fields of ``names`` that the instruction mentions, in that order.

    >>> asked("put the red cube on the yellow pad", ["red_cube", "blue_cube", "yellow_pad"])
    ('red_cube', 'yellow_pad')

    Raises:
        Unclear: the instruction does not name one object and then one goal among ``names``.
    """
    words = instruction.lower()
    things = [name for name in names if name.endswith(("_cube", "_pad"))]
    found = {name: re.search(rf"\b{name.replace('_', ' ')}\b", words) for name in things}
    mentioned = sorted((match.start(), name) for name, match in found.items() if match)
    if len(mentioned) == 2 and mentioned[0][1].endswith("_cube"):
        return mentioned[0][1], mentioned[1][1]
    known = ", ".join(name.replace("_", " ") for name in things)
    raise Unclear(
        f"{instruction!r} must name one cube, then where it goes, like 'put the red cube on the yellow pad'; "
        f"here there are: {known}"
    )


@dataclass(frozen=True)
class _Pose:
    """Where the tool should be: pointing down, turned by ``yaw`` (rad), fingers ``width`` (m) apart."""

    at: Floats
    yaw: float
    width: float

    def tool(self) -> Floats:
        """As x y z qw qx qy qz."""
        return np.array([*self.at, 0.0, np.cos(self.yaw / 2), np.sin(self.yaw / 2), 0.0])


@dataclass(frozen=True)
class _Move:
    """A smooth way from one pose to another, at rest at both ends."""

    start: _Pose
    end: _Pose
    seconds: float
    astray: Floats = field(default_factory=lambda: np.zeros(3))
    """How far from the way it strays in the middle, in metres, before it comes back."""

    sideways: float = 1.0
    """The share of the time in which position and turn are reached; the height takes all of it."""

    def at(self, t: float) -> _Pose:
        """The pose ``t`` seconds after the start."""
        whole = float(np.clip(t / self.seconds, 0.0, 1.0))
        down, across = smooth(whole), smooth(min(1.0, whole / self.sideways))
        share = np.array([across, across, down])
        bump = 64 * (whole * (1 - whole)) ** 3
        position = self.start.at + share * (self.end.at - self.start.at) + bump * self.astray
        turn = self.start.yaw + across * (self.end.yaw - self.start.yaw)
        return _Pose(position, turn, self.start.width + down * (self.end.width - self.start.width))


@dataclass(frozen=True)
class _Fingers:
    """How far the fingers are apart, in metres, and since when."""

    before: float = OPEN
    """When the move began."""
    width: float = OPEN
    since: int = 0

    def seen(self, width: float, t: int) -> Self:
        """The same at a later moment; fingers that moved less than a millimetre have not."""
        return self if abs(width - self.width) <= 0.001 else replace(self, width=width, since=t)

    def rest(self, sent: float, t: int) -> bool:
        """Whether they are where they were sent, or met something on the way."""
        met = abs(self.width - self.before) > NEAR and t - self.since >= STILL * 1e9
        return met or abs(self.width - sent) < NEAR


def smooth(share: float) -> float:
    """Minimum jerk: from 0 to 1, starting and stopping without a jolt."""
    return share**3 * (10 - 15 * share + 6 * share**2)


class Scripted:
    """Picks a cube up and places it, the way a person does: a little off, then looking again, then right.

    It reads the truth, so it works where a scene is simulated. The same seed and the same scene give the same
    motion. A hand that is slow to follow is waited for. It tries again when a grasp fails, ``attempts`` times in
    all; ``succeeded`` says whether the object ended up where it was asked for, and ``done`` ends the episode shortly
    after the hand has retreated.
    """

    def __init__(
        self, kinematics: Kinematics, action: np.dtype[np.void], seed: int, attempts: int = 3, pace: float = 1.0
    ) -> None:
        self._kinematics = kinematics
        self._action = action
        self._seed = seed
        self._attempts = attempts
        self._pace = pace
        self.reset("")

    def reset(self, instruction: str) -> None:
        """Begin again, for an instruction that names an object and a goal."""
        self._instruction = instruction
        self._random = np.random.default_rng([self._seed, 1])
        self._plan: Iterator[_Move] | None = None
        self._move: _Move | None = None
        self._began = self._ends = self._latest = 0
        self._fingers = _Fingers()
        self._middle = 0.0
        """How high the middle of the cube is when it is grasped, in metres: there it is held."""
        self._q: Floats | None = None
        self._seen: Observation | None = None
        self.finished = False
        self.succeeded = False

    def done(self, _seen: Observation) -> bool:
        """Say whether the episode is over."""
        return self.finished

    def act(self, seen: Observation) -> Row | None:
        """Return the next target on the way.

        Raises:
            Unclear: the instruction does not name an object and a goal of this scene.
        """
        arm = newest(seen.streams["arm"])
        if arm is None or newest(seen.streams["truth"]) is None:
            return None
        self._seen = seen
        if self._plan is None or self._q is None:
            self._plan, self._q = self._work(_pose_of(arm)), np.array(arm["q"])
            self._begin(next(self._plan), seen.t, float(arm["width"]))
        self._fingers = self._fingers.seen(float(arm["width"]), seen.t)
        while self._move is not None and seen.t >= self._ends:
            if seen.t < self._latest and not self._followed(self._move, arm, seen.t):
                self._ends = seen.t
                break
            self._begin(next(self._plan, None), self._ends, float(arm["width"]))
        if self._move is None:
            self.finished = True
            return None
        pose = self._move.at((seen.t - self._began) / 1e9)
        self._q = self._kinematics.joints(self._q, pose.tool())
        target = np.zeros(1, self._action)
        target["t"], target["q"], target["width"] = seen.t, self._q, pose.width
        return newest(target)

    def _begin(self, move: _Move | None, t: int, width: float) -> None:
        """Begin a move, at a moment that may have just passed."""
        self._move, self._began = move, t
        self._ends = t + (0 if move is None else round(move.seconds * 1e9))
        self._latest = self._ends + round(PATIENCE * 1e9)
        self._fingers = replace(self._fingers, before=width)

    def _followed(self, move: _Move, arm: Row, t: int) -> bool:
        """Whether the hand is where a move ends: a wire takes its time, and fingers more of it."""
        arrived = bool(np.linalg.norm(arm["tool"][:3] - move.end.at) < NEAR)
        return arrived and (move.start.width == move.end.width or self._fingers.rest(move.end.width, t))

    def _work(self, here: _Pose) -> Iterator[_Move]:
        """One move after the other; every look happens when the move before it is over."""
        names = self._truth().dtype.names or ()
        cube, goal = asked(self._instruction, names)
        for _attempt in range(self._attempts):
            for move in self._pick(here, cube):
                yield move
                here = move.end
            if not self._truth()["held"][[n for n in names if n.endswith("_cube")].index(cube)]:
                continue
            for move in self._place(here, goal):
                yield move
                here = move.end
            off = self._truth()[cube][:2] - self._truth()[goal][:2]
            self.succeeded = bool(np.linalg.norm(off) < ON_GOAL)
            if self.succeeded:
                break
        yield _Move(here, here, 0.16)

    def _pick(self, here: _Pose, cube: str) -> Iterator[_Move]:
        """Come close, look again, correct while going down, close the fingers, lift."""
        place, yaw = self._look(cube)
        hover = _Pose(
            _over(place + self._off(0.004, 0.03), self._about(HOVER, 0.015)),
            yaw + self._some(np.radians(2), np.radians(15)),
            OPEN,
        )
        yield _Move(here, hover, self._time(1.2), self._astray())
        place, yaw = self._look(cube)
        self._middle = float(place[2])
        grasp = _Pose(
            _over(place + self._off(0.0, 0.003), self._about(self._middle, 0.002)), yaw + self._about(0, 0.03), OPEN
        )
        yield _Move(hover, grasp, self._time(1.1), sideways=0.6)
        closed = _Pose(grasp.at, grasp.yaw, 0.0)
        yield _Move(grasp, closed, self._time(0.4))
        lifted = _Pose(_over(closed.at, self._about(HOVER, 0.015)), closed.yaw, 0.0)
        yield _Move(closed, lifted, self._time(0.6))

    def _place(self, here: _Pose, goal: str) -> Iterator[_Move]:
        """Carry, look again, correct while going down, let go, draw back."""
        centre = self._truth()[goal]
        above = _Pose(
            _over(centre + self._off(0.003, 0.025), here.at[2] + self._about(0, 0.01)), self._about(0, 0.15), 0.0
        )
        yield _Move(here, above, self._time(1.15), self._astray())
        low = self._middle + 0.004
        down = _Pose(_over(centre + self._off(0.0, 0.008), low), above.yaw + self._about(0, 0.05), 0.0)
        yield _Move(above, down, self._time(0.9), sideways=0.7)
        free = _Pose(down.at, down.yaw, OPEN)
        yield _Move(down, free, self._time(0.35))
        away = _Pose(_over(free.at, self._about(0.135, 0.015)), free.yaw, OPEN)
        yield _Move(free, away, self._time(0.7))

    def _look(self, cube: str) -> tuple[Floats, float]:
        """Where a cube is, and how to turn the hand for it: at most 45 degrees."""
        pose = np.array(self._truth()[cube])
        yaw = 2 * np.arctan2(pose[6], pose[3])
        return pose[:3], float((yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)

    def _truth(self) -> Row:
        row = None if self._seen is None else newest(self._seen.streams["truth"])
        if row is None:
            raise Unclear("nothing has been seen yet")
        return row

    def _off(self, least: float, most: float) -> Floats:
        """A level step in any direction, ``least`` to ``most`` metres long."""
        way, far = self._random.uniform(0, 2 * np.pi), self._random.uniform(least, most)
        return np.array([np.cos(way), np.sin(way), 0.0]) * far

    def _astray(self) -> Floats:
        """Now and then, 2 to 4 cm."""
        return self._off(0.02, 0.04) if self._random.random() < 0.2 else np.zeros(3)

    def _some(self, least: float, most: float) -> float:
        """Between ``least`` and ``most``, to either side."""
        return float(self._random.uniform(least, most) * self._random.choice([-1, 1]))

    def _about(self, value: float, spread: float) -> float:
        return float(value + self._random.uniform(-spread, spread))

    def _time(self, seconds: float) -> float:
        """About ``seconds``, as people are never twice equally fast."""
        return float(seconds * self._random.uniform(0.85, 1.2) / self._pace)


def _over(place: Floats, height: float) -> Floats:
    """The point over a place, at a height above the table."""
    return np.array([place[0], place[1], height])


def _pose_of(arm: Row) -> _Pose:
    """The pose to start from, given where the tool was last sent."""
    tool = np.array(arm["tool_target"])
    return _Pose(tool[:3], float(2 * np.arctan2(tool[5], tool[4])), float(arm["width_target"]))
