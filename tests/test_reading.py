"""Nothing is taken away from under whoever reads it, and it is said who that is."""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from appliance.home import Home
from appliance.settings import learner
from appliance.train import train
from ops import compaction
from ops.purge import CannotPurge, plan, purge
from storage import Catalog, Edit, EditKind, EpisodeRow, Outcome, Verdict
from storage.reading import NOTES, BeingRead, reading, unread
from tests.takes import Take
from tests.typed import Type

HOLDER = """
import sys, uuid, pathlib
from storage.reading import reading
with reading(pathlib.Path(sys.argv[1]), "training ccol on stack", [uuid.UUID(sys.argv[2])]):
    print("reads", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def catalog(home: Path) -> Iterator[Catalog]:
    with Home(home, str(home / "catalog.db")).open() as opened:
        yield opened


@pytest.fixture
def row(home: Path, catalog: Catalog) -> EpisodeRow:
    """A take that went well."""
    sealed = Take().to("red_cube").record(home, camera=True)
    made = EpisodeRow(
        id=sealed.id,
        task="pick_place",
        agent="scripted",
        path=f"episodes/{sealed.path.name}",
        digest=sealed.digest,
        seconds=sealed.seconds,
        started=datetime(2026, 5, 1, 9, tzinfo=UTC),
    )
    catalog.add(made, Verdict(episode=sealed.id, by="ada", outcome=Outcome.SUCCESS))
    return made


def reader(root: Path, episode: UUID) -> "subprocess.Popen[str]":
    """Another program that reads an episode until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(root), str(episode)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "reads\n"
    return child


def learn(home: Path, tell: object, steps: int, **settings: str) -> None:
    """Train a small network; it looks at ``steps`` pictures, and unpacks them beforehand if that is worth it."""
    given = {"cameras": '["front"]', "batch": "1", "workers": "0", "tracker": "none", "held_out": "0", "warmup": "1"}
    how = learner("ccol", "tiny", given | {"steps": str(steps)} | settings)
    train(Home(home, str(home / "catalog.db")), "pick_place", "ccol", "tiny", how, tell)  # type: ignore[arg-type]  # a test's own


@pytest.mark.parametrize("steps", [2, 40])
def test_a_training_keeps_its_episodes_only_while_it_unpacks_them_as_it_goes(
    home: Path, catalog: Catalog, row: EpisodeRow, appliance: Type, steps: int
) -> None:
    """Another program is asked to purge at the first step. Few looks unpack as they go, many are unpacked before."""
    said: list[subprocess.CompletedProcess[str]] = []

    def tell(done: int, _of: int, _loss: float) -> None:
        if done == 1 and not said:
            catalog.edit(Edit(episode=row.id, kind=EditKind.RETIRE, by="ada"))
            command = [sys.executable, "-m", "appliance.cli", "purge", "--yes"]
            said.append(subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False))

    learn(home, tell, steps)
    unpacked = steps > 2
    assert said[0].returncode == (0 if unpacked else 1), said[0].stderr
    assert (home / row.path).exists() is not unpacked
    if not unpacked:
        who = f"training ccol on pick_place (process {os.getpid()}, since "
        assert who in said[0].stderr
        assert f"reads episode {row.id}; wait until that is done, or stop it" in said[0].stderr
        assert not catalog.standing(row.id).purged
        assert appliance("purge", "--yes").code == 0
    assert not (home / row.path).exists()
    assert list((home / NOTES).iterdir()) == []


def test_an_original_stays_while_another_program_reads_it(home: Path, catalog: Catalog, row: EpisodeRow) -> None:
    """Its copy is made all the same, and the next run goes on from there."""
    found = catalog.among([row.id])[row.id]
    with reader(home, row.id) as child:
        with pytest.raises(
            CannotPurge, match=rf"training ccol on stack \(process {child.pid}, since 2.* reads episode {row.id};"
        ):
            compaction.compact(catalog, home, found, "ada", remove_original=True)
        child.communicate()
    assert (home / row.path).exists()
    assert [edit.kind for edit in catalog.edits(row.id)] == ["compact"]
    assert compaction.compact(catalog, home, found, "ada", remove_original=True).removed


def test_a_program_that_was_killed_reads_nothing(home: Path, catalog: Catalog, row: EpisodeRow) -> None:
    catalog.edit(Edit(episode=row.id, kind=EditKind.RETIRE, by="ada"))
    with reader(home, row.id) as child:
        with pytest.raises(CannotPurge):
            purge(catalog, home, plan(catalog, home), "ada")
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert len(list((home / NOTES).iterdir())) == 1
        purge(catalog, home, plan(catalog, home), "ada")
    assert not (home / row.path).exists()
    assert list((home / NOTES).iterdir()) == []


def test_only_what_is_read_is_kept(tmp_path: Path) -> None:
    first, second, third = (uuid4() for _ in range(3))
    with reading(tmp_path, "training one", [first]), reading(tmp_path, "training two", [first, second]):
        with unread(tmp_path, [third]):
            pass
        with (
            pytest.raises(BeingRead, match=f"^training two .* reads episode {second};"),
            unread(tmp_path, [second, third]),
        ):
            pytest.fail("somebody reads the second")
        with pytest.raises(BeingRead) as refused, unread(tmp_path, [first, second]):
            pytest.fail("somebody reads both")
    assert "training one (process" in str(refused.value)
    assert f"reads episode {min(first, second)} and 1 more" in str(refused.value)
    with unread(tmp_path, [first, second, third]):
        pass


def test_nobody_begins_to_read_what_is_just_given_up(tmp_path: Path) -> None:
    """So that whoever begins finds in the catalog what was said of it."""
    episode, said = uuid4(), list[str]()

    def read() -> None:
        with reading(tmp_path, "training", [episode]):
            said.append("reads")

    thread = threading.Thread(target=read)
    with unread(tmp_path, [episode]):
        thread.start()
        thread.join(0.3)
        said.append("given up")
    thread.join()
    assert said == ["given up", "reads"]


def test_what_was_given_up_since_it_was_listed_is_read_where_it_is_now(
    home: Path, catalog: Catalog, row: EpisodeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An original goes in the instant before a training has said that it reads it."""
    import appliance.train as training

    found = catalog.among([row.id])[row.id]

    def late(*given: object) -> object:
        compaction.compact(catalog, home, found, "ada", remove_original=True)
        return reading(*given)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(training, "reading", late)
    learn(home, lambda *_: None, 2)
    assert not (home / row.path).exists()
    assert len(catalog.policies()) == 1


def test_a_note_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    """Of a full disk, an empty note would be left, which says nothing of what is read."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"), reading(tmp_path, "training", [uuid4()]):
            pytest.fail("its note could not be written")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert list((tmp_path / NOTES).iterdir()) == []
    with unread(tmp_path, [uuid4()]):
        pass
