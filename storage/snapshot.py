"""Exactly which episodes something was learned from, under a name made from their content."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from storage.models import Snapshot
from storage.search import Listed


def freeze(found: Iterable[Listed], query: str = "") -> Snapshot:
    """Name a set of episodes by what is in them and what of it is used: their order does not matter.

    Raises:
        ValueError: there is no episode, or they do not all count as one task.
    """
    episodes = list(found)
    tasks = sorted({one.standing.task for one in episodes})
    if len(tasks) != 1:
        raise ValueError(f"a snapshot holds episodes of one task, these have {tasks or 'none'}")
    entries = sorted({_entry(one) for one in episodes})
    name = hashlib.blake2b(json.dumps(entries, separators=(",", ":")).encode(), digest_size=16).hexdigest()
    return Snapshot(id=name, task=tasks[0], episodes=[list(entry) for entry in entries], query=query)


def _entry(one: Listed) -> tuple[Any, ...]:
    """An episode's id and digest, and the seconds that are used of it if it is trimmed."""
    return (str(one.row.id), one.standing.digest, *(one.keep or ()))
