"""Takes of an arm and two cameras, cut into windows; for tests of what is learned from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from drivers import Rows, sensed
from learners import Senses, Windows
from learners.data import Batch
from learners.transforms import VIEWS
from storage import Episode
from tests.lessons import INSTRUCTION, SECOND, arm_rows, camera_rows

SENSES = Senses(("front", "wrist"), image=16, history=4, spacing=0.05)
MS = 1_000_000
STEPS = 5


def stamps(start: float, end: float, hz: float) -> NDArray[np.int64]:
    """Moments in nanoseconds, from seconds."""
    return np.arange(round(start * SECOND), round(end * SECOND), round(SECOND / hz))


def devices(seconds: float = 2.0, seed: int = 0) -> tuple[Rows, dict[str, Rows]]:
    """An arm at 100 Hz and two cameras with rates of their own, none of them in step."""
    arm = arm_rows(stamps(1.0, 1.0 + seconds, 100), seed)
    front = camera_rows(stamps(1.013, 1.0 + seconds, 30), seed + 1)
    return arm, {"front": front, "wrist": camera_rows(stamps(1.031, 1.0 + seconds, 17), seed + 2)}


def delayed(rows: Rows, nanoseconds: int) -> Rows:
    """The same rows, each received so long after it was measured."""
    kind, names = rows.dtype, rows.dtype.names or ()
    later: Rows = np.zeros(len(rows), sensed(*((name, kind[name].base, kind[name].shape) for name in names[1:])))
    for name in names:
        later[name] = rows[name]
    later["received"] = rows["t"] + nanoseconds
    return later


def first_moment(arm: Rows, cameras: dict[str, Rows]) -> int:
    """When everything has been seen."""
    return max(int(rows["t"][0]) for rows in (arm, *cameras.values()))


def cut(paths: Sequence[Path], senses: Senses = SENSES, hz: float = 50, view: str = "tool") -> Windows:
    episodes = [Episode(path) for path in paths]
    return Windows.of(episodes, [f"{INSTRUCTION} {i}" for i in range(len(paths))], senses, VIEWS[view], hz, STEPS)


def inputs(data: Windows, index: Any) -> tuple[torch.Tensor, torch.Tensor]:
    batch = data.batch(np.atleast_1d(np.asarray(index)))
    return batch.images, batch.state


def same(one: Batch, another: Batch) -> None:
    """Two batches, bit for bit, but for the instructions."""
    for name, value in vars(one).items():
        other = getattr(another, name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other), name
        elif name != "instructions":
            assert value == other, name
