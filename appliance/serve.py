"""The daemon: does the jobs of this data folder, on schedule or when asked, until somebody ends it."""

import functools
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType
from typing import Any

from appliance import night, work
from appliance.home import Home
from appliance.kinds import QUEUES, YIELDING
from appliance.planned import hourly
from appliance.refusal import Refusal
from ops import worker
from ops.jobs import QUEUES as ALL
from ops.jobs import JobFailed


class CannotServe(Refusal):
    """The daemon cannot begin. The message says why."""


@dataclass(frozen=True)
class Named:
    """A night's steps, done by jobs, whose failures name the step."""

    having: worker.Share

    def do(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Have a step done.

        Raises:
            StepFailed: it could not be.
        """
        return self.share(name, settings, 1)[0]

    def share(self, name: str, settings: dict[str, Any], ways: int) -> list[dict[str, Any]]:
        """Have a step done by several workers at once.

        Raises:
            StepFailed: it could not be.
        """
        try:
            return self.having(name, settings, ways)
        except JobFailed as error:
            raise night.StepFailed(name, str(error)) from error


def nightly(share: worker.Share, asked: dict[str, Any]) -> dict[str, Any]:
    """Have a night by jobs.

    Raises:
        JobFailed: it could not begin.
    """
    try:
        return night.night(Named(share), asked)
    except night.StepFailed as error:
        raise JobFailed(str(error)) from error


def serve(
    home: Home,
    name: str,
    queues: Sequence[str],
    tell: Callable[[str], None],
    lost: float = worker.LOST,
    host: str = "127.0.0.1",
    port: int | None = None,
) -> None:
    """Take jobs until Ctrl-C or SIGTERM; what is being done then is stored, and gone on with by the next one.

    Raises:
        CannotServe: a worker of that name lives already, or there is no such queue; or others gave this one up, so that
            it should begin anew.
    """
    if unknown := sorted(set(queues) - ALL.keys()):
        raise CannotServe(f"there is no queue {', '.join(unknown)}; there are: {', '.join(ALL)}")
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    if home.store:
        hourly(home, "share", "share", "serve")
    make = functools.partial(worker.Worker, home.folder, home.database, work.command, QUEUES, nightly)
    try:
        with ExitStack() as stack:
            working = stack.enter_context(make(queues=queues, yielding=YIELDING, name=name, lost=lost))
            if port is not None:
                from appliance import watch

                tell(stack.enter_context(watch.serve(home, host, port)))
            tell(f"Worker {name} takes jobs of {', '.join(queues)}. Ctrl-C ends it.")
            ended.wait()
            if working.given_up:
                raise CannotServe(
                    f"worker {name} stood still for so long that others took over what it was doing; it can begin anew"
                )
    except worker.AnotherWorker as error:
        raise CannotServe(str(error)) from error
