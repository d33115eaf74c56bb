"""A person with a headset: a hand that squeezes moves a tool, and its trigger the fingers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from collectors.buttons import LEFT
from collectors.differential import differential
from collectors.retarget import Clutch, Feel, Grasp, facing, pressed, step, width
from collectors.ways import HANDS, Lacking, Place, Pulse
from drivers import Guard, Kinematics, Row, Rows, newest, row_type
from drivers.openxr.rows import UPPER
from drivers.settings import Unfit, filled
from storage import Observation
from storage.layout import arrived

Floats = NDArray[np.float64]

SIDES = ("left", "right")

GONE = 0.1
"""Seconds within which the robot holds once a hand cannot be trusted."""

SHORTEST = 0.03
"""Seconds that a row may always be old: three of a headset's, however seldom the agent is asked."""

INSIDE = 0.001
"""How far within the guard's box targets stay, in metres."""

TRACE = row_type(("source_t", "<i8"), ("engaged", "u1", (2,)), ("clamped", "u1", (2,)))
"""What was made of the hands' rows at a tick: ``source_t`` is the stamp of the newest one, -1 where there is none.
``engaged`` says which hands moved a tool, ``clamped`` whose tool was held back by the box or by its speed; left
before right."""

ENGAGED, AT_LIMIT, LOST, BETWEEN, CALIBRATED = (0.04, 0.5), (0.03, 0.25), (0.25, 1.0), (0.1, 0.6), (0.15, 0.5)
"""Pulses, as seconds and amplitude: coupled; held back; not seen or not trusted; a take begins or ends; Y was heard."""

NUDGES = 0.5
"""Seconds between two pulses that say the tool is held back."""


@dataclass(frozen=True)
class Settings:
    """How hands move tools: ``[by.vr]`` of a station file."""

    device: str = ""
    """The headset, where there are several."""
    hand: Literal["left", "right"] = "right"
    """Which one moves the only arm. Of two arms, each has its own."""
    turned: tuple[float, ...] = ()
    """How far each arm's foot is turned to the left of where the person looks, in degrees. Without, an arm looks away
    from the person, and two arms at each other."""
    scale: PositiveFloat = 1.0
    """Of the tool's way to the hand's; turns are not scaled."""
    speed: Annotated[float, Field(gt=0, le=1.0)] = 0.25
    """Fastest that a tool moves, in metres per second."""
    turn: Annotated[float, Field(gt=0, le=4.0)] = 1.5
    """Fastest that it turns, in radians per second."""
    calm: PositiveFloat = 10.0
    """Cutoff of the filter for a hand at rest, in Hz."""
    lively: PositiveFloat = 0.8
    """By how many Hz it rises with each metre per second."""


@dataclass(frozen=True)
class Side:
    """One arm and the hand that moves it."""

    hand: Literal[0, 1]
    feel: Feel
    yaw: float
    """From the person's axes, which are the base's where it looks away from the person, to the arm's base, in rad."""


def agent(place: Place) -> "VrAgent":
    """Have a person drive a station.

    Raises:
        Lacking: there are several headsets, ``[by.vr]`` is wrong, or mink is not installed.
    """
    try:
        settings = filled(Settings, place.settings)
    except Unfit as error:
        raise Lacking(f"[by.vr] {error}") from error
    found = place.with_rows(*HANDS)
    device = settings.device or found[0]
    if device not in found or (len(found) > 1 and not settings.device):
        raise Lacking(f"[by.vr] needs device = one of {found}, not {settings.device!r}")
    robot = place.robot
    return VrAgent(device, robot.name, sides(place, settings), _kinematics(place), robot.action, place.pulse)


def _kinematics(place: Place) -> Kinematics:
    """What brings tools to hands: the robot's own, or better where that leaps when they are nearly singular."""
    robot = place.robot
    if not isinstance(robot, Guard):
        return robot.kinematics
    try:
        better = differential(robot.kinematics, robot.limits, robot.action["q"].shape[0], 1 / place.hz)
    except ImportError as error:
        raise Lacking(
            f"mink, which brings these arms' tools to hands ({error}): install the extra [hardware]"
        ) from error
    return better or robot.kinematics


def sides(place: Place, settings: Settings) -> list[Side]:
    """Say which hand moves which arm, and how.

    Raises:
        Lacking: ``turned`` is of another number of arms.
    """
    arms = max(1, int(np.prod(place.robot.action["width"].shape)))
    turned = settings.turned or ((0.0,) if arms == 1 else (-90.0, 90.0))
    if len(turned) != arms:
        raise Lacking(f"[by.vr] turned has {len(turned)} numbers; {place.robot.name} takes {arms}")
    limits = place.robot.limits if isinstance(place.robot, Guard) else None
    low = np.full((arms, 3), -np.inf) if limits is None else np.resize(np.array(limits.box_low) + INSIDE, (arms, 3))
    high = np.full((arms, 3), np.inf) if limits is None else np.resize(np.array(limits.box_high) - INSIDE, (arms, 3))
    widest = [0.08] * arms if limits is None else np.resize(np.array(limits.width), (arms, 2))[:, 1].tolist()
    late = max(SHORTEST, GONE - 1 / place.hz)
    hands: Sequence[Literal[0, 1]] = (0, 1) if arms == 2 else ((0,) if settings.hand == "left" else (1,))
    return [
        Side(
            hand,
            Feel(
                (low[i][0], low[i][1], low[i][2]),
                (high[i][0], high[i][1], high[i][2]),
                scale=settings.scale,
                unseen=late,
                stale=late,
                speed=settings.speed,
                turn=settings.turn,
                calm=settings.calm,
                lively=settings.lively,
                widest=widest[i],
            ),
            -math.radians(turned[i]),
        )
        for i, hand in enumerate(hands)
    ]


class VrAgent:
    """One hand for each arm. Only a squeeze moves anything; while no hand squeezes, the robot holds.

    Every row of the hands counts, not only the newest at a tick, so that none that is invalid is missed. A take begins
    uncoupled. An arm whose hand does not squeeze stays where it is while the other moves, its fingers as they are.
    """

    trace_dtype = TRACE

    def __init__(
        self,
        device: str,
        robot: str,
        sides: Sequence[Side],
        kinematics: Kinematics,
        action: np.dtype[np.void],
        pulse: Pulse = lambda _hand, _seconds, _amplitude: None,
    ) -> None:
        self._device, self._robot, self._sides = device, robot, sides
        self._kinematics, self._action, self._pulse = kinematics, action, pulse
        self._yaw = 0.0
        self._space, self._seq = -1, -1
        self._begin()

    def _begin(self) -> None:
        self._grasps = [Grasp(Clutch.OWED) for _ in self._sides]
        self._tools: list[Floats | None] = [None for _ in self._sides]
        self._nudged = [-math.inf for _ in self._sides]
        self._q: Floats | None = None
        self._asked = 0
        self._widths: Floats = np.zeros(len(self._sides))
        self._row: Row | None = None
        self._traced: Rows = np.zeros(0, TRACE)
        self._status = "waiting for the headset"

    @property
    def status(self) -> str:
        """What each hand does, and how old the row is that is followed."""
        return self._status

    def reset(self, instruction: str) -> None:
        """Begin a take: every hand has to let go first. Which way is forward is kept."""
        self._begin()
        self._shake(BETWEEN)

    def leave(self) -> None:
        """Tell the person that the take is over."""
        self._shake(BETWEEN)

    def act(self, seen: Observation) -> Row | None:
        """Return where the squeezing hands want the arms; None while no hand squeezes or can be trusted."""
        arm, rows = newest(seen.streams[self._robot]), seen.streams[self._device]
        rows = rows[: int(arrived(rows, seen.t)) + 1]  # what came while devices were read counts at the next tick
        if arm is None or not len(rows):
            self._nothing(seen.t)
            return None
        if seen.t - self._asked > GONE * 1e9:  # the guard may have stopped the robot since
            self._q = None
        self._asked = seen.t
        if self._q is None:
            self._widths = np.array(arm["width_target"], np.float64).reshape(-1)
        q = np.array(arm["q_target"], np.float64) if self._q is None else self._q
        tools = np.split(self._kinematics.tool(q), len(self._sides))
        for row, now in self._news(rows, seen.t):
            self._calibrate(row)
            self._follow(row, now, tools)
        self._trace(seen.t, self._row)
        self._nudge(seen.t)
        self._tell(seen.t)
        if all(tool is None for tool in self._tools):
            self._q = None
            return None
        aims = [here if tool is None else tool for tool, here in zip(self._tools, tools, strict=True)]
        self._q = self._joints(q, aims)
        target = np.zeros(1, self._action)
        target["t"], target["q"], target["width"] = seen.t, self._q, self._widths.reshape(target["width"][0].shape)
        return newest(target)

    def _nothing(self, t: int) -> None:
        """Nobody says anything: couple nothing."""
        self._grasps = [grasp.let_go(Clutch.OWED) for grasp in self._grasps]
        self._tools, self._q = [None for _ in self._sides], None
        self._trace(t, None)
        self._status = "no word from the headset"

    def trace(self) -> Rows:
        """Return what was made of the hands since the last time, see `TRACE`."""
        traced, self._traced = self._traced, np.zeros(0, TRACE)
        return traced

    def _news(self, rows: Rows, now: int) -> Iterator[tuple[Row, int]]:
        """Every row since the last tick at the moment it came, and the newest once more, now. Before a take, none.

        What came longer ago than ``GONE`` is judged as of then: to follow it all at once would be a leap.
        """
        for row in rows[-1:] if self._row is None else rows[rows["t"] > self._row["t"]]:
            yield row, min(max(int(row["received"]), now - round(GONE * 1e9)), now)
        yield cast("Row", rows[-1]), now

    def _calibrate(self, row: Row) -> None:
        """Y makes forward what the person looks at; recentering does so too, in the headset itself.

        A headset that was connected anew counts its rows and its spaces from nothing again.
        """
        before, self._row = self._row, row
        if row["space"] != self._space or row["seq"] < self._seq:
            self._yaw = 0.0
        self._space, self._seq = int(row["space"]), int(row["seq"])
        if before is None or not (before["focused"] and row["focused"]) or not pressed(before, row, LEFT) & UPPER:
            return
        try:
            self._yaw = facing(row["head"])
        except ValueError:
            self._pulse(LEFT, *LOST)
            return
        self._grasps = [grasp.let_go(Clutch.OWED) for grasp in self._grasps]
        self._pulse(LEFT, *CALIBRATED)

    def _follow(self, row: Row, now: int, tools: Sequence[Floats]) -> None:
        """Let each hand that squeezes move its tool, and let it feel what becomes of that."""
        for i, side in enumerate(self._sides):
            before = self._grasps[i]
            grasp, aim = step(before, row, side.hand, tools[i], max(now, before.t), side.feel, self._yaw + side.yaw)
            self._grasps[i], self._tools[i] = grasp, aim
            if grasp.clutch is Clutch.CLOSED:
                self._widths[i] = width(row, side.hand, float(self._widths[i]), side.feel)
            self._feel(side.hand, before, grasp)

    def _feel(self, hand: int, before: Grasp, grasp: Grasp) -> None:
        was, now = before.clutch is Clutch.CLOSED, grasp.clutch is Clutch.CLOSED
        if now and not was:
            self._pulse(hand, *ENGAGED)
        elif was and grasp.clutch in {Clutch.WAITING, Clutch.OWED}:
            self._pulse(hand, *LOST)

    def _nudge(self, t: int) -> None:
        """Let a hand feel that its tool is held back, now and then while it is."""
        for i, side in enumerate(self._sides):
            if self._tools[i] is not None and self._grasps[i].limited and t - self._nudged[i] >= NUDGES * 1e9:
                self._nudged[i] = t
                self._pulse(side.hand, *AT_LIMIT)

    def _joints(self, q: Floats, aims: Sequence[Floats]) -> Floats:
        """The joints that bring the tools of moving arms to their aims; those of an arm that stays are kept."""
        found = self._kinematics.joints(q, np.concatenate(aims))
        bounds = np.linspace(0, len(q), len(aims) + 1).astype(int)
        for tool, (begin, end) in zip(self._tools, pairwise(bounds), strict=True):
            if tool is None:
                found[begin:end] = q[begin:end]
        return found

    def _trace(self, t: int, row: Row | None) -> None:
        traced = np.zeros(1, TRACE)
        traced["t"], traced["source_t"] = t, -1 if row is None else row["t"]
        for side, grasp, tool in zip(self._sides, self._grasps, self._tools, strict=True):
            traced["engaged"][0, side.hand] = tool is not None
            traced["clamped"][0, side.hand] = tool is not None and grasp.limited
        self._traced = np.concatenate([self._traced, traced])

    def _tell(self, t: int) -> None:
        if self._row is not None and not self._row["focused"]:
            self._status = "the headset is off, or shows something else"
            return
        said = [_words(grasp) for grasp in self._grasps]
        if len(said) > 1:
            said = [f"{SIDES[side.hand]} {words}" for side, words in zip(self._sides, said, strict=True)]
        age = f", {(t - int(self._row['t'])) / 1e6:.0f} ms" if self._row is not None else ""
        self._status = "; ".join(said) + age

    def _shake(self, how: tuple[float, float]) -> None:
        for side in self._sides:
            self._pulse(side.hand, *how)


def _words(grasp: Grasp) -> str:
    """What a person is told of one hand."""
    match grasp.clutch:
        case Clutch.OPEN:
            return "open: squeeze to move"
        case Clutch.WAITING:
            return "not seen"
        case Clutch.OWED:
            return "let go, then squeeze"
        case Clutch.CLOSED:
            return "at a limit" if grasp.limited else "follows"
