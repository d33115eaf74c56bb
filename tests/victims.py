"""Programs that are made to be killed, and one that starts them: it imports everything once, and forks."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from appliance.home import Home
from collectors import RecorderProcess, RecordingFailed
from storage import Catalog, Episode, EpisodeWriter, Lossless, check, recover, rows_of
from storage.timeline import Rows

ARM = np.dtype([("t", "<i8"), ("q", "<f8", (7,))])
CAMERA = np.dtype([("t", "<i8"), ("rgb", "u1", (32, 32, 3)), ("depth", "<u2", (32, 32)), ("exposure", "<f4")])
STREAMS: dict[str, np.dtype[np.void]] = {"arm": ARM, "front": CAMERA}
SAID = {
    "task": "reach",
    "agent": "person",
    "operator": "ada",
    "station": "table",
    "started": "2026-01-02T03:04:05+00:00",
}
TICKS = 30

BACKLOG = 1 << 20
"""Bytes that may wait for a recorder of its own."""

Whom = Literal["loop", "recorder", "both"]
Said = list[list[str]]


def arm(tick: int) -> Rows:
    """Two rows of the arm per tick, which tell the tick."""
    made = np.zeros(2, ARM)
    made["t"], made["q"] = [2 * tick, 2 * tick + 1], tick
    return made


def front(tick: int) -> Rows:
    dice = np.random.default_rng(tick)
    rgb, depth = dice.integers(0, 255, (32, 32, 3), np.uint8), dice.integers(0, 5000, (32, 32), np.uint16)
    return np.array([(2 * tick, rgb, depth, tick / 2)], CAMERA)


def take(writer: EpisodeWriter | RecorderProcess, tick: int) -> None:
    writer.append("arm", arm(tick))
    writer.append("front", front(tick))


def assert_whole(path: Path, rows: int, frames: int) -> int:
    """The episode is the beginning of what was given, at least so much of it, and nothing else. Return its frames."""
    assert check(path) == []
    episode = Episode(path)
    arms, fronts = episode.rows("arm"), episode.rows("front")
    assert len(arms) >= rows
    assert len(fronts) >= frames
    assert np.array_equal(arms, np.concatenate([np.zeros(0, ARM), *map(arm, range(len(arms) // 2))]))
    assert np.array_equal(fronts, np.concatenate([np.zeros(0, CAMERA), *map(front, range(len(fronts)))]))
    return len(fronts)


def taken(said: Said) -> dict[str, int]:
    """For every take that was started, how many ticks were taken."""
    ticks: dict[str, int] = {}
    for word, *rest in said:
        if word == "START":
            ticks[rest[0]] = 0
        elif word == "T":
            ticks[list(ticks)[-1]] = int(rest[0])
    return ticks


def state(root: Path) -> dict[str, Any]:
    """What there is, and since when; without the database, which is opened."""
    files = [path for path in root.rglob("*") if not path.name.startswith(("catalog.db", ".writable"))]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files if path != root}


def assert_nothing_lost(root: Path, ticks: dict[str, int]) -> None:
    """Recover, twice; every take that was started is now an episode with all it was given."""
    for found in recover(root):
        assert found.sealed is not None or ticks.get(found.id, 0) == 0, found
    before = state(root)
    assert all(found.sealed is None for found in recover(root))
    assert state(root) == before, "recovering again changed something"
    for name, count in ticks.items():
        if count:
            assert_whole(root / "episodes" / f"{name}.zarr", 2 * count, count)


def home(root: Path) -> Home:
    return Home(root, str(root / "catalog.db"))


# What the programs do; the tests kill them.


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


def collect(root: Path) -> None:
    """The same with a recorder of its own, telling also what that has written (T), and what the catalog knows."""
    catalog = Catalog(root / "catalog.db")
    with RecorderProcess(BACKLOG) as recorder:
        while True:
            try:
                name = recorder.begin(root, STREAMS, SAID, Lossless())
                say("START", name, recorder.pid)
                for tick in range(TICKS):
                    take(recorder, tick)
                    say("T", tick + 1, *recorder.written.values())
                    time.sleep(0.0005)
                say("SEALING", name)
                sealed = recorder.end({"ended_by": "done"})
            except RecordingFailed:
                recorder.leave()
                say("FAULT")
            else:
                say("SEALED", name, sealed.digest)
                catalog.add(*rows_of(Episode(sealed.path), root))
                say("ENTERED", name)


def one(root: Path) -> None:
    """Record one short take and seal it, dying on the way if `die_at` was called."""
    with EpisodeWriter(root, STREAMS, SAID, Lossless()) as writer:
        say("START", writer.id)
        for tick in range(3):
            take(writer, tick)
            say("T", tick + 1)
        writer.seal({"ended_by": "done"})


def reopen(root: Path) -> None:
    """Start the appliance, which recovers what the last crash left."""
    home(root).open(lambda _line: None)


PROGRAMS: dict[str, Callable[[Path], object]] = {
    "record": record,
    "collect": collect,
    "one": one,
    "recover": recover,
    "reopen": reopen,
}


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
    with tempfile.TemporaryDirectory() as warm:  # what opening a catalog imports is then in every child already
        home(Path(warm)).open().close()
    for line in sys.stdin:
        what, step, root = line.rstrip("\n").split(" ", 2)
        child = os.fork()
        if child == 0:
            say("PID", os.getpid())  # by itself: before whatever else it says
            if int(step):
                die_at(int(step))
            PROGRAMS[what](Path(root))
            os._exit(0)
        say("DEAD", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


class Victim:
    """A program that imports everything once, and then dies as often as it is asked to."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.victims"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,
        )
        self._heard = b""

    def run(self, what: str, root: Path, step: int = 0) -> Said:
        """Return what a program said until it ended; before its ``step``-th change of a file, if that is not 0."""
        self._start(what, root, step)
        return self._hear(_dead)

    def kill(self, what: str, root: Path, after: float, whom: Whom = "loop") -> Said:
        """Return what a program said until it was killed, ``after`` seconds past the start of its first take.

        When only its recorder is killed, it goes on until it has finished a take with another one.
        """
        self._start(what, root)
        self._hear(lambda said: any(word == "START" for word, *_ in said))
        said = self._hear(lambda _: False, seconds=after)
        loop, recorder = int(said[0][1]), _recorder(said)
        for pid in {"loop": [loop], "recorder": [recorder], "both": [loop, recorder]}[whom]:
            os.kill(pid, signal.SIGKILL)
        if whom == "recorder":
            self._hear(lambda said: any(word == "ENTERED" for word, *_ in _since_another(said, recorder)))
            os.kill(loop, signal.SIGKILL)
        said = self._hear(_dead)
        for pid in {int(words[2]) for words in said if words[0] == "START" and len(words) > 2}:
            wait_for_the_end_of(pid)
        return said

    def close(self) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        os.killpg(self._program.pid, signal.SIGKILL)  # whom a test left alive, too
        self._program.stdin.close()
        self._program.wait(30)
        self._program.stdout.close()

    def _start(self, what: str, root: Path, step: int = 0) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(f"{what} {step} {root}\n".encode())
        self._program.stdin.flush()
        self._heard = b""

    def _hear(self, enough: Callable[[Said], bool], seconds: float | None = None) -> Said:
        """Listen until it said enough, or for so many seconds."""
        assert self._program.stdout is not None
        deadline = time.monotonic() + (120 if seconds is None else seconds)
        while not enough(said := _lines(self._heard)):
            left = deadline - time.monotonic()
            if left <= 0:
                assert seconds is not None, f"it fell silent after {said[-3:]}"
                break
            if select.select([self._program.stdout], [], [], left)[0]:
                self._heard += os.read(self._program.stdout.fileno(), 1 << 16)
        return said


def wait_for_the_end_of(pid: int) -> None:
    """Wait until a program that is not ours to wait for has ended."""
    deadline = time.monotonic() + 30
    while _alive(pid):
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(0.002)


def _alive(pid: int) -> bool:
    """Whether any thread of it is left but the first, which waits for somebody to ask how it ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def _lines(heard: bytes) -> Said:
    """The whole lines of it, word by word."""
    return [line.split() for line in heard.decode().split("\n")[:-1]]


def _dead(said: Said) -> bool:
    return bool(said) and said[-1][0] == "DEAD"


def _recorder(said: Said) -> int:
    """The recorder of the last take that was started; 0 when it had none of its own."""
    return next((int(words[2]) for words in reversed(said) if words[0] == "START" and len(words) > 2), 0)


def _since_another(said: Said, recorder: int) -> Said:
    """What was said from the first take on that has another recorder."""
    starts = [i for i, words in enumerate(said) if words[0] == "START" and int(words[2]) != recorder]
    return said[starts[-1] :] if starts and _recorder(said) != recorder else []


if __name__ == "__main__":
    serve()
