"""Takes of an arm and a camera in which every number is another, so that none can be taken for its neighbour."""

from pathlib import Path
from typing import Any

import numpy as np

from drivers import Rows, row_type
from storage import Episode, EpisodeWriter, Lossless
from tests import takes
from tests.takes import ARM, TICKS

PAIR = row_type(
    *((name, "<f8", (12,)) for name in ("q", "dq", "tau", "q_target")),
    *((name, "<f8", (14,)) for name in ("tool", "tool_target")),
    *((name, "<f8", (2,)) for name in ("width", "width_target")),
)
"""Two arms as one robot."""

CAMERA = row_type(("exposure", "<f4"), ("rgb", "u1", (48, 64, 3)))


def drive(
    root: Path,
    seconds: float = 1.2,
    seed: int = 0,
    gap: tuple[float, float] | None = None,
    robot: np.dtype[np.void] = ARM,
    **said: Any,
) -> Episode:
    """A take of an arm at 50 Hz and a camera at 30 Hz that begins 20 ms later; every number in it is another."""
    random = np.random.default_rng(seed)
    arm = np.zeros(round(seconds * 50), robot)
    arm["t"] = 1_000_000_000 + np.arange(len(arm)) * 20_000_000
    for field in robot.names or ():
        if field != "t":
            arm[field] = random.normal(size=arm[field].shape)
    front: Rows = np.zeros(round(seconds * 30), CAMERA)
    front["t"] = 1_020_000_000 + np.arange(len(front)) * 33_333_333
    front["exposure"] = random.random(len(front))
    front["rgb"] = np.linspace(40, 200, 64).astype("u1")[None, None, :, None]
    front["rgb"][:, 10:20, 10:20] += (np.arange(len(front)) * 3 % 50).astype("u1")[:, None, None, None]
    ticks = np.zeros(len(arm) - 10, TICKS)
    ticks["t"], ticks["late"] = arm["t"][10:], random.integers(0, 1000, len(ticks))
    if gap:
        silent = (front["t"] - 1e9 > gap[0] * 1e9) & (front["t"] - 1e9 < gap[1] * 1e9)
        front = front[~silent]
    about = {"task": "sort", "instruction": takes.TASK, "station": "franka-1"} | said
    with EpisodeWriter(root, {"arm": robot, "front": CAMERA, "ticks": TICKS}, about, Lossless()) as writer:
        writer.append("arm", arm)
        writer.append("front", front)
        writer.append("ticks", ticks)
        return Episode(writer.seal().path)
