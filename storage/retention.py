"""Rules for what is to become of old episodes: people make them, and end them; none of them is ever rewritten."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.models import EditKind, KeepingRule, now
from storage.rows import Refused, insert, one

DOES = (EditKind.COMPACT, EditKind.COOL, EditKind.PURGE)
"""What a rule can do, the mildest first."""


OLDEST = 36_500.0
"""Days that a rule can wait for at most."""


def check(rule: KeepingRule) -> None:
    """Make sure that a rule can be in force.

    Raises:
        Refused: it does something else than a rule can, says no age or not who made it, or purges for no reason.
    """
    if rule.does not in DOES:
        raise Refused(f"a rule can {', '.join(DOES)} what is old, not {rule.does}")
    if not 0 <= rule.days <= OLDEST:
        raise Refused(f"a rule is for what is so many days old or older, 0 to {OLDEST:g}, not {rule.days:g}")
    if not rule.by:
        raise Refused("a rule says who made it")
    if rule.does is EditKind.PURGE and not rule.why.strip():
        raise Refused("a rule that deletes for good says why")


def make(session: Session, rule: KeepingRule) -> KeepingRule:
    """Put a rule in force; it comes back with its id.

    Raises:
        Refused: see `check`.
        Unknown: there is no such task.
    """
    check(rule)
    return insert(session, rule)


def listing(session: Session, ended: bool) -> list[KeepingRule]:
    """Rules in force, oldest first; with ``ended`` those of before as well."""
    query = select(KeepingRule).order_by(KeepingRule.id)
    return list(session.scalars(query if ended else query.where(KeepingRule.ended.is_(None))))


def end(session: Session, number: int) -> KeepingRule:
    """Let a rule count no longer. Ending it again changes nothing.

    Raises:
        Unknown: there is no such rule.
    """
    rule = one(session, KeepingRule, number)
    rule.ended = rule.ended or now()
    return rule
