"""After a crash: seal what was being recorded, and tell the catalog of what it missed. Nothing is thrown away."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from storage.catalog import Catalog
from storage.entry import rows_of, streams_of
from storage.episode import Episode
from storage.manifest import MANIFEST, check
from storage.models import EpisodeRow
from storage.seal import Sealed, finish, lock, remains, unlock


@dataclass(frozen=True)
class Recovered:
    """What became of one take that was not sealed when its program ended."""

    id: str
    sealed: Sealed | None = None
    rows: dict[str, int] = field(default_factory=dict)
    """How many whole rows each device left."""
    dropped: int = 0
    """Bytes of half-written rows that had to be cut off."""
    why: str = ""
    """Why it could not be sealed; it stays in staging, untouched."""


@dataclass(frozen=True)
class Reconciled:
    """An episode that is on the disk and was not in the catalog."""

    path: Path
    row: EpisodeRow | None = None
    why: str = ""
    """Why it could not be added."""


def recover(root: Path) -> list[Recovered]:
    """Seal every take in staging that no living program is writing, keeping every whole row.

    A take cut short gets the attributes ``recovered`` and, unless its end was already known, ``ended_by`` "fault".
    Safe to interrupt and to repeat.
    """
    done = []
    for staged in sorted((root / "staging").glob("*")):
        if staged.is_file():
            done.append(Recovered(staged.name, why="it is a file, not a take"))
        elif (held := lock(staged, wait=False)) is not None:
            try:
                if staged.exists():
                    done.append(_recover(staged))
            finally:
                unlock(held)
    return done


def reconcile(root: Path, catalog: Catalog) -> list[Reconciled]:
    """Add every sealed episode that the catalog does not know, from what the episode says of itself.

    Episodes that were catalogued before the catalog kept streams get theirs.

    Of those that it does know, nothing on the disk is looked at but the name.

    Returns what was added and, with the reason, what could not be.
    """
    folder, ids = root / "episodes", catalog.ids()
    names = os.listdir(folder) if folder.is_dir() else []  # ruff: ignore[os-listdir] - 100,000 paths take seconds
    strange = sorted(name for name in names if name.removesuffix(".zarr").replace("-", "") not in ids)
    found = {path: _id(path) for path in map(folder.joinpath, strange)}
    known = catalog.known(episode for episode in found.values() if episode is not None)
    added = _enter_all([path for path, episode in found.items() if episode not in known], root, catalog)
    _fill_in(root, catalog)
    return added


def _recover(staged: Path) -> Recovered:
    name = staged.name.removesuffix(".zarr")
    try:
        if _id(staged) is None:
            return Recovered(name, why="it is not named as a take is: an id, then .zarr")
        if (staged / MANIFEST).exists() and (wrong := check(staged)):
            return Recovered(name, why=f"it was whole, but then {wrong[0]}")
        left = remains(staged)
        if not any(left.rows.values()):
            return Recovered(name, rows=left.rows, dropped=left.torn, why="there is no whole row in it")
        end = {"recovered": True, "ended_by": left.attributes.get("ended_by", "fault")}
        return Recovered(name, finish(staged, end), left.rows, left.torn)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return Recovered(name, why=f"{type(error).__name__}: {error}")


def _enter_all(paths: Sequence[Path], root: Path, catalog: Catalog) -> list[Reconciled]:
    """Add episodes; one that repeats another's motion can only be added after that, and is tried again."""
    tried = [_enter(path, root, catalog) for path in paths]
    added, left = ([one for one in tried if (one.row is not None) is well] for well in (True, False))
    again = _enter_all([one.path for one in left], root, catalog) if added and left else left
    return sorted(added + again, key=lambda one: one.path)


def _enter(path: Path, root: Path, catalog: Catalog) -> Reconciled:
    try:
        if _id(path) is None:
            return Reconciled(path, why="it is not named as an episode is: an id, then .zarr")
        rows = rows_of(Episode(path), root)
        catalog.add(*rows)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return Reconciled(path, why=str(error))
    return Reconciled(path, next(row for row in rows if isinstance(row, EpisodeRow)))


def _fill_in(root: Path, catalog: Catalog) -> None:
    """Tell the catalog of the streams of episodes that it has known since before it kept them."""
    for row in catalog.without_streams():
        try:
            catalog.add(*streams_of(Episode(root / row.path)))
        except (OSError, ValueError, LookupError, TypeError):
            # Whatever is wrong with it, `verify` tells.
            continue


def _id(path: Path) -> UUID | None:
    """The id in a folder's name; None when it is not one of ours."""
    try:
        return UUID(path.name.removesuffix(".zarr")) if path.suffix == ".zarr" else None
    except ValueError:
        return None
