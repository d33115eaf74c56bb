"""How well a policy's plans kept up with the robot: read off a trial's record, and told of all its trials together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from collectors.loop import FOLLOWING
from storage import Episode


def of(episode: Episode) -> dict[str, Any] | None:
    """What a record tells of plans, as a verdict keeps it; None where it tells nothing.

    ``plans`` came, ``late`` of them after the next was due, ``unused`` after they had ended themselves.
    ``took_ms`` is what making one took and ``delay_ms`` how old what it was made from was when it was first followed,
    by the loop's clock: each the median and the 95th of 100, in milliseconds.
    """
    fields = episode.dtype(FOLLOWING).names or () if FOLLOWING in episode.streams else ()
    if not {"asked", "took", "late", "used"} <= {*fields}:
        return None
    rows = episode.rows(FOLLOWING)
    if not len(rows):
        return None
    return {
        "plans": len(rows),
        "late": int(rows["late"].sum()),
        "unused": int((~rows["used"]).sum()),
        "took_ms": _typical(rows["took"]),
        "delay_ms": _typical(rows["t"] - rows["asked"]),
    }


@dataclass(frozen=True)
class Cadence:
    """Of several trials: how many plans, and what is typical and worst."""

    plans: int
    late: float
    """Share of the plans."""
    took: tuple[float, float]
    """Seconds: the median trial's median, and the worst trial's 95th of 100."""
    delay: tuple[float, float]
    """Seconds, likewise."""

    @property
    def says(self) -> tuple[str, str, str]:
        """Late plans, the time a plan takes, and the delay, for people."""
        each = [f"{usual * 1e3:.0f} / {worst * 1e3:.0f} ms" for usual, worst in (self.took, self.delay)]
        return f"{self.late:.1%} of {self.plans}", each[0], each[1]


def together(told: Iterable[Mapping[str, Any] | None]) -> Cadence | None:
    """What trials of a policy tell together; None when none of them tells anything."""
    known = [one for one in told if one is not None]
    if not known:
        return None
    plans = sum(int(one["plans"]) for one in known)
    late = sum(int(one["late"]) for one in known) / plans
    return Cadence(plans, late, _over(known, "took_ms"), _over(known, "delay_ms"))


def _typical(nanoseconds: Any) -> list[float]:
    return [round(float(value) / 1e6, 3) for value in np.percentile(nanoseconds, (50, 95))]


def _over(known: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
    return median(one[name][0] for one in known) / 1e3, max(one[name][1] for one in known) / 1e3
