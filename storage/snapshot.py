"""Exactly which episodes something was learned from, under a name made from their content."""

import hashlib
import json
from collections.abc import Iterable

from storage.models import EpisodeRow, Snapshot


def freeze(episodes: Iterable[EpisodeRow], query: str = "") -> Snapshot:
    """Name a set of episodes by what is in them: the order in which they come does not matter.

    Raises:
        ValueError: there is no episode, or they are not all of one task.
    """
    rows = list(episodes)
    tasks = sorted({row.task for row in rows})
    if len(tasks) != 1:
        raise ValueError(f"a snapshot holds episodes of one task, these have {tasks or 'none'}")
    pairs = sorted({(str(row.id), row.digest) for row in rows})
    name = hashlib.blake2b(json.dumps(pairs, separators=(",", ":")).encode(), digest_size=16).hexdigest()
    return Snapshot(id=name, task=tasks[0], episodes=[list(pair) for pair in pairs], query=query)
