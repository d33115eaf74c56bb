"""A catalog's tables move up and down through their versions with what is in them, on either database."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from storage import (
    Batch,
    Calibration,
    Catalog,
    EditKind,
    Labelling,
    Merge,
    Outcome,
    Snapshot,
    StationRow,
    Task,
    Trial,
    Unavailable,
    Wanted,
    WorkOrder,
    migrate,
)
from storage.models import Base
from tests.said import REACH, edit, episode, policy, streams, verdict

ROOT = Path(__file__).parent.parent
OLDEST = "0001"
JUMP = Task(name="jump", instruction="jump over it")


def go_down(catalog: Catalog, to: str = "base") -> None:
    with catalog._database.engine.execution_options(writing=True).begin() as connection:
        migrate.downgrade(connection, to)


def shape(catalog: Catalog) -> dict[str, list[str]]:
    """Every table's columns."""
    with catalog._database.engine.connect() as connection:
        looked = sa.inspect(connection)
        names = sorted(set(looked.get_table_names()) - {"alembic_version"})
        return {table: [column["name"] for column in looked.get_columns(table)] for table in names}


def contents(catalog: Catalog, columns: dict[str, list[str]] | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """What lies in all tables, or in these columns of some, as the database has it."""
    found = {}
    for table, names in (columns or shape(catalog)).items():
        query = sa.table(table, *(sa.column(name) for name in names)).select()
        with catalog._database.engine.connect() as connection:
            found[table] = sorted((tuple(row) for row in connection.execute(query)), key=repr)
    return found


def live_a_little(catalog: Catalog) -> None:
    """A task with judged and unjudged episodes, a snapshot, a policy and its child, and a batch."""
    catalog.add(JUMP)
    rows = [episode(0, operator="ada"), episode(1, operator="bob"), episode(2, operator="ada"), episode(3, task="jump")]
    catalog.add(*rows)
    catalog.add(verdict(rows[0], Outcome.FAILURE), verdict(rows[1]))
    catalog.add(verdict(rows[0], Outcome.SUCCESS), verdict(rows[2], Outcome.INVALID))
    good = catalog.find(Wanted(task="reach", outcome=Outcome.SUCCESS))
    frozen = catalog.snapshot("reach", good, "the good ones")
    first = policy("bc-1", snapshot=frozen.id)
    catalog.add(first, policy("bc-2", minute=1, parent=first.id))
    trial = Trial(batch="b", turn=0, task="reach", policy=first.id, condition={"seed": 1})
    catalog.plan(Batch(id="b", task="reach", station="table", seed=1, planned=1), [trial])


def live_on(catalog: Catalog) -> None:
    """Everything that only the newer tables can hold."""
    kept = catalog.calibrate(Calibration(station="table", device="front", values={"fx": 600.5}, by="ada"))
    part = [{"feature": "y", "low": 0.0, "high": 0.1, "words": "left"}]
    order = catalog.order(WorkOrder(task="reach", wanted=12, failure="DROP", part=part, evidence={"gain": 0.1}))
    catalog.fulfil(order.id, {"after": 0.9})
    trial = Trial(batch="again", turn=0, task="reach", policy=catalog.policy("bc-1").id)
    catalog.plan(Batch(id="again", task="reach", station="table", seed=1, planned=1, order=order.id), [trial])
    catalog.end_batch("again", "enough was seen")
    catalog.promote(catalog.policy("bc-1"), "ada", "the first", {"batch": "again"})
    row = episode(9, order=order.id, gap=0.1, bytes=2**40, station_digest="s")
    catalog.add(StationRow(digest="s", name="table", text="hz = 30"), row, *streams(row, front=kept.id))
    catalog.add(episode(10, follows=row.id))
    catalog.edit(edit(row, EditKind.TRIM, end=1.0), edit(row, EditKind.RELABEL, task="jump"))
    catalog.merge(Merge(task="jump", into="reach", by="ada"))
    catalog.snapshot("reach", catalog.find(Wanted(device="front")))
    codes = bytes(range(8))
    catalog.label(Labelling(artefact="a", episode=row.id, kind="k", start=2**40, period=1, shape=[2, 2], codes=codes))


def test_the_models_describe_exactly_the_tables_that_the_migrations_make(catalog: Catalog) -> None:
    with catalog._database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_tables_are_made_and_unmade_and_made_again(where: str) -> None:
    with Catalog(where) as catalog:
        go_down(catalog)
        with catalog._database.engine.connect() as connection:
            assert sa.inspect(connection).get_table_names() == ["alembic_version"]
            assert migrate.version(connection) is None
    with Catalog(where) as again:
        assert len(again.failure_modes()) == 13


def test_going_up_carries_the_old_catalog_over(where: str) -> None:
    """Verdicts become standings, names become operators, and the lists in snapshots become links."""
    with Catalog(where) as catalog:
        catalog.add(REACH)
        live_a_little(catalog)
        told = contents(catalog)
        go_down(catalog, OLDEST)
    with Catalog(where) as catalog:
        assert contents(catalog) == told

        stand = [(one.standing.outcome, one.standing.failure) for one in catalog.find(Wanted(task="reach"))]
        assert stand == [("success", None), ("success", None), ("invalid", "ENV")]
        assert [(one.name, one.since.minute) for one in catalog.operators()] == [("ada", 0), ("bob", 1)]
        assert [one.name for one in catalog.recall(operator="bob").policies] == ["bc-1", "bc-2"]
        live_on(catalog)


def test_going_down_keeps_everything_that_the_old_tables_can_hold(where: str) -> None:
    with Catalog(where) as catalog:
        catalog.add(REACH)
        live_a_little(catalog)
        go_down(catalog, OLDEST)
        old = shape(catalog)
    with Catalog(where) as catalog:
        live_on(catalog)
        before = contents(catalog, old)
        go_down(catalog, OLDEST)
        assert shape(catalog) == old
        assert contents(catalog, old) == before
        assert len(before["episode"]) == 6
    with Catalog(where) as catalog:
        assert contents(catalog, old) == before
        assert catalog.count(Wanted(task="reach")) == 5
        assert [len(one.episodes) for one in catalog.recall(station="").snapshots] == [2, 1]


def test_an_upgrade_that_fails_changes_nothing(where: str) -> None:
    with Catalog(where) as catalog:
        catalog.add(REACH)
        live_a_little(catalog)
        go_down(catalog, OLDEST)
        with catalog._database.engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE standing (somebody TEXT)"))
        before = contents(catalog), shape(catalog)
        with pytest.raises(Unavailable, match="standing"):
            Catalog(where)
        assert (contents(catalog), shape(catalog)) == before
        with catalog._database.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE standing"))
    with Catalog(where) as catalog:
        assert catalog.count(Wanted()) == 4


def test_a_snapshot_whose_episodes_are_not_in_the_catalog_is_carried_over(where: str) -> None:
    with Catalog(where) as catalog:
        catalog.add(REACH)
        go_down(catalog, OLDEST)
        with catalog._database.engine.begin() as connection:
            stray = Snapshot(id="s", task="reach", episodes=[["00000000-0000-4000-8000-000000000000", "d"]])
            values = {name: getattr(stray, name) for name in ("id", "task", "episodes", "query", "created")}
            connection.execute(sa.insert(Snapshot.__table__).values(values))  # type: ignore[arg-type]  # it is a table
    with Catalog(where) as catalog:
        assert contents(catalog)["snapshot_episode"] == []


def test_the_version_the_code_knows_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(ROOT / "storage" / "migrations")).get_current_head() == migrate.HEAD


def test_a_database_of_a_newer_program_is_refused(catalog: Catalog, where: str) -> None:
    with catalog._database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match=f"version 9999, this program knows versions up to {migrate.HEAD}; update"):
        Catalog(where)
