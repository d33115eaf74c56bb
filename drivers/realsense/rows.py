"""What a RealSense's frames become: rows, each with its place and its moment."""

from dataclasses import dataclass

import numpy as np

from drivers.device import sensed
from drivers.stamps import Stamps

HARDWARE, SYSTEM, GLOBAL = range(3)
"""Whose clock a frame's ``device_t`` is: the camera's own, this machine's at arrival, or the camera's as the SDK has
translated it to this machine's wall clock."""

WRAP = 2**32
"""The camera's own clock counts microseconds in 32 bits, 71.6 minutes; its frame numbers have 32 bits too."""

LATENCY = 200_000_000
"""Longest way from the light to this machine that is believed, in nanoseconds."""


UNSTEADY = 1000.0
"""Milliseconds that a clock may go back between two frames, of one stream or another, before it is another clock."""


def layout(rgb: tuple[int, int], depth: bool | tuple[int, int], align: bool) -> np.dtype[np.void]:
    """Lay out a row of pictures of height and width ``rgb``, and of depth: none, of that size too, or of its own.

    Depth is in whole millimetres, 0 where it is not known. ``device_t`` (milliseconds, as the SDK gives them) and
    ``number`` are of colour and then of depth; ``domain`` says whose clock ``device_t`` is.
    """
    size = rgb if align and depth else mode(rgb, depth)
    pictures = [("rgb", "u1", (*rgb, 3))] + ([] if size is None else [("depth", "<u2", size)])
    streams = len(pictures)
    return sensed(*pictures, ("device_t", "<f8", (streams,)), ("number", "<i8", (streams,)), ("domain", "u1"))


def mode(rgb: tuple[int, int], depth: bool | tuple[int, int]) -> tuple[int, int] | None:
    """Height and width that the depth sensor runs at; None without depth."""
    if isinstance(depth, bool):
        return rgb if depth else None
    return depth


@dataclass(frozen=True)
class Shot:
    """What a frame says of itself, and when it was here."""

    number: int
    device_t: float
    """Milliseconds of the clock that ``domain`` names."""
    domain: int
    lead: float
    """Milliseconds by which the middle of the exposure was before ``device_t``."""
    arrived: int
    """On the host's clock."""
    wall: int
    """This machine's wall clock at that moment, in nanoseconds."""


class Moments:
    """Says when light fell in, on the host's clock. Streams of one camera share it, as they share the camera's clock.

    So what is a millisecond apart for the camera is a millisecond apart here, whatever the way to this machine took.
    """

    def __init__(self) -> None:
        self._stamps = Stamps()
        self._domain: int | None = None
        self._own = 0.0
        """The latest of the device's milliseconds, without their wraps."""

    @property
    def offset(self) -> int:
        """From the device's clock to the host's, in nanoseconds."""
        return self._stamps.offset

    def restart(self) -> None:
        """The camera was opened again: its clock may have begun anew."""
        self._domain = None

    def moment(self, shot: Shot) -> tuple[int, int]:
        """Return when the light of a frame fell in: in nanoseconds of the camera's clock, and of the host's."""
        ago = shot.device_t - self._own
        if shot.domain == HARDWARE:
            ago = (ago + WRAP / 2e3) % (WRAP / 1e3) - WRAP / 2e3
        if shot.domain != self._domain or ago < -UNSTEADY:
            self._stamps, self._domain = Stamps(), shot.domain
            self._own, ago = shot.device_t, 0.0
        own = round((self._own + ago - shot.lead) * 1e6)
        self._own = max(self._own, self._own + ago)
        t = self._stamps.stamp(own, shot.arrived)
        if shot.domain != GLOBAL:
            return own, t
        # A wall clock that was just set is not believed; the SDK needs a second to follow it.
        known = own - shot.wall + shot.arrived
        return own, known if t - LATENCY <= known <= t else t


class Track:
    """One stream's numbers and moments, which go on when the camera begins anew.

    ``seq`` is the frame number without its wraps. After ``restart`` it goes on as many frames later as fit into the
    time between, so that what was lost leaves a gap.
    """

    def __init__(self, hz: float, moments: Moments) -> None:
        self._period, self._moments = 1e9 / hz, moments
        self.seq = self.t = 0
        self.own = 0
        """When its light fell in, on the camera's clock."""
        self._number: int | None = None
        self._begins = False

    def restart(self) -> None:
        """The camera was opened again: its next number has nothing to do with its last."""
        self._begins = self._number is not None

    def follow(self, shot: Shot) -> bool:
        """Give the frame its place, ``seq`` and ``t``. False when it is none: it is an old one, shown again."""
        if self._number is None:
            self.seq = shot.number
            self.own, self.t = self._moments.moment(shot)
        else:
            step = shot.number - self._number
            step += WRAP if step < -WRAP // 2 else 0
            if step <= 0 and not self._begins:
                return False
            self.own, t = self._moments.moment(shot)
            self.seq += max(1, round((t - self.t) / self._period)) if self._begins else step
            self.t = max(t, self.t + 1)
        self._number, self._begins = shot.number, False
        return True


class Pairs[T]:
    """Puts two streams' frames together, each at most once, first come first served."""

    def __init__(self, hz: float) -> None:
        self._reach = 0.75e9 / hz
        self._waiting: list[tuple[int, T] | None] = [None, None]

    def match(self, stream: int, own: int, frame: T) -> tuple[T, T] | None:
        """Return the pair that ``frame`` completes, taken at its camera's ``own`` time. Colour is stream 0, depth 1."""
        self._waiting[stream] = (own, frame)
        colour, depth = self._waiting
        if colour is None or depth is None:
            return None
        if abs(colour[0] - depth[0]) > self._reach:
            self._waiting[0 if colour[0] < depth[0] else 1] = None
            return None
        self._waiting = [None, None]
        return colour[1], depth[1]
