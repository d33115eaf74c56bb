"""Whatever kills the recorder, and whenever: no row that was taken is lost, and every sealed episode is whole."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from storage import Catalog, Episode, EpisodeWriter, Lossless, Task, Wanted, check, reconcile, recover
from storage.images import Image
from storage.log import HEADER, Log, Records
from storage.timeline import Rows

ARM = np.dtype([("t", "<i8"), ("q", "<f8", (7,))])
CAMERA = np.dtype([("t", "<i8"), ("rgb", "u1", (32, 32, 3)), ("exposure", "<f4")])
STREAMS: dict[str, np.dtype[np.void]] = {"arm": ARM, "front": CAMERA}
SAID = {
    "task": "reach",
    "agent": "person",
    "operator": "ada",
    "station": "table",
    "started": "2026-01-02T03:04:05+00:00",
}
TICKS = 30


def arm(tick: int) -> Rows:
    """Two rows of the arm per tick, which tell the tick."""
    made = np.zeros(2, ARM)
    made["t"], made["q"] = [2 * tick, 2 * tick + 1], tick
    return made


def image(tick: int) -> Image:
    return np.random.default_rng(tick).integers(0, 255, (32, 32, 3), np.uint8)


def front(tick: int) -> Rows:
    return np.array([(2 * tick, image(tick), tick / 2)], CAMERA)


def take(writer: EpisodeWriter, tick: int) -> None:
    writer.append("arm", arm(tick))
    writer.append("front", front(tick))


def assert_whole(path: Path, ticks: int) -> None:
    """The episode holds exactly what was taken, for at least ``ticks`` ticks, and nothing else."""
    assert check(path) == []
    episode = Episode(path)
    rows, frames = episode.rows("arm"), episode.rows("front")
    assert len(rows) >= 2 * ticks
    assert len(frames) >= ticks
    assert np.array_equal(rows, np.concatenate([np.zeros(0, ARM), *map(arm, range(len(rows) // 2))]))
    assert np.array_equal(frames, np.concatenate([np.zeros(0, CAMERA), *map(front, range(len(frames)))]))


# What the recording program does; the tests kill it.


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def record(root: Path) -> None:
    """Record takes without end, telling what was taken (T), what reached the disk (S), and what was sealed."""
    while True:
        with EpisodeWriter(root, STREAMS, SAID, Lossless()) as writer:
            say("START", writer.id)
            for tick in range(TICKS):
                take(writer, tick)
                say("T", tick + 1)
                if tick % 10 == 9:
                    writer.flush()
                    say("S", tick + 1)
            say("SEALING", writer.id)
            say("SEALED", writer.seal({"ended_by": "done"}).id)


def one(root: Path) -> None:
    """Record one short take and seal it, dying on the way if `die_at` was called."""
    with EpisodeWriter(root, STREAMS, SAID, Lossless()) as writer:
        say("START", writer.id)
        for tick in range(3):
            take(writer, tick)
            say("T", tick + 1)
        writer.seal({"ended_by": "done"})


def die_at(step: int) -> None:
    """Make this program kill itself just before the step-th time it makes, changes, renames or removes a file."""
    left = [step]

    def count(event: str, about: tuple[Any, ...]) -> None:
        changes = event == "open" and int(about[2]) & (os.O_WRONLY | os.O_RDWR)
        if changes or event in {"os.rename", "os.remove", "os.mkdir"}:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def serve() -> None:
    """For each line on the standard input, fork a program that does as it says."""
    for line in sys.stdin:
        what, step, root = line.rstrip("\n").split(" ", 2)
        child = os.fork()
        if child == 0:
            if int(step):
                die_at(int(step))
            {"record": record, "one": one, "recover": recover}[what](Path(root))
            os._exit(0)
        say("PID", child)
        say("DEAD", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


class Victim:
    """A program that imports storage once, and then dies as often as it is asked to."""

    def __init__(self) -> None:
        here = Path(__file__)
        self._program = subprocess.Popen(
            [sys.executable, str(here)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(here.parent.parent)},
        )

    def run(self, what: str, root: Path, step: int = 0, kill_after: float | None = None) -> list[list[str]]:
        """Return what it said, after it died of itself or was killed ``kill_after`` seconds past its first word."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(f"{what} {step} {root}\n".encode())
        self._program.stdin.flush()
        said, child, deadline = b"", 0, float("inf")
        while not said.endswith(b"\n") or b"DEAD" not in said:
            patience = max(0.0, min(30.0, deadline - time.monotonic()))
            if select.select([self._program.stdout], [], [], patience)[0]:
                said += os.read(self._program.stdout.fileno(), 1 << 16)
            if kill_after is not None and not child and said.count(b"\n") > 1:
                child = next(int(line.split()[1]) for line in said.split(b"\n") if line.startswith(b"PID"))
                deadline = time.monotonic() + kill_after
            if time.monotonic() >= deadline:
                os.kill(child, signal.SIGKILL)
                deadline = float("inf")
        return [line.split() for line in said.decode().split("\n") if line]

    def close(self) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.close()
        self._program.wait(30)
        self._program.stdout.close()


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    program = Victim()
    yield program
    program.close()


def taken(said: list[list[str]]) -> dict[str, int]:
    """For every take that was started, how many ticks were taken."""
    ticks: dict[str, int] = {}
    for word, *rest in said:
        if word == "START":
            ticks[rest[0]] = 0
        elif word in {"T", "S"} and ticks:
            ticks[list(ticks)[-1]] = int(rest[0])
    return ticks


def state(root: Path) -> dict[str, Any]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*")}


def assert_nothing_lost(root: Path, ticks: dict[str, int]) -> None:
    """Recover, twice; every take that was started is now an episode with all it was given."""
    for found in recover(root):
        assert found.sealed is not None or ticks.get(found.id, 0) == 0, found
    before = state(root)
    assert all(found.sealed is None for found in recover(root))
    assert state(root) == before, "recovering again changed something"
    for name, count in ticks.items():
        if count:
            assert_whole(root / "episodes" / f"{name}.zarr", count)


def test_twenty_kills_at_random_moments_lose_nothing(tmp_path: Path, victim: Victim) -> None:
    dice = random.Random(7)
    phases = {"append": 0, "seal": 0, "between": 0}
    for _ in range(20):
        said = victim.run("record", tmp_path, kill_after=dice.uniform(0, 0.15))
        last = next(words[0] for words in reversed(said) if words[0] not in {"DEAD", "PID"})
        phases["seal" if last == "SEALING" else "between" if last == "SEALED" else "append"] += 1
        assert_nothing_lost(tmp_path, taken(said))
    assert phases["append"] > 0
    assert phases["seal"] > 0


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


def damage(path: Path, kept: int, dice: random.Random) -> None:
    """Do to what comes after ``kept`` bytes what a power cut does: cut it off, or leave zeros or garbage in it."""
    content = bytearray(path.read_bytes())
    content = content[: dice.randint(kept, len(content))] if dice.random() < 0.5 else content
    for first in range(kept, len(content), 64):
        page = slice(first, min(first + 64, len(content)))
        luck = dice.random()
        if luck < 0.3:
            content[page] = bytes(page.stop - page.start)
        elif luck < 0.5:
            content[page] = dice.randbytes(page.stop - page.start)
    if dice.random() < 0.3:
        content += bytes(dice.randint(1, 5000))
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(20))
def test_a_torn_tail_costs_only_what_had_not_reached_the_disk(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with EpisodeWriter(tmp_path, STREAMS, SAID, Lossless()) as writer:
        for tick in range(5):
            take(writer, tick)
        writer.flush()
        logs = [path for path in (tmp_path / "staging").rglob("*") if path.is_file() and path.name != "zarr.json"]
        kept = {path: path.stat().st_size for path in logs}
        for tick in range(5, 9):
            take(writer, tick)
    for path in logs:
        damage(path, kept[path], dice)
    assert_nothing_lost(tmp_path, {str(writer.id): 5})


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


if __name__ == "__main__":
    serve()
