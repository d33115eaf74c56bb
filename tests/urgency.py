"""How urgent this thread is to the system, and what may leave it more urgent than it was."""

import os
from collections.abc import Generator
from contextlib import contextmanager


def urgency() -> tuple[int, int]:
    """The class and the priority at which this thread is scheduled."""
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


@contextmanager
def as_urgent_as_before() -> Generator[None]:
    """Run what may leave this thread more urgent: SVT-AV1, for root, has whoever opens a film go before everything."""
    scheduler, priority = urgency()
    try:
        yield
    finally:
        os.sched_setscheduler(0, scheduler, os.sched_param(priority))
