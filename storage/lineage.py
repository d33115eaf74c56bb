"""Where a policy comes from and what came of it: parents, snapshots, who showed that with what; trials, promotions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session

from storage import champions
from storage.models import (
    Batch,
    EpisodeRow,
    Kit,
    Night,
    Outcome,
    PolicyRow,
    Promotion,
    Snapshot,
    SnapshotEpisode,
    Standing,
    Task,
    Trial,
)


@dataclass(frozen=True)
class Source:
    """Episodes of a snapshot that the same person showed in the same way, with the same cell as it was calibrated."""

    operator: str
    agent: str
    station: str
    station_digest: str
    calibrations: tuple[tuple[str, int], ...]
    """Of the devices that took part, by their names."""
    episodes: int
    seconds: float
    first: datetime
    last: datetime
    retired: int
    """How many of them were set aside since, and are still there."""
    quarantined: int
    purged: int


@dataclass(frozen=True)
class Held:
    """A snapshot, by where its episodes are from."""

    id: str
    task: str
    query: str
    created: datetime
    sources: tuple[Source, ...]
    """Those with most episodes first."""

    @property
    def episodes(self) -> int:
        return sum(one.episodes for one in self.sources)


@dataclass(frozen=True)
class Generation:
    """A policy, and what it learned from itself, beside what it has from its parent."""

    policy: PolicyRow
    held: Held | None


@dataclass(frozen=True)
class Tried:
    """How a policy did in a batch; while others of the batch still run, only how many are done."""

    batch: Batch
    against: tuple[str, ...]
    """The other policies of the batch."""
    planned: int
    ran: int
    outcomes: dict[Outcome, int] | None
    """None until the batch is closed: who tries them is not to know."""


@dataclass(frozen=True)
class Lineage:
    """A policy's way down to the people who showed it, and up to its trials, promotions and children."""

    line: tuple[Generation, ...]
    """The policy itself, its parent, that one's parent, ..."""
    children: tuple[PolicyRow, ...]
    nights: tuple[Night, ...]
    """It is what they trained."""
    tried: tuple[Tried, ...]
    drove: int
    """Episodes that it drove, in trials or not."""
    promotions: tuple[Promotion, ...]
    champion: bool
    """Whether its task is done with it."""

    @property
    def policy(self) -> PolicyRow:
        return self.line[0].policy


def lineage(session: Session, policy: PolicyRow) -> Lineage:
    """All that is known of where a policy comes from, and what came of it."""
    reigning = champions.champion(session, policy.task)
    children = select(PolicyRow).where(PolicyRow.parent == policy.id).order_by(PolicyRow.created, PolicyRow.name)
    drove = select(func.count()).select_from(Standing).where(Standing.policy == policy.id)
    return Lineage(
        line=tuple(Generation(one, _held(session, one.snapshot)) for one in _line(session, policy)),
        children=tuple(session.scalars(children)),
        nights=tuple(session.scalars(select(Night).where(Night.candidate == policy.id).order_by(Night.began))),
        tried=tuple(_tried(session, policy)),
        drove=session.scalar(drove) or 0,
        promotions=tuple(
            session.scalars(select(Promotion).where(Promotion.policy == policy.id).order_by(Promotion.id))
        ),
        champion=reigning is not None and reigning.id == policy.id,
    )


def trial_of(session: Session, episode: UUID) -> Trial | None:
    """The trial that an episode ran, if it was one."""
    return session.scalar(select(Trial).where(Trial.episode == episode))


def live(session: Session) -> set[UUID]:
    """Policies in use, and those they descend from: what they learned from has to stay.

    In use is a champion, one that can be gone back to, and one that is being tried or that a night has made.
    """
    tasks = session.scalars(select(Task.name)).all()
    used = {row.policy for task in tasks for row in champions.reigns(champions.history(session, task))}
    used |= set(session.scalars(select(Trial.policy).join(Batch).where(Batch.closed.is_(None)).distinct()))
    for row in session.scalars(select(Night).where(Night.ended.is_(None))):
        used |= {one for one in (row.champion, row.candidate) if one is not None}
    parents = {row.id: row.parent for row in session.execute(select(PolicyRow.id, PolicyRow.parent))}
    found: set[UUID] = set()
    for key in used:
        while key not in found:
            found.add(key)
            key = parents[key] or key
    return found


def needed(session: Session, at_once: int) -> dict[UUID, str]:
    """The episodes that policies in use learned from, and the name of one that did."""
    taught = select(SnapshotEpisode.episode, PolicyRow.name)
    taught = taught.join(PolicyRow, PolicyRow.snapshot == SnapshotEpisode.snapshot).order_by(PolicyRow.created)
    policies = sorted(live(session))
    return {
        episode: name
        for first in range(0, len(policies), at_once)
        for episode, name in session.execute(taught.where(PolicyRow.id.in_(policies[first : first + at_once])))
    }


def _line(session: Session, policy: PolicyRow) -> Iterator[PolicyRow]:
    row: PolicyRow | None = policy
    while row is not None:
        yield row
        row = None if row.parent is None else session.get_one(PolicyRow, row.parent)


def _held(session: Session, snapshot: str | None) -> Held | None:
    """A snapshot without the list of its episodes, which may be very long."""
    if snapshot is None:
        return None
    said = select(Snapshot.id, Snapshot.task, Snapshot.query, Snapshot.created).where(Snapshot.id == snapshot)
    return Held(*session.execute(said).one(), _sources(session, snapshot))


def _sources(session: Session, snapshot: str) -> tuple[Source, ...]:
    same = (Standing.operator, Standing.agent, Standing.station, EpisodeRow.station_digest, Standing.kit)
    aside = (and_(Standing.retired, Standing.purged.is_(False)), Standing.quarantined, Standing.purged)
    counts = (func.sum(case((said, 1), else_=0)) for said in aside)
    asked = select(
        *same,
        func.count(),
        func.sum(EpisodeRow.seconds),
        func.min(Standing.started),
        func.max(Standing.started),
        *counts,
    )
    asked = asked.join(EpisodeRow, EpisodeRow.id == Standing.episode).group_by(*same)
    held = select(SnapshotEpisode.episode).where(SnapshotEpisode.snapshot == snapshot)
    rows = session.execute(asked.where(Standing.episode.in_(held))).all()
    devices = select(Kit.id, Kit.device, Kit.calibration).where(Kit.id.in_({row.kit for row in rows}))
    kits: dict[str, list[tuple[str, int]]] = {}
    for kit, device, calibration in session.execute(devices):
        if calibration is not None:
            kits.setdefault(kit, []).append((device, calibration))
    found: dict[tuple[object, ...], Source] = {}
    for operator, agent, station, digest, kit, *numbers in rows:
        # Kits differ by serial numbers, too, which matter to nobody here.
        key = (operator, agent, station, digest, tuple(sorted(kits.get(kit, ()))))
        one = Source(*key, *numbers)
        found[key] = _both(found[key], one) if key in found else one
    return tuple(sorted(found.values(), key=lambda one: (-one.episodes, one.operator, one.first)))


def _both(one: Source, other: Source) -> Source:
    return replace(
        one,
        episodes=one.episodes + other.episodes,
        seconds=one.seconds + other.seconds,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        retired=one.retired + other.retired,
        quarantined=one.quarantined + other.quarantined,
        purged=one.purged + other.purged,
    )


def _tried(session: Session, policy: PolicyRow) -> Iterator[Tried]:
    own = select(Trial.batch).where(Trial.policy == policy.id)
    for batch in session.scalars(select(Batch).where(Batch.id.in_(own)).order_by(Batch.created, Batch.id)).all():
        trials = select(Trial.episode, Standing.outcome).outerjoin(Standing, Standing.episode == Trial.episode)
        mine = session.execute(trials.where(Trial.batch == batch.id, Trial.policy == policy.id)).all()
        others = select(PolicyRow.name).join(Trial, Trial.policy == PolicyRow.id).distinct().order_by(PolicyRow.name)
        outcomes = [outcome for _, outcome in mine if outcome is not None]
        yield Tried(
            batch=batch,
            against=tuple(session.scalars(others.where(Trial.batch == batch.id, PolicyRow.id != policy.id))),
            planned=len(mine),
            ran=sum(episode is not None for episode, _ in mine),
            outcomes=None if batch.closed is None else {each: outcomes.count(each) for each in Outcome},
        )
