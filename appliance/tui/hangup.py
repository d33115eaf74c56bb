"""A terminal that goes away ends the program, and the take in hand first: held and sealed."""

import os
import select
import threading
from collections.abc import Generator
from contextlib import contextmanager

from appliance.tui.table import Table

GONE = 129
"""What a program says of itself that ended because its terminal went away, as shells have it."""


@contextmanager
def watched(table: Table, terminal: int) -> Generator[None]:
    """As long as the block runs, see whether a terminal is still there; when it is left, nobody sits at the table.

    When the terminal goes away, the sitting ends safely, and then the program at once: what it would say on its way out
    has nobody who reads it, and to wait for that would be for ever.
    """
    wake = os.eventfd(0, os.EFD_CLOEXEC)
    thread = threading.Thread(target=_watch, args=(table, terminal, wake), name="terminal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        table.leave()
        table.left()
        os.eventfd_write(wake, 1)
        thread.join()
        os.close(wake)


def _watch(table: Table, terminal: int, wake: int) -> None:
    poll = select.poll()
    poll.register(terminal, 0)  # that it is gone is told without asking
    poll.register(wake, select.POLLIN)
    if wake in dict(poll.poll()):
        return
    table.leave()
    table.left()
    os._exit(GONE)
