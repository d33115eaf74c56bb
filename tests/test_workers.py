"""Several processes at one piece of work: nothing is lost, nothing is left behind, and trouble is told."""

import functools
import multiprocessing
import os
import signal
from collections.abc import Callable

import pytest

from appliance.refusal import Refusal
from appliance.session import Flag
from appliance.workers import WorkerFailed, WorkerRefused, share


def count(most: int, worker: int, of: int, stop: Flag, tell: Callable[[int], None]) -> None:
    """Tell every ``of``-th number."""
    for number in range(worker, most, of):
        tell(number)


def forever(worker: int, of: int, stop: Flag, tell: Callable[[int], None]) -> None:
    """Tell that work has begun, then go on until asked to stop."""
    tell(worker)
    while not stop.is_set():
        pass


def refuse(worker: int, of: int, stop: Flag, tell: Callable[[int], None]) -> None:
    """The last worker refuses; the others would go on for ever."""
    if worker == of - 1:
        raise Refusal("the disk is full")
    forever(worker, of, stop, tell)


def trip(worker: int, of: int, stop: Flag, tell: Callable[[int], None]) -> None:
    raise ZeroDivisionError


def die(worker: int, of: int, stop: Flag, tell: Callable[[int], None]) -> None:
    os._exit(worker)


@pytest.mark.parametrize("workers", [1, 2])
def test_everything_that_workers_tell_arrives(workers: int) -> None:
    heard: list[int] = []
    assert share(functools.partial(count, 20), workers, heard.append)
    assert sorted(heard) == list(range(20))


def test_ctrl_c_asks_every_worker_to_end_and_says_that_not_all_was_done() -> None:
    heard: list[int] = []

    def both_have_begun(worker: int) -> None:
        heard.append(worker)
        if len(heard) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    assert not share(forever, 2, both_have_begun)
    assert multiprocessing.active_children() == []


def test_a_refusal_in_a_worker_is_a_refusal_here_and_stops_the_others() -> None:
    with pytest.raises(WorkerRefused, match="the disk is full"):
        share(refuse, 2, lambda _: None)
    assert multiprocessing.active_children() == []


def test_a_mistake_in_a_worker_comes_with_its_traceback() -> None:
    with pytest.raises(WorkerFailed, match=r"in trip\n.*raise ZeroDivisionError"):
        share(trip, 2, lambda _: None)


def test_a_worker_that_dies_without_a_word_is_noticed() -> None:
    with pytest.raises(WorkerFailed, match="ended with code 0 and said nothing"):
        share(die, 2, lambda _: None)
