"""The pictures of one camera in many episodes, as one long sequence: unpacked when they are asked for, or once.

`Pictures` unpacks what a batch asks for. `cached` unpacks everything once, at the size that is trained on, into one
file which is then read like memory. A cache can always be made again; nothing is lost when it is dropped.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.arrays import sync
from storage.frames import Frames
from storage.images import Image

VERSION = 1
"""Counts up when the same frames would be brought to a size in another way; older caches are then made anew."""

SPARE = 1 << 30
"""Bytes a cache leaves free on the disk: recording goes on while training prepares."""

PIECE = 64
"""Pictures that are unpacked in one go while a cache is made."""

type Tell = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""


class NoRoom(OSError):
    """The disk is too full for a cache. The message says how much is needed and how much there is."""


class Pixels(Protocol):
    """Pictures by number, however they are kept: what training reads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures, height, width, 3."""
        ...

    def into(self, wanted: NDArray[np.intp], images: Image) -> None:
        """Write the pictures with these numbers over ``images`` (n, height, width, 3), in this order."""
        ...


class Pictures:
    """Frames of one camera of many episodes, one after the other: ``pictures[[7, 3000]]`` unpacks two of them.

    With a ``size`` they are brought to ``size`` by ``size`` as `Frames.small` does; without, they stay as they are.
    Nothing is open between calls, and one call opens each file once.

    Args:
        frames: of each episode, in order.
        size: height and width they are brought to.
        kept: which of all the frames these are; all when it is None.

    Raises:
        ValueError: there are no frames, or they differ in size and no ``size`` is asked for.
    """

    def __init__(self, frames: Sequence[Frames], size: int | None = None, kept: NDArray[np.intp] | None = None) -> None:
        kinds = sorted({each.shape[1:] for each in frames})
        if not kinds or (size is None and len(kinds) > 1):
            raise ValueError(f"pictures of sizes {kinds} are not one sequence; ask for one size")
        if any(len(kind) != 3 for kind in kinds):
            raise ValueError(f"pictures of sizes {kinds} have no colour; only colour is read for training")
        self.starts = np.cumsum([0, *map(len, frames)])
        """Where the frames of each episode begin, and where the last ones end."""
        self._frames = tuple(frames)
        self._each = kinds[0] if size is None else (size, size, 3)
        self._size = size
        self._kept = kept

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures, height, width, 3."""
        return (int(self.starts[-1]) if self._kept is None else len(self._kept), *self._each)

    @property
    def bytes(self) -> int:
        """What they take unpacked."""
        return int(np.prod(self.shape))

    @property
    def mark(self) -> str:
        """A word for which of the frames these are; empty for all of them."""
        return "" if self._kept is None else hashlib.blake2b(self._kept.tobytes(), digest_size=6).hexdigest()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, wanted: slice | Sequence[int] | NDArray[Any]) -> Image:
        return _picked(self, wanted)

    def only(self, numbers: NDArray[np.intp]) -> "Pictures":
        """These of the pictures, as a sequence of their own. Training at a lower rate needs few of them."""
        _check(numbers, len(self))
        return Pictures(self._frames, self._size, numbers if self._kept is None else self._kept[numbers])

    def into(self, wanted: NDArray[np.intp], images: Image) -> None:
        """Unpack the pictures with these numbers over ``images``; those of one episode together, in order."""
        _check(wanted, len(self))
        numbers = wanted if self._kept is None else self._kept[wanted]
        places = np.argsort(numbers, kind="stable")
        numbers = numbers[places]
        of = np.searchsorted(self.starts, numbers, side="right") - 1
        for group in np.split(np.arange(len(of)), np.flatnonzero(np.diff(of)) + 1):
            if len(group):
                episode = int(of[group[0]])
                local = (numbers[group] - self.starts[episode]).tolist()
                self._frames[episode].into(local, [images[place] for place in places[group].tolist()])


class Unpacked:
    """Pictures as plain pixels (n, height, width, 3), in memory or in a file that is read like memory."""

    def __init__(self, images: Image) -> None:
        self.images = images

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, wanted: slice | Sequence[int] | NDArray[Any]) -> Image:
        return _picked(self, wanted)

    def into(self, wanted: NDArray[np.intp], images: Image) -> None:
        """Copy the pictures with these numbers over ``images``."""
        _check(wanted, len(self))
        kept = self.images
        # One copy straight to its place each; indexing with the whole array would copy everything twice.
        for place, number in enumerate(wanted.tolist()):
            images[place] = kept[number]


@dataclass(frozen=True)
class Cache:
    """One file of unpacked pictures, whole or not."""

    path: Path
    bytes: int
    used: datetime
    """When it was last asked for, or written to."""
    whole: bool


def cached(folder: Path, key: str, pictures: Pictures, tell: Tell = lambda _done, _of: None) -> Unpacked:
    """Every picture unpacked, read from ``folder`` like memory; made there when it is not there yet.

    ``key`` names exactly which frames these are, e.g. a snapshot and a camera; their size, and which of them are
    kept, is added to it. A file is whole or has another name: a crash leaves nothing that is taken for a cache. Two
    processes that ask at once make one file, the second waits for the first.

    Raises:
        NoRoom: the disk is too full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    height, width = pictures.shape[1:3]
    path = folder / f"{'-'.join(filter(None, [key, pictures.mark]))}-{height}x{width}-v{VERSION}.npy"
    found = _open(path, pictures.shape)
    if found is None:
        with _alone(path) as part:
            found = _open(path, pictures.shape)
            if found is None:
                _make(part, pictures, tell)
                part.rename(path)
                sync(folder)
                found = _open(path, pictures.shape)
    if found is None:
        raise OSError(f"{path} was just written, but is not what was written; is the disk failing?")
    os.utime(path)
    return found


def caches(folder: Path) -> list[Cache]:
    """What is in a folder of caches, the one not used for the longest time first."""
    found = []
    for path in [*folder.glob("*.npy"), *folder.glob("*.npy.part")]:
        with contextlib.suppress(FileNotFoundError):
            about = path.stat()
            used = datetime.fromtimestamp(about.st_mtime, UTC)
            found.append(Cache(path, about.st_blocks * 512, used, path.suffix == ".npy"))
    return sorted(found, key=lambda each: each.used)


def drop(cache: Cache) -> bool:
    """Remove a cache. Whoever reads it at the moment goes on; one that is being made stays, which gives False."""
    try:
        file = os.open(cache.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        cache.path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def _picked(pixels: Pixels, wanted: slice | Sequence[int] | NDArray[Any]) -> Image:
    numbers = np.arange(pixels.shape[0])[wanted]
    images = np.empty((len(numbers), *pixels.shape[1:]), np.uint8)
    pixels.into(numbers, images)
    return images


def _check(wanted: NDArray[np.intp], there: int) -> None:
    if len(wanted) and not (wanted.min() >= 0 and wanted.max() < there):
        raise IndexError(f"there are pictures 0 to {there - 1}; {wanted.min()} to {wanted.max()} were asked for")


def _open(path: Path, shape: tuple[int, ...]) -> Unpacked | None:
    """The cache, unless there is none, it was cut short, or it holds something else."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    same = images.shape == shape and images.dtype == np.uint8 and images.flags.c_contiguous
    return Unpacked(images.view(np.ndarray)) if same else None


@contextlib.contextmanager
def _alone(path: Path) -> Generator[Path]:
    """A name to write under that no other process writes to meanwhile; a lock ends with the process that holds it."""
    part = path.with_name(path.name + ".part")
    while True:
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever had the lock before may have renamed or removed the file meanwhile.
            if part.exists() and os.path.samestat(part.stat(), os.fstat(file)):
                yield part
                return
        finally:
            os.close(file)


def _make(part: Path, pictures: Pictures, tell: Tell) -> None:
    with contextlib.ExitStack() as given_up:
        # Whatever stops the making, half a cache takes all the room of a whole one.
        given_up.callback(part.unlink, missing_ok=True)
        os.truncate(part, 0)
        need, free = pictures.bytes, shutil.disk_usage(part.parent).free
        if need + SPARE > free:
            raise NoRoom(
                f"{len(pictures)} pictures of {pictures.shape[2]} x {pictures.shape[1]} take {_gb(need)}, and "
                f"{_gb(free)} are free in {part.parent}, of which {_gb(SPARE)} stay free; drop other caches, or "
                "unpack while training"
            )
        images: Image = np.lib.format.open_memmap(part, "w+", np.uint8, pictures.shape)  # type: ignore[no-untyped-call]  # untyped
        with part.open("r+b") as file:
            # A page of a file that is read like memory cannot say that the disk is full; so take the room first.
            os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
            _unpack(pictures, images, tell)
            os.fsync(file.fileno())
        given_up.pop_all()


def _unpack(pictures: Pictures, images: Image, tell: Tell) -> None:
    """Unpack everything, on all cores: unpacking happens outside Python."""

    def piece(first: int) -> int:
        some = images[first : first + PIECE]
        pictures.into(np.arange(first, first + len(some)), some)
        return len(some)

    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = [pool.submit(piece, first) for first in range(0, len(pictures), PIECE)]
        try:
            for each in as_completed(waiting):
                done += each.result()
                tell(done, len(pictures))
        finally:
            for each in waiting:
                each.cancel()


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
