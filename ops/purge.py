"""Delete what was retired, for good. Nothing else deletes what was recorded.

What is to go is marked in the catalog first and removed from the disk after, so that an interrupted purge is known
for what it is: `verify` tells of what is left, and the next purge removes it.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from ops.verify import claims
from storage import Catalog, Edit, EditKind, Listed, PolicyRow, Wanted
from storage.pictures import caches, drop
from storage.reading import BeingRead, unread
from storage.recall import Holder
from storage.seal import MAKING, alone, making_of

COPIES = "compact"
"""The folder of the data folder where smaller copies are."""

HOLDS = ("episodes", COPIES)
"""The folders of the data folder in which recordings lie, one folder each."""

CACHES = Path("cache", "frames")
"""Where training keeps unpacked pictures, in files named after their snapshot."""


class CannotPurge(Exception):
    """Something that was asked to go has to stay. The message says why."""


@dataclass(frozen=True)
class Doomed:
    """An episode that may go, and what it takes."""

    found: Listed
    copy: str | None
    """Where the catalog says that its compact copy is."""
    folders: tuple[Path, ...]
    """The recording, its compact copy and a copy half made, as far as they are on the disk."""
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What a purge would delete, and who learned from it. Policies stay; they cannot be trained again the same way."""

    episodes: tuple[Doomed, ...]
    snapshots: tuple[Holder, ...]
    policies: tuple[PolicyRow, ...]

    @property
    def bytes(self) -> int:
        return sum(doomed.bytes for doomed in self.episodes)


def plan(catalog: Catalog, root: Path, only: Sequence[UUID] = (), before: datetime | None = None) -> Plan:
    """Say what would go, and change nothing.

    Args:
        catalog: what is known of the episodes.
        root: the data folder.
        only: these episodes; none means every one that was retired.
        before: only what was retired before then.

    Raises:
        CannotPurge: an episode was not retired, or was purged before, or lies where nothing is deleted.
    """
    retired = {edit.episode: edit.made for edit in catalog.edits(kind=EditKind.RETIRE)}
    found = list(catalog.among(only).values()) if only else catalog.find(Wanted(retired=True))
    for one in found:
        if one.standing.purged:
            raise CannotPurge(f"episode {one.row.id} was purged before")
        if not one.standing.retired:
            raise CannotPurge(f"episode {one.row.id} is not retired; `appliance episodes retire` comes first")
    chosen = [one for one in found if before is None or retired[one.row.id] < before]
    copies = {edit.episode: edit.value["path"] for edit in catalog.edits(kind=EditKind.COMPACT)}
    doomed = [_doomed(one, copies.get(one.row.id), root) for one in chosen]
    touched = catalog.learned_from(one.row.id for one in chosen)
    return Plan(tuple(doomed), tuple(touched.snapshots), tuple(touched.policies))


def purge(
    catalog: Catalog, root: Path, planned: Plan, by: str, why: str = "", tell: Callable[[Doomed], None] = lambda _: None
) -> list[Path]:
    """Delete what was planned: mark all of it, or nothing; then remove one recording after the other.

    Unpacked pictures that training keeps of them go as well; they can be made again of what stays.

    Args:
        catalog: where it is marked.
        root: the data folder.
        planned: what a person has seen and agreed to.
        by: that person.
        why: their reason.
        tell: hears of every recording that is gone.

    Returns:
        Files of unpacked pictures that are being made at this moment, and stay.

    Raises:
        CannotPurge: a recording is not a folder of its own within the data folder, or is being read. Nothing is marked
            or removed.
        Refused: an episode was restored or purged meanwhile. Nothing is marked or removed.
    """
    for doomed in planned.episodes:
        for folder in doomed.folders:
            refuse_strange(root, folder)
    episodes = [one.found.row.id for one in planned.episodes]
    give_up(catalog, root, [Edit(episode=one, kind=EditKind.PURGE, by=by, why=why) for one in episodes])
    # Now that they are marked, no further snapshot takes them in; and as long as a recording is there, an interrupted
    # purge is known.
    kept = drop_caches(catalog, root, episodes)
    for doomed in planned.episodes:
        for place in _places(root, doomed.found, doomed.copy):
            if os.path.lexists(place):
                remove(root, place)
        tell(doomed)
    return kept


def give_up(catalog: Catalog, root: Path, edits: Sequence[Edit]) -> None:
    """Say in the catalog that recordings are no longer there to be read; only then may they be removed.

    Raises:
        CannotPurge: somebody reads one of them.
        Refused: an edit contradicts how its episode stands.
    """
    try:
        with unread(root, [edit.episode for edit in edits]):
            catalog.edit(*edits)
    except BeingRead as error:
        raise CannotPurge(str(error)) from error


def drop_caches(catalog: Catalog, root: Path, episodes: Sequence[UUID]) -> list[Path]:
    """Remove unpacked pictures of these episodes. Returns the files that are being made at this moment, and stay."""
    names = tuple(row.id for row in catalog.learned_from(episodes).snapshots)
    found = [cache for cache in caches(root / CACHES) if cache.path.name.startswith(names)]
    return [cache.path for cache in found if not drop(cache)]


def interrupted(catalog: Catalog, root: Path) -> list[UUID]:
    """Episodes that were purged and whose recordings, or copies of them, are still there."""
    purged = catalog.find(Wanted(retired=None, purged=True))
    return [found.row.id for found in purged if any(map(os.path.lexists, _places(root, found, None)))]


def leftovers(catalog: Catalog, root: Path) -> list[Path]:
    """What should be gone and is still there: the rest of an interrupted purge, and originals given up for a copy."""
    gone = [claim.path for claim in claims(catalog, root) if claim.gone]
    purged = catalog.find(Wanted(retired=None, purged=True))
    every = [*gone, *(place for found in purged for place in _places(root, found, None))]
    return [path for path in dict.fromkeys(every) if os.path.lexists(path)]


def finish(catalog: Catalog, root: Path, tell: Callable[[Path], None] = lambda _: None) -> list[Path]:
    """Remove what an interrupted run was told to remove, and did not.

    Returns:
        Files of unpacked pictures that are being made at this moment, and stay.

    Raises:
        CannotPurge: something that is left lies where nothing is deleted.
    """
    kept = drop_caches(catalog, root, interrupted(catalog, root))
    for left in leftovers(catalog, root):
        remove(root, left)
        tell(left)
    return kept


def remove(root: Path, folder: Path) -> None:
    """Delete one recording's folder. Links in it are deleted, not followed.

    A copy that is being made at the moment is waited for.

    Raises:
        CannotPurge: it is not a folder of its own within the data folder.
        OSError: it could not be removed, or not all of it.
    """
    refuse_strange(root, folder)
    if not folder.exists():
        return
    if folder.parent.name != COPIES:
        shutil.rmtree(folder)
        return
    making = folder if folder.name.startswith(MAKING) else making_of(folder)
    refuse_strange(root, making)
    with alone(making):
        for each in (folder, making):
            if each.exists():
                shutil.rmtree(each)


def refuse_strange(root: Path, folder: Path) -> None:
    """Make sure that a folder is one of the data folder's recordings, and no way out of it.

    Raises:
        CannotPurge: it is somewhere else, or a link.
    """
    parts = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
    if len(parts) != 2 or parts[0] not in HOLDS or parts[1] == "..":
        raise CannotPurge(f"{folder} is not a recording of {root}, so it is not deleted")
    if folder.is_symlink() or folder.parent.is_symlink():
        link = folder if folder.is_symlink() else folder.parent
        raise CannotPurge(f"{link} is a link to {link.resolve()}; nothing is deleted through links, remove it by hand")


def copy_of(root: Path, found: Listed) -> Path:
    """Where an episode's smaller copy is kept."""
    return root / COPIES / f"{found.row.id}.zarr"


def _places(root: Path, found: Listed, copy: str | None) -> list[Path]:
    """Wherever an episode may be on the disk; a copy that is catalogued as ``copy`` is usually where copies are.

    In the order in which they are to go: without its original no copy is begun, and one half made may become whole.
    """
    usual = copy_of(root, found)
    return list(dict.fromkeys([root / found.row.path, making_of(usual), usual, *([root / copy] if copy else [])]))


def _doomed(found: Listed, copy: str | None, root: Path) -> Doomed:
    folders = tuple(place for place in _places(root, found, copy) if os.path.lexists(place))
    return Doomed(found, copy, folders, sum(size(folder) for folder in folders))


def size(folder: Path) -> int:
    """The bytes that a folder's files hold, not counting what links lead to."""
    return sum((where / name).lstat().st_size for where, _, names in folder.walk() for name in names)
