"""Threads that go first on a busy machine: those that a motor waits for, and emulators of what would not wait."""

import os
from contextlib import suppress

EMULATED, DRAWN, BUS = 20, 10, 50
"""Priorities of an emulator, of the pictures it draws meanwhile, and of what talks to motors. Franky takes 99."""


def urgently(priority: int) -> None:
    """Let this thread, and those it starts, go before everything of less priority, where the system allows it."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
