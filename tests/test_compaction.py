"""Smaller copies of what is old: the original stays until its copy is whole, catalogued, and asked to replace it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, event

from appliance.home import Home
from ops import compaction
from ops.verify import Kind, verify
from storage import Catalog, Edit, EditKind, Episode, EpisodeRow, StreamRow
from storage.arrays import write_array
from storage.manifest import MANIFEST, manifest_of
from tests.takes import Take
from tests.typed import Type

pytest.importorskip("av")

STARTED = datetime(2026, 5, 1, 9, tzinfo=UTC)


@pytest.fixture
def catalog(home: Path) -> Iterator[Catalog]:
    with Home(home, str(home / "catalog.db")).open() as opened:
        yield opened


def record(home: Path, catalog: Catalog, camera: bool = True, days: int = 0) -> EpisodeRow:
    """A take of the table, so many days after the first of May."""
    sealed = Take().to("red_cube").record(home, camera=camera)
    episode = Episode(sealed.path)
    row = EpisodeRow(
        id=episode.id,
        task="pick_place",
        agent="scripted",
        path=f"episodes/{sealed.path.name}",
        digest=sealed.digest,
        seconds=sealed.seconds,
        started=STARTED + timedelta(days=days),
    )
    streams = [
        StreamRow(episode=episode.id, name=name, rows=len(episode[name, "t"]), camera=name in episode.cameras)
        for name in episode.streams
    ]
    catalog.add(row, *streams)
    return row


def kinds(catalog: Catalog, row: EpisodeRow) -> list[str]:
    return [edit.kind for edit in catalog.edits(row.id)]


def compact(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Typed in a process of its own, since it takes a low priority for good."""
    command = [sys.executable, "-m", "appliance.cli", "compact", *words]
    root = Path(__file__).parent.parent
    return subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, check=False)


def test_a_copy_is_made_and_the_original_stays(home: Path, catalog: Catalog) -> None:
    row = record(home, catalog)
    before = Episode(home / row.path)
    done = compaction.compact(catalog, home, catalog.among([row.id])[row.id], "ada", "cold")
    assert not done.removed
    assert kinds(catalog, row) == ["compact"]
    copy = Episode(home / "compact" / f"{row.id}.zarr")
    assert (copy.id, copy.attributes["compacted"]["from"]) == (row.id, row.digest)
    assert np.array_equal(copy["arm", "q"], before["arm", "q"])
    assert copy.frames("front").shape == before.frames("front").shape
    assert catalog.standing(row.id).path == row.path
    assert list(verify(catalog, home)) == []


def test_the_command_removes_originals_only_when_asked(home: Path, catalog: Catalog, appliance: Type) -> None:
    rows = [record(home, catalog), record(home, catalog)]
    said = compact(home)
    assert said.returncode == 0, said.stderr
    assert "2 episodes: " in said.stdout
    assert "the originals stay" in said.stdout
    assert all((home / row.path).exists() for row in rows)
    said = compact(home, "--remove-originals", "--operator", "ada", "--why", "cold")
    assert said.returncode == 0, said.stderr
    assert not any((home / row.path).exists() for row in rows)
    assert [kinds(catalog, row) for row in rows] == [["compact", "cool"]] * 2
    assert list(verify(catalog, home)) == []
    shown = appliance("episodes", "show", str(rows[0].id), "--json").json
    assert shown["path"] == f"compact/{rows[0].id}.zarr"
    assert appliance("verify").code == 0
    assert "0 episodes" in compact(home, "--remove-originals").stdout


def test_what_cannot_be_compacted_is_in_no_others_way(home: Path, catalog: Catalog) -> None:
    """Night after night: one is missing, one has rotted, and one cannot even be opened."""
    missing, rotten, closed, good = (record(home, catalog, days=day) for day in range(4))
    (home / missing.path).rename(home / "elsewhere.zarr")
    victim = next((home / rotten.path / "arm" / "q").glob("c*"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    (home / closed.path / "zarr.json").write_text("{}")
    said = compact(home, "--remove-originals")
    assert said.returncode == 1
    assert "1 episodes: " in said.stdout
    assert "3 episodes could not be compacted" in said.stderr
    assert all(f"episode {row.id}: " in said.stderr for row in (missing, rotten, closed))
    assert "Traceback" not in said.stderr
    assert kinds(catalog, good) == ["compact", "cool"]
    assert (home / rotten.path).exists()


def test_what_is_young_retired_or_blind_is_left_alone(home: Path, catalog: Catalog) -> None:
    old, young = record(home, catalog), record(home, catalog, days=20)
    retired, blind = record(home, catalog), record(home, catalog, camera=False)
    catalog.edit(Edit(episode=retired.id, kind=EditKind.RETIRE, by="ada"))
    found = compaction.candidates(catalog, before=STARTED + timedelta(days=10))
    assert [one.row.id for one in found] == [old.id]
    assert {one.row.id for one in compaction.candidates(catalog)} == {old.id, young.id}
    with pytest.raises(compaction.CannotCompact, match="restore it first, or purge it"):
        compaction.candidates(catalog, [retired.id])
    with pytest.raises(compaction.CannotCompact, match="has no camera"):
        compaction.candidates(catalog, [blind.id])


def test_looking_for_what_is_left_asks_no_more_of_the_catalog_for_more_episodes(home: Path, catalog: Catalog) -> None:
    asked = list[str]()

    def questions() -> int:
        asked.clear()
        compaction.candidates(catalog)
        return len(asked)

    @event.listens_for(Engine, "before_cursor_execute")
    def hear(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    try:
        record(home, catalog)
        few = questions()
        record(home, catalog, days=1)
        record(home, catalog, camera=False, days=2)
        assert questions() == few
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


@pytest.mark.parametrize("what", ["*/*.mp4", "zarr.json"])
def test_a_damaged_copy_never_replaces_its_original(home: Path, catalog: Catalog, what: str) -> None:
    row = record(home, catalog)
    found = catalog.among([row.id])[row.id]
    compaction.compact(catalog, home, found, "ada")
    (victim,) = (home / "compact" / f"{row.id}.zarr").glob(what)
    victim.write_bytes(victim.read_bytes()[:-1] + b" ")
    with pytest.raises(compaction.CannotCompact, match="damaged, so the original stays"):
        compaction.compact(catalog, home, found, "ada", remove_original=True)
    assert (home / row.path).exists()
    assert kinds(catalog, row) == ["compact"]


def test_an_original_stays_when_its_copy_is_too_coarse(home: Path, catalog: Catalog) -> None:
    row = record(home, catalog)
    found = catalog.among([row.id])[row.id]
    with pytest.raises(
        compaction.CannotCompact,
        match=r"not good enough, so the original stays: its images of front are near .* to \d\d\.\d dB, at least 99 dB",
    ):
        compaction.compact(catalog, home, found, "ada", remove_original=True, least=99)
    assert (home / row.path).exists()
    assert kinds(catalog, row) == ["compact"]
    assert compaction.compact(catalog, home, found, "ada", remove_original=True).removed


def test_an_original_stays_when_its_copy_has_other_rows(home: Path, catalog: Catalog) -> None:
    """The copy is whole and catalogued; one number in it is another."""
    from storage.compact import compact as make

    row, other = record(home, catalog), record(home, catalog)
    changed = home / other.path
    q = Episode(changed)["arm", "q"].copy()
    q[3, 2] += 1e-9
    write_array(changed / "arm" / "q", q)
    (changed / MANIFEST).write_text(json.dumps(manifest_of(changed, {})))
    copy = home / "compact" / f"{row.id}.zarr"
    made = make(changed, copy)
    value = {"path": f"compact/{copy.name}", "digest": made.digest, "bytes": made.bytes}
    catalog.edit(Edit(episode=row.id, kind=EditKind.COMPACT, value=value, by="ada"))
    with pytest.raises(compaction.CannotCompact, match="its rows of arm are not the original's"):
        compaction.compact(catalog, home, catalog.among([row.id])[row.id], "ada", remove_original=True)
    assert (home / row.path).exists()
    assert kinds(catalog, row) == ["compact"]


def test_no_copy_is_made_of_a_damaged_original(home: Path, catalog: Catalog) -> None:
    row = record(home, catalog)
    victim = next((home / row.path / "arm" / "q").glob("c*"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    with pytest.raises(compaction.CannotCompact, match="a copy would hide that"):
        compaction.compact(catalog, home, catalog.among([row.id])[row.id], "ada")
    assert kinds(catalog, row) == []


def test_an_interruption_between_copy_and_catalog_is_gone_on_from(home: Path, catalog: Catalog) -> None:
    """The copy of an interrupted run is used when it is one of this recording; another's is never taken for it."""
    from storage.compact import compact as make

    row = record(home, catalog)
    found = catalog.among([row.id])[row.id]
    copy = home / "compact" / f"{row.id}.zarr"
    make(home / row.path, copy)
    os.utime(copy, (0, 0))
    assert {finding.kind for finding in verify(catalog, home)} == {Kind.ORPHAN}
    made = copy.stat().st_ino
    compaction.compact(catalog, home, found, "ada")
    assert copy.stat().st_ino == made
    assert list(verify(catalog, home)) == []

    other = record(home, catalog)
    strange = home / "compact" / f"{other.id}.zarr"
    make(home / row.path, strange)
    with pytest.raises(compaction.CannotCompact, match="move it away first"):
        compaction.compact(catalog, home, catalog.among([other.id])[other.id], "ada", remove_original=True)
    assert (home / other.path).exists()
    assert kinds(catalog, other) == []


def test_an_original_given_up_and_not_yet_removed_goes_with_the_next_run(home: Path, catalog: Catalog) -> None:
    row = record(home, catalog)
    compaction.compact(catalog, home, catalog.among([row.id])[row.id], "ada")
    catalog.edit(Edit(episode=row.id, kind=EditKind.COOL, by="ada"))
    assert {finding.kind for finding in verify(catalog, home)} == {Kind.LEFTOVER}
    said = compact(home, "--remove-originals")
    assert "which an interrupted run had left" in said.stdout
    assert not (home / row.path).exists()
    assert list(verify(catalog, home)) == []
