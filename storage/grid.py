"""An episode at even steps, as other programs' formats want it: what was known of every stream at each step.

What was known at a moment is `latest`'s to say, here as in training and in a running cell.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.episode import Episode
from storage.layout import WRITTEN, arrival, arrived
from storage.timeline import Rows, Stale, latest

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Grid:
    """Moments one step apart, and for each stream the newest row that had arrived at each of them."""

    at: NDArray[np.int64]
    """(n,) nanoseconds."""
    index: Mapping[str, Index]
    """Per stream (n,); -1 where the loop had said nothing yet."""
    after: Mapping[str, Index]
    """The last row measured by one step later, or by the end, whenever it arrived: the targets in force then were the
    answer to what was seen now."""

    def __len__(self) -> int:
        return len(self.at)


def stamped(episode: Episode, stream: str, fields: Sequence[str] = ()) -> Rows:
    """The rows of one device with these fields, and with the stamps that tell what was known when."""
    received = [field for field in ("received",) if field in (episode.dtype(stream).names or ())]
    return episode.columns(stream, [*received, *(field for field in fields if field not in received)])


def robot_of(episode: Episode) -> str | None:
    """The stream that reports the targets it was given, when there is one."""
    return next((name for name in episode.streams if "q_target" in (episode.dtype(name).names or ())), None)


def grid(episode: Episode, fps: float, streams: Collection[str], max_age: float) -> Grid:
    """Lay steps over an episode, from the first moment every stream has spoken to the robot's last row.

    Without a robot, it goes on to the last row of any stream. Rows are taken as `latest` takes them: never before they
    arrived. Only `Grid.after` goes by when they were measured.

    Args:
        episode: what was recorded.
        fps: steps per second.
        streams: those that matter. What the others did does not.
        max_age: seconds. A stream that is silent for longer is broken.

    Raises:
        Stale: a stream has no row, or was silent for too long; the message names episode, stream and moment.
    """
    rows = {stream: stamped(episode, stream) for stream in streams}
    stamps = {stream: each["t"] for stream, each in rows.items()}
    sensors = [stream for stream in streams if stream not in WRITTEN] or list(streams)
    for stream in sensors:
        if not len(stamps[stream]):
            raise Stale(f"episode {episode.id}: stream {stream!r} has no rows; leave its columns out, or this episode")
    robot = robot_of(episode)
    first = min(int(stamps[stream][0]) for stream in sensors)
    begin = max(int(arrival(rows[stream])[0]) for stream in sensors)
    last = int(stamps[robot][-1]) if robot in sensors else max(int(arrival(rows[stream])[-1]) for stream in sensors)
    at = begin + steps(last - begin, fps)
    age = round(max_age * 1e9)
    late = {stream: int(stamps[stream][0]) - first for stream in sensors}
    for stream, waited in late.items():
        if waited > age:
            raise Stale(
                f"episode {episode.id}: stream {stream!r} says nothing for the first {waited / 1e9:.3f} s, "
                f"at most {max_age} s are allowed"
            )
    index = {stream: _index(episode, stream, rows[stream], at, first, age) for stream in streams}
    ends = np.append(at[1:], last)
    return Grid(at, index, {stream: np.searchsorted(stamps[stream], ends, side="right") - 1 for stream in streams})


def steps(nanoseconds: int, fps: float) -> NDArray[np.int64]:
    """The beginnings (n,) of all steps that fit, in nanoseconds after the first."""
    count = int((nanoseconds + 1) * fps / 1e9) + 1
    after: NDArray[np.int64] = np.rint(np.arange(count) * (1e9 / fps)).astype(np.int64)
    return after


def _index(episode: Episode, stream: str, rows: Rows, at: NDArray[np.int64], first: int, age: int) -> Index:
    if stream in WRITTEN:  # it measures nothing, so it cannot be too old: the last word stays in force
        return arrived(rows, at)
    try:
        return latest(arrival(rows), at, age, rows["t"])
    except Stale as stale:
        silences = at - rows["t"][arrived(rows, at)]
        worst = int(silences.argmax())
        silent = int(silences[worst]) / 1e9
        raise Stale(
            f"episode {episode.id}: stream {stream!r} was silent for {silent:.3f} s at "
            f"{(at[worst] - first) / 1e9:.3f} s of the take, at most {age / 1e9} s are allowed; "
            "leave its columns out, or this episode"
        ) from stale
