"""Hand out windows in batches, in an order that a seed fixes, some of them prepared before they are asked for."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import numpy as np
from numpy.typing import NDArray

from learners.data import Examples, Movable


def loader[B: Movable](
    data: Examples[B],
    batch: int,
    seed: int,
    workers: int = 0,
    *,
    learn: NDArray[np.intp] | None = None,
    first: int = 0,
    steps: int | None = None,
    share: slice = slice(None),
    pin: bool = False,
) -> Generator[B, None, None]:
    """Hand out batches without end, or until ``steps``: whole passes, each shuffled by the seed and its number.

    Which windows a step shows depends on ``batch``, ``seed`` and the step alone, not on ``workers``, nor on the step
    that was ``first``. In a pass no window comes twice, and those that do not fill a batch wait for the next pass.

    Workers are threads: pictures are unpacked outside Python, so they run side by side, nothing is copied between
    processes or held twice, and closing the generator leaves none behind.

    Args:
        data: what is handed out.
        batch: windows in each.
        seed: which order.
        workers: how many batches are prepared at once; without any, each is when it is asked for.
        learn: numbers of the windows to hand out; all when it is None.
        first: the step to begin with.
        steps: the step to end before.
        share: the part of every batch that this process takes.
        pin: put the batches where a GPU reads them by itself.
    """
    drawn = order(np.arange(len(data)) if learn is None else learn, batch, seed, first)
    picks = (picked[share] for picked in drawn) if steps is None else (next(drawn)[share] for _ in range(first, steps))
    return fetched(data, picks, workers, pin)


def order(learn: NDArray[np.intp], batch: int, seed: int, first: int = 0) -> Iterator[NDArray[np.intp]]:
    """Windows of each step from ``first`` on: whole shuffled passes, cut into batches."""
    size = min(batch, len(learn))
    per_pass = len(learn) // size
    shuffled, turn = learn, -1
    for step in count(first):
        now, place = divmod(step, per_pass)
        if now != turn:
            shuffled, turn = np.random.default_rng((seed, now)).permutation(learn), now
        yield shuffled[place * size : (place + 1) * size]


def fetched[B: Movable](
    data: Examples[B], picks: Iterable[NDArray[np.intp]], workers: int = 0, pin: bool = False
) -> Generator[B, None, None]:
    """Batches of these windows, in this order, some of them prepared before they are asked for."""

    def fetch(picked: NDArray[np.intp]) -> B:
        found = data.batch(picked)
        return found.pinned() if pin else found

    if not workers:
        yield from map(fetch, picks)
        return
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(workers, "loader") as pool:
        try:
            for picked in picks:
                waiting.append(pool.submit(fetch, picked))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
