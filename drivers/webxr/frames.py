"""What the page sends, and the row that becomes of it."""

import math

import numpy as np
from numpy.typing import NDArray

from drivers.device import Row
from drivers.openxr.rows import LOWER, MENU, STICK, UPPER, unseen

FRAME = np.dtype(
    [
        ("at", "<f8"),
        ("space", "<f8"),
        ("focused", "<f8"),
        ("head", "<f8", (7,)),
        ("active", "<f8", (2,)),
        ("tracked", "<f8", (2,)),
        ("grip", "<f8", (2, 7)),
        ("aim", "<f8", (2, 7)),
        ("trigger", "<f8", (2,)),
        ("squeeze", "<f8", (2,)),
        ("stick", "<f8", (2, 2)),
        ("buttons", "<f8", (2,)),
    ]
)
"""One frame, as numbers in this order; see ``look`` in page.js. ``at`` is the page's clock in milliseconds, ``space``
how often it says that the space has moved; flags are 0 or 1. What is not known is NaN."""

ANSWER = np.dtype([("number", "<f8"), ("at", "<f8")])
"""An answer: the number of the question, and the page's clock in milliseconds when it came."""

FLAGS = ("focused", "active", "tracked")
NUMBERS = ("trigger", "squeeze", "stick")

FAR = 100.0
"""Metres beyond which nobody's hand is."""

UNIT = 1e-2
"""How far the length of a quaternion may be from 1."""

LONG = 1e12
"""Milliseconds that no clock of a page shows, and a count that no space reaches: 30 years."""


class Malformed(ValueError):
    """A message that the page never sends. The text says what is wrong with it."""


def frame(message: bytes) -> Row:
    """Read one frame.

    Raises:
        Malformed: it is none.
    """
    read = _one(message, FRAME)
    for name in ("at", "space"):
        if not 0 <= read[name] <= LONG:
            raise Malformed(f"{name} is {read[name]}")
    for name in FLAGS:
        if not np.isin(read[name], (0.0, 1.0)).all():
            raise Malformed(f"{name} is {read[name]}, neither 0 nor 1")
    if not np.isin(read["buttons"], range(2 * MENU)).all():
        raise Malformed(f"buttons are {read['buttons']}")
    return read


def answer(message: bytes) -> tuple[int, int]:
    """Read an answer: the question's number, and the page's clock in nanoseconds.

    Raises:
        Malformed: it is none.
    """
    read = _one(message, ANSWER)
    if not (0 <= read["number"] <= LONG and 0 <= read["at"] <= LONG):
        raise Malformed(f"an answer of {read}")
    return int(read["number"]), nanoseconds(read["at"])


def nanoseconds(at: float) -> int:
    """What a page's clock shows, in whole nanoseconds."""
    return round(float(at) * 1e6)


def row(read: Row) -> Row:
    """Say what a frame says as a headset would: what cannot be used is NaN, and without focus no hand is ours."""
    said = unseen()
    said["head"] = _pose(read["head"])
    said["focused"] = read["focused"]
    for hand in (0, 1) if read["focused"] else ():
        if not read["active"][hand]:
            continue
        said["active"][hand] = 1
        said["grip"][hand], said["aim"][hand] = _pose(read["grip"][hand]), _pose(read["aim"][hand])
        said["valid"][hand] = not np.isnan(said["grip"][hand]).any()
        said["tracked"][hand] = said["valid"][hand] and read["tracked"][hand]
        for name in NUMBERS:
            low = -1.0 if name == "stick" else 0.0
            said[name][hand] = np.clip(read[name][hand], low, 1.0)  # NaN stays
        said["buttons"][hand] = int(read["buttons"][hand]) & (LOWER | UPPER | STICK)
    return said


def _one(message: bytes, dtype: "np.dtype[np.void]") -> Row:
    if len(message) != dtype.itemsize:
        raise Malformed(f"{len(message)} bytes, not {dtype.itemsize}")
    one: Row = np.frombuffer(message, dtype)[0]
    return one


def _pose(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a pose that can be used, with a quaternion of length 1, or NaN."""
    length = math.hypot(*pose[3:])
    if not np.isfinite(pose).all() or np.abs(pose[:3]).max() > FAR or abs(length - 1) > UNIT:
        return np.full(7, np.nan)
    return np.concatenate([pose[:3], pose[3:] / length])
