"""How an episode stands: it begins with the episode and follows, in the same transaction, whatever is said of it."""

import hashlib
import json
from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from storage.models import EpisodeRow, Kit, Merge, Standing, StreamRow, Verdict
from storage.rows import Refused, check_names


def begin(session: Session, row: EpisodeRow) -> None:
    """Let a new episode stand as it was recorded."""
    session.add(
        Standing(
            episode=row.id,
            task=counts_as(row.task, merged(session)),
            named=row.task,
            path=row.path,
            digest=row.digest,
            started=row.started,
            agent=row.agent,
            operator=row.operator,
            station=row.station,
            policy=row.policy,
        )
    )
    session.flush()


def equip(session: Session, episode: UUID) -> None:
    """Note the set of devices that an episode's streams came from."""
    streams = session.scalars(select(StreamRow).where(StreamRow.episode == episode).order_by(StreamRow.name)).all()
    devices = [(stream.name, stream.serial, stream.calibration) for stream in streams]
    name = hashlib.blake2b(json.dumps(devices).encode(), digest_size=8).hexdigest()
    if session.scalar(select(Kit.id).where(Kit.id == name).limit(1)) is None:
        session.add_all(Kit(id=name, device=device, serial=serial, calibration=of) for device, serial, of in devices)
    session.get_one(Standing, episode).kit = name
    session.flush()


def judge(session: Session, verdict: Verdict) -> None:
    """The last verdict counts."""
    standing = session.get_one(Standing, verdict.episode)
    standing.outcome, standing.failure = verdict.outcome, verdict.failure
    session.flush()


def merge(session: Session, said: Merge) -> None:
    """Let the episodes of a task count as another's, or as its own again.

    Raises:
        Unknown: there is no such task.
        Refused: they do already, or the other task leads back to this one.
    """
    check_names(session, said)
    before = merged(session)
    if said.into == before.get(said.task, said.task):
        raise Refused(f"episodes of {said.task} count as {said.into} already")
    after = {name: into for name, into in {**before, said.task: said.into}.items() if name != into}
    counts_as(said.task, after)
    session.merge(said)
    session.flush()
    for name in before.keys() | after.keys():
        now = counts_as(name, after)
        session.execute(update(Standing).where(Standing.named == name, Standing.task != now).values(task=now))


def merged(session: Session) -> dict[str, str]:
    """For every task that counts as another one, the one it was last merged into."""
    last = select(func.max(Merge.id)).group_by(Merge.task)
    said = session.scalars(select(Merge).where(Merge.id.in_(last), Merge.into != Merge.task))
    return {one.task: one.into for one in said}


def counts_as(task: str, merges: Mapping[str, str]) -> str:
    """Follow the merges from a task to the one its episodes count as.

    Raises:
        Refused: they lead back to where they were.
    """
    way = [task]
    while (into := merges.get(way[-1])) is not None:
        if into in way:
            raise Refused(f"that is a circle: {' counts as '.join([*way, into])}; merge {way[-1]} into itself first")
        way.append(into)
    return way[-1]
