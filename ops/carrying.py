"""Copies of folders and files that are known to be on the disk, and to be what they are copies of."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ops.purge import HOLDS, size
from ops.verify import claims, wrong
from storage import Catalog, digest
from storage.arrays import sync, sync_tree

POLICIES = "policies"

FILES = ("reports", "views")
"""The folders of the data folder with files that may change: pages for people, and what cameras shall see."""

BLOCK = 1 << 22

PARTS = ".part"
"""The folder in which a copy is made before it has its name."""

LOCK = ".lock"


class Vanished(Exception):
    """What was to be copied is not there: it was given up, or is lost."""


class Damaged(Exception):
    """What was to be copied is not what it was. The message says how."""


class BadCopy(Exception):
    """A copy is not what it is a copy of, though that is whole: the disk that it was made on fails."""


class Busy(Exception):
    """Another program is at work on a folder."""


class Strange(Exception):
    """Something would lie outside the folders that are copied."""


@dataclass(frozen=True)
class Item:
    """A folder that never changes once it is there, and what is in it."""

    path: str
    """Within a data folder."""
    digest: str
    about: str
    """In words, e.g. "episode 9d1c..."."""
    episode: bool

    def wrong(self, place: Path) -> list[str]:
        """Return what is wrong with the folder of that place, in words."""
        if self.episode:
            return wrong(place, self.digest)
        try:
            found = digest(place)
        except OSError as error:
            return [f"it cannot be read: {error}"]
        return [] if found == self.digest else [f"its digest is {found} and the catalog has {self.digest}"]


@dataclass(frozen=True)
class Items:
    """What the catalog says should be in a data folder, and what no longer should."""

    there: tuple[Item, ...]
    gone: tuple[Item, ...]


def items(catalog: Catalog, root: Path) -> Items:
    """Every folder that the catalog knows of: recordings, their smaller copies, and policies.

    Raises:
        Strange: one would lie elsewhere.
    """
    found = claims(catalog, root)
    told: dict[bool, list[Item]] = {False: [], True: []}
    for claim in found:
        item = Item(within(claim.path.relative_to(root), HOLDS), claim.digest, claim.episode, episode=True)
        told[bool(claim.gone)].append(item)
    for row in catalog.policies():
        path = within(Path(row.path), (POLICIES,))
        told[False].append(Item(path, row.digest, f"policy {row.name}", episode=False))
    return Items(tuple(told[False]), tuple(told[True]))


def within(path: Path, folders: Iterable[str]) -> str:
    """The same path, if it leads into one of these folders and not out of it.

    Raises:
        Strange: it does not.
    """
    parts = path.parts
    if len(parts) < 2 or parts[0] not in folders or ".." in parts:
        raise Strange(f"{path} is in none of {', '.join(folders)}, so it is not copied")
    return PurePosixPath(*parts).as_posix()


def carry(item: Item, source: Path, target: Path) -> int:
    """Copy a folder from one data folder into another; it gets its name when its digest is right. Returns its bytes.

    What had the name before, e.g. a copy that has rotted, goes only then.

    Raises:
        Vanished: it is not in the source, or not all of it.
        Damaged: the source is not what the catalog says.
        BadCopy: the target's disk does not hold what is written to it.
        OSError: the target cannot be written to.
    """
    whole, final, part = source / item.path, target / item.path, target / PARTS / item.path.replace("/", "-")
    if part.exists():
        shutil.rmtree(part)
    if not whole.is_dir():
        raise Vanished(f"{item.about} is not in {source}")
    for place in sorted(whole.rglob("*")):
        copy = part / place.relative_to(whole)
        if not place.is_dir():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy_file(place, copy)
    part.mkdir(parents=True, exist_ok=True)
    sync_tree(part)
    forget(part)
    if found := item.wrong(part):
        shutil.rmtree(part)
        if own := item.wrong(whole):
            raise Damaged(f"{item.about} in {source} has changed: {'; '.join(own)}")
        raise BadCopy(f"{item.about} was copied to {target}, and what is there is something else: {'; '.join(found)}")
    final.parent.mkdir(parents=True, exist_ok=True)
    discard(target, item.path)
    part.rename(final)
    sync(final.parent)
    return size(final)


def discard(root: Path, path: str) -> None:
    """Remove a folder of a copy, so that half of it never has its name."""
    if not (root / path).exists():
        return
    part = root / PARTS / f"old-{path.replace('/', '-')}"
    part.parent.mkdir(exist_ok=True)
    if part.exists():
        shutil.rmtree(part)
    (root / path).rename(part)
    shutil.rmtree(part)


def copy_file(source: Path, copy: Path) -> str:
    """Copy a file's content, and return its hash. It is not yet sure to be on the disk.

    Raises:
        Vanished, Damaged: the source is not there, or cannot be read.
        OSError: the copy cannot be written.
    """
    found = hashlib.blake2b(digest_size=16)
    try:
        old = source.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise Vanished(f"{source} is not there") from error
    except OSError as error:
        raise Damaged(f"{source} cannot be read: {error.strerror}") from error
    with old, copy.open("wb") as new:
        while True:
            try:
                block = old.read(BLOCK)
            except OSError as error:
                raise Damaged(f"{source} cannot be read: {error.strerror}") from error
            if not block:
                return found.hexdigest()
            found.update(block)
            new.write(block)


def hashed(path: Path) -> str:
    """A file's hash, as `copy_file` has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def forget(folder: Path) -> None:
    """Let the system forget a folder's files, so that reading them again asks the disk."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def room(folder: Path) -> int:
    """Bytes that can still be written to the disk of a folder."""
    told = os.statvfs(next(place for place in (folder, *folder.parents) if place.exists()))
    return told.f_bavail * told.f_frsize


@contextmanager
def held(folder: Path, shared: bool = False) -> Generator[None]:
    """Keep other programs from a folder; those that only read it may do so together.

    A folder that cannot be written to is not held: nobody writes to it.

    Raises:
        Busy: another one has it.
    """
    try:
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        if not shared:
            raise
        yield
        return
    try:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"another program is at work on {folder}; wait until it is done") from error
        yield
    finally:
        os.close(file)
