"""Rows as they come, kept.

While it is recorded, an episode is a folder of logs in ``staging``; sealed, it is a folder of arrays in ``episodes``.
A crash at any moment leaves something that `recover` can seal.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import numpy as np

from storage import arrays
from storage.grade import Demands
from storage.images import ImageCodec, Jpeg, Millimetres, PictureCodec
from storage.layout import DEPTH, RGB, checked, fields_of, pictures, stored_dtype, without_pictures
from storage.log import Log
from storage.seal import FORMAT, Sealed, finish, lock, log_paths, unlock
from storage.timeline import Rows

PERIOD = 0.5
"""How much a power cut may cost, in seconds."""


class EpisodeWriter:
    """Keep rows in a staging folder as they come; give the episode its name only when it is whole.

    Rows given to `append` survive the death of this program; those half a second old survive a power cut.
    Leaving the block without `seal` keeps the staging folder, and `recover` finds it. Nothing is ever deleted here.

    Args:
        root: the data folder; ``staging`` and ``episodes`` are made in it.
        streams: for each device, the layout of its rows. Field ``t`` comes first.
        attributes: what is true of the whole take, as JSON: task, agent, operator, station, started, condition, policy,
            and as ``demands`` what its grade has to be; see `grade`.
        images: how images are kept, for all cameras or, by its stream's name, for each; depth is always kept exactly.
        id: the episode's name; a new one when None.

    Raises:
        ValueError: a layout cannot be kept, nobody says how to keep a camera's images, or the attribute ``demands``
            is not what `Demands` takes.
    """

    def __init__(
        self,
        root: Path,
        streams: Mapping[str, np.dtype[np.void]],
        attributes: Mapping[str, Any],
        images: ImageCodec | Mapping[str, ImageCodec] = Jpeg(),  # ruff: ignore[function-call-in-default-argument] - frozen
        id: UUID | None = None,  # ruff: ignore[builtin-argument-shadowing] - it is the episode's id
    ) -> None:
        self.id = id or uuid4()
        self._root = root.absolute()
        self._staged = self._root / "staging" / f"{self.id}.zarr"
        self._streams = {name: checked(name, dtype) for name, dtype in streams.items()}
        self._attributes = json.loads(json.dumps(dict(attributes)))
        Demands.of(self._attributes.get("demands", {}))
        self._codecs = {name: _codecs(name, dtype, images) for name, dtype in self._streams.items() if pictures(dtype)}
        self._logs: dict[str, dict[str, Log]] = {}
        self._unseen: dict[str, int] = {}
        """For each camera that has a film, how many of its images have no row yet."""
        self._empty: list[Log] = []
        """Of those cameras, the logs that stay empty; they may be syncing, so they are closed in the end."""
        self._lock: int | None = None
        self._stop = threading.Event()
        self._syncing = threading.Thread(target=self._keep_syncing, name=f"sync {self.id}", daemon=True)
        self._error: OSError | None = None

    def append(self, stream: str, rows: Rows) -> None:
        """Take rows of one device, oldest first.

        Raises:
            OSError: these rows, or earlier ones, could not be kept. The take has a hole and must end.
            ValueError: the episode has no such device, or the rows are laid out differently.
        """
        self._check()
        logs, dtype = self._logs.get(stream), self._streams.get(stream)
        if logs is None or dtype is None:
            raise ValueError(
                f"this episode has no stream {stream!r}; it has {sorted(self._logs) or 'none: it is not open'}"
            )
        if rows.dtype != (expected := stored_dtype(dtype, stream in self._unseen)):
            raise ValueError(f"stream {stream!r} has rows of {expected}, not of {rows.dtype}")
        if stream in self._unseen:
            self._unseen[stream] -= len(rows)
            if self._unseen[stream] < 0:
                raise ValueError(f"the film of {stream!r} shows {-self._unseen[stream]} images too few for these rows")
        try:
            for field, t, body in self._records(stream, rows):
                logs[field].append(t, body)
        except OSError as error:
            self._error = _explained(error, f"cannot keep the rows of {stream!r}", self._staged)
            raise self._error from error

    def film(self, stream: str, rows: Rows, clip: Path) -> None:
        """Take all images of one camera from a film, as they are, and with ``rows`` what else the camera said.

        More such rows may follow with `append`; in the end there is one for every image. A film is one video in a file
        that PyAV reads; its first image stands alone, and its images may have one more row or column when the
        camera's number is odd. It is copied.

        Raises:
            OSError: it could not be kept.
            ValueError: there is no such camera, it has rows already, the film cannot be read, or does not have an image
                of the camera's size for every row.
        """
        from storage import clip as films

        self._check()
        dtype = self._streams.get(stream)
        if dtype is None or RGB not in pictures(dtype) or stream not in self._logs:
            raise ValueError(f"this episode has no camera {stream!r} with images that could be a film")
        if stream in self._unseen or any(len(log.sizes) for log in self._logs[stream].values()):
            raise ValueError(f"there are rows of {stream!r} already; its film comes before them")
        about, shape = films.told(clip), dtype[RGB].shape
        if not films.fits(shape, about) or len(rows) > len(about.moments):
            raise ValueError(
                f"{clip} shows {len(about.moments)} images of {about.height} by {about.width}; {stream!r} has "
                f"{len(rows)} rows and images of {shape[0]} by {shape[1]}"
            )
        folder, before = self._staged / stream, self._logs[stream]
        try:
            after = {
                field: before[field] if field in before else Log(path)
                for field, path in log_paths(folder, dtype, filmed=True).items()
            }
            films.adopt(clip, folder)
        except OSError as error:
            self._error = _explained(error, f"cannot keep the film of {stream!r}", folder)
            raise self._error from error
        self._logs[stream] = after
        self._empty.append(before[RGB])
        self._unseen[stream] = len(about.moments)
        self.append(stream, rows)

    def flush(self) -> None:
        """Wait until the disk has every row given so far.

        Raises:
            OSError: it does not.
        """
        self._check()
        self._sync()
        self._check()

    def seal(self, attributes: Mapping[str, Any] | None = None) -> Sealed:
        """Make the episode final. From here on it is read-only.

        Args:
            attributes: what only the end of the take could tell, e.g. ``{"ended_by": "done"}``.

        Raises:
            OSError: some rows could not be kept, or the arrays could not be written. What there is stays in staging.
            ValueError: some images of a film have no row.
        """
        if short := {stream: count for stream, count in self._unseen.items() if count}:
            raise ValueError(f"films show more images than there are rows: {short}")
        known = self._halt()
        self._check()
        try:
            return finish(self._staged, attributes or {}, known)
        except OSError as error:
            raise _explained(error, "cannot seal the episode", self._staged) from error
        finally:
            self._release()

    def __enter__(self) -> Self:
        for folder in (self._root, self._root / "staging", self._root / "episodes"):
            folder.mkdir(parents=True, exist_ok=True)
        if (final := self._root / "episodes" / self._staged.name).exists():
            raise FileExistsError(f"there is already an episode {final}; an id is used once")
        self._staged.mkdir()
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._halt()
        self._release()

    def _begin(self) -> None:
        """Describe the take and open its logs, and make sure that the disk knows of them."""
        self._lock = lock(self._staged)
        described = {
            "episode": {
                "format": FORMAT,
                "id": str(self.id),
                "streams": {name: fields_of(dtype) for name, dtype in self._streams.items()},
                "images": {
                    name: {field: codec.codecs for field, codec in codecs.items()}
                    for name, codecs in self._codecs.items()
                },
            },
            **self._attributes,
        }
        arrays.write_group(self._staged, described)
        for name, dtype in self._streams.items():
            self._logs[name] = {}
            for field, path in log_paths(self._staged / name, dtype, filmed=False).items():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._logs[name][field] = Log(path)
        arrays.sync_tree(self._staged)
        for folder in (self._root / "staging", self._root, self._root.parent):
            arrays.sync(folder)
        self._syncing.start()

    def _records(self, stream: str, rows: Rows) -> Iterator[tuple[str, int, bytes]]:
        """Which log takes what, and its stamp: a camera's rows one by one, any other device's all together.

        A camera's first picture follows its other fields in the same record.
        """
        fields = pictures(rows.dtype)
        if len(rows) and not fields:
            yield "", int(rows["t"][0]), rows.tobytes()
        elif len(rows):
            plain = without_pictures(rows).tobytes()
            size = len(plain) // len(rows)
            for i, t in enumerate(rows["t"].tolist()):
                for field in fields:
                    packed = self._codecs[stream][field].encode(rows[field][i])
                    yield field, t, plain[i * size : (i + 1) * size] + packed if field == fields[0] else packed

    def _keep_syncing(self) -> None:
        while not self._stop.wait(PERIOD):
            self._sync()

    def _sync(self) -> None:
        for name, log in [(name, log) for name, logs in self._logs.items() for log in logs.values()]:
            try:
                log.sync()
            except OSError as error:
                self._error = self._error or _explained(error, f"cannot keep the rows of {name!r}", log.path)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _halt(self) -> dict[Path, Log]:
        """Take no more rows, and tell what was written where. Safe to call twice."""
        self._stop.set()
        if self._syncing.is_alive():
            self._syncing.join()
        self._sync()
        known = {log.path: log for logs in self._logs.values() for log in logs.values()}
        for log in [*known.values(), *self._empty]:
            log.close()
        self._logs, self._empty = {}, []
        return known

    def _release(self) -> None:
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None


def _codecs(
    name: str, dtype: np.dtype[np.void], images: ImageCodec | Mapping[str, ImageCodec]
) -> dict[str, PictureCodec]:
    """How each picture of a camera is kept."""
    codecs: dict[str, PictureCodec] = {DEPTH: Millimetres()}
    if isinstance(images, Mapping) and name in images:
        codecs[RGB] = images[name]
    elif not isinstance(images, Mapping):
        codecs[RGB] = images
    elif RGB in pictures(dtype):
        raise ValueError(f"nobody said how to keep the images of {name!r}; there is a codec for {sorted(images)}")
    return {field: codecs[field] for field in pictures(dtype)}


def _explained(error: OSError, what: str, path: Path) -> OSError:
    """The same error, told with what could not be done, where, and how much room is left."""
    try:
        room = os.statvfs(path if path.exists() else path.parent)
        left = f"{room.f_bavail * room.f_frsize / 1e6:.0f} MB are free there"
    except OSError:
        left = "and its folder cannot be looked at"
    return OSError(error.errno, f"{what}: {error.strerror or error}; {left}", str(path))
