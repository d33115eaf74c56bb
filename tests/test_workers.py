"""Several processes at one piece of work: nothing is lost, nothing is left behind, and trouble is told."""

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.refusal import Refusal
from appliance.session import Flag
from appliance.workers import WorkerFailed, WorkerRefused, share

ROOT = Path(__file__).parent.parent


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
    os._exit(0)


def say_who(worker: int, of: int, stop: Flag, tell: Callable[[int], None]) -> None:
    """Tell the number of this process, then go on until asked to stop."""
    tell(os.getpid())
    while not stop.is_set():
        pass


def runs(process: int) -> bool:
    """Whether there is such a process, and it is no mere memory of one."""
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


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


def test_workers_end_when_the_process_that_started_them_is_killed() -> None:
    share_it = "share(say_who, 2, lambda pid: print(pid, flush=True))"
    program = f"from tests.test_workers import *\nif __name__ == '__main__': {share_it}"
    script = [sys.executable, "-c", program]
    with subprocess.Popen(script, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        assert all(runs(worker) for worker in workers)
        parent.kill()
    until = time.monotonic() + 30
    while any(runs(worker) for worker in workers) and time.monotonic() < until:
        os.sched_yield()
    assert not any(runs(worker) for worker in workers)
