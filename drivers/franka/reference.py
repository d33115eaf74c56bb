"""Where the joints should be right now, given targets that come now and then: smooth, and within our own limits."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIRST, LONGEST = 50_000_000, 150_000_000
"""How long after their moment the first targets are reached, and the longest that any is, in nanoseconds."""

REMEMBERED, MARGIN = 24, 15_000_000
"""Targets whose punctuality says how late the next one may come, and by how much (ns) the worst is exceeded."""

STOPPING = 10.0
"""Most that a joint slows down, in rad/s², the FR3's own limit: more takes torques that its joints do not have when the
arm is stretched out. It must be able to stop where its last target is, or when it holds."""

EAGER = 40.0
"""How fast a reference that is off its way returns to it, per second."""

STEP = 0.01
"""Longest time that passes in one step, in seconds: after a pause the reference goes on, it does not leap."""


class Reference:
    """A point that follows targets the way a jitter buffer plays music.

    Targets carry the moment they are meant for. They are played in order, as late as the next one usually comes, so
    that the reference moves evenly even when they arrive unevenly; those that come early enough are played on time.
    On its way the reference keeps to ``speed`` (rad/s) and ``acceleration`` (rad/s²), joint by joint.
    """

    def __init__(self, speed: Floats, acceleration: Floats) -> None:
        self._speed, self._acceleration = speed, acceleration
        self.delay = FIRST
        """How long after their moment targets are reached, in nanoseconds."""

        self._late: deque[int] = deque(maxlen=REMEMBERED)
        self._targets: deque[tuple[int, Floats]] = deque(maxlen=64)
        self._stopping = False
        self._now = 0
        self.begin(np.zeros(7), 0)

    def begin(self, q: Floats, now: int) -> None:
        """Stand still at ``q``, every target forgotten."""
        self.q, self.dq = np.array(q, np.float64), np.zeros(7)
        self._now, self._stopping = now, True
        self._targets.clear()

    def aim(self, t: int, q: Floats, now: int) -> None:
        """Be at ``q`` at the moment ``t``, or as soon afterwards as the targets' punctuality allows."""
        if self._stopping or not self._targets or t <= self._targets[-1][0]:
            self._targets.clear()
            self._late.clear()
            self._targets.append((min(now, t - FIRST), self.q.copy()))
            self.delay = min(max(0, now + FIRST - t), LONGEST)
        else:
            self._late.append(now - self._targets[-1][0])
            self.delay = min(max(0, max(self._late) + MARGIN), LONGEST)
        self._targets.append((t, np.array(q, np.float64)))
        self._stopping = False

    def stop(self, q: Floats, slack: float) -> None:
        """Come to rest, no further than ``slack`` (rad) ahead of where the joints are, ``q``."""
        self.q = q + np.clip(self.q - q, -slack, slack)
        self._stopping = True
        self._targets.clear()
        self._targets.append((0, self.q + self.dq * np.abs(self.dq) / (2 * STOPPING)))

    @property
    def end(self) -> Floats:
        """Where the last target is, or where the reference comes to rest."""
        return self._targets[-1][1] if self._targets else self.q

    def step(self, now: int) -> tuple[Floats, Floats]:
        """Return where the joints should be now, in radians, and how fast, in rad/s."""
        seconds = min(max(0, now - self._now) / 1e9, STEP)
        self._now = max(self._now, now)
        if seconds == 0 or not self._targets:
            return self.q, self.dq
        there, speed = self._wanted(now - self.delay)
        off, left = there - self.q, self.end - self.q
        # Back to the way, but never faster than can be braked away: not before the way, and not before its end.
        back = np.sign(off) * np.minimum(EAGER * np.abs(off), np.sqrt(2 * self._acceleration * np.abs(off)))
        most = np.where((speed + back) * left >= 0, np.sqrt(2 * STOPPING * np.abs(left)), self._speed)
        dq = np.clip(speed + back, -np.minimum(most, self._speed), np.minimum(most, self._speed))
        slower = (np.abs(dq) < np.abs(self.dq)) | (dq * self.dq < 0)
        limit = np.where(slower, STOPPING, self._acceleration) * seconds
        self.dq = self.dq + np.clip(dq - self.dq, -limit, limit)
        self.q = self.q + self.dq * seconds
        return self.q, self.dq

    def _wanted(self, moment: int) -> tuple[Floats, Floats]:
        """Where the targets say the joints should be at ``moment``, and how fast."""
        while len(self._targets) > 1 and self._targets[1][0] <= moment:
            self._targets.popleft()
        start, here = self._targets[0]
        if len(self._targets) == 1 or moment < start:
            return here, np.zeros(7)
        end, there = self._targets[1]
        return here + (moment - start) / (end - start) * (there - here), (there - here) / ((end - start) / 1e9)
