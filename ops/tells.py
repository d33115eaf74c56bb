"""What gives away a demonstration that is not what is said of it: its own record contradicts it.

None of these needs a policy, or another demonstration. A robot follows what it is told, some hundredths of a second
later; in a take whose time runs backwards it is ahead of what it is told. A take of which the table's truth is on
record shows whether it succeeded. Where there is no truth, a failure that is called a success and was driven well is
not given away by its record: trials are the last defence against it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from collectors.scripted import Unclear
from ops.failures import judge
from ops.judging.judgement import TAXONOMY, Judgement
from storage import Episode, Outcome
from storage.orders import LED

REACH = 0.3
"""Seconds by which a robot is supposed to follow at most."""

AHEAD = 0.8
"""A robot is ahead of what it is told when that leaves so small a share of what a delay leaves unexplained."""

ASTRAY = 0.5
"""A robot that is so far from what it is told, as a share of how far it moves, does not follow."""

ROBOT, TOLD, DID = "arm", "q_target", "q"


def tells(episode: Episode, instruction: str) -> Iterator[str]:
    """Why a demonstration that is called a success is none, in words; nothing where it may well be one."""
    said = _judged(episode, instruction)
    if said is not None and said.outcome is Outcome.FAILURE:
        yield f"it is called a success, and its own record shows {said.code} at {said.stage}"
    if said is not None and said.outcome is Outcome.INVALID and said.evidence["rules"] != TAXONOMY:
        yield f"it is called a success, and its own record shows that {said.evidence['why']}"
    follows = following(episode)
    if follows is None:
        return
    behind, left, ahead_left = follows
    if left > ASTRAY:
        yield f"the robot does not do what it is told: {left:.0%} of its motion is left"
    elif behind < 0 and left < AHEAD * ahead_left:
        yield f"time runs backwards: the robot is {-behind:.2f} s ahead of what it is told"


def following(episode: Episode) -> tuple[float, float, float] | None:
    """By how many seconds a robot follows what it is told, and which share of its motion that leaves unexplained.

    The third number is that share for the best delay from zero on: as it should be. None of a take in which the robot
    has no joints, hardly moves, or is led, so that what it is told follows it.
    """
    led = episode.attributes.get("agent") == LED
    if led or ROBOT not in episode.streams or not {TOLD, DID} <= {*(episode.dtype(ROBOT).names or ())}:
        return None
    rows = episode.columns(ROBOT, (DID, TOLD))
    if len(rows) < 8:
        return None
    did, told = (np.asarray(rows[field], float).reshape(len(rows), -1) for field in (DID, TOLD))
    period = float(np.median(np.diff(rows["t"]))) / 1e9
    moved = float(np.sqrt(did.var(0).mean()))
    if period <= 0 or moved < 1e-3:
        return None
    reach = min(max(1, round(REACH / period)), len(did) // 4)
    delays = range(-reach, reach + 1)
    left = np.array([_apart(did, told, delay) for delay in delays]) / moved
    best = int(left.argmin())
    return delays[best] * period, float(left[best]), float(left[reach:].min())


def _apart(did: NDArray[np.float64], told: NDArray[np.float64], delay: int) -> float:
    """Root of the mean squared distance between what was told and what was done so many rows later."""
    late, early = did[max(0, delay) : len(did) + min(0, delay)], told[max(0, -delay) : len(told) + min(0, -delay)]
    return float(np.sqrt(np.square(late - early).mean()))


def _judged(episode: Episode, instruction: str) -> Judgement | None:
    """What the rules say of it; None where they can say nothing."""
    if "truth" not in episode.streams:
        return None
    try:
        return judge(episode, instruction)
    except (LookupError, Unclear):
        return None
