"""A copy of all that cannot be made again: recordings, policies, pages, cameras' references, and the catalog.

What never changes is copied once, and has its name only when its digest was read back from the disk. Everything else
is kept under the name of its content; ``backup.json`` says which content counts, and is replaced last: a backup that
was cut short is the one before, and the next goes on where it was. Jobs that wait, codes, certificates and what can
be made again are not in it.
"""

import errno
import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

from ops.carrying import (
    FILES,
    LOCK,
    PARTS,
    BadCopy,
    Busy,
    Damaged,
    Item,
    Items,
    Strange,
    Vanished,
    carry,
    copy_file,
    discard,
    forget,
    hashed,
    held,
    items,
    room,
)
from ops.purge import HOLDS, size
from storage import Catalog
from storage.arrays import replace_json, sync
from storage.copying import copy
from storage.migrate import HEAD

FORMAT = 1

TOLD = "backup.json"
CONTENT = "files"
"""The folder of a backup with the content of files, under its hash."""

SPARE = 64 << 20
"""Bytes that stay free."""

PASSES = 20
"""How often the catalog is asked again because something went away while it was to be copied."""

type Tell = Callable[[str, int, int], None]


class CannotBackUp(Exception):
    """There is no backup, or not a whole one. The message says why, and what to do."""


@dataclass(frozen=True)
class Made:
    """What a backup did."""

    copied: int
    """Recordings, smaller copies and policies that it had not yet."""
    bytes: int
    there: int
    """All that it has now."""
    removed: int
    damaged: tuple[str, ...]
    """What could not be copied because the original is not what it was, in words."""
    seconds: float
    same_disk: bool
    """Whether it lies on the disk that it is a copy of."""


@dataclass(frozen=True)
class Told:
    """What a backup says of itself."""

    id: str
    of: str
    """The data folder."""
    made: str
    catalog: str
    """The hash of the catalog's file."""
    items: Mapping[str, str]
    """Digests by path."""
    files: Mapping[str, tuple[int, int, str]]
    """By path: bytes, when it was last changed, in nanoseconds, and its hash."""
    damaged: tuple[str, ...] = ()


def told(backup: Path) -> Told:
    """Read what a backup says of itself.

    Raises:
        CannotBackUp: there is none, or this program does not know its format.
    """
    try:
        said = json.loads((backup / TOLD).read_bytes())
        if said.pop("format") != FORMAT:
            raise CannotBackUp(f"{backup} is a backup that a newer program made; update this one")
        del said["version"]
        files = {path: (about[0], about[1], about[2]) for path, about in said.pop("files").items()}
        return Told(**{**said, "files": files, "damaged": tuple(said["damaged"])})
    except FileNotFoundError as error:
        raise CannotBackUp(f"there is no whole backup in {backup}: it has no {TOLD}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotBackUp(f"{backup / TOLD} cannot be read: {error!r}") from error


@dataclass(frozen=True)
class Backup:
    """A backup of the data folder ``root``, whose catalog is at ``database``, in the folder ``to``."""

    root: Path
    database: str
    to: Path
    mirror: bool = False
    """Whether what was purged goes from the backup, too."""
    again: bool = False
    """Whether what is in the backup is read again, and copied again where it has changed."""
    anew: bool = False
    """Whether a backup may begin where there was one that is no longer there, or whose list is damaged."""
    room: Callable[[Path], int] = room
    tell: Tell = field(default=lambda _what, _done, _of: None)

    def make(self) -> Made:
        """Copy what is new.

        Raises:
            CannotBackUp: the folder is something else, or busy, or has too little room; or it fails on the way.
            Unavailable: the catalog cannot be read.
        """
        began = time.monotonic()
        self._refuse_places()
        try:
            self.to.mkdir(parents=True, exist_ok=True)
            with held(self.to):
                made = self._make()
        except (Busy, BadCopy, Strange) as error:
            raise CannotBackUp(str(error)) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            free = f"{self.room(self.to) / 1e9:.2f} GB are free"
            raise CannotBackUp(
                f"the disk of {self.to} is full ({free}); what is copied stays: make room, and go on with the same line"
            ) from error
        return replace(made, seconds=time.monotonic() - began)

    def _make(self) -> Made:
        before = self._before()
        (self.to / PARTS).mkdir(exist_ok=True)
        scratch = self.root / "cache" / f"backup-{blake2b(str(self.to).encode(), digest_size=4).hexdigest()}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            known, moved, damaged = self._take_items(scratch / "catalog.db")
            files, more = self._take_files(before.files)
            catalog = self._keep(scratch / "catalog.db")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        stale = [item for item in known.gone if (self.to / item.path).exists()]
        kept = {item.path: item.digest for item in known.there if (self.to / item.path).exists()}
        kept |= {item.path: item.digest for item in stale if not self.mirror}
        now = replace(
            before,
            of=str(self.root),
            made=datetime.now(UTC).isoformat(),
            catalog=catalog,
            items=kept,
            files=files,
            damaged=tuple(damaged),
        )
        replace_json(self.to / TOLD, {"format": FORMAT, "version": HEAD, **vars(now)})
        self._clear(now, stale if self.mirror else [])
        removed = len(stale) if self.mirror else 0
        disk = self.to.stat().st_dev == self.root.stat().st_dev
        return Made(len(moved), sum(moved.values()) + more, len(kept), removed, now.damaged, 0.0, disk)

    def _take_items(self, snapshot: Path) -> tuple[Items, dict[str, int], list[str]]:
        """Copy what is missing of all that the catalog says, as it is when nothing goes away meanwhile."""
        moved: dict[str, int] = {}
        damaged: dict[str, str] = {}
        lost: set[str] = set()
        for turn in range(PASSES):
            snapshot.unlink(missing_ok=True)
            copy(self.database, snapshot)
            with Catalog(snapshot) as catalog:
                known = items(catalog, self.root)
                if turn == 0:
                    self._refuse_others(catalog)
            missing = [item for item in known.there if item.path not in damaged and self._lacks(item, turn == 0)]
            self._refuse_little_room(missing, snapshot)
            gone: set[str] = set()
            for number, item in enumerate(missing):
                self.tell(item.about, number, len(missing))
                try:
                    moved[item.path] = carry(item, self.root, self.to)
                except Vanished:
                    gone.add(item.path)
                    if item.path in lost:
                        damaged[item.path] = f"{item.about} is in the catalog, not on disk"
                except Damaged as error:
                    damaged[item.path] = str(error)
            if not gone - damaged.keys():
                return known, moved, list(damaged.values())
            lost = gone
        raise CannotBackUp(f"things go away from {self.root} while they are copied; try again when it is quieter")

    def _lacks(self, item: Item, first: bool) -> bool:
        """Whether something is not in the backup, or no longer as it was."""
        place = self.to / item.path
        if not place.exists():
            return True
        return self.again and first and bool(item.wrong(place))

    def _take_files(self, before: Mapping[str, tuple[int, int, str]]) -> tuple[dict[str, tuple[int, int, str]], int]:
        """Copy the files that have changed. Without ``mirror``, those that are gone stay."""
        now = {} if self.mirror else dict(before)
        copied = 0
        for path in self._files():
            name = path.relative_to(self.root).as_posix()
            with suppress(FileNotFoundError, Vanished):
                about = path.stat()
                old = before.get(name)
                same = old is not None and old[:2] == (about.st_size, about.st_mtime_ns)
                if old is None or not same or self._rotten(old[2]):
                    now[name] = (about.st_size, about.st_mtime_ns, self._keep(path))
                    copied += about.st_size
                else:
                    now[name] = old
        return now, copied

    def _rotten(self, name: str) -> bool:
        """Whether content is not there, or, if that is to be looked at, no longer what it was."""
        place = self.to / CONTENT / name
        return not place.exists() or (self.again and hashed(place) != name)

    def _keep(self, path: Path) -> str:
        """Keep a file's content under its hash, which is read back from the disk."""
        part = self.to / PARTS / "file"
        name = copy_file(path, part)
        sync(part)
        forget(part)
        if hashed(part) != name:
            raise BadCopy(f"{path} was copied to {self.to}, and what is there is something else")
        (self.to / CONTENT).mkdir(exist_ok=True)
        part.rename(self.to / CONTENT / name)
        sync(self.to / CONTENT)
        return name

    def _clear(self, now: Told, stale: list[Item]) -> None:
        """Remove what no longer counts."""
        counts = {now.catalog, *(about[2] for about in now.files.values())}
        for path in (self.to / CONTENT).iterdir():
            if path.name not in counts:
                path.unlink()
        for item in stale:
            discard(self.to, item.path)
        shutil.rmtree(self.to / PARTS)

    def _files(self) -> list[Path]:
        return [path for name in FILES for path in sorted((self.root / name).rglob("*")) if path.is_file()]

    def _before(self) -> Told:
        """What the backup said until now."""
        if (self.to / TOLD).exists() and not self.anew:
            return told(self.to)
        return Told(uuid4().hex, str(self.root), "", "", {}, {})

    def _refuse_places(self) -> None:
        here, there = self.root.resolve(), self.to.resolve()
        if here.is_relative_to(there) or there.is_relative_to(here):
            raise CannotBackUp(f"{self.to} and the data folder {self.root} lie within each other; name another folder")
        if not self.to.exists() or (self.to / TOLD).exists():
            found: list[str] = []
        else:
            found = [path.name for path in self.to.iterdir() if path.name != "lost+found"]
        if found and LOCK not in found:
            raise CannotBackUp(f"{self.to} holds something else ({found[0]}); name a folder that is empty, or a backup")
        last = remembered(self.root).get("backup", {})
        if last.get("to") == str(self.to) and last.get("ok") and not (self.to / TOLD).exists() and not self.anew:
            raise CannotBackUp(
                f"there was a backup in {self.to} ({last['at'][:16]}), and now there is none: is its disk mounted? "
                "--new begins another one"
            )

    def _refuse_others(self, catalog: Catalog) -> None:
        """No row of an episode is ever removed: a catalog that does not know what is in the backup is another's."""
        there = {path.stem for name in HOLDS for path in (self.to / name).glob("*.zarr")}
        ids = catalog.ids()
        strangers = {name for name in there if name.replace("-", "") not in ids}
        if strangers:
            raise CannotBackUp(
                f"{self.to} holds {len(strangers)} recordings that this catalog has never heard of, e.g. "
                f"{min(strangers)}: it is the backup of another appliance, or this catalog was begun anew"
            )

    def _refuse_little_room(self, missing: list[Item], snapshot: Path) -> None:
        needed = sum(size(self.root / item.path) for item in missing) + snapshot.stat().st_size
        needed += sum(path.stat().st_size for path in self._files()) if not (self.to / TOLD).exists() else 0
        free = self.room(self.to)
        if needed + SPARE > free:
            raise CannotBackUp(
                f"{len(missing)} things of {needed / 1e9:.2f} GB are to be copied, and {free / 1e9:.2f} GB are free in "
                f"{self.to}; nothing was copied. Make room, or name another disk"
            )


LAST = "backups.json"
"""The file of the data folder that tells how the last backup and the last restore check ended."""


def remembered(root: Path) -> dict[str, dict[str, Any]]:
    """How the last ``backup`` and the last ``restore_check`` ended, as far as there was one."""
    try:
        found: dict[str, dict[str, Any]] = json.loads((root / LAST).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def remember(root: Path, what: str, **facts: Any) -> None:
    """Keep how one ended."""
    replace_json(root / LAST, remembered(root) | {what: {"at": datetime.now(UTC).isoformat(), **facts}})
