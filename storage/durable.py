"""Where durable jobs are kept: a file of their own beside the catalog, or the catalog's PostgreSQL server."""

from pathlib import Path
from typing import Any

import pysqlite3
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from storage.engine import PATIENCE, address


def jobs_at(folder: Path, database: str) -> tuple[str, Engine]:
    """The address of the jobs that belong to a data folder and its catalog, and how one connects to it.

    SQLite is a newer one than Debian's: jobs need 3.42 (``unixepoch('subsec')``).

    Raises:
        Unavailable: the catalog's address is none.
    """
    url = address(database)
    if url.get_backend_name() == "postgresql":
        return url.render_as_string(hide_password=False), create_engine(url, pool_pre_ping=True)
    folder.mkdir(parents=True, exist_ok=True)
    here = f"sqlite:///{folder / 'jobs.db'}"
    engine = create_engine(here, module=pysqlite3)
    event.listen(engine, "connect", _prepare)
    return here, engine


def _prepare(connection: Any, _record: ConnectionPoolEntry) -> None:
    """Writers queue from the start of their transaction, and what is committed stays when the power goes."""
    connection.isolation_level = "IMMEDIATE"
    for promise in (f"busy_timeout={PATIENCE * 1000}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {promise}").close()
