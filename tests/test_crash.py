"""Whatever kills the recorder, and whenever: no row that was taken is lost, and every sealed episode is whole."""

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from storage import Catalog, Episode, EpisodeWriter, Lossless, Task, Wanted, reconcile, recover
from storage.log import HEADER, Log, Records
from tests.said import episode
from tests.victims import SAID, STREAMS, Victim, assert_nothing_lost, take, taken


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    program = Victim()
    yield program
    program.close()


def test_dying_at_any_step_of_recording_and_sealing_loses_nothing(tmp_path: Path, victim: Victim) -> None:
    step, died = 0, True
    while died:
        step += 1
        said = victim.run("one", tmp_path / str(step), step)
        died = said[-1] == ["DEAD", str(-signal.SIGKILL)]
        assert_nothing_lost(tmp_path / str(step), taken(said))
    assert step > 30, "the program never got far enough to seal"


def test_dying_at_any_step_of_recovery_loses_nothing(tmp_path: Path, victim: Victim) -> None:
    step, died = 0, True
    while died:
        step += 1
        root = tmp_path / str(step)
        with EpisodeWriter(root, STREAMS, SAID, Lossless()) as writer:
            for tick in range(3):
                take(writer, tick)
        died = victim.run("recover", root, step)[-1] == ["DEAD", str(-signal.SIGKILL)]
        assert_nothing_lost(root, {str(writer.id): 3})
        assert Episode(root / "episodes" / f"{writer.id}.zarr").attributes["recovered"] is True
    assert step > 20, "recovery had nothing to do"


def test_any_damaged_byte_ends_the_log_where_it_is(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    for t in range(3):
        log.append(t, bytes([t] * 8))
    log.close()
    content, size = (tmp_path / "log").read_bytes(), HEADER.size + 8
    for place in range(len(content)):
        (tmp_path / "log").write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with Records(tmp_path / "log") as left:
            assert [record.t for record in left.index] == list(range(place // size)), place


def test_a_whole_record_in_the_wrong_place_ends_the_log(tmp_path: Path) -> None:
    """A disk may leave an older page where a newer one should be."""
    log = Log(tmp_path / "log")
    for t in range(3):
        log.append(t, bytes([t] * 8))
    log.close()
    content = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(content + content[: HEADER.size + 8])
    with Records(tmp_path / "log") as left:
        assert [record.t for record in left.index] == [0, 1, 2]
        assert left.end == len(content)


def test_a_take_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, SAID) as writer:
        take(writer, 0)
        assert recover(tmp_path) == []
        take(writer, 1)
    (found,) = recover(tmp_path)
    assert found.rows == {"arm": 4, "front": 2}


def test_a_take_that_was_left_is_free_though_a_forked_child_lives_on(tmp_path: Path) -> None:
    """A child inherits the lock, as a copy of the descriptor does; leaving the block lets go of it all the same."""
    with EpisodeWriter(tmp_path, STREAMS, SAID) as writer:
        take(writer, 0)
        assert writer._lock is not None
        inherited = os.dup(writer._lock)
    (found,) = recover(tmp_path)
    os.close(inherited)
    assert found.sealed is not None


def test_what_cannot_be_recovered_stays_and_is_told(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, SAID) as writer:
        pass
    staging = tmp_path / "staging"
    (staging / "holiday").mkdir()
    (staging / "note.txt").write_text("?")
    nameless = staging / f"{UUID(int=0)}.zarr"
    nameless.mkdir()
    told = {found.id: found.why for found in recover(tmp_path)}
    assert told[str(writer.id)] == "there is no whole row in it"
    assert "not named as a take is" in told["holiday"]
    assert "not a take" in told["note.txt"]
    assert "zarr.json" in told[str(UUID(int=0))]
    assert len(list(staging.iterdir())) == 4


def test_a_take_that_was_whole_and_then_changed_is_not_passed_on(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, SAID) as writer:
        take(writer, 0)
        sealed = writer.seal()
    staged = tmp_path / "staging" / sealed.path.name
    sealed.path.rename(staged)
    array = staged / "arm" / "q" / "c.0.0"
    array.write_bytes(array.read_bytes()[:-1])
    (found,) = recover(tmp_path)
    assert found.sealed is None
    assert "it was whole, but then arm/q/c.0.0 has" in found.why
    assert staged.exists()


def test_what_the_catalog_missed_is_added_from_what_the_episodes_say(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(Task(name="reach", instruction="reach the pose"))
    with EpisodeWriter(tmp_path, STREAMS, {**SAID, "condition": {"seed": 7}}) as cut:
        take(cut, 0)
    with EpisodeWriter(tmp_path, STREAMS, SAID) as writer:
        take(writer, 0)
        sealed = writer.seal({"ended_by": "done"})
    recover(tmp_path)
    added = {done.row.id: done.row for done in reconcile(tmp_path, catalog) if done.row is not None}
    assert added.keys() == {cut.id, sealed.id}
    assert (added[cut.id].recovered, added[cut.id].ended_by, added[cut.id].condition) == (True, "fault", {"seed": 7})
    assert (added[sealed.id].recovered, added[sealed.id].ended_by) == (False, "done")
    assert added[sealed.id] == catalog.episode(sealed.id)
    assert added[sealed.id].digest == sealed.digest
    assert tmp_path / added[sealed.id].path == sealed.path
    assert reconcile(tmp_path, catalog) == []


def test_what_repeats_another_episode_is_added_whatever_their_names(tmp_path: Path) -> None:
    """A catalog that was lost is made anew from the episodes, in the order of their ids."""
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(Task(name="reach", instruction="reach the pose"))
    made: list[UUID] = []
    for _ in range(6):
        follows = {"follows": str(made[-1])} if made else {}
        with EpisodeWriter(tmp_path, STREAMS, SAID | follows) as writer:
            take(writer, 0)
            made.append(writer.seal({"ended_by": "done"}).id)
    assert [done.why for done in reconcile(tmp_path, catalog)] == [""] * 6
    assert [catalog.episode(one).follows for one in made] == [None, *made[:-1]]


def test_what_cannot_be_added_to_the_catalog_is_told(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.db")
    for attributes in ({}, SAID | {"ended_by": "done"}):
        with EpisodeWriter(tmp_path, STREAMS, attributes) as writer:
            writer.seal()
    (tmp_path / "episodes" / "holiday").mkdir()
    told = sorted(done.why for done in reconcile(tmp_path, catalog))
    assert "does not say its agent, ended_by, started, task" in told[0]
    assert "not named as an episode is" in told[1]
    assert told[2] == "there is no task 'reach'; there are none yet"
    assert catalog.count(Wanted()) == 0


def test_of_what_the_catalog_knows_nothing_but_the_name_is_looked_at(
    tmp_path: Path, catalog: Catalog, where: str
) -> None:
    """However many there are: a start asks for their ids at once, and opens only what is new."""
    known = [episode(minute) for minute in range(3)]
    catalog.add(*known)
    for row in known:
        (tmp_path / row.path).mkdir(parents=True)
    assert catalog.ids() == {row.id.hex for row in known}
    assert reconcile(tmp_path, catalog) == []
    (tmp_path / "episodes" / "holiday").mkdir()
    with EpisodeWriter(tmp_path, STREAMS, SAID) as writer:
        take(writer, 0)
        sealed = writer.seal({"ended_by": "done"})
    asked = list[UUID]()

    class Heard(Catalog):
        """Says which episodes it was asked for one by one."""

        def known(self, episodes: Iterable[UUID]) -> set[UUID]:
            asked.extend(some := list(episodes))
            return super().known(some)

    with Heard(where) as heard:
        found = reconcile(tmp_path, heard)
    assert {done.path for done in found} == {sealed.path, tmp_path / "episodes" / "holiday"}
    assert asked == [sealed.id]
