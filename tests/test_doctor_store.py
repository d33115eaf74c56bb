"""What the doctor says of the data folder, the disk, the catalog and what a crash left."""

import os
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from appliance.doctor import store
from appliance.doctor.finding import Level
from storage import Catalog
from storage.seal import lock, unlock
from tests.tree import lay, one


def test_a_folder_of_ours_is_fine_and_one_to_come_is_not_made(tmp_path: Path) -> None:
    assert one(store.folder(tmp_path, tmp_path)).level is Level.OK
    later = tmp_path / "not/yet"
    assert one(store.folder(later, tmp_path)).level is Level.OK
    assert one(store.speed(later, None)).level is not Level.BAD
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_everybody_can_change_is_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    found = one(store.folder(home, tmp_path))
    assert found.level is Level.WARN
    assert found.fix == f"chmod o-w {home}"


@pytest.mark.parametrize(("kind", "level"), [("ext4", Level.OK), ("tmpfs", Level.BAD), ("nfs4", Level.WARN)])
def test_the_disk_has_to_be_one_and_of_this_machine(tmp_path: Path, kind: str, level: Level) -> None:
    home = tmp_path / "a home"
    home.mkdir()
    place = str(home.resolve()).replace(" ", "\\040")
    lay(tmp_path, {"proc/mounts": f"/dev/sda1 / ext4 rw 0 0\nwhat {place} {kind} rw 0 0"})
    assert one(store.folder(home, tmp_path)).level is level


def test_of_what_is_mounted_over_each_other_the_last_counts(tmp_path: Path) -> None:
    lay(tmp_path, {"proc/mounts": "none / tmpfs rw 0 0\n/dev/sda1 / ext4 rw 0 0"})
    assert store.filesystem(tmp_path, tmp_path / "proc/mounts") == "ext4"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_bad(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert one(store.folder(tmp_path / "home", tmp_path)).level is Level.BAD


@pytest.mark.parametrize(
    ("gigabytes", "rate", "level"),
    [
        *((100, None, Level.OK), (5, None, Level.WARN), (0.5, None, Level.BAD)),
        *((100, 1e6, Level.OK), (100, 5e6, Level.WARN), (100, 50e6, Level.BAD)),
    ],
)
def test_room_is_counted_in_hours_of_what_is_recorded(
    tmp_path: Path, gigabytes: float, rate: float | None, level: Level
) -> None:
    found = one(store.space(tmp_path, rate, lambda _path: round(gigabytes * 1e9)))
    assert found.level is level
    assert (" hours of this station" in found.what) == (rate is not None)


@pytest.mark.parametrize(
    ("seconds", "rate", "level"),
    [(0.01, 1e6, Level.OK), (0.5, 5e6, Level.WARN), (0.5, 20e6, Level.BAD), (0.5, None, Level.WARN)],
)
def test_the_disk_has_to_keep_up_with_the_station(
    tmp_path: Path, seconds: float, rate: float | None, level: Level
) -> None:
    """A clock that says how long a piece took makes the disk as slow as one likes; 4.2 MB in 0.5 s are 8.4 MB/s."""
    moments = count(0.0, seconds)
    assert one(store.speed(tmp_path, rate, lambda: next(moments))).level is level
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_disk_that_stalls_is_told_though_it_is_fast_on_the_whole(tmp_path: Path) -> None:
    """One piece takes two seconds."""
    moments = iter([0.0, 0.01, 0.01, 2.01, *(2.01 + k * 0.001 for k in range(20))])
    found = one(store.speed(tmp_path, 1e6, lambda: next(moments)))
    assert found.level is Level.WARN
    assert "2000 ms" in found.what


def test_takes_that_were_cut_short_are_told_and_those_being_recorded_are_not(tmp_path: Path) -> None:
    assert one(store.leftovers(tmp_path)).level is Level.OK
    take = tmp_path / "staging" / f"{uuid4()}.zarr"
    take.mkdir(parents=True)
    held = lock(take)
    assert held is not None
    try:
        assert one(store.leftovers(tmp_path)).level is Level.OK
    finally:
        unlock(held)
    found = one(store.leftovers(tmp_path))
    assert found.level is Level.WARN
    assert take.name in found.what
    assert take.exists()


def test_a_catalog_to_come_is_fine_and_is_not_made(tmp_path: Path) -> None:
    assert one(store.catalog(str(tmp_path / "home/catalog.db"))).level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_an_older_catalog_is_told_and_stays_as_it_is(where: str) -> None:
    Catalog(where).close()
    assert one(store.catalog(where)).level is Level.OK
    engine = create_engine(where.replace("postgresql://", "postgresql+psycopg://"))
    for version, level in (("0001", Level.WARN), ("9999", Level.BAD)):
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": version})
        assert one(store.catalog(where)).level is level
        with engine.begin() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == version
    engine.dispose()


@pytest.mark.parametrize("where", ["postgresql://nobody@127.0.0.1:9/none", "redis://here"])
def test_a_catalog_that_does_not_answer_is_bad(where: str) -> None:
    assert one(store.catalog(where)).level is Level.BAD


def test_a_file_that_is_no_catalog_is_bad(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("this is a letter, not a database, and long enough to be read as one")
    assert one(store.catalog(str(tmp_path / "catalog.db"))).level is Level.BAD
