"""The same content in episodes of ours: two cameras at 30 Hz, an arm at 100 Hz, the loop's ticks."""

from pathlib import Path

import numpy as np

from drivers import Rows, row_type
from storage import EpisodeWriter, Jpeg, Sealed
from tests.bench.content import BUILD, CAMERAS, FPS, FRAMES, HEIGHT, JOINTS, WIDTH, Images, arm, frames

ARM_HZ = 100.0
CAMERA = row_type(("received", "<i8"), ("seq", "<i8"), ("rgb", "u1", (HEIGHT, WIDTH, 3)))
SEVEN = [(name, "<f8", (JOINTS,)) for name in ("q", "dq", "tau", "tool", "q_target", "tool_target")]
ARM = row_type(("received", "<i8"), ("seq", "<i8"), *SEVEN, ("width", "<f8"), ("width_target", "<f8"))
TICKS = row_type(("late", "<i8"))
STREAMS = dict.fromkeys(CAMERAS, CAMERA) | {"arm": ARM, "ticks": TICKS}
SAID = {"task": "pick_place", "agent": "person", "started": "2026-01-02T12:00:00+00:00"}


def camera_rows(pictures: Images, first: int = 0) -> Rows:
    """Frames with their stamps, as a camera gives them."""
    rows: Rows = np.zeros(len(pictures), CAMERA)
    rows["seq"] = first + np.arange(len(pictures))
    rows["t"] = rows["received"] = (1 + rows["seq"]) * 10**9 // FPS
    rows["rgb"] = pictures
    return rows


def arm_rows(episode: int, hz: float = ARM_HZ, seconds: float = FRAMES / FPS) -> Rows:
    """A smooth motion of the arm, reported ``hz`` times a second."""
    q = arm(episode, hz, seconds)
    rows: Rows = np.zeros(len(q), ARM)
    rows["seq"] = np.arange(len(q))
    rows["t"] = rows["received"] = ((1 + rows["seq"]) * 1e9 / hz).astype("i8")
    for field in ("q", "dq", "tau", "q_target"):
        rows[field] = q
    for field in ("tool", "tool_target"):
        rows[field][:, :3], rows[field][:, 3] = q[:, :3], 1
    rows["width"] = rows["width_target"] = 0.04
    return rows


def ticks(number: int = FRAMES) -> Rows:
    """The loop's ticks, always on time."""
    rows: Rows = np.zeros(number, TICKS)
    rows["t"] = (1 + np.arange(number)) * 10**9 // FPS
    return rows


def record(root: Path, episode: int) -> Sealed:
    """One episode of the content, JPEG at its usual quality."""
    with EpisodeWriter(root, STREAMS, SAID, Jpeg()) as writer:
        for camera in CAMERAS:
            writer.append(camera, camera_rows(frames(episode, camera)))
        writer.append("arm", arm_rows(episode))
        writer.append("ticks", ticks())
        return writer.seal({"ended_by": "done"})


def dataset(episodes: int) -> list[Path]:
    """Sealed episodes of the content, made once."""
    root = BUILD / f"ours-{episodes}"
    if not (root / "whole").exists():
        names = [record(root, episode).path.name for episode in range(episodes)]
        (root / "whole").write_text("\n".join(names))
    return [root / "episodes" / name for name in (root / "whole").read_text().split()]


def size(folder: Path) -> int:
    """Bytes of every file in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
