"""A whole catalog, as it is at one moment, into another one: SQLite or PostgreSQL, from either and to either.

From file to file SQLite copies its own pages, which hinders no writer. With a server on one side it is rows, each as
the models describe it: that needs no program of the server's version, and what comes out of one fits into the other.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, bindparam, func, insert, literal_column, select, text, update
from sqlalchemy.orm import Session

from storage import arrays
from storage.engine import Database, Unavailable, address, version_at
from storage.models import Base, FailureMode
from storage.rows import Refused

AT_ONCE = 1000
"""Rows that are under way at a time."""

SEEDED = FailureMode.__tablename__
"""The table that a new catalog has rows in."""


def copy(source: str | Path, target: str | Path) -> None:
    """Make ``target`` say what ``source`` says at this moment: all of it, or nothing.

    Raises:
        Refused: the target says something already.
        Unavailable: one of them cannot be used, or the source is damaged.
    """
    into = file_of(target)
    if not says_nothing(target):
        raise Refused(f"{target if into else 'that database'} holds a catalog already; nothing is written over it")
    if into is None:
        _copy_rows(source, target)
        return
    part = into.with_name(f"{into.name}.part")
    part.unlink(missing_ok=True)
    if (file := file_of(source)) is not None:
        _copy_pages(file, part)
    else:
        _copy_rows(source, part)
    arrays.sync(part)
    into.unlink(missing_ok=True)
    part.rename(into)
    arrays.sync(into.parent)


def says_nothing(where: str | Path) -> bool:
    """Whether there is no catalog yet, or one without a single row of anybody's.

    Raises:
        Unavailable: it cannot be opened.
    """
    if version_at(where) is None:
        return True
    with closing(Database(where)) as database, database.read() as session:
        return not any(
            session.execute(select(literal_column("1")).select_from(table).limit(1)).first() for table in _told()
        )


def same(one: str | Path, other: str | Path) -> bool:
    """Whether two catalogs say the same in every table.

    Raises:
        Unavailable: one of them cannot be opened.
    """
    return _sums(one) == _sums(other)


def file_of(where: str | Path) -> Path | None:
    """Return the file that a catalog is in; None when it is on a server.

    Raises:
        Unavailable: that is no address of a database.
    """
    url = address(where)
    return Path(url.database or "").absolute() if url.get_backend_name() == "sqlite" else None


def _copy_pages(source: Path, part: Path) -> None:
    Database(source).close()  # it is one of ours, and up to date
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(part)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE").close()
            said = [word for (word,) in new.execute("PRAGMA quick_check(3)").fetchall()]
    except sqlite3.Error as error:
        raise Unavailable(f"{source} cannot be copied: {error}") from error
    if said != ["ok"]:
        raise Unavailable(f"{source} is damaged: {'; '.join(said)}")


def _copy_rows(source: str | Path, target: str | Path) -> None:
    with (
        closing(Database(source)) as old,
        closing(Database(target)) as new,
        old.read() as reading,
        new.write() as writing,
    ):
        writing.execute(Base.metadata.tables[SEEDED].delete())
        for table in Base.metadata.sorted_tables:
            _copy_table(reading, writing, table)


def _copy_table(reading: Session, writing: Session, table: Table) -> None:
    """Copy a table's rows. What names another row of the same table is said once all of them are there."""
    own = [column.name for column in table.columns if any(key.column.table is table for key in column.foreign_keys)]
    (*_, key) = table.primary_key.columns
    named: list[dict[str, Any]] = []
    for rows in _rows(reading, table):
        named += [
            {"_key": row[key.name], **{name: row[name] for name in own}} for row in rows if any(map(row.get, own))
        ]
        writing.execute(insert(table), [row | dict.fromkeys(own) for row in rows])
    if named:
        where = update(table).where(key == bindparam("_key"))
        writing.connection().execute(where.values({name: bindparam(name) for name in own}), named)
    number = table.autoincrement_column
    if number is not None and writing.connection().dialect.name == "postgresql":
        # What was given a number did not count the sequence on; the next row has to follow the last.
        following = select(func.coalesce(func.max(number), 0) + 1).scalar_subquery()
        place = func.pg_get_serial_sequence(table.name, number.name)
        writing.execute(select(func.setval(place, following, text("false"))))


def _rows(session: Session, table: Table) -> Iterator[list[dict[str, Any]]]:
    """A table's rows, some at a time."""
    found = session.execute(select(table).order_by(*table.primary_key.columns).execution_options(yield_per=AT_ONCE))
    for rows in found.partitions():
        yield [dict(zip(found.keys(), row, strict=True)) for row in rows]


def _told() -> list[Table]:
    """The tables that only somebody's rows are in."""
    return [table for table in Base.metadata.sorted_tables if table.name != SEEDED]


def _sums(where: str | Path) -> dict[str, tuple[int, int]]:
    """For every table how many rows it has, and a sum over them that does not mind their order."""
    found = {}
    with closing(Database(where)) as database, database.read() as session:
        for table in Base.metadata.sorted_tables:
            count = total = 0
            for rows in _rows(session, table):
                count += len(rows)
                total += sum(_hash(row) for row in rows)
            found[table.name] = count, total
    return found


def _hash(row: dict[str, Any]) -> int:
    said = json.dumps(row, sort_keys=True, default=_plain)
    return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=16).digest())


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)
