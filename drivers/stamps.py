"""When on the host's clock something was measured, told from the device's own clock."""

import numpy as np

WINDOW = 100
"""Rows over which the quickest one tells how late the others are."""


class Stamps:
    """Host stamps for moments of a device's clock.

    A row is never earlier here than it was measured, so the smallest difference between the host's clock and the
    device's, over the last rows, is the offset: what a row took longer than the quickest one is delay, not age. Two
    windows take turns, so that the offset follows when the device's clock drifts or stands still. Stamps of rows that
    were measured and received one after the other are in order, too.
    """

    def __init__(self) -> None:
        self.offset = 0
        """From the device's clock to the host's, in nanoseconds."""

        self._least = self._before = int(np.iinfo(np.int64).max)
        self._count = 0

    def stamp(self, own: int, received: int) -> int:
        """Return when the device's ``own`` nanoseconds were, given that their row was received at ``received``."""
        difference = received - own
        if self._count == WINDOW:
            self._count, self._before, self._least = 0, self._least, difference
        self._count += 1
        self._least = min(self._least, difference)
        self.offset = min(self._least, self._before)
        return own + self.offset
