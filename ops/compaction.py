"""Keep smaller copies of what is old: pictures become films. Originals go only when asked, and only after their copy.

A copy is made aside, catalogued, and read back; then the original is given up in the catalog, and removed last. An
interruption at any point loses nothing, and the next run goes on from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from ops.purge import copy_of, give_up, refuse_strange, remove, size
from storage import Catalog, Edit, EditKind, Episode, Listed, Wanted, check

LEAST = 30.0
"""How near a copy's images are to the original's at least, in decibels, before the original may go."""


class CannotCompact(Exception):
    """An episode cannot be compacted, or not all of the way. The message says why."""


@dataclass(frozen=True)
class Compacted:
    """An episode that has a smaller copy now."""

    episode: UUID
    before: int
    """Bytes of the original."""
    after: int
    """Bytes of the copy."""
    removed: bool
    """Whether the original is gone."""


def candidates(
    catalog: Catalog,
    only: Sequence[UUID] = (),
    before: datetime | None = None,
    remove_originals: bool = False,
) -> list[Listed]:
    """Episodes with something left to do, oldest first: no copy yet, or an original that is to go.

    Args:
        catalog: what is known of them; whether they can be read shows when they are compacted.
        only: these; none means all that have cameras, whatever their quarantine.
        before: only those that began before then.
        remove_originals: whether originals are to go.

    Raises:
        CannotCompact: an episode that was named is retired, or has no camera.
    """
    seen = catalog.with_camera()
    copied = {edit.episode for edit in catalog.edits(kind=EditKind.COMPACT)}
    if only:
        found = list(catalog.among(only).values())
        for one in found:
            if one.standing.retired:
                raise CannotCompact(f"episode {one.row.id} is retired; restore it first, or purge it")
            if not _is_cold(one) and one.row.id not in seen:
                raise CannotCompact(f"episode {one.row.id} has no camera, so there is nothing to make smaller")
    else:
        found = catalog.find(Wanted(until=before))
    left = [one for one in found if not _is_cold(one) and (remove_originals or one.row.id not in copied)]
    return [one for one in left if only or one.row.id in seen]


def compact(
    catalog: Catalog,
    root: Path,
    found: Listed,
    by: str,
    why: str = "",
    remove_original: bool = False,
    least: float = LEAST,
) -> Compacted:
    """Make sure that an episode has a smaller copy; and remove the original, if that is asked.

    The original goes only when the copy is whole, has the same rows and depth, and images near to the original's: to
    ``least`` decibels (PSNR) for each camera.

    Raises:
        CannotCompact: the original or the copy is not what it should be. Nothing is removed.
        CannotPurge: the original is being read, or lies where nothing is removed; it stays.
        Refused: somebody else edited the episode meanwhile.
        OSError: the copy could not be written, e.g. the disk is full.
    """
    original, copy = root / found.row.path, copy_of(root, found)
    refuse_strange(root, original)
    refuse_strange(root, copy)
    before = size(original)
    said = [edit for edit in catalog.edits(found.row.id) if edit.kind is EditKind.COMPACT]
    value = said[-1].value if said else _made(original, copy, root)
    if not said:
        catalog.edit(Edit(episode=found.row.id, kind=EditKind.COMPACT, value=value, by=by, why=why))
    if remove_original:
        if wrong := _damage(copy, value["digest"]):
            raise CannotCompact(f"the copy {copy} is damaged, so the original stays: {'; '.join(wrong)}")
        if wrong := _loss(original, copy, least):
            raise CannotCompact(f"the copy {copy} is not good enough, so the original stays: {'; '.join(wrong)}")
        give_up(catalog, root, [Edit(episode=found.row.id, kind=EditKind.COOL, by=by, why=why)])
        remove(root, original)
    return Compacted(found.row.id, before, value["bytes"], remove_original)


def _made(original: Path, copy: Path, root: Path) -> dict[str, Any]:
    """Make the copy, unless an interrupted run has made it; say where it is and what is in it."""
    from storage.compact import compact as make

    try:
        made = make(original, copy)
    except (ValueError, KeyError, FileNotFoundError, FileExistsError) as error:
        raise CannotCompact(str(error)) from error
    return {"path": copy.relative_to(root).as_posix(), "digest": made.digest, "bytes": made.bytes}


def _damage(copy: Path, catalogued: str) -> list[str]:
    """What is wrong with a copy that was catalogued with this digest, in words."""
    # A whole one has the digest that its manifest says, so it is not read twice.
    return check(copy) or ([] if Episode(copy).digest == catalogued else ["it is not what was catalogued"])


def _loss(original: Path, copy: Path, least: float) -> list[str]:
    from storage.compact import lost

    try:
        return lost(original, copy, least)
    except (ValueError, KeyError, RuntimeError, FileNotFoundError) as error:  # a codec's own errors are of RuntimeError
        raise CannotCompact(f"{original} cannot be compared with its copy, so it stays: {error!r}") from error


def _is_cold(found: Listed) -> bool:
    """Whether the original was given up already."""
    return found.standing.path != found.row.path
