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
        Refused: they do already, or the other task counts as this one.
    """
    check_names(session, said)
    before = merged(session)
    if said.into == before.get(said.task, said.task):
        raise Refused(f"episodes of {said.task} count as {said.into} already")
    if said.into != said.task and counts_as(said.into, before) == said.task:
        raise Refused(
            f"episodes of {said.into} count as {said.task}, so these cannot count as {said.into}; "
            f"merge {said.into} into itself first"
        )
    session.merge(said)
    session.flush()
    after = merged(session)
    for name in before.keys() | after.keys():
        if (now := counts_as(name, after)) != counts_as(name, before):
            session.execute(update(Standing).where(Standing.named == name).values(task=now))


def merged(session: Session) -> dict[str, str]:
    """For every task that counts as another one, the one it was last merged into."""
    last = select(func.max(Merge.id)).group_by(Merge.task)
    said = session.scalars(select(Merge).where(Merge.id.in_(last), Merge.into != Merge.task))
    return {one.task: one.into for one in said}


def counts_as(task: str, merges: Mapping[str, str]) -> str:
    """Follow the merges from a task to the one its episodes count as."""
    while task in merges:
        task = merges[task]
    return task
