"""What recording costs: paced takes of two 640 x 480 cameras at 30 Hz and an arm at 1 kHz, beside LeRobot's recorder.

Ours is the recorder's own process, fed through shared memory; LeRobot encodes when an episode is saved (its default)
or meanwhile (streaming), and is given a row of states with every frame. Processor time is that of this process and of
all it started.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import psutil

from tests.bench import ours, peer
from tests.bench.beside import ROUNDS, Demand, in_turns, seconds, tell, tell_both
from tests.bench.content import BUILD, CAMERAS, FPS, FRAMES, frames

STATE_HZ = 1000.0
TICKS = 10 * FPS
"""Ten seconds a take: the content, twice."""
MANY = 10_000
"""Episodes that are there already when a take ends."""


@dataclass
class Side:
    """One way to record, and what its rounds showed."""

    begin: Callable[[], object]
    hand: Callable[[int], object]
    """Hand over what a tick brought; it gets the tick's number."""
    end: Callable[[], object]
    """Finish the take and be ready for the next."""
    count: Callable[[], int]
    """How many frames of the last take can be read."""
    handing: list[float] = field(default_factory=list)
    """Seconds that the loop spent in every tick, handing over."""
    ready: list[float] = field(default_factory=list)
    """Seconds from the last tick until the next take can begin, every round."""
    kept: list[int] = field(default_factory=list)

    def __call__(self) -> float:
        """Record one paced take; return the processor time (s) of every frame that was kept."""
        self.begin()
        before, start = spent(), time.perf_counter()
        for i in range(TICKS):
            time.sleep(max(0.0, start + i / FPS - time.perf_counter()))
            began = time.perf_counter()
            self.hand(i)
            self.handing.append(time.perf_counter() - began)
        self.ready.append(seconds(self.end))
        took = spent() - before
        self.kept.append(self.count())
        return took / self.kept[-1]


def main() -> None:
    """Print processor time, what the loop feels, what was dropped, and when the next take can begin."""
    with tempfile.TemporaryDirectory(dir=BUILD) as folder, our_side(Path(folder)) as ours_:
        default, streaming = (peer_side(Path(folder), streaming) for streaming in (False, True))
        figures = in_turns({"ours": ours_, "streaming": streaming, "default": default})
    whole = TICKS * len(CAMERAS)
    for name, bound in (("streaming", 1 / 15), ("default", 1 / 30)):
        title = f"processor time of recording, beside {name}"
        tell_both(title, "s a frame kept", figures["ours"], figures[name], Demand("ratio", "most", bound))
    late = [float(np.percentile(side.handing, 99)) for side in (ours_, default)]
    tell("handing over a tick's rows, p99", "s", late[0], late[1], Demand("ours", "most", 0.002))
    for name, side in (("streaming", streaming), ("default", default)):
        dropped = [sum(whole - kept for kept in each.kept) for each in (ours_, side)]
        tell(f"frames dropped, beside {name}", "frames", dropped[0], dropped[1], Demand("ours", "most", 0))
    median = statistics.median
    tell(
        "from stop to ready",
        "s",
        median(ours_.ready),
        median(streaming.ready),
        Demand("ours", "most", 0.3),
    )
    after_many()


@contextmanager
def our_side(root: Path, takes: int = 0) -> Generator[Side]:
    """Our recorder and catalog, with so many episodes there before."""
    from collectors import RecorderProcess
    from collectors.process import room
    from storage import Catalog, Episode, Jpeg, Task, rows_of
    from tests.bench.bench_catalog import seed

    pictures = {camera: ours.camera_rows(frames(0, camera)) for camera in CAMERAS}
    states, ticks = ours.arm_rows(0, STATE_HZ, TICKS / FPS), ours.ticks(TICKS)
    per_tick = np.searchsorted(states["t"], ticks["t"], side="right")
    with Catalog(root / "catalog.db") as catalog, RecorderProcess(room(ours.STREAMS, FPS)) as recorder:
        if takes:
            seed(catalog, takes)
            (root / "episodes").mkdir()
            for _ in range(takes):
                (root / "episodes" / f"{uuid4()}.zarr").mkdir()
        catalog.add(Task(name=ours.SAID["task"], instruction=peer.TASK))

        def begin() -> UUID:
            return recorder.begin(root, ours.STREAMS, ours.SAID, Jpeg())

        def hand(i: int) -> None:
            for camera in CAMERAS:
                row = pictures[camera][i % FRAMES :][:1]
                row["seq"], row["t"], row["received"] = i, ticks["t"][i], ticks["t"][i]
                recorder.append(camera, row)
            recorder.append("arm", states[per_tick[i - 1] if i else 0 : per_tick[i]])
            recorder.append("ticks", ticks[i : i + 1])

        def end() -> None:
            taken.append(Episode(recorder.end({"ended_by": "done"}).path))
            catalog.add(*rows_of(taken[-1], root))
            begin()

        def count() -> int:
            return sum(len(taken[-1].frames(camera)) for camera in CAMERAS)

        taken: list[Episode] = []
        yield Side(begin, hand, end, count)


def peer_side(root: Path, streaming: bool) -> Side:
    """LeRobot's recorder, its data set open all the time as its own commands keep it."""
    recording = peer.Recording(root / f"peer-{streaming}", streaming)
    pictures, numbers = {camera: frames(0, camera) for camera in CAMERAS}, peer.numbers(0)

    def hand(i: int) -> None:
        k = i % FRAMES
        recording.add({camera: pictures[camera][k] for camera in CAMERAS}, numbers[k], numbers[k + 1])

    totals = [0]

    def count() -> int:
        totals.append(recording.frames_on_disk())
        return totals[-1] - totals[-2]

    return Side(lambda: None, hand, recording.save, count)


def after_many() -> None:
    """The same take when ten thousand episodes are there, and when none is: in turns, in one process."""
    with (
        tempfile.TemporaryDirectory(dir=BUILD) as empty,
        tempfile.TemporaryDirectory(dir=BUILD) as full,
        our_side(Path(empty)) as first,
        our_side(Path(full), MANY) as last,
    ):
        in_turns({"first": first, "last": last}, ROUNDS)
    after, before = (statistics.median(side.ready) for side in (last, first))
    tell(f"from stop to ready after {MANY} episodes, beside the first", "s", after, before, Demand("ours", "most", 0.3))


def spent() -> float:
    """Processor time (s) of this process and of everything it started, alive or ended."""
    here = psutil.Process()
    times = [here.cpu_times(), *(child.cpu_times() for child in here.children(recursive=True))]
    return float(sum(t.user + t.system for t in times) + times[0].children_user + times[0].children_system)


if __name__ == "__main__":
    peer.prepare("tests.bench.bench_recording")
    main()
