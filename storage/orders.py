"""Work orders ask for demonstrations; episodes recorded for one fulfil it when they are good."""

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from storage.models import EpisodeRow, Outcome, Standing, WorkOrder, now
from storage.rows import Refused, insert, one


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
    """How many of the episodes recorded for an order are good to learn from.

    Raises:
        Unknown: there is no such order.
    """
    asked = one(session, WorkOrder, order)
    good = (Standing.outcome == Outcome.SUCCESS, Standing.retired.is_(False), Standing.quarantined.is_(False))
    query = select(func.count()).select_from(EpisodeRow).join(Standing, Standing.episode == EpisodeRow.id)
    return session.scalar(query.where(EpisodeRow.order == asked.id, *good)) or 0


def close(session: Session, order: int) -> None:
    """Ask for no more of it. Closing it again changes nothing.

    Raises:
        Unknown: there is no such order.
    """
    stored = one(session, WorkOrder, order)
    stored.closed = stored.closed or now()
