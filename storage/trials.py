"""Trials are planned before they run, given out once, and closed by the episode that ran them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.models import Batch, EpisodeRow, Task, Trial, now
from storage.rows import Refused, insert, one


def plan(session: Session, batch: Batch, trials: Sequence[Trial]) -> list[Trial]:
    """Write down a batch and its trials.

    Raises:
        Refused: the batch exists, or a trial is of another batch, or ``planned`` is not their number.
        Unknown: a trial names a task or a policy that does not exist.
    """
    if strangers := {trial.batch for trial in trials} - {batch.id}:
        raise Refused(f"batch {batch.id!r} cannot hold trials of {sorted(strangers)}")
    if batch.planned != len(trials):
        raise Refused(f"batch {batch.id!r} plans {batch.planned} trials, but {len(trials)} were given")
    if len({trial.turn for trial in trials}) != len(trials):
        raise Refused(f"batch {batch.id!r} has two trials of the same turn")
    if session.get(Batch, batch.id) is not None:
        raise Refused(f"there is already a batch {batch.id!r}")
    insert(session, batch)
    return [insert(session, trial) for trial in trials]


def claim(session: Session, batch: str, by: str) -> Trial | None:
    """Take the next trial nobody has taken, or None when there is none left or the batch was ended.

    Raises:
        Unknown: there is no such batch.
    """
    if one(session, Batch, batch).closed is not None:
        return None
    free = select(Trial).where(Trial.batch == batch, Trial.claimed_by.is_(None), Trial.episode.is_(None))
    trial = session.scalar(free.order_by(Trial.turn).limit(1))
    if trial is not None:
        trial.claimed_by = by
    return trial


def release(session: Session, trial: int) -> None:
    """Give back a claimed trial that did not run.

    Raises:
        Refused: it has run.
    """
    stored = one(session, Trial, trial)
    if stored.episode is not None:
        raise Refused(f"turn {stored.turn} of batch {stored.batch!r} has run; its episode is {stored.episode}")
    stored.claimed_by = None


def close(session: Session, trial: int, episode: UUID) -> None:
    """Say which episode ran the trial; the batch closes with its last one.

    Raises:
        Refused: another episode ran it already, or this episode ran another trial.
        Unknown: there is no such trial or episode.
    """
    stored = one(session, Trial, trial)
    one(session, EpisodeRow, episode)
    other = session.scalar(select(Trial).where(Trial.episode == episode, Trial.id != stored.id))
    if other is not None:
        raise Refused(f"episode {episode} already ran turn {other.turn} of batch {other.batch!r}")
    if stored.episode not in {None, episode}:
        raise Refused(f"turn {stored.turn} of batch {stored.batch!r} was already run by {stored.episode}")
    stored.episode = episode
    session.flush()
    open_ones = select(func.count()).select_from(Trial).where(Trial.batch == stored.batch, Trial.episode.is_(None))
    batch = session.get_one(Batch, stored.batch)
    if not session.scalar(open_ones) and batch.closed is None:
        batch.closed = now()


def end(session: Session, batch: str, why: str) -> None:
    """Close a batch though trials are left. One that is closed stays as it is.

    Raises:
        Refused: no reason is given.
        Unknown: there is no such batch.
    """
    if not why:
        raise Refused(f"batch {batch!r} cannot be ended without a reason")
    stored = one(session, Batch, batch)
    if stored.closed is None:
        stored.closed, stored.ended = now(), why


def listing(session: Session, batch: str | None, task: str | None) -> list[Trial]:
    """Trials in the order they were planned.

    Raises:
        Unknown: there is no such batch or task.
    """
    query = select(Trial).join(Batch, Batch.id == Trial.batch).order_by(Batch.created, Trial.batch, Trial.turn)
    if batch is not None:
        one(session, Batch, batch)
        query = query.where(Trial.batch == batch)
    if task is not None:
        one(session, Task, task)
        query = query.where(Trial.task == task)
    return list(session.scalars(query))
