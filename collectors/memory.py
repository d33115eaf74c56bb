"""What a running cell remembers of a device: the rows of its last seconds, in one piece."""

import numpy as np

from drivers import Ring, Rows
from storage.layout import in_force

ROWS = 64
"""Room for rows to begin with: a second of a camera."""


class Memory:
    """Rows from the one that was in force ``seconds`` ago on, however many a second there are.

    Whoever asks what was known at any moment of those seconds gets the answer that the whole record gives.
    Room that a fast device lacks is made once, in its first seconds; the rows move then.
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
        if (needed := len(kept) + len(rows)) > self._room:
            self._room = 2 * needed
            self._ring = Ring(self._dtype, self._room)
            self._ring.push(kept)
        self._ring.push(rows)

    def at(self, now: int) -> Rows:
        """What is remembered at ``now``, oldest first, as a view that later rows may overwrite."""
        rows = self._ring.rows
        return rows[int(in_force(rows, now - self._seconds)) :]
