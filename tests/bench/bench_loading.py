"""Samples per second for training: two cameras and a chunk of 50 actions, at random moments, beside LeRobot's loader.

Both sides hold the same pictures and shuffle; LeRobot's workers are processes (its way), ours are threads. LeRobot
decodes with torchcodec, the faster of its two decoders, to uint8. Ours keeps a pixel's colours side by side
(channels last); a copy to separate planes would cost half a millisecond a frame.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench import ours, peer
from tests.bench.beside import Demand, in_turns, seconds, tell, tell_both
from tests.bench.content import BUILD, CAMERAS, FPS

EPISODES, CHUNK, BATCH = 4, 50, 8
SMALL = 224
MANY = 1000
HELD: dict[tuple[int | str | None, int], float] = {
    (None, 0): 4.0,
    (None, 2): 2.7,
    (SMALL, 0): 6.0,
    (SMALL, 2): 5.5,
    ("cache", 0): 40.0,
    ("cache", 2): 10.0,
}
"""Least ratio for each size and number of workers; the cache's pictures have the small size, LeRobot's their own."""


def main() -> None:
    """Print samples per second of both sides, for every size and number of workers, and their ratios."""
    from learners.loading import loader
    from storage.pictures import cached

    # Workers first: LeRobot's are forked, and would share the files that its decoders opened in this process.
    for workers in (2, 0):
        rates: dict[str, Callable[[], float]] = {}
        with ExitStack() as stack, tempfile.TemporaryDirectory(dir=BUILD) as folder:
            for name, size, keep in (("640", None, None), ("224", SMALL, None), ("cache", SMALL, Path(folder))):
                pixels = None if keep is None else lambda camera, pictures, k=keep: cached(k, camera, pictures)
                batches = loader(_windows(ours.dataset(EPISODES), size, pixels), BATCH, 5, workers)
                stack.callback(batches.close)
                rates[f"ours {name}"] = _rate(batches, workers, 40 if keep else 8)
            rates["peer 640"] = _rate(_peer(None, workers), workers, 4)
            rates["peer 224"] = _rate(_peer(SMALL, workers), workers, 4)
            figures = in_turns(rates)
        measures: list[tuple[str, str, int | str | None]]
        measures = [("640", "640", None), ("224", "224", SMALL), ("cache", "640", "cache")]
        for name, beside, what in measures:
            demand = Demand("ratio", "least", HELD[what, workers])
            title = f"loader {name}, workers {workers}"
            tell_both(title, "samples a second", figures[f"ours {name}"], figures[f"peer {beside}"], demand)
    _open_many()


def _windows(paths: list[Path], size: int | None, pixels: Callable[[str, Any], Any] | None = None) -> Any:
    """Windows as the peer cuts them: one state, a chunk of targets at the cameras' rate."""
    from learners.data import Windows
    from learners.senses import Senses
    from learners.transforms import JointView
    from storage import Episode

    senses = Senses(CAMERAS, size, history=1, spacing=1 / FPS)
    episodes = [Episode(path) for path in paths]
    told = [peer.TASK] * len(episodes)
    if pixels is None:
        return Windows.of(episodes, told, senses, JointView(), FPS, CHUNK)
    return Windows.of(episodes, told, senses, JointView(), FPS, CHUNK, pixels=pixels)


def _peer(resize: int | None, workers: int) -> Iterator[Any]:
    """LeRobot's dataset behind torch's loader, drawing moments at random for ever."""
    from torch.utils.data import DataLoader, Sampler

    class Drawn(Sampler[int]):
        def __iter__(self) -> Iterator[int]:
            return peer.for_ever(len(dataset))

    dataset = peer.opened(peer.dataset(EPISODES), CHUNK, resize)
    ahead: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": 2} if workers else {}
    return iter(DataLoader(dataset, batch_size=BATCH, sampler=Drawn(), num_workers=workers, **ahead))


def _rate(batches: Iterator[Any] | Generator[Any], workers: int, number: int) -> Callable[[], float]:
    """Samples per second over so many batches, after those that were prepared meanwhile."""

    def measure() -> float:
        for _ in range(2 * workers + 1):
            next(batches)
        whole = number * (1 + workers)
        return whole * BATCH / seconds(lambda: [next(batches) for _ in range(whole)])

    return measure


def _open_many() -> None:
    """Open a thousand episodes for training: windows cut, nothing unpacked."""
    few = ours.dataset(EPISODES)
    taken = [seconds(lambda: _windows((few * (MANY // len(few)))[:MANY], SMALL)) for _ in range(5)]
    tell(f"opening {MANY} episodes for training", "s", statistics.median(taken), None, Demand("ours", "most", 2.0))


if __name__ == "__main__":
    peer.prepare("tests.bench.bench_loading")
    began = time.perf_counter()
    main()
    sys.stdout.write(f"in {time.perf_counter() - began:.0f} s\n")
