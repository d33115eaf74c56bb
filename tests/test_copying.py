"""A catalog comes out of SQLite or PostgreSQL, and into the other, saying the same."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from storage import (
    Batch,
    Calibration,
    Catalog,
    Edit,
    EditKind,
    EpisodeRow,
    Labelling,
    Merge,
    Operator,
    Outcome,
    PolicyRow,
    Refused,
    StationRow,
    StreamRow,
    Task,
    Trial,
    Unavailable,
    Verdict,
    Wanted,
    WorkOrder,
)
from storage.copying import copy, same, says_nothing

BEGAN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def tell(where: str) -> None:
    """Say something of every kind, also what names a row of its own table that comes later in its order."""
    with Catalog(where) as catalog:
        catalog.add(Task(name="stack", instruction="stack them, zügig"), Task(name="pour", instruction="pour"))
        first, second = sorted((uuid4(), uuid4()))
        calibration = catalog.calibrate(Calibration(station="table", device="arm", values={"q": [0.1, 2]}, by="mika"))
        order = catalog.order(WorkOrder(task="stack", wanted=3, condition={"seed": 7}, why="it slips"))
        old = PolicyRow(name="bc-1", method="bc", task="stack", path="policies/a", digest="aa", metrics={"loss": 0.1})
        catalog.add(old)
        catalog.add(PolicyRow(name="bc-2", method="bc", task="stack", path="policies/b", digest="bb", parent=old.id))
        about: dict[str, Any] = {
            "task": "stack",
            "agent": "person",
            "seconds": 1 / 3,
            "started": BEGAN,
            "operator": "ada",
        }
        catalog.add(EpisodeRow(id=second, path="episodes/2", digest="22", order=order.id, bytes=5 << 40, **about))
        catalog.add(EpisodeRow(id=first, path="episodes/1", digest="11", follows=second, policy=old.id, **about))
        catalog.add(StreamRow(episode=first, name="arm", rows=3, calibration=calibration.id, hz=199.9))
        catalog.add(StationRow(digest="d", name="table", text="[device]\n"), Operator(name="mika"))
        catalog.add(Verdict(episode=first, by="ada", outcome=Outcome.FAILURE, failure="PREC", note="näher"))
        catalog.edit(Edit(episode=first, kind=EditKind.TRIM, value={"start": 0.1}, by="ada"))
        catalog.merge(Merge(task="pour", into="stack", by="ada"))
        catalog.snapshot("stack", catalog.find(Wanted(task="stack")))
        catalog.plan(
            Batch(id="b", task="stack", station="table", seed=1 << 40, planned=1),
            [Trial(batch="b", turn=0, task="stack", policy=old.id)],
        )
        catalog.label(
            Labelling(artefact="x", episode=first, kind="k", start=1, period=2, shape=[2], codes=b"\0\1\2\xff")
        )
        catalog.promote(old, "ada")
        catalog.fails_as("stack", "PREC.lid", "lid", "beside the lid")


@pytest.fixture
def other(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of the other kind than ``where``."""
    if "postgresql" in request.getfixturevalue("where"):
        yield f"sqlite:///{tmp_path}/other.db"
        return
    url: str = request.getfixturevalue("server")
    yield url
    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def test_a_catalog_goes_into_the_other_kind_and_back_and_can_be_gone_on_with(
    where: str, other: str, tmp_path: Path
) -> None:
    tell(where)
    copy(where, other)
    copy(other, tmp_path / "back.db")
    assert same(where, other)
    assert same(where, tmp_path / "back.db")
    with Catalog(other) as catalog:
        (order,) = catalog.orders()
        assert catalog.order(WorkOrder(task="stack", wanted=1)).id == order.id + 1
        found = {one.row.digest: one for one in catalog.find(Wanted())}
        assert found["11"].row.follows == found["22"].row.id
        assert found["11"].row.started == BEGAN
        assert found["11"].keep == (0.1, 1 / 3)
        child = catalog.policy("bc-2")
        assert child.parent == catalog.policy("bc-1").id
    assert not same(where, other)


def test_one_changed_word_is_told(tmp_path: Path) -> None:
    tell(f"{tmp_path}/one.db")
    copy(tmp_path / "one.db", tmp_path / "two.db")
    assert same(tmp_path / "one.db", tmp_path / "two.db")
    with closing(sqlite3.connect(tmp_path / "two.db")) as connection, connection:
        connection.execute("UPDATE verdict SET note = 'weiter'")
    assert not same(tmp_path / "one.db", tmp_path / "two.db")


def test_nothing_is_written_over_a_catalog(where: str, tmp_path: Path) -> None:
    tell(f"{tmp_path}/source.db")
    assert says_nothing(where)
    with Catalog(where) as catalog:
        assert says_nothing(where)
        catalog.add(Task(name="mine", instruction="keep me"))
    assert not says_nothing(where)
    with pytest.raises(Refused, match="holds a catalog already"):
        copy(tmp_path / "source.db", where)
    with Catalog(where) as catalog:
        assert [task.name for task in catalog.tasks()] == ["mine"]


def test_a_copy_is_of_one_moment_and_waits_for_no_writer(where: str, tmp_path: Path) -> None:
    """What is being written and not yet kept is not in it; what waits in SQLite's own log is."""
    with Catalog(where) as catalog:
        catalog.add(Task(name="stack", instruction="stack"))
        with catalog._database.write() as session:
            session.add(Task(name="half", instruction="not kept yet"))
            session.flush()
            copy(where, tmp_path / "two.db")
    with Catalog(tmp_path / "two.db") as found:
        assert [task.name for task in found.tasks()] == ["stack"]


@pytest.mark.parametrize(("place", "content", "said"), [(0, b"\xff" * 200, "malformed"), (3, b"\0\0", "is damaged")])
def test_a_damaged_catalog_is_not_copied(tmp_path: Path, place: int, content: bytes, said: str) -> None:
    tell(f"{tmp_path}/one.db")
    with closing(sqlite3.connect(tmp_path / "one.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'stream'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with (tmp_path / "one.db").open("r+b") as file:
        file.seek((page - 1) * size + place)
        file.write(content)
    with pytest.raises(Unavailable, match=said):
        copy(tmp_path / "one.db", tmp_path / "two.db")
    assert not (tmp_path / "two.db").exists()


def test_what_a_cut_copy_left_is_in_nobody_s_way(tmp_path: Path) -> None:
    tell(f"{tmp_path}/one.db")
    (tmp_path / "two.db.part").write_text("half")
    copy(tmp_path / "one.db", tmp_path / "two.db")
    assert same(tmp_path / "one.db", tmp_path / "two.db")
    assert not (tmp_path / "two.db.part").exists()


def test_moments_of_other_zones_are_the_same_moments(tmp_path: Path) -> None:
    for name, shift in (("one", 0), ("two", 5)):
        zone = timezone(timedelta(hours=shift))
        with Catalog(tmp_path / f"{name}.db") as catalog:
            catalog.add(StationRow(digest="d", name="table", text="", since=BEGAN.astimezone(zone)))
    assert same(tmp_path / "one.db", tmp_path / "two.db")
