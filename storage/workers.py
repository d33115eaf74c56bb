"""Programs that take jobs: they count while they live."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage.models import WorkerRow


def arrive(session: Session, row: WorkerRow) -> None:
    """Say that a worker begins; what was said of an earlier one of its name is forgotten."""
    session.execute(delete(WorkerRow).where(WorkerRow.name == row.name))
    session.add(row)


def beat(session: Session, name: str) -> bool:
    """Count once more for a worker; return whether it counts at all, and was not given up."""
    row = session.get(WorkerRow, name)
    if row is not None:
        row.beat += 1
    return row is not None


def give_up(session: Session, name: str, at: int) -> bool:
    """Forget a worker whose count stands still; return whether it did."""
    row = session.get(WorkerRow, name)
    if row is None or row.beat != at:
        return False
    session.delete(row)
    return True


def living(session: Session) -> list[WorkerRow]:
    """Every worker that nobody has given up, by name."""
    return list(session.scalars(select(WorkerRow).order_by(WorkerRow.name)))
