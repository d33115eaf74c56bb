"""What cannot be made again is copied, proved, kept, and comes back; whenever somebody is killed on the way."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from appliance.home import Home
from ops import carrying
from ops.backup import TOLD, CannotBackUp, remember, told
from ops.carrying import Busy, Item, Strange, held, within
from ops.restore import UNDER_WAY, CannotRestore
from ops.verify import verify
from storage import Catalog, PolicyRow, Wanted
from storage.copying import same
from tests.kept import backup, flip, killed, made, restore, retire_and_purge, take, tree


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("kept") / "home").folder


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Home:
    shutil.copytree(template, tmp_path / "home")
    return Home(tmp_path / "home", str(tmp_path / "home" / "catalog.db"))


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "backup"


def first(folder: Path, pattern: str) -> Path:
    return min(folder.glob(pattern))


def test_everything_comes_back_as_it_was(home: Home, to: Path, tmp_path: Path) -> None:
    done = backup(home, to).make()
    assert (done.copied, done.there, done.damaged) == (4, 4, ())
    into = tmp_path / "new"
    back = restore(to, into).make()
    assert (back.items, back.files, back.damaged) == (4, 2, {})
    assert tree(into) == tree(home.folder)
    assert same(home.database, into / "catalog.db")
    with Catalog(into / "catalog.db") as catalog:
        assert list(verify(catalog, into)) == []
    old, new = (folder / "reports/all/report.html" for folder in (home.folder, into))
    assert old.stat().st_mtime_ns == new.stat().st_mtime_ns
    assert not (into / UNDER_WAY).exists()


def test_codes_are_not_in_a_backup(home: Home, to: Path) -> None:
    backup(home, to).make()
    assert not any(b"abcd-efgh" in path.read_bytes() for path in to.rglob("*") if path.is_file())


def test_only_what_is_new_is_copied(home: Home, to: Path) -> None:
    backup(home, to).make()
    before = {path: path.stat().st_ino for path in to.rglob("*") if path.is_file() and "episodes" in path.parts}
    assert backup(home, to).make().copied == 0
    new = take(home, 7)
    done = backup(home, to).make()
    assert (done.copied, done.there) == (1, 5)
    assert (to / "episodes" / f"{new}.zarr").is_dir()
    assert all(path.stat().st_ino == number for path, number in before.items())
    assert sorted(told(to).items) == sorted(
        path.relative_to(home.folder).as_posix()
        for name in ("episodes", "policies")
        for path in (home.folder / name).iterdir()
    )


def test_a_page_that_was_written_again_replaces_the_one_before(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    page = home.folder / "reports/all/report.html"
    page.write_text("<p>better</p>")
    backup(home, to).make()
    restore(to, tmp_path / "new").make()
    assert (tmp_path / "new/reports/all/report.html").read_text() == "<p>better</p>"
    assert not any(path.read_bytes() == b"<p>good</p>" for path in (to / "files").iterdir())


def test_what_was_purged_stays_in_the_backup_and_goes_with_mirror(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    with home.join() as catalog:
        gone = catalog.find(Wanted())[0].row
    retire_and_purge(home, gone.id)
    (home.folder / "views/front.npy").unlink()
    assert backup(home, to).make().removed == 0
    assert (to / gone.path).is_dir()
    assert gone.path in told(to).items
    assert "views/front.npy" in told(to).files
    restore(to, tmp_path / "new").make()
    assert not (tmp_path / "new" / gone.path).exists()
    assert backup(home, to, mirror=True).make().removed == 1
    assert not (to / gone.path).exists()
    assert gone.path not in told(to).items
    assert "views/front.npy" not in told(to).files


def test_a_purge_during_a_backup_is_no_fault(home: Home, to: Path) -> None:
    with home.join() as catalog:
        *_, last = catalog.find(Wanted())

    def tell(_what: str, done: int, _of: int) -> None:
        if done == 0 and (home.folder / last.row.path).exists():
            retire_and_purge(home, last.row.id)

    done = backup(home, to, tell=tell).make()
    assert done.damaged == ()
    assert not (to / last.row.path).exists()
    assert last.row.path not in told(to).items


def test_an_episode_recorded_during_a_backup_waits_for_the_next(home: Home, to: Path, tmp_path: Path) -> None:
    def tell(_what: str, done: int, _of: int) -> None:
        if done == 1:
            take(home, 9)

    assert backup(home, to, tell=tell).make().there == 4
    restore(to, tmp_path / "new").make()
    with Catalog(tmp_path / "new/catalog.db") as catalog:
        assert list(verify(catalog, tmp_path / "new")) == []
        assert len(catalog.find(Wanted())) == 3


@pytest.mark.parametrize("what", ["episodes/*.zarr/arm/q/c*", "policies/*/weights.safetensors"])
def test_a_damaged_original_is_told_and_not_copied_and_the_rest_is(home: Home, to: Path, what: str) -> None:
    flip(first(home.folder, what))
    done = backup(home, to).make()
    assert (done.copied, done.there) == (3, 3)
    (said,) = done.damaged
    assert "has changed" in said
    assert told(to).damaged == done.damaged


def test_a_good_copy_outlives_its_original(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    flip(first(home.folder, "episodes/*.zarr/arm/q/c*"))
    assert backup(home, to).make().damaged == ()
    assert restore(to, tmp_path / "new").make().damaged == {}


def test_an_episode_that_the_disk_has_lost_is_told(home: Home, to: Path) -> None:
    shutil.rmtree(first(home.folder, "episodes/*.zarr"))
    done = backup(home, to).make()
    assert [said for said in done.damaged if "is in the catalog, not on disk" in said]
    assert done.there == 3


def test_a_copy_that_the_disk_does_not_hold_is_not_given_its_name(
    home: Home, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that says that it has written, and gives something else back."""
    asked = carrying.forget

    def lie(folder: Path) -> None:
        if folder.name.startswith("episodes"):
            flip(first(folder, "arm/q/c*"))
        asked(folder)

    monkeypatch.setattr(carrying, "forget", lie)
    with pytest.raises(CannotBackUp, match="what is there is something else"):
        backup(home, to).make()
    assert not list(to.glob("episodes/*"))


def test_what_rots_in_a_backup_is_found_and_copied_again_when_asked(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    flip(first(to, "episodes/*.zarr/arm/q/c*"))
    name = told(to).files["reports/all/report.html"][2]
    flip(to / "files" / name)
    back = restore(to, tmp_path / "new").make()
    assert len(back.damaged) == 2
    assert "has changed" in back.damaged[f"episodes/{first(to, 'episodes/*.zarr').name}"]
    assert "is not in the backup as it was" in back.damaged["reports/all/report.html"]
    assert backup(home, to).make().copied == 0
    assert backup(home, to, again=True).make().copied == 1
    assert restore(to, tmp_path / "newer").make().damaged == {}


def test_what_has_rotted_is_kept_until_there_is_a_better_copy(home: Home, to: Path) -> None:
    backup(home, to).make()
    for folder in (home.folder, to):
        flip(first(folder, "episodes/*.zarr/arm/q/c*"))
    done = backup(home, to, again=True).make()
    assert len(done.damaged) == 1
    assert len(list(to.glob("episodes/*"))) == 3


def test_a_backup_whose_list_is_damaged_is_begun_anew(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    (to / TOLD).write_text("{")
    with pytest.raises(CannotBackUp, match="cannot be read"):
        backup(home, to).make()
    assert backup(home, to, anew=True).make().copied == 0
    assert restore(to, tmp_path / "new").make().damaged == {}


def test_a_catalog_that_rots_in_a_backup_is_not_restored(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    flip(to / "files" / told(to).catalog)
    with pytest.raises(CannotRestore, match=r"catalog in .* has changed"):
        restore(to, tmp_path / "new").make()
    assert not (tmp_path / "new/catalog.db").exists()


def test_too_little_room_is_told_with_figures_before_anything_is_copied(home: Home, to: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotBackUp, match=r"4 things of 0\.00 GB are to be copied, and 0\.06 GB are free"):
        backup(home, to, room=lambda _: 60_000_000).make()
    assert [path.name for path in to.iterdir() if path.name not in {".lock", ".part"}] == []
    backup(home, to).make()
    with pytest.raises(CannotRestore, match=r"are to be restored, and 0\.06 GB are free"):
        restore(to, tmp_path / "new", room=lambda _: 60_000_000).make()


def test_a_disk_that_becomes_full_keeps_what_is_copied(home: Home, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, left = carrying.copy_file, [30]

    def full(source: Path, copy: Path) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, os.strerror(28), str(copy))
        return whole(source, copy)

    monkeypatch.setattr(carrying, "copy_file", full)
    with pytest.raises(CannotBackUp, match=r"is full .* go on with the same line"):
        backup(home, to).make()
    done = len(list(to.glob("episodes/*")))
    assert 0 < done < 3
    monkeypatch.setattr(carrying, "copy_file", whole)
    assert backup(home, to).make().copied == 4 - done


def test_two_backups_at_once_are_refused_and_so_is_a_restore_meanwhile(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    with held(to):
        with pytest.raises(CannotBackUp, match="another program is at work"):
            backup(home, to).make()
        with pytest.raises(CannotRestore, match="another program is at work"):
            restore(to, tmp_path / "new").make()
    with held(to, shared=True), held(to, shared=True), pytest.raises(Busy), held(to):
        pass


def test_a_backup_on_a_disk_that_cannot_be_written_to_can_be_restored(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    (to / ".lock").unlink()
    (to / ".lock").mkdir()  # as root may write everywhere: something that cannot be opened to be written to
    assert restore(to, tmp_path / "new").make().damaged == {}


def test_a_folder_with_something_else_is_no_place_for_a_backup(home: Home, to: Path) -> None:
    to.mkdir(parents=True)
    (to / "holiday.jpg").touch()
    with pytest.raises(CannotBackUp, match=r"holds something else \(holiday\.jpg\)"):
        backup(home, to).make()


@pytest.mark.parametrize("where", ["home/backup", "."])
def test_a_backup_and_its_data_folder_are_apart(home: Home, tmp_path: Path, where: str) -> None:
    with pytest.raises(CannotBackUp, match="lie within each other"):
        backup(home, tmp_path / where).make()


def test_the_backup_of_another_appliance_is_left_alone(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    before = tree(to)
    with pytest.raises(CannotBackUp, match="3 recordings that this catalog has never heard of"):
        backup(made(tmp_path / "other", 2), to, mirror=True).make()
    assert tree(to) == before


def test_a_disk_that_is_not_mounted_is_noticed(home: Home, to: Path) -> None:
    backup(home, to).make()
    remember(home.folder, "backup", to=str(to), ok=True)
    shutil.rmtree(to)
    to.mkdir()
    with pytest.raises(CannotBackUp, match="is its disk mounted"):
        backup(home, to).make()
    assert backup(home, to, anew=True).make().there == 4


def test_a_restore_writes_over_nothing(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    before = tree(home.folder)
    with pytest.raises(CannotRestore, match="is not empty"):
        restore(to, home.folder).make()
    assert tree(home.folder) == before
    with pytest.raises(CannotRestore, match="holds a catalog already"):
        restore(to, tmp_path / "new", database=home.database).make()
    with pytest.raises(CannotRestore, match="lie within each other"):
        restore(to, to / "new").make()


def test_what_is_no_backup_is_told(home: Home, to: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotRestore, match="no whole backup"):
        restore(tmp_path / "nothing", tmp_path / "new").make()
    backup(home, to).make()
    said = json.loads((to / TOLD).read_bytes())
    (to / TOLD).write_text(json.dumps(said | {"format": 2}))
    with pytest.raises(CannotRestore, match="a newer program made"):
        restore(to, tmp_path / "new").make()
    (to / TOLD).write_text("{")
    with pytest.raises(CannotRestore, match="cannot be read"):
        restore(to, tmp_path / "new").make()
    assert not (tmp_path / "new").exists()


def test_another_backup_does_not_go_on_with_what_this_one_began(home: Home, to: Path, tmp_path: Path) -> None:
    backup(home, to).make()
    backup(made(tmp_path / "other", 1), tmp_path / "second").make()
    assert killed(40, restore(to, tmp_path / "new"))
    with pytest.raises(CannotRestore, match="another backup than"):
        restore(tmp_path / "second", tmp_path / "new").make()


@pytest.mark.parametrize("path", ["/etc/passwd", "episodes/../../x.zarr", "episodes", "serving/code", "../x/y"])
def test_nothing_leads_out_of_a_data_folder(path: str) -> None:
    with pytest.raises(Strange, match="is in none of"):
        within(Path(path), ("episodes", "policies"))


def test_a_catalog_that_leads_elsewhere_is_refused(home: Home, to: Path, tmp_path: Path) -> None:
    with home.join() as catalog:
        catalog.add(PolicyRow(name="evil", method="x", task="pick_place", path="../outside", digest="00"))
    with pytest.raises(CannotBackUp, match="is in none of policies"):
        backup(home, to).make()


@pytest.fixture
def postgres(server: str) -> Iterator[str]:
    yield server
    with psycopg.connect(server) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def test_from_sqlite_to_postgresql_and_back(home: Home, to: Path, tmp_path: Path, postgres: str) -> None:
    backup(home, to).make()
    there = Home(tmp_path / "there", postgres)
    restore(to, there.folder, database=postgres).make()
    assert same(home.database, postgres)
    assert not (there.folder / "catalog.db").exists()
    with there.join() as catalog:
        assert list(verify(catalog, there.folder)) == []
    with pytest.raises(CannotRestore, match="server holds a catalog already"):
        restore(to, tmp_path / "again", database=postgres).make()
    new = take(there, 11)
    assert backup(there, to).make().copied == 1
    restore(to, tmp_path / "back").make()
    assert same(postgres, tmp_path / "back/catalog.db")
    assert (tmp_path / "back" / "episodes" / f"{new}.zarr").is_dir()


def test_a_restore_that_was_killed_when_the_server_had_all_of_it_is_ended(
    home: Home, to: Path, tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(home, to).make()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ops.restore.same", die)
        with pytest.raises(KeyboardInterrupt):
            restore(to, tmp_path / "new", database=postgres).make()
    assert (tmp_path / "new" / UNDER_WAY).exists()
    restore(to, tmp_path / "new", database=postgres).make()
    assert same(home.database, postgres)
    assert not (tmp_path / "new" / UNDER_WAY).exists()


@pytest.mark.parametrize("at", [3, 25, 60, 95, 120])
def test_a_backup_that_is_killed_is_gone_on_with(home: Home, to: Path, tmp_path: Path, at: int) -> None:
    """Before the first copy, within one, between two, at the catalog; the backup before is whole at any moment."""
    assert killed(at, backup(home, to))
    for path in to.glob("episodes/*.zarr"):
        assert not Item(path.name, json.loads((path / "manifest.json").read_bytes())["digest"], "", True).wrong(path)
    done = backup(home, to).make()
    assert (done.there, done.damaged) == (4, ())
    assert not (to / ".part").exists()
    assert not list((home.folder / "cache").glob("backup-*"))
    restore(to, tmp_path / "new").make()
    assert tree(tmp_path / "new") == tree(home.folder)
    assert same(home.database, tmp_path / "new/catalog.db")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_any_moment_a_backup_and_a_restore_lose_nothing(home: Home, tmp_path: Path) -> None:
    """Every fifth change of a file, until both come to their end."""
    whole, moment, kills = tmp_path / "whole", 1, 0
    backup(home, whole).make()
    while True:
        to, into = tmp_path / f"backup-{moment}", tmp_path / f"new-{moment}"
        cut = killed(moment, backup(home, to)), killed(moment, restore(whole, into))
        kills += sum(cut)
        assert backup(home, to).make().damaged == ()
        assert not list((home.folder / "cache").glob("backup-*"))
        back = into if not cut[1] else None
        if back is None:
            restore(whole, into).make()
        restore(to, tmp_path / f"again-{moment}").make()
        for found in (into, tmp_path / f"again-{moment}"):
            assert tree(found) == tree(home.folder)
            assert same(home.database, found / "catalog.db")
            shutil.rmtree(found)
        shutil.rmtree(to)
        if not any(cut):
            break
        moment += 5
    assert kills > 40


@pytest.mark.slow
def test_killed_over_and_over_a_backup_comes_to_its_end(home: Home, to: Path, tmp_path: Path) -> None:
    """Each life is a little longer than the one before; what one has copied, the next does not copy again."""
    lives = 0
    while killed(8 + 5 * lives, backup(home, to)):
        lives += 1
        assert lives < 100
    assert lives > 3
    restore(to, tmp_path / "new").make()
    assert tree(tmp_path / "new") == tree(home.folder)
