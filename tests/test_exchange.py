"""What goes out to other programs and comes in from them, with what the catalog says of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from appliance.exchange import CannotExport, CannotImport, export, import_lerobot
from appliance.home import Home
from ops.purge import CannotPurge, plan, purge
from storage import Edit, EditKind, Outcome, Task, Verdict, Wanted, check, lerobot, replay_buffer, robomimic, rows_of
from storage.replay_buffer import DIFFUSION_POLICY, Buffer
from storage.robomimic import Demonstrations
from tests.driven import drive

EVERY = Wanted(task="sort")
NEW, OLD = lerobot.Export(10), lerobot.Export(10, "2.1")


def silent(_done: int, _of: int) -> None:
    return


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Four takes: a success, one that dropped, one nobody judged, and one in quarantine."""
    home = Home(tmp_path / "home", str(tmp_path / "home/catalog.db"))
    home.folder.mkdir()
    with home.join() as catalog:
        catalog.add(Task(name="sort", instruction="sort the cubes"))
        ids = []
        for i in range(4):
            begun = f"2026-01-0{i + 1}T12:00:00+00:00"
            episode = drive(home.folder, seed=i, agent="person", operator="ada", ended_by="done", started=begun)
            catalog.add(*rows_of(episode, home.folder))
            ids.append(episode.id)
        catalog.add(Verdict(episode=ids[0], by="ada", outcome=Outcome.SUCCESS))
        catalog.add(Verdict(episode=ids[1], by="ada", outcome=Outcome.FAILURE, failure="DROP"))
        catalog.edit(Edit(episode=ids[3], kind=EditKind.QUARANTINE, by="ada", why="blurred"))
    return home


def lines(folder: Path) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = pq.read_table(folder / "meta/episodes").to_pylist()
    return said


def test_verdicts_go_out_as_a_column_and_what_is_in_quarantine_stays(home: Home, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    written = export(home, EVERY, tmp_path / "out", lerobot.write, NEW, lambda done, of: told.append((done, of)))
    assert written.episodes == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    said = lines(tmp_path / "out")
    assert [line["success"] for line in said] == [1, 0, -1]
    assert [line["failure"] for line in said] == [None, "DROP", None]
    assert {line["operator"] for line in said} == {"ada"}
    everything = export(
        home, Wanted(task="sort", quarantined=True), tmp_path / "bad", lerobot.write, lerobot.Export(10, "2.1"), silent
    )
    assert everything.episodes == 1


def test_a_trimmed_episode_goes_out_trimmed(home: Home, tmp_path: Path) -> None:
    with home.join() as catalog:
        first = catalog.find(EVERY)[0].row.id
        trim = {"start": 0.4, "end": 0.9}
        catalog.edit(Edit(episode=first, kind=EditKind.TRIM, value=trim, by="ada", why="idle"))
    export(home, EVERY, tmp_path / "out", lerobot.write, NEW, silent)
    assert [line["length"] for line in lines(tmp_path / "out")] == [5, 12, 12]


def test_nothing_is_purged_while_it_is_written(home: Home, tmp_path: Path) -> None:
    """It is told who writes it; once that is done, it goes."""
    with home.join() as catalog:
        first = catalog.find(EVERY)[0].row.id
        refused: list[str] = []

        def meanwhile(done: int, _of: int) -> None:
            if done == 1:
                catalog.edit(Edit(episode=first, kind=EditKind.RETIRE, by="ada"))
                with pytest.raises(CannotPurge) as error:
                    purge(catalog, home.folder, plan(catalog, home.folder), "ada")
                refused.append(str(error.value))

        export(home, EVERY, tmp_path / "out", lerobot.write, NEW, meanwhile)
        assert refused[0].startswith(f"the export to {tmp_path / 'out'} (process ")
        assert len(lines(tmp_path / "out")) == 3
        purge(catalog, home.folder, plan(catalog, home.folder), "ada")
        assert catalog.standing(first).purged


def test_every_form_is_written_from_the_catalog(home: Home, tmp_path: Path) -> None:
    export(home, EVERY, tmp_path / "out.zarr.zip", replay_buffer.write, Buffer(10, DIFFUSION_POLICY), silent)
    with zarr.storage.ZipStore(tmp_path / "out.zarr.zip", mode="r") as store:
        assert zarr.open_group(store, mode="r", zarr_format=2)["meta/episode_ends"][:].tolist() == [12, 24, 36]  # type: ignore[index,union-attr]  # it is an array
    export(home, EVERY, tmp_path / "out.hdf5", robomimic.write, Demonstrations(10), silent)
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert [demo.attrs["success"] for demo in file["data"].values()] == [1, 0, -1]
        assert file["data/demo_0/rewards"][-1] == 1


def test_an_export_that_cannot_be_says_why(home: Home, tmp_path: Path) -> None:
    with pytest.raises(CannotExport, match="no episode is like that"):
        export(home, Wanted(operator="bob"), tmp_path / "out", lerobot.write, NEW, silent)
    (tmp_path / "out").mkdir()
    with pytest.raises(CannotExport, match="is there already"):
        export(home, EVERY, tmp_path / "out", lerobot.write, NEW, silent)
    with pytest.raises(CannotExport, match=r"version '4\.0' is not known; there are 3\.0, 2\.1"):
        export(home, EVERY, tmp_path / "new", lerobot.write, lerobot.Export(10, "4.0"), silent)


def test_what_came_in_is_found_judged_and_not_brought_in_twice(home: Home, tmp_path: Path) -> None:
    export(home, EVERY, tmp_path / "out", lerobot.write, NEW, silent)
    other = Home(tmp_path / "other", str(tmp_path / "other.db"))
    done = import_lerobot(other, tmp_path / "out", "tidy", "bob", silent)
    assert len(done.new) == 3
    with other.join() as catalog:
        assert catalog.task("tidy").instruction == "put the red cube on the yellow pad"
        found = catalog.find(Wanted(task="tidy"))
        assert [each.standing.outcome for each in found] == [Outcome.SUCCESS, Outcome.FAILURE, None]
        assert [each.standing.failure for each in found] == [None, "DROP", None]
        assert [each.row.id for each in found] == done.new
        assert {(each.row.agent, each.row.operator) for each in found} == {("import", "ada")}
        assert [each.row.started.day for each in found] == [1, 2, 3]
        assert not any(check(other.folder / each.standing.path) for each in found)
        assert catalog.verdicts(done.new[0])[0].by == "import"
    again = import_lerobot(other, tmp_path / "out", "tidy", "bob", silent)
    assert (again.new, again.known) == ([], done.new)
    with other.join() as catalog:
        assert len(catalog.verdicts(done.new[0])) == 1


def test_an_import_that_was_stopped_goes_on_where_it_was(home: Home, tmp_path: Path) -> None:
    export(home, EVERY, tmp_path / "out", lerobot.write, NEW, silent)
    other = Home(tmp_path / "other", str(tmp_path / "other.db"))

    def stop(done: int, _of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_lerobot(other, tmp_path / "out", "tidy", "bob", stop)
    (other.folder / ".import-killed").mkdir()
    done = import_lerobot(other, tmp_path / "out", "tidy", "bob", silent)
    assert (len(done.known), len(done.new)) == (2, 1)
    assert [path.name for path in other.folder.iterdir()] == ["episodes"]


def test_an_episode_that_was_sealed_but_not_entered_is_entered(home: Home, tmp_path: Path) -> None:
    """Stopped between the rename and the transaction: the next import finds it on the disk."""
    export(home, EVERY, tmp_path / "out", lerobot.write, NEW, silent)
    other = Home(tmp_path / "other", str(tmp_path / "other.db"))
    before = import_lerobot(other, tmp_path / "out", "tidy", "bob", silent)
    (tmp_path / "other.db").unlink()
    after = import_lerobot(other, tmp_path / "out", "tidy", "bob", silent)
    assert after.new == before.new


def test_an_episode_that_another_command_entered_still_gets_its_verdict(home: Home, tmp_path: Path) -> None:
    """Stopped between the rename and the transaction; whoever opens the home next enters what is on the disk."""
    export(home, EVERY, tmp_path / "out", lerobot.write, NEW, silent)
    other = Home(tmp_path / "other", str(tmp_path / "other.db"))
    other.folder.mkdir()
    with other.join() as catalog:
        catalog.add(Task(name="tidy", instruction="tidy up"))
    dataset = lerobot.open_dataset(tmp_path / "out")
    said = {"task": "tidy", "operator": "bob"}
    sealed = [lerobot.adopt(dataset, episode, other.folder, said).id for episode in dataset.episodes]
    with other.open(lambda _line: None) as catalog:
        assert catalog.known(sealed) == set(sealed)
        assert not catalog.last_verdicts(sealed)
        catalog.add(Verdict(episode=sealed[1], by="ada", outcome=Outcome.SUCCESS))
    for _ in range(2):
        done = import_lerobot(other, tmp_path / "out", "tidy", "bob", silent)
        assert (done.new, done.known) == ([], sealed)
        with other.join() as catalog:
            given = [[(each.by, each.outcome) for each in catalog.verdicts(episode)] for episode in sealed]
        assert given == [[("import", Outcome.SUCCESS)], [("ada", Outcome.SUCCESS)], []]


def test_a_broken_episode_stops_the_import_unless_it_may_be_left_out(home: Home, tmp_path: Path) -> None:
    export(home, EVERY, tmp_path / "out", lerobot.write, OLD, silent)
    (tmp_path / "out/videos/chunk-000/observation.images.front/episode_000001.mp4").unlink()
    other = Home(tmp_path / "other", str(tmp_path / "other.db"))
    with pytest.raises(CannotImport, match=r"episode 1: .*episode_000001\.mp4 is missing; 1 episodes before it are in"):
        import_lerobot(other, tmp_path / "out", "tidy", "bob", silent)
    done = import_lerobot(other, tmp_path / "out", "tidy", "bob", silent, leave_out_broken=True)
    assert (len(done.known), len(done.new)) == (1, 1)
    assert len(done.broken) == 1
    with pytest.raises(CannotImport, match="is no LeRobot dataset"):
        import_lerobot(other, tmp_path, "tidy", "bob", silent)


def test_a_failure_that_nobody_named_has_no_verdict_but_is_not_forgotten(home: Home, tmp_path: Path) -> None:
    export(home, EVERY, tmp_path / "out", lerobot.write, OLD, silent)
    path = tmp_path / "out/meta/episodes.jsonl"
    said = [json.loads(line) | {"failure": None} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in said))
    other = Home(tmp_path / "other", str(tmp_path / "other.db"))
    done = import_lerobot(other, tmp_path / "out", "tidy", "bob", silent)
    assert done.unnamed == done.new[1:2]
    export(other, Wanted(task="tidy"), tmp_path / "back", lerobot.write, NEW, silent)
    assert [line["success"] for line in lines(tmp_path / "back")] == [1, 0, -1]


def test_numbers_survive_the_way_out_in_and_out_again(home: Home, tmp_path: Path) -> None:
    export(home, EVERY, tmp_path / "out", lerobot.write, NEW, silent)
    other = Home(tmp_path / "other", str(tmp_path / "other.db"))
    import_lerobot(other, tmp_path / "out", "tidy", "bob", silent)
    shutil.rmtree(home.folder)
    export(other, Wanted(task="tidy"), tmp_path / "back", lerobot.write, NEW, silent)
    for number in range(3):
        here, there = (
            pq.read_table(tmp_path / name / f"data/chunk-000/file-00{number}.parquet") for name in ("out", "back")
        )
        assert here.schema.names == there.schema.names
        for name in here.schema.names:
            values = [np.array(table[name].to_pylist()) for table in (here, there)]
            assert values[0].tobytes() == values[1].tobytes(), name
