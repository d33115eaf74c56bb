"""What was last seen of every device: whoever reads them leaves it here, and a screen may look without reading them."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import starmap

import numpy as np
from numpy.typing import NDArray

from drivers import Rows
from storage import Observation
from storage.layout import RGB

SECOND = 1_000_000_000
"""How long rows count for a rate, in nanoseconds."""

LONG = SECOND // 4
"""Between runs, older rows are not read any more, in nanoseconds."""

WORST_OF = 100
"""Of so many ticks, the lateness of the latest is told."""


@dataclass(frozen=True)
class Glimpse:
    """What is known of one device."""

    name: str
    t: int
    """When its newest row was measured, by the loop's clock."""
    rate: float | None
    """Rows a second, of the last second; None of too few."""
    latency: float | None
    """Seconds from the measurement until this machine had it; None where rows do not say."""
    picture: NDArray[np.uint8] | None
    """What a camera saw; None of any other device. A view: where time is simulated, later rows may overwrite it."""


@dataclass(frozen=True)
class _Left:
    """What was left of a device: the stamps of its last second, and its newest row. Views, if a loop reads it."""

    stamps: NDArray[np.int64]
    newest: Rows


class Glance:
    """One thread leaves here what it has read; any other may look. No picture is copied, and nobody waits."""

    def __init__(self) -> None:
        self._seen: Mapping[str, _Left] = {}
        self._late: deque[int] = deque(maxlen=WORST_OF)
        self._begun = 0
        self._ticks = 0

    def begin(self) -> None:
        """A run of the loop begins."""
        self._late.clear()
        self._ticks = 0

    def see(self, seen: Observation, period: int) -> None:
        """Leave what a tick has seen, of a loop with so many nanoseconds between ticks."""
        if self._ticks == 0:
            self._begun = seen.t
        self._late.append(seen.t - self._begun - self._ticks * period)
        self._ticks += 1
        self._seen = {name: _Left(rows["t"], rows[-1:]) for name, rows in seen.streams.items() if len(rows)}

    def hear(self, name: str, rows: Rows) -> None:
        """Between runs, leave what came of a device since it was read before."""
        if not len(rows):
            return
        stamps = rows["t"]
        if name in self._seen:
            stamps = np.concatenate([self._seen[name].stamps, stamps])
        recent = stamps[np.searchsorted(stamps, stamps[-1] - SECOND) :]
        self._seen = {**self._seen, name: _Left(recent.copy(), rows[-1:].copy())}

    def since(self, name: str, now: int) -> int:
        """From when on rows of a device are new here; not long ago, for older ones may be gone."""
        left = self._seen.get(name)
        return now - LONG if left is None else max(int(left.stamps[-1]), now - LONG)

    @property
    def late(self) -> float | None:
        """How late the latest of the last ticks came after the first of all, in seconds; None before there is one."""
        late = [*self._late]
        return max(late) / 1e9 if late else None

    def looks(self) -> list[Glimpse]:
        """What is known of every device now."""
        return [*starmap(_glimpse, self._seen.items())]


def _glimpse(name: str, left: _Left) -> Glimpse:
    row, span = left.newest[0], int(left.stamps[-1]) - int(left.stamps[0])
    said = left.newest.dtype.names or ()
    return Glimpse(
        name,
        int(row["t"]),
        (len(left.stamps) - 1) * 1e9 / span if span > 0 else None,
        (int(row["received"]) - int(row["t"])) / 1e9 if "received" in said else None,
        row[RGB] if RGB in said else None,
    )
