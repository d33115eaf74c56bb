"""Finding episodes among very many: every question is answered by one index over how they stand."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import starmap
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from storage.models import (
    Calibration,
    EpisodeRow,
    FailureMode,
    Kit,
    Outcome,
    PolicyRow,
    SnapshotEpisode,
    Standing,
    Task,
)
from storage.rows import digits, one

type Trait = Literal["task", "outcome", "failure", "agent", "operator", "station"]
"""What episodes can be counted by."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which episodes are asked for. What is None does not matter; what is given has to hold."""

    task: str | None = None
    """What they count as."""
    outcome: Outcome | None = None
    """The verdict that counts."""
    failure: str | None = None
    """How it failed, by code."""
    agent: str | None = None
    """Who drove: ``scripted``, ``person``, ``policy``, ..."""
    operator: str | None = None
    station: str | None = None
    device: str | None = None
    """A device that took part, by its name or its serial number."""
    calibration: int | None = None
    """A calibration that one of its devices was recorded under."""
    policy: UUID | None = None
    snapshot: str | None = None
    """One that holds them."""
    since: datetime | None = None
    until: datetime | None = None
    """They began before this."""
    before: tuple[datetime, UUID] | None = None
    """They are listed before the episode that began then and has this id: the next page of older ones."""
    words: tuple[str, ...] = ()
    """Each is part of its task, operator, station, agent, outcome or way to fail, or begins its id; case is nothing."""
    retired: bool | None = False
    quarantined: bool | None = None
    purged: bool | None = False


@dataclass(frozen=True)
class Listed:
    """An episode as it was recorded, and how it stands now."""

    row: EpisodeRow
    standing: Standing

    @property
    def keep(self) -> tuple[float, float] | None:
        """The seconds of it that are used, from its first row; None when it is not trimmed."""
        start, end = self.standing.start, self.standing.end
        if start is None and end is None:
            return None
        return (0.0 if start is None else start), (self.row.seconds if end is None else end)


def find(session: Session, wanted: Wanted, last: int | None = None) -> list[Listed]:
    """Those episodes, oldest first; with ``last``, only so many of the newest.

    Raises:
        Unknown: there is no such task, policy or calibration.
    """
    check(session, wanted)
    return list(starmap(Listed, session.execute(listing(wanted, last))))


def count(session: Session, wanted: Wanted) -> int:
    """How many `find` would find."""
    check(session, wanted)
    return session.scalar(counting(wanted)) or 0


def tally(session: Session, wanted: Wanted, by: Trait) -> dict[str, int]:
    """Count what `find` would find, apart for each value that is known, most frequent first.

    Raises:
        Unknown: there is no such task, policy or calibration.
    """
    check(session, wanted)
    column = getattr(Standing, by)
    each = select(column, func.count()).where(*narrowing(wanted), column.is_not(None)).group_by(column)
    return {str(value): count for value, count in session.execute(each.order_by(func.count().desc(), column))}


def among(session: Session, episodes: Iterable[UUID], at_once: int) -> dict[UUID, Listed]:
    """These episodes, however they stand."""
    keys = list(dict.fromkeys(episodes))
    both = select(EpisodeRow, Standing).join(Standing, Standing.episode == EpisodeRow.id)
    return {
        row.id: Listed(row, standing)
        for first in range(0, len(keys), at_once)
        for row, standing in session.execute(both.where(EpisodeRow.id.in_(keys[first : first + at_once])))
    }


def check(session: Session, wanted: Wanted) -> None:
    """Make sure that what is asked for can exist: a name that nobody gave is a mistake, not an empty list.

    Raises:
        Unknown: there is no such task, policy or calibration.
    """
    for kind, key in ((Task, wanted.task), (PolicyRow, wanted.policy), (Calibration, wanted.calibration)):
        if key is not None:
            one(session, kind, key)


def listing(wanted: Wanted, last: int | None) -> Select[EpisodeRow, Standing]:
    """The question that `find` asks. When only some are asked for, the rest is never looked at."""
    if last is None:
        both = select(EpisodeRow, Standing).join(Standing, Standing.episode == EpisodeRow.id).where(*narrowing(wanted))
        return both.order_by(Standing.started, Standing.episode)
    # Chosen before their rows are looked up: PostgreSQL, while it has no statistics, would look up every one's.
    held = select(Standing).where(*narrowing(wanted)).order_by(Standing.started.desc(), Standing.episode.desc())
    newest = aliased(Standing, held.limit(last).subquery("newest"))
    both = select(EpisodeRow, newest).join(newest, newest.episode == EpisodeRow.id)
    return both.order_by(newest.started, newest.episode)


def counting(wanted: Wanted) -> Select[int]:
    """The question that `count` asks."""
    return select(func.count()).select_from(Standing).where(*narrowing(wanted))


def narrowing(wanted: Wanted) -> list[ColumnElement[bool]]:
    """What has to hold of an episode's standing."""
    given = (
        (Standing.task, wanted.task),
        (Standing.outcome, wanted.outcome),
        (Standing.failure, wanted.failure),
        (Standing.agent, wanted.agent),
        (Standing.operator, wanted.operator),
        (Standing.station, wanted.station),
        (Standing.policy, wanted.policy),
        (Standing.retired, wanted.retired),
        (Standing.quarantined, wanted.quarantined),
        (Standing.purged, wanted.purged),
    )
    held: list[ColumnElement[bool]] = [column == value for column, value in given if value is not None]
    if wanted.since is not None:
        held.append(Standing.started >= wanted.since)
    if wanted.until is not None:
        held.append(Standing.started < wanted.until)
    if wanted.snapshot is not None:
        held.append(
            Standing.episode.in_(select(SnapshotEpisode.episode).where(SnapshotEpisode.snapshot == wanted.snapshot))
        )
    if wanted.before is not None:
        held.append(tuple_(Standing.started, Standing.episode) < tuple_(*wanted.before))
    if wanted.device is not None:
        held.append(Standing.kit.in_(select(Kit.id).where(is_called(wanted.device))))
    if wanted.calibration is not None:
        held.append(Standing.kit.in_(select(Kit.id).where(Kit.calibration == wanted.calibration)))
    return held + [is_about(word) for word in wanted.words]


def is_about(word: str) -> ColumnElement[bool]:
    """Whether a person who types this word can mean the episode."""
    spoken = (Standing.task, Standing.operator, Standing.station, Standing.agent)
    found: list[ColumnElement[bool]] = [column.icontains(word, autoescape=True) for column in spoken]
    if said := [outcome for outcome in Outcome if word.lower() in outcome]:
        found.append(Standing.outcome.in_(said))
    if begins := digits(word):
        found.append(Standing.episode.between(UUID(begins.ljust(32, "0")), UUID(begins.ljust(32, "f"))))
    named = or_(*(column.icontains(word, autoescape=True) for column in (FailureMode.code, FailureMode.name)))
    # Only of those that failed, because the index of listings does not hold how.
    found.append(and_(Standing.outcome == Outcome.FAILURE, Standing.failure.in_(select(FailureMode.code).where(named))))
    return or_(*found)


def is_called(device: str) -> ColumnElement[bool]:
    """Whether a device of a kit has this name or serial number."""
    return or_(Kit.device == device, Kit.serial == device)
