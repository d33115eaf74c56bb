"""Leader arms: what a person's hands do with small arms, the robot's arms do.

A station names a leader for every arm of the robot. Closing all their grippers begins a take; the robot is first
brought to where the leaders are, slowly, and then follows them joint by joint.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectors.agents import nearer, target
from collectors.ways import LEADER, Lacking, Place
from drivers import Row, Rows, newest, row_type
from drivers.settings import filled
from storage import Episode, Observation

Floats = NDArray[np.float64]

TRACE = row_type(("source_t", "<i8"), ("engaged", "u1", (2,)), ("clamped", "u1", (2,)))
"""``source_t`` is when the hands were where the target is, the older of two. Of each arm: whether it follows, and
whether it is kept from where its leader is, which is beyond a limit, or to which it is still on its way."""

JOINTS = ("waist", "shoulder", "elbow", "forearm roll", "wrist angle", "wrist rotate")
"""Of an arm of six joints, from the foot on."""


SAME = 1e-6
"""Joint angles that differ by less do not, in radians."""


@dataclass(frozen=True)
class Settings:
    """What a station file may say under ``[by.leader]``."""

    tolerance: float = 0.1
    """How near every joint of the robot has to be to its leader's before it follows, in radians."""

    slow: float = 0.5
    """How fast the robot is brought there, in radians per second."""

    stale: float = 0.1
    """How old a leader's newest row may be, in seconds; the robot holds where it is older."""

    grip: tuple[float, float] = (0.0, 0.079)
    """What a leader says, in metres, when its gripper is closed and when it is open; the robot's is then, too."""

    rate: float = 42.0
    """Takes in which the robot was given something new less often, in Hz, are put aside for a person to look at."""

    def __post_init__(self) -> None:
        if not (self.tolerance > 0 and 0 < self.slow <= 1 and self.stale > 0 and self.grip[0] < self.grip[1]):
            raise ValueError("tolerance and stale are more than 0, slow at most 1 rad/s, and grip is closed, then open")


class Hands(NamedTuple):
    """Where the leaders are."""

    t: int
    """When: the older of two."""
    q: Floats
    """Joint angles of all arms, left before right, in radians."""
    width: Floats
    """Openings of all grippers, as the robot's, in metres."""


class Leaders:
    """The leaders of a place, and the robot that follows them.

    Raises:
        Lacking: there are too few leaders, of another kind, or the station asks too seldom.
    """

    def __init__(self, place: Place) -> None:
        self.settings = filled(Settings, place.settings)
        self.robot, self.action = place.robot.name, place.robot.action
        self.arms = int(np.prod(self.action["width"].shape))
        self.joints = self.action["q"].shape[0] // self.arms
        self.names = _sides(place.with_rows(*LEADER))[: self.arms]
        if len(self.names) < self.arms:
            raise Lacking(f"{self.arms} arms need as many leaders, but there is {', '.join(self.names) or 'none'}")
        for name in self.names:
            if (found := place.devices[name].dtype["q"].shape) != (self.joints,):
                raise Lacking(
                    f"{name} has {found[0]} joints; an arm of {self.robot} has {self.joints}, and follows no other"
                )
        if place.hz < self.settings.rate:
            raise Lacking(
                f"a loop that asks {place.hz:g} times a second cannot reach {self.settings.rate:g}; say hz = 50 in the "
                "station file, or a lower rate under [by.leader]"
            )
        limits = getattr(place.robot, "limits", None)
        low, high, width = (limits.low, limits.high, limits.width) if limits else ((-np.inf,), (np.inf,), (0.0, 0.079))
        self.low, self.high = (np.resize(np.array(side, np.float64), self.joints * self.arms) for side in (low, high))
        self.width = np.resize(np.array(width, np.float64), (self.arms, 2))

    def at(self, seen: Observation) -> Hands | None:
        """Where they are; None when that is not known, or no longer."""
        rows = [newest(seen.streams[name]) for name in self.names]
        found = [row for row in rows if row is not None and np.isfinite(row["q"]).all() and np.isfinite(row["width"])]
        if len(found) < self.arms or seen.t - (t := min(int(row["t"]) for row in found)) > self.settings.stale * 1e9:
            return None
        closed, open_ = self.settings.grip
        share = np.clip((np.array([float(row["width"]) for row in found]) - closed) / (open_ - closed), 0, 1)
        width = self.width[:, 0] + share * (self.width[:, 1] - self.width[:, 0])
        return Hands(t, np.concatenate([row["q"] for row in found]).astype(np.float64), width)

    def unless_long_ago(self, known: tuple[int, Floats] | None, seen: Observation) -> tuple[int, Floats] | None:
        """What was known at the last tick; None when that is so long ago that hands, and a robot that holds, moved."""
        return known if known is not None and seen.t - known[0] <= self.settings.stale * 1e9 else None

    def within(self, q: Floats) -> Floats:
        """The nearest joint angles that the robot may have."""
        return np.asarray(np.clip(q, self.low, self.high))

    def joint(self, i: int) -> str:
        """What a person calls a joint, e.g. ``left elbow``."""
        arm, i = divmod(i, self.joints)
        name = JOINTS[i] if self.joints == len(JOINTS) else f"joint {i + 1}"
        return f"{('left', 'right')[arm]} {name}" if self.arms == 2 else name


class Nearing:
    """Brings the robot to its leaders, slowly, until every joint is near. Its ``status`` says which is not."""

    def __init__(self, leaders: Leaders) -> None:
        self._leaders = leaders
        self.status = "aligning"
        self.reset("")

    def reset(self, instruction: str) -> None:
        self._target: tuple[int, Floats] | None = None
        self._off = np.inf

    def act(self, seen: Observation) -> Row | None:
        arm, hands = newest(seen.streams[self._leaders.robot]), self._leaders.at(seen)
        if arm is None or hands is None:
            self._target, self._off = None, np.inf
            self.status = "aligning: the leaders say nothing"
            return None
        off = np.abs(hands.q - arm["q"])
        self._off, worst = float(off.max()), int(off.argmax())
        self.status = f"aligning: {self._leaders.joint(worst)} {np.degrees(self._off):.1f} deg off"
        if np.abs(hands.q - self._leaders.within(hands.q))[worst] > self._leaders.settings.tolerance:
            self.status += ", for its leader is where the robot may not go: lead it back"
        then, q = self._leaders.unless_long_ago(self._target, seen) or (seen.t, np.array(arm["q_target"], np.float64))
        q = nearer(q, self._leaders.within(hands.q), self._leaders.settings.slow * (seen.t - then) / 1e9)
        self._target = seen.t, q
        return target(self._leaders.action, seen.t, q, hands.width)

    def done(self, seen: Observation) -> bool:
        return self._off <= self._leaders.settings.tolerance


class Follow:
    """Follows the leaders, joint by joint.

    How far it is away from them at the beginning, or after a time in which they said nothing or nobody listened, is
    brought to nothing as slowly as before a take; how they move from then on, it does at once. How it follows is told
    by ``trace``; what a take of it has to be, by ``demands``.
    """

    trace_dtype = TRACE

    def __init__(self, leaders: Leaders) -> None:
        self._leaders = leaders
        self.status = ""
        self.reset("")

    @property
    def approach(self) -> Nearing:
        return Nearing(self._leaders)

    @property
    def demands(self) -> dict[str, float]:
        return {"rate": self._leaders.settings.rate}

    def reset(self, instruction: str) -> None:
        self._away: tuple[int, Floats] | None = None
        self._trace: Rows = np.zeros(0, TRACE)

    def act(self, seen: Observation) -> Row | None:
        arm, hands = newest(seen.streams[self._leaders.robot]), self._leaders.at(seen)
        self._trace = np.zeros(1, TRACE)
        self._trace["t"] = seen.t
        if arm is None or hands is None:
            self._away = None
            self.status = "holding: the leaders say nothing"
            return None
        wanted = self._leaders.within(hands.q)
        lately = self._leaders.unless_long_ago(self._away, seen)
        then, away = lately or (seen.t, np.array(arm["q_target"], np.float64) - wanted)
        away = nearer(away, np.zeros_like(away), self._leaders.settings.slow * (seen.t - then) / 1e9)
        self._away = seen.t, away
        q = self._leaders.within(wanted + away)
        off, arms = np.abs(hands.q - q), slice(0, self._leaders.arms)
        self._trace["source_t"] = hands.t
        self._trace["engaged"][0, arms] = 1
        self._trace["clamped"][0, arms] = [part.any() for part in np.split(off > SAME, self._leaders.arms)]
        self.status = "following"
        if away.any():
            self.status = "coming up to the leaders"
        elif off.max() > SAME:
            self.status = f"following, {self._leaders.joint(int(off.argmax()))} at its limit"
        return target(self._leaders.action, seen.t, q, hands.width)

    def trace(self) -> Rows:
        rows, self._trace = self._trace, np.zeros(0, TRACE)
        return rows


def agent(place: Place) -> Follow:
    """Follow the leaders of a place.

    Raises:
        Lacking: it has none, or not the right ones.
        drivers.settings.Unfit: the station file says something wrong of this.
    """
    return Follow(Leaders(place))


def report(episode: Episode) -> str:
    """How evenly a take was driven, e.g. ``50.0 Hz, 99% of cycles within 20.9 ms, longest 24.1 ms; ...``."""
    moments = episode["ticks", "t"] + episode["ticks", "late"]
    if len(moments) < 2:
        return "too short to tell its rate"
    cycles = np.diff(moments) / 1e6
    said = (
        f"{1e3 / cycles.mean():.1f} Hz, 99% of cycles within {np.quantile(cycles, 0.99):.1f} ms, "
        f"longest {cycles.max():.1f} ms"
    )
    engaged = episode["following", "engaged"].any(axis=1)
    if not engaged.any():
        return f"{said}; nothing was followed"
    sources = episode["following", "source_t"][engaged]
    behind = (episode["following", "t"][engaged] - sources) / 1e6
    return (
        f"{said}; {len(np.unique(sources)) / len(sources):.0%} with something new, "
        f"{np.median(behind):.0f} ms behind the hands, 99% within {np.quantile(behind, 0.99):.0f} ms"
    )


def _sides(names: list[str]) -> list[str]:
    """Left before right, where names say so; else as they stand in the station file."""
    return sorted(names, key=lambda name: (name.startswith("right"), not name.startswith("left")))
