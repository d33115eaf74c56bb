"""Who reads which episodes at this moment, so that nobody takes them away meanwhile.

Whoever reads for long, e.g. a training that unpacks pictures as it goes, leaves a note of what it reads, and holds the
note's lock for as long as it lives. Whoever gives episodes up looks through the notes first. A note that nobody holds
is of a program that was killed, and counts for nothing.
"""

import fcntl
import json
import os
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from storage.seal import alone, unlock

NOTES = Path("cache", "reading")
"""The folder of the data folder where the notes are."""


class BeingRead(Exception):
    """Somebody reads an episode that was to go. The message says who, and since when."""


@contextmanager
def reading(root: Path, who: str, episodes: Collection[UUID]) -> Generator[None]:
    """Let nobody remove these episodes of the data folder ``root`` while the block runs.

    What was given up before the block began may be gone: ask the catalog within it where the episodes are.
    """
    folder = root / NOTES
    with alone(folder):
        note = folder / f"{os.getpid()}-{uuid4().hex[:8]}"
        since = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
        told = {"who": f"{who} (process {os.getpid()}, since {since})", "episodes": [key.hex for key in episodes]}
        held = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            with os.fdopen(os.dup(held), "w") as file:
                json.dump(told, file)
        except BaseException:
            _end(note, held)
            raise
    try:
        yield
    finally:
        _end(note, held)


@contextmanager
def unread(root: Path, episodes: Collection[UUID]) -> Generator[None]:
    """Make sure that nobody reads any of these episodes; nobody begins to before the block ends.

    Give them up in the catalog within the block: whoever begins afterwards finds out, so that their folders can go.

    Raises:
        BeingRead: somebody does.
    """
    going = {key.hex for key in episodes}
    with alone(root / NOTES):
        read = {note["who"]: going.intersection(note["episodes"]) for note in _notes(root)}
        if readers := [f"{who} reads {_some(both)}" for who, both in read.items() if both]:
            raise BeingRead(f"{'; '.join(readers)}; wait until that is done, or stop it")
        yield


def readers(root: Path) -> dict[UUID, str]:
    """Episodes that somebody reads at this moment, and who does."""
    with alone(root / NOTES):
        return {UUID(key): note["who"] for note in _notes(root) for key in note["episodes"]}


def _notes(root: Path) -> list[dict[str, Any]]:
    """What everybody who lives has noted."""
    return [note for path in sorted((root / NOTES).iterdir()) if (note := _told(path)) is not None]


def _end(note: Path, held: int) -> None:
    """Remove a note of this program, then let go of it: half a note, e.g. on a full disk, would stop every purge."""
    note.unlink(missing_ok=True)
    unlock(held)


def _told(note: Path) -> dict[str, Any] | None:
    """What a note says; None, and the note is removed, when whoever wrote it no longer lives."""
    with suppress(FileNotFoundError):
        file = os.open(note, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            note.unlink(missing_ok=True)
        except BlockingIOError:
            told: dict[str, Any] = json.loads(note.read_bytes())
            return told
        finally:
            os.close(file)
    return None


def _some(episodes: set[str]) -> str:
    """One of them, and how many more."""
    more = f" and {len(episodes) - 1} more" if len(episodes) > 1 else ""
    return f"episode {UUID(min(episodes))}{more}"
