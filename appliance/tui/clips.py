"""What screens show of an episode: how much it moved, its pictures, its joints. Read in threads, handed over plain."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.refusal import Refusal
from appliance.tui.graph import Curve
from appliance.tui.picture import Pixels, smaller
from ops.story import moving, plots
from storage import Episode, Frames, Standing
from storage.layout import RGB

FRONT = "front"
"""Whose pictures are shown first, where there is such a camera."""

BARS = "▁▂▃▄▅▆▇█"


class Gone(Refusal):
    """There is nothing to look at."""


def opened(folder: Path, standing: Standing) -> Episode:
    """All of a recorded episode, whatever is trimmed.

    Raises:
        Gone: it was purged, or is not on this disk.
    """
    if standing.purged:
        raise Gone(f"episode {str(standing.episode)[:8]} was purged; there is nothing left to look at")
    try:
        return Episode(folder / standing.path)
    except FileNotFoundError as error:
        raise Gone(f"episode {str(standing.episode)[:8]} is not on this disk: {error}") from error


def spark(episode: Episode, cells: int) -> str:
    """How fast the robot moved, in so many parts of the take, as bars; empty where nobody measured it."""
    speeds = moving(episode, cells)
    if speeds is None:
        return ""
    share = speeds / (speeds.max() or 1.0)
    return "".join(BARS[min(len(BARS) - 1, int(one * len(BARS)))] for one in share)


@dataclass(frozen=True)
class Shot:
    """One picture of a take."""

    seconds: float
    pixels: Pixels


class Reel:
    """The pictures of one camera, by the seconds since the take's first row."""

    def __init__(self, episode: Episode, camera: str) -> None:
        self.camera = camera
        self._frames: Frames = episode.frames(camera)
        first = min(int(t[0]) for t in (episode[name, "t"] for name in episode.streams) if len(t))
        self._seconds = (episode[camera, "t"] - first) / 1e9

    def __len__(self) -> int:
        return len(self._frames)

    def place(self, seconds: float) -> int:
        """The picture that was the newest then."""
        return max(0, int(np.searchsorted(self._seconds, seconds, side="right")) - 1)

    def when(self, place: int) -> float:
        """When the picture of this place was taken."""
        return float(self._seconds[place])

    def at(self, place: int) -> Shot:
        """The picture of this place in the take; a negative one counts from its end."""
        return Shot(self.when(place), smaller(self._frames[place]))


def cameras(episode: Episode) -> list[str]:
    """Those with pictures in colour, the one in front first."""
    there = [name for name in episode.cameras if RGB in (episode.dtype(name).names or ()) and len(episode[name, "t"])]
    return sorted(there, key=lambda name: (name != FRONT, name))


def ends(episode: Episode) -> list[Shot]:
    """The first and the last picture of the front camera, or of another; none where no camera saw it."""
    strip = filmstrip(episode, None)
    return [strip[0], strip[-1]] if strip else []


def filmstrip(episode: Episode, closing: float | None) -> list[Shot]:
    """The first picture, the one when the fingers first closed, or else half-way, and the last; none without a camera.

    Args:
        episode: a whole one.
        closing: when they did, in seconds from its first picture, as verdicts tell.
    """
    for camera in cameras(episode):
        reel = Reel(episode, camera)
        middle = len(reel) // 2 if closing is None else reel.place(reel.when(0) + closing)
        return [reel.at(0), reel.at(middle), reel.at(-1)]
    return []


def joints(episode: Episode) -> dict[str, list[Curve]]:
    """For everything that is measured and aimed at, its lines over the seconds of the take."""
    found: dict[str, list[Curve]] = defaultdict(list)
    first = min((int(t[0]) for t in (episode[name, "t"] for name in episode.streams) if len(t)), default=0)
    for line in plots(episode):
        entity = line.entity.rpartition("/")[0] if line.kind else line.entity
        found[entity.replace("/", " ")].append(Curve(line.kind or "late ms", (line.t - first) / 1e9, line.values))
    return dict(found)
