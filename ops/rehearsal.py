"""Whether a backup can be lived on: it is restored into a scratch folder, looked through there, and removed again.

Where there is no room for all of it, chance decides which recordings it is, so that over the nights it is each of them.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from ops.backup import SPARE, Tell, told
from ops.carrying import Busy, held, room
from ops.purge import size
from ops.restore import CannotRestore, Restore
from ops.verify import verify
from storage import Catalog

SHARE = 0.5
"""Of the room that there is, how much is used at most."""


@dataclass(frozen=True)
class Rehearsed:
    """How it went."""

    items: int
    """Recordings, smaller copies and policies that came back."""
    of: int
    """So many there are in the backup."""
    bytes: int
    seconds: float
    made: str
    """When the backup was made."""
    wrong: tuple[str, ...]
    """What was not as it should be, in words; empty when all is well."""


@dataclass(frozen=True)
class Rehearsal:
    """Restores ``backup`` into a folder ``restore-check`` below ``scratch``."""

    backup: Path
    scratch: Path
    chance: Random
    room: Callable[[Path], int] = room
    tell: Tell = field(default=lambda _what, _done, _of: None)

    def make(self) -> Rehearsed:
        """Restore, verify, remove.

        Raises:
            CannotRestore: there is no backup, or not even room for its catalog.
        """
        began, into = time.monotonic(), self.scratch / "restore-check"
        self.scratch.mkdir(parents=True, exist_ok=True)
        try:
            with held(self.scratch):
                shutil.rmtree(into, ignore_errors=True)
                try:
                    return self._make(into, began)
                finally:
                    shutil.rmtree(into, ignore_errors=True)
        except Busy as error:
            raise CannotRestore(str(error)) from error

    def _make(self, into: Path, began: float) -> Rehearsed:
        chosen, there = self._chosen()
        database = str(into / "catalog.db")
        restored = Restore(self.backup, into, database, chosen, self.room, self.tell).make()
        with Catalog(database) as catalog:
            found = {one.where.relative_to(into).as_posix(): one.what for one in verify(catalog, into)}
        found = {path: what for path, what in found.items() if chosen is None or path in chosen}
        wrong = {**found, **restored.damaged}
        seconds = time.monotonic() - began
        return Rehearsed(restored.items, there, restored.bytes, seconds, restored.made, tuple(wrong.values()))

    def _chosen(self) -> tuple[set[str] | None, int]:
        """Which paths there is room for, None for all; and how many there are."""
        said = told(self.backup)
        sizes = {path: size(self.backup / path) for path in said.items if (self.backup / path).exists()}
        files = sum(about[0] for about in said.files.values()) + SPARE
        left = int(self.room(self.scratch) * SHARE) - files
        if sum(sizes.values()) <= left:
            return None, len(said.items)
        paths = sorted(sizes)
        self.chance.shuffle(paths)
        chosen = set()
        for path in paths:
            if sizes[path] <= left:
                chosen.add(path)
                left -= sizes[path]
        return chosen, len(said.items)
