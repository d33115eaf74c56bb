"""Deleting for good: only what was retired, only when a person says yes, and never anything else."""

import fcntl
import io
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from appliance.cli import main
from appliance.home import Home
from ops import purge
from ops.verify import Kind, verify
from storage import Catalog, Edit, EditKind, EpisodeRow, PolicyRow, Refused, Snapshot, Wanted
from storage.seal import alone, making_of
from tests.takes import Take

STARTED = datetime(2026, 5, 1, 9, tzinfo=UTC)


class Terminal(io.StringIO):
    """A person at a keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("APPLIANCE_DATABASE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def catalog(root: Path) -> Catalog:
    return Home(root, str(root / "catalog.db")).open()


@pytest.fixture
def record(root: Path, catalog: Catalog) -> Callable[[], EpisodeRow]:
    """Make a short take on the table; every one a minute later."""

    def take() -> EpisodeRow:
        sealed = Take().to("red_cube").record(root)
        number = catalog.count(Wanted(retired=None, purged=None))
        row = EpisodeRow(
            id=sealed.id,
            task="pick_place",
            agent="scripted",
            path=f"episodes/{sealed.path.name}",
            digest=sealed.digest,
            seconds=sealed.seconds,
            started=STARTED + timedelta(minutes=number),
        )
        catalog.add(row)
        return row

    return take


def retire(catalog: Catalog, *rows: EpisodeRow, days: float = 0) -> None:
    made = datetime.now(UTC) - timedelta(days=days)
    catalog.edit(*(Edit(episode=row.id, kind=EditKind.RETIRE, by="ada", why="test", made=made) for row in rows))


def run(*words: str) -> int:
    try:
        main(words)
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def left_on_disk(root: Path) -> set[str]:
    return {path.name for path in (root / "episodes").iterdir()}


def test_only_what_was_retired_goes(root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]) -> None:
    old, good = record(), record()
    retire(catalog, old)
    assert run("purge", "--yes", "--why", "a face is in view", "--operator", "ada") == 0
    assert left_on_disk(root) == {Path(good.path).name}
    assert catalog.standing(old.id).purged
    last = catalog.edits(old.id)[-1]
    assert (last.kind, last.by, last.why) == (EditKind.PURGE, "ada", "a face is in view")
    assert list(verify(catalog, root)) == []
    assert [found.row.id for found in catalog.find(Wanted(retired=None))] == [good.id]


def test_an_episode_that_is_not_retired_is_refused(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow], capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = record(), record()
    retire(catalog, bad)
    assert run("purge", str(bad.id), str(good.id), "--yes") == 1
    assert "is not retired; `appliance episodes retire` comes first" in capsys.readouterr().err
    assert len(left_on_disk(root)) == 2
    assert not catalog.standing(bad.id).purged


def test_what_was_restored_meanwhile_stays(root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]) -> None:
    """A person agreed to a list; what no longer is retired by then does not go, and neither does the rest."""
    first, second = record(), record()
    retire(catalog, first, second)
    planned = purge.plan(catalog, root)
    catalog.edit(Edit(episode=second.id, kind=EditKind.RESTORE, by="bob"))
    with pytest.raises(Refused, match="only what was retired is purged"):
        purge.purge(catalog, root, planned, "ada")
    assert len(left_on_disk(root)) == 2
    assert not catalog.standing(first.id).purged


@pytest.mark.parametrize(("typed", "code"), [("yes\n", 0), ("y\n", 1), ("\n", 1), ("no\n", 1)])
def test_it_asks_and_only_yes_is_yes(
    root: Path,
    catalog: Catalog,
    record: Callable[[], EpisodeRow],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    code: int,
) -> None:
    row = record()
    retire(catalog, row)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert run("purge") == code
    assert bool(left_on_disk(root)) == bool(code)
    said = capsys.readouterr().out
    assert "1 episodes, " in said
    assert str(row.id)[:8] in said


def test_without_a_terminal_it_refuses_to_guess(
    root: Path,
    catalog: Catalog,
    record: Callable[[], EpisodeRow],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    retire(catalog, record())
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert run("purge") == 1
    assert "--yes says yes for scripts" in capsys.readouterr().err
    assert len(left_on_disk(root)) == 1


def test_it_says_who_learned_from_what_would_go(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow], capsys: pytest.CaptureFixture[str]
) -> None:
    row, other = record(), record()
    frozen = catalog.snapshot("pick_place", catalog.among([row.id]).values())
    policy = PolicyRow(
        name="ccol-1", method="ccol", task="pick_place", snapshot=frozen.id, path="policies/x", digest="0"
    )
    catalog.add(
        policy, PolicyRow(name="ccol-2", method="ccol", task="pick_place", parent=policy.id, path="p", digest="0")
    )
    retire(catalog, row, other)
    assert run("purge", "--json") == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in said["episodes"]] == [str(row.id), str(other.id)]
    on_disk = sum(file.stat().st_size for file in (root / "episodes").rglob("*") if file.is_file())
    assert said["bytes"] == on_disk
    assert said["policies"] == ["ccol-1", "ccol-2"]
    assert said["snapshots"] == [frozen.id]
    assert len(left_on_disk(root)) == 2


def test_planning_asks_no_more_of_the_catalog_for_more_episodes(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]
) -> None:
    asked = list[str]()

    def questions() -> int:
        asked.clear()
        purge.plan(catalog, root)
        return len(asked)

    @event.listens_for(Engine, "before_cursor_execute")
    def hear(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    try:
        retire(catalog, record())
        few = questions()
        retire(catalog, record(), record())
        catalog.snapshot("pick_place", catalog.find(Wanted(retired=True)))
        assert questions() <= few + 2
        assert not [one for one in asked if "snapshot.episodes" in one]
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def test_only_what_was_retired_long_ago_goes(root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]) -> None:
    """It counts since when it is retired: one that was restored and retired again is young."""
    old, young, again = record(), record(), record()
    retire(catalog, old, again, days=40)
    retire(catalog, young, days=1)
    catalog.edit(Edit(episode=again.id, kind=EditKind.RESTORE, by="ada"))
    retire(catalog, again)
    assert run("purge", "--older-than", "30", "--yes") == 0
    assert left_on_disk(root) == {Path(young.path).name, Path(again.path).name}


def test_an_interrupted_purge_is_known_and_finished_by_the_next(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow], capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything is marked before anything is removed, so nothing is half there without being known."""
    rows = [record(), record(), record()]
    retire(catalog, *rows)

    def power_cut(_: purge.Doomed) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purge.purge(catalog, root, purge.plan(catalog, root), "ada", tell=power_cut)
    assert all(catalog.standing(row.id).purged for row in rows)
    assert len(left_on_disk(root)) == 2
    assert {finding.kind for finding in verify(catalog, root)} == {Kind.LEFTOVER}
    assert run("purge") == 0
    assert left_on_disk(root) == set()
    assert capsys.readouterr().out.count("which an interrupted run had left") == 2
    assert list(verify(catalog, root)) == []


def test_what_is_half_removed_is_not_brought_back(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]
) -> None:
    row = record()
    retire(catalog, row)
    catalog.edit(Edit(episode=row.id, kind=EditKind.PURGE, by="ada"))
    (root / row.path / "manifest.json").unlink()
    Home(root, str(root / "catalog.db")).open()
    assert catalog.standing(row.id).purged
    assert purge.leftovers(catalog, root) == [root / row.path]


def test_the_compact_copy_goes_too(root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]) -> None:
    row = record()
    copy = root / "compact" / f"{row.id}.zarr"
    copy.mkdir(parents=True)
    (copy / "rgb.mp4").write_bytes(b"film")
    value = {"path": f"compact/{copy.name}", "digest": "0", "bytes": 4}
    catalog.edit(Edit(episode=row.id, kind=EditKind.COMPACT, value=value, by="ada"))
    retire(catalog, row)
    assert run("purge", "--yes") == 0
    assert not copy.exists()
    assert left_on_disk(root) == set()


def copies_of(root: Path, row: EpisodeRow) -> list[Path]:
    """A copy that the catalog does not know of, and one half made."""
    whole = root / "compact" / f"{row.id}.zarr"
    half = making_of(whole)
    for folder, size in ((whole, 4), (half, 2)):
        folder.mkdir(parents=True)
        (folder / "rgb.mp4").write_bytes(b"film"[:size])
    return [whole, half]


def test_copies_go_that_the_catalog_never_heard_of(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]
) -> None:
    """Compacting was killed before it could say that there is one, or before there was one."""
    row, other = record(), record()
    copies, others = copies_of(root, row), copies_of(root, other)
    retire(catalog, row)
    (doomed,) = purge.plan(catalog, root).episodes
    assert {*doomed.folders} == {root / row.path, *copies}
    assert doomed.bytes == purge.size(root / row.path) + 6
    assert run("purge", "--yes") == 0
    assert {*(root / "compact").iterdir()} == {*others}
    assert left_on_disk(root) == {Path(other.path).name}


def test_copies_of_what_was_purged_are_left_over(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]
) -> None:
    row, other = record(), record()
    retire(catalog, row)
    assert run("purge", "--yes") == 0
    copies, others = copies_of(root, row), copies_of(root, other)
    assert {*purge.leftovers(catalog, root)} == {*copies}
    assert run("purge") == 0
    assert {*(root / "compact").iterdir()} == {*others}


def test_a_copy_that_is_being_made_is_waited_for_and_goes_too(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]
) -> None:
    row = record()
    retire(catalog, row)
    whole, half = root / "compact" / f"{row.id}.zarr", root / "compact" / f".making-{row.id}.zarr"
    with alone(half):
        planned = purge.plan(catalog, root)
        purging = threading.Thread(target=lambda: purge.purge(catalog, root, planned, "ada"), daemon=True)
        purging.start()
        purging.join(1)
        assert half.exists()
        (half / "film").mkdir()
        (half / "film").rename(whole)
    purging.join()
    assert list((root / "compact").iterdir()) == []


def test_unpacked_pictures_of_it_go_too_and_others_stay(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]
) -> None:
    row, other = record(), record()
    touched, untouched = (catalog.snapshot("pick_place", catalog.among([one.id]).values()) for one in (row, other))
    for snapshot in (touched, untouched):
        unpacked(root, snapshot)
    retire(catalog, row)
    assert run("purge", "--yes") == 0
    assert [path.name[:32] for path in (root / purge.CACHES).iterdir()] == [untouched.id]


def unpacked(root: Path, snapshot: Snapshot, rest: str = "-front-48x64-v1.npy") -> Path:
    path = root / purge.CACHES / f"{snapshot.id}{rest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"pixels")
    return path


def test_pictures_that_are_being_unpacked_stay_and_are_named(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow], capsys: pytest.CaptureFixture[str]
) -> None:
    row = record()
    frozen = catalog.snapshot("pick_place", catalog.among([row.id]).values())
    part = unpacked(root, frozen, "-front-48x64-v1.npy.part")
    retire(catalog, row)
    with part.open("rb") as training:
        fcntl.flock(training, fcntl.LOCK_EX)
        assert run("purge", "--yes") == 0
    said = capsys.readouterr().out
    assert f"{part} holds pictures of what was deleted" in said
    assert "`appliance caches drop`" in said
    assert left_on_disk(root) == set()


def test_pictures_go_that_were_unpacked_since_the_plan(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]
) -> None:
    """Of a snapshot that was not there when a person was asked."""
    row, other = record(), record()
    found = catalog.among([row.id, other.id])
    retire(catalog, row)
    planned = purge.plan(catalog, root)
    cache = unpacked(root, catalog.snapshot("pick_place", found.values()))
    assert purge.purge(catalog, root, planned, "ada") == []
    assert not cache.exists()


def test_a_purge_that_was_interrupted_before_the_pictures_went_is_finished(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow]
) -> None:
    row = record()
    cache = unpacked(root, catalog.snapshot("pick_place", catalog.among([row.id]).values()))
    retire(catalog, row)
    catalog.edit(Edit(episode=row.id, kind=EditKind.PURGE, by="ada"))
    assert run("purge") == 0
    assert not cache.exists()
    assert left_on_disk(root) == set()


def test_no_link_leads_out_of_the_data_folder(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow], tmp_path: Path
) -> None:
    """Neither a recording that is a link, nor a folder of recordings that is one, nor a link within a recording."""
    row, linked = record(), record()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("three years of work")
    (root / row.path / "link").symlink_to(outside)
    away = tmp_path / "away.zarr"
    (root / linked.path).rename(away)
    (root / linked.path).symlink_to(away)
    retire(catalog, row, linked)
    assert run("purge", "--yes") == 1
    assert (root / row.path).exists()
    assert not catalog.standing(row.id).purged
    assert run("purge", str(row.id), "--yes") == 0
    assert not (root / row.path).exists()
    assert (outside / "thesis.txt").exists()
    assert (away / "manifest.json").exists()


def test_a_folder_of_recordings_that_is_a_link_is_left_alone(
    root: Path, catalog: Catalog, record: Callable[[], EpisodeRow], tmp_path: Path
) -> None:
    row = record()
    (root / "episodes").rename(tmp_path / "big-disk")
    (root / "episodes").symlink_to(tmp_path / "big-disk")
    retire(catalog, row)
    assert run("purge", "--yes") == 1
    assert (tmp_path / "big-disk" / Path(row.path).name).exists()


@pytest.mark.parametrize("path", ["../outside", "/etc", "policies/x", "episodes", "episodes/a/b", "episodes/..", "."])
def test_a_path_that_is_no_recording_is_never_deleted(root: Path, path: str) -> None:
    """A catalog may come from somebody else."""
    with pytest.raises(purge.CannotPurge, match="is not a recording of"):
        purge.remove(root, root / path)


def test_purging_twice_is_refused_by_name_and_nothing_by_rule(
    catalog: Catalog, record: Callable[[], EpisodeRow], capsys: pytest.CaptureFixture[str]
) -> None:
    row = record()
    retire(catalog, row)
    assert run("purge", "--yes") == 0
    assert run("purge", str(row.id), "--yes") == 1
    assert "was purged before" in capsys.readouterr().err
    assert run("purge", "--yes") == 0
    assert "nothing to purge" in capsys.readouterr().out


def test_a_purged_episode_still_tells_its_story(
    catalog: Catalog, record: Callable[[], EpisodeRow], capsys: pytest.CaptureFixture[str]
) -> None:
    row = record()
    retire(catalog, row)
    run("purge", "--yes")
    capsys.readouterr()
    assert run("episodes", "show", str(row.id), "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [edit["kind"] for edit in shown["edits"]] == ["retire", "purge"]
    assert shown["standing"] == "purged"
    assert run("episodes", "view", str(row.id)) == 1
    assert "was purged; there is nothing left to look at" in capsys.readouterr().err
