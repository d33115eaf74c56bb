"""Runs a device's cycle at a beat, keeps its rows, and remembers why it ended."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from drivers.clock import Clock
from drivers.device import DeviceError, DeviceLost, Rows, telling_last
from drivers.ring import Ring

KEPT = 2.0
"""Seconds of rows that are kept for readers."""

SILENCE = 500_000_000
"""A cycle that gave no row for this many nanoseconds has died."""

MISSES = 20
"""Answers that a cycle may wait for in vain while it finds out who is missing."""

log = logging.getLogger(__name__)


class Pump:
    """Rows of one device, made by calling its cycle. Any thread may read them."""

    def __init__(self, name: str, dtype: np.dtype[np.void], clock: Clock, hz: float, slack: float) -> None:
        self._name, self._dtype, self._clock = name, dtype, clock
        self._period, self._kept = round(1e9 / hz), max(2, round(KEPT * hz))
        self._silence = max(SILENCE, 4 * self._period, round(MISSES * slack * 1e9))
        self._ring = Ring(dtype, self._kept)
        self._taken = self._heard = 0
        self._failure: DeviceError | None = None
        self.told = False
        """Whether somebody was told that the cycle failed."""
        self._end: Callable[[], None] | None = None

    @property
    def running(self) -> bool:
        return self._end is not None

    def start(self, cycle: Callable[[], tuple[int, tuple[Any, ...]]]) -> None:
        """Call ``cycle`` at the beat; it gives the moment it measured, and a row's fields after the first three."""
        self._ring, self._taken, self._failure = Ring(self._dtype, self._kept), 0, None
        self.told = False
        self._heard = self._clock.now()
        self._end = self._clock.every(self._period, lambda: self._turn(cycle))

    def stop(self) -> None:
        """Call it no more. When this returns, the last call has."""
        if self._end is not None:
            self._end()
            self._end = None

    def read(self, since: int) -> Rows:
        """Return the rows stamped after ``since``.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: the cycle failed, and why; or it was not started.
        """
        with telling_last(self._ring.since, since):
            self.check()
        return self._ring.since(since)

    def check(self) -> None:
        """See to it that rows are coming.

        Raises:
            DeviceLost: they are not.
        """
        if self._end is None:
            raise DeviceLost(f"{self._name} has not been entered; use it as a context manager")
        if self._failure is not None:
            self.told = True
            raise DeviceLost(str(self._failure)) from self._failure
        if self._clock.now() - self._heard > self._silence:
            raise DeviceLost(f"{self._name}: no row for {(self._clock.now() - self._heard) / 1e9:.1f} s")

    def _turn(self, cycle: Callable[[], tuple[int, tuple[Any, ...]]]) -> None:
        if self._failure is not None:
            return
        try:
            t, fields = cycle()
        except DeviceError as error:
            self._failure = error
            log.warning("%s", error)
            return
        except Exception as error:  # whoever reads or commands is told, and no goal follows
            self._failure = DeviceLost(f"{self._name}: its cycle failed: {type(error).__name__}: {error}")
            log.exception("%s", self._failure)
            return
        now = self._clock.now()
        if len(self._ring.rows) and t <= self._ring.rows["t"][-1]:
            self._ring, self._taken = Ring(self._dtype, self._kept), 0  # a stepped clock began again: a new take
        self._ring.push(np.array([(t, now, self._taken, *fields)], self._dtype))
        self._taken += 1
        self._heard = now
