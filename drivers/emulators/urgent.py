"""Emulators go first: they stand for machines of their own, which would not wait for this one's other work."""

import os
from contextlib import suppress


def urgently() -> None:
    """Let this thread and those it starts go first on a busy machine, where the system allows it."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))


def calmly() -> None:
    """Let this thread and those it starts take turns with everything else again."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
