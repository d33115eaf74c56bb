"""Lessons made by hand: windows in which a bright square says where to go, and takes of random rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from drivers import Rows, row_type
from learners import Training, Windows
from learners.body import ONE_ARM
from learners.ccol import CCoL
from storage import EpisodeWriter, ImageCodec, Lossless, Sealed
from storage.pictures import Unpacked
from tests.takes import ARM

torch.set_num_threads(1)

INSTRUCTION = "go to the bright square"
SECOND = 1_000_000_000
PAIR = row_type(
    *((name, "<f8", (size,)) for kind in ("", "_target") for name, size in ((f"q{kind}", 12), (f"tool{kind}", 14))),
    *((name, "<f8", (2,)) for name in ("width", "width_target")),
)
"""A pair's rows: every field twice as long as one arm's, left before right."""
CAMERA = row_type(("rgb", "u1", (24, 40, 3)))
TICKS = row_type(("late", "<i8"))
QUICK = Training(lr=2e-3, batch=16, steps=20, warmup=5, check_every=20, save_every=10)

TINY = replace(CCoL.preset("tiny"), cameras=("front",), action="joint", state_noise=0.0, brightness=0.0, training=QUICK)
"""CCoL for the squares: one camera, joint targets, nothing drawn in training but the latent."""


def squares(episodes: int = 10, each: int = 20, seed: int = 0, instructions: tuple[str, ...] = ()) -> Windows:
    """Windows for ``TINY``: the plan leads in even steps to a place that is a linear function of the square's."""
    random = np.random.default_rng(seed)
    count, k = episodes * each, TINY.k
    frames = np.zeros((count, 32, 32, 3), "u1")
    corner = random.integers(0, 28, (count, 2))
    for frame, (row, column) in zip(frames, corner, strict=True):
        frame[row : row + 4, column : column + 4] = 255
    place = corner / 14 - 1
    goal = place @ np.random.default_rng(99).normal(size=(2, 8))
    return Windows(
        frames=(Unpacked(frames),),
        frame=np.arange(count)[:, None],
        state=random.normal(size=(count, TINY.senses.history, ONE_ARM.width)).astype("f4"),
        plan=(np.linspace(1 / k, 1, k)[None, :, None] * goal[:, None]).astype("f4"),
        left=np.full(count, k),
        key=np.concatenate([place, np.zeros((count, 7))], axis=-1).astype("f4"),
        episode=np.repeat(np.arange(episodes), each),
        instructions=instructions or (INSTRUCTION,) * episodes,
        hz=10.0,
    )


def arm_rows(stamps: NDArray[np.int64], seed: int = 0) -> Rows:
    """Rows of an arm that wanders; its targets are not where it is."""
    random = np.random.default_rng(seed)
    rows: Rows = np.zeros(len(stamps), ARM)
    rows["t"] = stamps
    for field in ("q", "q_target", "tool", "tool_target"):
        rows[field] = random.normal(size=(len(stamps), 7)).cumsum(0) * 0.01 + random.normal(size=7)
    for field in ("tool", "tool_target"):
        rows[field][:, 3:] /= np.linalg.norm(rows[field][:, 3:], axis=-1, keepdims=True)
    for field in ("width", "width_target"):
        rows[field] = random.uniform(0, 0.08, len(stamps))
    return rows


def pair_rows(stamps: NDArray[np.int64], seed: int = 0) -> Rows:
    """Rows of two arms of 6 joints that wander, each by itself."""
    one, other = (arm_rows(stamps, 2 * seed + arm) for arm in (0, 1))
    rows: Rows = np.zeros(len(stamps), PAIR)
    rows["t"] = stamps
    for field in ("q", "q_target"):
        rows[field] = np.concatenate([one[field][:, :6], other[field][:, :6]], axis=-1)
    for field in ("tool", "tool_target"):
        rows[field] = np.concatenate([one[field], other[field]], axis=-1)
    for field in ("width", "width_target"):
        rows[field] = np.stack([one[field], other[field]], axis=-1)
    return rows


def camera_rows(stamps: NDArray[np.int64], seed: int = 0) -> Rows:
    """Frames that are all different."""
    rows: Rows = np.zeros(len(stamps), CAMERA)
    rows["t"] = stamps
    rows["rgb"] = np.random.default_rng(seed).integers(0, 256, rows["rgb"].shape)
    return rows


def record(
    root: Path,
    arm: Rows,
    cameras: dict[str, Rows],
    ticks: NDArray[np.int64] | None = None,
    codec: ImageCodec | None = None,
) -> Sealed:
    """Seal an episode of these rows, with a tick at each of these moments."""
    rows: Rows = np.zeros(0 if ticks is None else len(ticks), TICKS)
    if ticks is not None:
        rows["t"] = ticks
    streams = {"arm": arm.dtype, "ticks": TICKS} | {name: each.dtype for name, each in cameras.items()}
    with EpisodeWriter(root, streams, {"instruction": INSTRUCTION}, codec or Lossless()) as writer:
        for name, each in {"arm": arm, "ticks": rows, **cameras}.items():
            writer.append(name, each)
        return writer.seal()
