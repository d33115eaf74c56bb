"""What all exports have in common: what they take from an episode, and that they appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage import arrays, layout
from storage.episode import Episode
from storage.frames import Frames
from storage.grid import Grid, grid, robot_of
from storage.images import Picture
from storage.layout import RGB

BATCH = 32
"""How many pictures are in memory at once."""

BODY = {"q", "tool", "width", "q_target", "tool_target", "width_target"}
"""What a robot's rows say."""


class CannotWrite(ValueError):
    """These episodes cannot be written in that form. The message says which, and what would help."""


@dataclass(frozen=True)
class Take:
    """An episode, and what else is to be said of it: one value per name, the same names for all episodes."""

    episode: Episode
    said: Mapping[str, int | float | str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """What an export holds."""

    path: Path
    episodes: int
    steps: int
    names: tuple[str, ...]
    """What every step has."""


def robot(take: Take) -> str:
    """The stream of the robot, which says where its joints, tool and fingers are and where they are to be.

    Raises:
        CannotWrite: there is none, or it does not say all of that.
    """
    name = robot_of(take.episode)
    there = set() if name is None else set(take.episode.dtype(name).names or ())
    if name is None or BODY - there:
        raise CannotWrite(
            f"episode {take.episode.id} has no robot with {', '.join(sorted(BODY - there))}; "
            f"its streams are {', '.join(take.episode.streams)}"
        )
    return name


def cameras(take: Take) -> list[str]:
    """Everything that saw in colour, by name."""
    episode = take.episode
    return [stream for stream in episode.streams if RGB in layout.pictures(episode.dtype(stream))]


def over(take: Take, seen: Sequence[str], fps: float, max_age: float) -> Grid:
    """Lay steps over the robot and these cameras.

    Raises:
        CannotWrite: one of them is not there.
        Stale: one was silent for longer than ``max_age`` seconds.
    """
    if missing := set(seen) - set(cameras(take)):
        there = ", ".join(cameras(take)) or "none"
        raise CannotWrite(f"episode {take.episode.id} has no camera {', '.join(sorted(missing))}; it has {there}")
    return grid(take.episode, fps, [robot(take), *seen], max_age)


def pictures(frames: Frames, index: NDArray[np.intp], size: int | None = None) -> Iterator[Picture]:
    """Frames in this order, brought to a size if one is given, and not all in memory at once."""
    for first in range(0, len(index), BATCH):
        some = index[first : first + BATCH]
        yield from frames[some] if size is None else frames.small(some, size)


@contextmanager
def aside(target: Path) -> Generator[Path]:
    """A path to write a file or a folder to. It becomes ``target`` when all went well, and disappears otherwise.

    Raises:
        FileExistsError: the target is there already.
        OSError: its folder cannot be written to.
    """
    target = target.absolute()
    _demand_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield beside / target.name
        arrays.sync_tree(beside)
        _demand_free(target)
        (beside / target.name).rename(target)
        arrays.sync(target.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _demand_free(target: Path) -> None:
    if target.exists():
        raise FileExistsError(f"{target} is there already; give the name of a new one")
