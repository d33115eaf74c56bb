"""Make an episode of ours of an episode of a LeRobot dataset: every number, every word, every pixel.

Feature ``a.b`` becomes field ``b`` of stream ``a``, and ``observation.images.<camera>`` the pictures of a stream of
that name. What our layout has no place for stays in the attribute ``lerobot``, from which `write` gives it all back.
"""

import hashlib
import json
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage import arrays
from storage.apart import apart
from storage.images import Lossless
from storage.layout import DEPTH, RGB
from storage.lerobot import tables, video
from storage.lerobot.cameras import Seen, look
from storage.lerobot.columns import FROM
from storage.lerobot.layout import AUTOMATIC, INFO, is_depth
from storage.lerobot.read import CannotRead, Dataset, Foreign
from storage.timeline import Rows
from storage.writer import EpisodeWriter

NAMESPACE = UUID("6f1f5d0e-6c55-5c0a-9b60-0d6f3c1b7a11")
"""In which imported episodes are named by their content."""

PICTURES = frozenset({"video", "image"})

WORD = "<i4"
"""A word is kept as its place in a list."""


@dataclass(frozen=True)
class Adopted:
    """An episode that is ours now, or was already."""

    id: UUID
    path: Path
    new: bool


def adopt(
    dataset: Dataset,
    episode: Foreign,
    root: Path,
    said: Mapping[str, Any],
    known: Callable[[UUID], bool] = lambda _id: False,
) -> Adopted:
    """Bring one episode in, sealed and named by its content: the same one is never brought in twice.

    Whatever happens, there is a whole episode in ``episodes`` afterwards, or none.

    Args:
        dataset: where it comes from.
        episode: which one.
        root: our data folder.
        said: attributes that the dataset cannot know: task, operator, ...
        known: tells of an id whether we have had it, even if its files are gone.

    Raises:
        CannotRead: a file is missing or damaged, or holds something that cannot be kept. The message names it.
        OSError: our disk does not take it.
    """
    root = root.absolute()
    with apart(root) as folder, _naming(episode):
        table = dataset.rows(episode)
        columns = places(dataset.features)
        spoken = _spoken(dataset, episode, table, columns)
        cameras = [
            look(dataset, episode, table, name, *columns[name], folder)
            for name, about in dataset.features.items()
            if about["dtype"] in PICTURES
        ]
        name = _name(dataset, episode, spoken, cameras)
        final = root / "episodes" / f"{name}.zarr"
        if final.exists() or known(name):
            return Adopted(name, final, new=False)
        attributes = _attributes(dataset, episode, columns, spoken) | dict(said)
        kinds = {stream: rows.dtype for stream, rows in spoken.rows.items()} | {c.stream: c.kind for c in cameras}
        with EpisodeWriter(folder, kinds, attributes, Lossless(), name) as writer:
            for stream, rows in spoken.rows.items():
                writer.append(stream, rows)
            for camera in cameras:
                _keep(writer, camera, spoken.rows[FROM]["t"])
            sealed = writer.seal()
        sealed.path.rename(final)
        arrays.sync(final.parent)
        return Adopted(name, final, new=True)


def places(features: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """The stream and the field of every feature that becomes rows; the others are text about the episode.

    Raises:
        CannotRead: a feature is of a kind that our layout has no place for.
    """
    found: dict[str, tuple[str, str]] = {}
    cameras = {name for name, about in features.items() if about["dtype"] in PICTURES}
    for name in sorted(features, key=lambda name: name not in cameras):
        about = features[name]
        taken = {FROM, *(stream for other, (stream, _) in found.items() if other in cameras or name in cameras)}
        if name in AUTOMATIC or about["dtype"] == "language":
            continue
        if name in cameras:
            stream = name.removeprefix("observation.images.") if "images." in name else name.rpartition(".")[2]
            found[name] = _free(stream, taken), DEPTH if is_depth(about) else RGB
            continue
        _kind(name, about)
        stream, _, field = name.partition(".") if "." in name else (name, "", name)
        found[name] = _free(stream, taken), "t_" if field == "t" else field
    return {name: found[name] for name in features if name in found}


@dataclass(frozen=True)
class _Spoken:
    """All of an episode that is not pictures."""

    rows: Mapping[str, Rows]
    words: Mapping[str, list[str]]
    language: Mapping[str, list[Any]]


@contextmanager
def _naming(episode: Foreign) -> Generator[None]:
    """Say which episode a damaged film belongs to."""
    try:
        yield
    except video.BadFilm as error:
        raise CannotRead(f"episode {episode.number}: {error}") from error


def _spoken(dataset: Dataset, episode: Foreign, table: Any, columns: Mapping[str, tuple[str, str]]) -> _Spoken:
    def numbers(name: str, about: Mapping[str, Any]) -> NDArray[Any]:
        if name not in table.column_names:
            raise CannotRead(f"{episode.data} has no column {name!r}, which {INFO} promises")
        if about["dtype"] == "string":
            said = table[name].to_pylist()
            words[name] = list(dict.fromkeys(said))
            return np.array([words[name].index(word) for word in said], WORD)
        try:
            return tables.numbers(table[name], about, episode.length)
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise CannotRead(f"{episode.data}, episode {episode.number}, column {name!r}: {error}") from error

    words: dict[str, list[str]] = {}
    fields: dict[str, dict[str, NDArray[Any]]] = {}
    for name, (stream, field) in columns.items():
        if dataset.features[name]["dtype"] not in PICTURES:
            fields.setdefault(stream, {})[field] = numbers(name, dataset.features[name])
    fields[FROM] = {name: numbers(name, AUTOMATIC[name]) for name in ("timestamp", "task_index")}
    if not all(0 <= task < len(dataset.tasks) for task in fields[FROM]["task_index"]):
        raise CannotRead(f"{episode.data}: episode {episode.number} has a task_index that names no task")
    t = np.rint(np.arange(episode.length) * (1e9 / dataset.fps)).astype("<i8")
    rows = {}
    for stream, values in fields.items():
        kind = [(field, value.dtype, value.shape[1:]) for field, value in values.items()]
        rows[stream] = np.zeros(episode.length, [("t", "<i8"), *kind])
        for field, value in ({"t": t} | values).items():
            rows[stream][field] = value
    language = {
        name: table[name].to_pylist()
        for name, about in dataset.features.items()
        if about["dtype"] == "language" and name in table.column_names
    }
    return _Spoken(rows, words, language)


def _keep(writer: EpisodeWriter, camera: Seen, t: NDArray[np.int64]) -> None:
    """Write one camera's rows: with its film as it is, or else picture by picture without loss."""
    if camera.clip is not None:
        plain: Rows = np.zeros(len(t), [("t", "<i8")])
        plain["t"] = t
        writer.film(camera.stream, plain, camera.clip)
        return
    row: Rows = np.zeros(1, camera.kind)
    for stamp, picture in zip(t, camera.pictures(), strict=True):
        row["t"], row[camera.kind.names[-1]] = stamp, picture  # type: ignore[index]  # it has names
        writer.append(camera.stream, row)


def _name(dataset: Dataset, episode: Foreign, spoken: _Spoken, cameras: list[Seen]) -> UUID:
    """An id from what the episode holds and where it stands; not from where the dataset lies."""
    kinds = {name: [about["dtype"], list(about["shape"])] for name, about in dataset.features.items()}
    said = [
        kinds,
        dataset.fps,
        dataset.robot_type,
        episode.number,
        sorted(episode.tasks),
        spoken.words,
        spoken.language,
    ]
    content = hashlib.blake2b(json.dumps(said, default=str).encode(), digest_size=16)
    for rows in spoken.rows.values():
        content.update(rows.tobytes())
    for camera in cameras:
        content.update(camera.digest)
    return uuid5(NAMESPACE, content.hexdigest())


def _attributes(
    dataset: Dataset, episode: Foreign, columns: Mapping[str, tuple[str, str]], spoken: _Spoken
) -> dict[str, Any]:
    return {
        "instruction": episode.tasks[0] if episode.tasks else "",
        "agent": "import",
        "started": dataset.started(episode).isoformat(),
        "ended_by": "done",
        FROM: {
            "dataset": dataset.folder.name,
            "version": dataset.version,
            "number": episode.number,
            "frames": episode.length,
            "fps": dataset.fps,
            "robot_type": dataset.robot_type,
            "features": dataset.features,
            "columns": columns,
            "words": spoken.words,
            "language": spoken.language,
            "tasks": dataset.tasks,
            "named": episode.tasks,
            "episode": episode.said,
        },
    }


def _kind(name: str, about: Mapping[str, Any]) -> None:
    """Make sure that a feature is numbers or words."""
    try:
        known = about["dtype"] == "string" or np.dtype(about["dtype"]).kind in "biuf"
    except TypeError:
        known = False
    if not known:
        raise CannotRead(f"feature {name!r} is {about['dtype']!r}; numbers, string, image and video can be kept")


def _free(name: str, taken: set[str]) -> str:
    """A stream's name from a feature's."""
    name = re.sub(r"[^0-9A-Za-z_-]", "_", name) or "_"
    while name in taken:
        name += "_"
    return name
