"""From rows as they come to a sealed episode.

While it is recorded, an episode is a folder of logs in ``staging``; sealed, it is a folder of arrays in ``episodes``.
A crash at any moment leaves something that `recover` can seal.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import numpy as np

from storage import arrays
from storage.episode import LOG, MANIFEST, ROOT, SHARD, manifest_of
from storage.images import ImageCodec, Jpeg
from storage.layout import FRAMES, checked, dtype_of, fields_of, is_camera, plain_dtype, without_frames
from storage.log import Log, Records
from storage.timeline import Rows

PERIOD = 0.5
"""How much a power cut may cost, in seconds."""


@dataclass(frozen=True)
class Sealed:
    """What is true of a finished episode, and will stay true."""

    id: UUID
    path: Path
    digest: str
    seconds: float


class EpisodeWriter:
    """Keep rows in a staging folder as they come; give the episode its name only when it is whole.

    Rows given to `append` survive the death of this program; those half a second old survive a power cut.
    Leaving the block without `seal` keeps the staging folder, and `recover` finds it. Nothing is ever deleted here.

    Args:
        root: the data folder; ``staging`` and ``episodes`` are made in it.
        streams: for each device, the layout of its rows. Field ``t`` comes first.
        attributes: what is true of the whole take, as JSON: task, agent, operator, station, started, condition, policy.
        images: how frames are kept.
        id: the episode's name; a new one when None.
    """

    def __init__(
        self,
        root: Path,
        streams: Mapping[str, np.dtype[np.void]],
        attributes: Mapping[str, Any],
        images: ImageCodec = Jpeg(),  # ruff: ignore[function-call-in-default-argument] - it is frozen
        id: UUID | None = None,  # ruff: ignore[builtin-argument-shadowing] - it is the episode's id
    ) -> None:
        self.id = id or uuid4()
        self._root = root.absolute()
        self._staged = self._root / "staging" / f"{self.id}.zarr"
        self._streams = {name: checked(name, dtype) for name, dtype in streams.items()}
        self._attributes = json.loads(json.dumps(dict(attributes)))
        self._images = images
        self._logs: dict[str, Log] = {}
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
        log, dtype = self._logs.get(stream), self._streams.get(stream)
        if log is None or dtype is None:
            raise ValueError(
                f"this episode has no stream {stream!r}; it has {sorted(self._logs) or 'none: it is not open'}"
            )
        if rows.dtype != dtype:
            raise ValueError(f"stream {stream!r} has rows of {dtype}, not of {rows.dtype}")
        try:
            for t, body in self._records(rows):
                log.append(t, body)
        except OSError as error:
            self._error = _explained(error, f"cannot keep the rows of {stream!r}", log.path)
            raise self._error from error

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
        """
        self._halt()
        self._check()
        try:
            return finish(self._staged, attributes or {})
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
                "format": 1,
                "id": str(self.id),
                "streams": {name: fields_of(dtype) for name, dtype in self._streams.items()},
                "images": self._images.codecs,
            },
            **self._attributes,
        }
        arrays.write_group(self._staged, described)
        for name, dtype in self._streams.items():
            path = _log(self._staged / name, dtype)
            path.parent.mkdir(parents=True)
            self._logs[name] = Log(path)
        arrays.sync_tree(self._staged)
        for folder in (self._root / "staging", self._root, self._root.parent):
            arrays.sync(folder)
        self._syncing.start()

    def _records(self, rows: Rows) -> Iterator[tuple[int, bytes]]:
        """A camera's rows one by one, its fields and then its frame; any other device's all together."""
        if len(rows) and not is_camera(rows.dtype):
            yield int(rows["t"][0]), rows.tobytes()
        elif len(rows):
            plain = without_frames(rows).tobytes()
            size = len(plain) // len(rows)
            for i, image in enumerate(rows[FRAMES]):
                yield int(rows["t"][i]), plain[i * size : (i + 1) * size] + self._images.encode(image)

    def _keep_syncing(self) -> None:
        while not self._stop.wait(PERIOD):
            self._sync()

    def _sync(self) -> None:
        for name, log in self._logs.items():
            try:
                log.sync()
            except OSError as error:
                self._error = self._error or _explained(error, f"cannot keep the rows of {name!r}", log.path)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _halt(self) -> None:
        """Take no more rows. Safe to call twice."""
        self._stop.set()
        if self._syncing.is_alive():
            self._syncing.join()
        self._sync()
        for log in self._logs.values():
            log.close()
        self._logs = {}

    def _release(self) -> None:
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None


@dataclass(frozen=True)
class Remains:
    """What a take that was never sealed left in staging."""

    attributes: dict[str, Any]
    rows: dict[str, int]
    """How many whole rows of each device."""
    torn: int
    """Bytes after the last whole row of some device."""


def remains(staged: Path) -> Remains:
    """Look at what is left of a take, and change nothing.

    Raises:
        OSError, ValueError, KeyError: its description is missing or damaged.
    """
    attributes = json.loads((staged / ROOT).read_bytes())["attributes"]
    about = attributes.pop("episode")
    if (staged / MANIFEST).exists():
        return Remains(attributes, about["rows"], 0)
    rows, torn = {}, 0
    for name, layout in about["streams"].items():
        dtype = dtype_of(layout)
        with Records(_log(staged / name, dtype)) as log:
            size = sum(record.size for record in log.index)
            rows[name] = len(log.index) if is_camera(dtype) else size // dtype.itemsize
            footer = _footer(log, plain_dtype(dtype).itemsize) if is_camera(dtype) else b""
            torn += 0 if footer.startswith(log.tail()) else len(log.tail())
    return Remains(attributes, rows, torn)


def finish(staged: Path, attributes: Mapping[str, Any]) -> Sealed:
    """Turn a staging folder's logs into a sealed episode. Whoever calls it holds the folder's lock.

    It may be stopped at any point and begun again: the logs stay until everything made of them is on the disk.

    Raises:
        OSError: something could not be written. The logs are as they were.
    """
    if not (staged / MANIFEST).exists():
        _write_arrays(staged, attributes)
        arrays.sync_tree(staged)
        arrays.replace_json(staged / MANIFEST, manifest_of(staged))
    for log in staged.glob(f"*/{LOG}"):
        log.unlink()
    final = staged.parent.parent / "episodes" / staged.name
    if final.exists():
        raise FileExistsError(f"{final} exists already; {staged} stays where it is")
    staged.rename(final)
    arrays.sync(final.parent)
    arrays.sync(staged.parent)
    about = json.loads((final / ROOT).read_bytes())["attributes"]["episode"]
    whole = json.loads((final / MANIFEST).read_bytes())["digest"]
    return Sealed(UUID(about["id"]), final, whole, about["seconds"])


def lock(folder: Path, wait: bool = True) -> int | None:
    """Keep other programs from a staging folder until `unlock`, or until this program ends. None: one has it."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(file)
        return None
    return file


def unlock(held: int) -> None:
    """Let go of a folder, for forked children too."""
    fcntl.flock(held, fcntl.LOCK_UN)
    os.close(held)


def _write_arrays(staged: Path, attributes: Mapping[str, Any]) -> None:
    """Make the arrays of every stream's log, and describe the whole."""
    root = json.loads((staged / ROOT).read_bytes())["attributes"]
    about = root["episode"]
    about["rows"], ends = {}, []
    for name, layout in about["streams"].items():
        dtype = dtype_of(layout)
        write = _write_frames if is_camera(dtype) else _write_rows
        rows = write(staged / name, dtype, about["images"])
        arrays.write_group(staged / name, {"rows": layout})
        about["rows"][name] = len(rows)
        ends += [*rows["t"][:1].tolist(), *rows["t"][-1:].tolist()]
    about["seconds"] = (max(ends) - min(ends)) / 1e9 if ends else 0.0
    arrays.replace_json(
        staged / ROOT, {"zarr_format": 3, "node_type": "group", "attributes": {**root, **attributes, "episode": about}}
    )


def _write_rows(folder: Path, dtype: np.dtype[np.void], _images: list[dict[str, Any]]) -> Rows:
    """Make an array of every field of a log."""
    with Records(folder / LOG) as log:
        rows: Rows = np.frombuffer(b"".join(log.body(record) for record in log.index), dtype)
    for field in dtype.names or ():
        arrays.write_array(folder / field, rows[field])
    return rows


def _write_frames(folder: Path, dtype: np.dtype[np.void], images: list[dict[str, Any]]) -> Rows:
    """Make a log of frames a shard: cut off what is torn, add a footer. The other fields become arrays."""
    path, plain = folder / FRAMES / SHARD, plain_dtype(dtype)
    with Records(path) as log:
        rows: Rows = np.frombuffer(b"".join(log.body(r)[: plain.itemsize] for r in log.index), plain)
        footer = _footer(log, plain.itemsize)
        end, whole = log.end, log.tail() == footer
    if not whole:
        with path.open("r+b") as file:
            file.truncate(end)
            file.seek(end)
            file.write(footer)
    shape = (len(rows), *dtype[FRAMES].shape)
    arrays.write_json(folder / FRAMES / ROOT, arrays.frames_description(shape, images))
    for field in plain.names or ():
        arrays.write_array(folder / field, rows[field])
    return rows


def _footer(log: Records, before: int) -> bytes:
    """The index that makes a log of frames a shard; each frame follows ``before`` bytes of other fields."""
    places = [(record.offset + before, record.size - before) for record in log.index]
    return arrays.shard_index(places or [(2**64 - 1, 2**64 - 1)])


def _log(folder: Path, dtype: np.dtype[np.void]) -> Path:
    """Where a device's rows are written as they come."""
    return folder / FRAMES / SHARD if is_camera(dtype) else folder / LOG


def _explained(error: OSError, what: str, path: Path) -> OSError:
    """The same error, told with what could not be done, where, and how much room is left."""
    try:
        room = os.statvfs(path if path.exists() else path.parent)
        left = f"{room.f_bavail * room.f_frsize / 1e6:.0f} MB are free there"
    except OSError:
        left = "and its folder cannot be looked at"
    return OSError(error.errno, f"{what}: {error.strerror or error}; {left}", str(path))
