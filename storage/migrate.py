"""Bring a catalog's tables from any older version to this one. Alembic is imported only when there is work for it."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0007"
"""The version the models describe; written here so that opening a catalog does not need Alembic."""


class TooNew(Exception):
    """The database was written by a newer version of this program."""


def version(connection: Connection) -> str | None:
    """Return the version the database is at, or None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def upgrade(connection: Connection) -> None:
    """Bring the tables to `HEAD`, inside the connection's transaction.

    Raises:
        TooNew: the database is at a version this program has never heard of.
    """
    from alembic import command
    from alembic.script import ScriptDirectory

    settings = _settings(connection)
    known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
    found = version(connection)
    if found is not None and found not in known:
        raise TooNew(
            f"the catalog is at version {found}, this program knows versions up to {HEAD}; "
            "update this program, or point it at another catalog"
        )
    command.upgrade(settings, "head")


def downgrade(connection: Connection, to: str = "base") -> None:
    """Take the tables back to an older version. What they held is lost; the episodes on disk are not touched."""
    from alembic import command

    command.downgrade(_settings(connection), to)


def _settings(connection: Connection) -> "Config":
    from alembic.config import Config

    settings = Config(attributes={"connection": connection})
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    return settings
