"""Work orders ask for demonstrations; episodes recorded for one fulfil it when they are good."""

from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, aliased

from storage.models import EpisodeRow, Outcome, Standing, WorkOrder, now
from storage.rows import Refused, insert, one

LED = "kinesthetic"
"""Who drives when a person's hand leads the arm, in the cameras' sight."""


def place(session: Session, order: WorkOrder) -> WorkOrder:
    """Keep an order; it comes back with its id.

    Raises:
        Unknown: there is no such task or failure mode.
        Refused: it asks for none.
    """
    if order.wanted < 1:
        raise Refused(f"a work order asks for at least one episode, not {order.wanted}")
    return insert(session, order)


def listing(closed: bool | None) -> Select[WorkOrder]:
    """Ask for the open ones, the closed ones, or with None both."""
    query = select(WorkOrder).order_by(WorkOrder.id)
    return (
        query
        if closed is None
        else query.where(WorkOrder.closed.is_not(None) if closed else WorkOrder.closed.is_(None))
    )


def progress(session: Session, order: int) -> int:
    """How many of the episodes recorded for an order are good to learn from; what was led, until it is repeated.

    Raises:
        Unknown: there is no such order.
    """
    asked = one(session, WorkOrder, order)
    again, stands = aliased(EpisodeRow), aliased(Standing)
    repeated = select(again.follows).join(stands, stands.episode == again.id).where(again.follows.is_not(None))
    query = select(func.count()).select_from(EpisodeRow).join(Standing, Standing.episode == EpisodeRow.id)
    alone = or_(EpisodeRow.agent != LED, EpisodeRow.id.not_in(repeated.where(*_good(stands))))
    return session.scalar(query.where(EpisodeRow.order == asked.id, alone, *_good(Standing))) or 0


def _good(stands: type[Standing]) -> tuple[ColumnElement[bool], ...]:
    return stands.outcome == Outcome.SUCCESS, stands.retired.is_(False), stands.quarantined.is_(False)


def close(session: Session, order: int, by: str = "", why: str = "") -> None:
    """Ask for no more of it; who says so, and why, is kept. Closing it again changes nothing.

    Raises:
        Unknown: there is no such order.
    """
    stored = one(session, WorkOrder, order)
    if stored.closed is None:
        stored.closed = now()
        stored.result = stored.result | {name: said for name, said in (("by", by), ("why", why)) if said}


def measured(session: Session, order: int, result: dict[str, Any]) -> None:
    """Say what an order has brought, and close it.

    Raises:
        Unknown: there is no such order.
    """
    stored = one(session, WorkOrder, order)
    stored.result = stored.result | result
    close(session, order)
