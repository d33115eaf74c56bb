"""Do one piece of work in several processes, each with a cell of its own, and hear of it in this one."""

import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from appliance.refusal import Refusal, refusal
from appliance.session import Flag, ctrl_c

PATIENCE = 30.0
"""Seconds that workers get to end their takes after they were asked to."""


class Work[T](Protocol):
    """What each worker does. It has to be importable, so that another process can find it."""

    def __call__(self, worker: int, of: int, stop: Flag, tell: Callable[[T], None]) -> None: ...


class WorkerRefused(Refusal):
    """A worker refused, e.g. because the disk is full. The message is its own."""


class WorkerFailed(Exception):
    """A worker made a mistake, or its process died. The message tells how far it came."""


@dataclass(frozen=True)
class _Ended:
    """The last word of a worker: nothing, a refusal, or a mistake's traceback; all of it text."""

    worker: int
    refused: str | None = None
    mistake: str | None = None


def share[T](work: Work[T], workers: int, tell: Callable[[T], None]) -> bool:
    """Let ``workers`` processes do the work, and pass on what they tell. One worker needs no process.

    Ctrl-C asks them to end safely; a second one ends them at once, and what was being recorded is recovered later.

    Returns:
        Whether all of it was done; False when a person stopped it.

    Raises:
        WorkerRefused: a worker refused. The others were asked to stop, and have.
        WorkerFailed: a worker made a mistake, or its process died. The others were asked to stop, and have.
        Exception: what the only worker raised.
    """
    if workers == 1:
        alone = threading.Event()
        with ctrl_c(alone):
            work(0, 1, alone, tell)
        return not alone.is_set()
    context = multiprocessing.get_context("spawn")
    stop, said = context.Event(), context.Queue()
    started = [
        context.Process(target=_work, args=(work, worker, workers, stop, said), name=f"worker-{worker}")
        for worker in range(workers)
    ]
    # Ctrl-C reaches every process of a terminal, but only this one decides what it means.
    with ctrl_c(stop):
        try:
            with _threads_shared_among(workers), _deaf_to_ctrl_c():
                for process in started:
                    process.start()
            failed = _listen(started, stop, said, tell)
            if failed is None:
                return not stop.is_set()
        finally:
            _end(started, stop)
    if failed.refused is not None:
        raise WorkerRefused(failed.refused)
    raise WorkerFailed(failed.mistake)


def _listen[T](started: Sequence[BaseProcess], stop: Flag, said: Any, tell: Callable[[T], None]) -> _Ended | None:
    """Pass on what is told until every worker has had its last word. Returns the first that was no good."""
    left, failed = set(range(len(started))), None
    while left:
        dead = [worker for worker in left if started[worker].exitcode is not None]
        try:
            message = said.get(timeout=0.5)
        except queue.Empty:
            if not dead:
                continue
            message = _Ended(dead[0], mistake=_how(started[dead[0]]))
        if not isinstance(message, _Ended):
            tell(message)
            continue
        left.discard(message.worker)
        if failed is None and (message.refused or message.mistake):
            failed = message
            stop.set()
    return failed


def _how(process: BaseProcess) -> str:
    return f"{process.name} ended with code {process.exitcode} and said nothing (a negative code is a signal)"


def _end(started: Sequence[BaseProcess], stop: Flag) -> None:
    """Leave no process behind."""
    stop.set()
    until = time.monotonic() + PATIENCE
    running = [process for process in started if process.pid is not None]
    try:
        for process in running:
            process.join(max(0.0, until - time.monotonic()))
    finally:
        for process in running:
            if process.exitcode is None:
                process.terminate()
                process.join()


def _work(work: Work[Any], worker: int, of: int, stop: Flag, said: Any) -> None:
    """Run in the worker, to its last word. When the process that asked for the work dies, the work ends safely."""
    threading.Thread(target=_stop_when_alone, args=(stop,), daemon=True).start()
    try:
        work(worker, of, stop, said.put)
    except Exception as error:  # ruff: ignore[blind-except] - the process that asked for the work is told, and raises
        refused = refusal(error)
        said.put(_Ended(worker, refused, None if refused else f"in worker {worker}:\n{traceback.format_exc()}"))
    else:
        said.put(_Ended(worker))


def _stop_when_alone(stop: Flag) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop.set()


@contextmanager
def _deaf_to_ctrl_c() -> Generator[None]:
    """Processes started in this block never hear Ctrl-C, not even before their first line; this one hears it later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _threads_shared_among(workers: int) -> Generator[None]:
    """Processes started in this block use their share of the processor's cores, unless somebody chose otherwise."""
    chosen = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = chosen or str(max(1, (os.cpu_count() or 1) // workers))
    try:
        yield
    finally:
        if chosen is None:
            del os.environ["OMP_NUM_THREADS"]
