"""Windows come in batches, in an order that the seed fixes, however many threads prepare them."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from learners import Windows
from learners.data import Batch
from learners.loading import fetched, loader
from tests.lessons import record
from tests.windowed import cut, devices, same


@pytest.fixture
def data(tmp_path: Path) -> Windows:
    return cut([record(tmp_path / str(i), *devices(1.0, seed=10 * i)).path for i in range(3)], hz=10)


def numbered(data: Windows) -> Windows:
    """The same windows, whose key frames tell their numbers."""
    return replace(data, key=np.arange(len(data), dtype="f4")[:, None].repeat(9, 1))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_window_comes_once_in_a_pass_whatever_the_number_of_workers(workers: int, data: Windows) -> None:
    assert len(data) == 30
    for batch in (3, 10):
        batches = loader(numbered(data), batch, 5, workers)
        passes = [
            np.concatenate([each.key[:, 0].numpy() for each in islice(batches, 30 // batch)]).astype(int)
            for _ in range(3)
        ]
        assert [sorted(each) for each in passes] == [list(range(30))] * 3
        assert len({tuple(each) for each in passes}) == 3
        batches.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_neither_the_order_nor_a_byte(workers: int, data: Windows) -> None:
    alone, helped = loader(data, 4, 7, steps=20), loader(data, 4, 7, workers, steps=20)
    for one, another in zip(alone, helped, strict=True):
        same(one, another)
        assert one.instructions == another.instructions


def test_a_pass_that_does_not_fill_its_last_batch_shows_no_window_twice(data: Windows) -> None:
    seen = [int(number) for each in loader(numbered(data), 4, 0, steps=7) for number in each.key[:, 0]]
    assert len(seen) == len(set(seen)) == 28


def test_another_seed_is_another_order_and_the_same_one_the_same(data: Windows) -> None:
    def drawn(seed: int) -> list[float]:
        return [float(number) for each in loader(numbered(data), 9, seed, steps=3) for number in each.key[:, 0]]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize("workers", [0, 2])
def test_whoever_begins_later_sees_what_would_have_come(workers: int, data: Windows) -> None:
    whole = list(loader(data, 4, 3, steps=17))
    for one, another in zip(whole[10:], loader(data, 4, 3, workers, first=10, steps=17), strict=True):
        same(one, another)


def test_only_some_windows_and_only_a_share_of_each_batch(data: Windows) -> None:
    learn = np.arange(5, 25)
    halves = [loader(numbered(data), 4, 3, learn=learn, share=slice(place, None, 2), steps=5) for place in range(2)]
    seen = [sorted(int(n) for each in half for n in each.key[:, 0]) for half in halves]
    assert [len(each) for each in seen] == [10, 10]
    assert sorted(seen[0] + seen[1]) == learn.tolist()


def test_leaving_early_leaves_neither_thread_nor_process(data: Windows) -> None:
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = threading.enumerate(), children.read_text()
    batches = loader(data, 4, 0, 3)
    next(batches)
    assert len(threading.enumerate()) > len(before[0])
    batches.close()
    assert (threading.enumerate(), children.read_text()) == before


def test_only_a_few_batches_are_prepared_ahead(data: Windows) -> None:
    asked: list[int] = []

    def picks() -> Iterator[NDArray[np.intp]]:
        for number in range(30):
            asked.append(number)
            yield np.array([number])

    batches = fetched(data, picks(), workers=2)
    for number in range(1, 4):
        next(batches)
        assert len(asked) == number + 4
    batches.close()


def test_leaving_does_not_wait_for_what_nobody_began(data: Windows) -> None:
    asked: list[int] = []
    go = threading.Event()

    class Slow(Windows):
        def batch(self, index: NDArray[np.intp]) -> Batch:
            asked.append(len(index))
            if len(asked) > 1:
                go.wait()
            return super().batch(index)

    batches = loader(Slow(**vars(data)), 2, 0, 1)
    next(batches)
    timer = threading.Timer(0.2, go.set)
    timer.start()
    batches.close()
    timer.join()
    assert len(asked) <= 2
