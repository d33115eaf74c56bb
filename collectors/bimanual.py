"""An operator with two hands that needs none: it hands a cube over, or puts a peg into a socket, in the twin."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from collectors.scripted import Unclear
from drivers import Kinematics, Row, newest
from storage import Observation

Floats = NDArray[np.float64]

FEET = np.array([[-0.469, 0.5, 0.0], [0.469, 0.5, 0.0]])
"""Where the left and the right arm stand on the table, in metres; the right one faces the left."""

OPEN = 0.079
"""The fingers' widest opening, in metres."""

BEAT = 0.015
"""Seconds in a count of the timetables below: an episode is 400 counts, 6 s, and some more."""

LASTS = 0.4
"""Seconds that the last stage has to last before a task counts as done."""

FLICKER = 0.1
"""Contacts come and go; those that are back within this many seconds never went."""

ALIGN = 290
"""From this count on, peg and socket are looked at again and again, and brought in line."""

MEETING, ALIGNED = 0.125, 0.003
"""Peg and socket touch when their middles are this near, and are in line when they are this little off, in metres."""

EAGER = 4.0
"""How fast hands that are out of line are moved together, per second. Joints stick, so it takes a push."""


SAID = {"transfer": (("cube",), ("hand", "pass", "give", "transfer")), "insertion": (("peg",), ("socket",))}
"""Every task, and the words that ask for it: one of each group."""

ON = {"transfer": {"cube"}, "insertion": {"peg", "socket"}}
"""What stands on the table for each task."""


def asked(instruction: str, names: Sequence[str]) -> str:
    """Return what is to be done with the objects among ``names``: ``transfer`` or ``insertion``.

    >>> asked("hand the cube to the other arm", ["t", "cube", "stage"])
    'transfer'

    Raises:
        Unclear: the instruction does not ask for what can be done with these objects.
    """
    words = set(re.findall(r"[a-z]+", instruction.lower()))
    possible = [task for task, things in ON.items() if things <= {*names}]
    for task in possible:
        if all(words & {*group} for group in SAID[task]):
            return task
    ways = "; ".join(f"{task}: {', '.join('/'.join(group) for group in SAID[task])}" for task in possible)
    raise Unclear(
        f"{instruction!r} does not say what to do here, like 'hand the cube to the other arm' or 'put the peg into "
        f"the socket'; the words that are needed: {ways or 'none will do, for nothing here is known'}"
    )


def on_table(tools: Floats) -> Floats:
    """Where the tools of both arms (n, 14), each from its own arm's foot, are on the table (n, 2, 3), in metres."""
    points = tools.reshape(-1, 2, 7)[..., :3].copy()
    points[:, 1, :2] *= -1
    return np.asarray(points + FEET)


def lasted(t: NDArray[np.int64], stage: NDArray[np.int32]) -> bool:
    """Whether gym-aloha's last stage (4) was reached and lasted until now, given rows of truth: stamps and stages."""
    window = t[-1] - round(LASTS * 1e9)
    there = t[(stage == 4) & (t > window)]
    between = np.diff([window, *there, t[-1]]) / 1e9
    return bool(t[0] <= window and len(there) and between.max() <= FLICKER)


@dataclass(frozen=True)
class _Stop:
    """Where a tool should be, in the table's frame, at a count; ``open`` from 0 to 1."""

    count: float
    at: Floats
    turn: Floats
    open: float


Timetable = Sequence[_Stop]


def handover(cube: Floats, start: tuple[_Stop, _Stop]) -> tuple[Timetable, Timetable]:
    """The right arm fetches the cube and holds it out; the left waits aside, takes it, and draws back."""
    meet, high = np.array([0.0, 0.5, 0.25]), np.array([0.0, 0.0, 0.095])
    down, rolled = _about(1, -60), _about(0, 90)
    grasp = np.array([cube[0], cube[1], 0.03])
    aside, take, away = (_by(meet, x, 0.0, -0.02) for x in (-0.14, 0.02, -0.1))
    left = [
        start[0],
        *(_Stop(count, aside, rolled, 1) for count in (100, 225)),
        _Stop(265, take, rolled, 1),
        *(_Stop(count, take, rolled, 0) for count in (295, 310)),
        *(_Stop(count, away, rolled, 0) for count in (360, 400)),
    ]
    right = [
        start[1],
        _Stop(90, grasp + high, down, 1),
        _Stop(130, grasp, down, 1),
        _Stop(170, grasp, down, 0),
        _Stop(200, _by(meet, 0.05, 0.0, 0.0), down, 0),
        _Stop(220, meet, down, 0),
        _Stop(310, meet, down, 1),
        *(_Stop(count, _by(meet, 0.1, 0.0, 0.0), down, 1) for count in (360, 400)),
    ]
    return left, right


def insertion(peg: Floats, socket: Floats, start: tuple[_Stop, _Stop]) -> tuple[Timetable, Timetable]:
    """Each arm lifts its part; they meet in the air, the peg 7 mm higher, which is what hangs down of it."""
    meet, tables = np.array([0.0, 0.5, 0.15]), []
    for first, part, side, lift in ((start[0], socket, -1, 0.0), (start[1], peg, 1, 0.00715)):
        turn, grasp = _about(1, -60 * side), np.array([part[0], part[1], 0.02])
        apart, together = (_by(meet, side * x, 0.0, lift) for x in (0.1, 0.035))
        tables.append(
            [
                first,
                _Stop(120, _by(grasp, 0.0, 0.0, 0.11), turn, 1),
                _Stop(170, grasp, turn, 1),
                _Stop(220, grasp, turn, 0),
                _Stop(285, apart, turn, 0),
                _Stop(330, apart, turn, 0),
                *(_Stop(count, together, turn, 0) for count in (390, 430)),
            ]
        )
    return tables[0], tables[1]


class Bimanual:
    """Follows a timetable made from the truth at the start. The same scene gives the same motion.

    It looks once, and again only to bring a peg in line with its socket, so it does not notice a part that slips.
    ``succeeded`` says whether the last stage of the task was reached and lasted; ``done`` ends the episode then, or
    when the timetable has ended.
    """

    def __init__(
        self, kinematics: Kinematics, action: np.dtype[np.void], robot: str = "arm", pace: float = 1.0
    ) -> None:
        self._kinematics, self._action, self._robot, self._pace = kinematics, action, robot, pace
        self.reset("")

    def reset(self, instruction: str) -> None:
        """Begin again. What is to be done is what lies on the table."""
        self._instruction = instruction
        self._began: int | None = None
        self._tables: tuple[Timetable, Timetable] = ([], [])
        self._aside, self._then = np.zeros(3), 0
        self._q: Floats = np.zeros(12)

    def act(self, seen: Observation) -> Row | None:
        """Return the next target, or None while there is nothing to go by."""
        arm, truth = newest(seen.streams[self._robot]), newest(seen.streams["truth"])
        if arm is None or truth is None:
            return None
        if self._began is None:
            self._began, self._q = seen.t, arm["q_target"].copy()
            self._tables = self._plan(arm, truth)
        count = self._count(seen)
        stops = [_at(table, count) for table in self._tables]
        if count >= ALIGN and "peg" in (truth.dtype.names or ()):
            off = (truth["peg"] - truth["socket"])[:3]
            apart, off[0] = off[0], 0.0
            if apart > MEETING:
                self._aside += np.where(np.abs(off) < ALIGNED, 0.0, off) * (EAGER * (seen.t - self._then) / 1e9)
            stops = [
                replace(stop, at=stop.at + side * self._aside / 2) for stop, side in zip(stops, (1, -1), strict=True)
            ]
        self._then = seen.t
        tools = np.concatenate([_from_foot(0, stops[0]), _from_foot(1, stops[1])])
        self._q = self._kinematics.joints(self._q, tools)
        target = np.zeros(1, self._action)
        target["t"], target["q"], target["width"] = seen.t, self._q, [stop.open * OPEN for stop in stops]
        return cast("Row", target[0])

    def done(self, seen: Observation) -> bool:
        """Whether the episode may end."""
        return self._began is not None and (self.succeeded(seen) or self._count(seen) > self._end + 30)

    def succeeded(self, seen: Observation) -> bool:
        """Whether the last stage has lasted, and the timetable was followed to where both hands are at rest."""
        truth = seen.streams["truth"]
        return self._began is not None and self._count(seen) > self._end and lasted(truth["t"], truth["stage"])

    @property
    def _end(self) -> float:
        return self._tables[0][-1].count

    def _count(self, seen: Observation) -> float:
        return (seen.t - (self._began or 0)) / 1e9 / BEAT * self._pace

    def _plan(self, arm: Row, truth: Row) -> tuple[Timetable, Timetable]:
        left, right = (_start(i, arm["tool_target"][7 * i : 7 * i + 7], float(arm["width_target"][i])) for i in (0, 1))
        if "cube" in (truth.dtype.names or ()):
            return handover(truth["cube"], (left, right))
        return insertion(truth["peg"], truth["socket"], (left, right))


def _start(arm: int, tool: Floats, width: float) -> _Stop:
    """Where an arm's tool is, in the table's frame. The right arm's turns are told as if it stood like the left."""
    flip = _FLIP if arm else _STAY
    at = _turned(flip, tool[:3]) + FEET[arm]
    return _Stop(0, at, _times(_times(flip, tool[3:]), _back(flip)), width / OPEN)


def _from_foot(arm: int, stop: _Stop) -> Floats:
    """The pose that an arm is told, from its own foot."""
    flip = _FLIP if arm else _STAY
    return np.concatenate([_turned(_back(flip), stop.at - FEET[arm]), _times(_times(_back(flip), stop.turn), flip)])


def _at(table: Timetable, count: float) -> _Stop:
    """Where the timetable is at a count: on the straight way between two stops."""
    if count >= table[-1].count:
        return table[-1]
    i = next(i for i, stop in enumerate(table) if stop.count > count)
    one, other = table[i - 1], table[i]
    share = (count - one.count) / (other.count - one.count)
    turn = other.turn if one.turn @ other.turn >= 0 else -other.turn
    mixed = one.turn + share * (turn - one.turn)
    at = one.at + share * (other.at - one.at)
    return _Stop(count, at, mixed / np.linalg.norm(mixed), one.open + share * (other.open - one.open))


_STAY, _FLIP = np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0])


def _by(point: Floats, x: float, y: float, z: float) -> Floats:
    return np.asarray(point + np.array([x, y, z]))


def _about(axis: int, degrees: float) -> Floats:
    turn = np.zeros(4)
    turn[0], turn[1 + axis] = np.cos(np.radians(degrees) / 2), np.sin(np.radians(degrees) / 2)
    return turn


def _back(turn: Floats) -> Floats:
    return np.append(turn[0], -turn[1:])


def _times(one: Floats, other: Floats) -> Floats:
    w, v = one[0], one[1:]
    return np.append(w * other[0] - v @ other[1:], w * other[1:] + other[0] * v + np.cross(v, other[1:]))


def _turned(turn: Floats, point: Floats) -> Floats:
    return _times(_times(turn, np.append(0.0, point)), _back(turn))[1:]
