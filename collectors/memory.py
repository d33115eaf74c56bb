"""What a running cell remembers of a device: the rows of its last seconds, in one piece."""

import numpy as np

from drivers import Ring, Rows
from storage.layout import in_force

ROWS = 8
"""Room for rows to begin with. More is made as soon as these show how fast the device is, while few have to move."""


class Memory:
    """Rows from the one that was in force ``seconds`` ago on, however many a second there are.

    Whoever asks what was known at any moment of those seconds gets the answer that the whole record gives.
    """

    def __init__(self, dtype: np.dtype[np.void], seconds: float) -> None:
        self._dtype = dtype
        self._seconds = round(seconds * 1e9)
        self._room = ROWS
        self._ring = Ring(dtype, ROWS)

    @property
    def last(self) -> int | None:
        """The stamp of the newest row; None when there is none yet."""
        rows = self._ring.rows
        return int(rows["t"][-1]) if len(rows) else None

    def push(self, rows: Rows, now: int) -> None:
        """Take what came since, oldest first; at ``now``, nothing that is still remembered makes room for it."""
        kept = self.at(now)
        if len(kept) + len(rows) > self._room:
            self._room = self._needed(kept, rows)
            self._ring = Ring(self._dtype, self._room)
            self._ring.push(kept)
        self._ring.push(rows)

    def at(self, now: int) -> Rows:
        """What is remembered at ``now``, oldest first, as a view that later rows may overwrite."""
        rows = self._ring.rows
        return rows[int(in_force(rows, now - self._seconds)) :]

    def _needed(self, kept: Rows, rows: Rows) -> int:
        """Room for all seconds and a quarter more, if rows go on coming as they did; for a burst 16 times."""
        count = len(kept) + len(rows)
        lasted = int(rows["t"][-1]) - int((kept if len(kept) else rows)["t"][0])
        return max(2 * count, min(16 * count, ROWS + count * self._seconds * 5 // (4 * max(lasted, 1))))
