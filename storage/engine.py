"""Connecting to SQLite or PostgreSQL: transactions that read, transactions that write, and complaints made plain."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from storage import migrate
from storage.rows import Refused

PATIENCE = 30
"""How long a writer waits for another one, in seconds."""

WRITING = 7_205_759
"""The PostgreSQL advisory lock a writer holds until its transaction ends."""

STUCK = f"another program has been writing for {PATIENCE} s: is one of them stuck?"

HELP = {
    sqlite3.SQLITE_FULL: "make room on that disk",
    sqlite3.SQLITE_READONLY: "the file or its disk cannot be written to: mount it writable, or own the file",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be made or opened: its folder has to exist and be yours",
    sqlite3.SQLITE_IOERR: "the disk fails, or is full: look at it before anything else",
    sqlite3.SQLITE_BUSY: STUCK,
    "53100": "make room on the server's disk",
    "25006": "the server only lets itself be read: is it a replica?",
    "55P03": STUCK,
    "57014": "the server cancelled it",
}
"""What a person can do, by SQLite's or PostgreSQL's own code."""


class Unavailable(OSError):
    """The database does not answer, cannot be written to, or is not one of ours. What was being written was not."""


class Database:
    """A file or a server. Several programs may use one; writers come one at a time.

    Args:
        where: a file for SQLite, or a URL: ``sqlite:///...`` or ``postgresql://...``.

    Raises:
        Unavailable: the database cannot be opened, or is newer than this program.
    """

    def __init__(self, where: str | Path) -> None:
        self.engine = _engine(where)
        self._reader, self._writer = _reading(self.engine), self.engine.execution_options(writing=True)
        try:
            with self._explained():
                self._bring_up_to_date()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of every connection. Safe to call twice; the next transaction opens one again."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Generator[Session]:
        """One transaction that sees one moment."""
        with self._explained(), Session(self._reader, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Generator[Session]:
        """One transaction that no other writer can come between; all of it is kept, or nothing."""
        with self._explained(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            _wait_for_writers(session.connection())
            yield session

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Turn the database's complaint into one a person can act on."""
        try:
            yield
        except IntegrityError as error:
            raise Refused(f"the catalog at {self.engine.url} refused: {error.orig}") from error
        except DBAPIError as error:
            raise Unavailable(f"the catalog at {self.engine.url} failed: {error.orig}{_help(error)}") from error
        except StatementError as error:
            raise Refused(f"the catalog cannot hold that: {error.orig}") from error
        except migrate.TooNew as error:
            raise Unavailable(f"{self.engine.url}: {error}") from error

    def _bring_up_to_date(self) -> None:
        with self.engine.connect() as connection:
            if migrate.version(connection) == migrate.HEAD:
                return
        with self._writer.begin() as connection:
            _wait_for_writers(connection)
            if migrate.version(connection) != migrate.HEAD:
                migrate.upgrade(connection)


def version_at(where: str | Path) -> str | None:
    """Return the version of the catalog that is there, or None when there is none yet. Changes nothing.

    Raises:
        Unavailable: it does not answer.
    """
    url = address(where)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return None
    engine = _engine(where)
    try:
        with engine.connect() as connection:
            return migrate.version(connection)
    except DBAPIError as error:
        raise Unavailable(f"the catalog at {url} failed: {error.orig}{_help(error)}") from error
    finally:
        engine.dispose()


def _help(error: DBAPIError) -> str:
    """What to do about it; empty when nobody knows."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    known = HELP.get(getattr(error.orig, "sqlstate", None) or "" if code is None else code & 0xFF)
    return f" ({known})" if known else ""


def address(where: str | Path) -> URL:
    """The address of a file or a server.

    Raises:
        Unavailable: it is none.
    """
    given = str(where)
    try:
        url = make_url(given) if "://" in given else make_url("sqlite://").set(database=str(Path(given).absolute()))
    except ArgumentError as error:
        raise Unavailable(f"{given.partition('://')[0]}://... is no address of a database") from error
    if url.drivername in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise Unavailable(f"{url} is neither a file, nor sqlite:///file, nor postgresql://user@host/name")
    return url


def _engine(where: str | Path) -> Engine:
    """Connect to a file or a URL; nothing is opened yet."""
    url = address(where)
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True)
    if url.database and not url.database.startswith("file:"):
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"the catalog's folder cannot be made: {error}") from error
    engine = create_engine(url, connect_args={"timeout": PATIENCE})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _reading(engine: Engine) -> Engine:
    """See one moment for a whole transaction, which SQLite does by itself."""
    postgresql = engine.dialect.name == "postgresql"
    return engine.execution_options(isolation_level="REPEATABLE READ") if postgresql else engine


def _prepare(connection: Any, _record: ConnectionPoolEntry) -> None:
    """SQLite keeps these promises only when each connection asks for them."""
    connection.isolation_level = None
    for promise in (
        f"busy_timeout={PATIENCE * 1000:.0f}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {promise}").close()


def _begin(connection: Connection) -> None:
    """Writers queue at the start: a reader that turns into a writer could only fail."""
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _wait_for_writers(connection: Connection) -> None:
    """Let one writer in at a time, on PostgreSQL too: what a writer has looked up then stays true until it is done.

    A writer that waits in vain fails after as long as SQLite's does.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITING})
