"""What is typed to find episodes: plain words, and the options of ``appliance episodes list``, e.g. ``task:reach``."""

import shlex
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from appliance.refusal import Refusal
from ops.blinded import untold
from storage import Catalog, Outcome, Wanted

FLAGS: dict[str, dict[str, Any]] = {
    "retired": {"retired": True},
    "quarantined": {"quarantined": True},
    "no-quarantined": {"quarantined": False},
    "purged": {"purged": True, "retired": None},
    "all": {"retired": None, "purged": None},
}
"""Written with two hyphens."""

PLAIN = ("task", "outcome", "failure", "agent", "operator", "station", "device", "policy", "since", "until")
"""Written with a colon and a value."""


class NotAsked(Refusal):
    """What is typed asks for nothing. The message says what would be right."""


def wanted(catalog: Catalog, typed: str, before: UUID | None = None) -> Wanted:
    """Which episodes are meant; with ``before``, those that are listed before that one.

    Raises:
        NotAsked: an option or its value makes no sense.
        Unknown: there is no such policy or episode.
    """
    found: dict[str, Any] = {}
    if before is not None:
        found["before"] = catalog.standing(before).started, before
    words: list[str] = []
    for part in _parts(typed):
        name, colon, value = part.lstrip("-").replace("=", ":", 1).partition(":")
        if part.startswith("--") and not colon:
            if part[2:] not in FLAGS:
                raise NotAsked(f"there is no {part}; there are: {', '.join(f'--{flag}' for flag in FLAGS)}")
            found |= FLAGS[part[2:]]
        elif colon and name in PLAIN:
            found |= {name: _value(catalog, name, value)} if value else {}
        elif colon:
            raise NotAsked(f"there is no {name}:; there are: {', '.join(f'{one}:' for one in PLAIN)}")
        else:
            words.append(part)
    return Wanted(**found, words=tuple(words))


def _parts(typed: str) -> list[str]:
    """The words of a line; while a quote is open, it is taken as it stands."""
    try:
        return shlex.split(typed)
    except ValueError:
        return typed.replace('"', " ").replace("'", " ").split()


def _value(catalog: Catalog, name: str, value: str) -> Any:
    read: dict[str, Callable[[str], Any]] = {
        "outcome": _outcome,
        "policy": lambda key: _policy(catalog, key),
        "since": _moment,
        "until": _moment,
    }
    return read.get(name, str)(value)


def _policy(catalog: Catalog, key: str) -> UUID:
    """A policy, unless what it drove would tell whose trials of an open batch were."""
    found = catalog.policy(key)
    if found.id in untold(catalog):
        raise NotAsked(f"{found.name} is tried blind at the moment; who drove is told once the batch is closed (5)")
    return found.id


def _outcome(value: str) -> Outcome:
    try:
        return Outcome(value.lower())
    except ValueError:
        raise NotAsked(f"there is no outcome {value!r}; there are: {', '.join(Outcome)}") from None


def _moment(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value).astimezone()
    except ValueError:
        raise NotAsked(f"{value!r} is no date; write e.g. 2026-11-21 or 2026-11-21T18:00") from None
