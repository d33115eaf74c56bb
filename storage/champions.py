"""Which policy a task is done with. History only grows: going back is a row as well."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.models import PolicyRow, Promotion, Task
from storage.rows import Refused, insert, one

PROMOTED, ROLLED_BACK = "promoted", "rolled back"


def history(session: Session, task: str) -> list[Promotion]:
    """Every change of a task's champion, oldest first.

    Raises:
        Unknown: there is no such task.
    """
    one(session, Task, task)
    return list(session.scalars(select(Promotion).where(Promotion.task == task).order_by(Promotion.id)))


def champion(session: Session, task: str) -> PolicyRow | None:
    """The policy that a task is done with; None while there is none.

    Raises:
        Unknown: there is no such task.
    """
    reigning = reigns(history(session, task))
    return session.get(PolicyRow, reigning[-1].policy) if reigning else None


def promote(session: Session, row: Promotion) -> Promotion:
    """Make a policy its task's champion.

    Raises:
        Refused: it is the champion already.
        Unknown: there is no such task or policy.
    """
    policy = one(session, PolicyRow, row.policy)
    reigning = champion(session, row.task)
    if reigning is not None and reigning.id == policy.id:
        raise Refused(f"{policy.name} is the champion of {row.task!r} already")
    return insert(session, row)


def roll_back(session: Session, task: str, by: str, why: str) -> Promotion:
    """Go back to the champion before.

    Raises:
        Refused: there was none.
        Unknown: there is no such task.
    """
    reigning = reigns(history(session, task))
    if not reigning:
        raise Refused(f"task {task!r} has no champion; appliance policies promote NAME makes one")
    if len(reigning) < 2:
        raise Refused(f"task {task!r} had no champion before the one of now, so there is none to go back to")
    return insert(session, Promotion(task=task, policy=reigning[-2].policy, kind=ROLLED_BACK, by=by, why=why))


def reigns(told: Sequence[Promotion]) -> list[Promotion]:
    """Champions that can be gone back to, the present one last: going back takes the last of them away."""
    found: list[Promotion] = []
    for row in told:
        if row.kind == ROLLED_BACK:
            found.pop()
        else:
            found.append(row)
    return found
