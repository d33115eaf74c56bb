"""Who uses this machine at this moment: people go first, and learning makes way.

A lease is a file with a lock that its holder's process holds: a program that is killed has let go of it already, so
that there is nothing to wait for and nothing to clean up. Leases are of one machine, whichever others share its folder.
"""

import fcntl
import os
import platform
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

LEASES = "leases"
"""The folder of the data folder where they are, each machine's in a folder of its own."""

YIELDING = 5.0
"""Seconds within which learning makes way."""

PAUSED = 75
"""How a process ends that made way and wants to go on later: ``EX_TEMPFAIL`` of sysexits.h."""


class Held(Exception):
    """Somebody else has it, who holds it alone. The message says who."""


@contextmanager
def attending(root: Path, who: str) -> Generator[None]:
    """A person works at this machine while the block runs; any number of them may.

    Whatever learns in the background has made way when the block begins, or `YIELDING` seconds have passed.
    """
    with _mine(_folder(root) / "people", who):
        until = time.monotonic() + YIELDING
        while told(root, "learning") and time.monotonic() < until:
            time.sleep(0.05)
        yield


@contextmanager
def learning(root: Path, who: str) -> Generator[None]:
    """Something learns in the background while the block runs, and uses what the machine has."""
    with _mine(_folder(root) / "learning", who):
        yield


def attended(root: Path) -> str:
    """Who works at this machine; empty when nobody does."""
    return told(root, "people")


def told(root: Path, what: str) -> str:
    """Who holds leases of a kind on this machine, in words; empty when nobody does."""
    folder = _folder(root) / what
    found = [who for path in sorted(folder.glob("[!.]*")) if (who := _holder(path))]
    return ", ".join(dict.fromkeys(found))


@contextmanager
def sole(root: Path, what: str, who: str, patience: float = 0.0) -> Generator[None]:
    """Hold something alone on this machine.

    Raises:
        Held: somebody else does, and did for ``patience`` seconds.
    """
    path = _folder(root) / what
    path.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise Held(f"{path.read_text() or 'another program'} holds {what}") from None
                time.sleep(0.05)
        os.ftruncate(held, 0)
        os.write(held, f"{who} (process {os.getpid()})".encode())
        yield
    finally:
        os.close(held)


def _folder(root: Path) -> Path:
    return root / LEASES / platform.node()


@contextmanager
def _mine(folder: Path, who: str) -> Generator[None]:
    """A note of this program's own, with its lock."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{os.getpid()}-{time.monotonic_ns()}"
    unnamed = path.with_name(f".{path.name}")
    held = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        os.write(held, who.encode())
        unnamed.rename(path)
        yield
    finally:
        path.unlink(missing_ok=True)
        unnamed.unlink(missing_ok=True)
        os.close(held)


def _holder(path: Path) -> str:
    """Who holds a note; nobody when its lock is free: then it is what a killed program left, and goes."""
    try:
        seen = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        # Shared, so that others who look at the same moment are not taken for its holder.
        fcntl.flock(seen, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(seen, 200).decode(errors="ignore")
    else:
        path.unlink(missing_ok=True)
        return ""
    finally:
        os.close(seen)
