"""Loopback addresses of this process alone, so that tests beside each other do not meet at the vendor's fixed ports."""

import os


def address(which: int) -> str:
    """Return an address that no other process of the tests uses; ``which`` from 0 to 3."""
    pid = os.getpid()
    return f"127.{1 + which + 4 * (pid >> 16 & 31)}.{pid >> 8 & 255}.{pid & 255}"
