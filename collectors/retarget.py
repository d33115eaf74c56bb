"""A hand's rows become a tool's targets: frames, clutch, filter and limits, as values and functions without memory.

The hand's motion since the clutch closed, turned into the robot's base and scaled, is put on where the tool was then.
A hand that cannot be trusted opens the clutch; what must never be is that the tool jumps when it closes again.
"""

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]  # scipy ships no types

from drivers import Row

Floats = NDArray[np.float64]

BASE: Floats = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""From OpenXR's axes (x right, y up, z backward) to a robot's base (x forward, y left, z up)."""


SMALL, SMALL_TURN = 0.02, 0.15
"""Metres and radians by which a tracker may correct itself at once."""


class Clutch(Enum):
    """How the hand and the tool are coupled."""

    OPEN = "open"
    """The hand moves, the tool stays."""
    CLOSED = "closed"
    """The tool follows."""
    WAITING = "waiting"
    """The hand squeezed, but now it or its squeeze is not seen; it is coupled anew when it is."""
    OWED = "owed"
    """Something happened that the person must notice: the hand has to let go before it can be coupled again."""


@dataclass(frozen=True)
class Feel:
    """How one arm follows a hand. Times in seconds, lengths in metres, angles in radians."""

    low: tuple[float, float, float]
    """Corner of the box that the tool stays in, in the robot's base."""
    high: tuple[float, float, float]
    scale: float = 1.0
    """Of the tool's way to the hand's; turns are not scaled."""
    closes: float = 0.6
    """How hard a squeeze couples."""
    opens: float = 0.4
    """How weak a squeeze lets go."""
    unseen: float = 0.1
    """How long ago a pose was measured, and not only guessed, for it to be used."""
    stale: float = 0.1
    """How old a row may be, and how long after the one before."""
    speed: float = 0.25
    """Fastest that the target moves; more is followed later."""
    turn: float = 1.5
    """Fastest that it turns, per second."""
    leap: float = 3.0
    """How fast a hand can be; what is faster is a jump of the tracking, and opens the clutch."""
    twist: float = 20.0
    """How fast it can turn, per second."""
    calm: float = 10.0
    """Cutoff of the filter for a hand at rest, in Hz."""
    lively: float = 0.8
    """By how many Hz it rises with each metre per second."""
    widest: float = 0.08
    """How far the fingers open for a trigger that is let go."""

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"the box must be longer than nothing along each axis, not {self.low} to {self.high}")
        if not 0 < self.opens < self.closes < 1:
            raise ValueError(f"0 < opens < closes < 1 must hold, not opens {self.opens}, closes {self.closes}")


@dataclass(frozen=True)
class Filter:
    """A One-Euro filter of a hand's pose, between two rows: Casiez, Roussel and Vogel, CHI 2012."""

    t: int
    p: Floats
    q: Rotation
    v: Floats = field(default_factory=lambda: np.zeros(3))

    def step(self, t: int, p: Floats, q: Rotation, feel: Feel) -> "Filter":
        """Return the filter after one more pose; its ``p`` and ``q`` are the smoothed ones."""
        if t <= self.t:
            return self
        dt = (t - self.t) / 1e9
        v = self.v + _share(1.0, dt) * ((p - self.p) / dt - self.v)
        share = _share(feel.calm + feel.lively * float(np.linalg.norm(v)), dt)
        turn = Rotation.from_rotvec(share * (q * self.q.inv()).as_rotvec())
        return Filter(t, self.p + share * (p - self.p), turn * self.q, v)


def _share(cutoff: float, dt: float) -> float:
    """How much of the newest value a low pass takes."""
    return 1.0 / (1.0 + 1.0 / (2 * math.pi * cutoff * dt))


@dataclass(frozen=True)
class Grasp:
    """How one hand and one tool are coupled at a moment."""

    clutch: Clutch = Clutch.OPEN
    t: int = 0
    """Of the last step."""
    space: int = -1
    """Of the last row, as ``HANDS`` counts them."""
    seen: int = 0
    """When the hand was last tracked."""
    raw: tuple[Floats, Rotation] | None = None
    """The hand's last pose, as it came."""
    filter: Filter | None = None
    hand: tuple[Floats, Rotation] | None = None
    """Where the hand was when the clutch closed."""
    tool: tuple[Floats, Rotation] | None = None
    """Where the tool was."""
    target: tuple[Floats, Rotation] | None = None
    limited: bool = False
    """Whether the last target was held back, by the box or the limits."""

    def let_go(self, clutch: Clutch) -> "Grasp":
        """Return this with the hand and the tool apart."""
        return Grasp(clutch, self.t, self.space, self.seen)


def facing(forward: Floats) -> float:
    """Return the turn (rad, about the robot's z) after which a person's forward is the robot's, for a head or aim pose.

    Raises:
        ValueError: the pose points straight up or down, or is not known.
    """
    x, y, _ = BASE @ _hand(forward)[1].apply([0.0, 0.0, -1.0])
    if not math.hypot(x, y) > 0.1:  # NaN too
        raise ValueError("the controller points up or down, or is not seen: point it forward, away from yourself")
    return -math.atan2(y, x)


def width(row: Row, hand: int, before: float, feel: Feel) -> float:
    """How far the fingers shall be apart; a trigger that says nothing leaves them as ``before``."""
    trigger = float(row["trigger"][hand])
    return before if math.isnan(trigger) else feel.widest * (1.0 - min(1.0, max(0.0, trigger)))


def pressed(before: Row, row: Row, hand: int) -> int:
    """The buttons, as bits, that went down between two rows."""
    return int(row["buttons"][hand]) & ~int(before["buttons"][hand])


def step(
    grasp: Grasp, row: Row, hand: int, tool: Floats, now: int, feel: Feel, yaw: float = 0.0
) -> tuple[Grasp, Floats | None]:
    """Follow one hand for one tick.

    Args:
        grasp: what the last step returned.
        row: the newest of ``HANDS``.
        hand: 0 left, 1 right.
        tool: where the tool is or was last sent, x y z qw qx qy qz in the robot's base; it counts when it is coupled.
        now: nanoseconds on the host's clock.
        feel: how the arm follows.
        yaw: what ``facing`` returned.

    Returns:
        The new grasp, and where the tool shall be, as ``tool``; None for stay.
    """
    before, grasp = grasp, _look(grasp, row, hand, now)
    grasp = _couple(before, grasp, row, hand, feel)
    if grasp.clutch is not Clutch.CLOSED:
        return grasp, None
    p, q = _hand(row["grip"][hand])
    if grasp.hand is None or grasp.filter is None:
        start = Rotation.from_quat(np.roll(tool[3:], -1))
        grasp = replace(
            grasp,
            raw=(p, q),
            filter=Filter(int(row["t"]), p, q),
            hand=(p, q),
            tool=(tool[:3].copy(), start),
            target=(tool[:3].copy(), start),
        )
        return grasp, tool.copy()
    if _jumped(grasp, p, q, (int(row["t"]) - grasp.filter.t) / 1e9, feel):
        return grasp.let_go(Clutch.OWED), None
    grasp = replace(grasp, raw=(p, q), filter=grasp.filter.step(int(row["t"]), p, q, feel))
    grasp = _limited(grasp, *_wanted(grasp, feel, yaw), (now - before.t) / 1e9, feel)
    return grasp, _seven(grasp.target)


def _look(grasp: Grasp, row: Row, hand: int, now: int) -> Grasp:
    """Take note of a row, without judging it."""
    seen = min(int(row["t"]), now) if row["tracked"][hand] else grasp.seen
    return replace(grasp, t=now, space=int(row["space"]), seen=seen)


def _couple(before: Grasp, grasp: Grasp, row: Row, hand: int, feel: Feel) -> Grasp:
    """Decide what becomes of the clutch."""
    squeeze = float(row["squeeze"][hand])
    engaged = before.clutch in {Clutch.CLOSED, Clutch.WAITING}
    if not row["focused"] or (engaged and row["space"] != before.space):
        return grasp.let_go(Clutch.OWED)
    if before.clutch is Clutch.OWED:
        return grasp.let_go(Clutch.OPEN) if squeeze < feel.opens else grasp
    if squeeze < feel.opens:
        return grasp.let_go(Clutch.OPEN)
    if not _usable(grasp, row, hand, feel):
        return grasp.let_go(Clutch.WAITING if engaged else before.clutch)
    if engaged or squeeze > feel.closes:
        return replace(grasp, clutch=Clutch.CLOSED)
    return grasp


def _usable(grasp: Grasp, row: Row, hand: int, feel: Feel) -> bool:
    """Whether a hand may move anything."""
    fresh = 0 <= grasp.t - int(row["t"]) <= feel.stale * 1e9
    known = np.isfinite(row["grip"][hand]).all() and np.isfinite(row["squeeze"][hand])
    trusted = row["active"][hand] and row["valid"][hand] and known
    measured = grasp.t - grasp.seen <= feel.unseen * 1e9
    unbroken = grasp.filter is None or int(row["t"]) - grasp.filter.t <= feel.stale * 1e9
    return bool(fresh and trusted and measured and unbroken and abs(np.linalg.norm(row["grip"][hand][3:]) - 1) < 0.1)


def _jumped(grasp: Grasp, p: Floats, q: Rotation, seconds: float, feel: Feel) -> bool:
    """Whether no hand moves like that; a tracker's small corrections are not meant."""
    last, turn = _known(grasp.raw)
    far, twisted = float(np.linalg.norm(p - last)), float((q * turn.inv()).magnitude())
    return far > max(SMALL, feel.leap * seconds) or twisted > max(SMALL_TURN, feel.twist * seconds)


def _wanted(grasp: Grasp, feel: Feel, yaw: float) -> tuple[Floats, Rotation, bool]:
    """Where in the box the hand's motion since the clutch closed puts the tool, and whether the box held it back.

    A tool that was outside may stay as far out as it was: only the hand brings it back.
    """
    (hand_p, hand_q), (tool_p, tool_q), smooth = _known(grasp.hand), _known(grasp.tool), _known(grasp.filter)
    to_base = Rotation.from_euler("z", yaw) * Rotation.from_matrix(BASE)
    p = tool_p + feel.scale * to_base.apply(smooth.p - hand_p)
    q = to_base * (smooth.q * hand_q.inv()) * to_base.inv() * tool_q
    kept = np.clip(p, np.minimum(feel.low, tool_p), np.maximum(feel.high, tool_p))
    return kept, q, bool((kept != p).any())


def _limited(grasp: Grasp, place: Floats, turned: Rotation, walled: bool, seconds: float, feel: Feel) -> Grasp:
    """Go towards what is wanted, as far as the limits let it."""
    (p, q), seconds = _known(grasp.target), min(max(seconds, 0.0), 0.1)
    way, turn = place - p, (turned * q.inv()).as_rotvec()
    far = max(
        float(np.linalg.norm(way)) / max(feel.speed * seconds, 1e-9),
        float(np.linalg.norm(turn)) / max(feel.turn * seconds, 1e-9),
    )
    share = 1.0 / max(1.0, far)
    return replace(
        grasp,
        target=(p + share * way, Rotation.from_rotvec(share * turn) * q),
        limited=walled or far > 1.001,
    )


def _known[T](value: T | None) -> T:
    if value is None:
        raise ValueError("a closed clutch knows where it closed")
    return value


def _hand(pose: Any) -> tuple[Floats, Rotation]:
    """Read x y z qx qy qz qw."""
    numbers = np.asarray(pose, np.float64)
    return numbers[:3].copy(), Rotation.from_quat(numbers[3:])


def _seven(pose: tuple[Floats, Rotation] | None) -> Floats:
    p, q = _known(pose)
    return np.concatenate([p, np.roll(q.as_quat(), 1)])
