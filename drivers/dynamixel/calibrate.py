"""Find out what an arm's positions mean: sweep every joint first, then put the arm where the angles are known."""

from collections.abc import Sequence

import numpy as np

from drivers.device import DeviceError, Rows
from drivers.dynamixel.layout import Calibration, Layout
from drivers.dynamixel.registers import TURN

MARGIN = 0.02
"""How far from its mechanical stops a joint is kept, in radians."""

STILL = 12
"""An arm stands still when no joint's position moves further than this."""

SWEPT = 0.6
"""The share of what a joint can turn that a sweep has to show."""


def calibrate(
    layout: Layout, swept: Rows, home: Rows, angles: Sequence[float], like: Calibration, id_: int | None = None
) -> Calibration:
    """Return the calibration of an arm, from rows (with ``positions``) read while a person moved it by hand.

    The sweep comes first: every joint, and the gripper, from one end to the other. It shows where the ends are,
    and whether an encoder rolls over between them, which no single pose can show. Then the arm stands still at
    ``angles`` (6,), in radians. ``like`` gives what cannot be found so: the signs, which way the gripper opens,
    and about how far each joint turns.

    Raises:
        DeviceError: the sweep or the pose are not good enough. The message names every joint, and what to do.
    """
    names = [joint.name for joint in layout.joints]
    columns = [layout.ids.index(id_) for id_ in layout.masters]
    ways = np.unwrap(swept["positions"][:, columns].astype(np.float64), period=TURN, axis=0)
    stand = home["positions"][:, columns].astype(np.float64)
    if len(swept) < 2 or not len(home):
        raise DeviceError(f"a calibration needs rows of a sweep and of a pose, not {len(swept)} and {len(home)}")
    pose, low, high = np.median(stand, axis=0), ways.min(axis=0), ways.max(axis=0)
    wide = np.array([*(np.array(like.high) - like.low) * TURN / (2 * np.pi), abs(like.open - like.closed)])
    problems = []
    for i, name in enumerate(names):
        span = high[i] - low[i]
        if span < SWEPT * wide[i]:
            problems.append(
                f"{name} was turned by {span * 360 / TURN:.0f} degrees, of about {wide[i] * 360 / TURN:.0f}: "
                "sweep it from one stop to the other"
            )
        elif np.ptp(stand[:, i]) > STILL:
            problems.append(f"{name} moved while the arm should have stood at home: hold it still")
        elif i < 6 and wide[i] < 0.9 * TURN and (low[i] < 0 or high[i] >= TURN):
            problems.append(
                f"{name}'s encoder rolls over within its reach, from {low[i]:.0f} to {high[i]:.0f}: "
                "mount the horn so that the middle of the reach is near 2048"
            )
        elif i < 6 and wide[i] < 0.9 * TURN and not low[i] - STILL <= pose[i] <= high[i] + STILL:
            problems.append(f"{name} stood at {pose[i]:.0f}, outside of its sweep from {low[i]:.0f} to {high[i]:.0f}")
    if problems:
        raise DeviceError("; ".join(problems))
    sign = np.array(like.sign)
    zero = np.rint(pose[:6] - np.array(angles) * sign * TURN / (2 * np.pi)).astype(int)
    ends = (np.clip(np.stack([low[:6], high[:6]]), 0, TURN - 1) - zero) * (2 * np.pi / TURN) * sign
    closed, opened = (low[6], high[6]) if like.open > like.closed else (high[6], low[6])
    return Calibration(
        zero=tuple(zero.tolist()),
        sign=like.sign,
        low=tuple((ends.min(axis=0) + MARGIN).tolist()),
        high=tuple((ends.max(axis=0) - MARGIN).tolist()),
        closed=round(float(closed)),
        open=round(float(opened)),
        id=id_,
    )
