"""From a staging folder to a sealed episode: at the end of a take, or after a crash, by the same path."""

import fcntl
import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from storage import arrays
from storage.grade import Demands, below, grade
from storage.layout import FILM, MOMENTS, RGB, dtype_of, pictures, plain_dtype, stored_dtype
from storage.log import Log, Records
from storage.manifest import LOG, MANIFEST, ROOT, Sum, manifest_of
from storage.timeline import Rows

MAKING = ".making-"
"""What the name of a folder begins with in which a small copy is made."""

FORMAT = 2
"""1 had one codec for all cameras, no depth, and no consolidated metadata."""


@dataclass(frozen=True)
class Sealed:
    """What is true of a finished episode, and will stay true."""

    id: UUID
    path: Path
    digest: str
    seconds: float


@dataclass(frozen=True)
class Remains:
    """What a take that was never sealed left in staging."""

    attributes: dict[str, Any]
    rows: dict[str, int]
    """How many whole rows of each device."""
    torn: int
    """Bytes after the last whole row of some device."""


def log_paths(folder: Path, dtype: np.dtype[np.void], filmed: bool) -> dict[str, Path]:
    """Where a device's rows are written as they come: one log for all fields, or for a camera one per picture.

    The first log of a camera has its other fields too. The key is the picture's field, "" when there is none. Images
    that are ``filmed`` are in no log.
    """
    fields = pictures(stored_dtype(dtype, filmed))
    return {field: folder / field / arrays.shard(1 + len(dtype[field].shape)) for field in fields} or {"": folder / LOG}


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
        with Logs(staged / name, dtype, {}) as logs:
            rows[name] = len(logs)
            torn += logs.torn
    return Remains(attributes, rows, torn)


def finish(staged: Path, attributes: Mapping[str, Any], known: Mapping[Path, Log] | None = None) -> Sealed:
    """Turn a staging folder's logs into a sealed episode. Whoever calls it holds the folder's lock.

    It may be stopped at any point and begun again: the logs stay until everything made of them is on the disk.

    Args:
        staged: the folder.
        attributes: what only the end of the take could tell.
        known: the logs, when whoever wrote them is here to tell what is in them; they are not read again.

    Raises:
        OSError: something could not be written. The logs are as they were.
    """
    if not (staged / MANIFEST).exists():
        sums = _write_arrays(staged, attributes, known or {})
        arrays.sync_tree(staged)
        arrays.replace_json(staged / MANIFEST, manifest_of(staged, sums))
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
    """Keep other programs from a staging folder until `unlock`, or until this program ends.

    None, unless it waits: one has it, or has just sealed or removed it.

    Raises:
        FileNotFoundError: it waits for a folder that is not there.
    """
    try:
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        if wait:
            raise
        return None
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


def idle(folder: Path) -> bool:
    """Whether there is such a folder, and no living program holds it."""
    held = lock(folder, wait=False)
    if held is not None:
        unlock(held)
    return held is not None


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """Keep other programs from a folder, which is made when it is not there. Its holder may remove it.

    Whoever waited for it then goes on with a new folder of that name, or waits for the one who was first.
    """
    held = None
    while held is None:
        folder.mkdir(parents=True, exist_ok=True)
        held = _of_that_name(folder)
    try:
        yield
    finally:
        unlock(held)


def making_of(copy: Path) -> Path:
    """The folder in which a small copy is made before it has its name; who makes or removes one holds it `alone`."""
    return copy.parent / f"{MAKING}{copy.name}"


class Logs:
    """What one device left: its log, or for a camera one per picture, of which the shortest says how many rows."""

    def __init__(self, folder: Path, dtype: np.dtype[np.void], known: Mapping[Path, Log]) -> None:
        self._known = known
        self._plain = plain_dtype(dtype)
        with ExitStack() as opened:
            self._logs = {
                field: opened.enter_context(Records(path, known.get(path)))
                for field, path in log_paths(folder, dtype, (folder / FILM).exists()).items()
            }
            self._camera = "" not in self._logs
            self._opened = opened.pop_all()

    def __len__(self) -> int:
        """How many whole rows there are."""
        if self._camera:
            return min(len(log.index) for log in self._logs.values())
        return sum(record.size for record in self._logs[""].index) // self._plain.itemsize

    @property
    def torn(self) -> int:
        """Bytes after the last whole row; what sealing would write there is not torn."""
        if not self._camera:
            return len(self._logs[""].tail())
        return sum(
            0 if self._footer(field).startswith(log.after(len(self))) else len(log.after(len(self)))
            for field, log in self._logs.items()
        )

    def rows(self) -> Rows:
        """Every field but the pictures."""
        if not self._camera:
            whole = self._logs[""]
            return np.frombuffer(b"".join(whole.body(record) for record in whole.index), self._plain)
        first = next(iter(self._logs.values()))
        return np.frombuffer(
            b"".join(first.body(record, self._plain.itemsize) for record in first.index[: len(self)]), self._plain
        )

    def end(self) -> dict[Path, Sum]:
        """Make each log of pictures a shard: cut off what is torn or has no row, add an index.

        Returns the sums of those files that need not be read to know them.
        """
        sums = {}
        for field, log in self._logs.items() if self._camera else ():
            count, footer = len(self), self._footer(field)
            if log.after(count) != footer:
                with log.path.open("r+b") as file:
                    file.truncate(log.end_of(count))
                    file.seek(log.end_of(count))
                    file.write(footer)
                if log.path in self._known and count == len(log.index):
                    sums[log.path] = self._known[log.path].sum
                    sums[log.path].add(footer)
        return sums

    def __enter__(self) -> "Logs":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _footer(self, field: str) -> bytes:
        """The index that makes a log of pictures a shard. In the first, other fields come before each picture."""
        before = self._plain.itemsize if field == next(iter(self._logs)) else 0
        places = [(record.offset + before, record.size - before) for record in self._logs[field].index[: len(self)]]
        return arrays.shard_index(places or [(2**64 - 1, 2**64 - 1)])


def _of_that_name(folder: Path) -> int | None:
    """The lock of a folder; None when it was removed while waiting, whatever has its name now."""
    try:
        held = lock(folder)
    except FileNotFoundError:
        return None
    with suppress(FileNotFoundError):
        if held is not None and os.path.samestat(os.fstat(held), folder.stat()):
            return held
    if held is not None:
        unlock(held)
    return None


def _write_arrays(staged: Path, attributes: Mapping[str, Any], known: Mapping[Path, Log]) -> dict[str, Sum]:
    """Make the arrays of every stream's logs, and describe the whole. Return the sums of files that are known."""
    root = json.loads((staged / ROOT).read_bytes())["attributes"]
    about = root["episode"]
    if about["format"] == 1:
        about["images"] = {name: {RGB: about["images"]} for name in about["streams"]}
    sums: dict[Path, Sum] = {}
    taken: dict[str, Rows] = {}
    for name, layout in about["streams"].items():
        dtype, folder = dtype_of(layout), staged / name
        (folder / f"{FILM}.new").unlink(missing_ok=True)
        with Logs(folder, dtype, known) as logs:
            taken[name] = rows = logs.rows()
            sums |= logs.end()
        for field in rows.dtype.names or ():
            arrays.write_array(folder / field, rows[field])
        for field in pictures(dtype):
            if field == RGB and (folder / FILM).exists():
                about["images"][name][field] = _describe_film(folder)
                continue
            codecs, shape = about["images"][name][field], (len(rows), *dtype[field].shape)
            arrays.write_json(folder / field / ROOT, arrays.shard_description(shape, dtype[field].base.name, codecs))
        arrays.write_group(folder, {"rows": layout})
    about["rows"] = {name: len(rows) for name, rows in taken.items()}
    ends = [int(t) for rows in taken.values() if len(rows) for t in (rows["t"][0], rows["t"][-1])]
    about["seconds"] = (max(ends) - min(ends)) / 1e9 if ends else 0.0
    graded = grade(taken, frozenset(name for name, layout in about["streams"].items() if pictures(dtype_of(layout))))
    short = below(graded, Demands.of(root.get("demands", {})))
    found = {"grade": graded.as_json(), "quarantine": "; ".join(short)}
    about["format"] = FORMAT
    arrays.replace_json(
        staged / ROOT,
        {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {**root, **attributes, **found, "episode": about},
            "consolidated_metadata": arrays.consolidated(staged),
        },
    )
    return {path.relative_to(staged).as_posix(): found for path, found in sums.items()}


def _describe_film(folder: Path) -> list[dict[str, Any]]:
    """Note where each image of a film is, and return what it is coded with. The log it stands for is empty."""
    from storage.clip import told

    about = told(folder / FILM)
    arrays.write_array(folder / MOMENTS, about.moments)
    shutil.rmtree(folder / RGB, ignore_errors=True)
    return [{"name": about.codec, "configuration": {"film": FILM}}]
