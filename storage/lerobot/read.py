"""Open a LeRobot dataset, v3.0 or v2.1, whoever wrote it, and get at one episode at a time."""

import itertools
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.lerobot.layout import EPISODES, INFO

READ = ("v2.0", "v2.1", "v3.0")
"""The versions that can be read."""

PLACES = ("data/", "videos/", "meta/", "stats/", "dataset_from_index", "dataset_to_index")
"""How columns begin that only say where an episode's rows lie."""


class CannotRead(ValueError):
    """A dataset, or one episode of it, is damaged or of a kind that is not known. The message names the file."""


@dataclass(frozen=True)
class Film:
    """Where one camera's pictures of an episode are: in which file, from which second on."""

    path: Path
    begin: float


@dataclass(frozen=True)
class Foreign:
    """Where one episode of a dataset is, and what the dataset says of it."""

    number: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    films: Mapping[str, Film]
    said: Mapping[str, Any]
    """Whatever else somebody wrote beside it, e.g. ``success``."""


@dataclass
class Dataset:
    """A dataset somebody wrote. Episodes are in its own order."""

    folder: Path
    version: str
    fps: float
    robot_type: str | None
    features: Mapping[str, Mapping[str, Any]]
    tasks: Sequence[str]
    """By ``task_index``."""
    episodes: Sequence[Foreign]
    ended: datetime
    """When its description was last written."""
    _rest: Mapping[int, int] = field(repr=False)
    """Frames from an episode's first to the last of all."""
    _last: tuple[Path, Any] | None = field(default=None, repr=False)

    def rows(self, episode: Foreign) -> Any:
        """One episode's table, in the order of its frames.

        Raises:
            CannotRead: the file is missing or damaged, or has not as many rows as are promised.
        """
        if self._last is None or self._last[0] != episode.data:
            self._last = (episode.data, _table(episode.data, f"episode {episode.number}"))
        table = self._last[1]
        if "episode_index" not in table.column_names:
            raise CannotRead(f"{episode.data} has no column episode_index")
        rows = table.filter(pa.compute.equal(table["episode_index"], episode.number))
        if len(rows) != episode.length or not episode.length:
            raise CannotRead(
                f"{episode.data} has {len(rows)} rows of episode {episode.number}, not the {episode.length} of meta"
            )
        return rows

    def started(self, episode: Foreign) -> datetime:
        """When an episode began, as far as that can be known: what it says, or as if all ended with the dataset."""
        if isinstance(said := episode.said.get("started"), str):
            try:
                found = datetime.fromisoformat(said)
            except ValueError:
                pass
            else:
                return found if found.tzinfo else found.replace(tzinfo=UTC)
        return self.ended - timedelta(seconds=self._rest[episode.number] / self.fps)


def open_dataset(folder: Path) -> Dataset:
    """Read what a dataset says of itself.

    Raises:
        CannotRead: it is no dataset, of a version that is not known, or its description is damaged.
    """
    path = folder / INFO
    if not path.exists():
        raise CannotRead(f"{folder} is no LeRobot dataset: it has no {INFO}")
    info = _json(path, path.read_text())
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version not in READ:
        raise CannotRead(f"{folder} is LeRobot {version or 'of no version'}; {', '.join(READ)} can be read")
    try:
        tasks, episodes = (_of_3 if version == "v3.0" else _of_2)(folder, info)
        ended = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        features, fps = info["features"], info["fps"]
        lengths = itertools.accumulate(episode.length for episode in reversed(episodes))
        rest = dict(zip((episode.number for episode in reversed(episodes)), lengths, strict=True))
        return Dataset(folder, version, fps, info.get("robot_type"), features, tasks, episodes, ended, rest)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise CannotRead(f"{folder / 'meta'} is damaged: {type(error).__name__}: {error}") from error


def _of_3(folder: Path, info: Mapping[str, Any]) -> tuple[list[str], list[Foreign]]:
    table = _table(folder / "meta/tasks.parquet", "its tasks")
    words = next((name for name in table.column_names if name != "task_index"), None)
    if words is None:
        raise CannotRead(f"{folder / 'meta/tasks.parquet'} names no tasks")
    tasks = _by_index(dict(zip(table["task_index"].to_pylist(), table[words].to_pylist(), strict=True)))
    files = sorted((folder / "meta/episodes").glob("*/*.parquet"))
    if not files:
        raise CannotRead(f"{folder} lists no episodes: there is no {EPISODES.format(chunk_index=0, file_index=0)}")
    lines = [line for file in files for line in _table(file, "its episodes", without="stats/").to_pylist()]
    cameras = [name for name, about in info["features"].items() if about["dtype"] == "video"]
    found = []
    for line in sorted(lines, key=operator.itemgetter("episode_index")):
        films = {}
        for camera in cameras:
            place = {name: line[f"videos/{camera}/{name}"] for name in ("chunk_index", "file_index")}
            path = folder / info["video_path"].format(video_key=camera, **place)
            films[camera] = Film(path, line[f"videos/{camera}/from_timestamp"])
        data = folder / info["data_path"].format(
            chunk_index=line["data/chunk_index"], file_index=line["data/file_index"]
        )
        found.append(_foreign(line, data, films))
    return tasks, found


def _of_2(folder: Path, info: Mapping[str, Any]) -> tuple[list[str], list[Foreign]]:
    tasks = _by_index({line["task_index"]: line["task"] for line in _lines(folder / "meta/tasks.jsonl")})
    cameras = [name for name, about in info["features"].items() if about["dtype"] == "video"]
    found = []
    for line in sorted(_lines(folder / "meta/episodes.jsonl"), key=operator.itemgetter("episode_index")):
        number = line["episode_index"]
        place = {"episode_chunk": number // info["chunks_size"], "episode_index": number}
        films = {camera: Film(folder / info["video_path"].format(video_key=camera, **place), 0.0) for camera in cameras}
        found.append(_foreign(line, folder / info["data_path"].format(**place), films))
    return tasks, found


def _foreign(line: Mapping[str, Any], data: Path, films: Mapping[str, Film]) -> Foreign:
    own = {"episode_index", "length", "tasks"}
    said = {name: value for name, value in line.items() if name not in own and not name.startswith(PLACES)}
    said = json.loads(json.dumps(said, default=str))
    return Foreign(line["episode_index"], line["length"], tuple(line["tasks"]), data, films, said)


def _by_index(tasks: Mapping[int, str]) -> list[str]:
    return [tasks.get(index, "") for index in range(max(tasks, default=-1) + 1)]


def _table(path: Path, what: str, without: str | None = None) -> Any:
    """A parquet file, but for columns whose names begin with ``without``."""
    if not path.exists():
        raise CannotRead(f"{path} is missing; {what} cannot be read")
    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if without is None or not name.startswith(without)]
            return file.read(names)
    except (pa.ArrowException, OSError) as error:
        raise CannotRead(f"{path} is damaged; {what} cannot be read: {str(error).splitlines()[0]}") from error


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise CannotRead(f"{path} is missing")
    return [_json(path, line) for line in path.read_text().splitlines() if line.strip()]


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CannotRead(f"{path} is damaged: {error}") from error
