"""What a bad calibration, device, operator, station or episode has touched: data, and all that learned from it."""

from dataclasses import dataclass
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
