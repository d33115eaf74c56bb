"""How well a policy's plans kept up with the robot in one trial: read off its record."""

from typing import Any

import numpy as np

from collectors.loop import FOLLOWING
from storage import Episode


def of(episode: Episode) -> dict[str, Any] | None:
    """What `together` says of one record; None of one that tells nothing of plans."""
    fields = episode.dtype(FOLLOWING).names or () if FOLLOWING in episode.streams else ()
    if not {"asked", "took", "late", "used"} <= {*fields}:
        return None
    rows = episode.rows(FOLLOWING)
    if not len(rows):
        return None
    took, delay = rows["took"] / 1e6, (rows["t"] - rows["asked"]) / 1e6
    return {
        "plans": len(rows),
        "late": int((rows["late"] | ~rows["used"]).sum()),
        "unused": int((~rows["used"]).sum()),
        "took_ms": [round(float(value), 3) for value in np.percentile(took, (50, 95))],
        "delay_ms": [round(float(value), 3) for value in np.percentile(delay, (50, 95))],
    }
