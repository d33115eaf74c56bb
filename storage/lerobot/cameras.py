"""One camera's pictures of one episode of a LeRobot dataset, however they are kept there."""

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.layout import DEPTH, RGB
from storage.lerobot import video
from storage.lerobot.layout import INFO
from storage.lerobot.read import CannotRead, Dataset, Foreign


@dataclass(frozen=True)
class Seen:
    """One camera's pictures: as a film that can be kept as it is, or to be unpacked one by one."""

    stream: str
    kind: np.dtype[np.void]
    clip: Path | None
    pictures: Callable[[], Iterator[NDArray[Any]]]
    digest: bytes


def look(dataset: Dataset, episode: Foreign, table: Any, name: str, stream: str, field: str, apart: Path) -> Seen:
    """Find one camera's pictures, which become ``field`` of ``stream``. A film of this episode alone is put ``apart``.

    Raises:
        CannotRead: they are missing or damaged, or of a kind that cannot be kept.
        BadFilm: their film is.
    """
    if dataset.features[name]["dtype"] == "image":
        return _one_by_one(dataset, episode, table, name, stream, field)
    film, clip = episode.films[name], apart / f"{stream}.mp4"
    digest, whole = video.cut(film.path, film.begin, dataset.fps, episode.length, clip)
    said = video.about(film.path)
    shape = (said["video.height"], said["video.width"], 3)
    shown = functools.partial(video.decode, film.path, film.begin, dataset.fps, episode.length)
    if field == RGB:
        return Seen(stream, _seeing(field, shape), clip if whole else None, shown, digest)
    depth = video.Depth.said_by(dataset.features[name].get("info") or {})
    return Seen(stream, _seeing(field, shape[:2]), None, lambda: map(depth.millimetres, shown("gray12le")), digest)


def _one_by_one(dataset: Dataset, episode: Foreign, table: Any, name: str, stream: str, field: str) -> Seen:
    """Pictures that are files in the table."""
    if name not in table.column_names:
        raise CannotRead(f"{episode.data} has no column {name!r}, which {INFO} promises")
    where = f"{episode.data}, episode {episode.number}, {name!r}"
    packed = [_packed(dataset, cell, where) for cell in table[name].to_pylist()]
    digest, shapes = hashlib.blake2b(digest_size=16), set()
    for picture in _unpacked(packed, where, field):
        digest.update(np.ascontiguousarray(picture))
        shapes.add(picture.shape)
    if len(shapes) != 1:
        raise CannotRead(f"{where}: the pictures are not all of one size but {sorted(shapes)}")
    return Seen(stream, _seeing(field, shapes.pop()), None, lambda: _unpacked(packed, where, field), digest.digest())


def _packed(dataset: Dataset, cell: Any, where: str) -> bytes:
    """A picture's file, which is in the table or beside it."""
    if cell and cell.get("bytes"):
        found: bytes = cell["bytes"]
        return found
    path = dataset.folder / ((cell or {}).get("path") or "")
    if not path.is_file():
        raise CannotRead(f"{where}: a picture is missing")
    return path.read_bytes()


def _unpacked(packed: list[bytes], where: str, field: str) -> Iterator[NDArray[Any]]:
    for number, file in enumerate(packed):
        picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
        if picture is None:
            raise CannotRead(f"{where}, frame {number}: the picture is damaged")
        if field == DEPTH and picture.dtype == np.uint16 and picture.ndim == 2:
            yield picture
        elif field == RGB and picture.dtype == np.uint8 and picture.shape[2:] == (3,):
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        else:
            raise CannotRead(
                f"{where}, frame {number}: pictures of {picture.dtype} {picture.shape} cannot be kept; "
                "colour is 3 bytes a pixel, depth whole millimetres"
            )


def _seeing(field: str, shape: tuple[int, ...]) -> np.dtype[np.void]:
    return np.dtype([("t", "<i8"), (field, "<u2" if field == DEPTH else "u1", shape)])
