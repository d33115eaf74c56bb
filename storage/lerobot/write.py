"""Write episodes as a LeRobot dataset, v3.0 or v2.1, one file per episode."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.episode import Episode
from storage.export import CannotWrite, Take, Written, aside, pictures
from storage.frames import Frames
from storage.grid import Grid, Index, grid
from storage.layout import DEPTH
from storage.lerobot import meta, stats, tables, video
from storage.lerobot.columns import FROM, Camera, Column, columns, numbers
from storage.lerobot.layout import AUTOMATIC, VERSIONS


@dataclass(frozen=True)
class Export:
    """How a dataset is written.

    Args:
        fps: steps per second. Every step shows the newest that was known then.
        version: "3.0", or "2.1" for openpi and GR00T.
        columns: the features that are wanted; None: all there are.
        max_age: seconds. A stream that says nothing for longer makes an episode unfit.
        coding: how pictures become films. Films are copied, not coded again, when they have a picture per step.
    """

    fps: float
    version: str = "3.0"
    columns: Collection[str] | None = None
    max_age: float = 0.25
    coding: video.Coding = field(default_factory=video.Coding)


def write(
    takes: Sequence[Take], folder: Path, how: Export, tell: Callable[[int, int], None] = lambda _done, _of: None
) -> Written:
    """Write episodes, in this order, as a dataset that LeRobot reads. It gets its name when it is whole.

    Args:
        takes: what to write.
        folder: the new dataset; it must not exist.
        how: fps, version, columns, coding.
        tell: told after each episode how many are done, of how many.

    Raises:
        CannotWrite: there is nothing to write, or the episodes do not fit into one dataset.
        FileExistsError: the folder is there already.
        Stale: a stream was silent for too long.
        OSError: a file could not be written.
    """
    if not takes:
        raise CannotWrite("there are no episodes to write")
    if how.version not in VERSIONS:
        raise CannotWrite(f"LeRobot version {how.version!r} is not known; there are {', '.join(VERSIONS)}")
    with aside(folder) as unfinished:
        unfinished.mkdir()
        written = _Dataset(unfinished, how, takes).write(tell)
    return replace(written, path=folder)


class _Dataset:
    """A dataset being written. Its features and tasks are those of the first episode; the others have to fit."""

    def __init__(self, folder: Path, how: Export, takes: Sequence[Take]) -> None:
        self._folder = folder
        self._how = how
        self._takes = takes
        self._layout = VERSIONS[how.version]
        first = takes[0].episode
        self._features = {column.name: dict(column.about) for column in columns(first, how.columns)}
        self._tasks = {task: i for i, task in enumerate(first.attributes.get(FROM, {}).get("tasks", []))}
        self._depths: dict[str, video.Depth] = {}

    def write(self, tell: Callable[[int, int], None]) -> Written:
        """Write every episode, then what is true of all of them."""
        self._depths = self._measured()
        rows: list[meta.Row] = []
        for number, take in enumerate(self._takes):
            rows.append(self._episode(number, take, rows[-1].end if rows else 0))
            tell(len(rows), len(self._takes))
        said = self._takes[0].episode.attributes
        robot = said[FROM]["robot_type"] if FROM in said else said.get("station") or None
        meta.write(
            self._folder,
            self._layout,
            meta.About(self._how.fps, robot, self._features | AUTOMATIC, list(self._tasks)),
            rows,
        )
        return Written(self._folder, len(rows), rows[-1].end, tuple(self._features))

    def _episode(self, number: int, take: Take, begin: int) -> meta.Row:
        episode, found = take.episode, self._fitting(take.episode)
        over = self._grid(episode, found)
        values: dict[str, NDArray[Any]] = {}
        of: dict[str, stats.Stats] = {}
        for column in found:
            if isinstance(column, Column):
                values[column.name] = numbers(column, episode, over)
                continue
            frames, index = episode.frames(column.stream, column.field), over.index[column.stream]
            some = pictures(frames, index[stats.sample(len(index))])
            of[column.name] = stats.of_pictures(some, 1.0 if column.field == DEPTH else 255.0)
            if self._features[column.name]["dtype"] == "image":
                values[column.name] = _packed(frames, index)
            else:
                self._film(self._layout.video_of(column.name, *self._layout.file_of(number)), column, frames, index)
        values["timestamp"] = _timestamps(episode, over, self._how.fps)
        values["frame_index"] = np.arange(len(over))
        values["episode_index"] = np.full(len(over), number)
        values["index"] = np.arange(begin, begin + len(over))
        values["task_index"] = tasks = self._task_of_rows(episode, over)
        features = self._features | AUTOMATIC
        path = self._folder / self._layout.data_of(*self._layout.file_of(number))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({name: tables.column(value, features[name]) for name, value in values.items()}), path)
        for name, value in values.items():
            # LeRobot takes every feature with "image" in its name for pictures when it adds statistics up.
            if features[name]["dtype"] not in {"image", "string"} and "image" not in name:
                of[name] = stats.of_numbers(value)
        kept: dict[str, Any] = episode.attributes.get(FROM, {})
        said = {**take.said, "appliance_id": str(episode.id), "appliance_digest": episode.digest}
        named = [list(self._tasks)[i] for i in dict.fromkeys(tasks.tolist())]
        if set(named) == set(kept.get("named", ())):
            named = kept["named"]
        return meta.Row(number, begin, begin + len(over), named, of, {**kept.get("episode", {}), **said})

    def _fitting(self, episode: Episode) -> list[Column | Camera]:
        """An episode's columns, which are those of the first one."""
        found = columns(episode, self._how.columns)
        here = {column.name: _kind(column.about) for column in found}
        there = {name: _kind(about) for name, about in self._features.items()}
        for name in sorted(here.keys() | there.keys()):
            if here.get(name) != there.get(name):
                first = self._takes[0].episode.id
                raise CannotWrite(
                    f"episodes {first} and {episode.id} do not fit into one dataset: {name!r} is "
                    f"{there.get(name, 'missing')} in the first and {here.get(name, 'missing')} in the second; "
                    "write them apart, or name the columns they share"
                )
        return found

    def _grid(self, episode: Episode, found: list[Column | Camera]) -> Grid:
        streams = {column.stream for column in found}
        if episode.attributes.get(FROM, {}).get("fps") != self._how.fps:
            return grid(episode, self._how.fps, streams, self._how.max_age)
        at = episode[FROM, "t"]
        rows = dict.fromkeys(streams | {FROM}, np.arange(len(at)))
        return Grid(at, rows, rows)

    def _film(self, name: str, camera: Camera, frames: Frames, index: Index) -> None:
        """Make one camera's film, and note what it is coded with."""
        path, fps = self._folder / name, self._how.fps
        path.parent.mkdir(parents=True, exist_ok=True)
        info = self._features[camera.name].get("info") or {}
        each = len(index) == len(frames) and bool((index == np.arange(len(frames))).all())
        if each and frames.clip is not None and video.copy(frames.clip, path, fps, frames.shape):
            said: dict[str, Any] = {"is_depth_map": False}
        elif camera.field == DEPTH:
            video.encode_depth(pictures(frames, index), path, fps, self._depths[camera.name])
            said = {"is_depth_map": True, "depth_unit": "mm"} | self._depths[camera.name].said
        else:
            video.encode(pictures(frames, index), path, fps, self._how.coding)
            said = {"is_depth_map": False} | self._how.coding.said
            # Whatever it was coded with where it came from, it is not any more.
            info = {key: value for key, value in info.items() if not key.startswith("video.")}
        if "video.codec" not in info:
            self._features[camera.name]["info"] = info | video.about(path) | said

    def _measured(self) -> dict[str, video.Depth]:
        """How each depth camera's millimetres are told: its film's numbers have to reach as far as it saw."""
        furthest: dict[str, int] = {}
        for take in self._takes:
            for camera in self._fitting(take.episode):
                if isinstance(camera, Camera) and camera.field == DEPTH and not _is_said(camera.about):
                    frames = take.episode.frames(camera.stream, DEPTH)
                    every = (int(picture.max()) for picture in pictures(frames, np.arange(len(frames))))
                    furthest[camera.name] = max([furthest.get(camera.name, 0), *every])
        known = {name: video.Depth.said_by(about["info"]) for name, about in self._features.items() if _is_said(about)}
        return known | {name: video.Depth.reaching(millimetres) for name, millimetres in furthest.items()}

    def _task_of_rows(self, episode: Episode, over: Grid) -> NDArray[np.int64]:
        """Each step's task, by its number; new tasks are added."""
        said = episode.attributes
        if FROM not in said:
            task = said.get("instruction") or said["task"]
            return np.full(len(over), self._tasks.setdefault(task, len(self._tasks)))
        own = said[FROM]["tasks"]
        known = np.array([self._tasks.setdefault(task, len(self._tasks)) for task in own])
        at = np.searchsorted(episode[FROM, "t"], over.at, side="right") - 1
        tasks: NDArray[np.int64] = known[episode[FROM, "task_index"][at]]
        return tasks


def _is_said(about: Mapping[str, Any]) -> bool:
    """Whether it is known already how a depth camera's film tells millimetres."""
    return "video.depth_max" in (about.get("info") or {})


def _packed(frames: Frames, index: Index) -> NDArray[Any]:
    """Pictures as files, as they lie in a table."""
    files = np.empty(len(index), object)
    for place, picture in enumerate(pictures(frames, index)):
        files[place] = imagecodecs.png_encode(picture, level=1)
    return files


def _timestamps(episode: Episode, over: Grid, fps: float) -> NDArray[np.float32]:
    """Seconds of each step; those that an imported episode came with, when it is whole."""
    said = episode.attributes.get(FROM, {})
    if said.get("fps") == fps and said["frames"] == len(over):
        return episode[FROM, "timestamp"].astype("f4")
    return (np.arange(len(over)) / fps).astype("f4")


def _kind(about: Mapping[str, Any]) -> str:
    return f"{about['dtype']} {tuple(about['shape'])}"
