"""What may be done to an episode, and how that leaves it standing. Nothing on the disk is touched."""

import math
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.models import Edit, EditKind, EpisodeRow, Standing, Task
from storage.rows import Refused, check_names, one
from storage.standing import counts_as, merged

HOLDS = {EditKind.TRIM: {"start", "end"}, EditKind.RELABEL: {"task"}, EditKind.COMPACT: {"path", "digest", "bytes"}}
"""What an edit's value may hold, by its kind; the others hold nothing."""


def store(session: Session, edit: Edit) -> None:
    """Keep the edit, and let its episode stand accordingly.

    Raises:
        Unknown: there is no such episode or task.
        Refused: the edit contradicts how the episode stands.
    """
    check_names(session, edit)
    standing = session.get_one(Standing, edit.episode)
    if not edit.by:
        raise Refused(f"{edit.kind} {edit.episode}: an edit says who made it")
    if standing.purged:
        raise Refused(f"episode {edit.episode} was purged; nothing more can be done to it")
    if strange := sorted(edit.value.keys() - HOLDS.get(edit.kind, set())):
        takes = ", ".join(sorted(HOLDS.get(edit.kind, set()))) or "nothing"
        raise Refused(f"{edit.kind} {edit.episode}: it cannot hold {', '.join(strange)}; it holds {takes}")
    _apply(session, edit, standing)
    session.merge(edit)
    session.flush()


def is_stored(session: Session, edit: Edit) -> bool:
    """Whether exactly this was said before, by the same person at the same moment."""
    said = session.scalars(select(Edit).where(Edit.episode == edit.episode, Edit.kind == edit.kind))
    return any((one.value, one.by, one.why, one.made) == (edit.value, edit.by, edit.why, edit.made) for one in said)


def _apply(session: Session, edit: Edit, standing: Standing) -> None:
    match edit.kind:
        case EditKind.RETIRE:
            _demand(not standing.retired, edit, "it is retired already")
            standing.retired = True
        case EditKind.RESTORE:
            _demand(standing.retired, edit, "it is not retired")
            standing.retired = False
        case EditKind.QUARANTINE:
            _demand(not standing.quarantined, edit, "it is in quarantine already")
            standing.quarantined = True
        case EditKind.RELEASE:
            _demand(standing.quarantined, edit, "it is not in quarantine")
            standing.quarantined = False
        case EditKind.TRIM:
            start, end = _marks(session, edit)
            _demand((start, end) != (standing.start, standing.end), edit, "it is trimmed so already")
            standing.start, standing.end = start, end
        case EditKind.RELABEL:
            task = one(session, Task, edit.value.get("task", "")).name
            _demand(task != standing.named, edit, f"it is of task {task} already")
            standing.named, standing.task = task, counts_as(task, merged(session))
        case EditKind.PURGE:
            _demand(standing.retired, edit, "only what was retired is purged; retire it first")
            standing.purged = True
        case EditKind.COMPACT:
            _demand(not _is_cold(session, standing), edit, "its original is gone, so no other copy can be made of it")
            missing = ", ".join(sorted(HOLDS[EditKind.COMPACT] - edit.value.keys()))
            _demand(not missing, edit, f"the copy's {missing} is not said")
        case EditKind.COOL:
            _demand(not _is_cold(session, standing), edit, "its original is gone already")
            copy = _copy(session, edit)
            standing.path, standing.digest = copy["path"], copy["digest"]


def _demand(holds: bool, edit: Edit, otherwise: str) -> None:
    if not holds:
        raise Refused(f"cannot {edit.kind} episode {edit.episode}: {otherwise}")


def _marks(session: Session, edit: Edit) -> tuple[float | None, float | None]:
    """Where the use of an episode begins and ends, in seconds from its first row; None where nothing is cut off."""
    seconds = session.get_one(EpisodeRow, edit.episode).seconds
    for name, mark in edit.value.items():
        number = isinstance(mark, int | float) and not isinstance(mark, bool) and math.isfinite(mark)
        _demand(number, edit, f"its {name} has to be a number of seconds, not {mark!r}")
    start, end = edit.value.get("start"), edit.value.get("end")
    low, high = 0.0 if start is None else start, seconds if end is None else end
    _demand(
        0 <= low < high <= seconds,
        edit,
        f"{low:g} s to {high:g} s is not within its {seconds:g} s; give 0 <= start < end <= {seconds:g}",
    )
    return (None if start is None else float(start)), (None if end is None else float(end))


def _is_cold(session: Session, standing: Standing) -> bool:
    """Whether only the compact copy is left."""
    return standing.path != session.get_one(EpisodeRow, standing.episode).path


def _copy(session: Session, edit: Edit) -> dict[str, Any]:
    """The newest compact copy of an episode."""
    copies = select(Edit).where(Edit.episode == edit.episode, Edit.kind == EditKind.COMPACT).order_by(Edit.id.desc())
    newest = session.scalars(copies.limit(1)).first()
    _demand(newest is not None, edit, "there is no compact copy of it; compact it first")
    return newest.value if newest is not None else {}
