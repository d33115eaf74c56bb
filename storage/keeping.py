"""Keeping a row, together with whatever follows from it."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session

from storage import edits, retention, standing
from storage.models import (
    Base,
    Edit,
    EpisodeRow,
    KeepingRule,
    Kit,
    Merge,
    Operator,
    Outcome,
    Snapshot,
    SnapshotEpisode,
    Standing,
    StreamRow,
    Task,
    Verdict,
)
from storage.rows import Refused, Unknown, insert

MANY = 500
"""How many ids one query asks for."""


def keep(session: Session, rows: Iterable[Base]) -> None:
    """Store copies of the rows, those that others name first.

    Raises:
        Unknown: a row names something that does not exist.
        Refused: a row contradicts what is there.
    """
    order = {table.name: place for place, table in enumerate(Base.metadata.sorted_tables)}
    given = sorted(rows, key=lambda row: order[row.__tablename__])
    for row in given:
        _keep_one(session, row)
    for episode in {row.episode for row in given if isinstance(row, StreamRow)}:
        standing.equip(session, episode)


def keep_snapshot(session: Session, row: Snapshot) -> Snapshot:
    """Keep a snapshot, unless its like is there, and link it to its episodes so that a recall finds it."""
    there = session.get(Snapshot, row.id)
    if there is not None:
        return there
    held = {UUID(entry[0]) for entry in row.episodes}
    if strangers := held - known(session, list(held)):
        raise Unknown(f"the catalog does not have {', '.join(sorted(map(str, strangers)))}; add these episodes first")
    kept = insert(session, row)
    session.add_all(SnapshotEpisode(snapshot=row.id, episode=episode) for episode in held)
    session.flush()
    return kept


def known(session: Session, episodes: Sequence[UUID]) -> set[UUID]:
    """Those of these episodes that are there. Of very many, reading every id is quicker than asking for each."""
    there = select(EpisodeRow.id)
    if len(episodes) <= MANY:
        there = there.where(EpisodeRow.id.in_(episodes))
    return set(episodes).intersection(session.scalars(there))


def ids(session: Session) -> set[str]:
    """The 32 digits of every episode's id, without a UUID being made of them."""
    digits = func.replace(cast(EpisodeRow.id, String), "-", "")
    return {key for (key,) in session.connection().execute(select(digits)).all()}


def _keep_one(session: Session, row: Base) -> None:
    """Keep one row, and whatever follows from it."""
    match row:
        case EpisodeRow():
            new = session.get(EpisodeRow, row.id) is None
            insert(session, row)
            if new:
                standing.begin(session, row)
            if row.operator and session.get(Operator, row.operator) is None:
                insert(session, Operator(name=row.operator, since=row.started))
        case Verdict():
            if row.outcome is Outcome.FAILURE and row.failure is None:
                raise Refused("a failure has to name its mode; `failure_modes()` lists them")
            insert(session, row)
            standing.judge(session, row)
        case Task() if not row.instruction.strip():
            raise Refused(f"task {row.name!r} needs an instruction: what to do, in the words that a policy is given")
        case Edit():
            if not edits.is_stored(session, row):
                edits.store(session, row)
        case Merge():
            standing.merge(session, row)
        case KeepingRule():
            retention.make(session, row)
        case Snapshot():
            keep_snapshot(session, row)
        case Standing() | SnapshotEpisode() | Kit():
            raise Refused(f"a {row.__tablename__.replace('_', ' ')} follows from other rows; it is not added by itself")
        case _:
            insert(session, row)
