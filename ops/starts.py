"""What a take began from, as `ops.slices` compares it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.slices import Start

COORDINATES = ("x", "y", "yaw")
"""What a place says, in metres and radians."""


def start(places: Mapping[str, NDArray[np.float64]], condition: Mapping[str, Any], instruction: str) -> Start:
    """Tell where the things stand that the instruction names, or all of them where it names none, and what is unusual.

    Args:
        places: of every thing: x, y and, where it matters, yaw.
        condition: how the scene was set; what is not a place or the seed is unusual, whichever variant it is.
        instruction: what was to be done.
    """
    said = instruction.lower()
    meant = [name for name in places if name.replace("_", " ") in said] or list(places)
    found: dict[str, float | str] = {}
    for name in meant:
        prefix = "" if len(meant) == 1 else f"{name.replace('_', ' ')} "
        found |= {f"{prefix}{axis}": float(at) for axis, at in zip(COORDINATES, places[name], strict=False)}
    return found | {key: key for key in condition if key != "seed" and key not in places}
