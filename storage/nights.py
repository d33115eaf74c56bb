"""Nights: one row each, that says more step after step, and nothing twice."""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import champions
from storage.models import Night, PolicyRow, Promotion, now
from storage.rows import Refused, insert, one

NIGHT = "night"
"""Under which a promotion's evidence names the night that decided it."""


def begin(session: Session, row: Night) -> Night:
    """Write down that a night has begun. One that is there already is returned as it is.

    Raises:
        Refused: another night of this task is not over yet, or one of this name is of another task.
        Unknown: there is no such task or policy.
    """
    known = session.get(Night, row.id)
    if known is not None:
        if known.task != row.task:
            raise Refused(f"night {row.id!r} is of task {known.task!r}, not {row.task!r}")
        return known
    under_way = select(Night.id).where(Night.task == row.task, Night.ended.is_(None))
    if other := session.scalar(under_way.limit(1)):
        raise Refused(f"night {other!r} of task {row.task!r} is not over; go on with it, or end it with a reason")
    return insert(session, row)


def found(session: Session, night: str, step: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Keep what a step has found, unless it said so before: then its first word stands, and is returned.

    Raises:
        ValueError: it is no JSON, or a number in it is none.
        Unknown: there is no such night.
    """
    row = one(session, Night, night)
    if step not in row.facts:
        # As it will be read again: what was a tuple is a list from the first time on.
        row.facts = {**row.facts, step: json.loads(json.dumps(facts, allow_nan=False))}
    said: dict[str, Any] = row.facts[step]
    return said


def trained(session: Session, night: str, candidate: UUID) -> None:
    """Say what a night has trained.

    Raises:
        Refused: it has trained another.
        Unknown: there is no such night or policy.
    """
    row = one(session, Night, night)
    one(session, PolicyRow, candidate)
    if row.candidate not in {None, candidate}:
        raise Refused(f"night {night!r} has trained {row.candidate} already")
    row.candidate = candidate


def tries(session: Session, night: str, batch: str) -> None:
    """Say which trials decide a night.

    Raises:
        Refused: others do.
        Unknown: there is no such night.
    """
    row = one(session, Night, night)
    if row.batch not in {None, batch}:
        raise Refused(f"night {night!r} is decided by batch {row.batch!r} already")
    row.batch = batch


def end(session: Session, night: str, decision: str, why: str) -> Night:
    """Say how a night ended. The first word stands.

    Raises:
        Unknown: there is no such night.
    """
    row = one(session, Night, night)
    if row.ended is None:
        row.decision, row.why, row.ended = decision, why, now()
    return row


def promote(session: Session, row: Promotion, instead_of: UUID | None) -> Promotion:
    """Make a night's candidate the champion: once, and only in place of the one that it was measured against.

    Raises:
        Refused: somebody has chosen another champion since, or has ended the night; or the evidence names no night.
        Unknown: there is no such task, policy or night.
    """
    if NIGHT not in row.evidence:
        raise Refused("a night promotes once, and the evidence names none")
    night = one(session, Night, row.evidence[NIGHT])
    for before in champions.history(session, row.task):
        if before.evidence.get(NIGHT) == night.id:
            return before
    if night.ended is not None:
        raise Refused(f"night {night.id!r} has ended: {night.why}")
    reigning = champions.champion(session, row.task)
    if (reigning.id if reigning else None) != instead_of:
        raise Refused(
            f"{reigning.name if reigning else 'nobody'} is the champion of {row.task!r} by now, "
            "and the candidate was not tried against that"
        )
    return champions.promote(session, row)
