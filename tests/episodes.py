"""An episode of an arm and a camera in which every number is another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from storage import EpisodeWriter, Lossless, Sealed

ARM = np.dtype([("t", "<i8"), ("q", "<f8", (7,)), ("width", "<f8")])

CAMERA = np.dtype([("t", "<i8"), ("rgb", "u1", (24, 32, 3))])

TICKS = np.dtype([("t", "<i8"), ("late", "<i8")])

STREAMS: dict[str, np.dtype[np.void]] = {"arm": ARM, "front": CAMERA, "action": ARM, "ticks": TICKS}


def rows(dtype: np.dtype[np.void], count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.void]]:
    """Rows of noise, a millisecond apart."""
    random = np.random.default_rng(seed)
    made = np.zeros(count, dtype)
    for field in dtype.names or ():
        made[field] = random.integers(0, 2 if dtype[field].base.kind == "b" else 100, made[field].shape)
    made["t"] = np.arange(count) * 1_000_000
    return made


def record(root: Path, attributes: Mapping[str, Any] | None = None, seed: int = 0) -> Sealed:
    with EpisodeWriter(root, STREAMS, attributes or {}, Lossless()) as writer:
        for stream, dtype in STREAMS.items():
            whole = rows(dtype, 40, seed)
            for first in range(0, 40, 7):
                writer.append(stream, whole[first : first + 7])
        return writer.seal({"ended_by": "done"})
