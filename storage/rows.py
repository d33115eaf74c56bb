"""One row at a time: find it by its name, store it once, and say what there is instead of what is not there."""

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import inspect, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage.models import Base, EpisodeRow, PolicyRow

SHOWN = 20
"""How many names an error message lists at most."""

WHEN = {"created", "since"}
"""Columns that tell when a row was first written; the same thing said again is no contradiction."""


class Unknown(LookupError):
    """There is nothing of that name. The message lists what there is."""

    def __str__(self) -> str:
        return str(self.args[0])


class Refused(ValueError):
    """The row contradicts what the catalog already knows."""


def insert[R: Base](session: Session, row: R) -> R:
    """Store a copy of one row, unless the same row is already there.

    Raises:
        Unknown: it names something that does not exist.
        Refused: a row of that name exists and says something else.
    """
    same = _same(session, row)
    if same is None:
        check_names(session, row)
        same = session.merge(row)
        session.flush()
    elif _values(same) != _values(row):
        name = ", ".join(str(value) for value in inspect(same).identity or ())
        differs = [key for key, value in _values(row).items() if value != _values(same)[key]]
        raise Refused(f"{_kind(row.__table__)} {name} is in the catalog already, and differs in {', '.join(differs)}")
    return same


def check_names(session: Session, row: Base) -> None:
    """Make sure that everything a row refers to exists.

    Raises:
        Unknown: something does not.
    """
    for column in row.__table__.columns:
        value = getattr(row, column.key)
        for reference in column.foreign_keys:
            if value is not None and not _exists(session, reference.column, value):
                raise unknown(session, reference.column, value)


def one[R: Base](session: Session, kind: type[R], key: Any) -> R:
    """The row of that key.

    Raises:
        Unknown: there is none.
    """
    found = session.get(kind, key)
    if found is None:
        raise unknown(session, inspect(kind).primary_key[0], key)
    return found


def digits(key: str) -> str:
    """The hexadecimal digits of an id or the beginning of one; empty when it is something else."""
    found = key.replace("-", "").lower()
    return found if re.fullmatch(r"[0-9a-f]{1,32}", found) else ""


def beginning[R: (EpisodeRow, PolicyRow)](
    session: Session, kind: type[R], key: UUID | str, shown: InstrumentedAttribute[Any]
) -> R:
    """The one row whose id begins with ``key``.

    Raises:
        Unknown: there is none, or more than one.
    """
    given = key.hex if isinstance(key, UUID) else digits(key)
    if not given:
        raise unknown(session, shown, key)
    first, last = UUID(given.ljust(32, "0")), UUID(given.ljust(32, "f"))
    found = session.scalars(select(kind).where(kind.id.between(first, last)).order_by(kind.id).limit(SHOWN)).all()
    if not found:
        raise unknown(session, shown, key)
    if len(found) > 1:
        raise Unknown(f"{len(found)} begin with {key!r}, give more digits: {', '.join(str(row.id) for row in found)}")
    return found[0]


def unknown(session: Session, column: Any, value: Any) -> Unknown:
    """Say what there is instead of ``value``."""
    there = session.scalars(select(column).distinct().order_by(column).limit(SHOWN + 1))
    return Unknown(f"there is no {_kind(inspect(column).table)} {str(value)!r}; there {listed(map(str, there))}")


def listed(names: Any) -> str:
    """What there is, in words."""
    there = list(names)
    more = ", ..." if len(there) > SHOWN else ""
    return f"are: {', '.join(there[:SHOWN])}{more}" if there else "are none yet"


def _same[R: Base](session: Session, row: R) -> R | None:
    """The stored row with the key, or with a unique value, of this one."""
    keys = inspect(type(row)).primary_key
    identity = [getattr(row, str(column.key), None) for column in keys]
    if all(part is not None for part in identity):
        found = session.get(type(row), tuple(identity))
        if found is not None:
            return found
    for column in row.__table__.columns:
        value = getattr(row, column.key)
        if value is not None and column.unique:
            found = session.scalar(select(type(row)).where(column == value))
            if found is not None:
                return found
    return None


def _values(row: Base) -> Mapping[str, Any]:
    """What a row says, leaving out when it was first said."""
    return {column.key: getattr(row, column.key) for column in row.__table__.columns if column.key not in WHEN}


def _exists(session: Session, column: Any, value: Any) -> bool:
    return session.scalar(select(column).where(column == value).limit(1)) is not None


def _kind(table: Any) -> str:
    return str(table.name).replace("_", " ")
