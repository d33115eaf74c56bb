"""A data folder and its catalog, made again from a backup: everything is checked, and nothing is written over.

The folder ``.restoring`` in the data folder says that it is not whole yet. It goes last; until then the same line goes
on where it was. The catalog comes after everything that it tells of.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from ops.backup import CONTENT, SPARE, CannotBackUp, Tell, Told, told
from ops.carrying import (
    FILES,
    PARTS,
    BadCopy,
    Busy,
    Damaged,
    Item,
    Strange,
    Vanished,
    carry,
    copy_file,
    hashed,
    held,
    items,
    room,
    within,
)
from ops.purge import size
from storage import Catalog, Refused
from storage.arrays import sync, write_json
from storage.copying import copy, same, says_nothing

UNDER_WAY = ".restoring"
"""The folder of a data folder that is being restored."""

OF = "of.json"


class CannotRestore(Exception):
    """Nothing was restored, or not all of it yet. The message says why, and what to do."""


@dataclass(frozen=True)
class Restored:
    """What came back."""

    items: int
    """Recordings, smaller copies and policies."""
    files: int
    bytes: int
    damaged: Mapping[str, str]
    """What the backup no longer has as it was, or never had: for each path, what is wrong."""
    made: str
    """When the backup was made."""
    seconds: float


@dataclass(frozen=True)
class Restore:
    """Makes the data folder ``into``, and its catalog at ``database``, from a backup."""

    backup: Path
    into: Path
    database: str
    only: Collection[str] | None = None
    """Of what never changes, the paths that are wanted; None is all of it."""
    room: Callable[[Path], int] = room
    tell: Tell = field(default=lambda _what, _done, _of: None)

    def make(self) -> Restored:
        """Restore, or go on with it.

        Raises:
            CannotRestore: there is no backup, or something is there already, or there is too little room.
            Unavailable: the catalog cannot be written to.
        """
        began = time.monotonic()
        try:
            with held(self.backup, shared=True):
                restored = self._make(told(self.backup))
        except (CannotBackUp, Busy, BadCopy, Strange, Refused) as error:
            raise CannotRestore(str(error)) from error
        return replace(restored, seconds=time.monotonic() - began)

    def _make(self, said: Told) -> Restored:
        under_way = self.into / UNDER_WAY
        begun = self._refuse_places(said)
        under_way.mkdir(parents=True, exist_ok=True)
        write_json(under_way / OF, {"id": said.id, "backup": str(self.backup)})
        with held(under_way):
            catalog = self._catalog(said, under_way / "catalog.db")
            if not says_nothing(self.database) and not (begun and same(catalog, self.database)):
                raise CannotRestore(f"{self._where()} holds a catalog already; nothing is written over it")
            with closing(Catalog(catalog)) as opened:
                wanted = items(opened, self.into).there
            wanted = tuple(item for item in wanted if self.only is None or item.path in self.only)
            self._refuse_little_room(wanted, said)
            moved, damaged = self._bring_items(wanted)
            files, wrong = self._bring_files(said)
            if says_nothing(self.database):
                copy(catalog, self.database)
            if not same(catalog, self.database):
                raise CannotRestore(f"{self._where()} says something else than the backup; do not use it")
        for left in (self.into / PARTS, under_way):
            shutil.rmtree(left, ignore_errors=True)
        return Restored(len(wanted) - len(damaged), files, moved, damaged | wrong, said.made, 0.0)

    def _catalog(self, said: Told, local: Path) -> Path:
        """Bring the catalog's file here: opening it where it is could change it."""
        local.unlink(missing_ok=True)
        try:
            found = copy_file(self.backup / CONTENT / said.catalog, local)
        except (Vanished, Damaged) as error:
            raise CannotRestore(f"the backup has lost its catalog: {error}") from error
        if found != said.catalog:
            raise CannotRestore(f"the catalog in {self.backup} has changed since it was copied there")
        return local

    def _bring_items(self, wanted: tuple[Item, ...]) -> tuple[int, dict[str, str]]:
        moved, damaged = 0, {}
        for number, item in enumerate(wanted):
            self.tell(item.about, number, len(wanted))
            if (self.into / item.path).exists():
                continue
            try:
                moved += carry(item, self.backup, self.into)
            except (Vanished, Damaged) as error:
                damaged[item.path] = str(error)
        return moved, damaged

    def _bring_files(self, said: Told) -> tuple[int, dict[str, str]]:
        count, wrong = 0, {}
        for name, (_, changed, digest) in said.files.items():
            path = self.into / within(Path(name), FILES)
            if path.exists() and hashed(path) == digest:
                count += 1
                continue
            part = self.into / UNDER_WAY / "file"
            try:
                if copy_file(self.backup / CONTENT / digest, part) != digest:
                    raise Damaged("its content has changed")
            except (Vanished, Damaged) as error:
                wrong[name] = f"{name} is not in the backup as it was: {error}"
                continue
            os.utime(part, ns=(changed, changed))
            sync(part)
            path.parent.mkdir(parents=True, exist_ok=True)
            part.rename(path)
            count += 1
        return count, wrong

    def _refuse_places(self, said: Told) -> bool:
        """Return whether this goes on with what was begun.

        Raises:
            CannotRestore: something else is there.
        """
        here, there = self.into.resolve(), self.backup.resolve()
        if here.is_relative_to(there) or there.is_relative_to(here):
            raise CannotRestore(f"{self.into} and {self.backup} lie within each other; name another folder")
        found = sorted(path.name for path in self.into.iterdir()) if self.into.exists() else []
        begun = UNDER_WAY in found
        if not begun and (strange := [name for name in found if name != "lost+found"]):
            raise CannotRestore(
                f"{self.into} is not empty: it holds {strange[0]}. Nothing is written over; name a new folder with "
                "--into, or move this one away"
            )
        of = self.into / UNDER_WAY / OF
        if begun and of.exists() and json.loads(of.read_bytes())["id"] != said.id:
            raise CannotRestore(f"another backup than {self.backup} was being restored into {self.into}; finish that")
        return begun

    def _refuse_little_room(self, wanted: tuple[Item, ...], said: Told) -> None:
        missing = [item for item in wanted if not (self.into / item.path).exists()]
        needed = sum(size(self.backup / item.path) for item in missing) + sum(about[0] for about in said.files.values())
        free = self.room(self.into)
        if needed + SPARE > free:
            raise CannotRestore(
                f"{needed / 1e9:.2f} GB are to be restored, and {free / 1e9:.2f} GB are free in {self.into}; "
                "make room, or name another folder with --into"
            )

    def _where(self) -> str:
        """The catalog, as it may be shown."""
        return f"the catalog {self.database}" if "://" not in self.database else "the catalog's server"
