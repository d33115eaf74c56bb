"""What a bad calibration, device, operator, station or episode has touched: data, and all that learned from it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import starmap
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage.models import Calibration, EpisodeRow, Kit, Operator, PolicyRow, Snapshot, SnapshotEpisode, Standing
from storage.rows import SHOWN, Unknown, beginning, listed, one
from storage.search import Listed, Wanted, is_called, narrowing


@dataclass(frozen=True)
class Recall:
    """What was touched, oldest first."""

    episodes: list[Listed]
    snapshots: list[Snapshot]
    """They hold one of the episodes."""
    policies: list[PolicyRow]
    """They learned from one of the snapshots, or descend from a policy that did."""


@dataclass(frozen=True)
class Holder:
    """A snapshot, by its name only: what it lists may be very long."""

    id: str
    created: datetime


@dataclass(frozen=True)
class Learned:
    """What holds any of very many episodes, and what learned from that, oldest first."""

    snapshots: list[Holder]
    policies: list[PolicyRow]
    """They learned from one of the snapshots, or descend from a policy that did."""


def recall(session: Session, wanted: Wanted, episode: UUID | str | None = None) -> Recall:
    """Follow episodes to the snapshots that hold them, and on to the policies, their children and so forth.

    Retired and purged episodes are followed as well: what was learned from them is still there.

    Raises:
        Unknown: there is no such calibration, device, operator, station or episode.
    """
    held = narrowing(wanted)
    if episode is not None:
        held.append(Standing.episode == beginning(session, EpisodeRow, episode, EpisodeRow.id).id)
    _check(session, wanted)
    touched = select(Standing.episode).where(*held)
    both = select(EpisodeRow, Standing).join(Standing, Standing.episode == EpisodeRow.id).where(*held)
    holding = select(SnapshotEpisode.snapshot).where(SnapshotEpisode.episode.in_(touched))
    learned = select(PolicyRow.id).where(PolicyRow.snapshot.in_(holding)).cte("family", recursive=True)
    family = learned.union(select(PolicyRow.id).join(learned, PolicyRow.parent == learned.c.id))
    return Recall(
        list(starmap(Listed, session.execute(both.order_by(Standing.started, Standing.episode)))),
        list(session.scalars(select(Snapshot).where(Snapshot.id.in_(holding)).order_by(Snapshot.created, Snapshot.id))),
        list(
            session.scalars(
                select(PolicyRow)
                .where(PolicyRow.id.in_(select(family.c.id)))
                .order_by(PolicyRow.created, PolicyRow.name)
            )
        ),
    )


def learned_from(session: Session, episodes: Iterable[UUID], at_once: int) -> Learned:
    """Follow very many episodes at once, however they stand: their ids in pieces, the family of policies once."""
    holding: set[str] = set()
    for some in _pieces(episodes, at_once):
        held = SnapshotEpisode.episode.in_(some)
        holding |= set(session.scalars(select(SnapshotEpisode.snapshot).where(held).distinct()))
    snapshots: list[Holder] = []
    newest: set[UUID] = set()
    for names in _pieces(holding, at_once):
        found = session.execute(select(Snapshot.id, Snapshot.created).where(Snapshot.id.in_(names)))
        snapshots += list(starmap(Holder, found))
        newest |= set(session.scalars(select(PolicyRow.id).where(PolicyRow.snapshot.in_(names))))
    family = set(newest)
    while newest:
        born = (select(PolicyRow.id).where(PolicyRow.parent.in_(some)) for some in _pieces(newest, at_once))
        newest = {child for query in born for child in session.scalars(query)} - family
        family |= newest
    rows = (select(PolicyRow).where(PolicyRow.id.in_(some)) for some in _pieces(family, at_once))
    policies = [row for query in rows for row in session.scalars(query)]
    return Learned(
        sorted(snapshots, key=lambda one: (one.created, one.id)),
        sorted(policies, key=lambda row: (row.created, row.name)),
    )


def _pieces[K](keys: Iterable[K], at_once: int) -> Iterator[Sequence[K]]:
    """As many as one query asks for, and the next ones."""
    every = list(keys)
    return (every[first : first + at_once] for first in range(0, len(every), at_once))


def _check(session: Session, wanted: Wanted) -> None:
    """A name that nobody gave touched nothing, and is more likely a slip of the pen."""
    if wanted.calibration is not None:
        one(session, Calibration, wanted.calibration)
    if wanted.operator is not None:
        one(session, Operator, wanted.operator)
    if wanted.station is not None:
        _demand(session, "station", wanted.station, Standing.station, Standing.station == wanted.station)
    if wanted.device is not None:
        _demand(session, "device", wanted.device, Kit.device, is_called(wanted.device))


def _demand(
    session: Session, what: str, name: str, column: InstrumentedAttribute[str], holds: ColumnElement[bool]
) -> None:
    if session.scalar(select(column).where(holds).limit(1)) is None:
        there = session.scalars(select(column).where(column != "").distinct().order_by(column).limit(SHOWN + 1))
        raise Unknown(f"there is no {what} {name!r}; there {listed(there)}")
