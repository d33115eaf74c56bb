"""Policies by the names that people give and type."""

import re
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.models import PolicyRow
from storage.rows import beginning, digits, unknown


def named(session: Session, key: UUID | str) -> PolicyRow:
    """One policy, by its name, its id or the first digits of it.

    Raises:
        Unknown: there is none, or the digits begin more than one.
    """
    found = session.scalar(select(PolicyRow).where(PolicyRow.name == str(key)))
    if found is not None:
        return found
    if isinstance(key, str) and not digits(key):
        raise unknown(session, PolicyRow.name, key)
    return beginning(session, PolicyRow, key, shown=PolicyRow.name)


def free_name(session: Session, method: str) -> str:
    """The first free name of the form ``method-1``, after every one that was ever used."""
    pattern = re.compile(re.escape(method) + r"-(\d+)")
    names = session.scalars(select(PolicyRow.name).where(PolicyRow.name.startswith(f"{method}-", autoescape=True)))
    used = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
    return f"{method}-{max(used, default=0) + 1}"
